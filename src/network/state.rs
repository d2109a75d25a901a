//! What a node knows about its place in the network, as others see it.

use std::sync::Arc;

use jiff::Timestamp;

use super::Ledger;
use crate::document::{AgentCard, AnyEnvelope, Envelope};
use crate::identity::Did;

/// The network as it is now. Replaced at most ten times a second, and only when something changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NetworkState {
    /// This node's own peer id.
    pub peer_id: String,
    /// Where it can be dialled, each with `/p2p/…` at its end.
    pub listen: Vec<String>,
    /// Everybody it is connected to, the longest-known first. Whoever is as before is shared with the state before.
    pub peers: Vec<Arc<PeerState>>,
    /// Bytes read from and written to streams since the start.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Blocks exchanged with everybody since the start.
    pub bitswap: Ledger,
    /// Peers in the Kademlia routing table, connected or not.
    pub dht_peers: usize,
    /// The same of the IPFS DHT, where this node takes part in it.
    pub ipfs_dht_peers: Option<usize>,
    /// Documents that wait for somebody to subscribe to their topic.
    pub outbox: usize,
    /// Events that found no place in the channel.
    pub events_dropped: u64,
}

impl NetworkState {
    /// The peers that are nodes of this network, and no guests.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<PeerState>> {
        self.peers.iter().filter(|peer| !peer.guest)
    }

    /// The peer with a name, if it is connected.
    pub fn peer_of(&self, who: &Did) -> Option<&Arc<PeerState>> {
        self.peers.iter().find(|peer| peer.did.as_deref() == Some(who.as_str()))
    }
}

/// One connected peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerState {
    pub peer_id: String,
    /// The same key as a DID; `None` for keys other than Ed25519.
    pub did: Option<String>,
    /// Its end of the oldest connection.
    pub address: String,
    /// Whether that connection goes through a relay.
    pub relayed: bool,
    pub connected_since: Timestamp,
    /// The last round trips, at most 16, oldest first, in microseconds.
    pub ping: Vec<u32>,
    /// What it says it is; cleaned, but not to be believed.
    pub agent_version: String,
    /// The protocols it says it speaks; cleaned.
    pub protocols: Vec<String>,
    /// Its verified card, once exchanged; signed by the key of its peer id.
    pub card: Option<Arc<Envelope<AgentCard>>>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Blocks exchanged with it since it came.
    pub bitswap: Ledger,
    /// An IPFS node: it has no card, and blocks are all that is exchanged with it.
    pub guest: bool,
    /// Violations of a protocol that have not been forgiven yet.
    pub faults: u32,
}

/// Something that happened. The node's own listening addresses come first.
#[derive(Debug, Clone)]
pub enum NetworkEvent {
    /// This node can be dialled there.
    Listening(String),
    /// The first connection to a peer.
    Connected { peer_id: String, address: String },
    /// The last connection to a peer is gone.
    Disconnected { peer_id: String, reason: String },
    /// A peer showed its card: time to send it what it may have missed.
    Card { peer_id: String, envelope: Arc<Envelope<AgentCard>> },
    /// A document that verified; `from` is the peer that brought it, which need not be its signer.
    Document { from: String, document: Arc<AnyEnvelope> },
    /// A peer did what no honest node does.
    Fault { peer_id: String, what: String },
}
