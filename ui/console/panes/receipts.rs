//! What ran, signed by who ran it.

use zerostate::api::ReceiptRecord;
use zerostate::document::Status;

use super::{Column, See, column, given, see_did};
use crate::console::action::Action;
use crate::console::model::Model;
use crate::console::rows::Key;
use crate::console::theme::Role;
use crate::console::widgets::columns::Cell;
use crate::console::widgets::text::clock;

pub const COLUMNS: &[Column] = &[
    given("newest"),
    column("name"),
    column("status"),
    column("cost"),
    column("executor"),
    column("votes"),
    column("time"),
    column("fuel"),
    column("memory"),
];
pub const FIELDS: &[&str] = &["name", "status", "votes", "executor", "id", "task"];

/// The glyph and the colour of a status.
pub fn status_look(status: Status) -> (&'static str, Role) {
    match status {
        Status::Ok => ("✓", Role::Ok),
        Status::Timeout | Status::RunnerCrashed | Status::StackOverflow => ("✗", Role::Warn),
        Status::Trap | Status::OutOfFuel | Status::OutOfMemory | Status::InvalidModule => ("✗", Role::Bad),
    }
}

/// What the witnesses say of it, against the quorum: `attested 2/3`, `disputed 1`, `waits 0/2`.
pub fn attested(receipt: &ReceiptRecord) -> (String, Role) {
    let ReceiptRecord { agree, disagree, unverifiable, quorum, .. } = *receipt;
    if disagree > 0 {
        (format!("disputed by {disagree}"), Role::Bad)
    } else if quorum > 0 && agree >= quorum {
        (format!("attested {agree}/{quorum}"), Role::Ok)
    } else if quorum > 0 {
        (format!("waits {agree}/{quorum}"), Role::Warn)
    } else if agree > 0 {
        (format!("attested by {agree}"), Role::Ok)
    } else if unverifiable > 0 {
        (format!("unverified {unverifiable}"), Role::Neutral)
    } else {
        ("unattested".to_owned(), Role::Dim)
    }
}

pub fn fields(receipt: &ReceiptRecord, model: &Model, see: See) -> bool {
    see("name", receipt.name.as_str())
        || see("status", receipt.status.as_str())
        || see("votes", standing(receipt))
        || see_did("executor", &receipt.executor, model, see)
        || see("id", &receipt.receipt_id)
        || see("task", &receipt.task_id)
}

/// What the witnesses say of it, in a word.
fn standing(receipt: &ReceiptRecord) -> &'static str {
    let ReceiptRecord { agree, disagree, unverifiable, quorum, .. } = *receipt;
    match (disagree, quorum) {
        (1.., _) => "disputed",
        (0, 1..) if agree >= quorum => "attested",
        (0, 1..) => "waits",
        (0, 0) if agree > 0 => "attested",
        (0, 0) if unverifiable > 0 => "unverified",
        (0, 0) => "unattested",
    }
}

pub fn key<'a>(receipt: &'a ReceiptRecord, model: &Model, column: usize) -> Key<'a> {
    match column {
        1 => Key::text(receipt.name.as_str()),
        2 => Key::text(format!("{}{}", u8::from(receipt.status == Status::Ok), receipt.status)),
        3 => Key::most(receipt.total_micro.micro()),
        4 => Key::text(model.name_of(&receipt.executor)),
        5 => Key::text(standing(receipt)),
        6 => Key::most(receipt.duration_ns),
        7 => Key::most(receipt.fuel_used),
        8 => Key::most(receipt.peak_memory_bytes),
        _ => Key::latest(receipt.finished_at),
    }
}

pub fn cells(receipt: &ReceiptRecord, model: &Model) -> Vec<Cell> {
    let style = |role| model.theme.style(role);
    let (glyph, role) = status_look(receipt.status);
    let (words, words_role) = attested(receipt);
    // A journal does not hold it.
    let cost = model.settings.replay.map_or_else(|| receipt.total_micro.to_string(), |_| "–".to_owned());
    vec![
        Cell::fixed(glyph, style(role), 1),
        Cell::fill(receipt.name.as_str(), style(Role::Text), 8),
        Cell::fixed(receipt.status.as_str(), style(role), 14),
        Cell::fixed(cost, style(Role::Text), 9).right().rank(1),
        Cell::fixed(model.name_of(&receipt.executor), style(Role::Dim), 9).rank(2),
        Cell::fixed(words, style(words_role), 13),
        Cell::fixed(clock(receipt.finished_at, model.now, &model.zone), style(Role::Dim), 8).right().rank(3),
    ]
}

pub fn empty(model: &Model) -> (String, String) {
    let key = model.key_of(&["receipts", "global"], Action::Submit);
    let what = "What ran, on what, with what result, at what cost: an executor signs that after a run.";
    ("No receipts yet.".to_owned(), format!("{what} {key} submits a task."))
}
