//! The request protocols: cards, deliveries, and documents by id.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cid::Cid;
use libp2p::PeerId;
use libp2p::request_response::{self, Message, OutboundFailure};

use super::{Asking, Worker, answer};
use crate::document::{AgentCard, Envelope, Untrusted};
use crate::network::limits::{Admission, Bucket};
use crate::network::peer::Peer;
use crate::network::serving::Channel;
use crate::network::wire::{Answer, MAX_DOCUMENT_ANSWER, Request};
use crate::network::{NetworkError, NetworkEvent};

/// The dialler sends its card first. When it does not, the other side asks.
const CARD_PATIENCE: Duration = Duration::from_secs(3);

pub(super) type Event = request_response::Event<Request, Answer>;

impl Worker {
    /// Sends this node's card and asks for the other's, once per acquaintance.
    pub(super) fn ask_for_card(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !peer.card_asked && !peer.is_known() {
            peer.card_asked = true;
            let request = Request::new(Arc::clone(&self.card), MAX_DOCUMENT_ANSWER);
            self.swarm.behaviour_mut().card.send_request(&id, request);
        }
    }

    pub(super) fn ask_for_missing_cards(&mut self, now: Instant) {
        let late =
            |peer: &Peer| !peer.is_known() && now.saturating_duration_since(peer.since) >= CARD_PATIENCE;
        let late: Vec<_> = self.peers.iter().filter(|(_, peer)| late(peer)).map(|(id, _)| *id).collect();
        late.into_iter().for_each(|id| self.ask_for_card(id));
    }

