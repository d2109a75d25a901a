//! `zerostate verify`: check envelopes and bundles, with no node and no network; with `--rerun`, by running the task again.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use zerostate::document::strict::MAX_ENVELOPE_BYTES;
use zerostate::document::{
    AnyEnvelope, Attestation, Document as _, DocumentError, Envelope, Untrusted, Verdict, duration_text,
};
use zerostate::proof::{Bundle, Equivocation, MAX_BUNDLE_BYTES, Problem};

use super::{Failure, Globals, Outcome, draft, output, rerun};

#[derive(clap::Args)]
pub struct VerifyVerb {
    /// Files with one envelope each, or bundles (`zerostate receipt export --bundle`)
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Run the tasks of bundles again as well, here, and compare; their modules must be in them
    #[arg(long)]
    rerun: bool,
}

/// What is in a file that holds.
enum Checked {
    Envelope(Box<AnyEnvelope>),
    /// That a node has signed two chains.
    Equivocation(Box<Equivocation>),
    /// With what running it again came to, where it was asked for, or why it could not be done.
    Bundle(Box<Bundle>, Option<Box<Result<Attestation, Failure>>>),
}

/// Why a file proves nothing.
enum Doubt {
    Unread(Failure),
    Envelope(DocumentError),
    Bundle(Vec<Problem>),
    Equivocation(Vec<Problem>),
    /// There is nothing in it to be run again.
    NoBundle(Failure),
}

pub async fn run(globals: &Globals, verb: &VerifyVerb) -> Outcome {
    let mut checked = Vec::new();
    for path in &verb.files {
        checked.push(check(path, verb.rerun).await);
    }
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
    let (count, invalid) = (checked.len(), checked.iter().filter(|checked| !is_valid(checked)).count());
    let envelopes = checked.iter().all(|checked| {
        matches!(checked, Ok(Checked::Envelope(_)) | Err(Doubt::Envelope(_) | Doubt::Unread(_)))
    });
    // Of several that are not good, the worst decides: what could not even be read was wrong usage.
    let rank = |checked: &Result<Checked, Doubt>| match checked {
        Err(Doubt::Unread(_) | Doubt::NoBundle(_)) => 0,
        Err(_) => 1,
        Ok(Checked::Bundle(_, Some(found))) if found.is_ok() => 2,
        Ok(_) => 3,
    };
    match checked.into_iter().filter(|checked| !is_good(checked)).min_by_key(rank) {
        None => Ok(0),
        Some(Err(Doubt::Unread(failure) | Doubt::NoBundle(failure))) => Err(failure),
        Some(Ok(Checked::Bundle(_, Some(found)))) if found.is_err() || count == 1 => {
            Err(found.map_or_else(|failure| failure, |found| unlike(&found)))
        }
        Some(Err(Doubt::Bundle(_))) if count == 1 => Err(Failure::failed("the bundle does not verify")),
        Some(Err(Doubt::Equivocation(_))) if count == 1 => {
            Err(Failure::failed("that somebody keeps two chains does not verify"))
        }
        Some(_) if count == 1 => Err(Failure::failed("the envelope does not verify")),
        Some(_) => {
            let what = if envelopes { "envelopes" } else { "files" };
            Err(Failure::failed(format!("{invalid} of {count} {what} do not verify")))
        }
    }
}

/// Whether it holds, and running it again, where that was done, found nothing else.
fn is_valid(checked: &Result<Checked, Doubt>) -> bool {
    match checked {
        Ok(Checked::Bundle(_, Some(found))) => {
            found.as_ref().as_ref().map_or(true, |found| found.verdict != Verdict::Disagree)
        }
        other => other.is_ok(),
    }
}

/// Why running it again does not prove it.
fn unlike(found: &Attestation) -> Failure {
    match found.verdict {
        Verdict::Unverifiable => Failure::failed("run again here, it could not be told whether it is right"),
        Verdict::Agree | Verdict::Disagree => Failure::failed("run again here, it came to something else"),
    }
}

/// Whether all that was asked for was done as well.
fn is_good(checked: &Result<Checked, Doubt>) -> bool {
    match checked {
        Ok(Checked::Bundle(_, Some(found))) => {
            found.as_ref().as_ref().is_ok_and(|found| found.verdict == Verdict::Agree)
        }
        other => other.is_ok(),
    }
}

