//! Who does a task, of those who have offered: by how much they have to do for this node already, how often they failed it, and
//! how far away they are. Pure.

use cid::Cid;

use crate::document::Draw;
use crate::guild::Offer;
use crate::identity::Did;
use crate::storage::Candidate;

/// What this node knows of somebody who has offered.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) offer: Offer,
    /// Tasks of this node's that it runs or witnesses now.
    pub(super) busy: u32,
    pub(super) done: u32,
    pub(super) failed: u32,
    /// The median of its last round trips, in microseconds.
    pub(super) ping_us: Option<u32>,
}

/// Who runs it, and of whom the witnesses are drawn.
#[derive(Debug, Clone)]
pub(super) struct Pick {
    pub(super) executor: Offer,
    pub(super) pool: Vec<Offer>,
    /// Everybody who offered, the best first.
    ranked: Vec<Known>,
}

/// Who does what.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) executor: Offer,
    pub(super) witnesses: Vec<Offer>,
    pub(super) draw: Draw,
    /// Everybody who offered, with the reason for what came of it.
    pub(super) candidates: Vec<Candidate>,
}

impl Known {
    fn rank(&self) -> (u32, u32, u32) {
        (self.failed.saturating_sub(self.done), self.busy, self.ping_us.unwrap_or(u32::MAX))
    }

    fn reason(&self) -> String {
        let distance = self.ping_us.map_or_else(
            || "at an unknown distance".to_owned(),
            |us| format!("{}.{} ms away", us / 1000, us % 1000 / 100),
        );
        let tried = self.done + self.failed;
        format!("{distance}, {} of {tried} tasks done before, {} now", self.done, self.busy)
    }
}

/// Whether there are enough: an executor, and so many others as witnesses.
pub(super) fn are_enough(offers: &[Offer], witnesses: usize) -> bool {
    offers.iter().any(|executor| {
        executor.execute
            && offers.iter().filter(|offer| offer.attest && offer.from != executor.from).count() >= witnesses
    })
}

/// Whether they are enough to witness it and not enough to run it as well, so that who has submitted it had better run it.
pub(super) fn are_only_enough_to_witness(offers: &[Offer], quorum: usize) -> bool {
    quorum > 0 && !are_enough(offers, quorum) && offers.iter().filter(|offer| offer.attest).count() >= quorum
}

/// The best of them to run it, and all others who would witness it; nobody, when nobody would run it.
pub(super) fn pick(known: &[Known], witnesses: usize) -> Option<Pick> {
    let mut ranked = known.to_vec();
    ranked.sort_by_key(|known| (known.rank(), known.offer.from.clone()));
    let others = |executor: &Did| {
        let executor = executor.clone();
        ranked.iter().filter(move |k| k.offer.attest && k.offer.from != executor)
    };
    let executors = || ranked.iter().filter(|known| known.offer.execute);
    // Who leaves enough witnesses goes before who is one of the few of them.
    let executor = executors()
        .find(|known| others(&known.offer.from).count() >= witnesses)
        .or_else(|| executors().next())?;
    Some(pool(executor.offer.clone(), ranked, witnesses))
}

/// Whoever has submitted it runs it, and others witness it.
pub(super) fn pick_witnesses(known: &[Known], me: Offer, witnesses: usize) -> Pick {
    let mut ranked = known.to_vec();
    ranked.sort_by_key(|known| (known.rank(), known.offer.from.clone()));
    pool(me, ranked, witnesses)
}

/// Those who witness what one of them, or somebody else, runs.
fn pool(executor: Offer, ranked: Vec<Known>, witnesses: usize) -> Pick {
    let others = ranked.iter().filter(|known| known.offer.attest && known.offer.from != executor.from);
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for known in others {
        let to = if known.failed > known.done { &mut bad } else { &mut good };
        to.push(known.offer.clone());
    }
    // Who has failed more often than not is a witness only where there are too few others.
    let lacking = witnesses.saturating_sub(good.len());
    good.extend(bad.into_iter().take(lacking));
    good.truncate(Draw::POOL_MAX);
    Pick { executor, pool: good, ranked }
}

