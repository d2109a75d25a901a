//! A journal that was kept, and what the node was at any entry of it.
//!
//! The journal tells what happened and not everything that was: costs, limits, latencies and documents are not in it, so they are
//! nought or absent in what is made of it here.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use jiff::{SignedDuration, Timestamp};

use super::command::{Answer, ApiError, ArtifactInfo, Command, ErrorKind, Page, PageRequest};
use super::file::{Download, Upload};
use super::guild::{GuildMember, GuildView};
use super::link::Answering;
use super::snapshot::{LedgerView, LogLine, NodeView, PeerView, Snapshot, Tail, TaskView};
use crate::config::Admit;
use crate::document::{Credits, Untrusted, Verdict};
use crate::identity::Did;
use crate::storage::{AttestationRecord, Event, Happening, ReceiptRecord, TaskRecord, TaskState};

/// Entries that a recording may have: some hundreds of megabytes in memory.
const ENTRIES_MAX: usize = 1_000_000;
/// Of a long list, so much is in a snapshot; the rest is paged.
const TAIL: usize = 200;
/// What one page may have at most.
const PAGE_MAX: usize = 1_000;
/// How long a guild lives of which the journal does not say it.
const GUILD_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// Stands for a node that does not say its own name anywhere in its journal: the public key of RFC 8032's first test vector.
const NOBODY: &str = "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw";

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
        let me = match me {
            Some(me) => me,
            None => NOBODY.parse().map_err(|_| RecordingError::Empty)?,
        };
        let shown = AtomicUsize::new(events.len());
        Ok(Self { events, me, known, receipts, attestations, tasks, votes, receipt_of, shown })
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
        let mut node = NodeView {
            did: self.me.clone(),
            peer_id: self.me.peer_id(),
            name: if self.known { "recording" } else { "recording of a node that is not named" }.into(),
            version: String::new(),
            started_at: started,
            listen: Vec::new(),
            data_dir: String::new(),
            bytes_in: 0,
            bytes_out: 0,
            dht_peers: 0,
            ipfs_dht_peers: None,
            bitswap: LedgerView::default(),
            store_used: 0,
            store_quota: 0,
            running: number(running),
            guild_secrets: 0,
            attest_policy: "ask".to_owned(),
        };
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
            node,
            peers: peers(past),
            guilds: guilds(past, &self.me, at),
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
            reruns: Vec::new(),
            transfers: Vec::new(),
            inbox: Vec::new(),
            log,
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

/// Who was connected.
fn peers(past: &[Event]) -> Vec<PeerView> {
    let mut peers: BTreeMap<&str, PeerView> = BTreeMap::new();
    let mut cards: HashMap<&str, (&Did, &Untrusted)> = HashMap::new();
    let mut faults: HashMap<&str, u32> = HashMap::new();
    for event in past {
        match &event.what {
            // A node that starts has no peers yet, whatever the journal says of its last run.
            Happening::Started { .. } | Happening::Stopped => peers.clear(),
            Happening::PeerConnected { peer_id, address } => {
                peers.insert(peer_id, peer(peer_id, address, event.at));
            }
            Happening::PeerDisconnected { peer_id, .. } => {
                peers.remove(peer_id.as_str());
            }
            Happening::PeerCard { peer_id, did, name } => {
                cards.insert(peer_id, (did, name));
            }
            Happening::PeerFault { peer_id, .. } => *faults.entry(peer_id).or_default() += 1,
            _ => {}
        }
    }
    for (id, peer) in &mut peers {
        if let Some((did, name)) = cards.get(id) {
            peer.did = Some((*did).clone());
            peer.name = Some((*name).clone());
        }
        peer.faults = faults.get(id).copied().unwrap_or(0);
    }
    peers.into_values().collect()
}

