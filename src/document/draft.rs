//! The manifest as a person writes it: TOML or JSON, human units, most fields left out.
//!
//! Reading goes on after a fault, so that all of them are listed at once, those of type and those of value together.

use std::path::PathBuf;
use std::time::Duration;

use cid::Cid;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::manifest::{
    Artifact, AttestationTerms, DEFAULT_FUNCTION, Input, Limits, Manifest, Output, Payment, Sla, ValueType,
};
use super::strict::{self, INTEGER_END, MAX_DOCUMENT_BYTES};
use super::{
    Credits, Document as _, DocumentError, Fault, Faults, Sha256Digest, parse_bytes, parse_duration,
};
use crate::identity::Did;

const LIFETIME_DEFAULT: Duration = Duration::from_secs(3600);

/// Which language a draft is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DraftFormat {
    Toml,
    Json,
}

/// Where the module is to come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArtifactSource {
    /// A file beside the draft (or absolute).
    Path(PathBuf),
    /// Stored already, or to be fetched; `sha256` and `size` are checked when given.
    Cid { cid: String, sha256: Option<Sha256Digest>, size: Option<u64> },
}

/// A manifest without what submission fills in: ids, nonce, creator, dates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    pub name: String,
    pub description: String,
    pub version: String,
    pub artifact: ArtifactSource,
    /// Multiaddresses of nodes that are said to have the artifact and the inputs.
    #[serde(default)]
    pub providers: Vec<String>,
    pub limits: Limits,
    pub function: String,
    pub args: Vec<String>,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    pub capabilities: Vec<String>,
    pub payment: Payment,
    pub sla: Sla,
    pub attestation: AttestationTerms,
    /// How long after submission it expires.
    pub lifetime_ms: u64,
    /// A fixed expiry, which goes before `lifetime_ms`.
    pub expires_at: Option<Timestamp>,
}

/// What submission adds to a draft.
#[derive(Debug, Clone)]
pub struct Completion {
    pub creator: Did,
    pub artifact: Artifact,
    pub now: Timestamp,
    /// Fresh random bytes for `task_id` and `nonce`.
    pub random: [u8; 32],
}

impl Draft {
    /// A draft with every default, for a module in a file.
    pub fn for_module(name: &str, artifact: ArtifactSource) -> Self {
        Self {
            name: name.to_owned(),
            description: String::new(),
            version: "1.0.0".to_owned(),
            artifact,
            providers: Vec::new(),
            limits: Limits::default(),
            function: DEFAULT_FUNCTION.to_owned(),
            args: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            capabilities: Vec::new(),
            payment: Payment { max_total_micro: Credits::MAX, ..Payment::default() },
            sla: Sla::default(),
            attestation: AttestationTerms::default(),
            lifetime_ms: u64::try_from(LIFETIME_DEFAULT.as_millis()).unwrap_or(u64::MAX),
            expires_at: None,
        }
    }

    /// Reads a draft.
    ///
    /// # Errors
    /// [`DocumentError::Toml`] or [`DocumentError::Json`] when the text is not that at all; [`DocumentError::Faults`] with every fault otherwise.
    pub fn parse(text: &str, format: DraftFormat, now: Timestamp) -> Result<Self, DocumentError> {
        let value: Value = match format {
            DraftFormat::Json => strict::from_slice(text.as_bytes(), MAX_DOCUMENT_BYTES)?,
            DraftFormat::Toml if text.len() > MAX_DOCUMENT_BYTES => {
                return Err(DocumentError::TooLarge { bytes: text.len(), limit: MAX_DOCUMENT_BYTES });
            }
            DraftFormat::Toml => toml::from_str::<toml::Table>(text)
                .map(|table| plain(toml::Value::Table(table)))
                .map_err(|error| DocumentError::Toml(error.to_string().trim_end().to_owned()))?,
        };
        let Value::Object(fields) = value else {
            return Err(DocumentError::Json("a manifest is a table of fields".to_owned()));
        };
        let mut reader = Reader { fields, prefix: String::new(), faults: Faults::default() };
        let draft = read(&mut reader);
        reader.finish();
        let mut faults = reader.faults;
        for fault in draft.value_faults(now).0 {
            // A field that was already found wrong stands in with its default, which is not a second fault.
            let known = |known: &Fault| {
                known.field.starts_with(&fault.field) || fault.field.starts_with(&known.field)
            };
            if !faults.0.iter().any(known) {
                faults.0.push(fault);
            }
        }
        faults.into_result().map_err(DocumentError::Faults)?;
        Ok(draft)
    }

