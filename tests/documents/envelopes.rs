//! The envelope: comes back as it went, and is worth nothing with a byte changed or another kind's label on it.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use zerostate::document::{
    AgentCard, AnyEnvelope, Attestation, AttestationTerms, Content, Cost, Document, DocumentError, Envelope,
    Input, Kind, Limits, Manifest, Measured, Output, Payment, Receipt, Sha256Digest, Sla, Status, ValueType,
    content_id,
};
use zerostate::identity::Identity;

use super::*;

const SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Signs, opens by both doors, and finds the same document, id, signer and bytes.
fn comes_back<T: Document + PartialEq + std::fmt::Debug>(author: &Identity, document: &T, kind: Kind) {
    let signed = Envelope::sign(author, document).unwrap();
    let opened = Envelope::<T>::open(signed.bytes()).unwrap();
    assert_eq!(opened.document(), document);
    assert_eq!(opened.id(), &content_id(&document.encode().unwrap()), "the id is the CID of the payload");
    assert_eq!(opened.signer(), author.did());
    assert_eq!((opened.id(), opened.bytes()), (signed.id(), signed.bytes()));
    let any = AnyEnvelope::open(signed.bytes()).unwrap();
    assert_eq!((any.kind(), any.id(), any.signer()), (kind, signed.id(), signed.signer()));
    assert_eq!(any.bytes(), signed.bytes());
}

fn identities() -> impl Strategy<Value = Identity> {
    any::<[u8; 32]>().prop_map(|secret| Identity::from_secret(&secret))
}

fn times() -> impl Strategy<Value = Timestamp> {
    // 1970 to 2100, to the nanosecond.
    (0i64..4_102_444_800, 0i32..1_000_000_000).prop_map(|(s, ns)| Timestamp::new(s, ns).unwrap())
}

fn payments() -> impl Strategy<Value = Payment> {
    [0..=SAFE_INTEGER, 0..=SAFE_INTEGER, 0..=SAFE_INTEGER, 0..=SAFE_INTEGER].prop_map(|p| {
        let [per_second_micro, per_mib_micro, per_gfuel_micro, max_total_micro] = p.map(credits);
        Payment { per_second_micro, per_mib_micro, per_gfuel_micro, max_total_micro }
    })
}

fn values() -> impl Strategy<Value = (ValueType, Value)> {
    let safe = i64::try_from(SAFE_INTEGER).unwrap();
    prop_oneof![
        any::<String>().prop_map(|text| (ValueType::String, json!(text))),
        (-safe..=safe).prop_map(|n| (ValueType::Integer, json!(n))),
        any::<bool>().prop_map(|b| (ValueType::Boolean, json!(b))),
        (-1e15..1e15f64).prop_map(|n| (ValueType::Number, json!(n))),
        proptest::collection::btree_map(any::<String>(), proptest::collection::vec(any::<u32>(), 0..3), 0..3)
            .prop_map(|map| (ValueType::Json, json!(map))),
    ]
}

fn manifests() -> impl Strategy<Value = (Identity, Manifest)> {
    let names = "[A-Za-z0-9_.-]{1,20}";
    let words = ("[a-z]\\PC{0,20}", "\\PC{0,60}", "\\PC{0,12}", "\\PC{1,12}");
    let lists = (
        proptest::collection::vec("[^\\x00]{0,20}", 0..4),
        proptest::collection::btree_map(names, values(), 0..4),
        proptest::collection::btree_set(names, 0..3),
        proptest::collection::vec(names, 0..3),
    );
    let limits = (65_536u64..=16 << 30, 1u64..=3_600_000, 65_536u64..=16 << 20, 1..=SAFE_INTEGER);
    let sla = (0u64..=3_600_000, 0u32..=1_000_000, 0u32..=1_000_000, 0u32..=1_000_000);
    let ids = (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<[u8; 32]>(), 1u64..=64 << 20);
    let life = 1u64..=7 * 24 * 3_600_000;
    let witnesses = (0u32..=32).prop_flat_map(|quorum| (Just(quorum), quorum..=32));
    (identities(), words, lists, limits, sla, ids, times(), life, payments(), witnesses).prop_map(
        |(author, words, lists, limits, sla, ids, created_at, life, payment, (quorum, witnesses))| {
            let sha256 = Sha256Digest::of(&ids.2);
            let manifest = Manifest {
                task_id: hex::encode(ids.0),
                name: words.0,
                description: words.1,
                version: words.2,
                created_at,
                expires_at: created_at + Duration::from_millis(life),
                creator: author.did().clone(),
                artifact: Artifact { cid: sha256.to_cid(), sha256, size: ids.3 },
                providers: Vec::new(),
                limits: Limits {
                    memory_bytes: limits.0,
                    time_ms: limits.1,
                    stack_bytes: limits.2,
                    fuel: limits.3,
                },
                function: words.3,
                args: lists.0,
                inputs: lists
                    .1
                    .into_iter()
                    .map(|(name, (value_type, value))| Input { name, value_type, value })
                    .collect(),
                outputs: lists
                    .2
                    .into_iter()
                    .map(|name| Output { name, value_type: ValueType::Json })
                    .collect(),
                capabilities: lists.3,
                payment,
                sla: Sla {
                    max_start_delay_ms: sla.0,
                    required_uptime_ppm: sla.1,
                    max_failure_rate_ppm: sla.2,
                    min_reputation_ppm: sla.3,
                },
                attestation: AttestationTerms { quorum, witnesses },
                nonce: hex::encode(ids.1),
            };
            (author, manifest)
        },
    )
}

