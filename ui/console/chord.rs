//! One key press, as a key file writes it and as the footer shows it.

use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// A key with its modifiers. Shift is not kept: it is in the letter (`G`) or in the key (`shift-tab`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chord {
    pub code: KeyCode,
    pub ctrl: bool,
    pub alt: bool,
}

const NAMED: [(&str, KeyCode); 15] = [
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("shift-tab", KeyCode::BackTab),
    ("space", KeyCode::Char(' ')),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
];

impl Chord {
    /// The chord of a key event; `None` for key releases.
    pub fn of(event: &KeyEvent) -> Option<Self> {
        if event.kind == KeyEventKind::Release {
            return None;
        }
        let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
        let alt = event.modifiers.contains(KeyModifiers::ALT);
        let shift = event.modifiers.contains(KeyModifiers::SHIFT);
        let code = match event.code {
            KeyCode::Char(c) if ctrl => KeyCode::Char(c.to_ascii_lowercase()),
            KeyCode::Char(c) if shift => KeyCode::Char(c.to_uppercase().next().unwrap_or(c)),
            KeyCode::Tab if shift => KeyCode::BackTab,
            code => code,
        };
        Some(Self { code, ctrl, alt })
    }

    /// Reads `ctrl-c`, `G`, `enter`, `shift-tab`, `f1`, `/`.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, ctrl) = text.strip_prefix("ctrl-").map_or((text, false), |rest| (rest, true));
        let (rest, alt) = rest.strip_prefix("alt-").map_or((rest, false), |rest| (rest, true));
        let mut chars = rest.chars();
        let code = match (chars.next(), chars.next()) {
            (Some(c), None) => KeyCode::Char(c),
            _ => match NAMED.iter().find(|(name, _)| *name == rest) {
                Some((_, code)) => *code,
                None => KeyCode::F(rest.strip_prefix('f')?.parse().ok().filter(|n| (1..=24).contains(n))?),
            },
        };
        Some(Self { code, ctrl, alt })
    }
}

/// As the footer shows it: `^S`, `↵`, `Esc`, `G`.
impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.alt {
            f.write_str("Alt-")?;
        }
        match self.code {
            KeyCode::Char(' ') => f.write_str(if self.ctrl { "^Space" } else { "Space" }),
            KeyCode::Char(c) if self.ctrl => write!(f, "^{}", c.to_ascii_uppercase()),
            KeyCode::Char(c) => write!(f, "{c}"),
            KeyCode::Enter => f.write_str("↵"),
            KeyCode::Esc => f.write_str("Esc"),
            KeyCode::Tab => f.write_str("Tab"),
            KeyCode::BackTab => f.write_str("Shift-Tab"),
            KeyCode::Up => f.write_str("↑"),
            KeyCode::Down => f.write_str("↓"),
            KeyCode::Left => f.write_str("←"),
            KeyCode::Right => f.write_str("→"),
            KeyCode::PageUp => f.write_str("PgUp"),
            KeyCode::PageDown => f.write_str("PgDn"),
            KeyCode::F(n) => write!(f, "F{n}"),
            code => write!(f, "{code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chords_read_as_the_key_file_writes_them() {
        assert_eq!(Chord::parse("ctrl-s").map(|c| c.to_string()).as_deref(), Some("^S"));
        assert_eq!(Chord::parse("G").map(|c| c.code), Some(KeyCode::Char('G')));
        assert_eq!(Chord::parse("shift-tab").map(|c| c.code), Some(KeyCode::BackTab));
        assert_eq!(Chord::parse("f12").map(|c| c.code), Some(KeyCode::F(12)));
        for bad in ["", "ctrl-", "f0", "f99", "enter2", "hyper-x"] {
            assert_eq!(Chord::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_capital_letter_is_the_same_with_and_without_a_reported_shift() {
        let plain = Chord::of(&KeyEvent::new(KeyCode::Char('G'), KeyModifiers::NONE));
        let shifted = Chord::of(&KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT));
        let kitty = Chord::of(&KeyEvent::new(KeyCode::Char('g'), KeyModifiers::SHIFT));
        assert!(plain == shifted && shifted == kitty && plain == Chord::parse("G"));
    }
}
