//! The command line as scripts hold on to it: exit codes, the shape of every JSON answer, errors on stderr.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tempfile::TempDir;

use crate::support::{
    Desk, Ended, HELLO, Node, PROGRAM, Running, eventually, finish, forged, isolate, program, zerostate,
};

/// A command whose `_start` is this.
fn command(body: &str) -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start") {body}))"#
    )
}

#[track_caller]
fn has_exactly(value: &Value, keys: &[&str]) {
    let found: BTreeSet<_> =
        value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect();
    assert_eq!(found, keys.iter().copied().collect(), "{value}");
}

#[track_caller]
fn has(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(key).is_some(), "{key} is expected in {value}");
    }
}

fn output(report: &Value) -> String {
    String::from_utf8(BASE64.decode(report["output"].as_str().unwrap()).unwrap()).unwrap()
}

/// The envelope in an answer, byte for byte.
fn envelope_in(answer: &Ended) -> String {
    #[derive(Deserialize)]
    struct Answer {
        envelope: Option<Box<RawValue>>,
        receipt: Box<RawValue>,
    }
    let answer: Answer = serde_json::from_str(&answer.text()).unwrap();
    answer.envelope.unwrap_or(answer.receipt).get().to_owned()
}

#[test]
fn verbs_that_need_a_node_say_plainly_that_none_runs() {
    let dir = TempDir::new().unwrap();
    let verbs: [&[&str]; 11] = [
        &["status"],
        &["peers"],
        &["connect", "/ip4/127.0.0.1/tcp/1"],
        &["task", "list"],
        &["task", "show", "abcdef"],
        &["task", "cancel", "abcdef"],
        &["receipt", "list"],
        &["attest", "bafkrei"],
        &["artifact", "list"],
        &["events"],
        &["events", "--follow"],
    ];
    for verb in verbs {
        for json in [&[][..], &["--json"]] {
            let ended = zerostate(dir.path(), &[json, verb].concat()).fails(1, "error: no node runs on ");
            assert!(ended.text().is_empty() && ended.stderr.contains("\nhint: "), "{ended:?}");
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "asking leaves nothing behind");
}

#[test]
fn wrong_usage_exits_with_two() {
    let desk = Desk::new();
    let wrong: [&[&str]; 9] = [
        &["nonsense"],
        &["--nonsense"],
        &["run"],
        &["run", "--memory", "much", "x.wasm"],
        &["run", "--time", "30", "x.wasm"],
        &["verify"],
        &["completions", "klingon"],
        &["lab", "--nodes", "0"],
        &["task"],
    ];
    for args in wrong {
        let ended = zerostate(&desk.path("data"), args);
        assert_eq!((ended.code, ended.text().as_str()), (2, ""), "{ended:?}");
    }
    assert!(!desk.path("data").exists(), "wrong usage makes no data directory");
}

#[test]
fn an_identity_is_one_key_under_three_names_and_stays_the_same() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let id = zerostate(&dir, &["id", "--json"]).exits(0).json();
    has_exactly(&id, &["did", "peer_id", "public_key"]);
    assert!(id["did"].as_str().unwrap().starts_with("did:key:z6Mk"));
    assert!(id["peer_id"].as_str().unwrap().starts_with("12D3KooW"));
    assert!(id["public_key"].as_str().is_some_and(|key| key.len() == 64 && hex::decode(key).is_ok()));
    assert_eq!(zerostate(&dir, &["--json", "id"]).exits(0).json(), id);
    let shown = zerostate(&dir, &["id"]).exits(0).text();
    assert!(id.as_object().unwrap().values().all(|name| shown.contains(name.as_str().unwrap())), "{shown}");

    let node = Node::start(&dir);
    assert_eq!((&node.ready["did"], &node.ready["peer_id"]), (&id["did"], &id["peer_id"]));
    has_exactly(&node.ready, &["event", "peer_id", "did", "addrs", "api"]);
    assert!(node.address().starts_with("/ip4/127.0.0.1/tcp/") && node.address().contains("/p2p/12D3KooW"));
    let socket = Path::new(node.ready["api"].as_str().unwrap());
    assert_eq!(
        fs::metadata(socket).unwrap().permissions().mode() & 0o777,
        0o600,
        "the socket is the user's own"
    );
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o077, 0);
    assert_eq!(node.ask(&["id"]), id, "also while the node runs");
}

