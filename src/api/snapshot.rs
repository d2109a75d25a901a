//! The state of a node at a moment: small enough to send ten times a second.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::command::SourceView;
use super::guild::GuildView;
use crate::document::{Payment, Untrusted};
use crate::identity::Did;
use crate::storage::{AttestationRecord, Event, ReceiptRecord, TaskRecord};

/// What a node is and does right now. Long lists are counted and end in a tail; the rest is paged with a `Command`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub at: Timestamp,
    pub node: NodeView,
    /// Whoever is as before is shared with the snapshot before.
    pub peers: Vec<Arc<PeerView>>,
    /// Those that end first come first.
    pub guilds: Tail<GuildView>,
    pub tasks: Tail<TaskView>,
    pub receipts: Tail<ReceiptRecord>,
    pub attestations: Tail<AttestationRecord>,
    pub events: Tail<Event>,
    /// Receipts whose tasks are being run again now.
    #[serde(default)]
    pub reruns: Vec<RerunView>,
    /// Artifacts that are being added or got now.
    pub transfers: Vec<TransferView>,
    /// What waits for the operator.
    pub inbox: Vec<InboxItem>,
    /// The last lines of the log, oldest first.
    pub log: Vec<LogLine>,
}

/// The first entries, mostly the newest, of a list of `total`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tail<T> {
    pub total: u64,
    pub items: Vec<T>,
}

impl<T> Default for Tail<T> {
    fn default() -> Self {
        Self { total: 0, items: Vec::new() }
    }
}

/// The node itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    pub did: Did,
    pub peer_id: String,
    pub name: Untrusted,
    pub version: String,
    pub started_at: Timestamp,
    /// Dialable multiaddresses, ending in `/p2p/…`.
    pub listen: Vec<Untrusted>,
    pub data_dir: String,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub dht_peers: u64,
    /// Nodes known in the DHT of IPFS, where this node takes part in it.
    pub ipfs_dht_peers: Option<u64>,
    /// Blocks exchanged since the start.
    pub bitswap: LedgerView,
    /// What stored blocks take on the disk, and what they may take.
    pub store_used: u64,
    pub store_quota: u64,
    /// Tasks that run here now, own ones and re-runs for attestation.
    pub running: u64,
    /// Secrets of guilds in memory: none, when it is in no guild.
    pub guild_secrets: u64,
    /// `ask` or `always`.
    pub attest_policy: String,
}

impl NodeView {
    /// A node that has just started, and of which nothing else is known.
    pub fn new(did: Did, started_at: Timestamp) -> Self {
        Self {
            peer_id: did.peer_id(),
            did,
            name: Untrusted::default(),
            version: String::new(),
            started_at,
            listen: Vec::new(),
            data_dir: String::new(),
            bytes_in: 0,
            bytes_out: 0,
            dht_peers: 0,
            ipfs_dht_peers: None,
            bitswap: LedgerView::default(),
            store_used: 0,
            store_quota: 0,
            running: 0,
            guild_secrets: 0,
            attest_policy: "ask".to_owned(),
        }
    }
}

impl Snapshot {
    /// Whoever is as in the snapshot before is shared with it.
    pub(super) fn share(&mut self, before: &Self) {
        for (peer, known) in self.peers.iter_mut().zip(&before.peers).filter(|(peer, known)| peer == known) {
            *peer = Arc::clone(known);
        }
    }

    /// Of a node that has just started, and knows nobody.
    pub fn of(node: NodeView) -> Self {
        Self {
            at: node.started_at,
            node,
            peers: Vec::new(),
            guilds: Tail::default(),
            tasks: Tail::default(),
            receipts: Tail::default(),
            attestations: Tail::default(),
            events: Tail::default(),
            reruns: Vec::new(),
            transfers: Vec::new(),
            inbox: Vec::new(),
            log: Vec::new(),
        }
    }
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerView {
    pub peer_id: String,
    /// Known once its agent card has come.
    pub did: Option<Did>,
    pub name: Option<Untrusted>,
    pub address: Untrusted,
    pub relayed: bool,
    pub connected_since: Timestamp,
    /// The last round trips in microseconds, oldest first.
    pub ping_us: Vec<u32>,
    pub capabilities: Vec<Untrusted>,
    pub prices: Option<Payment>,
    pub agent: Untrusted,
    pub protocols: Vec<Untrusted>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// An IPFS node, with which blocks are exchanged and nothing else.
    pub guest: bool,
    /// Blocks exchanged with it since it came.
    pub bitswap: LedgerView,
    /// How often it broke a protocol.
    pub faults: u32,
}

/// What was exchanged over Bitswap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerView {
    pub blocks_sent: u64,
    pub bytes_sent: u64,
    pub blocks_received: u64,
    pub bytes_received: u64,
    /// Of the blocks received, those that had come already.
    pub duplicates: u64,
    /// Blocks that others wait for now.
    pub wants: u64,
}

