//! What is said in a guild about tasks, and what of it goes up to whoever lives them.

use cid::Cid;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{Action, Refusal};
use crate::document::{Draw, Sha256Digest, Untrusted, base64_bytes, cid_text};
use crate::identity::Did;

/// The longest text in the channel.
const MAX_SAID: usize = 4096;

/// What a message says once it is opened. Envelopes are as they came: whoever reads them verifies them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Content {
    Speak(String),
    /// Let us do this, and these of us in these parts. Answered with an agreement.
    Propose {
        #[serde(with = "cid_text")]
        manifest: Cid,
        /// The manifest's.
        #[serde(with = "base64_bytes")]
        envelope: Vec<u8>,
        executor: Did,
        witnesses: Vec<Did>,
        draw: Draw,
    },
    /// An agreement's envelope.
    Agree(#[serde(with = "base64_bytes")] Vec<u8>),
    /// All have agreed: their agreements' envelopes.
    Begin {
        #[serde(with = "cid_text")]
        manifest: Cid,
        agreements: Vec<Bytes>,
    },
    /// How far the run is.
    Progress {
        #[serde(with = "cid_text")]
        manifest: Cid,
        fuel_used: u64,
        memory_bytes: u64,
        output_bytes: u64,
        elapsed_ms: u64,
        /// The end of what it has written, as text.
        #[serde(default, deserialize_with = "Untrusted::read_lines")]
        output: Untrusted,
    },
    /// There will be no receipt.
    Fail {
        #[serde(with = "cid_text")]
        manifest: Cid,
        reason: String,
    },
    /// Whoever proposed it wants no more of it.
    Withdraw {
        #[serde(with = "cid_text")]
        manifest: Cid,
    },
    /// A receipt's envelope, that of the executor's agreement, and a short output with them.
    Receipt {
        #[serde(with = "cid_text")]
        manifest: Cid,
        #[serde(with = "base64_bytes")]
        receipt: Vec<u8>,
        agreement: Bytes,
        output: Option<Bytes>,
    },
    /// A commitment's envelope: a witness knows what it has to say of the receipt.
    Commit {
        #[serde(with = "cid_text")]
        manifest: Cid,
        #[serde(with = "base64_bytes")]
        commitment: Vec<u8>,
    },
    /// Say it now: these have all committed. Answered with an attestation.
    Reveal {
        #[serde(with = "cid_text")]
        manifest: Cid,
        commitments: Vec<Bytes>,
    },
    /// An attestation's envelope.
    Attest {
        #[serde(with = "cid_text")]
        manifest: Cid,
        #[serde(with = "base64_bytes")]
        attestation: Vec<u8>,
    },
    /// What the witnesses' words came to, where that is not that all agree.
    Outcome {
        #[serde(with = "cid_text")]
        manifest: Cid,
        state: String,
        why: Vec<String>,
        /// That it was an audit: the secret of which the manifest's nonce is the digest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        audit: Option<String>,
    },
}

/// Bytes in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(#[serde(with = "base64_bytes")] pub Vec<u8>);

impl Content {
    /// What somebody does who says it.
    pub fn action(&self) -> Action {
        match self {
            Self::Speak(_) => Action::Speak,
            Self::Propose { .. }
            | Self::Begin { .. }
            | Self::Withdraw { .. }
            | Self::Reveal { .. }
            | Self::Outcome { .. } => Action::Propose,
            Self::Agree(_) => Action::Agree,
            Self::Progress { .. } | Self::Fail { .. } | Self::Receipt { .. } => Action::Run,
            Self::Commit { .. } | Self::Attest { .. } => Action::Attest,
        }
    }

    /// The manifest of the task that it is about.
    pub fn about(&self) -> Option<&Cid> {
        match self {
            Self::Speak(_) | Self::Agree(_) => None,
            Self::Propose { manifest, .. }
            | Self::Begin { manifest, .. }
            | Self::Progress { manifest, .. }
            | Self::Fail { manifest, .. }
            | Self::Withdraw { manifest }
            | Self::Receipt { manifest, .. }
            | Self::Commit { manifest, .. }
            | Self::Reveal { manifest, .. }
            | Self::Attest { manifest, .. }
            | Self::Outcome { manifest, .. } => Some(manifest),
        }
    }

    pub(super) fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Speak(text) if text.len() > MAX_SAID => {
                Err(Refusal::TooLong { found: text.len(), limit: MAX_SAID })
            }
            _ => Ok(()),
        }
    }
}

/// What answers something that was said: what is said to it, or why it is not taken.
pub type Said = Result<Option<Content>, Refusal>;

/// Something about a task, from somebody who may say it.
#[derive(Debug)]
pub enum Told {
    /// Somebody would take part in a task of this node's.
    Offer { manifest: Cid, offer: Offer },
    /// Somebody would have this node run its task, and draws the witnesses with it. Answered with a nonce, and how many times it
    /// has been asked for that.
    Draw {
        manifest: Cid,
        from: Did,
        pool: Vec<Did>,
        commitment: Sha256Digest,
        reply: oneshot::Sender<Result<([u8; 32], u32), Refusal>>,
    },
    /// Said in a guild.
    Word { guild: Cid, from: Did, content: Content, reply: oneshot::Sender<Said> },
}

/// What somebody would do for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub from: Did,
    pub execute: bool,
    pub attest: bool,
    /// Its public key for the guild.
    pub key: [u8; 32],
}
