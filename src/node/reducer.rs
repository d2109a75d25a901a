//! The reducer: folds everything the parts say into the one snapshot that consoles look at.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::guilds::{self, Names};
use super::peers::{Views, ledger};
use crate::api::{
    AttestationRecord, Event, InboxItem, LogLine, NodeView, PeerView, ProgressView, ReceiptRecord, RerunView,
    Snapshot, SourceView, Tail, TaskRecord, TaskView, TransferView,
};
use crate::artifact::{Artifacts, Direction, Transfer};
use crate::config::Attest;
use crate::document::Untrusted;
use crate::execution::{DEFAULT_OUTPUT_BYTES as OUTPUT_LIMIT, OUTPUT_TOLD};
use crate::guild::{Guilds, live_secrets};
use crate::identity::Identity;
use crate::network::{Network, NetworkState};
use crate::storage::{Counts, Happening, Paging, Storage, StorageError};
use crate::task::{LiveRun, Question, Tasks};
use crate::telemetry::RecentLog;

/// At most ten snapshots a second.
const PERIOD: Duration = Duration::from_millis(100);
/// A node of which nothing changes says so often that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a database that could not be read is left alone.
const RETRY: Duration = Duration::from_secs(2);
/// Rows of each list in a snapshot; the rest is paged.
const TAIL: usize = 200;
/// So many rows that have changed are read by themselves; where there are more, the whole list is.
const FEW: usize = 64;
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

/// What has to be read again: rows by their ids, or everything.
#[derive(Default)]
struct Stale {
    all: bool,
    tasks: BTreeSet<String>,
    receipts: BTreeSet<String>,
    attestations: BTreeSet<String>,
}

impl Stale {
    fn everything() -> Self {
        Self { all: true, ..Self::default() }
    }

    fn note(&mut self, event: &Event) {
        match &event.what {
            Happening::Task { task_id, .. } => {
                self.tasks.insert(task_id.clone());
            }
            Happening::Receipt { receipt_id, .. } => {
                self.receipts.insert(receipt_id.clone());
            }
            // A receipt's row carries its counts.
            Happening::Attestation { attestation_id, receipt_id, .. } => {
                self.attestations.insert(attestation_id.clone());
                self.receipts.insert(receipt_id.clone());
            }
            _ => {}
        }
    }

    fn is_empty(&self) -> bool {
        !self.all && self.tasks.is_empty() && self.receipts.is_empty() && self.attestations.is_empty()
    }
}

#[derive(Default)]
struct Lists {
    counts: Counts,
    tasks: Vec<(u64, TaskRecord)>,
    receipts: Vec<ReceiptRecord>,
    attestations: Vec<AttestationRecord>,
    events: Vec<Event>,
}

impl Lists {
    fn hear(&mut self, event: Event) {
        // What came while the list was read is in it.
        if self.events.first().is_none_or(|newest| newest.seq < event.seq) {
            self.events.insert(0, event);
            self.events.truncate(TAIL);
        }
    }

    /// No event is ever taken out.
    fn events(&self) -> u64 {
        self.events.first().map_or(0, |newest| newest.seq)
    }
}

