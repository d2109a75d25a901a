//! The reducer: folds everything the parts say into the one snapshot that consoles look at.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::guilds::{self, Names};
use crate::api::{
    AttestationRecord, Event, InboxItem, LedgerView, LogLine, NodeView, PeerView, ProgressView,
    ReceiptRecord, Snapshot, SourceView, Tail, TaskRecord, TaskView, TransferView,
};
use crate::artifact::{Artifacts, Direction, Transfer};
use crate::config::Attest;
use crate::document::Untrusted;
use crate::execution::DEFAULT_OUTPUT_BYTES as OUTPUT_LIMIT;
use crate::guild::{Guilds, live_secrets};
use crate::identity::Identity;
use crate::network::{Ledger, Network, NetworkState, PeerState};
use crate::storage::{Happening, Paging, Storage, StorageError};
use crate::task::{LiveRun, Question, Tasks};
use crate::telemetry::RecentLog;

/// At most ten snapshots a second.
const PERIOD: Duration = Duration::from_millis(100);
/// How long a database that could not be read is left alone.
const RETRY: Duration = Duration::from_secs(2);
/// Rows of each list in a snapshot; the rest is paged.
const TAIL: u32 = 200;
const LOG_LINES: usize = 100;
const GUILDS: usize = 100;
const INBOX: usize = 200;

/// What does not change while the node runs.
pub(super) struct About {
    pub(super) identity: Arc<Identity>,
    pub(super) name: String,
    pub(super) attest: Attest,
    pub(super) log: RecentLog,
}

/// Whom it listens to.
pub(super) struct Parts {
    pub(super) storage: Storage,
    pub(super) artifacts: Artifacts,
    pub(super) network: Network,
    pub(super) tasks: Tasks,
    pub(super) guilds: Guilds,
}

pub(super) struct Reducer {
    about: About,
    storage: Storage,
    artifacts: Artifacts,
    network: Network,
    tasks: Tasks,
    guilds: Guilds,
    started_at: Timestamp,
}

/// The state of the parts at a moment.
struct Now {
    network: NetworkState,
    live: Arc<Vec<LiveRun>>,
    transfers: Arc<Vec<Transfer>>,
}

/// Which lists have to be read again.
#[derive(Clone, Copy, Default)]
struct Stale {
    tasks: bool,
    receipts: bool,
    attestations: bool,
    events: bool,
}

impl Stale {
    const ALL: Self = Self { tasks: true, receipts: true, attestations: true, events: true };