    /// Everything wrong with the values, found by completing the draft with stand-ins.
    pub fn value_faults(&self, now: Timestamp) -> Faults {
        let digest = Sha256Digest::of(b"");
        let artifact = Artifact { cid: digest.to_cid(), sha256: digest, size: 1 };
        // The public key of RFC 8032's first test vector: a stand-in that no rule objects to.
        let known = "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw";
        let mut faults = match known.parse() {
            Ok(creator) => {
                self.clone().complete(Completion { creator, artifact, now, random: [0; 32] }).faults()
            }
            Err(_) => Faults::default(),
        };
        if let ArtifactSource::Cid { cid, sha256, size } = &self.artifact {
            match cid.parse::<Cid>() {
                Ok(parsed) => {
                    let whole = Sha256Digest::from_cid(&parsed);
                    faults.check(whole.is_some(), "artifact.cid", cid, "a CID with a sha2-256 hash");
                    let equal = sha256.is_none() || parsed.codec() != super::RAW_CODEC || *sha256 == whole;
                    faults.check(
                        equal,
                        "artifact.sha256",
                        sha256.map(|s| s.to_string()).unwrap_or_default(),
                        "the hash that is in the CID",
                    );
                }
                Err(_) => faults.add("artifact.cid", cid, "a CID, like bafkrei…"),
            }
            let fits = size.is_none_or(|size| (1..=super::ARTIFACT_MAX).contains(&size));
            faults.check(fits, "artifact.size", size.unwrap_or_default(), "1 byte to 64 MiB");
        }
        faults
    }

    /// The manifest: what the person wrote and what submission fills in. Not validated; signing does that.
    pub fn complete(self, with: Completion) -> Manifest {
        let (task_id, nonce) = with.random.split_at(16);
        let life = SignedDuration::from_millis(i64::try_from(self.lifetime_ms).unwrap_or(i64::MAX));
        let expires_at =
            self.expires_at.or_else(|| with.now.checked_add(life).ok()).unwrap_or(Timestamp::MAX);
        Manifest {
            task_id: hex::encode(task_id),
            name: self.name,
            description: self.description,
            version: self.version,
            created_at: with.now,
            expires_at,
            creator: with.creator,
            artifact: with.artifact,
            limits: self.limits,
            function: self.function,
            args: self.args,
            inputs: self.inputs,
            providers: self.providers,
            outputs: self.outputs,
            capabilities: self.capabilities,
            payment: self.payment,
            sla: self.sla,
            attestation: self.attestation,
            nonce: hex::encode(nonce),
        }
    }
}

/// The fields of one table, taken out one by one; what is left at the end is unknown.
struct Reader {
    fields: Map<String, Value>,
    prefix: String,
    faults: Faults,
}

