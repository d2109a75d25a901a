//! What peers announce: receipts and attestations, verified by the network before they come here, stored and counted.

use std::sync::Arc;

use super::attest::attestation_rows;
use super::execute::receipt_rows;
use super::{Context, TaskError};
use crate::document::{AnyEnvelope, Attestation, Envelope, Receipt, Untrusted, Verdict};
use crate::storage::{TaskState, Write};

impl Context {
    /// Stores what is new. Gives back a receipt that by policy is to be attested now.
    pub(super) async fn take_in(
        self: Arc<Self>,
        from: String,
        document: AnyEnvelope,
    ) -> Option<Envelope<Receipt>> {
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

    async fn take_in_checked(
        &self,
        from: &str,
        document: AnyEnvelope,
    ) -> Result<Option<Envelope<Receipt>>, TaskError> {
        if self.storage.document(document.id()).await?.is_some() {
            return Ok(None);
        }
        match document {
            AnyEnvelope::Manifest(_) => self.write(vec![Write::Document(document)]).await?,
            AnyEnvelope::Receipt(receipt) => return self.take_in_receipt(from, receipt).await,
            AnyEnvelope::Attestation(attestation) => self.take_in_attestation(from, attestation).await?,
            // Cards belong to a connection and come with it.
            AnyEnvelope::AgentCard(_) => {}
        }
        Ok(None)
    }

    async fn take_in_receipt(
        &self,
        from: &str,
        receipt: Envelope<Receipt>,
    ) -> Result<Option<Envelope<Receipt>>, TaskError> {
        let claim = receipt.document();
        let likely = [from.to_owned(), claim.executor.peer_id(), claim.requester.peer_id()];
        let manifest = self.find_manifest(&claim.manifest, &likely).await.ok();
        self.write(receipt_rows(&receipt, manifest.as_ref().map(Envelope::document))).await?;
        let others = claim.executor != *self.identity.did();
        Ok((self.policy.attest_always && others).then_some(receipt))
    }

    async fn take_in_attestation(
        &self,
        from: &str,
        attestation: Envelope<Attestation>,
    ) -> Result<(), TaskError> {
        let finding = attestation.document();
        let likely = [from.to_owned(), finding.witness.peer_id()];
        let receipt = self.find_receipt(&finding.receipt, &likely).await?;
        let claim = receipt.document();
        if claim.executor == finding.witness {
            return Err(TaskError::Refused(
                "an executor attested its own receipt; that counts for nothing".to_owned(),
            ));
        }
        let known = self.storage.receipt(&finding.receipt.to_string()).await?;
        let (name, mut rows) = match known {
            Some(record) => (record.name, Vec::new()),
            None => {
                let manifest = self.find_manifest(&claim.manifest, &likely).await.ok();
                let terms = manifest.as_ref().map(Envelope::document);
                let name =
                    terms.map_or_else(|| Untrusted::new(&claim.task_id), |terms| Untrusted::new(&terms.name));
                (name, receipt_rows(&receipt, terms))
            }
        };
        rows.extend(attestation_rows(&attestation, name));
        self.write(rows).await?;
        self.count(claim, finding).await
    }

    /// Moves an own task on when its quorum is reached, or when a witness disagrees before that.
    async fn count(&self, claim: &Receipt, finding: &Attestation) -> Result<(), TaskError> {
        let mut waiting = self.waiting.lock().await;
        let tasks = self.storage.tasks_matching(&claim.task_id).await?;
        let Some(mut task) = tasks.into_iter().find(|task| task.task_id == claim.task_id) else {
            return Ok(());
        };
        let TaskState::Receipted { receipt } = task.state else { return Ok(()) };
        if receipt != finding.receipt || task.quorum == 0 {
            return Ok(());
        }
        let votes = self.storage.attestations_of(&receipt.to_string()).await?;
        let agree = votes
            .iter()
            .filter(|vote| vote.verdict == Verdict::Agree && vote.witness != claim.executor)
            .count();
        let quorum = usize::try_from(task.quorum).unwrap_or(usize::MAX);
        if agree >= quorum {
            let names: Vec<String> =
                votes.iter().filter(|v| v.verdict == Verdict::Agree).map(|v| v.witness.short()).collect();
            let detail = Untrusted::new(&format!("{agree} of {quorum} agree: {}", names.join(", ")));
            self.turn(&mut task, TaskState::Attested { receipt }, Some(detail)).await?;
        } else if finding.verdict == Verdict::Disagree {
            let differs: Vec<&str> =
                finding.differences().map(|difference| difference.what.as_str()).collect();
            let why = finding.reason.clone().unwrap_or_else(|| differs.join(", "));
            let reason = Untrusted::new(&format!("{} disagrees: {why}", finding.witness.short()));
            self.turn(&mut task, TaskState::Disputed { reason, receipt }, None).await?;
        } else {
            return Ok(());
        }
        if let Some(done) = waiting.remove(&claim.task_id) {
            done.cancel();
        }
        Ok(())
    }
}
