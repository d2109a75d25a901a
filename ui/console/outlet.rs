//! The way of frames to the terminal: a thread writes them, one after the other, so that a terminal that does not read (a slow line,
//! ^S) holds up nothing but pictures. Whoever draws asks first whether the last one is through, and draws the newest when it is.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Nothing is drawn while one is on its way; beside it there may be something for the clipboard.
const WAITING_MAX: usize = 4;

/// So much of a frame is written at once: what a terminal's buffer holds.
const PIECE: usize = 4 << 10;

/// What is sent to the terminal.
#[derive(Clone)]
pub struct Outlet {
    frames: SyncSender<Vec<u8>>,
    line: Arc<Line>,
}

#[derive(Default)]
struct Line {
    state: Mutex<State>,
    changed: Condvar,
    through: Notify,
}

#[derive(Default)]
struct State {
    /// Frames that are not wholly written.
    under_way: usize,
    broken: bool,
}

impl Line {
    /// The state, also after a panic: it is two numbers.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet {
    /// An outlet to `terminal`, with a thread that ends with it. What is left of a frame when it is not `ours` any more is dropped.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(mut terminal: impl Write + Send + 'static, ours: fn() -> bool) -> io::Result<Self> {
        let (frames, waiting) = sync_channel::<Vec<u8>>(WAITING_MAX);
        let line = Arc::new(Line::default());
        let told = Arc::clone(&line);
        std::thread::Builder::new().name("terminal".to_owned()).spawn(move || {
            for frame in waiting {
                let mut pieces = frame.chunks(PIECE).take_while(|_| ours());
                let written =
                    pieces.try_for_each(|piece| terminal.write_all(piece)).and_then(|()| terminal.flush());
                let mut state = told.state();
                state.under_way = state.under_way.saturating_sub(1);
                state.broken |= written.is_err();
                drop(state);
                told.changed.notify_all();
                told.through.notify_one();
            }
        })?;
        Ok(Self { frames, line })
    }

    /// Whether the last frame is through.
    pub fn is_free(&self) -> bool {
        self.line.state().under_way == 0
    }

    /// Returns when the last frame is through.
    pub async fn freed(&self) {
        while !self.is_free() {
            self.line.through.notified().await;
        }
    }

    /// Waits until everything is written, but not for ever; says whether it is.
    pub fn drain(&self, patience: Duration) -> bool {
        let state = self.line.state();
        let waited = self.line.changed.wait_timeout_while(state, patience, |state| state.under_way > 0);
        waited.is_ok_and(|(state, _)| state.under_way == 0)
    }
}

impl Write for Outlet {
    /// Takes a frame as a whole, or refuses it.
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        let mut state = self.line.state();
        if state.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match self.frames.try_send(frame.to_vec()) {
            Ok(()) => {
                state.under_way += 1;
                Ok(frame.len())
            }
            Err(_) => Err(io::Error::other("the terminal does not read")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// A terminal that takes a frame only when it is told to.
    struct Stuck(Receiver<()>, std::sync::mpsc::Sender<Vec<u8>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_terminal_that_does_not_read_holds_up_nobody_and_gets_everything_later() {
        let (go, gate) = channel();
        let (sender, written) = channel();
        let mut outlet = Outlet::new(Stuck(gate, sender), || true).unwrap();
        assert!(outlet.is_free());
        outlet.write_all(b"first").unwrap();
        assert!(!outlet.is_free());
        assert!(!outlet.drain(Duration::from_millis(1)));
        let full = (0..).find(|_| outlet.write(b"more").is_err()).unwrap();
        assert!(full <= WAITING_MAX, "{full} were taken");
        for _ in 0..=full {
            go.send(()).unwrap();
        }
        outlet.freed().await;
        assert_eq!(written.try_iter().next().unwrap(), b"first");
        drop(go);
        outlet.write_all(b"lost").unwrap();
        outlet.freed().await;
        assert!(outlet.write(b"more").is_err(), "the terminal is gone");
    }
}
