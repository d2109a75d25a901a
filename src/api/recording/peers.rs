//! Who was connected.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::snapshot::{LedgerView, PeerView};
use crate::document::Untrusted;
use crate::identity::Did;
use crate::storage::{Event, Happening};

/// Who was connected.
pub(super) fn peers(past: &[Event]) -> Vec<Arc<PeerView>> {
    let mut peers: BTreeMap<&str, PeerView> = BTreeMap::new();
    let mut cards: HashMap<&str, (&Did, &Untrusted)> = HashMap::new();
    let mut faults: HashMap<&str, u32> = HashMap::new();
    for event in past {
        match &event.what {
            // A node that starts has no peers yet, whatever the journal says of its last run.
            Happening::Started { .. } | Happening::Stopped => peers.clear(),
            Happening::PeerConnected { peer_id, address } => {
                peers.insert(peer_id, peer(peer_id, address, event.at));
            }
            Happening::PeerDisconnected { peer_id, .. } => {
                peers.remove(peer_id.as_str());
            }
            Happening::PeerCard { peer_id, did, name } => {
                cards.insert(peer_id, (did, name));
            }
            Happening::PeerFault { peer_id, .. } => *faults.entry(peer_id).or_default() += 1,
            _ => {}
        }
    }
    for (id, peer) in &mut peers {
        if let Some((did, name)) = cards.get(id) {
            peer.did = Some((*did).clone());
            peer.name = Some((*name).clone());
        }
        peer.faults = faults.get(id).copied().unwrap_or(0);
    }
    peers.into_values().map(Arc::new).collect()
}

fn peer(peer_id: &str, address: &Untrusted, at: Timestamp) -> PeerView {
    PeerView {
        peer_id: Untrusted::new(peer_id).to_string(),
        did: None,
        name: None,
        address: address.clone(),
        relayed: address.as_str().contains("/p2p-circuit"),
        connected_since: at,
        ping_us: Vec::new(),
        capabilities: Vec::new(),
        prices: None,
        agent: Untrusted::default(),
        protocols: Vec::new(),
        bytes_in: 0,
        bytes_out: 0,
        guest: false,
        bitswap: LedgerView::default(),
        faults: 0,
    }
}
