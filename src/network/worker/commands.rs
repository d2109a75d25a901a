//! What the handle asks for.

use std::sync::Arc;

use libp2p::core::transport::TransportError;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, gossipsub};

use super::{Asking, Dial, Worker, answer};
use crate::network::NetworkError;
use crate::network::behaviour::{Gossip, Topic};
use crate::network::handle::Command;
use crate::network::listening::deepest;
use crate::network::outbox::Attempt;
use crate::network::peer::{ConnectWaiter, Peer};
use crate::network::wire::{MAX_DOCUMENT_ANSWER, Request};

/// Dials, deliveries and requests for documents under way on behalf of the handle, each.
const MAX_UNDER_WAY: usize = 512;

impl Worker {
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect { address, peer, lasting, reply } => {
                self.connect(address, peer, lasting, reply);
            }
            Command::Publish { topic, envelope, reply } => {
                self.publish(topic, envelope);
                answer(reply, Ok(()));
            }
            Command::Deliver { peer, envelope, reply } => match self.may_ask(&peer, self.deliveries.len()) {
                Ok(()) => {
                    let request = Request::new(envelope, 0);
                    let id = self.swarm.behaviour_mut().deliver.send_request(&peer, request);
                    self.deliveries.insert(id, reply);
                }
                Err(error) => answer(reply, Err(error)),
            },
            Command::Document { peer, id, reply } => match self.may_ask(&peer, self.asked.len()) {
                Ok(()) => {
                    let request = Request::new(id.to_bytes().into(), MAX_DOCUMENT_ANSWER);
                    let request = self.swarm.behaviour_mut().document.send_request(&peer, request);
                    self.asked.insert(request, Asking { id, reply });
                }
                Err(error) => answer(reply, Err(error)),
            },
            Command::Guild { peer, said, reply } => self.say(peer, said, reply),
            Command::Reach { peer, reply } => {
                self.connect(Multiaddr::empty().with(Protocol::P2p(peer)), Some(peer), false, reply);
            }
            Command::Put { id, envelope } => self.put(&id, &envelope),
            Command::Search { id, reply } => self.search(id, reply),
            Command::Open { session, likely, guard, reply } => {
                let opened = self.swarm.behaviour_mut().bitswap.open(session, likely, guard);
                answer(reply, opened.then_some(()).ok_or(NetworkError::Overloaded));
            }
            Command::Suggest { session, peer } => self.swarm.behaviour_mut().bitswap.suggest(session, peer),
            Command::Want { session, cid, reply } => {
                self.swarm.behaviour_mut().bitswap.want(session, cid, reply);
            }
            Command::Stored(blocks) => {
                blocks.iter().for_each(|cid| self.swarm.behaviour_mut().bitswap.stored(cid));
            }
            Command::Provide { cid, reply } => answer(reply, self.provide(&cid)),
            Command::StopProviding(cid) => self.stop_providing(&cid),
            Command::Providers { cid, reply } => self.look_up(&cid, reply),
            Command::Blame { peer, what } => self.fault(peer, what),
        }
    }

    fn may_ask(&self, peer: &PeerId, under_way: usize) -> Result<(), NetworkError> {
        if !self.peers.contains_key(peer) {
            return Err(NetworkError::NotConnected(peer.to_base58()));
        }
        if under_way >= MAX_UNDER_WAY { Err(NetworkError::Overloaded) } else { Ok(()) }
    }

    fn connect(&mut self, address: Multiaddr, peer: Option<PeerId>, lasting: bool, reply: ConnectWaiter) {
        if self.dials.len() >= MAX_UNDER_WAY {
            return answer(reply, Err(NetworkError::Overloaded));
        }
        if peer.as_ref() == Some(self.swarm.local_peer_id()) {
            let error = DialError::LocalPeerId { address: address.clone() };
            return answer(reply, Err(connect_error(&address, &error)));
        }
        let known = peer.or_else(|| self.peer_at(&address));
        if let Some((id, peer)) = known.and_then(|id| self.peers.get_mut(&id).map(|peer| (id, peer))) {
            peer.chosen |= lasting;
            if peer.is_known() {
                answer(reply, Ok(id));
            } else {
                peer.waiters.push(reply);
                self.ask_for_card(id);
            }
            return;
        }
        let options = match peer {
            // Wherever it is known to be.
            Some(peer) if address.len() == 1 => DialOpts::peer_id(peer).build(),
            Some(peer) => DialOpts::peer_id(peer)
                .addresses(vec![address.clone()])
                .condition(PeerCondition::Always)
                .build(),
            None => DialOpts::unknown_peer_id().address(address.clone()).build(),
        };
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(connection, Dial::Asked { address, lasting, reply });
            }
            Err(error) => answer(reply, Err(connect_error(&address, &error))),
        }
    }

    /// Whoever is connected at exactly this address.
    fn peer_at(&self, address: &Multiaddr) -> Option<PeerId> {
        let there = |peer: &Peer| peer.connections.iter().any(|(_, at)| at == address);
        self.peers.iter().find(|(_, peer)| there(peer)).map(|(id, _)| *id)
    }

    fn publish(&mut self, topic: Topic, envelope: Arc<[u8]>) {
        if let Attempt::Later = try_publish(&mut self.swarm.behaviour_mut().gossip, topic, &envelope) {
            if self.outbox.keep(topic, envelope) {
                tracing::warn!(
                    "nobody subscribes, and the outbox is full: its oldest announcement was dropped"
                );
            }
            self.changed = true;
        }
    }

    pub(super) fn flush(&mut self, topic: Topic) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        self.outbox.flush(topic, |envelope| try_publish(gossip, topic, envelope));
        self.changed = true;
    }
}

fn try_publish(gossip: &mut Gossip, topic: Topic, envelope: &Arc<[u8]>) -> Attempt {
    match gossip.publish(topic.ident(), envelope.to_vec()) {
        Ok(_) => Attempt::Done,
        Err(
            gossipsub::PublishError::NoPeersSubscribedToTopic | gossipsub::PublishError::AllQueuesFull(_),
        ) => Attempt::Later,
        Err(error) => {
            tracing::warn!(%error, topic = topic.as_str(), "an announcement cannot be published");
            Attempt::Done
        }
    }
}

/// What to say to a person about a dial that failed.
pub(super) fn connect_error(address: &Multiaddr, error: &DialError) -> NetworkError {
    let reason = match error {
        // One address was given; the swarm takes those out that it listens on itself.
        DialError::LocalPeerId { .. } | DialError::NoAddresses => "that is this node itself".to_owned(),
        DialError::WrongPeerId { obtained, .. } => format!("another node answers there: {obtained}"),
        DialError::Transport(attempts) => match attempts.last() {
            Some((_, TransportError::MultiaddrNotSupported(_))) => {
                "no transport for such an address".to_owned()
            }
            Some((_, TransportError::Other(error))) => deepest(error),
            None => "no address to try".to_owned(),
        },
        other => deepest(other),
    };
    NetworkError::Connect { address: address.to_string(), reason }
}
