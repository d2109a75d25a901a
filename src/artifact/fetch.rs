//! Getting a file from whoever has it.
//!
//! Some blocks are looked for at once and taken in the order of the file. A block comes from the store, from the peers of the
//! session, or from a gateway; when the session knows nobody, the hints and the DHT are asked who has the file.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesOrdered;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout, timeout_at};

use super::transfer::{Direction, Ongoing};
use super::{ArtifactError, ArtifactRecord, Artifacts, GOT_AT_ONCE, Lease};
use crate::dag::{Walk, Wanted, canonical};
use crate::document::Sha256Digest;
use crate::network::{Fetched, NetworkError, Session};

/// Blocks of a file that are looked for at once, each of up to 2 MiB in memory.
const WINDOW: usize = 12;
/// Without any new block for so long, it is given up.
const STARVED: Duration = Duration::from_secs(60);
/// A file may take so long, and then a second more for each 128 KiB.
const AT_LEAST: Duration = Duration::from_secs(120);
const SLOWEST: u64 = 128 << 10;
/// So many searches in a row without a block, then nobody has it.
const ROUNDS: u32 = 4;
/// Between two searches for more providers, once some have been found.
const SEARCH_PAUSE: Duration = Duration::from_secs(1);
/// A hint that does not answer holds up nobody.
const HINT_WITHIN: Duration = Duration::from_secs(5);
/// Of a long complaint so much is passed on.
const COMPLAINTS: usize = 4;

/// What is to be got.
#[derive(Debug, Clone)]
pub struct Order {
    pub cid: Cid,
    /// The most that is taken, in bytes.
    pub limit: u64,
    /// Peers to ask first.
    pub likely: Vec<String>,
    /// Multiaddresses, each ending in `/p2p/…`, of nodes that are said to have it.
    pub hints: Vec<String>,
    /// Whether blocks that are here are read and hashed again, and not only looked for.
    pub verify: bool,
    /// What the whole file must be.
    pub sha256: Option<Sha256Digest>,
}

impl Order {
    /// An order for a file of at most `limit` bytes, from whomever.
    pub fn new(cid: Cid, limit: u64) -> Self {
        Self { cid, limit, likely: Vec::new(), hints: Vec::new(), verify: false, sha256: None }
    }
}

impl Artifacts {
    /// Gets a file into the store, if it is not there. Gives its record, and whence how many bytes came.
    ///
    /// # Errors
    /// [`ArtifactError::Missing`] when nobody has it, [`ArtifactError::Late`] when it does not come, [`ArtifactError::Dag`] when
    /// it is no file or too large, [`ArtifactError::OtherFile`], [`ArtifactError::NoRoom`], [`ArtifactError::Storage`]. Blocks
    /// that came stay, so the next try goes on from there.
    pub async fn get(&self, order: &Order) -> Result<(ArtifactRecord, BTreeMap<String, u64>), ArtifactError> {
        let inner = &self.inner;
        let cid = canonical(&order.cid);
        if let Some(known) = self.whole(&cid, order.verify).await? {
            check(&known, order)?;
            return Ok((known, BTreeMap::new()));
        }
        let Ok(Ok(_place)) = timeout(AT_LEAST, inner.getting.acquire()).await else {
            return Err(ArtifactError::Busy(GOT_AT_ONCE));
        };
        let lease = inner.leases.hold();
        lease.add(&cid);
        let ongoing = inner.transfers.begin(Direction::Get, Some(cid), None);
        let fetch = Fetch {
            artifacts: self,
            order,
            lease: lease.clone(),
            ongoing: &ongoing,
            searching: tokio::sync::Mutex::default(),
            search: Mutex::default(),
        };
        let (sha256, size) = fetch.run(cid).await?;
        let record = ArtifactRecord { cid, sha256, size, pinned: false, added_at: Timestamp::now() };
        check(&record, order)?;
        Ok((inner.complete(record, &lease).await?, ongoing.sources()))
    }
}

