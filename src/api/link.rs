//! The way from a console or a verb to a node, wherever that node runs.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;

use super::command::{Answer, ApiError, ArtifactInfo, Command};
use super::file::{Download, Upload};
use super::snapshot::Snapshot;

/// Anything that answers commands.
pub trait Answering: Send + Sync + 'static {
    /// Answers one command. Never panics, never blocks the caller's thread.
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Answer, ApiError>>;

    /// Puts a file into the node's artifact store.
    fn add_artifact(&self, file: Upload) -> BoxFuture<'_, Result<ArtifactInfo, ApiError>>;

    /// Reads a stored artifact.
    fn read_artifact(&self, cid: String) -> BoxFuture<'_, Result<Download, ApiError>>;

    /// Reads a stored block.
    fn read_block(&self, cid: String) -> BoxFuture<'_, Result<Bytes, ApiError>>;
}

/// A node as a console sees it: its latest snapshot, and a place for commands.
#[derive(Clone)]
pub struct Link {
    /// `None` until the node has said something.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    node: Arc<dyn Answering>,
}

impl Link {
    /// A link to `node`, whose snapshots arrive on `snapshots`.
    pub fn new(node: Arc<dyn Answering>, snapshots: watch::Receiver<Option<Arc<Snapshot>>>) -> Self {
        Self { snapshots, node }
    }

    /// The node alone.
    pub fn node(&self) -> &dyn Answering {
        self.node.as_ref()
    }

    /// Has a command done.
    ///
    /// # Errors
    /// [`ApiError`] with a sentence for the operator.
    pub async fn execute(&self, command: Command) -> Result<Answer, ApiError> {
        self.node.execute(command).await
    }

    /// Puts a file into the node's artifact store.
    ///
    /// # Errors
    /// As [`Link::execute`].
    pub async fn add_artifact(&self, file: Upload) -> Result<ArtifactInfo, ApiError> {
        self.node.add_artifact(file).await
    }

    /// Reads a stored artifact.
    ///
    /// # Errors
    /// As [`Link::execute`].
    pub async fn read_artifact(&self, cid: String) -> Result<Download, ApiError> {
        self.node.read_artifact(cid).await
    }

    /// Reads a stored block.
    ///
    /// # Errors
    /// As [`Link::execute`].
    pub async fn read_block(&self, cid: String) -> Result<Bytes, ApiError> {
        self.node.read_block(cid).await
    }
}
