//! The worker: it owns what runs now, and every life, run, re-run and intake is a job of its.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cid::Cid;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::attest::Asked;
use super::context::{Place, Session, Word};
use super::intake::Next;
use super::life::Reins;
use super::member::{answer, invalid};
use super::{Attested, Context, Examined, Hosted, LiveRun, Ran, TaskError};
use crate::document::{AnyEnvelope, Draft, Envelope, Limits, Manifest, Receipt};
use crate::execution::{Phase, Progress};
use crate::guild::{Content, Refusal, Told};
use crate::storage::{TaskRecord, TaskState};

/// Tasks without a receipt; one more is refused with a clear answer.
const UNFINISHED_MAX: usize = 10_000;
/// Documents taken in at once; the rest wait in the network's queue.
const INTAKE_MAX: usize = 64;
/// Receipts that wait to be attested by policy; more are left to the operator.
const TO_ATTEST_MAX: usize = 1_000;
/// Parts in tasks of others at once.
const PARTS_MAX: usize = 4096;
/// Of them, in the tasks of one in one guild.
const PARTS_OF_ONE: usize = 256;
/// Offers that stand at once.
const OFFERS_MAX: usize = 4096;
/// How long a guild's own witnesses have before others look into its receipt.
const GUILD_FIRST: Duration = Duration::from_secs(5);
/// Words that wait for one who takes part in a task.
const WORDS: usize = 64;
/// How often the chain's head is told at the most: each is a signature here, and one to be checked by everybody.
const HEADS: Duration = Duration::from_secs(1);
/// How often what runs is looked at.
const LOOK: Duration = Duration::from_millis(250);

pub(super) enum Request {
    Submit {
        draft: Box<Draft>,
        within: Option<Cid>,
        answer: oneshot::Sender<Result<String, TaskError>>,
    },
    Run {
        draft: Box<Draft>,
        answer: oneshot::Sender<Result<Ran, TaskError>>,
    },
    Attest {
        receipt: Envelope<Receipt>,
        answer: oneshot::Sender<Result<Attested, TaskError>>,
    },
    /// The same, and nothing is signed.
    Examine {
        receipt: Envelope<Receipt>,
        answer: oneshot::Sender<Result<Examined, TaskError>>,
    },
    /// Sign what was found so.
    Sign {
        finding: String,
        answer: oneshot::Sender<Result<Attested, TaskError>>,
    },
    Cancel {
        task_id: String,
        answer: oneshot::Sender<Result<(), TaskError>>,
    },
    /// The operator's answer to a question.
    Decide {
        id: String,
        accept: bool,
        answer: oneshot::Sender<Result<bool, TaskError>>,
    },
    /// Queue what by policy is to be attested and has not been.
    LookAgain,
}

/// What a job was, for the bookkeeping when it ends.
enum Ended {
    Run(String),
    /// And what is to be audited after it.
    Lived(String, Option<Box<Envelope<Manifest>>>),
    Part(String),
    Intake(Option<Next>),
    Backlog(Vec<Envelope<Receipt>>),
    Attest(String),
    Offer,
    Head,
    Done,
}

struct Running {
    limits: Arc<OnceLock<Limits>>,
    hosted: Arc<OnceLock<Arc<Hosted>>>,
    progress: watch::Receiver<Progress>,
    cancel: CancellationToken,
    /// Of a receipt's task.
    rerun: bool,
}

pub(super) struct Worker {
    context: Arc<Context>,
    jobs: JoinSet<Ended>,
    running: HashMap<String, Running>,
    intakes: usize,
    /// Parts in tasks of others.
    parts: usize,
    offers: usize,
    to_attest: VecDeque<Envelope<Receipt>>,
    attesting: bool,
    /// The chain's head is being signed.
    telling: bool,
    /// When it was last.
    head_at: Option<Instant>,
    attests: u64,
    begun: u64,
    publisher: watch::Sender<Arc<Vec<LiveRun>>>,
    shutdown: CancellationToken,
}

