//! Nodes that are processes of their own: what one says happened, another finds out for itself.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use zerostate::document::{Content, Cost, Envelope, Manifest, Receipt, Sha256Digest, Status};
use zerostate::identity::Identity;

use crate::support::{
    Desk, Node, Running, STOP_WITHIN, eventually, finish, forged, program, steers_a_terminal,
};

/// Two nodes that know each other; the second attests by policy, or only when it is asked to.
fn two(desk: &Desk, attest: &str) -> (Node, Node) {
    let config = desk.file("b.toml", format!("name = \"borealis\"\n[policy]\nattest = \"{attest}\"\n"));
    let a = Node::start(&desk.path("a"));
    let b = Node::start_with(&desk.path("b"), &["--config", &config]);
    a.meet(&b);
    (a, b)
}

fn submitted(node: &Node, manifest: &str) -> Value {
    node.ask(&["submit", "--wait", manifest])
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is expected in {value}"))
}

/// What an attestation found to differ.
fn differing(attested: &Value) -> Vec<&str> {
    let rows = attested["compared"].as_array().unwrap().iter();
    rows.filter(|row| row["claimed"] != row["measured"]).map(|row| text(row, "what")).collect()
}

#[test]
fn a_receipt_reaches_the_other_node_which_attests_it_by_running_the_task_itself() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    let done = submitted(&a, &desk.hello(0));
    assert_eq!(
        (&done["state"], done["attestations"].as_array().map(Vec::len)),
        (&"receipted".into(), Some(0))
    );
    let id = text(&done, "receipt_id");
    let receipt = a.ask(&["receipt", "show", id])["receipt"].clone();
    let cid = text(&receipt["artifact"], "cid").to_owned();

    let row = eventually("the receipt reaches the other node", || {
        b.listed(&["receipt", "list"], "receipt_id", id).pop()
    });
    assert_eq!((&row["executor"], &row["status"]), (&a.did().into(), &"ok".into()));
    assert!(
        b.listed(&["artifact", "list"], "cid", &cid).is_empty(),
        "nothing is fetched before it is needed"
    );

    let attested = b.ask(&["attest", id]);
    assert_eq!(attested["verdict"], "agree", "{attested}");
    let compared: Vec<_> =
        attested["compared"].as_array().unwrap().iter().map(|row| text(row, "what")).collect();
    assert_eq!(compared, ["status", "exit code", "output", "fuel", "peak memory"]);
    assert_eq!(differing(&attested), [""; 0]);
    assert_eq!(
        b.listed(&["artifact", "list"], "cid", &cid).len(),
        1,
        "it fetched the module in order to run it"
    );

    let vote = eventually("the attestation reaches the executor", || {
        a.ask(&["receipt", "show", id])["attestations"].as_array().unwrap().first().cloned()
    });
    assert_eq!((text(&vote, "witness"), text(&vote, "verdict")), (b.did(), "agree"));
    assert_eq!(vote["attestation_id"], attested["attestation_id"]);
    assert_eq!(vote["differences"], Value::Array(Vec::new()));
    // A witness has one vote, however often it is asked.
    assert_eq!(b.ask(&["attest", id])["attestation_id"], attested["attestation_id"]);
    assert_eq!(a.listed(&["receipt", "list"], "receipt_id", id)[0]["agree"], 1);
}

#[test]
fn a_witness_that_cannot_get_the_module_says_so_and_never_agrees() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    let done = submitted(&a, &desk.hello(0));
    let id = text(&done, "receipt_id");
    eventually("the receipt reaches the other node", || {
        b.listed(&["receipt", "list"], "receipt_id", id).pop()
    });
    assert_eq!(a.stop(), Some(0));
    let attested = b.ask(&["attest", id]);
    assert_eq!(attested["verdict"], "unverifiable", "{attested}");
    assert!(
        text(&attested, "reason").contains("neither stored here nor with any connected peer"),
        "{attested}"
    );
    assert_eq!(attested["compared"], Value::Array(Vec::new()));
}

#[test]
fn a_quorum_is_reached_by_a_witness_that_attests_by_policy() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "always");
    let peer = a.peer(&b).unwrap();
    assert_eq!((text(&peer, "name"), text(&peer, "did")), ("borealis", b.did()));

    let done = submitted(&a, &desk.hello(1));
    assert_eq!(done["state"], "attested", "{done}");
    let votes = done["attestations"].as_array().unwrap();
    assert_eq!((votes.len(), text(&votes[0], "witness"), text(&votes[0], "verdict")), (1, b.did(), "agree"));

    let task = a.ask(&["task", "show", text(&done, "task_id")]);
    let steps: Vec<_> = task["timeline"].as_array().unwrap().iter().map(|step| text(step, "step")).collect();
    assert_eq!(steps, ["drafted", "published", "fetched", "running", "receipted", "attestation", "attested"]);
    assert_eq!(task["timeline"][5]["node"], b.did(), "the step names who took it");
}

