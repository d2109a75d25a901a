//! A journal that was kept, gone through in the console.

use std::process::Command;

use super::{BIG, HELLO, Node, path};
use crate::pty::{PROGRAM, Pty};

#[test]
fn a_journal_is_gone_through_back_and_forth() {
    let node = Node::start("alder", &[]);
    node.ask(&["submit", "--wait", HELLO]);
    let journal = Command::new(PROGRAM)
        .args(["events", "--json", "--data-dir", path(node.data_dir.path())])
        .output()
        .unwrap();
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&journal.stdout).unwrap();
    let total = entries.len();
    let file = node.data_dir.path().join("life.json");
    std::fs::write(&file, &journal.stdout).unwrap();
    // Another data directory: no node is needed, and none is started.
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("config.toml"), "nonsense = 1\n").unwrap();
    let args = ["--replay", path(&file), "--data-dir", path(elsewhere.path())];
    let mut console = Pty::start(&args, BIG, elsewhere.path());
    console.until_shows("the configuration is not used");
    console.until_shows(&format!("replay {total}/{total}"));
    console.keys("4");
    console.until_shows("✓ hello");
    // Before its receipt the task was running, and before that it was not there.
    let place = |word: &str| entries.iter().position(|entry| entry["event"] == word).unwrap();
    let receipt = place("receipt");
    for step in 1..=total - receipt {
        console.keys("\x1b[D");
        console.until_shows(&format!("replay {}/{total}", total - step));
    }
    console.until_shows("No receipts yet.");
    console.until_shows("running");
    console.keys("\x1b[C");
    console.until_shows(&format!("replay {}/{total}", receipt + 1));
    console.until_shows("✓ hello");
    for _ in 0..10 {
        console.keys("[");
    }
    console.until_shows(&format!("replay 0/{total}"));
    console.until_shows("No tasks yet.");
    // What the journal does not hold is said, and nothing can be done.
    console.keys("]]]]]]]]]]");
    console.until_shows(&format!("replay {total}/{total}"));
    console.keys("4\r");
    console.until_shows("does not hold the document");
    console.keys("\x1b");
    console.until_hides("does not hold the document");
    console.keys("q");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
    assert!(!elsewhere.path().join("keys").exists(), "a node was started");
}

#[test]
fn a_file_that_is_no_journal_is_refused_with_the_line() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("wrong.json");
    std::fs::write(&file, "{\"seq\":1}\n").unwrap();
    let refused = Command::new(PROGRAM).args(["--plain", "--replay", path(&file)]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("line 1") && said.contains("zerostate events --json"), "{said}");
}
