//! What all guilds of a node have in common: who the node is, where things are kept, and the way to the others.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cid::Cid;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::directory::Directory;
use super::offered::OfferedKeys;
use super::state::GuildState;
use super::wire::{Ask, Parcel, Reply, What};
use super::worker::Order;
use super::{GuildError, Refusal, Told};
use crate::document::{Envelope, Untrusted};
use crate::identity::{Did, Identity};
use crate::network::{Network, NetworkError};
use crate::storage::{Happening, Storage, Write};

/// How long a connection to somebody may take whom this node is not connected to, before a third member is asked.
const REACH_WITHIN: Duration = Duration::from_secs(2);
/// How long somebody who could not be reached is not tried again.
const LOST_FOR: Duration = Duration::from_secs(30);
/// Of so many that is remembered.
const LOST_MAX: usize = 1024;
/// Members that are asked to pass something on.
const THIRDS: usize = 3;

/// A guild this node is in: its worker, and what it looks like.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) state: watch::Receiver<Arc<GuildState>>,
}

pub(super) struct Shared {
    pub(super) identity: Arc<Identity>,
    pub(super) storage: Storage,
    pub(super) network: Network,
    pub(super) tracker: TaskTracker,
    pub(super) shutdown: CancellationToken,
    /// What is said about tasks goes up there.
    pub(super) tasks: mpsc::Sender<Told>,
    pub(super) offered: Arc<OfferedKeys>,
    live: Mutex<BTreeMap<Cid, Live>>,
    pub(super) directory: Mutex<Directory>,
    /// Counts what changes in any guild.
    pub(super) changes: watch::Sender<u64>,
    lost: Mutex<HashMap<Did, Instant>>,
}

impl Shared {
    pub(super) fn new(
        identity: Arc<Identity>,
        storage: Storage,
        network: Network,
        tracker: TaskTracker,
        shutdown: CancellationToken,
        tasks: mpsc::Sender<Told>,
    ) -> Self {
        Self {
            identity,
            storage,
            network,
            tracker,
            shutdown,
            tasks,
            offered: Arc::default(),
            live: Mutex::default(),
            directory: Mutex::default(),
            changes: watch::channel(0).0,
            lost: Mutex::default(),
        }
    }

    pub(super) fn me(&self) -> &Did {
        self.identity.did()
    }

    pub(super) fn live(&self) -> MutexGuard<'_, BTreeMap<Cid, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn of(&self, guild: &Cid) -> Option<Live> {
        self.live().get(guild).cloned()
    }

    pub(super) fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The guild is over, or this node is in it no more.
    pub(super) fn forget(&self, guild: &Cid, own: &Live) {
        let mut live = self.live();
        if live.get(guild).is_some_and(|known| known.orders.same_channel(&own.orders)) {
            live.remove(guild);
        }
        drop(live);
        self.changed();
    }

    /// Says something to somebody: straight, over a new connection, or through one of `thirds`.
    pub(super) async fn send(&self, to: &Did, ask: &Ask, thirds: &[Did]) -> Result<Reply, GuildError> {
        let (peer, said) = (to.peer_id(), ask.bytes()?);
        // An offer is good once: said again, it is none.
        let once = matches!(ask.what, What::Enlist { .. });
        for tries in 0..2 {
            match self.network.guild(&peer, Arc::clone(&said)).await {
                Ok(reply) => return Ok(Reply::read(&reply)?),
                // The connection may have gone under it; who has heard it takes it once.
                Err(NetworkError::Request { .. }) if tries == 0 && !once => {}
                Err(NetworkError::NotConnected(_)) if tries == 0 && self.reach(to).await => {}
                Err(NetworkError::NotConnected(_) | NetworkError::Request { .. }) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let passed = if ask.what.is_passed_on() { self.forward(to, ask, thirds).await? } else { None };
        passed.ok_or_else(|| Refusal::NotReached(to.clone()).into())
    }

    async fn reach(&self, to: &Did) -> bool {
        let lost = || self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if lost().get(to).is_some_and(|since| since.elapsed() < LOST_FOR) {
            return false;
        }
        let reached = tokio::time::timeout(REACH_WITHIN, self.network.reach(&to.peer_id())).await;
        if matches!(reached, Ok(Ok(()))) {
            lost().remove(to);
            return true;
        }
        let mut lost = lost();
        lost.retain(|_, since| since.elapsed() < LOST_FOR);
        if lost.len() < LOST_MAX {
            lost.insert(to.clone(), Instant::now());
        }
        false
    }

    /// Has a third member pass something on, signed, because it comes from that one's connection.
    async fn forward(&self, to: &Did, ask: &Ask, thirds: &[Did]) -> Result<Option<Reply>, GuildError> {
        let parcel =
            Parcel { from: self.me().clone(), to: to.clone(), at: Timestamp::now(), ask: ask.clone() };
        let parcel = Envelope::sign(&self.identity, &parcel)?.bytes().to_vec();
        let said = Ask::new(ask.about, What::Forward { to: to.clone(), parcel }).bytes()?;
        let connected: Vec<String> =
            self.network.state().borrow().peers.iter().map(|peer| peer.peer_id.clone()).collect();
        let thirds = thirds.iter().filter(|third| *third != to).map(Did::peer_id);
        for third in thirds.filter(|third| connected.contains(third)).take(THIRDS) {
            match self.network.guild(&third, Arc::clone(&said)).await.map(|reply| Reply::read(&reply)) {
                Ok(Ok(Reply::Refused(Refusal::NotReached(_) | Refusal::NotIn(_) | Refusal::NoSuchGuild))) => {
                }
                // A third member cannot say in the creator's name that this one is out.
                Ok(Ok(Reply::Refused(_))) if !matches!(ask.what, What::Message(_)) => {}
                Ok(reply) => return Ok(Some(reply?)),
                Err(error) => tracing::debug!(%third, %error, "a third member passed nothing on"),
            }
        }
        Ok(None)
    }

    pub(super) async fn write(&self, rows: Vec<Write>) -> Result<(), GuildError> {
        Ok(self.storage.write(&rows).await?)
    }

    pub(super) fn random(&self) -> Result<[u8; 32], GuildError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| GuildError::Random(error.to_string()))?;
        Ok(bytes)
    }
}

/// An entry of the journal about a guild; the detail may be empty.
pub(super) fn event(state: &GuildState, step: &str, who: &Did, detail: &str) -> Write {
    let happening = Happening::Guild {
        guild_id: state.id.to_string(),
        name: Untrusted::new(&state.charter.document().name),
        step: step.to_owned(),
        who: who.clone(),
        detail: (!detail.is_empty()).then(|| Untrusted::new(detail)),
    };
    Write::Event(Timestamp::now(), happening)
}
