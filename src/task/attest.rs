//! Attesting: the receipt's task is run again here, and what was found is signed.

use std::sync::Arc;

use cid::Cid;
use jiff::Timestamp;

use super::execute::{Material, measured, receipt_rows};
use super::life::Reins;
use super::{Context, TaskError};
use crate::document::{AnyEnvelope, Attestation, Content, Envelope, Manifest, Receipt, Untrusted, Verdict};
use crate::execution::Priority;
use crate::storage::{AttestationRecord, Happening, Write};

/// What came of attesting.
#[derive(Debug, Clone)]
pub struct Attested {
    pub id: Cid,
    pub attestation: Attestation,
}

/// Who wants a receipt attested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// A missing manifest or artifact is a finding, which the operator signs.
    ByOperator,
    /// A missing manifest or artifact is tried again later, and nothing is signed meanwhile.
    ByPolicy,
    /// The same, by the guild of which this node is the witness.
    InGuild,
}

impl Asked {
    fn priority(self) -> Priority {
        match self {
            Self::ByOperator => Priority::Interactive,
            Self::ByPolicy | Self::InGuild => Priority::Background,
        }
    }
}

impl Context {
    /// Looks into a receipt, and tells everybody what was found.
    pub(super) async fn attest(
        self: Arc<Self>,
        receipt: Envelope<Receipt>,
        asked: Asked,
        reins: Reins,
    ) -> Result<Attested, TaskError> {
        let claim = receipt.document();
        let concerned = [claim.executor.peer_id(), claim.requester.peer_id()];
        let (attested, envelope) = self.look_into(receipt, asked, &reins).await?;
        let document = AnyEnvelope::Attestation(envelope);
        self.announce(&document).await;
        self.deliver(&document, &concerned).await;
        Ok(attested)
    }

    /// Runs the receipt's task again, signs and stores the finding. A receipt this node has attested already is not run again:
    /// a witness has one vote.
    pub(super) async fn look_into(
        &self,
        receipt: Envelope<Receipt>,
        asked: Asked,
        reins: &Reins,
    ) -> Result<(Attested, Envelope<Attestation>), TaskError> {
        let (id, claim) = (*receipt.id(), receipt.document());
        if claim.executor == *self.identity.did() {
            return Err(TaskError::Refused(
                "a node cannot attest its own receipt; another one must".to_owned(),
            ));
        }
        let before = self.storage.standing(&id, &claim.task_id).await?;
        if let Some(known) = self.own_vote(&before.votes).await? {
            return Ok(known);
        }
        let (attestation, manifest) = self.examine(&receipt, asked, reins).await?;
        let once = self.signing.lock(&id.to_string()).await;
        let before = self.storage.standing(&id, &claim.task_id).await?;
        let (_counting, before) = self.to_count(before, &receipt).await?;
        if let Some(known) = self.own_vote(&before.votes).await? {
            return Ok(known);
        }
        let envelope = Envelope::sign(&self.identity, &attestation)?;
        let terms = manifest.as_ref().map(Envelope::document);
        let mut rows = if before.receipt.is_some() { Vec::new() } else { receipt_rows(&receipt, terms) };
        let (record, stored) = attestation_rows(&envelope, name_of(claim, terms));
        rows.extend(stored);
        if let (Asked::InGuild, Some(manifest)) = (asked, &manifest) {
            let detail = Untrusted::new(&format!("{} ({})", attestation.verdict, envelope.id()));
            rows.push(self.note(manifest, "attested", Some(detail)));
        }
        self.store_vote(before, record, rows).await?;
        drop(once);
        Ok((Attested { id: *envelope.id(), attestation }, envelope))
    }

