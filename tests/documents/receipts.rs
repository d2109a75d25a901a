//! A receipt against its manifest: a field that does not fit is found, each by its name, and the price is worked out again.

use proptest::prelude::*;
use zerostate::document::Faults;

use super::*;

fn fields(result: Result<(), Faults>) -> Vec<String> {
    result.err().map_or_else(Vec::new, |faults| faults.0.into_iter().map(|fault| fault.field).collect())
}

fn found(change: impl FnOnce(&mut Receipt)) -> Vec<String> {
    let manifest = manifest();
    let mut receipt = receipt();
    change(&mut receipt);
    fields(receipt.fits(&manifest_id(&manifest), &manifest))
}

/// As an executor would have it who claims to have worked longer, at the right price.
fn took(receipt: &mut Receipt, time: Duration) {
    receipt.finished_at = receipt.started_at + time;
    receipt.duration_ns = u64::try_from(time.as_nanos()).unwrap();
    receipt.cost = Cost::of(&manifest().payment, time, receipt.peak_memory_bytes, receipt.fuel_used);
}

#[test]
fn an_honest_receipt_fits_its_manifest() {
    assert_eq!(found(|_| {}), Vec::<String>::new());
}

#[test]
fn each_field_that_the_manifest_fixes_is_found_when_it_was_changed() {
    let other = Sha256Digest::of(b"other");
    type Change = fn(&mut Receipt, Sha256Digest);
    let changes: [(&str, Change); 16] = [
        ("manifest", |r, other| r.manifest = other.to_cid()),
        ("task_id", |r, _| r.task_id = "f".repeat(32)),
        ("artifact", |r, other| r.artifact.cid = other.to_cid()),
        ("artifact", |r, other| r.artifact.sha256 = other),
        ("artifact", |r, _| r.artifact.size += 1),
        ("inputs", |r, other| r.inputs.sha256 = other),
        ("inputs", |r, _| r.inputs.size += 1),
        ("requester", |r, _| r.requester = witness().did().clone()),
        ("nonce", |r, _| r.nonce = "0".repeat(32)),
        ("duration", |r, _| took(r, Duration::from_millis(5_001))),
        ("started_at", |r, _| r.started_at = noon() - Duration::from_secs(3_600)),
        ("finished_at", |r, _| r.finished_at = noon() + Duration::from_secs(86_400 * 366)),
        ("cost.total", |r, _| r.cost.total_micro = credits(r.cost.total_micro.micro() - 1)),
        ("cost.total", |r, _| r.cost.time_micro = credits(r.cost.time_micro.micro() + 1)),
        ("cost.total", |r, _| r.cost.memory_micro = credits(0)),
        ("cost.total", |r, _| r.cost.fuel_micro = credits(1_000_000)),
    ];
    for (index, (field, change)) in changes.into_iter().enumerate() {
        assert_eq!(found(|receipt| change(receipt, other)), [field], "change {index}");
    }
}

#[test]
fn everything_wrong_is_found_at_once() {
    let everything = found(|receipt| {
        *receipt = Receipt {
            output: receipt.output,
            ..receipt_of(&Manifest {
                task_id: "0".repeat(32),
                nonce: "1".repeat(32),
                creator: witness().did().clone(),
                inputs: Vec::new(),
                artifact: Artifact { size: 9, ..manifest().artifact },
                payment: Payment::default(),
                ..manifest()
            })
        }
    });
    assert_eq!(everything, ["manifest", "task_id", "artifact", "inputs", "requester", "nonce", "cost.total"]);
}

#[test]
fn a_price_that_hides_in_what_was_measured_is_found() {
    assert_eq!(found(|r| r.duration_ns *= 2), ["cost.total"], "more time at the old price");
    assert_eq!(found(|r| r.peak_memory_bytes *= 2), ["cost.total"]);
    assert_eq!(found(|r| r.fuel_used *= 1_000), ["cost.total"]);
}

#[test]
fn another_manifest_of_the_same_work_is_another_manifest() {
    let mut again = manifest();
    again.nonce = "0".repeat(32);
    assert_eq!(fields(receipt().fits(&manifest_id(&again), &again)), ["manifest", "nonce"]);
}

