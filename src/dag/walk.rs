//! A file's blocks in the order of its bytes, while they come from wherever they are.

use cid::Cid;
use prost::bytes::Bytes;

use super::{Child, DagError, MAX_BLOCKS, MAX_DEPTH, Node, canonical, check};

/// A block that is to be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub cid: Cid,
    /// Bytes of the file below it; not known of the root.
    pub size: Option<u64>,
    depth: usize,
}

/// Where one is in a file: what is still to be looked for, the next one last.
///
/// Blocks are taken with [`Walk::take`], many ahead if one likes, and given to [`Walk::open`] in the same order.
#[derive(Debug)]
pub struct Walk {
    ahead: Vec<Wanted>,
    limit: u64,
    size: Option<u64>,
    blocks: u64,
}

impl Walk {
    /// A walk over the file `root`, which may have so many bytes.
    ///
    /// # Errors
    /// [`DagError::Unsupported`].
    pub fn new(root: &Cid, limit: u64) -> Result<Self, DagError> {
        check(root)?;
        let root = Wanted { cid: canonical(root), size: None, depth: 0 };
        Ok(Self { ahead: vec![root], limit, size: None, blocks: 1 })
    }

    /// The next block to look for, or nothing until one that was taken has been opened.
    pub fn take(&mut self) -> Option<Wanted> {
        self.ahead.pop()
    }

    /// The file's size, once its root has been opened.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Opens a block: gives its bytes if it is a leaf, or looks for what is below it next.
    ///
    /// A branch must be opened before anything behind it is taken, or the order is lost; a leaf may be opened any time.
    ///
    /// # Errors
    /// [`DagError`] when it is not what its parent said, or larger than allowed.
    pub fn open(&mut self, wanted: &Wanted, bytes: &Bytes) -> Result<Option<Bytes>, DagError> {
        let node = Node::parse(&wanted.cid, bytes)?;
        let size = node.size();
        match wanted.size {
            Some(stated) if stated != size => {
                let why = format!("its parent says {stated} bytes, it has {size}");
                return Err(DagError::Malformed { cid: wanted.cid, why });
            }
            Some(_) => {}
            None => {
                if size > self.limit {
                    return Err(DagError::TooLarge { cid: wanted.cid, size, limit: self.limit });
                }
                self.size = Some(size);
            }
        }
        match node {
            Node::Leaf(bytes) => Ok(Some(bytes)),
            Node::Branch { children, .. } => {
                let depth = wanted.depth.saturating_add(1);
                self.blocks = self.blocks.saturating_add(u64::try_from(children.len()).unwrap_or(u64::MAX));
                if depth >= MAX_DEPTH || self.blocks > MAX_BLOCKS {
                    return Err(DagError::TooManyPieces);
                }
                let below = children.into_iter().rev().map(|Child { cid, size }| Wanted {
                    cid,
                    size: Some(size),
                    depth,
                });
                self.ahead.extend(below);
                Ok(None)
            }
        }
    }
}

impl Wanted {
    /// Whether this can only be a leaf: then what follows may be looked for at once.
    pub fn is_leaf(&self) -> bool {
        self.cid.codec() == crate::document::RAW_CODEC
    }
}
