//! What witnesses found when they ran a receipt's task again.

use jiff::Timestamp;
use zerostate::api::AttestationRecord;
use zerostate::document::Verdict;

use super::{Column, See, column, given, see_did};
use crate::console::action::Action;
use crate::console::model::Model;
use crate::console::rows::Key;
use crate::console::theme::Role;
use crate::console::widgets::columns::Cell;
use crate::console::widgets::text::{age, clock};

pub const COLUMNS: &[Column] =
    &[given("newest"), column("verdict"), column("name"), column("witness"), column("found")];
pub const FIELDS: &[&str] = &["name", "verdict", "witness", "found", "id", "receipt"];

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

pub fn fields(attestation: &AttestationRecord, model: &Model, see: See) -> bool {
    see("name", attestation.name.as_str())
        || see("verdict", attestation.verdict.as_str())
        || see_did("witness", &attestation.witness, model, see)
        || attestation.differences.iter().any(|what| see("found", what.as_str()))
        || attestation.reason.iter().chain(&attestation.discounted).any(|why| see("found", why.as_str()))
        || see("id", &attestation.attestation_id)
        || see("receipt", &attestation.receipt_id)
}

pub fn key<'a>(attestation: &'a AttestationRecord, model: &Model, column: usize) -> Key<'a> {
    match column {
        1 => Key::Number(match attestation.verdict {
            Verdict::Disagree => 0,
            Verdict::Unverifiable => 1,
            Verdict::Agree => 2,
        }),
        2 => Key::text(attestation.name.as_str()),
        3 => Key::text(model.name_of(&attestation.witness)),
        4 => Key::text(found(attestation)),
        _ => Key::latest(attestation.at),
    }
}

pub fn cells(attestation: &AttestationRecord, model: &Model, now: Timestamp) -> Vec<Cell> {
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
        Cell::fixed(age(attestation.at, now), style(Role::Dim), 4).right().rank(2),
        Cell::fixed(clock(attestation.at, model.now, &model.zone), style(Role::Dim), 8).right().rank(4),
    ]
}

pub fn empty(model: &Model) -> (String, String) {
    let key = model.key_of(&["receipts"], Action::Attest);
    (
        "No attestations yet.".to_owned(),
        format!("{key} on a receipt runs its task again, and signs what is found if you say so."),
    )
}
