//! What was acknowledged is still there: after `kill -9` in the middle of work, and after bytes on the disk went bad.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use zerostate::api::{Answer, Answering as _, Client, Command, Happening};
use zerostate::document::{ArtifactSource, Draft};

use crate::support::{Desk, HELLO, Node, WITHIN, eventually, forged};

const SUBMISSIONS: usize = 100;

/// Submits a hundred tasks at once and kills the node when so many of them have been acknowledged. Gives back the tasks that
/// were acknowledged and the receipts that were seen.
async fn submit_and_kill(node: Node, cid: &str, kill_after: usize) -> (BTreeSet<String>, BTreeSet<String>) {
    let client = Client::connect(&node.dir).await.unwrap();
    let receipts = Arc::new(Mutex::new(BTreeSet::new()));
    let (watcher, seen) = (client.clone(), Arc::clone(&receipts));
    let watch = tokio::spawn(async move {
        // It ends when the node does.
        watcher
            .follow(0, |event| {
                if let Happening::Receipt { receipt_id, .. } = event.what {
                    seen.lock().unwrap().insert(receipt_id);
                }
                true
            })
            .await
            .ok();
    });
    let (told, mut acknowledged) = mpsc::channel(SUBMISSIONS);
    let mut submissions = JoinSet::new();
    for number in 0..SUBMISSIONS {
        let source = ArtifactSource::Cid { cid: cid.to_owned(), sha256: None, size: None };
        let draft = Draft::for_module(&format!("task-{number}"), source);
        let (client, told) = (client.clone(), told.clone());
        submissions.spawn(async move {
            if let Ok(Answer::Submitted { task_id }) =
                client.execute(Command::Submit { draft: Box::new(draft), guild: None }).await
            {
                told.send(task_id).await.ok();
            }
        });
    }
    drop(told);
    let mut tasks = BTreeSet::new();
    let mut node = Some(node);
    let counted = async {
        while let Some(task_id) = acknowledged.recv().await {
            tasks.insert(task_id);
            if tasks.len() == kill_after
                && let Some(node) = node.take()
            {
                tokio::task::spawn_blocking(|| node.kill()).await.unwrap();
            }
        }
        while submissions.join_next().await.is_some() {}
        watch.await.unwrap();
    };
    tokio::time::timeout(WITHIN, counted).await.expect("the submissions end when the node is killed");
    assert!(node.is_none(), "only {} of {SUBMISSIONS} submissions were acknowledged", tasks.len());
    let receipts = receipts.lock().unwrap().clone();
    (tasks, receipts)
}

