//! One round of giving out: who may go now, and into which runner.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

use super::super::Priority;
use super::runner::Runner;
use super::work::{Dispatched, Work};

/// What has been found out in one round of giving out.
#[derive(Default)]
pub(super) struct Round {
    /// When there will be memory for the first job that waits for it, at the latest.
    reserved: Option<Instant>,
    /// Those who have guests that compute for long, or that went in beside others.
    with_long: Option<HashSet<String>>,
}

impl Round {
    /// Whether there is memory for a job; and if one before it waits for memory, whether it is over in time.
    pub(super) fn has_memory(
        &mut self,
        work: &Work,
        free: u64,
        running: &HashMap<u64, Dispatched>,
        now: Instant,
    ) -> bool {
        let fits = work.memory() <= free;
        match self.reserved {
            Some(reserved) => {
                fits && now.checked_add(work.job.limits.time).is_some_and(|end| end <= reserved)
            }
            None if fits => true,
            None => {
                self.reserved = Some(memory_at(work.memory().saturating_sub(free), running, now));
                false
            }
        }
    }

    pub(super) fn may_go_beside(&mut self, work: &Work, running: &HashMap<u64, Dispatched>) -> bool {
        let with_long = self.with_long.get_or_insert_with(|| {
            let long = running.values().filter(|running| running.is_long() || running.beside);
            long.map(|running| running.work.job.requester.clone()).collect()
        });
        work.job.priority == Priority::Interactive || !with_long.contains(&work.job.requester)
    }

    pub(super) fn went_beside(&mut self, work: &Work) {
        self.with_long.get_or_insert_default().insert(work.job.requester.clone());
    }
}

/// When so much memory will be free again, if every guest takes all of its time.
fn memory_at(wanted: u64, running: &HashMap<u64, Dispatched>, now: Instant) -> Instant {
    let end = |running: &Dispatched| {
        let began = running.seen.as_ref().map_or(running.sent, |(began, _)| *began);
        began.checked_add(running.work.job.limits.time).unwrap_or(now).max(now)
    };
    let mut ends: Vec<(Instant, u64)> =
        running.values().map(|running| (end(running), running.work.memory())).collect();
    ends.sort_unstable();
    let mut freed: u64 = 0;
    let enough = ends.into_iter().find(|(_, memory)| {
        freed = freed.saturating_add(*memory);
        freed >= wanted
    });
    enough.map_or(now, |(end, _)| end)
}

/// The runner with the most room, if any has some.
pub(super) fn freest(runners: &HashMap<u64, Runner>, room: impl Fn(&Runner) -> usize) -> Option<u64> {
    let rooms = runners.iter().map(|(name, runner)| (*name, room(runner)));
    let free = rooms.filter(|(_, room)| *room > 0);
    free.max_by_key(|(name, room)| (*room, std::cmp::Reverse(*name))).map(|(name, _)| name)
}

pub(super) fn freest_beside(runners: &HashMap<u64, Runner>, priority: Priority) -> Option<u64> {
    freest(runners, |runner| runner.room_beside(priority))
}
