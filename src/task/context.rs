//! What every life of a task needs of the node around it.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use cid::Cid;
use tokio::sync::{Mutex, MutexGuard as AsyncMutexGuard, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::TaskError;
use super::attest::Finding;
use super::draw::Given;
use super::inbox::Inbox;
use super::offer::Promise;
use crate::artifact::Artifacts;
use crate::config::Accept;
use crate::document::{AnyEnvelope, Attestation, Envelope};
use crate::execution::Runners;
use crate::guild::{Content, Guilds, Offer, Said};
use crate::identity::{Did, Identity};
use crate::network::Network;
use crate::storage::{Storage, StorageError, Write};

/// Inputs of up to 64 MiB each that are in memory while their tasks wait and run.
const INPUTS_AT_ONCE: usize = 8;
/// Own tasks that are on their way through a guild at once: more would only wait for each other, with keys and timers running.
const UNDER_WAY: usize = 32;
/// How long a write waits between tries while the disk is full.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(2);
/// Nodes of which it is remembered how they have done.
const TRIED_MAX: usize = 4096;

/// What the node does unasked.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Run other people's tasks.
    pub accept: Accept,
    /// Attest every receipt that is announced.
    pub attest_always: bool,
    /// Run own tasks here.
    pub self_execute: bool,
    /// One in so many own tasks is followed by an audit; 0 for never.
    pub audit: u32,
    /// What this node can do for a task, besides running it.
    pub capabilities: Vec<String>,
}

/// How somebody has done in own tasks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tried {
    pub(super) busy: u32,
    pub(super) done: u32,
    pub(super) failed: u32,
}

/// Something said in a guild about a task.
pub(super) struct Word {
    pub(super) from: Did,
    pub(super) content: Content,
    pub(super) reply: oneshot::Sender<Said>,
}

/// A lock for each of any number of things, some of which share one. Whoever holds one waits for the disk, and the others need not.
#[derive(Default)]
pub(super) struct Locks([Mutex<()>; 32]);

impl Locks {
    pub(super) async fn lock(&self, key: &str) -> AsyncMutexGuard<'_, ()> {
        let Self(locks) = self;
        let [first, ..] = locks;
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        let place = usize::try_from(hash).unwrap_or_default() % locks.len();
        locks.get(place).unwrap_or(first).lock().await
    }
}

/// Where a task is done: a guild, and the task's manifest.
pub(super) type Place = (Cid, Cid);

/// What this node does for a task in a guild.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) words: mpsc::Sender<Word>,
    /// Who has proposed it.
    pub(super) creator: Did,
    /// When its creator wants no more of it.
    pub(super) withdrawn: CancellationToken,
}

impl Session {
    pub(super) fn new(words: mpsc::Sender<Word>, creator: Did) -> Self {
        Self { words, creator, withdrawn: CancellationToken::new() }
    }
}

/// The engines below, and who this node is.
pub struct Context {
    pub identity: Arc<Identity>,
    pub storage: Storage,
    pub artifacts: Artifacts,
    pub runners: Runners,
    /// Absent when something is run without a node.
    pub network: Option<Network>,
    pub guilds: Option<Guilds>,
    pub policy: Policy,
    /// Of each own task that waits for offers, where they go.
    offers: StdMutex<HashMap<Cid, mpsc::Sender<Offer>>>,
    /// Of each task that is done in a guild, who hears what is said of it there.
    sessions: StdMutex<HashMap<Place, Session>>,
    /// Manifests for which this node has offered something.
    promised: StdMutex<HashMap<Cid, Promise>>,
    /// What waits for the operator.
    pub(super) inbox: Inbox,
    /// How others have done in own tasks since the start.
    pub(super) tried: StdMutex<HashMap<Did, Tried>>,
    /// Held while a task's attestations are counted, so that its quorum is reached once.
    pub(super) counting: Locks,
    /// Of each task that waits for its quorum, what ends the waiting.
    waiting: StdMutex<HashMap<String, CancellationToken>>,
    /// Ids of announced documents that are being taken in.
    pub(super) in_hand: Mutex<HashSet<Cid>>,
    /// Whether this node's chain has grown since its head was told.
    pub(super) grown: AtomicBool,
    /// What the operator may sign.
    findings: StdMutex<HashMap<String, Finding>>,
    /// Of each manifest in whose draw this node took part, and of whoever drew, what it said.
    draws: StdMutex<HashMap<(Cid, Did), Given>>,
    /// Votes that this node has committed to and not revealed, by their receipts, and how many guilds wait for each.
    pledged: StdMutex<HashMap<Cid, (Envelope<Attestation>, usize)>>,
    /// Nodes whose chains could not be followed.
    pub(super) gaps: StdMutex<HashSet<Did>>,
    /// Held while the heads of a node are compared.
    pub(super) chains: Locks,
    /// Held from looking for an own attestation of a receipt until one is stored: a witness signs once.
    pub(super) signing: Locks,
    /// Places for own tasks that are on their way through a guild; one that is seen to run gives up its own.
    pub(super) under_way: Arc<Semaphore>,
    /// Places for large inputs.
    pub(super) inputs: Arc<Semaphore>,
}

