//! The messages of Bitswap and their bytes: `length (varint)  message (protobuf)`, any number of them on a stream.
//! ([Bitswap](https://specs.ipfs.tech/bitswap-protocol/), "Bitswap 1.2.0: Wire Format")

use cid::Cid;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use prost::Message as _;
use prost::bytes::Bytes;

use crate::dag::{MAX_BLOCK, canonical};
use crate::document::{DAG_PB_CODEC, SHA2_256, Sha256Digest};

/// What is read and written at most (the specification's limit).
pub(super) const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// The same from a peer that owes no blocks: a full wantlist with its framing has a tenth of it.
pub(super) const MAX_UNASKED: usize = 512 * 1024;
/// Entries of a message that are looked at; js and go send at most so many.
pub(super) const MAX_ENTRIES: usize = 1024;
/// Blocks of a message, and its presences and wants together with what nobody knows: both well above what is sent.
const MAX_BLOCKS: usize = 1024;
const MAX_FIELDS: usize = 32 * 1024;
/// What a body is given before its bytes are there.
const FIRST_ALLOCATION: usize = 64 * 1024;
/// Bytes of a length: `MAX_MESSAGE` needs four.
const MAX_LENGTH_BYTES: usize = 4;

/// Which Bitswap is spoken on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// Blocks without their CIDs: version 0, dag-pb.
    V1_0,
    /// Blocks with the beginning of their CIDs.
    V1_1,
    /// Who has what can be asked, and that somebody has not is told.
    V1_2,
}

/// What one peer tells another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) wants: Vec<Want>,
    /// The wants replace all earlier ones.
    pub(super) full: bool,
    pub(super) blocks: Vec<Block>,
    /// Of each CID, whether the sender has it.
    pub(super) presences: Vec<(Cid, bool)>,
}

/// The blocks of a message that has left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    pub(super) blocks: u64,
    pub(super) bytes: u64,
    /// As [`cost`] has it.
    pub(super) cost: u64,
}

/// The place a block takes while it is read and sent: no less than 16 KiB, so that small ones are bounded in number.
pub(super) fn cost(size: u64) -> u64 {
    size.max(16 * 1024)
}

/// What is wanted, or no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) cid: Cid,
    pub(super) kind: Kind,
    /// That it is not there is to be told.
    pub(super) send_dont_have: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The block itself.
    Block,
    /// Whether it is there.
    Have,
    /// Neither any more.
    Cancel,
}

/// A block with the CID that its bytes have. It is the receiver who makes the CID, so a block is never mistaken for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) cid: Cid,
    pub(super) bytes: Bytes,
}

mod pb {
    use prost::bytes::Bytes;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Message {
        #[prost(message, optional, tag = "1")]
        pub(super) wantlist: Option<Wantlist>,
        #[prost(bytes = "bytes", repeated, tag = "2")]
        pub(super) blocks: Vec<Bytes>,
        #[prost(message, repeated, tag = "3")]
        pub(super) payload: Vec<Block>,
        #[prost(message, repeated, tag = "4")]
        pub(super) presences: Vec<Presence>,
        #[prost(int32, tag = "5")]
        pub(super) pending_bytes: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Wantlist {
        #[prost(message, repeated, tag = "1")]
        pub(super) entries: Vec<Entry>,
        #[prost(bool, tag = "2")]
        pub(super) full: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Entry {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) cid: Bytes,
        #[prost(int32, tag = "2")]
        pub(super) priority: i32,
        #[prost(bool, tag = "3")]
        pub(super) cancel: bool,
        /// 0 block, 1 have.
        #[prost(int32, tag = "4")]
        pub(super) kind: i32,
        #[prost(bool, tag = "5")]
        pub(super) send_dont_have: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Block {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) prefix: Bytes,
        #[prost(bytes = "bytes", tag = "2")]
        pub(super) data: Bytes,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Presence {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) cid: Bytes,
        /// 0 have, 1 do not have.
        #[prost(int32, tag = "2")]
        pub(super) kind: i32,
    }
}

impl Message {
    pub(super) fn is_empty(&self) -> bool {
        self.wants.is_empty() && self.blocks.is_empty() && self.presences.is_empty()
    }