    /// Runs the receipt's task again, and gives what is to be said of it and the manifest, where it was to be had.
    pub(super) async fn examine(
        &self,
        receipt: &Envelope<Receipt>,
        asked: Asked,
        reins: &Reins,
    ) -> Result<(Attestation, Option<Envelope<Manifest>>), TaskError> {
        let (id, claim, me) = (*receipt.id(), receipt.document(), self.identity.did().clone());
        let likely = [claim.executor.peer_id(), claim.requester.peer_id()];
        let manifest = self.find_manifest(&claim.manifest, &likely).await;
        let attestation = match &manifest {
            Ok(manifest) => {
                let fits = claim.fits(manifest.id(), manifest.document());
                let problem = fits.err().map(|faults| faults.to_string());
                let problem = problem.or_else(|| claim.too_early(Timestamp::now()));
                let terms = manifest.document();
                match self.material(terms, &likely).await {
                    _ if !terms.is_deterministic() => {
                        let why = "its manifest allows the real clock or real randomness, so no two runs need be equal";
                        Attestation::unverifiable(id, why.to_owned(), me.clone(), Timestamp::now())
                    }
                    Err(error) if asked != Asked::ByOperator => return Err(error),
                    Ok(material) => {
                        // Of an input that is a DAG, only its bytes tell the digest.
                        let read = Content::of(&material.stdin);
                        let problem = problem.or_else(|| {
                            let other = format!("inputs: {} where the manifest's have {read}", claim.inputs);
                            (read != claim.inputs).then_some(other)
                        });
                        let outcome = self.execute(terms, material, &likely, asked.priority(), reins).await?;
                        let environment = outcome.environment.clone();
                        let measured = measured(&outcome);
                        let now = Timestamp::now();
                        Attestation::compare((&id, claim), &measured, environment, problem, me, now)
                    }
                    Err(error) => Attestation::unverifiable(id, error.to_string(), me, Timestamp::now()),
                }
            }
            Err(error) => Attestation::unverifiable(id, error.to_string(), me, Timestamp::now()),
        };
        let manifest = match manifest {
            Err(error) if asked != Asked::ByOperator => return Err(error),
            manifest => manifest.ok(),
        };
        Ok((attestation, manifest))
    }

    /// This node's vote among those on a receipt. That nothing could be said is no vote: it may be tried again.
    async fn own_vote(
        &self,
        votes: &[AttestationRecord],
    ) -> Result<Option<(Attested, Envelope<Attestation>)>, TaskError> {
        let own = votes
            .iter()
            .find(|vote| vote.witness == *self.identity.did() && vote.verdict != Verdict::Unverifiable);
        let Some(id) = own.and_then(|vote| vote.attestation_id.parse().ok()) else { return Ok(None) };
        Ok(match self.storage.document(&id).await? {
            Some(AnyEnvelope::Attestation(vote)) => {
                Some((Attested { id, attestation: vote.document().clone() }, vote))
            }
            _ => None,
        })
    }

    async fn material(&self, terms: &Manifest, likely: &[String]) -> Result<Material, TaskError> {
        let (module, lease, _) = self.find_module(terms, likely).await?;
        let (stdin, hold) = self.find_stdin(terms, likely).await?;
        Ok(Material { module, stdin, _lease: lease, _hold: hold })
    }

    /// Straight to those whom it concerns, where they are connected; gossip reaches the others.
    async fn deliver(&self, document: &AnyEnvelope, peers: &[String]) {
        let Some(network) = &self.network else { return };
        let connected: Vec<String> =
            network.state().borrow().peers.iter().map(|peer| peer.peer_id.clone()).collect();
        for peer in peers.iter().filter(|peer| connected.contains(peer)) {
            if let Err(error) = network.deliver(peer, document).await {
                tracing::debug!(%peer, %error, "not delivered");
            }
        }
    }
}

/// What a task is called: by its manifest, where that is known.
pub(super) fn name_of(claim: &Receipt, terms: Option<&Manifest>) -> Untrusted {
    Untrusted::new(terms.map_or(&claim.task_id, |terms| &terms.name))
}

/// An attestation's record, and the rows that store it.
pub(super) fn attestation_rows(
    envelope: &Envelope<Attestation>,
    name: Untrusted,
) -> (AttestationRecord, [Write; 3]) {
    let attestation = envelope.document();
    let record = AttestationRecord {
        cursor: 0,
        attestation_id: envelope.id().to_string(),
        receipt_id: attestation.receipt.to_string(),
        name: name.clone(),
        witness: attestation.witness.clone(),
        verdict: attestation.verdict,
        reason: attestation.reason.as_deref().map(Untrusted::new),
        differences: attestation.differences().map(|difference| Untrusted::new(&difference.what)).collect(),
        at: attestation.created_at,
    };
    let happening = Happening::Attestation {
        attestation_id: record.attestation_id.clone(),
        receipt_id: record.receipt_id.clone(),
        name,
        witness: record.witness.clone(),
        verdict: record.verdict,
    };
    let rows = [
        Write::Document(AnyEnvelope::Attestation(envelope.clone())),
        Write::Attestation(record.clone()),
        Write::Event(Timestamp::now(), happening),
    ];
    (record, rows)
}