    pub(super) fn on_card_event(&mut self, event: Event) {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                let Some((body, channel)) = self.admit(peer, request, channel, |peer| &mut peer.cards) else {
                    return;
                };
                match self.take_card(peer, &body) {
                    Ok(()) => self.respond(channel, Answer::Yes(self.card.to_vec())),
                    Err(why) => {
                        self.respond(channel, Answer::No(why.clone()));
                        self.fault(peer, why);
                    }
                }
            }
            Event::Message { peer, message: Message::Response { response, .. }, .. } => match response {
                Answer::Yes(body) => {
                    if let Err(why) = self.take_card(peer, &body) {
                        self.fault(peer, why.clone());
                        self.no_card(peer, why);
                    }
                }
                Answer::No(reason) => self.no_card(peer, format!("it refuses this node's card: {reason}")),
                // It asked too often itself, from another connection; it has this node's card then, and will show its own.
                Answer::Busy => self.no_card(peer, "it is busy".into()),
                Answer::TooLarge(bytes) => self.bad_card(peer, format!("a card of {bytes} bytes")),
                Answer::Malformed(what) => self.bad_card(peer, what),
            },
            Event::OutboundFailure { peer, error: OutboundFailure::UnsupportedProtocols, .. } => {
                self.on_cardless(peer);
            }
            Event::OutboundFailure { peer, error, .. } => self.no_card(peer, format!("no card: {error}")),
            Event::InboundFailure { peer, error, .. } => tracing::debug!(%peer, %error, "card"),
            Event::ResponseSent { .. } => {}
        }
    }

    /// A card counts when it verifies and is signed by the very key of the connection.
    fn take_card(&mut self, id: PeerId, bytes: &[u8]) -> Result<(), String> {
        let Some(peer) = self.peers.get_mut(&id) else { return Ok(()) };
        let envelope = Envelope::<AgentCard>::open(bytes)
            .map_err(|error| format!("a card that does not verify: {error}"))?;
        if peer.did.as_ref() != Some(envelope.signer()) {
            return Err(format!("a card signed by {}, who is somebody else", envelope.signer()));
        }
        let envelope = Arc::new(envelope);
        let first = peer.card.is_none();
        let same = peer.card.as_ref().is_some_and(|old| old.bytes() == envelope.bytes());
        peer.card = Some(Arc::clone(&envelope));
        peer.settle(|| Ok(id));
        self.swarm.behaviour_mut().bitswap.speaks(id);
        // Two connections at once exchange the same cards twice.
        if first || !same {
            self.emit(NetworkEvent::Card { peer_id: id.to_base58(), envelope });
        }
        Ok(())
    }

    fn bad_card(&mut self, peer: PeerId, what: String) {
        self.fault(peer, what.clone());
        self.no_card(peer, what);
    }

    /// The exchange failed. Unless the card has come the other way meanwhile, there is nothing to do with this peer.
    pub(super) fn no_card(&mut self, id: PeerId, reason: String) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.is_known() {
            return;
        }
        let address = peer.address().map_or_else(|| id.to_base58(), ToString::to_string);
        peer.settle(|| Err(NetworkError::Connect { address: address.clone(), reason: reason.clone() }));
        self.disconnect(id, reason);
    }

    pub(super) fn on_deliver_event(&mut self, event: Event) {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                let Some((body, channel)) = self.admit(peer, request, channel, |peer| &mut peer.deliveries)
                else {
                    return;
                };
                match self.verified.open(&body) {
                    Ok(document) => {
                        let taken = self.offer(peer, document);
                        self.respond(channel, if taken { Answer::Yes(Vec::new()) } else { Answer::Busy });
                    }
                    Err(error) => {
                        self.respond(channel, Answer::No(error.to_string()));
                        self.fault(peer, format!("a delivery that does not verify: {error}"));
                    }
                }
            }
            Event::Message { peer, message: Message::Response { request_id, response }, .. } => {
                let who = peer.to_base58();
                let outcome = match response {
                    Answer::Yes(_) => Ok(()),
                    Answer::No(reason) => Err(NetworkError::Refused { peer: who, reason }),
                    Answer::Busy => Err(NetworkError::Busy(who)),
                    Answer::TooLarge(bytes) => {
                        Err(self.malformed(peer, format!("an acknowledgement of {bytes} bytes")))
                    }
                    Answer::Malformed(what) => Err(self.malformed(peer, what)),
                };
                if let Some(reply) = self.deliveries.remove(&request_id) {
                    answer(reply, outcome);
                }
            }
            Event::OutboundFailure { peer, request_id, error, .. } => {
                if let Some(reply) = self.deliveries.remove(&request_id) {
                    answer(reply, Err(failure(peer, &error)));
                }
            }
            Event::InboundFailure { peer, error, .. } => tracing::debug!(%peer, %error, "deliver"),
            Event::ResponseSent { .. } => {}
        }
    }

    pub(super) fn on_document_event(&mut self, event: Event) {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                let Some((body, channel)) = self.admit(peer, request, channel, |peer| &mut peer.documents)
                else {
                    return;
                };
                match Cid::try_from(body.as_ref()) {
                    Ok(id) => {
                        if let Some(channel) = self.serving.read(id, channel) {
                            self.respond(channel, Answer::Busy);
                        }
                    }
                    Err(error) => {
                        self.respond(channel, Answer::No("not a CID".into()));
                        let error = Untrusted::new(&error.to_string());
                        self.fault(peer, format!("a request for what is not a CID: {error}"));
                    }
                }
            }
            Event::Message { peer, message: Message::Response { request_id, response }, .. } => {
                let Some(Asking { id, reply }) = self.asked.remove(&request_id) else { return };
                let who = peer.to_base58();
                let outcome = match response {
                    Answer::Yes(bytes) => Ok(bytes),
                    Answer::No(_) => Err(NetworkError::NotFound { peer: who, id: id.to_string() }),
                    Answer::Busy => Err(NetworkError::Busy(who)),
                    Answer::TooLarge(bytes) => {
                        Err(self.malformed(peer, format!("a document of {bytes} bytes")))
                    }
                    Answer::Malformed(what) => Err(self.malformed(peer, what)),
                };
                answer(reply, outcome);
            }
            Event::OutboundFailure { peer, request_id, error, .. } => {
                if let Some(Asking { reply, .. }) = self.asked.remove(&request_id) {
                    answer(reply, Err(failure(peer, &error)));
                }
            }
            Event::InboundFailure { peer, error, .. } => tracing::debug!(%peer, %error, "document"),
            Event::ResponseSent { .. } => {}
        }
    }

    /// The door for every request that comes in: the frame must be whole and the peer not too fast. Otherwise the peer is
    /// answered here.
    pub(super) fn admit(
        &mut self,
        peer: PeerId,
        request: Request,
        channel: Channel,
        bucket: impl FnOnce(&mut Peer) -> &mut Bucket,
    ) -> Option<(Arc<[u8]>, Channel)> {
        let body = match request.body {
            Ok(body) => body,
            Err(what) => {
                self.respond(channel, Answer::No(what.clone()));
                self.fault(peer, what);
                return None;
            }
        };
        match bucket(self.peers.get_mut(&peer)?).take(Instant::now()) {
            Admission::Yes => Some((body, channel)),
            Admission::Later => {
                self.respond(channel, Answer::Busy);
                None
            }
            Admission::Flood => {
                self.respond(channel, Answer::Busy);
                self.fault(peer, "requests without end".into());
                None
            }
        }
    }

    /// Answers a request; when the asker is gone, nobody misses the answer. Any of the behaviours would do:
    /// the channel knows where it leads.
    pub(super) fn respond(&mut self, channel: Channel, answer: Answer) {
        if self.swarm.behaviour_mut().card.send_response(channel, answer).is_err() {
            tracing::trace!("the asker is gone");
        }
    }

    pub(super) fn malformed(&mut self, peer: PeerId, what: String) -> NetworkError {
        self.fault(peer, what.clone());
        NetworkError::Request { peer: peer.to_base58(), reason: what }
    }
}

pub(super) fn failure(peer: PeerId, error: &OutboundFailure) -> NetworkError {
    let peer = peer.to_base58();
    let reason = match error {
        OutboundFailure::Timeout => "no answer in time".to_owned(),
        OutboundFailure::ConnectionClosed | OutboundFailure::DialFailure => "the connection ended".to_owned(),
        OutboundFailure::UnsupportedProtocols => "it does not speak this protocol".to_owned(),
        OutboundFailure::Io(error) => Untrusted::new(&error.to_string()).to_string(),
    };
    NetworkError::Request { peer, reason }
}
