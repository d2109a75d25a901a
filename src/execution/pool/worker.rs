//! The worker: it owns the queue, the runners and every job in between.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::super::budget::{guest_data, must_end_within, runner_data, silence};
use super::super::compiler::shown_error;
use super::super::engine::{code_digest, environment};
use super::super::runner::guest::time_is_up;
use super::super::wire::{Beat, Order, Report, Setup, Task, Word, write_frame};
use super::super::{ExecutionError, Job, Outcome, Phase, Priority, Progress, Protections};
use super::cache::{Cache, Code};
use super::compile::{Compilers, Verdict};
use super::launch::{Launcher, Started};
use super::process::{Heard, Outgoing, Process};
use super::queue::Queue;
use super::{Load, RunnersConfig};
use crate::document::{Sha256Digest, Status};

/// Instances at once in one runner.
const SLOTS: u32 = 1_000;
/// Jobs sent to a runner ahead of their turn: enough that it never waits for the next one.
const AHEAD: usize = 64;
/// The same for a runner in which a guest computes for long: short ones still pass it by.
const AHEAD_OF_ONE: usize = 8;
/// Guests that compute for long in one runner.
const LONG: usize = 2;
/// Codes that a runner keeps loaded.
const LOADED: usize = 256;
/// Modules whose code (an open file each) or refusal is remembered.
const KNOWN: usize = 256;
/// Commands and words taken at once.
const BATCH: usize = 256;
/// Things heard that wait for the worker; runners wait when there are more.
const HEARD: usize = 256;
/// How often deadlines, and jobs that nobody waits for any more, are looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How often the load is told while there is work.
const PUBLISH: Duration = Duration::from_millis(100);
/// A runner to which something was sent, and that says nothing at all for so long, hangs.
const MUTE: Duration = Duration::from_secs(2);
/// A runner starts in milliseconds, on a machine with much else to do.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// A job that runners die of before they say a word about it is given to so many of them.
const ATTEMPTS: u8 = 2;
/// Runners that end before they are ready, one after the other: then nothing can run here.
const FALSE_STARTS: u32 = 3;
/// A runner is replaced after so many jobs, however well it does.
const JOBS_PER_RUNNER: u64 = 10_000_000;
/// A compiler for each core but one keeps the others free; two at the most, for each may take a gigabyte.
const COMPILERS: usize = 2;

pub(super) enum Command {
    Run {
        job: Box<Job>,
        progress: Option<watch::Sender<Progress>>,
        cancel: CancellationToken,
        answer: oneshot::Sender<Result<Outcome, ExecutionError>>,
    },
    /// Somebody cancelled.
    Sweep,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Run { .. } => "Run",
            Self::Sweep => "Sweep",
        })
    }
}

/// A job that has come and not ended.
struct Work {
    job: Box<Job>,
    teller: Teller,
    cancel: CancellationToken,
    answer: oneshot::Sender<Result<Outcome, ExecutionError>>,
    attempts: u8,
}

impl Work {
    fn is_unwanted(&self) -> bool {
        self.cancel.is_cancelled() || self.answer.is_closed()
    }

    fn requester(&self) -> (Priority, String) {
        (self.job.priority, self.job.requester.clone())
    }

    /// What of the guests' memory it may take.
    fn memory(&self) -> u64 {
        guest_data(&self.job.limits)
    }

    fn end(self, outcome: Result<Outcome, ExecutionError>) {
        if self.answer.send(outcome).is_err() {
            tracing::trace!("nobody waits for this run any more");
        }
    }
}

/// A job in a runner.
struct Dispatched {
    work: Work,
    runner: u64,
    sent: Instant,
    /// When it began and how it was last. None: it has not been heard of, so it is short or has not begun.
    seen: Option<(Instant, Beat)>,
    cancelled: bool,
}

impl Dispatched {
    /// When it counts as hung.
    fn must_have_ended(&self) -> Option<Instant> {
        let (began, _) = self.seen?;
        began.checked_add(must_end_within(&self.work.job.limits))
    }

    fn beat(&self) -> Option<&Beat> {
        self.seen.as_ref().map(|(_, beat)| beat)
    }

