//! Providers that lie, in processes of their own: nothing wrong is stored or run, they are blamed, and others are asked.

use std::collections::HashMap;
use std::fs;

use cid::Cid;
use cid::multihash::Multihash;
use prost::Message as _;
use zerostate::document::{DAG_PB_CODEC, Sha256Digest, content_id};

use crate::artifacts::all_blocks_are_right;
use crate::support::helia::random_bytes;
use crate::support::liar::{Glutton, Liar, Manner};
use crate::support::{Desk, HELLO, Node, eventually, text};

const MIB: usize = 1 << 20;

#[derive(Clone, PartialEq, prost::Message)]
struct PbLink {
    #[prost(bytes = "vec", optional, tag = "1")]
    hash: Option<Vec<u8>>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(uint64, optional, tag = "3")]
    tsize: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PbNode {
    #[prost(bytes = "vec", optional, tag = "1")]
    data: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "2")]
    links: Vec<PbLink>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct UnixFs {
    /// 2 is a file.
    #[prost(int32, optional, tag = "1")]
    kind: Option<i32>,
    #[prost(uint64, optional, tag = "3")]
    size: Option<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    sizes: Vec<u64>,
}

/// A node of a file's DAG with these children, each of which it says has `size` bytes.
fn branch(children: &[Cid], size: u64) -> (Cid, Vec<u8>) {
    let whole = size * children.len() as u64;
    let data = UnixFs { kind: Some(2), size: Some(whole), sizes: vec![size; children.len()] }.encode_to_vec();
    let links = children.iter().map(|child| PbLink {
        hash: Some(child.to_bytes()),
        name: Some(String::new()),
        tsize: Some(size),
    });
    let bytes = PbNode { data: Some(data), links: links.collect() }.encode_to_vec();
    let digest = Sha256Digest::of(&bytes);
    (Cid::new_v1(DAG_PB_CODEC, Multihash::wrap(0x12, digest.as_bytes()).unwrap()), bytes)
}

/// What the operator sees of a peer's faults; a peer that is blocked is gone.
fn is_blamed(node: &Node, peer: &str) -> bool {
    let events = node.run(&["--json", "events"]).exits(0).stdout;
    String::from_utf8(events).unwrap().lines().any(|line| line.contains("fault") && line.contains(peer))
}

#[test]
fn what_a_lying_provider_sends_is_neither_stored_nor_run_and_the_block_comes_from_another() {
    let desk = Desk::new();
    let honest = Node::start(&desk.path("honest"));
    let added = honest.ask(&["artifact", "add", &desk.file("hello.wasm", HELLO)]);
    let cid = text(&added, "cid");
    let manifest = desk.file("far.toml", format!("name = \"far\"\nartifact = {{ cid = \"{cid}\" }}\n"));
    let manners = [
        ("wrong bytes", Manner::WrongBytes),
        ("too large", Manner::TooLarge),
        ("endless", Manner::Endless),
        ("half a message", Manner::HalfAMessage(HELLO.to_vec())),
        ("rubbish", Manner::Rubbish),
        ("silent", Manner::Silent),
        ("dripping", Manner::Drip),
        ("flooding", Manner::Flood),
    ];
    std::thread::scope(|scope| {
        for (name, manner) in manners {
            let (desk, honest, manifest) = (&desk, honest.address(), &manifest);
            scope.spawn(move || {
                let liar = Liar::start(manner);
                let node = Node::start(&desk.path(name));
                node.ask(&["connect", &liar.address]);
                // Alone with it there is a reason, in time.
                node.run(&["submit", manifest]).fails(1, "neither stored here nor to be had");
                assert_eq!(all_blocks_are_right(&node.dir), 0, "{name}");
                if !["silent", "dripping"].contains(&name) {
                    eventually("the liar is blamed", || is_blamed(&node, &liar.peer_id).then_some(()));
                }
                // With somebody honest it runs.
                node.ask(&["connect", honest]);
                let task = node.ask(&["submit", "--wait", manifest]);
                assert_eq!(task["state"], "receipted", "{name}: {task}");
                assert_eq!(all_blocks_are_right(&node.dir), 2, "{name}: the module and its output");
            });
        }
    });
}

