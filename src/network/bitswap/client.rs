//! What this node wants of others: which peer is asked for which block, and who is asked next when one does not give it. Pure
//! rules; `now` comes in, messages and answers go out.
//!
//! ```text
//!   nobody known to have it:  want-block to the likeliest peer, want-have to the others
//!   who gave or has some:     want-block, shared out by who has the least to do, a window each
//!   DONT_HAVE, gone, silent:  the next one; when there is no next one, the asker is told so
//! ```
//!
//! A session is what belongs together, the blocks of one file for example: who had one of them probably has the others. It
//! ends when its asker is gone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cid::Cid;
use libp2p::PeerId;

use tokio::sync::oneshot;

use super::gauge::Gauge;
use super::message::{Block, Kind, Want};
use super::{Given, Missing};

/// Blocks a peer owes at once: as many at the beginning, and at most.
const WINDOW: usize = 4;
const MAX_WINDOW: usize = 12;
/// A block that came within the first widens the window, one that took longer than the second narrows it.
const QUICK: Duration = Duration::from_secs(2);
const SLOW: Duration = Duration::from_secs(8);
/// A peer of which nothing was heard for so long is not waited for if there is another.
const STALL: Duration = Duration::from_secs(3);
/// So long a peer that was asked on the off chance has, before one is asked that is known to have the block.
const MOMENT: Duration = Duration::from_millis(250);
/// However busily it sends: a block that has not come by then is asked for elsewhere. With nobody else to ask, even a slow line
/// is better than none.
const LONG: Duration = Duration::from_secs(15);
const TOO_LONG: Duration = Duration::from_secs(50);
/// Who loses its streams so often in a row is asked for other blocks only.
const MAX_LOSSES: u32 = 2;
/// Peers that are asked whether they have something before anybody is known to.
const ASKED: usize = 32;
/// Blocks that have come, of which it is known who else was asked.
const ANSWERED: usize = 64;
/// CIDs a peer was asked for last: what comes late is no fault.
const RECENT: usize = 1024;
/// Blocks wanted at once by everybody together; each holds up to 2 MiB when it comes.
const MAX_WANTS: usize = 1024;
/// Sessions at once.
const MAX_SESSIONS: usize = 256;

pub(super) type Reply = oneshot::Sender<Result<Given, Missing>>;

/// What a block from a peer was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Wanted,
    /// It was asked for, and has come already or is no longer wanted.
    Late,
    /// Nobody asked that peer for it.
    Unasked,
}

struct Waiter {
    session: u64,
    reply: Reply,
}

/// A block that is being looked for.
struct Sought {
    waiters: Vec<Waiter>,
    /// Who was asked for the block itself and may still send it.
    asked: Vec<(PeerId, Instant)>,
    /// Who was asked whether it has it, and has not said.
    sounded: HashSet<PeerId>,
    /// Who will not give it.
    refused: HashSet<PeerId>,
    /// Some of those were only silent.
    stalled: bool,
}

#[derive(Default)]
struct Session {
    /// Who is asked first.
    likely: Vec<PeerId>,
    /// Who gave a block or has one.
    providers: Vec<PeerId>,
    /// Closed when the asker is gone.
    guard: Option<oneshot::Sender<()>>,
}

struct Remote {
    gauge: Arc<Gauge>,
    owed: HashSet<Cid>,
    window: usize,
    recent: VecDeque<Cid>,
    /// Sent something that nobody asked for; not asked again.
    liar: bool,
    /// How often in a row what it was told, or owed, was lost with a stream.
    losses: u32,
    /// What it is to be told.
    tell: Vec<Want>,
}

impl Remote {
    fn remember(&mut self, cid: Cid) {
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(cid);
    }
}

/// The wants of this node.
#[derive(Default)]
pub(super) struct Client {
    peers: HashMap<PeerId, Remote>,
    sessions: HashMap<u64, Session>,
    sought: HashMap<Cid, Sought>,
    /// Wants that found all windows full, oldest first.
    queued: VecDeque<Cid>,
    /// Blocks that have come, while some who were asked whether they have them have not said: for which sessions.
    answered: VecDeque<(Cid, Vec<u64>)>,
}

