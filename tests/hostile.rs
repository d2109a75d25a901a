//! Strangers' modules at their worst, against real runners: each ends as the table beside it says, and nothing of
//! it stays behind.
//!
//! [`corpus`] is the table, one submodule for each way to do harm; [`residue`] looks at what the node's process is
//! left with afterwards; [`canary`] lets a guest search for what it must not find; [`same_bytes`] shows that what
//! is attested repeats.

mod alone;
mod canary;
mod compile_bombs;
mod corpus;
mod endless;
mod features;
mod guest;
mod malformed;
mod memory;
mod probes;
mod residue;
mod same_bytes;
mod traps;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zerostate::document::Status;
use zerostate::execution::{
    CompileLimits, ExecutionError, Job, Outcome, Phase, Progress, Runners, RunnersConfig,
};

use crate::support::{HELLO, PROGRAM};
use corpus::{Entry, corpus};

/// Jobs given to the runners at once.
const AT_ONCE: usize = 4;

/// Runner processes of their own.
fn runners() -> Runners {
    // Several tests compile bombs at the same time: half of what a node would give them is enough to see them go off.
    let compile = CompileLimits { data_bytes: 512 << 20, ..CompileLimits::default() };
    Runners::new(RunnersConfig { compile, ..RunnersConfig::of_program(PROGRAM) }).unwrap()
}

/// A job's outcome; that there is one at all is the first thing every test here asserts.
async fn run(runners: &Runners, job: Job) -> Outcome {
    runners.run(job, None, CancellationToken::new()).await.expect("whatever a guest does is an outcome")
}

/// Looks while the job's guest runs, then ends it.
async fn while_running(runners: &Runners, job: Job, look: impl FnOnce()) {
    let (told, mut progress) = watch::channel(Progress::default());
    let cancel = CancellationToken::new();
    let run = tokio::spawn({
        let (runners, cancel) = (runners.clone(), cancel.clone());
        async move { runners.run(job, Some(told), cancel).await }
    });
    progress.wait_for(|progress| progress.phase == Phase::Running).await.expect("it comes to run");
    look();
    cancel.cancel();
    assert!(matches!(run.await.unwrap(), Err(ExecutionError::Cancelled)));
}

/// The job every node must still be able to do.
fn harmless() -> Job {
    let mut job = Job::new(HELLO);
    job.args = vec!["there".into()];
    job
}

/// None when the harmless job ended well, otherwise how it ended.
fn harmed(outcome: &Outcome) -> Option<String> {
    let well = outcome.status == Status::Ok && outcome.exit_code == Some(0);
    (!well).then(|| format!("the harmless job: {} {:?}", outcome.status, outcome.error))
}

#[tokio::test]
async fn every_hostile_module_ends_as_the_table_says() {
    let entries = corpus();
    assert!(entries.len() >= 45, "{} entries", entries.len());
    let mismatches = corpus::run_all(&runners(), &entries, Entry::job).await;
    assert!(
        mismatches.is_empty(),
        "{} of {} ended otherwise:\n{}",
        mismatches.len(),
        entries.len(),
        mismatches.join("\n")
    );
}
