//! Which guilds this node has in common with whom.

use std::collections::HashMap;

use zerostate::api::{GuildView, PeerView};
use zerostate::identity::Did;

/// The guilds of everybody who is in one with this node, as places in the snapshot's list of them.
#[derive(Debug, Default)]
pub struct Common {
    places: HashMap<Did, Vec<usize>>,
}

impl Common {
    /// Reads who is in the guilds. There is nothing to do while they have the members of `before`.
    pub fn read(&mut self, before: Option<&[GuildView]>, guilds: &[GuildView]) {
        let same = |(a, b): (&GuildView, &GuildView)| {
            a.guild_id == b.guild_id
                && a.members.len() == b.members.len()
                && a.members.iter().zip(&b.members).all(|(a, b)| a.did == b.did)
        };
        if before.is_some_and(|before| before.len() == guilds.len() && before.iter().zip(guilds).all(same)) {
            return;
        }
        self.places.clear();
        for (place, guild) in guilds.iter().enumerate() {
            for member in &guild.members {
                let places = self.places.entry(member.did.clone()).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
    }

    /// The places of the guilds that a peer is in as well.
    pub fn with(&self, peer: &PeerView) -> &[usize] {
        peer.did.as_ref().and_then(|did| self.places.get(did)).map_or(&[], Vec::as_slice)
    }
}
