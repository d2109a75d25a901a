//! A witness of somebody else's task: it looks into the receipt, binds itself to what it has found, and says it when all have.

use std::pin::pin;
use std::time::Duration;

use cid::Cid;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::attest::{Asked, Presented, attestation_rows, name_of};
use super::context::Word;
use super::execute::receipt_rows;
use super::guilded::WITNESS_WITHIN;
use super::life::Reins;
use super::member::{Plan, answer, insist, invalid};
use super::sitting::evidence_rows;
use super::{Context, TaskError, audit};
use crate::document::{
    Agreement, AnyEnvelope, Attestation, Commitment, Envelope, Manifest, Receipt, Untrusted, duration_text,
};
use crate::execution::ExecutionError;
use crate::guild::{Bytes, Content, Guilds, Refusal};
use crate::storage::Write;

/// What a receipt may take beyond the start and the run.
const MARGIN: Duration = Duration::from_secs(20);
/// Whose answer was lost asks again within this.
const LINGER: Duration = Duration::from_secs(3);

impl Context {
    /// The receipt that the one who was to run it gives, and what is wrong with it on its face. Whatever it has signed is looked into;
    /// what it has not signed is none.
    pub(super) fn presented(
        &self,
        word: &Word,
        plan: &Agreement,
        manifest: &Envelope<Manifest>,
        since: Instant,
    ) -> Result<(Presented, Option<Envelope<Agreement>>), Refusal> {
        let Content::Receipt { receipt, agreement: Bytes(agreement), output, .. } = &word.content else {
            return Err(invalid("a receipt is waited for"));
        };
        let receipt = self.storage.verified().open(receipt).and_then(AnyEnvelope::receipt);
        let receipt = receipt.map_err(|error| invalid(&format!("the receipt does not hold: {error}")))?;
        let claim = receipt.document();
        if word.from != plan.executor || *receipt.signer() != plan.executor {
            return Err(invalid("the receipt is not by the one that was to run the task"));
        }
        let output = output.as_ref().map(|Bytes(output)| output.clone());
        let agreement = self.storage.verified().open(agreement).and_then(AnyEnvelope::agreement);
        let agreement = agreement.ok().filter(|agreement| {
            let said = agreement.document();
            let drawn = said.draw.is_some() && said.is_to_the_same_as(plan);
            *agreement.signer() == plan.executor && drawn
        });
        let given_for = (claim.manifest != *manifest.id()).then_some(*manifest.id());
        let problem = if given_for.is_some() {
            Some(format!("manifest: it is the receipt of {}, given for {}", claim.manifest, manifest.id()))
        } else {
            is_as_agreed(claim, plan.guild, agreement.as_ref(), since)
        };
        Ok((Presented { receipt, problem, given_for, output }, agreement))
    }

    /// Looks into the receipt when it comes, binds itself to what it has found, and says it when it is asked to.
    pub(super) async fn witness(
        &self,
        guilds: &Guilds,
        plan: &Plan,
        mut words: mpsc::Receiver<Word>,
        reins: &Reins,
    ) -> Result<(), TaskError> {
        let terms = plan.manifest.document();
        let until = Instant::now()
            + Duration::from_millis(terms.sla.max_start_delay_ms)
            + terms.limits.time()
            + MARGIN;
        let (case, agreement) = loop {
            let word = timeout_at(until, words.recv()).await;
            let word = word.map_err(|_| TaskError::Refused("there was no receipt in time".to_owned()))?;
            let word = word.ok_or(TaskError::Stopping)?;
            match self.presented(&word, &plan.agreed, &plan.manifest, plan.since) {
                Ok(presented) => {
                    answer(word, Ok(None));
                    break presented;
                }
                Err(refusal) => answer(word, Err(refusal)),
            }
        };
        let (vote, known, _pledge) = self.pledge(&case, reins).await?;
        let me = self.identity.did().clone();
        let commitment = Commitment::to(vote.id(), *case.receipt.id(), me, Timestamp::now());
        let commitment = Envelope::sign(&self.identity, &commitment)?;
        self.storage.verified().add(&AnyEnvelope::Commitment(commitment.clone()));
        let creator = plan.manifest.document().creator.clone();
        let (manifest, bytes) = (*plan.manifest.id(), commitment.bytes().to_vec());
        let commit = Content::Commit { manifest, commitment: bytes };
        // Being asked for it says as well that the commitment has come.
        let mut told = pin!(insist(guilds, &plan.guild, vec![creator.clone()], commit));
        let first = loop {
            tokio::select! {
                told = &mut told => {
                    told?;
                    break None;
                }
                word = words.recv() => {
                    let word = word.ok_or(TaskError::Stopping)?;
                    match &word.content {
                        Content::Reveal { .. } | Content::Outcome { .. } if word.from == creator => {
                            break Some(word);
                        }
                        Content::Receipt { .. } => answer(word, Ok(None)),
                        _ => answer(word, Err(invalid("of another task, or out of turn"))),
                    }
                }
            }
        };
        self.reveal(plan, &case, &vote, (&commitment, agreement), known, (first, &mut words)).await
    }

