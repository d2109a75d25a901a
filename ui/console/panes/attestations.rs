//! What witnesses found when they ran a receipt's task again.

use std::cmp::Ordering;

use zerostate::api::AttestationRecord;
use zerostate::document::Verdict;

use crate::console::action::Action;
use crate::console::model::Model;
use crate::console::theme::Role;
use crate::console::widgets::columns::Cell;
use crate::console::widgets::text::{age, clock};

pub const ORDERS: &[&str] = &["newest", "verdict", "name"];

/// The glyph and the colour of a verdict.
pub fn verdict_look(verdict: Verdict) -> (&'static str, Role) {
    match verdict {
        Verdict::Agree => ("✓", Role::Ok),
        Verdict::Disagree => ("✗", Role::Bad),
        Verdict::Unverifiable => ("?", Role::Neutral),
    }
}

fn found(attestation: &AttestationRecord) -> String {
    if let Some(why) = &attestation.discounted {
        return format!("does not count: {why}");
    }
    let differences: Vec<_> = attestation.differences.iter().map(|what| format!("{what} ≠")).collect();
    match &attestation.reason {
        Some(reason) if differences.is_empty() => reason.to_string(),
        _ => differences.join(" "),
    }
}

pub fn haystack(attestation: &AttestationRecord, model: &Model) -> String {
    let witness = model.name_of(&attestation.witness);
    let (name, verdict) = (&attestation.name, attestation.verdict);
    format!("{verdict} {name} {witness} {} {}", found(attestation), attestation.receipt_id)
}

pub fn order(a: &AttestationRecord, b: &AttestationRecord, by: usize) -> Ordering {
    let rank = |verdict| match verdict {
        Verdict::Disagree => 0,
        Verdict::Unverifiable => 1,
        Verdict::Agree => 2,
    };
    match by {
        1 => rank(a.verdict).cmp(&rank(b.verdict)),
        2 => a.name.cmp(&b.name),
        _ => Ordering::Equal,
    }
}

pub fn cells(attestation: &AttestationRecord, model: &Model) -> Vec<Cell> {
    let style = |role| model.theme.style(role);
    let (glyph, role) = match attestation.discounted {
        Some(_) => ("·", Role::Dim),
        None => verdict_look(attestation.verdict),
    };
    vec![
        Cell::fixed(glyph, style(role), 1),
        Cell::fixed(attestation.verdict.as_str(), style(role), 12),
        Cell::fill(attestation.name.as_str(), style(Role::Text), 8),
        Cell::fixed(model.name_of(&attestation.witness), style(Role::Dim), 9).rank(1),
        Cell::fill(found(attestation), style(role), 8).rank(3),
        Cell::fixed(age(attestation.at, model.now), style(Role::Dim), 4).right().rank(2),
        Cell::fixed(clock(attestation.at, model.now, &model.zone), style(Role::Dim), 8).right().rank(4),
    ]
}

pub fn empty(model: &Model) -> (String, String) {
    let key = model.keymap.keys_of(&["receipts"], Action::Attest).unwrap_or_default();
    (
        "No attestations yet.".to_owned(),
        format!("{key} on a receipt runs its task again, and signs what is found if you say so."),
    )
}