/// An artifact on its way into the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TransferView {
    pub transfer_id: u64,
    /// `add` or `get`.
    pub direction: String,
    /// Known from the start of a get.
    pub cid: Option<String>,
    pub done: u64,
    /// Once it is known.
    pub size: Option<u64>,
    pub elapsed_ms: u64,
    /// Whence how many bytes came.
    pub sources: Vec<SourceView>,
}

impl TransferView {
    /// Bytes a second since it began.
    pub fn rate(&self) -> u64 {
        self.done.saturating_mul(1000).checked_div(self.elapsed_ms).unwrap_or(0)
    }

    /// How long it will still take at that rate, for people, where that can be said.
    pub fn left(&self) -> Option<String> {
        let left = self.size?.saturating_sub(self.done);
        Some(match left.checked_div(self.rate())? {
            seconds @ ..100 => format!("{seconds} s left"),
            seconds @ ..6_000 => format!("{} min left", seconds / 60),
            seconds => format!("{} h left", seconds / 3_600),
        })
    }
}

/// A task and, while it runs here, how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    #[serde(flatten)]
    pub record: TaskRecord,
    pub progress: Option<ProgressView>,
}

/// A receipt's task that is being run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RerunView {
    pub receipt_id: String,
    pub progress: ProgressView,
}

/// A running task against its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressView {
    pub fuel_used: u64,
    pub fuel_limit: u64,
    pub memory_bytes: u64,
    pub memory_limit: u64,
    /// Written to stdout and stderr so far.
    pub output_bytes: u64,
    pub output_limit: u64,
    pub elapsed_ms: u64,
    pub time_limit_ms: u64,
    /// The end of what it has written to stdout so far.
    #[serde(default, deserialize_with = "Untrusted::read_lines")]
    pub output: Untrusted,
    /// When the node that runs it told that; none of what runs here.
    #[serde(default)]
    pub told_at: Option<Timestamp>,
}

/// Something that waits for the operator's yes or no.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InboxItem {
    pub inbox_id: String,
    /// `attest`, `task-offer`, `join-request`.
    pub kind: String,
    pub from: Did,
    pub text: Untrusted,
    /// What it is about: a receipt, task or guild id.
    pub subject: String,
    pub at: Timestamp,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    pub at: Timestamp,
    /// `ERROR`, `WARN`, `INFO`, `DEBUG`, `TRACE`.
    pub level: String,
    pub target: String,
    pub text: Untrusted,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn peer(peer_id: &str, bytes_in: u64) -> Arc<PeerView> {
        Arc::new(PeerView {
            peer_id: peer_id.to_owned(),
            did: None,
            name: Some("atlas".into()),
            address: "/ip4/192.0.2.1/tcp/4001".into(),
            relayed: false,
            connected_since: Timestamp::UNIX_EPOCH,
            ping_us: vec![900],
            capabilities: Vec::new(),
            prices: None,
            agent: Untrusted::default(),
            protocols: Vec::new(),
            bytes_in,
            bytes_out: 0,
            guest: false,
            bitswap: LedgerView::default(),
            faults: 0,
        })
    }

    #[test]
    fn whoever_is_as_in_the_snapshot_before_is_shared_with_it_and_nobody_else() {
        let me = Identity::from_secret(&[7; 32]).did().clone();
        let of = |peers| Snapshot { peers, ..Snapshot::of(NodeView::new(me.clone(), Timestamp::UNIX_EPOCH)) };
        let before = of(vec![peer("a", 1), peer("b", 1)]);
        let mut after = of(vec![peer("a", 1), peer("b", 2), peer("c", 1)]);
        let told = after.clone();
        after.share(&before);
        assert_eq!(after, told);
        let shared = after.peers.iter().zip(&before.peers).map(|(one, known)| Arc::ptr_eq(one, known));
        assert_eq!(shared.collect::<Vec<_>>(), [true, false]);
    }
}
