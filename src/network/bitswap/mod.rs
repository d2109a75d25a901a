//! Bitswap 1.2.0: blocks by CID, from and for any IPFS node. ([specification](https://specs.ipfs.tech/bitswap-protocol/))
//!
//! ```text
//!   session.get(cid) ─► client (whom to ask) ─┐                  ┌─► handler ══ streams ══ peer
//!                                             ├─► behaviour ◄────┤      (one a connection: frames, hashes, bounds)
//!   Source ◄─────read──── server (who is next)┘                  └─► handler ══ streams ══ peer
//! ```
//!
//! `client.rs` and `server.rs` are rules without I/O. A block's CID is made from its bytes in the connection's own task, so a
//! peer cannot pass one block off as another: wrong bytes are a block that nobody asked for, and that is a fault.
//!
//! Three things that other implementations do shape this one: Helia opens a stream for each message, does not send a block
//! again before its want was cancelled, and cancels nothing itself.

mod client;
mod gauge;
mod handler;
mod message;
mod server;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use cid::Cid;
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use prost::bytes::Bytes;
use tokio::sync::oneshot;

use client::{Arrival, Client};
use gauge::Gauge;
use handler::{Handler, Received, Send, Told};
use message::{Block, Message};
use server::{Server, ToRead};

use super::Source;
use crate::dag::canonical;

pub(super) use handler::PROTOCOLS;

/// How often silent peers are looked for.
const TICK: Duration = Duration::from_millis(250);
/// Messages handed to a connection and not sent yet.
const MESSAGES: usize = 4;
/// Small blocks share a message of so many bytes.
const TOGETHER: usize = 512 * 1024;
/// Messages that ended in the middle, of which it is not clear yet why, and how long it takes to be.
const CUT_OFF: usize = 256;
const OUTLIVED: Duration = Duration::from_secs(1);
/// A source that takes longer has lost the block, as far as the asker is concerned.
const READ_WITHIN: Duration = Duration::from_secs(20);

/// A block that was asked for.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) bytes: Bytes,
    pub(super) from: PeerId,
}

/// Why there is no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// No peer that speaks Bitswap has it.
    Nobody,
    /// Whoever may have it does not send it.
    Silent,
    /// Too much is being looked for already.
    TooMany,
}

/// What was exchanged with a peer, or with all of them: the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    pub blocks_sent: u64,
    pub bytes_sent: u64,
    pub blocks_received: u64,
    pub bytes_received: u64,
    /// Of the blocks received, those that had come already.
    pub duplicates: u64,
    /// Blocks that the peer waits for now.
    pub wants: u64,
}

impl Ledger {
    /// This one and another.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            blocks_sent: self.blocks_sent.saturating_add(other.blocks_sent),
            bytes_sent: self.bytes_sent.saturating_add(other.bytes_sent),
            blocks_received: self.blocks_received.saturating_add(other.blocks_received),
            bytes_received: self.bytes_received.saturating_add(other.bytes_received),
            duplicates: self.duplicates.saturating_add(other.duplicates),
            wants: self.wants.saturating_add(other.wants),
        }
    }
}

/// What the swarm is told.
#[derive(Debug)]
pub(super) enum Event {
    /// A peer did what no honest one does.
    Fault { peer: PeerId, what: String },
    /// Blocks were exchanged with it.
    Exchanged,
}

struct Connected {
    gauge: Arc<Gauge>,
    /// The first is written to.
    connections: Vec<ConnectionId>,
    /// Whether it is known to speak Bitswap.
    speaks: bool,
    /// Messages handed to its handler.
    handed: usize,
    /// Blocks that were read for it.
    ready: VecDeque<Block>,
    ledger: Ledger,
    last: Instant,
}

type Read = BoxFuture<'static, (ToRead, Option<Bytes>)>;

