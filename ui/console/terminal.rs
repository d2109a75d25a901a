//! Taking the terminal and giving it back: on quit, error, panic, signal and suspend.

use std::io::{self, Stdout, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::terminal::{
    Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen,
};
use crossterm::{cursor, execute, terminal};
use ratatui::Terminal;

use super::backend::Quiet;

/// Whether the terminal is ours now. A panic may happen on any thread, so this is the one place that all of them see.
static TAKEN: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// The terminal while the console has it.
pub struct Screen {
    pub terminal: Terminal<Quiet<Stdout>>,
}

impl Screen {
    /// Takes the terminal: raw, alternate screen, bracketed paste.
    ///
    /// # Errors
    /// When there is none, or it refuses.
    pub fn enter() -> io::Result<Self> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        // crossterm reads NO_COLOR by itself and then drops reverse and bold too; colours are the theme's business here.
        crossterm::style::force_color_output(true);
        take()?;
        let terminal = Terminal::new(Quiet::new(io::stdout())).inspect_err(|_| give_back())?;
        Ok(Self { terminal })
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
        give_back();
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
        take()?;
        self.terminal = Terminal::new(Quiet::new(io::stdout()))?;
        self.repaint()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
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
    entered.inspect_err(|_| give_back())
}

/// Puts the terminal back as it was. Safe to call twice, from any thread. A terminal that is gone cannot be put back, and there is
/// nobody left to tell.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = io::stdout();
    // The end of a synchronized update first: a panic may have come in the middle of a frame.
    let written = out.write_all(b"\x1b[?2026l");
    let left = execute!(out, EnableLineWrap, DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
    let cooked = terminal::disable_raw_mode();
    for error in [written, left, cooked].into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "the terminal could not be put back");
    }
}
