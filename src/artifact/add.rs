//! Putting a file into the store, while it comes.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cid::Cid;
use futures::{Stream, StreamExt as _, pin_mut};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::transfer::Direction;
use super::{ADDED_AT_ONCE, ArtifactError, ArtifactRecord, Artifacts, Lease};
use crate::dag::{Block, CHUNK, Layout, Part, leaf};
use crate::document::Sha256Digest;
use crate::storage::{Blocks, StorageError};

/// Who finds all places taken waits so long for one.
const PLACE_WITHIN: Duration = Duration::from_secs(10);
/// Chunks that are hashed and written at once.
const WRITING: usize = 4;

/// How a file is added.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// Its size, where it is known.
    pub size: Option<u64>,
    /// The most that is taken.
    pub limit: u64,
    pub pin: bool,
}

impl Artifacts {
    /// Puts a file into the store. When this returns, it is on the disk.
    ///
    /// # Errors
    /// [`ArtifactError::Source`] when it breaks off, [`ArtifactError::TooLarge`], [`ArtifactError::Empty`],
    /// [`ArtifactError::NoRoom`], [`ArtifactError::Storage`]. Blocks that were written stay and go with the least recently used.
    pub async fn add<S>(&self, file: S, terms: Terms) -> Result<ArtifactRecord, ArtifactError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send,
    {
        let inner = &self.inner;
        if terms.size.is_some_and(|size| size > terms.limit) {
            return Err(ArtifactError::TooLarge(terms.limit));
        }
        let Ok(Ok(_place)) = timeout(PLACE_WITHIN, inner.adding.acquire()).await else {
            return Err(ArtifactError::Busy(ADDED_AT_ONCE));
        };
        let ongoing = inner.transfers.begin(Direction::Add, None, terms.size);
        let mut writing = Writing::new(self);
        let mut whole = Sha256::new();
        let mut size = 0_u64;
        let mut buffer = BytesMut::new();
        pin_mut!(file);
        loop {
            let piece = file.next().await.transpose().map_err(ArtifactError::Source)?;
            let ended = piece.is_none();
            if let Some(piece) = piece {
                size = size.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                if size > terms.limit {
                    return Err(ArtifactError::TooLarge(terms.limit));
                }
                buffer.extend_from_slice(&piece);
            }
            while buffer.len() >= CHUNK || (ended && !buffer.is_empty()) {
                let chunk = buffer.split_to(CHUNK.min(buffer.len())).freeze();
                // A mebibyte takes half a millisecond.
                whole.update(&chunk);
                let bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                writing.chunk(chunk).await?;
                ongoing.advance(bytes, None);
            }
            if ended {
                break;
            }
        }
        if size == 0 {
            return Err(ArtifactError::Empty);
        }
        let (cid, lease) = writing.finish().await?;
        let sha256 = Sha256Digest::from_bytes(whole.finalize().into());
        let record = ArtifactRecord { cid, sha256, size, pinned: terms.pin, added_at: Timestamp::now() };
        let record = inner.complete(record, &lease).await?;
        if let Some(network) = &inner.network {
            // Somebody may have asked for a block of it before it was here.
            network.stored(lease.cids()).await?;
        }
        Ok(record)
    }

    /// Puts bytes into the store.
    ///
    /// # Errors
    /// As [`Artifacts::add`].
    pub async fn add_bytes(&self, bytes: Vec<u8>, pin: bool) -> Result<ArtifactRecord, ArtifactError> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let terms = Terms { size: Some(size), limit: size, pin };
        let bytes = Bytes::from(bytes);
        self.add(futures::stream::iter([Ok(bytes)]), terms).await
    }
}

/// Blocks on their way to the disk, in the order of the file.
struct Writing {
    artifacts: Artifacts,
    layout: Layout,
    leaves: VecDeque<JoinHandle<Result<Part, StorageError>>>,
    lease: Lease,
}

impl Writing {
    fn new(artifacts: &Artifacts) -> Self {
        Self {
            artifacts: artifacts.clone(),
            layout: Layout::default(),
            leaves: VecDeque::new(),
            lease: artifacts.inner.leases.hold(),
        }
    }

    async fn chunk(&mut self, chunk: Bytes) -> Result<(), ArtifactError> {
        if self.leaves.len() >= WRITING {
            self.next_leaf().await?;
        }
        let place = self.artifacts.make_room(chunk.len()).await?;
        let (blocks, lease) = (self.artifacts.inner.storage.blocks().clone(), self.lease.clone());
        self.leaves.push_back(tokio::task::spawn_blocking(move || {
            let written = write_leaf(&blocks, &lease, &chunk);
            drop(place);
            written
        }));
        Ok(())
    }

    async fn next_leaf(&mut self) -> Result<(), ArtifactError> {
        let Some(leaf) = self.leaves.pop_front() else { return Ok(()) };
        let leaf = leaf.await.map_err(|error| StorageError::Database(error.to_string()))??;
        for node in self.layout.push(leaf) {
            self.node(node).await?;
        }
        Ok(())
    }

    async fn node(&self, Block { cid, bytes }: Block) -> Result<(), ArtifactError> {
        let _place = self.artifacts.make_room(bytes.len()).await?;
        self.lease.add(&cid);
        Ok(self.artifacts.inner.storage.blocks().put_checked(&cid, bytes.into()).await?)
    }

    /// The file's CID, and the lease on all of it.
    async fn finish(mut self) -> Result<(Cid, Lease), ArtifactError> {
        while !self.leaves.is_empty() {
            self.next_leaf().await?;
        }
        let (root, nodes) = std::mem::take(&mut self.layout).finish();
        for node in nodes {
            self.node(node).await?;
        }
        Ok((root.cid, self.lease))
    }
}

fn write_leaf(blocks: &Blocks, lease: &Lease, chunk: &Bytes) -> Result<Part, StorageError> {
    let leaf = leaf(chunk);
    lease.add(&leaf.cid);
    blocks.put_checked_blocking(&leaf.cid, chunk)?;
    Ok(leaf)
}
