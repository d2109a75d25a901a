//! How a file is written: leaves of one size, and nodes over them, every leaf equally deep.

use cid::Cid;

use super::{WIDTH, pb};
use crate::document::{DAG_PB_CODEC, Sha256Digest};

/// A block that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub cid: Cid,
    pub bytes: Vec<u8>,
}

/// A finished part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub cid: Cid,
    /// Bytes of the file below it.
    pub size: u64,
    /// Bytes of all blocks below it, its own with them.
    dag_size: u64,
}

/// The leaf over a chunk of a file.
pub fn leaf(chunk: &[u8]) -> Part {
    let size = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
    Part { cid: Sha256Digest::of(chunk).to_cid(), size, dag_size: size }
}

/// The balanced layout, made while the leaves come. At most a node of each level is in memory.
#[derive(Debug, Default)]
pub struct Layout {
    /// What has no node over it yet: the leaves first, then the levels above.
    levels: Vec<Vec<Part>>,
}

impl Layout {
    /// Takes the next leaf; gives back the nodes that are full now.
    pub fn push(&mut self, leaf: Part) -> Vec<Block> {
        let mut full = Vec::new();
        self.put(0, leaf, &mut full);
        full
    }

    fn put(&mut self, level: usize, part: Part, made: &mut Vec<Block>) {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        let Some(parts) = self.levels.get_mut(level) else { return };
        parts.push(part);
        if parts.len() < WIDTH {
            return;
        }
        let full = std::mem::take(parts);
        let (above, block) = node(&full);
        made.push(block);
        self.put(level + 1, above, made);
    }

    /// The file's root, and the nodes that were not full. A file of one chunk is that leaf; one of nothing is an empty leaf.
    pub fn finish(mut self) -> (Part, Vec<Block>) {
        let mut made = Vec::new();
        let mut level = 0;
        while let Some(parts) = self.levels.get_mut(level) {
            let parts = std::mem::take(parts);
            let top = self.levels.len() == level + 1;
            match (parts.as_slice(), top) {
                ([root], true) => return (*root, made),
                ([], _) => {}
                (parts, _) => {
                    let (above, block) = node(parts);
                    made.push(block);
                    self.put(level + 1, above, &mut made);
                }
            }
            level += 1;
        }
        (leaf(&[]), made)
    }
}

fn node(parts: &[Part]) -> (Part, Block) {
    let link = |part: &Part| pb::Link {
        hash: Some(part.cid.to_bytes().into()),
        name: Some(String::new()),
        tsize: Some(part.dag_size),
    };
    let links: Vec<pb::Link> = parts.iter().map(link).collect();
    let size = parts.iter().map(|part| part.size).fold(0, u64::saturating_add);
    let blocksizes = parts.iter().map(|part| part.size).collect();
    let data = pb::Data { kind: pb::FILE, data: None, filesize: Some(size), blocksizes };
    let bytes = pb::encode(&links, &data);
    let digest = Sha256Digest::of(&bytes).to_cid();
    let cid = Cid::new_v1(DAG_PB_CODEC, *digest.hash());
    let own = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let dag_size = parts.iter().map(|part| part.dag_size).fold(own, u64::saturating_add);
    (Part { cid, size, dag_size }, Block { cid, bytes })
}
