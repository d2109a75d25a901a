//! What is said in `/zerostate/guild/1`, as JSON. Who says it is known by its connection, except in a parcel.
//!
//! ```text
//!   anybody ──charter──────────────► creator, member        the charter
//!   anybody ──join─────────────────► creator                a notice with roster and secret · wait · refused
//!   member  ──heartbeat, leave─────► creator                beat, or the notice that was missed · done
//!   creator ──notice───────────────► member, or who asked   done
//!   member  ──message──────────────► member                 done, or a message
//!   anybody ──offer────────────────► who announced a task   done
//!   creator ──draw─────────────────► who offered to run it  a nonce
//!   creator ──enlist───────────────► who offered            done, or a message
//!   member  ──forward──────────────► a third member, which passes the signed parcel inside on
//! ```

use std::sync::Arc;

use cid::Cid;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::keys::MAX_TEXT;
use super::{Content, End, Refusal, Role, Sealed, Wrapped};
use crate::document::strict::{self, MAX_DOCUMENT_BYTES};
use crate::document::{Document, DocumentError, Faults, Sha256Digest, base64_bytes, cid_text};
use crate::identity::Did;

/// What the network carries at once.
const MAX_BYTES: usize = 256 * 1024;

/// Something said to a node about a guild.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    /// A guild; or a manifest, for which there will be one.
    #[serde(with = "cid_text")]
    pub(super) about: Cid,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum What {
    /// What does the guild say of itself?
    Charter,
    Join {
        /// As a word, so that one that does not exist is refused by name.
        role: String,
        #[serde(with = "base64_bytes")]
        key: [u8; 32],
        invitation: Option<String>,
    },
    Leave,
    /// This member is there, and has heard of this epoch.
    Heartbeat {
        epoch: u64,
    },
    /// A [`Notice`]'s envelope.
    Notice(#[serde(with = "base64_bytes")] Vec<u8>),
    /// Some [`Content`], for members alone.
    Message(Sealed),
    /// Pass this on: a [`Parcel`]'s envelope.
    Forward {
        to: Did,
        #[serde(with = "base64_bytes")]
        parcel: Vec<u8>,
    },
    /// This node would take part in the task of a manifest, in the guild that its creator forms.
    Offer {
        execute: bool,
        attest: bool,
        #[serde(with = "base64_bytes")]
        key: [u8; 32],
    },
    /// You would run it, and the witnesses are drawn from these: of what is committed to and of your nonce comes who they are.
    Draw {
        pool: Vec<Did>,
        commitment: Sha256Digest,
    },
    /// You are in a guild now, as you have offered; and the first thing that is said in it, which is answered.
    Enlist {
        /// The key that was offered.
        #[serde(with = "base64_bytes")]
        key: [u8; 32],
        #[serde(with = "base64_bytes")]
        charter: Vec<u8>,
        #[serde(with = "base64_bytes")]
        notice: Vec<u8>,
        first: Sealed,
    },
    /// What a third member passes on.
    Parcel(#[serde(with = "base64_bytes")] Vec<u8>),
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Reply {
    Done,
    /// The charter's envelope.
    Charter(#[serde(with = "base64_bytes")] Vec<u8>),
    /// The creator is asked; a notice follows.
    Wait,
    /// A [`Notice`]'s envelope.
    Notice(#[serde(with = "base64_bytes")] Vec<u8>),
    /// What is said to a message: some [`Content`].
    Said(Sealed),
    /// For a draw, and how many times this node has been asked for the same.
    Nonce {
        #[serde(with = "base64_bytes")]
        nonce: [u8; 32],
        attempt: u32,
    },
    Refused(Refusal),
}

/// What the creator decided, told to one of those whom it concerns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notice {
    #[serde(with = "cid_text")]
    pub(super) guild: Cid,
    pub(super) creator: Did,
    pub(super) to: Did,
    /// Each decision has a later one.
    pub(super) epoch: u64,
    pub(super) news: News,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum News {
    /// Who is in the guild now, and the epoch's secret, sealed for the one who is told.
    Roster {
        members: Vec<Seat>,
        secret: Wrapped,
    },
    /// It is in the guild no more.
    Removed,
    /// It asked, and is not admitted.
    Refused,
    Over(End),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seat {
    pub(super) did: Did,
    pub(super) role: Role,
}

/// Something said by a member to one that it cannot reach. It comes through a third, so it is signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parcel {
    pub(super) from: Did,
    pub(super) to: Did,
    pub(super) at: Timestamp,
    pub(super) ask: Ask,
}

/// How the creator invites somebody: whoever has it may join until it expires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Invitation {
    #[serde(with = "cid_text")]
    pub(super) guild: Cid,
    pub(super) creator: Did,
    pub(super) expires_at: Timestamp,
    /// Where the creator can be dialled.
    pub(super) addresses: Vec<String>,
}

macro_rules! signed {
    ($document:ty, $name:literal, $author:ident) => {
        impl Document for $document {
            const PAYLOAD_TYPE: &'static str = concat!("application/vnd.zerostate.", $name, ".v1+json");

            fn encode(&self) -> Result<Vec<u8>, DocumentError> {
                serde_json::to_vec(self).map_err(DocumentError::json)
            }

            fn decode(payload: &[u8]) -> Result<Self, DocumentError> {
                strict::from_slice(payload, MAX_DOCUMENT_BYTES)
            }

            fn author(&self) -> &Did {
                &self.$author
            }

            fn faults(&self) -> Faults {
                Faults::default()
            }
        }
    };
}

signed!(Notice, "guild-notice", creator);
signed!(Parcel, "guild-parcel", from);
signed!(Invitation, "guild-invitation", creator);

impl Ask {
    pub(super) fn new(about: Cid, what: What) -> Self {
        Self { about, what }
    }

    pub(super) fn bytes(&self) -> Result<Arc<[u8]>, DocumentError> {
        Ok(serde_json::to_vec(self).map_err(DocumentError::json)?.into())
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        strict::from_slice(bytes, MAX_BYTES)
    }
}

impl What {
    /// Whether a third member passes it on.
    pub(super) fn is_passed_on(&self) -> bool {
        matches!(self, Self::Heartbeat { .. } | Self::Leave | Self::Message(_) | Self::Notice(_))
    }
}

impl Reply {
    pub(super) fn bytes(&self) -> Result<Vec<u8>, DocumentError> {
        serde_json::to_vec(self).map_err(DocumentError::json)
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        strict::from_slice(bytes, MAX_BYTES)
    }
}

impl Content {
    pub(super) fn bytes(&self) -> Result<Vec<u8>, DocumentError> {
        let bytes = serde_json::to_vec(self).map_err(DocumentError::json)?;
        if bytes.len() > MAX_TEXT {
            return Err(DocumentError::TooLarge { bytes: bytes.len(), limit: MAX_TEXT });
        }
        Ok(bytes)
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        strict::from_slice(bytes, MAX_TEXT)
    }
}
