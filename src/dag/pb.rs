//! The two protobuf messages of a file's node.

use prost::bytes::{BufMut as _, Bytes};
use prost::encoding::{self, WireType};

/// `UnixFS`'s `Data.DataType`.
pub(super) const RAW: i32 = 0;
pub(super) const DIRECTORY: i32 = 1;
pub(super) const FILE: i32 = 2;
pub(super) const SYMLINK: i32 = 4;
pub(super) const SHARDED_DIRECTORY: i32 = 5;

/// dag-pb's `PBLink`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Link {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) hash: Option<Bytes>,
    #[prost(string, optional, tag = "2")]
    pub(super) name: Option<String>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) tsize: Option<u64>,
}

/// dag-pb's `PBNode`, for reading. Written it is by [`encode`], because its links go before its data.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PbNode {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) data: Option<Bytes>,
    #[prost(message, repeated, tag = "2")]
    pub(super) links: Vec<Link>,
}

/// `UnixFS`'s `Data`. Mode and time are neither written nor looked at.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Data {
    #[prost(int32, required, tag = "1")]
    pub(super) kind: i32,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(super) data: Option<Bytes>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) filesize: Option<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub(super) blocksizes: Vec<u64>,
}

/// A node as the dag-pb specification wants it: every link before the data.
pub(super) fn encode(links: &[Link], data: &Data) -> Vec<u8> {
    let mut out = Vec::new();
    for link in links {
        encoding::message::encode(2, link, &mut out);
    }
    let data = prost::Message::encode_to_vec(data);
    encoding::encode_key(1, WireType::LengthDelimited, &mut out);
    encoding::encode_varint(u64::try_from(data.len()).unwrap_or(u64::MAX), &mut out);
    out.put_slice(&data);
    out
}
