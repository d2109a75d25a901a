//! A peer that speaks libp2p and then sends rubbish. The node goes on and serves the others.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, StreamProtocol, Swarm};

use super::*;
use crate::document::strict::MAX_ENVELOPE_BYTES;
use crate::network::behaviour::{Behaviour, BehaviourEvent, Topic};
use crate::network::limits::MAX_FAULTS;
use crate::network::meter::Meter;
use crate::network::{CARD_PROTOCOL, DELIVER_PROTOCOL, DOCUMENT_PROTOCOL, transport};

/// Writes bytes as they are and reads whatever comes.
#[derive(Clone, Default)]
struct Raw;

impl request_response::Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
    ) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        io.read_to_end(&mut all).await?;
        Ok(all)
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&request).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
        _: Vec<u8>,
    ) -> io::Result<()> {
        Ok(())
    }
}

/// Sends each of `messages` on a stream of its own and waits until each is answered, fails, or the connection ends.
/// Gives back how many were answered, and with what first byte.
async fn attack(
    keypair: &Keypair,
    target: &Node,
    protocol: &'static str,
    messages: Vec<Vec<u8>>,
) -> Vec<Option<u8>> {
    let raw = request_response::Behaviour::<Raw>::new(
        [(StreamProtocol::new(protocol), ProtocolSupport::Outbound)],
        request_response::Config::default(),
    );
    let mut swarm = Swarm::new(
        transport::build(keypair, &Meter::default()).unwrap(),
        raw,
        keypair.public().to_peer_id(),
        libp2p::swarm::Config::with_tokio_executor(),
    );
    swarm.dial(target.address().parse::<Multiaddr>().unwrap()).unwrap();
    let mut waiting = messages.len();
    let mut messages = Some(messages);
    let mut answers = Vec::new();
    soon(async {
        while waiting > 0 {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                    for message in messages.take().unwrap_or_default() {
                        swarm.behaviour_mut().send_request(&peer_id, message);
                    }
                }
                SwarmEvent::Behaviour(request_response::Event::Message {
                    message: request_response::Message::Response { response, .. },
                    ..
                }) => {
                    answers.push(response.first().copied());
                    waiting -= 1;
                }
                SwarmEvent::Behaviour(request_response::Event::OutboundFailure { .. }) => {
                    answers.push(None);
                    waiting -= 1;
                }
                SwarmEvent::OutgoingConnectionError { .. } => return,
                _ => {}
            }
        }
    })
    .await;
    answers
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

/// A node with a friend, to be asked whether it is still well.
async fn node_and_friend() -> (Node, Node) {
    let node = start_with(Shelf::holding(&[b"block"])).await;
    let friend = start(&[TCP]).await;
    friend.connect(&node).await;
    (node, friend)
}