    /// What its blocks are.
    pub(super) fn sent(&self) -> Sent {
        self.blocks.iter().map(|block| u64::try_from(block.bytes.len()).unwrap_or(u64::MAX)).fold(
            Sent::default(),
            |sent, bytes| Sent {
                blocks: sent.blocks.saturating_add(1),
                bytes: sent.bytes.saturating_add(bytes),
                cost: sent.cost.saturating_add(cost(bytes)),
            },
        )
    }

    /// Its frame, in the words of that version. What a version has no words for is left out.
    pub(super) fn encode(&self, version: Version) -> Vec<u8> {
        let told = |want: &&Want| version >= Version::V1_2 || want.kind != Kind::Have;
        let entries = self.wants.iter().filter(told).map(|want| pb::Entry {
            cid: want.cid.to_bytes().into(),
            priority: 1,
            cancel: want.kind == Kind::Cancel,
            kind: i32::from(want.kind == Kind::Have),
            send_dont_have: want.send_dont_have,
        });
        let entries: Vec<_> = entries.collect();
        let mut message = pb::Message {
            wantlist: (!entries.is_empty()).then_some(pb::Wantlist { entries, full: self.full }),
            ..pb::Message::default()
        };
        for block in &self.blocks {
            if version == Version::V1_0 {
                message.blocks.push(block.bytes.clone());
            } else {
                message
                    .payload
                    .push(pb::Block { prefix: prefix(&block.cid).into(), data: block.bytes.clone() });
            }
        }
        if version >= Version::V1_2 {
            let presence = |(cid, here): &(Cid, bool)| pb::Presence {
                cid: cid.to_bytes().into(),
                kind: i32::from(!here),
            };
            message.presences = self.presences.iter().map(presence).collect();
        }
        message.encode_length_delimited_to_vec()
    }

    /// Reads a message's body. Blocks are hashed here.
    ///
    /// # Errors
    /// What is wrong with it, for the book of faults.
    pub(super) fn decode(body: Bytes) -> Result<Self, String> {
        bounded(&body)?;
        let message =
            pb::Message::decode(body).map_err(|error| format!("a Bitswap message that is none: {error}"))?;
        let wantlist = message.wantlist.unwrap_or_default();
        let mut decoded = Self { full: wantlist.full, ..Self::default() };
        for entry in wantlist.entries.into_iter().take(MAX_ENTRIES) {
            // What is asked for by an unknown kind of CID cannot be here.
            let Some(cid) = parse(&entry.cid)? else { continue };
            let kind = match (entry.cancel, entry.kind) {
                (true, _) => Kind::Cancel,
                (false, 1) => Kind::Have,
                (false, _) => Kind::Block,
            };
            decoded.wants.push(Want { cid, kind, send_dont_have: entry.send_dont_have });
        }
        for bytes in message.blocks {
            decoded.take_block(1, DAG_PB_CODEC, bytes)?;
        }
        for block in message.payload {
            let (version, codec) = read_prefix(&block.prefix)?;
            decoded.take_block(version, codec, block.data)?;
        }
        for presence in message.presences.into_iter().take(MAX_ENTRIES) {
            if let Some(cid) = parse(&presence.cid)? {
                decoded.presences.push((canonical(&cid), presence.kind == 0));
            }
        }
        Ok(decoded)
    }

