//! Documents that have been verified lately: one that comes again, by another way or out of the store, is known by its bytes; one
//! that is stored, by its id.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cid::Cid;
use sha2::{Digest as _, Sha256};

use super::{AnyEnvelope, DocumentError};

/// How many are remembered, and up to which size: 8 MiB of envelopes at the most, mostly 2, and their documents. As many as the tasks
/// that are under way at once have.
const MOST: usize = 1024;
const LARGEST: usize = 8 * 1024;

type Key = [u8; 32];

#[derive(Default)]
struct Known {
    documents: HashMap<Key, AnyEnvelope>,
    ids: HashMap<Cid, Key>,
    /// The oldest first.
    order: VecDeque<Key>,
}

/// A bounded memory of verified envelopes.
#[derive(Default)]
pub struct Verified(Mutex<Known>);

impl Verified {
    /// As [`AnyEnvelope::open`], which is not done again for the same bytes.
    ///
    /// # Errors
    /// As [`AnyEnvelope::open`].
    pub fn open(&self, bytes: &[u8]) -> Result<AnyEnvelope, DocumentError> {
        if bytes.len() > LARGEST {
            return AnyEnvelope::open(bytes);
        }
        let key = Sha256::digest(bytes).into();
        if let Some(known) = self.known().documents.get(&key) {
            return Ok(known.clone());
        }
        let opened = AnyEnvelope::open(bytes)?;
        self.insert(key, &opened, false);
        Ok(opened)
    }

    /// One of those that are stored.
    pub fn get(&self, id: &Cid) -> Option<AnyEnvelope> {
        let known = self.known();
        known.ids.get(id).and_then(|key| known.documents.get(key)).cloned()
    }

    /// Remembers one that is known to be valid.
    pub fn add(&self, envelope: &AnyEnvelope) {
        if envelope.bytes().len() <= LARGEST {
            self.insert(Sha256::digest(envelope.bytes()).into(), envelope, false);
        }
    }

    /// The same of one that is stored: it is found by its id.
    pub fn add_stored(&self, envelope: &AnyEnvelope) {
        if envelope.bytes().len() <= LARGEST {
            self.insert(Sha256::digest(envelope.bytes()).into(), envelope, true);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, key: Key, envelope: &AnyEnvelope, stored: bool) {
        let mut known = self.known();
        if stored {
            known.ids.insert(*envelope.id(), key);
        }
        if known.documents.insert(key, envelope.clone()).is_some() {
            return;
        }
        known.order.push_back(key);
        if known.order.len() > MOST
            && let Some(oldest) = known.order.pop_front()
            && let Some(forgotten) = known.documents.remove(&oldest)
            && known.ids.get(forgotten.id()) == Some(&oldest)
        {
            known.ids.remove(forgotten.id());
        }
    }
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verified({})", self.known().order.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{AgentCard, Envelope};
    use crate::identity::Identity;

    fn card(name: &str) -> AnyEnvelope {
        let me = Identity::generate().unwrap();
        let card = AgentCard::new(me.did().clone(), name, "2026-01-01T00:00:00Z".parse().unwrap());
        AnyEnvelope::AgentCard(Envelope::sign(&me, &card).unwrap())
    }

    #[test]
    fn what_was_verified_is_known_and_one_changed_byte_is_not_it() {
        let (verified, card) = (Verified::default(), card("atlas"));
        assert!(verified.get(card.id()).is_none());
        assert_eq!(verified.open(card.bytes()).unwrap(), card);
        assert!(verified.get(card.id()).is_none(), "what was only seen is not stored");
        verified.add_stored(&card);
        assert_eq!(verified.get(card.id()), Some(card.clone()));
        let mut forged = card.bytes().to_vec();
        for at in 0..forged.len() {
            forged[at] ^= 1;
            assert!(verified.open(&forged).is_err(), "byte {at}");
            forged[at] ^= 1;
        }
        assert_eq!(verified.open(card.bytes()).unwrap(), card);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let (verified, first) = (Verified::default(), card("first"));
        verified.add_stored(&first);
        verified.add_stored(&first);
        let others: Vec<_> = (0..MOST).map(|n| card(&n.to_string())).collect();
        others.iter().for_each(|other| verified.add_stored(other));
        assert!(verified.get(first.id()).is_none());
        assert!(others.iter().all(|other| verified.get(other.id()).is_some()));
        assert_eq!(verified.known().order.len(), MOST);
        assert_eq!(verified.known().ids.len(), MOST);
    }
}
