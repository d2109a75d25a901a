//! An own task in a guild: those who offered are weighed, some of them form a guild, agree, and do it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout};

use super::attest::Presented;
use super::context::{Session, Tried};
use super::life::Reins;
use super::member::{AGAIN, OUTPUT_INLINE, insist, is_passing};
use super::select::{Choice, are_only_enough_to_witness, pick, pick_witnesses};
use super::{Context, TaskError};
use crate::config::Admit;
use crate::document::{Agreement, AnyEnvelope, Charter, Envelope, Manifest, Untrusted};
use crate::execution::ExecutionError;
use crate::guild::{
    Action, Answers, Bytes, Content, Formed, Founding, GuildError, Guilds, Offer, Refusal, Role,
};
use crate::identity::Did;
use crate::storage::{Candidate, TaskRecord, TaskState, Write, short_id};

/// Offers to one task that are weighed.
pub(super) const OFFERS: usize = 128;
/// Words that wait for a task's life.
const WORDS: usize = 64;
/// Who is tried one after the other as the executor.
const TRIES: usize = 3;
/// What a run may take beyond its limit: the way there and back, and the signing.
pub(super) const MARGIN: Duration = Duration::from_secs(10);
/// Witnesses have so long beyond the task's own time.
pub(super) const WITNESS_WITHIN: Duration = Duration::from_secs(30);
/// How long a task that is given up waits until all have heard it.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(2);
const NAME_MAX: usize = 64;

/// Who is to do it, who failed before, and this task's place among those under way.
type Try<'a> = (&'a Choice, &'a [Candidate], &'a mut Option<OwnedSemaphorePermit>);

/// Why a try came to nothing, and by whom.
pub(super) struct Failed {
    pub(super) who: Vec<Did>,
    pub(super) why: String,
}

impl Context {
    /// Has others do it. `false` when there is nobody who would.
    pub(super) async fn by_others(
        &self,
        record: &mut TaskRecord,
        manifest: &Envelope<Manifest>,
        reins: &Reins,
    ) -> Result<bool, TaskError> {
        let Some(guilds) = self.guilds.clone() else { return Ok(false) };
        // A guild that was formed for it at an earlier start of this node was dissolved with it.
        record.guild_id = None;
        let cancelled = || TaskError::Execution(ExecutionError::Cancelled);
        let place = Arc::clone(&self.under_way).acquire_owned();
        let place = reins.cancel.run_until_cancelled(place).await.ok_or_else(cancelled)?;
        let mut place = Some(place.map_err(|_| TaskError::Stopping)?);
        let (sender, mut offers) = mpsc::channel(OFFERS);
        self.offers().insert(*manifest.id(), sender);
        let done = self.have_done(&guilds, record, manifest, (&mut offers, &mut place), reins).await;
        self.offers().remove(manifest.id());
        done
    }

