//! What is asked of a runner and what comes back: plain values.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::document::{Environment, Sha256Digest, Status};

/// Largest module taken, in bytes: 64 MiB holds a Python interpreter with its library twice over.
pub const MAX_MODULE_BYTES: u64 = 64 << 20;
/// Largest standard input, in bytes.
pub const MAX_STDIN_BYTES: u64 = 64 << 20;
/// Largest sum of all arguments, each with a byte for its end; an envelope (64 KiB) cannot carry more.
pub const MAX_ARGS_BYTES: u64 = 64 << 10;

/// Each output of a job that asks for no other limit, in bytes.
pub const DEFAULT_OUTPUT_BYTES: u64 = 8 << 20;
/// Largest of each output, in bytes: parent and child both hold them whole.
pub const MAX_OUTPUT_BYTES: u64 = 64 << 20;
/// Stack of a job that asks for no other.
pub(super) const DEFAULT_STACK_BYTES: u64 = 1 << 20;
/// Bounds of the WebAssembly stack, bytes: below, nothing runs; above, it is memory by another name.
const MIN_STACK_BYTES: u64 = 64 << 10;
const MAX_STACK_BYTES: u64 = 64 << 20;

/// A program: its digest, and where its bytes are for the case that it has to be compiled.
#[derive(Debug, Clone)]
pub struct Module {
    digest: Sha256Digest,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Bytes(Arc<[u8]>),
    Elsewhere(Arc<dyn ModuleSource>),
}

/// Where the bytes of a module are that is not in memory.
pub trait ModuleSource: fmt::Debug + Send + Sync {
    /// Reads them. May block.
    ///
    /// # Errors
    /// Of the kind [`io::ErrorKind::InvalidData`] or [`io::ErrorKind::NotFound`] when they are damaged or gone.
    fn read(&self) -> io::Result<Vec<u8>>;
}

impl Module {
    /// A module that is here as a whole.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self { digest: Sha256Digest::of(&bytes), source: Source::Bytes(bytes) }
    }

    /// A module that is read (and checked against the digest) only when it has to be compiled.
    pub fn stored(digest: Sha256Digest, source: Arc<dyn ModuleSource>) -> Self {
        Self { digest, source: Source::Elsewhere(source) }
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// The bytes. Blocks while it reads.
    pub(super) fn bytes(&self) -> io::Result<Arc<[u8]>> {
        match &self.source {
            Source::Bytes(bytes) => Ok(Arc::clone(bytes)),
            Source::Elsewhere(source) => {
                let bytes = source.read()?;
                if Sha256Digest::of(&bytes) != self.digest {
                    let complaint = format!("the module does not have the digest {}", self.digest);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, complaint));
                }
                Ok(bytes.into())
            }
        }
    }
}

impl From<Vec<u8>> for Module {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<Arc<[u8]>> for Module {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::new(bytes)
    }
}

impl From<&[u8]> for Module {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

/// Whose work goes first when not everything can run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Somebody sits and waits.
    Interactive,
    /// A task that was submitted.
    #[default]
    Task,
    /// What the node does of itself: attesting by policy.
    Background,
}

/// A piece of work, complete in itself.
#[derive(Debug, Clone)]
pub struct Job {
    /// The binary module or component.
    pub module: Module,
    /// Who wants it. Those who want much do not keep the others waiting.
    pub requester: String,
    pub priority: Priority,
    /// The exported function to call: `_start` for a WASI command.
    pub function: String,
    /// For a command its arguments after the program name; for another function its parameters.
    pub args: Vec<String>,
    pub stdin: Vec<u8>,
    pub limits: Limits,
    /// Seed of what the guest gets as random bytes.
    pub seed: [u8; 32],
    /// Show the guest real clocks. The result then no longer repeats.
    pub wall_clock: bool,
    /// Give the guest real random bytes. The result then no longer repeats.
    pub random: bool,
}