#[test]
fn nobody_attests_its_own_receipt() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("a"));
    let done = submitted(&node, &desk.hello(0));
    let id = text(&done, "receipt_id");
    let file = desk.named("receipt.json");
    node.run(&["receipt", "export", id, "--output", &file]).exits(0);
    for named in [id, file.as_str()] {
        let refused = node.run(&["--json", "attest", named]).fails(1, "cannot attest its own receipt");
        assert_eq!(refused.text(), "");
    }
    assert_eq!(node.ask(&["receipt", "show", id])["attestations"], Value::Array(Vec::new()));
}

#[test]
fn a_node_dials_a_peer_it_has_met_when_it_starts_again() {
    let desk = Desk::new();
    let a = Node::start(&desk.path("a"));
    let b = Node::start(&desk.path("b"));
    b.meet(&a);
    let (did, address) = (b.did().to_owned(), b.address().to_owned());
    assert_eq!(b.stop(), Some(0));
    eventually("the other one is gone", || a.ask(&["peers"]).as_array().unwrap().is_empty().then_some(()));

    let b = Node::start(&desk.path("b"));
    assert_eq!(b.did(), did, "the key is kept");
    // It listens on another port now, so it must be the one that dials.
    assert_ne!(b.address(), address);
    eventually("the two are connected again", || b.peer(&a));
    eventually("both see it", || a.peer(&b));
}

#[test]
fn events_follow_in_order_without_gaps_and_end_with_the_node() {
    let desk = Desk::new();
    let (a, _b) = two(&desk, "always");
    let follow = |after: u64| {
        let mut command = program();
        command
            .args(["events", "--follow", "--json", "--after", &after.to_string(), "--data-dir"])
            .arg(&a.dir);
        Running::start(command)
    };
    let mut stream = follow(0);
    let mut seen: Vec<Value> = Vec::new();
    for _ in 0..3 {
        let done = submitted(&a, &desk.hello(1));
        assert_eq!(done["state"], "attested");
        let attested = |event: &Value| event["task_id"] == done["task_id"] && event["step"] == "attested";
        while !seen.last().is_some_and(attested) {
            let line = stream.line().expect("the stream goes on while the node runs");
            seen.push(serde_json::from_str(&line).unwrap());
        }
    }
    let numbers: Vec<u64> = seen.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!(a.ask(&["events"]).as_array().unwrap()[..seen.len()], seen[..], "the same in one piece");

    let late = follow(numbers.len() as u64 - 1);
    assert_eq!(serde_json::from_str::<Value>(&late.line().unwrap()).unwrap(), *seen.last().unwrap());

    assert_eq!(a.stop(), Some(0), "whoever follows does not hold up the stop");
    while stream.line().is_some() {}
    assert_eq!(stream.wait(STOP_WITHIN).code(), Some(1));
    assert!(stream.errors().starts_with("error: the node stopped"));
}

