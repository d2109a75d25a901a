//! A task's life through a guild, between processes that share nothing but the network.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::support::{Desk, Node, WITHIN, eventually, submitted, text, zerostate};

/// A module that computes for a good second and a half, and then greets.
const SLOW: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 8) "done\n")
    (func (export "_start") (local $n i64)
        (local.set $n (i64.const 1500000000))
        (loop $again
            (local.set $n (i64.sub (local.get $n) (i64.const 1)))
            (br_if $again (i64.ne (local.get $n) (i64.const 0))))
        (i32.store (i32.const 0) (i32.const 8))
        (i32.store (i32.const 4) (i32.const 5))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

/// Nodes that take on what others announce, each connected to all.
fn willing(desk: &Desk, names: &[&str]) -> Vec<Node> {
    let config = desk.file("willing.toml", "[policy]\naccept = \"matching\"\nattest = \"always\"\n");
    let nodes: Vec<Node> =
        names.iter().map(|name| Node::start_with(&desk.path(name), &["--config", &config])).collect();
    for (n, node) in nodes.iter().enumerate() {
        nodes[..n].iter().for_each(|other| node.meet(other));
    }
    nodes
}

/// A node that runs none of its own tasks.
fn asker(desk: &Desk, name: &str, others: &[&Node]) -> Node {
    let config = desk.file("asker.toml", "[policy]\nself_execute = false\n");
    let node = Node::start_with(&desk.path(name), &["--config", &config]);
    others.iter().for_each(|other| node.meet(other));
    node
}

fn slow(desk: &Desk, quorum: u32) -> String {
    desk.module("slow.wasm", SLOW);
    let text = format!(
        "name = \"slow\"\nartifact = {{ path = \"slow.wasm\" }}\n[limits]\nfuel = 90000000000\n\
         [attestation]\nquorum = {quorum}\n"
    );
    desk.file("slow.toml", text)
}

/// The steps of a task in a node's own journal, each with who took it.
fn steps(node: &Node, task_id: &str) -> Vec<(String, String)> {
    let events = node.ask(&["events"]);
    let of_it = events
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["task_id"] == task_id && event["step"].is_string());
    of_it.map(|event| (text(event, "step").to_owned(), text(event, "node").to_owned())).collect()
}

fn has(node: &Node, task_id: &str, step: &str) -> bool {
    steps(node, task_id).iter().any(|(taken, _)| taken == step)
}

fn state(node: &Node, task_id: &str) -> String {
    text(&node.ask(&["task", "show", task_id]), "state").to_owned()
}

fn ended(node: &Node, task_id: &str) -> Value {
    eventually("the task has ended", || {
        let task = node.ask(&["task", "show", task_id]);
        ["attested", "failed", "expired", "cancelled", "disputed"]
            .contains(&text(&task, "state"))
            .then_some(task)
    })
}

/// No guild, no secret and nothing that runs is left.
fn is_quiet(node: &Node) {
    eventually("nothing is left running", || {
        let status = node.ask(&["status"]);
        (status["guilds"] == 0 && status["running"] == 0).then_some(())
    });
}

