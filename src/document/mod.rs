//! Everything that is signed, and the rules that make it worth believing. Pure: no files, no network, no clock.
//!
//! ```text
//!   Draft ──complete──► Manifest ─┐
//!            run ─────► Receipt ──┼─sign─► Envelope<T> ══ bytes ══► open ──► Envelope<T> (verified)
//!         re-run ─► Attestation ──┤
//!           AgentCard, Charter ───┤
//!   Agreement, Commitment, Head ──┘
//! ```
//!
//! ```
//! use zerostate::document::{AgentCard, Envelope};
//! use zerostate::identity::Identity;
//!
//! let me = Identity::generate()?;
//! let card = AgentCard::new(me.did().clone(), "atlas", "2026-01-01T00:00:00Z".parse()?);
//! let signed = Envelope::sign(&me, &card)?;
//! assert_eq!(Envelope::<AgentCard>::open(signed.bytes())?.document().name, "atlas");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agreement;
mod attestation;
mod card;
mod charter;
mod commitment;
mod cost;
mod credits;
mod draft;
mod draw;
mod envelope;
mod fault;
mod head;
mod manifest;
mod receipt;

mod statement;
pub mod strict;
mod units;
mod untrusted;
mod verified;

pub use agreement::Agreement;
pub use attestation::{Attestation, Comparison, Measured, Verdict};
pub use card::AgentCard;
pub use charter::Charter;
pub use commitment::Commitment;
pub use cost::Cost;
pub use credits::{Credits, CreditsError};
pub use draft::{ArtifactSource, Completion, Draft, DraftFormat};
pub use draw::{Draw, Seed};
pub use envelope::Envelope;
pub use fault::{Fault, Faults};
pub use head::{Entry, Head, Relation};
pub use manifest::{
    ARTIFACT_MAX, Artifact, AttestationTerms, DEFAULT_FUNCTION, Input, Limits, Manifest, Output, Payment,
    Sla, Stdin, ValueType,
};
pub use receipt::{Content, Environment, Receipt, Status};
pub use units::{bytes_text, duration_text, parse_bytes, parse_duration};
pub use untrusted::Untrusted;
pub use verified::Verified;

use std::fmt;
use std::sync::Arc;

use cid::Cid;
use cid::multihash::Multihash;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::identity::{Did, DidError};

/// The multicodec of raw bytes.
pub const RAW_CODEC: u64 = 0x55;
/// The media type of a block as it is.
pub const RAW_BLOCK: &str = "application/vnd.ipld.raw";
/// The multihash code of sha2-256.
pub const SHA2_256: u64 = 0x12;
/// The multicodec of a node of a Merkle DAG.
pub const DAG_PB_CODEC: u64 = 0x70;

/// Whether a CID can name a file: raw bytes or the root of a DAG, under a hash that is checked here.
pub fn names_a_file(cid: &Cid) -> bool {
    matches!(cid.codec(), RAW_CODEC | DAG_PB_CODEC) && Sha256Digest::from_cid(cid).is_some()
}

/// Something that can be signed: it has bytes, rules, and an author who alone may sign it.
pub trait Document: Sized + Clone {
    /// DSSE `payloadType`.
    const PAYLOAD_TYPE: &'static str;

    /// The payload bytes.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    fn encode(&self) -> Result<Vec<u8>, DocumentError>;

    /// Reads and validates payload bytes.
    ///
    /// # Errors
    /// When they are not such a document or break its rules.
    fn decode(payload: &[u8]) -> Result<Self, DocumentError>;

    /// Everything in it that breaks the rules of its kind.
    fn faults(&self) -> Faults;

    /// The one whose signature it needs.
    fn author(&self) -> &Did;
}

/// Why an envelope or a document is refused.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("{bytes} bytes; at most {limit} are allowed")]
    TooLarge { bytes: usize, limit: usize },
    #[error("not valid JSON for this kind of document: {0}")]
    Json(String),
    #[error("not valid TOML: {0}")]
    Toml(String),
    #[error("not a DSSE envelope as zerostate writes it: {0}")]
    Envelope(&'static str),
    #[error("payload type \"{found}\" where \"{expected}\" is expected", found = Untrusted::new(found))]
    PayloadType { found: String, expected: &'static str },
    #[error("unknown kind of document: {0}")]
    UnknownKind(Untrusted),
    #[error("the signature's key: {0}")]
    Key(DidError),
    #[error("the signature does not hold: these bytes were not signed by {0}")]
    Signature(Did),
    #[error("signed by {signer}, but only {author} may sign it")]
    Author { signer: Did, author: Did },
    #[error("{0}")]
    Faults(Faults),
}

impl DocumentError {
    pub(crate) fn json(error: serde_json::Error) -> Self {
        Self::Json(Untrusted::new(&error.to_string()).to_string())
    }
}

/// Which kind of document an envelope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Manifest,
    Receipt,
    Attestation,
    AgentCard,
    Charter,
    Agreement,
    Commitment,
    Head,
}

