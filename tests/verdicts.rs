//! Executors and witnesses that lie in a guild, in processes of their own: each lie is found out, by its right name, and the honest come
//! to the right end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use zerostate::document::{Content, Cost, Envelope, Manifest, Receipt, Status};

use crate::support::cheat::{Cheat, Lie, Manner, Part};
use crate::support::{Desk, Node, eventually, text, zerostate};

const TRAP: &str = r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#;
/// What an executor says was printed that lies about it.
const OTHER: &[u8] = b"Something else\n";
const HOUR: Duration = Duration::from_secs(3600);

/// A manifest of a module on the desk, with so many witnesses.
fn manifest(desk: &Desk, module: &str, quorum: u32, witnesses: u32) -> String {
    let text = format!(
        "name = \"{module}\"\nartifact = {{ path = \"{module}.wasm\" }}\nargs = [\"there\"]\n\
         [limits]\nfuel = 10000000\n[payment]\nper_second = \"0.002\"\nper_mib = \"0.0001\"\n\
         per_gfuel = \"0.01\"\nmax_total = \"0.05\"\n[attestation]\nquorum = {quorum}\nwitnesses = {witnesses}\n"
    );
    desk.file(&format!("{module}-{quorum}-{witnesses}.toml"), text)
}

/// What `run --json` says. An envelope has one order of its fields, so it is taken as it stands.
#[derive(serde::Deserialize)]
struct Ran {
    receipt: Box<serde_json::value::RawValue>,
}

/// What an honest run of it comes to.
fn truth(desk: &Desk, manifest: &str) -> Receipt {
    let ran = zerostate(&desk.path("truth"), &["--json", "run", manifest]).text();
    let ran: Ran = serde_json::from_str(ran.lines().next().unwrap()).unwrap();
    Envelope::<Receipt>::open(ran.receipt.get().as_bytes()).unwrap().document().clone()
}

/// A node with a policy, connected to all before it.
fn node(desk: &Desk, name: &str, policy: &str, others: &[&Node]) -> Node {
    let config = desk.file(&format!("{name}.toml"), format!("[policy]\n{policy}\n"));
    let node = Node::start_with(&desk.path(name), &["--config", &config]);
    others.iter().for_each(|other| node.meet(other));
    node
}

const ASKS: &str = "self_execute = false";
const RUNS: &str = "accept = \"matching\"";
const WITNESSES: &str = "accept = \"never\"\nattest = \"always\"";

/// The end of a task, however it ends.
fn done(node: &Node, manifest: &str) -> Value {
    let ended = node.run(&["--json", "submit", "--wait", manifest]);
    serde_json::from_slice(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr))
}

/// The votes on a receipt, each with its witness's DID, its verdict, and everything it says.
fn votes(node: &Node, receipt: &str) -> Vec<(String, String, String)> {
    let shown = node.ask(&["receipt", "show", receipt]);
    let rows = shown["attestations"].as_array().unwrap().iter();
    rows.map(|vote| (text(vote, "witness").to_owned(), text(vote, "verdict").to_owned(), vote.to_string()))
        .collect()
}

/// What a task's timeline says of those whose word did not count.
fn named(node: &Node, task: &str) -> Vec<(String, String)> {
    let task = node.ask(&["task", "show", task]);
    let steps = task["timeline"].as_array().unwrap().iter().filter(|step| step["step"] == "discounted");
    steps.map(|step| (text(step, "node").to_owned(), text(step, "detail").to_owned())).collect()
}