    /// For how long it has run, as far as is known here.
    fn elapsed(&self, now: Instant) -> Option<Duration> {
        self.seen.map(|(began, _)| now.saturating_duration_since(began))
    }
}

struct Runner {
    process: Process,
    pid: u32,
    ready: bool,
    /// No more jobs for it; it goes when it has none left.
    retired: bool,
    /// Numbers of loaded codes, the latest used last.
    loaded: Vec<(CodeKey, u32)>,
    next_code: u32,
    jobs: u64,
    /// Jobs in it: short or not begun, computing for long, asleep.
    short: usize,
    long: usize,
    asleep: usize,
    heard_at: Instant,
    /// Orders of this round.
    out: Vec<u8>,
}

impl Runner {
    fn room(&self) -> usize {
        let all = self.short.saturating_add(self.long).saturating_add(self.asleep);
        let slots = usize::try_from(SLOTS).unwrap_or(usize::MAX).saturating_sub(all);
        let ahead = match self.long {
            0 => AHEAD,
            LONG.. => 0,
            _ => AHEAD_OF_ONE,
        };
        if self.ready && !self.retired && self.process.has_room() {
            ahead.saturating_sub(self.short).min(slots)
        } else {
            0
        }
    }

    fn counter(&mut self, beat: Option<&Beat>) -> &mut usize {
        match beat {
            None => &mut self.short,
            Some(beat) if beat.asleep => &mut self.asleep,
            Some(_) => &mut self.long,
        }
    }

    fn is_empty(&self) -> bool {
        self.short == 0 && self.long == 0 && self.asleep == 0
    }
}

/// Code is loaded for an engine, and an engine is for a stack limit.
type CodeKey = (Sha256Digest, u64);

type Begun = (u64, Result<Started, ExecutionError>);

pub(super) struct Worker {
    config: RunnersConfig,
    launcher: Launcher,
    compilers: Arc<Compilers>,
    load: watch::Sender<Load>,
    protections: Option<Protections>,

    queue: Queue<Work>,
    /// By module, what waits for its code.
    compiling: HashMap<Sha256Digest, Vec<Work>>,
    compilations: JoinSet<(Sha256Digest, Result<Verdict, ExecutionError>)>,
    /// Modules whose code a runner could not use. It is compiled again once.
    distrusted: HashSet<Sha256Digest>,
    /// The latest used last.
    known: VecDeque<(Sha256Digest, Verdict)>,

    running: HashMap<u64, Dispatched>,
    next_job: u64,
    memory_taken: u64,

    runners: HashMap<u64, Runner>,
    starts: JoinSet<Begun>,
    next_runner: u64,
    false_starts: u32,
    to_hear: mpsc::Sender<(u64, Heard)>,
    heard: mpsc::Receiver<(u64, Heard)>,
    published: Instant,
}

impl Worker {
    pub(super) fn new(config: RunnersConfig, load: watch::Sender<Load>) -> Result<Self, ExecutionError> {
        let launcher = Launcher::new()?;
        let (to_hear, heard) = mpsc::channel(HEARD);
        let cache = config.cache.as_ref().and_then(|root| {
            let opened = Cache::open(root, code_digest(), config.cache_bytes);
            opened.map_err(|error| tracing::warn!(%error, "compiled code is not kept: no cache")).ok()
        });
        let at_once = config.processes.get().min(COMPILERS);
        let limits = (config.compile_cpu, config.compile_data_bytes);
        let compilers = Compilers::new(launcher.clone(), config.compiler.clone(), limits, cache, at_once);
        Ok(Self {
            config,
            launcher,
            compilers: Arc::new(compilers),
            load,
            protections: None,
            queue: Queue::default(),
            compiling: HashMap::new(),
            compilations: JoinSet::new(),
            distrusted: HashSet::new(),
            known: VecDeque::new(),
            running: HashMap::new(),
            next_job: 0,
            memory_taken: 0,
            runners: HashMap::new(),
            starts: JoinSet::new(),
            next_runner: 0,
            false_starts: 0,
            to_hear,
            heard,
            published: Instant::now(),
        })
    }

