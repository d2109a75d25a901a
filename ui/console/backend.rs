//! Frames as bytes: each in one write, bracketed as synchronized output unless it is small, and nothing at all where nothing has changed.
//!
//! What is drawn is written here and not by crossterm, because over a slow line every byte counts: a cell is told where it stands and how
//! it looks only where that does not follow from the cell before it (`encode.rs`).

use std::io::{self, Write};

use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Position, Rect, Size};
use unicode_width::UnicodeWidthStr as _;

use super::encode::{Screen, encode, erases_in_colour};
use super::scroll;

/// Begin and end of a synchronized update (DEC private mode 2026): the terminal shows the frame as a whole.
const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";
/// Fewer cells are written sooner than it is looked whether lines have moved.
const MOVED_LEAST: usize = 150;
/// What is no longer than that comes as a whole in any case, and goes without them.
const SMALL: usize = 128;

/// More cells than any screen has are not drawn: each takes memory, several times.
const MOST: Size = Size { width: 1_000, height: 400 };

/// How much is drawn of a terminal with so many columns and lines.
pub fn drawn((width, height): (u16, u16)) -> Size {
    Size { width: width.min(MOST.width), height: height.min(MOST.height) }
}

/// A backend that gathers a frame and writes it when it is flushed. Cursor calls that change nothing cost nothing.
pub struct Quiet<W: Write> {
    frame: Vec<u8>,
    out: W,
    cursor: Option<Position>,
    shown: Option<bool>,
    /// Blanks may be erased instead of written.
    erases: bool,
    /// Nothing stands on the screen.
    is_clear: bool,
    /// What stands on it, since it was cleared.
    screen: Option<Buffer>,
    /// The size to draw for; asked of the terminal where it is not fixed.
    fixed: Option<Size>,
}

impl<W: Write> Quiet<W> {
    /// Writes frames to `out`, for the terminal that the process has.
    pub fn new(out: W) -> Self {
        Self {
            frame: Vec::with_capacity(64 << 10),
            out,
            cursor: None,
            shown: None,
            erases: erases_in_colour(),
            is_clear: false,
            screen: None,
            fixed: None,
        }
    }

    /// The same for a screen of a given size, without a terminal.
    #[cfg(test)]
    pub fn fixed(out: W, size: Size) -> Self {
        Self { fixed: Some(size), erases: true, ..Self::new(out) }
    }

    fn begin(&mut self) {
        if self.frame.is_empty() {
            self.frame.extend_from_slice(BEGIN);
        }
    }

    fn inner(&mut self) -> CrosstermBackend<&mut Vec<u8>> {
        self.begin();
        CrosstermBackend::new(&mut self.frame)
    }
}

/// Puts cells where they stand. What a wide character covers is blank, as it is in what is drawn.
fn set(screen: &mut Buffer, cells: &[(u16, u16, &Cell)]) {
    for (x, y, cell) in cells {
        let covers = u16::try_from(cell.symbol().width()).unwrap_or(1).max(1);
        for covered in 1..covers {
            if let Some(covered) = screen.cell_mut((x.saturating_add(covered), *y)) {
                covered.reset();
            }
        }
        if let Some(place) = screen.cell_mut((*x, *y)) {
            place.clone_from(cell);
        }
    }
}

