//! `did:key` names of Ed25519 keys.
//!
//! Source: The did:key Method v0.9, section 3.1.1 (multicodec `0xed01`, base58btc), and the libp2p PeerId
//! specification (an identity multihash over the protobuf-encoded public key).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

const PREFIX: &str = "did:key:";
/// The varint of multicodec `ed25519-pub` (0xed).
const ED25519_PUB: [u8; 2] = [0xed, 0x01];
/// Identity multihash (0x00) of 36 bytes, holding a protobuf PublicKey: type 1 (Ed25519), 32 bytes of data.
const PEER_ID_HEAD: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// `did:key:z` and at most 48 base58 digits for 34 bytes.
const MAX_LEN: usize = 64;
/// Names that a thread has parsed lately. Checking a key costs as much as a tenth of a signature, a document names several, and
/// a node hears mostly from those it has just heard from.
const RECENT: usize = 64;

/// The `did:key` of an Ed25519 key that has been checked: a point on the curve that is not of small order.
/// Cheap to clone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Did(Arc<Named>);

struct Named {
    text: String,
    key: VerifyingKey,
}

thread_local! {
    static SEEN: RefCell<VecDeque<Did>> = const { RefCell::new(VecDeque::new()) };
}

/// Why a text is not the `did:key` of a usable Ed25519 key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DidError {
    #[error("not a did:key: it must start with \"did:key:z6Mk\" and hold at most {MAX_LEN} characters")]
    Form,
    #[error(
        "not an Ed25519 did:key: the text after \"did:key:\" is not base58btc of 34 bytes starting with 0xed01"
    )]
    Encoding,
    #[error("a weak or invalid Ed25519 key: signatures under it prove nothing, so it is refused")]
    Weak,
    #[error("the peer id is not that of an Ed25519 key")]
    PeerId,
    #[error("the signature does not match the key and the message")]
    Signature,
}

impl Did {
    /// The name of a key made here; such a key is never weak.
    pub(super) fn from_key(key: VerifyingKey) -> Self {
        let bytes = [ED25519_PUB.as_slice(), key.as_bytes().as_slice()].concat();
        let text = format!("{PREFIX}z{}", bs58::encode(bytes).into_string());
        Self(Arc::new(Named { text, key }))
    }

    /// The name of a public key that somebody else sent.
    ///
    /// # Errors
    /// [`DidError::Weak`] when the bytes are not the one encoding of a curve point or are a point of small order.
    pub fn from_public_key(key: &[u8; 32]) -> Result<Self, DidError> {
        Ok(Self::from_key(usable(key)?))
    }

    /// The 32 bytes of the public key.
    pub fn public_key(&self) -> &[u8; 32] {
        self.0.key.as_bytes()
    }

    /// The libp2p PeerId of the same key, in base58btc.
    pub fn peer_id(&self) -> String {
        bs58::encode([PEER_ID_HEAD.as_slice(), self.public_key().as_slice()].concat()).into_string()
    }

    /// The DID of the key inside an Ed25519 PeerId (`12D3KooW…`).
    ///
    /// # Errors
    /// [`DidError::PeerId`] for another kind of PeerId, [`DidError::Weak`] for a weak key.
    pub fn from_peer_id(peer_id: &str) -> Result<Self, DidError> {
        if peer_id.len() > MAX_LEN {
            return Err(DidError::PeerId);
        }
        let bytes = bs58::decode(peer_id).into_vec().map_err(|_| DidError::PeerId)?;
        let key = bytes.strip_prefix(&PEER_ID_HEAD).ok_or(DidError::PeerId)?;
        Self::from_public_key(key.try_into().map_err(|_| DidError::PeerId)?)
    }

