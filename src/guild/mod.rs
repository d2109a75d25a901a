//! Guilds: short-lived, private groups with roles.
//!
//! ```text
//!   Guilds ──orders──► a worker for each guild ══ /zerostate/guild/1 ══ the others
//!      ▲                  │
//!      └──── watch ───────┤  rules (rules.rs, pure)    join, admit, leave, … ─► changes, and with each a new epoch
//!                         └  keys (keys.rs, pure)      epoch secret ──HPKE──► members ──HKDF──► one key a sender
//! ```
//!
//! The creator of a guild keeps its rules: what it has decided is so, and the others follow its signed notices. But each member
//! checks for itself what another may do, with the same table. Secrets are in memory alone: a member that starts again comes back
//! with a new key, a creator that starts again begins a new epoch.
//!
//! ```
//! use zerostate::guild::{Action, Role};
//!
//! assert!(Role::Observer.may(Action::Attest));
//! assert!(!Role::Observer.may(Action::Speak));
//! ```

mod directory;
mod handle;
mod invitation;
mod join;
mod keyring;
mod keys;
mod offered;
mod role;
mod rules;
mod secret;
mod shared;
mod state;
mod window;
mod wire;
mod words;
mod worker;

#[cfg(test)]
mod tests;

pub use handle::{Formed, Founded, Founding, Guilds, Joined};
pub use invitation::INVITATION;
pub use keys::{Context, EpochSecret, GuildKey, KeyError, Opener, Sealed, Sealer, Wrapped, check_public};
pub use offered::OfferedKey;
pub use role::{Action, Role};
pub use rules::{Change, End, Guild, HEARTBEAT, Member, Refusal, Terms};
pub use secret::live_secrets;
pub use state::{GuildState, Line, MemberState};
pub use words::{Bytes, Content, Offer, Said, Told};
pub use worker::Answers;

use crate::document::{DocumentError, Untrusted};
use crate::network::NetworkError;
use crate::storage::StorageError;

/// Why something about a guild was not done.
#[derive(Debug, thiserror::Error)]
pub enum GuildError {
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("this node is in no guild {0}")]
    NotHere(Untrusted),
    #[error("nobody who was asked knows the guild {0}")]
    Unknown(Untrusted),
    #[error("\"{0}\" is neither the id of a guild (bafkrei…) nor an invitation (zsguild1.…)")]
    NotAGuild(Untrusted),
    #[error("the invitation is not good: {0}")]
    Invitation(String),
    #[error("this node is in {0} guilds already, which is its limit")]
    TooMany(usize),
    #[error("{0}")]
    Network(#[from] NetworkError),
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("{0}")]
    Document(#[from] DocumentError),
    #[error("the system gave no randomness: {0}")]
    Random(String),
    #[error("the node is stopping")]
    Stopping,
}

impl From<KeyError> for GuildError {
    fn from(error: KeyError) -> Self {
        Self::Refused(Refusal::Key(error))
    }
}

impl GuildError {
    /// What is told of it to others.
    fn refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            other => Refusal::Invalid(Untrusted::new(&other.to_string())),
        }
    }
}
