//! An attestation: the verdict, who gave it, and what was compared, side by side.

use ratatui::style::Style;
use ratatui::text::Line;
use zerostate::api::{AttestationView, ReceiptDetail};
use zerostate::document::{Untrusted, Verdict};

use super::parts::{NAME, heading, rows};
use crate::console::model::Model;
use crate::console::panes::verdict_look;
use crate::console::theme::Role;
use crate::console::widgets::columns::{Cell, row};
use crate::console::widgets::text::{cut, date, value};

fn find<'a>(id: &str, receipt: &'a ReceiptDetail) -> Option<&'a AttestationView> {
    receipt.attestations.iter().find(|one| one.attestation_id == id)
}

pub fn title(
    mut head: Vec<(String, Style)>,
    id: &str,
    receipt: &ReceiptDetail,
    model: &Model,
) -> Vec<(String, Style)> {
    if let Some(one) = find(id, receipt) {
        let (glyph, role) = verdict_look(one.verdict);
        head.push((
            format!(" ─ {} ─ ", cut(receipt.record.name.as_str(), NAME)),
            model.theme.style(Role::Text),
        ));
        head.push((format!("{glyph} {}", one.verdict), model.theme.style(role)));
    }
    head
}

pub fn lines(id: &str, receipt: &ReceiptDetail, model: &Model, width: usize) -> Vec<Line<'static>> {
    let style = |role| model.theme.style(role);
    let Some(one) = find(id, receipt) else {
        return vec![Line::styled(
            "The node does not list this attestation with its receipt.",
            style(Role::Dim),
        )];
    };
    let meaning = match one.verdict {
        Verdict::Agree => "the witness ran the task again and found the same",
        Verdict::Disagree => "the witness ran the task again and found something else",
        Verdict::Unverifiable => "the witness can say nothing about it",
    };
    let mut facts = vec![
        ("verdict", format!("{}: {meaning}", one.verdict)),
        ("witness", format!("{}  {}", model.name_of(&one.witness), one.witness)),
        ("executor", format!("{}  {}", model.name_of(&receipt.receipt.executor), receipt.receipt.executor)),
        ("receipt", receipt.receipt_id.clone()),
        ("signed", date(one.at, &model.zone)),
    ];
    if let Some(reason) = &one.reason {
        facts.push(("reason", reason.to_string()));
    }
    if let Some(why) = &one.discounted {
        facts.push(("counts", format!("no: {why}")));
    }
    let mut lines = rows(&facts, model, width);
    lines.extend(heading("compared", model));
    if one.compared.is_empty() {
        lines.push(Line::styled("nothing: it was not run again", style(Role::Dim)));
        return lines;
    }
    let cells = |glyph: &str, what: &str, claimed: String, measured: String, role: Role| {
        vec![
            Cell::fixed(glyph, style(role), 1),
            Cell::fixed(what, style(role), 12),
            Cell::fill(claimed, style(role), 20),
            Cell::fill(measured, style(role), 20),
        ]
    };
    let head = cells("", "", "the receipt says".to_owned(), "the witness found".to_owned(), Role::Dim);
    lines.push(row(head, width));
    for comparison in &one.compared {
        let (glyph, role) = if comparison.is_equal() { ("=", Role::Text) } else { ("≠", Role::Bad) };
        let what = Untrusted::new(&comparison.what).to_string();
        lines.push(row(
            cells(glyph, &what, value(&comparison.claimed), value(&comparison.measured), role),
            width,
        ));
    }
    lines
}
