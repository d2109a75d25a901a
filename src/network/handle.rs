//! The handle: what the rest of the node can ask of the network.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cid::Cid;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, Swarm, identity::Keypair};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::behaviour::{Behaviour, Topic};
use super::bitswap::{Given, Missing};
use super::meter::Meter;
use super::peer::ConnectWaiter;
use super::worker::{Parts, Worker};
use super::{EVENTS_WAITING, NetworkConfig, NetworkError, NetworkEvent, NetworkState, Session, Source};
use super::{listening, transport};
use crate::document::{AgentCard, AnyEnvelope, Envelope, Untrusted, Verified};
use crate::identity::Identity;

/// Commands that may wait for the worker.
const COMMANDS: usize = 256;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A little above what the protocol itself allows, so that its own reason is heard first.
const DELIVER_LIMIT: Duration = Duration::from_secs(12);
/// A busy peer is asked again after these waits.
const BUSY_WAITS: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];
/// A connection's end must outlive the node by nothing: no idle limit while it runs. A week is "never" without overflow.
const IDLE_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The answer of the worker to one command.
pub(super) type Reply<T> = oneshot::Sender<Result<T, NetworkError>>;

pub(super) enum Command {
    Connect {
        address: Multiaddr,
        peer: Option<PeerId>,
        /// Whether the connection is to last, and to be made again.
        lasting: bool,
        reply: ConnectWaiter,
    },
    Publish {
        topic: Topic,
        envelope: Arc<[u8]>,
        reply: Reply<()>,
    },
    Deliver {
        peer: PeerId,
        envelope: Arc<[u8]>,
        reply: Reply<()>,
    },
    /// Something said in the guild protocol.
    Guild {
        peer: PeerId,
        said: Arc<[u8]>,
        reply: Reply<Vec<u8>>,
    },
    /// A connection to a peer, wherever it is known to be.
    Reach {
        peer: PeerId,
        reply: ConnectWaiter,
    },
    Document {
        peer: PeerId,
        id: Cid,
        reply: Reply<Vec<u8>>,
    },
    /// A document for the DHT.
    Put {
        id: Cid,
        envelope: Arc<[u8]>,
    },
    /// A document from the DHT.
    Search {
        id: Cid,
        reply: Reply<Vec<u8>>,
    },
    /// A session, with the end of a channel that closes with it.
    Open {
        session: u64,
        likely: Vec<PeerId>,
        guard: oneshot::Sender<()>,
        reply: Reply<()>,
    },
    Suggest {
        session: u64,
        peer: PeerId,
    },
    Want {
        session: u64,
        cid: Cid,
        reply: oneshot::Sender<Result<Given, Missing>>,
    },
    /// Blocks that have come into the store.
    Stored(Vec<Cid>),
    Provide {
        cid: Cid,
        reply: Reply<()>,
    },
    StopProviding(Cid),
    Providers {
        cid: Cid,
        reply: Reply<Vec<PeerId>>,
    },
    /// Something only the handle could find out.
    Blame {
        peer: PeerId,
        what: String,
    },
}

/// A handle to the running network; cheap to clone.
#[derive(Debug, Clone)]
pub struct Network {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<NetworkState>,
    /// How many sessions there have been.
    sessions: Arc<AtomicU64>,
    verified: Arc<Verified>,
}

impl Network {
    /// Starts the network on `tracker` and returns when every listener is up. It stops within a second when `shutdown` is
    /// cancelled, and cancels `shutdown` itself if it should panic.
    ///
    /// `card` is this node's own signed agent card, as an envelope. See [the module](super) for what happens when the
    /// receiver is not read.
    ///
    /// # Errors
    /// [`NetworkError::Address`] for a text that is no address, [`NetworkError::Listen`] for one that cannot be listened on,
    /// [`NetworkError::Document`] when the card is not this node's valid card, [`NetworkError::Setup`] for the rest.
    pub async fn start(
        identity: &Identity,
        config: NetworkConfig,
        source: Arc<dyn Source>,
        card: Arc<[u8]>,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
    ) -> Result<(Self, mpsc::Receiver<NetworkEvent>), NetworkError> {
        Self::start_with(identity, config, source, card, tracker, shutdown, EVENTS_WAITING).await
    }

