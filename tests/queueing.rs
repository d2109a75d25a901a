//! A node with more to do than it can do at once, and with peers and clients that keep it waiting.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use zerostate::api::{Answer, Answering as _, Client, Command};
use zerostate::document::{ArtifactSource, Draft};

use crate::support::{Desk, Node, Running, eventually, program, submitted, text, two};

/// A process that is stopped for as long as this lives: its connections stay open and nothing answers.
struct Frozen(Pid);

impl Frozen {
    fn new(pid: Pid) -> Self {
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        kill_process(self.0, Signal::CONT).ok();
    }
}

fn memory_kib(pid: Pid, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

fn running(node: &Node) -> u64 {
    node.ask(&["status"])["running"].as_u64().unwrap()
}

#[test]
fn modules_of_waiting_tasks_stay_on_the_disk() {
    const TASKS: usize = 24;
    const MODULE: usize = 24 << 20;
    let desk = Desk::new();
    // An endless loop that carries a big custom section.
    desk.endless();
    let mut module = fs::read(desk.path("endless.wasm")).unwrap();
    module.push(0);
    let mut length = u32::try_from(MODULE).unwrap();
    while length >= 0x80 {
        module.push(length as u8 | 0x80);
        length >>= 7;
    }
    module.push(length as u8);
    module.extend_from_slice(b"\x03big");
    module.resize(module.len() + MODULE - 4, 0x2a);
    desk.file("endless.wasm", module);

    let node = Node::start(&desk.path("data"));
    let cid = node.ask(&["artifact", "add", &desk.named("endless.wasm")]);
    let manifest = desk.file(
        "many.toml",
        format!(
            "name = \"many\"\nartifact = {{ cid = {} }}\n[limits]\nfuel = 9007199254740991\ntime = \"10m\"\n",
            cid["cid"]
        ),
    );
    for _ in 0..TASKS {
        node.ask(&["submit", &manifest]);
    }
    eventually("some of them run", || node.listed(&["task", "list"], "state", "running").pop());
    // All of them together would be over half a gigabyte; the few that have a place are let in.
    let most = memory_kib(node.pid(), "VmHWM") / 1024;
    assert!(most < 400, "{most} MiB for {TASKS} tasks with modules of {} MiB", MODULE >> 20);

    // Where they wait, they can be cancelled.
    let waiting = node.listed(&["task", "list"], "state", "published");
    assert!(!waiting.is_empty());
    for task in &waiting {
        node.ask(&["task", "cancel", text(task, "task_id")]);
    }
    eventually("the waiting ones are cancelled", || {
        node.listed(&["task", "list"], "state", "published").is_empty().then_some(())
    });
}

#[test]
fn a_peer_that_does_not_answer_holds_up_nobody_and_a_fetch_from_it_can_be_cancelled() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "ask");
    let _frozen = Frozen::new(b.pid());
    assert_eq!(submitted(&a, &desk.hello(0))["state"], "receipted");

    // An input that only the silent peer could have.
    let nobody = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    let stuck = desk.file(
        "stuck.toml",
        format!(
            "name = \"stuck\"\nartifact = {{ path = \"hello.wasm\" }}\n\
             [[inputs]]\nname = \"stdin\"\ntype = \"blob\"\nvalue = \"{nobody}\"\n"
        ),
    );
    let task = text(&a.ask(&["submit", &stuck]), "task_id").to_owned();
    assert_eq!(a.ask(&["task", "show", &task])["state"], "published");
    assert_eq!(submitted(&a, &desk.hello(0))["state"], "receipted", "others go past it");
    a.ask(&["task", "cancel", &task]);
    eventually("it is cancelled while it fetches", || {
        (a.ask(&["task", "show", &task])["state"] == "cancelled").then_some(())
    });
}

#[test]
fn a_run_ends_with_the_client_that_asked_for_it() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("data"));
    let mut run = program();
    run.args(["run", "--data-dir"]).arg(&node.dir).arg(desk.endless());
    let client = Running::start(run);
    eventually("it runs in the node", || (running(&node) == 1).then_some(()));
    client.signal(Signal::KILL);
    eventually("nobody waits for it, so it does not run", || (running(&node) == 0).then_some(()));
    assert_eq!(node.ask(&["receipt", "list"]).as_array().map(Vec::len), Some(0));
}

