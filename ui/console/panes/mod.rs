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
pub use peers::in_common;
pub use receipts::{attested, status_look};
pub use tasks::{state_look, witnesses};

use jiff::Timestamp;
use zerostate::api::{
    AttestationRecord, Event, GuildView, InboxItem, LogLine, PeerView, ReceiptRecord, Snapshot, TaskView,
};

use super::model::{Model, Pane};
use super::rows::Key;
use super::widgets::columns::Cell;

/// Hands over the fields of a row by name until one of them is said to be enough; whether one was, comes back.
pub type See<'a> = &'a mut dyn FnMut(&'static str, &str) -> bool;

/// Something that the rows of a pane can be ordered by.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// The rows come in this order.
    pub as_they_come: bool,
}

/// The order in which the node gives the rows.
const fn given(name: &'static str) -> Column {
    Column { name, as_they_come: true }
}

const fn column(name: &'static str) -> Column {
    Column { name, as_they_come: false }
}

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

impl<'a> Entry<'a> {
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
            Self::Event(event) => event.what.to_string(),
            Self::Inbox(item) => item.subject.clone(),
            Self::Log(line) => line.text.to_string(),
            _ => self.id(),
        }
    }

    /// Whether that is its id.
    pub fn has_id(&self, id: &str) -> bool {
        match self {
            Self::Peer(peer) => peer.peer_id == id,
            Self::Guild(guild) => guild.guild_id == id,
            Self::Task(task) => task.record.task_id == id,
            Self::Receipt(receipt) => receipt.receipt_id == id,
            Self::Attestation(attestation) => attestation.attestation_id == id,
            Self::Event(_) | Self::Log(_) => self.id() == id,
            Self::Inbox(item) => item.inbox_id == id,
        }
    }

    /// When it was; for what lasts, when it began.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Peer(peer) => peer.connected_since,
            Self::Guild(guild) => guild.created_at,
            Self::Task(task) => task.record.created_at,
            Self::Receipt(receipt) => receipt.finished_at,
            Self::Attestation(attestation) => attestation.at,
            Self::Event(event) => event.at,
            Self::Inbox(item) => item.at,
            Self::Log(line) => line.at,
        }
    }

    /// What its row tells an age from, or the time to.
    fn ages_from(&self) -> Option<Timestamp> {
        match self {
            Self::Guild(guild) => Some(guild.expires_at),
            Self::Task(task) => task.progress.as_ref()?.told_at,
            Self::Attestation(attestation) => Some(attestation.at),
            Self::Inbox(item) => Some(item.at),
            Self::Peer(_) | Self::Receipt(_) | Self::Event(_) | Self::Log(_) => None,
        }
    }

    /// How severe a line of the log is.
    pub fn level(&self) -> usize {
        match self {
            Self::Log(line) => log::severity(&line.level),
            _ => 0,
        }
    }

    /// Its fields, for a filter.
    pub fn fields(&self, model: &Model, see: See) -> bool {
        match self {
            Self::Peer(peer) => peers::fields(peer, model, see),
            Self::Guild(guild) => guilds::fields(guild, model, see),
            Self::Task(task) => tasks::fields(task, model, see),
            Self::Receipt(receipt) => receipts::fields(receipt, model, see),
            Self::Attestation(attestation) => attestations::fields(attestation, model, see),
            Self::Event(event) => events::fields(event, model, see),
            Self::Inbox(item) => inbox::fields(item, model, see),
            Self::Log(line) => log::fields(line, see),
        }
    }

    /// What it is ordered by in a column.
    pub fn key(&self, model: &Model, column: usize) -> Key<'a> {
        match self {
            Self::Peer(peer) => peers::key(peer, model, column),
            Self::Guild(guild) => guilds::key(guild, column),
            Self::Task(task) => tasks::key(task, model, column),
            Self::Receipt(receipt) => receipts::key(receipt, model, column),
            Self::Attestation(attestation) => attestations::key(attestation, model, column),
            Self::Inbox(item) => inbox::key(item, model, column),
            Self::Event(event) => events::key(event, model, column),
            Self::Log(line) => log::key(line, column),
        }
    }

    /// What stands in its row; ages are those at `now`.
    fn cells(&self, model: &Model, now: Timestamp) -> Vec<Cell> {
        match self {
            Self::Peer(peer) => peers::cells(peer, model),
            Self::Guild(guild) => guilds::cells(guild, model, now),
            Self::Task(task) => tasks::cells(task, model, now),
            Self::Receipt(receipt) => receipts::cells(receipt, model),
            Self::Attestation(attestation) => attestations::cells(attestation, model, now),
            Self::Event(event) => events::cells(event, model),
            Self::Inbox(item) => inbox::cells(item, model, now),
            Self::Log(line) => log::cells(line, model),
        }
    }
}

/// What a pane's rows can be ordered by; the first is what it starts with.
pub fn columns(pane: Pane) -> &'static [Column] {
    match pane {
        Pane::Peers => peers::COLUMNS,
        Pane::Guilds => guilds::COLUMNS,
        Pane::Tasks => tasks::COLUMNS,
        Pane::Receipts => receipts::COLUMNS,
        Pane::Attestations => attestations::COLUMNS,
        Pane::Inbox => inbox::COLUMNS,
        Pane::Events => events::COLUMNS,
        Pane::Log => log::COLUMNS,
    }
}

/// The fields that a filter can name.
pub fn fields(pane: Pane) -> &'static [&'static str] {
    match pane {
        Pane::Peers => peers::FIELDS,
        Pane::Guilds => guilds::FIELDS,
        Pane::Tasks => tasks::FIELDS,
        Pane::Receipts => receipts::FIELDS,
        Pane::Attestations => attestations::FIELDS,
        Pane::Events => events::FIELDS,
        Pane::Inbox => inbox::FIELDS,
        Pane::Log => log::FIELDS,
    }
}

/// Somebody, as filters find them: by the name on the card, as `you`, or by the DID.
fn see_did(field: &'static str, did: &zerostate::identity::Did, model: &Model, see: See) -> bool {
    see(field, did.as_str())
        || model.names.of(did).is_some_and(|name| see(field, name))
        || (model.me() == Some(did) && see(field, "you"))
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
