//! Looking for a word in something that is open.

use std::ops::Range;

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use tui_input::Input;

/// What is looked for, and where one is.
#[derive(Debug, Default)]
pub struct Find {
    pub input: Input,
    /// It is being typed.
    pub typing: bool,
    /// Where one was when one began to type.
    pub from: usize,
    /// The line that one has gone to.
    pub at: usize,
}

impl Find {
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

    /// The first line of `found` from where one was; round the end.
    pub fn first(&self, found: &[usize]) -> Option<usize> {
        found.iter().find(|line| **line >= self.from).or(found.first()).copied()
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

/// Where a word stands in a text, in whatever case.
fn places(text: &str, word: &str) -> Vec<Range<usize>> {
    let same = |a: char, b: char| a == b || a.to_lowercase().eq(b.to_lowercase());
    let end_at = |from: usize| {
        let mut here = text.get(from..)?.char_indices();
        let mut end = from;
        for wanted in word.chars() {
            let (at, c) = here.next().filter(|(_, c)| same(*c, wanted))?;
            end = from + at + c.len_utf8();
        }
        Some(end)
    };
    let (mut found, mut from) = (Vec::new(), 0);
    for (at, _) in text.char_indices() {
        if at >= from
            && let Some(end) = end_at(at).filter(|end| *end > at)
        {
            found.push(at..end);
            from = end;
        }
    }
    found
}

fn text(line: &Line) -> String {
    line.spans.iter().map(|span| span.content.as_ref()).collect()
}

/// Shows a word wherever it stands, on one line or broken over two; on the line `at` in the second of the two styles. The lines that have
/// it come back.
pub fn mark(lines: &mut [Line<'static>], word: &str, at: usize, [style, here]: [Style; 2]) -> Vec<usize> {
    let texts: Vec<String> = lines.iter().map(text).collect();
    let mut ranges: Vec<Vec<Range<usize>>> = texts.iter().map(|text| places(text, word)).collect();
    let mut found: Vec<usize> =
        (0..texts.len()).filter(|line| ranges.get(*line).is_some_and(|it| !it.is_empty())).collect();
    for (line, pair) in texts.windows(2).enumerate() {
        let [above, below] = pair else { continue };
        let [Some(first), Some(rest)] = broken(above, below, word) else { continue };
        if let [one, other] = ranges.get_mut(line..line + 2).unwrap_or_default() {
            one.push(first);
            other.insert(0, rest);
        }
        found.push(line);
    }
    found.sort_unstable();
    found.dedup();
    for (number, (line, ranges)) in
        lines.iter_mut().zip(&ranges).enumerate().filter(|(_, (_, it))| !it.is_empty())
    {
        let style = if number == at { here } else { style };
        let mut begin = 0;
        line.spans = std::mem::take(&mut line.spans)
            .into_iter()
            .flat_map(|span| {
                let from = begin;
                begin += span.content.len();
                marked(span, from, ranges, style)
            })
            .collect();
    }
    found
}

/// A word that begins at the end of a line and ends at the beginning of the next one: its two parts.
fn broken(above: &str, below: &str, word: &str) -> [Option<Range<usize>>; 2] {
    let (end, indent) = (above.trim_end().len(), below.len() - below.trim_start().len());
    for (cut, _) in word.char_indices().skip(1) {
        let (head, tail) = word.split_at(cut);
        // Where a line is broken between two words the space is gone.
        let (first, rest) =
            (places(above.trim_end(), head.trim_end()), places(below.trim_start(), tail.trim_start()));
        let first = first.into_iter().find(|range| range.end == end);
        let rest = rest.into_iter().find(|range| range.start == 0);
        if let (Some(first), Some(rest)) = (first, rest) {
            return [Some(first), Some(rest.start + indent..rest.end + indent)];
        }
    }
    [None, None]
}

/// A span that begins at `from` of its line, in parts, so that what is found looks like that.
fn marked(span: Span<'static>, from: usize, found: &[Range<usize>], style: Style) -> Vec<Span<'static>> {
    let end = from + span.content.len();
    let part = |range: Range<usize>, style| {
        let text = span.content.get(range.start - from..range.end - from).unwrap_or_default();
        Some(Span::styled(text.to_owned(), style)).filter(|span| !span.content.is_empty())
    };
    let (mut parts, mut at) = (Vec::new(), from);
    for range in found {
        let (begin, stop) = (range.start.clamp(at, end), range.end.clamp(at, end));
        parts.extend(part(at..begin, span.style));
        parts.extend(part(begin..stop, span.style.patch(style)));
        at = stop;
    }
    parts.extend(part(at..end, span.style));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_wherever_it_stands_and_in_whatever_case() {
        assert_eq!(places("Fuel fuel é fuEl", "fuel"), [0..4, 5..9, 13..17]);
        assert_eq!(places("aaaa", "aa"), [0..2, 2..4]);
        assert_eq!(places("é日本é", "É"), [0..2, 8..10]);
        assert!(places("", "x").is_empty());
        let [bold, other] = [Style::new().bold(), Style::new().underlined()];
        let mut lines = vec![Line::raw("one two"), Line::raw("three"), Line::raw("a TWO")];
        assert_eq!(mark(&mut lines, "two", 2, [bold, other]), [0, 2]);
        assert_eq!(lines[0].spans, [Span::raw("one "), Span::styled("two", bold)]);
        assert_eq!(lines[2].spans, [Span::raw("a "), Span::styled("TWO", other)]);
        // Over what is written in several styles, and over the end of a line.
        let is_bold = |line: &Line| -> String {
            line.spans.iter().filter(|span| span.style == bold).map(|span| span.content.as_ref()).collect()
        };
        let mut line = [Line::from(vec![Span::raw("ab"), Span::raw("cd"), Span::raw("ef")])];
        assert_eq!(mark(&mut line, "bcde", 9, [bold, other]), [0]);
        assert_eq!((text(&line[0]).as_str(), is_bold(&line[0]).as_str()), ("abcdef", "bcde"));
        let mut lines = [Line::raw("artifact  bafkreia"), Line::raw("          sbfynqeu  "), Line::raw("x")];
        assert_eq!(mark(&mut lines, "kreiasbf", 9, [bold, other]), [0]);
        assert_eq!(lines.each_ref().map(is_bold), ["kreia", "sbf", ""]);
        let mut lines = [Line::raw("one two"), Line::raw("three")];
        assert_eq!(mark(&mut lines, "two three", 9, [bold, other]), [0]);
    }

    #[test]
    fn one_goes_round_what_was_found() {
        let at = |at| Find { at, ..Find::default() };
        assert_eq!(at(0).step(&[2, 5], true), Some(2));
        assert_eq!(at(2).step(&[2, 5], true), Some(5));
        assert_eq!(at(5).step(&[2, 5], true), Some(2));
        assert_eq!(at(2).step(&[2, 5], false), Some(5));
        assert_eq!(at(2).step(&[], true), None);
        let from = |from| Find { from, ..Find::default() };
        assert_eq!([0, 2, 3, 6].map(|line| from(line).first(&[2, 5])), [Some(2), Some(2), Some(5), Some(2)]);
        assert_eq!(from(0).first(&[0, 4]), Some(0));
    }
}