#[test]
fn twelve_steps_between_four_processes_and_an_outsider_that_learns_of_the_result_alone() {
    let desk = Desk::new();
    let nodes = willing(&desk, &["b", "c", "d"]);
    let outsider = Node::start(&desk.path("outsider"));
    let a = asker(&desk, "a", &[&nodes[0], &nodes[1], &nodes[2], &outsider]);
    let done = submitted(&a, &desk.hello(2));
    assert_eq!(done["state"], "attested");
    let task_id = text(&done, "task_id");
    eventually("the guild is dissolved", || has(&a, task_id, "dissolved").then_some(()));

    let task = a.ask(&["task", "show", task_id]);
    let executor = text(&task, "executor").to_owned();
    let story: Vec<String> = steps(&a, task_id).into_iter().map(|(step, _)| step).collect();
    assert_eq!(
        story,
        [
            "drafted",
            "published",
            "offered",
            "guilded",
            "agreed",
            "running",
            "receipted",
            "attested",
            "announced",
            "dissolved"
        ]
    );
    assert!(text(&task, "output").contains("there"), "the output came with the receipt");
    let parts: HashMap<&str, &str> =
        task["candidates"].as_array().unwrap().iter().map(|c| (text(c, "did"), text(c, "part"))).collect();
    assert_eq!(parts.len(), 3);
    for node in &nodes {
        let mine = steps(node, task_id);
        assert!(mine.iter().all(|(_, by)| by == node.did()), "each tells its own part");
        let mine: Vec<&str> = mine.iter().map(|(step, _)| step.as_str()).collect();
        if node.did() == executor {
            assert_eq!(parts[node.did()], "executor");
            assert_eq!(mine, ["guilded", "agreed", "fetched", "running", "receipted"]);
        } else {
            assert_eq!(parts[node.did()], "witness");
            assert_eq!(mine, ["guilded", "agreed", "attested"]);
        }
        let events = node.ask(&["events"]);
        let guild = events.as_array().unwrap().iter().filter(|event| event["event"] == "guild");
        let guild: Vec<&str> = guild.map(|event| text(event, "step")).collect();
        assert_eq!(guild, ["joined", "dissolved"]);
        is_quiet(node);
    }
    // Receipt and attestations are public; who was in the guild, and that it was there, are not in the outsider's journal.
    let receipt = eventually("the outsider has the receipt and both attestations", || {
        let shown = outsider.run(&["--json", "receipt", "show", text(&done, "receipt_id")]);
        let shown = (shown.code == 0).then(|| shown.json())?;
        (shown["attestations"].as_array()?.len() == 2).then_some(shown)
    });
    assert_eq!(receipt["receipt"]["executor"], executor.as_str());
    let events = outsider.ask(&["events"]);
    assert!(
        events.as_array().unwrap().iter().all(|event| event["event"] != "guild" && event["event"] != "task")
    );
    is_quiet(&a);
    // Whoever asked for it may say what it found, too; who witnesses it was agreed before, and so is what counts.
    let receipt_id = text(&done, "receipt_id");
    a.ask(&["attest", receipt_id]);
    let shown = a.ask(&["receipt", "show", receipt_id]);
    let own = shown["attestations"].as_array().unwrap().iter().find(|one| one["witness"] == a.did()).cloned();
    assert!(text(&own.unwrap(), "discounted").contains("none of its witnesses"), "{shown}");
    assert_eq!(a.ask(&["receipt", "list"])[0]["agree"], 2);
}

/// Kills the executor when its journal has a step, or the creator's has, and looks at what comes of it.
fn killed_at(step: &str) {
    let desk = Desk::new();
    let mut nodes = willing(&desk, &["b", "c", "d"]);
    let a = asker(&desk, "a", &nodes.iter().collect::<Vec<_>>());
    let manifest = slow(&desk, 1);
    let task_id = text(&a.ask(&["submit", &manifest]), "task_id").to_owned();
    let executor = eventually("there is an executor", || {
        let task = a.ask(&["task", "show", &task_id]);
        let place = nodes.iter().position(|node| task["executor"] == node.did())?;
        has(&nodes[place], &task_id, step).then_some(place)
    });
    let gone = nodes.remove(executor);
    let did = gone.did().to_owned();
    gone.kill();
    let task = ended(&a, &task_id);
    if text(&task, "state") == "attested" {
        let story: Vec<String> = steps(&a, &task_id).into_iter().map(|(step, _)| step).collect();
        if task["executor"] == did.as_str() {
            assert!(
                !story.contains(&"candidate-failed".to_owned()),
                "its receipt was out before it was killed"
            );
        } else {
            assert!(story.contains(&"candidate-failed".to_owned()), "{story:?}");
            let failed =
                task["candidates"].as_array().unwrap().iter().find(|c| c["did"] == did.as_str()).unwrap();
            assert_eq!(failed["part"], "failed");
        }
    } else {
        assert!(!text(&task, "reason").is_empty(), "{task}");
    }
    a_is_quiet_and_the_rest(&a, &nodes);
}