    pub(super) async fn start_with(
        identity: &Identity,
        config: NetworkConfig,
        source: Arc<dyn Source>,
        card: Arc<[u8]>,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
        events_waiting: usize,
    ) -> Result<(Self, mpsc::Receiver<NetworkEvent>), NetworkError> {
        Envelope::<AgentCard>::open(&card)?;
        let keypair = Keypair::ed25519_from_bytes(identity.secret_bytes().as_mut_slice())
            .map_err(|error| NetworkError::Setup { what: "the node's key", reason: error.to_string() })?;
        let listen = config.listen.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        let bootstrap = config.bootstrap.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;

        let ipfs_bootstrap =
            config.ipfs_bootstrap.iter().map(|text| parse_with_peer(text)).collect::<Result<Vec<_>, _>>()?;

        let meter = Meter::default();
        let mut swarm = Swarm::new(
            transport::build(&keypair, &meter)?,
            Behaviour::new(&keypair, &config, Arc::clone(&source))?,
            keypair.public().to_peer_id(),
            libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_LIMIT),
        );
        let listening = listening::bring_up(&mut swarm, &listen).await?;

        let (commands, command_queue) = mpsc::channel(COMMANDS);
        let (events, event_queue) = mpsc::channel(events_waiting);
        let (state, watched) = watch::channel(NetworkState::default());
        let verified = source.verified();
        let parts = Parts {
            swarm,
            meter,
            commands: command_queue,
            events,
            state,
            source,
            card,
            verified: Arc::clone(&verified),
            shutdown,
        };
        let worker = Worker::new(parts, listening, bootstrap, ipfs_bootstrap);
        tracker.spawn(worker.run());
        Ok((Self { commands, state: watched, sessions: Arc::default(), verified }, event_queue))
    }

    /// Connects to a multiaddress, with or without `/p2p/…`, and gives back the peer's id once cards are exchanged. An
    /// address that worked is dialled again for some minutes when the peer is lost.
    ///
    /// # Errors
    /// [`NetworkError::Address`], [`NetworkError::Connect`] with the reason, [`NetworkError::Timeout`] after 10 s.
    pub async fn connect(&self, address: &str) -> Result<String, NetworkError> {
        self.connect_to(address, true).await
    }

    /// The same for once: somebody else named the address, so the connection is not kept when nothing is exchanged over it, nor
    /// made again.
    ///
    /// # Errors
    /// As [`Network::connect`].
    pub async fn visit(&self, address: &str) -> Result<String, NetworkError> {
        self.connect_to(address, false).await
    }

    async fn connect_to(&self, address: &str, lasting: bool) -> Result<String, NetworkError> {
        let parsed = parse(address)?;
        let peer = peer_of(&parsed);
        let command = |reply| Command::Connect { address: parsed, peer, lasting, reply };
        let peer = self.ask(command, CONNECT_LIMIT, address).await?;
        Ok(peer.to_base58())
    }

    /// Announces a document to everybody who listens. When nobody does yet, it waits in an outbox of 256 and goes out as
    /// soon as somebody subscribes.
    ///
    /// # Errors
    /// [`NetworkError::NotAnnounced`] for an agent card.
    pub async fn publish(&self, document: &AnyEnvelope) -> Result<(), NetworkError> {
        let (kind, envelope) = (document.kind(), self.known(document));
        let topic = Topic::of(kind).ok_or(NetworkError::NotAnnounced(kind))?;
        self.ask(|reply| Command::Publish { topic, envelope, reply }, DELIVER_LIMIT, "the network").await
    }

    /// Hands a document to one peer and waits until the peer has verified and taken it. A busy peer is asked four times
    /// within two seconds.
    ///
    /// # Errors
    /// [`NetworkError::NotConnected`], [`NetworkError::Refused`] with the peer's reason, [`NetworkError::Busy`],
    /// [`NetworkError::Timeout`], [`NetworkError::Request`].
    pub async fn deliver(&self, peer_id: &str, document: &AnyEnvelope) -> Result<(), NetworkError> {
        let (envelope, peer) = (self.known(document), parse_peer(peer_id)?);
        let command = |reply| Command::Deliver { peer, envelope: Arc::clone(&envelope), reply };
        self.ask_again(command, peer_id).await
    }

    /// Says something to one peer in the guild protocol and gives back what it answers. A busy peer is asked four times within
    /// two seconds.
    ///
    /// # Errors
    /// As [`Network::deliver`].
    pub async fn guild(&self, peer_id: &str, said: Arc<[u8]>) -> Result<Vec<u8>, NetworkError> {
        let peer = parse_peer(peer_id)?;
        self.ask_again(|reply| Command::Guild { peer, said: Arc::clone(&said), reply }, peer_id).await
    }

    /// Connects to a peer of which only the id is known here, wherever the DHT has met it.
    ///
    /// # Errors
    /// As [`Network::connect`].
    pub async fn reach(&self, peer_id: &str) -> Result<(), NetworkError> {
        let peer = parse_peer(peer_id)?;
        self.ask(|reply| Command::Reach { peer, reply }, CONNECT_LIMIT, peer_id).await.map(drop)
    }

    /// Begins a session, to get blocks that belong together. `likely` are the ids of peers to ask first, if they are connected.
    ///
    /// # Errors
    /// [`NetworkError::Overloaded`] when there are too many.
    pub async fn session(&self, likely: &[String]) -> Result<Session, NetworkError> {
        let id = self.sessions.fetch_add(1, Ordering::Relaxed);
        let (guard, kept) = oneshot::channel();
        let likely = likely.iter().filter_map(|peer| peer.parse().ok()).collect();
        let command = |reply| Command::Open { session: id, likely, guard, reply };
        self.ask(command, CONNECT_LIMIT, "the network").await?;
        Ok(Session { id, commands: self.commands.clone(), _guard: kept })
    }

    /// Tells the network that blocks are here now: whoever waits for one of them gets it.
    ///
    /// # Errors
    /// [`NetworkError::Stopped`].
    pub async fn stored(&self, blocks: Vec<Cid>) -> Result<(), NetworkError> {
        self.commands.send(Command::Stored(blocks)).await.map_err(|_| NetworkError::Stopped)
    }

    /// Puts a record into the DHT that this node has a block, and keeps it there until the node stops. Answers at once; the
    /// record goes out as soon as there is somebody in the DHT to take it.
    ///
    /// # Errors
    /// [`NetworkError::Overloaded`] when this node provides too much already.
    pub async fn provide(&self, cid: &Cid) -> Result<(), NetworkError> {
        let command = |reply| Command::Provide { cid: *cid, reply };
        self.ask(command, CONNECT_LIMIT, "the network").await
    }

    /// This node has a block no longer. The records of others about it end by themselves.
    ///
    /// # Errors
    /// [`NetworkError::Stopped`].
    pub async fn stop_providing(&self, cid: &Cid) -> Result<(), NetworkError> {
        self.commands.send(Command::StopProviding(*cid)).await.map_err(|_| NetworkError::Stopped)
    }

    /// Asks the DHT who has a block, connects to some of them and gives back the ids of those that answered.
    ///
    /// # Errors
    /// [`NetworkError::Timeout`] after 10 s, [`NetworkError::Overloaded`].
    pub async fn providers(&self, cid: &Cid) -> Result<Vec<String>, NetworkError> {
        let command = |reply| Command::Providers { cid: *cid, reply };
        let found = self.ask(command, CONNECT_LIMIT, "the DHT").await?;
        Ok(found.iter().map(|peer| peer.to_base58()).collect())
    }

    /// A signed document by its id, from one peer: the envelope whose payload has that CID. It is verified before it is returned.
    ///
    /// # Errors
    /// [`NetworkError::NotConnected`], [`NetworkError::NotFound`], [`NetworkError::WrongDocument`] for an envelope that does not
    /// verify or is another document, [`NetworkError::Busy`], [`NetworkError::Timeout`], [`NetworkError::Request`].
    pub async fn document(&self, peer_id: &str, id: &Cid) -> Result<AnyEnvelope, NetworkError> {
        let peer = parse_peer(peer_id)?;
        let command = |reply| Command::Document { peer, id: *id, reply };
        let bytes = self.ask(command, DELIVER_LIMIT, peer_id).await?;
        match self.verified.open(&bytes) {
            Ok(document) if document.id() == id => Ok(document),
            _ => {
                let blame =
                    Command::Blame { peer, what: format!("an envelope that is not the document {id}") };
                self.commands.send(blame).await.map_err(|_| NetworkError::Stopped)?;
                Err(NetworkError::WrongDocument { peer: peer_id.to_owned(), id: id.to_string() })
            }
        }
    }

    /// Puts a document into the DHT. Answers at once.
    ///
    /// # Errors
    /// [`NetworkError::Stopped`].
    pub async fn put(&self, document: &AnyEnvelope) -> Result<(), NetworkError> {
        let (id, envelope) = (*document.id(), self.known(document));
        self.commands.send(Command::Put { id, envelope }).await.map_err(|_| NetworkError::Stopped)
    }

    /// Looks for a document in the DHT. It is verified before it is returned.
    ///
    /// # Errors
    /// [`NetworkError::NoProvider`] when nobody who was asked has it, [`NetworkError::Timeout`], [`NetworkError::Overloaded`].
    pub async fn search(&self, id: &Cid) -> Result<AnyEnvelope, NetworkError> {
        let found = self.ask(|reply| Command::Search { id: *id, reply }, CONNECT_LIMIT, "the DHT").await?;
        Ok(self.verified.open(&found)?)
    }

    /// The network as it is now, and its changes.
    pub fn state(&self) -> watch::Receiver<NetworkState> {
        self.state.clone()
    }

    /// It may come back, and need not be verified then.
    fn known(&self, document: &AnyEnvelope) -> Arc<[u8]> {
        self.verified.add(document);
        Arc::clone(document.bytes())
    }

    /// Asks a peer of whom it may be heard that it is busy.
    async fn ask_again<T>(
        &self,
        command: impl Fn(Reply<T>) -> Command,
        peer_id: &str,
    ) -> Result<T, NetworkError> {
        let mut waits = BUSY_WAITS.into_iter();
        loop {
            match (self.ask(&command, DELIVER_LIMIT, peer_id).await, waits.next()) {
                (Err(NetworkError::Busy(_)), Some(wait)) => tokio::time::sleep(wait).await,
                (outcome, _) => return outcome,
            }
        }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
        limit: Duration,
        whom: &str,
    ) -> Result<T, NetworkError> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.commands.send(command(reply)).await.map_err(|_| NetworkError::Stopped)?;
            answer.await.map_err(|_| NetworkError::Stopped)?
        };
        tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| {
            Err(NetworkError::Timeout { peer: whom.to_owned(), seconds: limit.as_secs() })
        })
    }
}