impl Context {
    /// A context; see the fields.
    pub fn new(
        identity: Arc<Identity>,
        storage: Storage,
        artifacts: Artifacts,
        runners: Runners,
        network: Option<Network>,
        guilds: Option<Guilds>,
        policy: Policy,
    ) -> Self {
        Self {
            identity,
            storage,
            artifacts,
            runners,
            network,
            guilds,
            policy,
            offers: StdMutex::default(),
            sessions: StdMutex::default(),
            promised: StdMutex::default(),
            inbox: Inbox::default(),
            tried: StdMutex::default(),
            counting: Locks::default(),
            waiting: StdMutex::default(),
            in_hand: Mutex::default(),
            grown: AtomicBool::new(true),
            findings: StdMutex::default(),
            draws: StdMutex::default(),
            pledged: StdMutex::default(),
            gaps: StdMutex::default(),
            chains: Locks::default(),
            signing: Locks::default(),
            under_way: Arc::new(Semaphore::new(UNDER_WAY)),
            inputs: Arc::new(Semaphore::new(INPUTS_AT_ONCE)),
        }
    }

    pub(super) fn offers(&self) -> MutexGuard<'_, HashMap<Cid, mpsc::Sender<Offer>>> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sessions(&self) -> MutexGuard<'_, HashMap<Place, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session is over; another that has taken its place goes on.
    pub(super) fn end_session(&self, place: &Place, own: &mpsc::Sender<Word>) {
        let mut sessions = self.sessions();
        if sessions.get(place).is_some_and(|session| session.words.same_channel(own)) {
            sessions.remove(place);
        }
    }

    /// How many tasks of one proposer this node takes part in, in one guild.
    pub(super) fn sessions_of(&self, guild: &Cid, creator: &Did) -> usize {
        self.sessions().iter().filter(|((of, _), session)| of == guild && session.creator == *creator).count()
    }

    /// Whether this node has formed the guild, for a task of its own.
    pub(super) fn is_own(&self, guild: &Cid) -> bool {
        let state = self.guilds.as_ref().and_then(|guilds| guilds.get(guild));
        state.is_some_and(|state| state.formed && state.charter.signer() == self.identity.did())
    }

    pub(super) fn promised(&self) -> MutexGuard<'_, HashMap<Cid, Promise>> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn findings(&self) -> MutexGuard<'_, HashMap<String, Finding>> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn draws(&self) -> MutexGuard<'_, HashMap<(Cid, Did), Given>> {
        self.draws.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pledged(&self) -> MutexGuard<'_, HashMap<Cid, (Envelope<Attestation>, usize)>> {
        self.pledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how somebody has done.
    pub(super) fn note_try(&self, who: &Did, note: impl FnOnce(&mut Tried)) {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if tried.len() < TRIED_MAX || tried.contains_key(who) {
            note(tried.entry(who.clone()).or_default());
        }
    }

    /// Writes what must not be lost: a full disk is waited out, anything else is an error.
    pub(super) async fn write(&self, writes: Vec<Write>) -> Result<(), StorageError> {
        loop {
            match self.storage.write(&writes).await {
                Err(StorageError::Full(why)) => {
                    tracing::error!(%why, "the disk is full; the work waits until there is room");
                    tokio::time::sleep(FULL_DISK_PAUSE).await;
                }
                Ok(()) => {
                    if writes.iter().any(|write| matches!(write, Write::Link(_))) {
                        self.grown.store(true, Ordering::Relaxed);
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells the peers, and puts it into the DHT; what cannot be told now is in the network's outbox or in its catch-up, so it is
    /// only logged.
    pub(super) async fn announce(&self, document: &AnyEnvelope) {
        let Some(network) = &self.network else { return };
        if let Err(error) = network.publish(document).await {
            tracing::debug!(id = %document.id(), %error, "not announced now");
        }
        self.put(document).await;
    }

    /// Puts it into the DHT.
    pub(super) async fn put(&self, document: &AnyEnvelope) {
        let Some(network) = &self.network else { return };
        if let Err(error) = network.put(document).await {
            tracing::debug!(id = %document.id(), %error, "not in the DHT");
        }
    }

    pub(super) fn random(&self) -> Result<[u8; 32], TaskError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| TaskError::Refused(format!("the system gave no randomness: {error}")))?;
        Ok(bytes)
    }
}
