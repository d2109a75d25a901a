//! The table of hostile modules: how each is made, what its job asks for, and how it must end.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use tokio::sync::Semaphore;
use zerostate::document::Status;
use zerostate::execution::{Job, Outcome, Runners};

use super::{
    AT_ONCE, compile_bombs, endless, features, harmed, harmless, malformed, memory, probes, run, traps,
};

/// Compiles that may take the jail's gigabyte, at once: two would be more than a test may take.
const HEAVY_AT_ONCE: usize = 1;
/// A harmless job is slipped in after so many hostile ones.
const HARMLESS_EVERY: usize = 5;
/// Output a hostile job may make; the flood is the same with less of it.
pub const OUTPUT_BYTES: u64 = 1 << 20;
/// Fuel for a guest that only fuel stops: a tenth of a second.
pub const LITTLE_FUEL: u64 = 100_000_000;

/// One hostile module.
pub struct Entry {
    pub name: &'static str,
    module: fn() -> Vec<u8>,
    change: fn(&mut Job),
    expected: Expected,
    heavy: bool,
}

/// How a module must end. What is not said here may be anything.
struct Expected {
    /// More than one only where a comment in the table says why.
    statuses: &'static [Status],
    /// Stands somewhere in the error; empty where the words are not ours.
    error: &'static str,
    exit_code: Option<i32>,
    stdout: Option<Vec<u8>>,
    peak_memory_bytes: Option<u64>,
}

impl Entry {
    /// A module that ends with one of these statuses, with `error` in its error.
    pub fn new(
        name: &'static str,
        module: fn() -> Vec<u8>,
        statuses: &'static [Status],
        error: &'static str,
    ) -> Self {
        let expected = Expected { statuses, error, exit_code: None, stdout: None, peak_memory_bytes: None };
        Self { name, module, change: |_| {}, expected, heavy: false }
    }

    /// A module that comes to its own end, with this exit code.
    pub fn exits(name: &'static str, module: fn() -> Vec<u8>, code: i32) -> Self {
        let mut entry = Self::new(name, module, &[Status::Ok], "");
        entry.expected.exit_code = Some(code);
        entry
    }

    /// A module that is refused before any of its code runs.
    pub fn refused(name: &'static str, module: fn() -> Vec<u8>, error: &'static str) -> Self {
        Self::new(name, module, &[Status::InvalidModule], error)
    }

    /// Changes the job.
    pub fn with(mut self, change: fn(&mut Job)) -> Self {
        self.change = change;
        self
    }

    /// The job has all the fuel there is, and little time.
    pub fn timed(self) -> Self {
        self.with(|job| (job.limits.fuel, job.limits.time) = (u64::MAX, Duration::from_millis(300)))
    }

    pub fn fuelled(self) -> Self {
        self.with(|job| job.limits.fuel = LITTLE_FUEL)
    }

    pub fn writes(mut self, stdout: impl Into<Vec<u8>>) -> Self {
        self.expected.stdout = Some(stdout.into());
        self
    }

    pub fn peaks(mut self, bytes: u64) -> Self {
        self.expected.peak_memory_bytes = Some(bytes);
        self
    }

    /// Compiling it takes much memory: not beside another like it.
    pub fn heavy(mut self) -> Self {
        self.heavy = true;
        self
    }

    /// Whether it is soon over.
    pub fn is_light(&self) -> bool {
        !self.heavy
    }

    pub fn module(&self) -> Vec<u8> {
        (self.module)()
    }

