//! The protocols a node speaks, composed, and the numbers that bound them.

use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, allow_block_list, connection_limits, gossipsub, identify, kad, mdns, ping};

use super::wire::{self, Exchange};
use super::{NetworkConfig, NetworkError, Source, bitswap};
use crate::document::Kind;
use crate::document::strict::MAX_ENVELOPE_BYTES;

/// What identify says this node belongs to.
const PROTOCOL_VERSION: &str = "/zerostate/1";
const AGENT_VERSION: &str = concat!("zerostate/", env!("CARGO_PKG_VERSION"));
/// The network's own DHT, apart from that of IPFS.
pub(super) const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/zerostate/kad/1");
/// The DHT of IPFS, in which a node takes part only if it is configured to.
pub(super) const IPFS_KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/kad/1.0.0");

/// Two nodes that dial each other at once have two connections.
const CONNECTIONS_PER_PEER: u32 = 2;
/// Handshakes under way in each direction.
const MAX_PENDING: u32 = 32;
/// An inbound ping stream of js-libp2p ends after 10 s: stay under it.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// An envelope has up to 88 KiB, and a record adds a key and some framing. The default of 16 KiB resets the stream.
const MAX_KAD_PACKET: usize = 128 * 1024;
/// How often the routing table looks for nodes it does not know; it also does so whenever it learns of a new one.
const KAD_BOOTSTRAP: Duration = Duration::from_secs(60);
/// Keys of which somebody is known to have the content, this node among them; of each, 20 providers.
pub(super) const MAX_PROVIDED: usize = 16 * 1024;
/// Documents kept for others in the DHT, and own ones: 90 MiB if all are as large as may be, two or three as they are.
pub(super) const MAX_RECORDS: usize = 1024;
/// Well above what is valid (88 KiB): a message beyond this limit closes the stream, and js-libp2p never opens another.
/// What is too large but below it is refused in validation. go-libp2p packs up to 1 MiB into one RPC.
const MAX_GOSSIP_RPC: usize = 1024 * 1024;

/// Announcements, one topic for each kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    Receipts,
    Attestations,
    Manifests,
    Guilds,
    Heads,
}

impl Topic {
    pub(super) const ALL: [Self; 5] =
        [Self::Receipts, Self::Attestations, Self::Manifests, Self::Guilds, Self::Heads];

    /// Where a kind of document is announced, if it is.
    pub(super) fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Receipt => Some(Self::Receipts),
            Kind::Attestation => Some(Self::Attestations),
            Kind::Manifest => Some(Self::Manifests),
            Kind::Charter => Some(Self::Guilds),
            Kind::Head => Some(Self::Heads),
            Kind::AgentCard | Kind::Agreement | Kind::Commitment => None,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Receipts => "/zerostate/receipts/1",
            Self::Attestations => "/zerostate/attestations/1",
            Self::Manifests => "/zerostate/manifests/1",
            Self::Guilds => "/zerostate/guilds/1",
            Self::Heads => "/zerostate/heads/1",
        }
    }

    pub(super) fn ident(self) -> gossipsub::IdentTopic {
        gossipsub::IdentTopic::new(self.as_str())
    }

    pub(super) fn from_hash(hash: &gossipsub::TopicHash) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == hash.as_str())
    }
}

/// Only the node's own topics count, so a peer with thousands of subscriptions takes no memory.
pub(super) type Gossip =
    gossipsub::Behaviour<gossipsub::IdentityTransform, gossipsub::WhitelistSubscriptionFilter>;

pub(super) type Kad = kad::Behaviour<kad::store::MemoryStore>;

/// The order matters: libp2p asks the fields from top to bottom whether a connection may be, and those asked before a
/// refusal have already noted the connection (rust-libp2p#4773). So the two that refuse come first.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) kad: Kad,
    pub(super) ipfs: Toggle<Kad>,
    pub(super) gossip: Gossip,
    pub(super) card: Exchange,
    pub(super) deliver: Exchange,
    pub(super) document: Exchange,
    pub(super) guild: Exchange,
    pub(super) bitswap: bitswap::Behaviour,
}

