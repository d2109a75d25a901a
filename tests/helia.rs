//! The same files and the same wire as other people's IPFS nodes: a Helia on Node.js, driven by lines of JSON.
//!
//! Needs python3 with venv and, once, the package indexes of Python and npm. Where they are missing the test says so and
//! passes; with `CI=true` it fails instead.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::helia::{Helia, random_bytes, set_up};
use crate::support::{Desk, HELLO, Node, eventually, submitted, text};

/// Node.js with Helia, or `None` where a test may do without.
fn ready() -> Option<(PathBuf, PathBuf)> {
    match set_up() {
        Ok(ready) => Some(ready),
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("no Helia: {why}"),
        Err(why) => {
            eprintln!("skipped: no Helia could be set up: {why}");
            None
        }
    }
}

#[test]
fn files_go_both_ways_between_a_helia_and_a_node_under_the_same_cids() {
    let Some(ready) = ready() else { return };
    let desk = Desk::new();
    let node = Node::start(&desk.path("a"));
    // Another zerostate node is there, too, which has none of it.
    let other = Node::start(&desk.path("b"));
    node.meet(&other);
    let (mut giver, mut taker) = (Helia::start(&ready), Helia::start(&ready));
    taker.ask(&json!({ "do": "dial", "addr": node.address() }));
    node.ask(&["connect", &giver.address]);

    for (n, size) in [1, 1 << 20, (1 << 20) + 1, 20 << 20].into_iter().enumerate() {
        let seed = 10 + u32::try_from(n).unwrap();
        // Ours: the CID is Helia's, and Helia gets it from us.
        let file = desk.file(&format!("ours-{n}"), random_bytes(size, seed));
        let added = node.ask(&["artifact", "add", &file]);
        let theirs = taker.ask(&json!({ "do": "cid_file", "path": file }));
        assert_eq!(added["cid"], theirs["cid"], "{size} bytes");
        let got = taker.ask(&json!({ "do": "get", "cid": added["cid"] }));
        assert_eq!((&got["sha256"], &got["size"]), (&added["sha256"], &added["size"]), "{size} bytes");

        // Theirs: we get it from Helia.
        let theirs = giver.ask(&json!({ "do": "add", "size": size, "seed": seed + 100 }));
        let out = desk.named(&format!("theirs-{n}"));
        let got = node.ask(&["artifact", "get", text(&theirs, "cid"), "--output", &out]);
        assert_eq!(got["sha256"], theirs["sha256"], "{size} bytes");
        assert_eq!(fs::read(&out).unwrap(), random_bytes(size, seed + 100), "{size} bytes");
    }
    // The snapshot follows at most ten times a second.
    let guest = eventually("the giver is a peer that gave all of it", || {
        let peers = node.ask(&["peers"]);
        let guest = peers.as_array()?.iter().find(|peer| giver.address.contains(text(peer, "peer_id")))?;
        (guest["bitswap"]["bytes_received"].as_u64()? > 22 << 20).then(|| guest.clone())
    });
    assert_eq!((&guest["guest"], &guest["did"]), (&json!(true), &Value::Null));

    // A task whose module only Helia has.
    let module = desk.file("module.wasm", HELLO);
    let cid = giver.ask(&json!({ "do": "add_file", "path": module }));
    let manifest =
        format!("name = \"far\"\nargs = [\"there\"]\nartifact = {{ cid = \"{}\" }}\n", text(&cid, "cid"));
    let task = submitted(&node, &desk.file("far.toml", manifest));
    assert_eq!(task["state"], "receipted", "{task}");
}

#[test]
fn artifacts_are_found_and_announced_in_the_dht_of_ipfs_where_the_operator_wants_it() {
    let Some(ready) = ready() else { return };
    let desk = Desk::new();
    let server = Helia::with(&ready, &["--dht"]);
    let (mut giver, mut taker) = (Helia::with(&ready, &["--dht"]), Helia::with(&ready, &["--dht"]));
    for helia in [&mut giver, &mut taker] {
        helia.ask(&json!({ "do": "dial", "addr": server.address }));
    }
    let config = format!("[network]\nipfs_bootstrap = [\"{}\"]\n", server.address);
    let config = desk.file("config.toml", config);
    let node = Node::start_with(&desk.path("a"), &["--config", &config]);
    eventually("the node is in the DHT", || {
        node.ask(&["status"])["ipfs_dht_peers"].as_u64().filter(|known| *known > 0)
    });

    // What only the giver has, with which the node has nothing to do yet.
    let theirs = giver.ask(&json!({ "do": "add", "size": 3 << 20, "seed": 7 }));
    giver.ask(&json!({ "do": "provide", "cid": theirs["cid"] }));
    let got = node.ask(&["artifact", "get", text(&theirs, "cid"), "--output", &desk.named("got")]);
    assert_eq!(got["sha256"], theirs["sha256"]);

    // And what only the node has.
    let added = node.ask(&["artifact", "add", &desk.file("ours", random_bytes(2 << 20, 8))]);
    let providers = eventually("the node's record is in the DHT", || {
        let found = taker.ask(&json!({ "do": "providers", "cid": added["cid"] }));
        found["providers"].as_array().filter(|found| !found.is_empty()).cloned()
    });
    assert_eq!(providers, [node.ask(&["id"])["peer_id"].clone()]);
    assert_eq!(taker.ask(&json!({ "do": "get", "cid": added["cid"] }))["sha256"], added["sha256"]);
}
