//! Holds a guest to its time, whether it computes or sleeps, and tells how it is meanwhile.
//!
//! A computing guest comes back to [`Guarded::poll`] each time it has burnt [`YIELD_FUEL`]; the clock is read
//! there, because a busy executor gets to its timers late. A sleeping guest does not come back, and a timer wakes it.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::timers::Timers;
use super::turn::Turn;

/// Fuel between two looks at the clock: 50 to 150 µs of computing, and 10 ms for a guest whose every load misses the cache.
pub(super) const YIELD_FUEL: u64 = 500_000;
/// A guest that takes longer is told of, and others behind it need not wait for it.
const MOMENT: Duration = Duration::from_millis(5);
/// How often it is told of from then on.
const BEAT_EVERY: Duration = Duration::from_millis(250);

/// The guest had no time left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TimeIsUp;

/// How many guests of this runner use the processor. One that sleeps does not count.
#[derive(Debug, Clone, Default)]
pub(super) struct Awake(Rc<Cell<usize>>);

impl Awake {
    pub(super) fn count(&self) -> usize {
        self.0.get()
    }

    /// A place for one more, which counts from now on.
    pub(super) fn take(&self) -> Place {
        let mut place = Place { awake: self.clone(), asleep: true };
        place.set_asleep(false);
        place
    }
}

/// A guest's place among those that compute, which it leaves while it sleeps and when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    awake: Awake,
    asleep: bool,
}

impl Place {
    fn set_asleep(&mut self, asleep: bool) {
        let count = &self.awake.0;
        match (self.asleep, asleep) {
            (false, true) => count.set(count.get().saturating_sub(1)),
            (true, false) => count.set(count.get().saturating_add(1)),
            _ => {}
        }
        self.asleep = asleep;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.set_asleep(true);
    }
}

/// What is told of a guest that takes its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pulse {
    /// Burnt since the start, to the nearest [`YIELD_FUEL`].
    pub(super) fuel: u64,
    pub(super) elapsed: Duration,
    pub(super) asleep: bool,
}

/// Runs `guest` for at most `limit`, telling `tell` after a moment, when it first falls asleep, and four times a second.
pub(super) fn guarded<'a, T: 'a>(
    limit: Duration,
    place: Place,
    turn: Turn,
    timers: Timers,
    guest: impl Future<Output = T> + 'a,
    tell: impl FnMut(Pulse) + Unpin + 'a,
) -> impl Future<Output = Result<T, TimeIsUp>> + 'a {
    let started = Instant::now();
    Guarded {
        guest: Box::pin(guest),
        started,
        // A limit too far away to be told from none.
        deadline: started.checked_add(limit).unwrap_or_else(|| started + Duration::from_secs(86_400 * 365)),
        next_beat: started + MOMENT,
        alarm: None,
        yields: 0,
        place,
        turn,
        timers,
        told_asleep: false,
        tell,
    }
}

struct Guarded<F, R> {
    guest: Pin<Box<F>>,
    started: Instant,
    deadline: Instant,
    next_beat: Instant,
    /// Rings at the deadline, the next beat or when the guest wants to be woken, whichever comes first. Most guests are done
    /// before they need one.
    alarm: Option<Pin<Box<Sleep>>>,
    yields: u64,
    place: Place,
    turn: Turn,
    timers: Timers,
    told_asleep: bool,
    tell: R,
}

impl<F: Future, R: FnMut(Pulse) + Unpin> Guarded<F, R> {
    fn beat(&mut self, now: Instant) {
        self.told_asleep = self.place.asleep;
        self.next_beat = now + BEAT_EVERY;
        (self.tell)(Pulse {
            fuel: self.yields.saturating_mul(YIELD_FUEL),
            elapsed: now.saturating_duration_since(self.started),
            asleep: self.place.asleep,
        });
    }
}

