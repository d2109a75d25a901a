//! Verdicts: what follows from two measurements, and that no other verdict can be signed or opened.

use zerostate::document::{Comparison, Verdict};

use super::*;

fn compare(change: impl FnOnce(&mut Receipt, &mut Measured, &mut Environment)) -> Attestation {
    let mut receipt = receipt();
    let (mut measured, mut environment) = (Measured::from(&receipt), environment());
    change(&mut receipt, &mut measured, &mut environment);
    let about = (&receipt_id(&receipt), &receipt);
    Attestation::compare(about, &measured, environment, None, witness().did().clone(), noon())
}

fn differences(attestation: &Attestation) -> Vec<&str> {
    attestation.differences().map(|comparison| comparison.what.as_str()).collect()
}

#[test]
fn a_witness_who_measures_the_same_agrees_on_five_things() {
    let attestation = compare(|_, _, _| {});
    assert_eq!((attestation.verdict, &attestation.reason), (Verdict::Agree, &None));
    let what: Vec<_> = attestation.compared.iter().map(|comparison| comparison.what.as_str()).collect();
    assert_eq!(what, ["status", "exit code", "output", "fuel", "peak memory"]);
    assert!(differences(&attestation).is_empty());
}

#[test]
fn each_difference_alone_is_a_disagreement_that_shows_both_values() {
    type Change = fn(&mut Measured);
    let changes: [(&str, &str, &str, Change); 6] = [
        ("status", "ok", "trap", |m| m.status = Status::Trap),
        ("exit code", "0", "1", |m| m.exit_code = Some(1)),
        ("exit code", "0", "none", |m| m.exit_code = None),
        (
            "output",
            "53c234e5e8472b6ac51c1ae1cab3fe06fad053beb8ebfd8977b010655bfdd3c3",
            "1121cfccd5913f0a63fec40a6ffd44ea64f9dc135c66634ba001d10bcf4302a2",
            |m| m.output = Content::of(b"3\n"),
        ),
        ("fuel", "1204551", "1204552", |m| m.fuel_used += 1),
        ("peak memory", "2097152", "2097153", |m| m.peak_memory_bytes += 1),
    ];
    for (what, claimed, found, change) in changes {
        let attestation = compare(|_, measured, _| change(measured));
        assert_eq!((attestation.verdict, &attestation.reason), (Verdict::Disagree, &None), "{what}");
        let [row] = attestation.differences().collect::<Vec<_>>()[..] else {
            panic!("{what}: one difference")
        };
        assert_eq!((&*row.what, &*row.claimed, &*row.measured), (what, claimed, found));
        Envelope::sign(&witness(), &attestation).unwrap();
    }
}

#[test]
fn a_status_that_depends_on_the_machine_is_never_agreed_to() {
    let machine = [Status::Timeout, Status::StackOverflow, Status::RunnerCrashed];
    for status in Status::ALL {
        let both = compare(|receipt, measured, _| {
            (receipt.status, receipt.error) = (status, None);
            *measured = Measured::from(&*receipt);
        });
        let expected = if machine.contains(&status) { Verdict::Unverifiable } else { Verdict::Agree };
        assert_eq!(both.verdict, expected, "{status} twice");
        let measured_only = compare(|_, measured, _| measured.status = status);
        let claimed_only = compare(|receipt, _, _| receipt.status = status);
        for one in [measured_only, claimed_only].iter().filter(|_| status != Status::Ok) {
            // One machine may be too small to compile what another one runs.
            let unclear = machine.contains(&status) || status == Status::InvalidModule;
            let expected = if unclear { Verdict::Unverifiable } else { Verdict::Disagree };
            assert_eq!(one.verdict, expected, "{status} once");
        }
        if machine.contains(&status) {
            assert!(both.reason.unwrap().contains(status.as_str()), "the reason names the status");
        }
    }
}

#[test]
fn another_environment_verifies_nothing_whether_it_measures_the_same_or_not() {
    type Change = fn(&mut Environment);
    let changes: [Change; 4] = [
        |e| e.engine.push('x'),
        |e| e.version.push('x'),
        |e| e.settings_sha256 = Sha256Digest::of(b"other settings"),
        |e| e.target = "aarch64-unknown-linux-gnu".to_owned(),
    ];
    for change in changes {
        for fuel in [0, 1] {
            let attestation = compare(|_, measured, environment| {
                measured.fuel_used += fuel;
                change(environment);
            });
            assert_eq!(attestation.verdict, Verdict::Unverifiable);
            assert!(attestation.reason.as_deref().unwrap().contains("environment"));
        }
    }
}

#[test]
fn a_receipt_found_wrong_beforehand_is_disagreed_with_whatever_was_measured() {
    let (receipt, id) = (receipt(), receipt_id(&receipt()));
    let mut elsewhere = environment();
    elsewhere.version.push('x');
    for environment in [environment(), elsewhere] {
        let attestation = Attestation::compare(
            (&id, &receipt),
            &Measured::from(&receipt),
            environment,
            Some("cost.total: too high".to_owned()),
            witness().did().clone(),
            noon(),
        );
        assert_eq!(attestation.verdict, Verdict::Disagree);
        assert_eq!(attestation.reason.as_deref(), Some("cost.total: too high"));
        Envelope::sign(&witness(), &attestation).unwrap();
    }
}

#[test]
fn what_could_not_be_run_is_unverifiable_and_says_why() {
    let me = witness().did().clone();
    let attestation =
        Attestation::unverifiable(receipt_id(&receipt()), "nobody has it".to_owned(), me, noon());
    let opened = Envelope::sign(&witness(), &attestation).unwrap();
    assert_eq!(opened.document().verdict, Verdict::Unverifiable);
    assert!(opened.document().compared.is_empty() && opened.document().environment.is_none());
}

