//! Compiled code on disk, so that a module is compiled once and not at every start.
//!
//! ```text
//!   compiled/                                  0700
//!     <digest of engine and settings>/         another engine's code is never looked at
//!       <digest of module>-<kind>-<digest of code>
//! ```
//!
//! A name promises its content; what does not keep the promise is removed. The latest use is a file's modification time.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::super::wire::Kind;
use crate::document::Sha256Digest;

/// Code that can be given to a runner.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) kind: Kind,
    pub(super) file: File,
    pub(super) bytes: u64,
}

impl Code {
    pub(super) fn new(kind: Kind, file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { kind, file, bytes })
    }
}

/// The cache of one engine.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    most_bytes: u64,
}

impl Cache {
    /// Opens it, and removes what older engines and interrupted writes have left.
    pub(super) fn open(root: &Path, engine: Sha256Digest, most_bytes: u64) -> io::Result<Self> {
        let folder = root.join(engine.to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        for entry in fs::read_dir(root)?.filter_map(Result::ok) {
            let path = entry.path();
            if path != folder && path.is_dir() {
                fs::remove_dir_all(path)?;
            }
        }
        for entry in fs::read_dir(&folder)?.filter_map(Result::ok) {
            if parse(&entry.file_name().to_string_lossy()).is_none() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { folder, most_bytes })
    }

    /// A file to compile into.
    pub(super) fn scratch(&self) -> io::Result<Scratch> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let path = self.folder.join(format!(".{}", hex::encode(random)));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(Scratch { path, file, kept: false })
    }

    /// Code by its module, if it is here and whole.
    pub(super) fn get(&self, module: Sha256Digest) -> io::Result<Option<Code>> {
        let prefix = format!("{module}-");
        for entry in fs::read_dir(&self.folder)?.filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with(&prefix) {
                continue;
            }
            let Some((kind, digest)) = parse(&name) else { continue };
            let file = File::open(entry.path())?;
            if digest_of(&file)? == digest {
                // How recently it was used decides what goes first; that it could not be noted is no reason not to use it.
                if let Err(error) = file.set_modified(SystemTime::now()) {
                    tracing::debug!(%error, "the use of compiled code was not noted");
                }
                return Code::new(kind, file).map(Some);
            }
            tracing::warn!(%module, "compiled code in the cache is damaged; it is compiled again");
            fs::remove_file(entry.path())?;
        }
        Ok(None)
    }

    /// Removes a module's code.
    pub(super) fn forget(&self, module: Sha256Digest) -> io::Result<()> {
        let prefix = format!("{module}-");
        for entry in fs::read_dir(&self.folder)?.filter_map(Result::ok) {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Keeps what was compiled into `scratch`, and makes room for it.
    pub(super) fn keep(&self, module: Sha256Digest, kind: Kind, mut scratch: Scratch) -> io::Result<Code> {
        let digest = digest_of(&scratch.file)?;
        let letter = if kind == Kind::Module { 'm' } else { 'c' };
        let path = self.folder.join(format!("{module}-{letter}-{digest}"));
        scratch.file.sync_data()?;
        fs::rename(&scratch.path, &path)?;
        scratch.kept = true;
        // What a runner is given can only be read.
        let file = File::open(&path)?;
        self.make_room()?;
        Code::new(kind, file)
    }

    /// Removes what was not used for longest until the rest fits. Runners that have it open keep it.
    fn make_room(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)?.filter_map(Result::ok) {
            let metadata = entry.metadata()?;
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
        files.sort_unstable_by_key(|(used, ..)| *used);
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        // The newest stays, however large it is.
        files.pop();
        for (_, bytes, path) in files {
            if total <= self.most_bytes {
                break;
            }
            fs::remove_file(path)?;
            total = total.saturating_sub(bytes);
        }
        Ok(())
    }
}

/// A file in the cache that is not part of it yet; dropped, it goes away.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    pub(super) file: File,
    kept: bool,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(%error, "a scratch file of the code cache stays until the next start");
        }
    }
}

fn parse(name: &str) -> Option<(Kind, Sha256Digest)> {
    let mut parts = name.split('-');
    let (module, kind, code) = (parts.next()?, parts.next()?, parts.next()?);
    Sha256Digest::try_from(module.to_owned()).ok()?;
    let kind = match kind {
        "m" => Kind::Module,
        "c" => Kind::Component,
        _ => return None,
    };
    let code = Sha256Digest::try_from(code.to_owned()).ok()?;
    parts.next().is_none().then_some((kind, code))
}

fn digest_of(mut file: &File) -> io::Result<Sha256Digest> {
    use std::io::Seek as _;
    file.rewind()?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut chunk)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
    }
    Ok(Sha256Digest::from_bytes(hasher.finalize().into()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn keep(cache: &Cache, module: &[u8], code: &[u8]) {
        let mut scratch = cache.scratch().unwrap();
        scratch.file.write_all(code).unwrap();
        cache.keep(Sha256Digest::of(module), Kind::Module, scratch).unwrap();
    }

    fn got(cache: &Cache, module: &[u8]) -> Option<Vec<u8>> {
        use std::io::Seek as _;
        let mut code = cache.get(Sha256Digest::of(module)).unwrap()?;
        code.file.rewind().unwrap();
        let mut bytes = Vec::new();
        code.file.read_to_end(&mut bytes).unwrap();
        Some(bytes)
    }

    #[test]
    fn what_was_kept_is_there_and_what_was_damaged_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path(), Sha256Digest::of(b"engine"), 1 << 20).unwrap();
        assert_eq!(got(&cache, b"one"), None);
        keep(&cache, b"one", b"code of one");
        keep(&cache, b"two", b"code of two");
        assert_eq!(got(&cache, b"one").as_deref(), Some(&b"code of one"[..]));
        let file = fs::read_dir(&cache.folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_str().unwrap().contains(&Sha256Digest::of(b"one").to_string()))
            .unwrap();
        fs::write(&file, b"code of 0ne").unwrap();
        assert_eq!(got(&cache, b"one"), None);
        assert!(!file.exists());
        assert_eq!(got(&cache, b"two").as_deref(), Some(&b"code of two"[..]));
    }

    #[test]
    fn the_least_recently_used_goes_first_and_another_engines_code_at_the_start() {
        let root = tempfile::tempdir().unwrap();
        let engine = Sha256Digest::of(b"engine");
        let cache = Cache::open(root.path(), engine, 25).unwrap();
        keep(&cache, b"one", b"0123456789");
        keep(&cache, b"two", b"0123456789");
        for entry in fs::read_dir(&cache.folder).unwrap() {
            File::open(entry.unwrap().path()).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        assert!(got(&cache, b"one").is_some());
        keep(&cache, b"three", b"0123456789");
        assert!(got(&cache, b"one").is_some() && got(&cache, b"three").is_some());
        assert!(got(&cache, b"two").is_none());

        drop(cache.scratch().unwrap());
        fs::write(cache.folder.join(".half"), b"half").unwrap();
        let again = Cache::open(root.path(), engine, 25).unwrap();
        assert_eq!(fs::read_dir(&again.folder).unwrap().count(), 2);
        Cache::open(root.path(), Sha256Digest::of(b"newer"), 25).unwrap();
        assert!(!again.folder.exists());
    }
}
