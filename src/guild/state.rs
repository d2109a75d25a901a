//! What a guild looks like from this node, for whoever looks at it.

use std::collections::VecDeque;

use cid::Cid;
use jiff::Timestamp;

use super::Role;
use crate::document::{Charter, Envelope, Untrusted};
use crate::identity::Did;

/// Lines of a guild's channel that are kept, in memory alone.
const LINES: usize = 500;

/// A guild as this node sees it.
#[derive(Debug, Clone)]
pub struct GuildState {
    pub id: Cid,
    pub charter: Envelope<Charter>,
    /// What this node is in it, or would like to be.
    pub role: Role,
    /// Whether it was formed of offers, for a task: it ends with the start of the node that lives it.
    pub formed: bool,
    /// Whether it is in it, and not waiting for an answer.
    pub inside: bool,
    pub epoch: u64,
    /// Nobody, as long as this node is not in it.
    pub members: Vec<MemberState>,
    /// Who asks to join, as what and since when; known to the creator alone.
    pub asking: Vec<(Did, Role, Timestamp)>,
    pub log: VecDeque<Line>,
    /// How many lines there have been.
    pub lines: u64,
}

/// A member as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    pub did: Did,
    pub role: Role,
    /// When this node last heard it, if it has.
    pub heard: Option<Timestamp>,
}

/// A line of a guild's channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub number: u64,
    pub at: Timestamp,
    pub who: Did,
    /// `said`, or what became of somebody: `joined`, `left`, `removed`, …
    pub what: &'static str,
    pub text: Untrusted,
}

impl GuildState {
    pub(super) fn note(&mut self, at: Timestamp, who: Did, what: &'static str, text: Untrusted) {
        self.lines += 1;
        self.log.push_back(Line { number: self.lines, at, who, what, text });
        if self.log.len() > LINES {
            self.log.pop_front();
        }
    }
}
