//! Who has what: provider records in the DHT, under the multihash of a CID as IPFS has it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use cid::Cid;
use libp2p::kad::store::RecordStore as _;
use libp2p::kad::{GetProvidersOk, GetRecordOk, ProviderRecord, QueryId, QueryResult, RecordKey};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

use super::{Worker, answer};
use crate::network::NetworkError;
use crate::network::behaviour::{Behaviour, Kad, MAX_PROVIDED};
use crate::network::handle::Reply;
use crate::network::limits::Admission;

/// Lookups at once.
const MAX_LOOKUPS: usize = 64;
/// Providers of one thing that are connected to at once, and that are tried.
const MAX_PROVIDERS: usize = 8;
const MAX_TRIED: usize = 32;
/// What takes longer ends with what has been found; the handle waits a little longer.
const LOOKUP_WITHIN: Duration = Duration::from_secs(8);
/// Addresses of a provider that are kept, and the longest key: a multihash of 64 bytes.
const MAX_ADDRESSES: usize = 8;
const MAX_KEY: usize = 72;

/// Keys for which others say that they have the content; so many more are left for what this node has.
const MAX_FOREIGN: usize = MAX_PROVIDED / 2;
/// How often what has expired is looked for, while there is no place.
const CLEAR_EVERY: Duration = Duration::from_secs(60);
/// Each is a walk through the DHT.
const ANNOUNCED_A_SECOND: usize = 32;
/// How often the way into the IPFS DHT is tried, while there is nobody of it in the table.
const IPFS_AGAIN: Duration = Duration::from_secs(30);

/// Which DHT: the network's own, or that of IPFS, where this node takes part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dht {
    Own,
    Ipfs,
}

/// Lookups under way, by a number of their own: queries are numbered in each DHT.
#[derive(Default)]
pub(super) struct Lookups {
    begun: u64,
    open: HashMap<u64, Lookup>,
}

/// What the DHTs are to be told.
#[derive(Default)]
pub(super) struct Announcements {
    waiting: VecDeque<(Dht, RecordKey)>,
    /// In this second.
    begun: usize,
}

struct Lookup {
    reply: Reply<Vec<PeerId>>,
    since: Instant,
    reached: Vec<PeerId>,
    dialled: HashSet<PeerId>,
    /// Those that are dialled when one of the others does not answer.
    further: VecDeque<(PeerId, Vec<Multiaddr>)>,
    tried: usize,
    /// Those that have more to say.
    queries: Vec<(Dht, QueryId)>,
}

fn key(cid: &Cid) -> RecordKey {
    RecordKey::new(&cid.hash().to_bytes())
}

fn dhts(behaviour: &mut Behaviour) -> impl Iterator<Item = (Dht, &mut Kad)> {
    let ipfs = behaviour.ipfs.as_mut().map(|kad| (Dht::Ipfs, kad));
    [(Dht::Own, &mut behaviour.kad)].into_iter().chain(ipfs)
}

impl Worker {
    /// Into the IPFS DHT at the start, and again whenever nobody of it is left in the table.
    pub(super) fn join_ipfs(&mut self, now: Instant) {
        let Some(kad) = self.swarm.behaviour_mut().ipfs.as_mut() else { return };
        let late = self.ipfs_joined.is_none_or(|at| now.saturating_duration_since(at) >= IPFS_AGAIN);
        if !late || super::in_table(kad) > 0 && self.ipfs_joined.is_some() {
            return;
        }
        self.ipfs_joined = Some(now);
        for (peer, address) in &self.ipfs_bootstrap {
            kad.add_address(peer, address.clone());
        }
        if let Err(error) = kad.bootstrap() {
            tracing::warn!(%error, "there is no way into the IPFS DHT");
        }
    }

