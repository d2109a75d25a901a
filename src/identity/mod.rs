//! Who a node is: one Ed25519 key that is its libp2p PeerId, its `did:key` and its signing key.
//!
//! ```text
//!   key.pem ──► Identity ──► Did      (in documents and on the screen)
//!                       └──► PeerId   (on the network)
//! ```
//!
//! ```
//! use zerostate::identity::{Did, Identity};
//!
//! let me = Identity::generate()?;
//! let signature = me.sign(b"hello");
//! let them: Did = me.did().to_string().parse()?;
//! assert!(them.verify(b"hello", &signature).is_ok());
//! assert!(them.verify(b"hallo", &signature).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod did;
mod key_file;

pub use did::{Did, DidError};
pub use key_file::{KeyFileError, PassphraseSource, load_or_create};

use ed25519_dalek::{Signer, SigningKey};
use zeroize::Zeroizing;

/// A node's key pair. The secret is zeroed when this is dropped.
pub struct Identity {
    key: SigningKey,
    did: Did,
}

impl Identity {
    /// A new key from the operating system's random source.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Self, KeyFileError> {
        let mut seed = Zeroizing::new([0u8; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| KeyFileError::Random(error.to_string()))?;
        Ok(Self::from_secret(&seed))
    }

    /// The key pair whose 32-byte secret (RFC 8032, section 5.1.5) this is.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(secret);
        let did = Did::from_key(key.verifying_key());
        Self { key, did }
    }

    /// The node's name in documents: `did:key:z6Mk…`.
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// The node's name on the network: a base58btc libp2p PeerId, `12D3KooW…`.
    pub fn peer_id(&self) -> String {
        self.did.peer_id()
    }

    /// The 32 bytes of the public key.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// The 32-byte secret, for the network's Noise handshake.
    pub fn secret_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// A 64-byte Ed25519 signature (RFC 8032) of `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.did)
    }
}