#[test]
fn a_running_node_answers_every_reading_verb_in_json_and_for_people() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("a"));
    for (list, empty) in [
        (&["task", "list"][..], "no tasks"),
        (&["receipt", "list"], "no receipts"),
        (&["artifact", "list"], "nothing is stored"),
        (&["peers"], "no peers"),
    ] {
        assert_eq!(node.ask(list), Value::Array(Vec::new()));
        assert!(node.run(list).exits(0).text().starts_with(empty));
    }
    let other = Node::start(&desk.path("b"));
    node.meet(&other);
    let done = node.ask(&["submit", "--wait", &desk.hello(0)]);
    has_exactly(&done, &["task_id", "state", "receipt_id", "attestations"]);
    let (task_id, receipt_id) = (done["task_id"].as_str().unwrap(), done["receipt_id"].as_str().unwrap());
    other.ask(&["attest", receipt_id]);
    eventually("the attestation comes back", || {
        (node.ask(&["receipt", "list"])[0]["agree"] == 1).then_some(())
    });

    let counts = ["peers", "tasks", "receipts", "attestations"];
    // The status is of the last tenth of a second.
    let status = eventually("the status counts one of each", || {
        let status = node.ask(&["status"]);
        counts.iter().all(|key| status[key] == 1).then_some(status)
    });
    has(
        &status,
        &["did", "peer_id", "name", "version", "started_at", "listen", "bytes_in", "bytes_out", "inbox"],
    );

    let peer = node.peer(&other).unwrap();
    has(&peer, &["peer_id", "did", "name", "address", "connected_since", "ping_ns", "capabilities"]);

    let task = &node.ask(&["task", "list"])[0];
    has(task, &["task_id", "name", "state", "receipt_id", "created_at", "quorum"]);
    assert_eq!((&task["task_id"], &task["state"]), (&done["task_id"], &"receipted".into()));
    let task = node.ask(&["task", "show", &task_id[..8]]);
    has(&task, &["task_id", "state", "receipt_id", "manifest", "timeline"]);
    for step in task["timeline"].as_array().unwrap() {
        has_exactly(step, &["step", "at", "node", "detail"]);
        let at = step["at"].as_str().unwrap();
        assert!(at.ends_with('Z') && at.parse::<jiff::Timestamp>().is_ok(), "RFC 3339 in UTC: {at}");
    }

    let row = &node.ask(&["receipt", "list"])[0];
    has(row, &["receipt_id", "task_id", "executor", "requester", "status", "total_micro", "duration_ns"]);
    assert!(row["total_micro"].is_u64() && row["fuel_used"].is_u64() && row["peak_memory_bytes"].is_u64());
    let shown = node.ask(&["receipt", "show", receipt_id]);
    has_exactly(&shown, &["receipt_id", "receipt", "envelope", "attestations"]);
    has(
        &shown["receipt"],
        &["manifest", "artifact", "inputs", "output", "environment", "cost", "nonce", "started_at"],
    );
    has(&shown["attestations"][0], &["attestation_id", "witness", "verdict", "differences"]);

    let artifact = &node.ask(&["artifact", "list"])[0];
    has_exactly(artifact, &["cid", "sha256", "size", "pinned", "added_at"]);
    let events = node.ask(&["events"]);
    for (number, event) in (1..).zip(events.as_array().unwrap()) {
        has(event, &["seq", "at", "event"]);
        assert_eq!(event["seq"], number);
    }

    for verb in [
        &["status"][..],
        &["peers"],
        &["task", "list"],
        &["task", "show", task_id],
        &["receipt", "list"],
        &["receipt", "show", receipt_id],
        &["artifact", "list"],
        &["events"],
    ] {
        let shown = node.run(verb).exits(0).text();
        assert!(
            shown.lines().count() > 0 && !shown.starts_with('{') && !shown.starts_with('['),
            "{verb:?}: {shown}"
        );
    }
}

