//! Reading: one connection beside the writer's, used off the runtime's threads.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cid::Cid;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;

use super::records::{ArtifactRecord, AttestationRecord, ReceiptRecord, TaskRecord};
use super::{Event, Storage, StorageError};
use crate::document::{AnyEnvelope, Kind};
use crate::identity::Did;

/// Nobody gets more rows than this at once.
pub const PAGE_MAX: u32 = 1_000;

/// Which part of a list, newest first.
#[derive(Debug, Clone, Copy)]
pub struct Paging {
    pub before: Option<u64>,
    pub limit: u32,
}

/// How many there are of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub tasks: u64,
    pub receipts: u64,
    pub attestations: u64,
}

/// How things stand with a receipt.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Without its cursor and counts. The document may be here without the row: when it was fetched for an attestation that was
    /// then refused.
    pub receipt: Option<ReceiptRecord>,
    /// Oldest first.
    pub votes: Vec<AttestationRecord>,
    pub task: Option<TaskRecord>,
}

/// More than there are queries, so that each is prepared once.
const STATEMENTS: usize = 64;

pub(super) struct Reader {
    connection: Mutex<Connection>,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Self { connection: Mutex::new(connection) })
    }
}

const RECEIPT_COLUMNS: &str = "r.cursor, r.record,
    (SELECT count(*) FROM attestations a WHERE a.receipt_id = r.receipt_id AND a.verdict = 'agree' AND NOT a.discounted),
    (SELECT count(*) FROM attestations a WHERE a.receipt_id = r.receipt_id AND a.verdict = 'disagree' AND NOT a.discounted),
    (SELECT count(*) FROM attestations a WHERE a.receipt_id = r.receipt_id AND a.verdict = 'unverifiable' AND NOT a.discounted)";

