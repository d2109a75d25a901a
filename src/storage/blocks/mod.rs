//! Block files: content by CID, written so that a crash leaves a whole block or none, and hashed again when read.
//!
//! ```text
//!   put ─► blocks/xx/.tmp ──sync──► rename ─► blocks/xx/<cid>      (settle syncs the folders, once for many blocks)
//!   get ◄─ hash ◄───────────────────────────┘
//!   index: what is there, how large, when last used; read from the folders at the start
//! ```

mod index;

use std::collections::HashSet;
use std::fs::{self, File, FileTimes};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cid::Cid;

pub use index::{Stored, on_disk};

use super::StorageError;
use crate::document::{Sha256Digest, content_id};
use index::Index;

/// A use is noted on the disk when the one noted there is older than this, in seconds.
const TOUCH_EVERY: u32 = 600;

/// The block store. Cheap to clone.
#[derive(Clone)]
pub struct Blocks {
    root: Arc<PathBuf>,
    temporary: Arc<AtomicU64>,
    index: Arc<Mutex<Index>>,
    /// Folders in which a name is new and not synced yet.
    unsettled: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Blocks {
    /// Opens the store and reads what is in it. What a crash left half written is removed.
    pub(super) fn open(root: &Path) -> Result<Self, StorageError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(root);
        made.map_err(|error| failure("create", root, &error))?;
        let index = read_index(root).map_err(|error| failure("list", root, &error))?;
        Ok(Self {
            root: Arc::new(root.to_path_buf()),
            temporary: Arc::default(),
            index: Arc::new(Mutex::new(index)),
            unsettled: Arc::default(),
        })
    }

    /// Stores bytes durably under their CID (raw, sha2-256) and returns it. What is there already, and whole, is not written again.
    ///
    /// # Errors
    /// [`StorageError::Full`] or [`StorageError::Io`], naming the file.
    pub async fn put(&self, bytes: impl Into<Bytes>) -> Result<Cid, StorageError> {
        let (this, bytes) = (self.clone(), bytes.into());
        run(move || {
            let cid = content_id(&bytes);
            this.put_now(&cid, &bytes)?;
            this.settle_now()?;
            Ok(cid)
        })
        .await
    }

    /// Stores a block whose bytes have been found to be those of `cid`. It may still vanish in a power cut (and will not be wrong
    /// after one) until [`Blocks::settle`] has been called, once for many.
    ///
    /// # Errors
    /// As [`Blocks::put`].
    pub async fn put_checked(&self, cid: &Cid, bytes: Bytes) -> Result<(), StorageError> {
        let (this, cid) = (self.clone(), *cid);
        run(move || this.put_now(&cid, &bytes)).await
    }

    /// The same from a thread that may block.
    ///
    /// # Errors
    /// As [`Blocks::put`].
    pub fn put_checked_blocking(&self, cid: &Cid, bytes: &[u8]) -> Result<(), StorageError> {
        self.put_now(cid, bytes)
    }

