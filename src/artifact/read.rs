//! Reading a stored file: its bytes, block by block.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cid::Cid;

use super::{ArtifactError, ArtifactRecord, Artifacts, Lease};
use crate::dag::{Node, Walk, canonical};
use crate::document::RAW_CODEC;
use crate::storage::{Blocks, StorageError};

/// Files that are known to be whole without looking.
const KNOWN: usize = 256;

/// Files that were found whole a short while ago.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<VecDeque<ArtifactRecord>>);

impl Known {
    fn get(&self, cid: &Cid) -> Option<ArtifactRecord> {
        self.lock().iter().rev().find(|record| record.cid == *cid).cloned()
    }

    pub(super) fn note(&self, record: ArtifactRecord) {
        let mut known = self.lock();
        known.retain(|other| other.cid != record.cid);
        if known.len() >= KNOWN {
            known.pop_front();
        }
        known.push_back(record);
    }

    pub(super) fn forget(&self, cid: &Cid) {
        self.lock().retain(|record| record.cid != *cid);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<ArtifactRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Artifacts {
    /// The record of a file of which every block is stored. That they are unharmed is found out by reading them, here or later.
    pub(super) async fn whole(
        &self,
        cid: &Cid,
        read_all: bool,
    ) -> Result<Option<ArtifactRecord>, ArtifactError> {
        let inner = &self.inner;
        if !read_all
            && let Some(known) = inner.known.get(cid)
            && inner.storage.blocks().size(cid).is_some()
        {
            return Ok(Some(known));
        }
        let Some(record) = inner.storage.artifact(cid).await? else { return Ok(None) };
        let (blocks, root) = (inner.storage.blocks().clone(), *cid);
        let whole = tokio::task::spawn_blocking(move || is_whole(&blocks, &root, read_all)).await;
        if !whole.map_err(|error| StorageError::Database(error.to_string()))? {
            return Ok(None);
        }
        inner.known.note(record.clone());
        Ok(Some(record))
    }

    /// Something of a file turned out to be damaged or gone: it is not taken for whole any more.
    pub fn doubt(&self, cid: &Cid) {
        self.inner.known.forget(&canonical(cid));
    }

    /// A stored file, to be read from its beginning. It stays in the store while it is read.
    ///
    /// # Errors
    /// [`ArtifactError::NotHere`] when its root is not stored, [`ArtifactError::Dag`] when it is no file or has over `limit` bytes.
    pub async fn open(&self, cid: &Cid, limit: u64) -> Result<Reader, ArtifactError> {
        let (this, cid) = (self.clone(), *cid);
        let opened = tokio::task::spawn_blocking(move || this.open_blocking(&cid, limit));
        opened.await.map_err(|error| StorageError::Database(error.to_string()))?
    }

    fn open_blocking(&self, cid: &Cid, limit: u64) -> Result<Reader, ArtifactError> {
        let lease = self.hold(cid);
        let mut walk = Walk::new(cid, limit)?;
        let blocks = self.inner.storage.blocks().clone();
        let ready = step(&blocks, &mut walk)?;
        Ok(Reader { blocks, walk, ready, _lease: lease })
    }

    /// A stored file's bytes.
    ///
    /// # Errors
    /// As [`Artifacts::open`], and [`ArtifactError::NotHere`] when some of its blocks are missing.
    pub async fn bytes(&self, cid: &Cid, limit: u64) -> Result<Vec<u8>, ArtifactError> {
        let (this, cid) = (self.clone(), *cid);
        let read = tokio::task::spawn_blocking(move || this.bytes_blocking(&cid, limit));
        read.await.map_err(|error| StorageError::Database(error.to_string()))?
    }

    /// The same from a thread that may block.
    ///
    /// # Errors
    /// As [`Artifacts::bytes`].
    pub fn bytes_blocking(&self, cid: &Cid, limit: u64) -> Result<Vec<u8>, ArtifactError> {
        self.open_blocking(cid, limit)?.read_to_end()
    }
}

/// A file that is being read.
pub struct Reader {
    blocks: Blocks,
    walk: Walk,
    ready: Option<Bytes>,
    _lease: Lease,
}

impl Reader {
    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.walk.size().unwrap_or(0)
    }

    /// The next bytes; nothing at the end. Blocks while it reads.
    ///
    /// # Errors
    /// [`ArtifactError::NotHere`] naming a block that is missing, [`ArtifactError::Storage`].
    pub fn next_blocking(&mut self) -> Result<Option<Bytes>, ArtifactError> {
        match self.ready.take() {
            Some(bytes) => Ok(Some(bytes)),
            None => step(&self.blocks, &mut self.walk),
        }
    }

    /// The next bytes; nothing at the end.
    ///
    /// # Errors
    /// As [`Reader::next_blocking`].
    pub async fn next(mut self) -> Result<Option<(Bytes, Self)>, ArtifactError> {
        let read = tokio::task::spawn_blocking(move || {
            let bytes = self.next_blocking()?;
            Ok(bytes.map(|bytes| (bytes, self)))
        });
        read.await.map_err(|error| StorageError::Database(error.to_string()))?
    }

    fn read_to_end(mut self) -> Result<Vec<u8>, ArtifactError> {
        let mut file = Vec::new();
        while let Some(bytes) = self.next_blocking()? {
            file.extend_from_slice(&bytes);
        }
        Ok(file)
    }
}

fn is_whole(blocks: &Blocks, root: &Cid, read_all: bool) -> bool {
    let mut ahead = vec![*root];
    while let Some(cid) = ahead.pop() {
        let leaf = cid.codec() == RAW_CODEC;
        if leaf && cid != *root && !read_all {
            if blocks.size(&cid).is_none() {
                return false;
            }
            continue;
        }
        let Ok(Some(bytes)) = blocks.get_blocking(&cid) else { return false };
        match Node::parse(&cid, &bytes) {
            Ok(Node::Branch { children, .. }) => ahead.extend(children.into_iter().map(|child| child.cid)),
            Ok(Node::Leaf(_)) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Walks to the next leaf that has bytes.
fn step(blocks: &Blocks, walk: &mut Walk) -> Result<Option<Bytes>, ArtifactError> {
    while let Some(wanted) = walk.take() {
        let block = blocks.get_blocking(&wanted.cid)?.ok_or(ArtifactError::NotHere(wanted.cid))?;
        if let Some(bytes) = walk.open(&wanted, &block)?
            && !bytes.is_empty()
        {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

impl From<ArtifactError> for io::Error {
    fn from(error: ArtifactError) -> Self {
        let kind = match error {
            ArtifactError::NotHere(_) => io::ErrorKind::NotFound,
            ArtifactError::Storage(StorageError::Damaged { .. }) | ArtifactError::Dag(_) => {
                io::ErrorKind::InvalidData
            }
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