impl Storage {
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let reader = Arc::clone(&self.reader);
        let task = tokio::task::spawn_blocking(move || {
            // A reader that panicked left the connection as it was: reading changes nothing.
            query(&reader.connection.lock().unwrap_or_else(PoisonError::into_inner))
        });
        task.await.map_err(|error| StorageError::Database(error.to_string()))?
    }

    /// A stored document by its id, verified again on the way out.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when the stored bytes no longer verify.
    pub async fn document(&self, id: &Cid) -> Result<Option<AnyEnvelope>, StorageError> {
        if let Some(known) = self.verified.get(id) {
            return Ok(Some(known));
        }
        let id = id.to_string();
        let key = id.clone();
        let bytes: Option<Vec<u8>> = self
            .read(move |db| {
                let sql =
                    "SELECT bytes FROM documents WHERE substr(id, 1, 16) = substr(?1, 1, 16) AND id = ?1";
                let mut query = db.prepare_cached(sql)?;
                Ok(query.query_row([key], |row| row.get(0)).optional()?)
            })
            .await?;
        let damaged = |why: String| StorageError::Damaged { what: "document", id, why };
        let opened = bytes.map(|bytes| self.verified.open(&bytes)).transpose();
        let opened = opened.map_err(|error| damaged(error.to_string()))?;
        if let Some(document) = &opened {
            self.verified.add_stored(document);
        }
        Ok(opened)
    }

    /// The ids of documents of a kind that begin with `prefix`, at most two.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn matching_ids(&self, kind: Kind, prefix: &str) -> Result<Vec<String>, StorageError> {
        // GLOB metacharacters never occur in ids; one that has them matches nothing.
        if !prefix.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Ok(Vec::new());
        }
        let prefix = prefix.to_owned();
        self.read(move |db| {
            // The range is what the index knows; '~' comes after everything that an id has in it.
            let sql = "SELECT id FROM documents WHERE substr(id, 1, 16) >= substr(?1, 1, 16)
                AND substr(id, 1, 16) < substr(?1, 1, 16) || '~' AND id GLOB ?1 || '*' AND kind = ?2 LIMIT 2";
            let mut query = db.prepare_cached(sql)?;
            let ids = query.query_map(params![prefix, kind.as_str()], |row| row.get(0))?;
            Ok(ids.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// A task by its id, or by a beginning of it that fits no other.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn tasks_matching(&self, prefix: &str) -> Result<Vec<TaskRecord>, StorageError> {
        let plain = prefix.bytes().all(|b| b.is_ascii_alphanumeric());
        let pattern = if plain { format!("{prefix}*") } else { String::new() };
        self.read(move |db| {
            let mut query =
                db.prepare_cached("SELECT cursor, record FROM tasks WHERE task_id GLOB ?1 LIMIT 2")?;
            collect(query.query_map([pattern], |row| from_json(row, 1, "task"))?)
        })
        .await
    }

    /// Tasks, newest first, each with its cursor.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn tasks(&self, paging: Paging) -> Result<Vec<(u64, TaskRecord)>, StorageError> {
        self.read(move |db| {
            let sql = "SELECT cursor, record FROM tasks WHERE cursor < ?1 ORDER BY cursor DESC LIMIT ?2";
            let mut query = db.prepare_cached(sql)?;
            collect(query.query_map(bounds(paging), task_row)?)
        })
        .await
    }

    /// Tasks that still need their node, oldest first.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn pending_tasks(&self) -> Result<Vec<TaskRecord>, StorageError> {
        self.read(|db| {
            let mut query =
                db.prepare_cached("SELECT cursor, record FROM tasks WHERE pending ORDER BY cursor")?;
            collect(query.query_map([], |row| from_json(row, 1, "task"))?)
        })
        .await
    }

    /// Those tasks that are among `ids`, each with its cursor.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn tasks_of(&self, ids: Vec<String>) -> Result<Vec<(u64, TaskRecord)>, StorageError> {
        self.read(move |db| find(db, "SELECT cursor, record FROM tasks WHERE task_id = ?1", &ids, task_row))
            .await
    }

    /// Receipts, newest first.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn receipts(&self, paging: Paging) -> Result<Vec<ReceiptRecord>, StorageError> {
        self.read(move |db| {
            let sql = format!(
                "SELECT {RECEIPT_COLUMNS} FROM receipts r WHERE r.cursor < ?1 ORDER BY r.cursor DESC LIMIT ?2"
            );
            let mut query = db.prepare_cached(&sql)?;
            collect(query.query_map(bounds(paging), receipt)?)
        })
        .await
    }

    /// One receipt.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn receipt(&self, id: &str) -> Result<Option<ReceiptRecord>, StorageError> {
        Ok(self.receipts_of(vec![id.to_owned()]).await?.pop())
    }

    /// Those receipts that are among `ids`.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn receipts_of(&self, ids: Vec<String>) -> Result<Vec<ReceiptRecord>, StorageError> {
        self.read(move |db| {
            let sql = format!(
                "SELECT {RECEIPT_COLUMNS} FROM receipts r
                 WHERE substr(r.receipt_id, 1, 16) = substr(?1, 1, 16) AND r.receipt_id = ?1"
            );
            find(db, &sql, &ids, receipt)
        })
        .await
    }

    /// The newest receipts of others that `witness` has no vote on, oldest first.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn unattested_by(&self, witness: &Did, limit: u32) -> Result<Vec<String>, StorageError> {
        let witness = witness.to_string();
        let mut ids: Vec<String> = self
            .read(move |db| {
                let sql = "SELECT receipt_id FROM receipts r WHERE json_extract(r.record, '$.executor') <> ?1
                    AND NOT EXISTS (SELECT 1 FROM attestations a WHERE a.receipt_id = r.receipt_id AND a.witness = ?1)
                    ORDER BY cursor DESC LIMIT ?2";
                let mut query = db.prepare_cached(sql)?;
                Ok(query.query_map(params![witness, limit.min(PAGE_MAX)], |row| row.get(0))?.collect::<Result<_, _>>()?)
            })
            .await?;
        ids.reverse();
        Ok(ids)
    }

    /// The ids of the newest receipts that `signer` made and the newest attestations it gave, oldest first.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn made_by(&self, signer: &Did, limit: u32) -> Result<Vec<String>, StorageError> {
        let signer = signer.to_string();
        self.read(move |db| {
            let mut made: Vec<String> = Vec::new();
            for sql in [
                "SELECT attestation_id FROM attestations WHERE witness = ?1 AND NOT discounted ORDER BY cursor DESC LIMIT ?2",
                "SELECT receipt_id FROM receipts WHERE json_extract(record, '$.executor') = ?1 ORDER BY cursor DESC LIMIT ?2",
            ] {
                let mut query = db.prepare_cached(sql)?;
                for id in query.query_map(params![signer, limit.min(PAGE_MAX)], |row| row.get(0))? {
                    made.push(id?);
                }
            }
            made.reverse();
            Ok(made)
        })
        .await
    }

    /// The newest receipts with fewer agreeing votes than their manifests ask for.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn unattested(&self, limit: u32) -> Result<Vec<String>, StorageError> {
        self.read(move |db| {
            let sql = "SELECT receipt_id FROM receipts r WHERE json_extract(r.record, '$.quorum') >
                (SELECT count(*) FROM attestations a WHERE a.receipt_id = r.receipt_id AND a.verdict = 'agree' AND NOT a.discounted)
                ORDER BY cursor DESC LIMIT ?1";
            let mut query = db.prepare_cached(sql)?;
            Ok(query.query_map([limit], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Every file that is stored as a whole.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn artifacts(&self) -> Result<Vec<ArtifactRecord>, StorageError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT pinned, record FROM artifacts")?;
            collect(query.query_map([], artifact)?)
        })
        .await
    }

    /// One of them.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn artifact(&self, cid: &Cid) -> Result<Option<ArtifactRecord>, StorageError> {
        let cid = cid.to_string();
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT pinned, record FROM artifacts WHERE cid = ?1")?;
            query.query_row([cid], artifact).optional()?.transpose()
        })
        .await
    }

    /// Attestations, newest first.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn attestations(&self, paging: Paging) -> Result<Vec<AttestationRecord>, StorageError> {
        self.read(move |db| {
            let sql =
                "SELECT cursor, record FROM attestations WHERE cursor < ?1 ORDER BY cursor DESC LIMIT ?2";
            let mut query = db.prepare_cached(sql)?;
            collect(query.query_map(bounds(paging), attestation)?)
        })
        .await
    }

    /// Those attestations that are among `ids`.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn attestations_among(&self, ids: Vec<String>) -> Result<Vec<AttestationRecord>, StorageError> {
        let sql = "SELECT cursor, record FROM attestations WHERE attestation_id = ?1";
        self.read(move |db| find(db, sql, &ids, attestation)).await
    }

    /// The attestations of one receipt, oldest first.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn attestations_of(&self, receipt_id: &str) -> Result<Vec<AttestationRecord>, StorageError> {
        let id = receipt_id.to_owned();
        self.read(move |db| votes(db, &id)).await
    }

    /// The ids of what was agreed to and committed to for a receipt.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn evidence_of(&self, receipt_id: &Cid) -> Result<Vec<String>, StorageError> {
        let id = receipt_id.to_string();
        self.read(move |db| {
            let sql = "SELECT documents FROM evidence
                WHERE substr(receipt_id, 1, 16) = substr(?1, 1, 16) AND receipt_id = ?1 ORDER BY rowid LIMIT 16";
            let mut query = db.prepare_cached(sql)?;
            let rows = query.query_map([id], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            Ok(rows.iter().flat_map(|row| row.split(' ')).map(str::to_owned).collect())
        })
        .await
    }

    /// What is known of a receipt: its row, the votes on it, and the task, if it is this node's.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn standing(&self, receipt_id: &Cid, task_id: &str) -> Result<Standing, StorageError> {
        let (receipt_id, task_id) = (receipt_id.to_string(), task_id.to_owned());
        self.read(move |db| {
            let receipt = "SELECT record FROM receipts
                WHERE substr(receipt_id, 1, 16) = substr(?1, 1, 16) AND receipt_id = ?1";
            let mut receipt = db.prepare_cached(receipt)?;
            let receipt = receipt.query_row([&receipt_id], |row| from_json(row, 0, "receipt"));
            let receipt = receipt.optional()?.transpose()?;
            let task = "SELECT cursor, record FROM tasks WHERE task_id = ?1";
            let task = find(db, task, &[task_id], task_row)?.pop().map(|(_, task)| task);
            Ok(Standing { receipt, votes: votes(db, &receipt_id)?, task })
        })
        .await
    }

    /// Events after a number, oldest first.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn events_after(&self, after: u64, limit: u32) -> Result<Vec<Event>, StorageError> {
        self.read(move |db| {
            let mut query =
                db.prepare_cached("SELECT seq, body FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
            collect(query.query_map(params![signed(after), limit.min(PAGE_MAX)], event)?)
        })
        .await
    }

    /// The newest events, newest first.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn latest_events(&self, limit: u32) -> Result<Vec<Event>, StorageError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT seq, body FROM events ORDER BY seq DESC LIMIT ?1")?;
            collect(query.query_map([limit.min(PAGE_MAX)], event)?)
        })
        .await
    }

    /// All events of one task, oldest first.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn events_of(&self, task_id: &str) -> Result<Vec<Event>, StorageError> {
        let id = task_id.to_owned();
        self.read(move |db| {
            let mut query =
                db.prepare_cached("SELECT seq, body FROM events WHERE task_id = ?1 ORDER BY seq LIMIT 1000")?;
            collect(query.query_map([id], event)?)
        })
        .await
    }

    /// Addresses of peers met before, most recently seen first.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn known_peers(&self, limit: u32) -> Result<Vec<String>, StorageError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT address FROM peers ORDER BY seen_at DESC LIMIT ?1")?;
            Ok(query.query_map([limit.min(PAGE_MAX)], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// A task by its whole id.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn task(&self, task_id: &str) -> Result<Option<TaskRecord>, StorageError> {
        Ok(self.tasks_of(vec![task_id.to_owned()]).await?.pop().map(|(_, task)| task))
    }

    /// The records of all guilds this node is in.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn guilds(&self) -> Result<Vec<String>, StorageError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT record FROM guilds")?;
            Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// How many there are of each.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn counts(&self) -> Result<Counts, StorageError> {
        self.read(|db| {
            let number = |sql: &str| -> Result<u64, StorageError> {
                let found: i64 = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
                Ok(u64::try_from(found).unwrap_or(0))
            };
            Ok(Counts {
                tasks: number("SELECT count(*) FROM tasks")?,
                receipts: number("SELECT count(*) FROM receipts")?,
                attestations: number("SELECT count(*) FROM attestations")?,
            })
        })
        .await
    }
}

