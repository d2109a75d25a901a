//! Artifacts: files by CID. They are put into the store, got from whoever has them, kept while they are needed, and read.
//!
//! ```text
//!   add ──chunks──► blocks ─────────────────────────┐                     ┌─► read  (a file's bytes, in order)
//!   get ─► Bitswap session ◄─ providers: DHT, hints ├─► block files ──────┤
//!      └─► gateways, when nobody answers ───────────┘      ▲              └─► Bitswap serves them
//!                                                     room: least recently used first, what is needed never
//! ```
//!
//! Every block is hashed before it is stored, and the whole file's sha256 is worked out on the way. What has been fetched stays,
//! so a get that was cut off goes on where it was.

mod add;
mod fetch;
mod gateway;
mod lease;
mod read;
mod room;
mod transfer;

use std::sync::Arc;

use cid::Cid;
use jiff::Timestamp;
use tokio::sync::{Mutex, Semaphore, watch};

pub use crate::storage::ArtifactRecord;
pub use add::Terms;
pub use fetch::Order;
pub use lease::Lease;
use read::Known;
pub use read::Reader;
pub use room::Freed;
pub use transfer::{Direction, Transfer};

use crate::dag::{DagError, canonical};
use crate::document::{Sha256Digest, bytes_text};
use crate::network::{Network, NetworkError};
use crate::storage::{Happening, Storage, StorageError, Write};
use gateway::Gateways;
use lease::Leases;
use transfer::Transfers;

/// Files that are added at once, each of which holds some 6 MiB, and got at once, with up to 24 MiB each. More wait for a while.
const ADDED_AT_ONCE: usize = 32;
const GOT_AT_ONCE: usize = 8;

/// Where artifacts may come from, and how many stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactsConfig {
    /// What all blocks may take on the disk, in bytes.
    pub quota: u64,
    /// Trustless gateways, as `https://host`, that are asked when no peer answers.
    pub gateways: Vec<String>,
}

impl Default for ArtifactsConfig {
    fn default() -> Self {
        Self { quota: 2 << 30, gateways: Vec::new() }
    }
}

/// Why an artifact was not added, got or kept.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("{0}")]
    Dag(#[from] DagError),
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("{0}")]
    Network(#[from] NetworkError),
    #[error("the artifact {0} is not stored here")]
    NotHere(Cid),
    /// With everything that was tried.
    #[error("{cid} is neither stored here nor to be had: {tried}")]
    Missing { cid: String, tried: String },
    #[error("{cid} did not come within {seconds} s: {tried}")]
    Late { cid: String, seconds: u64, tried: String },
    #[error("the file {cid} has the sha256 {found}; {expected} was expected")]
    OtherFile { cid: String, found: Sha256Digest, expected: Sha256Digest },
    #[error("{0} files are on their way already; try again when some are done")]
    Busy(usize),
    #[error("the file has over {max}, which is the most that is taken", max = bytes_text(*.0))]
    TooLarge(u64),
    #[error("an artifact has at least one byte")]
    Empty,
    #[error("what is to be added broke off: {0}")]
    Source(std::io::Error),
    #[error(
        "the store is full: {wanted} more are wanted, {used} of {quota} are taken, and all of it is pinned or needed",
        wanted = bytes_text(*.wanted), used = bytes_text(*.used), quota = bytes_text(*.quota)
    )]
    NoRoom { wanted: u64, used: u64, quota: u64 },
    #[error("{0}")]
    Gateway(String),
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Artifacts {
    inner: Arc<Inner>,
}

struct Inner {
    storage: Storage,
    /// Absent when something is run without a node.
    network: Option<Network>,
    gateways: Gateways,
    quota: u64,
    leases: Leases,
    known: Known,
    transfers: Transfers,
    /// Held while room is made, and by those who would be surprised by it.
    making_room: Mutex<()>,
    /// What blocks that are being written will take.
    reserved: std::sync::Mutex<u64>,
    adding: Semaphore,
    getting: Semaphore,
}

