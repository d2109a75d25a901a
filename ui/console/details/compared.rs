//! A receipt beside what each of its witnesses found: a row for every value, a column for everybody.

use ratatui::text::Line;
use zerostate::api::{AttestationView, ReceiptDetail};
use zerostate::document::Untrusted;

use super::parts::heading;
use crate::console::model::Model;
use crate::console::panes::verdict_look;
use crate::console::theme::Role;
use crate::console::widgets::columns::{Cell, row};
use crate::console::widgets::text::value;

/// The narrowest column in which a digest can still be told from another.
const COLUMN: usize = 17;
const LABEL: usize = 12;

pub fn lines(detail: &ReceiptDetail, model: &Model, width: usize) -> Vec<Line<'static>> {
    let style = |role| model.theme.style(role);
    let votes = &detail.attestations;
    if votes.is_empty() {
        return vec![Line::styled(
            "Nobody has run it again yet, so there is nothing to compare.",
            style(Role::Dim),
        )];
    }
    // As many as fit beside what the receipt says; the others below.
    let fit = (width.saturating_sub(LABEL) / (COLUMN + 2)).saturating_sub(1).max(1);
    let mut lines = Vec::new();
    for (i, some) in votes.chunks(fit).enumerate() {
        if i > 0 {
            lines.push(Line::default());
        }
        table(detail, some, model, width, &mut lines);
    }
    let differ: Vec<&AttestationView> = votes.iter().filter(|vote| !vote.differences.is_empty()).collect();
    lines.extend(heading("what differs", model));
    if differ.is_empty() {
        lines.push(Line::styled("nothing", style(Role::Dim)));
    }
    for vote in differ {
        for one in &vote.differences {
            let who = model.name_of(&vote.witness);
            let text = format!(
                "{who} found {} {} where {} claims {}",
                Untrusted::new(&one.what),
                value(&one.measured),
                model.name_of(&detail.receipt.executor),
                value(&one.claimed)
            );
            let wrapped = crate::console::widgets::text::wrap(&text, width);
            lines.extend(wrapped.into_iter().map(|line| Line::styled(line, style(Role::Bad))));
        }
    }
    lines
}

fn table(
    detail: &ReceiptDetail,
    votes: &[AttestationView],
    model: &Model,
    width: usize,
    lines: &mut Vec<Line<'static>>,
) {
    let style = |role| model.theme.style(role);
    let mut line = |label: &str, claimed: (String, Role), found: Vec<(String, Role)>| {
        let mut cells = vec![
            Cell::fixed(label, style(Role::Dim), LABEL),
            Cell::fill(claimed.0, style(claimed.1), COLUMN),
        ];
        cells.extend(found.into_iter().map(|(text, role)| Cell::fill(text, style(role), COLUMN)));
        lines.push(row(cells, width));
    };
    let executor = model.name_of(&detail.receipt.executor);
    let names = votes.iter().map(|vote| (model.name_of(&vote.witness), Role::Strong)).collect();
    line("", (executor, Role::Strong), names);
    let verdicts = votes.iter().map(|vote| {
        let (glyph, role) = verdict_look(vote.verdict);
        let counts = if vote.discounted.is_some() { ", does not count" } else { "" };
        (format!("{glyph} {}{counts}", vote.verdict), role)
    });
    line("verdict", ("signed the receipt".to_owned(), Role::Dim), verdicts.collect());
    // What is compared is the same for all who ran it again; who did not has no row of it.
    let Some(longest) = votes.iter().max_by_key(|vote| vote.compared.len()) else { return };
    for one in &longest.compared {
        let found =
            votes.iter().map(|vote| match vote.compared.iter().find(|other| other.what == one.what) {
                Some(other) if other.is_equal() => ("=".to_owned(), Role::Ok),
                Some(other) => (format!("≠ {}", value(&other.measured)), Role::Bad),
                None => ("not run again".to_owned(), Role::Dim),
            });
        let label = Untrusted::new(&one.what).to_string();
        line(&label, (value(&one.claimed), Role::Text), found.collect());
    }
    let reasons: Vec<(String, Role)> = votes
        .iter()
        .map(|vote| vote.reason.as_ref().map_or_else(String::new, ToString::to_string))
        .map(|reason| (reason, Role::Dim))
        .collect();
    if reasons.iter().any(|(reason, _)| !reason.is_empty()) {
        line("because", (String::new(), Role::Dim), reasons);
    }
}
