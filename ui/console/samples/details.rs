//! What a node answers.

use futures::TryStreamExt as _;
use zerostate::api::{
    Answer, ApiError, AttestationView, Download, ErrorKind, ReceiptDetail, TaskDetail, TimelineStep, Upload,
};
use zerostate::document::{
    Artifact, ArtifactSource, Attestation, Comparison, Completion, Content, Cost, Draft, Envelope,
    Environment, Manifest, Measured, Receipt, Sha256Digest, Status, Untrusted, Verdict, content_id,
};

use super::{ago, busy, did, guild_id, identity, now};

fn manifest() -> Manifest {
    let digest = Sha256Digest::of(b"module");
    let mut draft = Draft::for_module("classify", ArtifactSource::Path("classify.wasm".into()));
    draft.args = vec!["--fast".to_owned(), "2024".to_owned()];
    draft.payment.per_second_micro = "0.002".parse().unwrap();
    draft.payment.per_mib_micro = "0.0001".parse().unwrap();
    draft.payment.max_total_micro = "0.05".parse().unwrap();
    draft.attestation.quorum = 3;
    draft.attestation.witnesses = 3;
    let artifact = Artifact { cid: digest.to_cid(), sha256: digest, size: 21_504 };
    draft.complete(Completion { creator: did(1), artifact, now: ago(600), random: [5; 32] })
}

/// What the node tells of the disputed receipt.
pub fn receipt_detail() -> ReceiptDetail {
    let manifest = manifest();
    let record = busy().receipts.items[1].clone();
    let duration = std::time::Duration::from_nanos(record.duration_ns);
    let environment = Environment {
        engine: "wasmtime".to_owned(),
        version: "48.0.8".to_owned(),
        settings_sha256: Sha256Digest::of(b"settings"),
        target: "x86_64-unknown-linux-gnu".to_owned(),
    };
    let receipt = Receipt {
        task_id: manifest.task_id.clone(),
        manifest: content_id(b"manifest"),
        artifact: manifest.artifact.clone(),
        inputs: Content::of(b""),
        output: Content::of(b"cats 12\ndogs 9\n"),
        guild: Some(guild_id(1)),
        agreement: None,
        executor: did(12),
        requester: did(1),
        status: Status::OutOfFuel,
        exit_code: None,
        error: Some("all fuel consumed".to_owned()),
        started_at: ago(226),
        finished_at: ago(226) + duration,
        duration_ns: record.duration_ns,
        fuel_used: record.fuel_used,
        peak_memory_bytes: record.peak_memory_bytes,
        cost: Cost::of(&manifest.payment, duration, record.peak_memory_bytes, record.fuel_used),
        environment: environment.clone(),
        nonce: manifest.nonce.clone(),
    };
    let envelope = Envelope::sign(&identity(12), &receipt).unwrap();
    let view = |witness: u8, fuel: u64, n: u8| {
        let measured = Measured { fuel_used: fuel, ..Measured::from(&receipt) };
        let a = Attestation::compare(
            (envelope.id(), &receipt),
            &measured,
            environment.clone(),
            None,
            did(witness),
            ago(80),
        );
        AttestationView {
            attestation_id: content_id(&[b'a', n]).to_string(),
            witness: did(witness),
            verdict: a.verdict,
            reason: None,
            differences: a.differences().cloned().collect(),
            compared: a.compared,
            at: ago(75 + i64::from(n)),
            discounted: None,
            envelope: String::new(),
        }
    };
    ReceiptDetail {
        receipt_id: record.receipt_id.clone(),
        attestations: vec![view(10, receipt.fuel_used, 1), view(13, 1_190_003, 5)],
        record,
        envelope: String::from_utf8(envelope.bytes().to_vec()).unwrap(),
        receipt,
        manifest: Some(manifest),
        output: Some(Untrusted::lines("cats 12\ndogs 9\n", 1_000)),
    }
}

