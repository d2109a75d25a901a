//! How much of a peer is put up with: token buckets for its requests, and a book of its faults. Pure rules; `now` comes in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

/// So many requests may be refused for coming too fast before it counts as a fault.
const REFUSALS_A_FAULT: u32 = 64;
/// A peer with so many faults is blocked.
pub(super) const MAX_FAULTS: u32 = 16;
/// How long it is blocked, and after how long without a new fault the old ones are forgiven.
pub(super) const BLOCK_TIME: Duration = Duration::from_secs(600);
/// Peers whose faults are remembered. Peer ids cost nothing, so a book without an end would be an attack.
const MAX_BOOK: usize = 1024;

/// A token bucket: `burst` at once, `per_second` in the long run.
#[derive(Debug)]
pub(super) struct Bucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    at: Instant,
    refused: u32,
}

/// What a bucket says to a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Yes,
    /// Too fast.
    Later,
    /// Too fast for so long that it is no accident.
    Flood,
}

impl Bucket {
    pub(super) fn new(burst: u32, per_second: f64, now: Instant) -> Self {
        Self { burst: burst.into(), per_second, tokens: burst.into(), at: now, refused: 0 }
    }

    pub(super) fn take(&mut self, now: Instant) -> Admission {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Admission::Yes;
        }
        self.refused += 1;
        if self.refused < REFUSALS_A_FAULT {
            return Admission::Later;
        }
        self.refused = 0;
        Admission::Flood
    }
}

#[derive(Debug)]
struct Entry {
    faults: u32,
    last: Instant,
    blocked: bool,
}

/// Who did what no honest node does, and how often.
#[derive(Debug, Default)]
pub(super) struct FaultBook {
    entries: HashMap<PeerId, Entry>,
}

impl FaultBook {
    /// Notes a fault; `true` when the peer is to be blocked from now on.
    pub(super) fn note(&mut self, peer: PeerId, now: Instant) -> bool {
        if !self.entries.contains_key(&peer) {
            self.make_room();
        }
        let entry = self.entries.entry(peer).or_insert(Entry { faults: 0, last: now, blocked: false });
        entry.faults = entry.faults.saturating_add(1);
        entry.last = now;
        let block = entry.faults >= MAX_FAULTS && !entry.blocked;
        entry.blocked |= block;
        block
    }

    pub(super) fn is_blocked(&self, peer: &PeerId) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.blocked)
    }

    pub(super) fn count(&self, peer: &PeerId) -> u32 {
        self.entries.get(peer).map_or(0, |entry| entry.faults)
    }

    /// Forgets what is long ago; gives back who is no longer to be blocked.
    pub(super) fn forgive(&mut self, now: Instant) -> Vec<PeerId> {
        let mut free = Vec::new();
        self.entries.retain(|peer, entry| {
            let keep = now.saturating_duration_since(entry.last) < BLOCK_TIME;
            if !keep && entry.blocked {
                free.push(*peer);
            }
            keep
        });
        free
    }

    /// The blocked are kept: they must be unblocked in time. There are never more of them than places, because each took
    /// [`MAX_FAULTS`] connections' worth of work; when there are, the oldest stays blocked until the node restarts.
    fn make_room(&mut self) {
        if self.entries.len() < MAX_BOOK {
            return;
        }
        let oldest =
            self.entries.iter().min_by_key(|(_, entry)| (entry.blocked, entry.last)).map(|(peer, _)| *peer);
        if let Some(peer) = oldest {
            self.entries.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(3, 2.0, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(start), Admission::Yes);
        }
        assert_eq!(bucket.take(start), Admission::Later);
        assert_eq!(bucket.take(start + Duration::from_millis(500)), Admission::Yes);
        assert_eq!(bucket.take(start + Duration::from_millis(600)), Admission::Later);
    }

    #[test]
    fn who_goes_on_regardless_commits_a_fault() {
        let start = Instant::now();
        let mut bucket = Bucket::new(0, 0.0, start);
        let floods = (0..REFUSALS_A_FAULT * 2).filter(|_| bucket.take(start) == Admission::Flood).count();
        assert_eq!(floods, 2);
    }

    #[test]
    fn the_sixteenth_fault_blocks_once_and_time_forgives() {
        let start = Instant::now();
        let mut book = FaultBook::default();
        let peer = PeerId::random();
        for _ in 1..MAX_FAULTS {
            assert!(!book.note(peer, start));
        }
        assert!(book.note(peer, start));
        assert!(!book.note(peer, start), "it is blocked already");
        assert!(book.forgive(start + BLOCK_TIME / 2).is_empty());
        assert_eq!(book.forgive(start + BLOCK_TIME), [peer]);
        assert_eq!(book.count(&peer), 0);
    }

    #[test]
    fn the_book_has_an_end_and_keeps_the_blocked() {
        let start = Instant::now();
        let mut book = FaultBook::default();
        let villain = PeerId::random();
        for _ in 0..MAX_FAULTS {
            book.note(villain, start);
        }
        for _ in 0..MAX_BOOK + 50 {
            book.note(PeerId::random(), start + Duration::from_secs(1));
        }
        assert_eq!(book.entries.len(), MAX_BOOK);
        assert_eq!(book.count(&villain), MAX_FAULTS);
    }
}
