//! How long a guest has had the processor without a look at the clock.
//!
//! Fuel brings a guest that computes back again and again, but host calls cost it next to none: it is looked at when it
//! comes back from one, and has to give its turn up if that was long.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::{CallHook, CallHookHandler, StoreContextMut};

use super::host::Host;

/// The longest turn of a guest that makes host calls.
const LONGEST: Duration = Duration::from_millis(2);

/// The turn of one guest. Clones are about the same one.
#[derive(Debug, Clone)]
pub(super) struct Turn(Arc<State>);

#[derive(Debug)]
struct State {
    /// Turns are counted from here.
    origin: Instant,
    began_ns: AtomicU64,
    given_up: AtomicBool,
}

impl Default for Turn {
    fn default() -> Self {
        let state =
            State { origin: Instant::now(), began_ns: AtomicU64::new(0), given_up: AtomicBool::new(false) };
        Self(Arc::new(state))
    }
}

impl Turn {
    /// The guest gets the processor.
    pub(super) fn begin(&self, now: Instant) {
        self.0.began_ns.store(self.since_origin(now), Ordering::Relaxed);
        self.0.given_up.store(false, Ordering::Relaxed);
    }

    /// Whether the guest has given the turn up, and not burnt the fuel of one.
    pub(super) fn was_given_up(&self) -> bool {
        self.0.given_up.load(Ordering::Relaxed)
    }

    fn is_too_long(&self) -> bool {
        let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
        let began = self.0.began_ns.load(Ordering::Relaxed);
        self.since_origin(Instant::now()).saturating_sub(began) > longest
    }

    fn since_origin(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.0.origin).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl CallHookHandler<Host> for Turn {
    async fn handle_call_event(&self, _: StoreContextMut<'_, Host>, event: CallHook) -> wasmtime::Result<()> {
        if matches!(event, CallHook::ReturningFromHost) && self.is_too_long() {
            self.0.given_up.store(true, Ordering::Relaxed);
            let mut first = true;
            poll_fn(|context| {
                if std::mem::take(&mut first) {
                    context.waker().wake_by_ref();
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            })
            .await;
        }
        Ok(())
    }
}
