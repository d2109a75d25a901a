//! The head of a node's chain: everything it has signed as an executor or a witness, in one order that it cannot change afterwards.
//!
//! ```text
//!   value 0 ──entry 1──► value 1 ──entry 2──► value 2 … ──entry n──► value n, which the head signs
//! ```
//!
//! Each value is a digest of its position, the value before it and the entry, so a value fixes everything before it. A head names the
//! last entries, and the head before it; two heads of one node that come to another value at the same position prove that it keeps two
//! chains.

use cid::Cid;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::strict::{self, INTEGER_END, MAX_DOCUMENT_BYTES};
use super::{Document, DocumentError, Faults, Sha256Digest, cid_text};
use crate::identity::Did;

/// A chain as it ends now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pub node: Did,
    /// Entries in the whole chain.
    pub length: u64,
    /// The value before the entries that are named here.
    pub base: Sha256Digest,
    /// The last entries, the oldest first: ids of receipts and attestations.
    pub entries: Vec<Entry>,
    /// Id of the head before, which ends where these entries begin.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "cid_text::option")]
    pub before: Option<Cid>,
    pub at: Timestamp,
}

/// The id of something that was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Entry(#[serde(with = "cid_text")] pub Cid);

/// How two heads of one node stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// One goes on where the other is.
    Extends,
    /// At this position they come to another value.
    Forks(u64),
    /// What lies between them is in neither.
    Apart,
}

impl Head {
    /// Entries in one head at the most: 4 KB.
    pub const ENTRIES: usize = 64;

    /// The value of a chain without entries.
    pub fn genesis() -> Sha256Digest {
        Sha256Digest::from_bytes([0; 32])
    }

    /// The value after an entry, which is the one of this position, counted from 1.
    pub fn link(before: &Sha256Digest, position: u64, entry: &Cid) -> Sha256Digest {
        let mut hasher = Sha256::new();
        hasher.update(b"zerostate chain v1");
        hasher.update(position.to_be_bytes());
        hasher.update(before.as_bytes());
        hasher.update(entry.to_bytes());
        Sha256Digest::from_bytes(hasher.finalize().into())
    }

    /// Where its entries begin: the position of the base.
    pub fn start(&self) -> u64 {
        self.length.saturating_sub(u64::try_from(self.entries.len()).unwrap_or(u64::MAX))
    }

    /// Each position that it knows the value of, from the base on.
    pub fn values(&self) -> impl Iterator<Item = (u64, Sha256Digest)> {
        let start = self.start();
        let links = self.entries.iter().scan((start, self.base), |(position, value), Entry(entry)| {
            *position = position.saturating_add(1);
            *value = Self::link(value, *position, entry);
            Some((*position, *value))
        });
        std::iter::once((start, self.base)).chain(links)
    }

    /// The value at its end.
    pub fn value(&self) -> Sha256Digest {
        self.values().last().map_or(self.base, |(_, value)| value)
    }

    /// How it stands to another one of the same node.
    pub fn to(&self, other: &Self) -> Relation {
        let mut theirs = other.values().peekable();
        let mut met = false;
        for (position, value) in self.values() {
            while theirs.next_if(|(at, _)| *at < position).is_some() {}
            let Some((_, other)) = theirs.next_if(|(at, _)| *at == position) else { continue };
            if other != value {
                return Relation::Forks(position);
            }
            met = true;
        }
        if met { Relation::Extends } else { Relation::Apart }
    }
}

impl Document for Head {
    const PAYLOAD_TYPE: &'static str = "application/vnd.zerostate.head.v1+json";

    fn encode(&self) -> Result<Vec<u8>, DocumentError> {
        serde_json::to_vec(self).map_err(DocumentError::json)
    }

    fn decode(payload: &[u8]) -> Result<Self, DocumentError> {
        let head: Self = strict::from_slice(payload, MAX_DOCUMENT_BYTES)?;
        head.faults().into_result().map_err(DocumentError::Faults)?;
        Ok(head)
    }

    fn author(&self) -> &Did {
        &self.node
    }

    fn faults(&self) -> Faults {
        let mut f = Faults::default();
        let found = self.entries.len();
        let named = u64::try_from(found).unwrap_or(u64::MAX);
        f.check((1..=Self::ENTRIES).contains(&found), "entries", found, format!("1 to {}", Self::ENTRIES));
        f.check(
            named <= self.length && self.length < INTEGER_END,
            "length",
            self.length,
            "no less than the entries that are named",
        );
        let whole = named == self.length;
        f.check(
            !whole || self.base == Self::genesis(),
            "base",
            self.base,
            "zeros, where all entries are named",
        );
        f.check(
            whole != self.before.is_some(),
            "before",
            self.before.is_some(),
            "the head before, where there is one",
        );
        f
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::content_id;
    use crate::identity::Identity;

    /// Heads of one chain, of which each names so many more entries.
    fn heads(node: &Did, steps: &[u64], salt: &str) -> Vec<Head> {
        let (mut value, mut length, mut before) = (Head::genesis(), 0, None);
        let head = |step: &u64| {
            let base = value;
            let entries: Vec<Entry> = (0..*step)
                .map(|_| {
                    length += 1;
                    // A fork after the third entry, where there is a salt.
                    let salt = if length > 3 { salt } else { "" };
                    let entry = content_id(format!("{salt}{length}").as_bytes());
                    value = Head::link(&value, length, &entry);
                    Entry(entry)
                })
                .collect();
            let at = "2026-01-01T00:00:00Z".parse().unwrap();
            let head = Head { node: node.clone(), length, base, entries, before, at };
            assert_eq!((head.value(), head.faults().is_empty()), (value, true));
            before = Some(content_id(&head.encode().unwrap()));
            head
        };
        steps.iter().map(head).collect()
    }

    #[test]
    fn heads_of_one_chain_extend_each_other_and_heads_of_two_do_not() {
        let me = Identity::generate().unwrap();
        let chain = heads(me.did(), &[2, 3, 1, 4], "");
        for pair in chain.windows(2) {
            assert_eq!((pair[0].to(&pair[1]), pair[1].to(&pair[0])), (Relation::Extends, Relation::Extends));
        }
        assert_eq!(chain[0].to(&chain[0]), Relation::Extends);
        assert_eq!(chain[0].to(&chain[2]), Relation::Apart, "what is between is in neither");
        let other = heads(me.did(), &[3, 2], "x");
        assert_eq!(other[0].to(&chain[1]), Relation::Extends, "as far as they are the same");
        assert_eq!(other[1].to(&chain[1]), Relation::Forks(4));
        assert_eq!(chain[2].to(&other[1]), Relation::Forks(5), "the base says it as well as an entry");
    }

    #[test]
    fn a_head_says_no_more_than_it_can() {
        let me = Identity::generate().unwrap();
        let [first, second] = &heads(me.did(), &[2, 3], "")[..] else { panic!("two heads") };
        let broken = [
            Head { length: 1, ..first.clone() },
            Head { base: second.base, ..first.clone() },
            Head { before: second.before, ..first.clone() },
            Head { before: None, ..second.clone() },
            Head { entries: Vec::new(), ..second.clone() },
            Head { entries: vec![first.entries[0]; 65], length: 90, ..second.clone() },
        ];
        for head in broken {
            assert!(!head.faults().is_empty(), "{head:?}");
        }
    }
}