    pub(super) async fn work(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        if self.config.warm {
            self.start_runners(self.config.processes.get());
        }
        loop {
            let busy = self.has_work();
            tokio::select! {
                count = commands.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    batch.drain(..).for_each(|command| self.take(command));
                }
                Some((name, heard)) = self.heard.recv() => {
                    self.hear(name, heard);
                    while let Ok((name, heard)) = self.heard.try_recv() {
                        self.hear(name, heard);
                    }
                }
                Some(begun) = self.starts.join_next() => match begun {
                    Ok((name, begun)) => self.on_started(name, begun),
                    Err(error) => tracing::error!(%error, "starting a runner panicked"),
                },
                Some(compiled) = self.compilations.join_next() => match compiled {
                    Ok((module, verdict)) => self.on_compiled(module, verdict),
                    Err(error) => tracing::error!(%error, "a compilation panicked"),
                },
                _ = look.tick(), if busy => self.look(),
            }
            self.dispatch();
            if !self.has_work() || self.published.elapsed() >= PUBLISH {
                self.publish();
            }
        }
    }

    fn has_work(&self) -> bool {
        self.queue.len() > 0 || !self.running.is_empty() || !self.compiling.is_empty()
    }

    fn waiting(&self) -> usize {
        self.compiling.values().map(Vec::len).fold(self.queue.len(), usize::saturating_add)
    }

    fn take(&mut self, command: Command) {
        let Command::Run { job, progress, cancel, answer } = command else { return self.sweep() };
        let mut work = Work { job, teller: Teller::new(progress), cancel, answer, attempts: 0 };
        if self.waiting() >= self.config.waiting {
            let free = self.config.memory_bytes.saturating_sub(self.memory_taken);
            let busy = ExecutionError::Busy {
                waiting: self.waiting(),
                running: self.running.len(),
                memory_free: free,
                memory_bytes: self.config.memory_bytes,
            };
            return work.end(Err(busy));
        }
        if work.memory() > self.config.memory_bytes {
            let (asked, most) = (work.job.limits.memory_bytes, self.config.memory_bytes);
            return work.end(Err(ExecutionError::BeyondNode { what: "memory", asked, most, unit: "bytes" }));
        }
        let module = work.job.module.digest();
        match self.verdict(module) {
            Some(Verdict::Code(_)) => self.enqueue(work),
            Some(Verdict::Refused(status, why)) => refused(work, status, why),
            None => {
                work.teller.enter(Phase::Compiling);
                let known = self.compiling.contains_key(&module);
                let source = work.job.module.clone();
                self.compiling.entry(module).or_default().push(work);
                if !known {
                    let code = Arc::clone(&self.compilers).code(source);
                    self.compilations.spawn(async move { (module, code.await) });
                }
            }
        }
    }

    fn enqueue(&mut self, work: Work) {
        let (priority, requester) = work.requester();
        self.queue.push(priority, &requester, work);
    }

    fn verdict(&mut self, module: Sha256Digest) -> Option<Verdict> {
        let at = self.known.iter().rposition(|(known, _)| *known == module)?;
        // What is used often stays near the end without being moved each time.
        if at < self.known.len() / 2
            && let Some(entry) = self.known.remove(at)
        {
            self.known.push_back(entry);
            return self.known.back().map(|(_, verdict)| verdict.clone());
        }
        self.known.get(at).map(|(_, verdict)| verdict.clone())
    }

    fn on_compiled(&mut self, module: Sha256Digest, verdict: Result<Verdict, ExecutionError>) {
        let waiting = self.compiling.remove(&module).unwrap_or_default();
        match verdict {
            Ok(verdict) => {
                // What became of a compiler that crashed says nothing about the next time.
                if !matches!(verdict, Verdict::Refused(Status::RunnerCrashed, _)) {
                    self.known.push_back((module, verdict.clone()));
                    let surplus = self.known.len().saturating_sub(KNOWN);
                    self.known.drain(..surplus);
                }
                for mut work in waiting {
                    match &verdict {
                        Verdict::Code(_) => {
                            work.teller.enter(Phase::Queued);
                            self.enqueue(work);
                        }
                        Verdict::Refused(status, why) => refused(work, *status, why.clone()),
                    }
                }
            }
            Err(error) => {
                let said = error.to_string();
                let mut error = Some(error);
                for work in waiting {
                    let error = error.take().unwrap_or_else(|| ExecutionError::Launcher(said.clone()));
                    work.end(Err(error));
                }
            }
        }
    }

    /// Gives out what can be given out.
    fn dispatch(&mut self) {
        let free = self.config.memory_bytes.saturating_sub(self.memory_taken);
        let mut free = free;
        while self.queue.len() > 0 {
            let Some((name, _)) = self
                .runners
                .iter()
                .map(|(name, runner)| (*name, runner.room()))
                .filter(|(_, room)| *room > 0)
                .max_by_key(|(name, room)| (*room, std::cmp::Reverse(*name)))
            else {
                let wanted = self.config.processes.get();
                let alive = self.runners.values().filter(|runner| !runner.retired).count();
                let coming = alive.saturating_add(self.starts.len());
                // One at a time: the next only when this one is full.
                let settled = self.starts.is_empty() && self.runners.values().all(|runner| runner.ready);
                if coming < wanted && settled {
                    self.start_runners(1);
                }
                break;
            };
            let Some(work) = self.queue.pop_if(|work| work.memory() <= free) else { break };
            if work.is_unwanted() {
                work.end(Err(ExecutionError::Cancelled));
                continue;
            }
            free = free.saturating_sub(work.memory());
            self.send(name, work);
        }
        let idle: Vec<u64> = self
            .runners
            .iter()
            .filter(|(_, runner)| runner.retired && runner.is_empty())
            .map(|(name, _)| *name)
            .collect();
        idle.iter().for_each(|name| drop(self.runners.remove(name)));
        for runner in self.runners.values_mut().filter(|runner| !runner.out.is_empty()) {
            if !runner.process.send(Outgoing::Orders(std::mem::take(&mut runner.out))) {
                // It takes nothing any more: its jobs go elsewhere when it is gone.
                runner.process.kill();
            }
        }
    }

    fn send(&mut self, name: u64, work: Work) {
        let module = work.job.module.digest();
        let Some(Verdict::Code(code)) = self.verdict(module) else {
            // Forgotten meanwhile, because so many others came: it is in the cache.
            return self.take(Command::from(work));
        };
        let Some(runner) = self.runners.get_mut(&name) else { return self.enqueue(work) };
        let number = load(runner, (module, work.job.limits.stack_bytes), &code);
        let job = self.next_job;
        self.next_job = self.next_job.wrapping_add(1);
        let order = Order::Start { job, code: number, task: Box::new(Task::of(&work.job)) };
        if let Err(error) = write_frame(&mut runner.out, &order, &[&work.job.stdin]) {
            return work.end(Err(ExecutionError::Module(error)));
        }
        runner.short = runner.short.saturating_add(1);
        runner.jobs = runner.jobs.saturating_add(1);
        runner.retired |= runner.jobs >= JOBS_PER_RUNNER;
        let sent = Instant::now();
        if runner.short == 1 {
            runner.heard_at = runner.heard_at.max(sent);
        }
        self.memory_taken = self.memory_taken.saturating_add(work.memory());
        let dispatched = Dispatched { work, runner: name, sent, seen: None, cancelled: false };
        self.running.insert(job, dispatched);
    }

    /// Takes a job off its runner's books.
    fn release(&mut self, job: u64) -> Option<Dispatched> {
        let dispatched = self.running.remove(&job)?;
        self.memory_taken = self.memory_taken.saturating_sub(dispatched.work.memory());
        if let Some(runner) = self.runners.get_mut(&dispatched.runner) {
            let counter = runner.counter(dispatched.beat());
            *counter = counter.saturating_sub(1);
        }
        Some(dispatched)
    }

    fn hear(&mut self, name: u64, heard: Heard) {
        match heard {
            Heard::Words(words) => {
                let now = Instant::now();
                for (word, body) in words {
                    let Some(runner) = self.runners.get_mut(&name) else { return };
                    runner.heard_at = now;
                    self.hear_word(name, word, body, now);
                }
            }
            Heard::Ended(why) => self.on_ended(name, &why),
        }
    }

    fn hear_word(&mut self, name: u64, word: Word, body: Vec<u8>, now: Instant) {
        let of_this = |job: &u64| self.running.get(job).is_some_and(|running| running.runner == name);
        match word {
            Word::Ready(protections) => {
                self.false_starts = 0;
                if let Some(runner) = self.runners.get_mut(&name) {
                    runner.ready = true;
                }
                if self.protections.as_ref() != Some(&protections) {
                    for (what, state) in
                        [("Landlock", &protections.landlock), ("seccomp", &protections.seccomp)]
                    {
                        if let Err(why) = state {
                            tracing::warn!(what, why, "runners are without one of their protections");
                        }
                    }
                    self.protections = Some(protections);
                }
            }
            Word::NotLoaded { code, reason } => {
                tracing::warn!(reason, "a runner cannot use compiled code; it is compiled again");
                if let Some(runner) = self.runners.get_mut(&name)
                    && let Some(at) = runner.loaded.iter().position(|(_, number)| *number == code)
                {
                    let ((module, _), _) = runner.loaded.remove(at);
                    self.known.retain(|(known, _)| *known != module);
                    self.compilers.forget(module);
                    if !self.distrusted.insert(module) {
                        let why = format!("its compiled code cannot be used here: {}", shown_error(&reason));
                        self.known.push_back((module, Verdict::Refused(Status::RunnerCrashed, why)));
                    }
                }
            }
            Word::Beat { job, beat } if of_this(&job) => {
                if let (Some(running), Some(runner)) =
                    (self.running.get_mut(&job), self.runners.get_mut(&name))
                {
                    let before = runner.counter(running.beat());
                    *before = before.saturating_sub(1);
                    let after = runner.counter(Some(&beat));
                    *after = after.saturating_add(1);
                    // The first word says when it began; no later one turns its clock back.
                    let began = now.checked_sub(beat.elapsed).unwrap_or(now).max(running.sent);
                    let began = running.seen.map_or(began, |(began, _)| began);
                    running.seen = Some((began, beat));
                    running.work.teller.beat(&beat);
                }
            }
            Word::Returned { job } if of_this(&job) => {
                let Some(Dispatched { work, cancelled, .. }) = self.release(job) else { return };
                if cancelled {
                    return work.end(Err(ExecutionError::Cancelled));
                }
                let (priority, requester) = work.requester();
                self.queue.push_back_first(priority, &requester, work);
            }
            Word::Done { job, report, stdout } if of_this(&job) => {
                let Some(done) = self.release(job) else { return };
                let outcome = outcome(&done.work.job, report, body, stdout, done.elapsed(now));
                done.work.end(Ok(outcome));
            }
            Word::Cancelled { job } if of_this(&job) => {
                if let Some(dispatched) = self.release(job) {
                    dispatched.work.end(Err(ExecutionError::Cancelled));
                }
            }
            Word::Beat { job, .. }
            | Word::Returned { job }
            | Word::Done { job, .. }
            | Word::Cancelled { job } => {
                tracing::debug!(job, "a runner speaks of a job that is not its own");
            }
        }
    }

    fn on_ended(&mut self, name: u64, why: &str) {
        let Some(runner) = self.runners.remove(&name) else { return };
        if !runner.ready {
            self.false_starts = self.false_starts.saturating_add(1);
        }
        let mut its: Vec<u64> =
            self.running.iter().filter(|(_, job)| job.runner == name).map(|(job, _)| *job).collect();
        if !its.is_empty() || !runner.ready {
            tracing::warn!(pid = runner.pid, why, jobs = its.len(), "a runner ended");
        }
        its.sort_unstable();
        for job in its {
            let Some(mut running) = self.release(job) else { continue };
            let overdue = running.must_have_ended().is_some_and(|end| end <= Instant::now());
            running.work.attempts = running.work.attempts.saturating_add(1);
            if running.cancelled || running.work.is_unwanted() {
                running.work.end(Err(ExecutionError::Cancelled));
            } else if overdue {
                let limits = running.work.job.limits;
                let mut report = Report::not_run(Status::Timeout, time_is_up(limits.time));
                report.duration = limits.time;
                let outcome = outcome(&running.work.job, report, Vec::new(), 0, None);
                running.work.end(Ok(outcome));
            } else if running.seen.is_none() && running.work.attempts < ATTEMPTS {
                // Not heard of: it is short or had not begun, and can run once more.
                let (priority, requester) = running.work.requester();
                self.queue.push_back_first(priority, &requester, running.work);
            } else {
                let mut report = Report::not_run(Status::RunnerCrashed, shown_error(why));
                if let Some(beat) = running.beat() {
                    (report.peak_memory_bytes, report.duration) = (beat.memory_bytes, beat.elapsed);
                }
                let outcome = outcome(&running.work.job, report, Vec::new(), 0, None);
                running.work.end(Ok(outcome));
            }
        }
        if self.false_starts >= FALSE_STARTS {
            self.give_up(why);
        } else if self.config.warm {
            self.start_runners(1);
        }
    }

    /// Nothing can run: whatever waits is told.
    fn give_up(&mut self, why: &str) {
        self.false_starts = 0;
        for work in self.queue.remove(|_| true) {
            work.end(Err(ExecutionError::NoRunner(why.to_owned())));
        }
    }

    /// Looks for what should have happened and has not.
    fn look(&mut self) {
        self.sweep();
        let now = Instant::now();
        let mut hung = Vec::new();
        for running in self.running.values() {
            let late = running.must_have_ended().is_some_and(|end| end <= now);
            let mute = self.runners.get(&running.runner).is_some_and(|runner| {
                let patience = MUTE.saturating_add(silence(&running.work.job.limits));
                let begun = runner.heard_at.max(running.sent);
                running.seen.is_none() && now.saturating_duration_since(begun) > patience
            });
            if late || mute {
                hung.push(running.runner);
            }
        }
        let never_ready = |runner: &Runner| !runner.ready && runner.heard_at.elapsed() > READY_WITHIN;
        hung.extend(self.runners.iter().filter(|(_, runner)| never_ready(runner)).map(|(name, _)| *name));
        hung.sort_unstable();
        hung.dedup();
        for name in hung {
            if let Some(runner) = self.runners.get(&name) {
                tracing::warn!(pid = runner.pid, "a runner hangs; it is killed");
                runner.process.kill();
            }
        }
    }

    /// Ends what nobody wants any more.
    fn sweep(&mut self) {
        for work in self.queue.remove(Work::is_unwanted) {
            work.end(Err(ExecutionError::Cancelled));
        }
        for waiting in self.compiling.values_mut() {
            waiting.extract_if(.., |work| work.is_unwanted()).for_each(drop);
        }
        for (job, running) in &mut self.running {
            if running.cancelled || !running.work.is_unwanted() {
                continue;
            }
            running.cancelled = true;
            if let Some(runner) = self.runners.get_mut(&running.runner)
                && let Err(error) = write_frame(&mut runner.out, &Order::Cancel { job: *job }, &[])
            {
                tracing::error!(%error, "a run could not be cancelled");
            }
        }
    }

    fn start_runners(&mut self, count: usize) {
        for _ in 0..count {
            let name = self.next_runner;
            self.next_runner = self.next_runner.wrapping_add(1);
            let (launcher, program) = (self.launcher.clone(), self.config.runner.clone());
            self.starts.spawn(async move { (name, launcher.start(&program, None).await) });
        }
    }

    fn on_started(&mut self, name: u64, begun: Result<Started, ExecutionError>) {
        let setup = Setup {
            parent: std::process::id(),
            slots: SLOTS,
            data_bytes: runner_data(self.config.memory_bytes, SLOTS),
        };
        let process = begun.and_then(|started| {
            let attended = Process::attend(started, &setup, name, self.to_hear.clone());
            attended.map_err(ExecutionError::Module)
        });
        match process {
            Ok(process) => {
                let runner = Runner {
                    pid: process.pid(),
                    process,
                    ready: false,
                    retired: false,
                    loaded: Vec::new(),
                    next_code: 0,
                    jobs: 0,
                    short: 0,
                    long: 0,
                    asleep: 0,
                    heard_at: Instant::now(),
                    out: Vec::new(),
                };
                self.runners.insert(name, runner);
            }
            Err(error) => {
                tracing::error!(%error, "a runner could not be started");
                let mut error = Some(error);
                for work in self.queue.remove(|_| true) {
                    let said = || ExecutionError::NoRunner("it could not be started".to_owned());
                    work.end(Err(error.take().unwrap_or_else(said)));
                }
            }
        }
    }

    fn publish(&mut self) {
        self.published = Instant::now();
        let waiting = self.waiting();
        self.load.send_if_modified(|load| {
            let mut runners: Vec<u32> = self.runners.values().map(|runner| runner.pid).collect();
            runners.sort_unstable();
            let now = Load {
                runners,
                running: self.running.len(),
                waiting,
                memory_taken: self.memory_taken,
                memory_bytes: self.config.memory_bytes,
                protections: self.protections.clone(),
            };
            let changed = *load != now;
            *load = now;
            changed
        });
    }
}

