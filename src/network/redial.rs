//! Addresses to come back to: the bootstrap list for ever, what the operator connected to for a while. Pure; `now` comes in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

/// The wait after the first failure; it doubles from there.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// 1 + 2 + 4 + … + 60 s: about eight minutes, a restart and more.
const PATIENCE: u32 = 12;
/// Addresses beside the bootstrap list.
const MAX_VISITED: usize = 64;

#[derive(Debug)]
struct Entry {
    peer: Option<PeerId>,
    wait: Duration,
    next: Instant,
    dialling: bool,
    /// `None`: never given up.
    tries_left: Option<u32>,
}

/// Whom to dial again, and when.
#[derive(Debug, Default)]
pub(super) struct Redial {
    entries: HashMap<Multiaddr, Entry>,
}

impl Redial {
    /// An address that is never given up.
    pub(super) fn keep(&mut self, address: Multiaddr, peer: Option<PeerId>, now: Instant) {
        let entry = Entry { peer, wait: FIRST_WAIT, next: now, dialling: false, tries_left: None };
        self.entries.insert(address, entry);
    }

    /// An address that worked once, at `peer`.
    pub(super) fn visited(&mut self, address: Multiaddr, peer: PeerId, now: Instant) {
        let visited = self.entries.values().filter(|entry| entry.tries_left.is_some()).count();
        if self.entries.contains_key(&address) || visited >= MAX_VISITED {
            return;
        }
        let entry = Entry {
            peer: Some(peer),
            wait: FIRST_WAIT,
            next: now,
            dialling: false,
            tries_left: Some(PATIENCE),
        };
        self.entries.insert(address, entry);
    }

    /// What is to be dialled now. Each address given back counts as being dialled until [`failed`](Self::failed) or
    /// [`connected`](Self::connected).
    pub(super) fn due(&mut self, now: Instant, is_connected: impl Fn(&PeerId) -> bool) -> Vec<Multiaddr> {
        let mut due = Vec::new();
        for (address, entry) in &mut self.entries {
            if !entry.dialling && entry.next <= now && !entry.peer.as_ref().is_some_and(&is_connected) {
                entry.dialling = true;
                due.push(address.clone());
            }
        }
        due
    }

    pub(super) fn failed(&mut self, address: &Multiaddr, now: Instant) {
        let Some(entry) = self.entries.get_mut(address) else { return };
        entry.dialling = false;
        entry.next = now + entry.wait;
        entry.wait = (entry.wait * 2).min(LONGEST_WAIT);
        if let Some(left) = &mut entry.tries_left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.entries.remove(address);
            }
        }
    }

    pub(super) fn connected(&mut self, address: &Multiaddr, peer: PeerId) {
        if let Some(entry) = self.entries.get_mut(address) {
            entry.dialling = false;
            entry.peer = Some(peer);
            entry.wait = FIRST_WAIT;
            entry.tries_left = entry.tries_left.map(|_| PATIENCE);
        }
    }

    /// A peer is gone: its addresses are due again shortly.
    pub(super) fn lost(&mut self, peer: &PeerId, now: Instant) {
        for entry in self.entries.values_mut().filter(|entry| entry.peer.as_ref() == Some(peer)) {
            entry.next = now + entry.wait;
        }
    }

    /// Gives an address up.
    pub(super) fn forget(&mut self, address: &Multiaddr) {
        self.entries.remove(address);
    }

    /// Gives up all addresses of a peer, except those that are never given up.
    pub(super) fn forget_peer(&mut self, peer: &PeerId) {
        self.entries.retain(|_, entry| entry.tries_left.is_none() || entry.peer.as_ref() != Some(peer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Multiaddr {
        "/ip4/192.0.2.1/tcp/4001".parse().unwrap()
    }

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_starts_again_after_success() {
        let mut now = Instant::now();
        let mut redial = Redial::default();
        redial.keep(address(), None, now);
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert_eq!(redial.due(now, |_| false), [address()]);
            assert!(redial.due(now, |_| false).is_empty(), "it is being dialled");
            redial.failed(&address(), now);
            let entry = &redial.entries[&address()];
            waits.push(entry.next.duration_since(now).as_secs());
            now = entry.next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);

        let peer = PeerId::random();
        assert_eq!(redial.due(now, |_| false).len(), 1);
        redial.connected(&address(), peer);
        assert!(redial.due(now, |p| *p == peer).is_empty(), "connected");
        redial.lost(&peer, now);
        assert!(redial.due(now, |_| false).is_empty(), "not at once");
        assert_eq!(redial.due(now + FIRST_WAIT, |_| false).len(), 1);
    }

    #[test]
    fn a_visited_address_is_given_up_and_a_bootstrap_address_is_not() {
        let mut now = Instant::now();
        let peer = PeerId::random();
        let other: Multiaddr = "/ip4/192.0.2.2/tcp/4001".parse().unwrap();
        let mut redial = Redial::default();
        redial.keep(address(), None, now);
        redial.visited(other.clone(), peer, now);
        for _ in 0..PATIENCE {
            now += LONGEST_WAIT;
            for due in redial.due(now, |_| false) {
                redial.failed(&due, now);
            }
        }
        assert!(redial.entries.contains_key(&address()));
        assert!(!redial.entries.contains_key(&other));
    }
}
