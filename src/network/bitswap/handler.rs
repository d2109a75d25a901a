//! The streams of one connection: messages are read from any number of inbound streams and written to one outbound one.
//!
//! Helia opens a stream for each message, go keeps one open and sends all its messages there, py answers on the stream it was
//! asked on: each inbound stream is read until it ends, and so is the answering side of the outbound one.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, Ready, ready};
use futures::io::{ReadHalf, WriteHalf};
use futures::stream::{FuturesUnordered, StreamExt as _};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol,
};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::gauge::Gauge;
use super::message::{
    MAX_MESSAGE, MAX_UNASKED, Message, ReadError, Sent, Version, read_body, read_length, write,
};

/// Newest first: the first one that the other side knows is spoken.
pub(in crate::network) const PROTOCOLS: [StreamProtocol; 3] = [
    StreamProtocol::new("/ipfs/bitswap/1.2.0"),
    StreamProtocol::new("/ipfs/bitswap/1.1.0"),
    StreamProtocol::new("/ipfs/bitswap/1.0.0"),
];
/// Inbound streams of a connection that are read; Helia opens one for each message.
const MAX_INBOUND: usize = 64;
/// Bytes of unfinished messages on one connection.
const READING: usize = 2 * MAX_MESSAGE;
/// From its length to its last byte. Who needs longer for 4 MiB holds up a stream on purpose.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// Who is sent something takes so many bytes in such a time: what waits for it is in memory meanwhile.
const TAKEN: usize = 64 * 1024;
const TAKEN_WITHIN: Duration = Duration::from_secs(5);
/// An inbound stream on which nothing comes. Go keeps its stream for as long as the connection lasts.
const IDLE: Duration = Duration::from_secs(600);
/// The outbound stream is closed when there was nothing to write for so long: Helia waits for its end.
const LINGER: Duration = Duration::from_secs(2);

/// What the handler tells the behaviour.
#[derive(Debug)]
pub enum Told {
    Received(Received),
    /// A message has left.
    Sent(Sent),
    /// A message was lost, and everything that waited behind it.
    NotSent(String),
    /// The other side does not speak Bitswap.
    Unsupported,
    Fault(String),
    /// A message that ended in the middle: a fault, unless the whole connection did.
    CutOff,
    /// It asks and does not take what it is sent. Everything that waited for it is lost.
    NotRead(String),
}

/// A message, hidden from the outside.
#[derive(Debug)]
pub struct Received(pub(super) Message);

/// A message to be sent.
#[derive(Debug)]
pub struct Send(pub(super) Message);

/// Negotiates the version.
#[derive(Debug, Clone, Copy)]
pub struct Negotiate;

impl UpgradeInfo for Negotiate {
    type Info = StreamProtocol;
    type InfoIter = std::array::IntoIter<StreamProtocol, 3>;

    fn protocol_info(&self) -> Self::InfoIter {
        PROTOCOLS.into_iter()
    }
}

fn version(protocol: &StreamProtocol) -> Version {
    let [newest, middle, _] = PROTOCOLS;
    match protocol {
        p if *p == newest => Version::V1_2,
        p if *p == middle => Version::V1_1,
        _ => Version::V1_0,
    }
}

impl InboundUpgrade<Stream> for Negotiate {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

impl OutboundUpgrade<Stream> for Negotiate {
    type Output = (Stream, VersionUsed);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, VersionUsed(version(&protocol)))))
    }
}

/// The version of a stream, hidden from the outside.
#[derive(Debug, Clone, Copy)]
pub struct VersionUsed(Version);

/// What reading from a stream led to: a message, and the stream to go on with.
type Reading =
    BoxFuture<'static, Result<Option<(Message, Box<dyn AsyncRead + core::marker::Send + Unpin>)>, ReadError>>;
type Writing = BoxFuture<'static, Result<(Sent, Outbound), Told>>;

struct Outbound {
    stream: WriteHalf<Stream>,
    version: Version,
}

/// Where the outbound stream is.
enum Out {
    Closed,
    Opening,
    Writing(Writing),
    /// Nothing to write; it is closed when that lasts.
    Idle(Option<Outbound>, Pin<Box<tokio::time::Sleep>>),
}

/// The streams of one connection.
pub struct Handler {
    gauge: Arc<Gauge>,
    reading: Arc<Semaphore>,
    inbound: FuturesUnordered<Reading>,
    waiting: VecDeque<Message>,
    out: Out,
    told: VecDeque<Told>,
}

impl Handler {
    pub(super) fn new(gauge: Arc<Gauge>) -> Self {
        Self {
            gauge,
            reading: Arc::new(Semaphore::new(READING)),
            inbound: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            out: Out::Closed,
            told: VecDeque::new(),
        }
    }

    fn read(&self, io: Box<dyn AsyncRead + core::marker::Send + Unpin>) {
        self.inbound.push(read(io, Arc::clone(&self.gauge), Arc::clone(&self.reading)).boxed());
    }

    fn fail(&mut self, told: Told) {
        self.waiting.clear();
        self.out = Out::Closed;
        self.told.push_back(told);
    }

