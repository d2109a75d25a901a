//! A task in somebody else's guild, from its proposal on: this node agrees, and runs it or witnesses it.

use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};

use super::attest::{Asked, Presented, attestation_rows, name_of};
use super::context::{Session, Word};
use super::execute::{Material, receipt_rows};
use super::guilded::WITNESS_WITHIN;
use super::life::Reins;
use super::{Context, TaskError, audit};
use crate::document::{
    Agreement, AnyEnvelope, Attestation, Commitment, Content as Digest, Envelope, Manifest, Receipt,
    Untrusted, duration_text,
};
use crate::execution::{Phase, Priority};
use crate::guild::{Action, Bytes, Content, GuildError, Guilds, KeyError, MemberState, Refusal, Role};
use crate::identity::Did;
use crate::storage::{Happening, Write};

/// How often a run's progress is told.
const PROGRESS: Duration = Duration::from_millis(250);
/// An output up to this goes with its receipt; a longer one is fetched.
pub(super) const OUTPUT_INLINE: usize = 32 * 1024;
/// How long what was not taken waits before it is said again, and how often.
pub(super) const AGAIN: Duration = Duration::from_millis(500);
const TIMES: usize = 20;
/// A proposal that was agreed to and is not begun by then is none.
const BEGIN_WITHIN: Duration = Duration::from_secs(20);
/// Whose answer was lost asks again within this.
const LINGER: Duration = Duration::from_secs(3);
/// What a receipt may take beyond the start and the run.
const MARGIN: Duration = Duration::from_secs(20);

/// An executor's clock may be set while it runs something, but not by much.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(2);

/// What has been agreed to.
struct Plan {
    guild: Cid,
    manifest: Envelope<Manifest>,
    agreed: Agreement,
    /// The same as this node has signed it.
    own: Envelope<Agreement>,
    /// When; nothing of it can have been run before.
    since: Instant,
}

