//! Marks, and what is done to all that are marked.

use super::actions::with_selected;
use super::moving::{self, Move};
use crate::console::model::{Model, Tone};
use crate::console::msg::Effect;
use crate::console::panes::Entry;
use crate::console::rows::Listing;

/// Marks are for what one can oversee; they are also what a question lists.
const MARKED_MAX: usize = 1_000;
/// So many are asked of the node at once: a question can show them, and the answers can be waited for.
pub const AT_ONCE: usize = 24;

/// Marks the selected row, or takes its mark away, and goes on to the next.
pub fn mark(model: &mut Model) -> Vec<Effect> {
    let Some(id) = with_selected(model, |entry| Some(entry.id())) else { return Vec::new() };
    let focus = model.focus;
    let marked = &mut model.list_mut(focus).marked;
    if !marked.remove(&id) {
        if marked.len() >= MARKED_MAX {
            model.toast(Tone::Bad, format!("{MARKED_MAX} rows are marked, which is the most"));
            return Vec::new();
        }
        marked.insert(id);
    }
    moving::by(model, Move::Lines(1))
}

/// Marks every row that is shown; when all are, none.
pub fn mark_all(model: &mut Model) -> Vec<Effect> {
    let focus = model.focus;
    let rows = Listing::of(model, focus);
    let count = rows.len();
    let ids: Vec<String> = rows.from(0).take(MARKED_MAX).map(|(_, row)| row.id()).collect();
    let marked = &mut model.list_mut(focus).marked;
    if ids.iter().all(|id| marked.contains(id)) {
        marked.clear();
        return Vec::new();
    }
    *marked = ids.into_iter().collect();
    if count > MARKED_MAX {
        model.toast(
            Tone::Info,
            format!("the first {MARKED_MAX} of {count} are marked; a filter makes them fewer"),
        );
    }
    Vec::new()
}

/// The rows that are marked in the focused pane, in their order; the selected one where none is.
pub fn chosen(model: &Model) -> Vec<Entry<'_>> {
    let rows = Listing::of(model, model.focus);
    let marked = &model.list(model.focus).marked;
    if marked.is_empty() {
        return rows.selected().and_then(|at| rows.get(at)).into_iter().collect();
    }
    rows.from(0).map(|(_, row)| row).filter(|row| marked.contains(&row.id())).collect()
}

/// Whether so many can be done at once; it is said when not.
pub fn fits(model: &mut Model, count: usize) -> bool {
    if count > AT_ONCE {
        model.toast(Tone::Bad, format!("{count} are marked; at most {AT_ONCE} at once"));
    }
    count <= AT_ONCE
}