async fn check(path: &Path, run_again: bool) -> Result<Checked, Doubt> {
    let mut bytes = draft::read_bounded(path, MAX_BUNDLE_BYTES).map_err(Doubt::Unread)?;
    if Equivocation::is_meant(&bytes) {
        let found = Equivocation::read(&bytes).map_err(Doubt::Equivocation)?;
        if run_again {
            let why = format!("{} has two heads of a chain, which are not run", path.display());
            return Err(Doubt::NoBundle(Failure::usage(why)));
        }
        return Ok(Checked::Equivocation(Box::new(found)));
    }
    if Bundle::is_meant(&bytes) {
        let bundle = Bundle::read(&bytes).map_err(Doubt::Bundle)?;
        drop(bytes);
        let found = if run_again { Some(Box::new(rerun::rerun(&bundle).await)) } else { None };
        return Ok(Checked::Bundle(Box::new(bundle), found));
    }
    // A line end after the envelope is what editors and `>` leave; it is not part of it.
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.len() > MAX_ENVELOPE_BYTES {
        return Err(Doubt::Envelope(DocumentError::TooLarge {
            bytes: bytes.len(),
            limit: MAX_ENVELOPE_BYTES,
        }));
    }
    let envelope = AnyEnvelope::open(&bytes).map_err(Doubt::Envelope)?;
    if run_again {
        let why = format!("{} is one envelope, and what is to be run is not in it", path.display());
        let hint = "`zerostate receipt export RECEIPT --bundle --with-artifact` writes what can be run again";
        return Err(Doubt::NoBundle(Failure::usage(why).hint(hint)));
    }
    Ok(Checked::Envelope(Box::new(envelope)))
}

fn problems(doubt: &Doubt) -> Vec<String> {
    match doubt {
        Doubt::Unread(failure) | Doubt::NoBundle(failure) => vec![failure.message().to_owned()],
        Doubt::Envelope(error) => vec![error.to_string()],
        Doubt::Bundle(problems) | Doubt::Equivocation(problems) => {
            problems.iter().map(ToString::to_string).collect()
        }
    }
}

fn answer(checked: &Result<Checked, Doubt>) -> Value {
    match checked {
        Ok(Checked::Envelope(envelope)) => json!({
            "valid": true,
            "kind": envelope.kind(),
            "id": envelope.id().to_string(),
            "signer": envelope.signer(),
            "document": document(envelope),
            "attestations": [],
            "problems": [],
        }),
        Ok(Checked::Equivocation(found)) => json!({
            "valid": true,
            "kind": "equivocation",
            "id": found.first.id().to_string(),
            "signer": found.node(),
            "document": document(&AnyEnvelope::Head(found.first.clone())),
            "other": document(&AnyEnvelope::Head(found.second.clone())),
            "position": found.position,
            "attestations": [],
            "problems": [],
        }),
        Ok(Checked::Bundle(bundle, found)) => json!({
            "valid": is_valid(checked),
            "kind": "bundle",
            "id": bundle.receipt.id().to_string(),
            "signer": bundle.receipt.signer(),
            "document": document(&AnyEnvelope::Receipt(bundle.receipt.clone())),
            "manifest": document(&AnyEnvelope::Manifest(bundle.manifest.clone())),
            "standing": bundle.standing().as_str(),
            "attestations": votes(bundle),
            "commitments": bundle.commitments.len(),
            "agreements": bundle.agreements.len(),
            "proven": bundle.proven(),
            "not_proven": bundle.not_proven(found_of(found)),
            "rerun": found.as_ref().and_then(|found| found.as_ref().as_ref().ok()).map(|found| json!({
                "verdict": found.verdict, "reason": found.reason, "compared": found.compared,
            })),
            "problems": found.iter().flat_map(|found| rerun_problems(found)).collect::<Vec<_>>(),
        }),
        Err(doubt) => json!({
            "valid": false,
            "kind": match doubt {
                Doubt::Bundle(_) => Some("bundle"),
                Doubt::Equivocation(_) => Some("equivocation"),
                _ => None,
            },
            "signer": null,
            "document": null,
            "attestations": [],
            "problems": problems(doubt),
        }),
    }
}

/// The votes, each with why it does not count if it does not.
fn votes(bundle: &Bundle) -> Vec<Value> {
    let tally = bundle.tally();
    let discounted = |vote: &Envelope<Attestation>| {
        let fault = tally.faults.iter().find(|fault| fault.attestation.as_ref() == Some(vote.id()));
        if tally.refuted().any(|refuted| refuted.id() == vote.id()) {
            return Some("whoever asked for the task has run it too, and it is not so".to_owned());
        }
        let counted = tally.counted.iter().any(|counted| counted.id() == vote.id());
        let settles = || "it settles what the witnesses do not agree on, and is none of them".to_owned();
        fault.map(|fault| fault.why.clone()).or_else(|| (!counted).then(settles))
    };
    bundle.attestations.iter().map(|attestation| vote(attestation, discounted(attestation))).collect()
}

fn vote(attestation: &Envelope<Attestation>, discounted: Option<String>) -> Value {
    let finding = attestation.document();
    json!({
        "attestation_id": attestation.id().to_string(),
        "witness": finding.witness,
        "verdict": finding.verdict,
        "reason": finding.reason,
        "differences": finding.differences().collect::<Vec<_>>(),
        "at": finding.created_at,
        "discounted": discounted,
    })
}

