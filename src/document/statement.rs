//! in-toto Statement v1, the shape of receipts and attestations.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::strict::{self, MAX_DOCUMENT_BYTES};
use super::{DocumentError, Sha256Digest};

/// DSSE payload type of every in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement<P> {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: [Subject; 1],
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: P,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: DigestSet,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DigestSet {
    sha256: Sha256Digest,
}

pub(super) fn encode<P: Serialize>(
    subject: &str,
    sha256: Sha256Digest,
    predicate_type: &str,
    predicate: P,
) -> Result<Vec<u8>, DocumentError> {
    let statement = Statement {
        statement_type: STATEMENT_TYPE.to_owned(),
        subject: [Subject { name: subject.to_owned(), digest: DigestSet { sha256 } }],
        predicate_type: predicate_type.to_owned(),
        predicate,
    };
    serde_json::to_vec(&statement).map_err(DocumentError::json)
}

/// The predicate and the digest of the one subject.
pub(super) fn decode<P: DeserializeOwned>(
    payload: &[u8],
    subject: &'static str,
    predicate_type: &'static str,
) -> Result<(Sha256Digest, P), DocumentError> {
    let found = self::predicate_type(payload)?;
    if found != predicate_type {
        return Err(DocumentError::PayloadType { found, expected: predicate_type });
    }
    let statement: Statement<P> = strict::from_slice(payload, MAX_DOCUMENT_BYTES)?;
    if statement.statement_type != STATEMENT_TYPE {
        return Err(DocumentError::PayloadType { found: statement.statement_type, expected: STATEMENT_TYPE });
    }
    let [only] = statement.subject;
    if only.name != subject {
        return Err(DocumentError::PayloadType { found: only.name, expected: subject });
    }
    Ok((only.digest.sha256, statement.predicate))
}

/// Which kind of statement a payload is.
pub(super) fn predicate_type(payload: &[u8]) -> Result<String, DocumentError> {
    #[derive(Deserialize)]
    struct Peek {
        #[serde(rename = "predicateType")]
        predicate_type: String,
    }
    strict::from_slice::<Peek>(payload, MAX_DOCUMENT_BYTES).map(|peek| peek.predicate_type)
}
