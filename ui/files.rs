//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that takes its place when it is finished; what stood there before stays until then.
pub struct Whole {
    file: File,
    /// Where it is written meanwhile.
    part: Option<PathBuf>,
    place: PathBuf,
}

impl Whole {
    /// Begins to write the file at `path`. What a link leads to is meant, and what is no file, such as a pipe, is written to as it is.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn create(path: &Path) -> io::Result<Self> {
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if fs::metadata(&place).is_ok_and(|there| !there.is_file()) {
            return Ok(Self { file: File::options().write(true).open(&place)?, part: None, place });
        }
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let part = place.with_file_name(format!(".{name}.{}.part", std::process::id()));
        Ok(Self { file: File::create_new(&part)?, part: Some(part), place })
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// When it cannot be written to its end; then nothing has changed.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        if let Some(part) = &self.part {
            self.file.sync_all()?;
            fs::rename(part, &self.place)?;
        }
        self.part = None;
        Ok(())
    }
}

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        let left = self.part.take().map_or(Ok(()), fs::remove_file);
        if let Err(error) = left {
            tracing::debug!(%error, "the beginning of a file stays");
        }
    }
}

/// Writes a file.
///
/// # Errors
/// As [`Whole::create`] and [`Whole::finish`].
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = Whole::create(path)?;
    file.write_all(bytes)?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_there_stays_until_all_of_the_new_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle");
        let read = || fs::read_to_string(&path).unwrap();
        write(&path, b"one").unwrap();
        let mut half = Whole::create(&path).unwrap();
        half.write_all(b"tw").unwrap();
        assert_eq!(read(), "one");
        drop(half);
        assert_eq!(read(), "one");
        write(&path, b"two").unwrap();
        assert_eq!(read(), "two");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write(&link, b"three").unwrap();
        assert_eq!(read(), "three");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing half written is left");
        assert!(write(&folder.path().join("no/where"), b"x").is_err());
        write(Path::new("/dev/null"), b"x").unwrap();
    }
}