impl Kind {
    /// The word for people and for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Receipt => "receipt",
            Self::Attestation => "attestation",
            Self::AgentCard => "agent-card",
            Self::Charter => "charter",
            Self::Agreement => "agreement",
            Self::Commitment => "commitment",
            Self::Head => "head",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verified envelope whose kind was found out by reading it.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyEnvelope {
    Manifest(Envelope<Manifest>),
    Receipt(Envelope<Receipt>),
    Attestation(Envelope<Attestation>),
    AgentCard(Envelope<AgentCard>),
    Charter(Envelope<Charter>),
    Agreement(Envelope<Agreement>),
    Commitment(Envelope<Commitment>),
    Head(Envelope<Head>),
}

impl AnyEnvelope {
    /// Verifies an envelope of any kind.
    ///
    /// # Errors
    /// As [`Envelope::open`], and [`DocumentError::UnknownKind`].
    pub fn open(bytes: &[u8]) -> Result<Self, DocumentError> {
        let wire = envelope::Wire::read(bytes)?;
        let (payload, signer) = wire.verify()?;
        match wire.payload_type.as_ref() {
            Manifest::PAYLOAD_TYPE => Envelope::from_verified(&payload, signer, bytes).map(Self::Manifest),
            AgentCard::PAYLOAD_TYPE => Envelope::from_verified(&payload, signer, bytes).map(Self::AgentCard),
            Charter::PAYLOAD_TYPE => Envelope::from_verified(&payload, signer, bytes).map(Self::Charter),
            Agreement::PAYLOAD_TYPE => Envelope::from_verified(&payload, signer, bytes).map(Self::Agreement),
            Commitment::PAYLOAD_TYPE => {
                Envelope::from_verified(&payload, signer, bytes).map(Self::Commitment)
            }
            Head::PAYLOAD_TYPE => Envelope::from_verified(&payload, signer, bytes).map(Self::Head),
            statement::PAYLOAD_TYPE => match statement::predicate_type(&payload)?.as_str() {
                receipt::PREDICATE_TYPE => {
                    Envelope::from_verified(&payload, signer, bytes).map(Self::Receipt)
                }
                attestation::PREDICATE_TYPE => {
                    Envelope::from_verified(&payload, signer, bytes).map(Self::Attestation)
                }
                other => Err(DocumentError::UnknownKind(Untrusted::new(other))),
            },
            other => Err(DocumentError::UnknownKind(Untrusted::new(other))),
        }
    }

    /// The manifest in it.
    ///
    /// # Errors
    /// [`DocumentError::UnknownKind`] when it is something else.
    pub fn manifest(self) -> Result<Envelope<Manifest>, DocumentError> {
        match self {
            Self::Manifest(envelope) => Ok(envelope),
            other => Err(other.is_no(Kind::Manifest)),
        }
    }

    /// The receipt in it.
    ///
    /// # Errors
    /// As [`AnyEnvelope::manifest`].
    pub fn receipt(self) -> Result<Envelope<Receipt>, DocumentError> {
        match self {
            Self::Receipt(envelope) => Ok(envelope),
            other => Err(other.is_no(Kind::Receipt)),
        }
    }

    /// The attestation in it.
    ///
    /// # Errors
    /// As [`AnyEnvelope::manifest`].
    pub fn attestation(self) -> Result<Envelope<Attestation>, DocumentError> {
        match self {
            Self::Attestation(envelope) => Ok(envelope),
            other => Err(other.is_no(Kind::Attestation)),
        }
    }

    /// The agreement in it.
    ///
    /// # Errors
    /// As [`AnyEnvelope::manifest`].
    pub fn agreement(self) -> Result<Envelope<Agreement>, DocumentError> {
        match self {
            Self::Agreement(envelope) => Ok(envelope),
            other => Err(other.is_no(Kind::Agreement)),
        }
    }

    /// The commitment in it.
    ///
    /// # Errors
    /// As [`AnyEnvelope::manifest`].
    pub fn commitment(self) -> Result<Envelope<Commitment>, DocumentError> {
        match self {
            Self::Commitment(envelope) => Ok(envelope),
            other => Err(other.is_no(Kind::Commitment)),
        }
    }

    fn is_no(&self, wanted: Kind) -> DocumentError {
        DocumentError::UnknownKind(
            format!("{} where {} is expected", self.kind().as_str(), wanted.as_str()).as_str().into(),
        )
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Manifest(_) => Kind::Manifest,
            Self::Receipt(_) => Kind::Receipt,
            Self::Attestation(_) => Kind::Attestation,
            Self::AgentCard(_) => Kind::AgentCard,
            Self::Charter(_) => Kind::Charter,
            Self::Agreement(_) => Kind::Agreement,
            Self::Commitment(_) => Kind::Commitment,
            Self::Head(_) => Kind::Head,
        }
    }

    /// CIDv1 of the payload.
    pub fn id(&self) -> &Cid {
        match self {
            Self::Manifest(envelope) => envelope.id(),
            Self::Receipt(envelope) => envelope.id(),
            Self::Attestation(envelope) => envelope.id(),
            Self::AgentCard(envelope) => envelope.id(),
            Self::Charter(envelope) => envelope.id(),
            Self::Agreement(envelope) => envelope.id(),
            Self::Commitment(envelope) => envelope.id(),
            Self::Head(envelope) => envelope.id(),
        }
    }

