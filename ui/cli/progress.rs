//! How far a long transfer is, on stderr: one line that changes on a terminal, a line a second elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use zerostate::api::TransferView;
use zerostate::document::{Untrusted, bytes_text};

/// Between two lines, where they cannot be taken back.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// Between two looks of the one line on a terminal.
const DRAW_EVERY: Duration = Duration::from_millis(100);

pub struct Progress {
    verb: &'static str,
    terminal: bool,
    since: Instant,
    shown: Instant,
    drawn: bool,
}

impl Progress {
    /// `verb` is what is being done, like `adding`.
    pub fn new(verb: &'static str) -> Self {
        let now = Instant::now();
        Self { verb, terminal: io::stderr().is_terminal(), since: now, shown: now, drawn: false }
    }

    /// So far it is; shown when it is time to.
    pub fn at(&mut self, done: u64, size: Option<u64>, from: &[String]) {
        let every = if self.terminal { DRAW_EVERY } else { LINE_EVERY };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let elapsed_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let transfer = TransferView {
            transfer_id: 0,
            direction: String::new(),
            cid: None,
            done,
            size,
            elapsed_ms,
            sources: Vec::new(),
        };
        let mut text = format!("{} {}", self.verb, bytes_text(done));
        if let Some(size) = size {
            let percent = done.saturating_mul(100).checked_div(size).unwrap_or(100);
            text = format!("{text} of {} ({percent} %)", bytes_text(size));
        }
        text = format!("{text}, {}/s", bytes_text(transfer.rate()));
        if let Some(left) = transfer.left() {
            text = format!("{text}, {left}");
        }
        if !from.is_empty() {
            text = format!("{text}, from {}", from.join(", "));
        }
        self.write(&text);
    }

    /// Takes the line off the terminal; the last word is the caller's.
    pub fn clear(&mut self) {
        if self.drawn && write!(io::stderr(), "\r\x1b[K").is_err() {
            tracing::debug!("stderr is gone");
        }
        self.drawn = false;
    }

    /// How long it has taken.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    fn write(&mut self, text: &str) {
        let text = Untrusted::new(text);
        let mut err = io::stderr().lock();
        let written = match self.terminal {
            true => write!(err, "\r\x1b[K{text}").and_then(|()| err.flush()),
            false => writeln!(err, "{text}"),
        };
        self.drawn = self.terminal;
        if let Err(error) = written {
            tracing::debug!(%error, "stderr");
        }
    }
}

/// A size over a time, for people.
pub fn rate_text(bytes: u64, took: Duration) -> String {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    format!("{}/s", bytes_text(bytes.saturating_mul(1000) / millis))
}
