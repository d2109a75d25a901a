//! What one may ask of a node, and what it answers.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::guild::{GuildAnswer, GuildCommand};
use super::snapshot::TaskView;
use crate::document::{Comparison, Draft, Manifest, Receipt, Status, Untrusted, Verdict, base64_bytes};
use crate::identity::Did;
use crate::storage::{AttestationRecord, Event, ReceiptRecord};

/// A request. Ids may be cut to any unambiguous beginning of four characters or more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Dial an address; answered with [`Answer::Connected`] once the agent cards are exchanged.
    Connect { address: String },
    /// Submit a task whose artifact is already in the node's store; [`Answer::Submitted`], after it is durably stored.
    Submit {
        draft: Box<Draft>,
        /// To this guild of which this node is a member, and to nobody else.
        #[serde(default)]
        guild: Option<String>,
    },
    /// Run a module here and now, outside any task queue; [`Answer::Ran`].
    Run {
        draft: Box<Draft>,
        #[serde(with = "base64_bytes")]
        stdin: Vec<u8>,
    },
    /// [`Answer::Tasks`], newest first.
    Tasks { page: PageRequest },
    /// [`Answer::Task`].
    TaskShow { task_id: String },
    /// Stop a task that has no receipt yet; [`Answer::Done`].
    TaskCancel { task_id: String },
    /// [`Answer::Receipts`], newest first.
    Receipts { page: PageRequest },
    /// [`Answer::Receipt`].
    ReceiptShow { receipt_id: String },
    /// The envelopes that a bundle is made of: [`Answer::Evidence`].
    ReceiptEvidence { receipt_id: String },
    /// [`Answer::Attestations`], newest first.
    Attestations { page: PageRequest },
    /// Run a receipt's task again, and sign nothing yet; [`Answer::Examined`].
    Examine {
        #[serde(flatten)]
        receipt: Named,
    },
    /// Sign what was found so, within the next ten minutes; [`Answer::Attested`].
    Sign { finding: String },
    /// Run a receipt's task again and sign what was found; [`Answer::Attested`].
    Attest {
        #[serde(flatten)]
        receipt: Named,
    },
    /// The heads of the chains of what nodes have signed, this node's first; [`Answer::Chains`].
    Chains,
    /// [`Answer::Artifacts`], newest first.
    Artifacts,
    /// Get an artifact into the store, from whoever has it; [`Answer::Got`]. How far it is, is in the snapshot.
    ArtifactGet {
        cid: String,
        /// Multiaddresses of nodes to ask first.
        from: Vec<String>,
    },
    /// Keep an artifact until it is unpinned, or no longer; [`Answer::Artifact`].
    ArtifactPin { cid: String, pinned: bool },
    /// Remove what is not needed from the store; [`Answer::Freed`].
    ArtifactGc,
    /// [`Answer::Events`], oldest first, after `after`.
    Events { after: u64, limit: u32 },
    /// Something about guilds; [`Answer::Guild`].
    Guild(GuildCommand),
    /// Say yes or no to something in the inbox; [`Answer::Done`] or what the yes led to.
    Inbox { inbox_id: String, accept: bool },
    /// End the node in good order; [`Answer::Done`] comes first.
    Stop,
}

/// A receipt by its id, or one that this node need not know yet by its envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Named {
    ReceiptId(String),
    Envelope(#[serde(with = "base64_bytes")] Vec<u8>),
}

/// Which part of a long list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRequest {
    /// Entries older than this cursor; the newest when absent.
    pub before: Option<u64>,
    /// At most 1,000.
    pub limit: u32,
}

/// A part of a long list, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    pub total: u64,
    pub items: Vec<T>,
    /// The cursor for the next, older page; absent at the end.
    pub next: Option<u64>,
}

