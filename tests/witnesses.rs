//! Who attests what: by running the task itself, by policy, once, and never for itself.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use zerostate::document::{Content, Cost, Envelope, Manifest, Receipt, Sha256Digest, Status};
use zerostate::identity::Identity;

use crate::support::{Desk, Node, Running, eventually, forged, program, submitted, text, two};

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
    assert!(text(&attested, "reason").contains("neither stored here nor to be had"), "{attested}");
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
    let story = ["drafted", "published", "offered", "guilded", "agreed", "fetched", "running", "receipted"];
    assert_eq!(steps[..8], story);
    let attestation = steps.iter().position(|step| *step == "attestation").unwrap();
    assert_eq!(task["timeline"][attestation]["node"], b.did(), "the step names who took it");
    assert!(steps.contains(&"attested"), "{steps:?}");
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
    let inputs = attest("inputs", claim.signed(|r| r.inputs = Content::of(b"something to read")));
    assert_eq!(inputs["verdict"], "disagree");
    assert!(text(&inputs, "reason").contains("inputs"), "{inputs}");

    // What has not ended yet cannot have been seen to end.
    let half_an_hour = std::time::Duration::from_secs(1800);
    let future = attest(
        "future",
        claim.signed(|r| {
            (r.started_at, r.finished_at) = (r.started_at + half_an_hour, r.finished_at + half_an_hour);
        }),
    );
    assert_eq!(future["verdict"], "disagree");
    assert!(text(&future, "reason").contains("is later than now"), "{future}");
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

/// Waits until a receipt is stored at a node that did not make it.
#[track_caller]
fn arrives(node: &Node, receipt_id: &str) -> Value {
    eventually("the receipt reaches the other node", || {
        node.listed(&["receipt", "list"], "receipt_id", receipt_id).pop()
    })
}

/// The votes on a receipt as a node knows them, by witness.
fn votes(node: &Node, receipt_id: &str) -> Vec<(String, String)> {
    let shown = node.ask(&["receipt", "show", receipt_id]);
    let rows = shown["attestations"].as_array().unwrap().iter();
    rows.map(|vote| (text(vote, "witness").to_owned(), text(vote, "verdict").to_owned())).collect()
}

/// A node that attests whatever it sees, and knows one peer from the start.
fn eager(desk: &Desk, name: &str, bootstrap: &str) -> Node {
    let config = desk.file(&format!("{name}.toml"), "[policy]\nattest = \"always\"\n");
    Node::start_with(&desk.path(name), &["--config", &config, "--bootstrap", bootstrap])
}

#[test]
fn a_vote_that_was_stored_but_not_counted_before_a_crash_is_counted_at_the_start() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    let task = text(&a.ask(&["submit", &desk.hello(1)]), "task_id").to_owned();
    let receipt = eventually("the receipt reaches the witness", || {
        b.listed(&["receipt", "list"], "task_id", &task).pop()
    });
    // With the module here, the witness can attest while the executor is down.
    b.ask(&["artifact", "add", &desk.named("hello.wasm")]);
    let (a_dir, b_dir) = (a.dir.clone(), b.dir.clone());
    a.kill();
    assert_eq!(b.ask(&["attest", text(&receipt, "receipt_id")])["verdict"], "agree");
    assert_eq!(b.stop(), Some(0));

    // What a crash between the storing of a vote and its counting leaves.
    let database = rusqlite::Connection::open(a_dir.join("node.db")).unwrap();
    database.execute("ATTACH ?1 AS witness", [b_dir.join("node.db").to_str().unwrap()]).unwrap();
    let columns = "attestation_id, receipt_id, witness, verdict, record";
    let copied = database.execute(
        &format!("INSERT INTO attestations ({columns}) SELECT {columns} FROM witness.attestations"),
        [],
    );
    assert_eq!(copied.unwrap(), 1);
    database.execute("INSERT OR IGNORE INTO documents SELECT * FROM witness.documents", []).unwrap();
    drop(database);

    let a = Node::start(&a_dir);
    eventually("the task is attested, with nobody else there", || {
        (a.ask(&["task", "show", &task])["state"] == "attested").then_some(())
    });
}

