//! Coming together, staying together, parting.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_meet_over_tcp_and_over_quic_and_know_each_other_by_their_cards() {
    for transport in [TCP, QUIC] {
        let mut a = start(&[transport]).await;
        let mut b = start(&[transport]).await;
        assert_eq!(b.connect(&a).await, a.id());
        a.card_from(&b.id()).await;
        b.card_from(&a.id()).await;
        for (here, there) in [(&a, &b), (&b, &a)] {
            let complete = |peer: &PeerState| {
                !peer.ping.is_empty()
                    && !peer.protocols.is_empty()
                    && peer.card.is_some()
                    && peer.bytes_in > 0
            };
            let peer = here.peer(&there.id(), complete).await;
            assert_eq!(peer.did.as_deref(), Some(there.identity.did().as_str()));
            assert_eq!(peer.card.as_ref().unwrap().signer(), there.identity.did());
            assert_eq!(peer.agent_version, concat!("zerostate/", env!("CARGO_PKG_VERSION")));
            assert!(peer.protocols.iter().any(|protocol| protocol == crate::network::DOCUMENT_PROTOCOL));
            assert_eq!((peer.relayed, peer.faults), (false, 0));
            assert!(here.state(|state| state.dht_peers == 1).await.bytes_out > 0);
        }
        assert!(a.address().ends_with(&format!("/p2p/{}", a.id())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_without_a_peer_id_will_do_and_connecting_twice_is_connecting_once() {
    let a = start(&[TCP]).await;
    let b = start(&[TCP]).await;
    let (bare, _) =
        a.address().split_once("/p2p/").map(|(bare, id)| (bare.to_owned(), id.to_owned())).unwrap();
    for address in [bare.clone(), bare, a.address(), a.address()] {
        assert_eq!(soon(b.network.connect(&address)).await.unwrap(), a.id());
    }
    assert_eq!(b.state(|state| !state.peers.is_empty()).await.peers.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_connected_to_says_why() {
    let a = start(&[TCP]).await;
    let b = start(&[TCP]).await;
    let why = async |address: &str| soon(b.network.connect(address)).await.unwrap_err().to_string();

    assert!(why("localhost:4001").await.contains("is not an address"));
    assert!(why("/ip4/127.0.0.1").await.contains("no TCP or QUIC port"));
    assert!(why("/ip4/127.0.0.1/tcp/1").await.to_lowercase().contains("refused"));
    for own in [b.address().as_str(), b.address().split("/p2p/").next().unwrap()] {
        let said = why(own).await;
        assert!(said.contains("this node itself"), "{said}");
    }
    let other = a.address().replace(&a.id(), &Identity::generate().unwrap().peer_id());
    assert!(why(&other).await.contains(&format!("another node answers there: {}", a.id())));
    assert!(matches!(
        b.network.deliver(&a.id(), &b.manifest("x").0).await,
        Err(NetworkError::NotConnected(_))
    ));
    assert!(matches!(b.network.deliver("nobody", &b.manifest("x").0).await, Err(NetworkError::PeerId(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_is_named_with_the_reason() {
    for transport in [TCP, QUIC] {
        let first = start(&[transport]).await;
        let (taken, _) =
            first.address().split_once("/p2p/").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let second =
            launch(Identity::generate().unwrap(), quiet(&[TCP, &taken]), Shelf::default(), 1024).await;
        let Err(NetworkError::Listen { address, reason }) = second.map(|_| ()) else {
            panic!("it must not start")
        };
        assert_eq!(address, taken);
        assert!(reason.to_lowercase().contains("in use"), "{reason}");
    }
    let bad = launch(Identity::generate().unwrap(), quiet(&["0.0.0.0:4001"]), Shelf::default(), 1024).await;
    assert!(matches!(bad.map(|_| ()), Err(NetworkError::Address { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_node_says_good_bye_within_a_second_and_its_handle_knows() {
    let a = start(&[TCP, QUIC]).await;
    let mut b = start(&[TCP]).await;
    b.connect(&a).await;
    b.card_from(&a.id()).await;
    let (id, handle, document) = (a.id(), a.network.clone(), b.manifest("x").0);
    a.shutdown.cancel();
    a.tracker.close();
    tokio::time::timeout(Duration::from_secs(1), a.tracker.wait()).await.expect("it ends within a second");
    b.disconnected(&id).await;
    assert!(matches!(soon(handle.publish(&document)).await, Err(NetworkError::Stopped)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bootstrap_peer_is_found_again_after_it_restarted() {
    let a = start(&[TCP]).await;
    let (address, id) = (a.address(), a.id());
    let config = NetworkConfig { bootstrap: vec![address.clone()], ..quiet(&[TCP]) };
    let mut b =
        launch(Identity::generate().unwrap(), config, Shelf::default(), EVENTS_WAITING).await.unwrap();
    b.card_from(&id).await;

    let identity = a.stop().await;
    b.disconnected(&id).await;
    let (bare, _) = address.split_once("/p2p/").unwrap();
    let again = launch(identity, quiet(&[bare]), Shelf::default(), EVENTS_WAITING).await.unwrap();
    b.card_from(&again.id()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_a_common_acquaintance_find_each_other() {
    let hub = start(&[TCP]).await;
    let mut a = start(&[TCP]).await;
    let b = start(&[TCP]).await;
    a.connect(&hub).await;
    b.connect(&hub).await;
    a.card_from(&b.id()).await;
}
