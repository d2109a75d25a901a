//! The witnesses of an own task: each binds itself to what it has found, then all of them say it, and it is counted.
//!
//! ```text
//!   executor ──receipt──► witness: runs it again ──commit──►┐
//!                         witness: runs it again ──commit──►┤ creator ──reveal──► each: its attestation ──► tally
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use cid::Cid;
use futures::future::join_all;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};

use super::attest::{Asked, Presented, attestation_rows};
use super::awaited::Early;
use super::context::Word;
use super::guilded::WITNESS_WITHIN;
use super::intake::TWICE;
use super::life::Reins;
use super::member::{AGAIN, answer, invalid, is_passing};
use super::{Context, TaskError, evidence};
use crate::document::{
    Agreement, AnyEnvelope, Attestation, Commitment, Envelope, Manifest, Receipt, Untrusted, Verdict,
};
use crate::guild::{Bytes, Content, GuildError, Guilds, Refusal};
use crate::identity::Did;
use crate::proof::{Bundle, Fault, Outcome, Tally};
use crate::storage::{Happening, TaskRecord, TaskState, Write};

/// When as many as the quorum have committed, the others have so long, and four times what those have taken.
const LATE: Duration = Duration::from_secs(3);
/// How often it is looked whether they are still there.
const LOOK: Duration = Duration::from_millis(500);
/// Who has committed has so long to say what it has found.
const REVEAL_WITHIN: Duration = Duration::from_secs(10);
/// How long it takes at the most to tell the guild what it has come to.
const TELL_WITHIN: Duration = Duration::from_secs(2);

/// Who has committed: to the receipt that is here, and to another.
#[derive(Default)]
struct Heard {
    commitments: Vec<Envelope<Commitment>>,
    elsewhere: Vec<Did>,
}

impl Heard {
    fn has(&self, who: &Did) -> bool {
        self.commitments.iter().any(|commitment| commitment.signer() == who) || self.elsewhere.contains(who)
    }
}

/// What is witnessed: what was agreed to, as this node has signed it, and the receipt that came of it.
type Matter<'a> = (&'a Envelope<Agreement>, &'a Presented, &'a Envelope<Manifest>);

impl Context {
    /// Hears the witnesses, and moves the task on by what they say. Gives back whose word did not count.
    pub(super) async fn hear_witnesses(
        &self,
        guilds: &Guilds,
        record: &mut TaskRecord,
        matter: Matter<'_>,
        (words, early): (&mut mpsc::Receiver<Word>, &mut VecDeque<Early>),
        reins: &Reins,
    ) -> Result<Vec<Did>, TaskError> {
        let (own, case, manifest) = matter;
        let plan = own.document();
        let TaskState::Receipted { receipt } = record.state else { return Ok(Vec::new()) };
        if plan.witnesses.is_empty() {
            return Ok(Vec::new());
        }
        let heard = self.await_commitments(guilds, record.quorum, matter, words, early).await?;
        let votes = self.call_votes(guilds, plan, &heard.commitments).await;
        let mut tally = Tally::of(&case.receipt, Some(plan), &heard.commitments, &votes);
        // Whoever gave it another receipt is to blame, or whoever says so.
        for fault in tally.faults.iter_mut().filter(|fault| heard.elsewhere.contains(&fault.who)) {
            fault.silent = true;
            "it has committed to another receipt than the one that is here".clone_into(&mut fault.why);
        }
        if record.audit.is_some() {
            let failed = self.settle_audit(record, receipt, &tally).await?;
            let (why, audit) = (tally.why(record.quorum), record.audit.clone());
            self.tell_outcome(guilds, plan, "audit", why, audit).await;
            return Ok(failed);
        }
        let claim = case.receipt.document();
        let unfit = || claim.fits(manifest.id(), manifest.document()).err().map(|faults| faults.to_string());
        let wrong = case.problem.clone().or_else(unfit).or_else(|| claim.too_early(Timestamp::now()));
        let mut unsettled = None;
        if wrong.is_some() {
            tally.finding = Some(Verdict::Disagree);
        } else if tally.votes(Verdict::Disagree).next().is_some() {
            match self.own_finding(case, reins).await {
                Ok(verdict) => tally.finding = Some(verdict),
                Err(error) => unsettled = Some(format!("this node cannot tell: {error}")),
            }
        }
        // Until it is written down what they have said, nobody's other vote is taken in.
        let counting = self.counting.lock(&record.task_id).await;
        if case.given_for.is_none() {
            self.find_double_votes(&receipt, &votes, &mut tally).await?;
        }
        let mut why = tally.why(record.quorum);
        why.extend(wrong.into_iter().chain(unsettled));
        let faulty = self.settle(record, matter, (&heard.commitments, &votes), &tally, &why).await?;
        drop(counting);
        let outcome = tally.outcome(record.quorum);
        if outcome == Outcome::Disputed || !faulty.is_empty() {
            self.tell_outcome(guilds, plan, outcome.as_str(), why, None).await;
        }
        if outcome == Outcome::Disputed {
            self.open_dispute(&case.receipt, &votes).await;
        }
        Ok(faulty)
    }

