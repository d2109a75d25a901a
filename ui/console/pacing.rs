//! How soon what has come is drawn.

use std::time::Duration;

use tokio::time::Instant;

/// Two keys are drawn at least so far apart: faster than that no eye is, and pasted keys come in heaps.
const KEY_PAUSE: Duration = Duration::from_millis(10);
/// Data is drawn at most 30 times a second, and 10 times over a slow line.
const DATA_PAUSE: Duration = Duration::from_millis(34);
const DATA_PAUSE_SSH: Duration = Duration::from_millis(100);

/// What has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    Input,
    Data,
}

/// When the next frame is drawn.
#[derive(Debug)]
pub struct Pacing {
    over_ssh: bool,
    last_draw: Instant,
    /// When input was drawn last, and whether some came since then.
    last_input: Instant,
    has_input: bool,
    /// None while nothing has changed.
    due: Option<Instant>,
}

impl Pacing {
    /// The first frame is due at once.
    pub fn new(over_ssh: bool, now: Instant) -> Self {
        Self { over_ssh, last_draw: now, last_input: now, has_input: false, due: Some(now) }
    }

    /// Something has come.
    pub fn came(&mut self, pace: Pace, now: Instant) {
        let earliest = match pace {
            Pace::Input => self.last_input + KEY_PAUSE,
            Pace::Data if self.over_ssh => self.last_draw + DATA_PAUSE_SSH,
            Pace::Data => self.last_draw + DATA_PAUSE,
        };
        self.has_input |= pace == Pace::Input;
        let soon = now.max(earliest);
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    /// When the next frame is due, if there is something to draw.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// All that has come is drawn.
    pub fn drawn(&mut self, now: Instant) {
        self.due = None;
        self.last_draw = now;
        if std::mem::take(&mut self.has_input) {
            self.last_input = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When frames are drawn in a second in which something comes at these milliseconds.
    fn frames(over_ssh: bool, comes: impl Fn(u64) -> Option<Pace>) -> Vec<u64> {
        let begin = Instant::now();
        let mut pacing = Pacing::new(over_ssh, begin);
        pacing.drawn(begin);
        let mut drawn = Vec::new();
        for ms in 0..1_000 {
            let now = begin + Duration::from_millis(ms);
            if let Some(pace) = comes(ms) {
                pacing.came(pace, now);
            }
            if pacing.due().is_some_and(|due| due <= now) {
                pacing.drawn(now);
                drawn.push(ms);
            }
        }
        drawn
    }

    fn gaps(frames: &[u64]) -> u64 {
        frames.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap()
    }

    #[test]
    fn data_that_comes_without_a_pause_is_drawn_thirty_times_a_second_and_ten_over_ssh() {
        let flood = |_| Some(Pace::Data);
        assert!((25..=30).contains(&frames(false, flood).len()), "{:?}", frames(false, flood));
        assert!((9..=10).contains(&frames(true, flood).len()), "{:?}", frames(true, flood));
        // What comes now and then is drawn when it comes.
        assert_eq!(frames(true, |ms| (ms == 500).then_some(Pace::Data)), [500]);
        assert_eq!(frames(false, |_| None), [0; 0]);
    }

    #[test]
    fn keys_are_drawn_at_once_and_not_more_often_than_every_ten_milliseconds() {
        assert_eq!(frames(true, |ms| (ms == 500 || ms == 700).then_some(Pace::Input)), [500, 700]);
        let held_down = frames(true, |_| Some(Pace::Input));
        assert!(gaps(&held_down) >= 10 && held_down.len() > 90, "{held_down:?}");
        // Data neither holds a key up nor is drawn more often for it.
        let both = frames(true, |ms| Some(if ms == 555 { Pace::Input } else { Pace::Data }));
        assert!(both.contains(&555) && both.len() <= 11, "{both:?}");
    }
}
