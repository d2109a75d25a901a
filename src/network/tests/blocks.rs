//! Blocks over Bitswap between honest nodes, and nodes that go. Those that lie are in `tests/liars.rs`.

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
