//! Taking the terminal and giving it back: on quit, error, panic, signal and suspend.

use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::terminal::{
    Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen,
};
use crossterm::{cursor, execute, queue, terminal};
use ratatui::Terminal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::backend::Quiet;
use super::outlet::Outlet;

/// Whether the terminal is ours now. A panic may happen on any thread, so this is the one place that all of them see.
static TAKEN: AtomicBool = AtomicBool::new(false);
static MOUSE: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();
/// A terminal that reads nothing for so long is left as it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// The terminal while the console has it.
pub struct Screen {
    pub terminal: Terminal<Quiet<Outlet>>,
    pub outlet: Outlet,
}

impl Screen {
    /// Takes the terminal: raw, alternate screen, bracketed paste.
    ///
    /// # Errors
    /// When there is none, or it refuses.
    pub fn enter(mouse: bool) -> io::Result<Self> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        // crossterm reads NO_COLOR by itself and then drops reverse and bold too; colours are the theme's business here.
        crossterm::style::force_color_output(true);
        MOUSE.store(mouse, Ordering::SeqCst);
        take()?;
        let outlet =
            Outlet::new(io::stdout(), || TAKEN.load(Ordering::SeqCst)).inspect_err(|_| give_back())?;
        let terminal = Terminal::new(Quiet::new(outlet.clone())).inspect_err(|_| give_back())?;
        Ok(Self { terminal, outlet })
    }

    /// What has the mouse reported to the console, or leaves it to the terminal.
    ///
    /// # Errors
    /// None that a buffer in memory has.
    pub fn catch_mouse(&mut self, on: bool) -> io::Result<Vec<u8>> {
        MOUSE.store(on, Ordering::SeqCst);
        let mut bytes = Vec::new();
        if on {
            queue!(bytes, EnableMouseCapture)?
        } else {
            queue!(bytes, DisableMouseCapture)?
        }
        Ok(bytes)
    }

    /// Gives the terminal to another program.
    pub fn give(&mut self) {
        self.outlet.drain(PATIENCE);
        give_back();
    }

    /// Takes it again.
    ///
    /// # Errors
    /// Those of the terminal.
    pub fn take_again(&mut self) -> io::Result<()> {
        take()?;
        self.terminal = Terminal::new(Quiet::new(self.outlet.clone()))?;
        self.repaint()
    }

    /// Whether a panic somewhere gave the terminal back while the console was still running.
    pub fn is_lost(&self) -> bool {
        !TAKEN.load(Ordering::SeqCst)
    }

    /// Paints everything anew with the next frame.
    ///
    /// # Errors
    /// Those of the terminal.
    pub fn repaint(&mut self) -> io::Result<()> {
        // `Terminal::clear` asks the terminal where its cursor is, which races with the keys; resizing to the same does not.
        let area = self.terminal.size()?.into();
        self.terminal.resize(area)
    }

    /// Stops the process as ^Z does, and takes the terminal again when it goes on.
    ///
    /// # Errors
    /// Those of the terminal.
    pub fn suspend(&mut self) -> io::Result<()> {
        self.give();
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
        self.take_again()
    }
}

/// How the terminal is set while it is not ours, for when another program leaves it otherwise.
pub struct Modes(Option<Termios>);

impl Modes {
    pub fn now() -> Self {
        Self(tcgetattr(rustix::stdio::stdin()).ok())
    }

    /// Sets it so again, and leaves whatever screen the other program was on.
    pub fn put_back(&self) {
        let Some(modes) = &self.0 else { return };
        let set = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, modes).map_err(io::Error::from);
        let mut bytes = Vec::new();
        let queued = queue!(bytes, LeaveAlternateScreen, cursor::Show);
        for error in [set, queued, write_in_time(&bytes)].into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "the terminal could not be put back");
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // What is still on its way would be written over the shell.
        self.give();
    }
}

fn take() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let entered = execute!(
        io::stdout(),
        EnterAlternateScreen,
        // Not every terminal clears it by itself.
        Clear(ClearType::All),
        EnableBracketedPaste,
        DisableLineWrap,
        cursor::Hide
    );
    let entered = entered.and_then(|()| {
        if MOUSE.load(Ordering::SeqCst) { execute!(io::stdout(), EnableMouseCapture) } else { Ok(()) }
    });
    entered.inspect_err(|_| give_back())
}

/// Puts the terminal back as it was. Safe to call twice, from any thread. A terminal that is gone cannot be put back, and there is
/// nobody left to tell.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // The end of a synchronized update first, and plain colours: a panic may have come in the middle of a frame.
    let mut bytes = b"\x1b[?2026l\x1b[m".to_vec();
    let mouse = if MOUSE.load(Ordering::SeqCst) { queue!(bytes, DisableMouseCapture) } else { Ok(()) };
    let queued = queue!(bytes, EnableLineWrap, DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
    let written = write_in_time(&bytes);
    let cooked = terminal::disable_raw_mode();
    for error in [mouse, queued, written, cooked].into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "the terminal could not be put back");
    }
}

/// Writes past the lock of standard output, which a thread may hold that waits for a terminal that does not read.
fn write_in_time(mut bytes: &[u8]) -> io::Result<()> {
    let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
    while !bytes.is_empty() {
        let stdout = rustix::stdio::stdout();
        let mut ready = [PollFd::new(&stdout, PollFlags::OUT)];
        if retry_on_intr(|| poll(&mut ready, Some(&patience)))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let written = retry_on_intr(|| rustix::io::write(stdout, bytes))?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}