#[test]
fn what_does_not_exist_fails_with_one_and_says_what_is_missing() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("data"));
    let nobody = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    let missing: [(&[&str], &str); 6] = [
        (&["task", "show", "abcdef012345"], "no task abcdef012345"),
        (&["task", "cancel", "abcdef012345"], "no task abcdef012345"),
        (&["receipt", "show", nobody], "no receipt bafkrei"),
        (&["receipt", "export", nobody], "no receipt bafkrei"),
        (&["attest", nobody], "no receipt bafkrei"),
        (&["artifact", "get", nobody], "neither stored here nor to be had"),
    ];
    for (args, why) in missing {
        assert_eq!(node.run(args).fails(1, why).text(), "");
    }
    for (args, why) in [
        (&["artifact", "get", "not-a-cid"][..], "is not a CID"),
        (&["task", "show", "ab"], "at least 4 characters"),
        (&["connect", "nowhere"], "is not an address"),
        (&["submit", "/nonexistent.toml"], "cannot read /nonexistent.toml"),
    ] {
        node.run(args).fails(2, why);
    }
    // Nobody listens on the port of a listener that is gone.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    node.run(&["connect", &format!("/ip4/127.0.0.1/tcp/{port}")])
        .fails(1, "cannot connect to /ip4/127.0.0.1/tcp/");
}

#[test]
fn an_artifact_comes_out_as_it_went_in_also_from_a_peer() {
    let desk = Desk::new();
    let (a, b) = (Node::start(&desk.path("a")), Node::start(&desk.path("b")));
    a.meet(&b);
    let added = a.ask(&["artifact", "add", &desk.named("hello.wasm")]);
    has_exactly(&added, &["cid", "sha256", "size"]);
    assert_eq!(added["size"], HELLO.len());
    let cid = added["cid"].as_str().unwrap();
    assert_eq!(a.ask(&["artifact", "add", &desk.named("hello.wasm")]), added, "adding twice changes nothing");
    assert_eq!(a.ask(&["artifact", "list"]).as_array().unwrap().len(), 1);

    let got = b.ask(&["artifact", "get", cid, "--output", &desk.named("copy.wasm")]);
    assert_eq!((&got["cid"], &got["sha256"]), (&added["cid"], &added["sha256"]));
    assert_eq!(fs::read(desk.path("copy.wasm")).unwrap(), HELLO);

    // A task may name it instead of a file.
    let manifest = desk.file("by-cid.toml", format!("name = \"by-cid\"\nartifact = {{ cid = \"{cid}\" }}\n"));
    assert_eq!(b.ask(&["submit", "--wait", &manifest])["state"], "receipted");
}

#[test]
fn the_same_manifest_submitted_twice_is_two_tasks_and_each_is_listed_newest_first() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("data"));
    let manifest = desk.hello(0);
    let ids: Vec<Value> = (0..2)
        .map(|_| {
            let submitted = node.ask(&["submit", &manifest]);
            has_exactly(&submitted, &["task_id"]);
            submitted["task_id"].clone()
        })
        .collect();
    assert_ne!(ids[0], ids[1]);
    let listed: Vec<_> =
        node.ask(&["task", "list"]).as_array().unwrap().iter().map(|t| t["task_id"].clone()).collect();
    assert_eq!(listed, [ids[1].clone(), ids[0].clone()]);
    assert_eq!(node.ask(&["task", "list", "--limit", "1"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_running_task_can_be_cancelled_and_a_finished_one_cannot() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("data"));
    let mut waiting = program();
    waiting.args(["submit", "--wait", "--json"]).arg(desk.endless()).arg("--data-dir").arg(&node.dir);
    let mut waiting = Running::start(waiting);
    let task = eventually("the task runs", || node.listed(&["task", "list"], "state", "running").pop());
    let id = task["task_id"].as_str().unwrap();
    assert_eq!(node.ask(&["task", "cancel", id]), serde_json::json!({ "task_id": id }));

    let answer: Value = serde_json::from_str(&waiting.line().expect("the waiting one is told")).unwrap();
    assert_eq!((&answer["state"], &answer["receipt_id"]), (&"cancelled".into(), &Value::Null));
    assert_eq!(waiting.wait(crate::support::STOP_WITHIN).code(), Some(1));
    assert!(waiting.errors().starts_with("error: the task is cancelled"));
    let timeline = node.ask(&["task", "show", id])["timeline"].clone();
    assert_eq!(timeline.as_array().unwrap().last().unwrap()["step"], "cancelled");

    let done = node.ask(&["submit", "--wait", &desk.hello(0)]);
    node.run(&["task", "cancel", done["task_id"].as_str().unwrap()]).fails(1, "is receipted already");
}

#[test]
fn a_task_that_cannot_run_is_failed_with_a_receipt_and_the_reason() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("data"));
    let broken = desk.file("broken.wasm", "this is no module");
    let ended = node.run(&["--json", "submit", "--wait", &broken]).fails(1, "error: the task is failed: ");
    let answer = ended.json();
    assert_eq!(answer["state"], "failed");
    let receipt = node.ask(&["receipt", "show", answer["receipt_id"].as_str().unwrap()])["receipt"].clone();
    assert_eq!(receipt["status"], "invalid-module");
    assert!(ended.stderr.contains("it is not WebAssembly"), "{ended:?}");
}

