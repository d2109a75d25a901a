//! What is known of the modules of jobs: their code, why they can never run, or that somebody is at work on them.
//!
//! ```text
//!   job without code ──► waiting ──► cache ──► code
//!                                      └─ none ──► to_compile (by priority and turns) ──► compiler ──► code or refusal
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::super::{ExecutionError, Phase};
use super::cache::Code;
use super::compile::{Compilers, Verdict};
use super::queue::Queue;
use super::work::Work;
use crate::document::{Sha256Digest, Status};

/// Modules whose code (an open file each) or refusal is remembered.
const KNOWN: usize = 256;
/// And so much code, bytes: where there is no cache, it is in memory.
const KNOWN_BYTES: u64 = 512 << 20;
/// Modules whose code a runner could not use. There are hardly ever any; forgotten, one is compiled once more than it need be.
const DISTRUSTED: usize = 1024;

/// A module and what came of asking for its code.
pub(super) type Answered = (Sha256Digest, Result<Verdict, ExecutionError>);

enum Step {
    LookedUp(Result<Option<Arc<Code>>, ExecutionError>),
    Compiled(Result<Verdict, ExecutionError>),
}

pub(super) struct Modules {
    compilers: Arc<Compilers>,
    /// Compilers at once.
    places: usize,
    compiling: usize,
    /// The latest used last.
    known: VecDeque<(Sha256Digest, Verdict)>,
    /// What waits for the code of each. A module is in it for as long as somebody is at work on it.
    waiting: HashMap<Sha256Digest, Vec<Work>>,
    to_compile: Queue<Sha256Digest>,
    steps: JoinSet<(Sha256Digest, Step)>,
    /// Modules whose code a runner could not use, and whether they have been compiled again since.
    distrusted: HashMap<Sha256Digest, bool>,
}

impl Modules {
    pub(super) fn new(compilers: Compilers, places: usize) -> Self {
        Self {
            compilers: Arc::new(compilers),
            places: places.max(1),
            compiling: 0,
            known: VecDeque::new(),
            waiting: HashMap::new(),
            to_compile: Queue::default(),
            steps: JoinSet::new(),
            distrusted: HashMap::new(),
        }
    }

