//! Cells as bytes, in as few as the terminal needs (ECMA-48: CUP, CUF, ECH, SGR).

use ratatui::buffer::Cell;
use ratatui::style::{Color, Modifier};
use unicode_width::UnicodeWidthStr as _;

use super::depth::exact_256;

/// The modifiers that are drawn, with the SGR parameters that switch them on and off. Bold and dim share the one that switches off.
const MODIFIERS: [(Modifier, u8, u8); 5] = [
    (Modifier::BOLD, 1, 22),
    (Modifier::DIM, 2, 22),
    (Modifier::ITALIC, 3, 23),
    (Modifier::UNDERLINED, 4, 24),
    (Modifier::REVERSED, 7, 27),
];
/// On a blank only these can be seen.
const SEEN_ON_BLANKS: Modifier = Modifier::UNDERLINED.union(Modifier::REVERSED);

/// How the terminal would draw now.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pen {
    fg: Color,
    bg: Color,
    modifiers: Modifier,
}

const PLAIN: Pen = Pen { fg: Color::Reset, bg: Color::Reset, modifiers: Modifier::empty() };

/// From so many on, blanks take more bytes than erasing them and going on behind them.
const BLANKS_LEAST: u16 = 11;

/// Whether the terminal erases in the background that is set (terminfo's `bce`), as all do that have colours, but GNU screen.
pub fn erases_in_colour() -> bool {
    let is_screen = std::env::var("TERM").is_ok_and(|term| term.starts_with("screen"));
    // tmux calls itself so as well, and does.
    !is_screen || std::env::var_os("TMUX").is_some()
}

/// What the screen is like that is written to.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// Blanks with a background may be erased.
    pub erases: bool,
    /// It was cleared: what is not told is blank.
    pub is_clear: bool,
}

/// Writes cells where they stand. Afterwards the terminal draws plainly again.
pub fn encode<'a>(cells: impl Iterator<Item = (u16, u16, &'a Cell)>, screen: Screen, out: &mut Vec<u8>) {
    let (mut pen, mut next) = (PLAIN, None);
    let is_blank = |cell: &Cell| cell.symbol() == " " && !cell.modifier.intersects(SEEN_ON_BLANKS);
    let mut cells = cells.peekable();
    // On a screen that is clear, blanks are there already; of a theme that paints its background, once it is cleared in that.
    let first = cells.peek().filter(|(x, y, _)| (*x, *y) == (0, 0)).map(|(.., cell)| cell.bg);
    let painted = first.filter(|bg| screen.erases && *bg != Color::Reset);
    let ground = painted.unwrap_or(Color::Reset);
    if screen.is_clear && painted.is_some() {
        pen.bg = ground;
        change(PLAIN, pen, out);
        out.extend_from_slice(b"\x1b[2J");
    }
    let is_there = |cell: &Cell| screen.is_clear && is_blank(cell) && cell.bg == ground;
    let mut cells = cells.filter(|(.., cell)| !is_there(cell)).peekable();
    let mut blanks: Vec<(u16, u16, &Cell)> = Vec::new();
    while let Some((x, y, cell)) = blanks.pop().or_else(|| cells.next()) {
        let as_cleared = screen.is_clear && pen.bg == ground && !pen.modifiers.intersects(SEEN_ON_BLANKS);
        go((x, y), next, as_cleared, out);
        let mut wanted = wanted(cell, pen);
        // A change before a blank is made for what stands behind it as well.
        if wanted != pen && is_blank(cell) && blanks.is_empty() {
            let is_behind = |at: u16, row: u16| (at, row) == (x.saturating_add(1), y);
            let behind = cells.peek().filter(|(at, row, other)| is_behind(*at, *row) && !is_blank(other));
            let behind = behind.map(|(.., other)| pen_of(other));
            wanted = behind
                .filter(|pen| pen.bg == cell.bg && !pen.modifiers.intersects(SEEN_ON_BLANKS))
                .unwrap_or(wanted);
        }
        if wanted != pen {
            change(pen, wanted, out);
            pen = wanted;
        }
        let plain = (pen.modifiers & SEEN_ON_BLANKS).is_empty();
        if screen.erases && plain && blanks.is_empty() && is_blank(cell) && cell.bg != Color::Reset {
            let mut count: u16 = 1;
            while let Some(more) = cells.next_if(|(at, row, other)| {
                *row == y && *at == x.saturating_add(count) && is_blank(other) && other.bg == cell.bg
            }) {
                blanks.push(more);
                count = count.saturating_add(1);
            }
            if count >= BLANKS_LEAST {
                blanks.clear();
                csi(&[count], b'X', out);
                // Erasing leaves the cursor where it is.
                next = Some((x, y));
                continue;
            }
            // Too few: they are written, the first of them next.
            blanks.reverse();
        }
        let symbol = cell.symbol();
        let known = known(symbol);
        if known == Known::Nowhere && !screen.is_clear {
            // Where the terminal thinks it narrower, nothing of what stood there may be left beside it.
            out.extend(std::iter::repeat_n(b' ', symbol.width()));
            go((x, y), None, false, out);
        }
        out.extend_from_slice(symbol.as_bytes());
        // How far the cursor goes behind what is wide or combined, terminals disagree about; there it is said again.
        next = (known == Known::Narrow).then(|| (x.saturating_add(1), y));
    }
    if pen != PLAIN {
        out.extend_from_slice(b"\x1b[m");
    }
}

