//! The draw of a task's witnesses, on both sides; what it is stands at [`Draw`].

use std::time::{Duration, Instant};

use cid::Cid;

use super::Context;
use super::member::invalid;
use super::select::Pick;
use crate::document::{Draw, Envelope, Manifest, Seed, Sha256Digest};
use crate::guild::{Action, GuildError, Guilds, Refusal};
use crate::identity::Did;

/// Draws in which this node has given a nonce, and how long each is good.
const DRAWS: usize = 4096;
/// Of them, for one creator.
const DRAWS_OF_ONE: usize = 256;
const GOOD_FOR: Duration = Duration::from_secs(600);

/// What this node has said in the draw of somebody's task.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pool: Vec<Did>,
    commitment: Sha256Digest,
    nonce: [u8; 32],
    attempt: u32,
    at: Instant,
}

impl Context {
    /// Draws the witnesses with the one who is to run it.
    pub(super) async fn draw(
        &self,
        guilds: &Guilds,
        manifest: &Envelope<Manifest>,
        pick: &Pick,
        wanted: usize,
    ) -> Result<Draw, GuildError> {
        let mut pool: Vec<Did> = pick.pool.iter().map(|offer| offer.from.clone()).collect();
        pool.sort_unstable();
        if pool.len() <= wanted {
            return Ok(Draw { pool, seed: None });
        }
        let creator_nonce = self.random().map_err(|error| invalid(&error.to_string()))?;
        let commitment = Draw::commitment(manifest.id(), &pool, &creator_nonce);
        let executor = &pick.executor.from;
        let (executor_nonce, attempt) = if executor == self.identity.did() {
            (self.random().map_err(|error| invalid(&error.to_string()))?, 1)
        } else {
            guilds.draw(executor, manifest.id(), pool.clone(), commitment).await?
        };
        Ok(Draw { pool, seed: Some(Seed { creator_nonce, executor_nonce, attempt }) })
    }

    /// This node's nonce for a draw, where it might run the task.
    pub(super) fn give_nonce(
        &self,
        manifest: Cid,
        to: Did,
        pool: Vec<Did>,
        commitment: Sha256Digest,
    ) -> Result<([u8; 32], u32), Refusal> {
        let promised = self.promised().get(&manifest).cloned();
        let may = match promised {
            Some(promise) => promise.willing.execute && promise.creator == to,
            None => self.runs_for(&to),
        };
        if !may {
            return Err(Refusal::NotOffered);
        }
        let nonce = self.random().map_err(|error| invalid(&error.to_string()))?;
        let mut draws = self.draws();
        if draws.len() >= DRAWS {
            draws.retain(|_, given| given.at.elapsed() < GOOD_FOR);
        }
        let place = (manifest, to);
        let before = draws.get(&place).map_or(0, |given| given.attempt);
        let of_one = draws.keys().filter(|(_, who)| *who == place.1).count();
        if before == 0 && (draws.len() >= DRAWS || of_one >= DRAWS_OF_ONE) {
            return Err(Refusal::Busy);
        }
        let attempt = before.saturating_add(1);
        draws.insert(place, Given { pool, commitment, nonce, attempt, at: Instant::now() });
        Ok((nonce, attempt))
    }

    /// Whether this node is in a guild in which it runs the tasks of somebody.
    fn runs_for(&self, who: &Did) -> bool {
        let guilds = self.guilds.iter().flat_map(Guilds::list);
        guilds.into_iter().any(|state| {
            let may =
                |member: &crate::guild::MemberState| member.did == *who && member.role.may(Action::Propose);
            state.role.may(Action::Run) && state.members.iter().any(may)
        })
    }

    /// Whether a draw is the one in which this node took part.
    ///
    /// # Errors
    /// What in it is otherwise.
    pub(super) fn check_draw(&self, by: &Did, manifest: &Cid, draw: &Draw) -> Result<(), Refusal> {
        let draws = self.draws();
        match draws.get(&(*manifest, by.clone())) {
            Some(given) => given.check(manifest, draw),
            None if draw.seed.is_none() => Ok(()),
            None => Err(invalid("this node has taken part in no such draw")),
        }
    }
}

impl Given {
    fn check(&self, manifest: &Cid, draw: &Draw) -> Result<(), Refusal> {
        let Some(seed) = &draw.seed else { return Ok(()) };
        let said = (&self.pool, self.nonce, self.attempt) == (&draw.pool, seed.executor_nonce, seed.attempt);
        if !said {
            return Err(invalid("the draw is not the last one in which this node took part"));
        }
        if Draw::commitment(manifest, &draw.pool, &seed.creator_nonce) != self.commitment {
            return Err(invalid("the draw's nonce is not the one that was committed to"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::content_id;
    use crate::identity::Identity;

    #[test]
    fn a_draw_is_held_to_the_last_nonce_the_pool_and_what_was_committed_to() {
        let someone = || Identity::generate().unwrap().did().clone();
        let manifest = content_id(b"a manifest");
        let pool: Vec<Did> = (0..4).map(|_| someone()).collect();
        let seed = Seed { creator_nonce: [1; 32], executor_nonce: [2; 32], attempt: 2 };
        let draw = Draw { pool: pool.clone(), seed: Some(seed.clone()) };
        let given = Given {
            pool: pool.clone(),
            commitment: Draw::commitment(&manifest, &pool, &[1; 32]),
            nonce: [2; 32],
            attempt: 2,
            at: Instant::now(),
        };
        let with = |seed: Seed| Draw { pool: pool.clone(), seed: Some(seed) };
        let lies = [
            (manifest, with(Seed { creator_nonce: [9; 32], ..seed.clone() }), "committed to"),
            (manifest, with(Seed { executor_nonce: [9; 32], ..seed.clone() }), "not the last one"),
            // Drawn again until it was liked.
            (manifest, with(Seed { attempt: 1, ..seed.clone() }), "not the last one"),
            (manifest, Draw { pool: pool[1..].to_vec(), ..draw.clone() }, "not the last one"),
            (content_id(b"another"), draw.clone(), "committed to"),
        ];
        assert_eq!(given.check(&manifest, &draw), Ok(()));
        for (manifest, draw, why) in lies {
            let refused = given.check(&manifest, &draw).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