fn ids(node: &Node, list: &[&str], key: &str) -> BTreeSet<String> {
    node.ask(list).as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_outlives_a_kill_and_unfinished_tasks_come_to_their_receipts() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let module =
        desk.module("short.wasm", "(module (memory (export \"memory\") 1) (func (export \"_start\")))");
    let (mut tasks, mut receipts) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..3 {
        let node = Node::start(&dir);
        let cid = node.ask(&["artifact", "add", &module])["cid"].as_str().unwrap().to_owned();
        let mut random = [0];
        getrandom::fill(&mut random).unwrap();
        // Early, in the middle, late; somewhere else in every run.
        let kill_after = 1 + round * 33 + usize::from(random[0]) % 33;
        println!("round {round}: killed after {kill_after} acknowledgements");
        let (acknowledged, seen) = submit_and_kill(node, &cid, kill_after).await;
        tasks.extend(acknowledged);
        receipts.extend(seen);

        let node = Node::start(&dir);
        let missing = |listed: BTreeSet<String>, known: &BTreeSet<String>| {
            known.difference(&listed).cloned().collect::<Vec<_>>()
        };
        assert_eq!(
            missing(ids(&node, &["task", "list"], "task_id"), &tasks),
            [""; 0],
            "acknowledged, and lost"
        );
        assert_eq!(
            missing(ids(&node, &["receipt", "list"], "receipt_id"), &receipts),
            [""; 0],
            "seen, and lost"
        );
        let rows = eventually("every task comes to its receipt", || {
            let rows = node.ask(&["task", "list"]);
            rows.as_array().unwrap().iter().all(|task| task["state"] == "receipted").then_some(rows)
        });
        // One receipt a task: none was run to a second one after the first was stored.
        let of_tasks: BTreeSet<_> =
            rows.as_array().unwrap().iter().map(|t| t["receipt_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids(&node, &["receipt", "list"], "receipt_id"), of_tasks);
        assert_eq!(of_tasks.len(), rows.as_array().unwrap().len());
        receipts.extend(of_tasks);
        let events = node.ask(&["events"]);
        let numbers: Vec<_> =
            events.as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "the journal has no gaps");
        assert_eq!(node.stop(), Some(0));
    }
}

#[test]
fn a_waiting_quorum_is_counted_also_when_the_node_was_killed_meanwhile() {
    let desk = Desk::new();
    let a = Node::start(&desk.path("a"));
    let b = Node::start(&desk.path("b"));
    let (a_dir, b_address) = (a.dir.clone(), b.address().to_owned());
    a.meet(&b);
    let task = a.ask(&["submit", &desk.hello(1)])["task_id"].as_str().unwrap().to_owned();
    let receipt = eventually("the receipt reaches the witness", || {
        b.listed(&["receipt", "list"], "task_id", &task).pop()
    });
    a.kill();
    eventually("the witness sees that it is gone", || {
        b.ask(&["peers"]).as_array().unwrap().is_empty().then_some(())
    });
    let a = Node::start_with(&a_dir, &["--bootstrap", &b_address]);
    eventually("they meet again", || b.peer(&a).filter(|peer| !peer["name"].is_null()));
    assert_eq!(b.ask(&["attest", receipt["receipt_id"].as_str().unwrap()])["verdict"], "agree");
    eventually("the task is attested", || {
        (a.ask(&["task", "show", &task])["state"] == "attested").then_some(())
    });
}

/// The one block file whose name this is.
fn block_file(dir: &Path, cid: &str) -> PathBuf {
    let shards = fs::read_dir(dir.join("blocks")).unwrap();
    let mut found = shards.map(|shard| shard.unwrap().path().join(cid)).filter(|path| path.exists());
    let path = found.next().expect("the block is stored");
    assert!(found.next().is_none());
    path
}

/// Changes one byte in the middle of a file, in place.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_block_is_never_given_out_and_comes_back_whole_from_a_peer_or_a_file() {
    let desk = Desk::new();
    let (a, b) = (Node::start(&desk.path("a")), Node::start(&desk.path("b")));
    let cid = a.ask(&["artifact", "add", &desk.named("hello.wasm")])["cid"].as_str().unwrap().to_owned();
    let get = ["artifact", "get", &cid, "--output", &desk.named("out.wasm")];

    // Alone, the node can only say that it has it no longer.
    damage(&block_file(&a.dir, &cid));
    a.run(&get).fails(1, "neither stored here nor to be had");
    assert!(!desk.path("out.wasm").exists());
    assert!(a.listed(&["artifact", "list"], "cid", &cid).is_empty());

    // Adding the file mends what is damaged, also when nobody has read it yet.
    a.ask(&["artifact", "add", &desk.named("hello.wasm")]);
    damage(&block_file(&a.dir, &cid));
    a.ask(&["artifact", "add", &desk.named("hello.wasm")]);
    assert_eq!(fs::read(block_file(&a.dir, &cid)).unwrap(), HELLO);

    // A peer gets the whole block or none.
    damage(&block_file(&a.dir, &cid));
    a.meet(&b);
    b.run(&get).fails(1, "neither stored here nor to be had");
    assert!(!desk.path("out.wasm").exists());

    b.ask(&["artifact", "add", &desk.named("hello.wasm")]);
    a.run(&get).exits(0);
    assert_eq!(fs::read(desk.path("out.wasm")).unwrap(), HELLO);
    assert_eq!(fs::read(block_file(&a.dir, &cid)).unwrap(), HELLO);
}