    /// Takes what is to be announced: that happens as soon as there is somebody to announce it to.
    pub(super) fn provide(&mut self, cid: &Cid) -> Result<(), NetworkError> {
        if self.announcements.waiting.len() >= MAX_PROVIDED {
            return Err(NetworkError::Overloaded);
        }
        for (dht, _) in dhts(self.swarm.behaviour_mut()) {
            self.announcements.waiting.push_back((dht, key(cid)));
        }
        self.announce();
        Ok(())
    }

    pub(super) fn stop_providing(&mut self, cid: &Cid) {
        let key = key(cid);
        self.announcements.waiting.retain(|(_, other)| *other != key);
        dhts(self.swarm.behaviour_mut()).for_each(|(_, kad)| kad.stop_providing(&key));
    }

    /// A second has passed: some of what waits may go.
    pub(super) fn announce_more(&mut self) {
        self.announcements.begun = 0;
        self.announce();
    }

    fn announce(&mut self) {
        let Announcements { waiting, begun } = &mut self.announcements;
        for (dht, kad) in dhts(self.swarm.behaviour_mut()) {
            if super::in_table(kad) == 0 {
                continue;
            }
            waiting.retain(|(of, key)| {
                if *of != dht || *begun >= ANNOUNCED_A_SECOND {
                    return true;
                }
                *begun += 1;
                if let Err(error) = kad.start_providing(key.clone()) {
                    tracing::warn!(?dht, %error, "an artifact is not announced");
                }
                false
            });
        }
    }

    /// Somebody says that it has something; Kademlia has made sure that it speaks for itself.
    pub(super) fn take_provider(&mut self, mut record: ProviderRecord) {
        if record.key.as_ref().len() > MAX_KEY {
            return self.fault(record.provider, "a provider record with a key that is no multihash".into());
        }
        let Some(peer) = self.peers.get_mut(&record.provider) else { return };
        match peer.provisions.take(Instant::now()) {
            Admission::Yes => {}
            Admission::Later => return,
            Admission::Flood => return self.fault(record.provider, "provider records without end".into()),
        }
        if !self.foreign.contains(&record.key) && !self.has_room_for_foreign() {
            return tracing::debug!("a provider record found no place");
        }
        self.foreign.insert(record.key.clone());
        record.addresses.truncate(MAX_ADDRESSES);
        if let Err(error) = self.swarm.behaviour_mut().kad.store_mut().add_provider(record) {
            tracing::debug!(%error, "a provider record found no place");
        }
    }

    /// Own records must always find a place in the store, so those of others have a bound of their own. Kademlia does not remove
    /// what has expired.
    fn has_room_for_foreign(&mut self) -> bool {
        let now = Instant::now();
        if self.foreign.len() >= MAX_FOREIGN
            && self.foreign_cleared.is_none_or(|at| now.saturating_duration_since(at) >= CLEAR_EVERY)
        {
            self.foreign_cleared = Some(now);
            let store = self.swarm.behaviour_mut().kad.store_mut();
            self.foreign.retain(|key| {
                let records = store.providers(key);
                let expired = records.iter().filter(|record| record.is_expired(now));
                expired.clone().for_each(|record| store.remove_provider(key, &record.provider));
                expired.count() < records.len()
            });
        }
        self.foreign.len() < MAX_FOREIGN
    }

    pub(super) fn look_up(&mut self, cid: &Cid, reply: Reply<Vec<PeerId>>) {
        if self.lookups.open.len() >= MAX_LOOKUPS {
            return answer(reply, Err(NetworkError::Overloaded));
        }
        let key = key(cid);
        let queries = dhts(self.swarm.behaviour_mut())
            .map(|(dht, kad)| (dht, kad.get_providers(key.clone())))
            .collect();
        let lookup = Lookup {
            reply,
            since: Instant::now(),
            reached: Vec::new(),
            dialled: HashSet::new(),
            further: VecDeque::new(),
            tried: 0,
            queries,
        };
        let id = self.lookups.begun;
        self.lookups.begun += 1;
        self.lookups.open.insert(id, lookup);
        // Of what is in this node's own part of the DHT the addresses are known, too.
        let own = self.swarm.behaviour_mut().kad.store_mut().providers(&key);
        for record in own {
            self.on_provider(id, record.provider, record.addresses);
        }
    }