#[test]
fn whatever_an_executor_lies_about_its_witnesses_find_it_and_the_task_is_disputed() {
    let desk = Desk::new();
    desk.module("trap.wasm", TRAP);
    let (b, c) = (node(&desk, "b", WITNESSES, &[]), node(&desk, "c", WITNESSES, &[]));
    let a = node(&desk, "a", ASKS, &[&b, &c]);
    b.meet(&c);
    let hello = manifest(&desk, "hello", 2, 2);
    let trap = manifest(&desk, "trap", 2, 2);
    let greets = truth(&desk, &hello);
    let traps = truth(&desk, &trap);
    assert_eq!((greets.status, traps.status), (Status::Ok, Status::Trap));
    let part = |truth: &Receipt, lie: Lie| {
        let output = if truth.status == Status::Ok { OTHER.to_vec() } else { Vec::new() };
        Part::Executor { truth: Box::new(truth.clone()), output, lie }
    };
    let cheat = Cheat::start(&desk.path("cheat"), part(&greets, Arc::new(|receipt, _| receipt)));
    [&a, &b, &c].into_iter().for_each(|node| cheat.connect(node));

    // As long as it does not lie, all agree.
    let honest = done(&a, &hello);
    assert_eq!(honest["state"], "attested", "{honest}");
    let exported = a.run(&["receipt", "export", text(&honest, "receipt_id")]).exits(0).text();
    let before = Envelope::<Receipt>::open(exported.trim_end().as_bytes()).unwrap().document().clone();

    fn priced(receipt: Receipt, terms: &Manifest) -> Receipt {
        let cost = Cost::of(&terms.payment, receipt.duration(), receipt.peak_memory_bytes, receipt.fuel_used);
        Receipt { cost, ..receipt }
    }
    let other = traps.clone();
    let lies: Vec<(&str, &str, &Receipt, &str, Lie)> = vec![
        ("output changed", "the outputs differ from byte 0 on", &greets, &hello, {
            Arc::new(|r, _| Receipt { output: Content::of(OTHER), ..r })
        }),
        ("fuel inflated", "fuel", &greets, &hello, {
            Arc::new(|r, terms| priced(Receipt { fuel_used: r.fuel_used + 1000, ..r }, terms))
        }),
        ("memory inflated", "peak memory", &greets, &hello, {
            Arc::new(|r, terms| {
                priced(Receipt { peak_memory_bytes: r.peak_memory_bytes + 65536, ..r }, terms)
            })
        }),
        ("duration inflated", "duration: 20.000 s where only", &greets, &hello, {
            Arc::new(|r, terms| {
                let (long, duration_ns) = (Duration::from_secs(20), 20_000_000_000);
                priced(Receipt { finished_at: r.started_at + long, duration_ns, ..r }, terms)
            })
        }),
        ("cost inflated", "cost.total: 0.049999", &greets, &hello, {
            Arc::new(|mut r, _| {
                r.cost.total_micro = "0.049999".parse().unwrap();
                r
            })
        }),
        ("another module run", "status", &greets, &hello, {
            Arc::new(move |r, terms| {
                let fuel = (other.fuel_used, other.peak_memory_bytes);
                let ran = Receipt { fuel_used: fuel.0, peak_memory_bytes: fuel.1, output: other.output, ..r };
                let (status, error) = (other.status, other.error.clone());
                priced(Receipt { status, error, exit_code: other.exit_code, ..ran }, terms)
            })
        }),
        ("another module named", "artifact", &greets, &hello, {
            let named = traps.artifact.clone();
            Arc::new(move |r, _| Receipt { artifact: named.clone(), ..r })
        }),
        ("another input used", "inputs", &greets, &hello, {
            Arc::new(|r, _| Receipt { inputs: Content::of(b"something to read"), ..r })
        }),
        ("ok for a trap", "status", &traps, &trap, {
            Arc::new(|r, _| Receipt { status: Status::Ok, exit_code: Some(0), error: None, ..r })
        }),
        ("made before the agreement", "before it was agreed to", &greets, &hello, {
            Arc::new(|r, _| Receipt {
                started_at: r.started_at - HOUR,
                finished_at: r.finished_at - HOUR,
                ..r
            })
        }),
        ("of another guild", "guild", &greets, &hello, {
            Arc::new(|r, _| Receipt { guild: Some("another".to_owned()), ..r })
        }),
    ];
    for (name, reason, truth, manifest, lie) in lies {
        cheat.become_(part(truth, lie));
        let ended = done(&a, manifest);
        assert_eq!(ended["state"], "disputed", "{name}: {ended}");
        let receipt = text(&ended, "receipt_id");
        let said = votes(&a, receipt);
        for witness in [&b, &c] {
            let (_, verdict, vote) = said
                .iter()
                .find(|(who, ..)| who == witness.did())
                .unwrap_or_else(|| panic!("{name}: {said:?}"));
            assert_eq!(verdict, "disagree", "{name}: {vote}");
            assert!(vote.contains(reason), "{name}: {vote}");
        }
        let task = a.ask(&["task", "show", text(&ended, "task_id")]);
        assert!(text(&task, "reason").contains(reason), "{name}: {task}");
        assert_eq!(named(&a, text(&ended, "task_id")), [], "{name}: nobody lied but the executor");
        eventually("the guild is told", || {
            let (state, why) = cheat.outcomes().pop()?;
            (state == "disputed" && why.contains(reason)).then_some(())
        });
        let file = a.dir.join("disputes").join(format!("{receipt}.jsonl"));
        eventually("the dispute is kept", || file.is_file().then_some(()));
    }
    // A dispute whose receipt could be true on its face is a bundle that says so.
    let ids = a.listed(&["receipt", "list"], "name", "hello");
    let disputes = ids.iter().filter_map(|row| {
        let file = a.dir.join("disputes").join(format!("{}.jsonl", text(row, "receipt_id")));
        file.is_file().then(|| file.to_str().unwrap().to_owned())
    });
    let verified: Vec<Value> = disputes
        .map(|file| zerostate(&desk.path("empty"), &["--json", "verify", file.as_str()]).json())
        .collect();
    let fits = |proof: &&Value| proof["valid"] == true;
    assert_eq!(
        verified.iter().filter(fits).count(),
        5,
        "output, fuel, memory, duration, another module: {verified:?}"
    );
    assert!(verified.iter().filter(fits).all(|proof| proof["standing"] == "disputed"), "{verified:?}");

    // The receipt of another task, which is true: the witnesses have agreed to it, and do not take it for this one's.
    cheat.become_(part(&greets, {
        let before = before.clone();
        Arc::new(move |_, _| before.clone())
    }));
    let replayed = done(&a, &hello);
    assert_eq!((&replayed["state"], &replayed["receipt_id"]), (&"disputed".into(), &honest["receipt_id"]));
    let task = a.ask(&["task", "show", text(&replayed, "task_id")]);
    let reason = text(&task, "reason");
    assert!(reason.matches("manifest: it is the receipt of").count() >= 2, "{reason}");
    // As a receipt of its own task it stands as it stood.
    let said = votes(&a, text(&honest, "receipt_id"));
    assert!(said.iter().all(|(_, verdict, _)| verdict == "agree"), "{said:?}");
    assert_eq!(a.ask(&["task", "show", text(&honest, "task_id")])["state"], "attested");

    // A witness that always agrees, among two that do not: it is found out by whoever asked for the task.
    let lazy = Cheat::start(&desk.path("lazy"), Part::Witness(Manner::AlwaysAgrees));
    [&a, &b, &c].into_iter().for_each(|node| lazy.connect(node));
    cheat.become_(part(&greets, Arc::new(|r, _| Receipt { output: Content::of(OTHER), ..r })));
    let three = manifest(&desk, "hello", 2, 3);
    let ended = with(&a, &three, &lazy);
    assert_eq!(ended["state"], "disputed", "{ended}");
    let names = named(&a, text(&ended, "task_id"));
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(
        names[0].0 == lazy.did.to_string() && names[0].1.contains("it says agree, which is not so"),
        "{names:?}"
    );
}