/// What the node tells of the running task.
pub fn task_detail() -> TaskDetail {
    let step = |step: &str, seconds: i64, node: u8, detail: Option<&str>| TimelineStep {
        step: step.to_owned(),
        at: ago(seconds),
        node: did(node),
        detail: detail.map(Untrusted::new),
    };
    TaskDetail {
        view: busy().tasks.items[0].clone(),
        manifest: manifest(),
        timeline: vec![
            step("published", 9, 1, Some("to 12 peers")),
            step("offered", 8, 11, None),
            step("guilded", 7, 1, Some("4 members")),
            step("agreed", 6, 11, None),
            step("fetched", 5, 11, Some("21 KiB")),
            step("running", 4, 11, Some("started within 12 ms")),
        ],
        output: None,
    }
}

/// What the node tells of a task: of one that has run, what it printed as well.
pub fn task_detail_of(task_id: &str) -> TaskDetail {
    let tasks = busy().tasks.items;
    let known = tasks.into_iter().find(|task| task.record.task_id == task_id);
    let Some(view) = known.filter(|task| task.record.state.receipt_id().is_some()) else {
        return task_detail();
    };
    let output = Some(Untrusted::lines("hello, world\n", 1_000));
    TaskDetail { view, output, ..task_detail() }
}

/// A node that answers with samples, and refuses what it has none for.
pub struct Still;

impl zerostate::api::Answering for Still {
    fn execute(
        &self,
        command: zerostate::api::Command,
    ) -> futures::future::BoxFuture<'_, Result<zerostate::api::Answer, ApiError>> {
        use zerostate::api::{Answer, Command, ErrorKind};
        Box::pin(async move {
            match command {
                Command::ReceiptShow { .. } => Ok(Answer::Receipt(Box::new(receipt_detail()))),
                Command::TaskShow { .. } => Ok(Answer::Task(Box::new(task_detail()))),
                // The task is called after the module it was given, and its guild, so that a test can see what arrived.
                Command::Submit { draft, guild } => match draft.artifact {
                    ArtifactSource::Cid { cid, .. } => Ok(Answer::Submitted {
                        task_id: guild.map_or(cid.clone(), |guild| format!("{cid} in {guild}")),
                    }),
                    ArtifactSource::Path(_) => {
                        Err(ApiError::new(ErrorKind::Input, "a path means nothing to a node"))
                    }
                },
                _ => Err(ApiError::new(ErrorKind::Failed, "nobody answers there").hint("is the peer up?")),
            }
        })
    }

    fn add_artifact(
        &self,
        file: Upload,
    ) -> futures::future::BoxFuture<'_, Result<zerostate::api::ArtifactInfo, ApiError>> {
        Box::pin(async move {
            let pieces: Vec<bytes::Bytes> =
                file.bytes.try_collect().await.map_err(|error| ApiError::new(ErrorKind::Input, error))?;
            let bytes = pieces.concat();
            let digest = Sha256Digest::of(&bytes);
            Ok(zerostate::api::ArtifactInfo {
                cid: digest.to_cid().to_string(),
                sha256: digest.to_string(),
                size: bytes.len() as u64,
                pinned: file.pin,
                added_at: now(),
            })
        })
    }

    fn read_artifact(&self, _: String) -> futures::future::BoxFuture<'_, Result<Download, ApiError>> {
        Box::pin(async { Err(ApiError::new(ErrorKind::NotFound, "no such artifact")) })
    }

    fn read_block(&self, _: String) -> futures::future::BoxFuture<'_, Result<bytes::Bytes, ApiError>> {
        Box::pin(async { Err(ApiError::new(ErrorKind::NotFound, "no such block")) })
    }
}

/// What the node says that has run a receipt's task again.
pub fn examined(receipt_id: &str, verdict: Verdict) -> Answer {
    let row = |what: &str, measured: &str| Comparison {
        what: what.to_owned(),
        claimed: "1204551".to_owned(),
        measured: measured.to_owned(),
    };
    let fuel = if verdict == Verdict::Agree { "1204551" } else { "1190003" };
    Answer::Examined {
        finding: format!("finding of {receipt_id}"),
        receipt_id: receipt_id.to_owned(),
        verdict,
        reason: None,
        compared: vec![row("fuel", fuel), row("peak memory", "1204551")],
        known: false,
        caveat: None,
    }
}
