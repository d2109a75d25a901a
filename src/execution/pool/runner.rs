//! The books of one runner: what has been loaded into it, what it has to do, and whether it can take more.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::super::budget::RUNNER_CPU;
use super::super::runner::{COMPUTING, COMPUTING_MOST};
use super::super::wire::{Beat, Order, Task, Word, write_frame};
use super::super::{ExecutionError, Job, Priority};
use super::cache::Code;
use super::process::Process;
use crate::document::Sha256Digest;

/// Instances at once in one runner.
pub(super) const SLOTS: u32 = 1_000;
/// Jobs sent to a runner ahead of their turn: enough that it never waits for the next one.
const AHEAD: usize = 64;
/// The same for a runner in which a guest computes for long: short ones still pass it by.
const AHEAD_OF_ONE: usize = 8;
/// Codes that a runner keeps loaded.
const LOADED: usize = 256;
/// And so much of it, bytes. That of components is in memory of the runner's own.
const LOADED_BYTES: u64 = 512 << 20;
/// A runner is replaced after so many jobs, however well it does.
const JOBS: u64 = 10_000_000;
/// And after so long: well before its processor time can be used up, with room for the longest of its jobs.
const LIFE: Duration = Duration::from_secs(RUNNER_CPU.as_secs() / 2);
/// One that ends so soon is not replaced at once.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// A runner starts in milliseconds, on a machine with much else to do.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Code is loaded for an engine, and an engine is for a stack limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CodeKey {
    module: Sha256Digest,
    stack_bytes: u64,
}

struct Loaded {
    key: CodeKey,
    number: u32,
    bytes: u64,
    /// Which of the codes of its module it is.
    code: Weak<Code>,
}

pub(super) struct Runner {
    process: Process,
    started: Instant,
    heard_at: Instant,
    ready: bool,
    /// No more jobs for it; it goes when it has none left.
    retired: bool,
    /// It had no room for a job, and none of those that were in it has left since.
    full: bool,
    /// Loaded codes, the latest used last.
    loaded: Vec<Loaded>,
    next_code: u32,
    jobs: u64,
    /// Jobs in it: short or not begun, computing for long, asleep.
    short: usize,
    long: usize,
    asleep: usize,
    /// Orders of this round.
    out: Vec<u8>,
}

