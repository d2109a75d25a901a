//! The proof that a node keeps two chains: two heads, each with its signature, that do not extend each other.

use super::Problem;
use crate::document::{AnyEnvelope, Envelope, Head, Relation};
use crate::identity::Did;

/// Two heads of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Equivocation {
    pub first: Envelope<Head>,
    pub second: Envelope<Head>,
    /// The first entry, or the last one before those that are named, at which they come to another value.
    pub position: u64,
}

impl Equivocation {
    /// What two heads prove, if they do.
    pub fn of(first: Envelope<Head>, second: Envelope<Head>) -> Option<Self> {
        if first.signer() != second.signer() {
            return None;
        }
        match first.document().to(second.document()) {
            Relation::Forks(position) => Some(Self { first, second, position }),
            Relation::Extends | Relation::Apart => None,
        }
    }

    /// Who has signed both.
    pub fn node(&self) -> &Did {
        self.first.signer()
    }

    /// Whether a file is to be read as one: its first line is a head.
    pub fn is_meant(file: &[u8]) -> bool {
        let first = file.split(|byte| *byte == b'\n').next().unwrap_or_default();
        first.windows(PAYLOAD_TYPE.len()).any(|window| window == PAYLOAD_TYPE)
            && file.trim_ascii_end().contains(&b'\n')
    }

    /// Reads a file of two heads.
    ///
    /// # Errors
    /// What in it does not hold.
    pub fn read(file: &[u8]) -> Result<Self, Vec<Problem>> {
        let other = |what: &str| vec![Problem::Other(what.to_owned())];
        let lines: Vec<&[u8]> = file.trim_ascii_end().split(|byte| *byte == b'\n').take(3).collect();
        let [first, second] = lines[..] else { return Err(other("it has to have two heads, one in a line")) };
        let open = |line: usize, bytes: &[u8]| match AnyEnvelope::open(bytes) {
            Ok(AnyEnvelope::Head(head)) => Ok(head),
            Ok(found) => Err((line, format!("it is a {} and no head", found.kind()))),
            Err(error) => Err((line, error.to_string())),
        };
        let problem =
            |(line, why): (usize, String)| vec![Problem::Line { line, what: "a head".to_owned(), why }];
        let (first, second) = (open(1, first).map_err(problem)?, open(2, second).map_err(problem)?);
        Self::of(first, second)
            .ok_or_else(|| other("the two heads do not contradict each other, so they prove nothing"))
    }

    /// The file's text.
    pub fn text(&self) -> String {
        [&self.first, &self.second].map(|head| AnyEnvelope::Head(head.clone()).text() + "\n").concat()
    }
}

const PAYLOAD_TYPE: &[u8] = b"application/vnd.zerostate.head.v1+json";