/// What terminals think of a symbol's width.
#[derive(PartialEq)]
enum Known {
    /// All of them take it for one cell.
    Narrow,
    /// All of them take it for two, though not of where the cursor stands in the last column.
    Wide,
    /// It depends on their age, their font and their language.
    Nowhere,
}

fn known(symbol: &str) -> Known {
    let mut chars = symbol.chars();
    match (chars.next(), chars.next()) {
        (
            Some(
                ' '..='~'
                | '\u{a1}'..='\u{2ff}'
                | '\u{370}'..='\u{6ff}'
                | '\u{10a0}'..='\u{10ff}'
                | '\u{1e00}'..='\u{1fff}'
                | '\u{2010}'..='\u{205e}'
                | '\u{2190}'..='\u{22ff}'
                | '\u{2500}'..='\u{25ff}'
                | '\u{2700}'..='\u{27bf}'
                | '\u{fffd}',
            ),
            None,
        ) if symbol.width() == 1 => Known::Narrow,
        // Kana, CJK ideographs, Hangul, full-width forms.
        (
            Some(
                '\u{3041}'..='\u{30ff}'
                | '\u{4e00}'..='\u{9fff}'
                | '\u{ac00}'..='\u{d7a3}'
                | '\u{ff01}'..='\u{ff60}',
            ),
            None,
        ) if symbol.width() == 2 => Known::Wide,
        _ => Known::Nowhere,
    }
}

/// Moves the cursor from where it stands, if that is known; over what is blank also by writing blanks, where those are fewer bytes.
fn go((x, y): (u16, u16), from: Option<(u16, u16)>, over_blanks: bool, out: &mut Vec<u8>) {
    match from {
        Some(at) if at == (x, y) => {}
        Some((at, row)) if row == y && over_blanks && (1..4).contains(&x.saturating_sub(at)) => {
            out.extend((at..x).map(|_| b' '));
        }
        Some((at, row)) if row == y && at < x => csi(&[x - at], b'C', out),
        // Lines do not wrap: a line that was written to its end leaves the cursor in it.
        Some((_, row)) if x == 0 && row.checked_add(1) == Some(y) => out.extend_from_slice(b"\r\n"),
        _ => csi(&[y.saturating_add(1), x.saturating_add(1)], b'H', out),
    }
}

