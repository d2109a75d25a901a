//! A pane on the screen: its frame, the rows that can be seen, or what would fill it.

use std::collections::BTreeSet;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Entry, attestations, columns, fields, guilds, inbox, peers, receipts, tasks, total};
use crate::console::action::Action;
use crate::console::filter::unknown_field;
use crate::console::layout::is_wide;
use crate::console::model::{Model, Pane};
use crate::console::rows::Listing;
use crate::console::theme::Role;
use crate::console::widgets::boxed::{Boxed, lines};
use crate::console::widgets::columns::{row, selected as selected_row};
use crate::console::widgets::text::{grouped, wrap};

/// Draws a pane.
pub fn draw(model: &Model, pane: Pane, frame: &mut Frame, area: Rect) {
    let focused = model.focus == pane;
    let rows = Listing::of(model, pane);
    let (title, border) =
        if focused { (Role::TitleFocused, Role::BorderFocused) } else { (Role::Title, Role::Border) };
    let inner = Boxed {
        title: titles(model, pane, model.theme.style(title), focused),
        right: corner(model, pane, rows.len()),
        foot: Vec::new(),
        border: model.theme.style(border),
    }
    .draw(frame, area);
    if rows.len() == 0 {
        return lines(frame, inner, empty(model, pane, inner));
    }
    let selected = rows.selected();
    let top = model.list(pane).top.min(rows.len().saturating_sub(1));
    let room = usize::from(inner.width);
    let marked = &model.list(pane).marked;
    let visible: Vec<(usize, Entry)> = rows.from(top).take(usize::from(inner.height)).collect();
    let turns = turns(model, pane, &visible);
    let shown = visible.into_iter().zip(turns).map(|((i, entry), turn)| {
        let mut line = row(entry.cells(model, model.now_at(turn)), room);
        if !marked.is_empty()
            && marked.contains(&entry.id())
            && let Some(first) = line.spans.iter_mut().find(|span| !span.content.is_empty())
        {
            let width = first.width();
            *first = Span::styled(format!("{:<width$}", "▪"), model.theme.style(Role::Marked));
        }
        if rows.is_context(i) {
            line.spans.iter_mut().for_each(|span| span.style = model.theme.style(Role::Dim));
        }
        // Elsewhere only what one has chosen oneself is shown as chosen.
        if selected == Some(i) && (focused || model.list(pane).selected.is_some()) {
            let role = if focused { Role::Selected } else { Role::SelectedElsewhere };
            selected_row(&mut line, &model.theme, role);
        }
        line
    });
    lines(frame, inner, shown.collect());
}

/// In which second of a minute each row tells its age anew: when it is another, or soon after, so that no second changes more than one of
/// all those that can be seen.
fn turns(model: &Model, pane: Pane, visible: &[(usize, Entry)]) -> Vec<i64> {
    // Beside each other they have a share of the seconds each.
    let alone = model.zoomed || !is_wide(model.size);
    let share = match pane {
        Pane::Guilds => 0,
        Pane::Tasks => 1,
        Pane::Attestations => 2,
        _ => 3,
    };
    // With the minute itself the clock changes most.
    let mut free: BTreeSet<i64> = (1..60).filter(|second| alone || second % 4 == share).collect();
    let turn = |(_, entry): &(usize, Entry)| {
        let Some(changes) = entry.ages_from() else { return 0 };
        // It is another as soon as a whole second is over.
        let wanted = changes.as_second().saturating_add(1).rem_euclid(60);
        let turn = free.range(wanted..).next().or(free.first()).copied().unwrap_or(wanted);
        free.remove(&turn);
        turn
    };
    visible.iter().map(turn).collect()
}

/// The levels that the log can be cut to, by their severity.
const LEVELS: [&str; 4] = ["", "errors", "warnings", "no details"];

/// The number and name of the pane; at the bottom of a wide screen, of its neighbours too.
fn titles(model: &Model, pane: Pane, style: Style, focused: bool) -> Vec<(String, Style)> {
    let dim = model.theme.style(Role::Dim);
    let number = model.theme.style(if focused { Role::Accent } else { Role::Dim });
    // At the bottom of a wide screen they stand beside each other, always in the same order.
    let shared = pane.at_bottom() && !model.zoomed && is_wide(model.size);
    let others = [Pane::Events, Pane::Inbox, Pane::Log].into_iter().filter(|other| shared && *other != pane);
    let other = |other: Pane| format!("{} {}", other.number(), other.title());
    let mut parts = Vec::new();
    parts.extend(others.clone().filter(|one| *one < pane).map(|one| (format!("{}  ", other(one)), dim)));
    parts.extend([(format!("{} ", pane.number()), number), (pane.title().to_owned(), style)]);
    let list = model.list(pane);
    let being_typed = focused && model.filtering.is_some();
    if !list.filter.is_empty() && !being_typed {
        parts.push((format!("  /{}", list.filter), model.theme.style(Role::Warn)));
    }
    if let Some(column) = columns(pane).get(list.sort).filter(|_| list.sort > 0 || list.reversed) {
        parts.push((format!("  by {} {}", column.name, if list.reversed { "↑" } else { "↓" }), dim));
    }
    if let (Pane::Log, Some(level)) = (pane, LEVELS.get(model.log_level).filter(|_| model.log_level > 0)) {
        parts.push((format!("  {level}"), model.theme.style(Role::Warn)));
    }
    parts.extend(others.filter(|one| *one > pane).map(|one| (format!("  {}", other(one)), dim)));
    parts
}