#[test]
fn a_receipt_that_could_not_be_attested_by_policy_is_tried_again_when_a_peer_comes() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    let id = text(&submitted(&a, &desk.hello(0)), "receipt_id").to_owned();
    arrives(&b, &id);
    let (a_dir, b_did) = (a.dir.clone(), b.did().to_owned());
    assert_eq!((a.stop(), b.stop()), (Some(0), Some(0)));

    // Alone, the witness has no module to run; what it cannot know yet, it does not sign.
    let b = eager(&desk, "b", "/ip4/127.0.0.1/tcp/1");
    let a = Node::start(&a_dir);
    assert_eq!(votes(&b, &id), []);
    a.meet(&b);
    eventually("the witness attests it now", || {
        (votes(&a, &id) == [(b_did.clone(), "agree".to_owned())]).then_some(())
    });
}

#[test]
fn an_attestation_brings_its_receipt_along_to_a_node_that_never_met_the_executor() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    let [told, untold] = [(); 2].map(|()| text(&submitted(&a, &desk.hello(0)), "receipt_id").to_owned());
    arrives(&b, &told);
    arrives(&b, &untold);
    assert_eq!(b.ask(&["attest", &told])["verdict"], "agree");
    assert_eq!(a.stop(), Some(0));

    let c = eager(&desk, "c", b.address());
    eventually("it has the first vote and adds its own", || {
        // Until the receipt is there, `receipt show` would fail.
        c.listed(&["receipt", "list"], "receipt_id", &told).pop()?;
        let both = votes(&c, &told);
        (both.len() == 2 && both.iter().all(|(_, verdict)| verdict == "agree")).then_some(both)
    });
    eventually("its vote reaches the first witness", || (votes(&b, &told).len() == 2).then_some(()));
    // A node that catches up is told what its peer signed, not everything that its peer knows.
    assert!(c.listed(&["receipt", "list"], "receipt_id", &untold).is_empty());
}

#[test]
fn that_nothing_could_be_said_is_no_vote_and_gives_way_to_one() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    let id = text(&submitted(&a, &desk.hello(0)), "receipt_id").to_owned();
    arrives(&b, &id);
    let a_dir = a.dir.clone();
    assert_eq!(a.stop(), Some(0));
    assert_eq!(b.ask(&["attest", &id])["verdict"], "unverifiable");

    let a = Node::start(&a_dir);
    a.meet(&b);
    let me = b.did().to_owned();
    eventually("the executor hears that nothing could be said", || {
        (votes(&a, &id) == [(me.clone(), "unverifiable".to_owned())]).then_some(())
    });
    assert_eq!(b.ask(&["attest", &id])["verdict"], "agree");
    for node in [&a, &b] {
        eventually("the vote takes its place", || {
            (votes(node, &id) == [(me.clone(), "agree".to_owned())]).then_some(())
        });
    }
}

#[test]
fn trying_out_signs_nothing_and_what_was_signed_is_told_whatever_comes_after_it() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    let id = text(&submitted(&a, &desk.hello(0)), "receipt_id").to_owned();
    arrives(&b, &id);
    let tried = b.ask(&["attest", "--dry-run", &id]);
    assert_eq!((text(&tried, "verdict"), &tried["attestation_id"]), ("agree", &Value::Null));
    assert_eq!(votes(&b, &id), []);
    let unknown = "bafkreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let both = b.run(&["--json", "attest", unknown, &id]).fails(1, "there is no receipt").json();
    assert!(both[0]["error"].is_string() && both[1]["attestation_id"].is_string(), "{both}");
    assert_eq!(votes(&b, &id), [(b.did().to_owned(), "agree".to_owned())]);
    assert_eq!(b.ask(&["attest", "--dry-run", &id])["signed_before"], true);
}

