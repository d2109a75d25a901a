//! What is in the block store, in memory: how large each block is and when it was last used.

use std::collections::HashMap;

use cid::Cid;
use cid::multihash::Multihash;

use crate::document::{SHA2_256, Sha256Digest};

/// What a file takes on the disk is a multiple of this.
const DISK_BLOCK: u64 = 4096;

/// A CID of version 1 with sha2-256, in as few bytes as it has: there may be half a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    digest: [u8; 32],
    codec: u32,
}

impl Key {
    fn of(cid: &Cid) -> Option<Self> {
        let digest = Sha256Digest::from_cid(cid)?;
        Some(Self { digest: *digest.as_bytes(), codec: u32::try_from(cid.codec()).ok()? })
    }

    fn cid(&self) -> Option<Cid> {
        let hash = Multihash::wrap(SHA2_256, &self.digest).ok()?;
        Some(Cid::new_v1(self.codec.into(), hash))
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    size: u32,
    /// Seconds since 1970.
    used: u32,
}

/// A stored block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub cid: Cid,
    /// In bytes.
    pub size: u64,
    /// When it was last read or written, in seconds since 1970; to ten minutes or so.
    pub used: u32,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    entries: HashMap<Key, Entry>,
    total: u64,
}

impl Index {
    pub(super) fn insert(&mut self, cid: &Cid, size: u64, used: u32) {
        let (Some(key), Ok(small)) = (Key::of(cid), u32::try_from(size)) else { return };
        let before = self.entries.insert(key, Entry { size: small, used });
        let before = before.map_or(0, |entry| on_disk(entry.size.into()));
        self.total = self.total.saturating_sub(before).saturating_add(on_disk(size));
    }

    pub(super) fn remove(&mut self, cid: &Cid) {
        if let Some(entry) = Key::of(cid).and_then(|key| self.entries.remove(&key)) {
            self.total = self.total.saturating_sub(on_disk(entry.size.into()));
        }
    }

    pub(super) fn get(&self, cid: &Cid) -> Option<Stored> {
        let entry = self.entries.get(&Key::of(cid)?)?;
        Some(Stored { cid: *cid, size: entry.size.into(), used: entry.used })
    }

    /// Notes that a block was used; gives back when it had been before.
    pub(super) fn touch(&mut self, cid: &Cid, now: u32) -> Option<u32> {
        let entry = self.entries.get_mut(&Key::of(cid)?)?;
        Some(std::mem::replace(&mut entry.used, now))
    }

    pub(super) fn all(&self) -> Vec<Stored> {
        let stored = |(key, entry): (&Key, &Entry)| {
            Some(Stored { cid: key.cid()?, size: entry.size.into(), used: entry.used })
        };
        self.entries.iter().filter_map(stored).collect()
    }

    /// Bytes on the disk.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

/// What a block of that size takes on the disk.
pub fn on_disk(size: u64) -> u64 {
    size.max(1).div_ceil(DISK_BLOCK).saturating_mul(DISK_BLOCK)
}
