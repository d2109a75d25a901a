//! Commands that the node has not answered yet, and what their answers are for.

use std::collections::VecDeque;

use zerostate::document::{Comparison, Verdict};

use super::model::Pane;

/// More at once are refused, so that a held key cannot flood the node.
pub const PENDING_MAX: usize = 32;

/// A command on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    pub ticket: u64,
    pub purpose: Purpose,
}

/// Receipts that are run again one after the other, and what was found of those that have been.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Round {
    pub left: VecDeque<String>,
    pub found: Vec<Found>,
    /// With those that could not be run again.
    pub total: usize,
    pub failed: Vec<String>,
    /// What the operator had done when it was begun.
    pub inputs: u64,
}

/// What was found of one receipt.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub finding: String,
    pub receipt_id: String,
    pub name: String,
    pub verdict: Verdict,
    pub reason: Option<String>,
    pub compared: Vec<Comparison>,
    /// Why it does not count, or may not.
    pub caveat: Option<String>,
}

/// What is done with the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Purpose {
    Connect {
        address: String,
    },
    Submit {
        name: String,
    },
    /// Runs a receipt's task again, one of a round.
    Examine {
        receipt_id: String,
        name: String,
        round: Round,
    },
    Attest {
        receipt_id: String,
        name: String,
    },
    Cancel {
        name: String,
    },
    /// Writes a receipt's bundle into a file.
    Bundle {
        name: String,
    },
    Inbox {
        accept: bool,
    },
    /// Takes a question away that was answered otherwise.
    Tidy,
    /// What a guild form asks; the form knows its ticket.
    GuildForm,
    Invite {
        name: String,
        /// How much the operator had done when it was asked for.
        inputs: u64,
    },
    Leave {
        guild_id: String,
        name: String,
        own: bool,
    },
    /// Fills the detail layer of this id.
    Detail {
        id: String,
    },
    /// Shows the manifest of this task.
    Manifest {
        task_id: String,
    },
    /// A further page of a list.
    Page(Pane),
}

impl Purpose {
    /// What the header says while it lasts; nothing for what is only reading.
    pub fn waiting(&self) -> Option<String> {
        match self {
            Self::Connect { address } => Some(format!("connecting to {address}")),
            Self::Submit { name } => Some(format!("submitting {name}")),
            Self::Examine { name, round, .. } if round.total > 1 => {
                Some(format!("running again {} of {}: {name}", round.total - round.left.len(), round.total))
            }
            Self::Examine { name, .. } => Some(format!("running {name} again")),
            Self::Attest { name, .. } => Some(format!("attesting {name}")),
            Self::Bundle { name } => Some(format!("writing {name}")),
            Self::Cancel { name } => Some(format!("cancelling {name}")),
            Self::Inbox { accept } => Some(if *accept { "accepting" } else { "refusing" }.to_owned()),
            Self::Invite { name, .. } => Some(format!("inviting to {name}")),
            Self::Leave { name, own, .. } => {
                Some(format!("{} {name}", if *own { "dissolving" } else { "leaving" }))
            }
            Self::Tidy | Self::GuildForm | Self::Detail { .. } | Self::Manifest { .. } | Self::Page(_) => {
                None
            }
        }
    }
}