    /// Says what it has bound itself to, when the others have bound themselves as well; and hears what comes of it.
    async fn reveal(
        &self,
        plan: &Plan,
        case: &Presented,
        vote: &Envelope<Attestation>,
        (commitment, agreement): (&Envelope<Commitment>, Option<Envelope<Agreement>>),
        known: bool,
        (mut first, words): (Option<Word>, &mut mpsc::Receiver<Word>),
    ) -> Result<(), TaskError> {
        let creator = &plan.manifest.document().creator;
        let mut until = Instant::now() + plan.manifest.document().limits.time() + WITNESS_WITHIN + MARGIN;
        let mut said = false;
        loop {
            let word = match first.take() {
                Some(word) => word,
                None => match timeout_at(until, words.recv()).await {
                    Ok(word) => word.ok_or(TaskError::Stopping)?,
                    Err(_) if said => return Ok(()),
                    Err(_) => {
                        return Err(TaskError::Refused("it was not asked what it had found".to_owned()));
                    }
                },
            };
            match &word.content {
                Content::Reveal { commitments, .. } if word.from == *creator => {
                    let among = |Bytes(bytes): &Bytes| bytes.as_slice() == &commitment.bytes()[..];
                    if !commitments.iter().any(among) {
                        answer(word, Err(invalid("this node's commitment is not among them")));
                        continue;
                    }
                    if !std::mem::replace(&mut said, true) {
                        let evidence = self.evidence_of(case.receipt.id(), commitments, agreement.as_ref());
                        self.store_testimony(plan, case, vote, evidence, known).await?;
                    }
                    let (manifest, attestation) = (*plan.manifest.id(), vote.bytes().to_vec());
                    answer(word, Ok(Some(Content::Attest { manifest, attestation })));
                    until = Instant::now() + LINGER;
                }
                Content::Outcome { .. } if word.from == *creator => {
                    // Only what its creator has run itself can have been an audit.
                    let own_run = case.receipt.signer() == creator;
                    if self.hear_outcome(plan.manifest.id(), word).await && said && own_run {
                        // Nobody else need know of a receipt that was never meant.
                        let name = name_of(case.receipt.document(), Some(plan.manifest.document()));
                        let why = Untrusted::new("it was an audit: the receipt was wrong on purpose");
                        let (record, _) = attestation_rows(vote, name, Some(why));
                        self.write(vec![Write::Testimony(record)]).await?;
                    }
                    return Ok(());
                }
                // It has come, and its answer was lost.
                Content::Receipt { .. } => answer(word, Ok(None)),
                _ => answer(word, Err(invalid("of another task, or out of turn"))),
            }
        }
    }

    /// What the witnesses' words came to, said by whoever asked for the task; `true` when it was an audit.
    pub(super) async fn hear_outcome(&self, manifest: &Cid, word: Word) -> bool {
        let Content::Outcome { state, why, audit, .. } = &word.content else {
            answer(word, Err(invalid("an outcome is waited for")));
            return false;
        };
        let known = self.storage.document(manifest).await;
        let heard = match known {
            Ok(Some(AnyEnvelope::Manifest(manifest))) if manifest.document().creator == word.from => {
                let terms = manifest.document();
                let planned = audit.as_deref().map(|secret| audit::was_planned(terms, secret));
                let said = match planned {
                    Some(true) => "it was an audit: the receipt was wrong on purpose".to_owned(),
                    Some(false) => "it is said to have been an audit, and was not planned as one".to_owned(),
                    None => format!("{state}: {}", why.join("; ")),
                };
                let step = self.note(&manifest, "outcome", Some(Untrusted::new(&said)));
                self.write(vec![step]).await.map(|()| planned == Some(true))
            }
            Ok(_) => {
                answer(word, Err(invalid("there is no such task of yours here")));
                return false;
            }
            Err(error) => Err(error),
        };
        let planned = heard.unwrap_or_else(|error| {
            tracing::warn!(%error, "what came of a task is not in the journal");
            false
        });
        answer(word, Ok(None));
        planned
    }

