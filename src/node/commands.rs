//! What each command does: the one place where the vocabulary of the API meets the engines.

use bytes::Bytes;
use cid::Cid;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{self, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::guilds::GuildCommands;
use super::reducer::{self, sources, view};
use crate::api::{
    Answer, Answering, ApiError, ArtifactInfo, AttestationView, ChainView, Command, Download,
    EquivocationView, ErrorKind, Event, Happening, Named, Page, PageRequest, ReceiptDetail, RunReport,
    TaskDetail, TimelineStep, Upload,
};
use crate::artifact::{ArtifactError, ArtifactRecord, Artifacts, Freed, Order, Terms};
use crate::dag::canonical;
use crate::document::{AnyEnvelope, Comparison, Draft, Envelope, Input, Kind, Receipt, Untrusted, ValueType};
use crate::network::Network;
use crate::proof::Equivocation;
use crate::storage::{PAGE_MAX, Paging, Storage, TaskRecord};
use crate::task::{Attested, EQUIVOCATIONS, Examined, Tasks, evidence, proof_name};

/// Ids may be cut, but not so far that any would do.
const PREFIX_MIN: usize = 4;
/// How much of an output is shown.
const OUTPUT_SHOWN: usize = 16 * 1024;

pub(super) struct Commands {
    pub(super) storage: Storage,
    pub(super) artifacts: Artifacts,
    pub(super) network: Network,
    pub(super) tasks: Tasks,
    pub(super) guilds: GuildCommands,
    pub(super) stop: CancellationToken,
}

impl Answering for Commands {
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Answer, ApiError>> {
        self.answer(command).boxed()
    }

    fn add_artifact(&self, file: Upload) -> BoxFuture<'_, Result<ArtifactInfo, ApiError>> {
        async move {
            let Upload { bytes, size, pin } = file;
            let (_, limit) = self.artifacts.usage();
            let added = self.artifacts.add(bytes, Terms { size, limit, pin }).await?;
            Ok(artifact_info(&added))
        }
        .boxed()
    }

    fn read_artifact(&self, cid: String) -> BoxFuture<'_, Result<Download, ApiError>> {
        async move {
            let parsed = parse_cid(&cid)?;
            let (_, limit) = self.artifacts.usage();
            let reader = self.artifacts.open(&parsed, limit).await?;
            let size = reader.size();
            let bytes = stream::try_unfold(reader, |reader| async move { Ok(reader.next().await?) });
            Ok(Download { bytes: bytes.boxed(), size })
        }
        .boxed()
    }

    fn read_block(&self, cid: String) -> BoxFuture<'_, Result<Bytes, ApiError>> {
        async move {
            let parsed = parse_cid(&cid)?;
            let block = self.storage.blocks().get(&canonical(&parsed)).await?;
            Ok(block.ok_or(ArtifactError::NotHere(parsed))?)
        }
        .boxed()
    }
}