impl Context {
    /// Does this node's part, and ends with it, or with the guild.
    pub(super) async fn take_part(
        self: Arc<Self>,
        guild: Cid,
        (first, manifest): (Word, Envelope<Manifest>),
        (own, words): (Session, mpsc::Receiver<Word>),
        reins: Reins,
    ) {
        let Some(guilds) = self.guilds.clone() else { return };
        let (cancel, shutdown) = (reins.cancel.clone(), reins.shutdown.clone());
        let place = (guild, *manifest.id());
        let part = self.part(&guilds, guild, (first, manifest), words, &reins);
        let done = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            () = over(&guilds, &guild, &own.creator) => Ok(()),
            () = own.withdrawn.cancelled() => Err(TaskError::Refused("its creator has withdrawn it".to_owned())),
            done = part => done,
        };
        // Whatever of it still runs here ends with the guild.
        cancel.cancel();
        if let Err(error) = done {
            tracing::info!(%guild, %error, "a task of another came to nothing here");
        }
        self.end_session(&place, &own.words);
    }

    async fn part(
        &self,
        guilds: &Guilds,
        guild: Cid,
        (first, manifest): (Word, Envelope<Manifest>),
        mut words: mpsc::Receiver<Word>,
        reins: &Reins,
    ) -> Result<(), TaskError> {
        let plan = match self.weigh(guilds, guild, &first, manifest) {
            Ok(plan) => plan,
            Err(refusal) => {
                let why = refusal.to_string();
                answer(first, Err(refusal));
                return Err(TaskError::Refused(why));
            }
        };
        let runs = plan.agreed.executor == *self.identity.did();
        let part = if runs { "executor" } else { "witness" };
        let formed = Untrusted::new(&format!("guild {guild}, as {part}"));
        self.write(vec![
            Write::Document(AnyEnvelope::Manifest(plan.manifest.clone())),
            Write::Document(AnyEnvelope::Agreement(plan.own.clone())),
            self.note(&plan.manifest, "guilded", Some(formed)),
            self.note(&plan.manifest, "agreed", None),
        ])
        .await?;
        answer(first, Ok(Some(Content::Agree(plan.own.bytes().to_vec()))));
        if !runs {
            return self.witness(guilds, &plan, words, reins).await;
        }
        timeout(BEGIN_WITHIN, begun(&plan, &mut words))
            .await
            .map_err(|_| TaskError::Refused("it was not begun in time".to_owned()))??;
        self.run_for(guilds, &plan, reins).await
    }

    /// The manifest that is proposed, where it is of whoever proposes it.
    pub(super) fn proposed(&self, id: &Cid, word: &Word) -> Result<Envelope<Manifest>, Refusal> {
        let Content::Propose { envelope, .. } = &word.content else {
            return Err(invalid("nothing was proposed"));
        };
        let wrong = |why: String| Refusal::WrongManifest(Untrusted::new(&why));
        let opened = self.storage.verified().open(envelope).and_then(AnyEnvelope::manifest);
        let manifest = opened.map_err(|error| wrong(error.to_string()))?;
        if manifest.id() != id {
            return Err(wrong(format!("it is {}, and {id} is proposed", manifest.id())));
        }
        let creator = &manifest.document().creator;
        if *creator != word.from {
            return Err(wrong(format!("it is of {creator}, who does not propose it")));
        }
        Ok(manifest)
    }

    /// Whether this node takes part as it is proposed.
    fn weigh(
        &self,
        guilds: &Guilds,
        guild: Cid,
        word: &Word,
        manifest: Envelope<Manifest>,
    ) -> Result<Plan, Refusal> {
        let Content::Propose { executor, witnesses, draw, .. } = &word.content else {
            return Err(invalid("nothing was proposed"));
        };
        let (terms, me) = (manifest.document(), self.identity.did());
        let wrong = |why: String| Refusal::WrongManifest(Untrusted::new(&why));
        if terms.expires_at <= Timestamp::now() {
            return Err(wrong(format!("it expired at {}", terms.expires_at)));
        }
        let state = guilds.get(&guild).ok_or(Refusal::NoSuchGuild)?;
        let role =
            |who: &Did| state.members.iter().find(|member| member.did == *who).map(|member| member.role);
        if let Some(stranger) = witnesses.iter().chain([executor]).find(|who| role(who).is_none()) {
            return Err(Refusal::NotIn(stranger.clone()));
        }
        let (own, action) = (state.role, Action::Agree);
        if !own.may(action) {
            return Err(Refusal::NotPermitted { role: own, action });
        }
        let (runs, attests) = (executor == me, witnesses.contains(me));
        // Whoever forms a guild may run its own task in it, and have it witnessed.
        let own_run = *executor == word.from && role(executor) == Some(Role::Creator);
        let assigned = own_run || role(executor) == Some(Role::Executor);
        if !assigned || !(runs || attests) || (runs && attests) {
            return Err(invalid("the parts are not given out as the roles are"));
        }
        let willing =
            self.promised().get(manifest.id()).map(|promise| promise.willing).or_else(|| self.would(terms));
        let willing = willing.ok_or(Refusal::NotOffered)?;
        if (runs && !willing.execute) || (attests && !willing.attest) {
            return Err(Refusal::NotOffered);
        }
        let wanted = usize::try_from(terms.attestation.witnesses).unwrap_or(usize::MAX);
        if witnesses.len() != wanted.min(draw.pool.len()) {
            return Err(invalid("there are not as many witnesses as the manifest asks for"));
        }
        if runs {
            self.check_draw(&word.from, manifest.id(), draw)?;
        }
        if !draw.gives(manifest.id(), executor, witnesses.len(), witnesses) {
            return Err(invalid("the witnesses are not those that the draw gives"));
        }
        let agreed = Agreement {
            guild,
            manifest: *manifest.id(),
            executor: executor.clone(),
            witnesses: witnesses.clone(),
            draw: Some(draw.clone()),
            member: me.clone(),
            agreed_at: Timestamp::now(),
        };
        let draw = if runs { agreed.draw.clone() } else { None };
        let own = Envelope::sign(&self.identity, &Agreement { draw, ..agreed.clone() });
        let own = own.map_err(|error| invalid(&error.to_string()))?;
        Ok(Plan { guild, manifest, agreed, own, since: Instant::now() })
    }

    async fn run_for(&self, guilds: &Guilds, plan: &Plan, reins: &Reins) -> Result<(), TaskError> {
        let creator = plan.manifest.document().creator.clone();
        let ran = self.run_to_receipt(guilds, plan, &creator, reins).await;
        let (receipt, output) = match ran {
            Ok(ran) => ran,
            Err(error) => {
                let reason = error.to_string();
                let step = self.note(&plan.manifest, "failed", Some(Untrusted::new(&reason)));
                self.write(vec![step]).await?;
                let fail = Content::Fail { manifest: *plan.manifest.id(), reason };
                insist(guilds, &plan.guild, vec![creator], fail).await?;
                return Err(error);
            }
        };
        let output = (output.len() <= OUTPUT_INLINE).then_some(Bytes(output));
        let to = plan.agreed.witnesses.iter().cloned().chain([creator]).collect();
        let (manifest, receipt) = (*plan.manifest.id(), receipt.bytes().to_vec());
        let agreement = Bytes(plan.own.bytes().to_vec());
        insist(guilds, &plan.guild, to, Content::Receipt { manifest, receipt, agreement, output }).await
    }

    async fn run_to_receipt(
        &self,
        guilds: &Guilds,
        plan: &Plan,
        creator: &Did,
        reins: &Reins,
    ) -> Result<(Envelope<Receipt>, Vec<u8>), TaskError> {
        let terms = plan.manifest.document();
        let likely = [creator.peer_id()];
        let (module, lease, from) = self.find_module(terms, &likely).await?;
        let (stdin, hold) = self.find_stdin(terms, &likely).await?;
        let inputs = Digest::of(&stdin);
        let from = from.unwrap_or_else(|| "the own store".to_owned());
        let fetched = Untrusted::new(&format!("artifact {} from {from}", terms.artifact.cid));
        let mut rows = vec![self.note(&plan.manifest, "fetched", Some(fetched))];
        let mut seen_running = false;
        let material = Material { module, stdin, _lease: lease, _hold: hold };

        let progress = reins.progress.subscribe();
        let run = self.execute(terms, material, &likely, Priority::Task, reins);
        tokio::pin!(run);
        let mut look = tokio::time::interval(PROGRESS);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.reset();
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut run => break outcome?,
                _ = look.tick() => {
                    let seen = *progress.borrow();
                    if seen.phase == Phase::Running {
                        if !seen_running {
                            seen_running = true;
                            rows.push(self.note(&plan.manifest, "running", None));
                            self.write(std::mem::take(&mut rows)).await?;
                        }
                        let told = Content::Progress {
                            manifest: *plan.manifest.id(),
                            fuel_used: seen.fuel_used,
                            memory_bytes: seen.memory_bytes,
                            output_bytes: seen.output_bytes,
                            elapsed_ms: u64::try_from(seen.elapsed.as_millis()).unwrap_or(u64::MAX),
                        };
                        let told = guilds.tell(&plan.guild, vec![creator.clone()], told);
                        // The run goes on meanwhile.
                        tokio::select! {
                            biased;
                            outcome = &mut run => break outcome?,
                            told = told => if let Err(error) = told {
                                tracing::debug!(%error, "progress is not told");
                            },
                        }
                    }
                }
            }
        };
        let (receipt, receipt_rows, _output) =
            self.receipt(&plan.manifest, inputs, &outcome, Some(&plan.own)).await?;
        let claim = receipt.document();
        let said = format!("{} {} for {}", receipt.id(), claim.status, claim.cost.total_micro);
        if !seen_running {
            rows.push(self.note_at(outcome.started_at, &plan.manifest, "running", None));
        }
        rows.extend(receipt_rows);
        rows.push(self.note(&plan.manifest, "receipted", Some(Untrusted::new(&said))));
        self.write(rows).await?;
        Ok((receipt, outcome.stdout))
    }

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
        let agreement = Envelope::<Agreement>::open(agreement).ok().filter(|agreement| {
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
    async fn witness(
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
        let (vote, known) = self.pledge(&case, reins).await?;
        let (id, receipt) = (*case.receipt.id(), *case.receipt.id());
        let me = self.identity.did().clone();
        let commitment = Commitment::to(vote.id(), receipt, me, Timestamp::now());
        let commitment = Envelope::sign(&self.identity, &commitment)?;
        let creator = plan.manifest.document().creator.clone();
        let (manifest, bytes) = (*plan.manifest.id(), commitment.bytes().to_vec());
        let told =
            insist(guilds, &plan.guild, vec![creator], Content::Commit { manifest, commitment: bytes });
        let told = told.await;
        let revealed = match told {
            Ok(()) => self.reveal(plan, &case, &vote, (&commitment, agreement), known, &mut words).await,
            Err(error) => Err(error),
        };
        self.pledged().remove(&id);
        revealed
    }

    /// Says what it has bound itself to, when the others have bound themselves as well; and hears what comes of it.
    async fn reveal(
        &self,
        plan: &Plan,
        case: &Presented,
        vote: &Envelope<Attestation>,
        (commitment, agreement): (&Envelope<Commitment>, Option<Envelope<Agreement>>),
        known: bool,
        words: &mut mpsc::Receiver<Word>,
    ) -> Result<(), TaskError> {
        let mut until = Instant::now() + plan.manifest.document().limits.time() + WITNESS_WITHIN + MARGIN;
        let mut said = false;
        loop {
            let Ok(word) = timeout_at(until, words.recv()).await else {
                let why = "it was not asked what it had found";
                return if said { Ok(()) } else { Err(TaskError::Refused(why.to_owned())) };
            };
            let word = word.ok_or(TaskError::Stopping)?;
            match &word.content {
                Content::Reveal { commitments, .. } if word.from == plan.manifest.document().creator => {
                    let among = |Bytes(bytes): &Bytes| bytes.as_slice() == &commitment.bytes()[..];
                    if !commitments.iter().any(among) {
                        answer(word, Err(invalid("this node's commitment is not among them")));
                        continue;
                    }
                    if !std::mem::replace(&mut said, true) {
                        self.store_testimony(plan, case, vote, (commitment, agreement.clone()), known)
                            .await?;
                    }
                    let (manifest, attestation) = (*plan.manifest.id(), vote.bytes().to_vec());
                    answer(word, Ok(Some(Content::Attest { manifest, attestation })));
                    until = Instant::now() + LINGER;
                }
                Content::Outcome { .. } => {
                    if self.hear_outcome(plan.manifest.id(), word).await && said && case.given_for.is_none() {
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
    ) -> Result<(Envelope<Attestation>, bool), TaskError> {
        let (id, claim) = (*case.receipt.id(), case.receipt.document());
        let (mut attestation, _) = self.examine(case, Asked::InGuild, reins).await?;
        attestation.salt = Some(hex::encode(self.random()?));
        let _once = self.signing.lock(&id.to_string()).await;
        if case.given_for.is_none() {
            let before = self.storage.standing(&id, &claim.task_id).await?;
            if let Some((_, known)) = self.own_vote(&before.votes).await? {
                return Ok((known, true));
            }
        }
        self.pledged().insert(id);
        Ok((Envelope::sign(&self.identity, &attestation)?, false))
    }

    async fn store_testimony(
        &self,
        plan: &Plan,
        case: &Presented,
        vote: &Envelope<Attestation>,
        (commitment, agreement): (&Envelope<Commitment>, Option<Envelope<Agreement>>),
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
        rows.push(Write::Document(AnyEnvelope::Commitment(commitment.clone())));
        rows.extend(agreement.map(AnyEnvelope::Agreement).map(Write::Document));
        Ok(self.write(rows).await?)
    }

    pub(super) fn note(&self, manifest: &Envelope<Manifest>, step: &str, detail: Option<Untrusted>) -> Write {
        self.note_at(Timestamp::now(), manifest, step, detail)
    }

    fn note_at(
        &self,
        at: Timestamp,
        manifest: &Envelope<Manifest>,
        step: &str,
        detail: Option<Untrusted>,
    ) -> Write {
        let terms = manifest.document();
        let what = Happening::Task {
            task_id: terms.task_id.clone(),
            name: Untrusted::new(&terms.name),
            step: step.to_owned(),
            node: self.identity.did().clone(),
            detail,
        };
        Write::Event(at, what)
    }
}

impl Plan {
    /// Whether all have agreed: the executor, the witnesses, and whoever begins it.
    fn is_agreed(&self, agreements: &[Bytes], by: &Did) -> Result<(), Refusal> {
        let opened = agreements.iter().map(|Bytes(bytes)| Envelope::<Agreement>::open(bytes));
        let opened = opened.collect::<Result<Vec<_>, _>>();
        let opened = opened.map_err(|error| invalid(&format!("an agreement does not hold: {error}")))?;
        let plan = &self.agreed;
        let same = opened.iter().all(|agreed| agreed.document().is_to_the_same_as(plan));
        if !same || *by != self.manifest.document().creator {
            return Err(invalid("the agreements are to something else"));
        }
        for party in plan.parties().chain([by]) {
            if !opened.iter().any(|agreed| agreed.signer() == party) {
                return Err(invalid(&format!("{party} has not agreed")));
            }
        }
        Ok(())
    }
}

/// Waits until all have agreed, and the creator says so.
async fn begun(plan: &Plan, words: &mut mpsc::Receiver<Word>) -> Result<(), TaskError> {
    loop {
        let word = words.recv().await.ok_or(TaskError::Stopping)?;
        let Content::Begin { agreements, .. } = &word.content else {
            answer(word, Err(invalid("nothing was begun")));
            continue;
        };
        let held = plan.is_agreed(agreements, &word.from);
        let begun = held.is_ok();
        answer(word, held.map(|()| None));
        if begun {
            return Ok(());
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
    let agreed_at = agreement.document().agreed_at;
    if claim.started_at < agreed_at.saturating_sub(CLOCK_STEP).unwrap_or(Timestamp::MIN) {
        return Some(format!("started_at: {}, before it was agreed to at {agreed_at}", claim.started_at));
    }
    let passed = since.elapsed();
    (claim.duration() > passed).then(|| {
        let (claimed, passed) = (duration_text(claim.duration()), duration_text(passed));
        format!("duration: {claimed} where only {passed} have passed since it was agreed to")
    })
}

pub(super) fn invalid(why: &str) -> Refusal {
    Refusal::Invalid(Untrusted::new(why))
}

/// Answers something that was said, if whoever said it still waits.
pub(super) fn answer(word: Word, said: crate::guild::Said) {
    if word.reply.send(said).is_err() {
        tracing::trace!("whoever said it did not wait for the answer");
    }
}

/// Ends when a guild does, or when somebody may not propose in it any more.
async fn over(guilds: &Guilds, guild: &Cid, proposer: &Did) {
    let Some(mut state) = guilds.watch(guild) else { return };
    loop {
        let known = Arc::clone(&state.borrow_and_update());
        // A member that has started again knows nobody until its creator has told it.
        let may = |member: &MemberState| member.did == *proposer && member.role.may(Action::Propose);
        if (known.inside && !known.members.iter().any(may)) || state.changed().await.is_err() {
            return;
        }
    }
}

/// Whether it may be taken when it is said again.
pub(super) fn is_passing(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::NotReached(_) | Refusal::Busy | Refusal::Key(KeyError::OtherEpoch { .. }))
}

/// Says something until it has been heard: by each, or so many times.
pub(super) async fn insist(
    guilds: &Guilds,
    guild: &Cid,
    mut to: Vec<Did>,
    content: Content,
) -> Result<(), TaskError> {
    for _ in 0..TIMES {
        let told = guilds.tell(guild, std::mem::take(&mut to), content.clone()).await?;
        for (who, said) in told {
            match said {
                Ok(_) => {}
                Err(GuildError::Refused(refusal)) if !is_passing(&refusal) => {
                    tracing::info!(%guild, %who, %refusal, "not taken");
                }
                Err(error) => {
                    tracing::debug!(%guild, %who, %error, "not heard");
                    to.push(who);
                }
            }
        }
        if to.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(AGAIN).await;
    }
    Ok(())
}
