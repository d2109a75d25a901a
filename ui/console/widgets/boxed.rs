//! The frame around a pane or a layer: rounded, a title on the left, a word on the right, and what is selected inside of it.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear};

use super::text::{cut, width};

/// How a frame looks.
pub struct Boxed {
    pub title: Vec<(String, Style)>,
    /// Flush right in the upper border.
    pub right: Vec<(String, Style)>,
    /// In the lower border.
    pub foot: Vec<Span<'static>>,
    pub border: Style,
}

impl Boxed {
    /// Draws the frame over whatever was there, and says what is left inside.
    pub fn draw(self, frame: &mut Frame, area: Rect) -> Rect {
        let room = usize::from(area.width).saturating_sub(4);
        // What stands first in the corner is needed least.
        let mut right = self.right;
        let right_width =
            |right: &[(String, Style)]| right.iter().map(|(text, _)| width(text)).sum::<usize>();
        while !right.is_empty() && right_width(&right) + 12 > room {
            right.remove(0);
        }
        let right_width = right_width(&right);
        let right_fits = right_width > 0;
        let mut title_room =
            room.saturating_sub(if right_fits { right_width + 3 } else { 0 }).saturating_sub(1);
        let titled = !self.title.is_empty();
        let mut title = vec![Span::raw(" ")];
        for (text, style) in self.title {
            let text = cut(&text, title_room);
            title_room = title_room.saturating_sub(width(&text));
            title.push(Span::styled(text, style));
        }
        title.push(Span::raw(" "));
        let mut block = Block::bordered().border_type(BorderType::Rounded).border_style(self.border);
        if titled {
            block = block.title_top(Line::from(title));
        }
        if right_fits {
            let spans = right.into_iter().map(|(text, style)| Span::styled(text, style));
            let line: Vec<_> = [Span::raw(" ")].into_iter().chain(spans).chain([Span::raw(" ")]).collect();
            block = block.title_top(Line::from(line).right_aligned());
        }
        if !self.foot.is_empty() {
            block = block.title_bottom(Line::from(self.foot));
        }
        let inner = block.inner(area);
        frame.render_widget(Clear, area);
        frame.render_widget(block, area);
        Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner }
    }
}

/// Draws lines from the top of `area`, as many as fit.
pub fn lines(frame: &mut Frame, area: Rect, lines: Vec<Line<'static>>) {
    let buffer = frame.buffer_mut();
    let area = area.intersection(buffer.area);
    for (line, y) in lines.iter().zip(area.top()..area.bottom()) {
        buffer.set_line(area.x, y, line, area.width);
    }
}
