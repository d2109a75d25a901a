//! Bundles of disputed receipts, one file each.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cid::Cid;

use super::{Storage, StorageError};

/// Files that are kept; the oldest go.
const MOST: usize = 256;

impl Storage {
    /// Keeps a disputed receipt's bundle, and gives back where.
    ///
    /// # Errors
    /// [`StorageError::Io`], [`StorageError::Full`].
    pub async fn keep_dispute(&self, receipt: &Cid, bundle: String) -> Result<PathBuf, StorageError> {
        let folder = self.directory().join("disputes");
        let path = folder.join(format!("{receipt}.jsonl"));
        let written = tokio::task::spawn_blocking(move || write(&folder, &path, &bundle).map(|()| path));
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
    let partial = path.with_extension("partial");
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
