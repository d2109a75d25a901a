//! One job in its runner, as the parent sees it: what is told, how long is waited, and what a silence means.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::BufReader;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::budget::{Budget, HAND_OVER};
use super::engine::environment;
use super::guest::{Report, time_is_up};
use super::module::shown_error;
use super::wire::{Header, MAX_MESSAGE_BYTES, Message, receive_frame, receive_json, send_frame};
use super::{Job, Outcome, Phase, Progress};
use crate::document::Status;

/// Tells whoever asked where the job is.
pub(super) struct Teller {
    to: Option<watch::Sender<Progress>>,
    phase: Phase,
    since: Instant,
    last: Progress,
}

impl Teller {
    pub(super) fn new(to: Option<watch::Sender<Progress>>) -> Self {
        let mut teller = Self { to, phase: Phase::Queued, since: Instant::now(), last: Progress::default() };
        teller.enter(Phase::Queued);
        teller
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
        self.tell(0, 0);
    }

    fn tell(&mut self, fuel_used: u64, memory_bytes: u64) {
        self.last = Progress { phase: self.phase, fuel_used, memory_bytes, elapsed: self.since.elapsed() };
        if let Some(to) = &self.to {
            to.send_replace(self.last);
        }
    }
}

/// What a runner handed over.
pub(super) struct Done {
    pub(super) report: Report,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Why there is nothing from a runner.
pub(super) enum Ending {
    /// It closed its end: dead or dying.
    HungUp,
    /// It said something that no runner says.
    Nonsense(std::io::Error),
    Deadline,
}

impl From<std::io::Error> for Ending {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::Other => Self::Nonsense(error),
            _ => Self::HungUp,
        }
    }
}