    fn note(&mut self, event: &Event) {
        self.events = true;
        match event.what {
            Happening::Task { .. } => self.tasks = true,
            Happening::Receipt { .. } => self.receipts = true,
            // A receipt's row carries its counts.
            Happening::Attestation { .. } => (self.receipts, self.attestations) = (true, true),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Lists {
    tasks: Tail<TaskRecord>,
    receipts: Tail<ReceiptRecord>,
    attestations: Tail<AttestationRecord>,
    events: Tail<Event>,
}

impl Reducer {
    pub(super) fn new(about: About, parts: Parts) -> Self {
        let Parts { storage, artifacts, network, tasks, guilds } = parts;
        Self { about, storage, artifacts, network, tasks, guilds, started_at: Timestamp::now() }
    }

    pub(super) async fn work(
        self,
        publisher: watch::Sender<Option<Arc<Snapshot>>>,
        shutdown: CancellationToken,
    ) {
        let mut events = self.storage.subscribe();
        let mut network = self.network.state();
        let mut live = self.tasks.live();
        let mut transfers = self.artifacts.transfers();
        let mut guilds = self.guilds.changes();
        let mut questions = self.tasks.questions();
        let mut logged = self.about.log.changes();
        let mut stale = Stale::ALL;
        let mut lists = Lists::default();
        loop {
            logged.mark_unchanged();
            guilds.mark_unchanged();
            questions.mark_unchanged();
            let pause = match self.refresh(&mut lists, stale).await {
                Ok(()) => {
                    stale = Stale::default();
                    PERIOD
                }
                // The line in the log is the change that has it read again.
                Err(error) => {
                    tracing::warn!(%error, "the snapshot could not be refreshed");
                    RETRY
                }
            };
            let now = Now {
                network: network.borrow_and_update().clone(),
                live: live.borrow_and_update().clone(),
                transfers: transfers.borrow_and_update().clone(),
            };
            publisher.send_replace(Some(Arc::new(self.snapshot(&lists, &now))));
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.recv() => match event {
                    Ok(event) => stale.note(&event),
                    Err(broadcast::error::RecvError::Lagged(_)) => stale = Stale::ALL,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                changed = network.changed() => if changed.is_err() { return },
                changed = live.changed() => if changed.is_err() { return },
                changed = transfers.changed() => if changed.is_err() { return },
                changed = guilds.changed() => if changed.is_err() { return },
                changed = questions.changed() => if changed.is_err() { return },
                changed = logged.changed() => if changed.is_err() { return },
            }
            loop {
                match events.try_recv() {
                    Ok(event) => stale.note(&event),
                    Err(broadcast::error::TryRecvError::Lagged(_)) => stale = Stale::ALL,
                    Err(_) => break,
                }
            }
        }
    }

    async fn refresh(&self, lists: &mut Lists, stale: Stale) -> Result<(), StorageError> {
        let newest = Paging { before: None, limit: TAIL };
        let counts = if stale.events { Some(self.storage.counts().await?) } else { None };
        if stale.tasks {
            lists.tasks.items = self.storage.tasks(newest).await?.into_iter().map(|(_, task)| task).collect();
        }
        if stale.receipts {
            lists.receipts.items = self.storage.receipts(newest).await?;
        }
        if stale.attestations {
            lists.attestations.items = self.storage.attestations(newest).await?;
        }
        if stale.events {
            lists.events.items = self.storage.latest_events(TAIL).await?;
        }
        if let Some(counts) = counts {
            lists.tasks.total = counts.tasks;
            lists.receipts.total = counts.receipts;
            lists.attestations.total = counts.attestations;
            lists.events.total = counts.events;
        }
        Ok(())
    }

    fn snapshot(&self, lists: &Lists, now: &Now) -> Snapshot {
        let Now { network, live, transfers } = now;
        let (store_used, store_quota) = self.artifacts.usage();
        let running: HashMap<&str, &LiveRun> = live.iter().map(|run| (run.id.as_str(), run)).collect();
        let tasks = lists
            .tasks
            .items
            .iter()
            .map(|record| view(record, running.get(record.task_id.as_str()).copied()));
        let me = (self.about.identity.did().clone(), Untrusted::new(&self.about.name));
        let (guilds, names) = (self.guilds.list(), Names::new(network, &me));
        let shown = guilds.iter().take(GUILDS).map(|state| guilds::view(state, &names));
        let requests = guilds.iter().flat_map(|state| guilds::join_requests(state));
        let questions = Arc::clone(&self.tasks.questions().borrow());
        let inbox = requests.chain(questions.iter().map(question)).take(INBOX).collect();
        let log = self.about.log.tail(LOG_LINES).into_iter();
        let log = log.map(|line| LogLine {
            at: line.at,
            level: line.level.to_owned(),
            target: line.target,
            text: Untrusted::new(&line.text),
        });
        Snapshot {
            at: Timestamp::now(),
            node: NodeView {
                did: self.about.identity.did().clone(),
                peer_id: self.about.identity.peer_id(),
                name: Untrusted::new(&self.about.name),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: self.started_at,
                listen: network.listen.iter().map(|address| Untrusted::new(address)).collect(),
                data_dir: self.storage.directory().display().to_string(),
                bytes_in: network.bytes_in,
                bytes_out: network.bytes_out,
                dht_peers: network.dht_peers as u64,
                ipfs_dht_peers: network.ipfs_dht_peers.map(|peers| peers as u64),
                bitswap: ledger(network.bitswap),
                store_used,
                store_quota,
                running: u64::try_from(live.len()).unwrap_or(0),
                guild_secrets: live_secrets(),
                attest_policy: self.about.attest.as_str().to_owned(),
            },
            peers: network.peers.iter().map(peer).collect(),
            guilds: Tail { total: guilds.len() as u64, items: shown.collect() },
            tasks: Tail { total: lists.tasks.total, items: tasks.collect() },
            receipts: lists.receipts.clone(),
            attestations: lists.attestations.clone(),
            events: lists.events.clone(),
            transfers: transfers.iter().map(transfer).collect(),
            inbox,
            log: log.collect(),
        }
    }
}

/// A task's row with how far it is.
pub(super) fn view(record: &TaskRecord, run: Option<&LiveRun>) -> TaskView {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let progress = run.map(|run| ProgressView {
        fuel_used: run.progress.fuel_used,
        fuel_limit: run.limits.fuel,
        memory_bytes: run.progress.memory_bytes,
        memory_limit: run.limits.memory_bytes,
        output_bytes: run.progress.output_bytes,
        output_limit: 2 * OUTPUT_LIMIT,
        elapsed_ms: millis(run.progress.elapsed),
        time_limit_ms: run.limits.time_ms,
    });
    TaskView { record: record.clone(), progress }
}

fn question(question: &Question) -> InboxItem {
    InboxItem {
        inbox_id: question.id.clone(),
        kind: question.kind.to_owned(),
        from: question.from.clone(),
        text: question.text.clone(),
        subject: question.subject.clone(),
        at: question.at,
    }
}

fn peer(state: &PeerState) -> PeerView {
    let card = state.card.as_ref().map(|card| card.document());
    PeerView {
        peer_id: state.peer_id.clone(),
        did: card.map(|card| card.did.clone()),
        name: card.map(|card| Untrusted::new(&card.name)),
        address: Untrusted::new(&state.address),
        relayed: state.relayed,
        connected_since: state.connected_since,
        ping_us: state.ping.clone(),
        capabilities: card
            .map(|c| c.capabilities.iter().map(|c| Untrusted::new(c)).collect())
            .unwrap_or_default(),
        prices: card.map(|card| card.prices),
        agent: Untrusted::new(&state.agent_version),
        protocols: state.protocols.iter().map(|protocol| Untrusted::new(protocol)).collect(),
        bytes_in: state.bytes_in,
        bytes_out: state.bytes_out,
        guest: state.guest,
        bitswap: ledger(state.bitswap),
        faults: state.faults,
    }
}

fn ledger(ledger: Ledger) -> LedgerView {
    LedgerView {
        blocks_sent: ledger.blocks_sent,
        bytes_sent: ledger.bytes_sent,
        blocks_received: ledger.blocks_received,
        bytes_received: ledger.bytes_received,
        duplicates: ledger.duplicates,
        wants: ledger.wants,
    }
}

fn transfer(transfer: &Transfer) -> TransferView {
    TransferView {
        transfer_id: transfer.id,
        direction: match transfer.direction {
            Direction::Add => "add".to_owned(),
            Direction::Get => "get".to_owned(),
        },
        cid: transfer.cid.map(|cid| cid.to_string()),
        done: transfer.done,
        size: transfer.size,
        elapsed_ms: u64::try_from(transfer.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        sources: sources(&transfer.sources),
    }
}

/// Whence how many bytes came, most first.
pub(super) fn sources(sources: &BTreeMap<String, u64>) -> Vec<SourceView> {
    let view = |(from, bytes): (&String, &u64)| SourceView { from: Untrusted::new(from), bytes: *bytes };
    let mut all: Vec<SourceView> = sources.iter().map(view).collect();
    all.sort_by_key(|source| std::cmp::Reverse(source.bytes));
    all
}
