//! IPFS nodes. They have no card, so they are no peers of this network: blocks are exchanged with them, or their DHT is asked
//! where this node takes part in it, and nothing else; and they are seen off when there is nothing to exchange.

use std::time::{Duration, Instant};

use libp2p::{PeerId, StreamProtocol};

use super::Worker;
use crate::network::CARD_PROTOCOL;
use crate::network::behaviour::IPFS_KAD_PROTOCOL;
use crate::network::bitswap::{Event, PROTOCOLS};

/// Guests at once, a third of all places: there must be room for the others.
const MAX_GUESTS: usize = 42;
/// A guest nobody asked for, with which nothing was exchanged for so long, is in the way.
const GUEST_IDLE: Duration = Duration::from_secs(120);
/// Where all guests' places are taken, one idle for so long makes room for a new one: a walk through the DHT meets many.
const GUEST_MAY_GO: Duration = Duration::from_secs(5);
/// Nodes that are of no use answer mDNS, too; they are left alone for so long after it turned out what they are.
const STRANGER_TIME: Duration = Duration::from_secs(600);
/// Strangers that are remembered.
const MAX_STRANGERS: usize = 256;

impl Worker {
    /// A peer has said what it speaks.
    pub(super) fn on_protocols(&mut self, id: PeerId, protocols: &[StreamProtocol]) {
        let bitswap = PROTOCOLS.iter().any(|known| protocols.contains(known));
        if bitswap {
            self.swarm.behaviour_mut().bitswap.speaks(id);
            self.reached(&id);
        }
        let serves =
            bitswap || self.swarm.behaviour().ipfs.is_enabled() && protocols.contains(&IPFS_KAD_PROTOCOL);
        let card = protocols.iter().any(|protocol| protocol.as_ref() == CARD_PROTOCOL);
        let known = self.peers.get(&id).is_none_or(|peer| peer.is_known());
        match (card, serves, known) {
            (true, _, _) | (_, _, true) => {}
            (false, true, false) => self.on_guest(id),
            (false, false, false) => self.on_stranger(id, "it is not a zerostate node".into()),
        }
    }

    /// A peer does not know what a card is. What it is instead, it says by identify; who does not say so is of no use.
    pub(super) fn on_cardless(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.cardless = true;
        }
        self.turn_away(id);
    }

    /// A peer does not say what it is.
    pub(super) fn on_unidentified(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.unidentified = true;
        }
        self.turn_away(id);
    }

    fn turn_away(&mut self, id: PeerId) {
        if self.peers.get(&id).is_some_and(|peer| peer.is_stranger()) {
            self.on_stranger(id, "it is not a zerostate node".into());
        }
    }

    fn on_guest(&mut self, id: PeerId) {
        let guests = self.peers.values().filter(|peer| peer.guest).count();
        if guests >= MAX_GUESTS && !self.see_one_off(Instant::now()) {
            return self.on_stranger(id, "there are too many IPFS nodes here already".into());
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.guest = true;
            peer.settle(|| Ok(id));
            self.changed = true;
        }
    }

    fn on_stranger(&mut self, id: PeerId, why: String) {
        if self.strangers.len() < MAX_STRANGERS {
            self.strangers.insert(id, Instant::now() + STRANGER_TIME);
        }
        self.redial.forget_peer(&id);
        self.no_card(id, why);
    }

    /// Closes the connections of guests that nothing is exchanged with, and of those that never said what they are.
    pub(super) fn see_guests_off(&mut self, now: Instant) {
        let bitswap = &self.swarm.behaviour().bitswap;
        let idle = |id: &PeerId| {
            bitswap.idle_since(id).is_some_and(|since| now.saturating_duration_since(since) >= GUEST_IDLE)
        };
        let gone: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(id, peer)| match peer.guest {
                true => !peer.chosen && idle(id),
                false => {
                    let silent = peer.card_asked && !peer.is_known() && !peer.is_identified();
                    silent && now.saturating_duration_since(peer.since) >= GUEST_IDLE
                }
            })
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.disconnect(id, "there is nothing to exchange with it".into());
        }
    }

    /// Makes room for another guest, if one of them can go: the one idle for longest.
    fn see_one_off(&mut self, now: Instant) -> bool {
        let bitswap = &self.swarm.behaviour().bitswap;
        let guests =
            self.peers.iter().filter(|(_, peer)| peer.guest && !peer.chosen && peer.closing.is_none());
        let idle = guests.filter_map(|(id, _)| Some((bitswap.idle_since(id)?, *id)));
        let oldest = idle.min_by_key(|(since, _)| *since);
        match oldest.filter(|(since, _)| now.saturating_duration_since(*since) >= GUEST_MAY_GO) {
            Some((_, id)) => {
                self.disconnect(id, "another IPFS node needs its place".into());
                true
            }
            None => false,
        }
    }

    pub(super) fn on_bitswap_event(&mut self, event: Event) {
        match event {
            Event::Exchanged => self.changed = true,
            Event::Fault { peer, what } => self.fault(peer, what),
        }
    }
}
