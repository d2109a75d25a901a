//! The task that owns the swarm. Everything that touches it happens here, one thing after another.
//!
//! This file has the loop, the chores and the end; `commands.rs` has what the handle asks for, `swarm.rs` what the swarm
//! reports, `passing.rs` when announcements are passed on, `requests.rs` the request protocols and `sayings.rs` that of guilds,
//! `guests.rs` the IPFS nodes, `providers.rs` who has what in the DHTs, `records.rs` the documents in ours.

mod commands;
mod guests;
mod passing;
mod providers;
mod records;
mod requests;
mod sayings;
mod swarm;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::kad::RecordKey;
use libp2p::request_response::OutboundRequestId;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use passing::Passing;
use providers::{Announcements, Lookups};
use records::Records;
use sayings::Said;
pub(super) use sayings::Sayings;

use super::behaviour::{Behaviour, Kad, Topic};
use super::handle::{Command, Reply, peer_of};
use super::limits::FaultBook;
use super::meter::Meter;
use super::outbox::Outbox;
use super::peer::{ConnectWaiter, Peer};
use super::redial::Redial;
use super::serving::Serving;
use super::{EVENTS_RESERVED, NetworkError, NetworkEvent, NetworkState, Source};
use crate::document::{AnyEnvelope, Verified};

/// At most ten states a second.
const STATE_INTERVAL: Duration = Duration::from_millis(100);
/// Redialling, forgiving, asking for cards that did not come.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// How long closing connections may take at the end; the node's own limit is a second.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// What the worker is made of.
pub(super) struct Parts {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) meter: Meter,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<NetworkEvent>,
    pub(super) state: watch::Sender<NetworkState>,
    pub(super) source: Arc<dyn Source>,
    pub(super) card: Arc<[u8]>,
    pub(super) verified: Arc<Verified>,
    pub(super) shutdown: CancellationToken,
}

/// Why a connection is being dialled.
enum Dial {
    /// Somebody asked for it and waits.
    Asked { address: Multiaddr, lasting: bool, reply: ConnectWaiter },
    /// It is on the list.
    Again(Multiaddr),
}

/// A document that a peer is asked for.
struct Asking {
    id: cid::Cid,
    reply: Reply<Vec<u8>>,
}

pub(super) struct Worker {
    swarm: Swarm<Behaviour>,
    meter: Meter,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<NetworkEvent>,
    events_dropped: u64,
    state: watch::Sender<NetworkState>,
    card: Arc<[u8]>,
    /// What was verified a moment ago, by whatever way it came.
    verified: Arc<Verified>,
    /// Announcements that wait to be passed on.
    passing: Passing,
    shutdown: CancellationToken,
    serving: Serving,
    listening: Vec<String>,
    peers: HashMap<PeerId, Peer>,
    /// Nodes that are something else than zerostate, with the time until which they are not dialled again unasked.
    strangers: HashMap<PeerId, Instant>,
    faults: FaultBook,
    redial: Redial,
    outbox: Outbox,
    dials: HashMap<ConnectionId, Dial>,
    deliveries: HashMap<OutboundRequestId, Reply<()>>,
    asked: HashMap<OutboundRequestId, Asking>,
    said: HashMap<OutboundRequestId, Said>,
    lookups: Lookups,
    records: Records,
    announcements: Announcements,
    /// Keys that others provide, and when the expired ones were last looked for.
    foreign: HashSet<RecordKey>,
    foreign_cleared: Option<Instant>,
    /// The way into the IPFS DHT, and when it was last gone.
    ipfs_bootstrap: Vec<(PeerId, Multiaddr)>,
    ipfs_joined: Option<Instant>,
    changed: bool,
}

/// A worker that panics stops the node instead of leaving it half dead.
struct StopOnPanic(CancellationToken);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the network worker panicked; stopping the node");
            self.0.cancel();
        }
    }
}

impl Worker {
    pub(super) fn new(
        parts: Parts,
        listening: Vec<Multiaddr>,
        bootstrap: Vec<Multiaddr>,
        ipfs_bootstrap: Vec<(PeerId, Multiaddr)>,
    ) -> Self {
        let Parts { swarm, meter, commands, events, state, source, card, verified, shutdown } = parts;
        let mut redial = Redial::default();
        for address in bootstrap {
            let peer = peer_of(&address);
            redial.keep(address, peer, Instant::now());
        }
        let mut worker = Self {
            swarm,
            meter,
            commands,
            events,
            events_dropped: 0,
            state,
            card,
            verified,
            passing: Passing::default(),
            shutdown,
            serving: Serving::new(source),
            listening: Vec::new(),
            peers: HashMap::new(),
            strangers: HashMap::new(),
            faults: FaultBook::default(),
            redial,
            outbox: Outbox::default(),
            dials: HashMap::new(),
            deliveries: HashMap::new(),
            asked: HashMap::new(),
            said: HashMap::new(),
            lookups: Lookups::default(),
            records: Records::default(),
            announcements: Announcements::default(),
            foreign: HashSet::new(),
            foreign_cleared: None,
            ipfs_bootstrap,
            ipfs_joined: None,
            changed: true,
        };
        for address in listening {
            worker.on_listening(address);
        }
        worker.publish_state();
        worker
    }

