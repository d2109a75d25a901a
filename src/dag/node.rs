//! How a block of a file is read.

use cid::Cid;
use prost::Message as _;
use prost::bytes::Bytes;

use super::{DagError, MAX_BLOCK, canonical, check, pb};
use crate::document::RAW_CODEC;

/// A block of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Bytes of the file.
    Leaf(Bytes),
    /// Other blocks, whose bytes follow each other.
    Branch { children: Vec<Child>, size: u64 },
}

/// A block below another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child {
    pub cid: Cid,
    /// Bytes of the file below it, as its parent says.
    pub size: u64,
}

impl Node {
    /// Reads a block whose hash has been checked.
    ///
    /// # Errors
    /// [`DagError`] naming the block.
    pub fn parse(cid: &Cid, bytes: &Bytes) -> Result<Self, DagError> {
        check(cid)?;
        if cid.codec() == RAW_CODEC {
            return Ok(Self::Leaf(bytes.clone()));
        }
        let malformed = |why: String| DagError::Malformed { cid: *cid, why };
        if bytes.len() > MAX_BLOCK {
            return Err(malformed(format!("a node of {} bytes", bytes.len())));
        }
        let node = pb::PbNode::decode(bytes.clone()).map_err(|error| malformed(error.to_string()))?;
        let data = node.data.ok_or_else(|| malformed("it has no UnixFS data".to_owned()))?;
        let data = pb::Data::decode(data).map_err(|error| malformed(error.to_string()))?;
        match data.kind {
            pb::FILE | pb::RAW => {}
            pb::DIRECTORY | pb::SHARDED_DIRECTORY => {
                return Err(DagError::NotAFile { cid: *cid, what: "directory" });
            }
            pb::SYMLINK => return Err(DagError::NotAFile { cid: *cid, what: "symbolic link" }),
            other => return Err(malformed(format!("UnixFS type {other}"))),
        }
        let inline = data.data.unwrap_or_default();
        if node.links.is_empty() {
            let stated = data.filesize.unwrap_or_default();
            let real = u64::try_from(inline.len()).unwrap_or(u64::MAX);
            return match data.filesize.is_none() || stated == real {
                true => Ok(Self::Leaf(inline)),
                false => Err(malformed(format!("it says {stated} bytes and has {real}"))),
            };
        }
        if !inline.is_empty() {
            return Err(malformed("it has bytes of its own beside links".to_owned()));
        }
        if node.links.len() != data.blocksizes.len() {
            let counts = format!("{} links and {} sizes", node.links.len(), data.blocksizes.len());
            return Err(malformed(counts));
        }
        let mut children = Vec::with_capacity(node.links.len());
        let mut size = 0_u64;
        for (link, child_size) in node.links.iter().zip(data.blocksizes) {
            let hash = link.hash.as_deref().unwrap_or_default();
            let child = Cid::try_from(hash).map_err(|error| malformed(format!("a link: {error}")))?;
            check(&child)?;
            if child_size == 0 {
                return Err(malformed("a link to nothing".to_owned()));
            }
            size = size.checked_add(child_size).ok_or_else(|| malformed("sizes without end".to_owned()))?;
            children.push(Child { cid: canonical(&child), size: child_size });
        }
        match data.filesize {
            Some(stated) if stated != size => {
                Err(malformed(format!("it says {stated} bytes, and its parts {size}")))
            }
            _ => Ok(Self::Branch { children, size }),
        }
    }

    /// Bytes of the file below this block.
    pub fn size(&self) -> u64 {
        match self {
            Self::Leaf(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::Branch { size, .. } => *size,
        }
    }
}
