//! Block files: content by CID, written so that a crash leaves a whole block or none, and hashed again when read.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cid::Cid;

use super::StorageError;
use crate::document::{Sha256Digest, content_id};

/// Blocks that are known to be there without asking the file system.
const KNOWN: usize = 64;

/// The block store. Cheap to clone.
#[derive(Clone)]
pub struct Blocks {
    root: Arc<PathBuf>,
    temporary: Arc<AtomicU64>,
    /// What was stored or read last, with its size.
    known: Arc<Mutex<VecDeque<(Cid, u64)>>>,
}

impl Blocks {
    pub(super) fn open(root: &Path) -> Result<Self, StorageError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(root);
        made.map_err(|error| failure("create", root, &error))?;
        Ok(Self { root: Arc::new(root.to_path_buf()), temporary: Arc::default(), known: Arc::default() })
    }

    /// Stores bytes durably under their CID (raw, sha2-256) and returns it. What is there already, and whole, is not written again.
    ///
    /// # Errors
    /// [`StorageError::Full`] or [`StorageError::Io`], naming the file.
    pub async fn put(&self, bytes: Vec<u8>) -> Result<Cid, StorageError> {
        let this = self.clone();
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let cid = run(move || this.put_now(&bytes)).await?;
        self.note(cid, size);
        Ok(cid)
    }

    /// Reads a block and checks its hash.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when its content is no longer what its name says (the file is removed, so that it can be
    /// fetched again), [`StorageError::Io`].
    pub async fn get(&self, cid: &Cid) -> Result<Option<Vec<u8>>, StorageError> {
        let (this, cid) = (self.clone(), *cid);
        let got = run(move || this.get_now(&cid)).await;
        match &got {
            Ok(Some(bytes)) => self.note(cid, u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            _ => self.forget(&cid),
        }
        got
    }

    /// Stores bytes as [`Blocks::put`] does, or not at all when the same bytes were stored or read a short while ago.
    ///
    /// # Errors
    /// As [`Blocks::put`].
    pub async fn keep(&self, bytes: &[u8]) -> Result<Cid, StorageError> {
        let cid = content_id(bytes);
        if self.known(&cid).is_some() { Ok(cid) } else { self.put(bytes.to_vec()).await }
    }

    /// Where a block is, if it is stored. Its content is not looked at.
    pub async fn locate(&self, cid: &Cid) -> Option<PathBuf> {
        let path = self.path(cid);
        let there = self.known(cid).is_some() || tokio::fs::try_exists(&path).await.is_ok_and(|there| there);
        there.then_some(path)
    }

    /// The size of a block whose content was checked a short while ago.
    pub fn known(&self, cid: &Cid) -> Option<u64> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().rev().find(|(other, _)| other == cid).map(|(_, size)| *size)
    }

    fn note(&self, cid: Cid, size: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.iter().all(|(other, _)| *other != cid) {
            if known.len() >= KNOWN {
                known.pop_front();
            }
            known.push_back((cid, size));
        }
    }

    fn forget(&self, cid: &Cid) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| other != cid);
    }

    /// All stored blocks with their sizes.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub async fn list(&self) -> Result<Vec<(Cid, u64)>, StorageError> {
        let this = self.clone();
        run(move || this.list_now()).await
    }

    fn path(&self, cid: &Cid) -> PathBuf {
        let name = cid.to_string();
        // The last characters of a CID are evenly spread; the first are all "bafkrei".
        let shard: String = name.chars().skip(name.len().saturating_sub(2)).collect();
        self.root.join(shard).join(name)
    }

    fn put_now(&self, bytes: &[u8]) -> Result<Cid, StorageError> {
        let cid = content_id(bytes);
        let path = self.path(&cid);
        // Compared and not only looked for: what is there may be damaged, and this is how it is mended.
        if fs::read(&path).is_ok_and(|stored| stored == bytes) {
            return Ok(cid);
        }
        let folder = path.parent().unwrap_or(&self.root).to_path_buf();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| failure("create", &folder, &error))?;
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!(".{}-{number}", std::process::id()));
        let written = File::create(&temporary)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| File::open(&folder)?.sync_all());
        if let Err(error) = written {
            if let Err(left) = fs::remove_file(&temporary) {
                tracing::debug!(path = %temporary.display(), %left, "temporary block file left behind");
            }
            return Err(failure("write", &path, &error));
        }
        Ok(cid)
    }

    fn get_now(&self, cid: &Cid) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.path(cid);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failure("read", &path, &error)),
        };
        if Sha256Digest::from_cid(cid) == Some(Sha256Digest::of(&bytes)) {
            return Ok(Some(bytes));
        }
        fs::remove_file(&path).map_err(|error| failure("remove the damaged block", &path, &error))?;
        Err(StorageError::Damaged {
            what: "block",
            id: cid.to_string(),
            why: "its content has another hash; removed".into(),
        })
    }

    fn list_now(&self) -> Result<Vec<(Cid, u64)>, StorageError> {
        let mut found = Vec::new();
        let wrong = |error: io::Error| failure("list", &self.root, &error);
        for shard in fs::read_dir(self.root.as_path()).map_err(wrong)? {
            for entry in fs::read_dir(shard.map_err(wrong)?.path()).map_err(wrong)? {
                let entry = entry.map_err(wrong)?;
                if let Ok(cid) = entry.file_name().to_string_lossy().parse::<Cid>() {
                    found.push((cid, entry.metadata().map_err(wrong)?.len()));
                }
            }
        }
        found.sort_by_key(|(cid, _)| cid.to_string());
        Ok(found)
    }
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