impl Artifacts {
    /// Artifacts in `storage`, got over `network`.
    ///
    /// # Errors
    /// [`ArtifactError::Gateway`] naming what is no gateway.
    pub fn new(
        storage: Storage,
        network: Option<Network>,
        config: &ArtifactsConfig,
    ) -> Result<Self, ArtifactError> {
        let inner = Inner {
            storage,
            network,
            gateways: Gateways::new(&config.gateways)?,
            quota: config.quota,
            leases: Leases::default(),
            known: Known::default(),
            transfers: Transfers::default(),
            making_room: Mutex::default(),
            reserved: std::sync::Mutex::default(),
            adding: Semaphore::new(ADDED_AT_ONCE),
            getting: Semaphore::new(GOT_AT_ONCE),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What is stored as a whole, newest first.
    ///
    /// # Errors
    /// [`ArtifactError::Storage`].
    pub async fn list(&self) -> Result<Vec<ArtifactRecord>, ArtifactError> {
        let mut all = self.inner.storage.artifacts().await?;
        // A root that was damaged has been removed, and is got again with the next use.
        all.retain(|record| self.inner.storage.blocks().size(&record.cid).is_some());
        all.sort_by(|a, b| b.added_at.cmp(&a.added_at).then_with(|| a.cid.cmp(&b.cid)));
        Ok(all)
    }

    /// Keeps an artifact until it is unpinned, or no longer.
    ///
    /// # Errors
    /// [`ArtifactError::NotHere`].
    pub async fn pin(&self, cid: &Cid, pinned: bool) -> Result<ArtifactRecord, ArtifactError> {
        let cid = canonical(cid);
        let _no_eviction = self.inner.making_room.lock().await;
        let record = self.inner.storage.artifact(&cid).await?.ok_or(ArtifactError::NotHere(cid))?;
        self.inner.storage.write(&[Write::Pin { cid, pinned }]).await?;
        self.inner.known.forget(&cid);
        Ok(ArtifactRecord { pinned, ..record })
    }

    /// What is being added and got now, a few times a second.
    pub fn transfers(&self) -> watch::Receiver<Arc<Vec<Transfer>>> {
        self.inner.transfers.watch()
    }

    /// What all blocks take on the disk, and what they may take.
    pub fn usage(&self) -> (u64, u64) {
        (self.inner.storage.blocks().used(), self.inner.quota)
    }

    /// Tells the DHT of everything that is stored: the records of an earlier run of the node are gone with it.
    pub async fn announce_all(&self) {
        let Some(network) = &self.inner.network else { return };
        let all = match self.list().await {
            Ok(all) => all,
            Err(error) => return tracing::warn!(%error, "what is stored is not announced"),
        };
        for record in all.into_iter().take(ANNOUNCED) {
            if let Err(error) = network.provide(&record.cid).await {
                return tracing::debug!(%error, "no more is announced");
            }
        }
    }
}

/// Artifacts of which the DHT is told at the start.
const ANNOUNCED: usize = 4096;

impl Inner {
    /// All blocks of a file are on the disk, and a lease is held on them: notes it, and tells whoever may want it.
    async fn complete(&self, record: ArtifactRecord, _held: &Lease) -> Result<ArtifactRecord, ArtifactError> {
        let _no_eviction = self.making_room.lock().await;
        self.storage.blocks().settle().await?;
        let (cid, size) = (record.cid, record.size);
        if self.storage.artifact(&cid).await?.is_none() {
            let event = Write::Event(Timestamp::now(), Happening::Artifact { cid: cid.to_string(), size });
            self.storage.write(&[Write::Artifact(record.clone()), event]).await?;
        } else if record.pinned {
            self.storage.write(&[Write::Artifact(record.clone())]).await?;
        }
        if let Some(network) = &self.network
            && let Err(error) = network.provide(&cid).await
        {
            tracing::debug!(%cid, %error, "the DHT is not told of an artifact");
        }
        let record = self.storage.artifact(&cid).await?.unwrap_or(record);
        self.known.note(record.clone());
        Ok(record)
    }
}
