//! What peers announce: receipts and attestations, verified by the network before they come here, stored and counted.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::MutexGuard;

use super::attest::{attestation_rows, name_of};
use super::execute::receipt_rows;
use super::offer::Willing;
use super::{Context, TaskError};
use crate::document::{AnyEnvelope, Attestation, Envelope, Manifest, Receipt, Untrusted, Verdict};
use crate::identity::Did;
use crate::storage::{AttestationRecord, Happening, Standing, TaskRecord, TaskState, Write};

/// Votes on a receipt, beyond which none is kept that does not count.
const VOTES_KEPT: usize = 256;

/// Why the vote of a witness does not count that has said two things.
pub(super) const TWICE: &str = "it has voted twice";

/// What follows from a document that was taken in.
pub(super) enum Next {
    /// By policy the receipt is to be attested.
    Attest(Envelope<Receipt>),
    /// The same, where its guild's witnesses do not come to a quorum.
    AttestIfWanted(Envelope<Receipt>),
    /// By policy this node takes part in the task.
    Offer(Envelope<Manifest>, Willing),
}

impl Context {
    /// Stores what is new, and gives back what follows from it.
    pub(super) async fn take_in(self: Arc<Self>, from: String, document: AnyEnvelope) -> Option<Next> {
        let id = *document.id();
        // The same document comes by gossip and by hand, at the same moment.
        if !self.in_hand.lock().await.insert(id) {
            return None;
        }
        let taken = self.take_in_checked(&from, document).await;
        self.in_hand.lock().await.remove(&id);
        taken.unwrap_or_else(|error| {
            tracing::warn!(%from, %id, %error, "an announced document was not taken in");
            None
        })
    }

    async fn take_in_checked(&self, from: &str, document: AnyEnvelope) -> Result<Option<Next>, TaskError> {
        match document {
            AnyEnvelope::Manifest(manifest) => {
                let willing = self.would(manifest.document());
                self.write(vec![Write::Document(AnyEnvelope::Manifest(manifest.clone()))]).await?;
                if self.might(manifest.document()) {
                    self.ask_to_run(manifest.clone());
                }
                return Ok(willing.map(|willing| Next::Offer(manifest, willing)));
            }
            AnyEnvelope::Receipt(receipt) => return self.take_in_receipt(from, receipt).await,
            AnyEnvelope::Attestation(attestation) => {
                return self.take_in_attestation(from, attestation).await;
            }
            // Cards belong to a connection and come with it, charters to whoever asks for them.
            AnyEnvelope::Head(head) => self.take_in_head(from, head).await?,
            // What guilds agree and commit to is said in them.
            AnyEnvelope::AgentCard(_)
            | AnyEnvelope::Charter(_)
            | AnyEnvelope::Agreement(_)
            | AnyEnvelope::Commitment(_) => {}
        }
        Ok(None)
    }

    async fn take_in_receipt(
        &self,
        from: &str,
        receipt: Envelope<Receipt>,
    ) -> Result<Option<Next>, TaskError> {
        // The row decides: the document alone may have been fetched for an attestation that was then refused.
        if self.storage.receipt(&receipt.id().to_string()).await?.is_some() {
            return Ok(None);
        }
        let claim = receipt.document();
        let likely = [from.to_owned(), claim.executor.peer_id(), claim.requester.peer_id()];
        let manifest = self.find_manifest(&claim.manifest, &likely).await.ok();
        self.write(receipt_rows(&receipt, manifest.as_ref().map(Envelope::document))).await?;
        self.inbox.done(claim);
        if let Some(terms) = manifest.as_ref().map(Envelope::document)
            && !self.policy.attest_always
            && terms.attestation.quorum > 0
            && terms.is_deterministic()
            && claim.guild.is_none()
            && claim.executor != *self.identity.did()
        {
            self.ask_to_attest(receipt.clone(), &Untrusted::new(&terms.name));
        }
        Ok(self.to_attest(receipt))
    }