impl Commands {
    async fn answer(&self, command: Command) -> Result<Answer, ApiError> {
        match command {
            Command::Connect { address } => {
                Ok(Answer::Connected { peer_id: self.network.connect(&address).await? })
            }
            Command::Submit { draft, guild } => {
                let within = guild.map(|guild| self.guilds.find(&guild).map(|state| state.id)).transpose()?;
                Ok(Answer::Submitted { task_id: self.tasks.submit(*draft, within).await? })
            }
            Command::Run { draft, stdin } => self.run(*draft, stdin).await,
            Command::Tasks { page } => self.task_page(page).await,
            Command::TaskShow { task_id } => self.task(&task_id).await,
            Command::TaskCancel { task_id } => {
                let task = self.find_task(&task_id).await?;
                self.tasks.cancel(task.task_id).await?;
                Ok(Answer::Done)
            }
            Command::Receipts { page } => {
                let total = self.storage.counts().await?.receipts;
                Ok(Answer::Receipts(paged(total, self.storage.receipts(paging(page)).await?, page, |row| {
                    row.cursor
                })))
            }
            Command::ReceiptShow { receipt_id } => self.receipt(&receipt_id).await,
            Command::ReceiptEvidence { receipt_id } => self.evidence(&receipt_id).await,
            Command::Attestations { page } => {
                let total = self.storage.counts().await?.attestations;
                let rows = self.storage.attestations(paging(page)).await?;
                Ok(Answer::Attestations(paged(total, rows, page, |row| row.cursor)))
            }
            Command::Examine { receipt } => {
                Ok(examined(self.tasks.examine(self.named(receipt).await?).await?))
            }
            Command::Sign { finding } => Ok(attested(self.tasks.sign(finding).await?)),
            Command::Attest { receipt } => Ok(attested(self.tasks.attest(self.named(receipt).await?).await?)),
            Command::Chains => self.chains().await,
            Command::Artifacts => {
                let items = self.artifacts.list().await?.iter().map(artifact_info).collect();
                let (used, quota) = self.artifacts.usage();
                Ok(Answer::Artifacts { items, used, quota })
            }
            Command::ArtifactGet { cid, from } => {
                let (_, limit) = self.artifacts.usage();
                let order = Order { hints: from, verify: true, ..Order::new(parse_cid(&cid)?, limit) };
                let (record, whence) = self.artifacts.get(&order).await?;
                Ok(Answer::Got { artifact: artifact_info(&record), sources: sources(&whence) })
            }
            Command::ArtifactPin { cid, pinned } => {
                Ok(Answer::Artifact(artifact_info(&self.artifacts.pin(&parse_cid(&cid)?, pinned).await?)))
            }
            Command::ArtifactGc => {
                let Freed { artifacts, blocks, bytes } = self.artifacts.collect_garbage().await?;
                Ok(Answer::Freed { artifacts, blocks, bytes })
            }
            Command::Events { after, limit } => {
                Ok(Answer::Events(self.storage.events_after(after, limit).await?))
            }
            Command::Guild(command) => Ok(Answer::Guild(self.guilds.answer(command).await?)),
            Command::Inbox { inbox_id, accept } => {
                let mut decided = self.guilds.decide(&inbox_id, accept).await;
                if decided.is_none() && self.tasks.decide(inbox_id.clone(), accept).await? {
                    decided = Some(Ok(()));
                }
                let nothing = || {
                    let id = Untrusted::new(&inbox_id);
                    ApiError::new(ErrorKind::NotFound, format!("nothing with the id {id} waits in the inbox"))
                        .hint("`zerostate inbox list` shows what does")
                };
                decided.unwrap_or_else(|| Err(nothing()))?;
                Ok(Answer::Done)
            }
            Command::Stop => {
                self.stop.cancel();
                Ok(Answer::Done)
            }
        }
    }

    async fn run(&self, mut draft: Draft, stdin: Vec<u8>) -> Result<Answer, ApiError> {
        attach_stdin(&self.artifacts, &mut draft, stdin).await?;
        let ran = self.tasks.run(draft).await?;
        Ok(Answer::Ran(Box::new(report(ran))))
    }

    async fn task_page(&self, page: PageRequest) -> Result<Answer, ApiError> {
        let total = self.storage.counts().await?.tasks;
        let rows = self.storage.tasks(paging(page)).await?;
        let live = self.tasks.live().borrow().clone();
        let paged = paged(total, rows, page, |(cursor, _)| *cursor);
        let items = paged
            .items
            .iter()
            .map(|(_, record)| view(record, live.iter().find(|run| run.id == record.task_id)));
        Ok(Answer::Tasks(Page { total, items: items.collect(), next: paged.next }))
    }

    /// A task of another node, while it runs here.
    async fn hosted(&self, task_id: &str) -> Result<Option<Answer>, ApiError> {
        let live = self.tasks.live().borrow().clone();
        let found = live.iter().find_map(|run| {
            let hosted = run.hosted.as_ref().filter(|hosted| hosted.record.task_id == task_id)?;
            reducer::hosted(run).map(|view| (view, hosted.manifest.clone()))
        });
        let Some((view, manifest)) = found else { return Ok(None) };
        let events = self.storage.events_of(task_id).await?;
        let timeline = events.iter().filter_map(timeline_step).collect();
        Ok(Some(Answer::Task(Box::new(TaskDetail { view, manifest, timeline, output: None }))))
    }

