//! What the node says: snapshots, and answers to commands.

use std::sync::Arc;

use zerostate::api::{Answer, ApiError, Command, Snapshot, short_id};
use zerostate::document::{Untrusted, Verdict};

use super::actions::push;
use super::{attesting, execute, guilds, layered};
use crate::console::details::{Detail, Loaded};
use crate::console::layers::{Layer, Text};
use crate::console::model::{Model, Pane, Tone};
use crate::console::msg::Effect;
use crate::console::older::Older;
use crate::console::pending::Purpose;
use crate::console::rows::{came_before, same_rows};

/// A new snapshot, or the one that waited behind a frozen screen.
pub fn snapshot(model: &mut Model, latest: Arc<Snapshot>) -> Vec<Effect> {
    if model.gone.take().is_some() {
        model.toast(Tone::Good, "the node answers again");
        forget_older(model);
    }
    if let Some((waiting, _)) = &mut model.frozen {
        *waiting = latest;
        return Vec::new();
    }
    if model.settings.replay.is_some() {
        model.now = latest.at;
        forget_older(model);
    }
    model.revision += 1;
    let before = model.snapshot.take();
    let same = |pane| before.as_ref().is_some_and(|before| same_rows(pane, before, &latest));
    let same_peers = before.as_ref().filter(|_| same(Pane::Peers)).map(|before| before.peers.as_slice());
    model.names.read(same_peers, &latest.peers);
    model.common.read(before.as_ref().map(|before| before.guilds.items.as_slice()), &latest.guilds.items);
    let forgotten = before.as_ref().map_or_else(Vec::new, |before| model.older.carry(before, &latest));
    for pane in Pane::ALL {
        let is_same = if pane == Pane::Peers { same_peers.is_some() } else { same(pane) };
        if forgotten.contains(&pane) {
            forget(model, pane);
        } else if !is_same {
            match before.as_ref().and_then(|before| came_before(pane, before, &latest)) {
                Some(came) => model.rows_came(pane, came),
                None => model.rows_changed(pane),
            }
        }
    }
    model.rates.read(&latest, model.changes(Pane::Peers).others, model.now);
    for pane in Pane::ALL {
        // Marks on what is gone would count what cannot be seen. Long lists are marked beyond the tail, so theirs stay.
        if matches!(pane, Pane::Peers | Pane::Guilds | Pane::Inbox) && !model.list(pane).marked.is_empty() {
            let ids: std::collections::BTreeSet<String> = match pane {
                Pane::Peers => latest.peers.iter().map(|peer| peer.peer_id.clone()).collect(),
                Pane::Guilds => latest.guilds.items.iter().map(|guild| guild.guild_id.clone()).collect(),
                _ => latest.inbox.iter().map(|item| item.inbox_id.clone()).collect(),
            };
            model.list_mut(pane).marked.retain(|id| ids.contains(id));
        }
    }
    model.snapshot = Some(latest);
    refresh(model)
}

/// What was fetched page by page is of another time, or of another node: it is fetched again where it is wanted.
fn forget_older(model: &mut Model) {
    model.older = Older::default();
    Pane::ALL.into_iter().for_each(|pane| forget(model, pane));
}

/// A page that is still on its way belongs to what was forgotten.
fn forget(model: &mut Model, pane: Pane) {
    model.pending.retain(|pending| pending.purpose != Purpose::Page(pane));
    model.rows_changed(pane);
}

/// Reads the opened thing again when the snapshot says that it is another now.
fn refresh(model: &mut Model) -> Vec<Effect> {
    let Some(Layer::Detail(detail)) = model.layers.last() else { return Vec::new() };
    let (stale, command, id) = (detail.is_stale(model), detail.command(), detail.id());
    let purpose = Purpose::Detail { id };
    let asked = model.pending.iter().any(|pending| pending.purpose == purpose);
    match command {
        Some(command) if stale && !asked => execute(model, command, purpose),
        _ => Vec::new(),
    }
}

