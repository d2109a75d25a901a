//! The console in lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use super::{HELLO, Node, path};
use crate::pty::{PATIENCE, PROGRAM, Pty};

struct Plain {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    all: Vec<String>,
}

impl Plain {
    fn attach(node: &Node) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["attach", "--plain", "--data-dir", path(node.data_dir.path())]);
        command.env("LC_ALL", "C.UTF-8").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        Self { process, input, lines, all: Vec::new() }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Reads on until a line has `wanted` in it.
    fn until(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("{wanted:?} was never said:\n{}", self.all.join("\n")));
            self.all.push(line.clone());
            if line.contains(wanted) {
                return line;
            }
        }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn a_node_is_operated_in_lines_from_a_submission_to_an_attestation() {
    let a = Node::start("alder", &[]);
    let b = Node::start("birch", &["--bootstrap", &a.address]);
    let mut plain = Plain::attach(&b);
    plain.until("Node birch");
    // It is connected sooner or later, and has a name a moment after that.
    loop {
        plain.say("peers");
        if !plain.until("Peers: ").contains("Peers: 0") && plain.until("1. ").contains("1. alder, direct") {
            break;
        }
    }
    plain.say("status");
    plain.until("peers 1");

    plain.say("submit");
    plain.until("Submit a task:");
    plain.until("Type: file");
    plain.say(HELLO);
    plain.until("Type: name: hello");
    plain.say("submit");
    plain.until("Done: hello submitted as task");
    plain.until("Event receipt: hello ok");
    plain.say("receipts");
    plain.until("1. hello, status ok, cost");
    plain.say("1");
    let executor = plain.until("executor: ");
    assert!(executor.contains("you"), "{executor}");
    // One thing a line.
    for label in ["requester: you", "signature: ✓ checked here", "total: ", "memory: ", "time: "] {
        let line = plain.until(label);
        assert!(line.starts_with(label), "{line}");
    }
    // Its own receipt it cannot attest, and says why.
    plain.say("attest");
    plain.until("an executor cannot attest what it ran itself");
    plain.say("back");
    plain.until("Closed.");

    // One of somebody else's: what would be signed is told, and nothing is before the yes.
    a.ask(&["submit", HELLO]);
    plain.until("signed by alder");
    plain.say("receipts");
    plain.until("executor alder");
    plain.say("filter executor:alder");
    plain.until("1. hello");
    plain.say("select 1");
    plain.until("Row 1 is chosen");
    plain.say("attest");
    plain.until("Type yes or no.");
    plain.say("perhaps");
    plain.until("Question open");
    assert_eq!(b.ask(&["status"])["attestations"], 0, "signed without a yes");
    plain.say("yes");
    plain.until("attested: agree");
    plain.say("nonsense");
    plain.until("No such command: nonsense");
    plain.say("quit");
    assert_eq!(plain.process.wait().unwrap().code(), Some(1), "a script hears that something was not done");
    let steering = |line: &&String| line.chars().any(zerostate::document::Untrusted::changes);
    assert_eq!(plain.all.iter().find(steering), None);
}

#[test]
fn the_end_of_its_input_is_the_end_and_the_node_lives_on() {
    let mut node = Node::start("alder", &[]);
    let mut plain = Plain::attach(&node);
    plain.until("Node alder");
    plain.input = None;
    assert!(plain.process.wait().unwrap().success());
    assert!(node.lives());
}

#[test]
fn who_asks_where_nothing_can_be_answered_is_told_by_the_exit_code() {
    let node = Node::start("alder", &[]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["attach", "--plain", "--data-dir", path(node.data_dir.path())]);
    let mut process = command.stdin(Stdio::piped()).stdout(full).stderr(Stdio::null()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(b"peers\nquit\n").unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(1));
}

#[test]
fn a_dumb_terminal_gets_lines_and_no_escape_sequences() {
    let node = Node::start("alder", &[]);
    let args = ["attach", "--data-dir", path(node.data_dir.path())];
    let mut console = Pty::run(PROGRAM, &args, (80, 24), node.data_dir.path(), &[("TERM", "dumb")]);
    console.until_shows("Node alder");
    console.keys("guilds\n");
    console.until_shows("Guilds: 0.");
    console.keys("quit\n");
    assert_eq!(console.ended(), 0);
    assert!(!console.raw.contains(&0x1b), "an escape sequence on a dumb terminal");
}
