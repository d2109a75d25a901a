//! The guild protocol: what is said to a peer goes out so many at a time, and what it says goes up.

use std::collections::VecDeque;
use std::sync::Arc;

use libp2p::PeerId;
use libp2p::request_response::Message;

use super::requests::{Event, failure};
use super::{Worker, answer};
use crate::network::NetworkError;
use crate::network::handle::Reply;
use crate::network::wire::{Answer, MAX_GUILD_BYTES, Request};

/// Requests to one peer under way at once. Both sides may have so many, and the streams of a connection hold them all.
const UNDER_WAY: usize = 100;
/// Those that wait for their turn, each of up to 256 KiB; a peer that is so slow is given no more.
const WAITING: usize = 1024;

/// What is to be said, and who waits for the answer.
type Waiting = (Arc<[u8]>, Reply<Vec<u8>>);

/// What is said to one peer.
#[derive(Default)]
pub(in crate::network) struct Sayings {
    under_way: usize,
    waiting: VecDeque<Waiting>,
}

impl Sayings {
    /// The peer is gone, and what waits for its turn is told.
    pub(in crate::network) fn end(&mut self, peer: &PeerId) {
        for (_, reply) in self.waiting.drain(..) {
            answer(reply, Err(NetworkError::NotConnected(peer.to_base58())));
        }
    }
}

/// Something that was said, and who waits for the answer.
pub(super) struct Said {
    peer: PeerId,
    reply: Reply<Vec<u8>>,
}

impl Worker {
    pub(super) fn say(&mut self, peer: PeerId, said: Arc<[u8]>, reply: Reply<Vec<u8>>) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return answer(reply, Err(NetworkError::NotConnected(peer.to_base58())));
        };
        if known.sayings.under_way < UNDER_WAY {
            known.sayings.under_way += 1;
            self.send_saying(peer, said, reply);
        } else if known.sayings.waiting.len() < WAITING {
            known.sayings.waiting.push_back((said, reply));
        } else {
            answer(reply, Err(NetworkError::Overloaded));
        }
    }

    fn send_saying(&mut self, peer: PeerId, said: Arc<[u8]>, reply: Reply<Vec<u8>>) {
        let request = Request::new(said, MAX_GUILD_BYTES);
        let id = self.swarm.behaviour_mut().guild.send_request(&peer, request);
        self.said.insert(id, Said { peer, reply });
    }

    /// One of those under way has ended, and the next may go. Who does not wait any more is passed over.
    fn next_saying(&mut self, peer: PeerId) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        loop {
            match known.sayings.waiting.pop_front() {
                Some((_, reply)) if reply.is_closed() => {}
                Some((said, reply)) => return self.send_saying(peer, said, reply),
                None => break,
            }
        }
        known.sayings.under_way = known.sayings.under_way.saturating_sub(1);
    }

    pub(super) fn on_guild_event(&mut self, event: Event) {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                let Some((said, channel)) = self.admit(peer, request, channel, |peer| &mut peer.guild) else {
                    return;
                };
                match self.peers.get(&peer).and_then(|peer| peer.did.clone()) {
                    Some(from) => {
                        if let Some(channel) = self.serving.hear(from, said, channel) {
                            self.respond(channel, Answer::Busy);
                        }
                    }
                    None => {
                        self.respond(channel, Answer::No("only Ed25519 keys have a name in guilds".into()))
                    }
                }
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                let Some(Said { peer, reply }) = self.said.remove(&request_id) else { return };
                let outcome = match response {
                    Answer::Yes(body) => Ok(body),
                    Answer::No(reason) => Err(NetworkError::Refused { peer: peer.to_base58(), reason }),
                    Answer::Busy => Err(NetworkError::Busy(peer.to_base58())),
                    Answer::TooLarge(bytes) => {
                        Err(self.malformed(peer, format!("an answer of {bytes} bytes")))
                    }
                    Answer::Malformed(what) => Err(self.malformed(peer, what)),
                };
                answer(reply, outcome);
                self.next_saying(peer);
            }
            Event::OutboundFailure { peer, request_id, error, .. } => {
                if let Some(Said { reply, .. }) = self.said.remove(&request_id) {
                    answer(reply, Err(failure(peer, &error)));
                    self.next_saying(peer);
                }
            }
            Event::InboundFailure { peer, error, .. } => tracing::debug!(%peer, %error, "guild"),
            Event::ResponseSent { .. } => {}
        }
    }
}