    fn take_block(&mut self, version: u64, codec: u64, bytes: Bytes) -> Result<(), String> {
        if bytes.len() > MAX_BLOCK {
            return Err(format!("a block of {} bytes, where at most {MAX_BLOCK} are allowed", bytes.len()));
        }
        if version > 1 {
            return Err(format!("a block with a CID of version {version}"));
        }
        let cid = Cid::new_v1(codec, *Sha256Digest::of(&bytes).to_cid().hash());
        self.blocks.push(Block { cid, bytes });
        Ok(())
    }
}

/// Counts the blocks, presences and wants of a message before any of them is given memory: two bytes on the wire may be a
/// hundred here.
fn bounded(body: &[u8]) -> Result<(), String> {
    let (mut blocks, mut others) = (0_usize, 0_usize);
    each_field(body, |tag, content| {
        match tag {
            1 => each_field(content, |_, _| {
                others += 1;
                Ok(())
            })?,
            2 | 3 => blocks += 1,
            _ => others += 1,
        }
        Ok(())
    })?;
    if blocks > MAX_BLOCKS || others > MAX_FIELDS {
        return Err(format!(
            "a Bitswap message of {blocks} blocks and {others} other things, where {MAX_BLOCKS} and {MAX_FIELDS} are allowed"
        ));
    }
    Ok(())
}

/// Walks over the fields of a protobuf message; of those without a length, the content is empty.
fn each_field(
    mut buffer: &[u8],
    mut seen: impl FnMut(u32, &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
    let none = |error: prost::DecodeError| format!("a Bitswap message that is none: {error}");
    while !buffer.is_empty() {
        let (tag, kind) = decode_key(&mut buffer).map_err(none)?;
        if kind == WireType::LengthDelimited {
            let length = decode_varint(&mut buffer).map_err(none)?;
            let parts = usize::try_from(length).ok().and_then(|length| buffer.split_at_checked(length));
            let (content, rest) =
                parts.ok_or_else(|| "a Bitswap message that is none: a field beyond its end".to_owned())?;
            seen(tag, content)?;
            buffer = rest;
        } else {
            skip_field(kind, tag, &mut buffer, DecodeContext::default()).map_err(none)?;
            seen(tag, &[])?;
        }
    }
    Ok(())
}

/// A CID from a peer: nothing where it is of a kind that nobody here could have asked for.
fn parse(bytes: &[u8]) -> Result<Option<Cid>, String> {
    let cid = Cid::try_from(bytes).map_err(|error| format!("a CID that is none: {error}"))?;
    Ok((cid.hash().code() == SHA2_256).then_some(cid))
}

/// Version, codec, hash and its length: what a CID is without its digest.
fn prefix(cid: &Cid) -> Vec<u8> {
    let mut out = Vec::with_capacity(8);
    for number in [1, cid.codec(), cid.hash().code(), cid.hash().size().into()] {
        prost::encoding::encode_varint(number, &mut out);
    }
    out
}

fn read_prefix(mut prefix: &[u8]) -> Result<(u64, u64), String> {
    let mut next = || prost::encoding::decode_varint(&mut prefix);
    let numbers = [next(), next(), next(), next()];
    match numbers {
        [Ok(version), Ok(codec), Ok(SHA2_256), Ok(32)] => Ok((version, codec)),
        [Ok(_), Ok(_), Ok(_), Ok(_)] => Err("a block under a hash that was not asked for".to_owned()),
        _ => Err("a block without the beginning of its CID".to_owned()),
    }
}

/// Why nothing was read.
pub(super) enum ReadError {
    /// Nobody's fault.
    Io(std::io::Error),
    /// The peer's.
    Fault(String),
    /// The peer's, unless the connection ended.
    CutOff,
}

impl From<std::io::Error> for ReadError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// The length of the next message, or nothing at the end of the stream.
pub(super) async fn read_length(io: &mut (impl AsyncRead + Unpin)) -> Result<Option<usize>, ReadError> {
    let mut length = 0_usize;
    for index in 0..MAX_LENGTH_BYTES {
        let mut byte = [0_u8; 1];
        if io.read(&mut byte).await? == 0 {
            return match index {
                0 => Ok(None),
                _ => Err(ReadError::Fault("a Bitswap message without its length".to_owned())),
            };
        }
        let [byte] = byte;
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some(length));
        }
    }
    Err(ReadError::Fault("a Bitswap message of more than 256 MiB".to_owned()))
}

/// So many bytes; memory grows with what really arrives. `heard` is told how many have come.
pub(super) async fn read_body(
    io: &mut (impl AsyncRead + Unpin),
    length: usize,
    heard: impl Fn(usize),
) -> Result<Bytes, ReadError> {
    let mut body = Vec::with_capacity(length.min(FIRST_ALLOCATION));
    let mut filled = 0;
    while filled < length {
        // Doubling, so that a length alone takes no memory.
        body.resize(length.min((filled * 2).max(FIRST_ALLOCATION)), 0);
        let Some(room) = body.get_mut(filled..) else { break };
        let read = io.read(room).await?;
        if read == 0 {
            return Err(ReadError::CutOff);
        }
        filled += read;
        heard(read);
    }
    Ok(body.into())
}

