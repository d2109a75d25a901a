//! The life of one task that this node submitted.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cid::Cid;
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::execute::Material;
use super::guilded::tried;
use super::{Context, Hosted, TaskError};
use crate::document::{
    Agreement, AnyEnvelope, Content, Draft, Envelope, Limits, Manifest, Receipt, Status, Untrusted,
};
use crate::execution::{ExecutionError, Outcome, Phase, Priority, Progress};
use crate::identity::Did;
use crate::storage::{Happening, Standing, TaskRecord, TaskState, Write};

/// What a life is given by the worker.
pub(super) struct Reins {
    pub(super) progress: watch::Sender<Progress>,
    /// Known once the manifest is.
    pub(super) limits: Arc<OnceLock<Limits>>,
    /// Known once this node runs a task of another.
    pub(super) hosted: Arc<OnceLock<Arc<Hosted>>>,
    /// Pulled by the operator: the task ends as cancelled.
    pub(super) cancel: CancellationToken,
    /// Pulled by the node's stop: the task stays as it is and goes on at the next start.
    pub(super) shutdown: CancellationToken,
}

impl Context {
    /// Makes the task durable, answers with its id, and lives it to its receipt. Gives back what is to be audited after it.
    pub(super) async fn submit(
        self: Arc<Self>,
        (draft, within): (Draft, Option<Cid>),
        random: [u8; 32],
        answer: oneshot::Sender<Result<String, TaskError>>,
        reins: Reins,
    ) -> Option<Envelope<Manifest>> {
        let may = within.as_ref().map_or(Ok(()), |guild| self.may_propose(guild));
        let sealed = match may {
            Ok(()) => self.seal(draft, random).await,
            Err(error) => Err(error),
        };
        let sealed = match sealed {
            Ok(manifest) => self.publish(&manifest, within, None).await.map(|record| (manifest, record)),
            Err(error) => Err(error),
        };
        let (answered, sealed) = match sealed {
            Ok((manifest, record)) => (answer.send(Ok(record.task_id.clone())), Some((manifest, record))),
            Err(error) => (answer.send(Err(error)), None),
        };
        if answered.is_err() {
            tracing::debug!("whoever submitted did not wait for the answer");
        }
        let (manifest, record) = sealed?;
        self.live(record, manifest, reins).await
    }

    /// Takes up a task that an earlier process left unfinished.
    pub(super) async fn resume(self: Arc<Self>, mut record: TaskRecord, reins: Reins) {
        if record.audit.is_some() {
            let reason = Untrusted::new("this node has started again, and its audits are over");
            return self.turn_logged(&mut record, TaskState::Cancelled { reason }, None).await;
        }
        let id =
            record.manifest_id.parse().map_err(|_| TaskError::UnsupportedCid(record.manifest_id.clone()));
        let manifest = match id {
            Ok(id) => self.find_manifest(&id, &[]).await,
            Err(error) => Err(error),
        };
        match manifest {
            Ok(manifest) => drop(self.live(record, manifest, reins).await),
            Err(error) => {
                let reason = Untrusted::new(&format!("it could not be taken up again: {error}"));
                self.turn_logged(&mut record, TaskState::Failed { reason, receipt: None }, None).await;
            }
        }
    }

    pub(super) async fn publish(
        &self,
        manifest: &Envelope<Manifest>,
        within: Option<Cid>,
        audit: Option<String>,
    ) -> Result<TaskRecord, TaskError> {
        let terms = manifest.document();
        let record = TaskRecord {
            task_id: terms.task_id.clone(),
            manifest_id: manifest.id().to_string(),
            name: Untrusted::new(&terms.name),
            creator: terms.creator.clone(),
            executor: None,
            guild_id: None,
            within,
            candidates: Vec::new(),
            audit,
            state: TaskState::Published,
            quorum: terms.attestation.quorum,
            created_at: terms.created_at,
            updated_at: Timestamp::now(),
            expires_at: terms.expires_at,
        };
        let manifest_id = Untrusted::new(&format!("manifest {}", manifest.id()));
        self.storage
            .write(&[
                Write::Document(AnyEnvelope::Manifest(manifest.clone())),
                Write::Task(Box::new(record.clone())),
                self.step(&record, "drafted", None),
                self.step(&record, "published", Some(manifest_id)),
            ])
            .await?;
        Ok(record)
    }

