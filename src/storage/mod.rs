//! What a node remembers: an SQLite database (documents, tasks, journal, peers) and block files, in one locked data directory.
//!
//! ```text
//!   Storage ──batches──► writer thread ──one commit for many──► node.db   (WAL, synchronous=FULL)
//!      ├──── queries ──► reader connection ────────────────────►
//!      └──── blocks ───► blocks/xx/<cid>    (temporary file, sync, rename)
//! ```
//!
//! A batch that was answered is on disk: `kill -9` right after loses nothing of it.

mod blocks;
mod chain;
mod data_dir;
mod journal;
mod proofs;
mod query;
mod records;
mod schema;
mod writer;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, oneshot};

pub use blocks::{Blocks, Stored, on_disk};
pub use chain::NewLinks;
pub use data_dir::DataDir;
pub use journal::{Event, Happening, short_id};
pub use query::{Counts, PAGE_MAX, Paging, Standing};
pub use records::{ArtifactRecord, AttestationRecord, Candidate, ReceiptRecord, TaskRecord, TaskState};
pub use writer::Write;

use crate::document::Verified;
use query::Reader;
use writer::{Batch, Row, Writer};

/// Batches that wait for the writer; more make the caller wait.
const QUEUE: usize = 1024;
/// Events a slow listener may fall behind before it is told that it lagged.
const EVENTS: usize = 4096;

/// Why something was not stored or not read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    #[error("cannot {action} {path}: {why}")]
    Io { action: &'static str, path: String, why: String },
    #[error("another zerostate (pid {pid}) is using {path}")]
    Locked { path: String, pid: String },
    #[error(
        "the database {path} was written by a newer zerostate (schema {found}, this one knows {known}); use that one, or another data directory"
    )]
    Newer { path: String, found: i64, known: i64 },
    #[error("the disk is full: nothing of this was stored ({0})")]
    Full(String),
    #[error("database: {0}")]
    Database(String),
    #[error("the stored {what} {id} is damaged: {why}")]
    Damaged { what: &'static str, id: String, why: String },
    #[error("the storage is closed")]
    Closed,
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full(error.to_string()),
            _ => Self::Database(error.to_string()),
        }
    }
}

/// The handle. Cheap to clone; the database closes when the last one is gone.
#[derive(Clone)]
pub struct Storage {
    batches: mpsc::Sender<Batch>,
    reader: Arc<Reader>,
    blocks: Blocks,
    events: broadcast::Sender<Event>,
    verified: Arc<Verified>,
    /// Held for as long as anything may touch the directory.
    _directory: Arc<DataDir>,
}

impl Storage {
    /// Opens the database and the block store in `directory`, migrating an older schema. Blocks; call it outside the runtime's
    /// worker threads or before there are any.
    ///
    /// # Errors
    /// [`StorageError`] naming the file.
    pub fn open(directory: DataDir) -> Result<Self, StorageError> {
        let path = directory.path().join("node.db");
        let connection = schema::open(&path)?;
        let reader = Arc::new(Reader::open(&path)?);
        let blocks = Blocks::open(&directory.path().join("blocks"))?;
        let (batches, receiver) = mpsc::channel(QUEUE);
        let (events, _) = broadcast::channel(EVENTS);
        Writer::spawn(connection, receiver, events.clone())?;
        let (verified, _directory) = (Arc::default(), Arc::new(directory));
        Ok(Self { batches, reader, blocks, events, verified, _directory })
    }

    /// Stores a batch, all of it or nothing. When this returns `Ok`, it is on disk.
    ///
    /// # Errors
    /// [`StorageError::Full`], [`StorageError::Database`], [`StorageError::Closed`].
    pub async fn write(&self, writes: &[Write]) -> Result<(), StorageError> {
        let rows = writes.iter().map(Row::of).collect::<Result<_, _>>()?;
        let (answer, answered) = oneshot::channel();
        self.batches.send(Batch { rows, answer }).await.map_err(|_| StorageError::Closed)?;
        answered.await.map_err(|_| StorageError::Closed)??;
        for write in writes {
            if let Write::Document(envelope) = write {
                self.verified.add_stored(envelope);
            }
        }
        Ok(())
    }

    /// Every event from now on, in order.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Documents that were verified lately.
    pub fn verified(&self) -> &Arc<Verified> {
        &self.verified
    }

    /// The block files.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Where all of it is.
    pub fn directory(&self) -> &Path {
        self._directory.path()
    }
}