    /// Jobs that wait for code.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.values().map(Vec::len).fold(0, usize::saturating_add)
    }

    /// Those of one requester.
    pub(super) fn waiting_of(&self, requester: &str) -> usize {
        self.waiting.values().flatten().filter(|work| work.job.requester == requester).count()
    }

    pub(super) fn verdict(&mut self, module: Sha256Digest) -> Option<Verdict> {
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

    /// Lets a job wait for its module's code, which is looked for in the cache and otherwise compiled.
    pub(super) fn await_code(&mut self, mut work: Work) {
        work.teller.enter(Phase::Compiling);
        let source = work.job.module.clone();
        let module = source.digest();
        if let Some(waiting) = self.waiting.get_mut(&module) {
            return waiting.push(work);
        }
        self.waiting.insert(module, vec![work]);
        let use_cached = match self.distrusted.get_mut(&module) {
            Some(compiled_again) => std::mem::replace(compiled_again, true),
            None => true,
        };
        let compilers = Arc::clone(&self.compilers);
        self.spawn(module, Step::LookedUp, async move { compilers.cached(module, use_cached).await });
    }

    /// The next module that somebody has done with; none when nobody is at work.
    pub(super) async fn answered(&mut self) -> Option<Answered> {
        loop {
            let (module, step) = match self.steps.join_next().await? {
                Ok(step) => step,
                Err(error) => {
                    tracing::error!(%error, "a step towards a module's code was not ended");
                    continue;
                }
            };
            match step {
                Step::LookedUp(Ok(Some(code))) => return Some((module, Ok(Verdict::Code(code)))),
                Step::LookedUp(Ok(None)) => self.let_compile(module),
                Step::LookedUp(Err(error)) => return Some((module, Err(error))),
                Step::Compiled(verdict) => {
                    self.compiling = self.compiling.saturating_sub(1);
                    self.compile_next();
                    return Some((module, verdict));
                }
            }
        }
    }

    /// Takes in what came of a module, and gives those that have waited for it.
    pub(super) fn learn(&mut self, module: Sha256Digest, verdict: Option<&Verdict>) -> Vec<Work> {
        // What became of a compiler that crashed says nothing about the next time.
        match verdict {
            Some(Verdict::Refused(Status::RunnerCrashed, _)) | None => {}
            Some(verdict) => self.remember(module, verdict.clone()),
        }
        self.waiting.remove(&module).unwrap_or_default()
    }

    /// A runner cannot use a module's code: another processor, another build, a damaged file. It is compiled again; what is
    /// said of code that has been replaced already does not count.
    pub(super) fn distrust(&mut self, module: Sha256Digest, code: &Weak<Code>) {
        let is_it = |verdict: &Verdict| matches!(verdict, Verdict::Code(known) if Arc::as_ptr(known) == code.as_ptr());
        if !self.known.iter().any(|(known, verdict)| *known == module && is_it(verdict)) {
            return;
        }
        self.known.retain(|(known, _)| *known != module);
        if self.distrusted.len() >= DISTRUSTED {
            self.distrusted.clear();
        }
        self.distrusted.insert(module, false);
    }

    /// Drops the jobs that nobody waits for any more.
    pub(super) fn sweep(&mut self) {
        for waiting in self.waiting.values_mut() {
            for work in waiting.extract_if(.., |work| work.is_unwanted()) {
                work.end(Err(ExecutionError::Cancelled));
            }
        }
        // What nobody waits for is not compiled. What is being compiled or looked up is, and forgets itself when it is done.
        let unwanted = self.to_compile.remove(|module| self.waiting.get(module).is_none_or(Vec::is_empty));
        unwanted.iter().for_each(|module| drop(self.waiting.remove(module)));
    }

    /// Puts a module into the line of whoever waits for it.
    fn let_compile(&mut self, module: Sha256Digest) {
        let Some(first) = self.waiting.get(&module).and_then(|waiting| waiting.first()) else {
            self.waiting.remove(&module);
            return;
        };
        let (priority, requester) = first.requester();
        self.to_compile.push(priority, &requester, module);
        self.compile_next();
    }

    fn compile_next(&mut self) {
        while self.compiling < self.places
            && let Some(module) = self.to_compile.pop_first(|_| true)
        {
            let Some(source) = self.waiting.get(&module).and_then(|waiting| waiting.first()) else {
                self.waiting.remove(&module);
                continue;
            };
            let source = source.job.module.clone();
            self.compiling = self.compiling.saturating_add(1);
            let compilers = Arc::clone(&self.compilers);
            self.spawn(module, Step::Compiled, async move { compilers.compiled(source).await });
        }
    }

    /// A step that panics is one that failed: whoever waits for it must be told.
    fn spawn<T: Send + 'static>(
        &mut self,
        module: Sha256Digest,
        step: fn(Result<T, ExecutionError>) -> Step,
        work: impl Future<Output = Result<T, ExecutionError>> + Send + 'static,
    ) {
        let work = AbortOnDropHandle::new(tokio::spawn(work));
        self.steps.spawn(async move {
            let ended = work.await.unwrap_or_else(|error| Err(ExecutionError::Launcher(error.to_string())));
            (module, step(ended))
        });
    }

    fn remember(&mut self, module: Sha256Digest, verdict: Verdict) {
        self.known.push_back((module, verdict));
        let bytes = |known: &VecDeque<(Sha256Digest, Verdict)>| -> u64 {
            let codes = known.iter().map(|(_, verdict)| match verdict {
                Verdict::Code(code) => code.bytes,
                Verdict::Refused(..) => 0,
            });
            codes.fold(0, u64::saturating_add)
        };
        while self.known.len() > KNOWN || (self.known.len() > 1 && bytes(&self.known) > KNOWN_BYTES) {
            self.known.pop_front();
        }
    }
}
