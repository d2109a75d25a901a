//! `zerostate verify`: check envelopes, with no node and no network.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use zerostate::document::strict::MAX_ENVELOPE_BYTES;
use zerostate::document::{AnyEnvelope, Document as _, DocumentError, Untrusted, duration_text};

use super::{Failure, Globals, Outcome, draft, output};

#[derive(clap::Args)]
pub struct VerifyVerb {
    /// Files with one envelope each
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

pub fn run(globals: &Globals, verb: &VerifyVerb) -> Outcome {
    let checked: Vec<Checked> = verb.files.iter().map(|path| check(path)).collect();
    if globals.json {
        let answers: Vec<Value> = checked.iter().map(answer).collect();
        match answers.as_slice() {
            [only] => output::json(only)?,
            all => output::json(&all)?,
        }
    } else {
        for (path, checked) in verb.files.iter().zip(&checked) {
            output::line(&sentence(path, checked))?;
        }
    }
    let (count, invalid) = (checked.len(), checked.iter().filter(|checked| checked.is_err()).count());
    let unread = checked.into_iter().filter_map(Result::err).find_map(|problem| match problem {
        Problem::Unread(failure) => Some(failure),
        Problem::Invalid(_) => None,
    });
    match (unread, invalid) {
        (Some(failure), _) => Err(failure),
        (None, 0) => Ok(0),
        (None, 1) if count == 1 => Err(Failure::failed("the envelope does not verify")),
        (None, _) => Err(Failure::failed(format!("{invalid} of {count} envelopes do not verify"))),
    }
}

type Checked = Result<AnyEnvelope, Problem>;

/// Why a file proves nothing.
enum Problem {
    Unread(Failure),
    Invalid(DocumentError),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(failure) => f.write_str(failure.message()),
            Self::Invalid(error) => error.fmt(f),
        }
    }
}

fn check(path: &Path) -> Checked {
    // A line end after the envelope is what editors and `>` leave; it is not part of it.
    let mut bytes = draft::read_bounded(path, 2 * MAX_ENVELOPE_BYTES as u64).map_err(Problem::Unread)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    AnyEnvelope::open(&bytes).map_err(Problem::Invalid)
}

fn answer(checked: &Checked) -> Value {
    match checked {
        Ok(envelope) => json!({
            "valid": true,
            "kind": envelope.kind(),
            "id": envelope.id().to_string(),
            "signer": envelope.signer(),
            "document": document(envelope),
            "attestations": [],
            "problems": [],
        }),
        Err(problem) => json!({
            "valid": false,
            "kind": null,
            "signer": null,
            "document": null,
            "attestations": [],
            "problems": [problem.to_string()],
        }),
    }
}

/// The payload as it was signed.
fn document(envelope: &AnyEnvelope) -> Value {
    let payload = match envelope {
        AnyEnvelope::Manifest(envelope) => envelope.document().encode(),
        AnyEnvelope::Receipt(envelope) => envelope.document().encode(),
        AnyEnvelope::Attestation(envelope) => envelope.document().encode(),
        AnyEnvelope::AgentCard(envelope) => envelope.document().encode(),
        AnyEnvelope::Charter(envelope) => envelope.document().encode(),
    };
    payload.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn sentence(path: &Path, checked: &Checked) -> String {
    let envelope = match checked {
        Ok(envelope) => envelope,
        Err(error) => return format!("✗ {}: {error}", path.display()),
    };
    let what = match envelope {
        AnyEnvelope::Receipt(receipt) => {
            let receipt = receipt.document();
            let (fuel, cost) = (receipt.fuel_used, receipt.cost.total_micro);
            format!("{} in {}, {fuel} fuel, cost {cost}", receipt.status, duration_text(receipt.duration()))
        }
        AnyEnvelope::Attestation(attestation) => {
            format!("{} about receipt {}", attestation.document().verdict, attestation.document().receipt)
        }
        AnyEnvelope::Manifest(manifest) => format!("task {}", manifest.document().task_id),
        AnyEnvelope::AgentCard(_) => "an agent's card".to_owned(),
        AnyEnvelope::Charter(charter) => {
            let charter = charter.document();
            format!("the guild \"{}\" until {}", Untrusted::new(&charter.name), charter.expires_at)
        }
    };
    format!(
        "✓ {}: {} {}\n  signed by {}\n  {what}\n  proven: these words are the signer's, unchanged; not that they are true",
        path.display(),
        envelope.kind(),
        envelope.id(),
        envelope.signer()
    )
}