    async fn task(&self, task_id: &str) -> Result<Answer, ApiError> {
        if let Some(hosted) = self.hosted(task_id).await? {
            return Ok(hosted);
        }
        let record = self.find_task(task_id).await?;
        let manifest = match self.storage.document(&parse_cid(&record.manifest_id)?).await? {
            Some(AnyEnvelope::Manifest(manifest)) => manifest.document().clone(),
            _ => {
                return Err(ApiError::new(
                    ErrorKind::Failed,
                    format!("the manifest of task {task_id} is not stored here"),
                ));
            }
        };
        let output = match record.state.receipt_id() {
            Some(id) => match self.storage.document(&parse_cid(&id)?).await? {
                Some(AnyEnvelope::Receipt(receipt)) => self.output(receipt.document()).await?,
                _ => None,
            },
            None => None,
        };
        let mut events = self.storage.events_of(&record.task_id).await?;
        if let Some(receipt_id) = record.state.receipt_id() {
            events.extend(self.attestation_events(&receipt_id, &record).await?);
        }
        events.sort_by_key(|event| event.at);
        let live = self.tasks.live().borrow().clone();
        let view = view(&record, live.iter().find(|run| run.id == record.task_id));
        let timeline = events.iter().filter_map(timeline_step).collect();
        Ok(Answer::Task(Box::new(TaskDetail { view, manifest, timeline, output })))
    }

    /// Attestations are steps of the task they are about, with the time at which the witness made them.
    async fn attestation_events(
        &self,
        receipt_id: &str,
        record: &TaskRecord,
    ) -> Result<Vec<Event>, ApiError> {
        let votes = self.storage.attestations_of(receipt_id).await?;
        Ok(votes
            .into_iter()
            .map(|vote| {
                let differs: Vec<&str> = vote.differences.iter().map(Untrusted::as_str).collect();
                let what = if differs.is_empty() {
                    vote.verdict.to_string()
                } else {
                    format!("{}: {}", vote.verdict, differs.join(", "))
                };
                let detail = Some(Untrusted::new(&format!("{what} ({})", vote.attestation_id)));
                let (task_id, name, step) =
                    (record.task_id.clone(), record.name.clone(), "attestation".to_owned());
                Event {
                    seq: 0,
                    at: vote.at,
                    what: Happening::Task { task_id, name, step, node: vote.witness, detail },
                }
            })
            .collect())
    }

    async fn receipt(&self, receipt_id: &str) -> Result<Answer, ApiError> {
        let envelope = self.find_receipt(receipt_id).await?;
        let id = envelope.id().to_string();
        let record = self.storage.receipt(&id).await?;
        let record = record
            .ok_or_else(|| ApiError::new(ErrorKind::NotFound, format!("receipt {id} is not listed here")))?;
        let manifest = match self.storage.document(&envelope.document().manifest).await? {
            Some(AnyEnvelope::Manifest(manifest)) => Some(manifest.document().clone()),
            _ => None,
        };
        let mut attestations = Vec::new();
        for vote in self.storage.attestations_of(&id).await? {
            if let Some(AnyEnvelope::Attestation(envelope)) =
                self.storage.document(&parse_cid(&vote.attestation_id)?).await?
            {
                attestations.push(attestation_view(&envelope, vote.discounted));
            }
        }
        let output = self.output(envelope.document()).await?;
        let receipt = envelope.document().clone();
        let envelope = String::from_utf8_lossy(envelope.bytes()).into_owned();
        Ok(Answer::Receipt(Box::new(ReceiptDetail {
            receipt_id: id,
            record,
            receipt,
            envelope,
            manifest,
            attestations,
            output,
        })))
    }

