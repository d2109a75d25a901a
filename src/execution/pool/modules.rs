//! What is known of the modules of jobs: their code, why they can never run, or that a compiler is at work on them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::super::compiler::shown_error;
use super::super::{ExecutionError, Phase};
use super::compile::{Compilers, Verdict};
use super::work::Work;
use crate::document::{Sha256Digest, Status};

/// Modules whose code (an open file each) or refusal is remembered.
const KNOWN: usize = 256;
/// Modules whose code a runner could not use. There are hardly ever any; forgotten, one is compiled once more than it need be.
const DISTRUSTED: usize = 1024;

/// A module and what came of compiling it.
pub(super) type Compiled = (Sha256Digest, Result<Verdict, ExecutionError>);

pub(super) struct Modules {
    compilers: Arc<Compilers>,
    /// The latest used last.
    known: VecDeque<(Sha256Digest, Verdict)>,
    /// What waits for the code of each.
    waiting: HashMap<Sha256Digest, Vec<Work>>,
    compilations: JoinSet<Compiled>,
    /// Modules whose code a runner could not use, and whether they have been compiled again since.
    distrusted: HashMap<Sha256Digest, bool>,
}

impl Modules {
    pub(super) fn new(compilers: Compilers) -> Self {
        Self {
            compilers: Arc::new(compilers),
            known: VecDeque::new(),
            waiting: HashMap::new(),
            compilations: JoinSet::new(),
            distrusted: HashMap::new(),
        }
    }

    /// Jobs that wait for code.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.values().map(Vec::len).fold(0, usize::saturating_add)
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
        let waiting = self.waiting.entry(module).or_default();
        waiting.push(work);
        if waiting.len() > 1 {
            return;
        }
        let compilers = Arc::clone(&self.compilers);
        let use_cached = match self.distrusted.get_mut(&module) {
            Some(compiled_again) => std::mem::replace(compiled_again, true),
            None => true,
        };
        self.compilations.spawn(async move { (module, compilers.code(source, use_cached).await) });
    }

    /// The next compilation that ends; none when none is under way.
    pub(super) async fn compiled(&mut self) -> Option<Compiled> {
        loop {
            match self.compilations.join_next().await? {
                Ok(compiled) => return Some(compiled),
                Err(error) => tracing::error!(%error, "a compilation panicked"),
            }
        }
    }

    /// Takes in what came of a compilation, and gives those that have waited for it.
    pub(super) fn learn(&mut self, module: Sha256Digest, verdict: Option<&Verdict>) -> Vec<Work> {
        // What became of a compiler that crashed says nothing about the next time.
        match verdict {
            Some(Verdict::Refused(Status::RunnerCrashed, _)) | None => {}
            Some(verdict) => self.remember(module, verdict.clone()),
        }
        self.waiting.remove(&module).unwrap_or_default()
    }

    /// A runner cannot use a module's code: another processor, another build, a damaged file. It is compiled again once.
    pub(super) fn distrust(&mut self, module: Sha256Digest, reason: &str) {
        self.known.retain(|(known, _)| *known != module);
        if self.distrusted.get(&module) == Some(&true) {
            let why = format!("its compiled code cannot be used here: {}", shown_error(reason));
            return self.remember(module, Verdict::Refused(Status::RunnerCrashed, why));
        }
        if self.distrusted.len() >= DISTRUSTED {
            self.distrusted.clear();
        }
        self.distrusted.insert(module, false);
    }

    /// Drops the jobs that nobody waits for any more; their code is still made.
    pub(super) fn sweep(&mut self) {
        for waiting in self.waiting.values_mut() {
            for work in waiting.extract_if(.., |work| work.is_unwanted()) {
                work.end(Err(ExecutionError::Cancelled));
            }
        }
    }

    fn remember(&mut self, module: Sha256Digest, verdict: Verdict) {
        self.known.push_back((module, verdict));
        let surplus = self.known.len().saturating_sub(KNOWN);
        self.known.drain(..surplus);
    }
}
