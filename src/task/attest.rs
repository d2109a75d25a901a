//! Attesting: the receipt's task is run again here, and what was found is signed.

use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::execute::{Material, measured, receipt_rows};
use super::life::Reins;
use super::{Context, TaskError};
use crate::artifact::Order;
use crate::document::{AnyEnvelope, Attestation, Content, Envelope, Manifest, Receipt, Untrusted, Verdict};
use crate::execution::Priority;
use crate::storage::{AttestationRecord, Happening, Write};

/// How long the output that a wrong receipt claims is looked for, to say where it differs.
const OUTPUT_WITHIN: Duration = Duration::from_secs(5);
/// Up to this an output is one block, which is found by its digest.
const OUTPUT_MAX: u64 = 1 << 20;

const OF_A_GUILD: &str = "it was done in a guild: there only those count who had offered to witness it";
const OWN: &str = "a node cannot attest its own receipt; another one must";
/// Findings that wait for the operator to sign them, and for how long.
const FINDINGS: usize = 256;
const FINDING_KEPT: Duration = Duration::from_secs(600);

/// What would be signed.
#[derive(Debug, Clone)]
pub struct Examined {
    /// What it is called until then.
    pub finding: String,
    pub receipt: Cid,
    pub attestation: Attestation,
    /// Whether this node has signed it before.
    pub known: bool,
    /// Why its vote does not count, or may not.
    pub caveat: Option<&'static str>,
}

/// The same with all that is needed to sign it.
pub(super) struct Finding {
    at: Instant,
    case: Presented,
    attestation: Attestation,
    manifest: Option<Envelope<Manifest>>,
}

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
    /// This node is a witness in its guild, and has to say something.
    InGuild,
    /// This node has asked for the task, and its witnesses do not agree; nothing is signed that does not settle it.
    ToSettle,
}

impl Asked {
    fn priority(self) -> Priority {
        match self {
            Self::ByOperator => Priority::Interactive,
            Self::ByPolicy | Self::InGuild | Self::ToSettle => Priority::Background,
        }
    }
}

/// A receipt as this node came to know it.
#[derive(Debug, Clone)]
pub(super) struct Presented {
    pub(super) receipt: Envelope<Receipt>,
    /// What is wrong with it on its face.
    pub(super) problem: Option<String>,
    /// The manifest that it was given for, where it is the receipt of another.
    pub(super) given_for: Option<Cid>,
    /// What was printed, where it came along.
    pub(super) output: Option<Vec<u8>>,
}

impl Presented {
    pub(super) fn plain(receipt: Envelope<Receipt>) -> Self {
        Self { receipt, problem: None, given_for: None, output: None }
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
        let (attested, envelope) = self.look_into(&Presented::plain(receipt.clone()), asked, &reins).await?;
        self.tell_vote(receipt.document(), envelope).await;
        Ok(attested)
    }

    async fn tell_vote(&self, claim: &Receipt, vote: Envelope<Attestation>) {
        let document = AnyEnvelope::Attestation(vote);
        self.announce(&document).await;
        self.deliver(&document, &[claim.executor.peer_id(), claim.requester.peer_id()]).await;
    }

