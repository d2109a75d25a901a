//! `zerostate`: a peer-to-peer node that runs strangers' WebAssembly tasks and proves what ran.
//!
//! ```text
//!   ui            the program: command line and console (its own crate, `ui/`)
//!   node          composition root: start, supervise, ordered stop
//!   api           Snapshot, Command, Event; the socket's server and client
//!   task          a task's life from manifest to attested receipt
//!   artifact      files by CID: added, got, kept, read
//!   guild         guilds: their rules and keys, pure, and a worker for each
//!   execution     runs WebAssembly in runner processes      the only user of wasmtime
//!   network       swarm, protocols, gossip, Bitswap, DHT        the only user of libp2p
//!   storage       database, journal, block files            the only user of rusqlite
//!   proof         what receipts, votes and heads come to: bundles checked offline, quorums, equivocations; pure
//!   dag           files as Merkle DAGs: UnixFS; pure
//!   document      everything that is signed; pure
//!   identity      one Ed25519 key = PeerId = did:key
//!   config, telemetry                                       leaves that any may use
//! ```
//!
//! Arrows point down only: a folder uses what stands below it, never what stands above or beside it. A test holds the code to
//! that. Every long-lived part is a cheap handle, a private worker, a bounded queue of requests with their answers, and one
//! error enum.

pub mod api;
pub mod artifact;
pub mod config;
pub mod dag;
pub mod document;
pub mod execution;
pub mod guild;
pub mod identity;
pub mod network;
pub mod node;
pub mod proof;
pub mod storage;
pub mod task;
pub mod telemetry;
