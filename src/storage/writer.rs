//! The one thread that writes: it takes what has queued up and commits it together, because a sync costs the same for one
//! batch as for a hundred.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};
use serde::Serialize;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::records::{AttestationRecord, ReceiptRecord, TaskRecord};
use super::{Event, Happening, StorageError};
use crate::document::AnyEnvelope;

/// Batches that share a commit.
const GROUP: usize = 1024;

/// One row to be written.
#[derive(Debug, Clone)]
pub enum Write {
    /// A verified envelope. One that is stored already stays as it is.
    Document(AnyEnvelope),
    /// A new task, or a known one in its new state.
    Task(TaskRecord),
    Receipt(ReceiptRecord),
    /// The first vote of a witness about a receipt counts; later ones are dropped. `unverifiable` is no vote yet.
    Attestation(AttestationRecord),
    Event(Timestamp, Happening),
    Peer {
        peer_id: String,
        address: String,
        seen_at: Timestamp,
    },
}

pub(super) struct Batch {
    pub(super) writes: Vec<Write>,
    pub(super) answer: oneshot::Sender<Result<(), StorageError>>,
}

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
            while batches.blocking_recv_many(&mut group, GROUP) > 0 {
                writer.commit(&mut group);
            }
        };
        let spawned = std::thread::Builder::new().name("storage".to_owned()).spawn(thread);
        spawned
            .map(drop)
            .map_err(|error| StorageError::Database(format!("cannot start the writer thread: {error}")))
    }

    fn commit(&mut self, group: &mut Vec<Batch>) {
        let mut fates: Vec<Result<Vec<Event>, StorageError>> = Vec::with_capacity(group.len());
        let committed = self.write_group(group, &mut fates);
        for (position, batch) in group.drain(..).enumerate() {
            let fate = match (&committed, fates.get_mut(position)) {
                (Ok(()), Some(fate)) => std::mem::replace(fate, Ok(Vec::new())),
                (Err(error), _) => Err(error.clone()),
                (Ok(()), None) => Err(StorageError::Closed),
            };
            let answer = fate.map(|events| {
                for event in events {
                    // Nobody listening is no fault: the journal has it.
                    self.events.send(event).ok();
                }
            });
            if batch.answer.send(answer).is_err() {
                tracing::trace!("the writer of a batch did not wait for its answer");
            }
        }
    }

    fn write_group(
        &mut self,
        group: &[Batch],
        fates: &mut Vec<Result<Vec<Event>, StorageError>>,
    ) -> Result<(), StorageError> {
        let mut transaction = self.connection.transaction()?;
        for batch in group {
            // A savepoint each: what is wrong with one batch is not the others' loss.
            let savepoint = transaction.savepoint()?;
            let fate =
                batch.writes.iter().map(|write| write_one(&savepoint, write)).collect::<Result<Vec<_>, _>>();
            match fate {
                Ok(events) => {
                    savepoint.commit()?;
                    fates.push(Ok(events.into_iter().flatten().collect()));
                }
                Err(error) => {
                    drop(savepoint);
                    fates.push(Err(error));
                }
            }
        }
        finish(transaction)
    }
}

fn finish(transaction: Transaction<'_>) -> Result<(), StorageError> {
    transaction.commit().map_err(StorageError::from)
}

fn write_one(db: &Connection, write: &Write) -> Result<Option<Event>, StorageError> {
    match write {
        Write::Document(envelope) => db
            .prepare_cached(
                "INSERT OR IGNORE INTO documents (id, kind, signer, bytes) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                envelope.id().to_string(),
                envelope.kind().as_str(),
                envelope.signer().as_str(),
                envelope.bytes().as_ref()
            ])?,
        Write::Task(record) => db
            .prepare_cached(
                "INSERT INTO tasks (task_id, pending, record) VALUES (?1, ?2, ?3)
                 ON CONFLICT (task_id) DO UPDATE SET pending = excluded.pending, record = excluded.record",
            )?
            .execute(params![record.task_id, record.is_unfinished(), json(record)?])?,
        Write::Receipt(record) => db
            .prepare_cached(
                "INSERT OR IGNORE INTO receipts (receipt_id, task_id, record) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![record.receipt_id, record.task_id, json(record)?])?,
        Write::Attestation(record) => db
            .prepare_cached(
                "INSERT INTO attestations (attestation_id, receipt_id, witness, verdict, record)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET attestation_id = excluded.attestation_id,
                    verdict = excluded.verdict, record = excluded.record
                 WHERE attestations.verdict = 'unverifiable' AND excluded.verdict <> 'unverifiable'",
            )?
            .execute(params![
                record.attestation_id,
                record.receipt_id,
                record.witness.as_str(),
                record.verdict.as_str(),
                json(record)?
            ])?,
        Write::Peer { peer_id, address, seen_at } => db
            .prepare_cached(
                "INSERT INTO peers (peer_id, address, seen_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (peer_id) DO UPDATE SET address = excluded.address, seen_at = excluded.seen_at",
            )?
            .execute(params![peer_id, address, seen_at.to_string()])?,
        Write::Event(at, what) => {
            let mut event = Event { seq: 0, at: *at, what: what.clone() };
            db.prepare_cached("INSERT INTO events (task_id, body) VALUES (?1, ?2)")?
                .execute(params![what.task_id(), json(&event)?])?;
            event.seq = u64::try_from(db.last_insert_rowid()).unwrap_or(0);
            return Ok(Some(event));
        }
    };
    Ok(None)
}

fn json(value: &impl Serialize) -> Result<String, StorageError> {
    serde_json::to_string(value).map_err(|error| StorageError::Database(error.to_string()))
}