    pub(super) async fn run(mut self) {
        let stop_on_panic = StopOnPanic(self.shutdown.clone());
        let shutdown = self.shutdown.clone();
        let mut states = tokio::time::interval(STATE_INTERVAL);
        states.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut chores = tokio::time::interval(HOUSEKEEPING);
        chores.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    // The last handle is gone, and with it everybody who could want something.
                    None => break,
                },
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                (channel, answer) = self.serving.next() => self.respond(channel, answer),
                _ = states.tick(), if self.changed => self.publish_state(),
                () = self.passing.due() => self.pass_on(Instant::now()),
                _ = chores.tick() => self.do_chores(Instant::now()),
            }
        }
        self.close().await;
        drop(stop_on_panic);
    }

    fn do_chores(&mut self, now: Instant) {
        for peer in self.faults.forgive(now) {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
        self.strangers.retain(|_, until| *until > now);
        let peers = &self.peers;
        for address in self.redial.due(now, |peer| peers.contains_key(peer)) {
            self.dial_again(address, now);
        }
        self.ask_for_missing_cards(now);
        self.see_guests_off(now);
        self.swarm.behaviour_mut().bitswap.judge_cut_off(now);
        self.end_late_lookups(now);
        self.join_ipfs(now);
        self.announce_more();
        if self.outbox.len() > 0 {
            Topic::ALL.into_iter().for_each(|topic| self.flush(topic));
        }
        for peer in self.peers.values_mut() {
            peer.waiters.retain(|waiter| !waiter.is_closed());
        }
        // Pings and heartbeats move bytes without any event.
        let counted = self.meter.total().bytes_in();
        self.changed |= self.state.borrow().bytes_in != counted;
    }

    fn dial_again(&mut self, address: Multiaddr, now: Instant) {
        let options = match peer_of(&address) {
            Some(peer) => DialOpts::peer_id(peer).addresses(vec![address.clone()]).build(),
            None => DialOpts::unknown_peer_id().address(address.clone()).build(),
        };
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(connection, Dial::Again(address));
            }
            Err(error) => {
                tracing::debug!(%address, %error, "cannot dial");
                self.redial.failed(&address, now);
            }
        }
    }

    /// Reports what must not be lost: who came, who went. There are places that documents may not take.
    fn emit(&mut self, event: NetworkEvent) {
        self.changed = true;
        if let Err(error) = self.events.try_send(event) {
            self.events_dropped = self.events_dropped.saturating_add(1);
            tracing::warn!(%error, "an event of the network found no place");
        }
    }

    /// Hands a document up; `false` when the node above cannot keep up.
    fn offer(&mut self, from: PeerId, document: AnyEnvelope) -> bool {
        if self.events.capacity() <= EVENTS_RESERVED {
            return false;
        }
        let event = NetworkEvent::Document { from: from.to_base58(), document: Arc::new(document) };
        self.events.try_send(event).is_ok()
    }

    /// A peer did what no honest node does.
    fn fault(&mut self, peer: PeerId, what: String) {
        if self.faults.is_blocked(&peer) {
            // It is being seen off; what still comes of it was on its way.
            return;
        }
        let block = self.faults.note(peer, Instant::now());
        tracing::debug!(%peer, what, "fault");
        self.emit(NetworkEvent::Fault { peer_id: peer.to_base58(), what });
        if block {
            tracing::warn!(%peer, "too many faults: blocked for a while");
            self.redial.forget_peer(&peer);
            if let Some(peer) = self.peers.get_mut(&peer) {
                peer.closing = Some("blocked after too many faults".into());
            }
            self.swarm.behaviour_mut().blocked.block_peer(peer);
        }
    }

    /// Closes all connections to a peer.
    fn disconnect(&mut self, id: PeerId, reason: String) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.closing.get_or_insert(reason);
        }
        if self.swarm.disconnect_peer_id(id).is_err() {
            tracing::trace!(peer = %id, "gone already");
        }
    }

    fn publish_state(&mut self) {
        self.changed = false;
        let mut peers: Vec<_> = self.peers.iter_mut().collect();
        peers.sort_by_key(|(id, peer)| (peer.since, **id));
        let bitswap = &self.swarm.behaviour().bitswap;
        let states =
            peers.into_iter().map(|(id, peer)| peer.tell(id, self.faults.count(id), bitswap.ledger(id)));
        let (peers, exchanged) = (states.collect(), bitswap.total());
        let state = NetworkState {
            peer_id: self.swarm.local_peer_id().to_base58(),
            listen: self.listening.clone(),
            peers,
            bytes_in: self.meter.total().bytes_in(),
            bytes_out: self.meter.total().bytes_out(),
            bitswap: exchanged,
            dht_peers: in_table(&mut self.swarm.behaviour_mut().kad),
            ipfs_dht_peers: self.swarm.behaviour_mut().ipfs.as_mut().map(in_table),
            outbox: self.outbox.len(),
            events_dropped: self.events_dropped,
        };
        self.state.send_if_modified(|old| {
            let modified = *old != state;
            if modified {
                *old = state;
            }
            modified
        });
    }

    /// Takes no more, says good-bye, and goes. Whoever still waits is told by the closing of the channels.
    async fn close(mut self) {
        self.commands.close();
        let everybody: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in everybody {
            self.disconnect(peer, "this node stops".into());
        }
        let swarm = &mut self.swarm;
        let gone = async {
            while swarm.connected_peers().next().is_some() {
                if let SwarmEvent::ConnectionClosed { peer_id, .. } = swarm.select_next_some().await {
                    tracing::trace!(%peer_id, "closed");
                }
            }
        };
        if tokio::time::timeout(CLOSE_LIMIT, gone).await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
    }
}

fn in_table(kad: &mut Kad) -> usize {
    kad.kbuckets().map(|bucket| bucket.num_entries()).sum()
}

/// Answers the handle. That nobody waits any more is no matter.
fn answer<T>(reply: Reply<T>, outcome: Result<T, NetworkError>) {
    if reply.send(outcome).is_err() {
        tracing::trace!("nobody waits for this answer any more");
    }
}
