//! The manifest: what is to be run, within which limits, at which price.

use std::time::Duration;

use cid::Cid;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::strict::{self, INTEGER_END, MAX_DOCUMENT_BYTES};
use super::{Credits, Document, DocumentError, Faults, Sha256Digest, cid_text};
use crate::identity::Did;

pub const DEFAULT_FUNCTION: &str = "_start";
/// Longer modules are refused everywhere: at submission, on fetch, in the runner.
pub const ARTIFACT_MAX: u64 = 64 << 20;

const MEMORY_DEFAULT: u64 = 128 << 20;
const MEMORY_RANGE: (u64, u64) = (64 << 10, 16 << 30);
const TIME_DEFAULT_MS: u64 = 30_000;
const TIME_MAX_MS: u64 = 3_600_000;
const STACK_DEFAULT: u64 = 1 << 20;
/// What a runner can give: under 64 KiB not even a print statement runs, over 16 MiB the host's own stack is at risk.
const STACK_RANGE: (u64, u64) = (64 << 10, 16 << 20);
const FUEL_DEFAULT: u64 = 10_000_000_000;
const START_DELAY_DEFAULT_MS: u64 = 60_000;
/// A manifest lives at most a week; what is not run by then is forgotten.
const LIFETIME_MAX_MS: i64 = 7 * 24 * 3_600_000;
const NAME_MAX: usize = 128;
const TEXT_MAX: usize = 4096;
const LIST_MAX: usize = 64;
/// Each is dialled by whoever runs the task.
const PROVIDERS_MAX: usize = 8;
const ADDRESS_MAX: usize = 256;
const WITNESSES_MAX: u32 = 32;
const PPM: u32 = 1_000_000;

/// A task that somebody wants run. Sizes in bytes, times in milliseconds, money in micro-credits, shares in parts per million.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 32 hex digits, random.
    pub task_id: String,
    pub name: String,
    pub description: String,
    pub version: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub creator: Did,
    pub artifact: Artifact,
    /// Multiaddresses of nodes that are said to have the artifact and the inputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
    /// 32 hex digits, random: the same work asked for twice is two manifests.
    pub nonce: String,
}

/// The WebAssembly module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    #[serde(with = "cid_text")]
    pub cid: Cid,
    pub sha256: Sha256Digest,
    pub size: u64,
}

/// What a run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub memory_bytes: u64,
    pub time_ms: u64,
    pub stack_bytes: u64,
    pub fuel: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: MEMORY_DEFAULT,
            time_ms: TIME_DEFAULT_MS,
            stack_bytes: STACK_DEFAULT,
            fuel: FUEL_DEFAULT,
        }
    }
}

impl Limits {
    /// The time limit.
    pub fn time(&self) -> Duration {
        Duration::from_millis(self.time_ms)
    }
}

/// A value the task reads: all inputs together reach it on stdin, as one JSON object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub name: String,
    #[serde(rename = "type")]
    pub value_type: ValueType,
    pub value: Value,
}

/// A value the task is expected to print.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    pub name: String,
    #[serde(rename = "type")]
    pub value_type: ValueType,
}

/// The type of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueType {
    String,
    Integer,
    Number,
    Boolean,
    Json,
    /// The CID of a block whose bytes reach the task on stdin as they are; such an input stands alone.
    Blob,
}

/// What a task reads on stdin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stdin {
    /// The inputs as one JSON object, or nothing when there are none.
    Inline(Vec<u8>),
    /// The bytes of this block.
    Blob(Cid),
}

impl Stdin {
    /// The digest of its bytes, when its CID tells it.
    pub fn sha256(&self) -> Option<Sha256Digest> {
        match self {
            Self::Inline(bytes) => Some(Sha256Digest::of(bytes)),
            Self::Blob(cid) => Sha256Digest::from_cid(cid).filter(|_| cid.codec() == super::RAW_CODEC),
        }
    }
}

impl ValueType {
    pub(super) const NAMES: &str = "string, integer, number, boolean, json or blob";
    const ALL: [Self; 6] = [Self::String, Self::Integer, Self::Number, Self::Boolean, Self::Json, Self::Blob];

    /// Whether `value` is of this type.
    pub fn admits(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Json => true,
            Self::Blob => blob(value).is_some(),
        }
    }
}

/// Prices in micro-credits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    pub per_second_micro: Credits,
    pub per_mib_micro: Credits,
    pub per_gfuel_micro: Credits,
    pub max_total_micro: Credits,
}

/// What the creator asks of an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sla {
    pub max_start_delay_ms: u64,
    pub required_uptime_ppm: u32,
    pub max_failure_rate_ppm: u32,
    pub min_reputation_ppm: u32,
}

