//! One run: from a manifest and its bytes to an outcome, and from an outcome to a signed receipt.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::attest::name_of;
use super::life::Reins;
use super::{Context, TaskError};
use crate::artifact::{Lease, Order};
use crate::document::{
    ARTIFACT_MAX, Agreement, AnyEnvelope, Artifact, ArtifactSource, Completion, Content, Cost, DocumentError,
    Draft, Envelope, Manifest, Measured, Receipt, Sha256Digest, Status, Untrusted, names_a_file,
};
use crate::execution::{ExecutionError, Job, Limits, Module, Outcome, Priority};
use crate::storage::Write;
use cid::Cid;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedSemaphorePermit;

/// More of an error than this says nothing new; a receipt takes 2,048 bytes.
const ERROR_MAX: usize = 500;

/// How long what was taken on waits before it asks a busy pool again.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// What came of [`super::Tasks::run`].
#[derive(Debug)]
pub struct Ran {
    pub receipt: Envelope<Receipt>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Everything a run needs besides its manifest.
pub(super) struct Material {
    pub(super) module: Module,
    pub(super) stdin: Vec<u8>,
    /// The module stays in the store.
    pub(super) _lease: Lease,
    /// Its place in memory, where it is large.
    pub(super) _hold: Option<OwnedSemaphorePermit>,
}

impl Context {
    /// Completes a draft whose artifact is stored here (or with a peer) and signs the manifest.
    pub(super) async fn seal(&self, draft: Draft, random: [u8; 32]) -> Result<Envelope<Manifest>, TaskError> {
        let now = Timestamp::now();
        let ArtifactSource::Cid { cid, sha256, size } = &draft.artifact else {
            return Err(TaskError::Refused(
                "the artifact must be put into the store before it is submitted".to_owned(),
            ));
        };
        let cid: Cid = cid.parse().map_err(|_| TaskError::UnsupportedCid(cid.clone()))?;
        if !names_a_file(&cid) {
            return Err(TaskError::UnsupportedCid(cid.to_string()));
        }
        let order = Order { hints: draft.providers.clone(), ..Order::new(cid, ARTIFACT_MAX) };
        let (stored, ..) = self.find_artifact("artifact", order).await?;
        if sha256.is_some_and(|claimed| claimed != stored.sha256)
            || size.is_some_and(|claimed| claimed != stored.size)
        {
            return Err(TaskError::Refused(format!(
                "the artifact {cid} has another sha256 or size than the manifest says"
            )));
        }
        let artifact = Artifact { cid: stored.cid, sha256: stored.sha256, size: stored.size };
        let creator = self.identity.did().clone();
        let manifest = draft.complete(Completion { creator, artifact, now, random });
        Envelope::sign(&self.identity, &manifest).map_err(|error| match error {
            DocumentError::Faults(faults) => TaskError::Faults(faults),
            error => error.into(),
        })
    }