    /// Whose signature it carries.
    pub fn signer(&self) -> &Did {
        match self {
            Self::Manifest(envelope) => envelope.signer(),
            Self::Receipt(envelope) => envelope.signer(),
            Self::Attestation(envelope) => envelope.signer(),
            Self::AgentCard(envelope) => envelope.signer(),
            Self::Charter(envelope) => envelope.signer(),
            Self::Agreement(envelope) => envelope.signer(),
            Self::Commitment(envelope) => envelope.signer(),
            Self::Head(envelope) => envelope.signer(),
        }
    }

    /// The same as text: an envelope is JSON.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// The envelope as it is stored and sent.
    pub fn bytes(&self) -> &Arc<[u8]> {
        match self {
            Self::Manifest(envelope) => envelope.bytes(),
            Self::Receipt(envelope) => envelope.bytes(),
            Self::Attestation(envelope) => envelope.bytes(),
            Self::AgentCard(envelope) => envelope.bytes(),
            Self::Charter(envelope) => envelope.bytes(),
            Self::Agreement(envelope) => envelope.bytes(),
            Self::Commitment(envelope) => envelope.bytes(),
            Self::Head(envelope) => envelope.bytes(),
        }
    }
}

/// A sha2-256 digest; 64 hex digits in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A digest that was computed elsewhere.
    pub fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest inside a sha2-256 CID.
    pub fn from_cid(cid: &Cid) -> Option<Self> {
        let hash = cid.hash();
        (hash.code() == SHA2_256).then(|| hash.digest().try_into().ok().map(Self)).flatten()
    }

    /// Hands on the 64 digits without an allocation: a receipt has a handful of digests.
    fn with_hex<R>(&self, then: impl FnOnce(&str) -> R) -> R {
        let mut digits = [0; 64];
        let written = hex::encode_to_slice(self.0, &mut digits);
        // 32 bytes always fill 64 digits.
        then(written.ok().and_then(|()| std::str::from_utf8(&digits).ok()).unwrap_or_default())
    }

    /// The CIDv1 of raw bytes with this digest.
    pub fn to_cid(self) -> Cid {
        match Multihash::wrap(SHA2_256, &self.0) {
            Ok(hash) => Cid::new_v1(RAW_CODEC, hash),
            // A CID's multihash holds up to 64 bytes; 32 always fit.
            Err(_) => Cid::default(),
        }
    }
}

impl TryFrom<String> for Sha256Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let complaint = || "64 lower-case hex digits of a sha256 are expected".to_owned();
        let bytes = hex::decode(&text).map_err(|_| complaint())?;
        let digest = Self(bytes.try_into().map_err(|_| complaint())?);
        if digest.with_hex(|digits| digits == text) { Ok(digest) } else { Err(complaint()) }
    }
}

impl Serialize for Sha256Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_hex(|digits| serializer.serialize_str(digits))
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_hex(|digits| f.write_str(digits))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The CIDv1 (raw, sha2-256) of bytes.
pub fn content_id(bytes: &[u8]) -> Cid {
    Sha256Digest::of(bytes).to_cid()
}

/// Bytes as base64 text in JSON.
pub mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes canonical base64 with padding.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    /// Reads canonical base64 with padding.
    ///
    /// # Errors
    /// When the text is not that, or the bytes are too many or too few.
    pub fn deserialize<'de, D: Deserializer<'de>, B: TryFrom<Vec<u8>>>(
        deserializer: D,
    ) -> Result<B, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(|_| serde::de::Error::custom("base64 is expected"))?;
        let found = bytes.len();
        bytes.try_into().map_err(|_| serde::de::Error::custom(format!("not {found} bytes are expected")))
    }
}

/// CIDs as text in JSON, in their one canonical spelling (base32, CIDv1).
pub mod cid_text {
    use cid::Cid;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the canonical text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(cid: &Cid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(cid)
    }

    /// Reads the canonical text alone.
    ///
    /// # Errors
    /// When the text is not a CID or not spelt canonically.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cid, D::Error> {
        let text = String::deserialize(deserializer)?;
        let cid: Cid =
            text.parse().map_err(|error| serde::de::Error::custom(format!("not a CID: {error}")))?;
        if cid.to_string() == text {
            Ok(cid)
        } else {
            Err(serde::de::Error::custom("a CID not in its canonical spelling"))
        }
    }

    /// The same where there may be none.
    pub mod option {
        use cid::Cid;
        use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Text(#[serde(with = "super")] Cid);

        /// Writes the canonical text.
        ///
        /// # Errors
        /// Those of the serializer.
        pub fn serialize<S: Serializer>(cid: &Option<Cid>, serializer: S) -> Result<S::Ok, S::Error> {
            cid.map(|cid| cid.to_string()).serialize(serializer)
        }

        /// Reads the canonical text alone.
        ///
        /// # Errors
        /// When the text is not a CID or not spelt canonically.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cid>, D::Error> {
            Ok(Option::<Text>::deserialize(deserializer)?.map(|Text(cid)| cid))
        }
    }
}
