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
const GOOD_FOR: Duration = Duration::from_secs(600);

/// What this node has said in the draw of somebody's task.
#[derive(Debug, Clone)]
pub(super) struct Given {
    to: Did,
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
        attempt: u32,
    ) -> Result<Draw, GuildError> {
        let mut pool: Vec<Did> = pick.pool.iter().map(|offer| offer.from.clone()).collect();
        pool.sort_unstable();
        if pool.len() <= wanted {
            return Ok(Draw { pool, seed: None });
        }
        let creator_nonce = self.random().map_err(|error| invalid(&error.to_string()))?;
        let commitment = Draw::commitment(manifest.id(), &pool, &creator_nonce);
        let executor = &pick.executor.from;
        let executor_nonce = if executor == self.identity.did() {
            self.random().map_err(|error| invalid(&error.to_string()))?
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
    ) -> Result<[u8; 32], Refusal> {
        let offered = self.promised().get(&manifest).is_some_and(|promise| promise.willing.execute);
        if !offered && !self.runs_for(&to) {
            return Err(Refusal::NotOffered);
        }
        let nonce = self.random().map_err(|error| invalid(&error.to_string()))?;
        let mut draws = self.draws();
        if draws.len() >= DRAWS {
            draws.retain(|_, given| given.at.elapsed() < GOOD_FOR);
        }
        let before = draws.get(&manifest).filter(|given| given.to == to).map_or(0, |given| given.attempt);
        if draws.len() >= DRAWS && before == 0 {
            return Err(Refusal::Busy);
        }
        let attempt = before.saturating_add(1);
        draws.insert(manifest, Given { to, pool, commitment, nonce, attempt, at: Instant::now() });
        Ok(nonce)
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
        let Some(seed) = &draw.seed else { return Ok(()) };
        let draws = self.draws();
        let given = draws.get(manifest).filter(|given| given.to == *by);
        let given = given.ok_or_else(|| invalid("this node has taken part in no such draw"))?;
        let said =
            (&given.pool, given.nonce, given.attempt) == (&draw.pool, seed.executor_nonce, seed.attempt);
        if !said {
            return Err(invalid("the draw is not the last one in which this node took part"));
        }
        if Draw::commitment(manifest, &draw.pool, &seed.creator_nonce) != given.commitment {
            return Err(invalid("the draw's nonce is not the one that was committed to"));
        }
        Ok(())
    }
}
