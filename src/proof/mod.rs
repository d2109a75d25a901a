//! Proofs that travel: a receipt in one file with all that speaks for it or against it, checked offline. Pure.
//!
//! A bundle is JSON Lines, as [in-toto](https://github.com/in-toto/attestation/blob/main/spec/v1/bundle.md) has it, so that the
//! tools of others read the envelopes in it one by one:
//!
//! ```text
//!   {"payloadType":…,"payload":…,"signatures":[…]}    one each: the manifest, the receipt, agreements, commitments,
//!                                                       attestations, agent cards
//!   {"cid":"bafkrei…","bytes":"<base64>"}               blocks: of the inputs, and of the module where it is wanted
//! ```
//!
//! What can be read as a [`Bundle`] holds: every signature, that all of it is about the one receipt, that the receipt fits its
//! manifest down to the price, and that no block is another than its CID says. What that proves, and what not, is for
//! [`Bundle::proven`] and [`Bundle::not_proven`] to say.

mod bundle;
mod equivocation;
mod quorum;
mod words;

use crate::document::Kind;

pub use bundle::{Bundle, MAX_BUNDLE_BYTES};
pub use equivocation::Equivocation;
pub use quorum::{Fault, Outcome, Tally};

/// Something in a bundle that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Counted from 1.
    #[error("line {line}, {what}: {why}")]
    Line { line: usize, what: String, why: String },
    #[error("there is no {} in it", .0.as_str())]
    Missing(Kind),
    #[error("{0}")]
    Other(String),
}