/// The answer to a [`Command`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "kebab-case")]
pub enum Answer {
    Done,
    Connected {
        peer_id: String,
    },
    Submitted {
        task_id: String,
    },
    Ran(Box<RunReport>),
    Tasks(Page<TaskView>),
    Task(Box<TaskDetail>),
    Receipts(Page<ReceiptRecord>),
    Receipt(Box<ReceiptDetail>),
    /// Manifest, receipt, attestations, and the cards of those who signed them and are connected; as text.
    Evidence {
        receipt_id: String,
        envelopes: Vec<String>,
    },
    Attestations(Page<AttestationRecord>),
    /// What would be signed, and the name of that for [`Command::Sign`]. `known` when this node has signed it before.
    Examined {
        finding: String,
        receipt_id: String,
        verdict: Verdict,
        reason: Option<Untrusted>,
        compared: Vec<Comparison>,
        known: bool,
        /// Why a vote of this node's does not count, or may not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caveat: Option<Untrusted>,
    },
    Chains(Vec<ChainView>),
    Attested {
        attestation_id: String,
        verdict: Verdict,
        reason: Option<Untrusted>,
        compared: Vec<Comparison>,
    },
    Artifact(ArtifactInfo),
    Artifacts {
        items: Vec<ArtifactInfo>,
        /// What all blocks take on the disk, and what they may take, in bytes.
        used: u64,
        quota: u64,
    },
    Got {
        artifact: ArtifactInfo,
        /// Whence how many bytes came; nothing when it was all here.
        sources: Vec<SourceView>,
    },
    Freed {
        artifacts: u64,
        blocks: u64,
        /// On the disk.
        bytes: u64,
    },
    Events(Vec<Event>),
    Guild(GuildAnswer),
}

/// The outcome of [`Command::Run`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    pub receipt_id: String,
    pub status: Status,
    pub exit_code: Option<i32>,
    #[serde(with = "base64_bytes")]
    pub stdout: Vec<u8>,
    #[serde(with = "base64_bytes")]
    pub stderr: Vec<u8>,
    /// The receipt's envelope, as text.
    pub envelope: String,
}

/// Everything about a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskDetail {
    #[serde(flatten)]
    pub view: TaskView,
    pub manifest: Manifest,
    pub timeline: Vec<TimelineStep>,
    /// The beginning of what the task printed, cleaned; absent before it ran here.
    #[serde(default, deserialize_with = "Untrusted::read_some_lines")]
    pub output: Option<Untrusted>,
}

/// One step of a task's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelineStep {
    pub step: String,
    pub at: Timestamp,
    pub node: Did,
    pub detail: Option<Untrusted>,
}

/// Everything about a receipt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiptDetail {
    pub receipt_id: String,
    pub record: ReceiptRecord,
    pub receipt: Receipt,
    /// The signed envelope, as text.
    pub envelope: String,
    /// When it is known here.
    pub manifest: Option<Manifest>,
    pub attestations: Vec<AttestationView>,
    /// The beginning of the output, cleaned, where it is known here.
    #[serde(default, deserialize_with = "Untrusted::read_some_lines")]
    pub output: Option<Untrusted>,
}

/// The chain of what a node has signed, as its last known head has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChainView {
    pub did: Did,
    pub own: bool,
    /// How many receipts and attestations are in it.
    pub length: u64,
    pub at: Timestamp,
    pub equivocation: Option<EquivocationView>,
}

/// That a node has signed two chains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EquivocationView {
    /// Where they part.
    pub position: u64,
    /// The file that proves it.
    pub proof: String,
}

/// An attestation with what was compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttestationView {
    pub attestation_id: String,
    pub witness: Did,
    pub verdict: Verdict,
    pub reason: Option<Untrusted>,
    pub compared: Vec<Comparison>,
    pub differences: Vec<Comparison>,
    pub at: Timestamp,
    /// Why it does not count, where that is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discounted: Option<Untrusted>,
    pub envelope: String,
}

/// A stored artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtifactInfo {
    pub cid: String,
    /// Of the whole file.
    pub sha256: String,
    pub size: u64,
    pub pinned: bool,
    pub added_at: Timestamp,
}

/// Where bytes of an artifact came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceView {
    /// A peer's id, a gateway's address, or `store`.
    pub from: Untrusted,
    pub bytes: u64,
}

/// Whose fault an error is: it decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The request is wrong (exit code 2).
    Input,
    /// There is no such thing (exit code 1).
    NotFound,
    /// It was tried and failed (exit code 1).
    Failed,
    /// The node is stopping or does not answer (exit code 1).
    Unavailable,
}

/// Why a command was not done: what failed and why, and what to do about it where there is something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct ApiError {
    pub kind: ErrorKind,
    pub message: String,
    pub hint: Option<String>,
}

impl ApiError {
    /// An error without a hint.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), hint: None }
    }

    /// An answer that does not fit the question, which an older or newer node may give.
    pub fn unexpected() -> Self {
        Self::new(ErrorKind::Failed, "the node answered something else than was asked")
            .hint("is it of another version than this program?")
    }

    /// What went wrong and what can be done, in one line.
    pub fn said(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{}{hint}", self.message)
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
