//! The console over a real SSH line, as people have it: OpenSSH's server on loopback, its client on a terminal.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::attached::processes_with;
use super::{BIG, Node, TempDir, children, path, stat};
use crate::pty::{PATIENCE, PROGRAM, Pty};

const SSHD: &str = "/usr/sbin/sshd";

/// A server of one's own, with keys of its own, on a port that the system chose.
struct Server {
    folder: TempDir,
    port: u16,
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Server {
    /// None where there is no OpenSSH server; that is said, and a failure where everything has to be tested.
    fn start() -> Option<Self> {
        let user_is_root = rustix::process::getuid().is_root();
        let why = if !Path::new(SSHD).exists() {
            "there is no OpenSSH server here (Debian: openssh-server)"
        } else if !user_is_root {
            "its server needs root to separate its privileges"
        } else {
            ""
        };
        if !why.is_empty() {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            // Past the harness, which keeps what a test prints to itself.
            std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes()).unwrap();
            return None;
        }
        // Where its unprivileged half is locked in; the package's service makes it, and no service runs here.
        std::fs::create_dir_all("/run/sshd").unwrap();
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        for key in ["host", "client"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", path(&at(key))]));
        }
        std::fs::copy(at("client.pub"), at("authorized")).unwrap();
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nPidFile none\n",
            path(&at("host")),
            path(&at("authorized"))
        );
        std::fs::write(at("config"), config).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = at("config");
        // As inetd has it: a server for every connection. The thread ends with the test.
        std::thread::spawn(move || {
            for line in listener.incoming().map_while(Result::ok) {
                let (input, output) = (OwnedFd::from(line.try_clone().unwrap()), OwnedFd::from(line));
                let server = Command::new(SSHD)
                    .args(["-i", "-e", "-f", path(&config)])
                    .stdin(Stdio::from(input))
                    .stdout(Stdio::from(output))
                    .stderr(Stdio::null())
                    .spawn();
                std::thread::spawn(move || server.map(|mut server| server.wait()));
            }
        });
        Some(Self { folder, port })
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("client")
    }

    /// The console on a node, over the line.
    fn attach(&self, data_dir: &Path) -> Pty {
        let remote = format!("env LC_ALL=C.UTF-8 {PROGRAM} attach --data-dir {}", path(data_dir));
        let (port, key) = (self.port.to_string(), self.key());
        let args = [
            "-tt",
            "-F",
            "none",
            "-i",
            path(&key),
            "-p",
            &port,
            "-l",
            "root",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "EscapeChar=none",
            "127.0.0.1",
            &remote,
        ];
        Pty::run("ssh", &args, BIG, self.folder.path(), &[])
    }
}

#[test]
fn a_line_that_drops_ends_the_console_and_not_the_node_and_one_can_come_back() {
    let Some(server) = Server::start() else { return };
    let mut node = Node::start("alder", &[]);
    let data_dir = node.data_dir.path().to_owned();
    let consoles = || {
        let with: Vec<u32> = processes_with(path(&data_dir));
        let attached = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(PROGRAM.as_bytes()) && crate::pty::contains(&line, b"attach")
        };
        with.into_iter().filter(attached).collect::<Vec<u32>>()
    };
    let mut line = server.attach(&data_dir);
    line.until_shows("alder");
    assert_eq!(consoles().len(), 1);
    line.keys("2");
    line.until_shows("In no guild.");
    line.resize(80, 24);
    line.until_shows("2 Guilds");

    // The line drops: the client is gone from one moment to the next.
    kill_process(Pid::from_raw(line.pid().cast_signed()).unwrap(), Signal::KILL).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !consoles().is_empty() {
        assert!(Instant::now() < deadline, "the console goes on without its line");
        std::thread::yield_now();
    }
    assert!(node.lives(), "the node ended with the line");
    // Nothing is left of the console, and what is left rests: neither the node nor one of its runners goes round in circles.
    let root = node.process.process.id();
    let deadline = Instant::now() + PATIENCE;
    while processes_with(path(&data_dir)) != [root] {
        assert!(Instant::now() < deadline, "more is left than the node");
        std::thread::yield_now();
    }
    let all: Vec<u32> = children(root).into_iter().map(|(pid, _)| pid).chain([root]).collect();
    let cpu = || all.iter().filter_map(|pid| stat(*pid)).map(|stat| stat.cpu).sum::<u64>();
    let mut again = server.attach(&data_dir);
    again.until_shows("alder");
    // By the clock of the other console. What goes round in circles takes a hundred in a second.
    let (before, since) = (cpu(), Instant::now());
    for _ in 0..3 {
        let clock = |line: &Pty| {
            line.text()
                .lines()
                .next()
                .and_then(|header| header.trim_end().rsplit(' ').next())
                .map(str::to_owned)
        };
        let shown = clock(&again);
        again.until("the clock goes on", |again| clock(again) != shown);
    }
    let (burnt, passed) = (cpu().saturating_sub(before), since.elapsed().as_millis() / 10);
    assert!(u128::from(burnt) < passed / 4, "{burnt} of {passed} hundredths of a second, with nothing to do");
    again.keys("q");
    assert_eq!(again.ended(), 0);
    assert_eq!(consoles(), Vec::<u32>::new());
    assert!(node.lives());
}
