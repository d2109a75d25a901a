//! What the whole corpus, twice over, and a thousand harmless runs leave in the node that ran them: nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::sync::Semaphore;
use zerostate::api::{Answer, Answering as _, Client, Command, ErrorKind, Upload};
use zerostate::document::{ArtifactSource, Draft, Limits, Status};

use super::AT_ONCE;
use super::alone::{bytes_of, children, descriptors};
use super::corpus::{Entry, corpus};
use crate::support::{Desk, HELLO, Node, eventually, text};

/// Memory the node may hold more than before, bytes.
const MORE_MEMORY: u64 = 5 << 20;
/// Memory a runner may ever have held, bytes: what its guests may, and what it needs itself.
const RUNNER_LIMIT_BYTES: u64 = 1 << 30;
/// Memory a compiler may ever have held, bytes: what the configuration below says, and the program itself.
const COMPILER_LIMIT_BYTES: u64 = 640 << 20;
/// How often the children are looked at: a compiler at its worst takes memory for seconds.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const HARMLESS_RUNS: usize = 1000;
/// After so many hostile runs a harmless task is submitted.
const IN_THE_MIDDLE: usize = 70;
/// What glibc's allocator keeps of freed memory would hide a leak of megabytes: it gives it back at once.
const THRIFTY: [(&str, &str); 3] =
    [("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "65536"), ("MALLOC_ARENA_MAX", "1")];
/// Beyond what a manifest can ask for: a node refuses them by name, before anything runs.
const REFUSED: [&str; 2] =
    ["args_get of twenty thousand arguments for ever", "recursion on the largest stack"];
/// The largest number that a manifest can hold.
const MOST: u64 = (1 << 53) - 1;

/// A job as one asks a node for it.
struct Asked {
    name: &'static str,
    draft: Draft,
    stdin: Vec<u8>,
    statuses: &'static [Status],
    heavy: bool,
}

async fn asked(client: &Client, entry: &Entry) -> Asked {
    let artifact = client.add_artifact(Upload::whole(entry.module())).await.unwrap();
    let source = ArtifactSource::Cid { cid: artifact.cid, sha256: None, size: None };
    let (mut draft, job) = (Draft::for_module(entry.name, source), entry.job());
    draft.limits = Limits {
        memory_bytes: job.limits.memory_bytes,
        time_ms: u64::try_from(job.limits.time.as_millis()).unwrap(),
        stack_bytes: job.limits.stack_bytes,
        fuel: job.limits.fuel.min(MOST),
    };
    (draft.function, draft.args) = (job.function, job.args);
    Asked { name: entry.name, draft, stdin: job.stdin, statuses: entry.statuses(), heavy: !entry.is_light() }
}

/// Runs each once, a few at the same time; gives every end that was not the expected one.
async fn run_all(client: &Client, all: &[Asked]) -> Vec<String> {
    // Two compilers at their worst would be more than a test may take.
    let heavy = Semaphore::new(1);
    let heavy = &heavy;
    let runs = stream::iter(all).map(|asked| async move {
        let _turn = if asked.heavy { Some(heavy.acquire().await.unwrap()) } else { None };
        let run = Command::Run { draft: Box::new(asked.draft.clone()), stdin: asked.stdin.clone() };
        match client.execute(run).await {
            Ok(Answer::Ran(report)) if asked.statuses.contains(&report.status) => None,
            Ok(Answer::Ran(report)) => {
                Some(format!("{}: {}, not {:?}", asked.name, report.status, asked.statuses))
            }
            Err(error) if REFUSED.contains(&asked.name) && error.kind == ErrorKind::Input => None,
            other => Some(format!("{}: {other:?}", asked.name)),
        }
    });
    runs.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await
}

/// Submits a harmless task, and gives its id.
async fn submit(client: &Client, cid: &str) -> String {
    let source = ArtifactSource::Cid { cid: cid.to_owned(), sha256: None, size: None };
    let draft = Box::new(Draft::for_module("harmless", source));
    let Ok(Answer::Submitted { task_id }) = client.execute(Command::Submit { draft, guild: None }).await
    else {
        panic!("a harmless task is not refused")
    };
    task_id
}

/// Notes the most memory each child was seen to hold, by its command line; never ends.
async fn watch_children(node: i32, most: &mut BTreeMap<String, u64>) {
    let mut clock = tokio::time::interval(LOOK_EVERY);
    loop {
        clock.tick().await;
        for pid in children(node) {
            let process = PathBuf::from(format!("/proc/{pid}"));
            let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
            // The kernel's own mark of the highest it ever was.
            let held = bytes_of(&process, "VmHWM");
            let noted = most.entry(String::from_utf8_lossy(&line).replace('\0', " ")).or_default();
            *noted = held.max(*noted);
        }
    }
}

fn limit_of(command_line: &str) -> u64 {
    if command_line.split_whitespace().nth(1) == Some("runner") {
        RUNNER_LIMIT_BYTES
    } else {
        COMPILER_LIMIT_BYTES
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_as_it_was_after_all_of_it_and_a_task_in_the_middle_comes_to_its_receipt() {
    let desk = Desk::new();
    let config = desk.file("config.toml", "[execution]\ncompile_memory = \"512MiB\"\n");
    let node = Node::start_in(&desk.path("data"), &["--config", &config], &THRIFTY);
    let pid = node.pid().as_raw_nonzero().get();
    let process = PathBuf::from(format!("/proc/{pid}"));
    let client = Client::connect(&node.dir).await.unwrap();
    let mut all = Vec::new();
    // What is empty is refused at the door, as an artifact.
    for entry in corpus().iter().filter(|entry| !entry.module().is_empty()) {
        all.push(asked(&client, entry).await);
    }
    let hello = client.add_artifact(Upload::whole(HELLO.to_vec())).await.unwrap().cid;
    let harmless = |_| {
        let source = ArtifactSource::Cid { cid: hello.clone(), sha256: None, size: None };
        let draft = Draft::for_module("harmless", source);
        Asked { name: "harmless", draft, stdin: Vec::new(), statuses: &[Status::Ok], heavy: false }
    };
    let thousand: Vec<Asked> = (0..HARMLESS_RUNS).map(harmless).collect();

    // Every warm process is started, every buffer has its size, every lazy thing has been made.
    let light: Vec<Asked> = {
        let (light, heavy): (Vec<_>, Vec<_>) = all.into_iter().partition(|asked| !asked.heavy);
        all = heavy;
        light
    };
    let warmed = [run_all(&client, &light).await, run_all(&client, &thousand[..100]).await].concat();
    assert!(warmed.is_empty(), "{}", warmed.join("\n"));
    all.extend(light);
    let (processes, open) = (children(pid).len(), descriptors(&process).unwrap());
    let held = bytes_of(&process, "VmRSS");

    let mut most = BTreeMap::new();
    let (mismatches, task) = tokio::select! {
        () = watch_children(pid, &mut most) => unreachable!("it never ends"),
        ended = async {
            let (first, rest) = all.split_at(IN_THE_MIDDLE);
            let mut mismatches = run_all(&client, first).await;
            let (more, task) = tokio::join!(run_all(&client, rest), submit(&client, &hello));
            mismatches.extend(more);
            mismatches.extend(run_all(&client, &all).await);
            mismatches.extend(run_all(&client, &thousand).await);
            (mismatches, task)
        } => ended,
    };
    let now = bytes_of(&process, "VmRSS");
    println!("memory {held} before, {now} after; the children held {most:?}");
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
    let task = node.ask(&["task", "show", &task]);
    assert_eq!(text(&task, "state"), "receipted");
    assert!(now <= held + MORE_MEMORY, "{held} bytes before, {now} after");
    assert!(most.values().any(|held| *held > 0), "no child was seen");
    for (line, held) in most {
        assert!(held <= limit_of(&line), "a child held {held} bytes: {line}");
    }
    // The last process is reaped when its end is heard of.
    eventually("as many children as before", || (children(pid).len() == processes).then_some(()));
    let mut last = Vec::new();
    eventually("the descriptors of before, or fewer", || {
        let now = descriptors(&process).unwrap();
        if now.len() > open.len() && now != last {
            println!("open before: {open:#?}\nopen now: {now:#?}");
        }
        last.clone_from(&now);
        (now.len() <= open.len()).then_some(())
    });
    assert_eq!(node.pid().as_raw_nonzero().get(), pid);
    assert_eq!(node.stop(), Some(0), "it is the same process, and it stops in good order");
}
