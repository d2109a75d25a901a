//! The form of a task: what is wrong in it, what it costs, and the manifest that it makes.

use std::path::Path;

use zerostate::document::{ArtifactSource, DraftFormat};

use super::*;
use crate::console::layers::module_of;

#[test]
fn a_wrong_value_is_named_under_its_field_and_keeps_the_form_from_being_ready() {
    let now = Timestamp::UNIX_EPOCH;
    let mut form = SubmitForm::default();
    form.set(Field::Path, "hello.wasm".to_owned());
    form.typed();
    form.take(Ok(Probe::Module { size: 100 }));
    assert_eq!(form.value(Field::Name), "hello");
    assert!(
        form.ready(now).is_some(),
        "{:?}",
        Field::ALL.iter().map(|f| form.problem(*f, now)).collect::<Vec<_>>()
    );
    for (field, bad) in [
        (Field::Memory, "1KiB"),
        (Field::Memory, "lots"),
        (Field::Time, "2h"),
        (Field::Quorum, "-1"),
        (Field::MaxTotal, "1e3"),
    ] {
        let before = form.value(field).to_owned();
        form.set(field, bad.to_owned());
        assert!(form.problem(field, now).is_some(), "{bad}");
        assert!(form.ready(now).is_none(), "{bad}");
        form.set(field, before);
    }
}

#[test]
fn completion_writes_out_what_the_paths_have_in_common() {
    let mut form = SubmitForm::default();
    form.set(Field::Path, "as".to_owned());
    form.complete(vec!["assets/hello.toml".to_owned(), "assets/hello.wasm".to_owned()]);
    assert_eq!(form.value(Field::Path), "assets/hello.");
    assert_eq!(form.completions.len(), 2);
}

/// A form in which these fields say something else than they would.
fn filled(fields: &[(Field, &str)]) -> SubmitForm {
    let mut form = SubmitForm::default();
    for (field, text) in fields {
        form.set(*field, (*text).to_owned());
    }
    form
}

/// The same for a module at a path.
fn of_module(path: &str, fields: &[(Field, &str)]) -> SubmitForm {
    let mut form = filled(&[(Field::Path, path)]);
    form.typed();
    for (field, text) in fields {
        form.set(*field, (*text).to_owned());
    }
    form.take(Ok(Probe::Module { size: 100 }));
    form
}

/// 30 s, 128 MiB and 10 Gfuel are the limits that nobody has changed.
const PRICES: [(Field, &str); 3] =
    [(Field::PerSecond, "0.002"), (Field::PerMib, "0.0001"), (Field::PerGfuel, "0.003")];

#[test]
fn the_most_that_it_may_cost_is_told_term_by_term_with_its_cap() {
    let terms = "time 0.060000 + memory 0.012800 + fuel 0.030000";
    for (cap, most, said) in [
        ("", "0.102800", "no cap"),
        ("2", "0.102800", "cap 2.000000"),
        ("0.1028", "0.102800", "cap 0.102800"),
        ("0.102799", "0.102799", "capped; without: 0.102800"),
        ("0.05", "0.050000", "capped; without: 0.102800"),
    ] {
        let mut form = filled(&PRICES);
        form.set(Field::MaxTotal, cap.to_owned());
        assert_eq!(form.cost().unwrap(), format!("at most {most}: {terms} ({said})"), "\"{cap}\"");
    }
}

#[test]
fn each_price_is_that_of_its_own_unit_and_each_term_is_rounded_up() {
    for (price, limit, said) in [
        ((Field::PerSecond, "0.002"), (Field::Time, "30s"), ["0.060000", "0.000000", "0.000000"]),
        ((Field::PerSecond, "0.002"), (Field::Time, "250ms"), ["0.000500", "0.000000", "0.000000"]),
        ((Field::PerSecond, "0.000001"), (Field::Time, "1ms"), ["0.000001", "0.000000", "0.000000"]),
        ((Field::PerMib, "0.0001"), (Field::Memory, "128MiB"), ["0.000000", "0.012800", "0.000000"]),
        ((Field::PerMib, "0.0001"), (Field::Memory, "1GiB"), ["0.000000", "0.102400", "0.000000"]),
        ((Field::PerMib, "0.000001"), (Field::Memory, "64KiB"), ["0.000000", "0.000001", "0.000000"]),
        ((Field::PerGfuel, "0.003"), (Field::Fuel, "2_500_000_000"), ["0.000000", "0.000000", "0.007500"]),
        ((Field::PerGfuel, "0.003"), (Field::Fuel, "1"), ["0.000000", "0.000000", "0.000001"]),
    ] {
        let [time, memory, fuel] = said;
        let most = said.iter().max().unwrap();
        assert_eq!(
            filled(&[price, limit]).cost().unwrap(),
            format!("at most {most}: time {time} + memory {memory} + fuel {fuel} (no cap)"),
            "{price:?} {limit:?}"
        );
    }
}

#[test]
fn where_no_price_is_named_it_costs_nothing_whatever_the_cap() {
    for fields in [&[][..], &[(Field::MaxTotal, "0.05")], &[(Field::PerSecond, "0")]] {
        assert_eq!(filled(fields).cost().unwrap(), "nothing: no price is named", "{fields:?}");
    }
}

#[test]
fn prices_beyond_all_amounts_are_told_as_the_largest_one() {
    let most = "9007199254.740991";
    let mut form = filled(&[(Field::PerSecond, most), (Field::PerMib, "0.0001")]);
    let terms = format!("time {most} + memory 0.012800 + fuel 0.000000");
    assert_eq!(form.cost().unwrap(), format!("at most {most}: {terms} (no cap)"));
    form.set(Field::MaxTotal, "0.05".to_owned());
    assert_eq!(form.cost().unwrap(), format!("at most 0.050000: {terms} (capped; without: {most})"));
}

