//! A task's life, from manifest to attested receipt.
//!
//! ```text
//!   submit ─► drafted ─► published ─► offered ─► guilded ─► agreed ─► running ─► receipted ─► attested
//!                              │ gossip  ▲ offers   ▲ enlist  ▲ signed    │ receipt   ▲            ▲
//!   creator:  life.rs, guilded.rs,       │          │         │           │           │            │
//!   others:               offer.rs ──────┘   member.rs, which runs or witnesses it ───┴────────────┘
//! ```
//!
//! Where nobody offers to run it, a task is run here and witnessed in a guild; where nobody offers to witness it either, its receipt is
//! announced to whoever attests it.
//!
//! Every step is durable before anybody is told of it: what was answered with a task id is there after `kill -9`, and a node
//! that starts again takes up what it finds unfinished.

mod attest;
mod audit;
mod awaited;
mod chain;
mod context;
mod draw;
mod evidence;
mod execute;
mod find;
mod gather;
mod guilded;
mod inbox;
mod intake;
mod life;
mod member;
mod offer;
mod select;
mod sitting;
mod witness;
mod worker;

use std::sync::Arc;

use cid::Cid;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use attest::{Attested, Examined};
pub use chain::{EQUIVOCATIONS, proof_name};
pub use context::{Context, Policy};
pub use evidence::evidence;
pub use execute::Ran;
pub use inbox::Question;

use crate::artifact::ArtifactError;
use crate::document::{AnyEnvelope, DocumentError, Draft, Envelope, Faults, Limits, Manifest, Receipt};
use crate::execution::{ExecutionError, Progress};
use crate::guild::{GuildError, Told};
use crate::storage::{StorageError, TaskRecord};
use worker::{Request, Worker};

/// Requests that wait for the worker; more make the caller wait.
const QUEUE: usize = 256;

