//! The parent's side: starts a runner for each job, watches it, and never believes it.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::budget::{Budget, HAND_OVER};
use super::engine::{Status, environment};
use super::guest::{Report, time_is_up};
use super::job::{MAX_ARGS_BYTES, MAX_MODULE_BYTES, MAX_STDIN_BYTES};
use super::module::shown_error;
use super::wire::{Header, MAX_MESSAGE_BYTES, Message, receive_frame, receive_json, send_frame};
use super::{ExecutionError, Job, Outcome, Phase, Progress};

/// How much of a runner's stderr is kept: the last words of a panic.
const STDERR_TAIL: usize = 4 << 10;
/// How long a runner that hung up may take to die, and its stderr to end, before it is killed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How runners are started.
#[derive(Debug, Clone)]
pub struct RunnersConfig {
    /// The runner program; its `main` must call [`serve`](super::serve) when it gets `args`.
    pub program: PathBuf,
    /// `["runner"]`.
    pub args: Vec<OsString>,
    /// Jobs at the same time; more wait.
    pub concurrency: NonZeroUsize,
}

impl Default for RunnersConfig {
    /// This very program, as often as there are cores.
    fn default() -> Self {
        Self {
            // Still the same program when an upgrade has replaced the file meanwhile.
            program: "/proc/self/exe".into(),
            args: vec!["runner".into()],
            concurrency: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// Runs jobs in processes of their own. Cheap to clone; clones share the limit on concurrency.
#[derive(Debug, Clone)]
pub struct Runners {
    config: Arc<RunnersConfig>,
    free: Arc<Semaphore>,
    spawner: mpsc::Sender<SpawnRequest>,
}

#[derive(Debug)]
struct SpawnRequest {
    command: Command,
    runtime: Handle,
    answer: oneshot::Sender<std::io::Result<Child>>,
}

impl Runners {
    /// # Errors
    /// When the thread that starts runners cannot be started.
    pub fn new(config: RunnersConfig) -> Result<Self, ExecutionError> {
        let concurrency = config.concurrency.get();
        // A runner dies with the *thread* that started it (PR_SET_PDEATHSIG), and tokio's threads come and go.
        let (spawner, mut requests) = mpsc::channel::<SpawnRequest>(concurrency);
        std::thread::Builder::new()
            .name("runner-spawner".into())
            .spawn(move || {
                while let Some(SpawnRequest { mut command, runtime, answer }) = requests.blocking_recv() {
                    let _context = runtime.enter();
                    // An asker that went away drops the child here, which kills it.
                    if answer.send(command.spawn()).is_err() {
                        tracing::debug!("a runner was started for nobody");
                    }
                }
            })
            .map_err(|error| ExecutionError::Spawner(error.to_string()))?;
        Ok(Self { free: Arc::new(Semaphore::new(concurrency)), config: Arc::new(config), spawner })
    }

    /// Runs `job` to its outcome, whatever the guest does. `progress` hears of phases at once and of fuel and
    /// memory four times a second. Dropping the future kills the runner.
    ///
    /// # Errors
    /// [`ExecutionError`]: only for faults of this side, and for a cancelled `cancel`.
    pub async fn run(
        &self,
        mut job: Job,
        progress: Option<watch::Sender<Progress>>,
        cancel: CancellationToken,
    ) -> Result<Outcome, ExecutionError> {
        if let Some(outcome) = refuse(&job)? {
            return Ok(outcome);
        }
        job.limits = job.limits.possible();
        let teller = Teller::new(progress);
        let _permit = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(ExecutionError::Cancelled),
            permit = self.free.acquire() => permit.map_err(|error| ExecutionError::Spawner(error.to_string()))?,
        };
        let mut child = self.spawn().await?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(self.spawn_error(std::io::Error::other("its pipes are missing")));
        };
        let last_words = tokio::spawn(tail_of(stderr));
        let mut watched = Watched { job: &job, teller, started: None };
        let ending = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            ending = watched.converse(stdin, stdout) => Some(ending),
        };
        let hung_up = matches!(ending, Some(Err(Ending::HungUp)));
        let exit = bury(child, hung_up).await;
        let Some(ending) = ending else {
            return Err(ExecutionError::Cancelled);
        };
        let last_words = match timeout(LAST_WORDS, last_words).await {
            Ok(Ok(words)) => words,
            Ok(Err(_)) | Err(_) => String::new(),
        };
        Ok(match ending {
            Ok(done) => watched.outcome(done.report, done.stdout, done.stderr),
            Err(ending) => {
                let report = watched.explain(ending, exit, &last_words);
                watched.outcome(report, Vec::new(), Vec::new())
            }
        })
    }