    /// Checks an Ed25519 signature with the strict rules (no small-order points, canonical encodings).
    ///
    /// # Errors
    /// [`DidError::Signature`] when it does not hold.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), DidError> {
        self.0.key.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| DidError::Signature)
    }

    /// `z6Mkha…q8fT`: enough to recognise, short enough for a column.
    pub fn short(&self) -> String {
        let id = self.0.text.trim_start_matches(PREFIX);
        let head: String = id.chars().take(6).collect();
        let tail: String = id.chars().skip(id.len().saturating_sub(4)).collect();
        format!("{head}…{tail}")
    }

    /// The whole text, `did:key:z6Mk…`.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

impl FromStr for Did {
    type Err = DidError;

    fn from_str(text: &str) -> Result<Self, DidError> {
        if text.len() > MAX_LEN {
            return Err(DidError::Form);
        }
        let recent =
            |seen: &RefCell<VecDeque<Did>>| seen.borrow().iter().find(|did| did.as_str() == text).cloned();
        if let Some(did) = SEEN.with(recent) {
            return Ok(did);
        }
        let did = parse(text)?;
        SEEN.with(|seen| {
            let mut seen = seen.borrow_mut();
            seen.truncate(RECENT - 1);
            seen.push_front(did.clone());
        });
        Ok(did)
    }
}

/// One key has one name: base58 without leading zeros, which the multicodec rules out, has one spelling of a number.
fn parse(text: &str) -> Result<Did, DidError> {
    let digits = text.strip_prefix(PREFIX).and_then(|id| id.strip_prefix('z')).ok_or(DidError::Form)?;
    let bytes = bs58::decode(digits).into_vec().map_err(|_| DidError::Encoding)?;
    let key = bytes.strip_prefix(&ED25519_PUB).ok_or(DidError::Encoding)?;
    let key = usable(key.try_into().map_err(|_| DidError::Encoding)?)?;
    Ok(Did(Arc::new(Named { text: text.to_owned(), key })))
}

fn usable(key: &[u8; 32]) -> Result<VerifyingKey, DidError> {
    let parsed = VerifyingKey::from_bytes(key).map_err(|_| DidError::Weak)?;
    if is_canonical(key) && !parsed.is_weak() { Ok(parsed) } else { Err(DidError::Weak) }
}

/// Whether the y coordinate is below 2^255 - 19. One under 19 could also be written with that prime added, which RFC 8032,
/// section 5.1.3, refuses; a key would have two names then.
fn is_canonical(key: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = key;
    !(*low >= 0xed && middle.iter().all(|byte| *byte == 0xff) && high & 0x7f == 0x7f)
}

impl PartialEq for Did {
    fn eq(&self, other: &Self) -> bool {
        self.public_key() == other.public_key()
    }
}

impl Eq for Did {}

impl Hash for Did {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.public_key().hash(state);
    }
}

impl PartialOrd for Did {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Did {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.public_key().cmp(other.public_key())
    }
}

impl TryFrom<String> for Did {
    type Error = DidError;

    fn try_from(text: String) -> Result<Self, DidError> {
        text.parse()
    }
}

impl From<Did> for String {
    fn from(did: Did) -> Self {
        did.0.text.clone()
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first Ed25519 test vector of the did:key method's own test suite.
    const KNOWN: &str = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
    const KNOWN_KEY: &str = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";

    #[test]
    fn the_published_vector_names_its_key() {
        let did: Did = KNOWN.parse().unwrap();
        assert_eq!(hex::encode(did.public_key()), KNOWN_KEY);
        assert_eq!(Did::from_peer_id(&did.peer_id()).unwrap(), did);
        assert!(did.peer_id().starts_with("12D3KooW"));
    }

    #[test]
    fn small_order_points_are_refused_at_the_door() {
        let neutral = {
            let mut k = [0u8; 32];
            k[0] = 1;
            k
        };
        for weak in [[0u8; 32], neutral] {
            assert_eq!(Did::from_public_key(&weak), Err(DidError::Weak));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            "did:key:",
            "did:web:example",
            "did:key:z6Mk",
            "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
        ] {
            assert!(bad.parse::<Did>().is_err(), "{bad}");
        }
        assert!(format!("{KNOWN}1").parse::<Did>().is_err());
    }
}
