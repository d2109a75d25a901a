//! What others want of this node, and in which turn they get it. Pure rules.
//!
//! Each peer has a wantlist here, and a line of blocks that are to be read and sent. The peers take turns, a block each; a
//! place is held from the reading until the last byte has left, because that is how long a block is in memory.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use cid::Cid;
use libp2p::PeerId;

use super::message::{Kind, Message, Want, cost};
use crate::dag::{MAX_BLOCK, canonical};
use crate::network::limits::{Admission, Bucket};

/// Wants of one peer that are remembered; what it asks beyond is answered now or not at all.
const MAX_WANTS: usize = 1024;
/// Answers of one peer that wait to be told.
const MAX_PRESENCES: usize = 2 * MAX_WANTS;
/// Place for blocks in memory, in bytes: for one peer, and for all.
const PEER_BYTES: u64 = 4 << 20;
const ALL_BYTES: u64 = 16 << 20;
/// And besides, for the one block of those who have nothing under way.
const FIRST_BYTES: u64 = 32 << 20;
/// Wants a peer may send at once and in a second: 256 KiB blocks at 1 GB/s, each with its cancel.
const WANT_BURST: u32 = 16_384;
const WANTS_PER_SECOND: f64 = 8_000.0;

struct Asker {
    /// What it wants and does not have yet, as it was asked for.
    wants: HashMap<Cid, Kind>,
    /// Blocks that are here and will be sent.
    line: VecDeque<Cid>,
    presences: Vec<(Cid, bool)>,
    /// What is being read or sent takes so much place.
    under_way: u64,
    generation: u64,
    bucket: Bucket,
}

/// A block to be read for a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ToRead {
    pub(super) peer: PeerId,
    /// As the peer asked for it.
    pub(super) cid: Cid,
    pub(super) cost: u64,
    /// Which of the peer's acquaintances it is for: what is lost with a connection is not sent on the next one.
    generation: u64,
}

/// The wants of others.
#[derive(Default)]
pub(super) struct Server {
    askers: HashMap<PeerId, Asker>,
    /// Whose turn it is.
    turns: VecDeque<PeerId>,
    under_way: u64,
    generations: u64,
}

impl Server {
    /// A peer has told what it wants. `size` says how large a block is that is here. `false` when it asks too much.
    pub(super) fn wants(
        &mut self,
        peer: PeerId,
        message: &Message,
        size: impl Fn(&Cid) -> Option<u64>,
        now: Instant,
    ) -> bool {
        let asker = self.askers.entry(peer).or_insert_with(|| {
            self.generations += 1;
            Asker {
                wants: HashMap::new(),
                line: VecDeque::new(),
                presences: Vec::new(),
                under_way: 0,
                generation: self.generations,
                bucket: Bucket::new(WANT_BURST, WANTS_PER_SECOND, now),
            }
        });
        if message.full {
            asker.wants.clear();
            asker.line.clear();
        }
        for want in &message.wants {
            match asker.bucket.take(now) {
                Admission::Yes => asker.want(want, &size),
                Admission::Later => {}
                Admission::Flood => return false,
            }
        }
        if !asker.line.is_empty() && !self.turns.contains(&peer) {
            self.turns.push_back(peer);
        }
        true
    }

    /// A block has come into the store: whoever waits for it gets it.
    pub(super) fn stored(&mut self, cid: &Cid) {
        for (peer, asker) in &mut self.askers {
            let waiting: Vec<(Cid, Kind)> = asker
                .wants
                .iter()
                .filter(|(want, _)| canonical(want) == *cid)
                .map(|(c, k)| (*c, *k))
                .collect();
            for (want, kind) in waiting {
                asker.wants.remove(&want);
                if kind == Kind::Have {
                    asker.presence(want, true);
                } else {
                    asker.line.push_back(want);
                    if !self.turns.contains(peer) {
                        self.turns.push_back(*peer);
                    }
                }
            }
        }
    }

    /// The next block to be read, whoever's turn it is.
    pub(super) fn next(&mut self, size: impl Fn(&Cid) -> Option<u64>) -> Option<ToRead> {
        for _ in 0..self.turns.len() {
            let peer = self.turns.pop_front()?;
            let Some(asker) = self.askers.get_mut(&peer) else { continue };
            // Those who fill the common place and take nothing hold up nobody who has nothing under way.
            let all = if asker.under_way == 0 { ALL_BYTES + FIRST_BYTES } else { ALL_BYTES };
            if asker.under_way >= PEER_BYTES || self.under_way >= all {
                self.turns.push_back(peer);
                continue;
            }
            let Some(cid) = asker.line.pop_front() else { continue };
            if !asker.line.is_empty() {
                self.turns.push_back(peer);
            }
            // It may have gone since it was asked for.
            let Some(size) = size(&canonical(&cid)) else {
                asker.presence(cid, false);
                continue;
            };
            let cost = cost(size);
            asker.under_way = asker.under_way.saturating_add(cost);
            self.under_way = self.under_way.saturating_add(cost);
            return Some(ToRead { peer, cid, cost, generation: asker.generation });
        }
        None
    }

