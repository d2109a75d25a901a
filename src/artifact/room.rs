//! Room in the store: what was used least recently goes first, and what is needed never goes.
//!
//! Needed is what is pinned, what is being read, added or got, what an unfinished task runs on, and what a receipt speaks of that
//! still lacks attestations. An artifact goes as a whole; blocks that belong to none (outputs, the rest of a get that was cut
//! off) go one by one.

use std::collections::{HashMap, HashSet};
use std::sync::{MutexGuard, PoisonError};

use cid::Cid;

use super::{ArtifactError, Artifacts, Lease};
use crate::dag::{Node, canonical};
use crate::document::{AnyEnvelope, Manifest, Stdin, content_id};
use crate::storage::{Blocks, Storage, StorageError, Write, on_disk};

/// How much more than is wanted at once is made free, as a part of all.
const SLACK: u64 = 16;
/// Receipts without their quorum that are looked at, the newest.
const UNATTESTED: u32 = 10_000;

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    pub artifacts: u64,
    pub blocks: u64,
    /// On the disk.
    pub bytes: u64,
}

/// Place in the store for a block that is about to be written.
#[must_use]
pub(super) struct Place {
    artifacts: Artifacts,
    bytes: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut reserved = self.artifacts.reserved();
        *reserved = reserved.saturating_sub(self.bytes);
    }
}

impl Artifacts {
    /// A lease on an artifact that is stored, or will be.
    pub fn hold(&self, cid: &Cid) -> Lease {
        let lease = self.inner.leases.hold();
        lease.add(&canonical(cid));
        lease
    }

    /// Removes everything that is not needed.
    ///
    /// # Errors
    /// [`ArtifactError::Storage`].
    pub async fn collect_garbage(&self) -> Result<Freed, ArtifactError> {
        let _making_room = self.inner.making_room.lock().await;
        self.evict(0).await
    }

    fn reserved(&self) -> MutexGuard<'_, u64> {
        self.inner.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self, bytes: u64) -> Option<Place> {
        let mut reserved = self.reserved();
        let taken = self.inner.storage.blocks().used().saturating_add(*reserved).saturating_add(bytes);
        if taken > self.inner.quota {
            return None;
        }
        *reserved = reserved.saturating_add(bytes);
        Some(Place { artifacts: self.clone(), bytes })
    }

    /// Sees to it that a block of so many bytes can be stored, as long as the place is held.
    pub(super) async fn make_room(&self, bytes: usize) -> Result<Place, ArtifactError> {
        let (blocks, quota) = (self.inner.storage.blocks(), self.inner.quota);
        let wanted = on_disk(u64::try_from(bytes).unwrap_or(u64::MAX));
        if let Some(place) = self.reserve(wanted) {
            return Ok(place);
        }
        let _making_room = self.inner.making_room.lock().await;
        if let Some(place) = self.reserve(wanted) {
            return Ok(place);
        }
        let others = *self.reserved();
        let target = quota.saturating_sub(wanted).saturating_sub(others).saturating_sub(quota / SLACK);
        let freed = self.evict(target).await?;
        tracing::info!(?freed, "room was made in the store");
        self.reserve(wanted).ok_or_else(|| ArtifactError::NoRoom { wanted, used: blocks.used(), quota })
    }

    /// Stores a block that belongs to no artifact, such as an output. It stays while the lease is held, and then as long as
    /// something needs it.
    ///
    /// # Errors
    /// [`ArtifactError::NoRoom`], [`ArtifactError::Storage`].
    pub async fn keep(&self, bytes: &[u8]) -> Result<Lease, ArtifactError> {
        let lease = self.hold(&content_id(bytes));
        let _place = self.make_room(bytes.len()).await?;
        self.inner.storage.blocks().keep(bytes).await?;
        Ok(lease)
    }

    /// Removes what is not needed, until no more than `target` bytes are taken.
    async fn evict(&self, target: u64) -> Result<Freed, ArtifactError> {
        let (held, _eviction) = self.inner.leases.begin_eviction();
        let storage = &self.inner.storage;
        let roots = self.needed_roots().await?;
        let artifacts = storage.artifacts().await?;
        let pinned = artifacts.iter().filter(|artifact| artifact.pinned).map(|artifact| artifact.cid);
        let roots: HashSet<Cid> = roots.into_iter().chain(held).chain(pinned).collect();
        let blocks = storage.blocks().clone();
        let planned = tokio::task::spawn_blocking(move || {
            let artifacts = artifacts.into_iter().map(|artifact| artifact.cid).collect();
            plan(&blocks, &roots, artifacts)
        });
        let mut plan = planned.await.map_err(|error| StorageError::Database(error.to_string()))?;
        let (mut freed, mut kept) = (Freed::default(), HashSet::new());
        while storage.blocks().used() > target {
            let Some(mut next) = plan.pop() else { break };
            if let Some(cid) = next.artifact {
                if self.inner.leases.unless_held(&[cid], || self.inner.known.forget(&cid)).is_none() {
                    // Somebody has come for it meanwhile: what it has in common with others stays as well.
                    kept.extend(next.own);
                    continue;
                }
                // First the row: blocks without one are found as such, a row without its blocks would be a lie.
                storage.write(&[Write::NoArtifact(cid)]).await?;
                freed.artifacts = freed.artifacts.saturating_add(1);
                if let Some(network) = &self.inner.network {
                    network.stop_providing(&cid).await?;
                }
            }
            next.blocks.retain(|cid| !kept.contains(cid));
            let (blocks, bytes) = self.remove(next).await?;
            freed.blocks = freed.blocks.saturating_add(blocks);
            freed.bytes = freed.bytes.saturating_add(bytes);
        }
        Ok(freed)
    }

    /// Removes the blocks of a victim that nobody has taken a lease on meanwhile.
    async fn remove(&self, victim: Victim) -> Result<(u64, u64), ArtifactError> {
        let (leases, blocks) = (self.inner.leases.clone(), self.inner.storage.blocks().clone());
        let removing = tokio::task::spawn_blocking(move || {
            let (mut count, mut bytes) = (0_u64, 0_u64);
            for cid in victim.blocks {
                let concerned = [cid, victim.artifact.unwrap_or(cid)];
                if let Some(freed) = leases.unless_held(&concerned, || blocks.remove_blocking(&cid)) {
                    count = count.saturating_add(1);
                    bytes = bytes.saturating_add(freed?);
                }
            }
            Ok((count, bytes))
        });
        removing.await.map_err(|error| StorageError::Database(error.to_string()))?
    }

    /// What must stay, but for the pinned.
    async fn needed_roots(&self) -> Result<HashSet<Cid>, ArtifactError> {
        let storage = &self.inner.storage;
        let mut roots = HashSet::new();
        for task in storage.pending_tasks().await? {
            if let Ok(id) = task.manifest_id.parse() {
                roots.extend(manifest_needs(storage, &id).await?);
            }
        }
        for id in storage.unattested(UNATTESTED).await? {
            let Ok(id) = id.parse() else { continue };
            if let Some(AnyEnvelope::Receipt(receipt)) = known(storage, &id).await? {
                roots.insert(receipt.document().output.sha256.to_cid());
                roots.extend(manifest_needs(storage, &receipt.document().manifest).await?);
            }
        }
        Ok(roots)
    }
}