impl<F: Future, R: FnMut(Pulse) + Unpin> Future for Guarded<F, R> {
    type Output = Result<F::Output, TimeIsUp>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let now = Instant::now();
        if now >= this.deadline {
            return Poll::Ready(Err(TimeIsUp));
        }
        if now >= this.next_beat {
            this.beat(now);
        }
        this.timers.pass(this.place.asleep, now);
        this.turn.begin(now);
        this.place.set_asleep(false);
        let bell = Arc::new(Bell { rung: AtomicBool::new(false), outer: context.waker().clone() });
        let waker = Waker::from(Arc::clone(&bell));
        if let Poll::Ready(output) = this.guest.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Poll::Ready(Ok(output));
        }
        let mut next = this.deadline.min(this.next_beat);
        // A guest that yields wakes itself before it returns; one that waits is woken later.
        if bell.rung.load(Ordering::Relaxed) {
            this.yields = this.yields.saturating_add(u64::from(!this.turn.was_given_up()));
        } else {
            this.place.set_asleep(true);
            // The first time at once, so that others can have its place; then with the beats, for it may doze off often.
            if !this.told_asleep {
                this.beat(now);
                next = this.deadline.min(this.next_beat);
            }
            next = this.timers.next().map_or(next, |at| next.min(at));
        }
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep_until(next)));
        if alarm.deadline() != next {
            alarm.as_mut().reset(next);
        }
        if alarm.as_mut().poll(context).is_ready() {
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

    fn watched<'a, T: 'a>(
        limit: Duration,
        guest: impl Future<Output = T> + 'a,
        tell: impl FnMut(Pulse) + Unpin + 'a,
    ) -> impl Future<Output = Result<T, TimeIsUp>> + 'a {
        guarded(limit, Awake::default().take(), Turn::default(), Timers::default(), guest, tell)
    }

    #[tokio::test]
    async fn a_busy_guest_and_a_sleeping_one_both_end_at_the_deadline() {
        let soon = Duration::from_millis(20);
        assert_eq!(watched(soon, busy(), |_| {}).await, Err(TimeIsUp));
        assert_eq!(watched(soon, std::future::pending::<()>(), |_| {}).await, Err(TimeIsUp));
        assert_eq!(watched(soon, async { 7 }, |_| {}).await, Ok(7));
        assert_eq!(watched(Duration::MAX, async { 7 }, |_| {}).await, Ok(7));
    }

    #[tokio::test]
    async fn fuel_is_counted_by_yields_and_waiting_costs_none() {
        let far = Duration::from_secs(600);
        let (mut burnt, mut slept) = (Vec::new(), Vec::new());
        {
            let busy = watched(far, busy(), |pulse| burnt.push(pulse));
            assert!(tokio::time::timeout(BEAT_EVERY * 3, busy).await.is_err());
            let asleep = watched(far, std::future::pending::<()>(), |pulse| slept.push(pulse));
            assert!(tokio::time::timeout(BEAT_EVERY * 3, asleep).await.is_err());
        }
        assert!(burnt.last().is_some_and(|pulse| pulse.fuel > YIELD_FUEL && !pulse.asleep), "{burnt:?}");
        assert!(slept.len() > 1 && slept.iter().all(|pulse| pulse.fuel == 0 && pulse.asleep), "{slept:?}");
    }

    #[tokio::test]
    async fn only_guests_that_compute_count_as_awake() {
        let awake = Awake::default();
        let far = Duration::from_secs(600);
        let guarded_in = |place, guest: Pin<Box<dyn Future<Output = ()>>>| {
            Box::pin(guarded(far, place, Turn::default(), Timers::default(), guest, |_| {}))
        };
        let mut asleep = guarded_in(awake.take(), Box::pin(std::future::pending()));
        assert_eq!(awake.count(), 1, "it has not been seen to sleep yet");
        assert!(futures::poll!(asleep.as_mut()).is_pending());
        assert_eq!(awake.count(), 0);
        let mut computing = guarded_in(awake.take(), Box::pin(busy()));
        assert!(futures::poll!(computing.as_mut()).is_pending());
        assert_eq!(awake.count(), 1);
        drop(asleep);
        drop(computing);
        assert_eq!(awake.count(), 0);
    }

    #[tokio::test]
    async fn a_guest_that_waits_is_woken_when_its_timer_passes() {
        let timers = Timers::default();
        let (late, early) = (timers.timer(3_000_000), timers.timer(2_000_000));
        let guest = async {
            std::future::poll_fn(|context| early.poll(context)).await;
            std::future::poll_fn(|context| late.poll(context)).await;
        };
        let place = Awake::default().take();
        let far = Duration::from_secs(600);
        let begun = Instant::now();
        assert_eq!(guarded(far, place, Turn::default(), timers.clone(), guest, |_| {}).await, Ok(()));
        assert!(begun.elapsed() >= Duration::from_millis(3), "it has waited");
    }
}
