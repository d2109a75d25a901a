//! The console as a person meets it: the real program in a pseudo-terminal, keys in, a screen out.

mod attached;
mod plain;
mod recorded;
mod ssh;
mod strangers;
mod terminals;
mod ways_out;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::pty::{PATIENCE, PROGRAM, Pty, contains};

const BIG: (u16, u16) = (120, 40);
const LISTEN: [&str; 3] = ["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"];
const HELLO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/examples/hello.wasm");

/// A process whose lines are read as they come. Dropping it kills it.
struct Lines {
    process: Child,
    lines: Receiver<String>,
}

impl Lines {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { process, lines }
    }

    /// The next line that is JSON with `met`.
    fn until(&self, what: &str, met: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("{what} never came"));
            let value: Value = serde_json::from_str(&line).unwrap();
            if met(&value) {
                return value;
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A node without a console.
struct Node {
    process: Lines,
    data_dir: TempDir,
    did: String,
    address: String,
}

impl Node {
    /// `name` is written as TOML writes strings.
    fn start(name: &str, more: &[&str]) -> Self {
        let data_dir = TempDir::new().unwrap();
        std::fs::write(data_dir.path().join("config.toml"), format!("name = \"{name}\"\n")).unwrap();
        Self::on(data_dir, more)
    }

    /// One that runs and witnesses what others ask for.
    fn willing(name: &str, more: &[&str]) -> Self {
        let data_dir = TempDir::new().unwrap();
        let config = format!("name = \"{name}\"\n[policy]\naccept = \"matching\"\n");
        std::fs::write(data_dir.path().join("config.toml"), config).unwrap();
        Self::on(data_dir, more)
    }

    /// A node on a directory that is there.
    fn on(data_dir: TempDir, more: &[&str]) -> Self {
        let args = [&["node", "--json", "--data-dir", path(data_dir.path())], &LISTEN[..], more].concat();
        let process = Lines::start(&args);
        let ready = process.until("the node's first line", |line| line["event"] == "ready");
        let (did, address) = (ready["did"].as_str().unwrap(), ready["addrs"][0].as_str().unwrap());
        Self { did: did.to_owned(), address: address.to_owned(), process, data_dir }
    }

    /// Runs a verb on this node; what it prints as JSON.
    fn ask(&self, verb: &[&str]) -> Value {
        ask(self.data_dir.path(), verb)
    }

    fn attach(&self) -> Pty {
        Pty::start(&["attach", "--data-dir", path(self.data_dir.path())], BIG, self.data_dir.path())
    }

    /// Kills it as a crash would; what it has on the disk stays.
    fn crash(self) -> TempDir {
        drop(self.process);
        self.data_dir
    }

    fn lives(&mut self) -> bool {
        self.process.process.try_wait().unwrap().is_none()
            && self.ask(&["status"])["did"] == self.did.as_str()
    }
}

fn ask(data_dir: &Path, verb: &[&str]) -> Value {
    let args = [&["--json", "--data-dir", path(data_dir)], verb].concat();
    let asked = Lines::start(&args);
    asked.until(&format!("an answer to {verb:?}"), |_| true)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The children of a process, by what /proc says: process ids with the times of their start, so that none is taken for another.
fn children(parent: u32) -> Vec<(u32, u64)> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?)))
        .filter(|(_, stat)| stat.parent == parent)
        .map(|(pid, stat)| (pid, stat.started))
        .collect()
}

/// Waits until none of these processes is left.
fn until_gone(processes: &[(u32, u64)], after: &str) {
    let deadline = Instant::now() + PATIENCE;
    while processes.iter().any(|process| lives(*process)) {
        assert!(Instant::now() < deadline, "processes are left after {after}: {processes:?}");
        std::thread::yield_now();
    }
}

struct Stat {
    parent: u32,
    started: u64,
    /// As proc_pid_stat(5) has it: T for stopped.
    state: String,
    /// Time of a core that it has taken, itself and for it in the kernel, in hundredths of a second.
    cpu: u64,
}

/// What is there of a process that has not ended.
fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may have any in it; the fields after it are proc_pid_stat(5)'s from the third on.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ended = matches!(fields[0], "Z" | "X");
    (!ended).then(|| Stat {
        parent: fields[1].parse().unwrap(),
        started: fields[19].parse().unwrap(),
        state: fields[0].to_owned(),
        cpu: fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap(),
    })
}

fn lives((pid, started): (u32, u64)) -> bool {
    stat(pid).is_some_and(|stat| stat.started == started)
}

