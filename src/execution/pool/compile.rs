//! From a module to code that runners can take: out of the cache, or by a compiler process.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::MemfdFlags;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::super::ExecutionError;
use super::super::budget::CompileBudget;
use super::super::compiler::{refusal, shown_error};
use super::super::job::{CompileLimits, MAX_MODULE_BYTES, Module};
use super::super::wire::{Compile, Compiled, Frames, Kind, write_frame};
use super::cache::{Cache, Code, Scratch};
use super::launch::{Launcher, Program, Started, telling_line};
use crate::document::{Sha256Digest, Status};

/// How long a compiler that has answered or hung up may take to die.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// Codes that are read out of the cache, and hashed, at once.
const LOOKUPS: usize = 4;

/// What is known of a module.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    Code(Arc<Code>),
    /// It can never run here, and why.
    Refused(Status, String),
}

/// Compiles modules, a few at a time.
pub(super) struct Compilers {
    launcher: Launcher,
    program: Program,
    limits: CompileLimits,
    cache: Option<Cache>,
    looking: Semaphore,
}

impl Compilers {
    pub(super) fn new(
        launcher: Launcher,
        program: Program,
        limits: CompileLimits,
        cache: Option<Cache>,
    ) -> Self {
        Self { launcher, program, limits, cache, looking: Semaphore::new(LOOKUPS) }
    }

    /// Code that is cached. Where a runner could not use it, it is removed instead.
    ///
    /// # Errors
    /// [`ExecutionError`] for faults of this side.
    pub(super) async fn cached(
        self: Arc<Self>,
        module: Sha256Digest,
        use_cached: bool,
    ) -> Result<Option<Arc<Code>>, ExecutionError> {
        let place = self.looking.acquire().await;
        let _place = place.map_err(|error| ExecutionError::Launcher(error.to_string()))?;
        let compilers = Arc::clone(&self);
        let cached = blocking(move || match &compilers.cache {
            Some(cache) if use_cached => cache.get(module),
            Some(cache) => cache.forget(module).map(|()| None),
            None => Ok(None),
        });
        Ok(cached.await?.map(|code| code.map(Arc::new)).unwrap_or_else(|error| {
            tracing::warn!(%error, "the code cache cannot be used");
            None
        }))
    }

    /// Compiles a module, and keeps the code.
    ///
    /// # Errors
    /// [`ExecutionError`] for faults of this side.
    pub(super) async fn compiled(self: Arc<Self>, module: Module) -> Result<Verdict, ExecutionError> {
        let read = {
            let module = module.clone();
            blocking(move || module.bytes()).await?
        };
        let wasm = read.map_err(ExecutionError::Module)?;
        let size = u64::try_from(wasm.len()).unwrap_or(u64::MAX);
        let most = self.limits.module_bytes.min(MAX_MODULE_BYTES);
        if size > most {
            let (status, why) =
                refusal(format!("it is {size} bytes, at most {most} are accepted (execution.max_module)"));
            return Ok(Verdict::Refused(status, why));
        }
        match self.cache.as_ref().map(Cache::scratch) {
            Some(Ok(scratch)) => match self.compile(&wasm, &scratch.file).await {
                Ok(Ok(kind)) => return self.keep(module, kind, scratch).await,
                Ok(Err((status, why))) => return Ok(Verdict::Refused(status, why)),
                Err(Failed::Write(error)) => {
                    tracing::warn!(%error, "the code cache has no room; compiled code is not kept");
                }
                Err(Failed::Here(error)) => return Err(error),
            },
            Some(Err(error)) => {
                tracing::warn!(%error, "the code cache cannot be written; compiled code is not kept")
            }
            None => {}
        }
        let memory = memory_file().map_err(ExecutionError::Module)?;
        match self.compile(&wasm, &memory).await {
            Ok(Ok(kind)) => {
                let file = for_reading(&memory).map_err(ExecutionError::Module)?;
                let code = Code::new(kind, file).map_err(ExecutionError::Module)?;
                Ok(Verdict::Code(Arc::new(code)))
            }
            Ok(Err((status, why))) => Ok(Verdict::Refused(status, why)),
            Err(Failed::Write(error)) => Err(ExecutionError::Module(error)),
            Err(Failed::Here(error)) => Err(error),
        }
    }

    async fn keep(
        self: &Arc<Self>,
        module: Module,
        kind: Kind,
        scratch: Scratch,
    ) -> Result<Verdict, ExecutionError> {
        let compilers = Arc::clone(self);
        let kept = blocking(move || {
            let copy = for_reading(&scratch.file)?;
            let cache = compilers.cache.as_ref().ok_or_else(|| io::Error::other("there is no cache"))?;
            cache.keep(module.digest(), kind, scratch).or_else(|error| {
                tracing::warn!(%error, "compiled code is not kept");
                Code::new(kind, copy)
            })
        });
        Ok(Verdict::Code(Arc::new(kept.await?.map_err(ExecutionError::Module)?)))
    }

