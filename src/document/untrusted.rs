//! Text that somebody else chose, made safe to show.

use std::fmt;
use std::sync::Arc;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use serde::{Deserialize, Serialize, Serializer};
use unicode_width::UnicodeWidthChar;

/// More is never shown in one place; what is longer ends in `…`.
const MAX_CHARS: usize = 4096;
/// Combining marks after one base character; stacks of them paint over the lines above.
const MAX_MARKS: usize = 2;

/// A string from a stranger without anything that could steer a terminal or mislead an eye: no control characters (C0, C1,
/// DEL), no bidirectional controls, no invisible format characters, no stacks of combining marks, bounded in length.
/// What is taken out is replaced by `\u{fffd}`; line ends and tabs become spaces.
///
/// ```
/// use zerostate::document::Untrusted;
/// assert_eq!(Untrusted::new("\u{1b}[31mred\u{202e}").as_str(), "\u{fffd}[31mred\u{fffd}");
/// ```
///
/// A copy shares the text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(from = "String")]
pub struct Untrusted(Arc<str>);

impl Untrusted {
    /// Cleans one line of text.
    pub fn new(raw: &str) -> Self {
        Self(clean(raw, false, MAX_CHARS).into())
    }

    /// Cleans text of several lines (program output): line ends stay, up to `max_chars`.
    pub fn lines(raw: &str, max_chars: usize) -> Self {
        Self(clean(raw, true, max_chars).into())
    }

    /// Reads what was cleaned as [`Untrusted::lines`] and was sent as text: its line ends stay. For `#[serde(deserialize_with)]`.
    ///
    /// # Errors
    /// When there is something else than text.
    pub fn read_lines<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self::lines(&text, usize::MAX))
    }

    /// The same where there may be nothing.
    ///
    /// # Errors
    /// As [`Untrusted::read_lines`].
    pub fn read_some_lines<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        Ok(text.map(|text| Self::lines(&text, usize::MAX)))
    }

    /// Whether a character is one of those that are taken out.
    pub fn changes(c: char) -> bool {
        c.is_control() || (!c.is_ascii() && is_unseen(c))
    }

    /// The cleaned text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn clean(raw: &str, keep_lines: bool, max_chars: usize) -> String {
    let mut marks = 0;
    let mut out = String::with_capacity(raw.len().min(max_chars));
    for (count, c) in raw.chars().enumerate() {
        if count >= max_chars {
            out.push('…');
            break;
        }
        match c {
            '\n' if keep_lines => out.push('\n'),
            '\n' | '\t' => out.push(' '),
            // Gone without a trace, so it does not end a stack of marks either.
            '\r' if keep_lines => continue,
            c if Untrusted::changes(c) => out.push('\u{fffd}'),
            c if c.width() == Some(0) => {
                marks += 1;
                if marks <= MAX_MARKS {
                    out.push(c);
                }
                continue;
            }
            c => out.push(c),
        }
        marks = 0;
    }
    out
}

/// Characters that are not seen but change what is: bidirectional controls, joiners, fillers, tags. And those that are none (yet), of which
/// each terminal thinks something else. By the general category and the default ignorable code points of the Unicode Standard (UAX #44).
fn is_unseen(c: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    matches!(
        category,
        GeneralCategory::Format
            | GeneralCategory::Unassigned
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    ) || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

impl From<String> for Untrusted {
    fn from(raw: String) -> Self {
        Self::new(&raw)
    }
}

impl From<&str> for Untrusted {
    fn from(raw: &str) -> Self {
        Self::new(raw)
    }
}

impl Serialize for Untrusted {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_stays() {
        let attack = "\u{1b}]52;c;aGk=\u{7}a\u{9b}31m\u{202e}b\u{200d}c\u{7f}\u{e0041}";
        let shown = Untrusted::new(attack);
        assert!(shown.as_str().chars().all(|c| !c.is_control() && !is_unseen(c)), "{shown:?}");
        assert!(shown.as_str().contains('a') && shown.as_str().contains('b'));
    }

    #[test]
    fn what_no_terminal_knows_the_width_of_is_taken_out() {
        for c in ['\u{fdd0}', '\u{378}', '\u{1fffe}', '\u{13430}', '\u{1d173}', '\u{1bca0}', '\u{2029}'] {
            assert_eq!(Untrusted::new(&format!("a{c}b")).as_str(), "a\u{fffd}b", "{c:?}");
        }
    }

    #[test]
    fn marks_do_not_stack_and_length_is_bounded() {
        let zalgo = format!("e{}", "\u{301}".repeat(50));
        assert_eq!(Untrusted::new(&zalgo).as_str().chars().count(), 1 + MAX_MARKS);
        let split = "\u{301}\r".repeat(50);
        assert_eq!(Untrusted::lines(&split, MAX_CHARS).as_str().chars().count(), MAX_MARKS);
        assert_eq!(Untrusted::new(&"x".repeat(10_000)).as_str().chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn honest_names_in_any_script_stay_as_they_are() {
        for name in ["atlas", "Čapek", "日本語", "नमस्ते", "مرحبا", "שלום", "Привет", "→ ✓ 🚀", "a\u{e0b0}b"]
        {
            assert_eq!(Untrusted::new(name).as_str(), name);
        }
    }
}