    /// A runner with nothing of this process: no environment, no directory, its own process group.
    async fn spawn(&self) -> Result<Child, ExecutionError> {
        let mut command = Command::new(&self.config.program);
        command
            .args(&self.config.args)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // An interrupt typed at the terminal is for this process to handle.
            .process_group(0)
            .kill_on_drop(true);
        let (answer, child) = oneshot::channel();
        let request = SpawnRequest { command, runtime: Handle::current(), answer };
        self.spawner.send(request).await.map_err(|error| ExecutionError::Spawner(error.to_string()))?;
        let child = child.await.map_err(|error| ExecutionError::Spawner(error.to_string()))?;
        child.map_err(|source| self.spawn_error(source))
    }

    fn spawn_error(&self, source: std::io::Error) -> ExecutionError {
        ExecutionError::Spawn { program: self.config.program.clone(), source }
    }
}

/// What can be said without a runner: some jobs are too large. The module is the guest's fault, the rest ours.
fn refuse(job: &Job) -> Result<Option<Outcome>, ExecutionError> {
    let size_of = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let args = job.args.iter().map(|arg| size_of(arg.len())).fold(0, u64::saturating_add);
    for (what, size, limit) in [
        ("standard input", size_of(job.stdin.len()), MAX_STDIN_BYTES),
        ("arguments", args, MAX_ARGS_BYTES),
        ("function name", size_of(job.function.len()), MAX_ARGS_BYTES),
    ] {
        if size > limit {
            return Err(ExecutionError::JobTooLarge { what, size, limit });
        }
    }
    let module = size_of(job.module.len());
    if module <= MAX_MODULE_BYTES {
        return Ok(None);
    }
    let error =
        format!("the module cannot run: it is {module} bytes, at most {MAX_MODULE_BYTES} are accepted");
    let report = Report::not_run(Status::InvalidModule, error);
    Ok(Some(outcome_of(report, Vec::new(), Vec::new(), jiff::Timestamp::now())))
}

fn outcome_of(report: Report, stdout: Vec<u8>, stderr: Vec<u8>, started_at: jiff::Timestamp) -> Outcome {
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

/// Tells whoever asked where the job is.
struct Teller {
    to: Option<watch::Sender<Progress>>,
    phase: Phase,
    since: Instant,
    last: Progress,
}

impl Teller {
    fn new(to: Option<watch::Sender<Progress>>) -> Self {
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
struct Done {
    report: Report,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Why there is nothing from a runner.
enum Ending {
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
struct Watched<'a> {
    job: &'a Job,
    teller: Teller,
    /// When it began to run, if it did.
    started: Option<(Instant, jiff::Timestamp)>,
}

impl Watched<'_> {
    /// Gives the job and hears what comes, within the deadlines.
    async fn converse(&mut self, stdin: ChildStdin, stdout: ChildStdout) -> Result<Done, Ending> {
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
    fn outcome(&self, mut report: Report, stdout: Vec<u8>, stderr: Vec<u8>) -> Outcome {
        let limits = &self.job.limits;
        let (elapsed, started_at) = match self.started {
            Some((started, at)) => (started.elapsed(), at),
            None => (Duration::ZERO, jiff::Timestamp::now()),
        };
        report.fuel_used = report.fuel_used.min(limits.fuel);
        report.peak_memory_bytes = report.peak_memory_bytes.min(limits.memory_bytes);
        report.duration = report.duration.min(elapsed);
        report.error = report.error.map(|error| shown_error(&error));
        outcome_of(report, stdout, stderr, started_at)
    }

    /// Makes a report of a runner's end without one.
    fn explain(&self, ending: Ending, exit: Option<ExitStatus>, last_words: &str) -> Report {
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

/// Sees the process dead and reaped; one that hung up gets a moment to die of its own cause.
async fn bury(mut child: Child, hung_up: bool) -> Option<ExitStatus> {
    if hung_up && let Ok(Ok(exit)) = timeout(LAST_WORDS, child.wait()).await {
        return Some(exit);
    }
    if let Err(error) = child.start_kill() {
        tracing::debug!(%error, "a runner was dead before it was killed");
    }
    match child.wait().await {
        Ok(exit) => Some(exit),
        Err(error) => {
            tracing::warn!(%error, "a runner could not be waited for");
            None
        }
    }
}

/// Reads to the end and keeps the last [`STDERR_TAIL`] bytes.
async fn tail_of(mut from: impl AsyncRead + Unpin) -> String {
    let mut tail = Vec::new();
    let mut chunk = [0; 1024];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        tail.extend_from_slice(chunk.get(..length).unwrap_or_default());
        let surplus = tail.len().saturating_sub(STDERR_TAIL);
        tail.drain(..surplus);
    }
    String::from_utf8_lossy(&tail).into_owned()
}
