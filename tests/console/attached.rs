//! A console on a node in another process: the node may go and come, the terminal may not read, and other programs may have it for a while.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::{BIG, HELLO, Node, Signal, TempDir, children, path, stat};
use crate::pty::{PATIENCE, PROGRAM, Pty, contains};

#[test]
fn a_console_waits_for_its_node_and_goes_on_when_it_is_back() {
    let node = Node::start("alder", &[]);
    let mut console = node.attach();
    console.until_shows("alder");
    let data_dir = node.crash();
    console.until_shows("node gone");
    // What was known is still there, and what is asked is refused and not lost silently.
    assert!(console.text().contains("alder"), "{}", console.text());
    console.keys("c/ip4/127.0.0.1/tcp/1\r");
    console.until_shows("not connected to /ip4");
    let mut node = Node::on(data_dir, &[]);
    console.until_hides("node gone");
    console.until_shows("the node answers again");
    console.keys("q");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
    assert!(node.lives());
}

#[test]
fn a_configuration_that_cannot_be_read_does_not_keep_one_from_a_node_that_runs() {
    let node = Node::start("alder", &[]);
    let config = node.data_dir.path().join("config.toml");
    std::fs::write(&config, "nonsense = 1\n").unwrap();
    let mut console = node.attach();
    console.until_shows("the configuration is not used");
    console.until_shows("alder");
    console.keys("q");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
    // What was named is meant.
    let named = ["attach", "--config", path(&config), "--data-dir", path(node.data_dir.path())];
    let mut console = Pty::start(&named, BIG, node.data_dir.path());
    assert_eq!(console.ended(), 2);
    assert!(console.text().contains("nonsense"), "{}", console.text());
}

#[test]
fn a_node_that_cannot_be_understood_is_told_of_before_the_screen_is_taken() {
    let temp = TempDir::new().unwrap();
    let socket = UnixListener::bind(zerostate::api::socket_path(temp.path())).unwrap();
    // Of a version with other snapshots, whatever it is asked. The thread ends with the test.
    std::thread::spawn(move || {
        for line in socket.incoming() {
            let mut line = line.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"other\": 1}";
            // Whoever only looked whether somebody is there has gone already.
            if line.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                line.write_all(answer).unwrap();
            }
        }
    });
    let mut console = Pty::start(&["attach", "--data-dir", path(temp.path())], BIG, temp.path());
    assert_eq!(console.ended(), 1);
    let said = console.text();
    assert!(
        said.contains("the node's answer is not understood") && said.contains("the same version"),
        "{said}"
    );
    assert!(!contains(&console.raw, b"\x1b[?1049h"), "the screen was taken");
}

#[test]
fn a_terminal_that_does_not_read_holds_up_neither_the_node_nor_its_end() {
    let temp = TempDir::new().unwrap();
    let data_dir = temp.path().join("node");
    let args = [&["--data-dir", path(&data_dir)], &super::LISTEN[..]].concat();
    let mut console = Pty::start(&args, BIG, temp.path());
    console.until_shows("/tcp/");
    console.reads(false);
    // Each of these paints everything anew; a terminal holds a few kilobytes.
    for _ in 0..50 {
        console.keys("\x0c");
    }
    let did = super::ask(&data_dir, &["id"])["did"].clone();
    for _ in 0..5 {
        assert_eq!(super::ask(&data_dir, &["status"])["did"], did, "the node waits for the terminal");
    }
    console.reads(true);
    console.keys("?");
    console.until_shows("everywhere");
    console.reads(false);
    for _ in 0..50 {
        console.keys("\x0c");
    }
    console.signal(Signal::TERM);
    assert_eq!(console.ended(), 0, "it waits for the terminal to be read");
}

