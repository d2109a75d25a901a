//! The one thread that writes: it takes what has queued up and commits it together, because a sync costs the same for one
//! batch as for a hundred. Everything that can be worked out before is worked out by whoever writes.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use cid::Cid;
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use serde::Serialize;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::chain::{HEADS, last_link};
use super::records::{ArtifactRecord, AttestationRecord, ReceiptRecord, TaskRecord};
use super::{Event, Happening, StorageError};
use crate::document::{AnyEnvelope, Envelope, Head, Receipt, Untrusted};

/// Batches that share a commit.
const GROUP: usize = 1024;
/// So many batches at once are a sign that more are coming.
const MANY: usize = 2;
/// How long a commit waits for them at the most: a few syncs' time.
const GATHER: Duration = Duration::from_millis(10);
/// How often they are looked for, and after how many looks in vain no more are expected.
const PAUSE: Duration = Duration::from_micros(100);
const QUIET: u32 = 8;

/// How long pages are kept that a commit has read, where no more batches wait.
const KEEP_PAGES: Duration = Duration::from_millis(250);

/// One row to be written.
#[derive(Debug, Clone)]
pub enum Write {
    /// A verified envelope. One that is stored already stays as it is.
    Document(AnyEnvelope),
    /// A new task, or a known one in its new state.
    Task(Box<TaskRecord>),
    Receipt(ReceiptRecord),
    /// The first vote of a witness about a receipt counts; later ones are dropped. `unverifiable` is no vote yet.
    Attestation(AttestationRecord),
    /// What a witness has said in the guild of an own task: it takes the place of whatever else came of it.
    Testimony(AttestationRecord),
    Event(Timestamp, Happening),
    /// What was agreed to and committed to for a receipt, by the ids of the documents.
    Evidence {
        receipt: Cid,
        documents: Vec<Cid>,
    },
    /// Something that this node has signed becomes the next entry of its chain.
    Link(Cid),
    /// The last head of this node's own chain.
    OwnHead(Envelope<Head>),
    /// The last head that is known of its node; `near` when that is connected. Those of strangers may take half of the room.
    Head {
        head: Envelope<Head>,
        near: bool,
    },
    /// Two heads of a node that do not extend each other; the first proof is enough.
    Equivocation {
        first: Envelope<Head>,
        second: Envelope<Head>,
    },
    /// A file of which all blocks are stored. One that is known already stays as it is, but for a pin.
    Artifact(ArtifactRecord),
    /// Keep it, or no longer.
    Pin {
        cid: Cid,
        pinned: bool,
    },
    /// Its blocks are to be removed.
    NoArtifact(Cid),
    /// A guild this node is in; the record is the guild's own.
    Guild {
        guild_id: String,
        record: String,
    },
    /// It is over, or this node is in it no more.
    NoGuild {
        guild_id: String,
    },
    Peer {
        peer_id: String,
        address: String,
        seen_at: Timestamp,
    },
}

impl Write {
    /// All that stores a receipt: the document, its row and the event.
    pub fn receipt(envelope: &Envelope<Receipt>, name: Untrusted, quorum: u32) -> [Self; 3] {
        let record = ReceiptRecord::new(envelope, name, quorum);
        let happening = Happening::Receipt {
            receipt_id: record.receipt_id.clone(),
            task_id: record.task_id.clone(),
            name: record.name.clone(),
            executor: record.executor.clone(),
            status: record.status,
        };
        [
            Self::Document(AnyEnvelope::Receipt(envelope.clone())),
            Self::Receipt(record),
            Self::Event(Timestamp::now(), happening),
        ]
    }
}

/// A write as the database takes it.
pub(super) struct Row {
    sql: &'static str,
    values: Vec<Value>,
    /// Its place and value are known when it is written.
    link: Option<Cid>,
    /// What to tell when it is written, but for its number.
    event: Option<Event>,
}

