//! The node on the network: a libp2p swarm in a private task, and a handle to it. The only user of libp2p.
//!
//! ```text
//!   Network ──commands──► Worker ══ Swarm ══ TCP, QUIC ══ peers
//!      ▲                  │  │
//!      │ watch            │  └─reads─► Source             (blocks for Bitswap, documents by id)
//!   NetworkState ◄────────┤
//!   NetworkEvent ◄──mpsc──┘                               (documents that verified, peers that came and went)
//! ```
//!
//! Four request protocols share one wire format ([`wire`]): `/zerostate/card/1` (who are you), `/zerostate/deliver/1`
//! (take this document), `/zerostate/document/1` (give me the document with this id) and `/zerostate/guild/1`, whose bytes
//! mean nothing here. Blocks go over [`bitswap`], also to
//! and from IPFS nodes, which are guests here: they have no card and see nothing else. Announcements go over GossipSub; peers
//! are found by mDNS, by the bootstrap list and by Kademlia, providers of blocks by their records there.
//!
//! **When the node above is slow.** Events leave through a bounded channel and the worker never waits for it. When
//! fewer than [`EVENTS_RESERVED`] places are free, delivered documents are answered "busy" (the sender tries again) and
//! gossiped ones are neither handed up nor passed on; the places kept free are for peers that come and go. What does not
//! fit even there is dropped, logged and counted in [`NetworkState::events_dropped`]; the `watch` is always right.
//! The same document may arrive more than once, by gossip and by delivery: who reads the events knows documents by id.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use zerostate::document::{AgentCard, Envelope};
//! # use zerostate::identity::Identity;
//! use zerostate::network::{Network, NetworkConfig, NetworkEvent, Source};
//!
//! # async fn example(me: Identity, source: Arc<dyn Source>) -> Result<(), Box<dyn std::error::Error>> {
//! let card = Envelope::sign(&me, &AgentCard::new(me.did().clone(), "atlas", jiff::Timestamp::now()))?;
//! let (tracker, shutdown) = (tokio_util::task::TaskTracker::new(), tokio_util::sync::CancellationToken::new());
//! let config = NetworkConfig::default();
//! let (network, mut events) =
//!     Network::start(&me, config, source, card.bytes().clone(), &tracker, shutdown.clone()).await?;
//! let peer = network.connect("/ip4/192.0.2.7/tcp/4001").await?;
//! while let Some(event) = events.recv().await {
//!     if let NetworkEvent::Document { from, document } = event {
//!         println!("{from} brought {} of {}", document.kind(), document.signer());
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod behaviour;
mod bitswap;
mod error;
mod gather;
mod handle;
mod limits;
mod listening;
mod meter;
mod outbox;
mod peer;
mod redial;
mod serving;
mod session;
mod state;
mod transport;
mod wire;
mod worker;

#[cfg(test)]
mod tests;

pub use bitswap::Ledger;
pub use error::NetworkError;
pub use handle::{Network, check_address};
pub use session::{Fetched, Session};
pub use state::{NetworkEvent, NetworkState, PeerState};
pub use wire::{CARD_PROTOCOL, DELIVER_PROTOCOL, DOCUMENT_PROTOCOL, GUILD_PROTOCOL};

use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use futures::future::BoxFuture;

use crate::document::Verified;
use crate::identity::Did;

/// Events that may wait for the node above.
pub const EVENTS_WAITING: usize = 1024;
/// Of these, how many places documents may not take.
pub const EVENTS_RESERVED: usize = 256;
/// Connections to all peers together. Two go to a pair of nodes that dial each other at once.
const DEFAULT_MAX_CONNECTIONS: u32 = 128;

/// How a node takes part in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Multiaddresses to listen on; none makes a node that only dials.
    pub listen: Vec<String>,
    /// Multiaddresses that are dialled at start, and again with back-off whenever they are lost.
    pub bootstrap: Vec<String>,
    /// Multiaddresses of nodes of the IPFS DHT, each ending in `/p2p/…`, through which providers are looked for and announced
    /// there as well; none keeps out of it.
    pub ipfs_bootstrap: Vec<String>,
    /// Whether to look for peers on the local network by multicast.
    pub mdns: bool,
    /// How many connections may be open at once, in both directions.
    pub max_connections: u32,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            listen: vec!["/ip4/0.0.0.0/tcp/0".into(), "/ip4/0.0.0.0/udp/0/quic-v1".into()],
            bootstrap: Vec::new(),
            ipfs_bootstrap: Vec::new(),
            mdns: true,
            max_connections: DEFAULT_MAX_CONNECTIONS,
        }
    }
}

/// Where the things come from that this node gives to those who ask.
pub trait Source: Send + Sync + 'static {
    /// The size of the block `cid`, or `None` when it is not here (or not for others). Answers at once.
    fn size(&self, cid: &Cid) -> Option<u64>;

    /// The bytes of the block `cid`.
    fn block(&self, cid: &Cid) -> BoxFuture<'_, Option<Bytes>>;

    /// What was verified lately, by whatever way it came: shared with the network, which then need not verify it again.
    fn verified(&self) -> Arc<Verified> {
        Arc::default()
    }

    /// The envelope of the document `id`.
    fn document(&self, id: &Cid) -> BoxFuture<'_, Option<Vec<u8>>>;

    /// What this node answers to something that was said to it in the guild protocol, or `None` when it cannot answer now.
    fn guild(&self, from: &Did, said: Arc<[u8]>) -> BoxFuture<'_, Option<Vec<u8>>>;
}
