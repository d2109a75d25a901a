//! A task in somebody else's guild, from its proposal on: this node agrees, and runs it or witnesses it.

use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};

use super::attest::Asked;
use super::context::{Session, Word};
use super::execute::Material;
use super::life::Reins;
use super::{Context, TaskError};
use crate::document::{Agreement, AnyEnvelope, Content as Digest, Envelope, Manifest, Receipt, Untrusted};
use crate::execution::{Phase, Priority};
use crate::guild::{Action, Bytes, Content, GuildError, Guilds, KeyError, MemberState, Refusal, Role};
use crate::identity::Did;
use crate::storage::{Happening, Write};

/// How often a run's progress is told.
const PROGRESS: Duration = Duration::from_millis(250);
/// An output up to this goes with its receipt; a longer one is fetched.
const OUTPUT_INLINE: usize = 32 * 1024;
/// How long what was not taken waits before it is said again, and how often.
pub(super) const AGAIN: Duration = Duration::from_millis(500);
const TIMES: usize = 20;
/// A proposal that was agreed to and is not begun by then is none.
const BEGIN_WITHIN: Duration = Duration::from_secs(20);
/// What a receipt may take beyond the start and the run.
const MARGIN: Duration = Duration::from_secs(20);

/// What has been agreed to.
struct Plan {
    guild: Cid,
    manifest: Envelope<Manifest>,
    agreement: Agreement,
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
        let agreed = Envelope::sign(&self.identity, &plan.agreement)?;
        let part = if plan.agreement.executor == *self.identity.did() { "executor" } else { "witness" };
        let formed = Untrusted::new(&format!("guild {guild}, as {part}"));
        self.write(vec![
            Write::Document(AnyEnvelope::Manifest(plan.manifest.clone())),
            self.note(&plan.manifest, "guilded", Some(formed)),
            self.note(&plan.manifest, "agreed", None),
        ])
        .await?;
        answer(first, Ok(Some(Content::Agree(agreed.bytes().to_vec()))));
        if plan.agreement.executor != *self.identity.did() {
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
        let Content::Propose { executor, witnesses, .. } = &word.content else {
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
        if role(executor) != Some(Role::Executor) || !(runs || attests) || (runs && attests) {
            return Err(invalid("the parts are not given out as the roles are"));
        }
        let willing =
            self.promised().get(manifest.id()).map(|promise| promise.willing).or_else(|| self.would(terms));
        let willing = willing.ok_or(Refusal::NotOffered)?;
        if (runs && !willing.execute) || (attests && !willing.attest) {
            return Err(Refusal::NotOffered);
        }
        let agreement = Agreement {
            guild,
            manifest: *manifest.id(),
            executor: executor.clone(),
            witnesses: witnesses.clone(),
            member: me.clone(),
            agreed_at: Timestamp::now(),
        };
        Ok(Plan { guild, manifest, agreement })
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
        let to = plan.agreement.witnesses.iter().cloned().chain([creator]).collect();
        let (manifest, receipt) = (*plan.manifest.id(), receipt.bytes().to_vec());
        insist(guilds, &plan.guild, to, Content::Receipt { manifest, receipt, output }).await
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
        let guild = Some(plan.guild.to_string());
        let (receipt, receipt_rows, _output) = self.receipt(&plan.manifest, inputs, &outcome, guild).await?;
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

    /// The receipt of a plan, by the one that was to run it.
    pub(super) fn check_receipt(
        &self,
        receipt: &[u8],
        by: &Did,
        plan: &Agreement,
        manifest: &Envelope<Manifest>,
    ) -> Result<Envelope<Receipt>, Refusal> {
        let receipt = self.storage.verified().open(receipt).and_then(AnyEnvelope::receipt);
        let receipt = receipt.map_err(|error| invalid(&format!("the receipt does not hold: {error}")))?;
        let claim = receipt.document();
        if *by != plan.executor || *receipt.signer() != plan.executor {
            return Err(invalid("the receipt is not by the one that was to run the task"));
        }
        if claim.guild != Some(plan.guild.to_string()) {
            return Err(invalid("the receipt is of another guild"));
        }
        let fits = claim.fits(manifest.id(), manifest.document());
        fits.map_err(|faults| invalid(&format!("the receipt does not fit its manifest: {faults}")))?;
        Ok(receipt)
    }

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
        let receipt = loop {
            let word = timeout_at(until, words.recv()).await;
            let word = word.map_err(|_| TaskError::Refused("there was no receipt in time".to_owned()))?;
            let word = word.ok_or(TaskError::Stopping)?;
            let Content::Receipt { receipt, .. } = &word.content else {
                answer(word, Err(invalid("a receipt is waited for")));
                continue;
            };
            match self.check_receipt(receipt, &word.from, &plan.agreement, &plan.manifest) {
                Ok(receipt) => {
                    answer(word, Ok(None));
                    break receipt;
                }
                Err(refusal) => answer(word, Err(refusal)),
            }
        };
        let (_, envelope) = self.look_into(receipt, Asked::InGuild, reins).await?;
        let creator = plan.manifest.document().creator.clone();
        let (manifest, attestation) = (*plan.manifest.id(), envelope.bytes().to_vec());
        insist(guilds, &plan.guild, vec![creator], Content::Attest { manifest, attestation }).await
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
        let same = opened.iter().all(|agreed| agreed.document().is_to_the_same_as(&self.agreement));
        if !same || *by != self.manifest.document().creator {
            return Err(invalid("the agreements are to something else"));
        }
        for party in self.agreement.parties().chain([by]) {
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
