//! Keys that this node has offered to be enlisted with: each is good for one guild of one creator, as long as the offer stands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::GuildKey;
use crate::identity::Did;

#[derive(Default)]
pub(super) struct OfferedKeys(Mutex<HashMap<[u8; 32], (GuildKey, Did)>>);

/// An offer that stands until this is dropped; the key goes with it, unless it was taken.
pub struct OfferedKey {
    keys: Arc<OfferedKeys>,
    public: [u8; 32],
}

impl OfferedKeys {
    fn keys(&self) -> MutexGuard<'_, HashMap<[u8; 32], (GuildKey, Did)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(self: &Arc<Self>, key: GuildKey, to: Did) -> OfferedKey {
        let public = key.public();
        self.keys().insert(public, (key, to));
        OfferedKey { keys: Arc::clone(self), public }
    }

    /// The key of an offer, for the one to whom it was made; once.
    pub(super) fn take(&self, public: &[u8; 32], by: &Did) -> Option<GuildKey> {
        let mut keys = self.keys();
        keys.get(public).filter(|(_, to)| to == by)?;
        keys.remove(public).map(|(key, _)| key)
    }
}

impl OfferedKey {
    pub(super) fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Whether this node was enlisted with it.
    pub fn is_taken(&self) -> bool {
        !self.keys.keys().contains_key(&self.public)
    }
}

impl Drop for OfferedKey {
    fn drop(&mut self) {
        self.keys.keys().remove(&self.public);
    }
}
