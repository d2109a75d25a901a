//! Proofs that are kept where the operator finds them: bundles of disputed receipts, and chains that fork; one file each.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::{Storage, StorageError};

/// Files of a kind that are kept; the oldest go.
const MOST: usize = 256;

/// Two may be written at once, also of one name.
static PARTIAL: AtomicU64 = AtomicU64::new(0);

impl Storage {
    /// Where a proof is kept, if it is.
    pub fn proof_path(&self, kind: &str, name: &str) -> PathBuf {
        self.directory().join(kind).join(format!("{name}.jsonl"))
    }

    /// Keeps a proof in a folder of the data directory, and gives back where. The name is the id of what it is about.
    ///
    /// # Errors
    /// [`StorageError::Io`], [`StorageError::Full`].
    pub async fn keep_proof(&self, kind: &str, name: &str, text: String) -> Result<PathBuf, StorageError> {
        let (folder, path) = (self.directory().join(kind), self.proof_path(kind, name));
        let written = tokio::task::spawn_blocking(move || write(&folder, &path, &text).map(|()| path));
        written.await.map_err(|error| StorageError::Database(error.to_string()))?
    }
}

fn write(folder: &Path, path: &Path, text: &str) -> Result<(), StorageError> {
    let failed = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return StorageError::Full(error.to_string());
        }
        StorageError::Io { action: "write", path: path.display().to_string(), why: error.to_string() }
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let number = PARTIAL.fetch_add(1, Ordering::Relaxed);
    let partial = path.with_extension(format!("{number}.partial"));
    let mut file = fs::File::create(&partial).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&partial, path).map_err(failed)?;
    let mut files: Vec<(SystemTime, PathBuf)> = fs::read_dir(folder)
        .map_err(failed)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .collect();
    files.sort();
    let surplus = files.len().saturating_sub(MOST);
    for (_, oldest) in files.into_iter().take(surplus) {
        fs::remove_file(oldest).map_err(failed)?;
    }
    Ok(())
}