impl Pick {
    /// Why somebody neither runs it nor was drawn to witness it.
    fn passed_over(&self, known: &Known, is_witnessed: bool) -> &'static str {
        let in_pool = self.pool.iter().any(|offer| offer.from == known.offer.from);
        match known.offer {
            Offer { attest: true, .. } if is_witnessed && !in_pool && known.failed > known.done => {
                "has failed more often than not"
            }
            Offer { attest: true, .. } if is_witnessed => "others were drawn",
            Offer { execute: true, .. } => "was not needed to run it",
            _ => "offered only to witness it, and nobody has to",
        }
    }

    /// Who does what when these have been drawn.
    pub(super) fn drawn(self, draw: Draw, manifest: &Cid, witnesses: usize) -> Choice {
        let drawn = draw.witnesses(manifest, &self.executor.from, witnesses);
        let own = self.ranked.iter().all(|known| known.offer.from != self.executor.from);
        let candidates = self.ranked.iter().map(|known| {
            let (part, why) = if known.offer.from == self.executor.from {
                ("executor", "runs it, as the first of those who can be spared as witnesses")
            } else if drawn.contains(&known.offer.from) {
                ("witness", if own { "was drawn; this node runs it itself" } else { "was drawn" })
            } else {
                ("reserve", self.passed_over(known, !drawn.is_empty()))
            };
            let reason = format!("{why}; {}", known.reason());
            Candidate { did: known.offer.from.clone(), part: part.to_owned(), reason: reason.as_str().into() }
        });
        let candidates = candidates.collect();
        let offer = |did: &Did| self.pool.iter().find(|offer| offer.from == *did).cloned();
        let witnesses = drawn.iter().filter_map(offer).collect();
        Choice { executor: self.executor, witnesses, draw, candidates }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn known(execute: bool, attest: bool, (busy, failed, ping_us): (u32, u32, u32)) -> Known {
        let from = Identity::generate().unwrap().did().clone();
        let offer = Offer { from, execute, attest, key: [0; 32] };
        Known { offer, busy, done: 0, failed, ping_us: Some(ping_us) }
    }

    fn drawn(pick: Pick, witnesses: usize) -> Choice {
        let mut pool: Vec<Did> = pick.pool.iter().map(|offer| offer.from.clone()).collect();
        pool.sort_unstable();
        pick.drawn(Draw { pool, seed: None }, &Cid::default(), witnesses)
    }

    #[test]
    fn the_one_with_least_to_do_runs_it_and_others_witness_it() {
        let near = known(true, true, (0, 0, 100));
        let far = known(true, true, (0, 0, 9_000));
        let busy = known(true, true, (3, 0, 50));
        let bad = known(true, true, (0, 2, 10));
        let all = [&bad, &busy, &far, &near].map(Clone::clone);
        let picked = pick(&all, 2).unwrap();
        assert_eq!(picked.executor, near.offer);
        assert_eq!(picked.pool, [far.offer.clone(), busy.offer.clone()], "who has failed is spared");
        assert_eq!(pick(&all, 3).unwrap().pool.len(), 3, "where there are enough others");
        let choice = drawn(picked, 2);
        assert_eq!(choice.witnesses.len(), 2);
        let parts: Vec<&str> = choice.candidates.iter().map(|candidate| candidate.part.as_str()).collect();
        assert_eq!(parts, ["executor", "witness", "witness", "reserve"]);
    }

    #[test]
    fn who_is_needed_as_a_witness_does_not_run_it_where_another_can() {
        let only_runs = known(true, false, (0, 0, 9_000));
        let both = known(true, true, (0, 0, 100));
        let all = [only_runs.clone(), both.clone()];
        let choice = drawn(pick(&all, 1).unwrap(), 1);
        assert_eq!((choice.executor, choice.witnesses), (only_runs.offer.clone(), vec![both.offer.clone()]));
        let offers = all.map(|known| known.offer);
        assert!(are_enough(&offers, 1) && !are_enough(&offers, 2));
        assert!(pick(&[known(false, true, (0, 0, 1))], 1).is_none());
        let offers = [known(true, true, (0, 0, 1)), known(true, true, (0, 0, 1))].map(|known| known.offer);
        let witness_only = |quorum| are_only_enough_to_witness(&offers, quorum);
        assert_eq!([1, 2, 3].map(witness_only), [false, true, false]);
    }
}