    async fn named(&self, receipt: Named) -> Result<Envelope<Receipt>, ApiError> {
        match receipt {
            Named::ReceiptId(id) => self.find_receipt(&id).await,
            Named::Envelope(envelope) => Envelope::<Receipt>::open(&envelope).map_err(|error| {
                ApiError::new(ErrorKind::Failed, format!("the receipt does not verify: {error}"))
            }),
        }
    }

    async fn chains(&self) -> Result<Answer, ApiError> {
        let found = self.storage.equivocations().await?;
        let found: Vec<Equivocation> =
            found.into_iter().filter_map(|[first, second]| Equivocation::of(first, second)).collect();
        let (me, _) = &self.guilds.me;
        let mut chains: Vec<ChainView> = Vec::new();
        for head in self.storage.heads().await? {
            let (node, head) = (head.signer(), head.document());
            let equivocation = found.iter().find(|found| found.node() == node);
            chains.push(ChainView {
                did: node.clone(),
                own: node == me,
                length: head.length,
                at: head.at,
                equivocation: equivocation.map(|found| EquivocationView {
                    position: found.position,
                    proof: self.storage.proof_path(EQUIVOCATIONS, &proof_name(node)).display().to_string(),
                }),
            });
        }
        chains.sort_by_key(|chain| (!chain.own, chain.equivocation.is_none(), chain.did.clone()));
        Ok(Answer::Chains(chains))
    }

    async fn evidence(&self, receipt_id: &str) -> Result<Answer, ApiError> {
        let receipt = self.find_receipt(receipt_id).await?;
        let documents = evidence(&self.storage, Some(&self.network), &receipt).await?;
        let envelopes = documents.iter().map(AnyEnvelope::text).collect();
        Ok(Answer::Evidence { receipt_id: receipt.id().to_string(), envelopes })
    }

    async fn output(&self, receipt: &Receipt) -> Result<Option<Untrusted>, ApiError> {
        let bytes = self.storage.blocks().get(&receipt.output.sha256.to_cid()).await?;
        Ok(bytes.map(|bytes| Untrusted::lines(&String::from_utf8_lossy(&bytes), OUTPUT_SHOWN)))
    }

    async fn find_task(&self, prefix: &str) -> Result<TaskRecord, ApiError> {
        long_enough("task", prefix)?;
        let mut found = self.storage.tasks_matching(prefix).await?;
        match (found.pop(), found.is_empty()) {
            (Some(task), true) => Ok(task),
            (Some(_), false) => Err(ambiguous("task", prefix)),
            (None, _) => Err(ApiError::new(ErrorKind::NotFound, format!("there is no task {prefix} here"))
                .hint("`zerostate task list` shows them")),
        }
    }

    async fn find_receipt(&self, prefix: &str) -> Result<Envelope<Receipt>, ApiError> {
        long_enough("receipt", prefix)?;
        let mut found = self.storage.matching_ids(Kind::Receipt, prefix).await?;
        let missing = || {
            ApiError::new(ErrorKind::NotFound, format!("there is no receipt {prefix} here"))
                .hint("`zerostate receipt list` shows them")
        };
        match (found.pop(), found.is_empty()) {
            (Some(id), true) => match self.storage.document(&parse_cid(&id)?).await? {
                Some(AnyEnvelope::Receipt(receipt)) => Ok(receipt),
                _ => Err(missing()),
            },
            (Some(_), false) => Err(ambiguous("receipt", prefix)),
            (None, _) => Err(missing()),
        }
    }
}

/// Puts raw bytes for stdin into the store and makes them the draft's one input.
///
/// # Errors
/// When the draft has inputs of its own, or the store is full.
pub async fn attach_stdin(artifacts: &Artifacts, draft: &mut Draft, stdin: Vec<u8>) -> Result<(), ApiError> {
    if stdin.is_empty() {
        return Ok(());
    }
    if !draft.inputs.is_empty() {
        return Err(ApiError::new(
            ErrorKind::Input,
            "this manifest has inputs, which the task reads on stdin; --stdin would take their place",
        ));
    }
    let cid = artifacts.add_bytes(stdin, false).await?.cid;
    draft.inputs =
        vec![Input { name: "stdin".to_owned(), value_type: ValueType::Blob, value: cid.to_string().into() }];
    Ok(())
}

