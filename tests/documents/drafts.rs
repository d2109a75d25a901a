//! Manifests as people write them: two languages, human units, and every fault listed at once.

use std::path::PathBuf;

use proptest::prelude::*;
use zerostate::document::{ArtifactSource, Completion, Draft, DraftFormat, Faults};

use super::*;

fn toml(text: &str) -> Result<Draft, DocumentError> {
    Draft::parse(text, DraftFormat::Toml, noon())
}

fn json_draft(value: &Value) -> Result<Draft, DocumentError> {
    Draft::parse(&value.to_string(), DraftFormat::Json, noon())
}

#[track_caller]
fn faults(result: Result<Draft, DocumentError>) -> Faults {
    match result {
        Err(DocumentError::Faults(faults)) => faults,
        other => panic!("a list of faults is expected, not {other:?}"),
    }
}

const FULL: &str = r#"
    name = "count words"
    description = "counts words"
    version = "1.2.3"
    artifact = { path = "count.wasm" }
    function = "count"
    args = ["--words"]
    capabilities = ["gpu"]
    expires_in = "90min"
    [[inputs]]
    name = "text"
    type = "string"
    value = "to be"
    [[inputs]]
    name = "least"
    type = "integer"
    value = -3
    [[outputs]]
    name = "words"
    type = "integer"
    [limits]
    memory = "64MiB"
    time = "1500ms"
    stack = "256 KiB"
    fuel = 1000000
    [payment]
    per_second = "0.002"
    per_mib = 0.0001
    per_gfuel = 1
    max_total = "12.345678"
    [sla]
    max_start_delay = "10s"
    required_uptime = "0.99"
    max_failure_rate = 0.01
    min_reputation = 0
    [attestation]
    quorum = 2
    witnesses = 3
"#;

#[test]
fn human_units_become_bytes_milliseconds_and_micro_credits() {
    let draft = toml(FULL).unwrap();
    let limits = Limits { memory_bytes: 64 << 20, time_ms: 1_500, stack_bytes: 256 << 10, fuel: 1_000_000 };
    assert_eq!(draft.limits, limits);
    let payment = Payment {
        per_second_micro: credits(2_000),
        per_mib_micro: credits(100),
        per_gfuel_micro: credits(1_000_000),
        max_total_micro: credits(12_345_678),
    };
    assert_eq!(draft.payment, payment);
    let sla = Sla {
        max_start_delay_ms: 10_000,
        required_uptime_ppm: 990_000,
        max_failure_rate_ppm: 10_000,
        min_reputation_ppm: 0,
    };
    assert_eq!(draft.sla, sla);
    assert_eq!(draft.attestation, AttestationTerms { quorum: 2, witnesses: 3 });
    assert_eq!(draft.lifetime_ms, 5_400_000);
    assert_eq!(draft.artifact, ArtifactSource::Path(PathBuf::from("count.wasm")));
    assert_eq!(draft.inputs[1].value, json!(-3));
}

#[test]
fn toml_and_json_say_the_same() {
    let same: Value = ::toml::from_str(FULL).unwrap();
    assert_eq!(json_draft(&same).unwrap(), toml(FULL).unwrap());
}

#[test]
fn a_name_and_an_artifact_are_enough_and_the_rest_has_the_defaults_of_the_handbook() {
    let draft = toml("name = \"t\"\nartifact = { path = \"t.wasm\" }").unwrap();
    let limits =
        Limits { memory_bytes: 128 << 20, time_ms: 30_000, stack_bytes: 1 << 20, fuel: 10_000_000_000 };
    assert_eq!((draft.limits, draft.function.as_str()), (limits, "_start"));
    assert_eq!((draft.attestation, draft.lifetime_ms), (AttestationTerms::default(), 3_600_000));
    assert_eq!(
        draft,
        json_draft(&json!({"name": "t", "artifact": "t.wasm"})).unwrap(),
        "a bare text is a path"
    );
}

#[test]
fn the_manifest_that_the_program_writes_for_people_is_one_it_reads() {
    let draft = toml(include_str!("../../assets/manifest.toml")).unwrap();
    assert_eq!((draft.limits, draft.sla), (Limits::default(), Sla::default()));
    for example in [
        include_str!("../../assets/examples/hello.toml"),
        include_str!("../../assets/examples/wordcount.toml"),
    ] {
        toml(example).unwrap();
    }
}

