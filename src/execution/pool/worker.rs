//! The worker: it owns the queue, the runners and every job in between.

use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::super::budget::runner_data;
use super::super::compiler::shown_error;
use super::super::engine::code_digest;
use super::super::runner::guest::time_is_up;
use super::super::wire::{Report, Setup, Why, Word};
use super::super::{ExecutionError, Job, Outcome, Phase, Progress, Protections};
use super::cache::Cache;
use super::compile::{Compilers, Verdict};
use super::launch::{Launcher, Started};
use super::modules::Modules;
use super::process::{Process, READ};
use super::queue::Queue;
use super::round::{Round, freest, freest_beside};
use super::runner::{Runner, SLOTS};
use super::watchdog::hung;
use super::work::{Dispatched, Work};
use super::{Load, RunnersConfig};
use crate::document::{Sha256Digest, Status};

/// Commands taken at once.
const BATCH: usize = 256;
/// Ends of runners that wait to be heard of.
const ENDED: usize = 64;
/// How long is looked for an answer before this worker sleeps.
const LINGER: Duration = Duration::from_micros(60);
/// How often deadlines, and runs that nobody waits for any more, are looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How often a runner that has nothing to do is looked at: it may have died.
const IDLE_LOOK: Duration = Duration::from_secs(1);
/// How often the queue is looked through for jobs that went away without a word. It is long, and they are found anyhow when
/// it is their turn.
const SWEEP: Duration = Duration::from_secs(1);
/// How often the load is told while there is work.
const PUBLISH: Duration = Duration::from_millis(100);
/// A job that runners die of before they say a word about it, or have no room for though nobody else is in them, is given to
/// so many of them.
const ATTEMPTS: u8 = 2;
/// How long after a child that could not be started the next one is tried.
const START_PAUSE: Duration = Duration::from_secs(1);
/// Runners that end before they are ready, one after the other: then nothing can run here.
const FALSE_STARTS: u32 = 3;
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

type Begun = (u64, Result<Started, ExecutionError>);

pub(super) struct Worker {
    config: RunnersConfig,
    launcher: Launcher,
    load: watch::Sender<Load>,
    published: Instant,
    protections: Option<Protections>,

    modules: Modules,
    queue: Queue<Work>,
    swept: Instant,
    /// Somebody has cancelled.
    sweep_soon: bool,

    running: HashMap<u64, Dispatched>,
    next_job: u64,
    memory_taken: u64,

    runners: HashMap<u64, Runner>,
    starts: JoinSet<Begun>,
    next_runner: u64,
    false_starts: u32,
    /// Not before this is another one started.
    start_after: Instant,
    /// Runners that looked hung the last time. What they have said meanwhile may not have been heard then.
    suspects: BTreeSet<u64>,
    /// Room for what is read from one.
    chunk: Box<[u8]>,
    to_tell: mpsc::Sender<(u64, String)>,
    /// Runners that have come to their ends, and how.
    ended: mpsc::Receiver<(u64, String)>,
}

impl Worker {
    pub(super) fn new(config: RunnersConfig, load: watch::Sender<Load>) -> Result<Self, ExecutionError> {
        let launcher = Launcher::new()?;
        let (to_tell, ended) = mpsc::channel(ENDED);
        let cache = config.cache.as_ref().and_then(|root| {
            let opened = Cache::open(root, code_digest(), config.cache_bytes);
            opened.map_err(|error| tracing::warn!(%error, "compiled code is not kept: no cache")).ok()
        });
        let at_once = config.processes.get().min(COMPILERS);
        let compilers = Compilers::new(launcher.clone(), config.compiler.clone(), config.compile, cache);
        let now = Instant::now();
        Ok(Self {
            config,
            launcher,
            load,
            published: now,
            protections: None,
            modules: Modules::new(compilers, at_once),
            queue: Queue::default(),
            swept: now,
            sweep_soon: false,
            running: HashMap::new(),
            next_job: 0,
            memory_taken: 0,
            runners: HashMap::new(),
            starts: JoinSet::new(),
            next_runner: 0,
            false_starts: 0,
            start_after: now,
            suspects: BTreeSet::new(),
            chunk: vec![0; READ].into_boxed_slice(),
            to_tell,
            ended,
        })
    }

