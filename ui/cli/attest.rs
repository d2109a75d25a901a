//! `zerostate attest`: run receipts' tasks again and sign what was found.

use std::path::Path;

use serde_json::{Value, json};
use zerostate::api::{Answer, Answering as _, Client, Command, Named};
use zerostate::document::strict::MAX_ENVELOPE_BYTES;

use super::{Failure, Globals, Outcome, draft, output};

#[derive(clap::Args)]
pub struct AttestVerb {
    /// Receipts' ids, or files with their envelopes
    #[arg(required = true)]
    receipts: Vec<String>,
    /// Sign nothing: only say what would be signed
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(globals: &Globals, verb: AttestVerb) -> Outcome {
    let client = globals.client().await?;
    let (mut said, mut failed) = (Vec::new(), None);
    for receipt in &verb.receipts {
        if !globals.json {
            output::note("running the task again …");
        }
        // What has been signed is told, whatever comes after it.
        match one(&client, receipt, verb.dry_run).await {
            Ok(found) if globals.json => said.push(found),
            Ok(found) => show(&found)?,
            Err(failure) if verb.receipts.len() == 1 => return Err(failure),
            Err(failure) => {
                output::note(&format!("{receipt}: {}", failure.message()));
                said.push(json!({ "receipt": receipt, "attestation_id": null, "error": failure.message() }));
                failed.get_or_insert(failure);
            }
        }
    }
    if globals.json {
        match said.as_slice() {
            [only] if verb.receipts.len() == 1 => output::json(only)?,
            all => output::json(&all)?,
        }
    }
    failed.map_or(Ok(0), Err)
}

fn named(receipt: &str) -> Result<Named, Failure> {
    let path = Path::new(receipt);
    if !path.is_file() {
        return Ok(Named::ReceiptId(receipt.to_owned()));
    }
    let mut envelope = draft::read_bounded(path, MAX_ENVELOPE_BYTES as u64 + 1)?;
    if envelope.last() == Some(&b'\n') {
        envelope.pop();
    }
    Ok(Named::Envelope(envelope))
}

/// What was found, and under which id it was signed.
async fn one(client: &Client, given: &str, dry_run: bool) -> Result<Value, Failure> {
    let receipt = named(given)?;
    let command = if dry_run { Command::Examine { receipt } } else { Command::Attest { receipt } };
    Ok(match client.execute(command).await? {
        Answer::Attested { attestation_id, verdict, reason, compared } => json!({
            "receipt": given, "attestation_id": attestation_id, "verdict": verdict, "reason": reason, "compared": compared,
        }),
        Answer::Examined { verdict, reason, compared, known, caveat, .. } => json!({
            "receipt": given, "attestation_id": null, "verdict": verdict, "reason": reason, "compared": compared, "signed_before": known, "caveat": caveat,
        }),
        _ => return Err(output::unexpected()),
    })
}

fn show(found: &Value) -> Result<(), Failure> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let why = found["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
    output::line(&format!("{}{why}", word(&found["verdict"])))?;
    let rows: Vec<Vec<String>> = found["compared"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| {
            let sign = if row["claimed"] == row["measured"] { "=" } else { "≠" };
            vec![sign.to_owned(), word(&row["what"]), word(&row["claimed"]), word(&row["measured"])]
        })
        .collect();
    if !rows.is_empty() {
        output::table(&["", "what", "claimed", "measured"], &rows, "")?;
    }
    if let Some(caveat) = found["caveat"].as_str() {
        output::line(&format!("whether it counts: {caveat}"))?;
    }
    match (found["attestation_id"].as_str(), found["signed_before"].as_bool()) {
        (Some(id), _) => output::line(&format!("signed and announced as {id}")),
        (None, Some(true)) => output::line("this node has signed that before"),
        (None, _) => output::line("nothing is signed"),
    }
}