    /// This node's vote, signed and kept to itself; and whether it is one that is known already.
    async fn pledge(
        &self,
        case: &Presented,
        reins: &Reins,
    ) -> Result<(Envelope<Attestation>, bool, Option<Pledge<'_>>), TaskError> {
        let (id, claim) = (*case.receipt.id(), case.receipt.document());
        let examined = self.examine(case, Asked::InGuild, reins).await;
        let mut attestation = match examined {
            Ok((attestation, _)) => attestation,
            Err(error @ (TaskError::Stopping | TaskError::Execution(ExecutionError::Cancelled))) => {
                return Err(error);
            }
            // It has to say something.
            Err(error) => {
                let me = self.identity.did().clone();
                Attestation::unverifiable(id, error.to_string(), me, Timestamp::now())
            }
        };
        attestation.salt = Some(hex::encode(self.random()?));
        let _once = self.signing.lock(&id.to_string()).await;
        if case.given_for.is_none() {
            let before = self.storage.standing(&id, &claim.task_id).await?;
            if let Some((_, known)) = self.own_vote(&before.votes).await? {
                return Ok((known, true, None));
            }
        }
        if case.given_for.is_some() {
            return Ok((Envelope::sign(&self.identity, &attestation)?, false, None));
        }
        // What was committed to once is said, however often it is asked for.
        let mut pledged = self.pledged();
        let (vote, held) = match pledged.get(&id) {
            Some((vote, held)) => (vote.clone(), held.saturating_add(1)),
            None => (Envelope::sign(&self.identity, &attestation)?, 1),
        };
        pledged.insert(id, (vote.clone(), held));
        Ok((vote, false, Some(Pledge { context: self, receipt: id })))
    }

    /// What others have signed for a receipt, as far as it is about it, to be kept for its bundle.
    fn evidence_of(
        &self,
        receipt: &Cid,
        commitments: &[Bytes],
        agreement: Option<&Envelope<Agreement>>,
    ) -> Vec<Write> {
        let known = self.storage.verified();
        let commitments = commitments
            .iter()
            .filter_map(|Bytes(bytes)| known.open(bytes).and_then(AnyEnvelope::commitment).ok());
        let commitments = commitments.filter(|commitment| commitment.document().receipt == *receipt);
        let agreement = agreement.cloned().map(AnyEnvelope::Agreement);
        evidence_rows(receipt, agreement.into_iter().chain(commitments.map(AnyEnvelope::Commitment)))
    }

    async fn store_testimony(
        &self,
        plan: &Plan,
        case: &Presented,
        vote: &Envelope<Attestation>,
        evidence: Vec<Write>,
        known: bool,
    ) -> Result<(), TaskError> {
        let finding = vote.document();
        let detail = Untrusted::new(&format!("{} ({})", finding.verdict, vote.id()));
        let mut rows = vec![self.note(&plan.manifest, "attested", Some(detail))];
        if case.given_for.is_some() {
            // It says nothing of the task that the receipt is of.
            rows.push(Write::Document(AnyEnvelope::Attestation(vote.clone())));
        } else if !known {
            let terms = plan.manifest.document();
            rows.extend(receipt_rows(&case.receipt, Some(terms)));
            let (_, stored) = attestation_rows(vote, name_of(case.receipt.document(), Some(terms)), None);
            rows.extend(stored);
        }
        if !known {
            rows.push(Write::Link(*vote.id()));
        }
        rows.extend(evidence);
        Ok(self.write(rows).await?)
    }
}

/// That this node says nothing else of a receipt until it has revealed what it has committed to, or its guild is over.
struct Pledge<'a> {
    context: &'a Context,
    receipt: Cid,
}

impl Drop for Pledge<'_> {
    fn drop(&mut self) {
        let mut pledged = self.context.pledged();
        match pledged.get_mut(&self.receipt) {
            Some((_, held)) if *held > 1 => *held -= 1,
            _ => drop(pledged.remove(&self.receipt)),
        }
    }
}

/// What in a receipt is not as its executor has agreed to do it.
fn is_as_agreed(
    claim: &Receipt,
    guild: Cid,
    agreement: Option<&Envelope<Agreement>>,
    since: Instant,
) -> Option<String> {
    if claim.guild.as_ref() != Some(&guild.to_string()) {
        let of = Untrusted::new(claim.guild.as_deref().unwrap_or("none"));
        return Some(format!("guild: {of} where it was agreed to in {guild}"));
    }
    let Some(agreement) = agreement.filter(|agreement| claim.agreement.as_ref() == Some(agreement.id()))
    else {
        return Some("agreement: it does not name the executor's agreement to this".to_owned());
    };
    let early = claim.begun_before(agreement.document().agreed_at);
    if early.is_some() {
        return early;
    }
    let passed = since.elapsed();
    (claim.duration() > passed).then(|| {
        let (claimed, passed) = (duration_text(claim.duration()), duration_text(passed));
        format!("duration: {claimed} where only {passed} have passed since it was agreed to")
    })
}
