//! The bytes of the four request protocols. All are one frame each way:
//!
//! ```text
//!   request   length (u32, big-endian)  body
//!   answer    status (u8)  length (u32, big-endian)  body
//!
//!   status    0 yes: the body is the answer    1 no: the body says why (UTF-8, at most 256 bytes)    2 busy, try later
//!
//!             request body        yes
//!   card      an agent card       the other side's agent card
//!   deliver   an envelope         nothing: it was verified and taken
//!   document  its id, binary      its envelope
//!   guild     JSON, see `guild`   JSON
//! ```
//!
//! A length is checked before anything is read for it, and memory grows with what really arrives. Bad frames become
//! values rather than I/O errors: request-response reports a failed read of a request to nobody, and faults must count.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::{self, ProtocolSupport};

use crate::document::Untrusted;
use crate::document::strict::MAX_ENVELOPE_BYTES;

/// Exchange of agent cards.
pub const CARD_PROTOCOL: &str = "/zerostate/card/1";
/// Direct delivery of one document.
pub const DELIVER_PROTOCOL: &str = "/zerostate/deliver/1";
/// One document by its id.
pub const DOCUMENT_PROTOCOL: &str = "/zerostate/document/1";

/// What members of guilds, and those who would be, say to each other.
pub const GUILD_PROTOCOL: &str = "/zerostate/guild/1";

/// A binary CIDv1 with sha2-256 has 36 bytes; other hashes may be longer.
const MAX_CID_BYTES: usize = 128;
/// A sentence.
const MAX_REASON_BYTES: usize = 256;
/// What a vector is given before the bytes are there.
const FIRST_ALLOCATION: usize = 64 * 1024;
/// Requests are small; who needs longer to send one holds up a stream on purpose.
const READ_REQUEST: Duration = Duration::from_secs(5);
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams of one protocol on one connection, both directions together.
const MAX_STREAMS: usize = 32;
/// Of the guild protocol there are more: a member speaks to all others at once, for several guilds and tasks.
const MAX_GUILD_STREAMS: usize = 256;

const YES: u8 = 0;
const NO: u8 = 1;
const BUSY: u8 = 2;

pub(super) type Exchange = request_response::Behaviour<FrameCodec>;

/// A request on its way out or in. One that came in may be malformed, which the error describes.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) body: Result<Arc<[u8]>, String>,
    /// The most that is taken as an answer; of no meaning on the way in.
    max_answer: u64,
}

impl Request {
    pub(super) fn new(body: Arc<[u8]>, max_answer: u64) -> Self {
        Self { body: Ok(body), max_answer }
    }
}

/// An answer on its way in or out. The last two are only ever read, never written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes(Vec<u8>),
    No(String),
    Busy,
    TooLarge(u64),
    Malformed(String),
}

/// Reads and writes the frames of one protocol. Made anew for every stream.
#[derive(Debug, Clone)]
pub(super) struct FrameCodec {
    max_request: usize,
    max_answer: u64,
}

fn exchange(protocol: &'static str, max_request: usize, max_answer: u64, streams: usize) -> Exchange {
    let config = request_response::Config::default()
        .with_request_timeout(EXCHANGE_TIMEOUT)
        .with_max_concurrent_streams(streams);
    let protocols = [(StreamProtocol::new(protocol), ProtocolSupport::Full)];
    Exchange::with_codec(FrameCodec { max_request, max_answer }, protocols, config)
}

pub(super) fn card() -> Exchange {
    exchange(CARD_PROTOCOL, MAX_ENVELOPE_BYTES, MAX_DOCUMENT_ANSWER, MAX_STREAMS)
}

/// A card is a document, and a document is an envelope.
pub(super) const MAX_DOCUMENT_ANSWER: u64 = MAX_ENVELOPE_BYTES as u64;

pub(super) fn deliver() -> Exchange {
    exchange(DELIVER_PROTOCOL, MAX_ENVELOPE_BYTES, 0, MAX_STREAMS)
}