#[test]
fn a_node_that_may_not_run_its_own_tasks_says_so() {
    let desk = Desk::new();
    let config = desk.file("config.toml", "[policy]\nself_execute = false\n");
    let node = Node::start_with(&desk.path("data"), &["--config", &config]);
    let ended = node.run(&["--json", "submit", "--wait", &desk.hello(0)]).fails(1, "policy.self_execute");
    assert_eq!(ended.json()["state"], "failed");
    assert_eq!(node.ask(&["receipt", "list"]).as_array().map(Vec::len), Some(0));
}

/// Processes whose arguments name this path.
fn processes_on(path: &Path) -> usize {
    let named = |entry: &fs::DirEntry| {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(path.to_str().unwrap())
    };
    fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter(named).count()
}

#[test]
fn a_lab_that_is_stopped_while_it_starts_leaves_nothing_behind() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let desk = Desk::new();
        let temporary = desk.path("tmp");
        fs::create_dir(&temporary).unwrap();
        let mut command = program();
        command.arg("lab").env("TMPDIR", &temporary);
        let mut lab = Running::start(command);
        eventually("its first node is there", || (processes_on(&temporary) > 0).then_some(()));
        lab.signal(signal);
        assert_eq!(lab.wait(crate::support::WITHIN).code(), Some(1));
        assert!(lab.errors().contains("error: the lab was stopped by a signal"));
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "its folder is gone");
        eventually("its nodes are gone", || (processes_on(&temporary) == 0).then_some(()));
    }
}

#[test]
fn how_a_running_task_is_can_be_seen_while_it_runs() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("data"));
    // A line a time, for ever, and a page of memory.
    desk.module(
        "chatty.wasm",
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
            (func (export "_start") (local $n i32)
                (loop
                    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
                    (local.set $n (i32.const 3000000))
                    (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                    (br 0))))"#,
    );
    let text = "name = \"chatty\"\nartifact = { path = \"chatty.wasm\" }\n\
                [limits]\nfuel = 9007199254740991\ntime = \"10m\"\n";
    let task = text_of(&node, &desk.file("chatty.toml", text));
    let seen = eventually("it is seen to run and to speak", || {
        let row = node.listed(&["task", "list"], "task_id", &task).pop()?;
        (row["progress"]["output_bytes"].as_u64()? > 6).then(|| row["progress"].clone())
    });
    assert!(seen["fuel_used"].as_u64().unwrap() > 1_000_000, "{seen}");
    assert_eq!(seen["memory_bytes"], 65_536, "{seen}");
    assert_eq!(seen["fuel_limit"].as_u64(), Some(9_007_199_254_740_991), "{seen}");
    assert!(seen["elapsed_ms"].as_u64().unwrap() > 0 && seen["time_limit_ms"] == 600_000, "{seen}");
    node.ask(&["task", "cancel", &task]);
    eventually("it is gone", || (running(&node) == 0).then_some(()));
}

fn text_of(node: &Node, manifest: &str) -> String {
    text(&node.ask(&["submit", manifest]), "task_id").to_owned()
}

#[test]
fn a_thousand_submissions_at_once_neither_fail_nor_keep_another_waiting_to_the_end() {
    const MANY: usize = 1_000;
    let desk = Desk::new();
    let node = Node::start(&desk.path("data"));
    let cid = node.ask(&["artifact", "add", &desk.named("hello.wasm")])["cid"].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ids = runtime.block_on(async {
        let client = Client::connect(&node.dir).await.unwrap();
        let mut submissions = tokio::task::JoinSet::new();
        for number in 0..MANY {
            let source = ArtifactSource::Cid { cid: cid.clone(), sha256: None, size: None };
            let draft = Box::new(Draft::for_module(&format!("task-{number}"), source));
            let client = client.clone();
            submissions.spawn(async move {
                match client.execute(Command::Submit { draft, guild: None }).await {
                    Ok(Answer::Submitted { task_id }) => task_id,
                    other => panic!("{other:?}"),
                }
            });
        }
        submissions.join_all().await
    });
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), MANY);
    // Somebody who sits and waits is served among them.
    node.run(&["run", &desk.named("hello.wasm")]).exits(0);
    eventually("each comes to its receipt", || {
        let rows = node.ask(&["task", "list"]);
        let done = rows.as_array().unwrap().iter().filter(|task| task["state"] == "receipted").count();
        (done == MANY).then_some(())
    });
}
