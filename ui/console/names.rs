//! What the peers call themselves, found by who they are.

use std::collections::HashMap;
use std::sync::Arc;

use zerostate::api::PeerView;
use zerostate::document::Untrusted;
use zerostate::identity::Did;

/// The names on the cards of connected peers. Nobody else can be called `you`.
#[derive(Debug, Default)]
pub struct Names {
    known: HashMap<Did, Untrusted>,
    by_peer: HashMap<String, Untrusted>,
    /// Raised with every change.
    version: u64,
}

impl Names {
    /// Reads the names of peers. There is nothing to do while they are those of `before`, where the same peers stand in the same places.
    pub fn read(&mut self, before: Option<&[Arc<PeerView>]>, peers: &[Arc<PeerView>]) {
        // A peer's id says what its DID is, once that is known.
        let same = |(a, b): (&Arc<PeerView>, &Arc<PeerView>)| {
            Arc::ptr_eq(a, b) || (a.did.is_some() == b.did.is_some() && a.name == b.name)
        };
        if before.is_some_and(|before| before.iter().zip(peers).all(same)) {
            return;
        }
        self.version += 1;
        self.known.clear();
        self.by_peer.clear();
        for peer in peers {
            let Some(name) = &peer.name else { continue };
            let text = name.as_str().trim();
            if text.is_empty() || text.eq_ignore_ascii_case("you") {
                continue;
            }
            self.by_peer.insert(peer.peer_id.clone(), Untrusted::new(text));
            if let Some(did) = &peer.did {
                self.known.entry(did.clone()).or_insert_with(|| Untrusted::new(text));
            }
        }
    }

    /// Another one when names are others than before.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The name of a peer, if one is known.
    pub fn of_peer(&self, peer_id: &str) -> Option<&str> {
        self.by_peer.get(peer_id).map(Untrusted::as_str)
    }

    /// The name of somebody, if one is known.
    pub fn of(&self, did: &Did) -> Option<&str> {
        self.known.get(did).map(Untrusted::as_str)
    }
}