async fn is_well(node: &mut Node, friend: &Node, name: &str) {
    let session = soon(friend.network.session(&[node.id()])).await.unwrap();
    assert_eq!(&*soon(session.get(&content_id(b"block"))).await.unwrap().bytes, b"block");
    let (envelope, id) = friend.manifest(name);
    soon(friend.network.deliver(&node.id(), &envelope)).await.unwrap();
    assert_eq!(node.document().await, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_frames_and_bad_contents_are_refused_and_counted_on_every_protocol() {
    let (mut node, friend) = node_and_friend().await;
    let stolen = card_of(&friend.identity);
    let rubbish = |limit: usize| {
        vec![
            b"\xff\xff\xff\xff and so on".to_vec(),
            framed(&vec![b'{'; limit + 1]),
            framed(b"neither json nor a cid"),
            vec![0, 0, 0, 9, 1],
        ]
    };
    for (protocol, limit) in [
        (CARD_PROTOCOL, MAX_ENVELOPE_BYTES),
        (DELIVER_PROTOCOL, MAX_ENVELOPE_BYTES),
        (DOCUMENT_PROTOCOL, 128),
    ] {
        let attacker = Keypair::generate_ed25519();
        let mut messages = rubbish(limit);
        if protocol == CARD_PROTOCOL {
            messages.push(framed(&stolen));
        }
        let count = messages.len();
        let answers = attack(&attacker, &node, protocol, messages).await;
        assert_eq!(answers.len(), count, "{protocol}");
        assert!(!answers.contains(&Some(0)), "nothing was accepted: {protocol} {answers:?}");
        let attacker = attacker.public().to_peer_id().to_base58();
        for _ in 0..count {
            let who = node.event(|event| match event {
                NetworkEvent::Fault { peer_id, .. } => Some(peer_id),
                NetworkEvent::Card { peer_id, .. } if peer_id == attacker => {
                    panic!("a card of {peer_id} was taken")
                }
                _ => None,
            });
            assert_eq!(who.await, attacker, "{protocol}");
        }
        is_well(&mut node, &friend, protocol).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_on_with_it_is_disconnected_and_blocked_and_nobody_else() {
    let (mut node, friend) = node_and_friend().await;
    let attacker = Keypair::generate_ed25519();
    let id = attacker.public().to_peer_id().to_base58();
    let count = usize::try_from(MAX_FAULTS).unwrap();
    attack(&attacker, &node, DELIVER_PROTOCOL, vec![framed(b"{}"); count]).await;
    assert!(node.disconnected(&id).await.contains("blocked"));
    let answers =
        attack(&attacker, &node, DOCUMENT_PROTOCOL, vec![framed(&content_id(b"block").to_bytes())]).await;
    assert!(!answers.contains(&Some(0)), "a blocked peer is served nothing");
    is_well(&mut node, &friend, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_on_the_protocols_of_libp2p_itself_harms_nobody() {
    let (mut node, friend) = node_and_friend().await;
    for protocol in [
        "/zerostate/kad/1",
        "/meshsub/1.1.0",
        "/meshsub/1.2.0",
        "/ipfs/id/push/1.0.0",
        "/ipfs/id/1.0.0",
        "/ipfs/ping/1.0.0",
        "/ipfs/bitswap/1.2.0",
        "/ipfs/bitswap/1.0.0",
    ] {
        let mut messages =
            vec![vec![0xff; 5000], vec![0xff, 0xff, 0xff, 0xff, 0x0f], vec![5, 1, 2, 3, 4, 5], Vec::new()];
        // A length of 2^62 as a varint.
        messages.push(vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40]);
        attack(&Keypair::generate_ed25519(), &node, protocol, messages).await;
        is_well(&mut node, &friend, protocol).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announcements_that_do_not_verify_are_faults_and_go_no_further() {
    let (mut node, mut friend) = node_and_friend().await;
    let keypair = Keypair::generate_ed25519();
    let mut swarm = Swarm::new(
        transport::build(&keypair, &Meter::default()).unwrap(),
        Behaviour::new(&keypair, &quiet(&[]), Arc::new(Shelf::default())).unwrap(),
        keypair.public().to_peer_id(),
        libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(PATIENCE),
    );
    swarm.dial(node.address().parse::<Multiaddr>().unwrap()).unwrap();
    let good = friend.manifest("good");
    soon(async {
        loop {
            let event = swarm.select_next_some().await;
            if let SwarmEvent::Behaviour(BehaviourEvent::Gossip(libp2p::gossipsub::Event::Subscribed {
                topic,
                ..
            })) = event
                && Topic::from_hash(&topic) == Some(Topic::Receipts)
            {
                return;
            }
        }
    })
    .await;
    let gossip = &mut swarm.behaviour_mut().gossip;
    gossip.publish(Topic::Receipts.ident(), b"rubbish".to_vec()).unwrap();
    gossip.publish(Topic::Receipts.ident(), vec![b'{'; 200_000]).unwrap();
    gossip.publish(Topic::Receipts.ident(), good.0.bytes().to_vec()).unwrap();
    let attacker = keypair.public().to_peer_id().to_base58();
    let swarm = tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    for expected in ["does not verify", "200000 bytes", "manifest announced on"] {
        let what = node.event(|event| match event {
            NetworkEvent::Fault { peer_id, what } if peer_id == attacker => Some(what),
            NetworkEvent::Document { .. } => panic!("it was taken"),
            _ => None,
        });
        let what = what.await;
        assert!(what.contains(expected), "{what}");
    }
    is_well(&mut node, &friend, "after").await;
    assert!(friend.events.try_recv().is_ok());
    while let Ok(event) = friend.events.try_recv() {
        assert!(
            !matches!(event, NetworkEvent::Document { .. } | NetworkEvent::Fault { .. }),
            "passed on: {event:?}"
        );
    }
    swarm.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_tcp_and_nothing_else_is_left_alone() {
    use tokio::io::AsyncWriteExt as _;
    let (mut node, friend) = node_and_friend().await;
    let address = node.address();
    let port: u16 = address.split('/').nth(4).unwrap().parse().unwrap();
    for rubbish in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], b""] {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(rubbish).await.unwrap();
    }
    is_well(&mut node, &friend, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_kind_is_not_a_peer() {
    let a = start(&[TCP]).await;
    let keypair = Keypair::generate_ed25519();
    let mut other = Swarm::new(
        transport::build(&keypair, &Meter::default()).unwrap(),
        libp2p::ping::Behaviour::default(),
        keypair.public().to_peer_id(),
        libp2p::swarm::Config::with_tokio_executor(),
    );
    other.listen_on(TCP.parse().unwrap()).unwrap();
    let address = soon(async {
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = other.select_next_some().await {
                return address.to_string();
            }
        }
    })
    .await;
    let other = tokio::spawn(async move {
        loop {
            other.select_next_some().await;
        }
    });
    let refused = soon(a.network.connect(&address)).await.unwrap_err().to_string();
    assert!(refused.contains("not a zerostate node"), "{refused}");
    other.abort();
}
