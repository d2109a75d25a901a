//! Keys and pasted text into an input line.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_input::{Input, InputRequest};

/// Longer lines are never meant.
const CHARS_MAX: usize = 4096;

/// Applies a key that is not bound to anything else. Says whether the text changed.
pub fn key(input: &mut Input, event: &KeyEvent) -> bool {
    let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
    let request = match event.code {
        KeyCode::Char('a') if ctrl => InputRequest::GoToStart,
        KeyCode::Char('e') if ctrl => InputRequest::GoToEnd,
        KeyCode::Char('w') if ctrl => InputRequest::DeletePrevWord,
        KeyCode::Char('u') if ctrl => InputRequest::DeleteFromStart,
        KeyCode::Char('k') if ctrl => InputRequest::DeleteTillEnd,
        KeyCode::Char('y') if ctrl => InputRequest::Yank,
        KeyCode::Char('h') if ctrl => InputRequest::DeletePrevChar,
        KeyCode::Left if ctrl => InputRequest::GoToPrevWord,
        KeyCode::Right if ctrl => InputRequest::GoToNextWord,
        KeyCode::Left => InputRequest::GoToPrevChar,
        KeyCode::Right => InputRequest::GoToNextChar,
        KeyCode::Home => InputRequest::GoToStart,
        KeyCode::End => InputRequest::GoToEnd,
        KeyCode::Backspace => InputRequest::DeletePrevChar,
        KeyCode::Delete => InputRequest::DeleteNextChar,
        KeyCode::Char(c) if !ctrl && !event.modifiers.contains(KeyModifiers::ALT) && !c.is_control() => {
            if input.value().chars().count() >= CHARS_MAX {
                return false;
            }
            InputRequest::InsertChar(c)
        }
        _ => return false,
    };
    let changed = input.handle(request).is_some_and(|changed| changed.value);
    // What was cut and is put back again and again.
    if input.value().chars().count() > CHARS_MAX {
        *input = Input::new(input.value().chars().take(CHARS_MAX).collect());
    }
    changed
}

/// Types pasted text, its lines behind each other, without control characters. A paste is never a command.
pub fn paste(input: &mut Input, text: &str) {
    let room = CHARS_MAX.saturating_sub(input.value().chars().count());
    let mut chars = text.trim().chars().peekable();
    let lines = std::iter::from_fn(|| match chars.next()? {
        '\r' | '\n' => {
            while chars.next_if(|c| matches!(c, '\r' | '\n')).is_some() {}
            Some(' ')
        }
        c => Some(c),
    });
    for c in lines.filter(|c| !c.is_control()).take(room) {
        // Only whether the cursor moved would be answered.
        input.handle(InputRequest::InsertChar(c));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_cannot_be_put_back_without_end() {
        let mut input = Input::default();
        paste(&mut input, &"x".repeat(3_000));
        let ctrl = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
        key(&mut input, &ctrl('u'));
        for _ in 0..5 {
            key(&mut input, &ctrl('y'));
        }
        assert_eq!(input.value().chars().count(), CHARS_MAX);
    }

    #[test]
    fn a_paste_is_one_line_of_text_without_control_characters() {
        let mut input = Input::default();
        paste(&mut input, "\n/ip4/\u{1b}[2J1.2.3.4\rq\nq");
        assert_eq!(input.value(), "/ip4/[2J1.2.3.4 q q");
    }
}
