//! What stays in the store because somebody uses it now.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cid::Cid;

#[derive(Debug, Default)]
struct Held {
    counts: HashMap<Cid, u32>,
    /// While room is made: what was let go since that began. Whoever makes room decided by an older state of things.
    released: Option<HashSet<Cid>>,
}

/// All leases that somebody holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases(Arc<Mutex<Held>>);

/// Blocks that stay for as long as this is held by somebody.
#[derive(Debug, Clone)]
pub struct Lease(Arc<Own>);

#[derive(Debug)]
struct Own {
    leases: Leases,
    cids: Mutex<HashSet<Cid>>,
}

/// Room is being made.
#[must_use]
pub(super) struct Eviction(Leases);

impl Drop for Eviction {
    fn drop(&mut self) {
        self.0.lock().released = None;
    }
}

impl Leases {
    pub(super) fn hold(&self) -> Lease {
        Lease(Arc::new(Own { leases: self.clone(), cids: Mutex::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what is held now. Until the other value is dropped, what is let go counts as held.
    pub(super) fn begin_eviction(&self) -> (HashSet<Cid>, Eviction) {
        let mut held = self.lock();
        held.released = Some(HashSet::new());
        (held.counts.keys().copied().collect(), Eviction(self.clone()))
    }

    /// Does something that must not happen to what is held: not at all when one of these is, and nobody can take a lease on
    /// one meanwhile. Called for one file at a time, because others wait.
    pub(super) fn unless_held<T>(&self, cids: &[Cid], act: impl FnOnce() -> T) -> Option<T> {
        let held = self.lock();
        let is_held = |cid: &Cid| {
            held.counts.contains_key(cid) || held.released.as_ref().is_some_and(|gone| gone.contains(cid))
        };
        if cids.iter().any(is_held) { None } else { Some(act()) }
    }
}

impl Lease {
    /// This one, too. Whoever holds a file's root holds everything below it.
    pub(super) fn add(&self, cid: &Cid) {
        if self.0.cids.lock().unwrap_or_else(PoisonError::into_inner).insert(*cid) {
            *self.0.leases.lock().counts.entry(*cid).or_default() += 1;
        }
    }

    /// What it is on.
    pub(super) fn cids(&self) -> Vec<Cid> {
        self.0.cids.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut held = self.leases.lock();
        for cid in self.cids.get_mut().unwrap_or_else(PoisonError::into_inner).drain() {
            if let Some(released) = &mut held.released {
                released.insert(cid);
            }
            let left = held.counts.get_mut(&cid).map_or(0, |count| {
                *count = count.saturating_sub(1);
                *count
            });
            if left == 0 {
                held.counts.remove(&cid);
            }
        }
    }
}
