//! The commitment: a witness binds itself to what it found before anybody may see it, so that none can copy another's word.

use cid::Cid;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::strict::{self, MAX_DOCUMENT_BYTES};
use super::{Document, DocumentError, Faults, Sha256Digest, cid_text};
use crate::identity::Did;

/// One witness's promise of an attestation that it has signed already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commitment {
    pub witness: Did,
    /// Id of the receipt.
    #[serde(with = "cid_text")]
    pub receipt: Cid,
    /// Of the attestation's id. In what that is the digest of are verdict, measurements, the witness's DID and a random salt; and who
    /// knows this digest alone cannot ask anybody for the attestation.
    pub digest: Sha256Digest,
    pub committed_at: Timestamp,
}

impl Commitment {
    /// The promise of an attestation.
    pub fn to(attestation: &Cid, receipt: Cid, witness: Did, now: Timestamp) -> Self {
        Self { witness, receipt, digest: digest(attestation), committed_at: now }
    }

    /// Whether an attestation of this id is what was promised.
    pub fn opens_to(&self, attestation: &Cid) -> bool {
        self.digest == digest(attestation)
    }
}

fn digest(attestation: &Cid) -> Sha256Digest {
    let mut hasher = Sha256::new();
    hasher.update(b"zerostate commitment v1");
    hasher.update(attestation.to_bytes());
    Sha256Digest::from_bytes(hasher.finalize().into())
}

impl Document for Commitment {
    const PAYLOAD_TYPE: &'static str = "application/vnd.zerostate.commitment.v1+json";

    fn encode(&self) -> Result<Vec<u8>, DocumentError> {
        serde_json::to_vec(self).map_err(DocumentError::json)
    }

    fn decode(payload: &[u8]) -> Result<Self, DocumentError> {
        strict::from_slice(payload, MAX_DOCUMENT_BYTES)
    }

    fn author(&self) -> &Did {
        &self.witness
    }

    fn faults(&self) -> Faults {
        Faults::default()
    }
}
