//! One job between the moment it comes and its outcome.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::budget::{guest_data, silence};
use super::super::compiler::shown_error;
use super::super::engine::environment;
use super::super::wire::{Beat, Report};
use super::super::{ExecutionError, Job, OUTPUT_TOLD, Outcome, Phase, Priority, Progress};
use crate::document::Status;

/// What a clock on either side may be off by.
const SHORTEST: Duration = Duration::from_millis(1);

/// A job that has come and not ended.
pub(super) struct Work {
    pub(super) job: Box<Job>,
    pub(super) teller: Teller,
    pub(super) cancel: CancellationToken,
    pub(super) answer: oneshot::Sender<Result<Outcome, ExecutionError>>,
    /// Runners that have died with it, or had no room for it when nobody else was in them.
    pub(super) attempts: u8,
    /// It had its turn already, and only its code was missing.
    pub(super) had_its_turn: bool,
}

impl Work {
    pub(super) fn new(
        job: Box<Job>,
        progress: Option<watch::Sender<Progress>>,
        cancel: CancellationToken,
        answer: oneshot::Sender<Result<Outcome, ExecutionError>>,
    ) -> Self {
        Self { job, teller: Teller(progress), cancel, answer, attempts: 0, had_its_turn: false }
    }

    pub(super) fn is_unwanted(&self) -> bool {
        self.cancel.is_cancelled() || self.answer.is_closed()
    }

    pub(super) fn requester(&self) -> (Priority, String) {
        (self.job.priority, self.job.requester.clone())
    }

    /// What of the guests' memory it may take.
    pub(super) fn memory(&self) -> u64 {
        guest_data(&self.job.limits, self.job.stdin.len())
    }

    pub(super) fn end(self, outcome: Result<Outcome, ExecutionError>) {
        if self.answer.send(outcome).is_err() {
            tracing::trace!("nobody waits for this run any more");
        }
    }

    /// Ends it with what a runner, or this side for one, reports; `elapsed` has passed here meanwhile. See [`outcome`].
    pub(super) fn report(self, report: Report, output: Vec<u8>, stdout: u32, elapsed: Duration) {
        let outcome = outcome(&self.job, report, output, stdout, elapsed);
        self.end(Ok(outcome));
    }

    /// Ends it with a report about a run that did not come to run, or to an end of its own.
    pub(super) fn not_run(self, status: Status, why: String) {
        self.report(Report::not_run(status, why), Vec::new(), 0, Duration::ZERO);
    }
}

/// A job in a runner.
pub(super) struct Dispatched {
    pub(super) work: Work,
    pub(super) runner: u64,
    pub(super) sent: Instant,
    /// When it began and how it was last. None: it has not been heard of, so it is short or has not begun.
    pub(super) seen: Option<(Instant, Beat)>,
    pub(super) cancelled: bool,
    /// It was let in beside guests that compute for long.
    pub(super) beside: bool,
}

impl Dispatched {
    /// When its time is over; the runner may then still be busy with somebody else for as long as it may be silent.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let (began, _) = self.seen.as_ref()?;
        began.checked_add(self.work.job.limits.time)
    }

    /// How long its runner may be silent on its account.
    pub(super) fn silence(&self) -> Duration {
        silence(&self.work.job.limits)
    }

    /// Whether it is known to compute for long.
    pub(super) fn is_long(&self) -> bool {
        self.beat().is_some_and(|beat| !beat.asleep)
    }

    pub(super) fn beat(&self) -> Option<&Beat> {
        self.seen.as_ref().map(|(_, beat)| beat)
    }

    /// For how long it can have run, as far as is known here.
    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        let began = self.seen.as_ref().map_or(self.sent, |(began, _)| *began);
        now.saturating_duration_since(began)
    }

    /// Takes in how it is, and tells whoever asked.
    pub(super) fn hear(&mut self, mut beat: Beat, now: Instant) {
        beat.output.truncate(OUTPUT_TOLD);
        // The first word says when it began; no later one turns its clock back.
        let began = now.checked_sub(beat.elapsed).unwrap_or(now).max(self.sent);
        let began = self.seen.as_ref().map_or(began, |(began, _)| *began);
        self.work.teller.beat(&beat);
        self.seen = Some((began, beat));
    }
}

/// Numbers from a runner hold only as far as they can be true.
fn outcome(job: &Job, mut report: Report, output: Vec<u8>, stdout: u32, elapsed: Duration) -> Outcome {
    let limits = &job.limits;
    report.fuel_used = report.fuel_used.min(limits.fuel);
    report.peak_memory_bytes = report.peak_memory_bytes.min(limits.memory_bytes);
    report.duration = report.duration.min(limits.time).min(elapsed.max(SHORTEST));
    // Receipts allow no error beside `ok`.
    report.error = report.error.filter(|_| report.status != Status::Ok).map(|error| shown_error(&error));
    let mut stdout_bytes = output;
    let most = usize::try_from(limits.output_bytes).unwrap_or(usize::MAX);
    let split = usize::try_from(stdout).unwrap_or(usize::MAX).min(stdout_bytes.len());
    let mut stderr_bytes = stdout_bytes.split_off(split);
    stdout_bytes.truncate(most);
    stderr_bytes.truncate(most);
    let finished_at = jiff::Timestamp::now();
    // By the same clock as the duration, which a step of the wall clock in between does not bend.
    let started_at = finished_at.checked_sub(report.duration).unwrap_or(finished_at);
    Outcome {
        status: report.status,
        exit_code: report.exit_code,
        error: report.error,
        stdout: stdout_bytes,
        stderr: stderr_bytes,
        fuel_used: report.fuel_used,
        peak_memory_bytes: report.peak_memory_bytes,
        started_at,
        finished_at,
        duration: report.duration,
        environment: environment(),
    }
}

/// Tells whoever asked where the job is.
pub(super) struct Teller(Option<watch::Sender<Progress>>);

impl Teller {
    pub(super) fn enter(&mut self, phase: Phase) {
        self.tell(Progress { phase, ..Progress::default() });
    }

    fn beat(&mut self, beat: &Beat) {
        self.tell(Progress {
            phase: Phase::Running,
            fuel_used: beat.fuel_used,
            memory_bytes: beat.memory_bytes,
            output_bytes: beat.output_bytes,
            elapsed: beat.elapsed,
            output: beat.output.clone(),
            told_at: None,
        });
    }

    fn tell(&self, progress: Progress) {
        if let Some(to) = &self.0 {
            to.send_replace(progress);
        }
    }
}
