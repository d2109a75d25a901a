//! The connected peers as consoles see them.

use std::sync::Arc;

use crate::api::{LedgerView, PeerView};
use crate::document::Untrusted;
use crate::network::{Ledger, PeerState};

/// What was shown of the peers last: whoever is as before is not looked at again.
#[derive(Default)]
pub(super) struct Views(Vec<(Arc<PeerState>, Arc<PeerView>)>);

impl Views {
    pub(super) fn of(&mut self, peers: &[Arc<PeerState>]) -> Vec<Arc<PeerView>> {
        let mut before = std::mem::take(&mut self.0).into_iter();
        self.0.reserve(peers.len());
        for state in peers {
            // Both begin with the longest-known, so whoever is passed over is gone.
            let known = before.find(|(old, _)| Arc::ptr_eq(old, state) || old.peer_id == state.peer_id);
            let view = match known {
                Some((old, view)) if Arc::ptr_eq(&old, state) => view,
                _ => Arc::new(peer(state)),
            };
            self.0.push((Arc::clone(state), view));
        }
        self.0.iter().map(|(_, view)| Arc::clone(view)).collect()
    }
}

fn peer(state: &PeerState) -> PeerView {
    let card = state.card.as_ref().map(|card| card.document());
    PeerView {
        peer_id: state.peer_id.clone(),
        did: card.map(|card| card.did.clone()),
        name: card.map(|card| Untrusted::new(&card.name)),
        address: Untrusted::new(&state.address),
        relayed: state.relayed,
        connected_since: state.connected_since,
        ping_us: state.ping.clone(),
        capabilities: card
            .map(|c| c.capabilities.iter().map(|c| Untrusted::new(c)).collect())
            .unwrap_or_default(),
        prices: card.map(|card| card.prices),
        agent: Untrusted::new(&state.agent_version),
        protocols: state.protocols.iter().map(|protocol| Untrusted::new(protocol)).collect(),
        bytes_in: state.bytes_in,
        bytes_out: state.bytes_out,
        guest: state.guest,
        bitswap: ledger(state.bitswap),
        faults: state.faults,
    }
}

pub(super) fn ledger(ledger: Ledger) -> LedgerView {
    LedgerView {
        blocks_sent: ledger.blocks_sent,
        bytes_sent: ledger.bytes_sent,
        blocks_received: ledger.blocks_received,
        bytes_received: ledger.bytes_received,
        duplicates: ledger.duplicates,
        wants: ledger.wants,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn state(peer_id: &str, bytes_in: u64) -> Arc<PeerState> {
        Arc::new(PeerState {
            peer_id: peer_id.to_owned(),
            did: None,
            address: "/ip4/192.0.2.1/tcp/4001".to_owned(),
            relayed: false,
            connected_since: Timestamp::UNIX_EPOCH,
            ping: Vec::new(),
            agent_version: String::new(),
            protocols: Vec::new(),
            card: None,
            bytes_in,
            bytes_out: 0,
            bitswap: Ledger::default(),
            guest: false,
            faults: 0,
        })
    }

    #[test]
    fn whoever_is_as_before_is_shared_and_everybody_else_is_shown_anew() {
        let mut views = Views::default();
        let [a, b, c] = ["a", "b", "c"].map(|id| state(id, 1));
        let first = views.of(&[Arc::clone(&a), Arc::clone(&b), Arc::clone(&c)]);
        // One has gone, one has other numbers, and one has come.
        let second = views.of(&[Arc::clone(&a), state("c", 2), state("d", 1)]);
        let shown: Vec<_> = second.iter().map(|view| (view.peer_id.as_str(), view.bytes_in)).collect();
        assert_eq!(shown, [("a", 1), ("c", 2), ("d", 1)]);
        assert!(Arc::ptr_eq(&first[0], &second[0]));
        assert!(!Arc::ptr_eq(&first[2], &second[1]));
        // In another order they are the same.
        let third = views.of(&[state("d", 3), Arc::clone(&a)]);
        let shown: Vec<_> = third.iter().map(|view| (view.peer_id.as_str(), view.bytes_in)).collect();
        assert_eq!(shown, [("d", 3), ("a", 1)]);
    }
}
