//! `zerostate`: a peer-to-peer node that runs strangers' WebAssembly tasks and proves what ran.
pub mod api;
pub mod document;
pub mod execution;
pub mod identity;
pub mod network;
pub mod storage;
