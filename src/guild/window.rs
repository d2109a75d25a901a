//! Which counters of a sender have been seen: each is taken once, and only so far back as the window reaches.
//! ([RFC 6479](https://www.rfc-editor.org/rfc/rfc6479), "IPsec Anti-Replay Algorithm without Bit Shifting")

const WORDS: usize = 16;
/// How far behind the newest a message may be: messages of one sender seldom overtake each other by more than a few.
const REACH: u64 = (WORDS as u64 - 1) * 64;

#[derive(Debug, Default)]
pub(super) struct Window {
    /// One more than the newest counter; 0 when there was none.
    end: u64,
    seen: [u64; WORDS],
}

impl Window {
    /// Whether a counter is new, and not too old to tell.
    pub(super) fn is_new(&self, counter: u64) -> bool {
        if counter >= self.end {
            return true;
        }
        if self.end - counter > REACH {
            return false;
        }
        self.seen.get(word(counter)).is_some_and(|word| word & bit(counter) == 0)
    }

    /// Notes a counter; called only when the message was found to be its sender's.
    pub(super) fn note(&mut self, counter: u64) {
        if counter >= self.end {
            // The words between the old end and the new are those of long ago.
            let (old, new) = (self.end.saturating_sub(1) / 64, counter / 64);
            for index in (old + 1..=new).take(WORDS) {
                if let Some(word) = self.seen.get_mut(word(index * 64)) {
                    *word = 0;
                }
            }
            self.end = counter.saturating_add(1);
        }
        if let Some(word) = self.seen.get_mut(word(counter)) {
            *word |= bit(counter);
        }
    }
}

fn word(counter: u64) -> usize {
    usize::try_from(counter / 64 % WORDS as u64).unwrap_or(0)
}

fn bit(counter: u64) -> u64 {
    1 << (counter % 64)
}