    /// One compilation in a process of its own.
    async fn compile(&self, wasm: &[u8], into: &File) -> Result<Result<Kind, (Status, String)>, Failed> {
        let size = u64::try_from(wasm.len()).unwrap_or(u64::MAX);
        let budget = CompileBudget::new(size, self.limits.cpu, self.limits.data_bytes);
        let file: OwnedFd = into.try_clone().map_err(Failed::Write)?.into();
        let Started { mut child, mut socket, last_words } =
            self.launcher.start(&self.program, Some(file)).await.map_err(Failed::Here)?;
        let order = Compile {
            parent: std::process::id(),
            data_bytes: budget.data_bytes,
            cpu: budget.cpu,
            functions: self.limits.functions,
        };
        let mut frame = Vec::new();
        let framed = write_frame(&mut frame, &order, &[wasm]);
        framed.map_err(|error| Failed::Here(ExecutionError::Module(error)))?;
        let talk = async {
            socket.write_all(&frame).await?;
            let mut frames = Frames::default();
            let mut chunk = [0; 4096];
            loop {
                if let Some((answer, _)) = frames.next::<Compiled>()? {
                    return Ok(answer);
                }
                match socket.read(&mut chunk).await? {
                    0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                    read => frames.extend(chunk.get(..read).unwrap_or_default()),
                }
            }
        };
        let answer = timeout(budget.wall, talk).await;
        let exit = match timeout(LAST_MOMENT, child.wait()).await {
            Ok(exit) => exit.ok(),
            Err(_) => {
                if let Err(error) = child.start_kill() {
                    tracing::debug!(%error, "a compiler was dead before it was killed");
                }
                child.wait().await.ok()
            }
        };
        Ok(match answer {
            Ok(Ok(Compiled::Code(kind))) => Ok(kind),
            // What else a compiler says is not for it to say: it has run nothing.
            Ok(Ok(Compiled::Refused(status @ (Status::InvalidModule | Status::OutOfMemory), why))) => {
                Err((status, shown_error(&why)))
            }
            Ok(Ok(Compiled::Refused(status, _))) => Err((
                Status::RunnerCrashed,
                format!("the compiler answered {status}, which is no answer of one"),
            )),
            // A busy machine, and not the module.
            Err(_) => {
                let why = format!("the compiler was not done after {} s", budget.wall.as_secs());
                Err((Status::RunnerCrashed, why))
            }
            Ok(Err(_)) => {
                let words = timeout(LAST_MOMENT, last_words).await;
                let words = words.ok().and_then(Result::ok).unwrap_or_default();
                Err(post_mortem(exit, &words, budget)?)
            }
        })
    }
}

/// Why a compiler has given no answer.
enum Failed {
    /// What it compiled could not be written.
    Write(io::Error),
    Here(ExecutionError),
}

/// Why a compiler died: the limits it was under are the module's fault, a full disk is not.
fn post_mortem(
    exit: Option<ExitStatus>,
    words: &str,
    budget: CompileBudget,
) -> Result<(Status, String), Failed> {
    let signal = exit.and_then(|exit| exit.signal());
    let is = |expected: Signal| signal == Some(expected.as_raw());
    let line = telling_line(words).unwrap_or_default();
    if is(Signal::XCPU) {
        return Ok(refusal(format!("compiling it takes more than {} s of CPU time", budget.cpu.as_secs())));
    }
    // What Rust does when an allocation fails, and what the engine does, which panics.
    if (is(Signal::ABORT) && line.contains("allocation")) || words.contains("out of memory") {
        return Ok(refusal(format!(
            "compiling it takes more than {} MiB of memory",
            budget.data_bytes >> 20
        )));
    }
    if let Some(signal) = signal.filter(|_| !is(Signal::KILL)) {
        return Ok(refusal(format!("compiling it failed (signal {signal})")));
    }
    if line.contains("os error") {
        return Err(Failed::Write(io::Error::other(line.to_owned())));
    }
    let how = exit.map_or_else(|| "in an unknown way".to_owned(), |exit| exit.to_string());
    let said = if line.is_empty() { String::new() } else { format!(": {line}") };
    Ok((Status::RunnerCrashed, format!("the compiler ended ({how}){said}")))
}

/// A file without a disk.
fn memory_file() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("zerostate-code", MemfdFlags::CLOEXEC)?.into())
}

/// The same file, to be read only: what a runner is given, it must not change under the others.
fn for_reading(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ExecutionError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ExecutionError::Launcher(error.to_string()))
}