fn a_is_quiet_and_the_rest(a: &Node, nodes: &[Node]) {
    is_quiet(a);
    nodes.iter().for_each(is_quiet);
}

#[test]
fn an_executor_killed_when_it_has_agreed_is_replaced() {
    killed_at("agreed");
}

#[test]
fn an_executor_killed_while_it_runs_is_replaced() {
    killed_at("running");
}

#[test]
fn an_executor_killed_with_its_receipt_signed_leaves_it_or_is_replaced() {
    killed_at("receipted");
}

#[test]
fn an_executor_that_starts_again_gives_up_what_it_ran_and_another_does_it() {
    let desk = Desk::new();
    let mut nodes = willing(&desk, &["b", "c"]);
    let a = asker(&desk, "a", &nodes.iter().collect::<Vec<_>>());
    let task_id = text(&a.ask(&["submit", &slow(&desk, 0)]), "task_id").to_owned();
    let executor = eventually("it runs", || {
        let task = a.ask(&["task", "show", &task_id]);
        let place = nodes.iter().position(|node| task["executor"] == node.did())?;
        has(&nodes[place], &task_id, "running").then_some(place)
    });
    let gone = nodes.remove(executor);
    let (did, dir) = (gone.did().to_owned(), gone.dir.clone());
    gone.kill();
    let again = Node::start(&dir);
    again.meet(&a);
    let task = eventually("another has done it", || {
        let task = a.ask(&["task", "show", &task_id]);
        (task["state"] == "receipted" || task["state"] == "failed").then_some(task)
    });
    assert_eq!(task["state"], "receipted");
    assert_ne!(task["executor"], did.as_str());
    a_is_quiet_and_the_rest(&a, &nodes);
    is_quiet(&again);
}

#[test]
fn a_creator_killed_in_the_middle_takes_the_task_up_and_nothing_of_the_first_try_is_left() {
    let desk = Desk::new();
    let nodes = willing(&desk, &["b", "c"]);
    let a = asker(&desk, "a", &[&nodes[0], &nodes[1]]);
    let task_id = text(&a.ask(&["submit", &slow(&desk, 1)]), "task_id").to_owned();
    eventually("it runs", || (state(&a, &task_id) == "running").then_some(()));
    let dir = a.dir.clone();
    a.kill();
    let config = desk.named("asker.toml");
    let a = Node::start_with(&dir, &["--config", &config]);
    nodes.iter().for_each(|node| a.meet(node));
    let task = ended(&a, &task_id);
    assert_eq!(task["state"], "attested", "{task}");
    a_is_quiet_and_the_rest(&a, &nodes);
}

#[test]
fn cancelling_ends_the_guild_and_the_run_in_it() {
    let desk = Desk::new();
    let nodes = willing(&desk, &["b", "c"]);
    let a = asker(&desk, "a", &[&nodes[0], &nodes[1]]);
    let task_id = text(&a.ask(&["submit", &desk.endless()]), "task_id").to_owned();
    eventually("it runs", || (state(&a, &task_id) == "running").then_some(()));
    a.ask(&["task", "cancel", &task_id]);
    assert_eq!(ended(&a, &task_id)["state"], "cancelled");
    a_is_quiet_and_the_rest(&a, &nodes);
}