impl Worker {
    pub(super) fn new(
        context: Arc<Context>,
        publisher: watch::Sender<Arc<Vec<LiveRun>>>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            context,
            jobs: JoinSet::new(),
            running: HashMap::new(),
            intakes: 0,
            parts: 0,
            offers: 0,
            to_attest: VecDeque::new(),
            attesting: false,
            telling: false,
            head_at: None,
            attests: 0,
            begun: 0,
            publisher,
            shutdown,
        }
    }

    pub(super) async fn work(
        mut self,
        unfinished: Vec<TaskRecord>,
        mut requests: mpsc::Receiver<Request>,
        mut announced: mpsc::Receiver<(String, AnyEnvelope)>,
        mut told: mpsc::Receiver<Told>,
    ) {
        for record in unfinished {
            tracing::info!(task = %record.task_id, state = record.state.word(), "taken up again");
            let (id, context) = (record.task_id.clone(), Arc::clone(&self.context));
            let reins = self.rein(id.clone());
            self.jobs.spawn(async move {
                context.resume(record, reins).await;
                Ended::Run(id)
            });
        }
        self.take(Request::LookAgain);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                Some((from, document)) = announced.recv(), if self.intakes < INTAKE_MAX => {
                    self.intakes += 1;
                    let context = Arc::clone(&self.context);
                    self.jobs.spawn(async move { Ended::Intake(context.take_in(from, document).await) });
                }
                Some(told) = told.recv() => self.hear(told),
                request = requests.recv() => match request {
                    Some(request) => self.take(request),
                    None => break,
                },
                Some(ended) = self.jobs.join_next() => match ended {
                    Ok(ended) => self.clear(ended),
                    Err(error) if error.is_panic() => {
                        tracing::error!(%error, "a task's job panicked; the node stops");
                        self.shutdown.cancel();
                    }
                    Err(error) => tracing::debug!(%error, "a job was aborted"),
                },
                _ = look.tick() => {
                    self.context.inbox.tidy();
                    if !self.telling
                        && self.head_at.is_none_or(|at| at.elapsed() >= HEADS)
                        && self.context.grown.swap(false, Ordering::Relaxed)
                    {
                        self.head_at = Some(Instant::now());
                        self.telling = true;
                        let context = Arc::clone(&self.context);
                        self.jobs.spawn(async move {
                            if let Err(error) = context.tell_head().await {
                                tracing::warn!(%error, "the chain's head is not signed");
                            }
                            Ended::Head
                        });
                    }
                    if !self.running.is_empty() {
                        self.publish();
                    }
                }
            }
        }
        // Lives end by themselves at the shutdown. Peers offer again what an intake drops, votes that were stored are counted and
        // receipts that were queued are found again at the next start.
        self.jobs.shutdown().await;
    }

    fn take(&mut self, request: Request) {
        let context = Arc::clone(&self.context);
        match request {
            Request::Submit { answer, .. } if self.running.len() >= UNFINISHED_MAX + self.parts => {
                tell(answer, Err(TaskError::Busy(UNFINISHED_MAX)));
            }
            Request::Submit { draft, within, answer } => match context.random() {
                Ok(random) => {
                    let id = hex::encode(random.split_at(16).0);
                    let reins = self.rein(id.clone());
                    self.jobs.spawn(async move {
                        let audit = Box::pin(context.submit((*draft, within), random, answer, reins)).await;
                        Ended::Lived(id, audit.map(Box::new))
                    });
                }
                Err(error) => tell(answer, Err(error)),
            },
            Request::Run { draft, answer } => match context.random() {
                Ok(random) => {
                    let id = format!("run-{}", hex::encode(random.split_at(8).0));
                    let reins = self.rein(id.clone());
                    self.jobs.spawn(async move {
                        let mut answer = answer;
                        // On the heap at once: it is large, and would be moved a few times on its way there.
                        let run = Box::pin(context.run_now(*draft, reins));
                        // Who asked and went away wants no more of it; dropping the run kills its runner.
                        tokio::select! {
                            ran = run => tell(answer, ran),
                            () = answer.closed() => {}
                        }
                        Ended::Run(id)
                    });
                }
                Err(error) => tell(answer, Err(error)),
            },
            Request::Attest { receipt, answer } => {
                let (id, reins) = self.rein_attest(&receipt);
                self.jobs.spawn(async move {
                    tell(answer, context.attest(receipt, Asked::ByOperator, reins).await);
                    Ended::Run(id)
                });
            }
            Request::Examine { receipt, answer } => {
                let (id, reins) = self.rein_attest(&receipt);
                self.jobs.spawn(async move {
                    let mut answer = answer;
                    tokio::select! {
                        examined = context.try_out(receipt, &reins) => tell(answer, examined),
                        () = answer.closed() => {}
                    }
                    Ended::Run(id)
                });
            }
            Request::Sign { finding, answer } => {
                self.jobs.spawn(async move {
                    tell(answer, context.sign(&finding).await);
                    Ended::Done
                });
            }
            Request::Cancel { task_id, answer } => {
                let running = self.running.get(&task_id).map(|running| running.cancel.clone());
                self.jobs.spawn(async move {
                    tell(answer, context.cancel(&task_id, running).await);
                    Ended::Done
                });
            }
            Request::Decide { id, accept, answer } => {
                let decided = context.decide(&id, accept);
                tell(answer, Ok(decided.is_some()));
                match decided.flatten() {
                    // The operator does not wait for its turn.
                    Some(Next::Attest(receipt)) => {
                        let (id, reins) = self.rein_attest(&receipt);
                        self.jobs.spawn(async move {
                            if let Err(error) = context.attest(receipt, Asked::ByOperator, reins).await {
                                tracing::warn!(%error, "not attested");
                            }
                            Ended::Run(id)
                        });
                    }
                    next => self.follow(next),
                }
            }
            Request::LookAgain if context.policy.attest_always => {
                self.jobs.spawn(async move { Ended::Backlog(context.backlog().await) });
            }
            Request::LookAgain => {}
        }
    }

    /// Something that was said in a guild, or offered, goes to the life that it is about; with a proposal, one begins.
    fn hear(&mut self, told: Told) {
        match told {
            Told::Offer { manifest, offer } => {
                let waiting = self.context.offers().get(&manifest).cloned();
                if waiting.is_none_or(|waiting| waiting.try_send(offer).is_err()) {
                    tracing::debug!(%manifest, "an offer that nobody waits for");
                }
            }
            Told::Draw { manifest, from, pool, commitment, reply } => {
                let given = self.context.give_nonce(manifest, from, pool, commitment);
                if reply.send(given).is_err() {
                    tracing::trace!("whoever draws did not wait for the nonce");
                }
            }
            Told::Word { guild, from, content, reply } => {
                let word = Word { from, content, reply };
                let Some(place) = word.content.about().map(|manifest| (guild, *manifest)) else {
                    return answer(word, Err(invalid("it is about no task")));
                };
                let session = self.context.sessions().get(&place).cloned();
                match (session, &word.content) {
                    (Some(session), Content::Withdraw { .. }) if session.creator == word.from => {
                        self.context.end_session(&place, &session.words);
                        session.withdrawn.cancel();
                        answer(word, Ok(None));
                    }
                    // Its creator has started again, or tries with others.
                    (Some(session), Content::Propose { .. })
                        if session.creator == word.from && word.from != *self.context.identity.did() =>
                    {
                        self.context.end_session(&place, &session.words);
                        session.withdrawn.cancel();
                        self.begin(place, word);
                    }
                    (Some(session), _) => {
                        // What is dropped has no answer, and is said again.
                        if session.words.try_send(word).is_err() {
                            tracing::debug!(%guild, "too much is said about one task");
                        }
                    }
                    (None, Content::Propose { .. }) if !self.context.is_own(&guild) => {
                        self.begin(place, word);
                    }
                    // What came of it is known long after this node's part is done.
                    (None, Content::Outcome { .. }) if self.intakes < INTAKE_MAX => {
                        self.intakes += 1;
                        let context = Arc::clone(&self.context);
                        self.jobs.spawn(async move {
                            context.hear_outcome(&place.1, word).await;
                            Ended::Intake(None)
                        });
                    }
                    (None, _) => answer(word, Err(invalid("there is no such task here"))),
                }
            }
        }
    }

    fn begin(&mut self, place: Place, first: Word) {
        let (guild, id) = place;
        if self.parts >= PARTS_MAX || self.context.sessions_of(&guild, &first.from) >= PARTS_OF_ONE {
            return answer(first, Err(Refusal::Busy));
        }
        let manifest = match self.context.proposed(&id, &first) {
            Ok(manifest) => manifest,
            Err(refusal) => return answer(first, Err(refusal)),
        };
        self.parts += 1;
        let (sender, words) = mpsc::channel(WORDS);
        let session = Session::new(sender, first.from.clone());
        self.context.sessions().insert(place, session.clone());
        // The part of an earlier proposal may still be on its way out.
        self.begun = self.begun.wrapping_add(1);
        let (id, context) = (format!("{guild}#{}", self.begun), Arc::clone(&self.context));
        let reins = self.rein(id.clone());
        self.jobs.spawn(async move {
            Box::pin(context.take_part(guild, (first, manifest), (session, words), reins)).await;
            Ended::Part(id)
        });
    }

    fn clear(&mut self, ended: Ended) {
        match ended {
            Ended::Run(id) => self.forget(&id),
            Ended::Lived(id, audit) => {
                self.forget(&id);
                if let Some(manifest) = audit {
                    self.audit(manifest);
                }
            }
            Ended::Part(id) => {
                self.parts = self.parts.saturating_sub(1);
                self.forget(&id);
            }
            Ended::Attest(id) => {
                self.attesting = false;
                self.forget(&id);
            }
            Ended::Done => {}
            Ended::Head => self.telling = false,
            Ended::Offer => self.offers = self.offers.saturating_sub(1),
            Ended::Backlog(receipts) => {
                let queued: HashSet<Cid> = self.to_attest.iter().map(|receipt| *receipt.id()).collect();
                let room = TO_ATTEST_MAX.saturating_sub(self.to_attest.len());
                self.to_attest.extend(receipts.into_iter().filter(|r| !queued.contains(r.id())).take(room));
            }
            Ended::Intake(next) => {
                self.intakes = self.intakes.saturating_sub(1);
                self.follow(next);
            }
        }
        self.attest_next();
    }

    /// Does what follows from a document or from the operator's word.
    fn follow(&mut self, next: Option<Next>) {
        match next {
            Some(Next::Offer(manifest, willing)) if self.offers < OFFERS_MAX => {
                self.offers += 1;
                let context = Arc::clone(&self.context);
                self.jobs.spawn(async move {
                    context.offer(manifest, willing).await;
                    Ended::Offer
                });
            }
            Some(Next::AttestIfWanted(receipt)) => {
                let context = Arc::clone(&self.context);
                self.jobs.spawn(async move {
                    tokio::time::sleep(GUILD_FIRST).await;
                    let wanted = context.is_wanted(&receipt).await.unwrap_or_else(|error| {
                        tracing::warn!(%error, "a receipt's witnesses could not be counted");
                        false
                    });
                    Ended::Backlog(if wanted { vec![receipt] } else { Vec::new() })
                });
            }
            Some(Next::Offer(..)) => tracing::debug!("enough has been offered for now"),
            Some(Next::Attest(receipt)) if self.to_attest.len() < TO_ATTEST_MAX => {
                self.to_attest.push_back(receipt);
            }
            Some(Next::Attest(receipt)) => {
                tracing::warn!(receipt = %receipt.id(), "too many receipts wait to be attested; this one is left");
            }
            None => {}
        }
    }

    fn audit(&mut self, like: Box<Envelope<Manifest>>) {
        let id = format!("audit of {}", like.id());
        let (context, reins) = (Arc::clone(&self.context), self.rein(id.clone()));
        self.jobs.spawn(async move {
            let (shutdown, audit) =
                (reins.shutdown.clone(), Box::pin(context.audit(like.document(), &reins)));
            if let Some(Err(error)) = shutdown.run_until_cancelled(audit).await {
                tracing::warn!(%error, "an audit is not in the journal");
            }
            Ended::Run(id)
        });
    }

    /// What has ended is told with the next look; after the last one there is none.
    fn forget(&mut self, id: &str) {
        self.running.remove(id);
        if self.running.is_empty() {
            self.publish();
        }
    }

    /// Receipts are attested by policy one after the other, so that they never crowd out the operator's own work.
    fn attest_next(&mut self) {
        if self.attesting {
            return;
        }
        let Some(receipt) = self.to_attest.pop_front() else { return };
        self.attesting = true;
        let (id, reins) = self.rein_attest(&receipt);
        let context = Arc::clone(&self.context);
        self.jobs.spawn(async move {
            if let Err(error) = context.attest(receipt, Asked::ByPolicy, reins).await {
                tracing::warn!(receipt = %id, %error, "not attested");
            }
            Ended::Attest(id)
        });
    }

    fn rein(&mut self, id: String) -> Reins {
        let (progress, watched) = watch::channel(Progress::default());
        let (limits, hosted, cancel) = (Arc::default(), Arc::default(), CancellationToken::new());
        let running = Running {
            limits: Arc::clone(&limits),
            hosted: Arc::clone(&hosted),
            progress: watched,
            cancel: cancel.clone(),
            rerun: false,
        };
        self.running.insert(id, running);
        Reins { progress, limits, hosted, cancel, shutdown: self.shutdown.clone() }
    }

    /// Several may attest one receipt at once; each run has an entry of its own.
    fn rein_attest(&mut self, receipt: &Envelope<Receipt>) -> (String, Reins) {
        self.attests = self.attests.wrapping_add(1);
        let id = format!("{}#{}", receipt.id(), self.attests);
        let reins = self.rein(id.clone());
        if let Some(running) = self.running.get_mut(&id) {
            running.rerun = true;
        }
        (id, reins)
    }

    fn publish(&mut self) {
        let live = self.running.iter().filter_map(|(id, running)| {
            let progress = running.progress.borrow().clone();
            let runs = progress.phase != Phase::Queued;
            let limits = running.limits.get().copied().unwrap_or_default();
            let hosted = running.hosted.get().cloned();
            runs.then(|| LiveRun { id: id.clone(), rerun: running.rerun, hosted, limits, progress })
        });
        let live: Vec<LiveRun> = live.collect();
        if !(live.is_empty() && self.publisher.borrow().is_empty()) {
            self.publisher.send_replace(Arc::new(live));
        }
    }
}

