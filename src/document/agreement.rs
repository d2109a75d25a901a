//! The agreement: a member of a guild says by its signature that this task is to be done, and who does what in it.

use cid::Cid;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::strict::{self, MAX_DOCUMENT_BYTES};
use super::{Document, DocumentError, Draw, Faults, cid_text};
use crate::identity::Did;

/// As many as a manifest may ask for, and some.
const WITNESSES_MAX: usize = 64;

/// One member's agreement to a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    #[serde(with = "cid_text")]
    pub guild: Cid,
    #[serde(with = "cid_text")]
    pub manifest: Cid,
    pub executor: Did,
    pub witnesses: Vec<Did>,
    /// Where the witnesses come from; who has drawn them, the creator and the executor, signs it as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw: Option<Draw>,
    /// Who agrees.
    pub member: Did,
    pub agreed_at: Timestamp,
}

impl Agreement {
    /// Who does something in it: the executor, and the witnesses.
    pub fn parties(&self) -> impl Iterator<Item = &Did> {
        [&self.executor].into_iter().chain(&self.witnesses)
    }

    /// Whether it is to the same as another: everything but who agrees, and when; and the draw, where both have it.
    pub fn is_to_the_same_as(&self, other: &Self) -> bool {
        let draws = self.draw.as_ref().zip(other.draw.as_ref());
        (self.guild, self.manifest, &self.executor, &self.witnesses)
            == (other.guild, other.manifest, &other.executor, &other.witnesses)
            && draws.is_none_or(|(one, other)| one == other)
    }
}

impl Document for Agreement {
    const PAYLOAD_TYPE: &'static str = "application/vnd.zerostate.agreement.v1+json";

    fn encode(&self) -> Result<Vec<u8>, DocumentError> {
        serde_json::to_vec(self).map_err(DocumentError::json)
    }

    fn decode(payload: &[u8]) -> Result<Self, DocumentError> {
        let agreement: Self = strict::from_slice(payload, MAX_DOCUMENT_BYTES)?;
        agreement.faults().into_result().map_err(DocumentError::Faults)?;
        Ok(agreement)
    }

    fn author(&self) -> &Did {
        &self.member
    }

    fn faults(&self) -> Faults {
        let mut f = Faults::default();
        let found = self.witnesses.len();
        f.check(found <= WITNESSES_MAX, "witnesses", found, format!("at most {WITNESSES_MAX}"));
        f.check(
            !self.witnesses.contains(&self.executor),
            "executor",
            &self.executor,
            "none of the witnesses: nobody attests its own receipt",
        );
        if let Some(draw) = &self.draw {
            let gives = draw.gives(&self.manifest, &self.executor, found, &self.witnesses);
            f.check(
                gives,
                "draw",
                format!("{} in its pool", draw.pool.len()),
                "a draw that gives these witnesses",
            );
        }
        f
    }
}