#[test]
fn a_manifest_is_written_in_the_editor_and_submitted_from_the_form() {
    let node = Node::start("alder", &[]);
    let temp = node.data_dir.path();
    let editor = temp.join("editor.sh");
    // It shows that it has the terminal, and waits for a key as editors do.
    let script = "#!/bin/sh\necho EDITING\nread key\nsed -i 's/^name = .*/name = \"edited\"/' \"$1\"\n";
    std::fs::write(&editor, script).unwrap();
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
    // Where neither variable says which, it is vi.
    std::os::unix::fs::symlink(&editor, temp.join("vi")).unwrap();
    let found = format!("{}:{}", path(temp), std::env::var("PATH").unwrap());
    let editor = path(&editor);
    let set = [
        vec![("VISUAL", editor), ("EDITOR", "false")],
        vec![("VISUAL", " "), ("EDITOR", editor)],
        vec![("VISUAL", ""), ("EDITOR", ""), ("PATH", &found)],
    ];
    for (n, variables) in (1..).zip(set) {
        let args = ["attach", "--data-dir", path(temp)];
        let mut console = Pty::run(PROGRAM, &args, BIG, temp, &variables);
        console.until_shows("alder");
        console.keys(&format!("S{HELLO}"));
        console.until_shows("✓ a module of");
        console.keys("\x14");
        console.until_shows("EDITING");
        console.keys("\n");
        console.until_shows("✓ a manifest; its module is");
        assert!(console.text().contains("edited"), "{}", console.text());
        assert_eq!(std::fs::read_dir(temp.join("drafts")).unwrap().count(), n, "the draft is kept");
        console.keys("\x13");
        console.until_shows("edited submitted as task");
        console.keys("q");
        assert_eq!(console.ended_with_the_terminal_given_back(), 0);
    }
}

#[test]
fn the_mouse_chooses_panes_and_is_given_back() {
    let node = Node::start("alder", &[]);
    let args = ["attach", "--mouse", "--data-dir", path(node.data_dir.path())];
    let mut console = Pty::start(&args, (80, 24), node.data_dir.path());
    console.until_shows("alder");
    assert!(contains(&console.raw, b"\x1b[?1000h"), "the mouse is not asked for");
    // The tab of the receipts: column 26, second row (SGR, as xterm reports it).
    console.keys("\x1b[<0;26;2M\x1b[<0;26;2m");
    console.until_shows("No receipts yet.");
    console.keys("q");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
    let other = Node::start("birch", &[]);
    let mut console = other.attach();
    console.until_shows("birch");
    assert!(!contains(&console.raw, b"\x1b[?1000h"), "the mouse is taken unasked");
    console.keys("q");
    assert_eq!(console.ended(), 0);
}

#[test]
fn a_bundle_is_written_by_a_key_and_verifies() {
    let node = Node::start("alder", &[]);
    let mut console = node.attach();
    console.until_shows("alder");
    node.ask(&["run", "--stdin", "/dev/null", HELLO]);
    console.until_rows("4 Receipts", 1);
    console.keys("4b");
    console.until_shows("hello is in ");
    let bundle =
        std::fs::read_dir(node.data_dir.path().join("bundles")).unwrap().next().unwrap().unwrap().path();
    let verified = std::process::Command::new(PROGRAM).args(["verify", path(&bundle)]).output().unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
    console.keys("q");
    assert_eq!(console.ended(), 0);
}

/// A task that writes two lines, and then computes until its time is up.
pub fn talker(folder: &Path) -> PathBuf {
    let module = wat::parse_str(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) "first line\nsecond line\n")
            (func (export "_start")
                (i32.store (i32.const 0) (i32.const 16))
                (i32.store (i32.const 4) (i32.const 23))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                (loop $on (br $on))))"#,
    )
    .unwrap();
    std::fs::write(folder.join("talker.wasm"), module).unwrap();
    let manifest = folder.join("talker.toml");
    let text = "name = \"talker\"\nartifact = { path = \"talker.wasm\" }\n[limits]\nfuel = 9000000000000\ntime = \"30s\"\n";
    std::fs::write(&manifest, text).unwrap();
    manifest
}