/// Writes a frame.
pub(super) async fn write(io: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> std::io::Result<()> {
    io.write_all(frame).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;
    use crate::dag::leaf;

    fn whole() -> Message {
        let (a, b) = (leaf(b"a").cid, leaf(b"b").cid);
        Message {
            wants: vec![
                Want { cid: a, kind: Kind::Block, send_dont_have: true },
                Want { cid: b, kind: Kind::Have, send_dont_have: false },
                Want { cid: b, kind: Kind::Cancel, send_dont_have: false },
            ],
            full: true,
            blocks: vec![Block { cid: a, bytes: Bytes::from_static(b"a") }],
            presences: vec![(a, true), (b, false)],
        }
    }

    async fn decode(frame: &[u8]) -> Result<Message, String> {
        let mut io = Cursor::new(frame);
        let length = read_length(&mut io).await.map_err(|_| "length")?.ok_or("end")?;
        let body = read_body(&mut io, length, |_| {}).await.map_err(|_| "body")?;
        Message::decode(body)
    }

    #[tokio::test]
    async fn what_is_written_is_read_in_every_version_as_far_as_it_has_words_for_it() {
        let message = whole();
        assert_eq!(decode(&message.encode(Version::V1_2)).await.unwrap(), message);
        let older = decode(&message.encode(Version::V1_1)).await.unwrap();
        assert_eq!((older.blocks, older.presences.len(), older.wants.len()), (message.blocks.clone(), 0, 2));
        let oldest = decode(&message.encode(Version::V1_0)).await.unwrap();
        let as_v0 = Cid::new_v1(DAG_PB_CODEC, *message.blocks[0].cid.hash());
        assert_eq!(oldest.blocks, [Block { cid: as_v0, bytes: Bytes::from_static(b"a") }]);
    }

    /// The bytes are spelled out from the specification's protobuf, not made by this code.
    #[tokio::test]
    async fn the_wire_is_that_of_the_specification() {
        let cid = leaf(b"a").cid;
        let mut entry = vec![0x0a, 36];
        entry.extend(cid.to_bytes());
        entry.extend([0x10, 1, 0x20, 1, 0x28, 1]);
        let mut list = vec![0x0a, u8::try_from(entry.len()).unwrap()];
        list.extend(entry);
        let mut body = vec![0x0a, u8::try_from(list.len()).unwrap()];
        body.extend(list);
        let mut frame = vec![u8::try_from(body.len()).unwrap()];
        frame.extend(body);
        let want = Want { cid, kind: Kind::Have, send_dont_have: true };
        let message = Message { wants: vec![want], ..Message::default() };
        assert_eq!(message.encode(Version::V1_2), frame);
        assert_eq!(decode(&frame).await.unwrap(), message);
        assert_eq!(prefix(&cid), [1, 0x55, 0x12, 32]);
    }

    #[tokio::test]
    async fn faults_are_named() {
        let block = |prefix: Vec<u8>, data: Vec<u8>| {
            let payload = vec![pb::Block { prefix: prefix.into(), data: data.into() }];
            pb::Message { payload, ..pb::Message::default() }.encode_length_delimited_to_vec()
        };
        let cases = [
            (block(vec![1, 0x55, 0x12, 32], vec![0; MAX_BLOCK + 1]), "2097153 bytes"),
            (block(vec![1, 0x55, 0x11, 20], vec![0; 9]), "not asked for"),
            (block(vec![1, 0x55], vec![0; 9]), "without the beginning"),
            (block(vec![7, 0x55, 0x12, 32], vec![0; 9]), "version 7"),
            (vec![3, 0xff, 0xff, 0xff], "that is none"),
            (vec![5, 0x0a, 3, 0x0a, 1, 7], "that is none"),
            (vec![3, 0x12, 9, 1], "beyond its end"),
            (
                pb::Message { blocks: vec![Bytes::new(); 1025], ..Default::default() }
                    .encode_length_delimited_to_vec(),
                "1025 blocks",
            ),
        ];
        for (frame, expected) in cases {
            let said = decode(&frame).await.unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
        let mut endless = Cursor::new(&[0xff; 10]);
        assert!(matches!(read_length(&mut endless).await, Err(ReadError::Fault(_))));
        assert!(matches!(read_body(&mut Cursor::new(&[1, 2]), 3, |_| {}).await, Err(ReadError::CutOff)));
    }
}