/// The behaviour.
pub(super) struct Behaviour {
    source: Arc<dyn Source>,
    client: Client,
    server: Server,
    peers: HashMap<PeerId, Connected>,
    gauges: HashMap<PeerId, Weak<Gauge>>,
    reads: FuturesUnordered<Read>,
    told: VecDeque<Event>,
    /// What peers that have gone exchanged.
    past: Ledger,
    tick: Option<tokio::time::Interval>,
    /// Messages that ended in the middle, and when.
    cut_off: Vec<(PeerId, ConnectionId, Instant)>,
}

impl Behaviour {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        Self {
            source,
            client: Client::default(),
            server: Server::default(),
            peers: HashMap::new(),
            gauges: HashMap::new(),
            reads: FuturesUnordered::new(),
            told: VecDeque::new(),
            past: Ledger::default(),
            tick: None,
            cut_off: Vec::new(),
        }
    }

    /// A peer is known to speak Bitswap.
    pub(super) fn speaks(&mut self, peer: PeerId) {
        let Some(connected) = self.peers.get_mut(&peer).filter(|connected| !connected.speaks) else { return };
        connected.speaks = true;
        self.client.peer_came(peer, Arc::clone(&connected.gauge));
    }

    /// Begins a session; it lasts until the other end of `guard` is dropped.
    pub(super) fn open(&mut self, id: u64, likely: Vec<PeerId>, guard: oneshot::Sender<()>) -> bool {
        self.client.open(id, likely, guard)
    }

    /// A peer may have what a session looks for.
    pub(super) fn suggest(&mut self, session: u64, peer: PeerId) {
        self.client.suggest(session, peer, Instant::now());
    }

    pub(super) fn want(&mut self, session: u64, cid: Cid, reply: oneshot::Sender<Result<Given, Missing>>) {
        self.client.want(session, canonical(&cid), reply, Instant::now());
    }

    /// A block is here now.
    pub(super) fn stored(&mut self, cid: &Cid) {
        self.server.stored(&canonical(cid));
    }

    /// What was exchanged with a peer.
    pub(super) fn ledger(&self, peer: &PeerId) -> Ledger {
        let wants = u64::try_from(self.server.waiting(peer)).unwrap_or(u64::MAX);
        let ledger = self.peers.get(peer).map(|connected| connected.ledger).unwrap_or_default();
        Ledger { wants, ..ledger }
    }

    /// What was exchanged with everybody.
    pub(super) fn total(&self) -> Ledger {
        self.peers.keys().map(|peer| self.ledger(peer)).fold(self.past, Ledger::and)
    }

    /// How long ago a peer last sent or was sent something, while nothing is owed to it or by it.
    pub(super) fn idle_since(&self, peer: &PeerId) -> Option<Instant> {
        let busy = self.client.owed(peer) > 0 || self.server.waiting(peer) > 0;
        self.peers.get(peer).filter(|_| !busy).map(|connected| connected.last)
    }

    fn on_message(&mut self, peer: PeerId, message: &Message, now: Instant) {
        let Some(connected) = self.peers.get_mut(&peer) else { return };
        connected.last = now;
        // It has just shown it.
        self.speaks(peer);
        if !message.blocks.is_empty() {
            self.told.push_back(Event::Exchanged);
        }
        for block in &message.blocks {
            if self.on_block(peer, block, now) == Arrival::Unasked {
                // Once is enough: what else it sends is not looked at.
                let what = format!("a block that it was not asked for: {}", block.cid);
                self.told.push_back(Event::Fault { peer, what });
                return;
            }
        }
        for (cid, has) in &message.presences {
            tracing::trace!(%peer, %cid, has, "presence");
            self.client.presence(peer, cid, *has, now);
        }
        if message.wants.is_empty() {
            return;
        }
        let source = Arc::clone(&self.source);
        if !self.server.wants(peer, message, |cid| source.size(cid), now) {
            self.told.push_back(Event::Fault { peer, what: "Bitswap wants without end".to_owned() });
        }
    }

    fn on_block(&mut self, peer: PeerId, block: &Block, now: Instant) -> Arrival {
        let arrival = self.client.block(peer, block, now);
        if let Some(connected) = self.peers.get_mut(&peer) {
            let ledger = &mut connected.ledger;
            ledger.blocks_received = ledger.blocks_received.saturating_add(1);
            let bytes = u64::try_from(block.bytes.len()).unwrap_or(u64::MAX);
            ledger.bytes_received = ledger.bytes_received.saturating_add(bytes);
            ledger.duplicates = ledger.duplicates.saturating_add(u64::from(arrival == Arrival::Late));
        }
        arrival
    }

    fn on_told(&mut self, peer: PeerId, connection: ConnectionId, told: Told, now: Instant) {
        match told {
            Told::Received(Received(message)) => self.on_message(peer, &message, now),
            Told::Sent(sent) => {
                let Some(connected) = self.peers.get_mut(&peer) else { return };
                connected.handed = connected.handed.saturating_sub(1);
                if sent.blocks > 0 {
                    connected.last = now;
                    let ledger = &mut connected.ledger;
                    ledger.blocks_sent = ledger.blocks_sent.saturating_add(sent.blocks);
                    ledger.bytes_sent = ledger.bytes_sent.saturating_add(sent.bytes);
                    self.server.done(&peer, sent.cost);
                    self.told.push_back(Event::Exchanged);
                }
            }
            Told::NotSent(why) => {
                tracing::debug!(%peer, why, "Bitswap messages were lost");
                self.lost(peer, now);
            }
            Told::Unsupported => {
                tracing::debug!(%peer, "it does not speak Bitswap after all");
                self.lost(peer, now);
                if let Some(connected) = self.peers.get_mut(&peer) {
                    connected.speaks = false;
                }
                self.client.peer_left(&peer, now);
            }
            Told::Fault(what) => self.told.push_back(Event::Fault { peer, what }),
            Told::CutOff if self.cut_off.len() < CUT_OFF => self.cut_off.push((peer, connection, now)),
            Told::CutOff => {}
            Told::NotRead(what) => {
                self.lost(peer, now);
                self.server.forget(&peer);
                self.told.push_back(Event::Fault { peer, what });
            }
        }
    }

    /// Called every second: a message that ended in the middle is a fault if the connection has outlived it.
    pub(super) fn judge_cut_off(&mut self, now: Instant) {
        let (told, peers) = (&mut self.told, &self.peers);
        self.cut_off.retain(|(peer, connection, at)| {
            let there = peers.get(peer).is_some_and(|known| known.connections.contains(connection));
            let judged = now.saturating_duration_since(*at) >= OUTLIVED;
            if there && judged {
                let what = "a Bitswap message that ends in the middle".to_owned();
                told.push_back(Event::Fault { peer: *peer, what });
            }
            there && !judged
        });
    }

    /// What was handed to a peer's handler is lost.
    fn lost(&mut self, peer: PeerId, now: Instant) {
        if let Some(connected) = self.peers.get_mut(&peer) {
            connected.handed = 0;
            connected.ready.clear();
        }
        self.server.lost(&peer);
        self.client.lost(&peer, now);
    }

    /// Takes in the blocks that have been read; `true` when there were any.
    fn take_reads(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while let Poll::Ready(Some((read, bytes))) = self.reads.poll_next_unpin(cx) {
            any = true;
            if !self.server.is_current(&read) {
                continue;
            }
            match (bytes, self.peers.get_mut(&read.peer)) {
                (Some(bytes), Some(connected)) => {
                    connected.ready.push_back(Block { cid: canonical(&read.cid), bytes });
                }
                _ => self.server.unreadable(&read),
            }
        }
        any
    }

    /// The next message that a handler can take.
    fn next_message(&mut self) -> Option<(PeerId, ConnectionId, Message)> {
        let with_blocks = self.peers.iter().filter(|(_, connected)| !connected.ready.is_empty());
        let with_blocks: Vec<PeerId> = with_blocks.map(|(peer, _)| *peer).collect();
        let to_tell: Vec<PeerId> =
            self.client.to_tell().chain(self.server.to_tell()).chain(with_blocks).collect();
        for peer in to_tell {
            let Some(connected) = self.peers.get_mut(&peer) else { continue };
            let Some(connection) = connected.connections.first().copied() else { continue };
            if connected.handed >= MESSAGES {
                continue;
            }
            let mut message = Message {
                wants: self.client.tell(&peer),
                presences: self.server.tell(&peer),
                ..Message::default()
            };
            // What is small goes alone, ahead of the blocks that wait in the handler.
            if message.is_empty() {
                let mut bytes = 0;
                while let Some(block) =
                    connected.ready.pop_front_if(|next| bytes == 0 || bytes + next.bytes.len() <= TOGETHER)
                {
                    bytes += block.bytes.len();
                    message.blocks.push(block);
                }
            }
            if message.is_empty() {
                continue;
            }
            connected.handed += 1;
            return Some((peer, connection, message));
        }
        None
    }

    fn start_reads(&mut self) {
        while let Some(read) = self.server.next(|cid| self.source.size(cid)) {
            let source = Arc::clone(&self.source);
            let reading = async move {
                let found = tokio::time::timeout(READ_WITHIN, source.block(&canonical(&read.cid))).await;
                (read, found.ok().flatten())
            };
            self.reads.push(reading.boxed());
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.gauge(peer)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.gauge(peer)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                let gauge = self.gauge(established.peer_id);
                let connected = self.peers.entry(established.peer_id).or_insert_with(|| Connected {
                    gauge,
                    connections: Vec::new(),
                    speaks: false,
                    handed: 0,
                    ready: VecDeque::new(),
                    ledger: Ledger::default(),
                    last: Instant::now(),
                });
                connected.connections.push(established.connection_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                self.on_connection_closed(peer_id, connection_id, Instant::now());
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        told: THandlerOutEvent<Self>,
    ) {
        self.on_told(peer, connection, told, Instant::now());
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        if let Some(event) = self.told.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(event));
        }
        if self.client.is_idle() {
            self.tick = None;
        } else {
            let tick = self.tick.get_or_insert_with(|| tokio::time::interval(TICK));
            while tick.poll_tick(cx).is_ready() {
                self.client.tick(Instant::now());
            }
        }
        loop {
            if let Some((peer_id, connection, message)) = self.next_message() {
                return Poll::Ready(ToSwarm::NotifyHandler {
                    peer_id,
                    handler: NotifyHandler::One(connection),
                    event: Send(message),
                });
            }
            self.start_reads();
            if !self.take_reads(cx) {
                return Poll::Pending;
            }
        }
    }
}

impl Behaviour {
    /// Connections of one peer share it. The handler is made before the connection counts as one, so it is who holds it.
    fn gauge(&mut self, peer: PeerId) -> Arc<Gauge> {
        if let Some(gauge) = self.gauges.get(&peer).and_then(Weak::upgrade) {
            return gauge;
        }
        self.gauges.retain(|_, gauge| gauge.strong_count() > 0);
        let gauge = Arc::new(Gauge::new());
        self.gauges.insert(peer, Arc::downgrade(&gauge));
        gauge
    }

    fn on_connection_closed(&mut self, peer: PeerId, connection: ConnectionId, now: Instant) {
        let Some(connected) = self.peers.get_mut(&peer) else { return };
        let written_to = connected.connections.first() == Some(&connection);
        connected.connections.retain(|other| *other != connection);
        if connected.connections.is_empty() {
            self.past = self.past.and(connected.ledger);
            self.peers.remove(&peer);
            self.server.peer_left(&peer);
            self.client.peer_left(&peer, now);
        } else if written_to {
            self.lost(peer, now);
        }
    }
}
