//! A receipt: who ran what for whom, the cost term by term, the limits, and what the witnesses say.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use zerostate::api::{AttestationView, ReceiptDetail};
use zerostate::document::{Credits, Untrusted, bytes_text, duration_text};

use super::parts::{HEARD, LABEL, NAME, heading, limit, output, pairs, rows};
use crate::console::model::Model;
use crate::console::panes::{attested, status_look, verdict_look};
use crate::console::theme::Role;
use crate::console::widgets::columns::{Cell, row};
use crate::console::widgets::text::{clock, cut, date, grouped, seconds};

/// Cost and limits stand beside each other where both fit.
const COST_COLUMN: usize = 60;
const LIMITS_COLUMN: usize = 55;

pub fn title(mut head: Vec<(String, Style)>, detail: &ReceiptDetail, model: &Model) -> Vec<(String, Style)> {
    let style = |role| model.theme.style(role);
    let (glyph, role) = status_look(detail.receipt.status);
    let (words, words_role) = attested(&detail.record);
    head.push((format!(" ─ {} ─ ", cut(detail.record.name.as_str(), NAME)), style(Role::Text)));
    head.push((format!("{glyph} {}", detail.receipt.status), style(role)));
    head.push((" ─ ".to_owned(), style(Role::Text)));
    head.push((words, style(words_role)));
    head
}

/// `signature` is what the console found when it checked the envelope itself.
pub fn lines(
    detail: &ReceiptDetail,
    signature: Option<&Result<(), String>>,
    model: &Model,
    width: usize,
) -> Vec<Line<'static>> {
    let receipt = &detail.receipt;
    let who = |did| format!("{}  {}", model.name_of(did), did.short());
    let clean = |text: &str| Untrusted::new(text).to_string();
    let environment = &receipt.environment;
    let signature = match signature {
        Some(Ok(())) => format!("✓ checked here: signed by {}", model.name_of(&receipt.executor)),
        Some(Err(problem)) => format!("✗ does not hold: {problem}"),
        None => "not checked".to_owned(),
    };
    let mut lines = pairs(
        &[
            ("executor", who(&receipt.executor)),
            ("requester", who(&receipt.requester)),
            ("signature", signature),
            ("finished", date(receipt.finished_at, &model.zone)),
            ("artifact", format!("{}  {}", bytes_text(receipt.artifact.size), receipt.artifact.cid)),
            ("manifest", receipt.manifest.to_string()),
            ("input", format!("{}  sha256 {}", bytes_text(receipt.inputs.size), receipt.inputs.sha256)),
            ("output", format!("{}  sha256 {}", bytes_text(receipt.output.size), receipt.output.sha256)),
            (
                "engine",
                clean(&format!("{} {}  {}", environment.engine, environment.version, environment.target)),
            ),
            ("settings", format!("sha256 {}", environment.settings_sha256)),
            ("guild", receipt.guild.as_deref().map_or("none".to_owned(), clean)),
            ("exit code", receipt.exit_code.map_or("none".to_owned(), |code| code.to_string())),
        ],
        model,
        width,
    );
    if let Some(error) = &receipt.error {
        lines.extend(rows(&[("error", clean(error))], model, width));
    }
    let (cost, limits) = (cost(detail, model), limits(detail, model));
    if (COST_COLUMN + LIMITS_COLUMN..HEARD).contains(&width) {
        lines.extend(heading(&format!("{:<COST_COLUMN$}limits", "cost"), model));
        let longest = cost.len().max(limits.len());
        let (mut cost, mut limits) = (cost.into_iter(), limits.into_iter());
        for _ in 0..longest {
            let mut spans = cost.next().unwrap_or_default();
            let used: usize = spans.iter().map(Span::width).sum();
            spans.push(Span::raw(" ".repeat(COST_COLUMN.saturating_sub(used))));
            spans.extend(limits.next().unwrap_or_default());
            lines.push(Line::from(spans));
        }
    } else {
        lines.extend(heading("cost", model));
        lines.extend(cost.into_iter().map(Line::from));
        lines.extend(heading("limits", model));
        lines.extend(limits.into_iter().map(Line::from));
    }
    lines.extend(heading("attestations", model));
    lines.extend(attestations(detail, model, width));
    lines.extend(output(
        detail.output.as_ref(),
        "the bytes are not known here, only their digest",
        model,
        width,
    ));
    lines
}