#[test]
fn a_lab_takes_the_example_through_every_step_and_leaves_nothing_behind() {
    const STEPS: [&str; 7] =
        ["drafted", "published", "fetched", "running", "receipted", "attestation", "attested"];
    let desk = Desk::new();
    let temporary = desk.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let lab = |args: &[&str]| {
        let mut command = program();
        command.arg("lab").args(args).env("TMPDIR", &temporary);
        finish(command).exits(0)
    };
    let shown = lab(&["--no-console"]).text();
    for step in STEPS {
        assert!(
            shown.lines().any(|line| line.split_whitespace().any(|word| word == step)),
            "{step}: {shown}"
        );
    }
    assert!(shown.contains("Hello, zerostate!") && shown.ends_with("it is attested\n"), "{shown}");
    assert!(!steers_a_terminal(&shown));

    let answer = lab(&["--json", "--nodes", "3"]).json();
    assert_eq!(answer["state"], "attested");
    let steps: BTreeSet<_> = answer["timeline"].as_array().unwrap().iter().map(|s| text(s, "step")).collect();
    assert_eq!(steps, STEPS.into_iter().collect());
    let witnesses: BTreeSet<_> = answer["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|s| s["step"] == "attestation")
        .map(|s| text(s, "node"))
        .collect();
    assert_eq!(witnesses.len(), 2, "two distinct witnesses: {answer}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "a lab's folder goes with it");
}

/// A receipt that a third key, nobody's node, signs about a real run: true, or with something in it changed.
struct Claim {
    liar: Identity,
    manifest: Manifest,
    truth: Receipt,
}

impl Claim {
    fn of(node: &Node, receipt_id: &str) -> Self {
        let exported = node.run(&["receipt", "export", receipt_id]).exits(0).text();
        let receipt = Envelope::<Receipt>::open(exported.trim_end().as_bytes()).unwrap();
        let task = node.ask(&["task", "show", &receipt.document().task_id]);
        let liar = Identity::generate().unwrap();
        let truth = Receipt { executor: liar.did().clone(), ..receipt.document().clone() };
        Self { liar, manifest: serde_json::from_value(task["manifest"].clone()).unwrap(), truth }
    }

    /// Signs the receipt with something changed; the price follows what it claims, as an honest-looking liar would have it.
    fn signed(&self, change: impl FnOnce(&mut Receipt)) -> String {
        let mut receipt = self.truth.clone();
        change(&mut receipt);
        self.sealed(Receipt {
            cost: Cost::of(
                &self.manifest.payment,
                receipt.duration(),
                receipt.peak_memory_bytes,
                receipt.fuel_used,
            ),
            ..receipt
        })
    }

    fn sealed(&self, receipt: Receipt) -> String {
        let envelope = Envelope::sign(&self.liar, &receipt).unwrap();
        String::from_utf8(envelope.bytes().to_vec()).unwrap()
    }
}

#[test]
fn a_lie_in_a_signed_receipt_is_found_and_named() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    let done = submitted(&a, &desk.hello(0));
    let claim = Claim::of(&a, text(&done, "receipt_id"));
    let attest =
        |name: &str, envelope: String| b.ask(&["attest", &desk.file(&format!("{name}.json"), envelope)]);

    let honest = attest("honest", claim.signed(|_| {}));
    assert_eq!((&honest["verdict"], differing(&honest)), (&"agree".into(), vec![]), "{honest}");

    type Lie = fn(&mut Receipt);
    let lies: [(&str, Lie); 5] = [
        ("output", |r| r.output = Content::of(b"Hello, somebody else!\n")),
        ("fuel", |r| r.fuel_used -= 1),
        ("exit code", |r| r.exit_code = Some(1)),
        ("peak memory", |r| r.peak_memory_bytes += 1),
        ("status", |r| (r.status, r.error) = (Status::Trap, Some("unreachable".into()))),
    ];
    for (what, lie) in lies {
        let found = attest(what, claim.signed(lie));
        assert_eq!(
            (&found["verdict"], differing(&found)),
            (&"disagree".into(), vec![what]),
            "{what}: {found}"
        );
    }

    let dear = attest("cost", {
        let mut receipt = claim.truth.clone();
        receipt.cost.total_micro = "0.049999".parse().unwrap();
        claim.sealed(receipt)
    });
    assert_eq!((&dear["verdict"], differing(&dear)), (&"disagree".into(), vec![]), "{dear}");
    assert!(text(&dear, "reason").contains("cost.total: 0.049999"), "{dear}");

    // A receipt for other terms than the manifest's is a lie too, whatever was computed.
    let other = attest("nonce", claim.signed(|r| r.nonce = "0".repeat(32)));
    assert_eq!(other["verdict"], "disagree");
    assert!(text(&other, "reason").contains("nonce"), "{other}");
}

#[test]
fn what_depends_on_the_machine_is_unverifiable_and_not_a_lie() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    let done = submitted(&a, &desk.hello(0));
    let claim = Claim::of(&a, text(&done, "receipt_id"));
    let attest =
        |name: &str, envelope: String| b.ask(&["attest", &desk.file(&format!("{name}.json"), envelope)]);

    let elsewhere =
        attest("elsewhere", claim.signed(|r| r.environment.settings_sha256 = Sha256Digest::of(b"other")));
    assert_eq!(elsewhere["verdict"], "unverifiable", "{elsewhere}");
    assert!(text(&elsewhere, "reason").contains("another environment"), "{elsewhere}");

    for status in Status::ALL.into_iter().filter(|status| !status.is_attestable()) {
        let slow = attest(
            status.as_str(),
            claim.signed(|r| {
                (r.status, r.exit_code, r.error) = (status, None, Some("as the machine was".into()))
            }),
        );
        assert_eq!(slow["verdict"], "unverifiable", "{status}: {slow}");
        assert!(text(&slow, "reason").contains(status.as_str()), "{slow}");
    }

    let unknown =
        attest("unknown", claim.signed(|r| r.manifest = Sha256Digest::of(b"a manifest nobody has").to_cid()));
    assert_eq!((&unknown["verdict"], differing(&unknown)), (&"unverifiable".into(), vec![]), "{unknown}");
    assert!(text(&unknown, "reason").contains("the manifest"), "{unknown}");
}

#[test]
fn a_receipt_that_was_changed_after_signing_is_not_even_looked_at() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    let done = submitted(&a, &desk.hello(0));
    let whole = a.run(&["receipt", "export", text(&done, "receipt_id")]).exits(0).text();
    let changed = forged(&whole);
    let before = b.ask(&["status"])["attestations"].clone();
    for broken in
        [changed, whole.replace("\"payloadType\"", "\"payloadtype\""), String::from("{}"), String::new()]
    {
        b.run(&["attest", &desk.file("broken.json", broken)]).fails(1, "does not verify");
    }
    assert_eq!(b.ask(&["status"])["attestations"], before);
}