#[test]
fn what_is_ask_waits_in_the_inbox_for_the_operator() {
    let desk = Desk::new();
    let b = Node::start(&desk.path("b"));
    let a = asker(&desk, "a", &[&b]);
    let task_id = text(&a.ask(&["submit", &desk.hello(0)]), "task_id").to_owned();
    let waiting = eventually("the offer waits", || b.ask(&["inbox", "list"]).as_array()?.first().cloned());
    assert_eq!((text(&waiting, "kind"), text(&waiting, "from")), ("task-offer", a.did()));
    assert_eq!(text(&waiting, "subject"), task_id);
    assert_eq!(state(&a, &task_id), "published");
    b.ask(&["inbox", "accept", text(&waiting, "inbox_id")]);
    eventually("it is done", || (state(&a, &task_id) == "receipted").then_some(()));
    assert_eq!(a.ask(&["task", "show", &task_id])["executor"], b.did());

    // A receipt that nobody has witnessed waits, too; and what is refused is gone.
    let c = Node::start(&desk.path("c"));
    b.meet(&c);
    let own = text(&c.ask(&["submit", &desk.hello(1)]), "task_id").to_owned();
    let asked = eventually("the receipt waits", || {
        let inbox = b.ask(&["inbox", "list"]);
        inbox.as_array()?.iter().find(|item| item["kind"] == "attest").cloned()
    });
    b.ask(&["inbox", "accept", text(&asked, "inbox_id")]);
    assert_eq!(ended(&c, &own)["state"], "attested");
    let refused = text(&a.ask(&["submit", &desk.hello(0)]), "task_id").to_owned();
    let waiting = eventually("the offer waits", || {
        let inbox = b.ask(&["inbox", "list"]);
        inbox.as_array()?.iter().find(|item| item["subject"] == refused.as_str()).cloned()
    });
    b.ask(&["inbox", "refuse", text(&waiting, "inbox_id")]);
    eventually("nothing waits", || (b.ask(&["inbox", "list"]) == json!([])).then_some(()));
    assert_eq!(state(&a, &refused), "published");
}

