//! Real `zerostate` processes for the tests: started, asked, waited for within bounds, and never left behind.

pub mod cheat;
pub mod helia;
pub mod liar;
pub mod rogue;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_zerostate");
pub const HELLO: &[u8] = include_bytes!("../../assets/examples/hello.wasm");
/// Long enough for a loaded machine, short enough to end a test that hangs.
pub const WITHIN: Duration = Duration::from_secs(60);
/// A node has two seconds to stop; a loaded machine may need more.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks of [`eventually`].
const PAUSE: Duration = Duration::from_millis(40);

/// A command that neither sees nor touches the machine's own configuration.
pub fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    isolate(&mut command);
    command
}

/// Takes everything from a command's environment that could lead it to somebody's data.
pub fn isolate(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["ZEROSTATE_PASSPHRASE_FILE", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"] {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent");
}

/// Runs a verb on a data directory to its end.
pub fn zerostate(data_dir: &Path, args: &[&str]) -> Ended {
    let mut command = program();
    command.arg("--data-dir").arg(data_dir).args(args);
    finish(command)
}

/// Runs any command to its end; one that does not end is killed, and the test fails.
pub fn finish(mut command: Command) -> Ended {
    let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let pid = Pid::from_child(&child);
    let (told, ended) = mpsc::channel();
    std::thread::spawn(move || told.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(WITHIN) else {
        rustix::process::kill_process(pid, Signal::KILL).ok();
        panic!("{command:?} did not end within {WITHIN:?}");
    };
    let output = output.unwrap();
    Ended {
        what: format!("{command:?}"),
        code: output.status.code().unwrap_or_else(|| panic!("{command:?} was killed: {}", output.status)),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What a finished process left.
#[derive(Debug)]
pub struct Ended {
    what: String,
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap_or_else(|_| panic!("{}: not text", self.what))
    }

    /// The exit code must be this one; every failure says `error: …` first, on stderr and not on stdout.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\nstdout: {}\nstderr: {}", self.what, self.text(), self.stderr);
        if code != 0 {
            assert!(self.stderr.lines().any(|line| line.starts_with("error: ")), "{self:?}");
            assert!(!self.text().contains("error: "), "{self:?}");
        }
        self
    }

    /// As [`Ended::exits`], and stderr has this in it.
    #[track_caller]
    pub fn fails(self, code: i32, why: &str) -> Self {
        assert!(self.stderr.contains(why), "\"{why}\" is expected in: {self:?}");
        self.exits(code)
    }

    /// One JSON value, alone on one line.
    #[track_caller]
    pub fn json(&self) -> Value {
        let text = self.text();
        assert!(text.ends_with('\n') && text.lines().count() == 1, "one line of JSON expected: {self:?}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A process that lives for a while, read line by line. Dropped, it is asked to stop, then made to.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (told, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            stderr.read_to_end(&mut text).ok();
            String::from_utf8_lossy(&text).into_owned()
        });
        Self { child, lines, errors: Some(errors) }
    }

    /// The next line; `None` when there will be none.
    #[track_caller]
    pub fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(WITHIN) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {WITHIN:?}"),
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end: the closing of its stdout tells of it.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        assert!(self.ends(within), "process {} did not end within {within:?}", self.pid().as_raw_nonzero());
        self.child.wait().unwrap()
    }

    /// What it said on stderr, once it has ended.
    pub fn errors(&mut self) -> String {
        self.errors.take().map(|thread| thread.join().unwrap()).unwrap_or_default()
    }

    fn ends(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::TERM);
            if !self.ends(STOP_WITHIN) {
                self.child.kill().ok();
            }
            self.child.wait().ok();
        }
    }
}

/// A running node.
pub struct Node {
    pub dir: PathBuf,
    pub ready: Value,
    process: Running,
}

impl Node {
    /// A node with every default, on a data directory that may be new.
    #[track_caller]
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    #[track_caller]
    pub fn start_with(dir: &Path, args: &[&str]) -> Self {
        Self::try_start(dir, args).unwrap_or_else(|ended| panic!("the node did not start: {ended:?}"))
    }