fn read(r: &mut Reader) -> Draft {
    let mut draft = Draft::for_module("", ArtifactSource::Path(PathBuf::new()));
    match r.text("name") {
        Some(name) => draft.name = name,
        None => {
            if !r.has_fault("name") {
                r.faults.add("name", "missing", "a name");
            }
        }
    }
    r.text("description").into_iter().for_each(|text| draft.description = text);
    r.text("version").into_iter().for_each(|text| draft.version = text);
    r.text("function").into_iter().for_each(|text| draft.function = text);
    match r.fields.remove("artifact") {
        Some(value) => draft.artifact = artifact(r, value),
        None => {
            r.faults.add("artifact", "missing", "a path or a cid, like artifact = { path = \"hello.wasm\" }")
        }
    }
    draft.args = r.texts("args");
    draft.capabilities = r.texts("capabilities");
    draft.providers = r.texts("providers");
    draft.inputs = r.tables("inputs", |row| {
        // All are taken before one that is missing ends it: what stays in the row counts as unknown.
        let (name, value_type) = (row.required_text("name"), row.value_type());
        let value = row.fields.remove("value");
        if value.is_none() {
            row.faults.add(row.path("value"), "missing", "a value");
        }
        Some(Input { name: name?, value_type: value_type?, value: value? })
    });
    draft.outputs = r.tables("outputs", |row| {
        let (name, value_type) = (row.required_text("name"), row.value_type());
        Some(Output { name: name?, value_type: value_type? })
    });
    r.table("limits", |t| {
        t.bytes("memory").into_iter().for_each(|v| draft.limits.memory_bytes = v);
        t.millis("time").into_iter().for_each(|v| draft.limits.time_ms = v);
        t.bytes("stack").into_iter().for_each(|v| draft.limits.stack_bytes = v);
        t.integer("fuel").into_iter().for_each(|v| draft.limits.fuel = v);
    });
    r.table("payment", |t| {
        t.credits("per_second").into_iter().for_each(|v| draft.payment.per_second_micro = v);
        t.credits("per_mib").into_iter().for_each(|v| draft.payment.per_mib_micro = v);
        t.credits("per_gfuel").into_iter().for_each(|v| draft.payment.per_gfuel_micro = v);
        t.credits("max_total").into_iter().for_each(|v| draft.payment.max_total_micro = v);
    });
    r.table("sla", |t| {
        t.millis("max_start_delay").into_iter().for_each(|v| draft.sla.max_start_delay_ms = v);
        t.share("required_uptime").into_iter().for_each(|v| draft.sla.required_uptime_ppm = v);
        t.share("max_failure_rate").into_iter().for_each(|v| draft.sla.max_failure_rate_ppm = v);
        t.share("min_reputation").into_iter().for_each(|v| draft.sla.min_reputation_ppm = v);
    });
    r.table("attestation", |t| {
        t.small("quorum").into_iter().for_each(|v| draft.attestation.quorum = v);
        draft.attestation.witnesses = t.small("witnesses").unwrap_or(draft.attestation.quorum);
    });
    r.millis("expires_in").into_iter().for_each(|v| draft.lifetime_ms = v);
    if let Some(text) = r.text("expires_at") {
        match text.parse() {
            Ok(at) => draft.expires_at = Some(at),
            Err(_) => r.faults.add("expires_at", text, "a time like 2026-01-31T12:00:00Z"),
        }
    }
    draft
}

/// TOML as JSON has it; a date becomes the text that it is written as.
fn plain(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) if number.is_finite() => number.into(),
        toml::Value::Float(number) => number.to_string().into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(plain).collect(),
        toml::Value::Table(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (key, plain(value))).collect())
        }
    }
}

fn artifact(r: &mut Reader, value: Value) -> ArtifactSource {
    let nothing = ArtifactSource::Path(PathBuf::new());
    match value {
        Value::String(path) => ArtifactSource::Path(path.into()),
        Value::Object(fields) => r.within("artifact", fields, |t| {
            let given = [t.fields.contains_key("path"), t.fields.contains_key("cid")];
            let (path, cid) = (t.text("path"), t.text("cid"));
            let sha256 = t.text("sha256").and_then(|text| match Sha256Digest::try_from(text.clone()) {
                Ok(digest) => Some(digest),
                Err(expected) => {
                    t.faults.add(t.path("sha256"), text, expected);
                    None
                }
            });
            let size = t.bytes("size");
            match (path, cid) {
                (Some(path), None) => ArtifactSource::Path(path.into()),
                (None, Some(cid)) => ArtifactSource::Cid { cid, sha256, size },
                // One that is there and no text has been noted as such.
                _ => {
                    let value = match given {
                        [true, true] => "both path and cid",
                        [false, false] => "neither path nor cid",
                        _ => return nothing,
                    };
                    t.faults.add("artifact", value, "either a path or a cid");
                    nothing
                }
            }
        }),
        other => {
            r.faults.add("artifact", other, "a path or a cid, like artifact = { path = \"hello.wasm\" }");
            nothing
        }
    }
}

impl Reader {
    fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn has_fault(&self, key: &str) -> bool {
        let path = self.path(key);
        self.faults.0.iter().any(|fault| fault.field == path)
    }

    /// Takes a field and reads it, or notes what was expected in its place.
    fn take<T>(&mut self, key: &str, expected: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = self.fields.remove(key)?;
        let found = read(&value);
        if found.is_none() {
            self.faults.add(self.path(key), &value, expected);
        }
        found
    }