/// The answer to a command.
pub fn answered(model: &mut Model, ticket: u64, result: Result<Answer, ApiError>) -> Vec<Effect> {
    let Some(at) = model.pending.iter().position(|pending| pending.ticket == ticket) else {
        return Vec::new();
    };
    let purpose = model.pending.remove(at).purpose;
    // The next one of a round follows from either.
    if let Purpose::Examine { name, round, .. } = purpose {
        return match result {
            Ok(answer) => attesting::examined(model, name, round, answer),
            Err(error) => attesting::failed(model, &name, round, &error.to_string()),
        };
    }
    match result {
        Ok(Answer::Guild(answer))
            if matches!(purpose, Purpose::GuildForm | Purpose::Invite { .. } | Purpose::Leave { .. }) =>
        {
            guilds::answered(model, ticket, purpose, answer)
        }
        Ok(answer) => {
            let signed = match &purpose {
                Purpose::Attest { receipt_id, .. } => Some(receipt_id.clone()),
                _ => None,
            };
            layered::close(model, ticket);
            done(model, purpose, answer);
            signed.map_or_else(Vec::new, |receipt_id| tidy(model, &receipt_id))
        }
        Err(error) => {
            failed(model, ticket, purpose, &error);
            Vec::new()
        }
    }
}

/// Takes the question out of the inbox that has been answered by signing.
fn tidy(model: &mut Model, receipt_id: &str) -> Vec<Effect> {
    let snapshot = model.snapshot.clone();
    let asked = snapshot.iter().flat_map(|snapshot| &snapshot.inbox);
    let asked = asked.filter(|item| item.kind == "attest" && item.subject == receipt_id);
    let ids: Vec<String> = asked.map(|item| item.inbox_id.clone()).collect();
    let take = |inbox_id| execute(model, Command::Inbox { inbox_id, accept: false }, Purpose::Tidy);
    ids.into_iter().flat_map(take).collect()
}

/// A bundle was written, or not.
pub fn bundled(model: &mut Model, ticket: u64, result: Result<String, ApiError>) {
    let Some(at) = model.pending.iter().position(|pending| pending.ticket == ticket) else { return };
    let Purpose::Bundle { name } = model.pending.remove(at).purpose else { return };
    match result {
        Ok(path) => model.toast(Tone::Good, format!("{name} is in {path}")),
        Err(why) => {
            let hint = why.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            model.toast(Tone::Bad, format!("{name} was not written: {why}{hint}"));
        }
    }
}

fn failed(model: &mut Model, ticket: u64, purpose: Purpose, error: &ApiError) {
    let why = error.said();
    match purpose {
        Purpose::Detail { id } => {
            for layer in &mut model.layers {
                if let Layer::Detail(detail) = layer
                    && detail.id() == id
                    && detail.command().is_some()
                    && matches!(detail.loaded, Loaded::Nothing)
                {
                    detail.problem = Some(Untrusted::new(&why).to_string());
                }
            }
        }
        Purpose::Page(pane) => {
            model.older.failed(pane);
            model.toast(Tone::Bad, format!("older {} not read: {why}", pane.title().to_lowercase()));
        }
        Purpose::Connect { address } => model.toast(Tone::Bad, format!("not connected to {address}: {why}")),
        Purpose::Submit { name } => {
            let said = format!("{name} was not submitted: {why}");
            match layered::asking(model, ticket) {
                Some(form) => form.refuse(&said),
                None => model.toast(Tone::Bad, said),
            }
        }
        // Of these the round goes on before; and what is gone already is as it should be.
        Purpose::Examine { .. } | Purpose::Tidy => {}
        Purpose::Attest { name, .. } => model.toast(Tone::Bad, format!("{name} was not attested: {why}")),
        Purpose::Bundle { name } => model.toast(Tone::Bad, format!("{name} was not written: {why}")),
        Purpose::Cancel { name } => model.toast(Tone::Bad, format!("{name} was not cancelled: {why}")),
        Purpose::Inbox { .. } => model.toast(Tone::Bad, format!("not done: {why}")),
        Purpose::GuildForm => guilds::refused(model, ticket, &why),
        Purpose::Invite { name, .. } => model.toast(Tone::Bad, format!("no invitation to {name}: {why}")),
        Purpose::Leave { name, own: true, .. } => {
            model.toast(Tone::Bad, format!("{name} was not dissolved: {why}"))
        }
        Purpose::Leave { name, own: false, .. } => {
            model.toast(Tone::Bad, format!("{name} was not left: {why}"))
        }
        Purpose::Manifest { .. } => model.toast(Tone::Bad, format!("the manifest could not be read: {why}")),
    }
}