impl Client {
    /// A peer that speaks Bitswap has come.
    pub(super) fn peer_came(&mut self, peer: PeerId, gauge: Arc<Gauge>) {
        let remote = Remote {
            gauge,
            owed: HashSet::new(),
            window: WINDOW,
            recent: VecDeque::new(),
            liar: false,
            losses: 0,
            tell: Vec::new(),
        };
        if self.peers.insert(peer, remote).is_none() {
            // Whoever looks in vain may find it there.
            let unknown: Vec<Cid> = self.sought.keys().copied().collect();
            unknown.iter().for_each(|cid| self.sound(cid));
        }
    }

    /// A peer has gone, and with it what it owed.
    pub(super) fn peer_left(&mut self, peer: &PeerId, now: Instant) {
        if self.peers.remove(peer).is_none() {
            return;
        }
        for session in self.sessions.values_mut() {
            session.providers.retain(|other| other != peer);
        }
        self.drop_from_wants(peer, now);
    }

    /// What was on its way to a peer is lost: it is asked again, or another.
    pub(super) fn lost(&mut self, peer: &PeerId, now: Instant) {
        let Some(remote) = self.peers.get_mut(peer) else { return };
        remote.owed.clear();
        remote.tell.clear();
        remote.losses = remote.losses.saturating_add(1);
        let hopeless = remote.losses >= MAX_LOSSES;
        for sought in self.sought.values_mut() {
            let before = sought.asked.len();
            sought.asked.retain(|(other, _)| other != peer);
            let concerned = sought.sounded.remove(peer) || sought.asked.len() != before;
            if hopeless && concerned {
                sought.refused.insert(*peer);
                sought.stalled = true;
            }
        }
        if hopeless {
            for session in self.sessions.values_mut() {
                session.providers.retain(|other| other != peer);
            }
        }
        let all: Vec<Cid> = self.sought.keys().copied().collect();
        all.iter().for_each(|cid| self.ask(cid, now));
    }

    fn drop_from_wants(&mut self, peer: &PeerId, now: Instant) {
        let mut concerned = Vec::new();
        for (cid, sought) in &mut self.sought {
            let before = sought.asked.len();
            sought.asked.retain(|(other, _)| other != peer);
            if sought.sounded.remove(peer) || sought.asked.len() != before {
                concerned.push(*cid);
            }
        }
        concerned.iter().for_each(|cid| self.ask(cid, now));
    }

    /// Begins a session; it lasts until the other end of `guard` is dropped. `false` when there are too many.
    pub(super) fn open(&mut self, id: u64, likely: Vec<PeerId>, guard: oneshot::Sender<()>) -> bool {
        if self.sessions.len() >= MAX_SESSIONS {
            return false;
        }
        self.sessions.insert(id, Session { likely, providers: Vec::new(), guard: Some(guard) });
        true
    }

