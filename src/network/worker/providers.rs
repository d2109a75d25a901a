//! Who has what: provider records in the DHT, under the multihash of a CID as IPFS has it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use cid::Cid;
use libp2p::kad::store::RecordStore as _;
use libp2p::kad::{GetProvidersOk, ProviderRecord, QueryId, QueryResult, RecordKey};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

use super::{Worker, answer};
use crate::network::NetworkError;
use crate::network::handle::Reply;

/// Lookups at once.
const MAX_LOOKUPS: usize = 64;
/// Providers of one thing that are connected to.
const MAX_PROVIDERS: usize = 8;
/// What takes longer ends with what has been found; the handle waits a little longer.
const LOOKUP_WITHIN: Duration = Duration::from_secs(8);
/// Addresses of a provider that are kept, and the longest key: a multihash of 64 bytes.
const MAX_ADDRESSES: usize = 8;
const MAX_KEY: usize = 72;

/// Lookups under way.
pub(super) type Lookups = HashMap<QueryId, Lookup>;

pub(super) struct Lookup {
    reply: Reply<Vec<PeerId>>,
    since: Instant,
    reached: Vec<PeerId>,
    dialled: HashSet<PeerId>,
    /// The DHT has nothing more to say.
    complete: bool,
}

fn key(cid: &Cid) -> RecordKey {
    RecordKey::new(&cid.hash().to_bytes())
}

impl Worker {
    pub(super) fn provide(&mut self, cid: &Cid) -> Result<(), NetworkError> {
        match self.swarm.behaviour_mut().kad.start_providing(key(cid)) {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(%cid, %error, "not provided");
                Err(NetworkError::Overloaded)
            }
        }
    }

    pub(super) fn stop_providing(&mut self, cid: &Cid) {
        self.swarm.behaviour_mut().kad.stop_providing(&key(cid));
    }

    /// Somebody says that it has something; Kademlia has made sure that it speaks for itself.
    pub(super) fn take_provider(&mut self, mut record: ProviderRecord) {
        if record.key.as_ref().len() > MAX_KEY {
            return self.fault(record.provider, "a provider record with a key that is no multihash".into());
        }
        record.addresses.truncate(MAX_ADDRESSES);
        if let Err(error) = self.swarm.behaviour_mut().kad.store_mut().add_provider(record) {
            tracing::debug!(%error, "a provider record found no place");
        }
    }

    pub(super) fn look_up(&mut self, cid: &Cid, reply: Reply<Vec<PeerId>>) {
        if self.lookups.len() >= MAX_LOOKUPS {
            return answer(reply, Err(NetworkError::Overloaded));
        }
        let key = key(cid);
        let id = self.swarm.behaviour_mut().kad.get_providers(key.clone());
        let lookup = Lookup {
            reply,
            since: Instant::now(),
            reached: Vec::new(),
            dialled: HashSet::new(),
            complete: false,
        };
        self.lookups.insert(id, lookup);
        // Of what is in this node's own part of the DHT the addresses are known, too.
        let own = self.swarm.behaviour_mut().kad.store_mut().providers(&key);
        for record in own {
            self.on_provider(id, record.provider, record.addresses);
        }
    }

    pub(super) fn on_query(&mut self, id: QueryId, result: QueryResult, last: bool) {
        let found = match result {
            QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => providers,
            QueryResult::GetProviders(_) => HashSet::new(),
            other => return tracing::trace!(?other, "kad"),
        };
        for provider in found {
            // The query still knows the addresses.
            self.on_provider(id, provider, Vec::new());
        }
        if let Some(lookup) = self.lookups.get_mut(&id) {
            lookup.complete |= last;
        }
        self.end_lookups(|_| false);
    }

    fn on_provider(&mut self, id: QueryId, provider: PeerId, addresses: Vec<Multiaddr>) {
        let own = provider == *self.swarm.local_peer_id();
        let Some(lookup) = self.lookups.get_mut(&id).filter(|_| !own) else { return };
        let known = lookup.reached.contains(&provider) || lookup.dialled.contains(&provider);
        if known || lookup.reached.len() + lookup.dialled.len() >= MAX_PROVIDERS {
            return;
        }
        if self.peers.get(&provider).is_some_and(|peer| peer.is_identified()) {
            lookup.reached.push(provider);
            return;
        }
        lookup.dialled.insert(provider);
        let options = DialOpts::peer_id(provider)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        if let Err(error) = self.swarm.dial(options)
            && !matches!(error, libp2p::swarm::DialError::DialPeerConditionFalse(_))
        {
            tracing::debug!(%provider, %error, "a provider cannot be dialled");
            self.not_reached(&provider);
        }
    }

    /// A peer that speaks Bitswap is there.
    pub(super) fn reached(&mut self, peer: &PeerId) {
        for lookup in self.lookups.values_mut() {
            if lookup.dialled.remove(peer) {
                lookup.reached.push(*peer);
            }
        }
        self.end_lookups(|_| false);
    }

    pub(super) fn not_reached(&mut self, peer: &PeerId) {
        for lookup in self.lookups.values_mut() {
            lookup.dialled.remove(peer);
        }
        self.end_lookups(|_| false);
    }

    pub(super) fn end_late_lookups(&mut self, now: Instant) {
        self.end_lookups(|lookup| now.saturating_duration_since(lookup.since) >= LOOKUP_WITHIN);
    }

    fn end_lookups(&mut self, late: impl Fn(&Lookup) -> bool) {
        let over = |lookup: &Lookup| (lookup.complete && lookup.dialled.is_empty()) || late(lookup);
        let ended: Vec<QueryId> =
            self.lookups.iter().filter(|(_, lookup)| over(lookup)).map(|(id, _)| *id).collect();
        for id in ended {
            if let Some(lookup) = self.lookups.remove(&id) {
                answer(lookup.reply, Ok(lookup.reached));
            }
        }
    }
}
