//! One thing, opened: everything that is known about it, as lines that fit a width.

mod attestation;
mod compared;
pub mod guild;
mod parts;
mod peer;
mod receipt;
mod task;

pub use parts::{HEARD, LABEL, rows};
pub use task::{stale, why};

use ratatui::style::Style;
use ratatui::text::Line;
use zerostate::api::{Command, Event, InboxItem, ReceiptDetail, Snapshot, TaskDetail, short_id};
use zerostate::document::{Envelope, Receipt, Untrusted};

use super::action::Action;
use super::find::Find;
use super::model::Model;
use super::panes;
use super::theme::Role;
use super::widgets::text::{date, wrap};

/// Something that was opened.
#[derive(Debug)]
pub struct Detail {
    pub subject: Subject,
    pub loaded: Loaded,
    /// What the console itself found when it checked the receipt's signature.
    pub signature: Option<Result<(), String>>,
    /// Why it could not be read.
    pub problem: Option<String>,
    pub scroll: usize,
    /// It stays at its end while more comes, until one scrolls up.
    pub follows: bool,
    pub find: Find,
}

/// What was opened.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    Task {
        id: String,
    },
    Receipt {
        id: String,
    },
    /// What every witness of a receipt found.
    Compared {
        id: String,
    },
    Attestation {
        id: String,
        receipt_id: String,
    },
    Peer {
        id: String,
    },
    Guild {
        id: String,
    },
    Event(Box<Event>),
    Inbox(Box<InboxItem>),
    Log {
        at: jiff::Timestamp,
        target: String,
        text: Untrusted,
    },
}

/// What the node told of it beyond the snapshot.
#[derive(Debug)]
pub enum Loaded {
    Nothing,
    Task(Box<TaskDetail>),
    Receipt(Box<ReceiptDetail>),
}

impl Detail {
    /// Opens something; what the snapshot does not have is still to come.
    pub fn new(subject: Subject) -> Self {
        let follows = matches!(subject, Subject::Guild { .. });
        Self {
            subject,
            loaded: Loaded::Nothing,
            signature: None,
            problem: None,
            scroll: 0,
            follows,
            find: Find::default(),
        }
    }