    /// Runs a manifest's work.
    pub(super) async fn execute(
        &self,
        manifest: &Manifest,
        material: Material,
        likely: &[String],
        priority: Priority,
        reins: &Reins,
    ) -> Result<Outcome, TaskError> {
        reins.limits.get_or_init(|| manifest.limits);
        let job = job(manifest, &material, priority);
        loop {
            let (progress, cancel) = (reins.progress.clone(), reins.cancel.clone());
            match self.runners.run(job.clone(), Some(progress), cancel).await {
                // A block on the disk went bad, which has been removed by reading it: it is got again.
                Err(ExecutionError::Module(why))
                    if matches!(why.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound) =>
                {
                    tracing::warn!(%why, "a stored module is damaged");
                    self.artifacts.doubt(&manifest.artifact.cid);
                    self.find_module(manifest, likely).await?;
                }
                // What was taken on is not given up because others came first; whoever sits and waits is told.
                Err(ExecutionError::Busy { .. }) if priority != Priority::Interactive => {
                    let pause = tokio::time::sleep(BUSY_PAUSE);
                    let cancelled = reins.cancel.run_until_cancelled(pause).await.is_none();
                    if cancelled {
                        return Err(ExecutionError::Cancelled.into());
                    }
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// The signed receipt of an outcome, the rows that store it, and a lease on the output until they are.
    pub(super) async fn receipt(
        &self,
        manifest: &Envelope<Manifest>,
        inputs: Content,
        outcome: &Outcome,
        agreement: Option<&Envelope<Agreement>>,
    ) -> Result<(Envelope<Receipt>, Vec<Write>, Lease), TaskError> {
        let terms = manifest.document();
        let error = (outcome.status != Status::Ok)
            .then(|| brief(outcome.error.as_deref().unwrap_or(outcome.status.as_str())));
        let receipt = Receipt {
            task_id: terms.task_id.clone(),
            manifest: *manifest.id(),
            artifact: terms.artifact.clone(),
            inputs,
            output: Content::of(&outcome.stdout),
            guild: agreement.map(|agreement| agreement.document().guild.to_string()),
            agreement: agreement.map(|agreement| *agreement.id()),
            executor: self.identity.did().clone(),
            requester: terms.creator.clone(),
            status: outcome.status,
            exit_code: outcome.exit_code,
            error,
            started_at: outcome.started_at,
            finished_at: outcome.finished_at.max(outcome.started_at),
            duration_ns: u64::try_from(outcome.duration.as_nanos()).unwrap_or(u64::MAX),
            fuel_used: outcome.fuel_used,
            peak_memory_bytes: outcome.peak_memory_bytes,
            cost: Cost::of(&terms.payment, outcome.duration, outcome.peak_memory_bytes, outcome.fuel_used),
            environment: outcome.environment.clone(),
            nonce: terms.nonce.clone(),
        };
        let envelope = Envelope::sign(&self.identity, &receipt)?;
        let lease = self.artifacts.keep(&outcome.stdout).await?;
        let mut writes = receipt_rows(&envelope, Some(terms));
        writes.push(Write::Link(*envelope.id()));
        Ok((envelope, writes, lease))
    }

    /// Runs a draft here and now; see [`super::Tasks::run`].
    pub(super) async fn run_now(self: Arc<Self>, draft: Draft, reins: Reins) -> Result<Ran, TaskError> {
        let manifest = self.seal(draft, self.random()?).await?;
        let terms = manifest.document();
        let (module, _lease, _) = self.find_module(terms, &[]).await?;
        let (stdin, _hold) = self.find_stdin(terms, &[]).await?;
        let inputs = Content::of(&stdin);
        let material = Material { module, stdin, _lease, _hold };
        let outcome = self.execute(terms, material, &[], Priority::Interactive, &reins).await?;
        let (receipt, mut writes, _output) = self.receipt(&manifest, inputs, &outcome, None).await?;
        writes.insert(0, Write::Document(AnyEnvelope::Manifest(manifest)));
        self.write(writes).await?;
        Ok(Ran { receipt, stdout: outcome.stdout, stderr: outcome.stderr })
    }
}

/// The rows that store a receipt, by what is known of its manifest.
pub(super) fn receipt_rows(envelope: &Envelope<Receipt>, manifest: Option<&Manifest>) -> Vec<Write> {
    let quorum = manifest.map_or(0, |manifest| manifest.attestation.quorum);
    Write::receipt(envelope, name_of(envelope.document(), manifest), quorum).into()
}

pub(super) fn measured(outcome: &Outcome) -> Measured {
    Measured {
        status: outcome.status,
        exit_code: outcome.exit_code,
        output: Content::of(&outcome.stdout),
        fuel_used: outcome.fuel_used,
        peak_memory_bytes: outcome.peak_memory_bytes,
    }
}

fn job(manifest: &Manifest, material: &Material, priority: Priority) -> Job {
    let seed = seed(manifest, &material.stdin);
    let mut job = Job::new(material.module.clone());
    (job.priority, job.requester) = (priority, manifest.creator.to_string());
    job.function = manifest.function.clone();
    job.args = manifest.args.clone();
    job.stdin = material.stdin.clone();
    job.limits = Limits {
        memory_bytes: manifest.limits.memory_bytes,
        time: manifest.limits.time(),
        stack_bytes: manifest.limits.stack_bytes,
        fuel: manifest.limits.fuel,
        ..Limits::default()
    };
    job.seed = seed;
    job.wall_clock = manifest.wants(Manifest::WALL_CLOCK);
    job.random = manifest.wants(Manifest::RANDOM);
    job
}

/// The seed of the guest's randomness comes from the work alone, not from nonce or creator: the same work gives the same
/// result anywhere.
fn seed(manifest: &Manifest, stdin: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"zerostate guest seed v1");
    hasher.update(manifest.artifact.sha256.as_bytes());
    for arg in &manifest.args {
        hasher.update(u64::try_from(arg.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(arg.as_bytes());
    }
    hasher.update(Sha256Digest::of(stdin).as_bytes());
    hasher.finalize().into()
}

fn brief(error: &str) -> String {
    let cleaned = Untrusted::new(error).to_string();
    match cleaned.char_indices().nth(ERROR_MAX) {
        Some((end, _)) => cleaned.get(..end).unwrap_or_default().to_owned(),
        None => cleaned,
    }
}