#[test]
fn one_lying_witness_of_three_changes_nothing_and_is_named() {
    let desk = Desk::new();
    let e = node(&desk, "e", RUNS, &[]);
    let b = node(&desk, "b", WITNESSES, &[&e]);
    let c = node(&desk, "c", WITNESSES, &[&e, &b]);
    let a = node(&desk, "a", ASKS, &[&e, &b, &c]);
    let cheat = Cheat::start(&desk.path("cheat"), Part::Witness(Manner::AlwaysAgrees));
    [&a, &b, &c, &e].into_iter().for_each(|node| cheat.connect(node));
    let hello = manifest(&desk, "hello", 2, 3);
    for (manner, name) in [
        (Manner::AlwaysDisagrees, "it says disagree, which is not so"),
        (Manner::Copies, "what it says is not what it had committed to"),
        (Manner::NeverReveals, "it has committed, and has not revealed"),
        (Manner::NeverCommits, "it has said nothing"),
        (Manner::VotesTwice, "it has voted twice"),
        (Manner::VotesAgain, "it has voted twice"),
        (Manner::VotesTwiceOutside, "it has voted twice"),
        (Manner::ManyNames, ""),
    ] {
        cheat.become_(Part::Witness(manner));
        let ended = with(&a, &hello, &cheat);
        assert_eq!(ended["state"], "attested", "{manner:?}: {ended}");
        let names = eventually(&format!("the liar is named, {manner:?}"), || {
            let names = named(&a, text(&ended, "task_id"));
            (names.is_empty() == name.is_empty()).then_some(names)
        });
        assert!(
            names.iter().all(|(who, why)| *who == cheat.did.to_string() && why.contains(name)),
            "{names:?}"
        );
        let receipt = text(&ended, "receipt_id");
        // Of many names none was among those who had offered.
        if manner == Manner::ManyNames {
            eventually("its other names are known, and count for nothing", || {
                let said = votes(&a, receipt);
                let strangers =
                    said.iter().filter(|(_, _, vote)| vote.contains("it is none of those who had offered"));
                (strangers.count() == 20).then_some(())
            });
        }
        let agree = if manner == Manner::ManyNames { 3 } else { 2 };
        eventually(&format!("two or three agree, and nobody else counts, {manner:?}"), || {
            let row = a.listed(&["receipt", "list"], "receipt_id", receipt).pop()?;
            (row["agree"] == agree && row["disagree"] == 0).then_some(())
        });
        // Who checks it elsewhere comes to the same, from whichever of them the bundle is.
        for from in [&a, &b] {
            // What was settled by whoever asked for the task is known to it alone, until it is announced.
            if from.did() == b.did() && manner == Manner::AlwaysDisagrees {
                continue;
            }
            let file = desk.named("bundle.jsonl");
            eventually(&format!("the bundle holds, {manner:?}"), || {
                from.run(&["receipt", "export", receipt, "--bundle", "--output", &file]).exits(0);
                let proof = zerostate(&desk.path("empty"), &["--json", "verify", &file]).exits(0).json();
                (proof["standing"] == "attested").then_some(())
            });
        }
    }
}