    /// Somebody says that a peer has what this session looks for.
    pub(super) fn suggest(&mut self, session: u64, peer: PeerId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&session) else { return };
        if !session.likely.contains(&peer) {
            session.likely.insert(0, peer);
        }
        let all: Vec<Cid> = self.sought.keys().copied().collect();
        all.iter().for_each(|cid| self.ask(cid, now));
    }

    /// Looks for a block.
    pub(super) fn want(&mut self, session: u64, cid: Cid, reply: Reply, now: Instant) {
        if !self.sought.contains_key(&cid) && self.sought.len() >= MAX_WANTS {
            return answer(reply, Err(Missing::TooMany));
        }
        let sought = self.sought.entry(cid).or_insert_with(|| Sought {
            waiters: Vec::new(),
            asked: Vec::new(),
            sounded: HashSet::new(),
            refused: HashSet::new(),
            stalled: false,
        });
        sought.waiters.push(Waiter { session, reply });
        self.ask(&cid, now);
    }

    /// A block has come.
    pub(super) fn block(&mut self, peer: PeerId, block: &Block, now: Instant) -> Arrival {
        let Some(remote) = self.peers.get_mut(&peer) else { return Arrival::Late };
        remote.losses = 0;
        let owed = remote.owed.remove(&block.cid);
        if !owed && !remote.recent.contains(&block.cid) {
            remote.liar = true;
            self.drop_from_wants(&peer, now);
            return Arrival::Unasked;
        }
        let Some(sought) = self.sought.remove(&block.cid) else {
            self.fill(now);
            return Arrival::Late;
        };
        if let Some((_, asked)) = sought.asked.iter().find(|(other, _)| *other == peer) {
            let took = now.saturating_duration_since(*asked);
            if let Some(remote) = self.peers.get_mut(&peer) {
                if took < QUICK {
                    remote.window = (remote.window + 1).min(MAX_WINDOW);
                } else if took > SLOW {
                    remote.window = (remote.window / 2).max(1);
                }
            }
        }
        if !sought.sounded.is_empty() {
            if self.answered.len() >= ANSWERED {
                self.answered.pop_front();
            }
            let sessions = sought.waiters.iter().map(|waiter| waiter.session).collect();
            self.answered.push_back((block.cid, sessions));
        }
        for waiter in sought.waiters {
            if let Some(session) = self.sessions.get_mut(&waiter.session)
                && !session.providers.contains(&peer)
            {
                session.providers.push(peer);
            }
            answer(waiter.reply, Ok(Given { bytes: block.bytes.clone(), from: peer }));
        }
        // The giver, too: a Helia does not send a block twice unless it was cancelled.
        let told = sought.asked.iter().map(|(peer, _)| *peer).chain(sought.sounded).chain(sought.refused);
        for peer in told.chain([peer]).collect::<HashSet<_>>() {
            self.cancel(&peer, block.cid);
        }
        self.queued.retain(|cid| *cid != block.cid);
        self.fill(now);
        Arrival::Wanted
    }

    /// A peer says whether it has something.
    pub(super) fn presence(&mut self, peer: PeerId, cid: &Cid, has: bool, now: Instant) {
        let Some(sought) = self.sought.get_mut(cid) else {
            if has {
                self.late_presence(peer, cid, now);
            }
            return;
        };
        let asked = sought.asked.iter().any(|(other, _)| *other == peer);
        if !asked && !sought.sounded.remove(&peer) {
            return;
        }
        if has {
            for waiter in &sought.waiters {
                if let Some(session) = self.sessions.get_mut(&waiter.session)
                    && !session.providers.contains(&peer)
                {
                    session.providers.push(peer);
                }
            }
            // Whoever was asked on the off chance has a moment to answer.
            if sought.asked.is_empty() {
                self.ask(cid, now);
            }
            return;
        }
        sought.refused.insert(peer);
        sought.asked.retain(|(other, _)| *other != peer);
        if let Some(remote) = self.peers.get_mut(&peer) {
            remote.owed.remove(cid);
        }
        self.ask(cid, now);
        self.fill(now);
    }

    /// A peer has what came from another meanwhile: it probably has the rest, too.
    fn late_presence(&mut self, peer: PeerId, cid: &Cid, now: Instant) {
        if !self.peers.get(&peer).is_some_and(|remote| !remote.liar && remote.recent.contains(cid)) {
            return;
        }
        let Some((_, sessions)) = self.answered.iter().find(|(answered, _)| answered == cid) else { return };
        for id in sessions {
            if let Some(session) = self.sessions.get_mut(id)
                && !session.providers.contains(&peer)
            {
                session.providers.push(peer);
            }
        }
        self.fill(now);
    }

    /// Moves on from those who are silent, and forgets what nobody waits for.
    pub(super) fn tick(&mut self, now: Instant) {
        self.sessions.retain(|_, session| session.guard.as_ref().is_some_and(|guard| !guard.is_closed()));
        let mut gone = Vec::new();
        let mut stalled = Vec::new();
        let mut slow = Vec::new();
        for (cid, sought) in &mut self.sought {
            sought.waiters.retain(|waiter| !waiter.reply.is_closed());
            if sought.waiters.is_empty() {
                gone.push(*cid);
                continue;
            }
            if sought.asked.iter().all(|(_, since)| now.saturating_duration_since(*since) >= MOMENT) {
                slow.push(*cid);
            }
            for (peer, since) in &sought.asked {
                let waited = now.saturating_duration_since(*since);
                let silent = self.peers.get(peer).is_none_or(|remote| !remote.gauge.heard_within(STALL, now));
                let sessions = sought.waiters.iter().filter_map(|waiter| self.sessions.get(&waiter.session));
                let another = sessions
                    .flat_map(|session| session.providers.iter())
                    .any(|other| other != peer && !sought.refused.contains(other));
                let patience = if another { LONG } else { TOO_LONG };
                if (waited >= STALL && silent) || waited >= patience {
                    stalled.push((*cid, *peer));
                }
            }
        }
        for cid in gone {
            self.forget(&cid);
        }
        slow.iter().for_each(|cid| self.ask(cid, now));
        for (cid, peer) in stalled {
            tracing::debug!(%cid, %peer, "a block does not come");
            self.cancel(&peer, cid);
            if let Some(remote) = self.peers.get_mut(&peer) {
                remote.owed.remove(&cid);
                remote.window = 1;
            }
            let Some(sought) = self.sought.get_mut(&cid) else { continue };
            sought.asked.retain(|(other, _)| *other != peer);
            sought.refused.insert(peer);
            sought.stalled = true;
            for waiter in &sought.waiters {
                if let Some(session) = self.sessions.get_mut(&waiter.session) {
                    // It may come back by giving something.
                    session.providers.retain(|other| *other != peer);
                }
            }
            self.ask(&cid, now);
        }
        self.fill(now);
    }

    /// What there is to tell a peer, of each block one thing: go makes one entry of all that a message says of a block.
    pub(super) fn tell(&mut self, peer: &PeerId) -> Vec<Want> {
        let Some(remote) = self.peers.get_mut(peer) else { return Vec::new() };
        let mut told = HashSet::new();
        let again = remote.tell.iter().position(|want| !told.insert(want.cid));
        let rest = remote.tell.split_off(again.unwrap_or(remote.tell.len()));
        std::mem::replace(&mut remote.tell, rest)
    }

    /// Peers that there is something to tell.
    pub(super) fn to_tell(&self) -> impl Iterator<Item = PeerId> {
        self.peers.iter().filter(|(_, remote)| !remote.tell.is_empty()).map(|(peer, _)| *peer)
    }

    /// Whether anything is looked for.
    pub(super) fn is_idle(&self) -> bool {
        self.sought.is_empty() && self.sessions.is_empty()
    }

    /// Blocks that a peer owes.
    pub(super) fn owed(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).map_or(0, |remote| remote.owed.len())
    }

    fn forget(&mut self, cid: &Cid) {
        let Some(sought) = self.sought.remove(cid) else { return };
        tracing::trace!(%cid, asked = ?sought.asked, refused = ?sought.refused, "given up");
        self.queued.retain(|other| other != cid);
        // Those that do not have it, too: they would send it when it comes.
        let told = sought.asked.iter().map(|(peer, _)| *peer).chain(sought.sounded).chain(sought.refused);
        for peer in told.collect::<HashSet<_>>() {
            if let Some(remote) = self.peers.get_mut(&peer) {
                remote.owed.remove(cid);
            }
            self.cancel(&peer, *cid);
        }
        for waiter in sought.waiters {
            let why = if sought.stalled { Missing::Silent } else { Missing::Nobody };
            answer(waiter.reply, Err(why));
        }
    }

    fn cancel(&mut self, peer: &PeerId, cid: Cid) {
        let Some(remote) = self.peers.get_mut(peer) else { return };
        let before = remote.tell.len();
        remote.tell.retain(|want| want.cid != cid || want.kind == Kind::Cancel);
        // What was never told need not be taken back.
        if remote.tell.len() == before && !remote.tell.iter().any(|want| want.cid == cid) {
            remote.tell.push(Want { cid, kind: Kind::Cancel, send_dont_have: false });
        }
    }

    /// Asks the best peer for a block, if it is asked of nobody; with nobody left, the askers are told.
    fn ask(&mut self, cid: &Cid, now: Instant) {
        let Some(sought) = self.sought.get(cid) else { return };
        let open = |peer: &PeerId| {
            let usable = self.peers.get(peer).is_some_and(|remote| !remote.liar);
            usable && !sought.refused.contains(peer) && !sought.asked.iter().any(|(other, _)| other == peer)
        };
        let sessions = || sought.waiters.iter().filter_map(|waiter| self.sessions.get(&waiter.session));
        let providers: Vec<PeerId> =
            sessions().flat_map(|session| session.providers.iter().copied()).filter(open).collect();
        let asked_a_provider =
            sought.asked.iter().any(|(peer, _)| sessions().any(|session| session.providers.contains(peer)));
        if asked_a_provider {
            return;
        }
        if !providers.is_empty() {
            let room = |peer: &&PeerId| {
                self.peers.get(*peer).is_some_and(|remote| remote.owed.len() < remote.window)
            };
            let idlest = providers.iter().filter(room).min_by_key(|peer| self.owed(peer)).copied();
            match idlest {
                Some(peer) => self.ask_peer(*cid, peer, now),
                None if !self.queued.contains(cid) => self.queued.push_back(*cid),
                None => {}
            }
            return;
        }
        if sought.asked.is_empty() {
            let likely =
                sessions().flat_map(|session| session.likely.iter().copied()).find(|peer| open(peer));
            let first = likely.or_else(|| {
                // Those that say they have it will be asked; until one does, nobody else is.
                sought
                    .sounded
                    .is_empty()
                    .then(|| self.peers.keys().copied().find(|peer| open(peer)))
                    .flatten()
            });
            match first {
                Some(peer) => self.ask_peer(*cid, peer, now),
                None if sought.sounded.is_empty() => return self.forget(cid),
                None => {}
            }
        }
        self.sound(cid);
    }

    fn ask_peer(&mut self, cid: Cid, peer: PeerId, now: Instant) {
        let (Some(sought), Some(remote)) = (self.sought.get_mut(&cid), self.peers.get_mut(&peer)) else {
            return;
        };
        sought.asked.push((peer, now));
        sought.sounded.remove(&peer);
        remote.owed.insert(cid);
        remote.gauge.ask(now);
        if remote.recent.contains(&cid) {
            // What a Helia has answered, be it that it has the block, it does not answer again before a cancel.
            remote.tell.retain(|want| want.cid != cid);
            remote.tell.push(Want { cid, kind: Kind::Cancel, send_dont_have: false });
        }
        remote.remember(cid);
        remote.tell.push(Want { cid, kind: Kind::Block, send_dont_have: true });
    }

    /// Asks others whether they have it, while nobody is known to.
    fn sound(&mut self, cid: &Cid) {
        let Some(sought) = self.sought.get_mut(cid) else { return };
        let sessions = sought.waiters.iter().filter_map(|waiter| self.sessions.get(&waiter.session));
        let mut providers = sessions.flat_map(|session| session.providers.iter());
        if providers.any(|peer| !sought.refused.contains(peer)) {
            return;
        }
        for (peer, remote) in &mut self.peers {
            if sought.sounded.len() >= ASKED {
                return;
            }
            let asked = sought.asked.iter().any(|(other, _)| other == peer);
            if asked || remote.liar || sought.refused.contains(peer) || !sought.sounded.insert(*peer) {
                continue;
            }
            // A small block may come at once instead of the word that it is there.
            remote.remember(*cid);
            remote.tell.push(Want { cid: *cid, kind: Kind::Have, send_dont_have: true });
        }
    }

    /// Asks for what waited for a place.
    fn fill(&mut self, now: Instant) {
        for _ in 0..self.queued.len() {
            let Some(cid) = self.queued.pop_front() else { return };
            let before = self.queued.len();
            self.ask(&cid, now);
            if self.queued.len() > before {
                // No place for this one, so for none behind it: back to its own place.
                if let Some(cid) = self.queued.pop_back() {
                    self.queued.push_front(cid);
                }
                return;
            }
        }
    }
}

fn answer(reply: Reply, outcome: Result<Given, Missing>) {
    if reply.send(outcome).is_err() {
        tracing::trace!("nobody waits for this block any more");
    }
}
