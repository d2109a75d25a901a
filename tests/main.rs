//! The one integration-test binary: each more would link the engine and the network again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that meets the unexpected ends by panicking"
)]

mod arrows;
mod artifacts;
mod bad_input;
mod chains;
mod command_line;
mod console;
mod documents;
mod durability;
mod execution;
mod guilds;
mod helia;
mod hostile;
mod interop;
mod liars;
mod lives;
mod metrics;
mod nonces;
mod processes;
mod proofs;
mod pty;
mod queueing;
mod runners;
mod support;
mod verdicts;
mod witnesses;