#[test]
fn a_blob_is_fixed_by_its_digest() {
    let mut manifest = manifest();
    let blob = Sha256Digest::of(b"blob");
    manifest.inputs = vec![Input {
        name: "stdin".to_owned(),
        value_type: ValueType::Blob,
        value: json!(blob.to_cid().to_string()),
    }];
    let mut receipt = receipt_of(&manifest);
    let id = manifest_id(&manifest);
    assert_eq!(receipt.inputs, Content::of(b"blob"));
    assert_eq!(fields(receipt.fits(&id, &manifest)), Vec::<String>::new());
    receipt.inputs = Content::of(b"blow");
    assert_eq!(fields(receipt.fits(&id, &manifest)), ["inputs"]);
}

#[test]
fn a_receipt_that_contradicts_itself_is_not_signed_and_not_opened() {
    type Change = fn(&mut Receipt);
    let changes: [(&str, Change); 12] = [
        ("duration", |r| r.duration_ns += 1),
        ("duration", |r| r.duration_ns = 36_000_000_000_000),
        ("task_id", |r| r.task_id = "x".repeat(5_000)),
        ("task_id", |r| r.task_id = "\u{1b}[2J".to_owned()),
        ("nonce", |r| r.nonce = String::new()),
        ("guild", |r| r.guild = Some("a guild".to_owned())),
        ("guild", |r| r.guild = Some("g".repeat(129))),
        ("environment.engine", |r| r.environment.engine = "\u{1b}[2J".to_owned()),
        ("environment.version", |r| r.environment.version = String::new()),
        ("environment.target", |r| r.environment.target = "\u{202e}".to_owned()),
        ("error", |r| r.error = Some("ok, but".to_owned())),
        ("error", |r| (r.status, r.error) = (Status::Trap, Some("x".repeat(2_049)))),
    ];
    let [_, sample, ..] = samples();
    for (field, change) in changes {
        let mut receipt = receipt();
        change(&mut receipt);
        assert_eq!(fields(Err(receipt.faults())), [field]);
        assert!(matches!(Envelope::sign(&executor(), &receipt), Err(DocumentError::Faults(_))));
        sample.refused_for(&sample.resigned(receipt.encode().unwrap()), "a contradiction", field);
    }
}

#[test]
fn the_subject_of_a_receipt_is_its_output() {
    let [_, sample, ..] = samples();
    let mut document = sample.json();
    assert_eq!(document["subject"][0]["digest"]["sha256"], json!(Sha256Digest::of(b"2\n").to_string()));
    document["predicate"]["output"]["sha256"] = json!(Sha256Digest::of(b"3\n").to_string());
    sample.refused_for(&sample.resigned(document.to_string()), "another output", "subject");
}

#[test]
fn a_status_has_one_word() {
    let [_, sample, ..] = samples();
    for status in Status::ALL {
        let text = json!(status).to_string();
        assert_eq!(text, format!("\"{status}\""));
    }
    for word in ["OK", "success", "", "out_of_fuel", "Trap"] {
        let mut document = sample.json();
        document["predicate"]["status"] = json!(word);
        sample.refused_for(&sample.resigned(document.to_string()), "an unknown status", "unknown variant");
    }
}

const SAFE: u64 = (1 << 53) - 1;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// `min(Σ ⌈price × amount / unit⌉, max_total)`, worked out here by division with remainder.
    #[test]
    fn the_cost_is_each_term_rounded_up_once_and_capped(
        prices in [0..=SAFE, 0..=SAFE, 0..=SAFE, 0..=SAFE], ns in 0u64..1 << 44, memory in 0u64..1 << 35,
        fuel in 0..=SAFE, cheap in any::<bool>(),
    ) {
        // Real prices are small; the largest ones test the bounds.
        let [second, mib, gfuel, max] = prices.map(|price| if cheap { price >> 30 } else { price });
        let payment = Payment {
            per_second_micro: credits(second), per_mib_micro: credits(mib), per_gfuel_micro: credits(gfuel),
            max_total_micro: credits(max),
        };
        let cost = Cost::of(&payment, Duration::from_nanos(ns), memory, fuel);
        let term = |price: u64, amount: u64, unit: u128| {
            let product = u128::from(price) * u128::from(amount);
            (product / unit + u128::from(product % unit != 0)).min(u128::from(SAFE))
        };
        let (time, space, work) =
            (term(second, ns, 1_000_000_000), term(mib, memory, 1 << 20), term(gfuel, fuel, 1_000_000_000));
        let micro = |credits: Credits| u128::from(credits.micro());
        prop_assert_eq!((micro(cost.time_micro), micro(cost.memory_micro), micro(cost.fuel_micro)), (time, space, work));
        prop_assert_eq!(micro(cost.total_micro), (time + space + work).min(u128::from(max)));
    }
}
