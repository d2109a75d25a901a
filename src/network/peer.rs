//! What the worker knows about one connected peer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, identify};
use tokio::sync::oneshot;

use super::limits::Bucket;
use super::meter::Counts;
use super::worker::Sayings;
use super::{Ledger, NetworkError, PeerState};
use crate::document::{AgentCard, Envelope, Untrusted};
use crate::identity::Did;

/// Round trips that are kept.
const PINGS: usize = 16;
/// Protocols of a peer that are shown; an IPFS node has about twenty.
const MAX_PROTOCOLS: usize = 64;
/// A card changes seldom.
const CARDS: (u32, f64) = (4, 0.1);
/// The burst is for catching up after a reconnect.
const DELIVERIES: (u32, f64) = (256, 32.0);
const DOCUMENTS: (u32, f64) = (256, 32.0);
/// Documents for the DHT: three or more come of each task.
const RECORDS: (u32, f64) = (4096, 1024.0);
/// What is said in guilds: everything that makes a task's life goes this way.
const GUILD: (u32, f64) = (4096, 2048.0);
/// Provider records: a node that starts announces all that it has.
const PROVISIONS: (u32, f64) = (1024, 64.0);

/// Whoever waits for a connection with its card exchanged.
pub(super) type ConnectWaiter = oneshot::Sender<Result<PeerId, NetworkError>>;

pub(super) struct Peer {
    pub(super) did: Option<Did>,
    /// At most two; the oldest first.
    pub(super) connections: Vec<(ConnectionId, Multiaddr)>,
    pub(super) since: Instant,
    connected_since: Timestamp,
    ping: VecDeque<u32>,
    pub(super) lost_pings: u32,
    agent_version: String,
    protocols: Vec<String>,
    pub(super) card: Option<Arc<Envelope<AgentCard>>>,
    /// Whether this side has sent its card and waits for, or has had, the answer.
    pub(super) card_asked: bool,
    pub(super) waiters: Vec<ConnectWaiter>,
    counts: Arc<Counts>,
    pub(super) cards: Bucket,
    pub(super) deliveries: Bucket,
    pub(super) documents: Bucket,
    pub(super) provisions: Bucket,
    pub(super) guild: Bucket,
    pub(super) records: Bucket,
    pub(super) sayings: Sayings,
    /// It does not know what a card is.
    pub(super) cardless: bool,
    /// It does not say what it is.
    pub(super) unidentified: bool,
    /// An IPFS node, which has no card.
    pub(super) guest: bool,
    /// Somebody asked for this connection.
    pub(super) chosen: bool,
    /// Why this side closes the connection, if it does.
    pub(super) closing: Option<String>,
    told: Option<Arc<PeerState>>,
}

impl Peer {
    pub(super) fn new(peer_id: &PeerId, counts: Arc<Counts>, now: Instant) -> Self {
        let bucket = |(burst, rate): (u32, f64)| Bucket::new(burst, rate, now);
        Self {
            did: Did::from_peer_id(&peer_id.to_base58()).ok(),
            connections: Vec::new(),
            since: now,
            connected_since: Timestamp::now(),
            ping: VecDeque::with_capacity(PINGS),
            lost_pings: 0,
            agent_version: String::new(),
            protocols: Vec::new(),
            card: None,
            card_asked: false,
            waiters: Vec::new(),
            counts,
            cards: bucket(CARDS),
            deliveries: bucket(DELIVERIES),
            documents: bucket(DOCUMENTS),
            provisions: bucket(PROVISIONS),
            guild: bucket(GUILD),
            records: bucket(RECORDS),
            sayings: Sayings::default(),
            cardless: false,
            unidentified: false,
            guest: false,
            chosen: false,
            closing: None,
            told: None,
        }
    }

    pub(super) fn pong(&mut self, round_trip: std::time::Duration) {
        self.lost_pings = 0;
        if self.ping.len() == PINGS {
            self.ping.pop_front();
        }
        self.ping.push_back(u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX));
    }

    pub(super) fn identified(&mut self, info: &identify::Info) {
        self.agent_version = Untrusted::new(&info.agent_version).to_string();
        self.protocols = info
            .protocols
            .iter()
            .take(MAX_PROTOCOLS)
            .map(|p| Untrusted::new(p.as_ref()).to_string())
            .collect();
    }

    /// Whether it has said what it is and speaks.
    pub(super) fn is_identified(&self) -> bool {
        !self.protocols.is_empty()
    }

    /// Whether nothing can be done with it: it has no card, and has said, or will never say, that it is something else.
    pub(super) fn is_stranger(&self) -> bool {
        self.cardless && !self.is_known() && (self.is_identified() || self.unidentified)
    }

    /// Whether it is clear who it is: it has shown its card, or is one of those that have none.
    pub(super) fn is_known(&self) -> bool {
        self.card.is_some() || self.guest
    }

    pub(super) fn address(&self) -> Option<&Multiaddr> {
        self.connections.first().map(|(_, address)| address)
    }

    /// Tells everybody who waits for this peer.
    pub(super) fn settle(&mut self, outcome: impl Fn() -> Result<PeerId, NetworkError>) {
        for waiter in self.waiters.drain(..) {
            if waiter.send(outcome()).is_err() {
                tracing::trace!("nobody waits for this connection any more");
            }
        }
    }

    /// What is told of it, which is shared for as long as it stays the same.
    pub(super) fn tell(&mut self, peer_id: &PeerId, faults: u32, bitswap: Ledger) -> Arc<PeerState> {
        let state = self.state(peer_id, faults, bitswap);
        match &self.told {
            Some(told) if **told == state => Arc::clone(told),
            _ => Arc::clone(self.told.insert(Arc::new(state))),
        }
    }

    fn state(&self, peer_id: &PeerId, faults: u32, bitswap: Ledger) -> PeerState {
        PeerState {
            peer_id: peer_id.to_base58(),
            did: self.did.as_ref().map(ToString::to_string),
            address: self.address().map(ToString::to_string).unwrap_or_default(),
            relayed: self
                .address()
                .is_some_and(|address| address.iter().any(|part| part == Protocol::P2pCircuit)),
            connected_since: self.connected_since,
            ping: self.ping.iter().copied().collect(),
            agent_version: self.agent_version.clone(),
            protocols: self.protocols.clone(),
            card: self.card.clone(),
            bytes_in: self.counts.bytes_in(),
            bytes_out: self.counts.bytes_out(),
            bitswap,
            guest: self.guest,
            faults,
        }
    }
}