fn receipts() -> impl Strategy<Value = (Identity, Receipt)> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..40);
    let ended = (
        0..Status::ALL.len(),
        any::<Option<i32>>(),
        any::<Option<String>>(),
        proptest::option::of("[!-~]{1,128}"),
    );
    let spent = (0..=SAFE_INTEGER, 0..=SAFE_INTEGER, 0..=SAFE_INTEGER);
    (manifests(), identities(), bytes, ended, spent, times()).prop_map(
        |((_, manifest), author, output, (status, exit_code, error, guild), spent, started_at)| {
            let status = Status::ALL[status];
            let (duration_ns, memory, fuel) = spent;
            let receipt = Receipt {
                output: Content::of(&output),
                guild,
                executor: author.did().clone(),
                status,
                exit_code,
                error: error.filter(|_| status != Status::Ok),
                started_at,
                finished_at: started_at + Duration::from_nanos(duration_ns),
                duration_ns,
                fuel_used: fuel,
                peak_memory_bytes: memory,
                cost: Cost::of(&manifest.payment, Duration::from_nanos(duration_ns), memory, fuel),
                ..receipt_of(&manifest)
            };
            (author, receipt)
        },
    )
}

fn attestations() -> impl Strategy<Value = (Identity, Attestation)> {
    let (other_environment, problem) = (any::<bool>(), any::<Option<String>>());
    (receipts(), receipts(), any::<bool>(), identities(), other_environment, problem, times()).prop_map(
        |((_, receipt), (_, other), honest, author, elsewhere, problem, now)| {
            let measured = Measured::from(if honest { &receipt } else { &other });
            let mut environment = receipt.environment.clone();
            if elsewhere {
                environment.version.push('0');
            }
            let about = (&receipt_id(&receipt), &receipt);
            let me = author.did().clone();
            let attestation = Attestation::compare(about, &measured, environment, problem, me, now);
            (author, attestation)
        },
    )
}