    /// A node with variables in its environment.
    #[track_caller]
    pub fn start_in(dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let started = Self::try_start_in(dir, args, variables);
        started.unwrap_or_else(|ended| panic!("the node did not start: {ended:?}"))
    }

    /// Starts a node; one that ends instead of being ready gives its exit code and what it said.
    #[track_caller]
    pub fn try_start(dir: &Path, args: &[&str]) -> Result<Self, (Option<i32>, String)> {
        Self::try_start_in(dir, args, &[])
    }

    #[track_caller]
    fn try_start_in(
        dir: &Path,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self, (Option<i32>, String)> {
        let mut args = args.to_vec();
        if !args.contains(&"--listen") {
            args.extend(["--listen", "/ip4/127.0.0.1/tcp/0"]);
        }
        Self::launch(dir, &args, variables)
    }

    /// A node that dials and cannot be dialled.
    #[track_caller]
    pub fn start_hidden(desk: &Desk, name: &str) -> Self {
        let config = desk.file("hidden.toml", "[network]\nlisten = []\n");
        let started = Self::launch(&desk.path(name), &["--config", &config], &[]);
        started.unwrap_or_else(|ended| panic!("the node did not start: {ended:?}"))
    }

    #[track_caller]
    fn launch(dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> Result<Self, (Option<i32>, String)> {
        let mut command = program();
        command.envs(variables.iter().copied());
        command.args(["node", "--json", "--no-mdns", "--data-dir"]).arg(dir).args(args);
        let mut process = Running::start(command);
        let Some(line) = process.line() else {
            let status = process.wait(STOP_WITHIN);
            return Err((status.code(), process.errors()));
        };
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(ready["event"], "ready", "{line}");
        Ok(Self { dir: dir.to_path_buf(), ready, process })
    }

    pub fn did(&self) -> &str {
        self.ready["did"].as_str().unwrap()
    }

    pub fn address(&self) -> &str {
        self.ready["addrs"][0].as_str().unwrap()
    }

    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Runs a verb on this node's data directory.
    pub fn run(&self, args: &[&str]) -> Ended {
        zerostate(&self.dir, args)
    }

    /// The JSON answer of a verb that must succeed.
    #[track_caller]
    pub fn ask(&self, args: &[&str]) -> Value {
        self.run(&[&["--json"], args].concat()).exits(0).json()
    }

    /// Connects this node to another, and waits until each has the other's card.
    #[track_caller]
    pub fn meet(&self, other: &Node) {
        let met = self.ask(&["connect", other.address()]);
        assert_eq!(met["peer_id"], other.ready["peer_id"]);
        for (one, two) in [(self, other), (other, self)] {
            eventually("the nodes know each other's cards", || {
                one.peer(two).filter(|p| !p["name"].is_null())
            });
        }
    }

    /// The other node as this one's `peers` shows it.
    #[track_caller]
    pub fn peer(&self, other: &Node) -> Option<Value> {
        let peers = self.ask(&["peers"]);
        peers.as_array().unwrap().iter().find(|peer| peer["peer_id"] == other.ready["peer_id"]).cloned()
    }

    /// The rows of a list in which `key` is `value`.
    #[track_caller]
    pub fn listed(&self, list: &[&str], key: &str, value: &str) -> Vec<Value> {
        let rows = self.ask(list);
        rows.as_array().unwrap().iter().filter(|row| row[key] == value).cloned().collect()
    }

    /// Stops it as a service manager does, and gives its exit code.
    #[track_caller]
    pub fn stop(self) -> Option<i32> {
        self.stop_by(Signal::TERM)
    }

    #[track_caller]
    pub fn stop_by(mut self, signal: Signal) -> Option<i32> {
        self.process.signal(signal);
        self.process.wait(STOP_WITHIN).code()
    }

    /// Waits until it is gone, with its hold on the data directory; somebody has killed it.
    #[track_caller]
    pub fn gone(&mut self) {
        assert_eq!(self.process.wait(STOP_WITHIN).signal(), Some(9));
    }

    /// Ends it as a power cut does.
    #[track_caller]
    pub fn kill(mut self) {
        self.process.signal(Signal::KILL);
        assert_eq!(self.process.wait(STOP_WITHIN).signal(), Some(9));
    }
}

/// Two nodes that know each other; the second attests by policy, or only when it is asked to.
pub fn two(desk: &Desk, attest: &str) -> (Node, Node) {
    let config = desk.file("b.toml", format!("name = \"borealis\"\n[policy]\nattest = \"{attest}\"\n"));
    let a = Node::start(&desk.path("a"));
    let b = Node::start_with(&desk.path("b"), &["--config", &config]);
    a.meet(&b);
    (a, b)
}

pub fn submitted(node: &Node, manifest: &str) -> Value {
    node.ask(&["submit", "--wait", manifest])
}

#[track_caller]
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is expected in {value}"))
}

/// Looks again and again until there is something to be seen.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + WITHIN;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "not within {WITHIN:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// A folder of the test's own, and in it the example module and manifests as they are asked for.
pub struct Desk {
    folder: TempDir,
}

impl Desk {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("zs-").tempdir().unwrap();
        fs::write(folder.path().join("hello.wasm"), HELLO).unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and gives its path as an argument.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        self.named(name)
    }