/// Neither signed nor, when its author signs it by hand, opened.
#[track_caller]
fn does_not_follow(why: &str, change: impl FnOnce(&mut Attestation)) {
    let [_, _, sample, ..] = samples();
    let mut attestation = attestation();
    change(&mut attestation);
    let refused = Envelope::sign(&witness(), &attestation);
    assert!(matches!(refused, Err(DocumentError::Faults(_))), "{why} was signed");
    sample.refused_for(&sample.resigned(attestation.encode().unwrap()), why, "verdict");
}

#[test]
fn a_verdict_that_does_not_follow_from_its_comparisons_is_refused() {
    let differ = |a: &mut Attestation| a.compared[3].measured = "1".to_owned();
    does_not_follow("agreeing in spite of a difference", differ);
    does_not_follow("agreeing without having compared", |a| a.compared.clear());
    does_not_follow("agreeing with a reason against it", |a| a.reason = Some("but".to_owned()));
    does_not_follow("disagreeing over nothing", |a| a.verdict = Verdict::Disagree);
    does_not_follow("finding unverifiable without a reason", |a| a.verdict = Verdict::Unverifiable);
    does_not_follow("finding unverifiable without a reason", |a| {
        a.verdict = Verdict::Unverifiable;
        differ(a);
    });
}

#[test]
fn agreeing_means_having_compared_all_five() {
    for left_out in 0..5 {
        does_not_follow("agreeing with something left out", |a| drop(a.compared.remove(left_out)));
        does_not_follow("agreeing about something else", |a| {
            a.compared[left_out].what = "weather".to_owned()
        });
    }
    does_not_follow("agreeing about one thing twice", |a| a.compared[1] = a.compared[0].clone());
    does_not_follow("agreeing without saying where it was run", |a| a.environment = None);
}

#[test]
fn agreeing_to_a_status_that_depends_on_the_machine_does_not_follow_either() {
    for status in Status::ALL.into_iter().filter(|status| !status.is_attestable()) {
        does_not_follow("agreeing to it", |a| {
            a.compared[0].claimed = status.to_string();
            a.compared[0].measured = status.to_string();
        });
    }
    does_not_follow("agreeing to a status that does not exist", |a| {
        a.compared[0].claimed = "fine".to_owned();
        a.compared[0].measured = "fine".to_owned();
    });
}

#[test]
fn lists_and_reasons_are_bounded() {
    let [_, _, sample, ..] = samples();
    let row = Comparison { what: "x".to_owned(), claimed: "1".to_owned(), measured: "2".to_owned() };
    let mut attestation = compare(|_, measured, _| measured.fuel_used += 1);
    attestation.compared = vec![row; 17];
    let bytes = sample.resigned(attestation.encode().unwrap());
    sample.refused_for(&bytes, "17 comparisons", "at most 16 comparisons");
    attestation.compared.truncate(16);
    (sample.open)(&sample.resigned(attestation.encode().unwrap())).unwrap();
    attestation.reason = Some("x".repeat(2049));
    let bytes = sample.resigned(attestation.encode().unwrap());
    sample.refused_for(&bytes, "a long reason", "at most 2048 bytes");
}

#[test]
fn other_tools_read_the_properties_so_they_must_be_those_that_were_found() {
    let [_, _, sample, ..] = samples();
    let document = sample.json();
    let properties = [
        "ZEROSTATE_STATUS_EQUAL",
        "ZEROSTATE_EXIT_CODE_EQUAL",
        "ZEROSTATE_OUTPUT_EQUAL",
        "ZEROSTATE_FUEL_EQUAL",
        "ZEROSTATE_PEAK_MEMORY_EQUAL",
        "ZEROSTATE_REEXECUTION_AGREES",
    ];
    assert_eq!(document["predicate"]["properties"], json!(properties));
    for other in [json!([]), json!(&properties[1..]), json!([&properties[..], &["SAFE"]].concat())] {
        let mut changed = document.clone();
        changed["predicate"]["properties"] = other;
        sample.refused_for(&sample.resigned(changed.to_string()), "other properties", "properties");
    }
    let disagreeing = compare(|_, measured, _| measured.fuel_used += 1);
    let envelope = Envelope::sign(&witness(), &disagreeing).unwrap();
    let payload: Value =
        serde_json::from_slice(&BASE64.decode(&parts(envelope.bytes())[1]).unwrap()).unwrap();
    let shown = payload["predicate"]["properties"].as_array().unwrap();
    assert!(
        !shown.contains(&json!("ZEROSTATE_FUEL_EQUAL")) && shown.contains(&json!("ZEROSTATE_OUTPUT_EQUAL"))
    );
    assert!(!shown.contains(&json!("ZEROSTATE_REEXECUTION_AGREES")));
}

#[test]
fn the_subject_of_an_attestation_is_the_receipt() {
    let [_, _, sample, ..] = samples();
    let mut document = sample.json();
    let digest = Sha256Digest::from_cid(&receipt_id(&receipt())).unwrap();
    assert_eq!(document["subject"][0]["digest"]["sha256"], json!(digest.to_string()));
    assert_eq!(document["predicateType"], json!(ATTESTATION_PREDICATE));
    document["predicate"]["zerostate"]["receipt"] = json!(Sha256Digest::of(b"another").to_cid().to_string());
    sample.refused_for(&sample.resigned(document.to_string()), "another receipt", "subject");
}
