//! The eight lists. Each file knows what its rows say, how they can be ordered, and what stands there while there are none.

mod attestations;
mod draw;
mod events;
mod guilds;
mod inbox;
mod log;
mod peers;
mod receipts;
mod tasks;

pub use attestations::verdict_look;
pub use draw::draw;
pub use events::describe;
pub use guilds::time_left;
pub use receipts::{attested, status_look};
pub use tasks::state_look;

use std::collections::HashSet;

use zerostate::api::{
    AttestationRecord, Event, GuildView, InboxItem, LogLine, PeerView, ReceiptRecord, Snapshot, TaskView,
};

use super::model::{Model, Pane};
use super::widgets::columns::Cell;

/// A row of any pane.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    Peer(&'a PeerView),
    Guild(&'a GuildView),
    Task(&'a TaskView),
    Receipt(&'a ReceiptRecord),
    Attestation(&'a AttestationRecord),
    Event(&'a Event),
    Inbox(&'a InboxItem),
    Log(&'a LogLine),
}

impl Entry<'_> {
    /// What selection and marks hold on to.
    pub fn id(&self) -> String {
        match self {
            Self::Peer(peer) => peer.peer_id.clone(),
            Self::Guild(guild) => guild.guild_id.clone(),
            Self::Task(task) => task.record.task_id.clone(),
            Self::Receipt(receipt) => receipt.receipt_id.clone(),
            Self::Attestation(attestation) => attestation.attestation_id.clone(),
            Self::Event(event) => event.seq.to_string(),
            Self::Inbox(item) => item.inbox_id.clone(),
            Self::Log(line) => format!("{} {}", line.at, line.text),
        }
    }

    /// What `y` hands to the clipboard.
    pub fn copied(&self) -> String {
        match self {
            Self::Peer(peer) => peer.address.to_string(),
            Self::Event(event) => event.what.to_string(),
            Self::Inbox(item) => item.subject.clone(),
            Self::Log(line) => line.text.to_string(),
            _ => self.id(),
        }
    }

    fn matches(&self, model: &Model, words: &[String]) -> bool {
        let text = match self {
            Self::Peer(peer) => peers::haystack(peer),
            Self::Guild(guild) => {
                format!("{} {} {}", guild.name, guild.role.as_deref().unwrap_or_default(), guild.guild_id)
            }
            Self::Task(task) => tasks::haystack(task, model),
            Self::Receipt(receipt) => receipts::haystack(receipt, model),
            Self::Attestation(attestation) => attestations::haystack(attestation, model),
            Self::Event(event) => format!("{} {}", event.what.word(), describe(&event.what, model)),
            Self::Inbox(item) => format!("{} {} {}", item.kind, item.text, item.subject),
            Self::Log(line) => format!("{} {} {}", line.level, line.target, line.text),
        };
        let text = text.to_lowercase();
        words.iter().all(|word| text.contains(word))
    }

    fn cells(&self, model: &Model) -> Vec<Cell> {
        match self {
            Self::Peer(peer) => peers::cells(peer, model),
            Self::Guild(guild) => guilds::cells(guild, model),
            Self::Task(task) => tasks::cells(task, model),
            Self::Receipt(receipt) => receipts::cells(receipt, model),
            Self::Attestation(attestation) => attestations::cells(attestation, model),
            Self::Event(event) => events::cells(event, model),
            Self::Inbox(item) => inbox::cells(item, model),
            Self::Log(line) => log::cells(line, model),
        }
    }
}

/// The orders a pane's rows can have; the first is the one it starts with.
pub fn orders(pane: Pane) -> &'static [&'static str] {
    match pane {
        Pane::Peers => peers::ORDERS,
        Pane::Tasks => tasks::ORDERS,
        Pane::Receipts => receipts::ORDERS,
        Pane::Attestations => attestations::ORDERS,
        Pane::Guilds => &["name", "time left"],
        Pane::Events | Pane::Inbox | Pane::Log => &["time"],
    }
}

/// The rows of a pane, filtered and ordered.
pub fn entries(model: &Model, pane: Pane) -> Vec<Entry<'_>> {
    let Some(snapshot) = model.snapshot.as_deref() else {
        return if pane == Pane::Log { model.notices.iter().map(Entry::Log).collect() } else { Vec::new() };
    };
    let list = model.list(pane);
    let mut rows = all(model, snapshot, pane);
    let words: Vec<String> = list.filter.to_lowercase().split_whitespace().map(str::to_owned).collect();
    if !words.is_empty() {
        rows.retain(|entry| entry.matches(model, &words));
    }
    rows.sort_by(|a, b| match (a, b) {
        (Entry::Peer(a), Entry::Peer(b)) => peers::order(a, b, list.sort),
        (Entry::Guild(a), Entry::Guild(b)) if list.sort == 0 => a.name.cmp(&b.name),
        (Entry::Guild(a), Entry::Guild(b)) => a.expires_at.cmp(&b.expires_at),
        (Entry::Task(a), Entry::Task(b)) => tasks::order(a, b, list.sort),
        (Entry::Receipt(a), Entry::Receipt(b)) => receipts::order(a, b, list.sort),
        (Entry::Attestation(a), Entry::Attestation(b)) => attestations::order(a, b, list.sort),
        (Entry::Log(a), Entry::Log(b)) => a.at.cmp(&b.at),
        _ => std::cmp::Ordering::Equal,
    });
    rows
}

fn all<'a>(model: &'a Model, snapshot: &'a Snapshot, pane: Pane) -> Vec<Entry<'a>> {
    let older = &model.older;
    match pane {
        Pane::Peers => snapshot.peers.iter().map(Entry::Peer).collect(),
        Pane::Guilds => snapshot.guilds.items.iter().map(Entry::Guild).collect(),
        Pane::Inbox => snapshot.inbox.iter().map(Entry::Inbox).collect(),
        Pane::Log => snapshot.log.iter().chain(&model.notices).map(Entry::Log).collect(),
        Pane::Tasks => joined(
            &snapshot.tasks.items,
            &older.tasks.items,
            |task| task.record.task_id.as_str(),
            Entry::Task,
        ),
        Pane::Receipts => {
            joined(&snapshot.receipts.items, &older.receipts.items, |one| one.cursor, Entry::Receipt)
        }
        Pane::Attestations => joined(
            &snapshot.attestations.items,
            &older.attestations.items,
            |one| one.cursor,
            Entry::Attestation,
        ),
        Pane::Events => {
            let mut rows =
                joined(&snapshot.events.items, &older.events.items, |event| event.seq, Entry::Event);
            rows.reverse();
            rows
        }
    }
}

/// The tail, then what was fetched beyond it.
fn joined<'a, T, K: std::hash::Hash + Eq>(
    tail: &'a [T],
    beyond: &'a [T],
    id: impl Fn(&'a T) -> K,
    entry: impl Fn(&'a T) -> Entry<'a>,
) -> Vec<Entry<'a>> {
    if beyond.is_empty() {
        return tail.iter().map(entry).collect();
    }
    let known: HashSet<K> = tail.iter().map(&id).collect();
    tail.iter().chain(beyond.iter().filter(|item| !known.contains(&id(item)))).map(entry).collect()
}

/// Which row is selected among `rows`. A list that follows is at its end until one moves, the others at their beginning.
pub fn selected_index(model: &Model, pane: Pane, rows: &[Entry]) -> Option<usize> {
    let last = rows.len().checked_sub(1)?;
    let list = model.list(pane);
    Some(match &list.selected {
        None if pane.follows() => last,
        None => 0,
        Some(id) => rows.iter().position(|entry| entry.id() == *id).unwrap_or(list.index.min(last)),
    })
}

/// How many there are in all, of which only the newest may be here.
pub fn total(snapshot: &Snapshot, pane: Pane) -> u64 {
    let len = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    match pane {
        Pane::Peers => len(snapshot.peers.len()),
        Pane::Guilds => snapshot.guilds.total,
        Pane::Tasks => snapshot.tasks.total,
        Pane::Receipts => snapshot.receipts.total,
        Pane::Attestations => snapshot.attestations.total,
        Pane::Events => snapshot.events.total,
        Pane::Inbox => len(snapshot.inbox.len()),
        Pane::Log => len(snapshot.log.len()),
    }
}
