//! What the swarm reports: listeners, connections, and what the protocols of libp2p itself have to say.

use std::time::Instant;

use libp2p::core::ConnectedPoint;
use libp2p::gossipsub::MessageAcceptance;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, gossipsub, identify, kad, mdns, ping};

use super::commands::connect_error;
use super::providers::Dht;
use super::{Dial, Worker, answer};
use crate::document::Untrusted;
use crate::document::strict::MAX_ENVELOPE_BYTES;
use crate::network::behaviour::{BehaviourEvent, IPFS_KAD_PROTOCOL, KAD_PROTOCOL, Topic};
use crate::network::listening::deepest;
use crate::network::peer::Peer;
use crate::network::{NetworkError, NetworkEvent};

/// A connection whose last so many pings were all lost is dead. js-libp2p loses every second one without being dead.
const DEAD_AFTER: u32 = 3;
/// Addresses of one peer that go into the routing table.
const MAX_ADDRESSES: usize = 16;

impl Worker {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::NewListenAddr { address, .. } => self.on_listening(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.on_not_listening(&[address]),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::warn!(?addresses, ?reason, "a listener closed");
                self.on_not_listening(&addresses);
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener reports an error"),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, cause, .. } => {
                let reason = cause.map_or_else(|| "closed".to_owned(), |cause| deepest(&cause));
                self.on_connection_closed(peer_id, connection_id, num_established, reason);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_failed(connection_id, peer_id, &error);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(from = %send_back_addr, error = deepest(&error), "a connection did not come about");
            }
            other => tracing::trace!(?other, "swarm"),
        }
    }

    pub(super) fn on_listening(&mut self, address: Multiaddr) {
        let local = *self.swarm.local_peer_id();
        let Ok(address) = address.with_p2p(local) else { return };
        let address = address.to_string();
        if !self.listening.contains(&address) {
            self.listening.push(address.clone());
            self.emit(NetworkEvent::Listening(address));
        }
        self.advertise();
    }

    /// Tells others, in provider records among other things, where this node can be dialled: where it listens, loopback only if
    /// that is all there is.
    fn advertise(&mut self) {
        let all: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        let beyond = all.iter().any(|address| !is_loopback(address));
        let (told, hidden): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|address| !beyond || !is_loopback(address));
        hidden.iter().for_each(|address| self.swarm.remove_external_address(address));
        told.into_iter().for_each(|address| self.swarm.add_external_address(address));
    }

    fn on_not_listening(&mut self, addresses: &[Multiaddr]) {
        let local = *self.swarm.local_peer_id();
        let gone: Vec<_> =
            addresses.iter().map(|a| a.clone().with(Protocol::P2p(local)).to_string()).collect();
        self.listening.retain(|address| !gone.contains(address));
        addresses.iter().for_each(|address| self.swarm.remove_external_address(address));
        self.advertise();
        self.changed = true;
    }

    fn on_connected(&mut self, id: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let now = Instant::now();
        let address: Multiaddr =
            endpoint.get_remote_address().iter().filter(|part| *part != Protocol::P2p(id)).collect();
        let first = !self.peers.contains_key(&id);
        let counts = self.meter.of(id);
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(&id, counts, now));
        peer.connections.push((connection, address.clone()));
        let known = peer.is_known();
        if first {
            self.emit(NetworkEvent::Connected { peer_id: id.to_base58(), address: address.to_string() });
        }
        match self.dials.remove(&connection) {
            Some(Dial::Asked { address, lasting, reply }) => {
                if lasting {
                    self.redial.visited(address, id, now);
                }
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.chosen |= lasting;
                    if known {
                        answer(reply, Ok(id));
                    } else {
                        peer.waiters.push(reply);
                    }
                }
            }
            Some(Dial::Again(address)) => self.redial.connected(&address, id),
            None => {}
        }
        if endpoint.is_dialer() {
            self.ask_for_card(id);
        }
        self.changed = true;
    }

    fn on_connection_closed(&mut self, id: PeerId, connection: ConnectionId, left: u32, reason: String) {
        self.changed = true;
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.connections.retain(|(other, _)| *other != connection);
        }
        if left > 0 {
            return;
        }
        let Some(mut peer) = self.peers.remove(&id) else { return };
        let reason = peer.closing.take().unwrap_or(reason);
        let address = peer.address().map_or_else(|| id.to_base58(), ToString::to_string);
        peer.settle(|| {
            Err(NetworkError::Connect {
                address: address.clone(),
                reason: format!("the connection ended: {reason}"),
            })
        });
        peer.sayings.end(&id);
        self.redial.lost(&id, Instant::now());
        self.emit(NetworkEvent::Disconnected { peer_id: id.to_base58(), reason });
    }

    fn on_dial_failed(&mut self, connection: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        let here = peer.filter(|id| self.peers.contains_key(id));
        match self.dials.remove(&connection) {
            Some(Dial::Asked { address, reply, .. }) => {
                match here.and_then(|id| self.peers.get_mut(&id).map(|p| (id, p))) {
                    // Refused for being one connection too many: there is one already, and that is what was wanted.
                    Some((id, peer)) if peer.is_known() => answer(reply, Ok(id)),
                    Some((_, peer)) => peer.waiters.push(reply),
                    None => answer(reply, Err(connect_error(&address, error))),
                }
            }
            Some(Dial::Again(address)) => match (here, error) {
                (_, DialError::LocalPeerId { .. }) => self.redial.forget(&address),
                (Some(id), _) => self.redial.connected(&address, id),
                (None, _) => {
                    tracing::debug!(%address, error = %connect_error(&address, error), "still not there");
                    self.redial.failed(&address, Instant::now());
                }
            },
            None => {
                tracing::trace!(?peer, error = deepest(error), "a dial failed");
                if let Some(peer) = peer {
                    self.not_reached(&peer);
                }
            }
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Card(event) => self.on_card_event(event),
            BehaviourEvent::Deliver(event) => self.on_deliver_event(event),
            BehaviourEvent::Document(event) => self.on_document_event(event),
            BehaviourEvent::Guild(event) => self.on_guild_event(event),
            BehaviourEvent::Bitswap(event) => self.on_bitswap_event(event),
            BehaviourEvent::Gossip(event) => self.on_gossip_event(event),
            BehaviourEvent::Identify(identify::Event::Received { connection_id, peer_id, info }) => {
                self.on_identified(peer_id, connection_id, &info);
            }
            BehaviourEvent::Identify(identify::Event::Error { peer_id, .. }) => self.on_unidentified(peer_id),
            BehaviourEvent::Identify(event) => tracing::trace!(?event, "identify"),
            BehaviourEvent::Ping(event) => self.on_ping(event),
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => self.on_neighbours(found),
            BehaviourEvent::Mdns(mdns::Event::Expired(_)) => {}
            BehaviourEvent::Kad(kad::Event::RoutingUpdated { .. }) => self.changed = true,
            BehaviourEvent::Kad(kad::Event::InboundRequest {
                request: kad::InboundRequest::AddProvider { record: Some(record) },
            }) => self.take_provider(record),
            BehaviourEvent::Kad(kad::Event::InboundRequest {
                request: kad::InboundRequest::PutRecord { source, record: Some(record), .. },
            }) => self.take_record(source, record),
            BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed { id, result, step, .. }) => {
                self.on_query((Dht::Own, id), result, step.last);
            }
            BehaviourEvent::Ipfs(kad::Event::OutboundQueryProgressed { id, result, step, .. }) => {
                self.on_query((Dht::Ipfs, id), result, step.last);
            }
            BehaviourEvent::Ipfs(kad::Event::RoutingUpdated { .. }) => self.changed = true,
            BehaviourEvent::Kad(event) | BehaviourEvent::Ipfs(event) => tracing::trace!(?event, "kad"),
            BehaviourEvent::Limits(never) | BehaviourEvent::Blocked(never) => match never {},
        }
    }

    fn on_identified(&mut self, id: PeerId, connection: ConnectionId, info: &identify::Info) {
        self.changed = true;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.identified(info);
        self.on_protocols(id, &info.protocols);
        let Some(peer) = self.peers.get(&id) else { return };
        let near = peer.connections.iter().any(|(other, at)| *other == connection && is_loopback(at));
        let behaviour = self.swarm.behaviour_mut();
        let own = info.protocols.contains(&KAD_PROTOCOL).then_some(&mut behaviour.kad);
        let ipfs = behaviour.ipfs.as_mut().filter(|_| info.protocols.contains(&IPFS_KAD_PROTOCOL));
        for kad in own.into_iter().chain(ipfs) {
            // Private addresses count, for that is what there is on a LAN; but somebody else's loopback is not ours.
            for address in info.listen_addrs.iter().filter(|a| near || !is_loopback(a)).take(MAX_ADDRESSES) {
                kad.add_address(&id, address.clone());
            }
        }
    }

    fn on_ping(&mut self, event: ping::Event) {
        let Some(peer) = self.peers.get_mut(&event.peer) else { return };
        match event.result {
            Ok(round_trip) => peer.pong(round_trip),
            Err(ping::Failure::Unsupported) => return,
            Err(ping::Failure::Timeout | ping::Failure::Other { .. }) => {
                peer.lost_pings += 1;
                if peer.lost_pings >= DEAD_AFTER {
                    self.disconnect(event.peer, "it does not answer pings".into());
                }
            }
        }
        self.changed = true;
    }

    fn on_neighbours(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        let mut by_peer = std::collections::HashMap::<PeerId, Vec<Multiaddr>>::new();
        for (peer, address) in found {
            if !self.peers.contains_key(&peer) && !self.strangers.contains_key(&peer) {
                by_peer.entry(peer).or_default().push(address);
            }
        }
        for (peer, addresses) in by_peer {
            let options = DialOpts::peer_id(peer).addresses(addresses).build();
            if let Err(error) = self.swarm.dial(options) {
                tracing::debug!(%peer, %error, "a neighbour is not dialled");
            }
        }
    }

    fn on_gossip_event(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                match self.judge(propagation_source, &message) {
                    MessageAcceptance::Accept => {
                        self.passing.add(message_id, propagation_source, Instant::now());
                    }
                    // Without a verdict the message would stay in the cache.
                    verdict => {
                        let gossip = &mut self.swarm.behaviour_mut().gossip;
                        gossip.report_message_validation_result(&message_id, &propagation_source, verdict);
                    }
                }
            }
            gossipsub::Event::Subscribed { topic, .. } => {
                if let Some(topic) = Topic::from_hash(&topic) {
                    self.flush(topic);
                }
            }
            other => tracing::trace!(?other, "gossip"),
        }
    }

    /// Whether an announcement is handed up and passed on. Who passes on what does not verify is at fault itself, because
    /// an honest node would not have.
    fn judge(&mut self, from: PeerId, message: &gossipsub::Message) -> MessageAcceptance {
        let fault = if message.data.len() > MAX_ENVELOPE_BYTES {
            format!("an announcement of {} bytes", message.data.len())
        } else {
            match self.verified.open(&message.data) {
                Ok(document) if Topic::of(document.kind()) == Topic::from_hash(&message.topic) => {
                    return if self.offer(from, document) {
                        MessageAcceptance::Accept
                    } else {
                        MessageAcceptance::Ignore
                    };
                }
                Ok(document) => format!(
                    "a document of kind {} announced on {}",
                    document.kind(),
                    Untrusted::new(message.topic.as_str())
                ),
                Err(error) => format!("an announcement that does not verify: {error}"),
            }
        };
        self.fault(from, fault);
        MessageAcceptance::Reject
    }
}

fn is_loopback(address: &Multiaddr) -> bool {
    address.iter().next().is_some_and(|part| match part {
        Protocol::Ip4(ip) => ip.is_loopback(),
        Protocol::Ip6(ip) => ip.is_loopback(),
        _ => false,
    })
}
