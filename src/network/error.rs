//! What can go wrong on the network.

use crate::document::{DocumentError, Kind};

/// Why something on the network failed. Texts from peers inside have been cleaned.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("\"{address}\" is not an address to dial or listen on: {why} (such as /ip4/192.0.2.7/tcp/4001)")]
    Address { address: String, why: String },
    #[error("cannot listen on {address}: {reason}")]
    Listen { address: String, reason: String },
    #[error("cannot set up {what}: {reason}")]
    Setup { what: &'static str, reason: String },
    #[error("cannot connect to {address}: {reason}")]
    Connect { address: String, reason: String },
    #[error("\"{0}\" is not a peer id (12D3KooW…)")]
    PeerId(String),
    #[error("not connected to {0}; connect to it first")]
    NotConnected(String),
    #[error("{peer} did not answer within {seconds} s")]
    Timeout { peer: String, seconds: u64 },
    #[error("the request to {peer} failed: {reason}")]
    Request { peer: String, reason: String },
    #[error("{peer} refused: {reason}")]
    Refused { peer: String, reason: String },
    #[error("{0} is busy; try again later")]
    Busy(String),
    #[error("too many requests are under way already; try again later")]
    Overloaded,
    #[error("{peer} does not have the document {id}")]
    NotFound { peer: String, id: String },
    #[error("{peer} sent something that is not the document {id}; it was thrown away (ask another peer)")]
    WrongDocument { peer: String, id: String },
    #[error("no connected peer has {0}")]
    NoProvider(String),
    #[error("the peers that may have {0} do not send it")]
    Silent(String),
    #[error("{0} is not a sha2-256 CID, so its bytes could not be checked")]
    UnsupportedCid(String),
    #[error("the document to send is not valid: {0}")]
    Document(#[from] DocumentError),
    #[error("a document of kind {0} is not announced to everybody")]
    NotAnnounced(Kind),
    #[error("the network has stopped")]
    Stopped,
}

impl NetworkError {
    /// Whether the node cannot go on without the operator.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Listen { .. } | Self::Setup { .. } | Self::Stopped)
    }
}
