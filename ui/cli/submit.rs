//! `zerostate submit`: give a task to the network.

use std::path::PathBuf;

use serde_json::json;
use zerostate::api::{Answer, Answering as _, Client, Command, ReceiptDetail, TaskDetail, Upload};
use zerostate::document::Verdict;

use super::draft::{self, Wanted};
use super::{Failure, Globals, Outcome, output};

#[derive(clap::Args)]
pub struct SubmitVerb {
    /// A manifest (.toml, .json), or a module with every default
    manifest: PathBuf,
    /// Wait until the task is attested (or receipted, where it asks for no attestation) or has ended otherwise
    #[arg(long)]
    wait: bool,
    /// A guild in which this node may propose; its members run and witness the task, and nobody else is told of it before
    #[arg(long, value_name = "GUILD")]
    guild: Option<String>,
}

pub async fn run(globals: &Globals, verb: SubmitVerb) -> Outcome {
    let wanted = draft::read(&verb.manifest)?;
    let client = globals.client().await?;
    let task_id = submit(&client, wanted, verb.guild).await?;
    if !verb.wait {
        if globals.json {
            output::json(&json!({ "task_id": task_id }))?;
        } else {
            output::line(&format!("submitted task {task_id}"))?;
        }
        return Ok(0);
    }
    let task = wait(&client, &task_id, !globals.json).await?;
    let record = &task.view.record;
    let receipt = match record.state.receipt_id() {
        Some(receipt_id) => Some(receipt(&client, receipt_id).await?),
        None => None,
    };
    let state = record.state.word();
    if globals.json {
        let attestations: Vec<_> = receipt
            .iter()
            .flat_map(|receipt| receipt.attestations.iter().map(super::receipt::vote))
            .collect();
        output::json(&json!({
            "task_id": task_id,
            "state": state,
            "receipt_id": record.state.receipt_id(),
            "attestations": attestations,
        }))?;
    } else {
        output::line(&format!("task {task_id} is {state}"))?;
        if let Some(receipt) = &receipt {
            let agree = receipt.attestations.iter().filter(|vote| vote.verdict == Verdict::Agree).count();
            output::line(&format!(
                "receipt {} ({}, {agree} agree)",
                receipt.receipt_id, receipt.receipt.status
            ))?;
        }
    }
    match state {
        "receipted" | "attested" | "settled" | "closed" => Ok(0),
        _ => {
            let reason = record.state.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
            Err(Failure::failed(format!("the task is {state}{reason}")))
        }
    }
}

/// Puts the module into the node's store and submits the draft, to the network or to a guild.
pub async fn submit(client: &Client, wanted: Wanted, guild: Option<String>) -> Result<String, Failure> {
    let mut draft = wanted.draft;
    if let Some(module) = wanted.module {
        draft = draft::with_artifact(draft, client.add_artifact(Upload::whole(module)).await?.cid);
    }
    match client.execute(Command::Submit { draft: Box::new(draft), guild }).await? {
        Answer::Submitted { task_id } => Ok(task_id),
        _ => Err(output::unexpected()),
    }
}

/// Waits until nothing more is to be awaited, telling each step on stderr.
pub async fn wait(client: &Client, task_id: &str, tell: bool) -> Result<TaskDetail, Failure> {
    let mut link = client.link().await?;
    let mut told = 0;
    loop {
        link.snapshots.mark_unchanged();
        let task = show(client, task_id).await?;
        if tell {
            for step in task.timeline.iter().skip(told) {
                let detail = step.detail.as_ref().map(|detail| format!("  {detail}")).unwrap_or_default();
                output::note(&format!("{}  {:<12}{detail}", output::clock(step.at), step.step));
            }
            told = task.timeline.len();
        }
        if task.view.record.is_settled() {
            return Ok(task);
        }
        if link.snapshots.changed().await.is_err() {
            return Err(Failure::failed(format!(
                "the node stopped while task {task_id} was {}",
                task.view.record.state.word()
            ))
            .hint("it takes the task up again when it starts"));
        }
    }
}

/// Everything about a task.
pub async fn show(client: &Client, task_id: &str) -> Result<TaskDetail, Failure> {
    match client.execute(Command::TaskShow { task_id: task_id.to_owned() }).await? {
        Answer::Task(task) => Ok(*task),
        _ => Err(output::unexpected()),
    }
}

/// Everything about a receipt.
pub async fn receipt(client: &Client, receipt_id: String) -> Result<ReceiptDetail, Failure> {
    match client.execute(Command::ReceiptShow { receipt_id }).await? {
        Answer::Receipt(receipt) => Ok(*receipt),
        _ => Err(output::unexpected()),
    }
}