/// The end of a task of which somebody is a witness: it may have offered too late to be drawn.
fn with(node: &Node, manifest: &str, witness: &Cheat) -> Value {
    for _ in 0..10 {
        let ended = done(node, manifest);
        let task = node.ask(&["task", "show", text(&ended, "task_id")]);
        let drawn = |one: &Value| one["did"] == witness.did.to_string() && one["part"] == "witness";
        if task["candidates"].as_array().unwrap().iter().any(drawn) {
            return ended;
        }
    }
    panic!("it was never drawn");
}

#[test]
fn an_audit_finds_the_witness_that_agrees_without_looking() {
    let desk = Desk::new();
    let b = node(&desk, "b", WITNESSES, &[]);
    let a = node(&desk, "a", "accept = \"never\"\naudit = 1", &[&b]);
    let cheat = Cheat::start(&desk.path("cheat"), Part::Witness(Manner::AlwaysAgrees));
    [&a, &b].into_iter().for_each(|node| cheat.connect(node));
    let hello = manifest(&desk, "hello", 2, 2);
    let first = done(&a, &hello);
    assert_eq!(first["state"], "attested", "it runs its own task, and both agree: {first}");
    let task = a.ask(&["task", "show", text(&first, "task_id")]);
    assert!(task["guild_id"].is_string() && task["executor"] == a.did(), "{task}");
    let audit = eventually("the audit is done", || a.listed(&["task", "list"], "state", "closed").pop());
    assert_eq!(audit["name"], "hello", "it looks like any other");
    let shown = a.ask(&["task", "show", text(&audit, "task_id")]);
    let steps = shown["timeline"].as_array().unwrap().iter();
    let who = |step: &str| {
        let steps = steps.clone().filter(|taken| taken["step"] == step);
        steps.map(|taken| text(taken, "node").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (who("audit-passed"), who("audit-failed")),
        (vec![b.did().to_owned()], vec![cheat.did.to_string()])
    );
    // The one that looked is told why, and nobody else hears of the wrong receipt.
    eventually("it is told", || {
        let events = b.ask(&["events"]);
        let told =
            |event: &&Value| event["step"] == "outcome" && event.to_string().contains("it was an audit");
        events.as_array().unwrap().iter().find(told).map(drop)
    });
    assert_eq!(a.ask(&["receipt", "list"]).as_array().unwrap().len(), 1);
    let wrong = b.ask(&["receipt", "list"]);
    let wrong =
        wrong.as_array().unwrap().iter().find(|row| row["receipt_id"] != first["receipt_id"]).unwrap();
    eventually("its word on it does not count", || {
        let row = b.listed(&["receipt", "list"], "receipt_id", text(wrong, "receipt_id")).pop()?;
        (row["disagree"] == 0).then_some(())
    });
    let outsider = node(&desk, "outsider", ASKS, &[&b]);
    eventually("who comes later hears of the right one", || {
        outsider.listed(&["receipt", "list"], "receipt_id", text(&first, "receipt_id")).pop()
    });
    assert_eq!(outsider.ask(&["receipt", "list"]).as_array().unwrap().len(), 1);
    // One audit follows a task, and none follows an audit.
    assert_eq!(a.ask(&["task", "list"]).as_array().unwrap().len(), 2);
}

#[test]
fn of_more_than_are_wanted_the_witnesses_are_drawn_and_the_bundle_shows_how() {
    let desk = Desk::new();
    let e = node(&desk, "e", RUNS, &[]);
    let mut jurors: Vec<Node> = Vec::new();
    for name in ["b", "c", "d", "f"] {
        let others: Vec<&Node> = jurors.iter().chain([&e]).collect();
        let juror = node(&desk, name, WITNESSES, &others);
        jurors.push(juror);
    }
    let others: Vec<&Node> = jurors.iter().chain([&e]).collect();
    let a = node(&desk, "a", ASKS, &others);
    let hello = manifest(&desk, "hello", 2, 2);
    let mut drawn = std::collections::BTreeSet::new();
    // Offers may come too late to be among those who are drawn from.
    let mut of_four = 0;
    for _ in 0..12 {
        let ended = done(&a, &hello);
        assert_eq!(ended["state"], "attested", "{ended}");
        let file = desk.named("bundle.jsonl");
        a.run(&["receipt", "export", text(&ended, "receipt_id"), "--bundle", "--output", &file]).exits(0);
        let proof = zerostate(&desk.path("empty"), &["--json", "verify", &file]).exits(0).json();
        assert_eq!(
            (&proof["standing"], &proof["agreements"], &proof["commitments"]),
            (&"attested".into(), &2.into(), &2.into())
        );
        let proven = proof["proven"].to_string();
        of_four += usize::from(proven.contains(
            "2 witnesses of 4 were drawn by nonces of the requester and its own, at draw number 1",
        ));
        let mut witnesses: Vec<String> =
            votes(&a, text(&ended, "receipt_id")).into_iter().map(|(who, ..)| who).collect();
        witnesses.sort();
        drawn.insert(witnesses);
    }
    assert!(of_four > 0 && drawn.len() > 1, "{of_four} {drawn:?}");
}

#[test]
fn a_thousand_honest_receipts_are_attested_elsewhere_without_a_false_word() {
    let desk = Desk::new();
    desk.module("trap.wasm", TRAP);
    desk.module(
        "spin.wasm",
        r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#,
    );
    desk.module(
        "grow.wasm",
        r#"(module (memory (export "memory") 1) (func (export "_start")
            (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))"#,
    );
    let a = Node::start(&desk.path("a"));
    let _b = node(&desk, "b", WITNESSES, &[&a]);
    let manifests = ["hello", "trap", "spin", "grow"].map(|module| {
        let text = format!(
            "name = \"{module}\"\nartifact = {{ path = \"{module}.wasm\" }}\n[limits]\nfuel = 100000\n[attestation]\nquorum = 1\n"
        );
        desk.file(&format!("{module}.toml"), text)
    });
    let dir = &a.dir;
    std::thread::scope(|scope| {
        for manifest in &manifests {
            scope.spawn(move || {
                for _ in 0..250 {
                    zerostate(dir, &["--json", "submit", manifest]).exits(0);
                }
            });
        }
    });
    // In four parts, each of which has its own time.
    for part in 1..=4 {
        eventually(&format!("{} are attested", part * 250), || {
            (a.ask(&["status"])["attestations"].as_u64() >= Some(part * 250)).then_some(())
        });
    }
    let receipts = a.ask(&["receipt", "list"]);
    let receipts = receipts.as_array().unwrap();
    assert_eq!(receipts.len(), 1000);
    for receipt in receipts {
        assert_eq!((&receipt["agree"], &receipt["disagree"]), (&1.into(), &0.into()), "{receipt}");
    }
}