    /// Runs the receipt's task again for the operator, who decides whether it is signed.
    pub(super) async fn try_out(
        &self,
        receipt: Envelope<Receipt>,
        reins: &Reins,
    ) -> Result<Examined, TaskError> {
        let (id, claim) = (*receipt.id(), receipt.document());
        if self.network.is_some() && claim.executor == *self.identity.did() {
            return Err(TaskError::Refused(OWN.to_owned()));
        }
        let before = self.storage.standing(&id, &claim.task_id).await?;
        if let Some((known, _)) = self.own_vote(&before.votes).await? {
            let finding = String::new();
            let attestation = known.attestation;
            return Ok(Examined { finding, receipt: id, attestation, known: true, caveat: None });
        }
        let me = self.identity.did();
        let caveat = match &before.task {
            Some(task) => self.discounts(task, me),
            None if claim.guild.is_some() && claim.requester != *me => Some(OF_A_GUILD),
            None => None,
        };
        let case = Presented::plain(receipt);
        let (attestation, manifest) = self.examine(&case, Asked::ByOperator, reins).await?;
        let finding = hex::encode(self.random()?.split_at(8).0);
        let mut findings = self.findings();
        findings.retain(|_, kept| kept.at.elapsed() < FINDING_KEPT);
        if findings.len() >= FINDINGS {
            let oldest = findings.iter().min_by_key(|(_, kept)| kept.at).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| findings.remove(&oldest));
        }
        let kept = Finding { at: Instant::now(), case, attestation: attestation.clone(), manifest };
        findings.insert(finding.clone(), kept);
        Ok(Examined { finding, receipt: id, attestation, known: false, caveat })
    }

    /// Signs what was tried out, and tells everybody.
    pub(super) async fn sign(&self, finding: &str) -> Result<Attested, TaskError> {
        let kept = self.findings().remove(finding).filter(|kept| kept.at.elapsed() < FINDING_KEPT);
        let Finding { case, attestation, manifest, .. } = kept.ok_or_else(|| {
            TaskError::Refused(
                "what was found is not known any more; the task has to be run again".to_owned(),
            )
        })?;
        let (attested, envelope) = self.sign_vote(&case, attestation, manifest, Asked::ByOperator).await?;
        self.tell_vote(case.receipt.document(), envelope).await;
        Ok(attested)
    }

    /// Runs the receipt's task again, signs and stores the finding. A receipt this node has attested already is not run again:
    /// a witness has one vote.
    pub(super) async fn look_into(
        &self,
        case: &Presented,
        asked: Asked,
        reins: &Reins,
    ) -> Result<(Attested, Envelope<Attestation>), TaskError> {
        let receipt = &case.receipt;
        let (id, claim) = (*receipt.id(), receipt.document());
        if claim.executor == *self.identity.did() {
            return Err(TaskError::Refused(OWN.to_owned()));
        }
        let before = self.storage.standing(&id, &claim.task_id).await?;
        if let Some(known) = self.own_vote(&before.votes).await? {
            return Ok(known);
        }
        let (attestation, manifest) = self.examine(case, asked, reins).await?;
        if asked == Asked::ToSettle && attestation.verdict == Verdict::Unverifiable {
            return Err(TaskError::Refused(attestation.grounds()));
        }
        self.sign_vote(case, attestation, manifest, asked).await
    }

    /// Signs what was found, and stores it.
    async fn sign_vote(
        &self,
        case: &Presented,
        attestation: Attestation,
        manifest: Option<Envelope<Manifest>>,
        asked: Asked,
    ) -> Result<(Attested, Envelope<Attestation>), TaskError> {
        let receipt = &case.receipt;
        let (id, claim) = (*receipt.id(), receipt.document());
        let once = self.signing.lock(&id.to_string()).await;
        if self.pledged().contains_key(&id) {
            let why = "this node witnesses that receipt in its guild, and says its word there";
            return Err(TaskError::Refused(why.to_owned()));
        }
        let before = self.storage.standing(&id, &claim.task_id).await?;
        let (_counting, before) = self.to_count(before, receipt).await?;
        if let Some(known) = self.own_vote(&before.votes).await? {
            return Ok(known);
        }
        let envelope = Envelope::sign(&self.identity, &attestation)?;
        let terms = manifest.as_ref().map(Envelope::document);
        let mut rows = if before.receipt.is_some() { Vec::new() } else { receipt_rows(receipt, terms) };
        let settles =
            "whoever asked for the task is none of its witnesses; it settles what they do not agree on";
        let discounted = match asked {
            Asked::ToSettle => Some(settles),
            // By hand one can say of an own task what one likes; who witnesses it was agreed before.
            _ => before.task.as_ref().and_then(|task| self.discounts(task, self.identity.did())),
        };
        let discounted = discounted.map(Untrusted::new);
        let (record, stored) = attestation_rows(&envelope, name_of(claim, terms), discounted);
        rows.extend(stored);
        rows.push(Write::Link(*envelope.id()));
        self.store_vote(before, record, rows).await?;
        drop(once);
        Ok((Attested { id: *envelope.id(), attestation }, envelope))
    }

    /// Runs the receipt's task again, and gives what is to be said of it and the manifest, where it was to be had.
    pub(super) async fn examine(
        &self,
        case: &Presented,
        asked: Asked,
        reins: &Reins,
    ) -> Result<(Attestation, Option<Envelope<Manifest>>), TaskError> {
        let (id, claim, me) = (*case.receipt.id(), case.receipt.document(), self.identity.did().clone());
        // What is known to be wrong is wrong, whatever else cannot be told.
        let unrun = |problem: Option<String>, why: String| match problem {
            Some(problem) => Attestation::wrong(id, problem, me.clone(), Timestamp::now()),
            None => Attestation::unverifiable(id, why, me.clone(), Timestamp::now()),
        };
        if case.given_for.is_some() {
            let wrong = unrun(case.problem.clone(), String::new());
            return Ok((Attestation { presented_for: case.given_for, ..wrong }, None));
        }
        let likely = [claim.executor.peer_id(), claim.requester.peer_id()];
        let manifest = match self.find_manifest(&claim.manifest, &likely).await {
            Ok(manifest) => manifest,
            Err(error) if asked == Asked::ByPolicy => return Err(error),
            Err(error) => return Ok((unrun(case.problem.clone(), error.to_string()), None)),
        };
        let terms = manifest.document();
        let unfit = || claim.fits(manifest.id(), terms).err().map(|faults| faults.to_string());
        let problem = case.problem.clone().or_else(unfit).or_else(|| claim.too_early(Timestamp::now()));
        if !terms.is_deterministic() {
            let why = "its manifest allows the real clock or real randomness, so no two runs need be equal";
            return Ok((unrun(problem, why.to_owned()), Some(manifest)));
        }
        let material = match self.material(terms, &likely).await {
            Ok(material) => material,
            Err(error) if asked == Asked::ByPolicy && problem.is_none() => return Err(error),
            Err(error) => return Ok((unrun(problem, error.to_string()), Some(manifest))),
        };
        // Of an input that is a DAG, only its bytes tell the digest.
        let read = Content::of(&material.stdin);
        let problem = problem.or_else(|| {
            let other = format!("inputs: {} where the manifest's have {read}", claim.inputs);
            (read != claim.inputs).then_some(other)
        });
        let outcome = self.execute(terms, material, &likely, asked.priority(), reins).await?;
        let (environment, now) = (outcome.environment.clone(), Timestamp::now());
        let mut attestation =
            Attestation::compare((&id, claim), &measured(&outcome), environment, problem, me.clone(), now);
        if attestation.verdict == Verdict::Disagree
            && claim.output.sha256 != Content::of(&outcome.stdout).sha256
            && let Some(claimed) = self.claimed_output(case, &likely).await
        {
            attestation.explain(&first_difference(&claimed, &outcome.stdout));
        }
        Ok((attestation, Some(manifest)))
    }

    /// The output that a receipt claims, where it is to be had.
    async fn claimed_output(&self, case: &Presented, likely: &[String]) -> Option<Vec<u8>> {
        let claim = case.receipt.document();
        if let Some(output) = case.output.as_ref().filter(|output| Content::of(output) == claim.output) {
            return Some(output.clone());
        }
        let order = Order {
            likely: likely.to_vec(),
            sha256: Some(claim.output.sha256),
            ..Order::new(claim.output.sha256.to_cid(), OUTPUT_MAX)
        };
        let _lease = self.artifacts.hold(&order.cid);
        let got = async {
            self.artifacts.get(&order).await.ok()?;
            self.artifacts.bytes(&order.cid, OUTPUT_MAX).await.ok()
        };
        timeout(OUTPUT_WITHIN, got).await.ok().flatten()
    }

    /// This node's vote among those on a receipt. That nothing could be said is no vote: it may be tried again.
    pub(super) async fn own_vote(
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

/// Where two outputs part.
fn first_difference(claimed: &[u8], measured: &[u8]) -> String {
    let same = claimed.iter().zip(measured).take_while(|(one, other)| one == other).count();
    match (claimed.get(same), measured.get(same)) {
        (Some(one), Some(other)) => {
            format!(
                "the outputs differ from byte {same} on: 0x{one:02x} is claimed, 0x{other:02x} was printed"
            )
        }
        (Some(_), None) => format!("the output ends after {same} bytes, where more is claimed"),
        (None, Some(_)) => format!("the output goes on after the {same} bytes that are claimed"),
        (None, None) => "the outputs are the same".to_owned(),
    }
}

/// An attestation's record, and the rows that store it.
pub(super) fn attestation_rows(
    envelope: &Envelope<Attestation>,
    name: Untrusted,
    discounted: Option<Untrusted>,
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
        discounted,
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
