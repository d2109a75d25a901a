//! What whoever has submitted a task waits for once it has begun in its guild: the receipt; `sitting.rs` has the witnesses' word.

use std::collections::VecDeque;
use std::time::Duration;

use cid::Cid;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, MissedTickBehavior};

use super::attest::Presented;
use super::context::Word;
use super::execute::receipt_rows;
use super::guilded::{Failed, MARGIN};
use super::life::Reins;
use super::member::{answer, invalid};
use super::{Context, TaskError};
use crate::document::{Agreement, AnyEnvelope, Content as Digest, Envelope, Manifest, Status, Untrusted};
use crate::execution::{OUTPUT_TOLD, Phase, Progress};
use crate::guild::{Content, Guilds};
use crate::identity::Did;
use crate::storage::{TaskRecord, TaskState, Write};

/// What a witness has committed to before the receipt was here: who, and what it said.
pub(super) type Early = (Did, Content);

/// An executor that is not connected any more for so long is gone.
const GONE_AFTER: Duration = Duration::from_secs(3);
/// And one that runs it and does not tell how far it is has forgotten it. It tells four times a second.
const SILENT_AFTER: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(500);

impl Context {
    pub(super) async fn await_receipt(
        &self,
        (guilds, record, place): (&Guilds, &mut TaskRecord, &mut Option<OwnedSemaphorePermit>),
        manifest: &Envelope<Manifest>,
        (plan, since): (&Agreement, Instant),
        (words, early): (&mut mpsc::Receiver<Word>, &mut VecDeque<Early>),
        reins: &Reins,
    ) -> Result<Result<Presented, Failed>, TaskError> {
        let terms = manifest.document();
        reins.limits.get_or_init(|| terms.limits);
        let failed = |why: String| Ok(Err(Failed { who: vec![plan.executor.clone()], why }));
        let mut until = Instant::now() + Duration::from_millis(terms.sla.max_start_delay_ms);
        let (mut seen, mut heard) = (Instant::now(), Instant::now());
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let word = tokio::select! {
                biased;
                _ = look.tick() => {
                    if self.is_connected(&plan.executor) {
                        seen = Instant::now();
                    }
                    if seen.elapsed() > GONE_AFTER {
                        return failed("the executor's connection was lost".to_owned());
                    }
                    if record.state == TaskState::Running && heard.elapsed() > SILENT_AFTER {
                        return failed(format!("the executor has said nothing for {} s", SILENT_AFTER.as_secs()));
                    }
                    if Instant::now() > until {
                        let doing = if record.state == TaskState::Running { "end" } else { "begin" };
                        return failed(format!("the executor did not {doing} in time"));
                    }
                    let here = guilds.get(&plan.guild);
                    let here = here.is_some_and(|state| state.members.iter().any(|m| m.did == plan.executor));
                    if !here {
                        return failed("the executor left the guild".to_owned());
                    }
                    continue;
                }
                word = words.recv() => word.ok_or(TaskError::Stopping)?,
            };
            // A witness may have the receipt, and have looked into it, before this node has. It waits for no answer meanwhile: it would
            // not hear anything else.
            if matches!(word.content, Content::Commit { .. }) && plan.witnesses.contains(&word.from) {
                if early.iter().all(|(from, _)| *from != word.from) {
                    early.push_back((word.from.clone(), word.content.clone()));
                }
                answer(word, Ok(None));
                continue;
            }
            if word.from != plan.executor {
                answer(word, Err(invalid("the executor is waited for")));
                continue;
            }
            heard = Instant::now();
            match &word.content {
                Content::Progress { fuel_used, memory_bytes, output_bytes, elapsed_ms, output, .. } => {
                    let output = output.as_str().as_bytes();
                    let from = output.len().saturating_sub(OUTPUT_TOLD);
                    reins.progress.send_replace(Progress {
                        phase: Phase::Running,
                        fuel_used: *fuel_used,
                        memory_bytes: *memory_bytes,
                        output_bytes: *output_bytes,
                        elapsed: Duration::from_millis(*elapsed_ms),
                        output: output.get(from..).unwrap_or_default().to_vec(),
                        told_at: Some(Timestamp::now()),
                    });
                    if record.state != TaskState::Running {
                        // It takes its time, and others need not wait for it.
                        place.take();
                        until = Instant::now() + terms.limits.time() + MARGIN;
                        (record.state, record.updated_at) = (TaskState::Running, Timestamp::now());
                        let step = self.step_by(&plan.executor, record.updated_at, record, "running", None);
                        self.write(vec![Write::Task(Box::new(record.clone())), step]).await?;
                    }
                    answer(word, Ok(None));
                }
                Content::Fail { reason, .. } => {
                    let why = format!("the executor gave it up: {}", Untrusted::new(reason));
                    answer(word, Ok(None));
                    return failed(why);
                }
                Content::Receipt { .. } => {
                    let presented = self.presented(&word, plan, manifest, since);
                    let (case, agreement) = match presented {
                        Ok(presented) => presented,
                        Err(refusal) => {
                            let why = refusal.to_string();
                            answer(word, Err(refusal));
                            return failed(why);
                        }
                    };
                    let claim = case.receipt.document();
                    let unfit = || claim.fits(manifest.id(), terms).err().map(|faults| faults.to_string());
                    if plan.witnesses.is_empty()
                        && let Some(why) = case.problem.clone().or_else(unfit)
                    {
                        answer(word, Err(invalid(&why)));
                        return failed(format!("gave a receipt that does not hold: {why}"));
                    }
                    self.take_receipt(record, manifest, &case, agreement).await?;
                    // What is left is waiting for others.
                    place.take();
                    answer(word, Ok(None));
                    reins.progress.send_replace(Progress::default());
                    return Ok(Ok(case));
                }
                _ => answer(word, Err(invalid("of another task, or out of turn"))),
            }
        }
    }

    async fn take_receipt(
        &self,
        record: &mut TaskRecord,
        manifest: &Envelope<Manifest>,
        case: &Presented,
        agreement: Option<Envelope<Agreement>>,
    ) -> Result<(), TaskError> {
        let (id, claim) = (*case.receipt.id(), case.receipt.document());
        // The output is kept when it is the one that was signed; a long one is got while its executor has it.
        let output = case.output.as_ref().filter(|output| claim.output == Digest::of(output));
        let _output = match output {
            Some(output) => Some(self.artifacts.keep(output).await?),
            None => None,
        };
        let mut writes = Vec::new();
        if record.state != TaskState::Running {
            // It was done before anybody could see it run.
            writes.push(self.step_by(&claim.executor, claim.started_at, record, "running", None));
        }
        let said = format!("{id} {} for {}, {} fuel", claim.status, claim.cost.total_micro, claim.fuel_used);
        let sound = case.problem.is_none();
        record.state = if claim.status == Status::InvalidModule && sound {
            let reason = claim.error.clone().unwrap_or_else(|| claim.status.to_string());
            TaskState::Failed { reason: Untrusted::new(&reason), receipt: Some(id.to_string()) }
        } else {
            TaskState::Receipted { receipt: id }
        };
        record.updated_at = Timestamp::now();
        writes.extend(receipt_rows(&case.receipt, Some(manifest.document())));
        writes.extend(agreement.map(AnyEnvelope::Agreement).map(Write::Document));
        writes.push(Write::Task(Box::new(record.clone())));
        let said = record.state.reason().cloned().unwrap_or_else(|| Untrusted::new(&said));
        writes.push(self.step_by(&claim.executor, Timestamp::now(), record, record.state.word(), Some(said)));
        Ok(self.write(writes).await?)
    }

    /// Gives everybody the receipt and what was said of it, and gives back that step.
    pub(super) async fn publish_results(&self, record: &TaskRecord) -> Option<Write> {
        let receipt = record.state.receipt_id().and_then(|id| id.parse::<Cid>().ok())?;
        let announced = async {
            let votes = self.storage.attestations_of(&receipt.to_string()).await?;
            // What does not count is not spread, but for this node's own word.
            let told =
                votes.iter().filter(|vote| vote.discounted.is_none() || vote.witness == *self.identity.did());
            let ids = told.filter_map(|vote| vote.attestation_id.parse::<Cid>().ok());
            for id in ids.chain([receipt]) {
                if let Some(document) = self.storage.document(&id).await? {
                    self.announce(&document).await;
                }
            }
            let s = if votes.len() == 1 { "" } else { "s" };
            let said = format!("the receipt and {} attestation{s}", votes.len());
            Ok::<_, TaskError>(self.step(record, "announced", Some(Untrusted::new(&said))))
        };
        match announced.await {
            Ok(step) => Some(step),
            Err(error) => {
                tracing::warn!(task = %record.task_id, %error, "a task's results are not announced");
                None
            }
        }
    }

    pub(super) fn is_connected(&self, who: &Did) -> bool {
        self.network.as_ref().is_some_and(|network| network.state().borrow().peer_of(who).is_some())
    }
}
