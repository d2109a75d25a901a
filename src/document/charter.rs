//! The charter: what somebody who founds a guild says of it to everybody. Who is in it, the charter does not say.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::strict::{self, MAX_DOCUMENT_BYTES};
use super::{Document, DocumentError, Faults};
use crate::config::Admit;
use crate::identity::Did;

const NAME_MAX: usize = 64;
/// Every change of members seals a secret for each of them, so a guild is a group and not a public.
const CAPACITY_MAX: u32 = 256;
/// Guilds are short-lived.
const LIFE_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Hex digits of 16 random bytes.
const NONCE_LENGTH: usize = 32;

/// A guild's charter. The guild's id is that of this document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charter {
    pub name: String,
    pub creator: Did,
    pub created_at: Timestamp,
    /// To the second.
    pub expires_at: Timestamp,
    /// Members at once, the creator among them.
    pub capacity: u32,
    /// Who may come in.
    pub admit: Admit,
    /// So that two guilds of one name and one moment are two.
    pub nonce: String,
}

impl Charter {
    /// What a guild has when nothing else is asked for.
    pub const TTL: SignedDuration = SignedDuration::from_hours(1);
    pub const CAPACITY: u32 = 50;
}

impl Document for Charter {
    const PAYLOAD_TYPE: &'static str = "application/vnd.zerostate.charter.v1+json";

    fn encode(&self) -> Result<Vec<u8>, DocumentError> {
        serde_json::to_vec(self).map_err(DocumentError::json)
    }

    fn decode(payload: &[u8]) -> Result<Self, DocumentError> {
        let charter: Self = strict::from_slice(payload, MAX_DOCUMENT_BYTES)?;
        charter.faults().into_result().map_err(DocumentError::Faults)?;
        Ok(charter)
    }

    fn author(&self) -> &Did {
        &self.creator
    }

    fn faults(&self) -> Faults {
        let mut f = Faults::default();
        f.check((1..=NAME_MAX).contains(&self.name.len()), "name", &self.name, "1 to 64 bytes");
        let life = self.expires_at.duration_since(self.created_at);
        f.check(
            life.is_positive() && life <= LIFE_MAX,
            "expires_at",
            self.expires_at,
            "a time after created_at, by a week at most",
        );
        f.check((1..=CAPACITY_MAX).contains(&self.capacity), "capacity", self.capacity, "1 to 256 members");
        let hex = self.nonce.len() == NONCE_LENGTH
            && self.nonce.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        f.check(hex, "nonce", &self.nonce, "32 hex digits, in lower case");
        f
    }
}