#[test]
fn a_task_goes_to_one_guild_alone_by_key() {
    let a = Node::start("alder", &[]);
    let b = Node::willing("birch", &["--bootstrap", &a.address]);
    let founded = a.ask(&["guild", "create", "--name", "nightly", "--admit", "open"]);
    let [guild, invitation] = ["guild_id", "invitation"].map(|what| founded[what].as_str().unwrap());
    b.ask(&["guild", "join", invitation, "--role", "executor"]);
    // Whoever may not propose is told before anything is typed.
    let mut console = b.attach();
    console.until_rows("2 Guilds", 1);
    console.keys("2d");
    console.until_shows("executor may not propose a task");
    console.keys("q");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
    let mut console = a.attach();
    console.until_rows("2 Guilds", 1);
    console.keys("2d");
    console.until_shows("Submit a task to nightly alone");
    console.keys(HELLO);
    console.until_shows("a module of");
    console.keys("\x13");
    console.until_rows("4 Receipts", 1);
    console.keys("4\r");
    console.until_shows("none were asked for");
    console.keys("u");
    console.until_shows("each change of members begins one");
    console.keys("qqq");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
    let receipt = a.ask(&["receipt", "list"])[0]["receipt_id"].as_str().unwrap().to_owned();
    let receipt = a.ask(&["receipt", "show", &receipt])["receipt"].clone();
    assert_eq!(
        (receipt["guild"].as_str(), receipt["executor"].as_str()),
        (Some(guild), Some(b.did.as_str()))
    );
}

#[test]
fn a_task_of_another_is_seen_where_it_runs_and_for_as_long() {
    let a = Node::start("alder", &[]);
    let b = Node::willing("birch", &["--bootstrap", &a.address]);
    let mut console = b.attach();
    console.until_shows("alder");
    let mut other = a.attach();
    other.until_shows("birch");
    let manifest = talker(a.data_dir.path());
    let task = a.ask(&["submit", path(&manifest)])["task_id"].as_str().unwrap().to_owned();
    console.until_rows("3 Tasks", 1);
    console.keys("3\r");
    console.until("what it prints, and whose it is", |console| {
        let text = console.text();
        text.contains("second line") && text.contains("alder  z6Mk")
    });
    console.keys("w");
    console.until_shows("alder has submitted it");
    console.keys("\x1b");
    console.until_hides("alder has submitted it");
    // It is not this node's to cancel.
    console.keys("x");
    console.until_shows("only who has submitted it can cancel it");
    console.keys("\x1b");
    console.until_shows("3 Tasks");
    a.ask(&["task", "cancel", &task]);
    console.until_shows("No tasks yet.");
    for console in [&mut console, &mut other] {
        console.keys("q");
        assert_eq!(console.ended(), 0);
    }
}

#[test]
fn what_a_task_prints_is_seen_as_it_comes_and_line_by_line() {
    let node = Node::start("alder", &[]);
    let manifest = talker(node.data_dir.path());
    let mut console = node.attach();
    console.until_shows("alder");
    node.ask(&["submit", path(&manifest)]);
    console.until_rows("3 Tasks", 1);
    console.keys("3\r");
    console.until("both lines, while it runs", |console| {
        let text = console.text();
        let line = |wanted: &str| text.lines().position(|line| line.contains(wanted));
        text.contains("▶ running")
            && line("first line").is_some()
            && line("second line") == line("first line").map(|n| n + 1)
    });
    console.keys("x");
    console.until_shows("Cancel talker");
    console.keys("y");
    console.until_shows("talker is cancelled");
    // One closes the task, and one the console.
    console.keys("qq");
    assert_eq!(console.ended(), 0);
}

/// The processes of which the command line has `part` in it.
pub fn processes_with(part: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        contains(&line, part.as_bytes()) && stat(*pid).is_some()
    })
    .collect()
}

#[test]
fn a_stopped_console_holds_nothing_up() {
    let mut node = Node::start("alder", &[]);
    let mut console = node.attach();
    console.until_shows("alder");
    console.signal(Signal::STOP);
    let deadline = std::time::Instant::now() + PATIENCE;
    while stat(console.pid()).is_some_and(|stat| stat.state != "T") {
        assert!(std::time::Instant::now() < deadline, "it does not stop");
        std::thread::yield_now();
    }
    for _ in 0..5 {
        assert!(node.lives(), "the node waits for a console that does not read");
    }
    console.signal(Signal::CONT);
    console.keys("q");
    assert_eq!(console.ended(), 0);
    assert!(children(console.pid()).is_empty());
}