    /// Blocks of a peer have left, or never will.
    pub(super) fn done(&mut self, peer: &PeerId, cost: u64) {
        if let Some(asker) = self.askers.get_mut(peer) {
            let cost = cost.min(asker.under_way);
            asker.under_way -= cost;
            self.under_way = self.under_way.saturating_sub(cost);
        }
    }

    /// What was on its way to a peer is lost. It will ask again for what it still wants.
    pub(super) fn lost(&mut self, peer: &PeerId) {
        self.done(peer, u64::MAX);
        self.generations += 1;
        if let Some(asker) = self.askers.get_mut(peer) {
            asker.generation = self.generations;
        }
    }

    /// Whether what was read is still for somebody.
    pub(super) fn is_current(&self, read: &ToRead) -> bool {
        self.askers.get(&read.peer).is_some_and(|asker| asker.generation == read.generation)
    }

    /// A peer does not take what it asked for: it is not sent any more of it.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        if let Some(asker) = self.askers.get_mut(peer) {
            asker.line.clear();
            asker.wants.clear();
        }
    }

    /// A block could not be read after all.
    pub(super) fn unreadable(&mut self, read: &ToRead) {
        self.done(&read.peer, read.cost);
        if let Some(asker) = self.askers.get_mut(&read.peer) {
            asker.presence(read.cid, false);
        }
    }

    pub(super) fn peer_left(&mut self, peer: &PeerId) {
        self.lost(peer);
        self.askers.remove(peer);
        self.turns.retain(|other| other != peer);
    }

    /// Answers for a peer.
    pub(super) fn tell(&mut self, peer: &PeerId) -> Vec<(Cid, bool)> {
        self.askers.get_mut(peer).map(|asker| std::mem::take(&mut asker.presences)).unwrap_or_default()
    }

    /// Peers that there is something to tell.
    pub(super) fn to_tell(&self) -> impl Iterator<Item = PeerId> {
        self.askers.iter().filter(|(_, asker)| !asker.presences.is_empty()).map(|(peer, _)| *peer)
    }

    /// Wants of a peer that wait.
    pub(super) fn waiting(&self, peer: &PeerId) -> usize {
        self.askers.get(peer).map_or(0, |asker| asker.wants.len() + asker.line.len())
    }
}

impl Asker {
    fn want(&mut self, want: &Want, size: impl Fn(&Cid) -> Option<u64>) {
        let here =
            size(&canonical(&want.cid)).filter(|size| usize::try_from(*size).is_ok_and(|s| s <= MAX_BLOCK));
        match (want.kind, here) {
            (Kind::Cancel, _) => {
                self.wants.remove(&want.cid);
                self.line.retain(|cid| *cid != want.cid);
            }
            (Kind::Have, Some(_)) => self.presence(want.cid, true),
            (Kind::Block, Some(_)) => {
                self.wants.remove(&want.cid);
                if self.line.len() < MAX_WANTS && !self.line.contains(&want.cid) {
                    self.line.push_back(want.cid);
                }
            }
            (kind, None) => {
                if want.send_dont_have {
                    self.presence(want.cid, false);
                }
                if self.wants.len() < MAX_WANTS {
                    self.wants.insert(want.cid, kind);
                }
            }
        }
    }

    fn presence(&mut self, cid: Cid, here: bool) {
        if self.presences.len() < MAX_PRESENCES {
            self.presences.push((cid, here));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dag::leaf;

    #[test]
    fn what_is_not_here_is_said_at_once_and_sent_when_it_comes_unless_it_was_cancelled() {
        let (peer, now) = (PeerId::random(), Instant::now());
        let (wanted, cancelled) = (leaf(b"wanted").cid, leaf(b"cancelled").cid);
        let want = |cid, kind| Want { cid, kind, send_dont_have: true };
        let told = |wants| Message { wants, ..Message::default() };
        let mut server = Server::default();
        let wants = told(vec![want(wanted, Kind::Block), want(cancelled, Kind::Block)]);
        assert!(server.wants(peer, &wants, |_| None, now));
        assert_eq!(server.tell(&peer), [(wanted, false), (cancelled, false)]);
        assert!(server.wants(peer, &told(vec![want(cancelled, Kind::Cancel)]), |_| None, now));
        assert_eq!((server.next(|_| Some(6)), server.waiting(&peer)), (None, 1));
        server.stored(&wanted);
        server.stored(&cancelled);
        let read = server.next(|_| Some(6)).map(|read| (read.peer, read.cid));
        assert_eq!((read, server.next(|_| Some(6))), (Some((peer, wanted)), None));
    }
}
