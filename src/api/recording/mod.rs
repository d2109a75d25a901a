//! A journal that was kept, and what the node was at any entry of it.
//!
//! The journal tells what happened and not everything that was: costs, limits, latencies and documents are not in it, so they are
//! nought or absent in what is made of it here.

mod guilds;
mod peers;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;

use super::command::{Answer, ApiError, ArtifactInfo, Command, ErrorKind, Page, PageRequest};
use super::file::{Download, Upload};
use super::link::Answering;
use super::snapshot::{LogLine, NodeView, Snapshot, Tail, TaskView};
use crate::document::{Credits, Untrusted, Verdict};
use crate::identity::Did;
use crate::storage::{AttestationRecord, Event, Happening, ReceiptRecord, TaskRecord, TaskState};

/// Entries that a recording may have: some hundreds of megabytes in memory.
const ENTRIES_MAX: usize = 1_000_000;
/// Of a long list, so much is in a snapshot; the rest is paged.
const TAIL: usize = 200;
/// What one page may have at most.
const PAGE_MAX: usize = 1_000;
/// Stands for a node that does not say its own name anywhere in its journal: the public key of RFC 8032's first test vector.
const UNNAMED: &str = "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw";
/// Stands for anybody else of whom it is not told who it was: that of the second one.
const NOBODY: &str = "did:key:z6MkiaMbhXHNA4eJVCCj8dbzKzTgYDKf6crKgHVHid1F1WCT";

/// Why a file is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("line {line} is not an entry of a journal as `zerostate events --json` prints it: {why}")]
    Entry { line: usize, why: String },
    #[error("there is no entry in it")]
    Empty,
    #[error("it has more than {ENTRIES_MAX} entries")]
    TooLong,
}

/// A journal, with what is needed to find out quickly what was at an entry.
#[derive(Debug)]
pub struct Recording {
    events: Vec<Event>,
    me: Did,
    /// Stands for who is not told.
    nobody: Did,
    /// Whether the journal says whose it is.
    known: bool,
    /// Places in `events`, in their order.
    receipts: Vec<usize>,
    attestations: Vec<usize>,
    /// Of each task and receipt, where something is said of it.
    tasks: Vec<(String, Vec<usize>)>,
    votes: HashMap<String, Vec<usize>>,
    receipt_of: HashMap<String, Vec<usize>>,
    /// So many entries are shown.
    shown: AtomicUsize,
}

impl Recording {
    /// Reads entries as `zerostate events --json` prints them, one a line or as one array.
    ///
    /// # Errors
    /// [`RecordingError`], with the line.
    pub fn read(text: &str) -> Result<Self, RecordingError> {
        let entry = |line: usize| {
            move |error: serde_json::Error| RecordingError::Entry { line, why: error.to_string() }
        };
        let events: Vec<Event> = if text.trim_start().starts_with('[') {
            serde_json::from_str(text)
                .map_err(|error| RecordingError::Entry { line: error.line(), why: error.to_string() })?
        } else {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let parsed =
                lines.take(ENTRIES_MAX + 1).map(|(i, line)| serde_json::from_str(line).map_err(entry(i + 1)));
            parsed.collect::<Result<_, _>>()?
        };
        if events.is_empty() {
            return Err(RecordingError::Empty);
        }
        if events.len() > ENTRIES_MAX {
            return Err(RecordingError::TooLong);
        }
        Self::of(events)
    }

