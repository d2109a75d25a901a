//! Announcing, delivering, asking for documents.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_reaches_everybody_also_when_made_before_anybody_was_there() {
    let a = start(&[TCP]).await;
    let (early, early_id) = a.manifest("early");
    soon(a.network.publish(&early)).await.unwrap();
    assert_eq!(a.state(|state| state.outbox > 0).await.outbox, 1);

    let mut b = start(&[TCP]).await;
    let mut c = start(&[TCP]).await;
    b.connect(&a).await;
    assert_eq!(b.document().await, early_id);
    a.state(|state| state.outbox == 0).await;

    c.connect(&b).await;
    c.card_from(&b.id()).await;
    let (late, late_id) = a.manifest("late");
    soon(a.network.publish(&late)).await.unwrap();
    assert_eq!(b.document().await, late_id);
    assert_eq!(c.document().await, late_id, "passed on by b, or straight from a");
    let card = AnyEnvelope::open(&card_of(&a.identity)).unwrap();
    let card = soon(a.network.publish(&card)).await;
    assert!(matches!(card, Err(NetworkError::NotAnnounced(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_acknowledged_once_the_other_side_has_it() {
    let mut a = start(&[TCP]).await;
    let b = start(&[TCP]).await;
    b.connect(&a).await;
    let (envelope, id) = b.manifest("hello");
    soon(b.network.deliver(&a.id(), &envelope)).await.unwrap();
    assert_eq!(a.document().await, id);
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
        soon(b.network.deliver(&a.id(), &b.manifest(&n.to_string()).0)).await.unwrap();
    }
    let (third, id) = b.manifest("third");
    assert!(matches!(soon(b.network.deliver(&a.id(), &third)).await, Err(NetworkError::Busy(_))));
    a.document().await;
    soon(b.network.deliver(&a.id(), &third)).await.unwrap();
    a.document().await;
    assert_eq!(a.document().await, id);
    assert_eq!(a.network.state().borrow().events_dropped, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_had_by_its_id_and_nothing_else_passes_for_it() {
    let author = start(&[]).await;
    let ((wanted, id), (other, other_id)) = (author.manifest("wanted"), author.manifest("other"));
    let (lie, missing) = (content_id(b"lie"), content_id(b"missing"));
    let shelf = [(id, wanted.bytes().to_vec()), (lie, other.bytes().to_vec()), (other_id, b"{}".to_vec())];
    let a = start_with(Shelf(shelf.into_iter().collect())).await;
    let mut b = start(&[TCP]).await;
    b.connect(&a).await;
    let ask = async |id: &Cid| soon(b.network.document(&a.id(), id)).await;
    assert_eq!(*ask(&id).await.unwrap().id(), id);
    assert!(matches!(ask(&missing).await, Err(NetworkError::NotFound { .. })));
    for wrong in [lie, other_id] {
        let said = ask(&wrong).await;
        assert!(
            matches!(&said, Err(NetworkError::WrongDocument { peer, .. }) if *peer == a.id()),
            "{said:?}"
        );
    }
    let liar = b.event(|event| match event {
        NetworkEvent::Fault { peer_id, .. } => Some(peer_id),
        _ => None,
    });
    assert_eq!(liar.await, a.id());
    assert_eq!(b.peer(&a.id(), |peer| peer.faults > 1).await.faults, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_in_the_guild_protocol_is_answered_each_by_its_answer_however_much_it_is() {
    let (a, b) = (start(&[TCP]).await, start(&[TCP]).await);
    b.connect(&a).await;
    let said = (0..1_000).map(|n| {
        let (b, to) = (b.network.clone(), a.id());
        tokio::spawn(async move { (n, b.guild(&to, n.to_string().as_bytes().into()).await.unwrap()) })
    });
    for answered in futures::future::join_all(said).await {
        let (n, answer) = answered.unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), format!("{} said {n}", b.identity.did()));
    }
    let stranger = Identity::generate().unwrap().peer_id();
    let answer = b.network.guild(&stranger, b"hello"[..].into()).await;
    assert!(matches!(answer, Err(NetworkError::NotConnected(_))));
    let long = vec![b'x'; 256 * 1024 + 1];
    assert!(b.network.guild(&a.id(), long.into()).await.is_err());
    assert!(soon(b.network.reach(&a.id())).await.is_ok());
    assert!(soon(b.network.reach(&stranger)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_put_into_the_dht_is_found_by_who_is_not_connected_to_its_author() {
    let (a, b, c) = (start(&[TCP]).await, start(&[TCP]).await, start(&[TCP]).await);
    b.connect(&a).await;
    c.connect(&b).await;
    for node in [&a, &c] {
        node.state(|state| state.dht_peers > 0).await;
    }
    let (envelope, id) = a.manifest("in the DHT");
    soon(a.network.put(&envelope)).await.unwrap();
    let found = soon(async {
        loop {
            if let Ok(found) = c.network.search(&id).await {
                return found;
            }
        }
    });
    assert_eq!(found.await, envelope);
    let (_, unknown) = a.manifest("never put");
    assert!(matches!(soon(c.network.search(&unknown)).await, Err(NetworkError::NoProvider(_))));
}