#[test]
fn run_gives_the_guests_output_and_exit_code() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let hello = desk.named("hello.wasm");
    let ran = zerostate(&dir, &["run", &hello, "--flag", "two words"]).exits(0);
    assert_eq!((ran.text().as_str(), ran.stderr.as_str()), ("Hello, --flag!\n", ""));
    let fed = zerostate(&dir, &["run", "--stdin", &desk.file("in.txt", "twelve bytes"), &hello]).exits(0);
    assert!(fed.text().contains("You gave me 12 bytes."), "{fed:?}");

    let seven = desk.module("seven.wasm", &command("(call $exit (i32.const 7))"));
    let ended = zerostate(&dir, &["run", &seven]);
    assert_eq!((ended.code, ended.text().as_str(), ended.stderr.as_str()), (7, "", ""));
    let report = zerostate(&dir, &["run", "--json", &seven]).exits(0).json();
    has_exactly(&report, &["receipt_id", "status", "exit_code", "output", "receipt"]);
    assert_eq!((&report["status"], &report["exit_code"]), (&"ok".into(), &7.into()));

    let sum = desk.module(
        "sum.wasm",
        "(module (func (export \"sum\") (param i32 i64) (result i64) (i64.add (i64.extend_i32_s (local.get 0)) (local.get 1))))",
    );
    let report = zerostate(&dir, &["run", "--json", "--function", "sum", &sum, "2", "40"]).exits(0).json();
    assert_eq!(serde_json::from_str::<Value>(&output(&report)).unwrap(), 42);
    let large = zerostate(&dir, &["run", "--json", "--function", "sum", &sum, "0", "9007199254740993"])
        .exits(0)
        .json();
    assert_eq!(
        serde_json::from_str::<Value>(&output(&large)).unwrap(),
        "9007199254740993",
        "no double can hold it"
    );
}

#[test]
fn a_run_that_breaks_a_limit_says_which_in_json_and_on_stderr() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let endless = desk.module("endless.wasm", &command("(loop (br 0))"));
    let large =
        desk.module("large.wasm", "(module (memory (export \"memory\") 64) (func (export \"_start\")))");
    let trap = desk.module("trap.wasm", &command("unreachable"));
    let deep = desk.module("deep.wasm", "(module (func $f (export \"_start\") (call $f) (call $f)))");
    let limits: [(&[&str], &str); 5] = [
        (&["--fuel", "100000", &endless], "out-of-fuel"),
        (&["--time", "200ms", "--fuel", "9007199254740991", &endless], "timeout"),
        (&["--memory", "1MiB", &large], "out-of-memory"),
        (&["--stack", "64KiB", &deep], "stack-overflow"),
        (&[&trap], "trap"),
    ];
    for (args, status) in limits {
        let ended = zerostate(&dir, &[&["run", "--json"], args].concat());
        let ended = ended.fails(1, &format!("error: the run ended with {status}"));
        let report = ended.json();
        assert_eq!((&report["status"], &report["exit_code"]), (&status.into(), &Value::Null), "{report}");
        let receipt = desk.file("limit.json", envelope_in(&ended));
        let document = zerostate(&dir, &["verify", "--json", &receipt]).exits(0).json()["document"].clone();
        assert_eq!(document["predicate"]["status"], status, "the receipt says the same");
    }
}