fn done(model: &mut Model, purpose: Purpose, answer: Answer) {
    match (purpose, answer) {
        (Purpose::Connect { .. }, Answer::Connected { peer_id }) => {
            model.toast(Tone::Good, format!("connected to {}", short_id(&peer_id)));
        }
        (Purpose::Submit { name }, Answer::Submitted { task_id }) => {
            model.toast(Tone::Good, format!("{name} submitted as task {}", short_id(&task_id)));
            if model.layers.is_empty() {
                model.focus_on(Pane::Tasks);
                let list = model.list_mut(Pane::Tasks);
                list.selected = None;
                list.filter.clear();
            }
        }
        (Purpose::Attest { name, receipt_id }, Answer::Attested { verdict, reason, compared, .. }) => {
            model.list_mut(Pane::Receipts).marked.remove(&receipt_id);
            attested(model, &name, verdict, reason.map(|reason| reason.to_string()), &compared);
        }
        (Purpose::Inbox { .. }, Answer::Attested { verdict, reason, compared, .. }) => {
            attested(model, "the receipt", verdict, reason.map(|reason| reason.to_string()), &compared);
        }
        (Purpose::Tidy, _) => {}
        (Purpose::Cancel { name }, _) => model.toast(Tone::Good, format!("{name} is cancelled")),
        (Purpose::Inbox { accept: true }, _) => model.toast(Tone::Good, "accepted"),
        (Purpose::Inbox { accept: false }, _) => model.toast(Tone::Good, "refused"),
        (Purpose::Detail { id }, Answer::Task(task)) => {
            fill(model, &id, |detail| detail.loaded = Loaded::Task(task))
        }
        (Purpose::Detail { id }, Answer::Receipt(receipt)) => {
            fill(model, &id, |detail| detail.take_receipt(receipt))
        }
        (Purpose::Manifest { task_id }, Answer::Task(task)) => {
            let title = format!("Manifest of task {}", short_id(&task_id));
            push(model, Layer::Text(Text::json(title, &task.manifest)));
        }
        (Purpose::Page(pane), Answer::Tasks(page)) => {
            model.older.take_tasks(page);
            model.rows_grew(pane);
        }
        (Purpose::Page(pane), Answer::Receipts(page)) => {
            model.older.take_receipts(page);
            model.rows_grew(pane);
        }
        (Purpose::Page(pane), Answer::Attestations(page)) => {
            model.older.take_attestations(page);
            model.rows_grew(pane);
        }
        (Purpose::Page(pane), Answer::Events(events)) => {
            model.older.take_events(events);
            model.rows_grew(pane);
        }
        (purpose, _) => {
            if let Purpose::Page(pane) = purpose {
                model.older.failed(pane);
            }
            model.toast(Tone::Bad, ApiError::unexpected().said());
        }
    }
}

/// A receipt can be open twice, as itself and compared; each has asked.
fn fill(model: &mut Model, id: &str, with: impl FnOnce(&mut Detail)) {
    let details = model.layers.iter_mut().rev().filter_map(|layer| match layer {
        Layer::Detail(detail) if detail.id() == id && detail.command().is_some() => Some(detail),
        _ => None,
    });
    let mut details: Vec<_> = details.collect();
    let waits = details.iter().position(|detail| matches!(detail.loaded, Loaded::Nothing));
    if let Some(detail) = details.get_mut(waits.unwrap_or(0)) {
        detail.problem = None;
        with(detail);
    }
}

fn attested(
    model: &mut Model,
    name: &str,
    verdict: Verdict,
    reason: Option<String>,
    compared: &[zerostate::document::Comparison],
) {
    let differences: Vec<_> =
        compared.iter().filter(|one| !one.is_equal()).map(|one| format!("{} ≠", one.what)).collect();
    let detail = match (reason, differences.is_empty()) {
        (Some(reason), _) => format!(": {reason}"),
        (None, false) => format!(": {}", differences.join(", ")),
        (None, true) => String::new(),
    };
    let tone = match verdict {
        Verdict::Agree => Tone::Good,
        Verdict::Disagree | Verdict::Unverifiable => Tone::Info,
    };
    model.toast(tone, format!("{name} attested: {verdict}{detail}; signed and announced"));
}