#[test]
fn a_lab_is_operated_by_keys_alone_and_leaves_nothing_behind() {
    let temp = TempDir::new().unwrap();
    let mut lab = Pty::start(&["lab", "--nodes", "3"], BIG, temp.path());
    lab.until_shows("borealis");
    lab.until_shows("ceres");
    let nodes = children(lab.pid());
    assert_eq!(nodes.len(), 3, "one process a node");
    let runners: Vec<_> = nodes.iter().flat_map(|(pid, _)| children(*pid)).collect();

    // The example: submitted, run, receipted, and attested by the two others.
    lab.keys("S");
    lab.until_shows("a manifest; its module is");
    lab.until_shows("hello.toml");
    lab.keys("\x13");
    lab.until_hides("Submit a task");
    lab.until_shows("attested 2/2");
    lab.keys("4\r");
    lab.until_shows("✓ checked here: signed by");
    assert!(lab.text().contains("hello ─ ✓ ok ─ attested 2/2"), "{}", lab.text());
    assert_eq!(lab.text().matches("✓ agree").count(), 2, "{}", lab.text());
    lab.keys("\x1b");
    lab.until_shows("4 Receipts");

    // Any size is survived, and the names of the panes are there at the smallest that people have.
    lab.resize(1, 1);
    lab.resize(80, 24);
    let panes = ["1 Peers", "2 Guilds", "3 Tasks", "4 Receipts", "5 Attestations", "6 Events"];
    lab.until("the names of the six panes", |lab| panes.iter().all(|pane| lab.text().contains(pane)));
    lab.resize(120, 40);
    lab.until("the whole screen", |lab| {
        panes.iter().all(|pane| lab.text().contains(pane)) && lab.text().contains("borealis")
    });

    lab.keys("q");
    assert_eq!(lab.ended_with_the_terminal_given_back(), 0);
    let left: Vec<_> = nodes.into_iter().filter(|node| lives(*node)).collect();
    assert_eq!(left, [], "nodes of the lab are left");
    until_gone(&runners, "the lab");
    let files: Vec<_> = std::fs::read_dir(temp.path()).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files, Vec::<std::path::PathBuf>::new(), "files of the lab are left");
}

#[test]
fn a_receipt_is_attested_by_keys_and_only_after_a_yes() {
    let a = Node::start("alder", &[]);
    let b = Node::start("birch", &["--bootstrap", &a.address]);
    let events = Lines::start(&["events", "--follow", "--json", "--data-dir", path(a.data_dir.path())]);
    let mut console = b.attach();
    console.until_shows("alder");
    let mut other = a.attach();
    other.until_shows("birch");
    other.keys("q");
    assert_eq!(other.ended(), 0);

    let manifest = a.data_dir.path().join("task.toml");
    let text =
        format!("name = \"greeting\"\nartifact = {{ path = \"{HELLO}\" }}\n[attestation]\nquorum = 1\n");
    std::fs::write(&manifest, text).unwrap();
    a.ask(&["submit", path(&manifest)]);
    console.until("the receipt came", |console| console.text().contains("waits 0/1"));

    console.keys("4gga");
    console.until_shows("Sign \"agree\"");
    for part in [a.did.as_str(), &b.did, "[ n  No ]", "cannot be taken back"] {
        assert!(console.text().contains(part), "{part} in\n{}", console.text());
    }
    console.keys("\r");
    console.until_hides("Sign \"agree\"");
    // It waits in the inbox as well. The answer was heard before the next question stands there.
    console.keys("7");
    console.until_shows("asks for a witness");
    console.keys("gg\r");
    console.until_shows("Inbox attest");
    console.keys("a");
    console.until_shows("Sign \"agree\"");
    assert_eq!(b.ask(&["status"])["attestations"], 0, "signed though the answer was No");
    console.keys("y");
    console.until_shows("attested: agree");
    console.keys("\x1b");
    console.until_shows("Nothing waits for you.");

    let heard = events.until("the attestation", |event| event["event"] == "attestation");
    assert!(heard.to_string().contains(&b.did), "{heard}");
    let receipt = a.ask(&["receipt", "list"])[0]["receipt_id"].as_str().unwrap().to_owned();
    let shown = a.ask(&["receipt", "show", &receipt]);
    assert_eq!(shown["attestations"].as_array().unwrap().len(), 1, "{shown}");
    assert_eq!(shown["attestations"][0]["witness"], b.did.as_str());
    assert_eq!(shown["attestations"][0]["verdict"], "agree");
    console.keys("q");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
}

#[test]
fn what_a_peer_calls_itself_never_reaches_the_terminal_as_commands() {
    let evil = Node::start(r"\u001b]52;c;AAAA\u0007\u202eevil", &[]);
    let honest = Node::start("alder", &["--bootstrap", &evil.address]);
    let mut console = honest.attach();
    console.until_shows("evil");
    // Also where it is opened, and where it is told of.
    console.keys("1gg\r");
    console.until_shows("Esc back");
    console.keys("\x1b");
    console.until_hides("Esc back");
    console.keys("q");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
    assert!(contains(&console.raw, b"evil"));
    assert!(!contains(&console.raw, b"\x1b]52"), "the clipboard was written by a peer's name");
    assert!(!contains(&console.raw, b"\x07"), "a bell came out of a peer's name");
    assert!(!contains(&console.raw, "\u{202e}".as_bytes()), "text was turned round by a peer's name");
}