pub(super) fn document() -> Exchange {
    exchange(DOCUMENT_PROTOCOL, MAX_CID_BYTES, MAX_DOCUMENT_ANSWER, MAX_STREAMS)
}

/// The most that is said at once in the guild protocol: an envelope of 88 KiB in base64, and what is around it.
pub(super) const MAX_GUILD_BYTES: u64 = 256 * 1024;

pub(super) fn guild() -> Exchange {
    let max = usize::try_from(MAX_GUILD_BYTES).unwrap_or(usize::MAX);
    exchange(GUILD_PROTOCOL, max, MAX_GUILD_BYTES, MAX_GUILD_STREAMS)
}

/// Why a frame could not be read.
enum FrameError {
    /// The prefix announces more than is allowed.
    TooLong(u64),
    /// The stream ended in the middle.
    Truncated,
    Io(io::Error),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(error) }
    }
}

async fn read_frame<T: AsyncRead + Unpin + Send>(io: &mut T, limit: u64) -> Result<Vec<u8>, FrameError> {
    let mut prefix = [0u8; 4];
    io.read_exact(&mut prefix).await?;
    let length = u32::from_be_bytes(prefix);
    if u64::from(length) > limit {
        return Err(FrameError::TooLong(length.into()));
    }
    let wanted = usize::try_from(length).map_err(|_| FrameError::TooLong(length.into()))?;
    let mut body = Vec::with_capacity(wanted.min(FIRST_ALLOCATION));
    io.take(length.into()).read_to_end(&mut body).await?;
    if body.len() == wanted { Ok(body) } else { Err(FrameError::Truncated) }
}

/// In one piece: each write is a frame of its own to the multiplexer.
async fn write_frame<T: AsyncWrite + Unpin + Send>(
    io: &mut T,
    status: Option<u8>,
    body: &[u8],
) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut frame = Vec::with_capacity(5 + body.len());
    frame.extend(status);
    frame.extend(length.to_be_bytes());
    frame.extend(body);
    io.write_all(&frame).await?;
    io.flush().await
}

impl request_response::Codec for FrameCodec {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Answer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        let limit = u64::try_from(self.max_request).unwrap_or(u64::MAX);
        let body = match tokio::time::timeout(READ_REQUEST, read_frame(io, limit)).await {
            Ok(Ok(body)) => Ok(body.into()),
            Ok(Err(FrameError::TooLong(length))) => {
                Err(format!("a request of {length} bytes where at most {limit} are allowed"))
            }
            Ok(Err(FrameError::Truncated)) => Err("a request that ends in the middle".to_owned()),
            Ok(Err(FrameError::Io(error))) => return Err(error),
            Err(_) => Err(format!("a request that was not whole after {} s", READ_REQUEST.as_secs())),
        };
        Ok(Request { body, max_answer: 0 })
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Answer>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut status = [0u8; 1];
        io.read_exact(&mut status).await?;
        let [status] = status;
        let limit = if status == YES { self.max_answer } else { MAX_REASON_BYTES as u64 };
        Ok(match (status, read_frame(io, limit).await) {
            (YES, Ok(body)) => Answer::Yes(body),
            (NO, Ok(reason)) => Answer::No(Untrusted::new(&String::from_utf8_lossy(&reason)).to_string()),
            (BUSY, Ok(_)) => Answer::Busy,
            (YES, Err(FrameError::TooLong(length))) => Answer::TooLarge(length),
            (_, Err(FrameError::TooLong(length))) => Answer::Malformed(format!("a reason of {length} bytes")),
            (_, Err(FrameError::Truncated)) => {
                Answer::Malformed("an answer that ends in the middle".to_owned())
            }
            (_, Err(FrameError::Io(error))) => return Err(error),
            (other, Ok(_)) => Answer::Malformed(format!("an answer with the unknown status {other}")),
        })
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        // The same codec value reads the answer of this stream.
        self.max_answer = self.max_answer.min(request.max_answer);
        let body = request.body.map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        write_frame(io, None, &body).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: Answer) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let (status, body) = match answer {
            Answer::Yes(body) => (YES, body),
            Answer::No(reason) => (NO, shorten(reason).into_bytes()),
            Answer::Busy => (BUSY, Vec::new()),
            Answer::TooLarge(_) | Answer::Malformed(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        write_frame(io, Some(status), &body).await
    }
}