    /// Takes what the node told of a receipt, and checks that its envelope is signed and says the same.
    pub fn take_receipt(&mut self, receipt: Box<ReceiptDetail>) {
        self.signature = Some(match Envelope::<Receipt>::open(receipt.envelope.as_bytes()) {
            Ok(envelope) if *envelope.document() == receipt.receipt => Ok(()),
            Ok(_) => Err("the envelope says something else".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        self.loaded = Loaded::Receipt(receipt);
    }

    /// Its section of the key file.
    pub fn context(&self) -> &'static str {
        match self.subject {
            Subject::Task { .. } => "task-detail",
            Subject::Receipt { .. } => "receipt-detail",
            Subject::Compared { .. } => "compared-detail",
            Subject::Attestation { .. } => "attestation-detail",
            Subject::Peer { .. } => "peer-detail",
            Subject::Guild { .. } => "guild-detail",
            Subject::Inbox(_) => "inbox-detail",
            _ => "detail",
        }
    }

    /// What `y` copies, and what answers are matched by.
    pub fn id(&self) -> String {
        match &self.subject {
            Subject::Task { id }
            | Subject::Receipt { id }
            | Subject::Compared { id }
            | Subject::Attestation { id, .. }
            | Subject::Peer { id }
            | Subject::Guild { id } => id.clone(),
            Subject::Event(event) => event.what.to_string(),
            Subject::Inbox(item) => item.subject.clone(),
            Subject::Log { text, .. } => text.to_string(),
        }
    }

    /// The command that brings the rest of it, if there is more than the snapshot has.
    pub fn command(&self) -> Option<Command> {
        match &self.subject {
            Subject::Task { id } => Some(Command::TaskShow { task_id: id.clone() }),
            Subject::Receipt { id } | Subject::Compared { id } => {
                Some(Command::ReceiptShow { receipt_id: id.clone() })
            }
            Subject::Attestation { receipt_id, .. } => {
                Some(Command::ReceiptShow { receipt_id: receipt_id.clone() })
            }
            _ => None,
        }
    }

    /// Whether what was loaded is older than what the snapshot says of it.
    pub fn is_stale(&self, model: &Model) -> bool {
        let Some(snapshot) = model.snapshot.as_deref() else { return false };
        match (&self.loaded, &self.subject) {
            (Loaded::Task(loaded), _) => {
                let now = snapshot
                    .tasks
                    .items
                    .iter()
                    .find(|task| task.record.task_id == loaded.view.record.task_id);
                now.is_some_and(|task| task.record != loaded.view.record)
            }
            (Loaded::Receipt(loaded), _) => {
                let now =
                    snapshot.receipts.items.iter().find(|receipt| receipt.receipt_id == loaded.receipt_id);
                now.is_some_and(|receipt| *receipt != loaded.record)
            }
            (Loaded::Nothing, _) => false,
        }
    }

    /// Whether an action is of any use here, as far as that is known.
    pub fn allows(&self, model: &Model, action: Action) -> bool {
        match (action, &self.loaded) {
            (Action::Cancel, Loaded::Task(task)) => {
                let record = &task.view.record;
                record.state.is_pending() && model.me() == Some(&record.creator)
            }
            (Action::Open, Loaded::Task(_)) => self.receipt_id(model).is_some(),
            (Action::Attest, Loaded::Receipt(receipt)) => model.me() != Some(&receipt.record.executor),
            _ => true,
        }
    }

    /// The receipt it is about or came to.
    pub fn receipt_id(&self, model: &Model) -> Option<String> {
        match &self.subject {
            Subject::Receipt { id } | Subject::Compared { id } => Some(id.clone()),
            Subject::Attestation { receipt_id, .. } => Some(receipt_id.clone()),
            Subject::Task { id } => {
                let snapshot = model.snapshot.as_deref()?;
                let known = snapshot.tasks.items.iter().find(|task| task.record.task_id == *id);
                let own = match (known, &self.loaded) {
                    (Some(task), _) => task.record.state.receipt_id(),
                    (None, Loaded::Task(task)) => task.view.record.state.receipt_id(),
                    _ => None,
                };
                // Of a task of another only what this node did for it is known.
                let mut receipts = snapshot.receipts.items.iter().chain(&model.older.receipts.items);
                own.or_else(|| receipts.find(|one| one.task_id == *id).map(|one| one.receipt_id.clone()))
            }
            Subject::Inbox(item) if item.kind == "attest" => Some(item.subject.clone()),
            _ => None,
        }
    }

    /// The upper border: the kind first, then what it is.
    pub fn title(&self, model: &Model) -> Vec<(String, Style)> {
        let style = |role| model.theme.style(role);
        let head = |kind: &str, id: &str| {
            vec![(kind.to_owned(), style(Role::LayerTitle)), (format!(" {}", short_id(id)), style(Role::Dim))]
        };
        match (&self.subject, &self.loaded) {
            (Subject::Task { id }, Loaded::Task(task)) => task::title(head("Task", id), task, model),
            (Subject::Receipt { id }, Loaded::Receipt(receipt)) => {
                receipt::title(head("Receipt", id), receipt, model)
            }
            (Subject::Attestation { id, .. }, Loaded::Receipt(receipt)) => {
                attestation::title(head("Attestation", id), id, receipt, model)
            }
            (Subject::Compared { id }, Loaded::Receipt(receipt)) => {
                receipt::title(head("Compared", id), receipt, model)
            }
            (Subject::Compared { id }, _) => head("Compared", id),
            (Subject::Task { id }, _) => head("Task", id),
            (Subject::Receipt { id }, _) => head("Receipt", id),
            (Subject::Attestation { id, .. }, _) => head("Attestation", id),
            (Subject::Peer { id }, _) => peer::title(head("Peer", id), id, model),
            (Subject::Guild { id }, _) => guild::title(head("Guild", id), id, model),
            (Subject::Event(event), _) => head("Event", &event.seq.to_string()),
            (Subject::Inbox(item), _) => head("Inbox", &item.kind),
            (Subject::Log { target, .. }, _) => head("Log", target),
        }
    }

    /// Everything about it.
    pub fn lines(&self, model: &Model, width: usize) -> Vec<Line<'static>> {
        if let Some(problem) = &self.problem {
            // Of a journal that is nothing wrong.
            let (glyph, role) =
                if model.settings.replay.is_some() { ("·", Role::Dim) } else { ("✗", Role::Bad) };
            let style = model.theme.style(role);
            let said = wrap(&format!("{glyph} {problem}"), width).into_iter();
            let mut lines: Vec<Line> = said.map(|line| Line::styled(line, style)).collect();
            if let Subject::Task { id } = &self.subject {
                lines.extend(task::told(id, model, width));
            }
            return lines;
        }
        match (&self.subject, &self.loaded) {
            (Subject::Task { .. }, Loaded::Task(task)) => task::lines(task, model, width),
            (Subject::Receipt { .. }, Loaded::Receipt(receipt)) => {
                receipt::lines(receipt, self.signature.as_ref(), model, width)
            }
            (Subject::Compared { .. }, Loaded::Receipt(receipt)) => compared::lines(receipt, model, width),
            (Subject::Attestation { id, .. }, Loaded::Receipt(receipt)) => {
                attestation::lines(id, receipt, model, width)
            }
            (Subject::Peer { id }, _) => peer::lines(id, model, width),
            (Subject::Guild { id }, _) => guild::lines(id, model, width),
            (Subject::Event(event), _) => {
                let rows = [
                    ("time", date(event.at, &model.zone)),
                    ("number", event.seq.to_string()),
                    ("what", event.what.word().to_owned()),
                    ("", panes::describe(&event.what, model)),
                ];
                parts::rows(&rows, model, width)
            }
            (Subject::Inbox(item), _) => {
                let is_there =
                    |snapshot: &Snapshot| snapshot.inbox.iter().any(|known| known.inbox_id == item.inbox_id);
                let waits = model.snapshot.as_deref().is_some_and(is_there);
                let since = if waits { "" } else { ", and has been answered, or has come too late" };
                let rows = [
                    ("asks", item.kind.clone()),
                    ("from", format!("{}  {}", model.name_of(&item.from), item.from)),
                    ("what", item.text.to_string()),
                    ("about", item.subject.clone()),
                    ("waits", format!("since {}{since}", date(item.at, &model.zone))),
                ];
                parts::rows(&rows, model, width)
            }
            (Subject::Log { at, target, text }, _) => {
                let rows =
                    [("time", date(*at, &model.zone)), ("from", target.clone()), ("", text.to_string())];
                parts::rows(&rows, model, width)
            }
            _ => vec![Line::styled("reading…", model.theme.style(Role::Dim))],
        }
    }
}