    async fn live(
        self: Arc<Self>,
        mut record: TaskRecord,
        manifest: Envelope<Manifest>,
        reins: Reins,
    ) -> Option<Envelope<Manifest>> {
        let shutdown = reins.shutdown.clone();
        let ended = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            ended = self.to_end(&mut record, &manifest, &reins) => ended,
        };
        let state = match ended {
            Ok(()) => {
                let audits = self.is_to_audit(&record).unwrap_or_else(|error| {
                    tracing::warn!(%error, "whether a task is audited");
                    false
                });
                return audits.then_some(manifest);
            }
            Err(TaskError::Execution(ExecutionError::Cancelled)) if !reins.cancel.is_cancelled() => {
                return None;
            }
            Err(TaskError::Execution(ExecutionError::Cancelled)) => {
                TaskState::Cancelled { reason: Untrusted::new("cancelled by the operator") }
            }
            Err(TaskError::Expired(reason)) => {
                TaskState::Expired { reason: Untrusted::new(&reason), receipt: None }
            }
            Err(error) => TaskState::Failed { reason: Untrusted::new(&error.to_string()), receipt: None },
        };
        self.turn_logged(&mut record, state, None).await;
        None
    }

    async fn to_end(
        &self,
        record: &mut TaskRecord,
        manifest: &Envelope<Manifest>,
        reins: &Reins,
    ) -> Result<(), TaskError> {
        let resumed = !record.state.is_pending();
        if !resumed {
            self.to_receipt(record, manifest, reins).await?;
        }
        if let TaskState::Receipted { receipt } = record.state
            && record.quorum > 0
        {
            if resumed && record.guild_id.is_some() {
                // Its guild ended with the earlier start, and so its witnesses' part: others may take it.
                let announced = self.publish_results(record).await;
                self.write_logged(record, announced.into_iter().collect()).await;
            }
            self.await_quorum(record, receipt).await?;
        }
        Ok(())
    }

    /// Waits for the intake to count a quorum; at the deadline the task expires with its receipt.
    async fn await_quorum(&self, record: &mut TaskRecord, receipt: Cid) -> Result<(), TaskError> {
        let counted = CancellationToken::new();
        {
            let _counting = self.counting.lock(&record.task_id).await;
            let Standing { task, votes, .. } = self.storage.standing(&receipt, &record.task_id).await?;
            if task.as_ref().is_some_and(TaskRecord::is_settled) {
                return Ok(());
            }
            if let Some(settled) = self.count_votes(record, &votes) {
                return Ok(self.write(settled.into()).await?);
            }
            self.waiting().insert(record.task_id.clone(), counted.clone());
        }
        let left = Duration::try_from(record.expires_at.duration_since(Timestamp::now())).unwrap_or_default();
        if tokio::time::timeout(left, counted.cancelled()).await.is_ok() {
            return Ok(());
        }
        let _counting = self.counting.lock(&record.task_id).await;
        if self.waiting().remove(&record.task_id).is_none() {
            return Ok(());
        }
        let votes = self.storage.receipt(&receipt.to_string()).await?.map_or(0, |row| row.agree);
        let reason = format!("by its deadline {votes} of {} witnesses had agreed", record.quorum);
        let state =
            TaskState::Expired { reason: Untrusted::new(&reason), receipt: Some(receipt.to_string()) };
        self.turn(record, state, None).await
    }

    async fn to_receipt(
        &self,
        record: &mut TaskRecord,
        manifest: &Envelope<Manifest>,
        reins: &Reins,
    ) -> Result<(), TaskError> {
        if self.by_others(record, manifest, reins).await? {
            return Ok(());
        }
        (record.executor, record.guild_id) = (None, None);
        if !self.policy.self_execute {
            return Err(TaskError::Refused(format!(
                "no other node has taken it{}, and this one may not run its own tasks (policy.self_execute)",
                tried(&record.candidates)
            )));
        }
        let receipt = self.run_here(record, manifest, None, reins).await?.0;
        self.announce(&AnyEnvelope::Receipt(receipt)).await;
        Ok(())
    }

    /// Runs it on this node, and stores its receipt. Gives it back with what was printed.
    pub(super) async fn run_here(
        &self,
        record: &mut TaskRecord,
        manifest: &Envelope<Manifest>,
        agreement: Option<&Envelope<Agreement>>,
        reins: &Reins,
    ) -> Result<(Envelope<Receipt>, Vec<u8>), TaskError> {
        let terms = manifest.document();
        let cancelled = || TaskError::Execution(ExecutionError::Cancelled);
        let finding = async {
            let (module, _lease, from) = self.find_module(terms, &[]).await?;
            let (stdin, _hold) = self.find_stdin(terms, &[]).await?;
            Ok::<_, TaskError>((Material { module, stdin, _lease, _hold }, from))
        };
        let (material, from) = reins.cancel.run_until_cancelled(finding).await.ok_or_else(cancelled)??;
        let fetched = match from {
            Some(peer) => format!("artifact {} from {peer}", terms.artifact.cid),
            None => format!("artifact {} from the own store", terms.artifact.cid),
        };
        let inputs = Content::of(&material.stdin);
        if Timestamp::now() > terms.expires_at {
            return Err(TaskError::Expired("it expired before it was run".to_owned()));
        }
        record.executor = Some(self.identity.did().clone());
        self.write(vec![self.step(record, "fetched", Some(Untrusted::new(&fetched)))]).await?;

        let outcome = self.run(record, terms, material, reins).await?;
        // What waits for its witnesses does not run any more.
        reins.progress.send_replace(Progress::default());

        let (receipt, rows, _output) = self.receipt(manifest, inputs, &outcome, agreement).await?;
        if record.audit.is_some() {
            let wrong = self.falsify(receipt.document(), terms);
            let wrong = Envelope::sign(&self.identity, &wrong)?;
            self.turn(record, TaskState::Receipted { receipt: *wrong.id() }, None).await?;
            return Ok((wrong, outcome.stdout));
        }
        let (id, claim) = (*receipt.id(), receipt.document());
        let state = if outcome.status == Status::InvalidModule {
            let reason = claim.error.clone().unwrap_or_else(|| outcome.status.to_string());
            TaskState::Failed { reason: Untrusted::new(&reason), receipt: Some(id.to_string()) }
        } else {
            TaskState::Receipted { receipt: id }
        };
        let said = format!("{id} {} for {}, {} fuel", claim.status, claim.cost.total_micro, claim.fuel_used);
        let mut writes = Vec::new();
        if record.state != TaskState::Running {
            // It was done before anybody could see it run.
            writes.push(self.step_at(outcome.started_at, record, TaskState::Running.word(), None));
        }
        record.state = state;
        record.updated_at = Timestamp::now();
        writes.extend(rows);
        writes.push(Write::Task(Box::new(record.clone())));
        let said = record.state.reason().cloned().unwrap_or_else(|| Untrusted::new(&said));
        writes.push(self.step(record, record.state.word(), Some(said)));
        self.write(writes).await?;
        Ok((receipt, outcome.stdout))
    }

    /// Runs it; while it waits for its turn, it stays what it was.
    async fn run(
        &self,
        record: &mut TaskRecord,
        terms: &Manifest,
        material: Material,
        reins: &Reins,
    ) -> Result<Outcome, TaskError> {
        let mut progress = reins.progress.subscribe();
        let mut run = pin!(self.execute(terms, material, &[], Priority::Task, reins));
        tokio::select! {
            biased;
            outcome = &mut run => return outcome,
            seen = progress.wait_for(|progress| progress.phase == Phase::Running) => {
                if let Err(error) = seen {
                    tracing::debug!(%error, "nobody tells how the run is");
                }
            }
        }
        self.turn(record, TaskState::Running, None).await?;
        run.await
    }

    /// Writes a task's new state and the step in its timeline.
    pub(super) async fn turn(
        &self,
        record: &mut TaskRecord,
        state: TaskState,
        detail: Option<Untrusted>,
    ) -> Result<(), TaskError> {
        Ok(self.write(self.turned(record, state, detail).into()).await?)
    }

    /// The rows of a task's new state and of the step in its timeline.
    pub(super) fn turned(
        &self,
        record: &mut TaskRecord,
        state: TaskState,
        detail: Option<Untrusted>,
    ) -> [Write; 2] {
        (record.state, record.updated_at) = (state, Timestamp::now());
        let detail = detail.or_else(|| record.state.reason().cloned());
        [Write::Task(Box::new(record.clone())), self.step(record, record.state.word(), detail)]
    }

    async fn turn_logged(&self, record: &mut TaskRecord, state: TaskState, detail: Option<Untrusted>) {
        if let Err(error) = self.turn(record, state, detail).await {
            tracing::error!(task = %record.task_id, %error, "a task's end could not be stored; it is taken up again at the next start");
        }
    }

    /// Writes what is only told of in a task's timeline.
    pub(super) async fn write_logged(&self, record: &TaskRecord, writes: Vec<Write>) {
        if !writes.is_empty()
            && let Err(error) = self.write(writes).await
        {
            tracing::warn!(task = %record.task_id, %error, "a step is not in a task's timeline");
        }
    }

    pub(super) fn step(&self, record: &TaskRecord, step: &str, detail: Option<Untrusted>) -> Write {
        self.step_at(Timestamp::now(), record, step, detail)
    }

    fn step_at(&self, at: Timestamp, record: &TaskRecord, step: &str, detail: Option<Untrusted>) -> Write {
        self.step_by(self.identity.did(), at, record, step, detail)
    }

    pub(super) fn step_by(
        &self,
        node: &Did,
        at: Timestamp,
        record: &TaskRecord,
        step: &str,
        detail: Option<Untrusted>,
    ) -> Write {
        let what = Happening::Task {
            task_id: record.task_id.clone(),
            name: record.name.clone(),
            step: step.to_owned(),
            node: node.clone(),
            detail,
        };
        Write::Event(at, what)
    }
}
