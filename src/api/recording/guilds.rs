//! The guilds that the node was in.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::number;
use crate::api::guild::{GuildMember, GuildView};
use crate::api::snapshot::Tail;
use crate::config::Admit;
use crate::document::Untrusted;
use crate::identity::Did;
use crate::storage::{Event, Happening};

/// How long a guild lives of which the journal does not say it.
const GUILD_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// The guilds that the node was in. `nobody` stands for a creator of whom nothing is told.
pub(super) fn guilds(past: &[Event], me: &Did, nobody: &Did, at: Timestamp) -> Tail<GuildView> {
    let mut guilds: BTreeMap<&str, GuildView> = BTreeMap::new();
    for event in past {
        let Happening::Guild { guild_id, name, step, who, detail } = &event.what else {
            if matches!(event.what, Happening::Started { .. }) {
                guilds.clear();
            }
            continue;
        };
        let over = matches!(step.as_str(), "dissolved" | "expired" | "creator-lost");
        let out = matches!(step.as_str(), "left" | "removed" | "evicted");
        if over || (out && who == me) {
            guilds.remove(guild_id.as_str());
            continue;
        }
        let guild = guilds.entry(guild_id).or_insert_with(|| GuildView {
            guild_id: Untrusted::new(guild_id).to_string(),
            name: name.clone(),
            creator: if step == "created" { who } else { nobody }.clone(),
            role: Some(if who == me && step == "created" { "creator" } else { "member" }.to_owned()),
            state: "member".to_owned(),
            admit: Admit::Ask,
            capacity: 0,
            created_at: event.at,
            expires_at: event.at.checked_add(GUILD_LIFE).unwrap_or(event.at).max(at),
            epoch: 0,
            members: Vec::new(),
            asking: Vec::new(),
            lines: Vec::new(),
            lines_total: 0,
        });
        guild.members.retain(|member| member.did != *who);
        let role = match (step.as_str(), detail) {
            ("created", _) => "creator".to_owned(),
            ("role", Some(role)) => role.to_string(),
            ("joined" | "returned", _) => "member".to_owned(),
            _ => continue,
        };
        if who == me {
            guild.role = Some(role.clone());
        }
        guild.members.push(GuildMember { did: who.clone(), name: None, role, heard_at: Some(event.at) });
    }
    let items: Vec<GuildView> = guilds.into_values().collect();
    Tail { total: number(items.len()), items }
}