    async fn have_done(
        &self,
        guilds: &Guilds,
        record: &mut TaskRecord,
        manifest: &Envelope<Manifest>,
        (offers, place): (&mut mpsc::Receiver<Offer>, &mut Option<OwnedSemaphorePermit>),
        reins: &Reins,
    ) -> Result<bool, TaskError> {
        let terms = manifest.document().attestation;
        let [wanted, quorum] =
            [terms.witnesses, terms.quorum].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let cancelled = || TaskError::Execution(ExecutionError::Cancelled);
        let (mut failed, mut last) = (Vec::<Candidate>::new(), String::new());
        for _ in 0..TRIES {
            if manifest.document().expires_at <= Timestamp::now() {
                return Err(TaskError::Expired("it expired before it was run".to_owned()));
            }
            let known = if let Some(guild) = &record.within {
                let ready = self.await_guild(guild, &failed);
                reins.cancel.run_until_cancelled(ready).await.ok_or_else(cancelled)??
            } else {
                // Who offered before offers again: each offer is good for one guild.
                while offers.try_recv().is_ok() {}
                self.announce(&AnyEnvelope::Manifest(manifest.clone())).await;
                let gathering = self.gather(offers, manifest.document(), &failed, wanted);
                reins.cancel.run_until_cancelled(gathering).await.ok_or_else(cancelled)?
            };
            let self_execute = self.policy.self_execute && record.within.is_none();
            let weighed = self.weighed(&known);
            let witnesses = known.iter().filter(|offer| offer.attest).count();
            let audits = record.audit.is_some() && witnesses >= quorum.max(1);
            let picked = if audits || (self_execute && are_only_enough_to_witness(&known, quorum)) {
                // Each of them as the executor would leave too few to witness the task.
                let me =
                    Offer { from: self.identity.did().clone(), execute: true, attest: false, key: [0; 32] };
                pick_witnesses(&weighed, me, wanted)
            } else if record.audit.is_some() {
                break;
            } else if let Some(picked) = pick(&weighed, wanted) {
                picked
            } else {
                break;
            };
            let tried = match self.draw(guilds, manifest, &picked, wanted).await {
                Ok(draw) => {
                    let choice = picked.drawn(draw, manifest.id(), wanted);
                    self.attempt(guilds, record, manifest, (&choice, &failed, place), reins).await?
                }
                Err(error) => {
                    let why = format!("took no part in the draw of the witnesses: {error}");
                    Err(Failed { who: vec![picked.executor.from], why })
                }
            };
            let Err(Failed { who, why }) = tried else { return Ok(true) };
            let reason = Untrusted::new(&why);
            last = format!(": it {reason}");
            self.write(vec![self.step(record, "candidate-failed", Some(reason.clone()))]).await?;
            if who.is_empty() && record.within.is_some() {
                // Something that passes; there may be nobody else.
                let pause = tokio::time::sleep(AGAIN);
                reins.cancel.run_until_cancelled(pause).await.ok_or_else(cancelled)?;
            }
            for did in who {
                failed.push(Candidate { did, part: "failed".to_owned(), reason: reason.clone() });
            }
        }
        record.candidates = failed;
        if record.within.is_some() {
            let why = "nobody in the guild who may run it (role executor) has done so";
            return Err(TaskError::Refused(format!("{why}{last}")));
        }
        Ok(false)
    }

    /// Whether this node may propose a task in a guild.
    pub(super) fn may_propose(&self, guild: &Cid) -> Result<(), TaskError> {
        let state = self.guilds.as_ref().and_then(|guilds| guilds.get(guild));
        let state = state.ok_or_else(|| GuildError::NotHere(Untrusted::new(&guild.to_string())))?;
        let (role, action) = (state.role, Action::Propose);
        let refusal = if !state.inside {
            Refusal::NotIn(self.identity.did().clone())
        } else if !role.may(action) {
            Refusal::NotPermitted { role, action }
        } else {
            return Ok(());
        };
        Err(GuildError::from(refusal).into())
    }

    async fn attempt(
        &self,
        guilds: &Guilds,
        record: &mut TaskRecord,
        manifest: &Envelope<Manifest>,
        (choice, failed, place): Try<'_>,
        reins: &Reins,
    ) -> Result<Result<(), Failed>, TaskError> {
        let parties: Vec<Did> =
            choice.witnesses.iter().chain([&choice.executor]).map(|offer| offer.from.clone()).collect();
        let parties: Vec<Did> = parties.into_iter().filter(|who| who != self.identity.did()).collect();
        parties.iter().for_each(|who| self.note_try(who, |tried| tried.busy += 1));
        let tried = self.attempt_with(guilds, record, manifest, (choice, failed, place), reins).await;
        parties.iter().for_each(|who| self.note_try(who, |tried| tried.busy = tried.busy.saturating_sub(1)));
        match &tried {
            Ok(Ok(faulty)) => {
                // A receipt that others do not agree with is no work done.
                let doubted = match record.state {
                    TaskState::Disputed { .. } => true,
                    TaskState::Receipted { .. } => record.quorum > 0,
                    _ => false,
                };
                let note = |tried: &mut Tried| if doubted { tried.failed += 1 } else { tried.done += 1 };
                self.note_try(&choice.executor.from, note);
                for witness in &choice.witnesses {
                    let failed = faulty.contains(&witness.from);
                    self.note_try(
                        &witness.from,
                        |tried| if failed { tried.failed += 1 } else { tried.done += 1 },
                    );
                }
            }
            Ok(Err(Failed { who, .. })) => {
                who.iter().for_each(|who| self.note_try(who, |tried| tried.failed += 1));
            }
            Err(_) => {}
        }
        Ok(tried?.map(drop))
    }