type Fetched<T> = rusqlite::Result<Result<T, StorageError>>;

fn votes(db: &Connection, receipt_id: &str) -> Result<Vec<AttestationRecord>, StorageError> {
    let sql = "SELECT cursor, record FROM attestations WHERE receipt_id = ?1 ORDER BY discounted, cursor LIMIT 1000";
    let mut query = db.prepare_cached(sql)?;
    collect(query.query_map([receipt_id], attestation)?)
}

/// The rows that `sql` finds by one id each.
fn find<T>(
    db: &Connection,
    sql: &str,
    ids: &[String],
    read: fn(&Row<'_>) -> Fetched<T>,
) -> Result<Vec<T>, StorageError> {
    let mut query = db.prepare_cached(sql)?;
    let found = ids.iter().filter_map(|id| query.query_row([id], read).optional().transpose());
    collect(found)
}

fn task_row(row: &Row<'_>) -> Fetched<(u64, TaskRecord)> {
    let (cursor, record) = (cursor(row)?, from_json(row, 1, "task")?);
    Ok(cursor.and_then(|cursor| Ok((cursor, record?))))
}

fn receipt(row: &Row<'_>) -> Fetched<ReceiptRecord> {
    let (cursor, agree, disagree, unverifiable) = (cursor(row)?, row.get(2)?, row.get(3)?, row.get(4)?);
    let record = from_json::<ReceiptRecord>(row, 1, "receipt")?;
    Ok(cursor.and_then(|cursor| Ok(ReceiptRecord { cursor, agree, disagree, unverifiable, ..record? })))
}

fn attestation(row: &Row<'_>) -> Fetched<AttestationRecord> {
    let cursor = cursor(row)?;
    let record = from_json::<AttestationRecord>(row, 1, "attestation")?;
    Ok(cursor.and_then(|cursor| Ok(AttestationRecord { cursor, ..record? })))
}

fn artifact(row: &Row<'_>) -> Fetched<ArtifactRecord> {
    let pinned = row.get(0)?;
    let record = from_json::<ArtifactRecord>(row, 1, "artifact")?;
    Ok(record.map(|record| ArtifactRecord { pinned, ..record }))
}

fn event(row: &Row<'_>) -> Fetched<Event> {
    let seq = cursor(row)?;
    let event = from_json::<Event>(row, 1, "event")?;
    Ok(seq.and_then(|seq| Ok(Event { seq, ..event? })))
}

fn cursor(row: &Row<'_>) -> Fetched<u64> {
    let number: i64 = row.get(0)?;
    Ok(u64::try_from(number).map_err(|_| StorageError::Database(format!("row number {number}"))))
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize, what: &'static str) -> Fetched<T> {
    let text: String = row.get(column)?;
    let damaged =
        |error: serde_json::Error| StorageError::Damaged { what, id: String::new(), why: error.to_string() };
    Ok(serde_json::from_str(&text).map_err(damaged))
}

fn collect<T>(rows: impl Iterator<Item = Fetched<T>>) -> Result<Vec<T>, StorageError> {
    rows.map(|row| row.map_err(StorageError::from).and_then(|inner| inner)).collect()
}

fn bounds(paging: Paging) -> [i64; 2] {
    [paging.before.map_or(i64::MAX, signed), i64::from(paging.limit.min(PAGE_MAX))]
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
