//! Runs WebAssembly. The only user of wasmtime.
//!
//! Strangers' code, and its compilation, never happens in the node's own process. [`Runners`] is a pool of warm child
//! processes with everything taken away, each of which runs many [`Job`]s, every job in a fresh instance; modules are
//! compiled in one-shot children with limits of their own.
//!
//! ```text
//!   node                                   │  children of the same program
//!                                          │
//!            ┌─ module ──► compile ────────┼─► compiler: limits ► lock ► read ► compile ► answer ► end
//!   Job ──► pool                           │        │ code (a file)
//!            └─ queue ──► order ───────────┼─► runner: limits ► engine ► lock ► load ► run ► run ► run …
//!   Outcome ◄── words, checked ◄───────────┼──────────────────────────────── meter, clock, fuel ──┘
//! ```
//!
//! What a guest can observe is fixed by the job: clocks stand still and random bytes come from the
//! seed unless the job allows otherwise, NaNs are canonical, there is no file system, network or
//! environment. The same job gives the same outcome anywhere the [`environment`] is the same.
//!
//! ```no_run
//! # async fn example() -> Result<(), zerostate::execution::ExecutionError> {
//! use zerostate::execution::{Job, Runners, RunnersConfig};
//!
//! let runners = Runners::new(RunnersConfig::default())?;
//! let module = std::fs::read("hello.wasm").unwrap_or_default();
//! let outcome = runners.run(Job::new(module), None, Default::default()).await?;
//! assert_eq!(outcome.exit_code, Some(0));
//! # Ok(())
//! # }
//! ```

mod budget;
mod compiler;
mod engine;
mod jail;
mod job;
mod pool;
mod runner;
mod wire;

pub use compiler::compile_one;
pub use engine::environment;
pub use job::{
    CompileLimits, DEFAULT_OUTPUT_BYTES, Job, Limits, MAX_ARGS_BYTES, MAX_MODULE_BYTES, MAX_OUTPUT_BYTES,
    MAX_STDIN_BYTES, Module, ModuleSource, OUTPUT_TOLD, Outcome, Phase, Priority, Progress,
};
pub use pool::{Load, Program, Runners, RunnersConfig};
pub use runner::serve;
pub use wire::Protections;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Why a job has no outcome. Everything a guest can do, down to killing its runner, is an outcome;
/// these are the faults of this side, and what it does not take on.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    /// A child could not be started.
    #[error("starting {program}: {source}; check that the program is still there and may be executed")]
    Spawn { program: PathBuf, source: std::io::Error },
    /// The thread that starts children could not be started, or has ended.
    #[error("child processes cannot be started: {0}; restart the node")]
    Launcher(String),
    /// Runners end before they take a job.
    #[error("no runner stays alive: {0}; `zerostate doctor` may say why")]
    NoRunner(String),
    /// The module, or its code, could not be read or written on this machine.
    #[error("the module cannot be used here: {0}")]
    Module(std::io::Error),
    /// Part of the job is beyond what a runner accepts.
    #[error("the job's {what} is {size} bytes, at most {limit} are accepted")]
    JobTooLarge { what: &'static str, size: u64, limit: u64 },
    /// A limit of the job is beyond what this node gives to anybody.
    #[error(
        "limits.{what}: {asked} {unit} were asked for, this node gives at most {most} (execution.max_{what})"
    )]
    BeyondNode { what: &'static str, asked: u64, most: u64, unit: &'static str },
    /// It may take more memory than all guests together have.
    #[error(
        "the job may take {asked} bytes in all (memory, stack, input and outputs), and all guests of this node together have {most} (execution.memory)"
    )]
    BeyondGuests { asked: u64, most: u64 },
    /// As many jobs wait as may, or as many of one requester as may when there are many.
    #[error(
        "busy: {waiting} jobs wait, which is the limit, and {running} run; {memory_free} of {memory_bytes} bytes of memory are free; try again later"
    )]
    Busy { waiting: usize, running: usize, memory_free: u64, memory_bytes: u64 },
    /// The job was cancelled.
    #[error("the run was cancelled")]
    Cancelled,
}

/// The end of a child: its last words go to stderr, which is a pipe to the node.
fn exit_code(worked: std::io::Result<()>) -> ExitCode {
    match worked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => ExitCode::SUCCESS,
        // If even that fails, the exit code says it.
        Err(error) => match writeln!(std::io::stderr(), "{error}") {
            Ok(()) | Err(_) => ExitCode::FAILURE,
        },
    }
}