    pub(super) fn on_query(&mut self, query: (Dht, QueryId), result: QueryResult, last: bool) {
        let found = match result {
            QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => providers,
            QueryResult::GetProviders(_) => HashSet::new(),
            QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => {
                return self.on_found(query.1, Some((found.peer, found.record)), last);
            }
            QueryResult::GetRecord(_) => return self.on_found(query.1, None, last),
            QueryResult::Bootstrap(Ok(_)) if last && query.0 == Dht::Own => {
                self.records.surveyed = true;
                return;
            }
            other => return tracing::trace!(?other, "kad"),
        };
        let asked = self.lookups.open.iter().find(|(_, lookup)| lookup.queries.contains(&query));
        let Some(id) = asked.map(|(id, _)| *id) else { return };
        for provider in found {
            // The query still knows the addresses.
            self.on_provider(id, provider, Vec::new());
        }
        if let Some(lookup) = self.lookups.open.get_mut(&id).filter(|_| last) {
            lookup.queries.retain(|other| *other != query);
        }
        self.end_lookups(|_| false);
    }

    fn on_provider(&mut self, id: u64, provider: PeerId, addresses: Vec<Multiaddr>) {
        let own = provider == *self.swarm.local_peer_id();
        let Some(lookup) = self.lookups.open.get_mut(&id).filter(|_| !own) else { return };
        let waits = lookup.further.iter().any(|(further, _)| *further == provider);
        if waits || lookup.reached.contains(&provider) || lookup.dialled.contains(&provider) {
            return;
        }
        if lookup.tried >= MAX_TRIED {
            return;
        }
        lookup.tried += 1;
        if lookup.reached.len() + lookup.dialled.len() >= MAX_PROVIDERS {
            lookup.further.push_back((provider, addresses));
            return;
        }
        self.reach(id, provider, addresses);
    }

    fn reach(&mut self, id: u64, provider: PeerId, addresses: Vec<Multiaddr>) {
        let Some(lookup) = self.lookups.open.get_mut(&id) else { return };
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
        for lookup in self.lookups.open.values_mut() {
            if lookup.dialled.remove(peer) {
                lookup.reached.push(*peer);
            }
        }
        self.end_lookups(|_| false);
    }

    pub(super) fn not_reached(&mut self, peer: &PeerId) {
        let mut next = Vec::new();
        for (id, lookup) in &mut self.lookups.open {
            if lookup.dialled.remove(peer)
                && let Some((provider, addresses)) = lookup.further.pop_front()
            {
                next.push((*id, provider, addresses));
            }
        }
        for (id, provider, addresses) in next {
            self.reach(id, provider, addresses);
        }
        self.end_lookups(|_| false);
    }

    pub(super) fn end_late_lookups(&mut self, now: Instant) {
        self.end_lookups(|lookup| now.saturating_duration_since(lookup.since) >= LOOKUP_WITHIN);
    }

    fn end_lookups(&mut self, late: impl Fn(&Lookup) -> bool) {
        let over = |lookup: &Lookup| (lookup.queries.is_empty() && lookup.dialled.is_empty()) || late(lookup);
        let open = self.lookups.open.iter();
        let ended: Vec<u64> = open.filter(|(_, lookup)| over(lookup)).map(|(id, _)| *id).collect();
        for lookup in ended.iter().filter_map(|id| self.lookups.open.remove(id)).collect::<Vec<_>>() {
            for (dht, kad) in dhts(self.swarm.behaviour_mut()) {
                for (_, id) in lookup.queries.iter().filter(|(of, _)| *of == dht) {
                    if let Some(mut query) = kad.query_mut(id) {
                        query.finish();
                    }
                }
            }
            answer(lookup.reply, Ok(lookup.reached));
        }
    }
}