    /// Makes everything that was stored durable.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub async fn settle(&self) -> Result<(), StorageError> {
        let this = self.clone();
        run(move || this.settle_now()).await
    }

    /// Reads a block and checks its hash.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when its content is no longer what its name says (the file is removed, so that it can be
    /// fetched again), [`StorageError::Io`].
    pub async fn get(&self, cid: &Cid) -> Result<Option<Bytes>, StorageError> {
        let (this, cid) = (self.clone(), *cid);
        run(move || this.get_blocking(&cid)).await
    }

    /// The same from a thread that may block.
    ///
    /// # Errors
    /// As [`Blocks::get`].
    pub fn get_blocking(&self, cid: &Cid) -> Result<Option<Bytes>, StorageError> {
        let path = self.path(cid);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.index().remove(cid);
                return Ok(None);
            }
            Err(error) => return Err(failure("read", &path, &error)),
        };
        if Sha256Digest::from_cid(cid) == Some(Sha256Digest::of(&bytes)) {
            self.touch(cid, &path);
            return Ok(Some(bytes.into()));
        }
        self.index().remove(cid);
        fs::remove_file(&path).map_err(|error| failure("remove the damaged block", &path, &error))?;
        Err(StorageError::Damaged {
            what: "block",
            id: cid.to_string(),
            why: "its content has another hash; removed".into(),
        })
    }

    /// Stores bytes as [`Blocks::put`] does, or not at all when there is a block of that name: whether it is still whole is not
    /// looked at.
    ///
    /// # Errors
    /// As [`Blocks::put`].
    pub async fn keep(&self, bytes: &[u8]) -> Result<Cid, StorageError> {
        let cid = content_id(bytes);
        if self.size(&cid).is_some() { Ok(cid) } else { self.put(bytes.to_vec()).await }
    }

    /// The size of a block, if it is stored. Its content is not looked at, nor is the disk.
    pub fn size(&self, cid: &Cid) -> Option<u64> {
        self.index().get(cid).map(|stored| stored.size)
    }

    /// What is known of a block.
    pub fn stored(&self, cid: &Cid) -> Option<Stored> {
        self.index().get(cid)
    }

    /// All stored blocks.
    pub fn all(&self) -> Vec<Stored> {
        self.index().all()
    }

    /// What all of them take on the disk, in bytes.
    pub fn used(&self) -> u64 {
        self.index().total()
    }

    /// Removes a block, from a thread that may block; gives back how many bytes of the disk are free now.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn remove_blocking(&self, cid: &Cid) -> Result<u64, StorageError> {
        let path = self.path(cid);
        let size = self.size(cid);
        // First here: whoever puts it meanwhile writes it anew.
        self.index().remove(cid);
        match fs::remove_file(&path) {
            Ok(()) => Ok(size.map_or(0, on_disk)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(failure("remove", &path, &error)),
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a block was used: that of the disk only now and then.
    fn touch(&self, cid: &Cid, path: &Path) {
        let (now, at) = (seconds(SystemTime::now()), SystemTime::now());
        let before = self.index().touch(cid, now);
        match before {
            Some(before) if now.saturating_sub(before) < TOUCH_EVERY => {}
            Some(_) => {
                let noted = File::options().append(true).open(path);
                let noted = noted.and_then(|file| file.set_times(FileTimes::new().set_modified(at)));
                if let Err(error) = noted {
                    tracing::debug!(path = %path.display(), %error, "the use of a block is not noted");
                }
            }
            // Whoever put the file there did not say so.
            None => {
                if let Ok(meta) = fs::metadata(path) {
                    self.index().insert(cid, meta.len(), now);
                }
            }
        }
    }

    fn path(&self, cid: &Cid) -> PathBuf {
        let name = cid.to_string();
        // The last characters of a CID are evenly spread; the first are all "bafkrei".
        let shard: String = name.chars().skip(name.len().saturating_sub(2)).collect();
        self.root.join(shard).join(name)
    }

    fn put_now(&self, cid: &Cid, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self.path(cid);
        // Compared and not only looked for: what is there may be damaged, and this is how it is mended.
        if self.size(cid).is_some() && fs::read(&path).is_ok_and(|stored| stored == bytes) {
            self.touch(cid, &path);
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&self.root).to_path_buf();
        if !folder.is_dir() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(|error| failure("create", &folder, &error))?;
            self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).insert(self.root.to_path_buf());
        }
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!(".{}-{number}", std::process::id()));
        let written = File::create(&temporary)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_data()))
            .and_then(|()| fs::rename(&temporary, &path));
        if let Err(error) = written {
            if let Err(left) = fs::remove_file(&temporary) {
                tracing::debug!(path = %temporary.display(), %left, "temporary block file left behind");
            }
            return Err(failure("write", &path, &error));
        }
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).insert(folder);
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.index().insert(cid, size, seconds(SystemTime::now()));
        Ok(())
    }

    fn settle_now(&self) -> Result<(), StorageError> {
        let folders = std::mem::take(&mut *self.unsettled.lock().unwrap_or_else(PoisonError::into_inner));
        for folder in &folders {
            if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
                // All of them again: whoever comes next does not know which were done.
                self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).extend(folders.iter().cloned());
                return Err(failure("sync", folder, &error));
            }
        }
        Ok(())
    }
}

fn read_index(root: &Path) -> io::Result<Index> {
    let mut index = Index::default();
    for shard in fs::read_dir(root)? {
        let shard = shard?;
        if !shard.file_type()?.is_dir() {
            continue;
        }
        for entry in fs::read_dir(shard.path())? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if let Ok(cid) = name.parse::<Cid>() {
                let meta = entry.metadata()?;
                index.insert(&cid, meta.len(), meta.modified().map_or(0, seconds));
            } else if name.starts_with('.')
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::debug!(path = %entry.path().display(), %error, "a temporary block file stays");
            }
        }
    }
    Ok(index)
}

fn seconds(at: SystemTime) -> u32 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    u32::try_from(since).unwrap_or(u32::MAX)
}

async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StorageError::Database(error.to_string()))?
}

fn failure(action: &'static str, path: &Path, error: &io::Error) -> StorageError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StorageError::Full(path.display().to_string())
        }
        _ => StorageError::Io { action, path: path.display().to_string(), why: error.to_string() },
    }
}