/// One job in its runner.
pub(super) struct Watched<'a> {
    job: &'a Job,
    teller: Teller,
    /// When it began to run, if it did.
    started: Option<(Instant, jiff::Timestamp)>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(job: &'a Job, teller: Teller) -> Self {
        Self { job, teller, started: None }
    }

    /// Gives the job and hears what comes, within the deadlines.
    pub(super) async fn converse(&mut self, stdin: ChildStdin, stdout: ChildStdout) -> Result<Done, Ending> {
        let job = self.job;
        let give = async {
            // A runner that does not take its job is dead, and the other half of this sees it.
            if let Err(error) = give(stdin, job).await {
                tracing::debug!(%error, "the runner did not take its job");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            done = self.hear(BufReader::new(stdout)) => done,
            () = give => Err(Ending::HungUp),
        }
    }

    async fn hear(&mut self, mut from: BufReader<ChildStdout>) -> Result<Done, Ending> {
        let budget = budget_of(self.job);
        let mut deadline = Instant::now() + budget.compile_wall;
        loop {
            let message = timeout_at(deadline, receive_json::<Message>(&mut from, MAX_MESSAGE_BYTES));
            match message.await.map_err(|_| Ending::Deadline)?? {
                Message::Compiling => self.teller.enter(Phase::Compiling),
                Message::Running if self.started.is_none() => {
                    let now = Instant::now();
                    deadline = now.checked_add(budget.run_wall).unwrap_or(deadline);
                    self.started = Some((now, jiff::Timestamp::now()));
                    self.teller.enter(Phase::Running);
                }
                Message::Running => {
                    return Err(Ending::Nonsense(std::io::Error::other("it began to run twice")));
                }
                Message::Progress { fuel_used, memory_bytes } => self.teller.tell(fuel_used, memory_bytes),
                Message::Done(report) => {
                    let limit = self.job.limits.output_bytes;
                    let outputs = async {
                        let stdout = receive_frame(&mut from, limit).await?;
                        Ok::<_, std::io::Error>((stdout, receive_frame(&mut from, limit).await?))
                    };
                    let (stdout, stderr) =
                        timeout(HAND_OVER, outputs).await.map_err(|_| Ending::Deadline)??;
                    return Ok(Done { report, stdout, stderr });
                }
            }
        }
    }

    /// Numbers from a runner hold only as far as they can be true.
    pub(super) fn outcome(&self, mut report: Report, stdout: Vec<u8>, stderr: Vec<u8>) -> Outcome {
        let limits = &self.job.limits;
        let (elapsed, started_at) = match self.started {
            Some((started, at)) => (started.elapsed(), at),
            None => (Duration::ZERO, jiff::Timestamp::now()),
        };
        report.fuel_used = report.fuel_used.min(limits.fuel);
        report.peak_memory_bytes = report.peak_memory_bytes.min(limits.memory_bytes);
        report.duration = report.duration.min(elapsed).min(limits.time);
        // Receipts allow no error beside `ok`.
        report.error = report.error.filter(|_| report.status != Status::Ok).map(|error| shown_error(&error));
        outcome_of(report, stdout, stderr, started_at)
    }

    /// Makes a report of a runner's end without one.
    pub(super) fn explain(&self, ending: Ending, exit: Option<ExitStatus>, last_words: &str) -> Report {
        if !last_words.is_empty() {
            tracing::warn!(stderr = last_words, "a runner left words");
        }
        let signal = exit.and_then(|exit| exit.signal());
        let is = |expected: Signal| signal == Some(expected.as_raw());
        let budget = budget_of(self.job);
        let compiling = self.started.is_none();
        let (status, error) = match ending {
            Ending::Deadline if !compiling => (Status::Timeout, time_is_up(self.job.limits.time)),
            Ending::HungUp if !compiling && is(Signal::XCPU) => {
                (Status::Timeout, time_is_up(self.job.limits.time))
            }
            Ending::Deadline => (
                Status::InvalidModule,
                format!(
                    "the module cannot run: compiling it took more than {} s",
                    budget.compile_wall.as_secs()
                ),
            ),
            Ending::HungUp if compiling && is(Signal::XCPU) => (
                Status::InvalidModule,
                format!(
                    "the module cannot run: compiling it takes more than {} s of CPU time",
                    budget.compile_cpu.as_secs()
                ),
            ),
            // What Rust does when an allocation fails.
            Ending::HungUp if compiling && is(Signal::ABORT) => (
                Status::InvalidModule,
                format!(
                    "the module cannot run: compiling it takes more than {} MiB of memory",
                    budget.compile_data >> 20
                ),
            ),
            Ending::HungUp => {
                let phase = if compiling { "before it ran" } else { "while it ran" };
                let how = exit.map_or_else(|| "in an unknown way".to_string(), |exit| exit.to_string());
                let words = last_words
                    .lines()
                    .rev()
                    .find(|line| !line.trim().is_empty() && !line.starts_with("note:"));
                let words = words.map(|line| format!(": {}", line.trim())).unwrap_or_default();
                (Status::RunnerCrashed, format!("the runner ended {phase} ({how}){words}"))
            }
            Ending::Nonsense(error) => {
                (Status::RunnerCrashed, format!("the runner did not keep to the protocol: {error}"))
            }
        };
        let mut report = Report::not_run(status, error);
        report.peak_memory_bytes = self.teller.last.memory_bytes;
        report.duration = self.started.map(|(started, _)| started.elapsed()).unwrap_or_default();
        if status == Status::Timeout {
            // Billed time does not include how long it took to end the runner.
            report.duration = report.duration.min(self.job.limits.time);
        }
        report
    }
}

fn budget_of(job: &Job) -> Budget {
    let size_of = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Budget::new(size_of(&job.module), size_of(&job.stdin), &job.limits)
}

async fn give(mut to: ChildStdin, job: &Job) -> std::io::Result<()> {
    send_frame(&mut to, &serde_json::to_vec(&Header::of(job))?).await?;
    send_frame(&mut to, &job.module).await?;
    send_frame(&mut to, &job.stdin).await
}

/// An outcome of here and now.
pub(super) fn outcome_of(
    report: Report,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    started_at: jiff::Timestamp,
) -> Outcome {
    Outcome {
        status: report.status,
        exit_code: report.exit_code,
        error: report.error,
        stdout,
        stderr,
        fuel_used: report.fuel_used,
        peak_memory_bytes: report.peak_memory_bytes,
        started_at,
        // By the same clock as the duration, which a step of the wall clock in between does not bend.
        finished_at: started_at.checked_add(report.duration).unwrap_or(started_at),
        duration: report.duration,
        environment: environment(),
    }
}