impl Default for Sla {
    fn default() -> Self {
        Self {
            max_start_delay_ms: START_DELAY_DEFAULT_MS,
            required_uptime_ppm: 0,
            max_failure_rate_ppm: PPM,
            min_reputation_ppm: 0,
        }
    }
}

/// How many must agree before the receipt counts as attested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationTerms {
    /// Distinct witnesses that must agree; 0 asks for none.
    pub quorum: u32,
    /// Witnesses that are asked; at least the quorum.
    pub witnesses: u32,
}

impl Document for Manifest {
    const PAYLOAD_TYPE: &'static str = "application/vnd.zerostate.manifest.v1+json";

    fn encode(&self) -> Result<Vec<u8>, DocumentError> {
        serde_json::to_vec(self).map_err(DocumentError::json)
    }

    fn decode(payload: &[u8]) -> Result<Self, DocumentError> {
        let manifest: Self = strict::from_slice(payload, MAX_DOCUMENT_BYTES)?;
        manifest.faults().into_result().map_err(DocumentError::Faults)?;
        Ok(manifest)
    }

    fn author(&self) -> &Did {
        &self.creator
    }

    fn faults(&self) -> Faults {
        let mut f = Faults::default();
        id(&mut f, "task_id", &self.task_id);
        f.check(!self.name.trim().is_empty(), "name", "\"\"", "a name");
        text(&mut f, "name", &self.name, NAME_MAX);
        let lines = self.description.replace('\n', " ");
        text(&mut f, "description", &lines, TEXT_MAX);
        text(&mut f, "version", &self.version, NAME_MAX);
        let life = self.expires_at.as_millisecond().saturating_sub(self.created_at.as_millisecond());
        f.check(life > 0, "expires_at", self.expires_at, "a time after created_at");
        f.check(life <= LIFETIME_MAX_MS, "expires_at", self.expires_at, "at most 7 days after created_at");
        self.artifact_faults(&mut f);
        self.provider_faults(&mut f);
        self.limit_faults(&mut f);
        f.check(!self.function.is_empty(), "function", "\"\"", "the name of an exported function");
        text(&mut f, "function", &self.function, NAME_MAX);
        list(&mut f, "args", self.args.len());
        for (i, arg) in self.args.iter().enumerate() {
            let fits = arg.len() <= TEXT_MAX && !arg.contains('\0');
            f.check(fits, format!("args[{i}]"), arg, format!("at most {TEXT_MAX} bytes without NUL"));
        }
        self.value_faults(&mut f);
        self.capability_faults(&mut f);
        self.terms_faults(&mut f);
        id(&mut f, "nonce", &self.nonce);
        f
    }
}

impl Manifest {
    fn artifact_faults(&self, f: &mut Faults) {
        let a = &self.artifact;
        f.check((1..=ARTIFACT_MAX).contains(&a.size), "artifact.size", a.size, "1 byte to 64 MiB");
        let file = super::names_a_file(&a.cid);
        f.check(file, "artifact.cid", a.cid, "a CID of raw bytes or a UnixFS file, with a sha2-256 hash");
        if a.cid.codec() == super::RAW_CODEC && file {
            f.check(
                Sha256Digest::from_cid(&a.cid) == Some(a.sha256),
                "artifact.sha256",
                a.sha256,
                "the hash that is in the CID",
            );
        }
    }

    fn provider_faults(&self, f: &mut Faults) {
        let count = self.providers.len();
        f.check(
            count <= PROVIDERS_MAX,
            "providers",
            format!("{count} items"),
            format!("at most {PROVIDERS_MAX} items"),
        );
        for (i, address) in self.providers.iter().enumerate() {
            let field = format!("providers[{i}]");
            text(f, &field, address, ADDRESS_MAX);
            let named = address.starts_with('/') && address.contains("/p2p/");
            f.check(named, field, address, "a multiaddress like /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…");
        }
    }

    fn limit_faults(&self, f: &mut Faults) {
        let l = &self.limits;
        let memory = (MEMORY_RANGE.0..=MEMORY_RANGE.1).contains(&l.memory_bytes);
        f.check(memory, "limits.memory", l.memory_bytes, "64 KiB to 16 GiB");
        f.check(
            (1..=TIME_MAX_MS).contains(&l.time_ms),
            "limits.time",
            format!("{} ms", l.time_ms),
            "1 ms to 1 h",
        );
        let stack = (STACK_RANGE.0..=STACK_RANGE.1).contains(&l.stack_bytes);
        f.check(stack, "limits.stack", l.stack_bytes, "64 KiB to 16 MiB");
        f.check((1..INTEGER_END).contains(&l.fuel), "limits.fuel", l.fuel, "1 to 2^53 - 1");
    }

