//! `zerostate attest`: run a receipt's task again and sign what was found.

use std::path::Path;

use serde_json::json;
use zerostate::api::{Answer, Answering as _, Command};
use zerostate::document::strict::MAX_ENVELOPE_BYTES;

use super::{Globals, Outcome, draft, output};

#[derive(clap::Args)]
pub struct AttestVerb {
    /// A receipt's id, or a file with its envelope
    receipt: String,
}

pub async fn run(globals: &Globals, verb: AttestVerb) -> Outcome {
    let path = Path::new(&verb.receipt);
    let command = if path.is_file() {
        let mut envelope = draft::read_bounded(path, MAX_ENVELOPE_BYTES as u64 + 1)?;
        if envelope.last() == Some(&b'\n') {
            envelope.pop();
        }
        Command::AttestEnvelope { envelope }
    } else {
        Command::Attest { receipt_id: verb.receipt }
    };
    let client = globals.client().await?;
    if !globals.json {
        output::note("running the task again …");
    }
    let Answer::Attested { attestation_id, verdict, reason, compared } = client.execute(command).await?
    else {
        return Err(output::unexpected());
    };
    if globals.json {
        output::json(
            &json!({ "attestation_id": attestation_id, "verdict": verdict, "reason": reason, "compared": compared }),
        )?;
        return Ok(0);
    }
    let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    output::line(&format!("{verdict}{why}"))?;
    let rows: Vec<Vec<String>> = compared
        .iter()
        .map(|row| {
            vec![
                (if row.is_equal() { "=" } else { "≠" }).to_owned(),
                row.what.clone(),
                row.claimed.clone(),
                row.measured.clone(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        output::table(&["", "what", "claimed", "measured"], &rows, "")?;
    }
    output::line(&format!("signed and announced as {attestation_id}"))?;
    Ok(0)
}
