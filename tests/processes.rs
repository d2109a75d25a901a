//! Nodes that are processes of their own: what one says happened, another finds out for itself.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::{
    Desk, Node, Running, STOP_WITHIN, eventually, finish, program, steers_a_terminal, submitted, text, two,
};

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
    const STEPS: [&str; 11] = [
        "drafted",
        "published",
        "offered",
        "guilded",
        "agreed",
        "fetched",
        "running",
        "receipted",
        "attested",
        "announced",
        "dissolved",
    ];
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

    let answer = lab(&["--json"]).json();
    assert_eq!(answer["state"], "attested");
    let who = |step: &str| -> BTreeSet<String> {
        let timeline = answer["timeline"].as_array().unwrap().iter();
        timeline.filter(|s| s["step"] == step).map(|s| text(s, "node").to_owned()).collect()
    };
    let taken = STEPS.map(|step| who(step).len());
    assert_eq!(taken, [1, 1, 1, 4, 4, 1, 1, 1, 3, 1, 1], "two witnesses and who counts them: {answer}");
    assert!(who("fetched").is_disjoint(&who("attested")) && who("fetched").is_disjoint(&who("drafted")));

    let alone = lab(&["--json", "--nodes", "1"]).json();
    assert_eq!((&alone["state"], &alone["guild_id"]), (&"receipted".into(), &Value::Null));
    assert_eq!(lab(&["--json", "--nodes", "2"]).json()["state"], "attested");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "a lab's folder goes with it");
}
