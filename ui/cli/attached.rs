//! A node that is not there all the time: one that is still starting, or one in another process that may be started again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;
use tokio::time::sleep;
use zerostate::api::{
    Answer, Answering, ApiError, ArtifactInfo, Client, Command, Download, ErrorKind, Link, Snapshot, Upload,
};

/// How often a node that is gone is looked for.
const LOOKED_FOR: Duration = Duration::from_millis(500);

/// The node that runs on a data directory, for as long as the console is there: when it is gone its snapshots say so, and when it
/// runs again they go on.
pub fn attached(first: Link, data_dir: PathBuf) -> Link {
    let (publish_node, node) = watch::channel(None);
    let said = first.snapshots.borrow().clone();
    let (publish, snapshots) = watch::channel(said);
    tokio::spawn(async move {
        let mut found = Some(first);
        loop {
            let link = match found.take() {
                Some(link) => Ok(link),
                None => link(&data_dir).await,
            };
            match link {
                Ok(link) => {
                    publish_node.send_replace(Some(link.clone()));
                    if forward(link.snapshots.clone(), &publish).await.is_err() {
                        return;
                    }
                    tracing::info!("the node does not answer any more");
                    publish_node.send_replace(None);
                    if publish.send(None).is_err() {
                        return;
                    }
                }
                Err(_) if publish.is_closed() => return,
                Err(error) => tracing::debug!(%error, "the node is not there yet"),
            }
            sleep(LOOKED_FOR).await;
        }
    });
    Link::new(Arc::new(Later { node, waits: false }), snapshots)
}

async fn link(data_dir: &Path) -> Result<Link, ApiError> {
    Client::connect(data_dir).await?.link().await
}

/// The console has ended: nobody takes snapshots any more.
pub struct Ended;

/// Hands on snapshots until there are no more of them.
///
/// # Errors
/// When nobody takes them any more.
pub async fn forward(
    mut from: watch::Receiver<Option<Arc<Snapshot>>>,
    to: &watch::Sender<Option<Arc<Snapshot>>>,
) -> Result<(), Ended> {
    from.mark_changed();
    while from.changed().await.is_ok() {
        let snapshot = from.borrow_and_update().clone();
        if snapshot.is_some() && to.send(snapshot).is_err() {
            return Err(Ended);
        }
    }
    Ok(())
}

/// A node that comes, or comes again.
pub struct Later {
    node: watch::Receiver<Option<Link>>,
    /// What is asked before it is there waits for it; otherwise it is refused.
    waits: bool,
}

impl Later {
    /// A node that is just starting.
    pub fn that_starts(node: watch::Receiver<Option<Link>>) -> Self {
        Self { node, waits: true }
    }

    async fn node(&self) -> Result<Link, ApiError> {
        let mut node = self.node.clone();
        if !self.waits {
            let link = node.borrow().clone();
            return link.ok_or_else(|| {
                ApiError::new(ErrorKind::Unavailable, "the node is not there now; it is being looked for")
            });
        }
        match node.wait_for(Option::is_some).await.map(|ready| ready.clone()) {
            Ok(Some(link)) => Ok(link),
            _ => Err(ApiError::new(ErrorKind::Unavailable, "the node did not start")),
        }
    }
}

impl Answering for Later {
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Answer, ApiError>> {
        async move { self.node().await?.execute(command).await }.boxed()
    }

    fn add_artifact(&self, file: Upload) -> BoxFuture<'_, Result<ArtifactInfo, ApiError>> {
        async move { self.node().await?.add_artifact(file).await }.boxed()
    }

    fn read_artifact(&self, cid: String) -> BoxFuture<'_, Result<Download, ApiError>> {
        async move { self.node().await?.read_artifact(cid).await }.boxed()
    }

    fn read_block(&self, cid: String) -> BoxFuture<'_, Result<Bytes, ApiError>> {
        async move { self.node().await?.read_block(cid).await }.boxed()
    }
}
