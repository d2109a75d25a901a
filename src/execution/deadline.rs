//! Holds a guest to its time, whether it computes or sleeps.
//!
//! A computing guest comes back to [`Guarded::poll`] each time it has burnt [`YIELD_FUEL`]; the clock is read
//! there, because tokio polls its timers only every 61st poll. A sleeping guest does not come back, and a timer
//! wakes it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Fuel between two looks at the clock: 0.1 to 0.3 ms of computing.
pub(super) const YIELD_FUEL: u64 = 1_000_000;
/// How often progress is reported.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// The guest had no time left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TimeIsUp;

/// Runs `guest` until `deadline`, calling `report(fuel burnt, to the nearest million)` meanwhile.
pub(super) fn guarded<'a, T>(
    deadline: Instant,
    guest: impl Future<Output = T> + 'a,
    report: impl FnMut(u64) + Unpin + 'a,
) -> impl Future<Output = Result<T, TimeIsUp>> + 'a
where
    T: 'a,
{
    let next_report = Instant::now() + REPORT_EVERY;
    Guarded {
        guest: Box::pin(guest),
        deadline,
        timer: Box::pin(sleep_until(deadline.min(next_report))),
        next_report,
        yields: 0,
        report,
    }
}

struct Guarded<F, R> {
    guest: Pin<Box<F>>,
    deadline: Instant,
    /// Ends at the deadline or the next report, whichever comes first.
    timer: Pin<Box<Sleep>>,
    next_report: Instant,
    yields: u64,
    report: R,
}

impl<F: Future, R: FnMut(u64) + Unpin> Future for Guarded<F, R> {
    type Output = Result<F::Output, TimeIsUp>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let now = Instant::now();
        if now >= this.deadline {
            return Poll::Ready(Err(TimeIsUp));
        }
        if now >= this.next_report {
            (this.report)(this.yields.saturating_mul(YIELD_FUEL));
            this.next_report = now + REPORT_EVERY;
            this.timer.as_mut().reset(this.deadline.min(this.next_report));
        }
        let bell = Arc::new(Bell { rung: AtomicBool::new(false), outer: context.waker().clone() });
        if let Poll::Ready(output) =
            this.guest.as_mut().poll(&mut Context::from_waker(&Waker::from(bell.clone())))
        {
            return Poll::Ready(Ok(output));
        }
        // A guest that yields for fuel wakes itself before it returns; one that waits is woken later.
        if bell.rung.load(Ordering::Relaxed) {
            this.yields = this.yields.saturating_add(1);
        }
        if this.timer.as_mut().poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// A waker that remembers having been used.
struct Bell {
    rung: AtomicBool,
    outer: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Relaxed);
        self.outer.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest that computes without end, as wasmtime shows it: it yields by waking itself.
    async fn busy() {
        std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        })
        .await;
    }

    #[tokio::test]
    async fn a_busy_guest_and_a_sleeping_one_both_end_at_the_deadline() {
        let soon = || Instant::now() + Duration::from_millis(20);
        assert_eq!(guarded(soon(), busy(), |_| {}).await, Err(TimeIsUp));
        assert_eq!(guarded(soon(), std::future::pending::<()>(), |_| {}).await, Err(TimeIsUp));
        assert_eq!(guarded(soon(), async { 7 }, |_| {}).await, Ok(7));
    }

    #[tokio::test]
    async fn fuel_is_counted_by_yields_and_waiting_costs_none() {
        let far = Instant::now() + Duration::from_secs(600);
        let (mut burnt, mut slept) = (Vec::new(), Vec::new());
        {
            let busy = guarded(far, busy(), |fuel| burnt.push(fuel));
            assert!(tokio::time::timeout(REPORT_EVERY * 3, busy).await.is_err());
            let asleep = guarded(far, std::future::pending::<()>(), |fuel| slept.push(fuel));
            assert!(tokio::time::timeout(REPORT_EVERY * 3, asleep).await.is_err());
        }
        assert!(burnt.last().is_some_and(|fuel| *fuel > YIELD_FUEL), "{burnt:?}");
        assert!(!slept.is_empty() && slept.iter().all(|fuel| *fuel == 0), "{slept:?}");
    }
}