/// Why something about a task was not done.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("{0}")]
    Document(#[from] DocumentError),
    #[error("the manifest does not hold: {0}")]
    Faults(#[from] Faults),
    #[error("the {what} {id} is neither stored here nor to be had: {tried}")]
    Missing { what: &'static str, id: String, tried: String },
    #[error("{0} is not the CID of a file (raw bytes or UnixFS, with sha2-256)")]
    UnsupportedCid(String),
    #[error("{0}")]
    Artifact(#[from] ArtifactError),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Expired(String),
    #[error("the node has {0} unfinished tasks, which is its limit; try again when some are done")]
    Busy(usize),
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("{0}")]
    Execution(#[from] ExecutionError),
    #[error("{0}")]
    Guild(#[from] GuildError),
    #[error("the node is stopping")]
    Stopping,
}

/// A run in progress.
#[derive(Debug, Clone)]
pub struct LiveRun {
    /// A task's id, or the receipt's for a re-run.
    pub id: String,
    pub rerun: bool,
    /// The task, where it is run here for another node.
    pub hosted: Option<Arc<Hosted>>,
    pub limits: Limits,
    pub progress: Progress,
}

/// A task of another node that is run here: its row, as its own node has it, and its manifest.
#[derive(Debug)]
pub struct Hosted {
    pub record: TaskRecord,
    pub manifest: Manifest,
}

impl LiveRun {
    /// The receipt whose task is run again, if it is one's.
    pub fn rerun_of(&self) -> Option<&str> {
        // Parts in guilds are named so, too: by the guild, which runs nothing again.
        self.rerun.then(|| self.id.split('#').next()).flatten()
    }
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    requests: mpsc::Sender<Request>,
    /// Apart from the requests: peers that keep the intake waiting never keep the operator waiting.
    announced: mpsc::Sender<(String, AnyEnvelope)>,
    live: watch::Receiver<Arc<Vec<LiveRun>>>,
    questions: watch::Receiver<Arc<Vec<Question>>>,
}

impl Tasks {
    /// Starts the worker and takes up every task that the last run of the node left unfinished. `told` is what guilds hear about
    /// tasks.
    ///
    /// # Errors
    /// When those cannot be read.
    pub async fn start(
        context: Context,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
        told: mpsc::Receiver<Told>,
    ) -> Result<Self, TaskError> {
        let unfinished = context.storage.pending_tasks().await?;
        Ok(Self::spawn(context, unfinished, tracker, shutdown, told))
    }

    /// Starts the worker for a single run beside no node: unfinished tasks are left to the next node.
    pub fn alone(context: Context, tracker: &TaskTracker, shutdown: CancellationToken) -> Self {
        let (_, told) = mpsc::channel(1);
        Self::spawn(context, Vec::new(), tracker, shutdown, told)
    }

    fn spawn(
        context: Context,
        unfinished: Vec<TaskRecord>,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
        told: mpsc::Receiver<Told>,
    ) -> Self {
        let (requests, receiver) = mpsc::channel(QUEUE);
        let (announced, documents) = mpsc::channel(QUEUE);
        let (publisher, live) = watch::channel(Arc::default());
        let questions = context.inbox.watch();
        let worker = Worker::new(Arc::new(context), publisher, shutdown);
        tracker.spawn(worker.work(unfinished, receiver, documents, told));
        Self { requests, announced, live, questions }
    }

    /// Submits a task whose artifact is stored here, to the network or to a guild. Its id comes back once it is on disk.
    ///
    /// # Errors
    /// [`TaskError`]; nothing was stored then.
    pub async fn submit(&self, draft: Draft, within: Option<Cid>) -> Result<String, TaskError> {
        self.ask(|answer| Request::Submit { draft: Box::new(draft), within, answer }).await
    }

    /// Runs something here and now and stores its receipt.
    ///
    /// # Errors
    /// [`TaskError`]; however the guest ends is not an error.
    pub async fn run(&self, draft: Draft) -> Result<Ran, TaskError> {
        self.ask(|answer| Request::Run { draft: Box::new(draft), answer }).await
    }

    /// Runs a receipt's task again, signs what was found and announces it.
    ///
    /// # Errors
    /// [`TaskError::Refused`] for one's own receipts.
    pub async fn attest(&self, receipt: Envelope<Receipt>) -> Result<Attested, TaskError> {
        self.ask(|answer| Request::Attest { receipt, answer }).await
    }

    /// Runs a receipt's task again and gives what could be signed of it; nothing is.
    ///
    /// # Errors
    /// [`TaskError::Refused`] for one's own receipts.
    pub async fn examine(&self, receipt: Envelope<Receipt>) -> Result<Examined, TaskError> {
        self.ask(|answer| Request::Examine { receipt, answer }).await
    }

    /// Signs what was found so in the last ten minutes, and announces it.
    ///
    /// # Errors
    /// [`TaskError::Refused`] when it is not known any more.
    pub async fn sign(&self, finding: String) -> Result<Attested, TaskError> {
        self.ask(|answer| Request::Sign { finding, answer }).await
    }

    /// Ends a task that has no receipt yet.
    ///
    /// # Errors
    /// [`TaskError::Refused`] when it has ended already.
    pub async fn cancel(&self, task_id: String) -> Result<(), TaskError> {
        self.ask(|answer| Request::Cancel { task_id, answer }).await
    }

    /// Hands over a verified document that a peer announced.
    ///
    /// # Errors
    /// [`TaskError::Stopping`].
    pub async fn receive(&self, from: String, document: AnyEnvelope) -> Result<(), TaskError> {
        self.announced.send((from, document)).await.map_err(|_| TaskError::Stopping)
    }

    /// Looks again for receipts that are to be attested by policy: somebody who may have what they need has come.
    ///
    /// # Errors
    /// [`TaskError::Stopping`].
    pub async fn look_again(&self) -> Result<(), TaskError> {
        self.requests.send(Request::LookAgain).await.map_err(|_| TaskError::Stopping)
    }

    /// What runs now, a few times a second.
    pub fn live(&self) -> watch::Receiver<Arc<Vec<LiveRun>>> {
        self.live.clone()
    }

    /// What waits for the operator.
    pub fn questions(&self) -> watch::Receiver<Arc<Vec<Question>>> {
        self.questions.clone()
    }

    /// The operator says yes or no; `false` when nothing of that id waits.
    ///
    /// # Errors
    /// [`TaskError::Stopping`].
    pub async fn decide(&self, id: String, accept: bool) -> Result<bool, TaskError> {
        self.ask(|answer| Request::Decide { id, accept, answer }).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, TaskError>>) -> Request,
    ) -> Result<T, TaskError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| TaskError::Stopping)?;
        answered.await.map_err(|_| TaskError::Stopping)?
    }
}
