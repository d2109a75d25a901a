//! The mouse: a click goes where it points and a second one opens, the wheel scrolls what it is over.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};
use ratatui::text::Span;

use super::moving::{self, Move};
use super::{actions, layered};
use crate::console::action::Action;
use crate::console::layer_view::content;
use crate::console::layers::Layer;
use crate::console::layout::{areas, layer_area, tab_at};
use crate::console::model::Model;
use crate::console::msg::Effect;
use crate::console::rows::Listing;

/// Lines that the wheel moves at once.
const WHEEL: isize = 3;

/// Does what a click or the wheel asks for.
pub fn act(model: &mut Model, event: &MouseEvent) -> Vec<Effect> {
    let screen = Rect::new(0, 0, model.size.0, model.size.1);
    let Some(areas) = areas(model, screen) else { return Vec::new() };
    let at = Position { x: event.column, y: event.row };
    let wheel = match event.kind {
        MouseEventKind::ScrollUp => Some(-WHEEL),
        MouseEventKind::ScrollDown => Some(WHEEL),
        MouseEventKind::Down(MouseButton::Left) => None,
        _ => return Vec::new(),
    };
    if let Some(layer) = model.layers.last() {
        if let Some(by) = wheel {
            return moving::by(model, Move::Lines(by));
        }
        let inside = layer_area(layer, &areas, 0).width.saturating_sub(4);
        let content = content(model, layer, usize::from(inside));
        let area = layer_area(layer, &areas, content.lines.len());
        if !area.contains(at) {
            // Beside what is open: out of it, as Esc goes; a question stays until it is answered.
            let asks = matches!(layer, Layer::Confirm(_));
            return if asks { Vec::new() } else { actions::act(model, Action::Back, "") };
        }
        if at.y == area.y {
            return Vec::new();
        }
        if at.y + 1 == area.bottom() {
            return answer(model, &content.foot, at.x.saturating_sub(area.x + 1));
        }
        let top = content.top(usize::from(area.height.saturating_sub(2)));
        return layered::click(model, top + usize::from(at.y.saturating_sub(area.y + 1)));
    }
    if let Some(pane) =
        areas.tabs.filter(|tabs| tabs.contains(at)).and_then(|tabs| tab_at(tabs, model.focus, at.x))
    {
        model.filtering = None;
        model.focus_on(pane);
        return Vec::new();
    }
    let Some((pane, area)) = areas.panes.iter().find(|(_, area)| area.contains(at)).copied() else {
        return Vec::new();
    };
    model.filtering = None;
    model.focus_on(pane);
    if let Some(by) = wheel {
        return moving::by(model, Move::Lines(by));
    }
    let line = usize::from(at.y.saturating_sub(area.y + 1));
    let rows = Listing::of(model, pane);
    let place = model.list(pane).top + line;
    let inside = area.height > 2 && at.y > area.y && at.y + 1 < area.bottom();
    let Some(id) = rows.get(place).filter(|_| inside).map(|row| row.id()) else { return Vec::new() };
    if rows.selected() == Some(place) && model.list(pane).selected.is_some() {
        return actions::act(model, Action::Open, "");
    }
    let list = model.list_mut(pane);
    list.selected = Some(id);
    list.index = place;
    Vec::new()
}

/// A click into the lower border of a question, where its answers stand: in front No, behind it Yes.
fn answer(model: &mut Model, answers: &[Span], x: u16) -> Vec<Effect> {
    let mut end = 0;
    let hit = answers.iter().position(|span| {
        end += span.width();
        usize::from(x) < end
    });
    match hit {
        Some(1) => layered::act(model, Action::No),
        Some(2) => layered::act(model, Action::Yes),
        _ => Vec::new(),
    }
}
