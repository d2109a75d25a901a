//! What waits for the operator's yes or no.

use jiff::Timestamp;
use zerostate::api::{InboxItem, short_id};

use super::{Column, See, column, see_did};
use crate::console::action::Action;
use crate::console::model::Model;
use crate::console::rows::Key;
use crate::console::theme::Role;
use crate::console::widgets::columns::Cell;
use crate::console::widgets::text::age;

pub const COLUMNS: &[Column] =
    &[column("time"), column("kind"), column("from"), column("text"), column("about")];
pub const FIELDS: &[&str] = &["kind", "from", "text", "about"];

pub fn fields(item: &InboxItem, model: &Model, see: See) -> bool {
    see("kind", &item.kind)
        || see_did("from", &item.from, model, see)
        || see("text", item.text.as_str())
        || see("about", &item.subject)
}

pub fn key<'a>(item: &'a InboxItem, model: &Model, column: usize) -> Key<'a> {
    match column {
        1 => Key::text(item.kind.as_str()),
        2 => Key::text(model.name_of(&item.from)),
        3 => Key::text(item.text.as_str()),
        4 => Key::text(item.subject.as_str()),
        _ => Key::latest(item.at),
    }
}

pub fn cells(item: &InboxItem, model: &Model, now: Timestamp) -> Vec<Cell> {
    let style = |role| model.theme.style(role);
    vec![
        Cell::fixed("?", style(Role::Warn), 1),
        Cell::fixed(item.kind.clone(), style(Role::Warn), 12),
        Cell::fixed(model.name_of(&item.from), style(Role::Text), 12).rank(1),
        Cell::fill(item.text.as_str(), style(Role::Text), 16),
        Cell::fixed(short_id(&item.subject), style(Role::Dim), 11).rank(2),
        Cell::fixed(age(item.at, now), style(Role::Dim), 4).right(),
    ]
}

pub fn empty(model: &Model) -> (String, String) {
    let policy =
        model.snapshot.as_ref().map(|snapshot| snapshot.node.attest_policy.clone()).unwrap_or_default();
    let keys = [Action::Accept, Action::Refuse].map(|action| model.key_of(&["inbox"], action));
    (
        "Nothing waits for you.".to_owned(),
        format!(
            "What this node is asked to do and may not do unasked stands here; {} accepts it, {} refuses. Attesting: {policy}.",
            keys.first().map_or("", String::as_str),
            keys.last().map_or("", String::as_str),
        ),
    )
}
