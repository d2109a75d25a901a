//! While ids and addresses are masked, none of them is on the screen, in whatever place one is.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::stage::{Data, Look, Of, PLACES, Place, SIZES, at, picture, press, text};
use crate::console::layers::Layer;
use crate::console::model::Model;
use crate::console::samples;

/// So many letters of an id beside each other tell whose it is.
const TELLING: usize = 8;

/// Everything in the samples that says who or where somebody is: DIDs, peer ids, addresses, CIDs, digests, ids of tasks.
fn ids() -> BTreeSet<String> {
    fn is_id(word: &str) -> bool {
        let digest = word.len() >= 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        digest || ["did:key:", "12D3Koo", "bafk", "/ip4/"].iter().any(|begin| word.starts_with(begin))
    }
    fn collect(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::String(text) => {
                let words = text.split_whitespace().filter(|word| is_id(word));
                into.extend(words.map(str::to_owned));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
            Value::Object(fields) => fields.values().for_each(|field| collect(field, into)),
            _ => {}
        }
    }
    let mut ids = BTreeSet::new();
    let said = [
        serde_json::to_value(samples::busy()).unwrap(),
        serde_json::to_value(samples::receipt_detail()).unwrap(),
        serde_json::to_value(samples::task_detail()).unwrap(),
    ];
    said.iter().for_each(|said| collect(said, &mut ids));
    ids
}

/// Every part of an id that would tell it.
fn parts() -> BTreeSet<String> {
    let part = |id: &String| -> Vec<String> {
        let letters: Vec<char> = id.chars().collect();
        letters.windows(TELLING).map(|part| part.iter().collect()).collect()
    };
    ids().iter().flat_map(part).collect()
}

/// The lines of the picture in which a part of an id stands.
fn told(model: &Model, parts: &BTreeSet<String>) -> Vec<String> {
    let shown = text(&picture(model));
    let tells = |line: &&str| {
        let letters: Vec<char> = line.chars().collect();
        letters.windows(TELLING).any(|part| parts.contains(&part.iter().collect::<String>()))
    };
    shown.lines().filter(tells).map(str::to_owned).collect()
}

/// A console at a place, with everything masked from the beginning.
fn masked(place: &Place, size: (u16, u16)) -> Model {
    // Where the mask is put on by the way there, a second time would take it off.
    let keys: &'static str = match place.keys.split(' ').any(|key| key == "P") {
        true => place.keys,
        false => format!("P {}", place.keys).leak(),
    };
    let model = at(&Place { keys, ..*place }, size, Data::Little, &Arc::new(samples::busy()), Look::Dark);
    assert!(model.private, "{}", place.name);
    model
}

#[test]
fn what_is_looked_for_is_everywhere_without_the_mask() {
    let ids = ids();
    for (id, what) in [
        (samples::did(1).to_string(), "this node"),
        (samples::did(13).to_string(), "a witness"),
        (samples::identity(1).peer_id(), "this node's peer id"),
        (samples::identity(21).peer_id(), "a peer id"),
        (samples::busy().receipts.items[0].receipt_id.clone(), "a receipt"),
        (samples::busy().attestations.items[0].attestation_id.clone(), "an attestation"),
        (samples::busy().guilds.items[0].guild_id.clone(), "a guild"),
        ("01".repeat(16), "a task"),
        (samples::receipt_detail().receipt.artifact.cid.to_string(), "an artifact"),
        (samples::receipt_detail().receipt.output.sha256.to_string(), "a digest"),
        ("/ip4/203.0.113.5/tcp/4001".to_owned(), "a peer's address"),
        ("/ip4/192.0.2.7/tcp/4001".to_owned(), "this node's address"),
    ] {
        assert!(ids.contains(&id), "{what}: {id}");
    }
    let (snapshot, parts) = (Arc::new(samples::busy()), parts());
    let tells = |place: &&Place| {
        let model = at(place, SIZES[0], Data::Little, &snapshot, Look::Dark);
        !told(&model, &parts).is_empty()
    };
    let telling = PLACES.iter().filter(tells).count();
    // On a screen of that size an address stands in the events, which most of them leave to be seen.
    assert!(telling > PLACES.len() / 2, "in {telling} of {} places", PLACES.len());
}

#[test]
fn no_id_is_told_in_any_place_at_any_size() {
    let parts = parts();
    let mut wrong = Vec::new();
    for place in PLACES {
        for size in SIZES {
            let told = told(&masked(place, size), &parts);
            wrong.extend(told.iter().map(|line| format!("{} at {size:?}: {line}", place.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_id_is_told_by_what_is_left_of_it_when_one_scrolls() {
    let parts = parts();
    let mut wrong = BTreeSet::new();
    for place in PLACES {
        for size in SIZES {
            let mut model = masked(place, size);
            // What follows its end is gone through upwards.
            for key in ["down", "up"] {
                for line in 1..200 {
                    let before = model.layers.last_mut().and_then(Layer::scroll).copied();
                    press(&mut model, key, Data::Little);
                    let after = model.layers.last_mut().and_then(Layer::scroll).copied();
                    if before == after {
                        break;
                    }
                    let told = told(&model, &parts);
                    wrong.extend(
                        told.iter().map(|said| format!("{} at {size:?}, {key} {line}: {said}", place.name)),
                    );
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn no_id_is_told_by_what_is_left_of_it_beside_what_lies_over_it() {
    let parts = parts();
    let mut wrong = Vec::new();
    for below in
        ["1 enter", "2 enter", "3 enter", "3 enter m", "4 j enter", "4 j =", "5 j enter", "7 enter", "I"]
    {
        for over in ["T", "c", ":", "?"] {
            for size in SIZES {
                let keys: &'static str = format!("{below} {over}").leak();
                let place = Place { name: keys, keys, wrong: "", of: Of::Live };
                let told = told(&masked(&place, size), &parts);
                wrong.extend(told.iter().map(|line| format!("{keys} at {size:?}: {line}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