#[test]
fn a_damaged_document_is_named_and_the_node_goes_on() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("data"));
    let [one, two] = [(); 2]
        .map(|()| node.ask(&["submit", "--wait", &desk.hello(0)])["receipt_id"].as_str().unwrap().to_owned());
    let dir = node.dir.clone();
    assert_eq!(node.stop(), Some(0));
    let database = rusqlite::Connection::open(dir.join("node.db")).unwrap();
    let sql = "SELECT CAST(bytes AS TEXT) FROM documents WHERE id = ?1";
    let whole: String = database.query_row(sql, [&one], |row| row.get(0)).unwrap();
    let changed =
        database.execute("UPDATE documents SET bytes = ?2 WHERE id = ?1", (&one, forged(&whole).as_bytes()));
    assert_eq!(changed.unwrap(), 1);
    drop(database);

    let node = Node::start(&dir);
    node.run(&["receipt", "show", &one]).fails(1, &format!("the stored document {one} is damaged"));
    node.run(&["receipt", "export", &one]).fails(1, "is damaged");
    node.run(&["receipt", "export", &two]).exits(0);
    assert_eq!(node.ask(&["submit", "--wait", &desk.hello(0)])["state"], "receipted");
}

#[test]
fn a_database_of_a_newer_program_is_refused_and_left_as_it_is() {
    let desk = Desk::new();
    let dir = desk.path("data");
    let node = Node::start(&dir);
    let task = node.ask(&["submit", "--wait", &desk.hello(0)])["task_id"].clone();
    assert_eq!(node.stop(), Some(0));
    let version = |set: Option<i64>| -> i64 {
        let database = rusqlite::Connection::open(dir.join("node.db")).unwrap();
        if let Some(number) = set {
            database.pragma_update(None, "user_version", number).unwrap();
        }
        database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    };
    let known = version(None);
    version(Some(known + 1));
    let (code, said) = Node::try_start(&dir, &[]).err().expect("the node must not start");
    assert_eq!(code, Some(1));
    assert!(
        said.starts_with("error: ") && said.contains("newer zerostate") && said.contains("node.db"),
        "{said}"
    );
    crate::support::zerostate(&dir, &["run", &desk.named("hello.wasm")]).fails(1, "newer zerostate");
    assert_eq!(version(None), known + 1);

    version(Some(known));
    let node = Node::start(&dir);
    assert_eq!(node.ask(&["task", "list"])[0]["task_id"], task);
}

#[test]
fn a_node_starts_on_a_directory_that_a_killed_one_left_in_disorder() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("data"));
    let cid = node.ask(&["artifact", "add", &desk.named("hello.wasm")])["cid"].as_str().unwrap().to_owned();
    // The last entry of the log speaks of something else.
    node.ask(&["artifact", "add", &desk.file("last", "last")]);
    let dir = node.dir.clone();
    node.kill();
    assert!(dir.join("api.sock").exists(), "a kill leaves the socket");
    // A block that was being written, and a write-ahead log cut in the middle of an entry.
    fs::write(block_file(&dir, &cid).with_file_name(".4711-0"), &HELLO[..100]).unwrap();
    let log = fs::OpenOptions::new().write(true).open(dir.join("node.db-wal")).unwrap();
    let long = log.metadata().unwrap().len();
    assert!(long > 64);
    log.set_len(long - 64).unwrap();
    drop(log);

    let node = Node::start(&dir);
    assert_eq!(node.listed(&["artifact", "list"], "cid", &cid).len(), 1);
    assert_eq!(node.ask(&["artifact", "list"]).as_array().map(Vec::len), Some(1), "half a block is none");
    assert_eq!(node.ask(&["submit", "--wait", &desk.hello(0)])["state"], "receipted");
}
