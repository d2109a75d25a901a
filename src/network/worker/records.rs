//! Signed documents as records of the DHT. A record's key is the id of its document, so it is bound to the content, and by its
//! signature to the signer; both are checked when it is put and when it is got. ([libp2p Kademlia
//! DHT](https://github.com/libp2p/specs/blob/master/kad-dht/README.md), "Entry validation")

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use cid::Cid;
use libp2p::PeerId;
use libp2p::kad::store::RecordStore as _;
use libp2p::kad::{K_VALUE, QueryId, Quorum, Record, RecordKey};

use super::{Worker, answer};
use crate::document::strict::MAX_ENVELOPE_BYTES;
use crate::document::{Kind, Verified};
use crate::network::NetworkError;
use crate::network::behaviour::MAX_RECORDS;
use crate::network::handle::Reply;
use crate::network::limits::Admission;

/// Searches for documents under way.
const MAX_SEARCHES: usize = 64;

/// A document that is looked for.
struct Search {
    query: QueryId,
    id: Cid,
    reply: Reply<Vec<u8>>,
}

#[derive(Default)]
pub(super) struct Records {
    searches: Vec<Search>,
    /// The keys of what is stored here, the oldest first: the newest take their places.
    stored: VecDeque<RecordKey>,
    /// Whether the DHT has been looked through since the start, so that a small table is a small network.
    pub(super) surveyed: bool,
}

fn key(id: &Cid) -> RecordKey {
    RecordKey::new(&id.to_bytes())
}

/// Whether a record is a document that belongs there.
fn check(record: &Record, verified: &Verified) -> Result<(), String> {
    if record.value.len() > MAX_ENVELOPE_BYTES {
        return Err(format!("a DHT record of {} bytes", record.value.len()));
    }
    let document = verified
        .open(&record.value)
        .map_err(|error| format!("a DHT record that does not verify: {error}"))?;
    let public = matches!(document.kind(), Kind::Manifest | Kind::Receipt | Kind::Attestation);
    if public && record.key == key(document.id()) {
        Ok(())
    } else {
        Err(format!("a DHT record of a {} under another key", document.kind()))
    }
}

impl Worker {
    /// Puts a document into the DHT, here and at the nodes nearest to its id.
    pub(super) fn put(&mut self, id: &Cid, envelope: &Arc<[u8]>) {
        self.make_room(&key(id));
        let mut record = Record::new(key(id), envelope.to_vec());
        record.publisher = Some(*self.swarm.local_peer_id());
        let kad = &mut self.swarm.behaviour_mut().kad;
        let nodes = kad.kbuckets().flat_map(|bucket| {
            let nodes = bucket.iter().map(|entry| *entry.node.key.preimage());
            nodes.collect::<Vec<_>>()
        });
        let nodes: Vec<PeerId> = nodes.take(K_VALUE.get() + 1).collect();
        let put = if nodes.len() > K_VALUE.get() || !self.records.surveyed {
            kad.put_record(record, Quorum::One)
        } else {
            // Every node that is known is among the nearest: there is nothing to look up.
            let stored = kad.store_mut().put(record.clone());
            stored.map(|()| kad.put_record_to(record, nodes.into_iter(), Quorum::One))
        };
        if let Err(error) = put {
            tracing::debug!(%id, %error, "a document is not in the DHT");
        }
    }

    /// Somebody has a record for this node to keep.
    pub(super) fn take_record(&mut self, from: PeerId, mut record: Record) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        match peer.records.take(Instant::now()) {
            Admission::Yes => {}
            Admission::Later => return,
            Admission::Flood => return self.fault(from, "DHT records without end".into()),
        }
        if let Err(what) = check(&record, &self.verified) {
            return self.fault(from, what);
        }
        self.make_room(&record.key);
        // Nobody here republishes what others have published.
        record.publisher = None;
        if let Err(error) = self.swarm.behaviour_mut().kad.store_mut().put(record) {
            tracing::debug!(%error, "a DHT record found no place");
        }
    }

    fn make_room(&mut self, key: &RecordKey) {
        let store = self.swarm.behaviour_mut().kad.store_mut();
        if store.get(key).is_some() {
            return;
        }
        if self.records.stored.len() >= MAX_RECORDS
            && let Some(oldest) = self.records.stored.pop_front()
        {
            store.remove(&oldest);
        }
        self.records.stored.push_back(key.clone());
    }

    pub(super) fn search(&mut self, id: Cid, reply: Reply<Vec<u8>>) {
        let own =
            self.swarm.behaviour_mut().kad.store_mut().get(&key(&id)).map(|record| record.value.clone());
        if let Some(own) = own {
            return answer(reply, Ok(own));
        }
        if self.records.searches.len() >= MAX_SEARCHES {
            return answer(reply, Err(NetworkError::Overloaded));
        }
        let query = self.swarm.behaviour_mut().kad.get_record(key(&id));
        self.records.searches.push(Search { query, id, reply });
    }

    /// A node has an answer to a search, or there will be none.
    pub(super) fn on_found(&mut self, query: QueryId, record: Option<(Option<PeerId>, Record)>, last: bool) {
        let Some(place) = self.records.searches.iter().position(|search| search.query == query) else {
            return;
        };
        let wanted = self.records.searches.get(place).map(|search| key(&search.id));
        let found = record.and_then(|(from, record)| match check(&record, &self.verified) {
            // A valid document is not yet the one that was asked for.
            Ok(()) if wanted.as_ref() == Some(&record.key) => Some(record.value),
            Ok(()) => None,
            Err(what) => {
                if let Some(from) = from {
                    self.fault(from, what);
                }
                None
            }
        });
        if found.is_none() && !last {
            return;
        }
        let Search { id, reply, .. } = self.records.searches.swap_remove(place);
        if let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&query) {
            query.finish();
        }
        answer(reply, found.ok_or_else(|| NetworkError::NoProvider(id.to_string())));
    }
}