#[test]
fn every_way_to_a_receipt_gives_the_same_envelope_and_it_verifies() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let ran = zerostate(
        &dir,
        &["run", "--json", "--receipt", &desk.named("alone.json"), &desk.named("hello.wasm")],
    )
    .exits(0);
    let alone = fs::read_to_string(desk.path("alone.json")).unwrap();
    assert_eq!(envelope_in(&ran), alone, "run --json shows the envelope as it was signed");
    let id = ran.json()["receipt_id"].as_str().unwrap().to_owned();

    // The node that is started later on this directory has it.
    let node = Node::start(&dir);
    assert_eq!(node.run(&["receipt", "export", &id]).exits(0).text(), format!("{alone}\n"));
    node.run(&["receipt", "export", &id[..12], "--output", &desk.named("exported.json")]).exits(0);
    assert_eq!(fs::read_to_string(desk.path("exported.json")).unwrap(), alone);
    let shown = node.run(&["--json", "receipt", "show", &id]).exits(0);
    assert_eq!(envelope_in(&shown), alone, "receipt show --json too");

    // With a node there, the run goes through it, and is stored all the same.
    let through = node.run(&["run", "--json", &desk.named("hello.wasm")]).exits(0);
    let other = through.json()["receipt_id"].as_str().unwrap().to_owned();
    assert_ne!(other, id);
    assert_eq!(node.run(&["receipt", "export", &other]).exits(0).text().trim_end(), envelope_in(&through));
    let listed: Vec<_> = node
        .ask(&["receipt", "list"])
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["receipt_id"].clone())
        .collect();
    assert_eq!(listed, [Value::from(other), Value::from(id)]);
}

#[test]
fn the_same_module_twice_gives_the_same_output_and_fuel_with_a_node_or_without() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let random = desk.module(
        "random.wasm",
        r#"(module
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "_start")
                (drop (call $random (i32.const 64) (i32.const 32)))
                (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 96)))
                (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 40))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
    );
    let run = |args: &[&str]| {
        let ended = zerostate(&dir, &[&["run", "--json", &random], args].concat()).exits(0);
        let file = desk.file("receipt.json", envelope_in(&ended));
        let claim =
            zerostate(&dir, &["verify", "--json", &file]).exits(0).json()["document"]["predicate"].clone();
        has(&claim, &["output", "fuel_used", "peak_memory_bytes"]);
        (
            ended.json()["output"].clone(),
            claim["output"].clone(),
            claim["fuel_used"].clone(),
            claim["peak_memory_bytes"].clone(),
        )
    };
    let alone = run(&[]);
    assert_eq!(run(&[]), alone);
    assert_ne!(run(&["other", "work"]).0, alone.0, "other work, other randomness");
    let _node = Node::start(&dir);
    assert_eq!(run(&[]), alone, "through a node as without one");
}

#[test]
fn verify_needs_no_node_no_home_and_no_network() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let receipt = desk.named("receipt.json");
    zerostate(&dir, &["run", "--receipt", &receipt, &desk.named("hello.wasm")]).exits(0);
    let me = zerostate(&dir, &["--json", "id"]).json()["did"].clone();
    let home = TempDir::new().unwrap();
    // In a network namespace of its own a process has not even a loopback; not every machine lets one make it.
    let mut walled = Command::new("unshare");
    walled.args(["--net", "true"]);
    isolate(&mut walled);
    let walled = walled.status().is_ok_and(|status| status.success());
    let verify = |args: &[&str]| {
        let mut command = if walled {
            let mut command = Command::new("unshare");
            command.args(["--net", PROGRAM]);
            command
        } else {
            eprintln!("without a network namespace: this machine does not let one be made");
            Command::new(PROGRAM)
        };
        isolate(&mut command);
        command.env("HOME", home.path()).current_dir(home.path()).arg("verify").args(args);
        finish(command)
    };
    let answer = verify(&["--json", &receipt]).exits(0).json();
    has_exactly(&answer, &["valid", "kind", "id", "signer", "document", "attestations", "problems"]);
    assert_eq!(
        (&answer["valid"], &answer["kind"], &answer["signer"]),
        (&true.into(), &"receipt".into(), &me)
    );
    assert_eq!(answer["document"]["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(answer["document"]["predicateType"], "urn:zerostate:execution-receipt:v1");
    assert!(verify(&[&receipt]).exits(0).text().contains(me.as_str().unwrap()));

    let whole = fs::read_to_string(&receipt).unwrap();
    let forged = desk.file("forged.json", forged(&whole));
    let answer = verify(&["--json", &forged]).fails(1, "does not verify").json();
    assert_eq!((&answer["valid"], answer["problems"].as_array().map(Vec::len)), (&false.into(), Some(1)));
    assert!(answer["problems"][0].as_str().unwrap().contains("the signature does not hold"), "{answer}");
    let ended = verify(&["--json", &receipt, &forged, &receipt]).fails(1, "1 of 3 envelopes");
    let valid: Vec<_> =
        ended.json().as_array().unwrap().iter().map(|answer| answer["valid"].clone()).collect();
    assert_eq!(valid, [true, false, true]);
    assert_eq!(verify(&["--json", &receipt, &receipt]).exits(0).json().as_array().unwrap().len(), 2);
    verify(&["/nonexistent"]).fails(2, "cannot read /nonexistent");
    // What cannot be read is not the others' loss.
    let ended = verify(&["--json", &receipt, "/nonexistent", &receipt]).fails(2, "cannot read /nonexistent");
    let valid: Vec<_> =
        ended.json().as_array().unwrap().iter().map(|answer| answer["valid"].clone()).collect();
    assert_eq!(valid, [true, false, true]);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "verify leaves nothing behind");
}

