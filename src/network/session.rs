//! A session: blocks that belong together, looked for with whoever had some of them.

use cid::Cid;
use prost::bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::NetworkError;
use super::bitswap::{Given, Missing};
use super::handle::Command;
use crate::document::SHA2_256;

/// A block from a peer. Its bytes are those of the CID: they were hashed.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub bytes: Bytes,
    /// The peer's id.
    pub from: String,
}

/// Looks for blocks over Bitswap. Ends, with everything it looks for, when it is dropped.
#[derive(Debug)]
pub struct Session {
    pub(super) id: u64,
    pub(super) commands: mpsc::Sender<Command>,
    /// The worker has the other end and sees when this one is gone.
    pub(super) _guard: oneshot::Receiver<()>,
}

impl Session {
    /// Gets a block from whoever has it. Several may be looked for at once; the peers share them out. A peer that is silent or
    /// gone is replaced by another; there is no deadline here, a caller sets one by dropping the future.
    ///
    /// # Errors
    /// [`NetworkError::NoProvider`] when no connected peer has it (others may), [`NetworkError::Silent`] when those that may
    /// have it do not send it, [`NetworkError::Overloaded`], [`NetworkError::UnsupportedCid`].
    pub async fn get(&self, cid: &Cid) -> Result<Fetched, NetworkError> {
        if cid.hash().code() != SHA2_256 {
            return Err(NetworkError::UnsupportedCid(cid.to_string()));
        }
        let (reply, given) = oneshot::channel();
        let want = Command::Want { session: self.id, cid: *cid, reply };
        self.commands.send(want).await.map_err(|_| NetworkError::Stopped)?;
        match given.await.map_err(|_| NetworkError::Stopped)? {
            Ok(Given { bytes, from }) => Ok(Fetched { bytes, from: from.to_base58() }),
            Err(Missing::Nobody) => Err(NetworkError::NoProvider(cid.to_string())),
            Err(Missing::Silent) => Err(NetworkError::Silent(cid.to_string())),
            Err(Missing::TooMany) => Err(NetworkError::Overloaded),
        }
    }

    /// Somebody says that a peer has what is looked for: it is asked first, once it is connected.
    ///
    /// # Errors
    /// [`NetworkError::PeerId`], [`NetworkError::Stopped`].
    pub async fn suggest(&self, peer_id: &str) -> Result<(), NetworkError> {
        let peer = super::handle::parse_peer(peer_id)?;
        let suggest = Command::Suggest { session: self.id, peer };
        self.commands.send(suggest).await.map_err(|_| NetworkError::Stopped)
    }
}