impl From<Work> for Command {
    fn from(work: Work) -> Self {
        let Work { job, teller, cancel, answer, .. } = work;
        Self::Run { job, progress: teller.to, cancel, answer }
    }
}

/// The number of some code in a runner, which is told to load it if it has not.
fn load(runner: &mut Runner, key: CodeKey, code: &Arc<Code>) -> u32 {
    if let Some(at) = runner.loaded.iter().rposition(|(known, _)| *known == key) {
        let entry = runner.loaded.get(at).map_or(0, |(_, number)| *number);
        if at < runner.loaded.len() / 2 {
            let entry = runner.loaded.remove(at);
            runner.loaded.push(entry);
        }
        return entry;
    }
    let number = runner.next_code;
    runner.next_code = runner.next_code.wrapping_add(1);
    // Code goes with a message of its own; what was ordered before stays before it.
    let (_, stack_bytes) = key;
    let mut order = std::mem::take(&mut runner.out);
    if !order.is_empty() && !runner.process.send(Outgoing::Orders(std::mem::take(&mut order))) {
        runner.process.kill();
    }
    if runner.loaded.len() >= LOADED {
        let (_, oldest) = runner.loaded.remove(0);
        if let Err(error) = write_frame(&mut runner.out, &Order::Unload { code: oldest }, &[]) {
            tracing::error!(%error, "code could not be unloaded");
        }
    }
    let mut frame = Vec::new();
    match write_frame(&mut frame, &Order::Load { code: number, kind: code.kind, stack_bytes }, &[]) {
        Ok(()) if runner.process.send(Outgoing::Code(frame, Arc::clone(code))) => {}
        _ => runner.process.kill(),
    }
    runner.loaded.push((key, number));
    number
}