fn cards() -> impl Strategy<Value = (Identity, AgentCard)> {
    let texts = || proptest::collection::vec("\\PC{1,20}", 0..5);
    (identities(), "\\PC{1,16}", texts(), texts(), payments(), times()).prop_map(
        |(author, name, capabilities, addresses, prices, at)| {
            let card = AgentCard {
                capabilities,
                addresses,
                prices,
                ..AgentCard::new(author.did().clone(), &name, at)
            };
            (author, card)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_signed_manifest_comes_back_as_it_went((author, manifest) in manifests()) {
        comes_back(&author, &manifest, Kind::Manifest);
    }

    #[test]
    fn a_signed_receipt_comes_back_as_it_went((author, receipt) in receipts()) {
        comes_back(&author, &receipt, Kind::Receipt);
    }

    #[test]
    fn a_signed_attestation_comes_back_as_it_went((author, attestation) in attestations()) {
        comes_back(&author, &attestation, Kind::Attestation);
    }

    #[test]
    fn a_signed_card_comes_back_as_it_went((author, card) in cards()) {
        comes_back(&author, &card, Kind::AgentCard);
    }

    #[test]
    fn bytes_from_anywhere_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for sample in samples() {
            sample.refused(&bytes, "random bytes");
        }
    }
}

#[test]
fn the_envelope_made_by_hand_is_the_one_the_library_makes() {
    for sample in samples() {
        assert_eq!(sample.resigned(&sample.payload), sample.envelope, "{}", sample.kind);
    }
}

#[test]
fn every_single_changed_byte_is_refused() {
    for sample in samples() {
        (sample.open)(&sample.envelope).unwrap();
        let mut bytes = sample.envelope.clone();
        for at in 0..bytes.len() {
            let whole = bytes[at];
            let others = [whole ^ 1, whole ^ 2, whole ^ 0x20, whole ^ 0x80, b'A', b'"', b' ', 0];
            for other in others.into_iter().filter(|other| *other != whole) {
                bytes[at] = other;
                let opened = (sample.open)(&bytes);
                assert!(opened.is_err(), "{}: byte {at} changed {whole:#x} -> {other:#x}", sample.kind);
            }
            bytes[at] = whole ^ 1;
            assert!(AnyEnvelope::open(&bytes).is_err(), "{}: byte {at} changed, any kind", sample.kind);
            bytes[at] = whole;
        }
    }
}

#[test]
fn every_truncation_and_extension_is_refused() {
    for sample in samples() {
        for length in 0..sample.envelope.len() {
            sample.refused(&sample.envelope[..length], "its end cut off");
        }
        for length in 1..sample.envelope.len() {
            assert!((sample.open)(&sample.envelope[length..]).is_err(), "its first {length} bytes cut off");
        }
        for extra in 0..=u8::MAX {
            sample.refused(&[&sample.envelope[..], &[extra]].concat(), "a byte after its end");
            sample.refused(&[&[extra], &sample.envelope[..]].concat(), "a byte before its start");
        }
        sample.refused(&sample.envelope.repeat(2), "a second envelope after it");
        sample.refused(&[b"\xef\xbb\xbf", &sample.envelope[..]].concat(), "a byte order mark");
    }
}

#[test]
fn a_label_that_was_swapped_breaks_the_signature() {
    for sample in samples() {
        let [_, payload, keyid, sig] = parts(&sample.envelope);
        for other in samples().iter().map(|other| other.payload_type).filter(|t| *t != sample.payload_type) {
            let swapped = spell(other, &payload, &keyid, &sig);
            sample.refused_for(&swapped, "another payload type", "payload type");
            // The door for any kind has no expectation; there the signature must be what stops it.
            let error = AnyEnvelope::open(&swapped).unwrap_err();
            assert!(matches!(error, DocumentError::Signature(_)), "{}: {error}", sample.kind);
        }
    }
}

#[test]
fn no_kind_is_accepted_as_another_even_when_its_author_signs_it_so() {
    for sample in samples() {
        for other in samples() {
            if other.kind == sample.kind {
                continue;
            }
            other.refused_for(&sample.envelope, "the envelope of another kind", "where");
            // The payload of one kind, honestly signed by its author under the label of the other.
            let relabelled = seal(&sample.author, other.payload_type, &sample.payload);
            assert!((other.open)(&relabelled).is_err(), "{} as {}", sample.kind, other.kind);
            if other.payload_type != sample.payload_type {
                assert!(AnyEnvelope::open(&relabelled).is_err(), "{} as {}", sample.kind, other.kind);
            }
        }
    }
}

#[test]
fn a_statement_with_another_predicate_type_is_not_that_kind() {
    let [_, receipt, attestation, ..] = samples();
    for (sample, other) in [(&receipt, ATTESTATION_PREDICATE), (&attestation, RECEIPT_PREDICATE)] {
        let mut payload = sample.json();
        payload["predicateType"] = json!(other);
        let bytes = sample.resigned(payload.to_string());
        sample.refused_for(&bytes, "the predicate type of the other", "payload type");
        assert!(AnyEnvelope::open(&bytes).is_err(), "a {} as the other kind of statement", sample.kind);
        payload["predicateType"] = json!("https://slsa.dev/provenance/v1");
        let bytes = sample.resigned(payload.to_string());
        assert!(matches!(AnyEnvelope::open(&bytes), Err(DocumentError::UnknownKind(_))));

        let mut payload = sample.json();
        payload["_type"] = json!("https://in-toto.io/Statement/v0.1");
        sample.refused_for(&sample.resigned(payload.to_string()), "an older statement", "Statement/v1");
        let mut payload = sample.json();
        payload["subject"][0]["name"] = json!("something");
        sample.refused_for(&sample.resigned(payload.to_string()), "another subject", "is expected");
        let mut payload = sample.json();
        payload["subject"][0]["digest"]["sha256"] = json!("0".repeat(64));
        sample.refused_for(&sample.resigned(payload.to_string()), "a foreign digest", "subject");
        let mut payload = sample.json();
        let subject = payload["subject"][0].clone();
        payload["subject"] = json!([subject, subject]);
        sample.refused(&sample.resigned(payload.to_string()), "two subjects");
        payload["subject"] = json!([]);
        sample.refused(&sample.resigned(payload.to_string()), "no subject");
    }
}

#[test]
fn a_document_signed_by_somebody_who_is_not_its_author_is_refused() {
    let stranger = Identity::from_secret(&[9; 32]);
    for sample in samples() {
        let foreign = seal(&stranger, sample.payload_type, &sample.payload);
        sample.refused_for(&foreign, "a stranger's signature", "only");
        assert!(matches!((sample.open)(&foreign), Err(DocumentError::Author { .. })));

        let [label, payload, _, sig] = parts(&sample.envelope);
        let renamed = spell(&label, &payload, &stranger.did().to_string(), &sig);
        sample.refused_for(&renamed, "a stranger's name on its signature", "does not hold");
        let [_, _, keyid, foreign_sig] = parts(&foreign);
        assert_eq!(keyid, stranger.did().to_string());
        let forged = spell(&label, &payload, &sample.author.did().to_string(), &foreign_sig);
        sample.refused_for(&forged, "a stranger's signature under its author's name", "does not hold");
    }
    let refused = Envelope::sign(&stranger, &manifest());
    assert!(matches!(refused, Err(DocumentError::Author { .. })), "nor can it be signed so");
}

#[test]
fn the_signature_is_over_type_and_lengths_not_over_the_payload_alone() {
    for sample in samples() {
        let [label, payload, keyid, _] = parts(&sample.envelope);
        let bare = BASE64.encode(sample.author.sign(&sample.payload));
        sample.refused_for(&spell(&label, &payload, &keyid, &bare), "a bare signature", "does not hold");
    }
}