fn rerun_problems(found: &Result<Attestation, Failure>) -> Vec<String> {
    match found {
        Ok(found) => differences(found),
        Err(failure) => vec![failure.message().to_owned()],
    }
}

/// What running it again came to, if it was and could be.
fn found_of(found: &Option<Box<Result<Attestation, Failure>>>) -> Option<&Attestation> {
    found.as_deref().and_then(|found| found.as_ref().ok())
}

/// What was found to be otherwise.
fn differences(found: &Attestation) -> Vec<String> {
    if found.verdict != Verdict::Disagree {
        return Vec::new();
    }
    let reason = found.reason.iter().map(|reason| Untrusted::new(reason).to_string());
    let differs = found.differences().map(|row| {
        format!("{}: {} is claimed, {} was found", row.what, Untrusted::new(&row.claimed), row.measured)
    });
    reason.chain(differs).collect()
}

/// The payload as it was signed.
fn document(envelope: &AnyEnvelope) -> Value {
    let payload = match envelope {
        AnyEnvelope::Manifest(envelope) => envelope.document().encode(),
        AnyEnvelope::Receipt(envelope) => envelope.document().encode(),
        AnyEnvelope::Attestation(envelope) => envelope.document().encode(),
        AnyEnvelope::AgentCard(envelope) => envelope.document().encode(),
        AnyEnvelope::Charter(envelope) => envelope.document().encode(),
        AnyEnvelope::Agreement(envelope) => envelope.document().encode(),
        AnyEnvelope::Commitment(envelope) => envelope.document().encode(),
        AnyEnvelope::Head(envelope) => envelope.document().encode(),
    };
    payload.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn sentence(path: &Path, checked: &Result<Checked, Doubt>) -> String {
    let path = path.display();
    match checked {
        Err(doubt) => match problems(doubt).as_slice() {
            [only] => format!("✗ {path}: {only}"),
            all => format!("✗ {path}:\n  {}", all.join("\n  ")),
        },
        Ok(Checked::Envelope(envelope)) => format!(
            "✓ {path}: {} {}\n  signed by {}\n  {}\n  proven: these words are the signer's, unchanged; not that they are true",
            envelope.kind(),
            envelope.id(),
            envelope.signer(),
            said(envelope)
        ),
        Ok(Checked::Equivocation(found)) => format!(
            "✓ {path}: two chains of {}\n  proven:\n    it has signed a chain of {} entries and one of {}, which part at {}: it has told two different stories of what it did",
            found.node(),
            found.first.document().length,
            found.second.document().length,
            found.position
        ),
        Ok(Checked::Bundle(bundle, found)) => {
            let mark = if is_good(checked) { "✓" } else { "✗" };
            let mut text = format!("{mark} {path}: receipt {}, {}", bundle.receipt.id(), bundle.standing());
            let open = bundle.not_proven(found_of(found));
            for (heading, lines) in [("proven", bundle.proven()), ("not proven", open)] {
                text.push_str(&format!("\n  {heading}:"));
                lines.iter().for_each(|line| text.push_str(&format!("\n    {line}")));
            }
            match found.as_deref() {
                Some(Err(failure)) => {
                    text.push_str(&format!("\n  not run again here: {}", failure.message()));
                }
                Some(Ok(found)) => text.push_str(&compared(found)),
                None => {}
            }
            text
        }
    }
}

/// What an envelope says, in a few words.
fn said(envelope: &AnyEnvelope) -> String {
    match envelope {
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
        AnyEnvelope::Head(head) => format!("a chain of {} entries", head.document().length),
        AnyEnvelope::Agreement(agreement) => {
            let agreement = agreement.document();
            format!("to the task of manifest {}, run by {}", agreement.manifest, agreement.executor)
        }
        AnyEnvelope::Commitment(commitment) => {
            format!("binds its witness to a verdict on receipt {}", commitment.document().receipt)
        }
        AnyEnvelope::Charter(charter) => {
            let charter = charter.document();
            format!("the guild \"{}\" until {}", Untrusted::new(&charter.name), charter.expires_at)
        }
    }
}

/// What running it again came to.
fn compared(found: &Attestation) -> String {
    let why = found.reason.as_deref().map(|why| format!(", {}", Untrusted::new(why)));
    let mut text = format!("\n  run again here: {}{}", found.verdict, why.unwrap_or_default());
    for row in &found.compared {
        let sign = if row.is_equal() { "=" } else { "≠" };
        let claimed = Untrusted::new(&row.claimed);
        text.push_str(&format!("\n    {:<12} {claimed} {sign} {}", row.what, row.measured));
    }
    text
}
