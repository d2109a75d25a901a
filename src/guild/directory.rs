//! Guilds that were announced because anybody may join: their charters, while they are good.

use std::collections::BTreeMap;

use cid::Cid;
use jiff::Timestamp;

use crate::config::Admit;
use crate::document::{Charter, Envelope};

/// Charters that are kept.
const MAX: usize = 256;
/// Of one creator.
const MAX_OF_ONE: usize = 16;

#[derive(Default)]
pub(super) struct Directory(BTreeMap<Cid, Envelope<Charter>>);

impl Directory {
    /// Takes a charter in, where there is room for it.
    pub(super) fn hear(&mut self, charter: Envelope<Charter>, now: Timestamp) {
        self.0.retain(|_, known| known.document().expires_at > now);
        let terms = charter.document();
        let of_one = self.0.values().filter(|known| known.signer() == charter.signer()).count();
        let room = self.0.len() < MAX && of_one < MAX_OF_ONE;
        if room && terms.admit == Admit::Open && terms.expires_at > now {
            self.0.insert(*charter.id(), charter);
        }
    }

    pub(super) fn get(&self, guild: &Cid) -> Option<Envelope<Charter>> {
        self.0.get(guild).cloned()
    }

    /// It is over, or does not answer.
    pub(super) fn forget(&mut self, guild: &Cid) {
        self.0.remove(guild);
    }

    /// All that are good, the one that ends last first.
    pub(super) fn list(&self, now: Timestamp) -> Vec<Envelope<Charter>> {
        let good = self.0.values().filter(|charter| charter.document().expires_at > now);
        let mut good: Vec<_> = good.cloned().collect();
        good.sort_by_key(|charter| std::cmp::Reverse(charter.document().expires_at));
        good
    }
}