#[test]
fn the_time_of_expiry_may_be_given_too() {
    let text = "name = \"t\"\nartifact = \"t.wasm\"\nexpires_at = ";
    let draft = toml(&format!("{text}\"2026-01-31T13:00:00+00:00\"")).unwrap();
    assert_eq!(draft.expires_at, Some(noon() + Duration::from_secs(3600)));
    let fields = |text: String| faults(toml(&text)).0.into_iter().map(|f| f.field).collect::<Vec<_>>();
    for wrong in ["\"2026-01-31T12:00:00Z\"", "\"2026-02-07T12:00:01Z\"", "\"tomorrow\"", "5"] {
        assert_eq!(fields(format!("{text}{wrong}")), ["expires_at"], "{wrong}");
    }
}

#[test]
fn a_manifest_with_ten_faults_lists_all_ten_with_field_value_and_what_is_right() {
    let text = r#"
        name = 7
        artifact = { cid = "not-a-cid" }
        function = ""
        capabilities = ["wall clock"]
        colour = "red"
        [[inputs]]
        name = "least"
        type = "integer"
        value = "three"
        [limits]
        memory = "1KiB"
        time = 30
        [payment]
        max_total = "-1"
        [attestation]
        quorum = 40
        witnesses = 40
    "#;
    let expected = [
        ("name", "7", "a text in quotes"),
        ("artifact.cid", "not-a-cid", "a CID, like bafkrei…"),
        ("function", "\"\"", "the name of an exported function"),
        ("capabilities[0]", "wall clock", "1 to 64 letters, digits, '_', '-' or '.'"),
        ("colour", "unknown field", "one of the fields that `zerostate manifest new` writes"),
        ("inputs[0].value", "\"three\"", "a value of type integer"),
        ("limits.memory", "1024", "64 KiB to 16 GiB"),
        ("limits.time", "30", "a duration like \"30s\" or \"250ms\""),
        ("payment.max_total", "\"-1\"", "an amount like \"0.002\" with at most six decimals"),
        ("attestation.quorum", "40", "at most 32"),
    ];
    let found = faults(toml(text));
    for (field, value, right) in expected {
        let of_field: Vec<_> = found.0.iter().filter(|fault| fault.field == field).collect();
        let [fault] = of_field[..] else { panic!("{field} once, not {of_field:?} in {found}") };
        assert_eq!((&*fault.value, &*fault.expected), (value, right), "{field}");
    }
    assert_eq!(found.0.len(), expected.len(), "and no other: {found}");
    let sentence = DocumentError::Faults(found).to_string();
    assert!(sentence.starts_with("10 faults\n"), "{sentence}");
    for (field, value, right) in expected {
        assert!(
            sentence.contains(&format!("\n  {field}: {value}: expected {right}")),
            "{field} in {sentence}"
        );
    }
}

#[test]
fn unknown_fields_are_named_with_their_path_wherever_they_stand() {
    let places = [
        ("", "surprise"),
        ("/limits", "limits.surprise"),
        ("/payment", "payment.surprise"),
        ("/sla", "sla.surprise"),
        ("/attestation", "attestation.surprise"),
        ("/artifact", "artifact.surprise"),
        ("/inputs/1", "inputs[1].surprise"),
        ("/outputs/0", "outputs[0].surprise"),
    ];
    let whole: Value = ::toml::from_str(FULL).unwrap();
    for (place, field) in places {
        let mut draft = whole.clone();
        draft.pointer_mut(place).unwrap()["surprise"] = json!(1);
        let found = faults(json_draft(&draft));
        assert_eq!((&*found.0[0].field, found.0.len()), (field, 1), "{found}");
        assert_eq!(found.0[0].value, "unknown field");
    }
}