    /// Tells the guild what it has come to.
    async fn tell_outcome(
        &self,
        guilds: &Guilds,
        plan: &Agreement,
        state: &str,
        why: Vec<String>,
        audit: Option<String>,
    ) {
        let others = plan.parties().filter(|party| *party != self.identity.did()).cloned().collect();
        let told = Content::Outcome { manifest: plan.manifest, state: state.to_owned(), why, audit };
        if !matches!(timeout(TELL_WITHIN, guilds.tell(&plan.guild, others, told)).await, Ok(Ok(_))) {
            tracing::debug!(guild = %plan.guild, "the guild is not told what its witnesses' words came to");
        }
    }

    async fn await_commitments(
        &self,
        guilds: &Guilds,
        quorum: u32,
        (own, case, manifest): Matter<'_>,
        words: &mut mpsc::Receiver<Word>,
        early: &mut VecDeque<Early>,
    ) -> Result<Heard, TaskError> {
        let (plan, began) = (own.document(), Instant::now());
        let quorum = usize::try_from(quorum.max(1)).unwrap_or(usize::MAX);
        let mut heard = Heard::default();
        let mut until = began + manifest.document().limits.time() + WITNESS_WITHIN;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while heard.commitments.len() < plan.witnesses.len() {
            let (from, content, word) = if let Some((from, content)) = early.pop_front() {
                (from, content, None)
            } else {
                tokio::select! {
                    word = words.recv() => {
                        let word = word.ok_or(TaskError::Stopping)?;
                        (word.from.clone(), word.content.clone(), Some(word))
                    }
                    () = tokio::time::sleep_until(until) => break,
                    _ = look.tick() => {
                        // Who has left the guild is not waited for.
                        let state = guilds.get(&plan.guild);
                        let is_there = |who: &Did| {
                            state.as_ref().is_some_and(|state| state.members.iter().any(|m| m.did == *who))
                        };
                        let waits = |who: &&Did| !heard.has(who) && is_there(who);
                        if plan.witnesses.iter().find(waits).is_none() {
                            break;
                        }
                        continue;
                    }
                }
            };
            let taken = commitment(&from, &content, plan);
            if let Some(word) = word {
                answer(word, taken.as_ref().map(|_| None).map_err(Clone::clone));
            }
            let Ok(commitment) = taken else { continue };
            let before = heard.commitments.len();
            if commitment.document().receipt != *case.receipt.id() {
                heard.elsewhere.push(from);
            } else if !heard.has(&from) {
                heard.commitments.push(commitment);
            }
            if before < quorum && heard.commitments.len() >= quorum {
                until = until.min(Instant::now() + LATE + began.elapsed() * 4);
            }
        }
        Ok(heard)
    }

    /// What this node finds by running it itself: signed, but for what it has run before.
    async fn own_finding(&self, case: &Presented, reins: &Reins) -> Result<Verdict, TaskError> {
        if case.receipt.signer() != self.identity.did() {
            return Ok(self.look_into(case, Asked::ToSettle, reins).await?.0.attestation.verdict);
        }
        let (found, _) = self.examine(case, Asked::ToSettle, reins).await?;
        match found.verdict {
            Verdict::Unverifiable => Err(TaskError::Refused(found.grounds())),
            verdict => Ok(verdict),
        }
    }

