//! The draw of a task's witnesses, which neither who asked for the task nor who runs it can steer alone.
//!
//! Coin flipping by telephone (Blum, 1981): the creator sends the executor the list of those who could witness and a commitment to a
//! nonce; the executor answers with a nonce of its own; the creator opens its commitment. From both nonces comes the order of the
//! list, and the first of it are the witnesses. Everybody can work it out again from what the agreement says.

use cid::Cid;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Sha256Digest, base64_bytes};
use crate::identity::Did;

/// Whom the witnesses were drawn from, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draw {
    /// Each once, in the order of their DIDs.
    pub pool: Vec<Did>,
    /// Not needed where all of them are witnesses.
    pub seed: Option<Seed>,
}

/// What both had to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    #[serde(with = "base64_bytes")]
    pub creator_nonce: [u8; 32],
    #[serde(with = "base64_bytes")]
    pub executor_nonce: [u8; 32],
    /// How many times this executor has been asked for this task: who draws again and again takes what it likes.
    pub attempt: u32,
}

impl Draw {
    /// The most that can be drawn from.
    pub const POOL_MAX: usize = 64;

    /// What the creator binds itself to: its nonce, for this manifest and this pool.
    pub fn commitment(manifest: &Cid, pool: &[Did], creator_nonce: &[u8; 32]) -> Sha256Digest {
        let mut hasher = Sha256::new();
        hasher.update(b"zerostate draw commitment v1");
        hasher.update(manifest.to_bytes());
        for did in pool {
            hasher.update(did.as_str());
            hasher.update([0]);
        }
        hasher.update(creator_nonce);
        Sha256Digest::from_bytes(hasher.finalize().into())
    }

    /// The first `wanted` of the pool, in the order that the seed gives.
    pub fn witnesses(&self, manifest: &Cid, executor: &Did, wanted: usize) -> Vec<Did> {
        let mut ranked: Vec<(Sha256Digest, &Did)> =
            self.pool.iter().map(|did| (self.rank(manifest, executor, did), did)).collect();
        ranked.sort_unstable();
        ranked.into_iter().take(wanted).map(|(_, did)| did.clone()).collect()
    }

    fn rank(&self, manifest: &Cid, executor: &Did, did: &Did) -> Sha256Digest {
        let mut hasher = Sha256::new();
        hasher.update(b"zerostate draw v1");
        hasher.update(manifest.to_bytes());
        hasher.update(executor.as_str());
        if let Some(seed) = &self.seed {
            hasher.update(seed.creator_nonce);
            hasher.update(seed.executor_nonce);
        }
        hasher.update(did.as_str());
        Sha256Digest::from_bytes(hasher.finalize().into())
    }

    /// Whether these are its witnesses: those that it gives, or all of a pool that has no more than are wanted.
    pub fn gives(&self, manifest: &Cid, executor: &Did, wanted: usize, witnesses: &[Did]) -> bool {
        let sorted = self.pool.is_sorted_by(|one, other| one < other) && self.pool.len() <= Self::POOL_MAX;
        let seeded = self.seed.is_some() || self.pool.len() <= wanted;
        sorted
            && seeded
            && !self.pool.contains(executor)
            && self.witnesses(manifest, executor, wanted) == witnesses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    #[test]
    fn whoever_knows_both_nonces_draws_the_same_and_each_nonce_changes_what_is_drawn() {
        let someone = || Identity::generate().unwrap().did().clone();
        let manifest = Sha256Digest::of(b"a manifest").to_cid();
        let (executor, mut pool) = (someone(), (0..16).map(|_| someone()).collect::<Vec<_>>());
        pool.sort_unstable();
        let draw = |creator: u8, executor: u8| {
            let seed = Seed { creator_nonce: [creator; 32], executor_nonce: [executor; 32], attempt: 1 };
            Draw { pool: pool.clone(), seed: Some(seed) }
        };
        let drawn = |c, e| draw(c, e).witnesses(&manifest, &executor, 4);
        assert!(draw(1, 2).gives(&manifest, &executor, 4, &drawn(1, 2)));
        assert!(drawn(1, 2) != drawn(3, 2) && drawn(1, 2) != drawn(1, 3));
        assert!(!draw(1, 2).gives(&manifest, &executor, 4, &drawn(1, 3)));
        // None but all of them can be witnesses without a draw.
        let unseeded = Draw { pool: pool.clone(), seed: None };
        assert!(!unseeded.gives(&manifest, &executor, 4, &unseeded.witnesses(&manifest, &executor, 4)));
        assert!(unseeded.gives(&manifest, &executor, 16, &unseeded.witnesses(&manifest, &executor, 16)));
        // Every one is drawn about as often as another: 4 of 16 in 4 of 256 times each, and no more than twice that.
        let mut often = std::collections::HashMap::new();
        for c in 0..=255 {
            drawn(c, 0).into_iter().for_each(|did| *often.entry(did).or_insert(0) += 1);
        }
        assert!(often.len() == 16 && often.values().all(|times| (32..=128).contains(times)), "{often:?}");
        let commitment = Draw::commitment(&manifest, &pool, &[1; 32]);
        assert_ne!(commitment, Draw::commitment(&manifest, &pool[1..], &[1; 32]));
        assert_ne!(commitment, Draw::commitment(&manifest, &pool, &[2; 32]));
    }
}
