//! Warm runners, and who gets them.
//!
//! ```text
//!   run(Job) ──► Worker ── who is next? ── queue ── enough memory? a free runner?
//!                  │  │                                   │
//!                  │  └── modules ── cache ── compiler    ▼
//!   Outcome ◄──────┴──────────────── words ◄── runner, runner, … (one per core)
//! ```
//!
//! Nothing that a runner says is believed further than it can be true, and nothing it does not say is waited for longer
//! than its guest may take.

mod cache;
mod compile;
mod launch;
mod modules;
mod process;
mod queue;
mod round;
mod runner;
mod watchdog;
mod work;
mod worker;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::job::{MAX_ARGS_BYTES, MAX_STDIN_BYTES};
use super::{CompileLimits, ExecutionError, Job, Limits, Outcome, Progress, Protections};
pub use launch::Program;
use worker::{Command, Worker};

/// Commands that wait for the worker; more make the caller wait.
const COMMANDS: usize = 1024;
/// Of the machine's memory, the part that guests together may have.
const MEMORY_SHARE: u64 = 2;
/// The least they get, also on a tiny machine: one default guest and some room.
const MEMORY_LEAST: u64 = 256 << 20;

/// How runners are started and what they may use.
#[derive(Debug, Clone)]
pub struct RunnersConfig {
    /// Its `main` must call [`serve`](super::serve).
    pub runner: Program,
    /// Its `main` must call [`compile_one`](super::compile_one).
    pub compiler: Program,
    /// Runner processes; one per core.
    pub processes: NonZeroUsize,
    /// Whether to start them before there is anything to run.
    pub warm: bool,
    /// Jobs that may wait. One more is told that the node is busy.
    pub waiting: usize,
    /// Memory of all guests together, bytes.
    pub memory_bytes: u64,
    /// The most that a job may ask for.
    pub most: Limits,
    pub compile: CompileLimits,
    /// Where compiled code is kept, if it is.
    pub cache: Option<PathBuf>,
    pub cache_bytes: u64,
}

impl Default for RunnersConfig {
    /// This very program, as often as there are cores, on demand; half of the machine's memory; nothing kept.
    fn default() -> Self {
        Self::of_program("/proc/self/exe")
    }
}

impl RunnersConfig {
    /// The defaults, with children of this program. `/proc/self/exe` is still the same program when an upgrade has
    /// replaced the file meanwhile.
    pub fn of_program(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let program = |word: &str| Program { path: path.clone(), args: vec![word.into()] };
        Self {
            runner: program("runner"),
            compiler: program("compiler"),
            processes: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            warm: false,
            waiting: 10_000,
            memory_bytes: half_of_memory(),
            most: Limits {
                memory_bytes: 16 << 30,
                time: Duration::from_secs(3600),
                stack_bytes: 64 << 20,
                fuel: u64::MAX,
                output_bytes: super::job::MAX_OUTPUT_BYTES,
            },
            compile: CompileLimits::default(),
            cache: None,
            cache_bytes: 1 << 30,
        }
    }
}

fn half_of_memory() -> u64 {
    let info = rustix::system::sysinfo();
    let total = info.totalram.saturating_mul(info.mem_unit.into());
    (total / MEMORY_SHARE).max(MEMORY_LEAST)
}

/// What the pool does at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Load {
    /// Ids of the live runner processes.
    pub runners: Vec<u32>,
    pub running: usize,
    pub waiting: usize,
    /// Memory that running guests may take, of how much.
    pub memory_taken: u64,
    pub memory_bytes: u64,
    /// What keeps the runners in, once one has said so.
    pub protections: Option<Protections>,
}

/// Runs jobs in processes of their own. Cheap to clone; with the last clone the processes go.
#[derive(Debug, Clone)]
pub struct Runners {
    commands: mpsc::Sender<Command>,
    load: watch::Receiver<Load>,
    most: Limits,
}

impl Runners {
    /// Starts the pool. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the thread that starts children cannot be started.
    pub fn new(config: RunnersConfig) -> Result<Self, ExecutionError> {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (publisher, load) = watch::channel(Load::default());
        let most = config.most;
        let worker = Worker::new(config, publisher)?;
        tokio::spawn(worker.work(receiver));
        Ok(Self { commands, load, most })
    }

    /// Runs `job` to its outcome, whatever the guest does. `progress` hears of phases at once and of fuel, memory and
    /// output four times a second. Dropping the future ends the run.
    ///
    /// # Errors
    /// [`ExecutionError`]: only for faults of this side, for a job beyond this node's limits, and for a cancelled `cancel`.
    pub async fn run(
        &self,
        mut job: Job,
        progress: Option<watch::Sender<Progress>>,
        cancel: CancellationToken,
    ) -> Result<Outcome, ExecutionError> {
        refuse(&job, &self.most)?;
        job.limits = job.limits.possible();
        if let Some(progress) = &progress {
            progress.send_replace(Progress::default());
        }
        let (answer, mut outcome) = oneshot::channel();
        let stopped = || ExecutionError::Launcher("the pool has ended".to_owned());
        let run = Command::Run { job: Box::new(job), progress, cancel: cancel.clone(), answer };
        self.commands.send(run).await.map_err(|_| stopped())?;
        tokio::select! {
            biased;
            outcome = &mut outcome => outcome.map_err(|_| stopped())?,
            () = cancel.cancelled() => {
                // The worker finds the token pulled; there is nothing to wait for.
                self.commands.send(Command::Sweep).await.map_err(|_| stopped())?;
                Err(ExecutionError::Cancelled)
            }
        }
    }

    /// The most that a job may ask for here.
    pub fn most(&self) -> &Limits {
        &self.most
    }

    /// What the pool does at the moment, a few times a second.
    pub fn load(&self) -> watch::Receiver<Load> {
        self.load.clone()
    }
}

/// What can be said without a runner: some jobs are too large.
fn refuse(job: &Job, most: &Limits) -> Result<(), ExecutionError> {
    let size_of = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    // Each with an end of its own, or a million empty ones would be nothing.
    let args = job.args.iter().map(|arg| size_of(arg.len()).saturating_add(1)).fold(0, u64::saturating_add);
    for (what, size, limit) in [
        ("standard input", size_of(job.stdin.len()), MAX_STDIN_BYTES),
        ("arguments", args, MAX_ARGS_BYTES),
        ("function name", size_of(job.function.len()), MAX_ARGS_BYTES),
    ] {
        if size > limit {
            return Err(ExecutionError::JobTooLarge { what, size, limit });
        }
    }
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    for (what, unit, asked, most) in [
        ("memory", "bytes", job.limits.memory_bytes, most.memory_bytes),
        ("time", "ms", millis(job.limits.time), millis(most.time)),
        ("stack", "bytes", job.limits.stack_bytes, most.stack_bytes),
        ("fuel", "units", job.limits.fuel, most.fuel),
        ("output", "bytes", job.limits.output_bytes, most.output_bytes),
    ] {
        if asked > most {
            return Err(ExecutionError::BeyondNode { what, asked, most, unit });
        }
    }
    Ok(())
}
