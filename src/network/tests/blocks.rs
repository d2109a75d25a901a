//! Blocks over Bitswap: honest nodes, nodes that go, and peers that lie.

use std::time::Instant;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::swarm::SwarmEvent;

use super::*;
use crate::network::Session;

const ONE: &[u8] = b"one block";

fn blocks(count: u8, size: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| vec![n; size]).collect()
}

fn holding(blocks: &[Vec<u8>]) -> Shelf {
    Shelf::holding(&blocks.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

async fn session(node: &Node) -> Session {
    soon(node.network.session(&[])).await.unwrap()
}

/// Gets all of them at once, and says from how many peers they came.
async fn get_all(session: &Session, blocks: &[Vec<u8>]) -> usize {
    let cids: Vec<Cid> = blocks.iter().map(|block| content_id(block)).collect();
    let all = futures::future::join_all(cids.iter().map(|cid| session.get(cid)));
    let mut sources = std::collections::HashSet::new();
    for (got, block) in soon(all).await.into_iter().zip(blocks) {
        let got = got.unwrap();
        assert!(got.bytes == *block);
        sources.insert(got.from);
    }
    sources.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_come_from_whoever_has_them_and_the_ledgers_of_both_sides_agree() {
    let blocks = blocks(40, 100_000);
    let (a, b, c) =
        (start_with(holding(&blocks)).await, start_with(holding(&blocks)).await, start(&[TCP]).await);
    c.connect(&a).await;
    c.connect(&b).await;
    let session = session(&c).await;
    get_all(&session, &blocks[..1]).await;
    get_all(&session, &blocks[1..]).await;
    let missing = soon(session.get(&content_id(b"missing"))).await;
    assert!(matches!(missing, Err(NetworkError::NoProvider(_))), "{missing:?}");
    let identity_hash = Cid::new_v1(0x55, cid::multihash::Multihash::wrap(0, b"x").unwrap());
    assert!(matches!(soon(session.get(&identity_hash)).await, Err(NetworkError::UnsupportedCid(_))));

    let got = c.state(|state| state.bitswap.blocks_received == 40).await.bitswap;
    assert_eq!((got.bytes_received, got.duplicates, got.blocks_sent), (4_000_000, 0, 0));
    let (mut from_a, mut from_b) = (a.network.state(), b.network.state());
    soon(async {
        while from_a.borrow_and_update().bitswap.and(from_b.borrow_and_update().bitswap).blocks_sent < 40 {
            tokio::select! {
                changed = from_a.changed() => changed.unwrap(),
                changed = from_b.changed() => changed.unwrap(),
            }
        }
    })
    .await;
    a.state(|state| state.bitswap.wants == 0).await;
    let given = a.network.state().borrow().bitswap.and(b.network.state().borrow().bitswap);
    assert_eq!((given.blocks_sent, given.bytes_sent), (40, 4_000_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_peer_that_goes_owes_is_asked_of_another() {
    let blocks = blocks(100, 400_000);
    let (a, b, c) =
        (start_with(holding(&blocks)).await, start_with(holding(&blocks)).await, start(&[TCP]).await);
    c.connect(&a).await;
    c.connect(&b).await;
    let session = session(&c).await;
    let all = tokio::spawn(async move { get_all(&session, &blocks).await });
    c.state(|state| state.bitswap.blocks_received >= 5).await;
    a.stop().await;
    soon(all).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_are_found_in_the_dht_by_who_knows_only_a_third_node() {
    let (a, hub, c) = (start_with(Shelf::holding(&[ONE])).await, start(&[TCP]).await, start(&[TCP]).await);
    a.connect(&hub).await;
    a.state(|state| state.dht_peers > 0).await;
    soon(a.network.provide(&content_id(ONE))).await.unwrap();
    c.connect(&hub).await;
    c.state(|state| state.dht_peers > 0).await;
    // The record is on its way to the hub meanwhile.
    let found = soon(async {
        loop {
            let found = c.network.providers(&content_id(ONE)).await.unwrap();
            if !found.is_empty() {
                return found;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(found.await, [a.id()]);
    let session = soon(c.network.session(&[a.id()])).await.unwrap();
    assert_eq!(&*soon(session.get(&content_id(ONE))).await.unwrap().bytes, ONE);
    assert!(soon(c.network.providers(&content_id(b"nobody's"))).await.unwrap().is_empty());
}

/// What a lying peer does with a stream on which it was asked for something.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    OtherBlock,
    TooLarge,
    Endless,
    Half,
    Nothing,
    Rubbish,
}

/// The bytes of a message with one raw block in it, spelled out from the specification.
fn message(block: &[u8]) -> Vec<u8> {
    fn varint(mut n: usize, out: &mut Vec<u8>) {
        while n >= 0x80 {
            out.push(u8::try_from(n & 0x7f).unwrap() | 0x80);
            n >>= 7;
        }
        out.push(u8::try_from(n).unwrap());
    }
    let mut inner = vec![0x0a, 4, 1, 0x55, 0x12, 32, 0x12];
    varint(block.len(), &mut inner);
    inner.extend(block);
    let mut body = vec![0x1a];
    varint(inner.len(), &mut body);
    body.extend(inner);
    let mut frame = Vec::new();
    varint(body.len(), &mut frame);
    frame.extend(body);
    frame
}

mod liar {
    //! A behaviour that accepts Bitswap streams and answers each on itself, as py-libp2p does.

    use std::convert::Infallible;
    use std::task::{Context, Poll};

    use futures::future::{Ready, ready};
    use libp2p::core::transport::PortUse;
    use libp2p::core::upgrade::{InboundUpgrade, UpgradeInfo};
    use libp2p::core::{Endpoint, upgrade::DeniedUpgrade};
    use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound};
    use libp2p::swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, Stream, StreamProtocol, SubstreamProtocol, THandlerInEvent, THandlerOutEvent,
        ToSwarm,
    };
    use libp2p::{Multiaddr, PeerId};

    pub struct Accept;

    impl UpgradeInfo for Accept {
        type Info = StreamProtocol;
        type InfoIter = std::iter::Once<StreamProtocol>;

        fn protocol_info(&self) -> Self::InfoIter {
            std::iter::once(StreamProtocol::new("/ipfs/bitswap/1.2.0"))
        }
    }

    impl InboundUpgrade<Stream> for Accept {
        type Output = Stream;
        type Error = Infallible;
        type Future = Ready<Result<Stream, Infallible>>;

        fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
            ready(Ok(stream))
        }
    }

    pub struct Handler(pub fn(Stream));

    impl ConnectionHandler for Handler {
        type FromBehaviour = Infallible;
        type ToBehaviour = Infallible;
        type InboundProtocol = Accept;
        type OutboundProtocol = DeniedUpgrade;
        type InboundOpenInfo = ();
        type OutboundOpenInfo = ();

        fn listen_protocol(&self) -> SubstreamProtocol<Accept> {
            SubstreamProtocol::new(Accept, ())
        }

        fn connection_keep_alive(&self) -> bool {
            true
        }

        fn on_behaviour_event(&mut self, event: Infallible) {
            match event {}
        }

        fn on_connection_event(&mut self, event: ConnectionEvent<'_, Accept, DeniedUpgrade>) {
            if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) = event {
                self.0(protocol);
            }
        }

        fn poll(
            &mut self,
            _: &mut Context<'_>,
        ) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
            Poll::Pending
        }
    }

    pub struct Behaviour(pub fn(Stream));

    impl NetworkBehaviour for Behaviour {
        type ConnectionHandler = Handler;
        type ToSwarm = Infallible;

        fn handle_established_inbound_connection(
            &mut self,
            _: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: &Multiaddr,
        ) -> Result<Handler, ConnectionDenied> {
            Ok(Handler(self.0))
        }

        fn handle_established_outbound_connection(
            &mut self,
            _: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: Endpoint,
            _: PortUse,
        ) -> Result<Handler, ConnectionDenied> {
            Ok(Handler(self.0))
        }

        fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

        fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, _: THandlerOutEvent<Self>) {}

        fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
            Poll::Pending
        }
    }
}

async fn lie(lie: Lie, mut stream: libp2p::Stream) -> std::io::Result<()> {
    let mut first = [0; 64];
    if stream.read(&mut first).await? == 0 {
        return Ok(());
    }
    match lie {
        Lie::OtherBlock => stream.write_all(&message(b"something else")).await?,
        Lie::TooLarge => stream.write_all(&message(&vec![7; 2 * 1024 * 1024 + 1])).await?,
        // A length of 4 MiB, and bytes that never make a message.
        Lie::Endless => {
            stream.write_all(&[0x80, 0x80, 0x80, 0x02]).await?;
            loop {
                stream.write_all(&[0; 65_536]).await?;
            }
        }
        Lie::Half => {
            let whole = message(ONE);
            stream.write_all(&whole[..whole.len() / 2]).await?;
        }
        Lie::Rubbish => stream.write_all(&[5, 0xff, 0xff, 0xff, 0xff, 0xff]).await?,
        Lie::Nothing => {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await?;
            std::future::pending::<()>().await;
        }
    }
    stream.close().await
}

#[derive(libp2p::swarm::NetworkBehaviour)]
struct LiarBehaviour {
    identify: libp2p::identify::Behaviour,
    liar: liar::Behaviour,
}

/// A peer that lies in one way. Gives its address.
async fn liar(act: fn(libp2p::Stream)) -> (String, tokio::task::JoinHandle<()>) {
    let keypair = libp2p::identity::Keypair::generate_ed25519();
    let identify = libp2p::identify::Config::new("/liar/1".into(), keypair.public());
    let behaviour =
        LiarBehaviour { identify: libp2p::identify::Behaviour::new(identify), liar: liar::Behaviour(act) };
    let mut swarm = libp2p::Swarm::new(
        crate::network::transport::build(&keypair, &crate::network::meter::Meter::default()).unwrap(),
        behaviour,
        keypair.public().to_peer_id(),
        libp2p::swarm::Config::with_tokio_executor(),
    );
    swarm.listen_on(TCP.parse().unwrap()).unwrap();
    let address = soon(async {
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                return format!("{address}/p2p/{}", swarm.local_peer_id());
            }
        }
    });
    let address = address.await;
    let running = tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    (address, running)
}

fn spawn(kind: Lie, stream: libp2p::Stream) {
    tokio::spawn(async move { lie(kind, stream).await.ok() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_wrong_is_taken_from_a_liar_who_is_blamed_while_the_block_comes_from_another() {
    let acts: [(Lie, fn(libp2p::Stream)); 6] = [
        (Lie::OtherBlock, |stream| spawn(Lie::OtherBlock, stream)),
        (Lie::TooLarge, |stream| spawn(Lie::TooLarge, stream)),
        (Lie::Endless, |stream| spawn(Lie::Endless, stream)),
        (Lie::Half, |stream| spawn(Lie::Half, stream)),
        (Lie::Rubbish, |stream| spawn(Lie::Rubbish, stream)),
        (Lie::Nothing, |stream| spawn(Lie::Nothing, stream)),
    ];
    for (kind, act) in acts {
        let honest = start_with(Shelf::holding(&[ONE])).await;
        let mut node = start(&[TCP]).await;
        let (address, running) = liar(act).await;
        let villain = soon(node.network.connect(&address)).await.unwrap();
        // An IPFS node is a guest: it has no card.
        assert!(node.peer(&villain, |peer| peer.guest).await.card.is_none());
        let session = soon(node.network.session(std::slice::from_ref(&villain))).await.unwrap();

        // Alone with it: the reason is said, in time.
        let asked = Instant::now();
        let alone = soon(session.get(&content_id(ONE))).await;
        assert!(
            matches!(alone, Err(NetworkError::NoProvider(_) | NetworkError::Silent(_))),
            "{kind:?}: {alone:?} after {:?}",
            asked.elapsed()
        );
        if kind != Lie::Nothing {
            let who = node.event(|event| match event {
                NetworkEvent::Fault { peer_id, .. } => Some(peer_id),
                _ => None,
            });
            assert_eq!(who.await, villain, "{kind:?}");
        }
        // With somebody honest, asked after the villain.
        node.connect(&honest).await;
        let session = soon(node.network.session(&[villain])).await.unwrap();
        let got = soon(session.get(&content_id(ONE))).await.unwrap();
        assert_eq!((&*got.bytes, got.from), (ONE, honest.id()), "{kind:?}");
        running.abort();
    }
}
