//! How far what is being added and got is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cid::Cid;
use tokio::sync::watch;

/// Sources of one transfer that are named.
const SOURCES: usize = 16;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Into the store, from here.
    Add,
    /// From others.
    Get,
}

/// A file on its way into the store.
#[derive(Debug, Clone)]
pub struct Transfer {
    pub id: u64,
    pub direction: Direction,
    /// Known from the start of a get.
    pub cid: Option<Cid>,
    /// Bytes of the file that are in the store.
    pub done: u64,
    /// Bytes of the file, once that is known.
    pub size: Option<u64>,
    pub since: Instant,
    /// Whence how many bytes came: peer ids, gateways, `store`.
    pub sources: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct State {
    next: u64,
    running: BTreeMap<u64, Transfer>,
}

#[derive(Debug)]
pub(super) struct Transfers {
    state: Arc<Mutex<State>>,
    publisher: Arc<watch::Sender<Arc<Vec<Transfer>>>>,
}

impl Default for Transfers {
    fn default() -> Self {
        let (publisher, _) = watch::channel(Arc::default());
        let state = State { next: 1, running: BTreeMap::new() };
        Self { state: Arc::new(Mutex::new(state)), publisher: Arc::new(publisher) }
    }
}

impl Transfers {
    pub(super) fn watch(&self) -> watch::Receiver<Arc<Vec<Transfer>>> {
        self.publisher.subscribe()
    }

    /// A new transfer, seen by others until what is returned is dropped.
    pub(super) fn begin(&self, direction: Direction, cid: Option<Cid>, size: Option<u64>) -> Ongoing {
        let mut state = lock(&self.state);
        let id = state.next;
        state.next = id.wrapping_add(1);
        let since = Instant::now();
        let sources = BTreeMap::new();
        state.running.insert(id, Transfer { id, direction, cid, done: 0, size, since, sources });
        drop(state);
        let ongoing = Ongoing { id, state: Arc::clone(&self.state), publisher: Arc::clone(&self.publisher) };
        ongoing.tell();
        ongoing
    }
}

/// A transfer that is going on.
#[derive(Debug)]
pub(super) struct Ongoing {
    id: u64,
    state: Arc<Mutex<State>>,
    publisher: Arc<watch::Sender<Arc<Vec<Transfer>>>>,
}

impl Ongoing {
    /// So many more bytes are in the store.
    pub(super) fn advance(&self, bytes: u64, source: Option<&str>) {
        self.change(|transfer| {
            transfer.done = transfer.done.saturating_add(bytes);
            let Some(source) = source else { return };
            if let Some(known) = transfer.sources.get_mut(source) {
                *known = known.saturating_add(bytes);
            } else if transfer.sources.len() < SOURCES {
                transfer.sources.insert(source.to_owned(), bytes);
            }
        });
    }

    pub(super) fn size(&self, size: u64) {
        self.change(|transfer| transfer.size = Some(size));
    }

    /// Whence how many bytes came so far.
    pub(super) fn sources(&self) -> BTreeMap<String, u64> {
        lock(&self.state).running.get(&self.id).map(|transfer| transfer.sources.clone()).unwrap_or_default()
    }

    fn change(&self, change: impl FnOnce(&mut Transfer)) {
        if let Some(transfer) = lock(&self.state).running.get_mut(&self.id) {
            change(transfer);
        }
        self.tell();
    }

    fn tell(&self) {
        let running = lock(&self.state).running.values().cloned().collect();
        self.publisher.send_replace(Arc::new(running));
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        lock(&self.state).running.remove(&self.id);
        self.tell();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