    pub(super) async fn take_in_attestation(
        &self,
        from: &str,
        attestation: Envelope<Attestation>,
    ) -> Result<Option<Next>, TaskError> {
        let finding = attestation.document();
        let likely = [from.to_owned(), finding.witness.peer_id()];
        let receipt = self.find_receipt(&finding.receipt, &likely).await?;
        let claim = receipt.document();
        if finding.presented_for.is_some() {
            tracing::debug!(id = %attestation.id(), "it is about what was given for another task's receipt");
            return Ok(None);
        }
        if let Err(faults) = finding.is_about(receipt.id(), claim) {
            let why = format!("the attestation {} does not speak of its receipt: {faults}", attestation.id());
            return Err(TaskError::Refused(why));
        }
        let before = self.storage.standing(&finding.receipt, &claim.task_id).await?;
        if !is_new(&attestation, &before) {
            let (_counting, before) = self.to_count(before, &receipt).await?;
            self.note_double_vote(&attestation, &before).await?;
            return Ok(None);
        }
        if claim.executor == finding.witness {
            let why = "an executor attested its own receipt; that counts for nothing";
            return Err(TaskError::Refused(why.to_owned()));
        }
        let (name, mut rows, new) = match &before.receipt {
            Some(record) => (record.name.clone(), Vec::new(), false),
            None => {
                let manifest = self.find_manifest(&claim.manifest, &likely).await.ok();
                let terms = manifest.as_ref().map(Envelope::document);
                (name_of(claim, terms), receipt_rows(&receipt, terms), true)
            }
        };
        let (_counting, before) = self.to_count(before, &receipt).await?;
        // What it said in the guild may have been counted meanwhile.
        if !is_new(&attestation, &before) {
            self.note_double_vote(&attestation, &before).await?;
            return Ok(None);
        }
        let discounted = before.task.as_ref().and_then(|task| self.discounts(task, &finding.witness));
        if discounted.is_some() && before.votes.len() >= VOTES_KEPT {
            tracing::debug!(witness = %finding.witness, "too many votes that do not count");
            return Ok(None);
        }
        let (record, stored) = attestation_rows(&attestation, name, discounted.map(Untrusted::new));
        rows.extend(stored);
        self.store_vote(before, record, rows).await?;
        if new {
            self.inbox.done(claim);
        }
        Ok(if new { self.to_attest(receipt) } else { None })
    }

    /// What is known of a receipt, for one who has a vote to store. Where an own task may depend on it, with the task's lock, which
    /// is held until the vote is stored.
    pub(super) async fn to_count(
        &self,
        before: Standing,
        receipt: &Envelope<Receipt>,
    ) -> Result<(Option<MutexGuard<'_, ()>>, Standing), TaskError> {
        if before.task.as_ref().is_none_or(TaskRecord::is_settled) {
            return Ok((None, before));
        }
        let task_id = &receipt.document().task_id;
        let counting = self.counting.lock(task_id).await;
        Ok((Some(counting), self.storage.standing(receipt.id(), task_id).await?))
    }

    /// Stores a vote with what goes with it, and moves an own task on, where the votes suffice.
    pub(super) async fn store_vote(
        &self,
        mut before: Standing,
        record: AttestationRecord,
        mut rows: Vec<Write>,
    ) -> Result<(), TaskError> {
        before.votes.retain(|vote| vote.witness != record.witness);
        before.votes.push(record);
        let mut settled = None;
        if let Some(mut task) = before.task
            && let Some(turned) = self.count_votes(&mut task, &before.votes)
        {
            rows.extend(turned);
            settled = Some(task);
        }
        self.write(rows).await?;
        let Some(task) = settled else { return Ok(()) };
        if let TaskState::Disputed { receipt, .. } = &task.state
            && let Some(AnyEnvelope::Receipt(receipt)) = self.storage.document(receipt).await?
        {
            self.open_dispute(&receipt, &[]).await;
        }
        let waiting = self.waiting().remove(&task.task_id);
        if let Some(done) = waiting {
            done.cancel();
        }
        Ok(())
    }

    /// Whether the witnesses of an own task are being heard in its guild.
    fn is_sitting(&self, task: &TaskRecord) -> bool {
        let guild = task.guild_id.as_ref().and_then(|guild| guild.parse().ok());
        let place = guild.zip(task.manifest_id.parse().ok());
        place.is_some_and(|place| self.sessions().contains_key(&place))
    }

