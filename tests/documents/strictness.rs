//! What the readers refuse although the author's own signature is on it.

use cid::multibase;

use super::*;

const MAX_PAYLOAD: usize = 64 * 1024;
const MAX_ENVELOPE: usize = zerostate::document::strict::MAX_ENVELOPE_BYTES;

/// Inside an input's value every shape is the author's affair.
fn is_free(place: &str) -> bool {
    place.split('/').any(|key| key == "value")
}

/// The document with `at` replaced by text that need not be JSON any more.
fn with_text(document: &Value, at: &str, text: &str) -> String {
    let mut copy = document.clone();
    *copy.pointer_mut(at).unwrap() = json!("@here@");
    copy.to_string().replace("\"@here@\"", text)
}

#[test]
fn a_payload_in_another_order_of_keys_is_the_same_document() {
    // The control of this file: what is refused below is refused for what was done to it, not for being written again.
    for sample in samples() {
        (sample.open)(&sample.resigned(sample.json().to_string())).unwrap();
    }
}

#[test]
fn an_unknown_field_at_any_level_is_refused_and_named() {
    for sample in samples() {
        let document = sample.json();
        for place in places(&document).into_iter().filter(|place| !is_free(place)) {
            let mut more = document.clone();
            if let Some(Value::Object(fields)) = more.pointer_mut(&place) {
                fields.insert("surprise".to_owned(), json!(1));
                let bytes = sample.resigned(more.to_string());
                sample.refused_for(&bytes, &format!("an unknown field at {place:?}"), "surprise");
            }
        }
        let envelope = String::from_utf8(sample.envelope.clone()).unwrap();
        for (from, to) in [
            ("{\"payloadType\"", "{\"surprise\":1,\"payloadType\""),
            ("{\"keyid\"", "{\"surprise\":1,\"keyid\""),
        ] {
            let more = envelope.replacen(from, to, 1);
            sample.refused_for(more.as_bytes(), "an unknown field in the envelope", "surprise");
        }
    }
}

#[test]
fn a_duplicate_key_at_any_level_is_refused_and_named() {
    for sample in samples() {
        let document = sample.json();
        for place in places(&document) {
            let Some(Value::Object(fields)) = document.pointer(&place) else { continue };
            for (key, value) in fields {
                let inner = document.pointer(&place).unwrap().to_string();
                let twice = format!("{{\"{key}\":{value},{}", &inner[1..]);
                let bytes = sample.resigned(with_text(&document, &place, &twice));
                let why = format!("{key:?} twice at {place:?}");
                sample.refused_for(&bytes, &why, &format!("duplicate key \"{key}\""));
            }
        }
        let envelope = String::from_utf8(sample.envelope.clone()).unwrap();
        let [label, payload, keyid, sig] = parts(&sample.envelope);
        for (key, value) in [("payloadType", &label), ("payload", &payload), ("keyid", &keyid), ("sig", &sig)]
        {
            let once = format!("\"{key}\":\"{value}\"");
            let twice = envelope.replacen(&once, &format!("{once},{once}"), 1);
            assert_ne!(twice, envelope);
            sample.refused_for(twice.as_bytes(), "a key twice in the envelope", "duplicate");
        }
    }
}