    fn of(events: Vec<Event>) -> Result<Self, RecordingError> {
        let (mut receipts, mut attestations) = (Vec::new(), Vec::new());
        let mut tasks: Vec<(String, Vec<usize>)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let (mut votes, mut receipt_of) =
            (HashMap::<String, Vec<usize>>::new(), HashMap::<String, Vec<usize>>::new());
        let mut me = None;
        for (at, event) in events.iter().enumerate() {
            match &event.what {
                Happening::Task { task_id, step, node, .. } => {
                    if matches!(step.as_str(), "drafted" | "published") {
                        me.get_or_insert_with(|| node.clone());
                    }
                    let place = *places.entry(task_id.clone()).or_insert_with(|| {
                        tasks.push((task_id.clone(), Vec::new()));
                        tasks.len() - 1
                    });
                    tasks.get_mut(place).into_iter().for_each(|(_, steps)| steps.push(at));
                }
                // Only who founds a guild writes that it was created.
                Happening::Guild { step, who, .. } if step == "created" => {
                    me.get_or_insert_with(|| who.clone());
                }
                Happening::Receipt { task_id, .. } => {
                    receipts.push(at);
                    receipt_of.entry(task_id.clone()).or_default().push(at);
                }
                Happening::Attestation { receipt_id, .. } => {
                    attestations.push(at);
                    votes.entry(receipt_id.clone()).or_default().push(at);
                }
                _ => {}
            }
        }
        let known = me.is_some();
        let stand_in = |did: &str| did.parse::<Did>().map_err(|_| RecordingError::Empty);
        let me = me.map_or_else(|| stand_in(UNNAMED), Ok)?;
        let nobody = stand_in(NOBODY)?;
        let shown = AtomicUsize::new(events.len());
        Ok(Self { events, me, nobody, known, receipts, attestations, tasks, votes, receipt_of, shown })
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// It never is: a journal without entries is refused.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// What the node was after so many entries; what is asked of it from now on is answered from there.
    pub fn snapshot(&self, count: usize) -> Snapshot {
        let count = count.min(self.events.len());
        self.shown.store(count, Ordering::Relaxed);
        let past = self.events.get(..count).unwrap_or_default();
        let started = self.events.first().map_or(Timestamp::UNIX_EPOCH, |event| event.at);
        let at = past.last().map_or(started, |event| event.at);
        let tasks = self.tasks(count);
        let running = tasks.iter().filter(|task| task.record.state == TaskState::Running).count();
        let mut node = NodeView::new(self.me.clone(), started);
        node.name = if self.known { "recording" } else { "recording of a node that is not named" }.into();
        node.running = number(running);
        let mut log = Vec::new();
        for event in past {
            match &event.what {
                Happening::Started { version } => {
                    node.version = Untrusted::new(version).to_string();
                    node.started_at = event.at;
                    node.listen.clear();
                }
                Happening::Listening { address } => node.listen.push(address.clone()),
                Happening::Warning { text } => log.push(LogLine {
                    at: event.at,
                    level: "WARN".to_owned(),
                    target: "journal".to_owned(),
                    text: text.clone(),
                }),
                _ => {}
            }
        }
        node.listen.dedup();
        log.drain(..log.len().saturating_sub(TAIL));
        let (receipts, attestations) = (before(&self.receipts, count), before(&self.attestations, count));
        Snapshot {
            at,
            peers: peers::peers(past),
            guilds: guilds::guilds(past, &self.me, &self.nobody, at),
            tasks: Tail { total: number(tasks.len()), items: tasks.into_iter().take(TAIL).collect() },
            receipts: Tail {
                total: number(receipts.len()),
                items: receipts.iter().rev().take(TAIL).filter_map(|at| self.receipt(*at, count)).collect(),
            },
            attestations: Tail {
                total: number(attestations.len()),
                items: attestations.iter().rev().take(TAIL).filter_map(|at| self.attestation(*at)).collect(),
            },
            events: Tail { total: number(count), items: past.iter().rev().take(TAIL).cloned().collect() },
            log,
            ..Snapshot::of(node)
        }
    }

    /// The tasks there were, newest first.
    fn tasks(&self, count: usize) -> Vec<TaskView> {
        self.tasks.iter().rev().filter_map(|(id, steps)| self.task(id, before(steps, count), count)).collect()
    }

    fn task(&self, id: &str, steps: &[usize], count: usize) -> Option<TaskView> {
        let (first, last) = (self.events.get(*steps.first()?)?, self.events.get(*steps.last()?)?);
        let Happening::Task { name, node: creator, .. } = &first.what else { return None };
        let receipt = self.receipt_of.get(id).and_then(|places| before(places, count).last().copied());
        let receipt = receipt.and_then(|at| self.events.get(at)).and_then(|event| match &event.what {
            Happening::Receipt { receipt_id, executor, .. } => Some((receipt_id, executor)),
            _ => None,
        });
        let mut state = TaskState::Drafted;
        let mut runs_on = None;
        for event in steps.iter().filter_map(|at| self.events.get(*at)) {
            let Happening::Task { step, node, detail, .. } = &event.what else { continue };
            if step == "running" {
                runs_on = Some(node.clone());
            }
            state = state_after(step, detail.clone(), receipt.map(|(id, _)| id.as_str())).unwrap_or(state);
        }
        Some(TaskView {
            record: TaskRecord {
                task_id: Untrusted::new(id).to_string(),
                manifest_id: String::new(),
                name: name.clone(),
                creator: creator.clone(),
                executor: receipt.map(|(_, executor)| executor.clone()).or(runs_on),
                guild_id: None,
                within: None,
                candidates: Vec::new(),
                audit: None,
                state,
                quorum: 0,
                created_at: first.at,
                updated_at: last.at,
                expires_at: last.at,
            },
            progress: None,
        })
    }

    fn receipt(&self, at: usize, count: usize) -> Option<ReceiptRecord> {
        let event = self.events.get(at)?;
        let Happening::Receipt { receipt_id, task_id, name, executor, status } = &event.what else {
            return None;
        };
        let votes = self.votes.get(receipt_id).map_or(&[][..], |places| before(places, count));
        let cast = |wanted: Verdict| {
            let counted = votes.iter().filter_map(|at| self.events.get(*at)).filter(
                |event| matches!(&event.what, Happening::Attestation { verdict, .. } if *verdict == wanted),
            );
            u32::try_from(counted.count()).unwrap_or(u32::MAX)
        };
        Some(ReceiptRecord {
            cursor: number(at),
            receipt_id: Untrusted::new(receipt_id).to_string(),
            task_id: Untrusted::new(task_id).to_string(),
            name: name.clone(),
            executor: executor.clone(),
            requester: self.me.clone(),
            status: *status,
            total_micro: Credits::ZERO,
            duration_ns: 0,
            fuel_used: 0,
            peak_memory_bytes: 0,
            finished_at: event.at,
            agree: cast(Verdict::Agree),
            disagree: cast(Verdict::Disagree),
            unverifiable: cast(Verdict::Unverifiable),
            quorum: 0,
        })
    }

    fn attestation(&self, at: usize) -> Option<AttestationRecord> {
        let event = self.events.get(at)?;
        let Happening::Attestation { attestation_id, receipt_id, name, witness, verdict } = &event.what
        else {
            return None;
        };
        Some(AttestationRecord {
            cursor: number(at),
            attestation_id: Untrusted::new(attestation_id).to_string(),
            receipt_id: Untrusted::new(receipt_id).to_string(),
            name: name.clone(),
            witness: witness.clone(),
            verdict: *verdict,
            reason: None,
            differences: Vec::new(),
            at: event.at,
            discounted: None,
        })
    }

    fn answer(&self, command: &Command) -> Result<Answer, ApiError> {
        let count = self.shown.load(Ordering::Relaxed);
        match command {
            Command::Receipts { page } => {
                Ok(Answer::Receipts(paged(before(&self.receipts, count), *page, |at| {
                    self.receipt(at, count)
                })))
            }
            Command::Attestations { page } => {
                Ok(Answer::Attestations(paged(before(&self.attestations, count), *page, |at| {
                    self.attestation(at)
                })))
            }
            Command::Tasks { page } => {
                let places: Vec<usize> = (0..self.tasks.len()).collect();
                let task = |at: usize| {
                    let (id, steps) = self.tasks.get(at)?;
                    self.task(id, before(steps, count), count)
                };
                Ok(Answer::Tasks(paged(&places, *page, task)))
            }
            Command::Events { after, limit } => {
                let past = self.events.get(..count).unwrap_or_default();
                let limit = usize::try_from(*limit).unwrap_or(PAGE_MAX).min(PAGE_MAX);
                Ok(Answer::Events(
                    past.iter().filter(|event| event.seq > *after).take(limit).cloned().collect(),
                ))
            }
            Command::TaskShow { .. } | Command::ReceiptShow { .. } | Command::ReceiptEvidence { .. } => {
                let what = "a journal tells that it was, and does not hold the document";
                Err(ApiError::new(ErrorKind::NotFound, what).hint("the node that kept the journal has it"))
            }
            _ => Err(none_there()),
        }
    }
}

fn none_there() -> ApiError {
    ApiError::new(
        ErrorKind::Unavailable,
        "this is the journal of a node, and no node that could do something",
    )
}

/// Those places that come before an entry.
fn before(places: &[usize], count: usize) -> &[usize] {
    places.get(..places.partition_point(|at| *at < count)).unwrap_or_default()
}

fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn paged<T>(places: &[usize], page: PageRequest, make: impl Fn(usize) -> Option<T>) -> Page<T> {
    let end = page.before.map_or(places.len(), |cursor| places.partition_point(|at| number(*at) < cursor));
    let limit = usize::try_from(page.limit).unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let from = end.saturating_sub(limit);
    let some = places.get(from..end).unwrap_or_default();
    Page {
        total: number(places.len()),
        items: some.iter().rev().filter_map(|at| make(*at)).collect(),
        next: some.first().filter(|_| from > 0).map(|at| number(*at)),
    }
}

/// The state that a step leads to; sub-steps lead to none.
fn state_after(step: &str, detail: Option<Untrusted>, receipt: Option<&str>) -> Option<TaskState> {
    let reason = detail.unwrap_or_default();
    let id = receipt.map(str::to_owned);
    let cid = receipt.and_then(|id| id.parse().ok());
    Some(match (step, cid) {
        ("drafted", _) => TaskState::Drafted,
        ("published", _) => TaskState::Published,
        ("offered", _) => TaskState::Offered,
        ("guilded", _) => TaskState::Guilded,
        ("agreed", _) => TaskState::Agreed,
        ("running", _) => TaskState::Running,
        ("receipted", Some(receipt)) => TaskState::Receipted { receipt },
        ("attested", Some(receipt)) => TaskState::Attested { receipt },
        ("settled", Some(receipt)) => TaskState::Settled { receipt },
        ("closed", Some(receipt)) => TaskState::Closed { receipt },
        ("disputed", Some(receipt)) => TaskState::Disputed { reason, receipt },
        ("expired", _) => TaskState::Expired { reason, receipt: id },
        ("cancelled", _) => TaskState::Cancelled { reason },
        ("failed", _) => TaskState::Failed { reason, receipt: id },
        _ => return None,
    })
}

impl Answering for Recording {
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Answer, ApiError>> {
        async move { self.answer(&command) }.boxed()
    }

    fn add_artifact(&self, _: Upload) -> BoxFuture<'_, Result<ArtifactInfo, ApiError>> {
        async { Err(none_there()) }.boxed()
    }

    fn read_artifact(&self, _: String) -> BoxFuture<'_, Result<Download, ApiError>> {
        async { Err(none_there()) }.boxed()
    }

    fn read_block(&self, _: String) -> BoxFuture<'_, Result<Bytes, ApiError>> {
        async { Err(none_there()) }.boxed()
    }
}

#[cfg(test)]
mod tests;
