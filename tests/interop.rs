//! Other people's tools read our receipts: the DSSE envelope with Python's securesystemslib, the statement inside with
//! in-toto's own package, the key decoded from its did:key by a few lines of Python.
//!
//! Needs python3 with venv and, once, the package index. Where they are missing the test says so and passes; with `CI=true`
//! it fails instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use tokio::process::Command;
use zerostate::document::{Attestation, Document, Envelope, Receipt, Sha256Digest};
use zerostate::identity::Identity;

use crate::documents::{self, ATTESTATION_PREDICATE, RECEIPT_PREDICATE};
use crate::support::helia::PIP_INSTALL;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/verify.py");
const REQUIREMENTS: &str = include_str!("interop/requirements.txt");
/// Installing takes a minute on a slow line; nothing here may hang for good.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs a program to its end, or ends it.
async fn run(command: &mut Command) -> Result<Output, String> {
    let name = format!("{:?}", command.as_std().get_program());
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(PATIENCE, output).await {
        Ok(done) => done.map_err(|error| format!("{name}: {error}")),
        Err(_) => Err(format!("{name} did not end within {PATIENCE:?}")),
    }
}

async fn succeed(command: &mut Command) -> Result<(), String> {
    let output = run(command).await?;
    if output.status.success() {
        return Ok(());
    }
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no word");
    Err(format!("{:?}: {}: {last}", command.as_std(), output.status))
}

/// The Python of a virtual environment with the pinned packages; made once per build folder and set of pins.
async fn python() -> Result<PathBuf, String> {
    let pins = &Sha256Digest::of(REQUIREMENTS.as_bytes()).to_string()[..16];
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    let (home, ready) = (cache.join(pins), cache.join(format!("{pins}.ready")));
    let python = home.join("bin").join("python3");
    fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
    // Two test runs may want it at once: the second waits for the first, and finds it done.
    let lock = fs::File::create(cache.join("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    // The environment leans on the system's Python, which may have gone or changed since.
    let works = ["-I", "-c", "import cryptography, in_toto_attestation, securesystemslib"];
    if ready.exists() && succeed(Command::new(&python).args(works)).await.is_ok() {
        return Ok(python);
    }
    succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home)).await?;
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/requirements.txt");
    succeed(Command::new(&python).args(PIP_INSTALL).arg(requirements)).await?;
    fs::write(&ready, REQUIREMENTS).map_err(|error| error.to_string())?;
    Ok(python)
}

/// One envelope and what others are to find in it.
struct Case {
    author: Identity,
    envelope: Vec<u8>,
    predicate_type: &'static str,
    subject: &'static str,
    sha256: String,
}

fn cases() -> [Case; 2] {
    let receipt: Envelope<Receipt> = Envelope::sign(&documents::executor(), &documents::receipt()).unwrap();
    let finding: Envelope<Attestation> =
        Envelope::sign(&documents::witness(), &documents::attestation()).unwrap();
    let about = Sha256Digest::from_cid(receipt.id()).unwrap();
    assert_eq!(finding.document().receipt, *receipt.id());
    [
        Case {
            author: documents::executor(),
            envelope: receipt.bytes().to_vec(),
            predicate_type: RECEIPT_PREDICATE,
            subject: "output",
            sha256: receipt.document().output.sha256.to_string(),
        },
        Case {
            author: documents::witness(),
            envelope: finding.bytes().to_vec(),
            predicate_type: ATTESTATION_PREDICATE,
            subject: "receipt",
            sha256: about.to_string(),
        },
    ]
}

impl Case {
    /// What the script says of these bytes: its JSON, or its complaint.
    async fn read(&self, python: &Path, envelope: &[u8], sha256: &str) -> Result<Value, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("envelope.json");
        fs::write(&file, envelope).unwrap();
        let mut command = Command::new(python);
        // Isolated: nothing of the user's Python gets in.
        command.args(["-I", SCRIPT]).arg(&file).args([self.predicate_type, self.subject, sha256]);
        let output = run(&mut command).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            serde_json::from_slice(&output.stdout)
                .map_err(|error| format!("{error}: {}", text(&output.stdout)))
        } else {
            Err(text(&output.stderr))
        }
    }
}

/// With one byte of the payload changed so that it is still JSON.
fn with_changed_payload(envelope: &[u8]) -> Vec<u8> {
    let [label, payload, keyid, sig] = documents::parts(envelope);
    let payload = String::from_utf8(BASE64.decode(payload).unwrap()).unwrap();
    let changed = payload.replacen("2026-", "2027-", 1);
    assert_ne!(changed, payload);
    documents::spell(&label, &BASE64.encode(changed), &keyid, &sig)
}

fn with_changed_signature(envelope: &[u8]) -> Vec<u8> {
    let [label, payload, keyid, sig] = documents::parts(envelope);
    let mut sig = BASE64.decode(sig).unwrap();
    sig[5] ^= 1;
    documents::spell(&label, &payload, &keyid, &BASE64.encode(sig))
}

fn with_another_key(envelope: &[u8]) -> Vec<u8> {
    let [label, payload, _, sig] = documents::parts(envelope);
    documents::spell(&label, &payload, documents::creator().did().as_str(), &sig)
}

fn with_another_type(envelope: &[u8]) -> Vec<u8> {
    let [_, payload, keyid, sig] = documents::parts(envelope);
    documents::spell("application/vnd.other+json", &payload, &keyid, &sig)
}

#[tokio::test]
async fn the_tools_of_in_toto_read_a_receipt_and_an_attestation_and_notice_a_change() {
    let python = match python().await {
        Ok(python) => python,
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("needed where CI=true: {why}"),
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    for case in cases() {
        let found = case.read(&python, &case.envelope, &case.sha256).await.unwrap();
        assert_eq!(found["signer"], case.author.did().as_str());
        assert_eq!(
            found["public_key"],
            hex::encode(case.author.public_key()),
            "decoded from the did:key alone"
        );
        let about = match case.predicate_type {
            RECEIPT_PREDICATE => &found["predicate"]["executor"],
            _ => &found["predicate"]["verifier"]["id"],
        };
        assert_eq!(about, case.author.did().as_str());

        type Change = fn(&[u8]) -> Vec<u8>;
        let changes: [(&str, Change); 4] = [
            ("payload", with_changed_payload),
            ("signature", with_changed_signature),
            ("key", with_another_key),
            ("payload type", with_another_type),
        ];
        for (what, change) in changes {
            let changed = change(&case.envelope);
            let complaint = case.read(&python, &changed, &case.sha256).await.expect_err(what);
            assert!(complaint.starts_with("VerificationError"), "{what}: {complaint}");
        }
        // The script itself looks: an honest envelope about something else is not what was asked for.
        let complaint =
            case.read(&python, &case.envelope, &"0".repeat(64)).await.expect_err("another digest");
        assert!(complaint.starts_with("ValueError: subject"), "{complaint}");
        // A good signature alone is not enough for them either.
        let empty = documents::seal(&case.author, Receipt::PAYLOAD_TYPE, b"{}");
        let complaint = case.read(&python, &empty, &case.sha256).await.expect_err("an empty statement");
        assert!(complaint.starts_with("ValueError"), "{complaint}");
    }
}
