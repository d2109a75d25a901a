//! A passphrase from the terminal: nothing of it is shown, and ^C leaves the terminal as it was.

use std::io::{self, Write as _};

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, read};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use zeroize::Zeroizing;

/// A passphrase is a line, not a file of megabytes.
pub const PASSPHRASE_MAX: usize = 4096;

/// The terminal gives every key as it is typed, ^C among them, until this value ends.
struct Raw;

impl Raw {
    fn on() -> io::Result<Self> {
        enable_raw_mode()?;
        Ok(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Err(error) = disable_raw_mode() {
            tracing::debug!(%error, "the terminal could not be put back");
        }
    }
}

/// Asks for the passphrase of a key.
///
/// # Errors
/// When it is interrupted, or the terminal is gone.
pub fn ask() -> io::Result<Zeroizing<String>> {
    let mut err = io::stderr();
    let typed = {
        // From before it is asked on, or what is typed at once would be shown.
        let _raw = Raw::on()?;
        write!(err, "passphrase of the key: ")?;
        err.flush()?;
        typed()
    };
    writeln!(err)?;
    typed
}

fn typed() -> io::Result<Zeroizing<String>> {
    // It does not grow, and so leaves no copies behind.
    let mut typed = Zeroizing::new(String::with_capacity(PASSPHRASE_MAX));
    loop {
        let key = match read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => key,
            _ => continue,
        };
        match (key.code, key.modifiers.contains(KeyModifiers::CONTROL)) {
            // A line end that was typed before the terminal was ours comes as ^J.
            (KeyCode::Enter, _) | (KeyCode::Char('j'), true) => return Ok(typed),
            (KeyCode::Char('c'), true) => {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
            }
            (KeyCode::Char('d'), true) if typed.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            (KeyCode::Char('u'), true) => typed.clear(),
            (KeyCode::Backspace, _) => drop(typed.pop()),
            (KeyCode::Char(c), false) if typed.len() + c.len_utf8() <= PASSPHRASE_MAX => typed.push(c),
            _ => {}
        }
    }
}