#[test]
fn a_key_twice_under_two_spellings_is_a_duplicate_too() {
    let [sample, ..] = samples();
    let text = sample.json().to_string().replacen("{", r#"{"n\u0061me":"other","#, 1);
    sample.refused_for(&sample.resigned(text), "an escaped duplicate", "duplicate key \"name\"");
}

#[test]
fn an_integer_of_two_to_the_53_or_more_is_refused_wherever_a_number_stands() {
    let too_large = [
        "9007199254740992",
        "-9007199254740992",
        "9007199254740993.0",
        "18446744073709551615",
        "-9223372036854775808",
        "100000000000000000000000000",
        "1e300",
        "-1e300",
        "9007199254740992e0",
    ];
    for sample in samples() {
        let document = sample.json();
        let mut numbers = 0;
        for place in places(&document) {
            if document.pointer(&place).is_some_and(Value::is_number) {
                numbers += 1;
                for text in too_large {
                    let bytes = sample.resigned(with_text(&document, &place, text));
                    sample.refused_for(&bytes, &format!("{text} at {place}"), "2^53");
                }
            }
        }
        assert!(numbers > 0 || sample.kind == Kind::Attestation, "{} has no number to test", sample.kind);
    }
}

#[test]
fn the_largest_safe_integers_are_accepted() {
    let [sample, ..] = samples();
    for (place, text) in [
        ("/inputs/1/value", "-9007199254740991"),
        ("/limits/fuel", "9007199254740991"),
        ("/inputs/2/value", "0.5"),
    ] {
        (sample.open)(&sample.resigned(with_text(&sample.json(), place, text))).unwrap();
    }
}

#[test]
fn a_number_written_as_a_fraction_is_not_an_integer() {
    let [sample, ..] = samples();
    for text in ["1.0", "1e3", "-1", "\"1\"", "null", "true", "NaN", "01", "+1", "0x10"] {
        sample.refused(&sample.resigned(with_text(&sample.json(), "/limits/fuel", text)), text);
    }
}

#[test]
fn a_payload_of_64_kib_opens_and_one_byte_more_is_refused() {
    for sample in samples() {
        let room = MAX_PAYLOAD - sample.payload.len();
        let full = [&sample.payload[..], " ".repeat(room).as_bytes()].concat();
        (sample.open)(&sample.resigned(&full)).unwrap();
        let over = sample.resigned([&full[..], b" "].concat());
        assert!(over.len() <= MAX_ENVELOPE, "the envelope itself is not what is too large");
        let refused = (sample.open)(&over).unwrap_err();
        assert!(
            matches!(refused, DocumentError::TooLarge { bytes, limit: MAX_PAYLOAD } if bytes == MAX_PAYLOAD + 1),
            "{refused}"
        );
        sample.refused_for(&over, "a payload over 64 KiB", "65537 bytes; at most 65536");
    }
}

#[test]
fn an_envelope_over_its_limit_is_refused_by_its_size_alone() {
    for sample in samples() {
        let over = " ".repeat(MAX_ENVELOPE + 1);
        let refused = (sample.open)(over.as_bytes()).unwrap_err();
        assert!(matches!(refused, DocumentError::TooLarge { limit: MAX_ENVELOPE, .. }), "{refused}");
        sample.refused_for(&vec![b'['; 10 << 20], "ten megabytes", "at most");
    }
}

#[test]
fn what_would_be_too_large_to_open_is_not_signed() {
    let mut bloated = manifest();
    bloated.args = vec!["x".repeat(4096); 17];
    let refused = Envelope::sign(&creator(), &bloated);
    assert!(matches!(refused, Err(DocumentError::TooLarge { limit: MAX_PAYLOAD, .. })), "{refused:?}");
}

#[test]
fn nesting_that_would_eat_the_stack_is_refused() {
    let [sample, ..] = samples();
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let bytes = sample.resigned(with_text(&sample.json(), "/inputs/2/value", &deep));
    sample.refused_for(&bytes, "20000 levels", "recursion");
    sample.refused(deep.as_bytes(), "20000 levels in place of an envelope");
}

#[test]
fn exactly_one_signature_is_asked_for() {
    for sample in samples() {
        let [label, payload, keyid, sig] = parts(&sample.envelope);
        let one = format!(r#"{{"keyid":"{keyid}","sig":"{sig}"}}"#);
        for all in [String::new(), format!("{one},{one}"), format!("{one},{one},{one}")] {
            let envelope =
                format!(r#"{{"payloadType":"{label}","payload":"{payload}","signatures":[{all}]}}"#);
            sample.refused_for(envelope.as_bytes(), "another number of signatures", "exactly one signature");
        }
    }
}

#[test]
fn an_envelope_has_one_spelling() {
    for sample in samples() {
        let text = String::from_utf8(sample.envelope.clone()).unwrap();
        let [label, payload, keyid, sig] = parts(&sample.envelope);
        let other_spellings = [
            format!(" {text}"),
            format!("{text}\n"),
            text.replacen(":", ": ", 1),
            text.replacen(",", ",\n  ", 1),
            text.replacen("[{", "[ {", 1),
            text.replacen("application/", "application\\/", 1),
            text.replacen("application", "\\u0061pplication", 1),
            text.replacen("\"sig\"", "\"s\\u0069g\"", 1),
            format!(
                r#"{{"payload":"{payload}","payloadType":"{label}","signatures":[{{"keyid":"{keyid}","sig":"{sig}"}}]}}"#
            ),
            format!(
                r#"{{"payloadType":"{label}","payload":"{payload}","signatures":[{{"sig":"{sig}","keyid":"{keyid}"}}]}}"#
            ),
            format!(r#"["{label}","{payload}",[["{keyid}","{sig}"]]]"#),
        ];
        for other in other_spellings {
            assert_ne!(other, text);
            sample.refused_for(other.as_bytes(), &format!("the spelling {other:.40}"), "compact JSON");
        }
        sample.refused_for(format!("{text}x").as_bytes(), "trailing garbage", "trailing");
        sample.refused_for(format!("{text}{{}}").as_bytes(), "a second value", "trailing");
    }
}

#[test]
fn base64_has_one_spelling() {
    for sample in samples() {
        let [label, payload, keyid, sig] = parts(&sample.envelope);
        let bodies = [
            payload.trim_end_matches('=').to_owned() + "=====",
            format!("{payload}="),
            format!("{} {}", &payload[..76], &payload[76..]),
            format!("-_{}", &payload[2..]),
        ];
        for body in bodies {
            let envelope = spell(&label, &body, &keyid, &sig);
            sample.refused_for(&envelope, "a payload in other base64", "payload is not canonical base64");
        }
        let wrapped = format!("{}\\n{}", &payload[..76], &payload[76..]);
        let envelope = spell(&label, &wrapped, &keyid, &sig);
        sample.refused_for(&envelope, "a payload in lines", "without an escape");
        // 64 bytes end in one character of which four bits are not used, and "==": fifteen other spellings.
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        assert!(sig.ends_with("==") && sig.len() == 88);
        let (head, last) = (&sig[..85], sig.chars().nth(85).unwrap());
        let group = alphabet.find(last).unwrap() / 16 * 16;
        for same_bits in alphabet[group..group + 16].chars().filter(|c| *c != last) {
            let envelope = spell(&label, &payload, &keyid, &format!("{head}{same_bits}=="));
            sample.refused_for(&envelope, "a signature in other base64", "signature is not canonical base64");
        }
        let unpadded = spell(&label, &payload, &keyid, sig.trim_end_matches('='));
        sample.refused_for(&unpadded, "an unpadded signature", "signature is not canonical base64");
        let signature = BASE64.decode(&sig).unwrap();
        for wrong in [&signature[..63], &[&signature[..], &[0]].concat(), &[]] {
            let envelope = spell(&label, &payload, &keyid, &BASE64.encode(wrong));
            sample.refused_for(&envelope, "a signature of another length", "64 bytes");
        }
    }
}

#[test]
fn a_key_has_one_name() {
    for sample in samples() {
        let [label, payload, keyid, sig] = parts(&sample.envelope);
        let key = [&[0xed, 0x01], sample.author.public_key().as_slice()].concat();
        let names = [
            format!("did:key:{}", multibase::encode(multibase::Base::Base16Lower, &key)),
            format!("did:key:{}", multibase::encode(multibase::Base::Base64Url, &key)),
            keyid.replacen("did:key:", "DID:KEY:", 1),
            format!("{keyid}#{}", keyid.trim_start_matches("did:key:")),
            keyid.replacen("z", "z1", 1),
            sample.author.peer_id(),
            hex::encode(sample.author.public_key()),
            String::new(),
        ];
        for name in names {
            let envelope = spell(&label, &payload, &name, &sig);
            sample.refused_for(&envelope, &format!("the key named {name}"), "the signature's key");
        }
    }
}

#[test]
fn a_payload_with_anything_after_it_or_that_is_no_object_is_refused() {
    for sample in samples() {
        for extra in ["x", "{}", "null", "\0", "\u{feff}", ",", "}"] {
            let bytes = sample.resigned([&sample.payload[..], extra.as_bytes()].concat());
            sample.refused_for(&bytes, &format!("{extra:?} after its payload"), "trailing");
        }
        for other in ["", "null", "[]", "\"\"", "1", "{}", "\u{feff}{}"] {
            sample.refused_for(&sample.resigned(other), &format!("the payload {other:?}"), "not valid JSON");
        }
        let broken = [&sample.payload[..20], &[0xff], &sample.payload[20..]].concat();
        sample.refused_for(&sample.resigned(broken), "a payload that is not UTF-8", "not valid JSON");
    }
}

#[test]
fn a_field_that_is_missing_is_refused_and_named_unless_it_may_be_absent() {
    let may_be_absent = ["guild", "exit_code", "error", "reason", "environment", "providers"];
    for sample in samples() {
        let document = sample.json();
        for place in places(&document).into_iter().filter(|place| !is_free(place)) {
            let Some(Value::Object(fields)) = document.pointer(&place) else { continue };
            for key in fields.keys().filter(|key| !may_be_absent.contains(&key.as_str())) {
                let mut less = document.clone();
                less.pointer_mut(&place).unwrap().as_object_mut().unwrap().remove(key);
                let bytes = sample.resigned(less.to_string());
                sample.refused_for(&bytes, &format!("no {key} at {place:?}"), &format!("`{key}`"));
            }
        }
    }
}

#[test]
fn a_list_in_place_of_named_fields_is_refused() {
    // serde reads a struct from a list of its fields too; no other reader of these documents would.
    for sample in samples() {
        let document = sample.json();
        for place in places(&document).into_iter().filter(|place| !is_free(place)) {
            if let Some(Value::Object(_)) = document.pointer(&place) {
                let inner = in_order(&sample.payload, &place);
                let bytes = sample.resigned(with_text(&document, &place, &inner));
                sample.refused(&bytes, &format!("a list at {place:?}"));
            }
        }
    }
}

/// The values of the object at `place` as a list, in the order in which the library writes them.
fn in_order(payload: &[u8], place: &str) -> String {
    struct Ordered(Vec<Value>);
    impl<'de> serde::Deserialize<'de> for Ordered {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Ordered;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                    let mut values = Vec::new();
                    while let Some((_, value)) = map.next_entry::<String, Value>()? {
                        values.push(value);
                    }
                    Ok(Ordered(values))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    // Objects are found by their first key in the text the library wrote, which keeps its order.
    let text = std::str::from_utf8(payload).unwrap();
    let whole: Value = serde_json::from_str(text).unwrap();
    let wanted = whole.pointer(place).unwrap();
    let found = text.match_indices('{').find_map(|(at, _)| {
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        let value = values.next()?.ok()?;
        (&value == wanted).then(|| &text[at..at + values.byte_offset()])
    });
    let Ordered(values) = serde_json::from_str(found.unwrap()).unwrap();
    Value::Array(values).to_string()
}

#[test]
fn digests_and_cids_have_one_spelling() {
    let [manifest, receipt, attestation, ..] = samples();
    let cid = super::manifest().artifact.cid;
    let other_base = cid.to_string_of_base(multibase::Base::Base58Btc).unwrap();
    let places = [
        (&manifest, "/artifact/cid"),
        (&receipt, "/predicate/manifest"),
        (&attestation, "/predicate/zerostate/receipt"),
    ];
    for (sample, place) in places {
        for bad in [other_base.clone(), cid.to_string().to_uppercase(), "b".to_owned(), String::new()] {
            let bytes = sample.resigned(with_text(&sample.json(), place, &json!(bad).to_string()));
            sample.refused_for(&bytes, &format!("the CID {bad}"), "CID");
        }
    }
    let places = [
        (&manifest, "/artifact/sha256"),
        (&receipt, "/predicate/output/sha256"),
        (&attestation, "/subject/0/digest/sha256"),
    ];
    for (sample, place) in places {
        let document = sample.json();
        let digest = document.pointer(place).and_then(Value::as_str).unwrap();
        for bad in [digest.to_uppercase(), digest[1..].to_owned(), format!("{digest}00"), String::new()] {
            let bytes = sample.resigned(with_text(&document, place, &json!(bad).to_string()));
            sample.refused_for(&bytes, &format!("the digest {bad}"), "64 lower-case hex digits");
        }
    }
}
