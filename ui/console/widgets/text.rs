//! Numbers, times and long names as people read them in a narrow place.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ratatui::text::Span;
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
use zerostate::document::Untrusted;

/// How many terminal cells `text` takes: as many as its graphemes do one by one, for that is how they are drawn.
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.graphemes(true).map(UnicodeWidthStr::width).sum() }
}

/// So many blanks.
pub fn blank(cells: usize) -> Span<'static> {
    const BLANKS: &str = "                                                                ";
    match BLANKS.get(..cells) {
        Some(blanks) => Span::raw(blanks),
        None => Span::raw(" ".repeat(cells)),
    }
}

/// A count of cells as ratatui wants it.
pub fn cells(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// `text` in at most `max` cells, ending in `…` when something was cut.
pub fn cut(text: &str, max: usize) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        let w = grapheme.width();
        if used + w + 1 > max {
            break;
        }
        used += w;
        out.push_str(grapheme);
    }
    if max > 0 {
        out.push('…');
    }
    out
}

/// What is seen of a line that was scrolled by so many cells, in `max` of them.
pub fn behind(text: &str, scroll: usize, max: usize) -> String {
    let (mut skipped, mut used, mut shown) = (0, 0, String::new());
    for c in Untrusted::lines(text, usize::MAX).as_str().chars() {
        let cells = c.width().unwrap_or(0);
        if skipped < scroll {
            skipped += cells;
        } else if used + cells <= max {
            used += cells;
            shown.push(c);
        }
    }
    shown
}

/// Text in lines of at most `max` cells, broken at spaces where there are some.
pub fn wrap(text: &str, max: usize) -> Vec<String> {
    let max = max.max(1);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let (mut line, mut used) = (String::new(), 0);
        for word in paragraph.split_inclusive(' ') {
            if used + word.trim_end().width() > max && !line.is_empty() {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
                used = 0;
            }
            for c in word.chars() {
                let cells = c.width().unwrap_or(0);
                if used + cells > max {
                    if c == ' ' {
                        continue;
                    }
                    lines.push(std::mem::take(&mut line));
                    used = 0;
                }
                line.push(c);
                used += cells;
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// A compared value: a number with its digits in groups, anything else cleaned.
pub fn value(text: &str) -> String {
    text.parse::<u64>().map_or_else(|_| Untrusted::new(text).to_string(), grouped)
}

/// `1,204,551`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `0`, `940`, `1.2k`, `13k`, `4.0M`: at most four cells up to the thousands of millions.
pub fn short(n: u64) -> String {
    let (divisor, unit) = match n {
        0..1_000 => return n.to_string(),
        1_000..1_000_000 => (1_000, "k"),
        1_000_000..1_000_000_000 => (1_000_000, "M"),
        _ => (1_000_000_000, "G"),
    };
    let whole = n / divisor;
    if whole < 10 {
        format!("{whole}.{}{unit}", n % divisor / (divisor / 10))
    } else {
        format!("{whole}{unit}")
    }
}

/// `14:02:31` for what is less than a day away, `Nov 23` otherwise.
pub fn clock(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    let far = now.duration_since(at).abs() >= SignedDuration::from_hours(24);
    local.strftime(if far { "%b %d" } else { "%H:%M:%S" }).to_string()
}

/// `2026-11-23 14:02:31 UTC`.
pub fn date(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// How long ago, coarse, so that lists rest: `now`, `12m`, `3h`, `5d`.
pub fn age(at: Timestamp, now: Timestamp) -> String {
    match u64::try_from(now.duration_since(at).as_secs()).unwrap_or(0) {
        0..60 => "now".to_owned(),
        s @ 60..3_600 => format!("{}m", s / 60),
        s @ 3_600..86_400 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

/// `337 µs`, `0.001337 s`, `0.080 s`, `41.200 s`, `3 m 20 s` of nanoseconds.
pub fn seconds(ns: u64) -> String {
    let ms = ns / 1_000_000;
    match ms {
        0..1 => format!("{} µs", ns / 1_000),
        // A price is per second: with less of it the product could not be followed.
        1..10 => format!("0.{:06} s", ns / 1_000),
        10..60_000 => format!("{}.{:03} s", ms / 1_000, ms % 1_000),
        _ => format!("{} m {:02} s", ms / 60_000, ms / 1_000 % 60),
    }
}

/// `850 µs`, `3 ms`, `84 ms`, `1.2 s` of microseconds.
pub fn latency(us: u32) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_readable() {
        assert_eq!(grouped(1_204_551), "1,204,551");
        assert_eq!([0, 999, 1_200, 13_400, 4_000_000].map(short), ["0", "999", "1.2k", "13k", "4.0M"]);
        let times = [337_000, 1_337_400, 80_000_000, 41_200_000_000, 200_000_000_000];
        assert_eq!(times.map(seconds), ["337 µs", "0.001337 s", "0.080 s", "41.200 s", "3 m 20 s"]);
        assert_eq!(latency(3_240), "3.2 ms");
    }

    #[test]
    fn text_is_cut_and_wrapped_by_cells_not_by_characters() {
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("abc", 0), "");
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("日本語日本語", 4), ["日本", "語日", "本語"]);
        assert_eq!(wrap("a\n\nb", 4), ["a", "", "b"]);
    }

    #[test]
    fn text_is_as_wide_as_it_is_drawn() {
        use ratatui::buffer::Buffer;
        use ratatui::layout::Rect;
        // A ligature is drawn as its letters, and a mark with its letter.
        for text in ["abc", "سلام الإسلام", &"لا".repeat(18), "e\u{301}\u{302}", "日本語", "नमस्ते", "🚀🇩🇪", "각"]
        {
            let mut buffer = Buffer::empty(Rect::new(0, 0, 200, 1));
            let (drawn, _) = buffer.set_stringn(0, 0, text, 200, ratatui::style::Style::new());
            assert_eq!(width(text), usize::from(drawn), "{text}");
            assert!(width(&cut(text, 3)) <= 3, "{text}");
        }
    }
}
