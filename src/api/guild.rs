//! What one may ask of guilds.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Admit;
use crate::document::Untrusted;
use crate::identity::Did;

/// A request about guilds. An id may be cut like any other; where one is to be joined or found, it is whole, or an invitation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum GuildCommand {
    /// Found a guild; [`GuildAnswer::Founded`]. What is absent is as the configuration and the protocol have it.
    Create {
        name: String,
        ttl_ms: Option<u64>,
        capacity: Option<u32>,
        admit: Option<Admit>,
    },
    /// [`GuildAnswer::Joined`].
    Join {
        place: String,
        role: String,
    },
    /// [`GuildAnswer::Guild`]: of one this node is not in, what the charter says.
    Show {
        place: String,
    },
    /// Guilds that anybody may join, as far as they were announced; [`GuildAnswer::Guilds`].
    Open,
    /// All that this node is in, or asks to be in; [`GuildAnswer::Guilds`].
    List,
    /// An invitation; [`GuildAnswer::Invitation`].
    Invite {
        guild_id: String,
        ttl_ms: Option<u64>,
    },
    Leave {
        guild_id: String,
    },
    Dissolve {
        guild_id: String,
    },
    /// Take in somebody who asks to join, or not.
    Admit {
        guild_id: String,
        did: String,
        yes: bool,
    },
    Remove {
        guild_id: String,
        did: String,
    },
    Role {
        guild_id: String,
        did: String,
        role: String,
    },
    /// [`GuildAnswer::Said`].
    Say {
        guild_id: String,
        text: String,
    },
    /// [`GuildAnswer::Lines`], oldest first, those after a number.
    Log {
        guild_id: String,
        after: u64,
    },
}

/// The answer to a [`GuildCommand`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "guild", content = "value", rename_all = "kebab-case")]
pub enum GuildAnswer {
    /// It is so, with the whole id.
    Done {
        guild_id: String,
    },
    Founded {
        guild_id: String,
        expires_at: Timestamp,
        invitation: String,
    },
    Joined {
        guild_id: String,
        name: Untrusted,
        role: String,
        state: String,
    },
    Guild(Box<GuildView>),
    Guilds(Vec<GuildView>),
    Invitation {
        guild_id: String,
        invitation: String,
        expires_at: Timestamp,
    },
    /// Who did not take it, and why.
    Said {
        guild_id: String,
        missed: Vec<Missed>,
    },
    Lines(Vec<GuildLine>),
}

/// A member that did not take what was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    pub did: Did,
    pub reason: Untrusted,
}

/// A guild: what its charter says, and for those who are in it, the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuildView {
    pub guild_id: String,
    pub name: Untrusted,
    pub creator: Did,
    /// What this node is in it, or asks to be.
    pub role: Option<String>,
    /// `member`, `asking`, or `outside`.
    pub state: String,
    pub admit: Admit,
    pub capacity: u32,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub epoch: u64,
    /// Nobody, as far as somebody outside can tell.
    pub members: Vec<GuildMember>,
    /// Who asks to join, for the creator alone.
    pub asking: Vec<GuildAsking>,
    /// The last lines of the channel, oldest first, and how many there have been.
    pub lines: Vec<GuildLine>,
    pub lines_total: u64,
}

/// A member of a guild.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuildMember {
    pub did: Did,
    /// As its card has it, while it is connected.
    pub name: Option<Untrusted>,
    pub role: String,
    /// When this node last heard it in the guild.
    pub heard_at: Option<Timestamp>,
}

/// Somebody who asks to join.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuildAsking {
    pub did: Did,
    pub name: Option<Untrusted>,
    pub role: String,
    pub since: Timestamp,
}

/// A line of a guild's channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuildLine {
    pub number: u64,
    pub at: Timestamp,
    pub did: Did,
    pub name: Option<Untrusted>,
    /// `said`, or what became of somebody: `joined`, `left`, `removed`, …
    pub what: String,
    pub text: Untrusted,
}
