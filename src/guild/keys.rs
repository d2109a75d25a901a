//! A guild's keys. Each member has a key pair for this guild alone; each epoch has a random secret, sealed to each member's key
//! by HPKE ([RFC 9180](https://www.rfc-editor.org/rfc/rfc9180), base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305); and from it
//! comes, by HKDF-SHA256, one key for each sender, under which messages are sealed by XChaCha20-Poly1305.
//!
//! A sender's counter is the nonce, so no two messages under one key have the same. Secrets and counters are in memory alone:
//! whoever starts again gets the secret of a new epoch, and never counts on where it was.

use std::collections::HashMap;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng as _;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use cid::Cid;
use hkdf::Hkdf;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::secret::Secret;
use super::window::Window;
use crate::document::{base64_bytes, strict::INTEGER_END};
use crate::identity::Did;

type Hpke = X25519HkdfSha256;

/// The longest text that is sealed, in bytes: the agreements of as many witnesses as a manifest may ask for.
pub(super) const MAX_TEXT: usize = 160 * 1024;
/// Senders whose counters are remembered: as many as a guild can have members, a few times over.
const MAX_SENDERS: usize = 1024;

/// Why a message or a secret is not sealed or not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyError {
    #[error("the public key is none that a secret can be shared with")]
    PublicKey,
    #[error("it was not sealed for this key, this guild and this epoch, or has been changed")]
    NotOpened,
    #[error("it is of epoch {found}, where the guild is in epoch {current}")]
    OtherEpoch { found: u64, current: u64 },
    #[error("it has come already, or is too old to tell")]
    Replayed,
    #[error("no more can be said in this epoch")]
    UsedUp,
    #[error("no key can be derived")]
    NotDerived,
    #[error("over {MAX_TEXT} bytes")]
    TooLong,
    #[error("messages of too many senders")]
    TooManySenders,
}

/// A guild, and which of its epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    pub guild: Cid,
    pub epoch: u64,
}

impl Context {
    /// What is sealed is bound to this: to what it is for, the guild, the epoch, and to or from whom.
    fn bind(&self, label: &str, who: &Did, counter: Option<u64>) -> Vec<u8> {
        let (guild, who) = (self.guild.to_bytes(), who.to_string());
        let mut bound = Vec::with_capacity(label.len() + guild.len() + who.len() + 40);
        // Each part with its length, so that no two bindings are the same bytes.
        for part in [label.as_bytes(), &guild, who.as_bytes()] {
            bound.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            bound.extend(part);
        }
        bound.extend(self.epoch.to_be_bytes());
        bound.extend(counter.into_iter().flat_map(u64::to_be_bytes));
        bound
    }
}

/// Whether a public key can be used at all: with one of small order, every secret would be the same.
///
/// # Errors
/// [`KeyError::PublicKey`].
pub fn check_public(key: &[u8; 32]) -> Result<(), KeyError> {
    // Any secret will do: of the bad keys, the shared secret is zero whatever the other half.
    let probe = StaticSecret::from([0x42; 32]).diffie_hellman(&PublicKey::from(*key));
    if probe.was_contributory() { Ok(()) } else { Err(KeyError::PublicKey) }
}

/// A member's own key for one guild.
pub struct GuildKey(Secret);

impl GuildKey {
    /// A key from 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(Secret::new(random))
    }

    /// The half that others are told.
    pub fn public(&self) -> [u8; 32] {
        PublicKey::from(&StaticSecret::from(*self.0.bytes())).to_bytes()
    }

    /// Opens an epoch's secret that was sealed for this key.
    ///
    /// # Errors
    /// [`KeyError::NotOpened`].
    pub fn open(&self, wrapped: &Wrapped, context: &Context, me: &Did) -> Result<EpochSecret, KeyError> {
        let not = |_| KeyError::NotOpened;
        let key = <Hpke as Kem>::PrivateKey::from_bytes(self.0.bytes()).map_err(not)?;
        let encapped = <Hpke as Kem>::EncappedKey::from_bytes(&wrapped.encapped).map_err(not)?;
        let info = context.bind("zerostate guild epoch v1", me, None);
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Hpke>(
            &OpModeR::Base,
            &key,
            &encapped,
            &info,
            &wrapped.sealed,
            &[],
        );
        let opened = Zeroizing::new(opened.map_err(not)?);
        let secret: [u8; 32] = opened.as_slice().try_into().map_err(|_| KeyError::NotOpened)?;
        Ok(EpochSecret(Secret::new(secret)))
    }
}

/// An epoch's secret on its way to one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrapped {
    #[serde(with = "base64_bytes")]
    pub encapped: [u8; 32],
    /// The secret and its tag: 48 bytes.
    #[serde(with = "base64_bytes")]
    pub sealed: Vec<u8>,
}

/// What all members of an epoch share.
pub struct EpochSecret(Secret);

