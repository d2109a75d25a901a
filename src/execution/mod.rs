//! Runs WebAssembly. The only user of wasmtime.
//!
//! Strangers' code, and its compilation, never happens in the node's own process. A [`Runners`]
//! handle starts a child of the same program for each [`Job`], feeds it over pipes and turns
//! whatever comes back, including silence and death, into an [`Outcome`]:
//!
//! ```text
//!   node                                     │  child (`zerostate runner`)
//!                                            │
//!   Job ──► Runners ── header, module, stdin ┼─► rlimits ► compile ► instantiate ► entry call
//!              ▲                             │                 │                        │
//!   Outcome ◄──┴── phase, progress, outcome ─┼─────────────────┴── meter, clock, fuel ──┘
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
mod child;
mod deadline;
mod engine;
mod entry;
mod guest;
mod host;
mod job;
mod meter;
mod module;
mod runners;
mod stdio;
mod traps;
mod watched;
mod wire;

pub use child::serve;
pub use engine::environment;
pub use job::{
    Job, Limits, MAX_ARGS_BYTES, MAX_MODULE_BYTES, MAX_OUTPUT_BYTES, MAX_STDIN_BYTES, Outcome, Phase,
    Progress,
};
pub use runners::{Runners, RunnersConfig};

use std::path::PathBuf;

/// Why a job has no outcome. Everything a guest can do, down to killing its runner, is an outcome;
/// these are the faults of this side.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    /// The runner program could not be started.
    #[error(
        "starting a runner process from {program}: {source}; check that the program is still there and may be executed"
    )]
    Spawn { program: PathBuf, source: std::io::Error },
    /// The thread that starts runners could not be started, or has ended.
    #[error("the thread that starts runner processes is gone: {0}; restart the node")]
    Spawner(String),
    /// Part of the job is beyond what a runner accepts.
    #[error("the job's {what} is {size} bytes, at most {limit} are accepted")]
    JobTooLarge { what: &'static str, size: u64, limit: u64 },
    /// The job was cancelled; its runner has been killed.
    #[error("the run was cancelled")]
    Cancelled,
}