impl Behaviour {
    /// # Errors
    /// [`NetworkError::Setup`]; that mDNS does not work is only a warning, there are networks without multicast.
    pub(super) fn new(
        keypair: &Keypair,
        config: &NetworkConfig,
        source: Arc<dyn Source>,
    ) -> Result<Self, NetworkError> {
        let local = keypair.public().to_peer_id();
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits(config.max_connections)),
            blocked: allow_block_list::Behaviour::default(),
            identify: identify::Behaviour::new(
                identify::Config::new(PROTOCOL_VERSION.into(), keypair.public())
                    .with_agent_version(AGENT_VERSION.into())
                    .with_push_listen_addr_updates(true),
            ),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT),
            ),
            mdns: config.mdns.then(|| find_neighbours(local)).flatten().into(),
            kad: kademlia(local),
            ipfs: (!config.ipfs_bootstrap.is_empty()).then(|| ipfs_kademlia(local)).into(),
            gossip: gossip(keypair)?,
            card: wire::card(),
            deliver: wire::deliver(),
            document: wire::document(),
            guild: wire::guild(),
            bitswap: bitswap::Behaviour::new(source),
        })
    }
}

/// A quarter of the places can only be taken by dialling, so that strangers who fill the rest cannot cut a node off.
fn limits(max: u32) -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_established(Some(max))
        .with_max_established_incoming(Some(max - max / 4))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER))
        .with_max_pending_incoming(Some(MAX_PENDING))
        .with_max_pending_outgoing(Some(MAX_PENDING))
}

fn find_neighbours(local: libp2p::PeerId) -> Option<mdns::tokio::Behaviour> {
    match mdns::tokio::Behaviour::new(mdns::Config::default(), local) {
        Ok(behaviour) => Some(behaviour),
        Err(error) => {
            tracing::warn!(%error, "mDNS does not work here: peers on the local network must be connected to by address");
            None
        }
    }
}

/// Server mode from the start: otherwise a node waits for a confirmed public address, and there is none on a LAN.
///
/// `FilterBoth` hands records to the worker instead of storing them. It takes documents that verify and records of providers, so
/// many of each, so nobody can fill this node's memory with them.
fn kademlia(local: libp2p::PeerId) -> Kad {
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config
        .set_max_packet_size(MAX_KAD_PACKET)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_periodic_bootstrap_interval(Some(KAD_BOOTSTRAP));
    let store = kad::store::MemoryStoreConfig {
        max_records: MAX_RECORDS,
        max_value_bytes: MAX_ENVELOPE_BYTES,
        max_provided_keys: MAX_PROVIDED,
        ..Default::default()
    };
    let store = kad::store::MemoryStore::with_config(local, store);
    let mut kad = Kad::with_config(local, store, config);
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

/// A client there: it asks and announces, and keeps nothing for others.
fn ipfs_kademlia(local: libp2p::PeerId) -> Kad {
    let store = kad::store::MemoryStoreConfig { max_provided_keys: MAX_PROVIDED, ..Default::default() };
    let store = kad::store::MemoryStore::with_config(local, store);
    let mut kad = Kad::with_config(local, store, kad::Config::new(IPFS_KAD_PROTOCOL));
    kad.set_mode(Some(kad::Mode::Client));
    kad
}

/// Strict: every message carries author, sequence number and signature. The id is author and sequence number, as in JS and
/// Go: with ids of another making IHAVE and IWANT never match.
fn gossip(keypair: &Keypair) -> Result<Gossip, NetworkError> {
    let setup = |reason: String| NetworkError::Setup { what: "GossipSub", reason };
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(MAX_GOSSIP_RPC)
        .message_id_fn(|message: &gossipsub::Message| {
            let mut id = message.source.map(|peer| peer.to_bytes()).unwrap_or_default();
            id.extend_from_slice(&message.sequence_number.unwrap_or_default().to_be_bytes());
            id.into()
        })
        .build()
        .map_err(|error| setup(error.to_string()))?;
    let topics = Topic::ALL.iter().map(|topic| topic.ident().hash()).collect();
    let mut gossip = Gossip::new_with_subscription_filter(
        gossipsub::MessageAuthenticity::Signed(keypair.clone()),
        config,
        gossipsub::WhitelistSubscriptionFilter(topics),
    )
    .map_err(|error| setup(error.to_owned()))?;
    for topic in Topic::ALL {
        gossip.subscribe(&topic.ident()).map_err(|error| setup(error.to_string()))?;
    }
    Ok(gossip)
}