#[test]
fn each_field_of_the_wrong_type_is_one_fault_with_its_path() {
    let whole: Value = ::toml::from_str(FULL).unwrap();
    let mut tried = 0;
    for place in places(&whole).into_iter().filter(|place| !place.is_empty() && !place.ends_with("/value")) {
        // Nothing takes a boolean.
        let mut draft = whole.clone();
        *draft.pointer_mut(&place).unwrap() = json!(true);
        let found = faults(json_draft(&draft));
        let dotted = place.trim_start_matches('/').replace('/', ".");
        let field = dotted.replace(".0", "[0]").replace(".1", "[1]");
        assert_eq!((&*found.0[0].field, found.0.len()), (&*field, 1), "{place}: {found}");
        assert_eq!(found.0[0].value, "true");
        tried += 1;
    }
    assert!(tried > 30, "{tried} places");
}

#[test]
fn a_value_beyond_its_bounds_is_one_fault_that_says_the_bounds() {
    let cases = [
        ("/name", json!(" "), "name", "a name"),
        ("/name", json!("x".repeat(129)), "name", "at most 128 bytes"),
        ("/name", json!("bell\u{7}"), "name", "without control characters"),
        ("/description", json!("x".repeat(4097)), "description", "at most 4096 bytes"),
        ("/version", json!("\u{1b}[31m"), "version", "without control characters"),
        ("/limits/memory", json!("17GiB"), "limits.memory", "64 KiB to 16 GiB"),
        ("/limits/time", json!("61min"), "limits.time", "1 ms to 1 h"),
        ("/limits/time", json!("0ms"), "limits.time", "1 ms to 1 h"),
        ("/limits/stack", json!("1KiB"), "limits.stack", "64 KiB to 16 MiB"),
        ("/limits/fuel", json!(0), "limits.fuel", "1 to 2^53 - 1"),
        ("/args/0", json!("nul\u{0}"), "args[0]", "without NUL"),
        ("/capabilities/0", json!(""), "capabilities[0]", "1 to 64 letters"),
        ("/inputs/1/name", json!("text"), "inputs[1].name", "no other input"),
        ("/inputs/1/name", json!("a b"), "inputs[1].name", "1 to 64 letters"),
        ("/inputs/0/type", json!("text"), "inputs[0].type", "string, integer, number"),
        ("/inputs/0/type", json!("blob"), "inputs[0].value", "type blob"),
        ("/sla/required_uptime", json!("1.000001"), "sla.required_uptime", "a share from 0 to 1"),
        ("/sla/max_start_delay", json!("2h"), "sla.max_start_delay", "at most 1 h"),
        ("/attestation/witnesses", json!(1), "attestation.witnesses", "at least the quorum (2)"),
        ("/attestation/quorum", json!(1u64 << 32), "attestation.quorum", "a small whole number"),
        ("/payment/per_mib", json!("0.0000001"), "payment.per_mib", "six decimals"),
        ("/payment/per_mib", json!(1e-7), "payment.per_mib", "six decimals"),
        ("/expires_in", json!("169h"), "expires_at", "at most 7 days"),
        ("/expires_in", json!("0s"), "expires_at", "after created_at"),
    ];
    let whole: Value = ::toml::from_str(FULL).unwrap();
    for (place, value, field, right) in cases {
        let mut draft = whole.clone();
        *draft.pointer_mut(place).unwrap() = value.clone();
        let found = faults(json_draft(&draft));
        let fault = found.0.iter().find(|fault| fault.field == field);
        let fault = fault.unwrap_or_else(|| panic!("{place} = {value}: no fault at {field} in {found}"));
        assert!(fault.expected.contains(right), "{place} = {value}: {fault}");
    }
}

#[test]
fn lists_are_bounded() {
    let whole: Value = ::toml::from_str(FULL).unwrap();
    for field in ["args", "capabilities"] {
        let mut draft = whole.clone();
        draft[field] = json!(vec!["x"; 65]);
        let found = faults(json_draft(&draft));
        assert!(found.0.iter().any(|f| f.field == field && f.expected == "at most 64 items"), "{found}");
    }
}

