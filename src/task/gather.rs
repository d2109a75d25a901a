//! Who would take part in an own task: those who offer, or those in the guild that it was submitted to, and what is known of them.

use std::time::Duration;

use cid::Cid;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::guilded::OFFERS;
use super::select::{Known, are_enough, are_only_enough_to_witness};
use super::{Context, TaskError};
use crate::document::Manifest;
use crate::guild::{Action, Offer, Role};
use crate::identity::Did;
use crate::storage::Candidate;

/// How long offers are waited for, when there are not enough at once.
const OFFERS_WITHIN: Duration = Duration::from_millis(500);
/// How long others may still offer when there are enough: the witnesses are drawn from all who do.
const FURTHER_OFFERS: Duration = Duration::from_millis(100);
/// And when there is somebody to run it, but fewer witnesses than have to agree.
const WITNESSES_WITHIN: Duration = Duration::from_secs(5);
/// How long a node that may not run its own tasks waits for somebody to be connected.
const COMPANY_WITHIN: Duration = Duration::from_secs(10);

impl Context {
    /// Those in a guild who may do a task of this node's, but for those who have failed. A node that has just started waits a little
    /// until it is in the guild again, and somebody who may run it is connected.
    pub(super) async fn await_guild(
        &self,
        guild: &Cid,
        failed: &[Candidate],
    ) -> Result<Vec<Offer>, TaskError> {
        let until = Instant::now() + COMPANY_WITHIN;
        if let Some(mut state) = self.guilds.as_ref().and_then(|guilds| guilds.watch(guild))
            && timeout_at(until, state.wait_for(|state| state.inside)).await.is_err()
        {
            tracing::debug!(%guild, "not in the guild again");
        }
        self.may_propose(guild)?;
        let others = || {
            let others = self.may_take_part(guild).into_iter();
            others.filter(|offer| failed.iter().all(|candidate| candidate.did != offer.from))
        };
        if let Some(network) = &self.network
            && others().any(|offer| offer.execute)
        {
            let mut state = network.state();
            let there = state.wait_for(|state| {
                others().any(|offer| offer.execute && state.peer_of(&offer.from).is_some())
            });
            if timeout_at(until, there).await.is_err() {
                tracing::debug!(%guild, "nobody who may run it is connected; it may be reached through others");
            }
        }
        Ok(others().collect())
    }

    /// Those in a guild who by their roles may run or witness a task.
    fn may_take_part(&self, guild: &Cid) -> Vec<Offer> {
        let state = self.guilds.as_ref().and_then(|guilds| guilds.get(guild));
        let members = state.iter().flat_map(|state| &state.members);
        let others = members.filter(|member| member.did != *self.identity.did());
        let offers = others.map(|member| Offer {
            from: member.did.clone(),
            // Its creator runs its own tasks alone.
            execute: member.role == Role::Executor,
            // An observer may attest, but binds itself to nothing; it may come by the announced receipt.
            attest: member.role.may(Action::Attest) && member.role.may(Action::Agree),
            // It has one there.
            key: [0; 32],
        });
        offers.collect()
    }

    /// Waits for offers: until there are enough, or for a while; not at all where nobody is. Where this node may not run the task
    /// itself, it waits a little for somebody to come, and for an offer as long as the task may wait for its start.
    pub(super) async fn gather(
        &self,
        offers: &mut mpsc::Receiver<Offer>,
        terms: &Manifest,
        failed: &[Candidate],
        wanted: usize,
    ) -> Vec<Offer> {
        let mut known: Vec<Offer> = Vec::new();
        let alone = !self.is_somebody_there().await;
        let now = Instant::now();
        let soon = now + if alone { Duration::ZERO } else { OFFERS_WITHIN };
        let late = now + Duration::from_millis(terms.sla.max_start_delay_ms);
        let mut enough_at = None;
        while known.len() < OFFERS {
            if are_enough(&known, wanted) {
                // So that not those are its witnesses who are the first to answer.
                let until = *enough_at.get_or_insert_with(|| Instant::now() + FURTHER_OFFERS);
                if wanted == 0 || known.len() >= self.company() {
                    break;
                }
                let Ok(Some(offer)) = timeout_at(until, offers.recv()).await else { break };
                take(&mut known, offer, failed);
                continue;
            }
            let nobody = !known.iter().any(|offer| offer.execute);
            let patient = nobody && !self.policy.self_execute && !alone;
            let quorum = usize::try_from(terms.attestation.quorum).unwrap_or(usize::MAX);
            // Two of two had better both be witnesses; where there are more, another may still offer.
            if self.policy.self_execute
                && are_only_enough_to_witness(&known, quorum)
                && known.len() >= self.company()
            {
                break;
            }
            let until = match (patient, nobody || are_enough(&known, quorum)) {
                (true, _) => late,
                (false, true) => soon,
                (false, false) => soon.max(now + WITNESSES_WITHIN),
            };
            let Ok(Some(offer)) = timeout_at(until, offers.recv()).await else { break };
            take(&mut known, offer, failed);
        }
        known
    }

    /// How many there are who could offer.
    fn company(&self) -> usize {
        self.network.as_ref().map_or(0, |network| network.state().borrow().nodes().count())
    }

    /// Whether there is anybody who could offer; a node that depends on others waits for them.
    async fn is_somebody_there(&self) -> bool {
        let Some(network) = &self.network else { return false };
        let mut state = network.state();
        let somebody = state.wait_for(|state| state.nodes().next().is_some());
        let within = if self.policy.self_execute { Duration::ZERO } else { COMPANY_WITHIN };
        matches!(timeout(within, somebody).await, Ok(Ok(_)))
    }

    /// What is known of those who offered.
    pub(super) fn weighed(&self, offers: &[Offer]) -> Vec<Known> {
        let network = self.network.as_ref().map(|network| network.state().borrow().clone());
        let ping = |who: &Did| {
            let mut pings = network.as_ref()?.peer_of(who)?.ping.clone();
            pings.sort_unstable();
            pings.get(pings.len() / 2).copied()
        };
        let tried = self.tried.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = offers.iter().map(|offer| {
            let tried = tried.get(&offer.from).copied().unwrap_or_default();
            let ping_us = ping(&offer.from);
            Known { offer: offer.clone(), busy: tried.busy, done: tried.done, failed: tried.failed, ping_us }
        });
        known.collect()
    }
}

/// Takes an offer, where whoever makes it has not failed before; it takes the place of an earlier one.
fn take(known: &mut Vec<Offer>, offer: Offer, failed: &[Candidate]) {
    if failed.iter().all(|candidate| candidate.did != offer.from) {
        known.retain(|other| other.from != offer.from);
        known.push(offer);
    }
}
