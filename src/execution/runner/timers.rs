//! A guest's timers: it waits as long as it wants to, and what it then sees depends on what it asked for alone.
//!
//! Timers pass one at a time in the order of their nominal ends, and only while the guest waits. Whether two of them that
//! end close to each other are seen together would otherwise depend on how late this process is; whether one has ended
//! "already" would be a clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use wasmtime_wasi::p2::Pollable;

/// The timers of one guest.
#[derive(Debug, Clone, Default)]
pub(super) struct Timers(Arc<Mutex<Nominal>>);

#[derive(Debug, Default)]
struct Nominal {
    /// The end of the latest timer that has passed, ns.
    now: u64,
    /// The earliest end of those that are waited for, and when that is in reality.
    waiting: Option<(u64, Option<Instant>)>,
}

/// One timer.
#[derive(Debug)]
pub(super) struct Timer {
    timers: Timers,
    end: u64,
    /// None: so far away that it never comes.
    at: Option<Instant>,
}

impl Timers {
    /// A timer that passes `after` so many nanoseconds.
    pub(super) fn timer(&self, after: u64) -> Timer {
        let end = self.nominal().now.saturating_add(after);
        Timer { timers: self.clone(), end, at: Instant::now().checked_add(Duration::from_nanos(after)) }
    }

    /// Before the guest is looked after: lets the earliest timer pass whose time has come, if the guest waits.
    pub(super) fn pass(&self, asleep: bool, now: Instant) {
        let mut nominal = self.nominal();
        // Whoever still waits says so again.
        if let Some((end, Some(at))) = nominal.waiting.take()
            && asleep
            && at <= now
        {
            nominal.now = nominal.now.max(end);
        }
    }

    /// When the guest wants to be woken.
    pub(super) fn next(&self) -> Option<Instant> {
        self.nominal().waiting.and_then(|(_, at)| at)
    }

    fn nominal(&self) -> MutexGuard<'_, Nominal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer {
    /// Ready when it has passed. Whoever watches over the guest wakes it; no waker is kept.
    pub(super) fn poll(&self, _: &mut Context<'_>) -> Poll<()> {
        let mut nominal = self.timers.nominal();
        if self.end <= nominal.now {
            return Poll::Ready(());
        }
        if nominal.waiting.is_none_or(|(earliest, _)| self.end < earliest) {
            nominal.waiting = Some((self.end, self.at));
        }
        Poll::Pending
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        std::future::poll_fn(|context| self.poll(context)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(timer: &Timer) -> bool {
        timer.poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn timers_pass_in_the_order_of_their_ends_and_one_at_a_time_however_late_one_looks() {
        let timers = Timers::default();
        let (late, early, same) = (timers.timer(3), timers.timer(2), timers.timer(2));
        assert!(!passed(&late) && !passed(&early) && !passed(&same));
        let long_after = Instant::now() + Duration::from_secs(1);
        timers.pass(true, long_after);
        assert!(!passed(&late) && passed(&early) && passed(&same));
        timers.pass(true, long_after);
        assert!(passed(&late));
        assert!(passed(&timers.timer(0)), "no time at all has passed at once");
    }

    #[test]
    fn a_guest_that_looks_again_and_again_learns_nothing_of_the_time() {
        let timers = Timers::default();
        let timer = timers.timer(1);
        for _ in 0..3 {
            assert!(!passed(&timer));
            timers.pass(false, Instant::now() + Duration::from_secs(1));
        }
    }

    #[test]
    fn a_timer_without_end_never_passes_and_keeps_no_other_from_it() {
        let timers = Timers::default();
        let (never, soon) = (timers.timer(u64::MAX), timers.timer(1));
        assert!(!passed(&never) && !passed(&soon));
        timers.pass(true, Instant::now() + Duration::from_secs(1));
        assert!(!passed(&never) && passed(&soon));
        assert!(!passed(&never));
    }
}