#[test]
fn while_a_price_or_a_limit_is_half_typed_no_cost_is_made_up() {
    let mut form = filled(&PRICES);
    let whole = form.cost();
    assert!(whole.is_some());
    for (field, half) in [
        (Field::PerSecond, "0."),
        (Field::PerMib, "."),
        (Field::PerGfuel, "0,003"),
        (Field::MaxTotal, "1e3"),
        (Field::Memory, "128M"),
        (Field::Time, "30"),
        (Field::Fuel, ""),
    ] {
        let before = form.value(field).to_owned();
        form.set(field, half.to_owned());
        assert_eq!(form.cost(), None, "{field:?} \"{half}\"");
        form.set(field, before);
        assert_eq!(form.cost(), whole);
    }
}

#[test]
fn a_manifest_costs_what_it_says_itself_and_leaves_no_price_behind() {
    let mut draft = Draft::for_module("x", ArtifactSource::Path("x.wasm".into()));
    draft.payment.per_second_micro = "0.002".parse().unwrap();
    draft.limits.time_ms = 1_500;
    let mut form = filled(&[(Field::PerSecond, "7"), (Field::PerMib, "7")]);
    form.take(Ok(Probe::Manifest { draft: Box::new(draft), module: None }));
    assert_eq!(
        form.cost().unwrap(),
        "at most 0.003000: time 0.003000 + memory 0.000000 + fuel 0.000000 (no cap)"
    );
    form.take(Ok(Probe::Module { size: 9 }));
    assert_eq!(form.cost().unwrap(), "nothing: no price is named");
}

#[test]
fn the_manifest_that_the_form_writes_is_read_as_what_the_form_submits() {
    let now = Timestamp::UNIX_EPOCH;
    let cases: [&[(Field, &str)]; 10] = [
        &[],
        &[(Field::Name, "say \"hi\" \\ 日本"), (Field::Function, "run")],
        &[(Field::Args, "--fast \"two words\" 'say \"hi\"' \"\" \"it's\" C:\\dir")],
        &[(Field::Memory, "1GiB"), (Field::Time, "250ms"), (Field::Fuel, "1,000_000")],
        &[(Field::Memory, " 65536 "), (Field::Time, "5 m"), (Field::Lifetime, " 90s ")],
        &[PRICES[0], PRICES[1], PRICES[2], (Field::MaxTotal, "0.05")],
        &[(Field::PerSecond, "1"), (Field::MaxTotal, "9007199254.740991")],
        &[(Field::PerSecond, "0.000001"), (Field::MaxTotal, "0")],
        &[(Field::Quorum, "2")],
        &[(Field::Quorum, "2"), (Field::Witnesses, "5")],
    ];
    for case in cases {
        let form = of_module("/srv/tasks/it's \"ours\".wasm", case);
        let (draft, module) = form.ready(now).unwrap_or_else(|| panic!("{case:?} cannot be submitted"));
        let text = form.manifest_text("/home/operator").unwrap();
        let read = Draft::parse(&text, DraftFormat::Toml, now)
            .unwrap_or_else(|error| panic!("{case:?}: {error}\n{text}"));
        assert_eq!(read, draft, "{case:?}\n{text}");
        // As the console reads what the editor has left.
        let kept = module_of(&read, Path::new("/var/lib/zerostate/drafts/ours.toml"));
        let mut again = SubmitForm::default();
        again.take(Ok(Probe::Manifest { draft: Box::new(read), module: kept }));
        assert_eq!(again.ready(now), Some((draft, module)), "{case:?}");
    }
}

#[test]
fn the_manifest_names_its_module_wherever_it_is_kept_itself() {
    let now = Timestamp::UNIX_EPOCH;
    let form = of_module("tasks/hello.wasm", &PRICES);
    let (draft, module) = form.ready(now).unwrap();
    assert_eq!(module.unwrap(), Path::new("tasks/hello.wasm"));
    let text = form.manifest_text("/home/operator").unwrap();
    let read = Draft::parse(&text, DraftFormat::Toml, now).unwrap();
    assert_eq!(
        module_of(&read, Path::new("/var/lib/zerostate/drafts/hello.toml")).unwrap(),
        Path::new("/home/operator/tasks/hello.wasm")
    );
    // But for that it is the same.
    assert_eq!(Draft { artifact: draft.artifact.clone(), ..read }, draft);
}

#[test]
fn a_field_that_is_left_empty_has_its_default_in_the_manifest_too() {
    let now = Timestamp::UNIX_EPOCH;
    let form = of_module("/srv/hello.wasm", &[(Field::Lifetime, ""), (Field::Witnesses, "")]);
    let (draft, _) = form.ready(now).unwrap();
    let text = form.manifest_text("/home/operator").unwrap();
    let read = Draft::parse(&text, DraftFormat::Toml, now);
    assert_eq!(read.unwrap_or_else(|error| panic!("{error}\n{text}")), draft);
}

#[test]
fn what_cannot_be_read_is_no_manifest_and_its_field_is_named() {
    let mut form = of_module("/srv/hello.wasm", &[]);
    for (field, bad, said) in [
        (Field::Memory, "lots", "memory: expected a size like 128MiB"),
        (Field::Args, "\"open", "arguments: a quote is not closed"),
        (Field::PerMib, "0.", "per MiB: expected an amount like 0.05, with at most six decimals"),
    ] {
        let before = form.value(field).to_owned();
        form.set(field, bad.to_owned());
        assert_eq!(form.manifest_text("/home/operator").unwrap_err(), said);
        form.set(field, before);
    }
}
