//! A row of cells that line up with the rows above and below: some columns have a fixed width, the others share what is left, and in
//! a narrow place the least needed ones go first.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::text::{blank, cut, width};
use crate::console::theme::{Role, Theme};

const GAP: usize = 2;
/// After a glyph, which belongs to the word behind it.
const GAP_AFTER_GLYPH: usize = 1;

/// One cell of a row.
#[derive(Debug, Clone)]
pub struct Cell {
    spans: Vec<(String, Style)>,
    size: Size,
    right: bool,
    /// 0 stays always; the highest goes first when there is no room.
    rank: u8,
}

#[derive(Debug, Clone, Copy)]
enum Size {
    Fixed(usize),
    /// At least so many cells, and a share of what is left.
    Fill(usize),
}

impl Cell {
    /// A column of `size` cells.
    pub fn fixed(text: impl Into<String>, style: Style, size: usize) -> Self {
        Self { spans: vec![(text.into(), style)], size: Size::Fixed(size), right: false, rank: 0 }
    }

    /// A column of at least `least` cells that takes its share of what is left.
    pub fn fill(text: impl Into<String>, style: Style, least: usize) -> Self {
        Self { spans: vec![(text.into(), style)], size: Size::Fill(least), right: false, rank: 0 }
    }

    /// More text in the same cell.
    #[must_use]
    pub fn and(mut self, text: impl Into<String>, style: Style) -> Self {
        self.spans.push((text.into(), style));
        self
    }

    /// The same, flush right.
    #[must_use]
    pub fn right(mut self) -> Self {
        self.right = true;
        self
    }

    /// The same, given up in narrow places: the higher the rank, the sooner.
    #[must_use]
    pub fn rank(mut self, rank: u8) -> Self {
        self.rank = rank;
        self
    }

    fn least(&self) -> usize {
        match self.size {
            Size::Fixed(n) | Size::Fill(n) => n,
        }
    }

    /// The gap behind it.
    fn gap(&self) -> usize {
        if self.least() == 1 { GAP_AFTER_GLYPH } else { GAP }
    }

    fn push_onto(self, line: &mut Vec<Span<'static>>, room: usize) {
        let used: usize = self.spans.iter().map(|(text, _)| width(text)).sum();
        let pad = room.saturating_sub(used);
        if self.right && pad > 0 {
            line.push(blank(pad));
        }
        let mut left = room;
        for (text, style) in self.spans {
            let text = if used <= room { text } else { cut(&text, left) };
            left = left.saturating_sub(width(&text));
            line.push(Span::styled(text, style));
        }
        if !self.right && left > 0 {
            line.push(blank(left));
        }
    }
}

/// A row that is selected: what was dim is text in it, for it has to be read on another ground.
pub fn selected(line: &mut Line<'static>, theme: &Theme, role: Role) {
    let (over, dim, text) = (theme.style(role), theme.style(Role::Dim), theme.style(Role::Text));
    for span in &mut line.spans {
        let style = if span.style == dim { text } else { span.style };
        span.style = style.patch(over);
    }
}

/// The cells in one line of exactly `room` terminal cells.
pub fn row(mut cells: Vec<Cell>, room: usize) -> Line<'static> {
    let need = |cells: &[Cell]| {
        let gaps = cells.iter().take(cells.len().saturating_sub(1)).map(Cell::gap);
        cells.iter().map(Cell::least).chain(gaps).sum::<usize>()
    };
    while need(&cells) > room {
        let Some(last) = cells.iter().map(|cell| cell.rank).max().filter(|rank| *rank > 0) else { break };
        cells.retain(|cell| cell.rank < last);
    }
    let fills = cells.iter().filter(|cell| matches!(cell.size, Size::Fill(_))).count();
    let mut spare = room.saturating_sub(need(&cells));
    let share = spare.checked_div(fills).unwrap_or(0);
    let mut fills_left = fills;
    let mut spans = Vec::with_capacity(cells.len() * 3);
    let mut left = room;
    let mut gap = 0;
    for cell in cells {
        spans.push(blank(gap.min(left)));
        left -= gap.min(left);
        gap = cell.gap();
        let mut size = cell.least();
        if matches!(cell.size, Size::Fill(_)) {
            fills_left -= 1;
            let extra = if fills_left == 0 { spare } else { share };
            size += extra;
            spare -= extra;
        }
        let size = size.min(left);
        left -= size;
        cell.push_onto(&mut spans, size);
    }
    if left > 0 {
        spans.push(blank(left));
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cells: Vec<Cell>, room: usize) -> String {
        row(cells, room).spans.iter().map(|span| span.content.as_ref()).collect()
    }

    fn sample() -> Vec<Cell> {
        let s = Style::new();
        vec![
            Cell::fixed("*", s, 1),
            Cell::fill("name", s, 4),
            Cell::fixed("12", s, 4).right().rank(1),
            Cell::fixed("ok", s, 3),
        ]
    }

    #[test]
    fn cells_line_up_and_fill_the_row_exactly() {
        assert_eq!(text(sample(), 22), "* name         12  ok ");
        assert_eq!(text(sample(), 17), "* name    12  ok ");
    }

    #[test]
    fn what_is_least_needed_goes_first_and_nothing_overflows() {
        assert_eq!(text(sample(), 14), "* name     ok ");
        for room in 0..30 {
            assert_eq!(width(&text(sample(), room)), room, "{room}");
        }
    }
}