/// Whether a node could listen on or dial this, as far as its text tells.
///
/// # Errors
/// [`NetworkError::Address`].
pub fn check_address(text: &str) -> Result<(), NetworkError> {
    parse(text).map(drop)
}

fn parse(text: &str) -> Result<Multiaddr, NetworkError> {
    let refused = |why: String| NetworkError::Address { address: Untrusted::new(text).to_string(), why };
    let address: Multiaddr =
        text.parse().map_err(|error: libp2p::multiaddr::Error| refused(error.to_string()))?;
    let dialable = |part| matches!(part, Protocol::Tcp(_) | Protocol::QuicV1 | Protocol::Dnsaddr(_));
    if address.iter().any(dialable) {
        return Ok(address);
    }
    Err(refused("it names no TCP or QUIC port".to_owned()))
}

/// An address that says who is there.
fn parse_with_peer(text: &str) -> Result<(PeerId, Multiaddr), NetworkError> {
    let address = parse(text)?;
    let peer = peer_of(&address).ok_or_else(|| NetworkError::Address {
        address: Untrusted::new(text).to_string(),
        why: "it does not end in /p2p/ and the id of the node there".to_owned(),
    })?;
    Ok((peer, address))
}

pub(super) fn parse_peer(text: &str) -> Result<PeerId, NetworkError> {
    text.parse().map_err(|_| NetworkError::PeerId(Untrusted::new(text).to_string()))
}

/// The peer an address ends at, if it says so.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}
