//! `zerostate receipt list|show|export`.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use zerostate::api::{Answer, AttestationView, Command, ReceiptDetail, ReceiptRecord};
use zerostate::document::{Receipt, bytes_text, duration_text};

use super::{Failure, Globals, Outcome, output, submit, task};
use crate::bundle::bundled;

#[derive(clap::Subcommand)]
pub enum ReceiptVerb {
    /// List receipts, newest first
    List {
        /// At most this many
        #[arg(long, default_value_t = 10_000)]
        limit: usize,
    },
    /// Show a receipt with its attestations
    Show { receipt_id: String },
    /// Write a receipt's signed envelope, or a bundle with all that speaks for it
    Export {
        receipt_id: String,
        /// To this file instead of stdout
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// With its manifest, inputs and attestations: `zerostate verify` checks it anywhere, without a network
        #[arg(long)]
        bundle: bool,
        /// And with the module, so that it can be run again anywhere
        #[arg(long, requires = "bundle")]
        with_artifact: bool,
    },
}

pub async fn run(globals: &Globals, verb: ReceiptVerb) -> Outcome {
    let client = globals.client().await?;
    match verb {
        ReceiptVerb::List { limit } => {
            let page = |answer| match answer {
                Answer::Receipts(page) => Some(page),
                _ => None,
            };
            list(globals, &task::all(&client, limit, |page| Command::Receipts { page }, page).await?)?;
        }
        ReceiptVerb::Show { receipt_id } => show(globals, &submit::receipt(&client, receipt_id).await?)?,
        ReceiptVerb::Export { receipt_id, output: file, bundle, with_artifact } => {
            let (what, receipt_id, text) = if bundle {
                let (receipt_id, text) = bundled(&client, receipt_id, with_artifact).await?;
                ("the bundle of receipt", receipt_id, text)
            } else {
                let receipt = submit::receipt(&client, receipt_id).await?;
                ("receipt", receipt.receipt_id, receipt.envelope)
            };
            match file {
                None => output::line(text.trim_end())?,
                Some(path) => {
                    let written = crate::files::write(&path, text.as_bytes());
                    written.map_err(|error| {
                        Failure::failed(format!("cannot write {}: {error}", path.display()))
                    })?;
                    if globals.json {
                        output::json(&json!({ "receipt_id": receipt_id, "file": path }))?;
                    } else {
                        output::line(&format!("wrote {what} {receipt_id} to {}", path.display()))?;
                    }
                }
            }
        }
    }
    Ok(0)
}

/// What `show --json` prints. A struct and no `json!`: that would sort the envelope's fields, and a signed envelope has one
/// spelling.
#[derive(Serialize)]
struct Shown<'a> {
    receipt_id: &'a str,
    receipt: &'a Receipt,
    envelope: Box<RawValue>,
    attestations: Vec<Value>,
}

/// An attestation as JSON has it.
pub fn vote(vote: &AttestationView) -> Value {
    json!({
        "attestation_id": vote.attestation_id,
        "witness": vote.witness,
        "verdict": vote.verdict,
        "reason": vote.reason,
        "differences": vote.differences,
        "at": vote.at,
        "discounted": vote.discounted,
    })
}

fn list(globals: &Globals, receipts: &[ReceiptRecord]) -> Result<(), Failure> {
    if globals.json {
        return output::json(&receipts);
    }
    let rows: Vec<Vec<String>> = receipts
        .iter()
        .map(|row| {
            let votes =
                format!("{}/{}{}", row.agree, row.quorum, if row.disagree > 0 { " disputed" } else { "" });
            vec![
                row.receipt_id.clone(),
                row.name.to_string(),
                row.status.to_string(),
                row.total_micro.to_string(),
                row.executor.short(),
                votes,
                output::ago(row.finished_at),
            ]
        })
        .collect();
    let headings = ["receipt", "name", "status", "cost", "executor", "attested", "finished"];
    output::table(
        &headings,
        &rows,
        "no receipts yet; `zerostate run FILE` or `zerostate submit MANIFEST` makes one",
    )
}

fn show(globals: &Globals, detail: &ReceiptDetail) -> Result<(), Failure> {
    let receipt = &detail.receipt;
    if globals.json {
        let envelope = RawValue::from_string(detail.envelope.clone());
        let envelope =
            envelope.map_err(|error| Failure::failed(format!("the receipt is not JSON: {error}")))?;
        return output::json(&Shown {
            receipt_id: &detail.receipt_id,
            receipt,
            envelope,
            attestations: detail.attestations.iter().map(vote).collect(),
        });
    }
    output::pairs(&[
        ("receipt", detail.receipt_id.clone()),
        ("task", receipt.task_id.clone()),
        ("name", detail.record.name.to_string()),
        ("status", receipt.status.to_string()),
        ("exit code", receipt.exit_code.map_or("—".into(), |code| code.to_string())),
        (
            "error",
            receipt
                .error
                .as_deref()
                .map_or("—".into(), |error| zerostate::document::Untrusted::new(error).to_string()),
        ),
        ("executor", receipt.executor.to_string()),
        ("requester", receipt.requester.to_string()),
        ("artifact", receipt.artifact.cid.to_string()),
        ("output", format!("{} sha256 {}", bytes_text(receipt.output.size), receipt.output.sha256)),
        ("duration", duration_text(receipt.duration())),
        ("fuel", receipt.fuel_used.to_string()),
        ("peak memory", bytes_text(receipt.peak_memory_bytes)),
        (
            "cost",
            format!(
                "{} (time {}, memory {}, fuel {})",
                receipt.cost.total_micro,
                receipt.cost.time_micro,
                receipt.cost.memory_micro,
                receipt.cost.fuel_micro
            ),
        ),
        (
            "engine",
            format!(
                "{} {} {}",
                receipt.environment.engine, receipt.environment.version, receipt.environment.target
            ),
        ),
        ("signature", "✓ checked".to_owned()),
    ])?;
    output::line("")?;
    let rows: Vec<Vec<String>> = detail
        .attestations
        .iter()
        .map(|vote| {
            let differs: Vec<String> = vote
                .differences
                .iter()
                .map(|d| format!("{} {} ≠ {}", d.what, d.claimed, d.measured))
                .collect();
            let mut why = vote.reason.as_ref().map_or_else(|| differs.join(", "), ToString::to_string);
            if let Some(discounted) = &vote.discounted {
                why = format!("does not count: {discounted} ({why})");
            }
            vec![vote.verdict.to_string(), vote.witness.to_string(), output::ago(vote.at), why]
        })
        .collect();
    output::table(
        &["verdict", "witness", "when", "why"],
        &rows,
        "not attested yet; `zerostate attest RECEIPT` on another node does it",
    )
}