fn refused(work: Work, status: Status, why: String) {
    let outcome = outcome(&work.job, Report::not_run(status, why), Vec::new(), 0, None);
    work.end(Ok(outcome));
}

/// Numbers from a runner hold only as far as they can be true. `elapsed` is what this side has seen pass, if it has.
fn outcome(
    job: &Job,
    mut report: Report,
    output: Vec<u8>,
    stdout: u32,
    elapsed: Option<Duration>,
) -> Outcome {
    let limits = &job.limits;
    report.fuel_used = report.fuel_used.min(limits.fuel);
    report.peak_memory_bytes = report.peak_memory_bytes.min(limits.memory_bytes);
    report.duration = report.duration.min(limits.time);
    if let Some(elapsed) = elapsed {
        report.duration = report.duration.min(elapsed.max(Duration::from_millis(1)));
    }
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
struct Teller {
    to: Option<watch::Sender<Progress>>,
    phase: Phase,
    since: Instant,
}

impl Teller {
    fn new(to: Option<watch::Sender<Progress>>) -> Self {
        Self { to, phase: Phase::Queued, since: Instant::now() }
    }

    fn enter(&mut self, phase: Phase) {
        (self.phase, self.since) = (phase, Instant::now());
        if let Some(to) = &self.to {
            to.send_replace(Progress { phase, ..Progress::default() });
        }
    }

    fn beat(&mut self, beat: &Beat) {
        if let Some(to) = &self.to {
            to.send_replace(Progress {
                phase: Phase::Running,
                fuel_used: beat.fuel_used,
                memory_bytes: beat.memory_bytes,
                output_bytes: beat.output_bytes,
                elapsed: beat.elapsed,
            });
        }
    }
}