/// Cuts a reason to what fits its frame, at a character's end.
fn shorten(mut reason: String) -> String {
    if reason.len() > MAX_REASON_BYTES {
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    }
    reason
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use libp2p::request_response::Codec as _;

    use super::*;

    const PROTOCOL: StreamProtocol = StreamProtocol::new(DOCUMENT_PROTOCOL);

    fn codec() -> FrameCodec {
        FrameCodec { max_request: 16, max_answer: 1000 }
    }

    async fn read(bytes: &[u8]) -> Result<Arc<[u8]>, String> {
        codec().read_request(&PROTOCOL, &mut Cursor::new(bytes)).await.unwrap().body
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        let mut pipe = Cursor::new(Vec::new());
        codec().write_request(&PROTOCOL, &mut pipe, Request::new(b"hello"[..].into(), 10)).await.unwrap();
        assert_eq!(pipe.get_ref(), b"\0\0\0\x05hello");
        assert_eq!(&*read(pipe.get_ref()).await.unwrap(), b"hello");

        for answer in [Answer::Yes(vec![7; 1000]), Answer::No("why".into()), Answer::Busy] {
            let mut pipe = Cursor::new(Vec::new());
            let same = match &answer {
                Answer::Yes(body) => Answer::Yes(body.clone()),
                Answer::No(reason) => Answer::No(reason.clone()),
                _ => Answer::Busy,
            };
            codec().write_response(&PROTOCOL, &mut pipe, answer).await.unwrap();
            pipe.set_position(0);
            assert_eq!(codec().read_response(&PROTOCOL, &mut pipe).await.unwrap(), same);
        }
    }

    #[tokio::test]
    async fn bad_requests_are_values_that_say_what_is_wrong() {
        assert!(read(b"\0\0\0\x11aaaaaaaaaaaaaaaaa").await.unwrap_err().contains("17 bytes"));
        assert!(read(b"\xff\xff\xff\xffaaaa").await.unwrap_err().contains("at most 16"));
        for cut in [&b""[..], b"\0", b"\0\0\0\x05hell"] {
            assert!(read(cut).await.unwrap_err().contains("ends in the middle"), "{cut:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_held_to_the_bound_of_its_request() {
        let mut codec = codec();
        codec
            .write_request(&PROTOCOL, &mut Cursor::new(Vec::new()), Request::new(b"x"[..].into(), 3))
            .await
            .unwrap();
        let mut four = Cursor::new(b"\0\0\0\0\x04aaaa".to_vec());
        assert_eq!(codec.read_response(&PROTOCOL, &mut four).await.unwrap(), Answer::TooLarge(4));
        let mut odd = Cursor::new(b"\x09\0\0\0\0".to_vec());
        assert!(matches!(codec.read_response(&PROTOCOL, &mut odd).await.unwrap(), Answer::Malformed(_)));
        let mut long = Cursor::new(b"\x01\0\0\x02\0aaaa".to_vec());
        assert!(matches!(codec.read_response(&PROTOCOL, &mut long).await.unwrap(), Answer::Malformed(_)));
    }

    #[test]
    fn a_reason_is_cut_at_a_characters_end() {
        assert_eq!(shorten("é".repeat(200)).len(), 256);
        assert_eq!(shorten(format!("a{}", "é".repeat(200))).len(), 255);
    }
}