#[test]
fn changing_any_byte_of_an_envelope_makes_it_invalid() {
    let desk = Desk::new();
    zerostate(&desk.path("data"), &["run", "--receipt", &desk.named("r.json"), &desk.named("hello.wasm")])
        .exits(0);
    let whole = fs::read(desk.path("r.json")).unwrap();
    // A change in each of 60 places over the whole length, fields, payload, key and signature.
    let files: Vec<String> = (0..60)
        .map(|place| {
            let mut bytes = whole.clone();
            bytes[place * (whole.len() - 1) / 59] ^= 1;
            desk.file(&format!("{place}.json"), bytes)
        })
        .collect();
    let mut args = vec!["verify", "--json"];
    args.extend(files.iter().map(String::as_str));
    let answers = zerostate(&desk.path("data"), &args).fails(1, "60 of 60 envelopes do not verify").json();
    assert!(answers.as_array().unwrap().iter().all(|answer| answer["valid"] == false));
}

#[test]
fn a_new_manifest_checks_out_and_an_old_one_is_not_written_over() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let new = desk.named("new.toml");
    zerostate(&dir, &["manifest", "new", &new]).exits(0);
    let written = fs::read(&new).unwrap();
    let checked = zerostate(&dir, &["--json", "manifest", "check", &new]).exits(0).json();
    has(&checked, &["valid", "name", "manifest"]);
    assert_eq!(checked["valid"], true);
    zerostate(&dir, &["manifest", "new", &new]).fails(1, "cannot write");
    assert_eq!(fs::read(&new).unwrap(), written);
    assert!(!dir.exists(), "a manifest needs no data directory");
}