fn peer(peer_id: &str, address: &Untrusted, at: Timestamp) -> PeerView {
    PeerView {
        peer_id: Untrusted::new(peer_id).to_string(),
        did: None,
        name: None,
        address: address.clone(),
        relayed: address.as_str().contains("/p2p-circuit"),
        connected_since: at,
        ping_us: Vec::new(),
        capabilities: Vec::new(),
        prices: None,
        agent: Untrusted::default(),
        protocols: Vec::new(),
        bytes_in: 0,
        bytes_out: 0,
        guest: false,
        bitswap: LedgerView::default(),
        faults: 0,
    }
}

/// The guilds that the node was in.
fn guilds(past: &[Event], me: &Did, at: Timestamp) -> Tail<GuildView> {
    let mut guilds: BTreeMap<&str, GuildView> = BTreeMap::new();
    for event in past {
        let Happening::Guild { guild_id, name, step, who, detail } = &event.what else {
            if matches!(event.what, Happening::Started { .. }) {
                guilds.clear();
            }
            continue;
        };
        let over = matches!(step.as_str(), "dissolved" | "expired" | "creator-lost");
        let out = matches!(step.as_str(), "left" | "removed" | "evicted");
        if over || (out && who == me) {
            guilds.remove(guild_id.as_str());
            continue;
        }
        let guild = guilds.entry(guild_id).or_insert_with(|| GuildView {
            guild_id: Untrusted::new(guild_id).to_string(),
            name: name.clone(),
            creator: who.clone(),
            role: Some(if who == me && step == "created" { "creator" } else { "member" }.to_owned()),
            state: "member".to_owned(),
            admit: Admit::Ask,
            capacity: 0,
            created_at: event.at,
            expires_at: event.at.checked_add(GUILD_LIFE).unwrap_or(event.at).max(at),
            epoch: 0,
            members: Vec::new(),
            asking: Vec::new(),
            lines: Vec::new(),
            lines_total: 0,
        });
        guild.members.retain(|member| member.did != *who);
        let role = match (step.as_str(), detail) {
            ("created", _) => "creator".to_owned(),
            ("role", Some(role)) => role.to_string(),
            ("joined" | "returned", _) => "member".to_owned(),
            _ => continue,
        };
        if who == me {
            guild.role = Some(role.clone());
        }
        guild.members.push(GuildMember { did: who.clone(), name: None, role, heard_at: Some(event.at) });
    }
    let items: Vec<GuildView> = guilds.into_values().collect();
    Tail { total: number(items.len()), items }
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
mod tests {
    use super::*;

    const ME: &str = NOBODY;

    fn journal() -> String {
        let other = crate::identity::Identity::from_secret(&[3; 32]);
        let (peer, did) = (other.peer_id(), other.did().to_string());
        let receipt = crate::document::content_id(b"receipt").to_string();
        let lines = [
            r#""event":"started","version":"0.1.0""#.to_owned(),
            format!(r#""event":"peer-connected","peer_id":"{peer}","address":"/ip4/192.0.2.1/tcp/1""#),
            format!(r#""event":"peer-card","peer_id":"{peer}","did":"{did}","name":"atlas""#),
            format!(
                r#""event":"task","task_id":"aa","name":"t","step":"published","node":"{ME}","detail":null"#
            ),
            format!(
                r#""event":"task","task_id":"aa","name":"t","step":"running","node":"{did}","detail":null"#
            ),
            format!(
                r#""event":"receipt","receipt_id":"{receipt}","task_id":"aa","name":"t","executor":"{did}","status":"ok""#
            ),
            format!(
                r#""event":"task","task_id":"aa","name":"t","step":"receipted","node":"{did}","detail":null"#
            ),
            format!(
                r#""event":"attestation","attestation_id":"v","receipt_id":"{receipt}","name":"t","witness":"{ME}","verdict":"disagree""#
            ),
            format!(r#""event":"peer-disconnected","peer_id":"{peer}","reason":"gone""#),
        ];
        let line = |(i, what): (usize, &String)| {
            format!("{{\"seq\":{},\"at\":\"2026-11-23T14:02:0{i}Z\",{what}}}\n", i + 1)
        };
        lines.iter().enumerate().map(line).collect()
    }

    #[test]
    fn every_moment_of_a_journal_can_be_seen() {
        let recording = Recording::read(&journal()).unwrap();
        let at = |count| recording.snapshot(count);
        assert_eq!(at(0).peers.len() + at(0).tasks.items.len(), 0);
        assert_eq!(at(2).peers[0].name, None);
        assert_eq!(at(3).peers[0].name.as_ref().unwrap().as_str(), "atlas");
        assert_eq!(at(4).tasks.items[0].record.state, TaskState::Published);
        assert_eq!((at(5).node.running, at(7).node.running), (1, 0));
        assert!(matches!(at(7).tasks.items[0].record.state, TaskState::Receipted { .. }));
        assert_eq!((at(7).receipts.items[0].disagree, at(8).receipts.items[0].disagree), (0, 1));
        assert_eq!((at(8).peers.len(), at(9).peers.len()), (1, 0));
        assert_eq!(at(9).events.items.len(), 9);
        // Back again, it is as it was.
        assert_eq!(at(5), Recording::read(&journal()).unwrap().snapshot(5));
    }

    #[test]
    fn guilds_are_as_the_journal_of_a_node_tells_them() {
        let other = crate::identity::Identity::from_secret(&[3; 32]).did().to_string();
        let guild = crate::document::content_id(b"guild").to_string();
        let steps = [
            ("created", ME, "null"),
            ("joined", &other, "null"),
            ("role", &other, "\"executor\""),
            ("removed", &other, "null"),
            ("dissolved", ME, "null"),
        ];
        let line = |(i, (step, who, detail)): (usize, &(&str, &str, &str))| {
            format!(
                r#"{{"seq":{},"at":"2026-11-23T14:02:0{i}Z","event":"guild","guild_id":"{guild}","name":"g","step":"{step}","who":"{who}","detail":{detail}}}"#,
                i + 1
            )
        };
        let text: Vec<String> = steps.iter().enumerate().map(line).collect();
        let recording = Recording::read(&text.join("\n")).unwrap();
        let at = |count: usize| recording.snapshot(count).guilds.items;
        assert_eq!((at(1)[0].role.as_deref(), at(1)[0].members.len()), (Some("creator"), 1));
        assert_eq!(
            at(3)[0].members.iter().find(|member| member.did.to_string() == other).unwrap().role,
            "executor"
        );
        assert_eq!((at(4)[0].members.len(), at(5).len()), (1, 0));
        assert_eq!(recording.snapshot(1).node.did.to_string(), ME);
    }

    #[test]
    fn pages_go_as_far_as_the_moment_that_is_shown() {
        let recording = Recording::read(&journal()).unwrap();
        recording.snapshot(5);
        let page = PageRequest { before: None, limit: 10 };
        let Ok(Answer::Receipts(none)) = recording.answer(&Command::Receipts { page }) else {
            panic!("no page")
        };
        assert_eq!(none.items.len(), 0);
        recording.snapshot(9);
        let Ok(Answer::Receipts(one)) = recording.answer(&Command::Receipts { page }) else {
            panic!("no page")
        };
        assert_eq!((one.items.len(), one.next), (1, None));
    }

    #[test]
    fn an_array_is_a_journal_too_and_a_wrong_line_is_named() {
        let lines: Vec<String> = journal().lines().map(str::to_owned).collect();
        let array = format!("[{}]", lines.join(",\n"));
        assert_eq!(Recording::read(&array).unwrap().len(), 9);
        let wrong = Recording::read(&format!("{}\n{{}}", lines[0])).unwrap_err().to_string();
        assert!(wrong.starts_with("line 2 "), "{wrong}");
        assert!(matches!(Recording::read("\n"), Err(RecordingError::Empty)));
    }
}