    async fn attempt_with(
        &self,
        guilds: &Guilds,
        record: &mut TaskRecord,
        manifest: &Envelope<Manifest>,
        (choice, failed, place): Try<'_>,
        reins: &Reins,
    ) -> Result<Result<Vec<Did>, Failed>, TaskError> {
        let terms = manifest.document();
        record.candidates = choice.candidates.iter().chain(failed).cloned().collect();
        record.executor = Some(choice.executor.from.clone());
        let (me, left) = (self.identity.did(), terms.expires_at.duration_since(Timestamp::now()));
        let seats = choice.witnesses.iter().map(|offer| (Role::Member, offer.clone()));
        let own_run = choice.executor.from == *me;
        let runs = (!own_run).then(|| (Role::Executor, choice.executor.clone()));
        let members: Vec<(Role, Offer)> = runs.into_iter().chain(seats).collect();
        let propose = Content::Propose {
            manifest: *manifest.id(),
            envelope: manifest.bytes().to_vec(),
            executor: choice.executor.from.clone(),
            witnesses: choice.witnesses.iter().map(|offer| offer.from.clone()).collect(),
            draw: choice.draw.clone(),
        };
        let parties: Vec<Did> = members.iter().map(|(_, offer)| offer.from.clone()).collect();
        let within = record.within;
        let (guild, answers) = match &within {
            Some(guild) => (*guild, guilds.tell(guild, parties.clone(), propose).boxed()),
            None => {
                let name = terms.name.get(..terms.name.floor_char_boundary(NAME_MAX));
                let founding = Founding {
                    name: name.unwrap_or_default().to_owned(),
                    ttl: left.clamp(SignedDuration::from_secs(1), lasts(terms)),
                    capacity: u32::try_from(members.len() + 1).unwrap_or(u32::MAX),
                    admit: Admit::Invite,
                };
                let Formed { id, answers } = guilds.form(founding, &members, &propose).await?;
                let answers = async { answers.await.unwrap_or(Err(Refusal::Over.into())) };
                (id, answers.boxed() as BoxFuture<'_, Result<Answers, GuildError>>)
            }
        };
        let (sender, mut words) = mpsc::channel(WORDS);
        let here = (guild, *manifest.id());
        self.sessions().insert(here, Session::new(sender.clone(), me.clone()));
        let mut early = VecDeque::new();
        let sitting = async {
            let offered = format!("{} offered", choice.candidates.len());
            let said = format!(
                "guild {}: executor {}, witnesses {}",
                short_id(&guild.to_string()),
                choice.executor.from.short(),
                names(choice.witnesses.iter().map(|offer| &offer.from)),
            );
            (record.state, record.updated_at) = (TaskState::Guilded, Timestamp::now());
            record.guild_id = Some(guild.to_string());
            let mut rows = vec![
                self.step(record, "offered", Some(Untrusted::new(&offered))),
                self.step(record, "guilded", Some(Untrusted::new(&said))),
            ];
            let plan = Agreement {
                guild,
                manifest: *manifest.id(),
                executor: choice.executor.from.clone(),
                witnesses: choice.witnesses.iter().map(|offer| offer.from.clone()).collect(),
                draw: Some(choice.draw.clone()),
                member: me.clone(),
                agreed_at: Timestamp::now(),
            };
            let answers = match answers.await {
                Ok(answers) => answers,
                Err(GuildError::Refused(Refusal::Over)) => {
                    return Ok(Err(Failed { who: Vec::new(), why: "the guild is over".to_owned() }));
                }
                Err(error) => return Err(error.into()),
            };
            let agreements = match self.agreed(&plan, answers, within.is_some()) {
                Ok(agreements) => agreements,
                Err(failed) => {
                    rows.push(Write::Task(Box::new(record.clone())));
                    self.write(rows).await?;
                    return Ok(Err(failed));
                }
            };
            let signers = plan.parties().filter(|party| *party != me).chain([me]);
            let by = format!("signed by {}", names(signers));
            record.state = TaskState::Agreed;
            let own = Envelope::sign(&self.identity, &plan)?;
            rows.push(Write::Task(Box::new(record.clone())));
            rows.push(self.step(record, "agreed", Some(Untrusted::new(&by))));
            self.write(rows).await?;
            if own_run {
                // Its receipt will name it.
                self.write(vec![Write::Document(AnyEnvelope::Agreement(own.clone()))]).await?;
                let (case, said) = self.run_own(record, manifest, (&own, place), reins).await?;
                return Ok(Ok((own, case, Some(said))));
            }
            let agreements = agreements.into_iter().chain([Bytes(own.bytes().to_vec())]).collect();
            let since = Instant::now();
            let begin = Content::Begin { manifest: *manifest.id(), agreements };
            // The witnesses begin with its receipt.
            let told = match guilds.tell(&guild, vec![plan.executor.clone()], begin).await {
                Ok(told) => told,
                Err(error) => return Ok(Err(Failed { who: Vec::new(), why: format!("not begun: {error}") })),
            };
            for (who, said) in told {
                if let Err(error) = said {
                    return Ok(Err(Failed { who: vec![who], why: format!("did not begin: {error}") }));
                }
            }
            let waits = (&mut words, &mut early);
            let got =
                self.await_receipt((guilds, record, place), manifest, (&plan, since), waits, reins).await?;
            Ok(got.map(|case| (own, case, None)))
        };
        let done = reins.cancel.run_until_cancelled(sitting).await;
        let done = done.unwrap_or(Err(TaskError::Execution(ExecutionError::Cancelled)));
        let mut faulty = Vec::new();
        if let Ok(Ok((own, case, said))) = &done {
            let hearing =
                self.hear_witnesses(guilds, record, (own, case, manifest), (&mut words, &mut early), reins);
            let telling = async {
                if let Some(said) = said
                    && let Err(error) = insist(guilds, &guild, parties.clone(), said.clone()).await
                {
                    tracing::debug!(%guild, %error, "not all witnesses are told of the receipt");
                }
                std::future::pending().await
            };
            let heard = tokio::select! {
                heard = hearing => heard,
                never = telling => never,
            };
            // The receipt is there; whatever goes wrong with this does not undo it.
            match heard {
                Ok(found) => faulty.extend(found),
                Err(error) => tracing::warn!(task = %record.task_id, %error, "a task's witnesses"),
            }
        }
        self.end_session(&here, &sender);
        let is_done = matches!(done, Ok(Ok(_)));
        let mut last = Vec::new();
        if is_done && record.audit.is_none() {
            last.extend(self.publish_results(record).await);
        }
        if within.is_none() {
            dissolve(guilds, &guild).await;
            if is_done {
                last.push(self.step(
                    record,
                    "dissolved",
                    Some(Untrusted::new(&format!("guild {}", short_id(&guild.to_string())))),
                ));
            }
        } else if !is_done {
            let withdraw = Content::Withdraw { manifest: *manifest.id() };
            let withdrawn = timeout(WITHDRAWN_WITHIN, insist(guilds, &guild, parties, withdraw)).await;
            if !matches!(withdrawn, Ok(Ok(()))) {
                tracing::debug!(%guild, "not everybody has heard that the task is withdrawn");
            }
        }
        self.write_logged(record, last).await;
        Ok(done?.map(|_| faulty))
    }
}

impl Context {
    /// Everybody's signed agreement; or who did not agree, and the first one's reason. Where it is to be patient, who may agree the next
    /// time is not among them.
    fn agreed(&self, plan: &Agreement, answers: Answers, patient: bool) -> Result<Vec<Bytes>, Failed> {
        let (mut agreements, mut failed) = (Vec::new(), None);
        for (who, said) in answers {
            let passes = matches!(&said, Err(GuildError::Refused(refusal)) if is_passing(refusal));
            let opened = match said {
                Ok(Some(Content::Agree(bytes))) => self
                    .storage
                    .verified()
                    .open(&bytes)
                    .and_then(AnyEnvelope::agreement)
                    .map_err(|error| error.to_string())
                    .map(|agreement| (agreement, Bytes(bytes))),
                Ok(_) => Err("it said something else".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            let why = match opened {
                Ok((agreement, bytes))
                    if *agreement.signer() == who
                        && agreement.document().is_to_the_same_as(plan)
                        && (who != plan.executor || agreement.document().draw.is_some()) =>
                {
                    agreements.push(bytes);
                    continue;
                }
                Ok(_) => "its agreement is to something else".to_owned(),
                Err(why) => why,
            };
            let first = Failed { who: Vec::new(), why: format!("did not agree: {why}") };
            let failed = failed.get_or_insert(first);
            if !(patient && passes) {
                failed.who.push(who);
            }
        }
        failed.map_or(Ok(agreements), Err)
    }

    /// Runs it here, and gives back what its witnesses are to be told.
    async fn run_own(
        &self,
        record: &mut TaskRecord,
        manifest: &Envelope<Manifest>,
        (agreement, place): (&Envelope<Agreement>, &mut Option<OwnedSemaphorePermit>),
        reins: &Reins,
    ) -> Result<(Presented, Content), TaskError> {
        // It has its place among the runs, and others need not wait for it.
        place.take();
        let (receipt, output) = self.run_here(record, manifest, Some(agreement), reins).await?;
        let said = Content::Receipt {
            manifest: *manifest.id(),
            receipt: receipt.bytes().to_vec(),
            agreement: Bytes(agreement.bytes().to_vec()),
            output: (output.len() <= OUTPUT_INLINE).then_some(Bytes(output)),
        };
        Ok((Presented::plain(receipt), said))
    }
}

/// Who was tried, for a person.
pub(super) fn tried(candidates: &[Candidate]) -> String {
    let tried: Vec<String> = candidates
        .iter()
        .map(|candidate| format!("{} {}", candidate.did.short(), candidate.reason))
        .collect();
    if tried.is_empty() { String::new() } else { format!(" ({})", tried.join("; ")) }
}

/// How long a guild for a task may have to be: the start, the run, and the witnesses' runs. An hour for most.
fn lasts(terms: &Manifest) -> SignedDuration {
    let delay = Duration::from_millis(terms.sla.max_start_delay_ms);
    let work = delay + terms.limits.time() * 2 + MARGIN + WITNESS_WITHIN;
    SignedDuration::try_from(work).unwrap_or(Charter::TTL).clamp(Charter::TTL, SignedDuration::from_hours(24))
}

fn names<'a>(who: impl Iterator<Item = &'a Did>) -> String {
    let names: Vec<String> = who.map(Did::short).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

async fn dissolve(guilds: &Guilds, guild: &Cid) {
    if guilds.get(guild).is_some()
        && let Err(error) = guilds.dissolve(guild).await
    {
        tracing::debug!(%guild, %error, "not dissolved");
    }
}