    /// Drives the outbound side as far as it goes; `true` when a stream is to be opened.
    fn advance_out(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match &mut self.out {
                Out::Opening => return false,
                Out::Closed if self.waiting.is_empty() => return false,
                Out::Closed => {
                    self.out = Out::Opening;
                    return true;
                }
                Out::Writing(writing) => match writing.poll_unpin(cx) {
                    Poll::Pending => return false,
                    Poll::Ready(Ok((sent, outbound))) => {
                        self.told.push_back(Told::Sent(sent));
                        self.out = Out::Idle(Some(outbound), Box::pin(tokio::time::sleep(LINGER)));
                    }
                    Poll::Ready(Err(why)) => self.fail(why),
                },
                Out::Idle(outbound, linger) => match (self.waiting.pop_front(), outbound.take()) {
                    (Some(message), Some(outbound)) => {
                        self.out = Out::Writing(send(outbound, message).boxed());
                    }
                    (None, Some(mut kept)) => {
                        if linger.poll_unpin(cx).is_pending() {
                            *outbound = Some(kept);
                            return false;
                        }
                        // Only politeness: dropped, the stream would be reset.
                        let close = async move {
                            kept.stream.close().await?;
                            Ok(None)
                        };
                        self.out = Out::Closed;
                        self.inbound.push(close.boxed());
                    }
                    (_, None) => self.out = Out::Closed,
                },
            }
        }
    }
}

async fn send(mut outbound: Outbound, message: Message) -> Result<(Sent, Outbound), Told> {
    let sent = message.sent();
    let frame = message.encode(outbound.version);
    drop(message);
    for piece in frame.chunks(TAKEN) {
        match timeout(TAKEN_WITHIN, write(&mut outbound.stream, piece)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Told::NotSent(error.to_string())),
            Err(_) => {
                let what = format!("asked for what it does not take: {TAKEN} bytes in {TAKEN_WITHIN:?}");
                return Err(Told::NotRead(what));
            }
        }
    }
    Ok((sent, outbound))
}

/// The next message of a stream.
async fn read(
    mut io: Box<dyn AsyncRead + core::marker::Send + Unpin>,
    gauge: Arc<Gauge>,
    reading: Arc<Semaphore>,
) -> Result<Option<(Message, Box<dyn AsyncRead + core::marker::Send + Unpin>)>, ReadError> {
    let Ok(length) = timeout(IDLE, read_length(&mut io)).await else { return Ok(None) };
    let Some(length) = length? else { return Ok(None) };
    let most = if gauge.owes() { MAX_MESSAGE } else { MAX_UNASKED };
    if length > most {
        return Err(ReadError::Fault(format!(
            "a Bitswap message of {length} bytes, where at most {most} are taken"
        )));
    }
    let places = u32::try_from(length).unwrap_or(u32::MAX);
    let body = async {
        // Closed never: the handler holds it.
        let _place = reading.acquire_many(places).await.ok();
        let body = read_body(&mut io, length, |bytes| gauge.drip(bytes)).await;
        if body.is_ok() {
            gauge.hear();
        }
        body
    };
    let late = || {
        ReadError::Fault(format!("a Bitswap message that was not whole after {} s", READ_WITHIN.as_secs()))
    };
    let body = timeout(READ_WITHIN, body).await.unwrap_or_else(|_| Err(late()))?;
    let message = Message::decode(body).map_err(ReadError::Fault)?;
    Ok(Some((message, io)))
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Send;
    type ToBehaviour = Told;
    type InboundProtocol = Negotiate;
    type OutboundProtocol = Negotiate;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Negotiate> {
        SubstreamProtocol::new(Negotiate, ())
    }

    fn on_behaviour_event(&mut self, Send(message): Send) {
        // What is small does not wait behind blocks; among themselves, messages keep their order.
        let behind = self.waiting.iter().take_while(|waiting| waiting.blocks.is_empty()).count();
        let place = if message.blocks.is_empty() { behind } else { self.waiting.len() };
        self.waiting.insert(place, message);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Negotiate, Negotiate>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                if self.inbound.len() >= MAX_INBOUND {
                    self.told.push_back(Told::Fault(format!("over {MAX_INBOUND} Bitswap streams at once")));
                } else {
                    self.read(Box::new(protocol));
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, VersionUsed(version)),
                ..
            }) => {
                let (answers, stream): (ReadHalf<Stream>, _) = stream.split();
                if self.inbound.len() < MAX_INBOUND {
                    self.read(Box::new(answers));
                }
                self.out =
                    Out::Idle(Some(Outbound { stream, version }), Box::pin(tokio::time::sleep(LINGER)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => match error {
                StreamUpgradeError::NegotiationFailed => {
                    self.waiting.clear();
                    self.out = Out::Closed;
                    self.told.push_back(Told::Unsupported);
                }
                StreamUpgradeError::Timeout => self.fail(Told::NotSent("no stream in time".to_owned())),
                StreamUpgradeError::Io(error) => self.fail(Told::NotSent(error.to_string())),
                StreamUpgradeError::Apply(never) => match never {},
            },
            _ => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Negotiate, (), Told>> {
        if self.advance_out(cx) {
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(Negotiate, ()),
            });
        }
        if let Some(told) = self.told.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(told));
        }
        while let Poll::Ready(Some(read)) = self.inbound.poll_next_unpin(cx) {
            let told = match read {
                Ok(None) => continue,
                Ok(Some((message, io))) => {
                    self.read(io);
                    Told::Received(Received(message))
                }
                Err(ReadError::Fault(what)) => Told::Fault(what),
                Err(ReadError::CutOff) => Told::CutOff,
                Err(ReadError::Io(error)) => {
                    tracing::trace!(%error, "a Bitswap stream ended");
                    continue;
                }
            };
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(told));
        }
        Poll::Pending
    }
}
