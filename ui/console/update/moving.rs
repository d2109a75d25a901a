//! Moving the selection, or the text of an open layer.

use super::layered;
use crate::console::details::Subject;
use crate::console::layers::Layer;
use crate::console::layout::areas;
use crate::console::model::Model;
use crate::console::msg::Effect;
use crate::console::rows::Listing;
use ratatui::layout::Rect;

/// How far.
#[derive(Debug, Clone, Copy)]
pub enum Move {
    Lines(isize),
    HalfPages(isize),
    First,
    Last,
}

/// Moves what is in front.
pub fn by(model: &mut Model, how: Move) -> Vec<Effect> {
    let screen = Rect::new(0, 0, model.size.0, model.size.1);
    let areas = areas(model, screen).unwrap_or_default();
    let body = usize::from(areas.body.height).saturating_sub(2);
    let half = |page: usize| isize::try_from((page / 2).max(1)).unwrap_or(1);
    if let Some(layer) = model.layers.last_mut() {
        if let Layer::Palette(palette) = layer {
            let last = palette.found().len().saturating_sub(1);
            palette.chosen = moved(palette.chosen.min(last), how, half(body)).min(last);
        } else if let Layer::Files(files) = layer {
            let last = files.shown().len().saturating_sub(1);
            files.chosen = moved(files.chosen, how, half(body)).min(last);
        } else if let Layer::Themes(themes) = layer {
            let last = model.themes.len().saturating_sub(1);
            themes.chosen = moved(themes.chosen, how, half(body)).min(last);
            let chosen = themes.chosen;
            layered::preview(model, chosen);
        } else if let Some(scroll) = layer.scroll() {
            // The end is found where the lines are counted.
            *scroll = moved(*scroll, how, half(body));
            let line = *scroll;
            if let Some(find) = layer.find_mut() {
                find.at = line;
            }
            if let Layer::Detail(detail) = layer {
                let is_guild = matches!(detail.subject, Subject::Guild { .. });
                detail.follows = is_guild && matches!(how, Move::Last);
            }
        }
        return Vec::new();
    }
    let pane = model.focus;
    let height = areas
        .panes
        .iter()
        .find(|(shown, _)| *shown == pane)
        .map_or(10, |(_, area)| usize::from(area.height).saturating_sub(2));
    let rows = Listing::of(model, pane);
    let Some(last) = rows.len().checked_sub(1) else { return Vec::new() };
    let from = rows.selected().unwrap_or(0);
    let to = moved(from, how, half(height)).min(last);
    // The end that grows is stuck to by having no one row selected.
    let sticks = if model.follows(pane) { to == last } else { to == 0 };
    let id = if sticks { None } else { rows.get(to).map(|entry| entry.id()) };
    let list = model.list_mut(pane);
    list.selected = id;
    list.index = to;
    Vec::new()
}

fn moved(from: usize, how: Move, half: isize) -> usize {
    match how {
        Move::Lines(n) => from.saturating_add_signed(n),
        Move::HalfPages(n) => from.saturating_add_signed(n.saturating_mul(half)),
        Move::First => 0,
        Move::Last => usize::MAX,
    }
}