    /// Why somebody's vote on an own task does not count: in a guild it is agreed who witnesses it. Where those do not come to a quorum,
    /// whoever had offered to before it was run may take their place; nobody makes up names for it afterwards.
    pub(super) fn discounts(&self, task: &TaskRecord, witness: &Did) -> Option<&'static str> {
        if task.guild_id.is_none() {
            None
        } else if *witness == task.creator {
            Some("whoever asked for the task is none of its witnesses")
        } else if !task.has_offered(witness) {
            Some("it is none of those who had offered to witness the task")
        } else {
            self.is_sitting(task).then_some("it was not said in the task's guild")
        }
    }

    /// A witness that says two things is known to have done so. Whoever calls it holds the task's lock `counting`, where it is unsettled.
    async fn note_double_vote(
        &self,
        attestation: &Envelope<Attestation>,
        before: &Standing,
    ) -> Result<(), TaskError> {
        let (finding, id) = (attestation.document(), attestation.id());
        let known = before.votes.iter().find(|vote| vote.witness == finding.witness);
        let Some(first) = known.filter(|vote| vote.attestation_id != id.to_string()) else { return Ok(()) };
        if finding.verdict == Verdict::Unverifiable || self.storage.document(id).await?.is_some() {
            return Ok(());
        }
        let text = format!(
            "{} has voted twice on receipt {}: {} ({}), which counts, and {} ({id})",
            finding.witness, finding.receipt, first.verdict, first.attestation_id, finding.verdict
        );
        let warning = Happening::Warning { text: Untrusted::new(&text) };
        let document = Write::Document(AnyEnvelope::Attestation(attestation.clone()));
        let mut rows = vec![document, Write::Event(Timestamp::now(), warning)];
        if let Some(task) = before.task.as_ref().filter(|task| task.has_offered(&finding.witness)) {
            // What it said first was heard before anybody could know.
            let record = AttestationRecord { discounted: Some(Untrusted::new(TWICE)), ..first.clone() };
            rows.push(Write::Testimony(record));
            let why = format!("{TWICE}; later it says {}", finding.verdict);
            rows.push(self.step_by(
                &finding.witness,
                Timestamp::now(),
                task,
                "discounted",
                Some(Untrusted::new(&why)),
            ));
        }
        Ok(self.write(rows).await?)
    }

    fn to_attest(&self, receipt: Envelope<Receipt>) -> Option<Next> {
        let others = receipt.document().executor != *self.identity.did();
        let guild = receipt.document().guild.is_some();
        let next = if guild { Next::AttestIfWanted } else { Next::Attest };
        (self.policy.attest_always && others).then(|| next(receipt))
    }

    /// Whether a receipt lacks witnesses, as far as is known here.
    pub(super) async fn is_wanted(&self, receipt: &Envelope<Receipt>) -> Result<bool, TaskError> {
        let row = self.storage.receipt(&receipt.id().to_string()).await?;
        let short = row.is_none_or(|row| row.quorum == 0 || row.agree < row.quorum);
        Ok(receipt.document().guild.is_none() || short)
    }

    /// Moves an own task on when the votes suffice: to disputed when a witness disagrees, to attested when its quorum agrees before
    /// that. Gives back what is to be stored then. Whoever calls it holds the task's lock `counting`.
    pub(super) fn count_votes(
        &self,
        task: &mut TaskRecord,
        votes: &[AttestationRecord],
    ) -> Option<[Write; 2]> {
        let TaskState::Receipted { receipt } = task.state else { return None };
        if task.quorum == 0 || self.is_sitting(task) {
            return None;
        }
        let (executor, of) = (task.executor.clone(), receipt.to_string());
        let by = |verdict: Verdict| {
            let (executor, of) = (executor.clone(), of.clone());
            votes.iter().filter(move |vote| {
                // An executor that was given up may have made another receipt of the task.
                let counts = vote.discounted.is_none() && Some(&vote.witness) != executor.as_ref();
                vote.verdict == verdict && vote.receipt_id == of && counts
            })
        };
        // One that disagrees outweighs all that agree.
        if let Some(against) = by(Verdict::Disagree).next() {
            let differs: Vec<&str> = against.differences.iter().map(Untrusted::as_str).collect();
            let why = against.reason.as_ref().map_or_else(|| differs.join(", "), ToString::to_string);
            let reason = Untrusted::new(&format!("{} disagrees: {why}", against.witness.short()));
            return Some(self.turned(task, TaskState::Disputed { reason, receipt }, None));
        }
        let (agree, quorum) =
            (by(Verdict::Agree).count(), usize::try_from(task.quorum).unwrap_or(usize::MAX));
        if agree < quorum {
            return None;
        }
        let names: Vec<String> = by(Verdict::Agree).map(|vote| vote.witness.short()).collect();
        let detail = Untrusted::new(&format!("{agree} of {quorum} agree: {}", names.join(", ")));
        Some(self.turned(task, TaskState::Attested { receipt }, Some(detail)))
    }
}

/// Whether a vote is the first of its witness on a receipt, or takes the place of one that said nothing.
fn is_new(attestation: &Envelope<Attestation>, before: &Standing) -> bool {
    let finding = attestation.document();
    let known = before.votes.iter().find(|vote| vote.witness == finding.witness);
    known.is_none_or(|vote| vote.gives_way_to(finding.verdict))
}
