//! Frames as bytes: each in one write, bracketed as synchronized output, and nothing at all where nothing has changed.
//!
//! What is drawn is written here and not by crossterm, because over a slow line every byte counts: a cell is told where it stands and how
//! it looks only where that does not follow from the cell before it (`encode.rs`).

use std::io::{self, Write};

use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};

use super::encode::{Screen, encode, erases_in_colour};

/// Begin and end of a synchronized update (DEC private mode 2026): the terminal shows the frame as a whole.
const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";
/// What is no longer than that comes as a whole in any case, and goes without them.
const SMALL: usize = 128;

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

impl<W: Write> Backend for Quiet<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut content = content.peekable();
        if content.peek().is_none() {
            return Ok(());
        }
        self.cursor = None;
        self.begin();
        let is_clear = std::mem::take(&mut self.is_clear);
        encode(content, Screen { erases: self.erases, is_clear }, &mut self.frame);
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
        self.cursor = None;
        self.shown = None;
        self.is_clear = matches!(clear_type, ClearType::All);
        self.inner().clear_region(clear_type)
    }

    fn size(&self) -> io::Result<Size> {
        match self.fixed {
            Some(size) => Ok(size),
            None => crossterm::terminal::size().map(|(width, height)| Size { width, height }),
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
}