    pub fn named(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The greeting as a manifest that asks for so many witnesses.
    pub fn hello(&self, quorum: u32) -> String {
        let text = format!(
            "name = \"hello\"\nartifact = {{ path = \"hello.wasm\" }}\nargs = [\"there\"]\n\
             [limits]\nfuel = 10000000\n[payment]\nper_second = \"0.002\"\nper_mib = \"0.0001\"\n\
             per_gfuel = \"0.01\"\nmax_total = \"0.05\"\n[attestation]\nquorum = {quorum}\n"
        );
        self.file(&format!("hello-{quorum}.toml"), text)
    }

    /// A manifest for an endless loop, which only its time, the operator or the node's end stops.
    pub fn endless(&self) -> String {
        self.module(
            "endless.wasm",
            "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop (br 0))))",
        );
        let text = "name = \"endless\"\nartifact = { path = \"endless.wasm\" }\n\
                    [limits]\nfuel = 9007199254740991\ntime = \"10m\"\n";
        self.file("endless.toml", text)
    }

    pub fn module(&self, name: &str, wat: &str) -> String {
        self.file(name, wat::parse_str(wat).unwrap())
    }
}

/// A receipt's envelope with another fuel in it: still an envelope and still a receipt, only never signed by anybody.
pub fn forged(envelope: &str) -> String {
    let mut wire: Value = serde_json::from_str(envelope).unwrap();
    let payload = String::from_utf8(BASE64.decode(wire["payload"].as_str().unwrap()).unwrap()).unwrap();
    let changed = payload.replacen("\"fuel_used\":", "\"fuel_used\":1", 1);
    assert_ne!(payload, changed);
    wire["payload"] = BASE64.encode(changed).into();
    // In the one order in which an envelope is spelled.
    format!(
        "{{\"payloadType\":{},\"payload\":{},\"signatures\":[{{\"keyid\":{},\"sig\":{}}}]}}",
        wire["payloadType"], wire["payload"], wire["signatures"][0]["keyid"], wire["signatures"][0]["sig"]
    )
}

/// Whether text could do something to a terminal besides being read.
pub fn steers_a_terminal(text: &str) -> bool {
    text.chars().any(|c| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c))
}

/// A file system of a few megabytes, taken down at the end.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    /// `None` where this user or machine may not mount.
    pub fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs"]).arg(at);
        isolate(&mut mount);
        mount.status().is_ok_and(|status| status.success()).then(|| Self(at.to_path_buf()))
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [65_536, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        umount.arg("--lazy").arg(&self.0);
        isolate(&mut umount);
        finish(umount);
    }
}