impl EpochSecret {
    /// A secret from 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(Secret::new(random))
    }

    /// Seals it for a member. `random` is used up by it.
    ///
    /// # Errors
    /// [`KeyError::PublicKey`].
    pub fn wrap(
        &self,
        key: &[u8; 32],
        context: &Context,
        who: &Did,
        random: [u8; 32],
    ) -> Result<Wrapped, KeyError> {
        // HPKE itself refuses a key with which no secret can be shared (RFC 9180, section 7.1.4).
        let bad = |_| KeyError::PublicKey;
        let to = <Hpke as Kem>::PublicKey::from_bytes(key).map_err(bad)?;
        let info = context.bind("zerostate guild epoch v1", who, None);
        let (encapped, sealed) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Hpke>(
            &OpModeS::Base,
            &to,
            &info,
            self.0.bytes(),
            &[],
            &mut ChaCha20Rng::from_seed(random),
        )
        .map_err(bad)?;
        Ok(Wrapped { encapped: encapped.to_bytes().into(), sealed })
    }

    /// What one sender seals its messages with.
    fn sender_key(&self, context: &Context, sender: &Did) -> Result<Secret, KeyError> {
        let mut key = Zeroizing::new([0; 32]);
        let info = context.bind("zerostate guild sender v1", sender, None);
        let derived = Hkdf::<Sha256>::new(None, self.0.bytes()).expand(&info, key.as_mut_slice());
        derived.map_err(|_| KeyError::NotDerived)?;
        Ok(Secret::new(*key))
    }
}

/// A message as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    pub epoch: u64,
    pub sender: Did,
    pub counter: u64,
    #[serde(with = "base64_bytes")]
    pub text: Vec<u8>,
}

fn nonce(counter: u64) -> XNonce {
    let mut nonce = [0; 24];
    for (to, from) in nonce.iter_mut().rev().zip(counter.to_le_bytes()) {
        *to = from;
    }
    nonce.into()
}

fn cipher(key: &Secret) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(*key.bytes()))
}

/// Seals this member's messages of one epoch.
pub struct Sealer {
    context: Context,
    me: Did,
    key: Secret,
    next: u64,
}

impl Sealer {
    /// There must be one alone for a sender and an epoch: it counts from 0.
    ///
    /// # Errors
    /// [`KeyError::NotDerived`].
    pub fn new(secret: &EpochSecret, context: Context, me: Did) -> Result<Self, KeyError> {
        let key = secret.sender_key(&context, &me)?;
        Ok(Self { context, me, key, next: 0 })
    }

    /// Seals a message.
    ///
    /// # Errors
    /// [`KeyError::TooLong`], [`KeyError::UsedUp`].
    pub fn seal(&mut self, text: &[u8]) -> Result<Sealed, KeyError> {
        if text.len() > MAX_TEXT {
            return Err(KeyError::TooLong);
        }
        let counter = self.next;
        // Numbers in JSON end there.
        self.next = counter.checked_add(1).filter(|next| *next < INTEGER_END).ok_or(KeyError::UsedUp)?;
        let aad = self.context.bind("zerostate guild message v1", &self.me, Some(counter));
        let sealed = cipher(&self.key).encrypt(&nonce(counter), Payload { msg: text, aad: &aad });
        let text = sealed.map_err(|_| KeyError::TooLong)?;
        Ok(Sealed { epoch: self.context.epoch, sender: self.me.clone(), counter, text })
    }
}

/// Opens the messages of others in one epoch.
pub struct Opener {
    context: Context,
    secret: EpochSecret,
    senders: HashMap<Did, (Secret, Window)>,
}

impl Opener {
    /// For the epoch that `secret` is of.
    pub fn new(secret: EpochSecret, context: Context) -> Self {
        Self { context, secret, senders: HashMap::new() }
    }

    /// The secret it opens them with.
    pub(super) fn secret(&self) -> &EpochSecret {
        &self.secret
    }

    /// The epoch it opens messages of.
    pub fn epoch(&self) -> u64 {
        self.context.epoch
    }

    /// Opens a message, once. Whether its sender is a member, and may speak, is for the rules to say.
    ///
    /// # Errors
    /// [`KeyError::OtherEpoch`], [`KeyError::Replayed`], [`KeyError::NotOpened`], [`KeyError::TooLong`],
    /// [`KeyError::TooManySenders`].
    pub fn open(&mut self, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        if sealed.epoch != self.context.epoch {
            return Err(KeyError::OtherEpoch { found: sealed.epoch, current: self.context.epoch });
        }
        if sealed.text.len() > MAX_TEXT + 16 {
            return Err(KeyError::TooLong);
        }
        let aad = self.context.bind("zerostate guild message v1", &sealed.sender, Some(sealed.counter));
        let opened = |key: &Secret| {
            let payload = Payload { msg: &sealed.text, aad: &aad };
            let opened = cipher(key).decrypt(&nonce(sealed.counter), payload);
            opened.map(Zeroizing::new).map_err(|_| KeyError::NotOpened)
        };
        if let Some((key, window)) = self.senders.get_mut(&sealed.sender) {
            if !window.is_new(sealed.counter) {
                return Err(KeyError::Replayed);
            }
            let text = opened(key)?;
            window.note(sealed.counter);
            return Ok(text);
        }
        if self.senders.len() >= MAX_SENDERS {
            return Err(KeyError::TooManySenders);
        }
        let key = self.secret.sender_key(&self.context, &sealed.sender)?;
        // Only a sender of whom something was opened takes a place.
        let text = opened(&key)?;
        let mut window = Window::default();
        window.note(sealed.counter);
        self.senders.insert(sealed.sender.clone(), (key, window));
        Ok(text)
    }
}