#[test]
fn an_artifact_is_a_path_or_a_cid_and_not_both() {
    let cid = manifest().artifact.cid.to_string();
    let draft = |artifact: Value| json_draft(&json!({"name": "t", "artifact": artifact}));
    let sha256 = manifest().artifact.sha256;
    let source = ArtifactSource::Cid { cid: cid.clone(), sha256: Some(sha256), size: Some(8) };
    assert_eq!(draft(json!({"cid": cid, "sha256": sha256, "size": 8})).unwrap().artifact, source);
    for (wrong, field) in [
        (json!({"cid": cid, "path": "x"}), "artifact"),
        (json!({}), "artifact"),
        (json!(7), "artifact"),
        (json!({"cid": cid, "sha256": "0".repeat(64)}), "artifact.sha256"),
        (json!({"cid": cid, "sha256": "short"}), "artifact.sha256"),
        (json!({"cid": cid, "size": "65MiB"}), "artifact.size"),
        (json!({"cid": cid, "size": 0}), "artifact.size"),
        (json!({"cid": "bafy"}), "artifact.cid"),
    ] {
        let found = faults(draft(wrong.clone()));
        assert_eq!((&*found.0[0].field, found.0.len()), (field, 1), "{wrong}: {found}");
    }
    assert_eq!(faults(json_draft(&json!({}))).0.len(), 2, "both that are needed are asked for");
}

#[test]
fn what_is_no_manifest_at_all_is_told_from_one_with_faults() {
    for text in ["name = ", "= 1", "name = \"a\"\nname = \"b\"", "[limits]\n[limits]", "\u{0}"] {
        assert!(matches!(toml(text), Err(DocumentError::Toml(_))), "{text:?}");
    }
    for text in
        ["", "[]", "null", "{", "{\"name\":\"a\",\"name\":\"b\"}", "{\"limits\":{\"fuel\":9007199254740992}}"]
    {
        let refused = Draft::parse(text, DraftFormat::Json, noon());
        assert!(matches!(refused, Err(DocumentError::Json(_))), "{text:?}: {refused:?}");
    }
    let long = format!("# {}\nname = \"t\"", "x".repeat(64 * 1024));
    assert!(matches!(toml(&long), Err(DocumentError::TooLarge { .. })));
}

#[test]
fn a_fault_shows_a_hostile_value_made_harmless() {
    let found =
        faults(json_draft(&json!({"name": "t", "artifact": "t", "version": "\u{1b}]0;owned\u{7}\u{202e}"})));
    let shown = found.to_string();
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n') && !shown.contains('\u{202e}'), "{shown:?}");
}

#[test]
fn a_completed_draft_is_a_manifest_that_can_be_signed() {
    let artifact = manifest().artifact;
    let complete = |random| {
        let with =
            Completion { creator: creator().did().clone(), artifact: artifact.clone(), now: noon(), random };
        toml(FULL).unwrap().complete(with)
    };
    let (one, other) = (complete([7; 32]), complete([8; 32]));
    let signed = Envelope::sign(&creator(), &one).unwrap();
    assert_eq!(
        (signed.document().expires_at, signed.document().created_at),
        (noon() + Duration::from_secs(5_400), noon())
    );
    assert_ne!(one.task_id, other.task_id);
    assert_ne!(one.nonce, other.nonce);
    assert_ne!(
        signed.id(),
        Envelope::sign(&creator(), &other).unwrap().id(),
        "the same file twice is two tasks"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}", format in any::<bool>()) {
        let format = if format { DraftFormat::Toml } else { DraftFormat::Json };
        prop_assert!(Draft::parse(&text, format, noon()).is_err());
    }

    /// Any of the fields, each with something odd in it: what is accepted can be signed.
    #[test]
    fn what_the_reader_accepts_can_be_signed(
        place in 0usize..64, text in "\\PC{0,12}", number in any::<i64>(), kind in 0usize..4,
    ) {
        let whole: Value = ::toml::from_str(FULL).unwrap();
        let all = places(&whole);
        let place = &all[place % all.len()];
        let value = [json!(text), json!(number), json!([text]), json!({"a": number})][kind].clone();
        let mut draft = whole.clone();
        *draft.pointer_mut(place).unwrap() = value;
        match json_draft(&draft) {
            Ok(draft) => {
                let artifact = manifest().artifact;
                let with = Completion { creator: creator().did().clone(), artifact, now: noon(), random: [1; 32] };
                prop_assert!(Envelope::sign(&creator(), &draft.complete(with)).is_ok(), "{}", place);
            }
            Err(DocumentError::Faults(faults)) => prop_assert!(!faults.is_empty()),
            Err(other) => prop_assert!(matches!(other, DocumentError::Json(_)), "{other}"),
        }
    }
}
