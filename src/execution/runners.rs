//! The parent's side: starts a runner for each job, watches it, and never believes it.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::guest::Report;
use super::job::{MAX_ARGS_BYTES, MAX_MODULE_BYTES, MAX_STDIN_BYTES};
use super::watched::{Ending, Teller, Watched, outcome_of};
use super::{ExecutionError, Job, Outcome, Progress};
use crate::document::Status;

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
        let mut watched = Watched::new(&job, teller);
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
