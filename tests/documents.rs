//! Signed documents from outside: what is signed comes back, and whatever was touched, swapped, doubled or bloated is
//! refused with a sentence that says what.

mod attestations;
mod charters;
mod drafts;
mod envelopes;
mod keys;
mod receipts;
mod strictness;
mod untrusted;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::{Value, json};
use zerostate::config::Admit;
use zerostate::document::{
    AgentCard, AnyEnvelope, Artifact, Attestation, AttestationTerms, Charter, Content, Cost, Credits,
    Document, DocumentError, Envelope, Environment, Input, Kind, Limits, Manifest, Measured, Output, Payment,
    Receipt, Sha256Digest, Sla, Status, ValueType,
};
use zerostate::identity::Identity;

pub const RECEIPT_PREDICATE: &str = "urn:zerostate:execution-receipt:v1";
pub const ATTESTATION_PREDICATE: &str = "https://in-toto.io/attestation/svr/v0.1";

pub fn creator() -> Identity {
    Identity::from_secret(&[1; 32])
}

pub fn executor() -> Identity {
    Identity::from_secret(&[2; 32])
}

pub fn witness() -> Identity {
    Identity::from_secret(&[3; 32])
}

pub fn noon() -> Timestamp {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

pub fn credits(micro: u64) -> Credits {
    Credits::from_micro(micro).unwrap()
}

/// A manifest in which no list is empty and no field has its default.
pub fn manifest() -> Manifest {
    let sha256 = Sha256Digest::of(b"a module");
    Manifest {
        task_id: "0123456789abcdef0123456789abcdef".to_owned(),
        name: "count words".to_owned(),
        description: "counts\nwords".to_owned(),
        version: "1.2.3".to_owned(),
        created_at: noon(),
        expires_at: noon() + Duration::from_secs(3600),
        creator: creator().did().clone(),
        artifact: Artifact { cid: sha256.to_cid(), sha256, size: 8 },
        providers: vec![
            "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWKHudbiPiuP6wiP3mTGZsXV1jTqDb7sWoMoBhgk5Lkm7X".to_owned(),
        ],
        limits: Limits { memory_bytes: 64 << 20, time_ms: 5_000, stack_bytes: 2 << 20, fuel: 10_000_000_000 },
        function: "count".to_owned(),
        args: vec!["--words".to_owned(), "ž".to_owned()],
        inputs: vec![
            Input { name: "text".to_owned(), value_type: ValueType::String, value: json!("to be") },
            Input { name: "least".to_owned(), value_type: ValueType::Integer, value: json!(-3) },
            Input { name: "more".to_owned(), value_type: ValueType::Json, value: json!({"a": {"b": [1.5]}}) },
        ],
        outputs: vec![Output { name: "words".to_owned(), value_type: ValueType::Integer }],
        capabilities: vec!["gpu".to_owned()],
        payment: Payment {
            per_second_micro: credits(2_000),
            per_mib_micro: credits(100),
            per_gfuel_micro: credits(10),
            max_total_micro: credits(50_000),
        },
        sla: Sla {
            max_start_delay_ms: 10_000,
            required_uptime_ppm: 990_000,
            max_failure_rate_ppm: 10_000,
            min_reputation_ppm: 500_000,
        },
        attestation: AttestationTerms { quorum: 2, witnesses: 3 },
        nonce: "fedcba9876543210fedcba9876543210".to_owned(),
    }
}

pub fn environment() -> Environment {
    Environment {
        engine: "wasmtime".to_owned(),
        version: "48.0.0".to_owned(),
        settings_sha256: Sha256Digest::of(b"settings"),
        target: "x86_64-unknown-linux-gnu".to_owned(),
    }
}

/// The receipt of an honest run of `manifest`.
pub fn receipt_of(manifest: &Manifest) -> Receipt {
    let stdin = match manifest.stdin() {
        zerostate::document::Stdin::Inline(bytes) => Content::of(&bytes),
        zerostate::document::Stdin::Blob(cid) => {
            Content { sha256: Sha256Digest::from_cid(&cid).unwrap(), size: 4 }
        }
    };
    let (duration, memory, fuel) = (Duration::from_millis(80), 2 << 20, 1_204_551);
    Receipt {
        task_id: manifest.task_id.clone(),
        manifest: manifest_id(manifest),
        artifact: manifest.artifact.clone(),
        inputs: stdin,
        output: Content::of(b"2\n"),
        guild: Some("a-guild".to_owned()),
        agreement: None,
        executor: executor().did().clone(),
        requester: manifest.creator.clone(),
        status: Status::Ok,
        exit_code: Some(0),
        error: None,
        started_at: noon(),
        finished_at: noon() + duration,
        duration_ns: 80_000_000,
        fuel_used: fuel,
        peak_memory_bytes: memory,
        cost: Cost::of(&manifest.payment, duration, memory, fuel),
        environment: environment(),
        nonce: manifest.nonce.clone(),
    }
}

pub fn manifest_id(manifest: &Manifest) -> cid::Cid {
    zerostate::document::content_id(&manifest.encode().unwrap())
}

pub fn receipt() -> Receipt {
    receipt_of(&manifest())
}

pub fn receipt_id(receipt: &Receipt) -> cid::Cid {
    zerostate::document::content_id(&receipt.encode().unwrap())
}

/// What a witness finds who measures the same as the receipt claims.
pub fn attestation() -> Attestation {
    let receipt = receipt();
    Attestation::compare(
        (&receipt_id(&receipt), &receipt),
        &Measured::from(&receipt),
        environment(),
        None,
        witness().did().clone(),
        noon(),
    )
}

pub fn charter() -> Charter {
    Charter {
        name: "count the words".to_owned(),
        creator: creator().did().clone(),
        created_at: noon(),
        expires_at: noon() + Charter::TTL,
        capacity: Charter::CAPACITY,
        admit: Admit::Ask,
        nonce: "00112233445566778899aabbccddeeff".to_owned(),
    }
}

pub fn card() -> AgentCard {
    AgentCard {
        capabilities: vec!["camera".to_owned()],
        addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
        prices: manifest().payment,
        ..AgentCard::new(creator().did().clone(), "atlas", noon())
    }
}

/// One honest envelope of a kind, and the door through which that kind comes in.
pub struct Sample {
    pub kind: Kind,
    pub author: Identity,
    pub payload_type: &'static str,
    pub payload: Vec<u8>,
    pub envelope: Vec<u8>,
    pub open: fn(&[u8]) -> Result<(), DocumentError>,
}

pub fn samples() -> [Sample; 5] {
    [
        sample(Kind::Manifest, creator(), &manifest(), |bytes| Envelope::<Manifest>::open(bytes).map(drop)),
        sample(Kind::Receipt, executor(), &receipt(), |bytes| Envelope::<Receipt>::open(bytes).map(drop)),
        sample(Kind::Attestation, witness(), &attestation(), |bytes| {
            Envelope::<Attestation>::open(bytes).map(drop)
        }),
        sample(Kind::AgentCard, creator(), &card(), |bytes| Envelope::<AgentCard>::open(bytes).map(drop)),
        sample(Kind::Charter, creator(), &charter(), |bytes| Envelope::<Charter>::open(bytes).map(drop)),
    ]
}

fn sample<T: Document>(
    kind: Kind,
    author: Identity,
    document: &T,
    open: fn(&[u8]) -> Result<(), DocumentError>,
) -> Sample {
    let envelope = Envelope::sign(&author, document).unwrap().bytes().to_vec();
    let payload = document.encode().unwrap();
    Sample { kind, author, payload_type: T::PAYLOAD_TYPE, payload, envelope, open }
}

impl Sample {
    /// Why both doors, the kind's own and the one for any kind, refuse these bytes.
    #[track_caller]
    pub fn refused(&self, bytes: &[u8], why: &str) -> String {
        let error = match (self.open)(bytes) {
            Ok(()) => panic!("a {} with {why} was accepted", self.kind),
            Err(error) => error.to_string(),
        };
        // The second door opens what is of another kind; what it must not do is open it as this one.
        match AnyEnvelope::open(bytes) {
            Ok(other) => assert_ne!(other.kind(), self.kind, "accepted where any kind is: {why}"),
            Err(other) => assert!(!other.to_string().is_empty()),
        }
        error
    }

    /// Refused, and the error says so: it holds one of `words`.
    #[track_caller]
    pub fn refused_for(&self, bytes: &[u8], why: &str, word: &str) {
        let error = self.refused(bytes, why);
        assert!(error.contains(word), "{} with {why}: {error:?} does not say {word:?}", self.kind);
    }

    /// The author's own signature on other payload bytes: what is wrong with them, only the reader can tell.
    pub fn resigned(&self, payload: impl AsRef<[u8]>) -> Vec<u8> {
        seal(&self.author, self.payload_type, payload.as_ref())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap()
    }
}

/// An envelope by hand: the DSSE v1 pre-authentication encoding, signed, in the one spelling.
pub fn seal(identity: &Identity, payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let signature = identity.sign(&pre_authentication(payload_type, payload));
    spell(payload_type, &BASE64.encode(payload), &identity.did().to_string(), &BASE64.encode(signature))
}

pub fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Compact JSON, fields in order, from texts that need no escapes.
pub fn spell(payload_type: &str, payload: &str, keyid: &str, sig: &str) -> Vec<u8> {
    format!(
        r#"{{"payloadType":"{payload_type}","payload":"{payload}","signatures":[{{"keyid":"{keyid}","sig":"{sig}"}}]}}"#
    )
    .into_bytes()
}

/// The four texts of an envelope: payload type, payload, keyid, signature.
pub fn parts(envelope: &[u8]) -> [String; 4] {
    let wire: Value = serde_json::from_slice(envelope).unwrap();
    ["/payloadType", "/payload", "/signatures/0/keyid", "/signatures/0/sig"]
        .map(|at| wire.pointer(at).and_then(Value::as_str).unwrap().to_owned())
}

/// Every place in a document, outermost first, as JSON pointers.
pub fn places(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Object(fields) => fields.iter().for_each(|(k, v)| walk(v, &format!("{at}/{k}"), found)),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, v)| walk(v, &format!("{at}/{i}"), found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}