impl<W: Write> Backend for Quiet<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let content: Vec<(u16, u16, &Cell)> = content.collect();
        if content.is_empty() {
            return Ok(());
        }
        self.cursor = None;
        self.begin();
        let is_clear = std::mem::take(&mut self.is_clear);
        let screen = Screen { erases: self.erases, is_clear };
        let Some(mut shown) = self.screen.take() else {
            encode(content.into_iter(), screen, &mut self.frame);
            return Ok(());
        };
        let moved = (!is_clear && content.len() >= MOVED_LEAST).then(|| {
            let mut wanted = shown.clone();
            set(&mut wanted, &content);
            (scroll::between(&shown, &wanted), wanted)
        });
        match moved {
            Some((Some(scroll), wanted)) => {
                scroll.encode(&mut self.frame);
                scroll.apply(&mut shown);
                encode(shown.diff(&wanted).into_iter(), screen, &mut self.frame);
                shown = wanted;
            }
            Some((None, wanted)) => {
                encode(content.into_iter(), screen, &mut self.frame);
                shown = wanted;
            }
            None => {
                set(&mut shown, &content);
                encode(content.into_iter(), screen, &mut self.frame);
            }
        }
        self.screen = Some(shown);
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if self.shown.replace(false) == Some(false) {
            return Ok(());
        }
        self.inner().hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        if self.shown.replace(true) == Some(true) {
            return Ok(());
        }
        self.inner().show_cursor()
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        // Never asked of the terminal: its answer would race with the keys.
        Ok(self.cursor.unwrap_or_default())
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let position = position.into();
        if self.cursor.replace(position) == Some(position) {
            return Ok(());
        }
        self.inner().set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        if matches!(clear_type, ClearType::All) {
            // Nobody would see what was to be written before.
            self.frame.clear();
        }
        self.cursor = None;
        self.shown = None;
        self.is_clear = matches!(clear_type, ClearType::All);
        let size = self.size()?;
        self.screen = self.is_clear.then(|| Buffer::empty(Rect::from((Position::ORIGIN, size))));
        self.inner().clear_region(clear_type)
    }

    fn size(&self) -> io::Result<Size> {
        match self.fixed {
            Some(size) => Ok(size),
            None => crossterm::terminal::size().map(drawn),
        }
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::default() })
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let bare = self.frame.get(BEGIN.len()..).unwrap_or_default();
        let written = if bare.len() <= SMALL {
            self.out.write_all(bare)
        } else {
            self.frame.extend_from_slice(END);
            self.out.write_all(&self.frame)
        };
        let written = written.and_then(|()| self.out.flush());
        self.frame.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::style::{Color, Style};
    use ratatui::widgets::{Paragraph, Wrap};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Counted(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_frame_is_one_write_and_an_unchanged_frame_is_none() {
        let out = Counted::default();
        let mut terminal = Terminal::new(Quiet::fixed(out.clone(), Size::new(40, 4))).unwrap();
        for _ in 0..3 {
            terminal.draw(|frame| frame.render_widget("hello", frame.area())).unwrap();
        }
        terminal.draw(|frame| frame.render_widget("held", frame.area())).unwrap();
        for _ in 0..3 {
            let line = "whole ".repeat(40);
            terminal
                .draw(|frame| {
                    frame.render_widget(Paragraph::new(line.as_str()).wrap(Wrap::default()), frame.area())
                })
                .unwrap();
        }
        let writes = out.0.lock().unwrap().clone();
        let [small, other, large] = writes.as_slice() else { panic!("{} writes", writes.len()) };
        let held = |frame: &[u8]| frame.starts_with(BEGIN) && frame.ends_with(END);
        assert_eq!([small, other, large].map(|frame| held(frame)), [false, false, true]);
        assert!(small.len() <= SMALL && large.len() > SMALL);
    }

    #[test]
    fn a_cursor_that_stays_costs_nothing() {
        let out = Counted::default();
        let mut terminal = Terminal::new(Quiet::fixed(out.clone(), Size::new(40, 4))).unwrap();
        for _ in 0..3 {
            terminal.draw(|frame| frame.set_cursor_position((3, 1))).unwrap();
        }
        assert_eq!(out.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn lines_that_move_are_moved_by_the_terminal_and_all_stands_where_it_should() {
        let (width, height) = (80u16, 12u16);
        let out = Counted::default();
        let mut terminal = Terminal::new(Quiet::fixed(out.clone(), Size::new(width, height))).unwrap();
        terminal.clear().unwrap();
        let lines = |n| std::num::NonZeroU16::new(n).unwrap();
        let mut shown = vt100::Parser::new(lines(height), lines(width), 0);
        let (mut told, mut moved, mut seed, mut top) = (0, 0, 7u64, 50i64);
        for round in 0..400 {
            let mut next = |n: u64| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 33) % n
            };
            top = (top + [1, -1, 3, -3, 0, 2][usize::try_from(next(6)).unwrap()]).max(0);
            let marked = i64::try_from(next(8)).unwrap();
            let word =
                |n: i64| ["alpha", "beta", "gamma", "delta"][usize::try_from(n % 4).unwrap()].repeat(7);
            let drawn = terminal
                .draw(|frame| {
                    for line in 0..8i64 {
                        let number = (top + line) * 104_729 % 99_991;
                        let text = format!("│{:>40} 日本 {number:>30}│", word(top + line));
                        let style = if line == marked { Style::new().bg(Color::Blue) } else { Style::new() };
                        let y = u16::try_from(line).unwrap() + 2;
                        frame.buffer_mut().set_string(0, y, text, style);
                    }
                    frame.buffer_mut().set_string(0, 0, format!("round {round}"), Style::new());
                    frame.buffer_mut().set_string(0, 11, "the end", Style::new());
                })
                .unwrap()
                .buffer
                .clone();
            let writes = out.0.lock().unwrap().clone();
            for frame in writes.iter().skip(told) {
                moved += usize::from(frame.windows(3).any(|part| part == b"\x1b[r"));
                shown.process(frame);
            }
            told = writes.len();
            for (at, cell) in drawn.content.iter().enumerate() {
                let (x, y) = (u16::try_from(at).unwrap() % width, u16::try_from(at).unwrap() / width);
                let theirs = shown.screen().cell(y, x).unwrap();
                if theirs.is_wide_continuation() {
                    continue;
                }
                let text = if theirs.contents().is_empty() { " " } else { theirs.contents() };
                assert_eq!(cell.symbol(), text, "round {round}: {x},{y}");
                assert_eq!(
                    cell.bg == Color::Blue,
                    theirs.bgcolor() != vt100::Color::Default,
                    "round {round}: {x},{y}"
                );
            }
        }
        assert!(moved > 100, "{moved} of 400");
    }
}