/// What a finished run comes to.
pub fn report(ran: crate::task::Ran) -> RunReport {
    let receipt = ran.receipt.document();
    RunReport {
        receipt_id: ran.receipt.id().to_string(),
        status: receipt.status,
        exit_code: receipt.exit_code,
        stdout: ran.stdout,
        stderr: ran.stderr,
        envelope: String::from_utf8_lossy(ran.receipt.bytes()).into_owned(),
    }
}

fn examined(examined: Examined) -> Answer {
    let Examined { finding, receipt, attestation, known, caveat } = examined;
    Answer::Examined {
        finding,
        receipt_id: receipt.to_string(),
        verdict: attestation.verdict,
        reason: attestation.reason.as_deref().map(Untrusted::new),
        compared: attestation.compared,
        known,
        caveat: caveat.map(Untrusted::new),
    }
}

fn attested(attested: Attested) -> Answer {
    let Attested { id, attestation } = attested;
    let reason = attestation.reason.as_deref().map(Untrusted::new);
    Answer::Attested {
        attestation_id: id.to_string(),
        verdict: attestation.verdict,
        reason,
        compared: attestation.compared,
    }
}

fn attestation_view(
    envelope: &Envelope<crate::document::Attestation>,
    discounted: Option<Untrusted>,
) -> AttestationView {
    let attestation = envelope.document();
    let differences: Vec<Comparison> = attestation.differences().cloned().collect();
    AttestationView {
        attestation_id: envelope.id().to_string(),
        witness: attestation.witness.clone(),
        verdict: attestation.verdict,
        reason: attestation.reason.as_deref().map(Untrusted::new),
        compared: attestation.compared.clone(),
        differences,
        at: attestation.created_at,
        discounted,
        envelope: String::from_utf8_lossy(envelope.bytes()).into_owned(),
    }
}

fn timeline_step(event: &Event) -> Option<TimelineStep> {
    match &event.what {
        Happening::Task { step, node, detail, .. } => Some(TimelineStep {
            step: step.clone(),
            at: event.at,
            node: node.clone(),
            detail: detail.clone(),
        }),
        _ => None,
    }
}

fn artifact_info(record: &ArtifactRecord) -> ArtifactInfo {
    ArtifactInfo {
        cid: record.cid.to_string(),
        sha256: record.sha256.to_string(),
        size: record.size,
        pinned: record.pinned,
        added_at: record.added_at,
    }
}

fn parse_cid(text: &str) -> Result<Cid, ApiError> {
    text.parse().map_err(|_| {
        ApiError::new(ErrorKind::Input, format!("\"{}\" is not a CID, like bafkrei…", Untrusted::new(text)))
    })
}

pub(super) fn long_enough(what: &str, prefix: &str) -> Result<(), ApiError> {
    if prefix.len() >= PREFIX_MIN {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorKind::Input,
        format!(
            "\"{}\" is too short for a {what} id: give at least {PREFIX_MIN} characters",
            Untrusted::new(prefix)
        ),
    ))
}

pub(super) fn ambiguous(what: &str, prefix: &str) -> ApiError {
    ApiError::new(ErrorKind::Input, format!("several {what} ids begin with {prefix}; give more of it"))
}

fn paging(page: PageRequest) -> Paging {
    Paging { before: page.before, limit: page.limit }
}

fn paged<T>(total: u64, items: Vec<T>, page: PageRequest, cursor: impl Fn(&T) -> u64) -> Page<T> {
    let limit = page.limit.min(PAGE_MAX);
    let full = u32::try_from(items.len()).is_ok_and(|count| count >= limit) && limit > 0;
    let next = items.last().map(cursor).filter(|last| full && *last > 1);
    Page { total, items, next }
}