impl Job {
    /// A command without arguments or input, deterministic, under the default limits.
    pub fn new(module: impl Into<Module>) -> Self {
        Self {
            module: module.into(),
            requester: String::new(),
            priority: Priority::default(),
            function: "_start".into(),
            args: Vec::new(),
            stdin: Vec::new(),
            limits: Limits::default(),
            seed: [0; 32],
            wall_clock: false,
            random: false,
        }
    }
}

/// What a guest may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Linear memory, bytes.
    pub memory_bytes: u64,
    /// Wall clock from instantiation to the end; compiling is not in it.
    pub time: Duration,
    /// The WebAssembly stack, bytes. Held between 64 KiB and 64 MiB.
    pub stack_bytes: u64,
    /// Fuel of the entry call; instantiation may burn as much again.
    pub fuel: u64,
    /// stdout and stderr, bytes each. Held to [`MAX_OUTPUT_BYTES`].
    pub output_bytes: u64,
}

impl Limits {
    /// What of these limits a runner can hold to.
    pub(super) fn possible(mut self) -> Self {
        self.stack_bytes = self.stack_bytes.clamp(MIN_STACK_BYTES, MAX_STACK_BYTES);
        self.output_bytes = self.output_bytes.min(MAX_OUTPUT_BYTES);
        self
    }
}

impl Default for Limits {
    /// 128 MiB, 30 s, 1 MiB of stack, 10^10 fuel, 8 MiB of output.
    fn default() -> Self {
        Self {
            memory_bytes: 128 << 20,
            time: Duration::from_secs(30),
            stack_bytes: DEFAULT_STACK_BYTES,
            fuel: 10_000_000_000,
            output_bytes: DEFAULT_OUTPUT_BYTES,
        }
    }
}

/// What compiling a module may take, and how large it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// CPU time for a small module; larger ones get more.
    pub cpu: Duration,
    /// Memory for a small module, bytes; likewise.
    pub data_bytes: u64,
    /// Size of a module, bytes. Held to [`MAX_MODULE_BYTES`].
    pub module_bytes: u64,
    /// Functions of a module.
    pub functions: u32,
}

impl Default for CompileLimits {
    /// 5 s, 1 GiB, 64 MiB; 100,000 functions, for programs of tens of megabytes have some 50,000.
    fn default() -> Self {
        Self {
            cpu: Duration::from_secs(5),
            data_bytes: 1 << 30,
            module_bytes: MAX_MODULE_BYTES,
            functions: 100_000,
        }
    }
}

/// What came of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub status: Status,
    /// What the guest gave to `proc_exit`, 0 when it simply returned; none when it did not end by itself.
    pub exit_code: Option<i32>,
    /// Why the status is not `ok`, in stable words.
    pub error: Option<String>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Fuel burnt by the entry call. 0 after `timeout` and `runner-crashed`, where no true number exists.
    pub fuel_used: u64,
    /// The most linear memory held at once, bytes.
    pub peak_memory_bytes: u64,
    pub started_at: jiff::Timestamp,
    pub finished_at: jiff::Timestamp,
    /// From instantiation to the end.
    pub duration: Duration,
    pub environment: Environment,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Waiting for a free runner.
    #[default]
    Queued,
    Compiling,
    Running,
}

/// Of a running job's stdout, so many bytes of its end are told: a screen full of text.
pub const OUTPUT_TOLD: usize = 2 << 10;

/// How far a job is; a few times a second while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    pub phase: Phase,
    /// Fuel so far, to within a few hundred thousand.
    pub fuel_used: u64,
    /// The most linear memory held so far, bytes.
    pub memory_bytes: u64,
    /// stdout and stderr so far, bytes.
    pub output_bytes: u64,
    /// Since the phase began.
    pub elapsed: Duration,
    /// The end of stdout so far, at most [`OUTPUT_TOLD`] bytes, as the guest wrote them.
    pub output: Vec<u8>,
    /// When another node told it; none of a job that runs here.
    pub told_at: Option<jiff::Timestamp>,
}
