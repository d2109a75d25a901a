//! `zerostate task list|show|cancel`.

use serde_json::{Value, json};
use zerostate::api::{Answer, Answering as _, Client, Command, Page, PageRequest, TaskDetail, TaskView};

use super::{Failure, Globals, Outcome, output, submit};

/// Rows asked for at once.
pub const PAGE: u32 = 500;

#[derive(clap::Subcommand)]
pub enum TaskVerb {
    /// List the tasks this node submitted, newest first
    List {
        /// At most this many
        #[arg(long, default_value_t = 10_000)]
        limit: usize,
    },
    /// Show a task with its timeline
    Show { task_id: String },
    /// Stop a task that has no receipt yet
    Cancel { task_id: String },
}

pub async fn run(globals: &Globals, verb: TaskVerb) -> Outcome {
    let client = globals.client().await?;
    match verb {
        TaskVerb::List { limit } => {
            let tasks = all(
                &client,
                limit,
                |page| Command::Tasks { page },
                |answer| match answer {
                    Answer::Tasks(page) => Some(page),
                    _ => None,
                },
            )
            .await?;
            list(globals, &tasks)?;
        }
        TaskVerb::Show { task_id } => show(globals, &submit::show(&client, &task_id).await?)?,
        TaskVerb::Cancel { task_id } => {
            client.execute(Command::TaskCancel { task_id: task_id.clone() }).await?;
            if globals.json {
                output::json(&json!({ "task_id": task_id }))?;
            } else {
                output::line(&format!("task {task_id} is being cancelled"))?;
            }
        }
    }
    Ok(0)
}

/// Every row of a paged list, up to `limit`.
pub async fn all<T>(
    client: &Client,
    limit: usize,
    ask: impl Fn(PageRequest) -> Command,
    page: impl Fn(Answer) -> Option<Page<T>>,
) -> Result<Vec<T>, Failure> {
    let mut rows = Vec::new();
    let mut before = None;
    loop {
        let answer = client.execute(ask(PageRequest { before, limit: PAGE })).await?;
        let found = page(answer).ok_or_else(output::unexpected)?;
        rows.extend(found.items);
        before = found.next;
        if before.is_none() || rows.len() >= limit {
            rows.truncate(limit);
            return Ok(rows);
        }
    }
}

fn list(globals: &Globals, tasks: &[TaskView]) -> Result<(), Failure> {
    if globals.json {
        return output::json(&tasks.iter().map(brief).collect::<Vec<_>>());
    }
    let rows: Vec<Vec<String>> = tasks
        .iter()
        .map(|task| {
            let record = &task.record;
            let reason = record.state.reason().map(ToString::to_string).or_else(|| record.state.receipt_id());
            vec![
                record.task_id.clone(),
                record.name.to_string(),
                record.state.word().into(),
                output::ago(record.created_at),
                reason.unwrap_or_default(),
            ]
        })
        .collect();
    output::table(
        &["task", "name", "state", "submitted", "receipt or reason"],
        &rows,
        "no tasks; `zerostate submit MANIFEST` submits one",
    )
}

fn brief(task: &TaskView) -> Value {
    let mut value = serde_json::to_value(task).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("receipt_id".into(), json!(task.record.state.receipt_id()));
    }
    value
}

fn show(globals: &Globals, task: &TaskDetail) -> Result<(), Failure> {
    if globals.json {
        let mut value = serde_json::to_value(task).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.insert("receipt_id".into(), json!(task.view.record.state.receipt_id()));
        }
        return output::json(&value);
    }
    let (record, manifest) = (&task.view.record, &task.manifest);
    output::pairs(&[
        ("task", record.task_id.clone()),
        ("name", record.name.to_string()),
        ("state", record.state.word().to_owned()),
        ("reason", record.state.reason().map_or("—".into(), ToString::to_string)),
        ("receipt", record.state.receipt_id().unwrap_or_else(|| "—".into())),
        ("artifact", manifest.artifact.cid.to_string()),
        ("quorum", manifest.attestation.quorum.to_string()),
        ("expires", manifest.expires_at.to_string()),
    ])?;
    output::line("")?;
    let rows: Vec<Vec<String>> = task
        .timeline
        .iter()
        .map(|step| {
            vec![
                output::clock(step.at),
                step.step.clone(),
                step.node.short(),
                step.detail.clone().unwrap_or_default().to_string(),
            ]
        })
        .collect();
    output::table(&["at", "step", "node", "detail"], &rows, "no steps yet")
}
