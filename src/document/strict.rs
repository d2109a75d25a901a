//! Reading JSON from strangers: bounded, without duplicate keys, without numbers that other readers would round.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::DocumentError;

/// The largest payload of a signed document. A manifest with every list full is under half of it.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
/// The largest envelope: the payload in base64 and some 400 bytes around it.
pub const MAX_ENVELOPE_BYTES: usize = MAX_DOCUMENT_BYTES / 3 * 4 + 1024;
/// 2^53: from here on a double no longer tells neighbouring integers apart (RFC 8259, section 6).
pub const INTEGER_END: u64 = 1 << 53;

/// Parses `bytes` as a `T` after checking what serde alone would let pass.
///
/// # Errors
/// [`DocumentError::TooLarge`] over `limit` bytes; [`DocumentError::Json`] with line and column for anything that is not
/// JSON, has a key twice, an integer of 2^53 or more (either sign), nesting over 128, or does not fit `T`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, DocumentError> {
    if bytes.len() > limit {
        return Err(DocumentError::TooLarge { bytes: bytes.len(), limit });
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Strict.deserialize(&mut reader).and_then(|()| reader.end()).map_err(DocumentError::json)?;
    serde_json::from_slice(bytes).map_err(DocumentError::json)
}

/// Refuses a payload that has a list where the document, written again, has named fields: serde reads a struct from the
/// bare list of its values too, and no other reader of these documents would.
pub(super) fn check_shape(payload: &[u8], written: &[u8]) -> Result<(), DocumentError> {
    fn same(found: &Value, written: &Value) -> bool {
        match (found, written) {
            (Value::Object(found), Value::Object(written)) => {
                found.iter().all(|(key, value)| written.get(key).is_none_or(|written| same(value, written)))
            }
            (Value::Array(found), Value::Array(written)) => {
                found.iter().zip(written).all(|(value, written)| same(value, written))
            }
            _ => found.is_array() == written.is_array(),
        }
    }
    // What this program writes comes back byte for byte.
    if payload == written {
        return Ok(());
    }
    let read = |bytes| serde_json::from_slice(bytes).map_err(DocumentError::json);
    if same(&read(payload)?, &read(written)?) {
        Ok(())
    } else {
        Err(DocumentError::Json("a list where named fields are expected".to_owned()))
    }
}

/// Walks a value and keeps nothing of it.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        if number < INTEGER_END {
            Ok(())
        } else {
            Err(E::custom(format!("integer {number} is 2^53 or more")))
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.visit_u64(number.unsigned_abs())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        // serde_json reads integers beyond 64 bits as floats: they are caught here.
        let whole = number.fract() == 0.0 && number.abs() >= 9_007_199_254_740_992.0;
        if whole { Err(E::custom(format!("number {number} is 2^53 or more"))) } else { Ok(()) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Strict)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen = Keys::default();
        while let Some(Key(key)) = entries.next_key::<Key<'de>>()? {
            entries.next_value_seed(Strict)?;
            if seen.contains(&key) {
                return Err(A::Error::custom(format!("duplicate key \"{}\"", key.escape_debug())));
            }
            seen.insert(key);
        }
        Ok(())
    }
}

/// A key without a copy, where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The keys of one object: few of them are compared one by one, many are hashed.
#[derive(Default)]
struct Keys<'a> {
    few: Vec<Cow<'a, str>>,
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Keys<'a> {
    const FEW: usize = 32;

    fn contains(&self, key: &str) -> bool {
        self.few.iter().any(|seen| seen == key) || self.many.contains(key)
    }

    fn insert(&mut self, key: Cow<'a, str>) {
        if self.few.len() < Self::FEW {
            self.few.push(key);
        } else {
            self.many.insert(key);
        }
    }
}