impl Row {
    /// # Errors
    /// When a record cannot be written as JSON.
    pub(super) fn of(write: &Write) -> Result<Self, StorageError> {
        let (sql, values) = match write {
            Write::Document(envelope) => (
                "INSERT INTO documents (id, kind, signer, bytes) SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS
                 (SELECT 1 FROM documents WHERE substr(id, 1, 16) = substr(?1, 1, 16) AND id = ?1)",
                vec![
                    envelope.id().to_string().into(),
                    envelope.kind().as_str().to_owned().into(),
                    envelope.signer().as_str().to_owned().into(),
                    envelope.bytes().to_vec().into(),
                ],
            ),
            Write::Task(record) => (
                "INSERT INTO tasks (task_id, pending, record) VALUES (?1, ?2, ?3)
                 ON CONFLICT (task_id) DO UPDATE SET pending = excluded.pending, record = excluded.record",
                vec![record.task_id.clone().into(), record.is_unfinished().into(), json(record)?],
            ),
            Write::Receipt(record) => (
                "INSERT INTO receipts (receipt_id, record) SELECT ?1, ?2 WHERE NOT EXISTS
                 (SELECT 1 FROM receipts WHERE substr(receipt_id, 1, 16) = substr(?1, 1, 16) AND receipt_id = ?1)",
                vec![record.receipt_id.clone().into(), json(record)?],
            ),
            Write::Attestation(record) => (
                "INSERT INTO attestations (attestation_id, receipt_id, witness, verdict, record, discounted)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET attestation_id = excluded.attestation_id, verdict = excluded.verdict,
                    record = excluded.record, discounted = excluded.discounted
                 WHERE attestations.verdict = 'unverifiable' AND excluded.verdict <> 'unverifiable'",
                attestation(record)?,
            ),
            Write::Testimony(record) => (
                "INSERT INTO attestations (attestation_id, receipt_id, witness, verdict, record, discounted)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET attestation_id = excluded.attestation_id, verdict = excluded.verdict,
                    record = excluded.record, discounted = excluded.discounted",
                attestation(record)?,
            ),
            Write::Artifact(record) => (
                "INSERT INTO artifacts (cid, pinned, record) VALUES (?1, ?2, ?3)
                 ON CONFLICT (cid) DO UPDATE SET pinned = max(pinned, excluded.pinned)",
                vec![record.cid.to_string().into(), record.pinned.into(), json(record)?],
            ),
            Write::Pin { cid, pinned } => (
                "UPDATE artifacts SET pinned = ?2 WHERE cid = ?1",
                vec![cid.to_string().into(), (*pinned).into()],
            ),
            Write::NoArtifact(cid) => ("DELETE FROM artifacts WHERE cid = ?1", vec![cid.to_string().into()]),
            Write::Guild { guild_id, record } => (
                "INSERT INTO guilds (guild_id, record) VALUES (?1, ?2)
                 ON CONFLICT (guild_id) DO UPDATE SET record = excluded.record",
                vec![guild_id.clone().into(), record.clone().into()],
            ),
            Write::NoGuild { guild_id } => {
                ("DELETE FROM guilds WHERE guild_id = ?1", vec![guild_id.clone().into()])
            }
            Write::Peer { peer_id, address, seen_at } => (
                "INSERT INTO peers (peer_id, address, seen_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (peer_id) DO UPDATE SET address = excluded.address, seen_at = excluded.seen_at",
                vec![peer_id.clone().into(), address.clone().into(), seen_at.to_string().into()],
            ),
            Write::Evidence { receipt, documents } => {
                let ids: Vec<String> = documents.iter().map(Cid::to_string).collect();
                let sql = "INSERT INTO evidence (receipt_id, documents) VALUES (?1, ?2)";
                (sql, vec![receipt.to_string().into(), ids.join(" ").into()])
            }
            Write::Link(entry) => {
                let sql = "INSERT INTO chain (position, entry, value) VALUES (?1, ?2, ?3)";
                return Ok(Self { sql, values: Vec::new(), link: Some(*entry), event: None });
            }
            Write::OwnHead(head) => (
                "INSERT INTO heads (node, length, bytes) VALUES (?1, ?2, ?3)
                 ON CONFLICT (node) DO UPDATE SET length = excluded.length, bytes = excluded.bytes",
                vec![
                    head.signer().as_str().to_owned().into(),
                    i64::try_from(head.document().length).unwrap_or(i64::MAX).into(),
                    head.bytes().to_vec().into(),
                ],
            ),
            Write::Head { head, near } => (
                "INSERT INTO heads (node, length, bytes) SELECT ?1, ?2, ?3
                 WHERE (SELECT count(*) FROM heads) < ?4 OR EXISTS (SELECT 1 FROM heads WHERE node = ?1)
                 ON CONFLICT (node) DO UPDATE SET length = excluded.length, bytes = excluded.bytes
                 WHERE excluded.length > heads.length",
                vec![
                    head.signer().as_str().to_owned().into(),
                    i64::try_from(head.document().length).unwrap_or(i64::MAX).into(),
                    head.bytes().to_vec().into(),
                    (if *near { HEADS } else { HEADS / 2 }).into(),
                ],
            ),
            Write::Equivocation { first, second } => (
                "INSERT INTO equivocations (node, first, second) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                vec![
                    first.signer().as_str().to_owned().into(),
                    first.bytes().to_vec().into(),
                    second.bytes().to_vec().into(),
                ],
            ),
            Write::Event(at, what) => {
                let event = Event { seq: 0, at: *at, what: what.clone() };
                let task = what.task_id().map(str::to_owned);
                let values = vec![task.map_or(Value::Null, Value::from), json(&event)?];
                let sql = "INSERT INTO events (task_id, body) VALUES (?1, ?2)";
                return Ok(Self { sql, values, link: None, event: Some(event) });
            }
        };
        Ok(Self { sql, values, link: None, event: None })
    }

    fn write(&self, db: &Connection) -> Result<Option<Event>, StorageError> {
        if let Some(entry) = &self.link {
            self.write_link(db, entry)?;
            return Ok(None);
        }
        db.prepare_cached(self.sql)?.execute(params_from_iter(&self.values))?;
        let number = || u64::try_from(db.last_insert_rowid()).unwrap_or(0);
        Ok(self.event.clone().map(|event| Event { seq: number(), ..event }))
    }
}