impl Runner {
    pub(super) fn new(process: Process) -> Self {
        let now = Instant::now();
        Self {
            process,
            started: now,
            heard_at: now,
            ready: false,
            retired: false,
            full: false,
            loaded: Vec::new(),
            next_code: 0,
            jobs: 0,
            short: 0,
            long: 0,
            asleep: 0,
            out: Vec::new(),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether it has come to an end as soon as it had begun, with nothing to do.
    pub(super) fn was_short(&self, now: Instant) -> bool {
        self.jobs == 0 && now.saturating_duration_since(self.started) < SHORT_LIFE
    }

    /// Jobs of which something has been heard.
    pub(super) fn seen(&self) -> usize {
        self.long.saturating_add(self.asleep)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired
    }

    /// Nothing is left for it to do.
    pub(super) fn is_empty(&self) -> bool {
        self.short == 0 && self.long == 0 && self.asleep == 0
    }

    /// When it last said anything, or was last given something after it had nothing.
    pub(super) fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// It should have said by now that it is ready.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        !self.ready && now.saturating_duration_since(self.heard_at) > READY_WITHIN
    }

    /// How many more jobs it takes now.
    pub(super) fn room(&self) -> usize {
        let ahead = match self.long {
            0 => AHEAD,
            COMPUTING.. => 0,
            _ => AHEAD_OF_ONE,
        };
        self.room_of(ahead)
    }

    /// How many it takes beside guests that compute for long; the last place is for those who sit and wait.
    pub(super) fn room_beside(&self, priority: Priority) -> usize {
        let kept = usize::from(priority != Priority::Interactive);
        self.room_of(COMPUTING_MOST.saturating_sub(kept).saturating_sub(self.long))
    }

    fn room_of(&self, ahead: usize) -> usize {
        let all = self.short.saturating_add(self.long).saturating_add(self.asleep);
        let slots = usize::try_from(SLOTS).unwrap_or(usize::MAX).saturating_sub(all);
        if self.ready && !self.retired && !self.full && self.process.has_room() {
            ahead.saturating_sub(self.short).min(slots)
        } else {
            0
        }
    }

    /// Notes that it has no room for one more, if there is anybody in it. False when there is nobody.
    pub(super) fn fill_up(&mut self) -> bool {
        self.full = !self.is_empty();
        self.full
    }

    pub(super) fn get_ready(&mut self) {
        self.ready = true;
    }

    pub(super) fn hear(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// Orders a job, with its code where the runner does not have it yet.
    ///
    /// # Errors
    /// When the job cannot be written down.
    pub(super) fn order(
        &mut self,
        number: u64,
        job: &Job,
        code: &Arc<Code>,
        beside: bool,
        now: Instant,
    ) -> Result<(), ExecutionError> {
        let key = CodeKey { module: job.module.digest(), stack_bytes: job.limits.stack_bytes };
        let code = self.load(key, code);
        let order = Order::Start { job: number, code, task: Box::new(Task::of(job)), beside };
        write_frame(&mut self.out, &order, &[&job.stdin]).map_err(ExecutionError::Module)?;
        self.short = self.short.saturating_add(1);
        self.jobs = self.jobs.saturating_add(1);
        self.retired |= self.jobs >= JOBS || now.saturating_duration_since(self.started) >= LIFE;
        if self.short == 1 {
            self.heard_at = self.heard_at.max(now);
        }
        Ok(())
    }

    /// Orders the end of a job.
    pub(super) fn cancel(&mut self, job: u64) {
        if let Err(error) = write_frame(&mut self.out, &Order::Cancel { job }, &[]) {
            tracing::error!(%error, "a run could not be cancelled");
        }
    }

    /// Sends the orders of this round, and hears what has come; true when there was any of it.
    pub(super) fn converse(&mut self, chunk: &mut [u8], words: &mut Vec<(Word, Vec<u8>)>) -> bool {
        self.pass_on();
        self.process.converse(chunk, words)
    }

    /// Sends the orders of this round.
    pub(super) fn send(&mut self) {
        self.pass_on();
        self.process.send_now();
    }

    /// See [`Process::poll_ready`].
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.process.poll_ready(context)
    }

    pub(super) fn unwatch(&mut self) {
        self.process.unwatch();
    }

    fn pass_on(&mut self) {
        if !self.out.is_empty() {
            self.process.order(std::mem::take(&mut self.out));
        }
    }

    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    /// A job is otherwise than it was.
    pub(super) fn recount(&mut self, before: Option<&Beat>, after: &Beat) {
        let count = self.counter(before);
        *count = count.saturating_sub(1);
        let count = self.counter(Some(after));
        *count = count.saturating_add(1);
    }

    /// A job has left.
    pub(super) fn discount(&mut self, last: Option<&Beat>) {
        let count = self.counter(last);
        *count = count.saturating_sub(1);
        self.full = false;
    }

    fn counter(&mut self, beat: Option<&Beat>) -> &mut usize {
        match beat {
            None => &mut self.short,
            Some(beat) if beat.asleep => &mut self.asleep,
            Some(_) => &mut self.long,
        }
    }

    /// Strikes out code that it could not load, and gives the module it was of.
    pub(super) fn not_loaded(&mut self, code: u32) -> Option<(Sha256Digest, Weak<Code>)> {
        let at = self.loaded.iter().position(|loaded| loaded.number == code)?;
        let Loaded { key, code, .. } = self.loaded.remove(at);
        Some((key.module, code))
    }

    /// The number of some code in this runner, which is told to load it if it has not.
    fn load(&mut self, key: CodeKey, code: &Arc<Code>) -> u32 {
        if let Some(at) = self.loaded.iter().rposition(|loaded| loaded.key == key) {
            let number = self.loaded.get(at).map_or(0, |loaded| loaded.number);
            // What is used often stays near the end without being moved each time.
            if at < self.loaded.len() / 2 {
                let entry = self.loaded.remove(at);
                self.loaded.push(entry);
            }
            return number;
        }
        let number = self.next_code;
        self.next_code = self.next_code.wrapping_add(1);
        self.loaded.push(Loaded { key, number, bytes: code.bytes, code: Arc::downgrade(code) });
        self.unload();
        // Code goes with a message of its own; what was ordered before stays before it.
        self.pass_on();
        let (mut frame, stack_bytes) = (Vec::new(), key.stack_bytes);
        match write_frame(&mut frame, &Order::Load { code: number, kind: code.kind, stack_bytes }, &[]) {
            Ok(()) => self.process.order_with(frame, Arc::clone(code)),
            Err(error) => tracing::error!(%error, "code could not be loaded"),
        }
        number
    }

    /// Orders out what was not used for longest until the rest is within bounds.
    fn unload(&mut self) {
        let bytes = |loaded: &[Loaded]| loaded.iter().map(|code| code.bytes).fold(0, u64::saturating_add);
        while self.loaded.len() > LOADED || (self.loaded.len() > 1 && bytes(&self.loaded) > LOADED_BYTES) {
            let oldest = self.loaded.remove(0).number;
            if let Err(error) = write_frame(&mut self.out, &Order::Unload { code: oldest }, &[]) {
                tracing::error!(%error, "code could not be unloaded");
            }
        }
    }
}
