//! Real networks on loopback: what one node does, another sees.

mod blocks;
mod connections;
mod documents;
mod garbage;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{
    EVENTS_WAITING, Network, NetworkConfig, NetworkError, NetworkEvent, NetworkState, PeerState, Source,
};
use crate::document::{
    AgentCard, AnyEnvelope, Artifact, ArtifactSource, Completion, Draft, Envelope, Sha256Digest, content_id,
};
use crate::identity::{Did, Identity};

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
/// Nothing here takes a second on an idle machine; the tests share theirs with a compiler.
const PATIENCE: Duration = Duration::from_secs(30);

/// Blocks by CID; what is stored under a CID need not be what belongs to it.
#[derive(Default)]
struct Shelf(HashMap<Cid, Vec<u8>>);

impl Shelf {
    fn holding(blocks: &[&[u8]]) -> Self {
        Self(blocks.iter().map(|bytes| (content_id(bytes), bytes.to_vec())).collect())
    }
}

impl Source for Shelf {
    fn size(&self, cid: &Cid) -> Option<u64> {
        self.0.get(cid).and_then(|bytes| bytes.len().try_into().ok())
    }

    fn block(&self, cid: &Cid) -> BoxFuture<'_, Option<Bytes>> {
        let found = self.0.get(cid).cloned().map(Bytes::from);
        Box::pin(async move { found })
    }

    fn document(&self, id: &Cid) -> BoxFuture<'_, Option<Vec<u8>>> {
        let found = self.0.get(id).cloned();
        Box::pin(async move { found })
    }

    /// An echo that says who it was.
    fn guild(&self, from: &Did, said: Arc<[u8]>) -> BoxFuture<'_, Option<Vec<u8>>> {
        let answer = [from.as_str().as_bytes(), b" said ", &said].concat();
        Box::pin(async move { Some(answer) })
    }
}

struct Node {
    identity: Identity,
    network: Network,
    events: mpsc::Receiver<NetworkEvent>,
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn quiet(listen: &[&str]) -> NetworkConfig {
    NetworkConfig {
        listen: listen.iter().map(ToString::to_string).collect(),
        mdns: false,
        ..NetworkConfig::default()
    }
}

fn card_of(identity: &Identity) -> Arc<[u8]> {
    let card = AgentCard::new(identity.did().clone(), "test", "2026-01-01T00:00:00Z".parse().unwrap());
    Arc::clone(Envelope::sign(identity, &card).unwrap().bytes())
}

async fn start(listen: &[&str]) -> Node {
    launch(Identity::generate().unwrap(), quiet(listen), Shelf::default(), EVENTS_WAITING).await.unwrap()
}

async fn start_with(shelf: Shelf) -> Node {
    launch(Identity::generate().unwrap(), quiet(&[TCP]), shelf, EVENTS_WAITING).await.unwrap()
}

async fn launch(
    identity: Identity,
    config: NetworkConfig,
    shelf: Shelf,
    waiting: usize,
) -> Result<Node, NetworkError> {
    let tracker = TaskTracker::new();
    let shutdown = CancellationToken::new();
    let card = card_of(&identity);
    let started =
        Network::start_with(&identity, config, Arc::new(shelf), card, &tracker, shutdown.clone(), waiting);
    let (network, events) = soon(started).await?;
    Ok(Node { identity, network, events, tracker, shutdown })
}

impl Node {
    fn id(&self) -> String {
        self.identity.peer_id()
    }

    /// Its first address, with `/p2p/…`.
    fn address(&self) -> String {
        self.network.state().borrow().listen[0].clone()
    }

    async fn connect(&self, other: &Node) -> String {
        soon(self.network.connect(&other.address())).await.unwrap()
    }

    /// Reads events until one fits.
    async fn event<T>(&mut self, fits: impl Fn(NetworkEvent) -> Option<T>) -> T {
        soon(async {
            loop {
                let event = self.events.recv().await.expect("the network runs");
                if let Some(found) = fits(event) {
                    return found;
                }
            }
        })
        .await
    }

    /// The id of the next document that comes in.
    async fn document(&mut self) -> Cid {
        self.event(|event| match event {
            NetworkEvent::Document { document, .. } => Some(*document.id()),
            _ => None,
        })
        .await
    }

    async fn card_from(&mut self, peer: &str) {
        self.event(|event| {
            matches!(event, NetworkEvent::Card { peer_id, .. } if peer_id == peer).then_some(())
        })
        .await;
    }

    async fn disconnected(&mut self, peer: &str) -> String {
        self.event(|event| match event {
            NetworkEvent::Disconnected { peer_id, reason } if peer_id == peer => Some(reason),
            _ => None,
        })
        .await
    }

    async fn state(&self, fits: impl Fn(&NetworkState) -> bool) -> NetworkState {
        let mut state = self.network.state();
        soon(state.wait_for(|state| fits(state))).await.unwrap().clone()
    }

    async fn peer(&self, id: &str, fits: impl Fn(&PeerState) -> bool) -> Arc<PeerState> {
        let state = self.state(|state| state.peers.iter().any(|peer| peer.peer_id == id && fits(peer))).await;
        state.peers.into_iter().find(|peer| peer.peer_id == id).unwrap()
    }

    /// A signed document of its own; `name` makes it another one.
    fn manifest(&self, name: &str) -> (AnyEnvelope, Cid) {
        let sha256 = Sha256Digest::of(name.as_bytes());
        let artifact = Artifact { cid: sha256.to_cid(), sha256, size: 1 };
        let source = ArtifactSource::Cid { cid: artifact.cid.to_string(), sha256: None, size: None };
        let manifest = Draft::for_module(name, source).complete(Completion {
            creator: self.identity.did().clone(),
            artifact,
            now: jiff::Timestamp::now(),
            random: *sha256.as_bytes(),
        });
        let envelope = Envelope::sign(&self.identity, &manifest).unwrap();
        let id = *envelope.id();
        (AnyEnvelope::Manifest(envelope), id)
    }

    async fn stop(mut self) -> Identity {
        self.shutdown.cancel();
        self.tracker.close();
        soon(self.tracker.wait()).await;
        self.events.close();
        Identity::from_secret(&self.identity.secret_bytes())
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}