impl Row {
    fn write_link(&self, db: &Connection, entry: &Cid) -> Result<(), StorageError> {
        let (position, value) = last_link(db)?;
        let position = position.saturating_add(1);
        let value = Head::link(&value, position, entry);
        let place = i64::try_from(position).unwrap_or(i64::MAX);
        db.prepare_cached(self.sql)?.execute((place, entry.to_string(), value.as_bytes()))?;
        Ok(())
    }
}

fn attestation(record: &AttestationRecord) -> Result<Vec<Value>, StorageError> {
    Ok(vec![
        record.attestation_id.clone().into(),
        record.receipt_id.clone().into(),
        record.witness.as_str().to_owned().into(),
        record.verdict.as_str().to_owned().into(),
        json(record)?,
        record.discounted.is_some().into(),
    ])
}

fn json(value: &impl Serialize) -> Result<Value, StorageError> {
    let text = serde_json::to_string(value).map_err(|error| StorageError::Database(error.to_string()))?;
    Ok(text.into())
}

pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    pub(super) answer: oneshot::Sender<Result<(), StorageError>>,
}

/// Wakes a thread that waits for a future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for batches, and gives their number; `None` when none came in time.
fn receive(
    batches: &mut mpsc::Receiver<Batch>,
    group: &mut Vec<Batch>,
    within: Option<Duration>,
) -> Option<usize> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (until, mut received) =
        (within.map(|within| Instant::now() + within), pin!(batches.recv_many(group, GROUP)));
    loop {
        if let Poll::Ready(count) = received.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(count);
        }
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            None => std::thread::park(),
            Some(Duration::ZERO) => return None,
            Some(left) => std::thread::park_timeout(left),
        }
    }
}

