//! What a row of each table says.

use cid::Cid;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::{Credits, Envelope, Receipt, Sha256Digest, Status, Untrusted, Verdict, cid_text};
use crate::identity::Did;

/// Where a task is in its life, with what that state has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum TaskState {
    Drafted,
    Published,
    Offered,
    Guilded,
    Agreed,
    Running,
    Receipted {
        #[serde(with = "cid_text")]
        receipt: Cid,
    },
    Attested {
        #[serde(with = "cid_text")]
        receipt: Cid,
    },
    Settled {
        #[serde(with = "cid_text")]
        receipt: Cid,
    },
    Closed {
        #[serde(with = "cid_text")]
        receipt: Cid,
    },
    Expired {
        reason: Untrusted,
        receipt: Option<String>,
    },
    Cancelled {
        reason: Untrusted,
    },
    Failed {
        reason: Untrusted,
        receipt: Option<String>,
    },
    Disputed {
        reason: Untrusted,
        #[serde(with = "cid_text")]
        receipt: Cid,
    },
}

impl TaskState {
    /// The word for people and for JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Drafted => "drafted",
            Self::Published => "published",
            Self::Offered => "offered",
            Self::Guilded => "guilded",
            Self::Agreed => "agreed",
            Self::Running => "running",
            Self::Receipted { .. } => "receipted",
            Self::Attested { .. } => "attested",
            Self::Settled { .. } => "settled",
            Self::Closed { .. } => "closed",
            Self::Expired { .. } => "expired",
            Self::Cancelled { .. } => "cancelled",
            Self::Failed { .. } => "failed",
            Self::Disputed { .. } => "disputed",
        }
    }

    /// Whether work is still to be done before there is a receipt.
    pub fn is_pending(&self) -> bool {
        matches!(
            self,
            Self::Drafted | Self::Published | Self::Offered | Self::Guilded | Self::Agreed | Self::Running
        )
    }

    /// The receipt it came to, if any.
    pub fn receipt_id(&self) -> Option<String> {
        match self {
            Self::Receipted { receipt }
            | Self::Attested { receipt }
            | Self::Settled { receipt }
            | Self::Closed { receipt }
            | Self::Disputed { receipt, .. } => Some(receipt.to_string()),
            Self::Failed { receipt, .. } | Self::Expired { receipt, .. } => receipt.clone(),
            _ => None,
        }
    }

    /// Why it ended, where it did not end well.
    pub fn reason(&self) -> Option<&Untrusted> {
        match self {
            Self::Expired { reason, .. }
            | Self::Cancelled { reason }
            | Self::Failed { reason, .. }
            | Self::Disputed { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

/// Somebody who offered to take part in a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub did: Did,
    /// `executor`, `witness`, `reserve`, or `failed`.
    pub part: String,
    pub reason: Untrusted,
}

/// A task this node submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    pub task_id: String,
    /// Id of the manifest.
    pub manifest_id: String,
    pub name: Untrusted,
    pub creator: Did,
    pub executor: Option<Did>,
    /// The guild in which it is done, if it is done in one.
    #[serde(default)]
    pub guild_id: Option<String>,
    /// The guild that it was submitted to: nobody else does it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "cid_text::option")]
    pub within: Option<Cid>,
    /// Who offered to take part, and what came of it.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
    /// That its receipt is wrong on purpose: the secret that proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<String>,
    #[serde(flatten)]
    pub state: TaskState,
    pub quorum: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub expires_at: Timestamp,
}

impl TaskRecord {
    /// Whether it still needs its node: to be run, or to have its attestations awaited until it expires.
    pub fn is_unfinished(&self) -> bool {
        self.state.is_pending() || (self.quorum > 0 && matches!(self.state, TaskState::Receipted { .. }))
    }

    /// Whether somebody had offered to take part in it before it was run.
    pub fn has_offered(&self, who: &Did) -> bool {
        self.candidates.iter().any(|candidate| candidate.did == *who)
    }

    /// Whether `submit --wait` has nothing more to wait for.
    pub fn is_settled(&self) -> bool {
        !self.is_unfinished()
    }
}

/// A receipt as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiptRecord {
    /// Position in this node's list, for paging.
    pub cursor: u64,
    pub receipt_id: String,
    pub task_id: String,
    pub name: Untrusted,
    pub executor: Did,
    pub requester: Did,
    pub status: Status,
    pub total_micro: Credits,
    pub duration_ns: u64,
    pub fuel_used: u64,
    pub peak_memory_bytes: u64,
    pub finished_at: Timestamp,
    /// Witnesses by verdict, and how many the manifest asks for (0 when the manifest is not known here).
    pub agree: u32,
    pub disagree: u32,
    pub unverifiable: u32,
    pub quorum: u32,
}

impl ReceiptRecord {
    /// The row of a receipt whose manifest has this name and asks for so many witnesses.
    pub fn new(envelope: &Envelope<Receipt>, name: Untrusted, quorum: u32) -> Self {
        let receipt = envelope.document();
        Self {
            cursor: 0,
            receipt_id: envelope.id().to_string(),
            task_id: receipt.task_id.clone(),
            name,
            executor: receipt.executor.clone(),
            requester: receipt.requester.clone(),
            status: receipt.status,
            total_micro: receipt.cost.total_micro,
            duration_ns: receipt.duration_ns,
            fuel_used: receipt.fuel_used,
            peak_memory_bytes: receipt.peak_memory_bytes,
            finished_at: receipt.finished_at,
            agree: 0,
            disagree: 0,
            unverifiable: 0,
            quorum,
        }
    }
}

/// An attestation as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttestationRecord {
    pub cursor: u64,
    pub attestation_id: String,
    pub receipt_id: String,
    pub name: Untrusted,
    pub witness: Did,
    pub verdict: Verdict,
    pub reason: Option<Untrusted>,
    /// What was not equal: `fuel`, `output`.
    pub differences: Vec<Untrusted>,
    pub at: Timestamp,
    /// Why it does not count, where this node has asked for the task and knows who was to witness it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discounted: Option<Untrusted>,
}

impl AttestationRecord {
    /// Whether a later word of the same witness takes its place: the first vote stays, and `unverifiable` is none.
    pub fn gives_way_to(&self, later: Verdict) -> bool {
        self.verdict == Verdict::Unverifiable && later != Verdict::Unverifiable
    }
}

/// A file of which all blocks are stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    #[serde(with = "cid_text")]
    pub cid: Cid,
    /// Of the whole file.
    pub sha256: Sha256Digest,
    pub size: u64,
    /// Whether it stays until it is unpinned.
    pub pinned: bool,
    pub added_at: Timestamp,
}
