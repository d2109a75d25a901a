//! What a node has signed is one chain, which others see grow; who tells two stories is found out, and the proof holds anywhere.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use serde_json::Value;

use crate::support::{Desk, Node, eventually, submitted, text, zerostate};

/// A node's view of somebody's chain.
fn chain(node: &Node, did: &str) -> Option<Value> {
    node.ask(&["chain"]).as_array().unwrap().iter().find(|chain| chain["did"] == did).cloned()
}

fn length(node: &Node, did: &str) -> u64 {
    chain(node, did).map_or(0, |chain| chain["length"].as_u64().unwrap())
}

/// Makes a receipt, and waits until the chain is told to have so many entries.
fn grow(node: &Node, desk: &Desk, to: u64) {
    assert_eq!(submitted(node, &desk.hello(0))["state"], "receipted");
    eventually("the head is signed", || (length(node, node.did()) == to).then_some(()));
}

fn copy(from: &Path, to: &Path) {
    fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy(&from, &to);
        } else if entry.file_type().unwrap().is_file() {
            fs::copy(from, to).unwrap();
        }
    }
}

#[test]
fn a_chain_grows_with_every_receipt_and_attestation_and_others_see_it() {
    let desk = Desk::new();
    let config = desk.file("b.toml", "[policy]\nattest = \"always\"\n");
    let a = Node::start(&desk.path("a"));
    let b = Node::start_with(&desk.path("b"), &["--config", &config]);
    a.meet(&b);
    for quorum in [1, 1, 1] {
        assert_eq!(submitted(&a, &desk.hello(quorum))["state"], "attested");
    }
    for node in [&a, &b] {
        for other in [&a, &b] {
            eventually("each knows the other's three entries", || {
                (length(node, other.did()) == 3).then_some(())
            });
        }
    }
    assert_eq!(chain(&a, a.did()).unwrap()["own"], true);
    // What is not told to anybody at the time is told to whoever comes, and goes on from there.
    let a_dir = a.dir.clone();
    assert_eq!((a.stop(), b.stop()), (Some(0), Some(0)));
    let a = Node::start(&a_dir);
    for entries in 4..7 {
        grow(&a, &desk, entries);
    }
    let b = Node::start_with(&desk.path("b"), &["--config", &config]);
    b.meet(&a);
    eventually("the other has caught up", || (length(&b, a.did()) == 6).then_some(()));
    assert_eq!(chain(&b, a.did()).unwrap()["equivocation"], Value::Null);
}

#[test]
fn a_node_that_tells_two_stories_is_found_out_and_the_proof_holds_anywhere() {
    let desk = Desk::new();
    let (a, b) = (Node::start(&desk.path("a")), Node::start(&desk.path("b")));
    a.meet(&b);
    grow(&a, &desk, 1);
    let did = a.did().to_owned();
    let dir = a.dir.clone();
    assert_eq!(a.stop(), Some(0));
    // The same key with the same past, twice.
    let twin = desk.path("twin");
    copy(&dir, &twin);
    let a = Node::start(&dir);
    a.meet(&b);
    grow(&a, &desk, 2);
    grow(&a, &desk, 3);
    eventually("the other knows the one story", || (length(&b, &did) == 3).then_some(()));
    assert_eq!(a.stop(), Some(0));
    let a = Node::start(&twin);
    a.meet(&b);
    // The longer story ends elsewhere, and goes back over heads that only its node has.
    for entries in 2..6 {
        grow(&a, &desk, entries);
    }
    let found = eventually("it is found out", || {
        let found = chain(&b, &did)?["equivocation"].clone();
        (!found.is_null()).then_some(found)
    });
    assert_eq!(found["position"], 2, "where the stories part");
    let events = b.ask(&["events"]);
    let told = events.as_array().unwrap().iter().find(|event| event["event"] == "equivocation").unwrap();
    assert_eq!((text(told, "node"), text(told, "proof")), (did.as_str(), text(&found, "proof")));
    assert_eq!((a.stop(), b.stop()), (Some(0), Some(0)));

    let empty = desk.path("empty");
    let proof = text(&found, "proof");
    let verified = zerostate(&empty, &["--json", "verify", proof]).exits(0).json();
    assert_eq!((text(&verified, "kind"), text(&verified, "signer")), ("equivocation", did.as_str()));
    assert_eq!((&verified["valid"], &verified["position"]), (&Value::Bool(true), &found["position"]));
    // One story twice proves nothing, nor does a head that was touched.
    let lines: Vec<String> = fs::read_to_string(proof).unwrap().lines().map(str::to_owned).collect();
    let same = desk.file("same.jsonl", format!("{0}\n{0}\n", lines[0]));
    zerostate(&empty, &["verify", &same]).fails(1, "does not verify");
    let touched = lines[1].replacen("\"sig\":\"", "\"sig\":\"A", 1);
    let touched = desk.file("touched.jsonl", format!("{}\n{touched}\n", lines[0]));
    let answer = zerostate(&empty, &["--json", "verify", &touched]).fails(1, "does not verify").json();
    assert!(answer["problems"][0].as_str().unwrap().starts_with("line 2, a head: "), "{answer}");
}
