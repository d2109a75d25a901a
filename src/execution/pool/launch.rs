//! Starts children.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::super::ExecutionError;

/// How much of a child's stderr is kept: the last words of a panic.
const LAST_WORDS_MAX: usize = 4 << 10;
/// Children that wait to be started.
const QUEUE: usize = 64;

/// A program and the words that make it a runner or a compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<OsString>,
}

/// A child with a socket to it.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) socket: UnixStream,
    /// Ends when its stderr does.
    pub(super) last_words: tokio::task::JoinHandle<String>,
}

#[derive(Debug)]
struct Request {
    command: Command,
    runtime: Handle,
    answer: oneshot::Sender<io::Result<Child>>,
}

/// Starts children from a thread that lives as long as the process. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Launcher(mpsc::Sender<Request>);

impl Launcher {
    pub(super) fn new() -> Result<Self, ExecutionError> {
        // A child dies with the *thread* that started it (PR_SET_PDEATHSIG), and tokio's threads come and go.
        let (sender, mut requests) = mpsc::channel::<Request>(QUEUE);
        std::thread::Builder::new()
            .name("launcher".into())
            .spawn(move || {
                while let Some(Request { mut command, runtime, answer }) = requests.blocking_recv() {
                    let _context = runtime.enter();
                    // An asker that went away drops the child here, which kills it.
                    if answer.send(command.spawn()).is_err() {
                        tracing::debug!("a child was started for nobody");
                    }
                }
            })
            .map_err(|error| ExecutionError::Launcher(error.to_string()))?;
        Ok(Self(sender))
    }

    /// Starts `program` with nothing of this process: no environment, no directory, its own process group. Its stdin is a
    /// socket to here, its stdout `stdout`.
    pub(super) async fn start(
        &self,
        program: &Program,
        stdout: Option<OwnedFd>,
    ) -> Result<Started, ExecutionError> {
        let failed = |source| ExecutionError::Spawn { program: program.path.clone(), source };
        let flags = SocketFlags::CLOEXEC;
        let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let (here, there) = pair.map_err(|error| failed(error.into()))?;
        rustix::io::ioctl_fionbio(here.as_fd(), true).map_err(|error| failed(error.into()))?;
        let socket = UnixStream::from_std(here.into()).map_err(failed)?;
        let mut command = Command::new(&program.path);
        command
            .args(&program.args)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(there))
            .stdout(stdout.map_or_else(Stdio::null, Stdio::from))
            .stderr(Stdio::piped())
            // An interrupt typed at the terminal is for this process to handle.
            .process_group(0)
            .kill_on_drop(true);
        let (answer, child) = oneshot::channel();
        let gone = |_| ExecutionError::Launcher("it has ended".to_owned());
        self.0.send(Request { command, runtime: Handle::current(), answer }).await.map_err(|_| gone(()))?;
        let mut child = child.await.map_err(|_| gone(()))?.map_err(failed)?;
        let Some(stderr) = child.stderr.take() else {
            return Err(failed(io::Error::other("its stderr is missing")));
        };
        Ok(Started { child, socket, last_words: tokio::spawn(tail_of(stderr)) })
    }
}

/// Reads to the end and keeps the last [`LAST_WORDS_MAX`] bytes.
async fn tail_of(mut from: impl AsyncRead + Unpin) -> String {
    let mut tail = Vec::new();
    let mut chunk = [0; 1024];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        tail.extend_from_slice(chunk.get(..length).unwrap_or_default());
        let surplus = tail.len().saturating_sub(LAST_WORDS_MAX);
        tail.drain(..surplus);
    }
    String::from_utf8_lossy(&tail).into_owned()
}

/// The line of a dead child's last words that says most.
pub(super) fn telling_line(last_words: &str) -> Option<&str> {
    last_words.lines().rev().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("note:"))
}