/// Each term with its price and amount where the manifest, which has the prices, is known.
fn cost(detail: &ReceiptDetail, model: &Model) -> Vec<Vec<Span<'static>>> {
    let style = |role| model.theme.style(role);
    let receipt = &detail.receipt;
    let prices = detail.manifest.as_ref().map(|manifest| &manifest.payment);
    let duration = seconds(receipt.duration_ns);
    let memory = bytes_text(receipt.peak_memory_bytes);
    let fuel = grouped(receipt.fuel_used);
    let of = |price: Option<Credits>, unit: &str, amount: &str| {
        price.map_or_else(|| amount.to_owned(), |price| format!("{price} /{unit} × {amount}"))
    };
    let term = |label: &str, amount: Credits, why: String, strong: bool| {
        let role = if strong { Role::Strong } else { Role::Text };
        vec![
            Span::styled(format!("{label:<LABEL$}"), style(Role::Dim)),
            Span::styled(format!("{:>12}   ", amount.to_string()), style(role)),
            Span::styled(cut(&why, 33), style(Role::Dim)),
        ]
    };
    let sum = receipt.cost.time_micro.checked_add(receipt.cost.memory_micro);
    let sum = sum.and_then(|sum| sum.checked_add(receipt.cost.fuel_micro));
    let cap = match prices.map(|prices| prices.max_total_micro) {
        Some(Credits::MAX) => "no cap".to_owned(),
        Some(cap) if sum.is_none_or(|sum| sum > cap) => format!("capped at {cap}"),
        Some(cap) => format!("cap {cap}"),
        None => String::new(),
    };
    vec![
        term("time", receipt.cost.time_micro, of(prices.map(|p| p.per_second_micro), "s", &duration), false),
        term("memory", receipt.cost.memory_micro, of(prices.map(|p| p.per_mib_micro), "MiB", &memory), false),
        term("fuel", receipt.cost.fuel_micro, of(prices.map(|p| p.per_gfuel_micro), "Gfuel", &fuel), false),
        term("total", receipt.cost.total_micro, cap, true),
    ]
}

fn limits(detail: &ReceiptDetail, model: &Model) -> Vec<Vec<Span<'static>>> {
    let receipt = &detail.receipt;
    let Some(manifest) = &detail.manifest else {
        let text = format!(
            "fuel {}, memory {}; the manifest with the limits is not known here",
            grouped(receipt.fuel_used),
            bytes_text(receipt.peak_memory_bytes)
        );
        return vec![vec![Span::styled(text, model.theme.style(Role::Dim))]];
    };
    let limits = &manifest.limits;
    let fuel = format!("{} of {}", grouped(receipt.fuel_used), grouped(limits.fuel));
    let memory = format!("{} of {}", bytes_text(receipt.peak_memory_bytes), bytes_text(limits.memory_bytes));
    let time = format!("{} of {}", seconds(receipt.duration_ns), duration_text(limits.time()));
    vec![
        limit("fuel", &fuel, receipt.fuel_used, limits.fuel, model),
        limit("memory", &memory, receipt.peak_memory_bytes, limits.memory_bytes, model),
        limit("time", &time, receipt.duration_ns, limits.time_ms.saturating_mul(1_000_000), model),
    ]
}

fn attestations(detail: &ReceiptDetail, model: &Model, width: usize) -> Vec<Line<'static>> {
    let dim = model.theme.style(Role::Dim);
    let mut lines: Vec<_> = detail.attestations.iter().map(|one| attestation(one, model, width)).collect();
    let wanted = detail.record.quorum;
    if detail.record.agree < wanted {
        let missing = wanted - detail.record.agree;
        lines.push(Line::styled(format!("… {missing} more must agree for the quorum of {wanted}"), dim));
    } else if lines.is_empty() {
        lines.push(Line::styled("none, and none were asked for", dim));
    }
    lines
}

fn attestation(one: &AttestationView, model: &Model, width: usize) -> Line<'static> {
    let style = |role| model.theme.style(role);
    let (glyph, role) = match one.discounted {
        Some(_) => ("·", Role::Dim),
        None => verdict_look(one.verdict),
    };
    let mut compared = Cell::fill("", style(Role::Dim), 20);
    if let Some(why) = &one.discounted {
        compared = compared.and(format!("does not count: {why}"), style(role));
    } else if let (Some(reason), true) = (&one.reason, one.differences.is_empty()) {
        compared = compared.and(reason.as_str(), style(role));
    } else {
        for comparison in &one.compared {
            let what = Untrusted::new(&comparison.what);
            let (sign, role) = if comparison.is_equal() { ("=", Role::Dim) } else { ("≠", Role::Bad) };
            compared = compared.and(format!("{what} {sign}  "), style(role));
        }
    }
    row(
        vec![
            Cell::fixed(glyph, style(role), 1),
            Cell::fixed(one.verdict.as_str(), style(role), 12),
            Cell::fixed(model.name_of(&one.witness), style(Role::Text), 12),
            compared,
            Cell::fixed(clock(one.at, model.now, &model.zone), style(Role::Dim), 8).right().rank(1),
        ],
        width,
    )
}