    /// Asks all who have committed to say what they have found.
    async fn call_votes(
        &self,
        guilds: &Guilds,
        plan: &Agreement,
        commitments: &[Envelope<Commitment>],
    ) -> Vec<Envelope<Attestation>> {
        let all = commitments.iter().map(|commitment| Bytes(commitment.bytes().to_vec())).collect();
        let reveal = Content::Reveal { manifest: plan.manifest, commitments: all };
        let until = Instant::now() + REVEAL_WITHIN;
        let calls = commitments.iter().map(|commitment| {
            let call = self.call_vote(guilds, plan, commitment.signer(), reveal.clone());
            async { timeout_at(until, call).await.ok().flatten() }
        });
        join_all(calls).await.into_iter().flatten().collect()
    }

    async fn call_vote(
        &self,
        guilds: &Guilds,
        plan: &Agreement,
        who: &Did,
        reveal: Content,
    ) -> Option<Envelope<Attestation>> {
        loop {
            let told = guilds.tell(&plan.guild, vec![who.clone()], reveal.clone()).await;
            let said = told.map(|mut told| told.pop().map(|(_, said)| said));
            match said {
                Ok(Some(Ok(Some(Content::Attest { attestation, .. })))) => {
                    let opened =
                        self.storage.verified().open(&attestation).and_then(AnyEnvelope::attestation);
                    let opened = opened.ok().filter(|vote| vote.signer() == who);
                    if opened.is_none() {
                        tracing::info!(%who, "what a witness reveals is no attestation of its own");
                    }
                    return opened;
                }
                Ok(Some(Err(GuildError::Refused(refusal)))) if !is_passing(&refusal) => {
                    tracing::info!(%who, %refusal, "a witness does not reveal what it has found");
                    return None;
                }
                Ok(Some(Ok(_))) | Ok(None) => return None,
                Ok(Some(Err(error))) => tracing::debug!(%who, %error, "a witness is asked again"),
                Err(error) => {
                    tracing::debug!(%who, %error, "a witness is not asked");
                    return None;
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Who has said one thing in the guild and another outside, or two things outside, is no witness.
    async fn find_double_votes(
        &self,
        receipt: &Cid,
        votes: &[Envelope<Attestation>],
        tally: &mut Tally<'_>,
    ) -> Result<(), TaskError> {
        for known in self.storage.attestations_of(&receipt.to_string()).await? {
            if known.verdict == Verdict::Unverifiable {
                continue;
            }
            let noted = known.discounted.as_ref().is_some_and(|why| why.as_str() == TWICE);
            let other = |vote: &&Envelope<Attestation>| {
                *vote.signer() == known.witness && (noted || vote.id().to_string() != known.attestation_id)
            };
            if let Some(vote) = votes.iter().find(other) {
                tally.counted.retain(|counted| counted.signer() != vote.signer());
                let why = match vote.id().to_string() == known.attestation_id {
                    true => TWICE.to_owned(),
                    false => format!("{TWICE}; outside of the guild it says {}", known.verdict),
                };
                let attestation = Some(*vote.id());
                tally.faults.push(Fault { who: known.witness.clone(), attestation, why, silent: false });
            }
        }
        Ok(())
    }

    /// Stores what was said and what it comes to. Whoever calls it holds the task's lock `counting`.
    async fn settle(
        &self,
        record: &mut TaskRecord,
        (own, case, manifest): Matter<'_>,
        (commitments, votes): (&[Envelope<Commitment>], &[Envelope<Attestation>]),
        tally: &Tally<'_>,
        why: &[String],
    ) -> Result<Vec<Did>, TaskError> {
        let receipt = *case.receipt.id();
        let name = Untrusted::new(&manifest.document().name);
        let mut rows: Vec<Write> = Vec::new();
        let refuted = |id: &Cid| tally.refuted().any(|vote| vote.id() == id);
        for vote in votes {
            let fault = tally.faults.iter().find(|fault| fault.attestation.as_ref() == Some(vote.id()));
            let discounted = fault.map(|fault| fault.why.clone()).or_else(|| {
                refuted(vote.id())
                    .then(|| "whoever asked for the task has run it too, and it is not so".to_owned())
            });
            let (record, [document, _, event]) =
                attestation_rows(vote, name.clone(), discounted.as_deref().map(Untrusted::new));
            rows.push(document);
            if vote.document().receipt == receipt && case.given_for.is_none() {
                rows.extend([Write::Testimony(record), event]);
            }
        }
        let known = commitments.iter().cloned().map(AnyEnvelope::Commitment);
        rows.extend(evidence_rows(&receipt, [AnyEnvelope::Agreement(own.clone())].into_iter().chain(known)));
        let mut faulty: Vec<Did> = Vec::new();
        let faults = tally.faults.iter().map(|fault| (&fault.who, fault.why.clone(), !fault.silent));
        let lies = tally.refuted().map(|vote| {
            let finding = vote.document();
            let said = format!("it says {}, which is not so: {}", finding.verdict, finding.grounds());
            (&finding.witness, said, true)
        });
        for (who, why, blamed) in faults.chain(lies) {
            rows.push(self.step_by(who, Timestamp::now(), record, "discounted", Some(Untrusted::new(&why))));
            // Whoever has said nothing may have been told nothing.
            if blamed && own.document().witnesses.contains(who) && !faulty.contains(who) {
                faulty.push(who.clone());
            }
        }
        let said = Untrusted::new(&why.join("; "));
        match tally.outcome(record.quorum) {
            Outcome::Attested => {
                let names: Vec<String> =
                    tally.votes(Verdict::Agree).map(|vote| vote.signer().short()).collect();
                let said = format!("{} of {} agree: {}", names.len(), record.quorum, names.join(", "));
                rows.extend(self.turned(
                    record,
                    TaskState::Attested { receipt },
                    Some(Untrusted::new(&said)),
                ));
            }
            Outcome::Disputed => {
                rows.extend(self.turned(record, TaskState::Disputed { reason: said, receipt }, None));
            }
            Outcome::Unattested => {
                if record.quorum > 0 {
                    rows.push(self.step(record, "unattested", Some(said)));
                }
                rows.push(Write::Task(Box::new(record.clone())));
            }
        }
        self.write(rows).await?;
        Ok(faulty)
    }

    /// Keeps all that speaks for a disputed receipt and against it in a file of its own.
    pub(super) async fn open_dispute(&self, receipt: &Envelope<Receipt>, votes: &[Envelope<Attestation>]) {
        let opened = async {
            let mut documents = evidence(&self.storage, self.network.as_ref(), receipt).await?;
            for vote in votes.iter().cloned().map(AnyEnvelope::Attestation) {
                if !documents.contains(&vote) {
                    documents.push(vote);
                }
            }
            let lines = documents.iter().map(|document| Bundle::envelope_line(&document.text()));
            let text: String = lines.collect();
            Ok::<_, TaskError>(self.storage.keep_proof("disputes", &receipt.id().to_string(), text).await?)
        };
        match opened.await {
            Ok(path) => {
                let text = format!(
                    "receipt {} is disputed; what speaks for and against it is in {}",
                    receipt.id(),
                    path.display()
                );
                let event = Happening::Warning { text: Untrusted::new(&text) };
                if let Err(error) = self.write(vec![Write::Event(Timestamp::now(), event)]).await {
                    tracing::warn!(%error, "a dispute is not in the journal");
                }
            }
            Err(error) => {
                tracing::warn!(receipt = %receipt.id(), %error, "the bundle of a dispute is not written")
            }
        }
    }
}

/// Documents that belong to a receipt.
pub(super) fn evidence_rows(receipt: &Cid, documents: impl Iterator<Item = AnyEnvelope>) -> Vec<Write> {
    let documents: Vec<AnyEnvelope> = documents.collect();
    let ids = documents.iter().map(|document| *document.id()).collect();
    let evidence = Write::Evidence { receipt: *receipt, documents: ids };
    documents.into_iter().map(Write::Document).chain([evidence]).collect()
}

/// What a witness binds itself to.
fn commitment(from: &Did, content: &Content, plan: &Agreement) -> Result<Envelope<Commitment>, Refusal> {
    let Content::Commit { commitment, .. } = content else {
        return Err(invalid("commitments are waited for"));
    };
    let commitment = Envelope::<Commitment>::open(commitment).map_err(|error| invalid(&error.to_string()))?;
    if commitment.signer() != from || !plan.witnesses.contains(from) {
        return Err(invalid("a commitment by another, or by none of the witnesses"));
    }
    Ok(commitment)
}
