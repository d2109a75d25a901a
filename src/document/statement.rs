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
    // A receipt has some 1,400 bytes.
    let mut payload = Vec::with_capacity(2048);
    serde_json::to_writer(&mut payload, &statement).map_err(DocumentError::json)?;
    Ok(payload)
}

/// The predicate and the digest of the one subject.
pub(super) fn decode<P: DeserializeOwned>(
    payload: &[u8],
    subject: &'static str,
    predicate_type: &'static str,
) -> Result<(Sha256Digest, P), DocumentError> {
    let statement: Statement<P> = match strict::from_slice(payload, MAX_DOCUMENT_BYTES) {
        Ok(statement) => statement,
        // A statement of another kind has other fields; its kind is the better complaint.
        Err(error) => match self::predicate_type(payload) {
            Ok(found) if found != predicate_type => {
                return Err(DocumentError::PayloadType { found, expected: predicate_type });
            }
            _ => return Err(error),
        },
    };
    let [only] = statement.subject;
    let parts = [
        (statement.predicate_type, predicate_type),
        (statement.statement_type, STATEMENT_TYPE),
        (only.name, subject),
    ];
    for (found, expected) in parts {
        if found != expected {
            return Err(DocumentError::PayloadType { found, expected });
        }
    }
    Ok((only.digest.sha256, statement.predicate))
}

/// Which kind of statement a payload claims to be; nothing else of it is checked.
pub(super) fn predicate_type(payload: &[u8]) -> Result<String, DocumentError> {
    #[derive(Deserialize)]
    struct Peek {
        #[serde(rename = "predicateType")]
        predicate_type: String,
    }
    serde_json::from_slice::<Peek>(payload).map(|peek| peek.predicate_type).map_err(DocumentError::json)
}