#[test]
fn half_a_file_is_kept_and_the_rest_comes_from_another() {
    let desk = Desk::new();
    let (honest, node) = (Node::start(&desk.path("a")), Node::start(&desk.path("b")));
    let file = random_bytes(4 * MIB, 1);
    let added = honest.ask(&["artifact", "add", &desk.file("file", &file)]);
    let cid = text(&added, "cid");
    let root: Cid = cid.parse().unwrap();
    let stored =
        |cid: &str| fs::read(honest.dir.join("blocks").join(&cid[cid.len() - 2..]).join(cid)).unwrap();
    let mut half = HashMap::from([(root, stored(cid))]);
    half.extend(file.chunks(MIB).take(2).map(|leaf| (content_id(leaf), leaf.to_vec())));
    let liar = Liar::start(Manner::Gives(half));
    node.ask(&["connect", &liar.address]);
    node.run(&["artifact", "get", cid]).fails(1, "no connected peer has it");
    assert_eq!(all_blocks_are_right(&node.dir), 3);
    assert_eq!(node.ask(&["artifact", "list"]), serde_json::json!([]), "half a file is no artifact");

    node.meet(&honest);
    let got = node.ask(&["artifact", "get", cid, "--output", &desk.named("out")]);
    assert!(fs::read(desk.path("out")).unwrap() == file, "{got}");
    let bytes = |from: &str| got["sources"].as_array().unwrap().iter().find(|s| s["from"] == from).cloned();
    assert!(bytes("store").unwrap()["bytes"].as_u64().unwrap() >= 2 << 20, "{got}");
}

#[test]
fn dags_that_are_knotted_lie_about_their_size_or_never_end_are_refused_with_a_reason() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("a"));
    let leaf = vec![1; 1024];
    let leaf_cid = content_id(&leaf);
    // Whose child is itself, as far as the one who serves it is concerned: the bytes of the root under the child's name.
    let (child, _) = branch(&[leaf_cid], 1024);
    let (knot, knot_bytes) = branch(&[child], 1024);
    let knotted = HashMap::from([(knot, knot_bytes.clone()), (child, knot_bytes)]);
    // A leaf that is larger than its parent says.
    let (short, short_bytes) = branch(&[leaf_cid], 1000);
    let lying = HashMap::from([(short, short_bytes), (leaf_cid, leaf.clone())]);
    // A thousand times a thousand times a thousand kilobytes out of four blocks.
    let (one, one_bytes) = branch(&[leaf_cid; 1000], 1024);
    let (two, two_bytes) = branch(&[one; 1000], 1_024_000);
    let (bomb, bomb_bytes) = branch(&[two; 1000], 1_024_000_000);
    let bombs =
        HashMap::from([(leaf_cid, leaf.clone()), (one, one_bytes), (two, two_bytes), (bomb, bomb_bytes)]);
    // A file of one byte under a tower of branches.
    let byte = vec![9];
    let (mut top, mut tower) = (content_id(&byte), HashMap::from([(content_id(&byte), byte)]));
    for _ in 0..64 {
        let (cid, bytes) = branch(&[top], 1);
        tower.insert(cid, bytes);
        top = cid;
    }
    for (root, blocks, code, why) in [
        (knot, knotted, 1, "the peers that may have it do not send it"),
        (short, lying, 2, "its parent says 1000 bytes, it has 1024"),
        (bomb, bombs, 2, "at most"),
        (top, tower, 2, "over 131072 pieces or 32 levels"),
    ] {
        let liar = Liar::start(Manner::Gives(blocks));
        node.ask(&["connect", &liar.address]);
        node.run(&["artifact", "get", &root.to_string()]).fails(code, why);
        assert_eq!(node.ask(&["artifact", "list"]), serde_json::json!([]));
        all_blocks_are_right(&node.dir);
    }
    // The node goes on.
    assert_eq!(node.ask(&["run", "assets/examples/hello.wasm"])["status"], "ok");
}

#[test]
fn peers_that_ask_and_do_not_read_hold_up_nobody() {
    let desk = Desk::new();
    let (giver, taker) = (Node::start(&desk.path("a")), Node::start(&desk.path("b")));
    let file = random_bytes(19 * MIB, 5);
    let added = giver.ask(&["artifact", "add", &desk.file("file", &file)]);
    let leaves: Vec<Cid> = file.chunks(MIB).map(content_id).collect();
    let gluttons: Vec<Glutton> = (0..6).map(|_| Glutton::start(giver.address(), &leaves)).collect();
    taker.meet(&giver);
    let got = taker.ask(&["artifact", "get", text(&added, "cid"), "--output", &desk.named("out")]);
    assert!(fs::read(desk.path("out")).unwrap() == file, "{got}");
    eventually("they are blamed", || {
        let events = giver.run(&["--json", "events"]).exits(0).stdout;
        String::from_utf8(events).unwrap().contains("asked for what it does not take").then_some(())
    });
    drop(gluttons);
}
