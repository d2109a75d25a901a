//! Looking for a word in something that is open.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use tui_input::Input;

/// What is looked for, and where one is.
#[derive(Debug, Default)]
pub struct Search {
    pub input: Input,
    /// It is being typed.
    pub typing: bool,
    /// The line that one has gone to.
    pub at: usize,
}

impl Search {
    /// The word, if there is one.
    pub fn word(&self) -> Option<&str> {
        Some(self.input.value().trim()).filter(|word| !word.is_empty())
    }

    /// Takes it away; `false` when there was nothing.
    pub fn clear(&mut self) -> bool {
        let was = self.typing || self.word().is_some();
        *self = Self::default();
        was
    }

    /// The line of `found` to go to: the next one on from where one is, or before it; round the end.
    pub fn step(&self, found: &[usize], on: bool) -> Option<usize> {
        let next = if on {
            found.iter().find(|line| **line > self.at).or(found.first())
        } else {
            found.iter().rev().find(|line| **line < self.at).or(found.last())
        };
        next.copied()
    }
}

/// Where a word stands in a text, without regard to the case of ASCII letters.
fn places(text: &str, word: &str) -> Vec<usize> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(here) = text.get(from..) {
        let is_here = here.get(..word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word));
        if is_here {
            found.push(from);
        }
        let step = if is_here { word.len() } else { here.chars().next().map_or(1, char::len_utf8) };
        from += step.max(1);
    }
    found
}

/// Shows a word wherever it stands in the lines; those that have it come back.
pub fn mark(lines: &mut [Line<'static>], word: &str, style: Style) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, line) in lines.iter_mut().enumerate() {
        if line.spans.iter().all(|span| places(&span.content, word).is_empty()) {
            continue;
        }
        found.push(at);
        let spans = std::mem::take(&mut line.spans);
        line.spans = spans.into_iter().flat_map(|span| marked(span, word, style)).collect();
    }
    found
}

/// A text in parts, so that the word looks like that.
fn marked(span: Span<'static>, word: &str, style: Style) -> Vec<Span<'static>> {
    let (mut parts, mut from) = (Vec::new(), 0);
    let part = |range: std::ops::Range<usize>| span.content.get(range).unwrap_or_default().to_owned();
    for place in places(&span.content, word) {
        let end = place + word.len();
        parts.push(Span::styled(part(from..place), span.style));
        parts.push(Span::styled(part(place..end), span.style.patch(style)));
        from = end;
    }
    parts.push(Span::styled(part(from..span.content.len()), span.style));
    parts.retain(|part| !part.content.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_wherever_it_stands_and_in_whatever_case() {
        assert_eq!(places("Fuel fuel é fuEl", "fuel"), [0, 5, 13]);
        assert_eq!(places("aaaa", "aa"), [0, 2]);
        assert_eq!(places("日本", "本"), [3]);
        assert_eq!(places("", "x"), Vec::<usize>::new());
        let bold = Style::new().bold();
        let mut lines = vec![Line::raw("one two"), Line::raw("three"), Line::raw("a TWO")];
        assert_eq!(mark(&mut lines, "two", bold), [0, 2]);
        assert_eq!(lines[0].spans, [Span::raw("one "), Span::styled("two", bold)]);
    }

    #[test]
    fn one_goes_round_what_was_found() {
        let at = |at| Search { at, ..Search::default() };
        assert_eq!(at(0).step(&[2, 5], true), Some(2));
        assert_eq!(at(2).step(&[2, 5], true), Some(5));
        assert_eq!(at(5).step(&[2, 5], true), Some(2));
        assert_eq!(at(2).step(&[2, 5], false), Some(5));
        assert_eq!(at(2).step(&[], true), None);
    }
}