/// Puts rows in their places in a list, newest first.
fn place<T>(list: &mut Vec<T>, rows: Vec<T>, cursor: impl Fn(&T) -> u64) {
    for row in rows {
        let found = list.binary_search_by(|known| cursor(&row).cmp(&cursor(known)));
        match found.map(|at| list.get_mut(at)) {
            Ok(Some(known)) => *known = row,
            Ok(None) => {}
            Err(at) => list.insert(at, row),
        }
    }
    list.truncate(TAIL);
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
        let mut stale = Stale::everything();
        let (mut lists, mut views) = (Lists::default(), Views::default());
        loop {
            logged.mark_unchanged();
            guilds.mark_unchanged();
            questions.mark_unchanged();
            let pause = match self.refresh(&mut lists, &stale).await {
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
            let peers = views.of(&now.network.peers);
            publisher.send_replace(Some(Arc::new(self.snapshot(&lists, &now, peers))));
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.recv() => match event {
                    Ok(event) => {
                        stale.note(&event);
                        lists.hear(event);
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => stale = Stale::everything(),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                () = tokio::time::sleep(HEARTBEAT) => {}
                changed = network.changed() => if changed.is_err() { return },
                changed = live.changed() => if changed.is_err() { return },
                changed = transfers.changed() => if changed.is_err() { return },
                changed = guilds.changed() => if changed.is_err() { return },
                changed = questions.changed() => if changed.is_err() { return },
                changed = logged.changed() => if changed.is_err() { return },
            }
            loop {
                match events.try_recv() {
                    Ok(event) => {
                        stale.note(&event);
                        lists.hear(event);
                    }
                    Err(broadcast::error::TryRecvError::Lagged(_)) => stale = Stale::everything(),
                    Err(_) => break,
                }
            }
        }
    }

    async fn refresh(&self, lists: &mut Lists, stale: &Stale) -> Result<(), StorageError> {
        if stale.is_empty() {
            return Ok(());
        }
        let limit = u32::try_from(TAIL).unwrap_or(u32::MAX);
        let (storage, newest) = (&self.storage, Paging { before: None, limit });
        let many = |ids: &BTreeSet<String>| stale.all || ids.len() > FEW;
        let ids = |ids: &BTreeSet<String>| ids.iter().cloned().collect();
        if many(&stale.tasks) {
            lists.tasks = storage.tasks(newest).await?;
        } else if !stale.tasks.is_empty() {
            place(&mut lists.tasks, storage.tasks_of(ids(&stale.tasks)).await?, |(cursor, _)| *cursor);
        }
        if many(&stale.receipts) {
            lists.receipts = storage.receipts(newest).await?;
        } else if !stale.receipts.is_empty() {
            let rows = storage.receipts_of(ids(&stale.receipts)).await?;
            place(&mut lists.receipts, rows, |receipt| receipt.cursor);
        }
        if many(&stale.attestations) {
            lists.attestations = storage.attestations(newest).await?;
        } else if !stale.attestations.is_empty() {
            let rows = storage.attestations_among(ids(&stale.attestations)).await?;
            place(&mut lists.attestations, rows, |attestation| attestation.cursor);
        }
        if stale.all {
            lists.events = storage.latest_events(limit).await?;
        }
        lists.counts = storage.counts().await?;
        Ok(())
    }

    fn snapshot(&self, lists: &Lists, now: &Now, peers: Vec<Arc<PeerView>>) -> Snapshot {
        let Now { network, live, transfers } = now;
        let (store_used, store_quota) = self.artifacts.usage();
        let running: HashMap<&str, &LiveRun> = live.iter().map(|run| (run.id.as_str(), run)).collect();
        let own =
            lists.tasks.iter().map(|(_, record)| view(record, running.get(record.task_id.as_str()).copied()));
        let mut hosted: Vec<TaskView> = live.iter().filter_map(hosted).collect();
        hosted.sort_by_key(|task| std::cmp::Reverse(task.record.updated_at));
        let task_count = lists.counts.tasks + hosted.len() as u64;
        let tasks = hosted.into_iter().chain(own);
        let me = (self.about.identity.did().clone(), Untrusted::new(&self.about.name));
        let (mut guilds, names) = (self.guilds.list(), Names::of(&peers, &me));
        // Those of tasks are many, and soon over: the operator's own come first.
        guilds.sort_by_key(|guild| guild.formed);
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
            peers,
            guilds: Tail { total: guilds.len() as u64, items: shown.collect() },
            tasks: Tail { total: task_count, items: tasks.collect() },
            receipts: Tail { total: lists.counts.receipts, items: lists.receipts.clone() },
            attestations: Tail { total: lists.counts.attestations, items: lists.attestations.clone() },
            events: Tail { total: lists.events(), items: lists.events.clone() },
            reruns: live.iter().filter_map(rerun).collect(),
            transfers: transfers.iter().map(transfer).collect(),
            inbox,
            log: log.collect(),
        }
    }
}

/// A task's row with how far it is.
pub(super) fn view(record: &TaskRecord, run: Option<&LiveRun>) -> TaskView {
    TaskView { record: record.clone(), progress: run.map(progress) }
}

/// A task of another node that is run here; it is in the list for as long as it runs.
pub(super) fn hosted(run: &LiveRun) -> Option<TaskView> {
    run.hosted.as_ref().map(|hosted| view(&hosted.record, Some(run)))
}

fn progress(run: &LiveRun) -> ProgressView {
    ProgressView {
        fuel_used: run.progress.fuel_used,
        fuel_limit: run.limits.fuel,
        memory_bytes: run.progress.memory_bytes,
        memory_limit: run.limits.memory_bytes,
        output_bytes: run.progress.output_bytes,
        output_limit: 2 * OUTPUT_LIMIT,
        elapsed_ms: u64::try_from(run.progress.elapsed.as_millis()).unwrap_or(u64::MAX),
        time_limit_ms: run.limits.time_ms,
        output: Untrusted::lines(&String::from_utf8_lossy(&run.progress.output), OUTPUT_TOLD),
        told_at: run.progress.told_at,
    }
}

fn rerun(run: &LiveRun) -> Option<RerunView> {
    let receipt_id = run.rerun_of()?.to_owned();
    Some(RerunView { receipt_id, progress: progress(run) })
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