/// A stored document; a damaged one needs nothing.
async fn known(storage: &Storage, id: &Cid) -> Result<Option<AnyEnvelope>, StorageError> {
    match storage.document(id).await {
        Err(StorageError::Damaged { .. }) => Ok(None),
        other => other,
    }
}

async fn manifest_needs(storage: &Storage, id: &Cid) -> Result<Vec<Cid>, StorageError> {
    let Some(AnyEnvelope::Manifest(manifest)) = known(storage, id).await? else { return Ok(Vec::new()) };
    let terms: &Manifest = manifest.document();
    let input = match terms.stdin() {
        Stdin::Blob(cid) => Some(canonical(&cid)),
        Stdin::Inline(_) => None,
    };
    Ok([Some(canonical(&terms.artifact.cid)), input].into_iter().flatten().collect())
}

/// Something that can go.
struct Victim {
    used: u32,
    artifact: Option<Cid>,
    /// What goes with it.
    blocks: Vec<Cid>,
    /// All that it has, of which others may have some, too.
    own: HashSet<Cid>,
}

/// What can go, the least recently used last.
fn plan(blocks: &Blocks, needed: &HashSet<Cid>, artifacts: Vec<Cid>) -> Vec<Victim> {
    let mut kept = HashSet::new();
    needed.iter().for_each(|root| below(blocks, root, &mut kept));
    let mut owners: HashMap<Cid, u32> = HashMap::new();
    let mut files = Vec::new();
    for root in artifacts {
        let mut own = HashSet::new();
        below(blocks, &root, &mut own);
        for cid in &own {
            *owners.entry(*cid).or_default() += 1;
        }
        if !kept.contains(&root) {
            files.push((root, own));
        }
    }
    let mut victims = Vec::new();
    for stored in blocks.all() {
        if !kept.contains(&stored.cid) && !owners.contains_key(&stored.cid) {
            victims.push(Victim {
                used: stored.used,
                artifact: None,
                blocks: vec![stored.cid],
                own: HashSet::new(),
            });
        }
    }
    files.sort_by_key(|(root, _)| blocks.stored(root).map_or(0, |stored| stored.used));
    // In the order in which they go: a block that two files share goes with the second.
    for (root, own) in files {
        let used = blocks.stored(&root).map_or(0, |stored| stored.used);
        let alone = own.iter().copied().filter(|cid| {
            let last = owners.get_mut(cid).is_none_or(|count| {
                *count = count.saturating_sub(1);
                *count == 0
            });
            last && !kept.contains(cid)
        });
        let blocks = alone.collect();
        victims.push(Victim { used, artifact: Some(root), blocks, own });
    }
    // Of those used in the same second, in the order above; it is popped from the end.
    victims.sort_by_key(|victim| victim.used);
    victims.reverse();
    victims
}

/// A block and every stored block below it.
fn below(blocks: &Blocks, root: &Cid, found: &mut HashSet<Cid>) {
    let mut ahead = vec![*root];
    while let Some(cid) = ahead.pop() {
        if blocks.size(&cid).is_none() || !found.insert(cid) || cid.codec() == crate::document::RAW_CODEC {
            continue;
        }
        if let Ok(Some(bytes)) = blocks.get_blocking(&cid)
            && let Ok(Node::Branch { children, .. }) = Node::parse(&cid, &bytes)
        {
            ahead.extend(children.into_iter().map(|child| child.cid));
        }
    }
}