fn check(record: &ArtifactRecord, order: &Order) -> Result<(), ArtifactError> {
    if record.size > order.limit {
        return Err(ArtifactError::TooLarge(order.limit));
    }
    match order.sha256 {
        Some(expected) if expected != record.sha256 => {
            Err(ArtifactError::OtherFile { cid: record.cid.to_string(), found: record.sha256, expected })
        }
        _ => Ok(()),
    }
}

/// What was tried so far to find more providers.
#[derive(Default)]
struct Search {
    /// How often everything was tried since the last block came.
    rounds: u32,
    last: Option<Instant>,
    said: Vec<String>,
    gateways: Vec<String>,
}

struct Fetch<'a> {
    artifacts: &'a Artifacts,
    order: &'a Order,
    lease: Lease,
    ongoing: &'a Ongoing,
    /// Held by the one who searches for all.
    searching: tokio::sync::Mutex<()>,
    search: Mutex<Search>,
}

impl Fetch<'_> {
    async fn run(&self, root: Cid) -> Result<(Sha256Digest, u64), ArtifactError> {
        let session = match &self.artifacts.inner.network {
            Some(network) => Some(network.session(&self.order.likely).await?),
            None => None,
        };
        let mut walk = Walk::new(&root, self.order.limit)?;
        let mut coming = FuturesOrdered::new();
        let mut whole = Sha256::new();
        let started = Instant::now();
        let mut end = started + AT_LEAST;
        // What is below a branch comes before what is behind it.
        let mut branch_open = false;
        loop {
            while coming.len() < WINDOW && !branch_open {
                let Some(wanted) = walk.take() else { break };
                branch_open = !wanted.is_leaf();
                self.lease.add(&wanted.cid);
                coming.push_back(self.block(session.as_ref(), wanted));
            }
            let late = |tried| {
                let seconds = started.elapsed().as_secs();
                ArtifactError::Late { cid: root.to_string(), seconds, tried }
            };
            let next = match timeout_at(end.min(Instant::now() + STARVED), coming.next()).await {
                Ok(Some(next)) => next?,
                Ok(None) => break,
                Err(_) => return Err(late(self.said())),
            };
            let (wanted, bytes, source) = next;
            let knew_size = walk.size().is_some();
            match walk.open(&wanted, &bytes)? {
                Some(leaf) => {
                    // A mebibyte takes half a millisecond.
                    whole.update(&leaf);
                    self.ongoing.advance(u64::try_from(leaf.len()).unwrap_or(u64::MAX), Some(&source));
                }
                None => branch_open = false,
            }
            if !wanted.is_leaf() {
                branch_open = false;
            }
            if let Some(size) = walk.size().filter(|_| !knew_size) {
                self.ongoing.size(size);
                end = started + AT_LEAST + Duration::from_secs(size / SLOWEST);
            }
        }
        let size = walk.size().unwrap_or_default();
        Ok((Sha256Digest::from_bytes(whole.finalize().into()), size))
    }

    /// One block, from wherever it is.
    async fn block(
        &self,
        session: Option<&Session>,
        wanted: Wanted,
    ) -> Result<(Wanted, Bytes, String), ArtifactError> {
        let (cid, storage) = (wanted.cid, &self.artifacts.inner.storage);
        match storage.blocks().get(&cid).await {
            Ok(Some(bytes)) => return Ok((wanted, bytes, "store".to_owned())),
            Ok(None) => {}
            // A damaged block has been removed and can be got like a missing one.
            Err(error) => tracing::warn!(%cid, %error, "a stored block cannot be used"),
        }
        let (bytes, source) = loop {
            let given = match session {
                Some(session) => session.get(&cid).await,
                None => Err(NetworkError::NoProvider(cid.to_string())),
            };
            let silent = match given {
                Ok(Fetched { bytes, from }) => {
                    self.found().rounds = 0;
                    break (bytes, from);
                }
                Err(NetworkError::NoProvider(_)) => false,
                Err(NetworkError::Silent(_)) => true,
                Err(error) => return Err(error.into()),
            };
            if let Some(given) = self.elsewhere(session, &cid, silent).await? {
                break given;
            }
        };
        let _place = self.artifacts.make_room(bytes.len()).await?;
        storage.blocks().put_checked(&cid, bytes.clone()).await?;
        if let Some(network) = &self.artifacts.inner.network {
            network.stored(vec![cid]).await?;
        }
        Ok((wanted, bytes, source))
    }

    /// The block from a gateway, or nothing when it is worth to ask the peers again.
    async fn elsewhere(
        &self,
        session: Option<&Session>,
        cid: &Cid,
        silent: bool,
    ) -> Result<Option<(Bytes, String)>, ArtifactError> {
        let gateway = self.artifacts.inner.gateways.block(cid);
        let search = self.search(session, silent);
        tokio::pin!(gateway, search);
        let (given, worth_it) = tokio::select! {
            given = &mut gateway => match given {
                Ok(given) => return Ok(Some(given)),
                Err(said) => {
                    self.found().gateways = said;
                    (Err(()), search.await?)
                }
            },
            worth_it = &mut search => match worth_it? {
                true => return Ok(None),
                false => {
                    let given = gateway.await.map_err(|said| self.found().gateways = said);
                    (given, false)
                }
            },
        };
        match given {
            Ok(given) => Ok(Some(given)),
            Err(_) if worth_it => Ok(None),
            Err(_) => Err(ArtifactError::Missing { cid: self.order.cid.to_string(), tried: self.said() }),
        }
    }

    /// Looks for more providers, once for all blocks that lack one. Whether it is worth to ask the peers again.
    async fn search(&self, session: Option<&Session>, silent: bool) -> Result<bool, ArtifactError> {
        let (Some(session), Some(network)) = (session, &self.artifacts.inner.network) else {
            return Ok(false);
        };
        let asked = Instant::now();
        let _searching = self.searching.lock().await;
        let last = self.found().last;
        match last {
            // Somebody else has looked meanwhile.
            Some(last) if last > asked => return Ok(self.found().rounds < ROUNDS),
            Some(last) => tokio::time::sleep_until(last + SEARCH_PAUSE).await,
            None => {}
        }
        let hints = self.order.hints.iter().map(|hint| async move {
            match timeout(HINT_WITHIN, network.visit(hint)).await {
                Ok(Ok(peer)) => Ok(peer),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("{hint} does not answer")),
            }
        });
        let (visited, providers) = tokio::join!(join_all(hints), network.providers(&self.order.cid));
        let mut said = vec![match silent {
            true => "the peers that may have it do not send it".to_owned(),
            false => "no connected peer has it".to_owned(),
        }];
        let mut found = Vec::new();
        for visited in visited {
            match visited {
                Ok(peer) => found.push(peer),
                Err(why) => said.push(why),
            }
        }
        match providers {
            Ok(providers) if providers.is_empty() => said.push("the DHT names nobody who answers".to_owned()),
            Ok(providers) => found.extend(providers),
            Err(error) => said.push(format!("the DHT: {error}")),
        }
        for peer in &found {
            session.suggest(peer).await?;
        }
        let some_came = self.ongoing.sources().keys().any(|source| source != "store");
        let hopeful = silent || some_came || !found.is_empty();
        let mut search = self.found();
        search.rounds = search.rounds.saturating_add(1);
        search.last = Some(Instant::now());
        search.said = said;
        Ok(hopeful && search.rounds < ROUNDS)
    }

    fn found(&self) -> MutexGuard<'_, Search> {
        self.search.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was tried in the last search, as a sentence.
    fn said(&self) -> String {
        let search = self.found();
        let said = search.said.iter().take(COMPLAINTS).chain(search.gateways.iter().take(COMPLAINTS));
        let said: Vec<&str> = said.map(String::as_str).collect();
        if said.is_empty() { "nobody has answered yet".to_owned() } else { said.join("; ") }
    }
}
