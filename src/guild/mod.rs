//! Guilds: short-lived, private groups with roles. Here are their rules and their keys, both pure: time and chance come in as
//! arguments, and nothing is sent or stored.
//!
//! ```text
//!   join, admit, leave, … ─► Guild (rules.rs) ─► changes, and with each change of members a new epoch
//!                                                      │
//!   epoch secret ──HPKE to each member's key──► members│(keys.rs)
//!      └─HKDF─► one key a sender ─► Sealer ══ messages ══ Opener (window.rs: nothing twice)
//! ```
//!
//! The creator of a guild keeps its rules: what it has decided is so, and the others follow. But each member checks for itself what
//! another may do, with the same table.
//!
//! ```
//! use zerostate::guild::{Action, Role};
//!
//! assert!(Role::Observer.may(Action::Attest));
//! assert!(!Role::Observer.may(Action::Speak));
//! ```

mod keys;
mod role;
mod rules;
mod secret;
mod window;

#[cfg(test)]
mod tests;

pub use keys::{Context, EpochSecret, GuildKey, KeyError, Opener, Sealed, Sealer, Wrapped, check_public};
pub use role::{Action, Role};
pub use rules::{Change, End, Guild, HEARTBEAT, Member, Refusal, Terms};
pub use secret::live_secrets;
