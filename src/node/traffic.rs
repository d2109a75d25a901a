//! What the node gives to the network, and what it makes of what it hears there.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::document::{AnyEnvelope, Untrusted, Verified};
use crate::guild::Guilds;
use crate::identity::{Did, Identity};
use crate::network::{Network, NetworkEvent, Source};
use crate::storage::{Happening, Storage, StorageError, Write};
use crate::task::Tasks;

/// Newest receipts and attestations of its own that a node gives a peer it has just met.
const CATCH_UP: u32 = 32;

/// What this node gives to peers that ask.
pub(super) struct Given {
    pub(super) storage: Storage,
    /// They need the network, which is there first.
    pub(super) guilds: OnceLock<Guilds>,
}

impl Source for Given {
    fn size(&self, cid: &cid::Cid) -> Option<u64> {
        self.storage.blocks().size(cid)
    }

    fn block(&self, cid: &cid::Cid) -> BoxFuture<'_, Option<Bytes>> {
        let cid = *cid;
        async move { found(&cid, self.storage.blocks().get(&cid).await) }.boxed()
    }

    fn verified(&self) -> Arc<Verified> {
        Arc::clone(self.storage.verified())
    }

    fn document(&self, id: &cid::Cid) -> BoxFuture<'_, Option<Vec<u8>>> {
        let id = *id;
        async move { found(&id, self.storage.document(&id).await).map(|document| document.bytes().to_vec()) }
            .boxed()
    }

    fn guild(&self, from: &Did, said: Arc<[u8]>) -> BoxFuture<'_, Option<Vec<u8>>> {
        let from = from.clone();
        async move { self.guilds.get()?.hear(&from, &said).await }.boxed()
    }
}

fn found<T>(cid: &cid::Cid, read: Result<Option<T>, StorageError>) -> Option<T> {
    read.unwrap_or_else(|error| {
        tracing::warn!(%cid, %error, "what is stored cannot be given to others");
        None
    })
}

/// Turns what the network says into journal entries, and hands documents to the tasks.
pub(super) async fn hear(
    mut events: mpsc::Receiver<NetworkEvent>,
    storage: Storage,
    network: Network,
    guilds: Guilds,
    tasks: Tasks,
    identity: Arc<Identity>,
    shutdown: CancellationToken,
) {
    let catch_ups = TaskTracker::new();
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.recv() => event,
        };
        let Some(event) = event else { return };
        let happening = match event {
            NetworkEvent::Document { from, document } => {
                let document = match Arc::unwrap_or_clone(document) {
                    AnyEnvelope::Charter(charter) => {
                        guilds.announced(charter);
                        continue;
                    }
                    document => document,
                };
                if tasks.receive(from, document).await.is_err() {
                    return;
                }
                continue;
            }
            NetworkEvent::Listening(address) => Happening::Listening { address: Untrusted::new(&address) },
            NetworkEvent::Connected { peer_id, address } => {
                Happening::PeerConnected { peer_id, address: Untrusted::new(&address) }
            }
            NetworkEvent::Disconnected { peer_id, reason } => {
                Happening::PeerDisconnected { peer_id, reason: Untrusted::new(&reason) }
            }
            NetworkEvent::Card { peer_id, envelope } => {
                let (storage, network, identity) = (storage.clone(), network.clone(), Arc::clone(&identity));
                let (to, shutdown) = (peer_id.clone(), shutdown.clone());
                catch_ups.spawn(async move {
                    shutdown.run_until_cancelled(catch_up(to, storage, network, identity)).await;
                });
                if tasks.look_again().await.is_err() {
                    return;
                }
                let card = envelope.document();
                guilds.met(&card.did);
                Happening::PeerCard { peer_id, did: card.did.clone(), name: Untrusted::new(&card.name) }
            }
            NetworkEvent::Fault { peer_id, what } => {
                Happening::PeerFault { peer_id, what: Untrusted::new(&what) }
            }
        };
        if let Err(error) = storage.write(&[Write::Event(Timestamp::now(), happening)]).await {
            tracing::warn!(%error, "a network event is not in the journal");
        }
    }
}

/// Gives a peer that has just come what it may have missed, and remembers where it was met.
async fn catch_up(peer: String, storage: Storage, network: Network, identity: Arc<Identity>) {
    let address = network
        .state()
        .borrow()
        .peers
        .iter()
        .find(|known| known.peer_id == peer)
        .map(|known| known.address.clone());
    if let Some(address) = address {
        let row = Write::Peer { peer_id: peer.clone(), address, seen_at: Timestamp::now() };
        if let Err(error) = storage.write(&[row]).await {
            tracing::debug!(%error, "peer not remembered");
        }
    }
    let ids = match storage.made_by(identity.did(), CATCH_UP).await {
        Ok(ids) => ids,
        Err(error) => {
            tracing::warn!(%error, "what a new peer may have missed could not be read");
            return;
        }
    };
    let mut documents = Vec::new();
    for id in ids.iter().filter_map(|id| id.parse().ok()) {
        documents.extend(storage.document(&id).await.ok().flatten());
    }
    documents.extend(storage.head(identity.did()).await.ok().flatten().map(AnyEnvelope::Head));
    for document in documents {
        if let Err(error) = network.deliver(&peer, &document).await {
            tracing::debug!(%peer, %error, "catch-up ended");
            return;
        }
    }
}