    pub fn statuses(&self) -> &'static [Status] {
        self.expected.statuses
    }

    pub fn job(&self) -> Job {
        let mut job = Job::new(self.module());
        job.limits.output_bytes = OUTPUT_BYTES;
        (self.change)(&mut job);
        job
    }

    /// How this outcome is not the expected one; None when it is.
    fn mismatch(&self, outcome: &Outcome) -> Option<String> {
        let Expected { statuses, error, exit_code, stdout, peak_memory_bytes } = &self.expected;
        let told = outcome.error.as_deref().unwrap_or_default();
        let mut wrong = Vec::new();
        if !statuses.contains(&outcome.status) {
            wrong.push(format!("ended {}, not {statuses:?}", outcome.status));
        } else if outcome.status != Status::Ok && !told.contains(error) {
            wrong.push(format!("should say {error:?}"));
        }
        if outcome.status != Status::Ok && told.is_empty() {
            wrong.push("says no reason".into());
        }
        if told.chars().any(char::is_control) {
            wrong.push("has control characters in its error".into());
        }
        if exit_code.is_some_and(|code| outcome.exit_code != Some(code)) {
            wrong.push(format!("exit code {:?}, not {exit_code:?}", outcome.exit_code));
        }
        if stdout.as_ref().is_some_and(|stdout| *stdout != outcome.stdout) {
            wrong.push(format!("wrote {}, not {}", hex(&outcome.stdout), hex(stdout.as_deref().unwrap())));
        }
        if peak_memory_bytes.is_some_and(|peak| outcome.peak_memory_bytes != peak) {
            wrong.push(format!("peak memory {}, not {peak_memory_bytes:?}", outcome.peak_memory_bytes));
        }
        let limits = self.job_limits();
        if outcome.stdout.len() as u64 > limits.output_bytes
            || outcome.stderr.len() as u64 > limits.output_bytes
        {
            wrong.push("wrote more than it may".into());
        }
        if outcome.peak_memory_bytes > limits.memory_bytes {
            wrong.push("held more memory than it may".into());
        }
        (!wrong.is_empty())
            .then(|| format!("{}: {} ({} {told:?})", self.name, wrong.join("; "), outcome.status))
    }

    fn job_limits(&self) -> zerostate::execution::Limits {
        let mut job = Job::new(Vec::new());
        job.limits.output_bytes = OUTPUT_BYTES;
        (self.change)(&mut job);
        job.limits
    }
}

/// The beginning of what was written, readable.
fn hex(bytes: &[u8]) -> String {
    let shown = bytes.get(..64).unwrap_or(bytes);
    format!("{} bytes {shown:02x?}", bytes.len())
}

/// All of them; what compiles longest comes first, so that nothing waits for it in the end.
pub fn corpus() -> Vec<Entry> {
    let entries: Vec<Entry> = [
        compile_bombs::entries(),
        endless::entries(),
        memory::entries(),
        traps::entries(),
        malformed::entries(),
        features::entries(),
        probes::entries(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let names: HashSet<&str> = entries.iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), entries.len(), "each entry has a name of its own");
    entries
}

/// Runs every entry, a few at once and harmless jobs among them; gives every end that was not the expected one.
pub async fn run_all(runners: &Runners, entries: &[Entry], job_of: impl Fn(&Entry) -> Job) -> Vec<String> {
    let heavy = Semaphore::new(HEAVY_AT_ONCE);
    let (heavy, job_of) = (&heavy, &job_of);
    stream::iter(entries.iter().enumerate())
        .map(|(at, entry)| async move {
            let turn = if entry.heavy { Some(heavy.acquire().await.unwrap()) } else { None };
            let job = job_of(entry);
            let began = Instant::now();
            let outcome = run(runners, job).await;
            drop(turn);
            // To be seen with --nocapture, or when the test fails.
            let (took, told) = (began.elapsed().as_millis(), outcome.error.as_deref().unwrap_or_default());
            println!("{took:>6} ms {:>16} {}: {told}", outcome.status.as_str(), entry.name);
            let mut wrong: Vec<String> = entry.mismatch(&outcome).into_iter().collect();
            if at % HARMLESS_EVERY == 0 {
                wrong.extend(harmed(&run(runners, harmless()).await));
            }
            wrong
        })
        .buffer_unordered(AT_ONCE)
        .concat()
        .await
}
