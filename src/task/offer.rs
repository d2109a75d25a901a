//! What a node does with a task that another announces: it offers to take part, where its policy and its abilities allow it.

use std::time::Duration;

use jiff::Timestamp;

use super::Context;
use crate::config::Accept;
use crate::document::{Envelope, Manifest};
use crate::identity::Did;

/// How long an offer stands.
const STANDS: Duration = Duration::from_secs(60);
/// Offers for one task: one for each time that its creator tries.
const STANDING: usize = 3;

/// What this node would do for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Willing {
    pub(super) execute: bool,
    pub(super) attest: bool,
}

/// What this node has offered for a task.
#[derive(Debug, Clone)]
pub(super) struct Promise {
    pub(super) willing: Willing,
    /// Whose task it is.
    pub(super) creator: Did,
    /// Offers that stand.
    standing: usize,
}

impl Context {
    /// What this node would do for a task unasked; `None` for nothing.
    pub(super) fn would(&self, manifest: &Manifest) -> Option<Willing> {
        let others = manifest.creator != *self.identity.did() && self.guilds.is_some();
        let able = others && manifest.expires_at > Timestamp::now() && self.can_run(manifest);
        let execute = able && self.policy.accept == Accept::Matching;
        let attest = able && self.policy.attest_always && manifest.is_deterministic();
        (execute || attest).then_some(Willing { execute, attest })
    }

    /// Whether this node could run it: what it asks for is here, and its limits are no higher than this node's.
    pub(super) fn can_run(&self, manifest: &Manifest) -> bool {
        let (limits, most) = (&manifest.limits, self.runners.most());
        let own = |wanted: &String| {
            [Manifest::WALL_CLOCK, Manifest::RANDOM].contains(&wanted.as_str())
                || self.policy.capabilities.contains(wanted)
        };
        manifest.capabilities.iter().all(own)
            && limits.memory_bytes <= most.memory_bytes
            && limits.time() <= most.time
            && limits.stack_bytes <= most.stack_bytes
            && limits.fuel <= most.fuel
    }

    /// Whether the operator is to be asked, for it might run it.
    pub(super) fn might(&self, manifest: &Manifest) -> bool {
        let others = manifest.creator != *self.identity.did() && self.guilds.is_some();
        let good = manifest.expires_at > Timestamp::now();
        others && good && self.policy.accept == Accept::Ask && self.can_run(manifest)
    }

    /// Offers to take part, and stands by it for a while.
    pub(super) async fn offer(&self, manifest: Envelope<Manifest>, willing: Willing) {
        let Some(guilds) = &self.guilds else { return };
        let (id, creator) = (manifest.id(), &manifest.document().creator);
        {
            let mut promised = self.promised();
            let promise = promised.entry(*id).or_insert_with(|| Promise {
                willing,
                creator: creator.clone(),
                standing: 0,
            });
            if promise.standing >= STANDING {
                return;
            }
            promise.standing += 1;
            promise.willing = willing;
        }
        match guilds.offer(creator, id, willing.execute, willing.attest).await {
            Ok(_stands) => tokio::time::sleep(STANDS).await,
            Err(error) => tracing::debug!(manifest = %id, %error, "not offered"),
        }
        let mut promised = self.promised();
        if let Some(promise) = promised.get_mut(id) {
            promise.standing = promise.standing.saturating_sub(1);
            if promise.standing == 0 {
                promised.remove(id);
            }
        }
    }
}
