//! A task in somebody else's guild, from its proposal on: this node agrees, and runs it or witnesses it.

use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::context::{Session, Word};
use super::execute::Material;
use super::life::Reins;
use super::{Context, Hosted, TaskError};
use crate::document::{Agreement, AnyEnvelope, Content as Digest, Envelope, Manifest, Receipt, Untrusted};
use crate::execution::{OUTPUT_TOLD, Phase, Priority, Progress};
use crate::guild::{Action, Bytes, Content, GuildError, Guilds, KeyError, MemberState, Refusal, Role};
use crate::identity::Did;
use crate::storage::{Happening, TaskRecord, TaskState, Write, short_id};

/// How often a run's progress is told.
const PROGRESS: Duration = Duration::from_millis(250);
/// An output up to this goes with its receipt; a longer one is fetched.
pub(super) const OUTPUT_INLINE: usize = 32 * 1024;
/// How long what was not taken waits before it is said again, and how often.
pub(super) const AGAIN: Duration = Duration::from_millis(500);
const TIMES: usize = 20;
/// A proposal that was agreed to and is not begun by then is none.
const BEGIN_WITHIN: Duration = Duration::from_secs(20);

/// What has been agreed to.
pub(super) struct Plan {
    pub(super) guild: Cid,
    pub(super) manifest: Envelope<Manifest>,
    pub(super) agreed: Agreement,
    /// The same as this node has signed it.
    pub(super) own: Envelope<Agreement>,
    /// When; nothing of it can have been run before.
    pub(super) since: Instant,
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
        let formed = Untrusted::new(&format!("guild {}, as {part}", short_id(&guild.to_string())));
        let mut rows = vec![
            Write::Document(AnyEnvelope::Manifest(plan.manifest.clone())),
            self.note(&plan.manifest, "guilded", Some(formed)),
            self.note(&plan.manifest, "agreed", None),
        ];
        if runs {
            // Its receipt will name it.
            rows.push(Write::Document(AnyEnvelope::Agreement(plan.own.clone())));
        }
        self.write(rows).await?;
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

        if terms.creator != *self.identity.did() {
            let hosted = Hosted { record: self.row_of(plan), manifest: terms.clone() };
            reins.hosted.get_or_init(|| Arc::new(hosted));
        }
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
                    let seen = progress.borrow().clone();
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
                            output: Untrusted::lines(&String::from_utf8_lossy(&seen.output), OUTPUT_TOLD),
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
        // It runs no more, whatever handing it over takes.
        reins.progress.send_replace(Progress::default());
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

    /// How a task of another stands that is run here.
    fn row_of(&self, plan: &Plan) -> TaskRecord {
        let (terms, now) = (plan.manifest.document(), Timestamp::now());
        TaskRecord {
            task_id: terms.task_id.clone(),
            manifest_id: plan.manifest.id().to_string(),
            name: Untrusted::new(&terms.name),
            creator: terms.creator.clone(),
            executor: Some(self.identity.did().clone()),
            guild_id: Some(plan.guild.to_string()),
            within: None,
            candidates: Vec::new(),
            audit: None,
            state: TaskState::Running,
            quorum: terms.attestation.quorum,
            created_at: terms.created_at,
            updated_at: now,
            expires_at: terms.expires_at,
        }
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