#[test]
fn however_many_ask_at_once_a_witness_signs_once() {
    const ASKING: usize = 6;
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    let id = text(&submitted(&a, &desk.hello(0)), "receipt_id").to_owned();
    arrives(&b, &id);
    let asking = [(); ASKING].map(|()| {
        let mut attest = program();
        attest.args(["--json", "attest", &id, "--data-dir"]).arg(&b.dir);
        Running::start(attest)
    });
    let answers = asking.map(|process| process.line().expect("each is answered"));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(votes(&b, &id).len(), 1);
    let events = b.ask(&["events"]);
    let signed = events.as_array().unwrap().iter().filter(|event| event["event"] == "attestation").count();
    assert_eq!(signed, 1);
}

#[test]
fn what_asked_for_randomness_or_the_clock_can_be_run_but_never_witnessed() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    for capability in ["random", "wall-clock"] {
        let manifest = |quorum: u32| {
            let text = fs::read_to_string(desk.hello(quorum)).unwrap();
            desk.file("free.toml", format!("capabilities = [\"{capability}\"]\n{text}"))
        };
        a.run(&["submit", &manifest(1)]).fails(2, "attestation.quorum");
        let done = submitted(&a, &manifest(0));
        let id = text(&done, "receipt_id");
        arrives(&b, id);
        let found = b.ask(&["attest", id]);
        assert_eq!(found["verdict"], "unverifiable", "{found}");
        assert!(text(&found, "reason").contains("real randomness"), "{found}");
    }
}

#[test]
fn a_task_that_waits_for_its_witnesses_does_not_run() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("data"));
    let task = text(&node.ask(&["submit", &desk.hello(1)]), "task_id").to_owned();
    eventually("it has its receipt", || {
        (node.ask(&["task", "show", &task])["state"] == "receipted").then_some(())
    });
    eventually("nothing runs any more", || (node.ask(&["status"])["running"] == 0).then_some(()));
    assert!(node.listed(&["task", "list"], "task_id", &task)[0]["progress"].is_null());
}

#[test]
fn a_second_vote_under_the_same_key_changes_nothing_and_is_not_told_as_one() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    let id = text(&submitted(&a, &desk.hello(0)), "receipt_id").to_owned();
    arrives(&b, &id);
    let first = b.ask(&["attest", &id])["attestation_id"].clone();
    let known = |node: &Node| node.ask(&["receipt", "show", &id])["attestations"].clone();
    eventually("the vote arrives", || (known(&a).as_array().unwrap().len() == 1).then_some(()));
    let key = b.dir.join("keys/node.pem");
    assert_eq!(b.stop(), Some(0));

    // The same witness, who knows nothing of what it has said.
    fs::create_dir_all(desk.path("c/keys")).unwrap();
    for folder in ["c", "c/keys"] {
        fs::set_permissions(desk.path(folder), fs::Permissions::from_mode(0o700)).unwrap();
    }
    fs::copy(&key, desk.path("c/keys/node.pem")).unwrap();
    let c = Node::start(&desk.path("c"));
    a.meet(&c);
    let receipt = a.run(&["receipt", "export", &id]).exits(0).text();
    let second = c.ask(&["attest", &desk.file("receipt.json", receipt)]);
    assert_eq!(second["verdict"], "agree");
    assert_ne!(second["attestation_id"], first);
    // What comes after it on the same way has come: so has the second vote.
    let other = text(&submitted(&c, &desk.hello(0)), "receipt_id").to_owned();
    arrives(&a, &other);
    assert_eq!(known(&a)[0]["attestation_id"], first);
    let events = a.ask(&["events"]);
    let told = events.as_array().unwrap().iter().filter(|event| event["event"] == "attestation").count();
    assert_eq!(told, 1);
}
