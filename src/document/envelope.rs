//! The DSSE envelope (Dead Simple Signing Envelope, protocol v1.0.2) around every signed document.
//!
//! The bytes that were signed are the bytes that are stored, sent and hashed. An envelope has one spelling: compact JSON,
//! fields in the order below, one signature, canonical base64. So an envelope in which any byte changed is refused, also
//! where the change would not have touched the signed payload.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cid::Cid;
use serde::Deserialize;

use super::strict::{self, MAX_DOCUMENT_BYTES, MAX_ENVELOPE_BYTES};
use super::{Document, DocumentError, content_id};
use crate::identity::{Did, Identity};

/// A document, the bytes it came in and the key that signed it. One that exists has been verified. Cheap to clone.
#[derive(PartialEq, Eq)]
pub struct Envelope<T> {
    document: Arc<T>,
    id: Cid,
    signer: Did,
    bytes: Arc<[u8]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wire<'a> {
    #[serde(rename = "payloadType", borrow)]
    pub(super) payload_type: Cow<'a, str>,
    #[serde(borrow)]
    payload: Cow<'a, str>,
    #[serde(borrow)]
    signatures: Vec<WireSignature<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature<'a> {
    #[serde(borrow)]
    keyid: Cow<'a, str>,
    #[serde(borrow)]
    sig: Cow<'a, str>,
}

impl<T: Document> Envelope<T> {
    /// Signs a document.
    ///
    /// # Errors
    /// When the document breaks the rules that its readers apply, or when `identity` is not the author it names.
    pub fn sign(identity: &Identity, document: &T) -> Result<Self, DocumentError> {
        document.faults().into_result().map_err(DocumentError::Faults)?;
        check_author(document, identity.did())?;
        let payload = document.encode()?;
        if payload.len() > MAX_DOCUMENT_BYTES {
            return Err(DocumentError::TooLarge { bytes: payload.len(), limit: MAX_DOCUMENT_BYTES });
        }
        let signature = BASE64.encode(identity.sign(&pre_authentication(T::PAYLOAD_TYPE, &payload)));
        let wire = Wire {
            payload_type: T::PAYLOAD_TYPE.into(),
            payload: BASE64.encode(&payload).into(),
            signatures: vec![WireSignature { keyid: identity.did().as_str().into(), sig: signature.into() }],
        };
        let bytes = wire.written()?;
        let (id, signer) = (content_id(&payload), identity.did().clone());
        Ok(Self { document: Arc::new(document.clone()), id, signer, bytes: bytes.into() })
    }

    /// Verifies and reads an envelope from anybody.
    ///
    /// # Errors
    /// [`DocumentError`] saying which part is wrong: size, JSON, spelling, payload type, key, signature, content.
    pub fn open(bytes: &[u8]) -> Result<Self, DocumentError> {
        let wire = Wire::read(bytes)?;
        if wire.payload_type != T::PAYLOAD_TYPE {
            return Err(DocumentError::PayloadType {
                found: wire.payload_type.into_owned(),
                expected: T::PAYLOAD_TYPE,
            });
        }
        let (payload, signer) = wire.verify()?;
        Self::from_verified(&payload, signer, bytes)
    }

    pub(super) fn from_verified(payload: &[u8], signer: Did, bytes: &[u8]) -> Result<Self, DocumentError> {
        let document = T::decode(payload)?;
        strict::check_shape(payload, &document.encode()?)?;
        check_author(&document, &signer)?;
        Ok(Self { document: Arc::new(document), id: content_id(payload), signer, bytes: bytes.into() })
    }
}

impl<T> Envelope<T> {
    /// What was signed.
    pub fn document(&self) -> &T {
        &self.document
    }

    /// CIDv1 (raw, sha2-256) of the payload bytes.
    pub fn id(&self) -> &Cid {
        &self.id
    }

    /// Whose signature it carries.
    pub fn signer(&self) -> &Did {
        &self.signer
    }

    /// The envelope as it is stored and sent.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

impl<T> Clone for Envelope<T> {
    fn clone(&self) -> Self {
        let (document, bytes) = (Arc::clone(&self.document), Arc::clone(&self.bytes));
        Self { document, id: self.id, signer: self.signer.clone(), bytes }
    }
}

impl<T> std::fmt::Debug for Envelope<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Envelope({} by {})", self.id, self.signer)
    }
}

fn check_author(document: &impl Document, signer: &Did) -> Result<(), DocumentError> {
    if document.author() == signer {
        return Ok(());
    }
    Err(DocumentError::Author { signer: signer.clone(), author: document.author().clone() })
}

impl<'a> Wire<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(DocumentError::TooLarge { bytes: bytes.len(), limit: MAX_ENVELOPE_BYTES });
        }
        let wire: Self = serde_json::from_slice(bytes).map_err(DocumentError::json)?;
        // One spelling: no spaces, no other order, no key twice, no escapes that mean the same.
        if wire.written()? != bytes {
            return Err(DocumentError::Envelope(
                "it is not compact JSON with payloadType, payload, signatures in this order and without an escape",
            ));
        }
        Ok(wire)
    }

    /// The one spelling. Nothing in an envelope needs an escape; whatever had one comes out different from what came in.
    fn written(&self) -> Result<Vec<u8>, DocumentError> {
        let signature = self.signature()?;
        let parts = [
            "{\"payloadType\":\"",
            &self.payload_type,
            "\",\"payload\":\"",
            &self.payload,
            "\",\"signatures\":[{\"keyid\":\"",
            &signature.keyid,
            "\",\"sig\":\"",
            &signature.sig,
            "\"}]}",
        ];
        Ok(parts.concat().into_bytes())
    }

    fn signature(&self) -> Result<&WireSignature<'a>, DocumentError> {
        match self.signatures.as_slice() {
            [only] => Ok(only),
            _ => Err(DocumentError::Envelope("it must carry exactly one signature")),
        }
    }

    /// Checks the signature and gives back payload and signer.
    pub(super) fn verify(&self) -> Result<(Vec<u8>, Did), DocumentError> {
        let signature = self.signature()?;
        let payload = decode(&self.payload, "the payload is not canonical base64")?;
        if payload.len() > MAX_DOCUMENT_BYTES {
            return Err(DocumentError::TooLarge { bytes: payload.len(), limit: MAX_DOCUMENT_BYTES });
        }
        let signer: Did = signature.keyid.parse().map_err(DocumentError::Key)?;
        let sig = decode(&signature.sig, "the signature is not canonical base64")?;
        let sig = sig.try_into().map_err(|_| DocumentError::Envelope("an Ed25519 signature has 64 bytes"))?;
        signer
            .verify(&pre_authentication(&self.payload_type, &payload), &sig)
            .map_err(|_| DocumentError::Signature(signer.clone()))?;
        Ok((payload, signer))
    }
}

fn decode(text: &str, complaint: &'static str) -> Result<Vec<u8>, DocumentError> {
    BASE64.decode(text).map_err(|_| DocumentError::Envelope(complaint))
}

/// DSSE v1 PAE: `"DSSEv1" SP LEN(type) SP type SP LEN(body) SP body`, lengths in decimal.
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pre_authentication_encoding_is_that_of_the_specification() {
        let pae = pre_authentication("http://example.com/HelloWorld", b"hello world");
        assert_eq!(pae, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }
}