impl Context {
    /// Receipts that by policy are to be attested and have not been.
    async fn backlog(&self) -> Vec<Envelope<Receipt>> {
        let limit = u32::try_from(TO_ATTEST_MAX).unwrap_or(u32::MAX);
        let ids = self.storage.unattested_by(self.identity.did(), limit).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "what is still to be attested could not be read");
            Vec::new()
        });
        let mut receipts = Vec::new();
        for id in ids.iter().filter_map(|id| id.parse().ok()) {
            match self.storage.document(&id).await {
                Ok(Some(AnyEnvelope::Receipt(receipt))) => match self.is_wanted(&receipt).await {
                    Ok(true) => receipts.push(receipt),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%id, %error, "a receipt's witnesses could not be counted"),
                },
                Ok(_) => {}
                Err(error) => tracing::warn!(%id, %error, "a stored receipt cannot be attested"),
            }
        }
        receipts
    }

    async fn cancel(&self, task_id: &str, running: Option<CancellationToken>) -> Result<(), TaskError> {
        let Some(task) = self.storage.task(task_id).await? else {
            return Err(TaskError::Missing {
                what: "task",
                id: task_id.to_owned(),
                tried: "there is none of that id here".to_owned(),
            });
        };
        match running {
            Some(token) if task.state.is_pending() => {
                token.cancel();
                Ok(())
            }
            _ if matches!(task.state, TaskState::Cancelled { .. }) => Ok(()),
            _ => Err(TaskError::Refused(format!("task {task_id} is {} already", task.state.word()))),
        }
    }
}

fn tell<T>(answer: oneshot::Sender<T>, value: T) {
    if answer.send(value).is_err() {
        tracing::debug!("whoever asked did not wait for the answer");
    }
}