/// A control sequence; parameters of 1 at the end are the default and left out.
fn csi(parameters: &[u16], end: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x1b[");
    let shown = parameters.iter().rposition(|parameter| *parameter != 1).map_or(0, |last| last + 1);
    for (i, parameter) in parameters.iter().take(shown).enumerate() {
        if i > 0 {
            out.push(b';');
        }
        out.extend_from_slice(parameter.to_string().as_bytes());
    }
    out.push(end);
}

/// The pen for a cell: on a blank, what cannot be seen stays as it is.
fn wanted(cell: &Cell, pen: Pen) -> Pen {
    let own = pen_of(cell);
    if cell.symbol() == " " && !(own.modifiers | pen.modifiers).intersects(SEEN_ON_BLANKS) {
        return Pen { bg: cell.bg, ..pen };
    }
    own
}

fn pen_of(cell: &Cell) -> Pen {
    let drawn = MODIFIERS.iter().fold(Modifier::empty(), |all, (modifier, ..)| all | *modifier);
    Pen { fg: cell.fg, bg: cell.bg, modifiers: cell.modifier & drawn }
}

/// Changes the pen: by what differs, or from the beginning where that is shorter.
fn change(from: Pen, to: Pen, out: &mut Vec<u8>) {
    let by_difference = sgr(from, to);
    let mut anew = sgr(PLAIN, to);
    anew.insert(0, "0".to_owned());
    let (difference, anew) = (by_difference.join(";"), anew.join(";"));
    let shorter = if difference.len() <= anew.len() { difference } else { anew };
    out.extend_from_slice(b"\x1b[");
    out.extend_from_slice(if shorter == "0" { b"" } else { shorter.as_bytes() });
    out.push(b'm');
}

fn sgr(from: Pen, to: Pen) -> Vec<String> {
    let mut parameters: Vec<String> = Vec::new();
    let mut held = from.modifiers;
    for (modifier, _, off) in MODIFIERS {
        if held.contains(modifier) && !to.modifiers.contains(modifier) {
            parameters.push(off.to_string());
            // The other one of two that share it is off now, too.
            held.remove(
                MODIFIERS
                    .iter()
                    .filter(|(_, _, other)| *other == off)
                    .fold(Modifier::empty(), |all, (m, ..)| all | *m),
            );
        }
    }
    for (modifier, on, _) in MODIFIERS {
        if to.modifiers.contains(modifier) && !held.contains(modifier) {
            parameters.push(on.to_string());
        }
    }
    if from.fg != to.fg {
        parameters.push(color(to.fg, 30));
    }
    if from.bg != to.bg {
        parameters.push(color(to.bg, 40));
    }
    parameters
}

/// The parameters of a colour; `base` is 30 for the text and 40 for what is behind it.
fn color(color: Color, base: u8) -> String {
    let plain = |n: u8| (base + n).to_string();
    let bright = |n: u8| (base + 60 + n).to_string();
    match color {
        Color::Reset => plain(9),
        Color::Black => plain(0),
        Color::Red => plain(1),
        Color::Green => plain(2),
        Color::Yellow => plain(3),
        Color::Blue => plain(4),
        Color::Magenta => plain(5),
        Color::Cyan => plain(6),
        Color::Gray => plain(7),
        Color::DarkGray => bright(0),
        Color::LightRed => bright(1),
        Color::LightGreen => bright(2),
        Color::LightYellow => bright(3),
        Color::LightBlue => bright(4),
        Color::LightMagenta => bright(5),
        Color::LightCyan => bright(6),
        Color::White => bright(7),
        Color::Indexed(n) => format!("{};5;{n}", base + 8),
        Color::Rgb(r, g, b) => match exact_256(r, g, b) {
            Some(n) => format!("{};5;{n}", base + 8),
            None => format!("{};2;{r};{g};{b}", base + 8),
        },
    }
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    const SIZE: (u16, u16) = (24, 6);
    const ERASES: Screen = Screen { erases: true, is_clear: false };

    /// What a terminal shows that was told of `cells`.
    fn shown(bytes: &[u8]) -> vt100::Parser {
        let cells = |n| std::num::NonZeroU16::new(n).unwrap();
        let mut parser = vt100::Parser::new(cells(SIZE.1), cells(SIZE.0), 0);
        parser.process(bytes);
        parser
    }

    fn colour(color: vt100::Color) -> Color {
        match color {
            vt100::Color::Default => Color::Reset,
            vt100::Color::Idx(n @ 0..16) => [
                Color::Black,
                Color::Red,
                Color::Green,
                Color::Yellow,
                Color::Blue,
                Color::Magenta,
                Color::Cyan,
                Color::Gray,
                Color::DarkGray,
                Color::LightRed,
                Color::LightGreen,
                Color::LightYellow,
                Color::LightBlue,
                Color::LightMagenta,
                Color::LightCyan,
                Color::White,
            ][usize::from(n)],
            vt100::Color::Idx(n) => Color::Indexed(n),
            vt100::Color::Rgb(r, g, b) => Color::Rgb(r, g, b),
        }
    }

    /// As it is said to the terminal.
    fn said(color: Color) -> Color {
        match color {
            Color::Rgb(95, 135, 255) => Color::Indexed(69),
            color => color,
        }
    }

    /// Compares what can be seen of every cell.
    fn same(buffer: &Buffer, parser: &vt100::Parser, what: &str) {
        for y in 0..SIZE.1 {
            for x in 0..SIZE.0 {
                let (ours, theirs) = (&buffer[(x, y)], parser.screen().cell(y, x).unwrap());
                if theirs.is_wide_continuation() {
                    continue;
                }
                let text = if theirs.contents().is_empty() { " " } else { theirs.contents() };
                assert_eq!(ours.symbol(), text, "{what}: text at {x},{y}");
                let seen = ours.symbol() != " " || ours.modifier.intersects(SEEN_ON_BLANKS);
                assert_eq!(said(ours.bg), colour(theirs.bgcolor()), "{what}: background at {x},{y}");
                if seen {
                    assert_eq!(said(ours.fg), colour(theirs.fgcolor()), "{what}: colour at {x},{y}");
                    for (modifier, is) in [
                        (Modifier::BOLD, theirs.bold()),
                        (Modifier::DIM, theirs.dim()),
                        (Modifier::ITALIC, theirs.italic()),
                        (Modifier::UNDERLINED, theirs.underline()),
                        (Modifier::REVERSED, theirs.inverse()),
                    ] {
                        assert_eq!(ours.modifier.contains(modifier), is, "{what}: {modifier:?} at {x},{y}");
                    }
                }
            }
        }
    }

    /// A screen of anything, by numbers that look random and are the same each time.
    fn any(seed: &mut u64) -> Buffer {
        let mut next = |n: u64| {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*seed >> 33) % n
        };
        let colors = [
            Color::Reset,
            Color::Red,
            Color::DarkGray,
            Color::White,
            Color::Indexed(117),
            Color::Rgb(1, 20, 254),
            Color::Rgb(95, 135, 255),
        ];
        let mut buffer = Buffer::empty(Rect::new(0, 0, SIZE.0, SIZE.1));
        for y in 0..SIZE.1 {
            let mut x = 0;
            while x < SIZE.0 {
                let mut text = [" ", " ", "a", "│", "日", "é"][usize::try_from(next(6)).unwrap()];
                // What becomes of the other half of a wide character that is written over, ratatui and the terminals do not agree about.
                let plain = y % 2 == 0;
                if text == "日" && (x % 2 == 1 || !plain) {
                    text = "b";
                }
                let mut style = Style::new();
                if next(3) == 0 && !plain {
                    let color = |n| colors[usize::try_from(n).unwrap()];
                    style = style.fg(color(next(7))).bg(color(next(7)));
                    for (modifier, ..) in MODIFIERS {
                        // The terminal that checks this knows bold or dim, and not both.
                        let both = modifier == Modifier::DIM && style.add_modifier.contains(Modifier::BOLD);
                        if next(4) == 0 && !both {
                            style = style.add_modifier(modifier);
                        }
                    }
                }
                let room = usize::from(SIZE.0 - x);
                x = buffer.set_stringn(x, y, text, room, style).0.max(x + 1);
            }
        }
        buffer
    }

    #[test]
    fn a_terminal_shows_what_was_drawn_frame_after_frame() {
        let mut seed = 7;
        for round in 0..500 {
            let (mut first, second) = (any(&mut seed), any(&mut seed));
            if round % 3 == 0 {
                // As a theme does that paints its background.
                let unpainted = first.content.iter_mut().filter(|cell| cell.bg == Color::Reset);
                unpainted.for_each(|cell| cell.bg = Color::Blue);
            }
            let mut bytes = b"\x1b[?7l".to_vec();
            let empty = Buffer::empty(first.area);
            // What is blank in the first frame is so on a screen that was cleared, whether it is told or not.
            let screen = Screen { is_clear: round % 2 == 0, ..ERASES };
            encode(empty.diff(&first).into_iter(), screen, &mut bytes);
            same(&first, &shown(&bytes), &format!("round {round}, first"));
            encode(first.diff(&second).into_iter(), ERASES, &mut bytes);
            same(&second, &shown(&bytes), &format!("round {round}, second"));
        }
    }

    /// Of a new emoji an old terminal thinks that it is narrow.
    #[test]
    fn nothing_is_left_beside_what_a_terminal_thinks_narrower() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 24, 1));
        buffer.set_string(0, 0, "a🚀b日e\u{301}", Style::new());
        let cells = || {
            buffer
                .content
                .iter()
                .zip(0u16..)
                .filter(|(cell, x)| *x < 7 && !(cell.symbol() == " " && [2, 5].contains(x)))
        };
        let written = |is_clear| {
            let mut bytes = Vec::new();
            let screen = Screen { is_clear, ..ERASES };
            encode(cells().map(|(cell, x)| (x, 0, cell)), screen, &mut bytes);
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(written(false), "\x1b[Ha  \x1b[1;2H🚀\x1b[1;4Hb日\x1b[1;7H \x1b[1;7He\u{301}");
        assert_eq!(written(true), "\x1b[Ha🚀\x1b[1;4Hb日\x1b[1;7He\u{301}");
    }

    #[test]
    fn blanks_with_a_background_are_erased_where_that_is_shorter() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 24, 6));
        let red = Style::new().bg(Color::Red);
        buffer.set_string(0, 0, format!("a{}b", " ".repeat(20)), red);
        buffer.set_string(0, 1, format!("a{}b", " ".repeat(5)), red);
        let empty = Buffer::empty(buffer.area);
        let (mut erased, mut written) = (Vec::new(), Vec::new());
        encode(empty.diff(&buffer).into_iter(), ERASES, &mut erased);
        encode(empty.diff(&buffer).into_iter(), Screen { erases: false, ..ERASES }, &mut written);
        assert!(erased.len() < written.len() && erased.windows(5).any(|bytes| bytes == b"\x1b[20X"));
        same(&buffer, &shown(&erased), "erased");
        same(&buffer, &shown(&written), "written");
    }

    #[test]
    fn what_follows_from_the_cell_before_is_not_said_again() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 24, 6));
        let blue = Style::new().fg(Color::Blue);
        buffer.set_string(0, 0, "ab", blue);
        buffer.set_string(2, 0, " c", Style::new());
        buffer.set_string(4, 0, "  d", blue);
        buffer.set_string(0, 1, "e", blue);
        let mut bytes = Vec::new();
        let empty = Buffer::empty(buffer.area);
        encode(empty.diff(&buffer).into_iter(), ERASES, &mut bytes);
        assert_eq!(
            String::from_utf8(bytes).unwrap().replace('\x1b', "E"),
            "E[HE[34mabE[CE[mc  E[34md\r\neE[m"
        );
        let mut bytes = Vec::new();
        encode(empty.diff(&buffer).into_iter(), Screen { is_clear: true, ..ERASES }, &mut bytes);
        assert_eq!(String::from_utf8(bytes).unwrap().replace('\x1b', "E"), "E[HE[34mab E[mc  E[34md\r\neE[m");
    }
}
