//! `zerostate run`: run something here and now. Through the node where one runs on the data directory, else alone; the receipt
//! is stored either way.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zerostate::api::{Answer, Answering as _, ApiError, Client, Command, RunReport, Upload};
use zerostate::document::{Status, Untrusted, parse_bytes, parse_duration};
use zerostate::node::{self, Home};

use super::draft::{self, Wanted};
use super::{Failure, Globals, Outcome, home, output};

#[derive(clap::Args)]
pub struct RunVerb {
    /// A WebAssembly module, or a manifest (.toml, .json)
    file: PathBuf,
    /// Arguments for the module
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
    /// Give the module this file on standard input
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    /// Call this exported function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Memory limit, like 128MiB
    #[arg(long, value_parser = bytes)]
    memory: Option<u64>,
    /// Time limit, like 30s
    #[arg(long, value_parser = millis)]
    time: Option<u64>,
    /// Stack limit, like 1MiB
    #[arg(long, value_parser = bytes)]
    stack: Option<u64>,
    /// Fuel limit
    #[arg(long)]
    fuel: Option<u64>,
    /// Write the receipt's envelope to this file
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
}

/// What `--json` prints. A struct and no `json!`: that would sort the envelope's fields, and a signed envelope has one spelling.
#[derive(Serialize)]
struct Shown<'a> {
    receipt_id: &'a str,
    status: Status,
    exit_code: Option<i32>,
    /// In base64.
    output: String,
    receipt: Box<RawValue>,
}

fn bytes(text: &str) -> Result<u64, String> {
    parse_bytes(text).ok_or_else(|| "a size like 128MiB is expected".to_owned())
}

/// A duration, as people write it.
pub fn millis(text: &str) -> Result<u64, String> {
    let duration =
        parse_duration(text).ok_or_else(|| "a duration like 30s or 250ms is expected".to_owned())?;
    u64::try_from(duration.as_millis()).map_err(|_| "a shorter duration is expected".to_owned())
}

pub async fn run(globals: &Globals, verb: RunVerb) -> Outcome {
    let Wanted { mut draft, module } = draft::read(&verb.file)?;
    note_late_options(&verb.args);
    if !verb.args.is_empty() {
        draft.args = verb.args;
    }
    verb.function.into_iter().for_each(|function| draft.function = function);
    verb.memory.into_iter().for_each(|bytes| draft.limits.memory_bytes = bytes);
    verb.time.into_iter().for_each(|millis| draft.limits.time_ms = millis);
    verb.stack.into_iter().for_each(|bytes| draft.limits.stack_bytes = bytes);
    verb.fuel.into_iter().for_each(|fuel| draft.limits.fuel = fuel);
    let stdin = match &verb.stdin {
        Some(path) => draft::read_bounded(path, zerostate::execution::MAX_STDIN_BYTES)?,
        None => Vec::new(),
    };
    let report = match Client::connect(&globals.data_dir()?).await {
        Ok(client) => through_node(&client, Wanted { draft, module }, stdin).await?,
        Err(_) => alone(globals, Wanted { draft, module }, stdin).await?,
    };
    let shown = show(globals, &report);
    if let Some(path) = &verb.receipt {
        let written = crate::files::write(path, report.envelope.as_bytes());
        written.map_err(|error| {
            Failure::failed(format!("cannot write the receipt to {}: {error}", path.display()))
        })?;
    }
    shown
}

/// Everything after the file is the module's. Who meant one of these for `run` is told, unless a `--` says that it is meant so.
fn note_late_options(args: &[String]) {
    const OWN: [&str; 10] = [
        "--memory",
        "--time",
        "--stack",
        "--fuel",
        "--function",
        "--stdin",
        "--receipt",
        "--json",
        "--data-dir",
        "--config",
    ];
    let late = args.iter().find(|arg| OWN.iter().any(|own| arg.split('=').next() == Some(own)));
    if let Some(late) = late
        && !std::env::args_os().any(|arg| arg == "--")
    {
        output::note(&format!(
            "note: {late} stands after the file and goes to the module; put it before the file, or `--` after the file if it is meant so"
        ));
    }
}

async fn through_node(client: &Client, wanted: Wanted, stdin: Vec<u8>) -> Result<RunReport, Failure> {
    let mut draft = wanted.draft;
    if let Some(module) = wanted.module {
        draft = draft::with_artifact(draft, client.add_artifact(Upload::whole(module)).await?.cid);
    }
    match client.execute(Command::Run { draft: Box::new(draft), stdin }).await? {
        Answer::Ran(report) => Ok(*report),
        _ => Err(output::unexpected()),
    }
}

async fn alone(globals: &Globals, wanted: Wanted, stdin: Vec<u8>) -> Result<RunReport, Failure> {
    let data_dir = globals.data_dir()?;
    let config = globals.load_config()?;
    let home = home::with_passphrase(|passphrase| Home::open(&data_dir, passphrase))??;
    let artifacts = home.artifacts(&config)?;
    let mut draft = wanted.draft;
    if let Some(module) = wanted.module {
        let added = artifacts.add_bytes(module, false).await.map_err(ApiError::from)?;
        draft = draft::with_artifact(draft, added.cid.to_string());
    }
    node::attach_stdin(&artifacts, &mut draft, stdin).await?;
    let (tracker, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let tasks = home.tasks_alone(&artifacts, &config, &tracker, shutdown.clone())?;
    let ran = tasks.run(draft).await.map_err(ApiError::from)?;
    shutdown.cancel();
    tracker.close();
    tracker.wait().await;
    Ok(node::report(ran))
}

fn show(globals: &Globals, report: &RunReport) -> Outcome {
    let failed = (report.status != Status::Ok).then(|| {
        let why = why(report).unwrap_or_default();
        Failure::failed(format!("the run ended with {}{why}", report.status))
            .hint(format!("its receipt is {}", report.receipt_id))
    });
    if globals.json {
        let receipt = RawValue::from_string(report.envelope.clone());
        let receipt =
            receipt.map_err(|error| Failure::failed(format!("the receipt is not JSON: {error}")))?;
        output::json(&Shown {
            receipt_id: &report.receipt_id,
            status: report.status,
            exit_code: report.exit_code,
            output: STANDARD.encode(&report.stdout),
            receipt,
        })?;
        return failed.map_or(Ok(0), Err);
    }
    output::bytes(&output::for_people(&report.stdout, std::io::stdout().is_terminal()))?;
    let mut err = std::io::stderr().lock();
    let stderr = output::for_people(&report.stderr, err.is_terminal());
    if let Err(error) = err.write_all(&stderr).and_then(|()| err.flush()) {
        return Err(Failure::failed(format!("cannot write to stderr: {error}")));
    }
    match failed {
        Some(failure) => Err(failure),
        // The guest's exit code is the program's; what does not fit is a failure all the same.
        None => Ok(report.exit_code.map_or(0, |code| u8::try_from(code).unwrap_or(1))),
    }
}

fn why(report: &RunReport) -> Option<String> {
    let receipt =
        zerostate::document::Envelope::<zerostate::document::Receipt>::open(report.envelope.as_bytes())
            .ok()?;
    receipt.document().error.as_ref().map(|error| format!(": {}", Untrusted::new(error)))
}
