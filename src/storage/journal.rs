//! The journal: everything that happened, numbered, append-only.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::{Status, Untrusted, Verdict};
use crate::identity::Did;

/// One entry. Numbers start at 1 and have no gaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub seq: u64,
    pub at: Timestamp,
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened. Ids are the texts that the command line takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happening {
    Started {
        version: String,
    },
    Stopped,
    Listening {
        address: Untrusted,
    },
    PeerConnected {
        peer_id: String,
        address: Untrusted,
    },
    PeerDisconnected {
        peer_id: String,
        reason: Untrusted,
    },
    PeerCard {
        peer_id: String,
        did: Did,
        name: Untrusted,
    },
    /// A peer broke a protocol.
    PeerFault {
        peer_id: String,
        what: Untrusted,
    },
    /// A task took a step of its life; `step` is the word of its new state, or of a sub-step (`fetched`).
    Task {
        task_id: String,
        name: Untrusted,
        step: String,
        node: Did,
        detail: Option<Untrusted>,
    },
    Receipt {
        receipt_id: String,
        task_id: String,
        name: Untrusted,
        executor: Did,
        status: Status,
    },
    Attestation {
        attestation_id: String,
        receipt_id: String,
        name: Untrusted,
        witness: Did,
        verdict: Verdict,
    },
    Artifact {
        cid: String,
        size: u64,
    },
    /// Something about a guild this node is in, or was: `step` says what, `who` about whom.
    Guild {
        guild_id: String,
        name: Untrusted,
        step: String,
        who: Did,
        detail: Option<Untrusted>,
    },
    /// A node has signed two chains that part at this position; `proof` is the file that shows it.
    Equivocation {
        node: Did,
        position: u64,
        proof: Untrusted,
    },
    /// Something the operator should know.
    Warning {
        text: Untrusted,
    },
}

impl Happening {
    /// One word for the first column: what kind of entry this is.
    pub fn word(&self) -> &str {
        match self {
            Self::Started { .. } => "started",
            Self::Stopped => "stopped",
            Self::Listening { .. } => "listening",
            Self::PeerConnected { .. } => "connected",
            Self::PeerDisconnected { .. } => "disconnected",
            Self::PeerCard { .. } => "card",
            Self::PeerFault { .. } => "fault",
            Self::Task { step, .. } => step,
            Self::Guild { .. } => "guild",
            Self::Receipt { .. } => "receipt",
            Self::Attestation { .. } => "attestation",
            Self::Artifact { .. } => "artifact",
            Self::Equivocation { .. } => "equivocation",
            Self::Warning { .. } => "warning",
        }
    }

    /// The task of which it is a step. Receipts are none: those of peers name whatever task they like.
    pub fn task_id(&self) -> Option<&str> {
        match self {
            Self::Task { task_id, .. } => Some(task_id),
            _ => None,
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { version } => write!(f, "zerostate {version}"),
            Self::Stopped => write!(f, "in good order"),
            Self::Listening { address } => write!(f, "{address}"),
            Self::PeerConnected { peer_id, address } => write!(f, "{} at {address}", short_id(peer_id)),
            Self::PeerDisconnected { peer_id, reason } => write!(f, "{}: {reason}", short_id(peer_id)),
            Self::PeerCard { name, did, .. } => write!(f, "{name} is {}", did.short()),
            Self::PeerFault { peer_id, what } => write!(f, "{}: {what}", short_id(peer_id)),
            Self::Task { name, node, detail, .. } => {
                write!(f, "{name} by {}", node.short())?;
                detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
            }
            Self::Receipt { receipt_id, name, executor, status, .. } => {
                write!(f, "{name} {status}, signed by {}, {}", executor.short(), short_id(receipt_id))
            }
            Self::Attestation { name, witness, verdict, receipt_id, .. } => {
                write!(f, "{name} {verdict}, by {}, of {}", witness.short(), short_id(receipt_id))
            }
            Self::Artifact { cid, size } => {
                write!(f, "{} {}", short_id(cid), crate::document::bytes_text(*size))
            }
            Self::Guild { name, step, who, detail, .. } => {
                write!(f, "{name} {step}: {}", who.short())?;
                detail.as_ref().map_or(Ok(()), |detail| write!(f, ", {detail}"))
            }
            Self::Equivocation { node, position, proof } => {
                write!(f, "{} has signed two chains, which part at {position}: {proof}", node.short())
            }
            Self::Warning { text } => write!(f, "{text}"),
        }
    }
}

/// `bafkre…7q2a`: the ends of a long id.
pub fn short_id(id: &str) -> String {
    let chars: Vec<char> = id.chars().collect();
    match chars.len() {
        0..=14 => id.to_owned(),
        n => chars.iter().take(6).chain(std::iter::once(&'…')).chain(chars.iter().skip(n - 4)).collect(),
    }
}
