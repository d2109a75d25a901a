//! Files as Merkle DAGs: how a file becomes blocks, and blocks a file again. Pure: bytes in, bytes out.
//!
//! ```text
//!   file ──1 MiB chunks──► raw leaves ──at most 1,024 to a node──► dag-pb nodes ──► root     ([`Layout`])
//!   root ──[`Node::parse`]──► children, in the file's order ──► … ──► leaves                ([`Walk`])
//! ```
//!
//! Written as today's IPFS tools write by default, so that the same file has the same CID here and there: `UnixFS` in
//! balanced layout, raw leaves, `CIDv1`, sha2-256. Read is more: `CIDv0`, leaves in dag-pb, other chunk sizes and widths.
//! ([UnixFS](https://specs.ipfs.tech/unixfs/), [dag-pb](https://ipld.io/specs/codecs/dag-pb/spec/))
//!
//! A block says how long the file below it is, and so does its parent: both must agree before anything below is asked for, so
//! no DAG is larger than its root said, however it is knotted.
//!
//! ```
//! use zerostate::dag::{CHUNK, Layout, Node, leaf};
//!
//! let file = vec![7; CHUNK + 1];
//! let mut layout = Layout::default();
//! for chunk in file.chunks(CHUNK) {
//!     assert!(layout.push(leaf(chunk)).is_empty(), "no node is full yet");
//! }
//! let (root, nodes) = layout.finish();
//! let Node::Branch { children, size } = Node::parse(&root.cid, &nodes[0].bytes.clone().into()).unwrap() else { panic!() };
//! assert_eq!((children.len(), size), (2, 1_048_577));
//! ```

mod layout;
mod node;
mod pb;
mod walk;

use cid::Cid;

pub use layout::{Block, Layout, Part, leaf};
pub use node::{Child, Node};
pub use walk::{Walk, Wanted};

/// How much of a file is one leaf.
pub const CHUNK: usize = 1024 * 1024;
/// Children of a node that is written here.
const WIDTH: usize = 1024;
/// Larger blocks are not exchanged anywhere (Bitswap 1.2.0, "block sizes").
pub const MAX_BLOCK: usize = 2 * 1024 * 1024;
/// Levels of a DAG: a balanced one of any size has five at most, an old trickle one some more.
const MAX_DEPTH: usize = 32;
/// Blocks of one file: 2 GiB in pieces of 16 KiB.
const MAX_BLOCKS: u64 = 131_072;

/// Why blocks do not make a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DagError {
    #[error("{0} is a CID of another kind: raw or dag-pb with sha2-256 is expected")]
    Unsupported(Cid),
    #[error("the block {cid} is not a file's: {why}")]
    Malformed { cid: Cid, why: String },
    #[error("{cid} is a {what}; name a file in it")]
    NotAFile { cid: Cid, what: &'static str },
    #[error("the file {cid} has {size} bytes; at most {limit} are taken")]
    TooLarge { cid: Cid, size: u64, limit: u64 },
    #[error("the file is cut into over {MAX_BLOCKS} pieces or {MAX_DEPTH} levels")]
    TooManyPieces,
}

/// Whether blocks of this CID can be checked and read here.
///
/// # Errors
/// [`DagError::Unsupported`].
pub fn check(cid: &Cid) -> Result<(), DagError> {
    if crate::document::names_a_file(cid) { Ok(()) } else { Err(DagError::Unsupported(*cid)) }
}

/// The CID a block is stored and asked for under: version 1, whatever the text said.
pub fn canonical(cid: &Cid) -> Cid {
    Cid::new_v1(cid.codec(), *cid.hash())
}

#[cfg(test)]
mod tests;