    fn value_faults(&self, f: &mut Faults) {
        list(f, "inputs", self.inputs.len());
        for (i, input) in self.inputs.iter().enumerate() {
            let field = format!("inputs[{i}]");
            identifier(f, &format!("{field}.name"), &input.name);
            let first = self.inputs.iter().position(|other| other.name == input.name) == Some(i);
            f.check(first, format!("{field}.name"), &input.name, "a name that no other input has");
            let fits = input.value_type.admits(&input.value);
            f.check(
                fits,
                format!("{field}.value"),
                &input.value,
                format!("a value of type {}", input.value_type.as_str()),
            );
        }
        let alone =
            self.inputs.len() <= 1 || self.inputs.iter().all(|input| input.value_type != ValueType::Blob);
        f.check(alone, "inputs", "a blob among others", "a blob as the only input");
        list(f, "outputs", self.outputs.len());
        for (i, output) in self.outputs.iter().enumerate() {
            identifier(f, &format!("outputs[{i}].name"), &output.name);
            let first = self.outputs.iter().position(|other| other.name == output.name) == Some(i);
            f.check(first, format!("outputs[{i}].name"), &output.name, "a name that no other output has");
        }
    }

    fn capability_faults(&self, f: &mut Faults) {
        list(f, "capabilities", self.capabilities.len());
        for (i, capability) in self.capabilities.iter().enumerate() {
            identifier(f, &format!("capabilities[{i}]"), capability);
        }
    }

    fn terms_faults(&self, f: &mut Faults) {
        let s = &self.sla;
        f.check(
            s.max_start_delay_ms <= TIME_MAX_MS,
            "sla.max_start_delay",
            format!("{} ms", s.max_start_delay_ms),
            "at most 1 h",
        );
        for (field, share) in [
            ("sla.required_uptime", s.required_uptime_ppm),
            ("sla.max_failure_rate", s.max_failure_rate_ppm),
            ("sla.min_reputation", s.min_reputation_ppm),
        ] {
            f.check(share <= PPM, field, share, "a share from 0 to 1 (at most 1000000 parts per million)");
        }
        let a = &self.attestation;
        let witnessed = a.quorum == 0 || self.is_deterministic();
        f.check(
            witnessed,
            "attestation.quorum",
            a.quorum,
            "0, because wall-clock and random give up what witnesses could compare",
        );
        f.check(
            a.quorum <= WITNESSES_MAX,
            "attestation.quorum",
            a.quorum,
            format!("at most {WITNESSES_MAX}"),
        );
        let enough = (a.quorum..=WITNESSES_MAX.max(a.quorum)).contains(&a.witnesses);
        f.check(
            enough,
            "attestation.witnesses",
            a.witnesses,
            format!("at least the quorum ({}) and at most {WITNESSES_MAX}", a.quorum),
        );
    }

    /// What the task reads on stdin.
    pub fn stdin(&self) -> Stdin {
        match self.inputs.as_slice() {
            [] => Stdin::Inline(Vec::new()),
            [Input { value_type: ValueType::Blob, value, .. }] if let Some(cid) = blob(value) => {
                Stdin::Blob(cid)
            }
            inputs => {
                let entry = |input: &Input| (input.name.clone(), input.value.clone());
                let object: serde_json::Map<String, Value> = inputs.iter().map(entry).collect();
                Stdin::Inline(Value::Object(object).to_string().into_bytes())
            }
        }
    }

    /// The capability to read the real clock.
    pub const WALL_CLOCK: &str = "wall-clock";
    /// The capability to draw real randomness.
    pub const RANDOM: &str = "random";

    /// Whether running it again must come to the same result.
    pub fn is_deterministic(&self) -> bool {
        !self.wants(Self::WALL_CLOCK) && !self.wants(Self::RANDOM)
    }

    /// Whether it asks for something.
    pub fn wants(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|wanted| wanted == capability)
    }
}

impl ValueType {
    /// The word in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Json => "json",
            Self::Blob => "blob",
        }
    }

    /// The type that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == word)
    }
}

fn blob(value: &Value) -> Option<Cid> {
    value.as_str()?.parse().ok().filter(|cid: &Cid| super::names_a_file(cid))
}

/// A task's id and a nonce look alike.
pub(super) fn id(f: &mut Faults, field: &str, value: &str) {
    let hex = value.len() == 32 && value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    f.check(hex, field, value, "32 lower-case hex digits");
}

fn text(f: &mut Faults, field: &str, value: &str, max: usize) {
    let fits = value.len() <= max && !value.chars().any(char::is_control);
    f.check(fits, field, value, format!("at most {max} bytes without control characters"));
}

fn list(f: &mut Faults, field: &str, len: usize) {
    f.check(len <= LIST_MAX, field, format!("{len} items"), format!("at most {LIST_MAX} items"));
}

fn identifier(f: &mut Faults, field: &str, value: &str) {
    let fits = (1..=64).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    f.check(fits, field, value, "1 to 64 letters, digits, '_', '-' or '.'");
}
