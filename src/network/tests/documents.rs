//! Announcing, delivering, fetching.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_reaches_everybody_also_when_made_before_anybody_was_there() {
    let a = start(&[TCP]).await;
    let (early, early_id) = a.manifest("early");
    soon(a.network.publish(early)).await.unwrap();
    assert_eq!(a.state(|state| state.outbox > 0).await.outbox, 1);

    let mut b = start(&[TCP]).await;
    let mut c = start(&[TCP]).await;
    b.connect(&a).await;
    assert_eq!(b.document().await, early_id);
    a.state(|state| state.outbox == 0).await;

    c.connect(&b).await;
    c.card_from(&b.id()).await;
    let (late, late_id) = a.manifest("late");
    soon(a.network.publish(late)).await.unwrap();
    assert_eq!(b.document().await, late_id);
    assert_eq!(c.document().await, late_id, "passed on by b, or straight from a");
    let card = soon(a.network.publish(card_of(&a.identity))).await;
    assert!(matches!(card, Err(NetworkError::NotAnnounced(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_acknowledged_once_the_other_side_has_it() {
    let mut a = start(&[TCP]).await;
    let b = start(&[TCP]).await;
    b.connect(&a).await;
    let (envelope, id) = b.manifest("hello");
    soon(b.network.deliver(&a.id(), Arc::clone(&envelope))).await.unwrap();
    assert_eq!(a.document().await, id);

    let mut forged = envelope.to_vec();
    let middle = forged.len() / 2;
    forged[middle] ^= 1;
    assert!(matches!(b.network.deliver(&a.id(), forged.into()).await, Err(NetworkError::Document(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_keep_up_says_so_and_takes_more_when_it_can() {
    // Listening, Connected and Card take three places; two are left for documents.
    let waiting = super::super::EVENTS_RESERVED + 5;
    let mut a =
        launch(Identity::generate().unwrap(), quiet(&[TCP]), Shelf::default(), waiting).await.unwrap();
    let b = start(&[TCP]).await;
    b.connect(&a).await;
    for n in 0..2 {
        soon(b.network.deliver(&a.id(), b.manifest(&n.to_string()).0)).await.unwrap();
    }
    let (third, id) = b.manifest("third");
    assert!(matches!(soon(b.network.deliver(&a.id(), Arc::clone(&third))).await, Err(NetworkError::Busy(_))));
    a.document().await;
    soon(b.network.deliver(&a.id(), third)).await.unwrap();
    a.document().await;
    assert_eq!(a.document().await, id);
    assert_eq!(a.network.state().borrow().events_dropped, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_are_fetched_by_cid_and_checked() {
    let large: Vec<u8> = (0..5_000_000u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let mut shelf = Shelf::holding(&[b"small", &large, b""]);
    let lie = content_id(b"what was asked for");
    shelf.0.insert(lie, b"something else".to_vec());
    let a = start_with(shelf).await;
    let mut b = start(&[TCP]).await;
    b.connect(&a).await;
    let fetch = async |cid: &Cid, max| soon(b.network.fetch(&a.id(), cid, max)).await;

    assert_eq!(fetch(&content_id(b"small"), 5).await.unwrap(), b"small");
    assert_eq!(fetch(&content_id(b""), 0).await.unwrap(), b"");
    assert!(fetch(&content_id(&large), u64::MAX).await.unwrap() == large);
    let missing = fetch(&content_id(b"missing"), 100).await;
    assert!(matches!(missing, Err(NetworkError::NotFound { .. })), "{missing:?}");
    let too_large = fetch(&content_id(b"small"), 4).await;
    assert!(matches!(too_large, Err(NetworkError::TooLarge { bytes: 5, limit: 4, .. })), "{too_large:?}");
    let identity_hash = Cid::new_v1(0x55, cid::multihash::Multihash::wrap(0, b"x").unwrap());
    assert!(matches!(fetch(&identity_hash, 100).await, Err(NetworkError::UnsupportedCid(_))));

    let wrong = fetch(&lie, 100).await;
    assert!(
        matches!(&wrong, Err(NetworkError::WrongBytes { peer, cid }) if *peer == a.id() && *cid == lie.to_string()),
        "{wrong:?}"
    );
    let liar = b.event(|event| match event {
        NetworkEvent::Fault { peer_id, .. } => Some(peer_id),
        _ => None,
    });
    assert_eq!(liar.await, a.id());
    assert_eq!(b.peer(&a.id(), |peer| peer.faults > 0).await.faults, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_fetches_at_once_wait_in_line_and_all_are_served() {
    let blocks: Vec<Vec<u8>> = (0..16u8).map(|n| vec![n; 300_000]).collect();
    let a = start_with(Shelf::holding(&blocks.iter().map(Vec::as_slice).collect::<Vec<_>>())).await;
    let b = start(&[TCP]).await;
    b.connect(&a).await;
    let cids: Vec<Cid> = blocks.iter().map(|block| content_id(block)).collect();
    let id = a.id();
    let all = futures::future::join_all(cids.iter().map(|cid| b.network.fetch(&id, cid, 1 << 20)));
    for (got, block) in soon(all).await.into_iter().zip(&blocks) {
        assert!(got.unwrap() == *block);
    }
}
