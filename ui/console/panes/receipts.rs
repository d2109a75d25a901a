//! What ran, signed by who ran it.

use std::cmp::Ordering;

use zerostate::api::ReceiptRecord;
use zerostate::document::Status;

use crate::console::model::Model;
use crate::console::theme::Role;
use crate::console::widgets::columns::Cell;
use crate::console::widgets::text::clock;

pub const ORDERS: &[&str] = &["newest", "cost", "status", "name"];

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

pub fn haystack(receipt: &ReceiptRecord, model: &Model) -> String {
    let executor = model.name_of(&receipt.executor);
    let words = attested(receipt).0;
    format!(
        "{} {} {executor} {words} {} {}",
        receipt.name, receipt.status, receipt.receipt_id, receipt.task_id
    )
}

pub fn order(a: &ReceiptRecord, b: &ReceiptRecord, by: usize) -> Ordering {
    match by {
        1 => b.total_micro.cmp(&a.total_micro),
        2 => (a.status == Status::Ok)
            .cmp(&(b.status == Status::Ok))
            .then_with(|| a.status.as_str().cmp(b.status.as_str())),
        3 => a.name.cmp(&b.name),
        _ => Ordering::Equal,
    }
}

pub fn cells(receipt: &ReceiptRecord, model: &Model) -> Vec<Cell> {
    let style = |role| model.theme.style(role);
    let (glyph, role) = status_look(receipt.status);
    let (words, words_role) = attested(receipt);
    vec![
        Cell::fixed(glyph, style(role), 1),
        Cell::fill(receipt.name.as_str(), style(Role::Text), 8),
        Cell::fixed(receipt.status.as_str(), style(role), 14),
        Cell::fixed(receipt.total_micro.to_string(), style(Role::Text), 9).right().rank(1),
        Cell::fixed(model.name_of(&receipt.executor), style(Role::Dim), 9).rank(2),
        Cell::fixed(words, style(words_role), 13),
        Cell::fixed(clock(receipt.finished_at, model.now, &model.zone), style(Role::Dim), 8).right().rank(3),
    ]
}

pub fn empty(_: &Model) -> (String, String) {
    let what = "No receipts yet.".to_owned();
    (
        what,
        "A receipt is what an executor signs after a run: what ran, on what, with what result, at what cost."
            .to_owned(),
    )
}