    fn text(&mut self, key: &str) -> Option<String> {
        self.take(key, "a text in quotes", |value| value.as_str().map(str::to_owned))
    }

    fn required_text(&mut self, key: &str) -> Option<String> {
        if !self.fields.contains_key(key) {
            self.faults.add(self.path(key), "missing", "a text in quotes");
        }
        self.text(key)
    }

    fn integer(&mut self, key: &str) -> Option<u64> {
        self.take(key, "a whole number from 0 to 2^53 - 1", |value| {
            value.as_u64().filter(|n| *n < INTEGER_END)
        })
    }

    fn small(&mut self, key: &str) -> Option<u32> {
        self.take(key, "a small whole number", |value| value.as_u64().and_then(|n| u32::try_from(n).ok()))
    }

    fn bytes(&mut self, key: &str) -> Option<u64> {
        self.take(key, "a size like \"128MiB\" or a number of bytes", |value| {
            value.as_u64().or_else(|| value.as_str().and_then(parse_bytes)).filter(|n| *n < INTEGER_END)
        })
    }

    fn millis(&mut self, key: &str) -> Option<u64> {
        self.take(key, "a duration like \"30s\" or \"250ms\"", |value| {
            let duration = value.as_str().and_then(parse_duration)?;
            u64::try_from(duration.as_millis()).ok().filter(|n| *n < INTEGER_END)
        })
    }

    fn credits(&mut self, key: &str) -> Option<Credits> {
        self.take(key, "an amount like \"0.002\" with at most six decimals", |value| match value {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.to_string().parse().ok(),
            _ => None,
        })
    }

    /// A share from 0 to 1 with at most six decimals, in parts per million: the same digits as an amount.
    fn share(&mut self, key: &str) -> Option<u32> {
        self.take(key, "a share from 0 to 1, like 0.99", |value| {
            let text =
                value.as_str().map(str::to_owned).or_else(|| value.as_number().map(ToString::to_string))?;
            let parts = text.parse::<Credits>().ok()?.micro();
            u32::try_from(parts).ok().filter(|parts| *parts <= 1_000_000)
        })
    }

    fn value_type(&mut self) -> Option<ValueType> {
        let word = self.required_text("type")?;
        let found = ValueType::from_word(&word);
        if found.is_none() {
            self.faults.add(self.path("type"), word, ValueType::NAMES);
        }
        found
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(items) = self.take(key, "a list of texts", |value| value.as_array().cloned()) else {
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (i, item) in items.iter().enumerate() {
            match item.as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => self.faults.add(format!("{}[{i}]", self.path(key)), item, "a text in quotes"),
            }
        }
        texts
    }

    fn table(&mut self, key: &str, read: impl FnOnce(&mut Reader)) {
        let fields = self.take(key, "a table", |value| value.as_object().cloned());
        if let Some(fields) = fields {
            self.within(key, fields, read);
        }
    }

    fn tables<T>(&mut self, key: &str, mut read: impl FnMut(&mut Reader) -> Option<T>) -> Vec<T> {
        let rows = self.take(key, "a list of tables", |value| value.as_array().cloned()).unwrap_or_default();
        let mut found = Vec::new();
        for (i, row) in rows.into_iter().enumerate() {
            let name = format!("{key}[{i}]");
            match row {
                Value::Object(fields) => found.extend(self.within(&name, fields, &mut read)),
                other => self.faults.add(self.path(&name), other, "a table with name and type"),
            }
        }
        found
    }

    fn within<T>(&mut self, key: &str, fields: Map<String, Value>, read: impl FnOnce(&mut Reader) -> T) -> T {
        let faults = std::mem::take(&mut self.faults);
        let mut inner = Reader { fields, prefix: format!("{}.", self.path(key)), faults };
        let result = read(&mut inner);
        inner.finish();
        self.faults = inner.faults;
        result
    }

    fn finish(&mut self) {
        for key in std::mem::take(&mut self.fields).keys() {
            self.faults.add(
                self.path(key),
                "unknown field",
                "one of the fields that `zerostate manifest new` writes",
            );
        }
    }
}