/// Where many write, waits for more of them while they come: otherwise each commit would have a handful in it, and a sync and
/// the pages of every index to write for it. Whoever writes alone waits for nobody.
fn gather(batches: &mut mpsc::Receiver<Batch>, group: &mut Vec<Batch>) {
    if group.len() < MANY {
        return;
    }
    let until = Instant::now() + GATHER;
    let mut quiet = 0;
    while quiet < QUIET && group.len() < GROUP && Instant::now() < until {
        std::thread::sleep(PAUSE);
        let before = group.len();
        while group.len() < GROUP
            && let Ok(batch) = batches.try_recv()
        {
            group.push(batch);
        }
        quiet = if group.len() == before { quiet + 1 } else { 0 };
    }
}

/// What came of a batch: what happened in it, to be told.
type Fate = Result<Vec<Event>, StorageError>;

pub(super) struct Writer {
    connection: Connection,
    events: broadcast::Sender<Event>,
}

impl Writer {
    pub(super) fn spawn(
        connection: Connection,
        mut batches: mpsc::Receiver<Batch>,
        events: broadcast::Sender<Event>,
    ) -> Result<(), StorageError> {
        let mut writer = Self { connection, events };
        let thread = move || {
            let mut group = Vec::with_capacity(GROUP);
            // A quiet node holds no pages, and a busy one not those of long ago.
            let mut kept_since = None;
            loop {
                let within = kept_since.map(|since: Instant| KEEP_PAGES.saturating_sub(since.elapsed()));
                let received = receive(&mut batches, &mut group, within);
                match received {
                    Some(0) => return,
                    Some(_) => {
                        gather(&mut batches, &mut group);
                        writer.commit(&mut group);
                        kept_since = kept_since.or_else(|| Some(Instant::now()));
                    }
                    None => {
                        if let Err(error) = writer.connection.release_memory() {
                            tracing::debug!(%error, "the database gave no memory back");
                        }
                        kept_since = None;
                    }
                }
            }
        };
        let spawned = std::thread::Builder::new().name("storage".to_owned()).spawn(thread);
        spawned
            .map(drop)
            .map_err(|error| StorageError::Database(format!("cannot start the writer thread: {error}")))
    }

    fn commit(&mut self, group: &mut Vec<Batch>) {
        let fates = match self.write_all(group) {
            Ok(fates) => Ok(fates),
            // Something is wrong with one of them, which is not the others' loss.
            Err(_) => self.write_each(group),
        };
        let mut fates = fates.map(Vec::into_iter);
        for Batch { answer, .. } in group.drain(..) {
            let fate = match &mut fates {
                Ok(fates) => fates.next().unwrap_or(Err(StorageError::Closed)),
                Err(error) => Err(error.clone()),
            };
            let told = fate.map(|events| {
                for event in events {
                    // Nobody listening is no fault: the journal has it.
                    self.events.send(event).ok();
                }
            });
            if answer.send(told).is_err() {
                tracing::trace!("the writer of a batch did not wait for its answer");
            }
        }
    }

    /// All of them, or none.
    fn write_all(&mut self, group: &[Batch]) -> Result<Vec<Fate>, StorageError> {
        let transaction = self.connection.transaction()?;
        let fates = group.iter().map(|batch| write_batch(&transaction, batch).map(Ok));
        let fates = fates.collect::<Result<_, _>>()?;
        transaction.commit()?;
        Ok(fates)
    }

    /// Each of them that can be written.
    fn write_each(&mut self, group: &[Batch]) -> Result<Vec<Fate>, StorageError> {
        let mut transaction = self.connection.transaction()?;
        let mut fates = Vec::with_capacity(group.len());
        for batch in group {
            let savepoint = transaction.savepoint()?;
            let fate = write_batch(&savepoint, batch);
            match &fate {
                Ok(_) => savepoint.commit()?,
                Err(error) => {
                    drop(savepoint);
                    // On a full disk, for one, SQLite takes everything back by itself, the others' too.
                    if transaction.is_autocommit() {
                        return Err(error.clone());
                    }
                }
            }
            fates.push(fate);
        }
        transaction.commit()?;
        Ok(fates)
    }
}

fn write_batch(db: &Connection, batch: &Batch) -> Fate {
    let events = batch.rows.iter().map(|row| row.write(db)).collect::<Result<Vec<_>, _>>()?;
    Ok(events.into_iter().flatten().collect())
}