    pub(super) async fn work(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.keep_warm();
        let mut idle_look = tokio::time::interval(IDLE_LOOK);
        idle_look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let busy = self.has_work();
            let expecting = !self.running.is_empty() || !self.runners.values().all(Runner::is_ready);
            let Self { modules, starts, ended, runners, .. } = &mut self;
            tokio::select! {
                // What is rare comes first, and sockets last: the event loop has to be asked for them.
                biased;
                _ = look.tick(), if busy => self.look(),
                _ = idle_look.tick() => self.keep_warm(),
                Some((name, why)) = ended.recv() => self.on_ended(name, &why),
                Some(begun) = starts.join_next() => match begun {
                    Ok((name, begun)) => self.on_started(name, begun),
                    Err(error) => tracing::error!(%error, "starting a runner panicked"),
                },
                Some((module, verdict)) = modules.answered() => self.on_answered(module, verdict),
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = poll_fn(|context| poll_ready(runners, context)), if expecting => {}
            }
            self.go_on(&mut commands).await;
            if !self.has_work() || self.published.elapsed() >= PUBLISH {
                self.publish();
            }
        }
    }

    /// Gives out what there is, and looks for an answer for a moment: many a guest is done before a thread that slept would be
    /// awake again. Whoever else has work for this thread goes first.
    async fn go_on(&mut self, commands: &mut mpsc::Receiver<Command>) {
        self.runners.values_mut().for_each(Runner::unwatch);
        self.dispatch();
        let until = Instant::now() + LINGER;
        loop {
            let heard = self.converse();
            if self.obey_waiting(commands) || heard {
                self.dispatch();
            }
            // Whoever was answered often has more to be done: it has its turn now.
            if heard || self.running.is_empty() || Instant::now() >= until {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    fn obey_waiting(&mut self, commands: &mut mpsc::Receiver<Command>) -> bool {
        let mut obeyed = 0;
        while obeyed < BATCH
            && let Ok(command) = commands.try_recv()
        {
            self.obey(command);
            obeyed += 1;
        }
        obeyed > 0
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Run { job, progress, cancel, answer } => {
                self.take(Work::new(job, progress, cancel, answer));
            }
            Command::Sweep => self.sweep_soon = true,
        }
    }

    /// Sends what has been ordered, and hears what has been said; true when there was any of it.
    fn converse(&mut self) -> bool {
        let mut said = Vec::new();
        for (name, runner) in &mut self.runners {
            let mut words = Vec::new();
            if runner.converse(&mut self.chunk, &mut words) {
                said.push((*name, words));
            }
        }
        let now = Instant::now();
        let heard = !said.is_empty();
        for (name, words) in said {
            for (word, body) in words {
                let Some(runner) = self.runners.get_mut(&name) else { break };
                runner.hear(now);
                self.hear_word(name, word, body, now);
            }
        }
        heard
    }

    fn has_work(&self) -> bool {
        self.queue.len() > 0 || !self.running.is_empty() || self.modules.waiting() > 0
    }

    fn waiting(&self) -> usize {
        self.queue.len().saturating_add(self.modules.waiting())
    }

    /// Takes a job on, or says why not.
    fn take(&mut self, work: Work) {
        if self.sweep_soon && self.is_full_for(&work.job.requester) {
            // What was cancelled before this came makes room for it.
            self.sweep();
        }
        if self.is_full_for(&work.job.requester) {
            let busy = ExecutionError::Busy {
                waiting: self.waiting(),
                running: self.running.len(),
                memory_free: self.config.memory_bytes.saturating_sub(self.memory_taken),
                memory_bytes: self.config.memory_bytes,
            };
            return work.end(Err(busy));
        }
        let (asked, most) = (work.memory(), self.config.memory_bytes);
        if asked > most {
            return work.end(Err(ExecutionError::BeyondGuests { asked, most }));
        }
        self.prepare(work);
    }

    /// Nobody gets more than half of the places once half of them are taken.
    fn is_full_for(&self, requester: &str) -> bool {
        let (waiting, most) = (self.waiting(), self.config.waiting);
        let half = most.div_ceil(2);
        let of_this = || self.queue.of(requester).saturating_add(self.modules.waiting_of(requester));
        waiting >= most || (waiting >= half && of_this() >= half)
    }

    /// Lets a job wait for its turn, or for its code.
    fn prepare(&mut self, work: Work) {
        match self.modules.verdict(work.job.module.digest()) {
            Some(Verdict::Code(_)) => self.enqueue(work),
            Some(Verdict::Refused(status, why)) => work.not_run(status, why),
            None => self.modules.await_code(work),
        }
    }

    fn enqueue(&mut self, mut work: Work) {
        if std::mem::take(&mut work.had_its_turn) {
            return self.put_back(work);
        }
        let (priority, requester) = work.requester();
        self.queue.push(priority, &requester, work);
    }

    fn put_back(&mut self, work: Work) {
        let (priority, requester) = work.requester();
        self.queue.push_back_first(priority, &requester, work);
    }

    fn on_answered(&mut self, module: Sha256Digest, verdict: Result<Verdict, ExecutionError>) {
        let waiting = self.modules.learn(module, verdict.as_ref().ok());
        match verdict {
            Ok(Verdict::Code(_)) => {
                for mut work in waiting {
                    work.teller.enter(Phase::Queued);
                    self.enqueue(work);
                }
            }
            Ok(Verdict::Refused(status, why)) => {
                waiting.into_iter().for_each(|work| work.not_run(status, why.clone()));
            }
            Err(error) => {
                let said = error.to_string();
                end_all(waiting, error, || ExecutionError::Launcher(said.clone()));
            }
        }
    }

    /// Gives out what can be given out.
    ///
    /// What has no room in memory is waited for: until then only such jobs pass it as are over by the time there will be room
    /// for it at the latest (EASY backfilling, Lifka 1995). Where guests compute for long in all runners, somebody who has
    /// none of them there may go in beside them.
    fn dispatch(&mut self) {
        if self.sweep_soon {
            self.sweep();
        }
        let mut round = Round::default();
        while self.queue.len() > 0 {
            let (free, now) = (self.config.memory_bytes.saturating_sub(self.memory_taken), Instant::now());
            let Self { queue, runners, running, .. } = &mut *self;
            let freest = freest(runners, Runner::room);
            let beside = |priority| freest_beside(runners, priority);
            let next = queue.pop_first(|work| {
                work.is_unwanted()
                    || ((freest.is_some()
                        || (beside(work.job.priority).is_some() && round.may_go_beside(work, running)))
                        && round.has_memory(work, free, running, now))
            });
            let Some(mut work) = next else { break };
            if work.is_unwanted() {
                work.end(Err(ExecutionError::Cancelled));
                continue;
            }
            let place = freest.map(|name| (name, false));
            let Some((name, beside)) = place.or_else(|| beside(work.job.priority).map(|name| (name, true)))
            else {
                break;
            };
            if beside {
                round.went_beside(&work);
            }
            work.had_its_turn = true;
            self.send(name, work, beside);
        }
        if self.queue.len() > 0 && freest(&self.runners, Runner::room).is_none() {
            self.start_another();
        }
        self.runners.retain(|_, runner| !(runner.is_retired() && runner.is_empty()));
        self.runners.values_mut().for_each(Runner::send);
    }

    /// One more runner, where there may be more. One at a time: the next only when this one is full.
    fn start_another(&mut self) {
        let alive = self.runners.values().filter(|runner| !runner.is_retired()).count();
        let settled = self.starts.is_empty() && self.runners.values().all(Runner::is_ready);
        if alive < self.config.processes.get() && settled && self.start_after <= Instant::now() {
            self.start_runners(1);
        }
    }

    fn send(&mut self, name: u64, work: Work, beside: bool) {
        let Some(Verdict::Code(code)) = self.modules.verdict(work.job.module.digest()) else {
            // Forgotten meanwhile, because so many others came: it is in the cache.
            return self.prepare(work);
        };
        let Some(runner) = self.runners.get_mut(&name) else { return self.enqueue(work) };
        let job = self.next_job;
        self.next_job = self.next_job.wrapping_add(1);
        let sent = Instant::now();
        if let Err(error) = runner.order(job, &work.job, &code, beside, sent) {
            return work.end(Err(error));
        }
        self.memory_taken = self.memory_taken.saturating_add(work.memory());
        let dispatched = Dispatched { work, runner: name, sent, seen: None, cancelled: false, beside };
        self.running.insert(job, dispatched);
    }

    /// Takes a job off its runner's books.
    fn release(&mut self, job: u64) -> Option<Dispatched> {
        let dispatched = self.running.remove(&job)?;
        self.memory_taken = self.memory_taken.saturating_sub(dispatched.work.memory());
        if let Some(runner) = self.runners.get_mut(&dispatched.runner) {
            runner.discount(dispatched.beat());
        }
        Some(dispatched)
    }

    fn hear_word(&mut self, name: u64, word: Word, body: Vec<u8>, now: Instant) {
        match word {
            Word::Ready(protections) => {
                if let Some(runner) = self.runners.get_mut(&name).filter(|runner| !runner.is_ready()) {
                    runner.get_ready();
                    self.false_starts = 0;
                    self.note_protections(protections);
                    // Before anybody is answered by it.
                    self.publish();
                }
            }
            Word::NotLoaded { code, reason } => {
                let struck_out = self.runners.get_mut(&name).and_then(|runner| runner.not_loaded(code));
                if let Some((module, code)) = struck_out {
                    let reason = shown_error(&reason);
                    tracing::warn!(%module, reason, "a runner cannot use compiled code; it is compiled again");
                    self.modules.distrust(module, &code);
                }
            }
            Word::Beat { job, .. }
            | Word::Returned { job, .. }
            | Word::Done { job, .. }
            | Word::Cancelled { job }
                if self.running.get(&job).is_none_or(|running| running.runner != name) =>
            {
                tracing::debug!(job, "a runner speaks of a job that is not its own");
            }
            Word::Beat { job, beat } => {
                if let (Some(running), Some(runner)) =
                    (self.running.get_mut(&job), self.runners.get_mut(&name))
                {
                    runner.recount(running.beat(), &beat);
                    running.hear(beat, now);
                }
            }
            Word::Returned { job, why } => {
                if let Some(dispatched) = self.release(job) {
                    self.returned(name, dispatched, why);
                }
            }
            Word::Done { job, report, stdout } => {
                if let Some(done) = self.release(job) {
                    let elapsed = done.elapsed(now);
                    done.work.report(report, body, stdout, elapsed);
                }
            }
            Word::Cancelled { job } => match self.release(job) {
                Some(Dispatched { work, cancelled: true, .. }) => work.end(Err(ExecutionError::Cancelled)),
                Some(Dispatched { work, .. }) => {
                    work.not_run(Status::RunnerCrashed, "the runner ended it unasked".to_owned());
                }
                None => {}
            },
        }
    }

    /// A runner has not begun a job.
    fn returned(&mut self, name: u64, dispatched: Dispatched, why: Why) {
        let Dispatched { mut work, cancelled, seen, .. } = dispatched;
        if cancelled {
            return work.end(Err(ExecutionError::Cancelled));
        }
        let counts = match (why, self.runners.get_mut(&name)) {
            (_, Some(runner)) if seen.is_some() => {
                tracing::warn!(
                    pid = runner.pid(),
                    "a runner takes back what it has said of a job; it is killed"
                );
                runner.kill();
                true
            }
            (Why::Busy, _) => false,
            // Whoever has all of a runner and finds no room in it will find none anywhere.
            (Why::NoRoom, runner) => runner.is_some_and(|runner| !runner.fill_up()),
            (Why::NoCode, _) => true,
        };
        work.attempts = work.attempts.saturating_add(u8::from(counts));
        if work.attempts < ATTEMPTS {
            return self.put_back(work);
        }
        let why = match why {
            Why::NoCode => "its compiled code cannot be used here",
            Why::NoRoom => "no runner of this machine has room for it",
            Why::Busy => "no runner of this machine begins it",
        };
        work.not_run(Status::RunnerCrashed, why.to_owned());
    }

    fn note_protections(&mut self, protections: Protections) {
        if self.protections.as_ref() == Some(&protections) {
            return;
        }
        for (what, state) in [("Landlock", &protections.landlock), ("seccomp", &protections.seccomp)] {
            if let Err(why) = state {
                tracing::warn!(what, why, "runners are without one of their protections");
            }
        }
        self.protections = Some(protections);
    }

    fn on_ended(&mut self, name: u64, why: &str) {
        let Some(runner) = self.runners.remove(&name) else { return };
        if !runner.is_ready() {
            self.false_starts = self.false_starts.saturating_add(1);
        }
        let its = self.running.iter().filter(|(_, job)| job.runner == name).map(|(job, _)| *job);
        // In the order in which they were given out.
        let its: BTreeSet<u64> = its.collect();
        if !its.is_empty() || !runner.is_ready() {
            tracing::warn!(pid = runner.pid(), why, jobs = its.len(), "a runner ended");
        }
        // The last first, for each that can run once more goes to the front.
        for job in its.into_iter().rev() {
            if let Some(dispatched) = self.release(job) {
                self.orphaned(dispatched, why);
            }
        }
        if self.false_starts >= FALSE_STARTS {
            self.false_starts = 0;
            self.not_started(ExecutionError::NoRunner(why.to_owned()));
        }
        if runner.is_ready() && runner.was_short(Instant::now()) {
            self.start_after = Instant::now() + START_PAUSE;
        }
        self.keep_warm();
    }

    /// Where runners are to be there before they are needed, starts those that are missing.
    fn keep_warm(&mut self) {
        if self.config.warm && self.start_after <= Instant::now() {
            let alive = self.runners.values().filter(|runner| !runner.is_retired()).count();
            let there = alive.saturating_add(self.starts.len());
            self.start_runners(self.config.processes.get().saturating_sub(there));
        }
    }

    /// No runner begins. If there is no other, nothing can run, and whatever waits is told.
    fn not_started(&mut self, error: ExecutionError) {
        self.start_after = Instant::now() + START_PAUSE;
        if self.runners.values().any(Runner::is_ready) || !self.starts.is_empty() {
            return;
        }
        let said = match &error {
            ExecutionError::NoRunner(why) => why.clone(),
            other => other.to_string(),
        };
        end_all(self.queue.remove(|_| true), error, || ExecutionError::NoRunner(said.clone()));
    }

    /// What becomes of a job whose runner is gone.
    fn orphaned(&mut self, dispatched: Dispatched, why: &str) {
        let overdue = dispatched.deadline().is_some_and(|end| end <= Instant::now());
        let (beat, elapsed) = (dispatched.beat().cloned(), dispatched.elapsed(Instant::now()));
        let Dispatched { mut work, cancelled, .. } = dispatched;
        work.attempts = work.attempts.saturating_add(1);
        let limit = work.job.limits.time;
        if cancelled || work.is_unwanted() {
            work.end(Err(ExecutionError::Cancelled));
        } else if overdue {
            let mut report = Report::not_run(Status::Timeout, time_is_up(limit));
            report.duration = limit;
            work.report(report, Vec::new(), 0, limit);
        } else if beat.is_none() && work.attempts < ATTEMPTS {
            // Not heard of: it is short or had not begun, and can run once more.
            self.put_back(work);
        } else {
            let mut report = Report::not_run(Status::RunnerCrashed, why);
            if let Some(beat) = beat {
                (report.peak_memory_bytes, report.duration) = (beat.memory_bytes, beat.elapsed);
            }
            work.report(report, Vec::new(), 0, elapsed);
        }
    }

    /// Looks for what should have happened and has not.
    fn look(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.swept) >= SWEEP {
            self.sweep();
        } else {
            self.cancel_unwanted();
        }
        let hung = hung(&self.runners, &self.running, now);
        for name in hung.intersection(&self.suspects) {
            if let Some(runner) = self.runners.get_mut(name) {
                tracing::warn!(pid = runner.pid(), "a runner hangs; it is killed");
                runner.kill();
            }
        }
        self.suspects = hung;
    }

    /// Ends what nobody wants any more.
    fn sweep(&mut self) {
        (self.swept, self.sweep_soon) = (Instant::now(), false);
        for work in self.queue.remove(Work::is_unwanted) {
            work.end(Err(ExecutionError::Cancelled));
        }
        self.modules.sweep();
        self.cancel_unwanted();
    }

    fn cancel_unwanted(&mut self) {
        for (job, running) in &mut self.running {
            if !running.cancelled && running.work.is_unwanted() {
                running.cancelled = true;
                if let Some(runner) = self.runners.get_mut(&running.runner) {
                    runner.cancel(*job);
                }
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
            let attended = Process::attend(started, &setup, name, self.to_tell.clone());
            attended.map_err(ExecutionError::Module)
        });
        match process {
            Ok(process) => {
                self.runners.insert(name, Runner::new(process));
            }
            Err(error) => {
                tracing::error!(%error, "a runner could not be started");
                self.not_started(error);
            }
        }
    }

    fn publish(&mut self) {
        self.published = Instant::now();
        let waiting = self.waiting();
        self.load.send_if_modified(|load| {
            let mut runners: Vec<u32> = self.runners.values().map(Runner::pid).collect();
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

/// Ready when one of them can be heard.
fn poll_ready(runners: &mut HashMap<u64, Runner>, context: &mut Context<'_>) -> Poll<()> {
    // All are asked, so that each wakes this worker.
    let ready = runners.values_mut().filter_map(|runner| runner.poll_ready(context).is_ready().then_some(()));
    if ready.count() > 0 { Poll::Ready(()) } else { Poll::Pending }
}

/// Ends jobs for one reason: the first is told it as it is, the others in other words.
fn end_all(works: Vec<Work>, error: ExecutionError, others: impl Fn() -> ExecutionError) {
    let mut error = Some(error);
    for work in works {
        work.end(Err(error.take().unwrap_or_else(&others)));
    }
}
