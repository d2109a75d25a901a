//! The data directory and the lock that makes it one process's own.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::StorageError;

/// A directory (0700) that this process has locked; unlocked when it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be, and locks it.
    ///
    /// # Errors
    /// [`StorageError::Locked`] with the pid of the other process, [`StorageError::Io`].
    pub fn lock(path: &Path) -> Result<Self, StorageError> {
        let io = |action: &'static str, path: &Path| {
            let path = path.display().to_string();
            move |error: std::io::Error| StorageError::Io { action, path, why: error.to_string() }
        };
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(io("create the data directory", path))?;
        let file = path.join("lock");
        let mut options = OpenOptions::new();
        let mut lock = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&file);
        let lock = lock.as_mut().map_err(|error| StorageError::Io {
            action: "open",
            path: file.display().to_string(),
            why: error.to_string(),
        })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Whoever holds the lock has written its pid, or is just about to.
                if lock.take(16).read_to_string(&mut pid).is_err() || pid.trim().is_empty() {
                    pid = "unknown".to_owned();
                }
                return Err(StorageError::Locked {
                    path: path.display().to_string(),
                    pid: pid.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(io("lock", &file)(error)),
        }
        let written = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(format!("{}\n", std::process::id()).as_bytes()));
        written.map_err(io("write", &file))?;
        let lock = lock.try_clone().map_err(io("lock", &file))?;
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
