//! What the reader of a connection and the rules have in common about a peer: when it was last heard, and what it may send.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So long after the last want a block may still arrive.
const GRACE: Duration = Duration::from_secs(60);

/// With fewer bytes than this in the time in which it is waited for, a peer is silent.
const HEARD: u64 = 16 * 1024;

/// Shared by all connections of a peer.
#[derive(Debug)]
pub(super) struct Gauge {
    start: Instant,
    /// Milliseconds after the start, plus one; 0 is never.
    heard: AtomicU64,
    owes_until: AtomicU64,
    /// Bytes that came since it was last heard.
    dripped: AtomicU64,
}

impl Gauge {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            heard: AtomicU64::new(0),
            owes_until: AtomicU64::new(0),
            dripped: AtomicU64::new(0),
        }
    }

    fn at(&self, when: Instant) -> u64 {
        let since = when.saturating_duration_since(self.start).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Bytes of a message have come; a few now and then are as good as silence.
    pub(super) fn drip(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if self.dripped.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) >= HEARD {
            self.hear();
        }
    }

    /// Enough has come to tell that it is at work.
    pub(super) fn hear(&self) {
        self.dripped.store(0, Ordering::Relaxed);
        self.heard.store(self.at(Instant::now()), Ordering::Relaxed);
    }

    /// Whether any came within the time before `now`.
    pub(super) fn heard_within(&self, time: Duration, now: Instant) -> bool {
        let heard = self.heard.load(Ordering::Relaxed);
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        heard > 0 && self.at(now).saturating_sub(heard) <= time
    }

    /// A block was asked for.
    pub(super) fn ask(&self, now: Instant) {
        self.owes_until.store(self.at(now + GRACE), Ordering::Relaxed);
    }

    /// Whether it may send blocks.
    pub(super) fn owes(&self) -> bool {
        self.owes_until.load(Ordering::Relaxed) >= self.at(Instant::now())
    }
}