#[test]
fn a_faulty_manifest_is_told_in_json_too() {
    let desk = Desk::new();
    let file = desk
        .file("faulty.toml", "name = 7\nartifact = { path = \"x.wasm\" }\nspeed = 3\n[limits]\nfuel = 0\n");
    let answer =
        zerostate(&desk.path("data"), &["--json", "manifest", "check", &file]).fails(2, "3 faults").json();
    assert_eq!(answer["valid"], false);
    let fields: Vec<_> =
        answer["faults"].as_array().unwrap().iter().map(|f| f["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["name", "speed", "limits.fuel"], "{answer}");
    let dated = desk.file(
        "dated.toml",
        "name = \"x\"\nartifact = { path = \"x.wasm\" }\nexpires_at = 2999-01-31T12:00:00Z\n",
    );
    zerostate(&desk.path("data"), &["manifest", "check", &dated]).fails(2, "expires_at");
}

#[test]
fn doctor_finds_what_is_wrong_and_completions_know_the_verbs() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let fine = zerostate(&dir, &["doctor", "--json"]).exits(0).json();
    assert_eq!(fine["ok"], true, "{fine}");
    let checks: Vec<_> =
        fine["checks"].as_array().unwrap().iter().map(|c| c["check"].as_str().unwrap()).collect();
    assert_eq!(checks, ["data directory", "configuration", "key", "node", "disk", "runner", "sandbox"]);

    for (config, why) in [
        ("[network]\nlisten = [\"garbage\"]\n", "network.listen: "),
        ("[network]\nbootstrap = [\"nowhere\"]\n", "network.bootstrap: "),
        ("[log]\nfilter = \"==\"\n", "log.filter: "),
    ] {
        let file = desk.file("config.toml", config);
        let sick =
            zerostate(&dir, &["doctor", "--json", "--config", &file]).fails(1, "1 of 7 checks failed").json();
        assert!(sick["checks"][1]["found"].as_str().unwrap().starts_with(why), "{sick}");
    }
    zerostate(&dir, &["id"]).exits(0);
    fs::set_permissions(dir.join("keys/node.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let sick = zerostate(&dir, &["doctor", "--json"]).fails(1, "1 of 7 checks failed").json();
    assert_eq!((&sick["ok"], &sick["checks"][2]["ok"]), (&false.into(), &false.into()), "{sick}");

    for shell in ["bash", "zsh", "fish"] {
        let script = zerostate(&dir, &["completions", shell]).exits(0).text();
        for verb in ["submit", "verify", "attest", "receipt", "artifact", "doctor"] {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
}

#[test]
fn whoever_reads_only_the_beginning_has_it_and_nothing_is_said_to_have_failed() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("data"));
    desk.hello(0);
    let dir = &node.dir;
    for verb in ["events --follow", "events", "submit --wait hello-0.toml", "task list --json", "--help"] {
        let mut shell = Command::new("sh");
        isolate(&mut shell);
        shell.env("ZEROSTATE", PROGRAM).env("DATA", dir).current_dir(desk.path(""));
        // The exit code of the program itself, and not of the reader, goes to the second line.
        shell.args([
            "-c",
            &format!("{{ \"$ZEROSTATE\" --data-dir \"$DATA\" {verb}; echo code $? >&2; }} | head -c 1"),
        ]);
        let (done, manifest) = (AtomicBool::new(false), desk.named("hello-0.toml"));
        let ended = std::thread::scope(|scope| {
            // The follower finds the pipe closed when it has something to write again.
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    zerostate(dir, &["submit", "--wait", &manifest]).exits(0);
                }
            });
            let ended = finish(shell);
            done.store(true, Ordering::Relaxed);
            ended.exits(0)
        });
        assert_eq!(ended.stdout.len(), 1, "{verb}: {ended:?}");
        assert!(ended.stderr.ends_with("code 0\n") && !ended.stderr.contains("error"), "{verb}: {ended:?}");
    }
}

#[test]
fn nobody_else_on_the_machine_can_read_what_the_node_keeps() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("data"));
    node.ask(&["submit", "--wait", &desk.hello(0)]);
    let mut folders = vec![node.dir.clone()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            let mode = metadata.permissions().mode() & 0o777;
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", entry.path().display());
            seen += 1;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    assert!(seen > 5, "key, database, log, socket and block are there");
    assert_eq!(fs::metadata(&node.dir).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_second_process_on_a_data_directory_is_told_who_has_it() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("data"));
    let pid = node.pid().as_raw_nonzero().to_string();
    let (code, said) = Node::try_start(&node.dir, &[]).err().expect("the second node must not start");
    assert_eq!(code, Some(1));
    assert!(said.starts_with("error: ") && said.contains(&format!("pid {pid}")), "{said}");
    assert_eq!(node.ask(&["status"])["did"], node.did(), "the first one goes on");
    let dir = node.dir.clone();
    node.kill();
    Node::start(&dir);
}

#[test]
fn a_node_stops_in_good_order_in_the_middle_of_work() {
    for signal in [Signal::TERM, Signal::INT] {
        let desk = Desk::new();
        let node = Node::start(&desk.path("data"));
        let task = node.ask(&["submit", &desk.endless()])["task_id"].as_str().unwrap().to_owned();
        eventually("the task runs", || node.listed(&["task", "list"], "state", "running").pop());
        let mut follow = program();
        follow.args(["events", "--follow", "--data-dir"]).arg(&node.dir);
        let follow = Running::start(follow);
        assert!(follow.line().is_some());
        let (dir, socket) = (node.dir.clone(), node.ready["api"].as_str().unwrap().to_owned());
        assert_eq!(node.stop_by(signal), Some(0));
        assert!(!Path::new(&socket).exists(), "the socket goes with the node");

        let node = Node::start(&dir);
        // Its state says `running` all along; progress is what only a run of this process has.
        eventually("the task is taken up again", || {
            let row = node.listed(&["task", "list"], "task_id", &task).pop().expect("the task is kept");
            (!row["progress"].is_null()).then_some(())
        });
        let events = node.ask(&["events"]);
        let stops = events.as_array().unwrap().iter().filter(|event| event["event"] == "stopped").count();
        assert_eq!(stops, 1, "the stop is in the journal");
    }
}
