//! The journal: everything that happened, newest at the end.

use zerostate::api::{Event, Happening, short_id};
use zerostate::document::{Status, Verdict};

use super::{Column, See, column, given, see_did};
use crate::console::model::Model;
use crate::console::rows::Key;
use crate::console::theme::Role;
use crate::console::widgets::columns::Cell;
use crate::console::widgets::text::clock;

/// What happened in a line, with the names the operator knows.
pub fn describe(what: &Happening, model: &Model) -> String {
    let peer = |peer_id: &str| model.names.of_peer(peer_id).map_or_else(|| short_id(peer_id), str::to_owned);
    match what {
        Happening::PeerConnected { peer_id, address } => format!("{} at {address}", peer(peer_id)),
        Happening::PeerDisconnected { peer_id, reason } => format!("{}: {reason}", peer(peer_id)),
        Happening::PeerFault { peer_id, what } => format!("{}: {what}", peer(peer_id)),
        Happening::Task { name, node, detail, .. } => {
            let detail = detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
            format!("{name} by {}{detail}", model.name_of(node))
        }
        Happening::Receipt { receipt_id, name, executor, status, .. } => {
            format!("{name} {status}, signed by {}, {}", model.name_of(executor), short_id(receipt_id))
        }
        Happening::Attestation { receipt_id, name, witness, verdict, .. } => {
            format!("{name} {verdict}, by {}, of {}", model.name_of(witness), short_id(receipt_id))
        }
        Happening::Guild { name, step, who, detail, .. } => {
            let detail = detail.as_ref().map(|detail| format!(", {detail}")).unwrap_or_default();
            format!("{name} {step}: {}{detail}", model.name_of(who))
        }
        Happening::Equivocation { node, position, proof } => {
            let who = model.name_of(node);
            format!("{who} has signed two chains, which part at {position}: {proof}")
        }
        other => other.to_string(),
    }
}

pub const COLUMNS: &[Column] = &[given("time"), column("kind"), column("text")];
pub const FIELDS: &[&str] = &["kind", "name", "node", "text", "id"];

pub fn fields(event: &Event, model: &Model, see: See) -> bool {
    if see("kind", event.what.word()) {
        return true;
    }
    match &event.what {
        Happening::PeerConnected { peer_id, address: text }
        | Happening::PeerDisconnected { peer_id, reason: text }
        | Happening::PeerFault { peer_id, what: text } => {
            see("text", text.as_str()) || see("id", peer_id) || see("text", &describe(&event.what, model))
        }
        Happening::Task { task_id, name, step, node, detail } => {
            see("name", name.as_str())
                || see("kind", step)
                || see_did("node", node, model, see)
                || detail.iter().any(|detail| see("text", detail.as_str()))
                || see("id", task_id)
        }
        Happening::Receipt { receipt_id, task_id, name, executor, status } => {
            see("name", name.as_str())
                || see("text", status.as_str())
                || see_did("node", executor, model, see)
                || see("id", receipt_id)
                || see("id", task_id)
        }
        Happening::Attestation { attestation_id, receipt_id, name, witness, verdict } => {
            see("name", name.as_str())
                || see("text", verdict.as_str())
                || see_did("node", witness, model, see)
                || see("id", attestation_id)
                || see("id", receipt_id)
        }
        Happening::Guild { guild_id, name, step, who, detail } => {
            see("name", name.as_str())
                || see("text", step)
                || see_did("node", who, model, see)
                || detail.iter().any(|detail| see("text", detail.as_str()))
                || see("id", guild_id)
        }
        other => see("text", &other.to_string()),
    }
}

pub fn key<'a>(event: &'a Event, model: &Model, column: usize) -> Key<'a> {
    match column {
        1 => Key::text(event.what.word()),
        2 => Key::text(describe(&event.what, model)),
        _ => Key::latest(event.at),
    }
}

fn role(what: &Happening) -> Role {
    match what {
        Happening::PeerFault { .. } | Happening::Warning { .. } => Role::Warn,
        Happening::Equivocation { .. } => Role::Bad,
        Happening::Receipt { status: Status::Ok, .. }
        | Happening::Attestation { verdict: Verdict::Agree, .. } => Role::Ok,
        Happening::Receipt { .. } | Happening::Attestation { verdict: Verdict::Disagree, .. } => Role::Bad,
        Happening::Attestation { .. } => Role::Neutral,
        Happening::Task { step, .. } => match step.as_str() {
            "attested" | "settled" | "closed" => Role::Ok,
            "failed" | "disputed" | "discounted" | "audit-failed" => Role::Bad,
            "expired" | "cancelled" => Role::Warn,
            _ => Role::Active,
        },
        _ => Role::Dim,
    }
}

pub fn cells(event: &Event, model: &Model) -> Vec<Cell> {
    let style = |role| model.theme.style(role);
    vec![
        Cell::fixed(clock(event.at, model.now, &model.zone), style(Role::Dim), 8).rank(2),
        Cell::fixed(event.what.word(), style(role(&event.what)), 12),
        Cell::fill(describe(&event.what, model), style(Role::Text), 20),
        Cell::fixed(event.seq.to_string(), style(Role::Dim), 6).right().rank(3),
    ]
}
