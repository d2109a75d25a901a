//! After every message: what is selected stays in sight, what is scrolled stays within its text, and what one scrolled to is fetched.

use ratatui::layout::Rect;
use zerostate::api::{Command, PageRequest};

use crate::console::layer_view::content;
use crate::console::layers::Layer;
use crate::console::layout::{areas, layer_area};
use crate::console::model::{Model, Pane};
use crate::console::msg::Effect;
use crate::console::older::{PAGE, SEARCH_PAGE};
use crate::console::panes::total;
use crate::console::pending::Purpose;
use crate::console::rows::{Listing, refresh};

/// From so near to the end on the next page is fetched.
const NEAR_END: usize = 5;

/// Brings the model in order for the next frame.
pub fn settle(model: &mut Model) -> Vec<Effect> {
    let screen = Rect::new(0, 0, model.size.0, model.size.1);
    model.unfinished = false;
    let Some(areas) = areas(model, screen) else { return Vec::new() };
    let mut unfinished = false;
    for (pane, area) in &areas.panes {
        refresh(model, *pane);
        let rows = Listing::of(model, *pane);
        let (count, height) = (rows.len(), usize::from(area.height).saturating_sub(2));
        unfinished |= rows.is_unfinished();
        let (selected, looking) = (rows.selected(), rows.is_looking());
        if looking && selected.is_none() {
            let list = model.list_mut(*pane);
            list.top = list.top.min(count.saturating_sub(height));
            continue;
        }
        let index = selected.unwrap_or(0);
        let gone = match &model.list(*pane).selected {
            Some(id) => !rows.get(index).is_some_and(|row| row.has_id(id)),
            None => false,
        };
        let now_selected = if gone { rows.get(index).map(|row| row.id()) } else { None };
        let list = model.list_mut(*pane);
        if gone {
            list.selected = now_selected;
        }
        list.index = index;
        if index < list.top {
            list.top = index;
        } else if index >= list.top + height {
            list.top = (index + 1).saturating_sub(height);
        }
        list.top = list.top.min(count.saturating_sub(height));
    }
    model.unfinished = unfinished;
    if let Some(layer) = model.layers.last() {
        let inside = layer_area(layer, &areas, 0).width.saturating_sub(4);
        let lines = content(model, layer, usize::from(inside)).lines.len();
        let height = usize::from(layer_area(layer, &areas, lines).height).saturating_sub(2);
        let end = lines.saturating_sub(height);
        if let Some(Layer::Detail(detail)) = model.layers.last_mut()
            && detail.follows
        {
            detail.scroll = end;
        } else if let Some(scroll) = model.layers.last_mut().and_then(Layer::scroll) {
            *scroll = (*scroll).min(end);
        }
    }
    page(model)
}

/// Asks for the next page of the focused list when its end is near.
fn page(model: &mut Model) -> Vec<Effect> {
    let pane = model.focus;
    let Some(snapshot) = model.snapshot.clone() else { return Vec::new() };
    let list = model.list(pane);
    // A filter looks through everything there is, page by page.
    let searching = !list.filter.is_empty();
    if model.gone.is_some() || !model.layers.is_empty() || (list.selected.is_none() && !searching) {
        return Vec::new();
    }
    let rows = Listing::of(model, pane).len();
    let near = if model.follows(pane) { list.index < NEAR_END } else { list.index + NEAR_END >= rows };
    if !near && !searching {
        return Vec::new();
    }
    let rows = model.older.known(&snapshot, pane);
    let all = total(&snapshot, pane);
    let older = &model.older;
    let limit = if searching { SEARCH_PAGE } else { PAGE };
    let request = |before| PageRequest { before, limit };
    let command = match pane {
        Pane::Tasks if older.tasks.wants_more(rows, all) => {
            Command::Tasks { page: request(older.tasks.next) }
        }
        Pane::Receipts if older.receipts.wants_more(rows, all) => {
            Command::Receipts { page: request(older.receipts.next) }
        }
        Pane::Attestations if older.attestations.wants_more(rows, all) => {
            Command::Attestations { page: request(older.attestations.next) }
        }
        Pane::Events if older.events.wants_more(rows, all) => {
            let oldest =
                older.events.items.back().or(snapshot.events.items.last()).map_or(1, |event| event.seq);
            let after = oldest.saturating_sub(u64::from(limit) + 1);
            let limit = u32::try_from(oldest.saturating_sub(after + 1)).unwrap_or(limit);
            Command::Events { after, limit }
        }
        _ => return Vec::new(),
    };
    let effects = super::execute(model, command, Purpose::Page(pane));
    if !effects.is_empty() {
        model.older.asked(pane);
    }
    effects
}