#[test]
fn many_tasks_at_once_through_four_nodes_and_none_is_lost() {
    let desk = Desk::new();
    let nodes = willing(&desk, &["a", "b", "c", "d"]);
    let manifest = desk.hello(2);
    // Several creators, so the same nodes are in many guilds at once, each in another part.
    let dirs: Vec<_> = nodes.iter().map(|node| node.dir.clone()).collect();
    let submit = &|dir: &std::path::Path| -> String {
        text(&zerostate(dir, &["--json", "submit", &manifest]).exits(0).json(), "task_id").to_owned()
    };
    let submitted: Vec<Vec<String>> = std::thread::scope(|scope| {
        let submitters: Vec<_> =
            dirs.iter().map(|dir| scope.spawn(move || (0..50).map(|_| submit(dir)).collect())).collect();
        submitters.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (node, ids) in nodes.iter().zip(&submitted) {
        let begun = std::time::Instant::now();
        loop {
            let tasks = node.ask(&["task", "list"]);
            let done = |task: &&Value| {
                task["state"] == "attested" && ids.contains(&text(task, "task_id").to_owned())
            };
            if tasks.as_array().unwrap().iter().filter(done).count() == ids.len() {
                break;
            }
            assert!(begun.elapsed() < 2 * WITHIN, "{tasks}");
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        for task in node.ask(&["task", "list"]).as_array().unwrap() {
            assert_ne!(task["executor"], node.did(), "others do it");
        }
    }
    nodes.iter().for_each(is_quiet);
}

/// A task submitted to a guild, which has come to its end.
fn submitted_to(node: &Node, guild: &str, manifest: &str) -> Value {
    node.ask(&["submit", manifest, "--guild", guild, "--wait"])
}

#[test]
fn a_guild_founded_by_hand_does_one_task_after_another_and_several_at_once() {
    let desk = Desk::new();
    let nodes = willing(&desk, &["a", "b", "c", "d"]);
    let [a, b, c, d] = &nodes[..] else { panic!("four nodes") };
    let outsider = Node::start(&desk.path("outsider"));
    nodes.iter().for_each(|node| outsider.meet(node));
    let founded = a.ask(&["guild", "create", "--name", "workshop", "--admit", "invite"]);
    let (guild, invitation) = (text(&founded, "guild_id"), text(&founded, "invitation"));
    for (node, role) in [(b, "executor"), (c, "member"), (d, "member")] {
        assert_eq!(node.ask(&["guild", "join", invitation, "--role", role])["state"], "member");
    }
    eventually("c sees all four", || {
        (c.ask(&["guild", "show", guild])["members"].as_array()?.len() == 4).then_some(())
    });
    let manifest = desk.hello(2);
    // One after another, of the creator and of a member.
    for node in [a, c, a] {
        let done = submitted_to(node, guild, &manifest);
        assert_eq!(done["state"], "attested", "{done}");
        let task = node.ask(&["task", "show", text(&done, "task_id")]);
        assert_eq!((text(&task, "executor"), text(&task, "guild_id")), (b.did(), guild));
        let receipt = node.ask(&["receipt", "show", text(&done, "receipt_id")]);
        assert_eq!(receipt["receipt"]["guild"], guild);
        let mut witnesses: Vec<&str> =
            receipt["attestations"].as_array().unwrap().iter().map(|vote| text(vote, "witness")).collect();
        witnesses.sort_unstable();
        let mut expected = [if node.did() == a.did() { c } else { a }.did(), d.did()];
        expected.sort_unstable();
        assert_eq!(witnesses, expected);
        assert!(!has(node, text(&done, "task_id"), "dissolved"));
    }
    // Several at once, of both.
    let submit = &|dir: &std::path::Path| -> Vec<String> {
        let args = ["--json", "submit", &manifest, "--guild", guild, "--wait"];
        (0..5).map(|_| text(&zerostate(dir, &args).json(), "state").to_owned()).collect()
    };
    let states: Vec<String> = std::thread::scope(|scope| {
        let submitters = [a, c, a, c].map(|node| &node.dir).map(|dir| scope.spawn(move || submit(dir)));
        submitters.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(states, vec!["attested"; 20]);

    // Who may not propose is told at once, and so is who is not in it.
    b.run(&["submit", &manifest, "--guild", guild]).fails(1, "one who is executor may not propose a task");
    outsider.run(&["submit", &manifest, "--guild", guild]).fails(1, "no guild");

    // Who has cancelled is rid of it, and the guild goes on.
    let endless = text(&c.ask(&["submit", &desk.endless(), "--guild", guild]), "task_id").to_owned();
    eventually("it runs", || (state(c, &endless) == "running").then_some(()));
    eventually("it runs there", || (b.ask(&["status"])["running"] != 0).then_some(()));
    c.ask(&["task", "cancel", &endless]);
    assert_eq!(ended(c, &endless)["state"], "cancelled");
    eventually("nothing runs", || (b.ask(&["status"])["running"] == 0).then_some(()));
    assert_eq!(submitted_to(a, guild, &manifest)["state"], "attested");

    // Without an executor there is nobody to do it; the others are not asked.
    a.ask(&["guild", "role", guild, b.did(), "member"]);
    a.run(&["submit", &manifest, "--guild", guild, "--wait"])
        .fails(1, "nobody in the guild who may run it (role executor) has done so");
    a.ask(&["guild", "dissolve", guild]);
    nodes.iter().for_each(is_quiet);
    let events = outsider.ask(&["events"]);
    assert!(events.as_array().unwrap().iter().all(|event| event["event"] != "guild"));
}

#[test]
fn a_task_in_a_standing_guild_outlives_a_restart_of_whoever_submitted_it() {
    for submitter in 0..2 {
        let desk = Desk::new();
        let mut nodes = willing(&desk, &["a", "c", "b"]);
        let config = desk.named("willing.toml");
        let founded = nodes[0].ask(&["guild", "create", "--name", "workshop", "--admit", "invite"]);
        let (guild, invitation) = (text(&founded, "guild_id"), text(&founded, "invitation"));
        for (place, role) in [(1, "member"), (2, "executor")] {
            nodes[place].ask(&["guild", "join", invitation, "--role", role]);
        }
        let submit = ["submit", &slow(&desk, 1), "--guild", guild];
        let task_id = text(&nodes[submitter].ask(&submit), "task_id").to_owned();
        eventually("it runs", || (state(&nodes[submitter], &task_id) == "running").then_some(()));
        let gone = nodes.remove(submitter);
        let dir = gone.dir.clone();
        gone.kill();
        let again = Node::start_with(&dir, &["--config", &config]);
        nodes.iter().for_each(|node| again.meet(node));
        let task = ended(&again, &task_id);
        assert_eq!((&task["state"], &task["guild_id"]), (&json!("attested"), &json!(guild)), "{task}");
        eventually("nothing runs", || {
            nodes.iter().all(|node| node.ask(&["status"])["running"] == 0).then_some(())
        });
    }
}