fn corner(model: &Model, pane: Pane, shown: usize) -> Vec<(String, Style)> {
    let dim = model.theme.style(Role::Dim);
    let Some(snapshot) = model.snapshot.as_deref() else { return Vec::new() };
    // The console's own lines stand in the log as well.
    let own = if pane == Pane::Log { model.notices.len() } else { 0 };
    let total = total(snapshot, pane).saturating_add(own.try_into().unwrap_or(u64::MAX));
    let mut parts = Vec::new();
    if pane == Pane::Tasks && snapshot.node.running > 0 {
        parts.push((format!("{} running · ", snapshot.node.running), model.theme.style(Role::Active)));
    }
    let list = model.list(pane);
    if !list.marked.is_empty() {
        parts.push((format!("{} marked · ", list.marked.len()), model.theme.style(Role::Marked)));
    }
    if !list.filter.is_empty() {
        parts.extend(
            model
                .older
                .searched(snapshot, pane)
                .map(|percent| (format!("searching {percent} % · "), model.theme.style(Role::Active))),
        );
    }
    if !list.filter.is_empty() || (pane == Pane::Log && model.log_level > 0) {
        let more = if Listing::of(model, pane).is_looking() { "…" } else { "" };
        parts.push((format!("{}{more} of ", grouped(shown.try_into().unwrap_or(u64::MAX))), dim));
    }
    parts.push((grouped(total), dim));
    if model.follows(pane) {
        let (word, role) =
            if list.selected.is_none() { (" · following", Role::Ok) } else { (" · held", Role::Warn) };
        parts.push((word.to_owned(), model.theme.style(role)));
    }
    parts
}

fn empty(model: &Model, pane: Pane, area: Rect) -> Vec<Line<'static>> {
    let dim = model.theme.style(Role::Dim);
    let Some(snapshot) = model.snapshot.as_deref() else {
        return vec![Line::styled("starting…", dim)];
    };
    if Listing::of(model, pane).is_looking() {
        return vec![Line::styled("nothing found yet; looking…", dim)];
    }
    if !model.list(pane).filter.is_empty() && model.older.searched(snapshot, pane).is_some() {
        return vec![Line::styled("nothing found yet; looking through what is older…", dim)];
    }
    if !model.list(pane).filter.is_empty() && total(snapshot, pane) > 0 {
        let mut said = vec![Line::styled("nothing matches the filter", dim)];
        if let Some(name) = unknown_field(&model.list(pane).filter, fields(pane)) {
            let there = fields(pane).join(", ");
            let text = format!("no field here is called {name}; there are {there}");
            let rows = wrap(&text, usize::from(area.width));
            said.extend(rows.into_iter().map(|row| Line::styled(row, model.theme.style(Role::Warn))));
        }
        let [change, clear] =
            [Action::Filter, Action::Back].map(|action| model.key_of(&["list", "global"], action));
        said.push(Line::styled(format!("{change} changes it, {clear} clears it"), dim));
        return said;
    }
    if pane == Pane::Log && model.log_level > 0 {
        let key = model.key_of(&["log"], Action::LogLevel);
        return vec![
            Line::styled("nothing so severe", dim),
            Line::styled(format!("{key} shows more of it"), dim),
        ];
    }
    let (what, how) = match pane {
        Pane::Peers => peers::empty(model),
        Pane::Guilds => guilds::empty(model),
        Pane::Tasks => tasks::empty(model),
        Pane::Receipts => receipts::empty(model),
        Pane::Attestations => attestations::empty(model),
        Pane::Events => {
            let [submit, connect] =
                [Action::Submit, Action::Connect].map(|action| model.key_of(&["events", "global"], action));
            let what = "Peers that come and go, and each step of tasks, guilds and receipts stand here";
            (
                "Nothing has happened yet.".to_owned(),
                format!("{what}. {submit} submits a task, {connect} connects to a peer."),
            )
        }
        Pane::Inbox => inbox::empty(model),
        Pane::Log => {
            let key = model.key_of(&["log", "global"], Action::PaneEvents);
            let what = "What the node says of its own work";
            (
                "The log is empty.".to_owned(),
                format!("{what}; the journal of what happened is in Events: {key} goes there."),
            )
        }
    };
    let room = usize::from(area.width);
    let text = model.theme.style(Role::Text);
    let what = wrap(&what, room).into_iter().map(|line| Line::styled(line, text));
    let how = wrap(&how, room).into_iter().map(|line| Line::styled(line, dim));
    what.chain(how).collect()
}
