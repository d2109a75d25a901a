//! Roles, and what each may do: the one table.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::document::Untrusted;

/// What somebody is in a guild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The one whose guild it is.
    Creator,
    /// Who runs tasks.
    Executor,
    Member,
    /// Who watches, and attests.
    Observer,
}

/// What is done in a guild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Admit, refuse, remove, change a role, dissolve.
    Govern,
    /// Propose a manifest.
    Propose,
    /// Agree to a manifest.
    Agree,
    /// Run the task and sign its receipt; only the one assigned, and the creator only its own.
    Run,
    /// Attest a receipt; never one's own.
    Attest,
    /// Speak in the channel.
    Speak,
    Leave,
}

#[rustfmt::skip]
const MAY: [(Action, [bool; 4]); 7] = [
    //                 creator executor member observer
    (Action::Govern,  [true,   false,   false, false]),
    (Action::Propose, [true,   false,   true,  false]),
    (Action::Agree,   [true,   true,    true,  false]),
    (Action::Run,     [true,   true,    false, false]),
    (Action::Attest,  [true,   true,    true,  true ]),
    (Action::Speak,   [true,   true,    true,  false]),
    (Action::Leave,   [true,   true,    true,  true ]),
];

impl Role {
    /// Every role, in the order of the table.
    pub const ALL: [Self; 4] = [Self::Creator, Self::Executor, Self::Member, Self::Observer];

    /// Whether it may do that.
    pub fn may(self, action: Action) -> bool {
        let row = MAY.iter().find(|(known, _)| *known == action);
        let cells = row.into_iter().flat_map(|(_, cells)| Self::ALL.into_iter().zip(*cells));
        cells.into_iter().any(|(role, may)| role == self && may)
    }

    /// The word for people and for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creator => "creator",
            Self::Executor => "executor",
            Self::Member => "member",
            Self::Observer => "observer",
        }
    }
}

impl Action {
    /// Every action, in the order of the table.
    pub const ALL: [Self; 7] =
        [Self::Govern, Self::Propose, Self::Agree, Self::Run, Self::Attest, Self::Speak, Self::Leave];

    /// What it is called in a sentence: "may not …".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Govern => "decide who is in the guild and as what",
            Self::Propose => "propose a task",
            Self::Agree => "agree to a task",
            Self::Run => "run a task",
            Self::Attest => "attest a receipt",
            Self::Speak => "speak in the channel",
            Self::Leave => "leave",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == text);
        known.ok_or_else(|| Refusal::NoSuchRole(Untrusted::new(text)))
    }
}
