//! The receipt: what ran, on what, with what result, at what cost, said and signed by the one who ran it.

use std::fmt;
use std::time::Duration;

use cid::Cid;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::manifest::{self, Artifact, Stdin};
use super::{
    Cost, Document, DocumentError, Faults, Manifest, Sha256Digest, cid_text, duration_text, statement,
};
use crate::identity::Did;

pub const PREDICATE_TYPE: &str = "urn:zerostate:execution-receipt:v1";
const SUBJECT: &str = "output";
/// An error message is a sentence, not a log.
const ERROR_MAX: usize = 2048;
/// A guild's id, an engine's name or version, a target triple.
const NAME_MAX: usize = 128;
/// The clocks of executor and requester need not agree better than this.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// An executor's clock may be set while it runs something, but not by more: a run does not begin before it was agreed to.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(2);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It ran to its end; the guest's exit code may be anything.
    Ok,
    Trap,
    OutOfFuel,
    OutOfMemory,
    StackOverflow,
    Timeout,
    InvalidModule,
    RunnerCrashed,
}

impl Status {
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Trap,
        Self::OutOfFuel,
        Self::OutOfMemory,
        Self::StackOverflow,
        Self::Timeout,
        Self::InvalidModule,
        Self::RunnerCrashed,
    ];

    /// The word for people and for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Trap => "trap",
            Self::OutOfFuel => "out-of-fuel",
            Self::OutOfMemory => "out-of-memory",
            Self::StackOverflow => "stack-overflow",
            Self::Timeout => "timeout",
            Self::InvalidModule => "invalid-module",
            Self::RunnerCrashed => "runner-crashed",
        }
    }

    /// The status that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether another machine running the same must come to the same status; the others depend on the machine.
    pub fn is_attestable(self) -> bool {
        !matches!(self, Self::Timeout | Self::StackOverflow | Self::RunnerCrashed)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What could change the result of a run besides the module and its inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    pub engine: String,
    pub version: String,
    /// Digest of every engine setting that could change a result.
    pub settings_sha256: Sha256Digest,
    /// Target triple.
    pub target: String,
}

/// A blob named by its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    pub sha256: Sha256Digest,
    pub size: u64,
}

impl Content {
    /// Digest and size of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: Sha256Digest::of(bytes), size: u64::try_from(bytes.len()).unwrap_or(u64::MAX) }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.sha256, self.size)
    }
}

/// The predicate of a receipt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    pub task_id: String,
    /// CID of the manifest's payload, so its digest too.
    #[serde(with = "cid_text")]
    pub manifest: Cid,
    pub artifact: Artifact,
    /// What the task read on stdin.
    pub inputs: Content,
    /// What it printed on stdout: the statement's subject.
    pub output: Content,
    pub guild: Option<String>,
    /// Id of the executor's agreement to do it, where it was done in a guild: it names the witnesses.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "cid_text::option")]
    pub agreement: Option<Cid>,
    pub executor: Did,
    pub requester: Did,
    pub status: Status,
    pub exit_code: Option<i32>,
    pub error: Option<String>,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub duration_ns: u64,
    pub fuel_used: u64,
    pub peak_memory_bytes: u64,
    pub cost: Cost,
    pub environment: Environment,
    /// The manifest's nonce.
    pub nonce: String,
}

impl Receipt {
    /// The measured duration.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.duration_ns)
    }

    /// What is wrong with it if it says that something ended which by this clock has not.
    pub fn too_early(&self, now: Timestamp) -> Option<String> {
        let latest = now.saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX);
        (self.finished_at > latest)
            .then(|| format!("finished_at: {} is later than now, {now}", self.finished_at))
    }

    /// What is wrong with it if it was begun before its executor had agreed to do it, by the executor's own clock.
    pub fn begun_before(&self, agreed_at: Timestamp) -> Option<String> {
        let earliest = agreed_at.saturating_sub(CLOCK_STEP).unwrap_or(Timestamp::MIN);
        (self.started_at < earliest)
            .then(|| format!("started_at: {}, before it was agreed to at {agreed_at}", self.started_at))
    }

    /// Whether it is a receipt for this very manifest: every field that the manifest fixes, and the cost.
    ///
    /// # Errors
    /// Each field that does not fit.
    pub fn fits(&self, id: &Cid, manifest: &Manifest) -> Result<(), Faults> {
        let mut f = Faults::default();
        f.check(&self.manifest == id, "manifest", self.manifest, id.to_string());
        f.check(self.task_id == manifest.task_id, "task_id", &self.task_id, &manifest.task_id);
        f.check(
            self.artifact == manifest.artifact,
            "artifact",
            self.artifact.cid,
            manifest.artifact.cid.to_string(),
        );
        let stdin = match manifest.stdin() {
            Stdin::Inline(bytes) => Content::of(&bytes),
            // A CID says nothing of the size, and that of a DAG nothing of the bytes either.
            Stdin::Blob(_) => {
                let sha256 = manifest.stdin().sha256().unwrap_or(self.inputs.sha256);
                Content { sha256, ..self.inputs }
            }
        };
        f.check(stdin == self.inputs, "inputs", self.inputs, stdin.to_string());
        f.check(
            self.requester == manifest.creator,
            "requester",
            &self.requester,
            manifest.creator.to_string(),
        );
        f.check(self.nonce == manifest.nonce, "nonce", &self.nonce, &manifest.nonce);
        let (fuel, memory) = (manifest.limits.fuel, manifest.limits.memory_bytes);
        f.check(self.fuel_used <= fuel, "fuel_used", self.fuel_used, format!("at most the limit of {fuel}"));
        f.check(
            self.peak_memory_bytes <= memory,
            "peak_memory",
            format!("{} bytes", self.peak_memory_bytes),
            format!("at most the limit of {memory} bytes"),
        );
        let limit = manifest.limits.time();
        f.check(
            self.duration() <= limit,
            "duration",
            duration_text(self.duration()),
            format!("at most the limit of {}", duration_text(limit)),
        );
        let earliest = manifest.created_at.saturating_sub(CLOCK_SKEW).unwrap_or(Timestamp::MIN);
        f.check(
            self.started_at >= earliest,
            "started_at",
            self.started_at,
            format!("not before {earliest}, when the manifest was made"),
        );
        // It may begin in the last moment.
        let latest = manifest.expires_at.saturating_add(limit).and_then(|end| end.saturating_add(CLOCK_SKEW));
        let latest = latest.unwrap_or(Timestamp::MAX);
        f.check(
            self.finished_at <= latest,
            "finished_at",
            self.finished_at,
            format!("not after {latest}, when the manifest has expired"),
        );
        let cost = Cost::of(&manifest.payment, self.duration(), self.peak_memory_bytes, self.fuel_used);
        f.check(self.cost == cost, "cost.total", self.cost.total_micro, cost.total_micro.to_string());
        f.into_result()
    }
}

impl Document for Receipt {
    const PAYLOAD_TYPE: &'static str = statement::PAYLOAD_TYPE;

    fn encode(&self) -> Result<Vec<u8>, DocumentError> {
        statement::encode(SUBJECT, self.output.sha256, PREDICATE_TYPE, self)
    }

    fn decode(payload: &[u8]) -> Result<Self, DocumentError> {
        let (subject, receipt): (_, Self) = statement::decode(payload, SUBJECT, PREDICATE_TYPE)?;
        let mut f = receipt.faults();
        f.check(subject == receipt.output.sha256, "subject", subject, "the digest of the output");
        f.into_result().map_err(DocumentError::Faults)?;
        Ok(receipt)
    }

    fn author(&self) -> &Did {
        &self.executor
    }

    fn faults(&self) -> Faults {
        let mut f = Faults::default();
        f.check(
            self.finished_at >= self.started_at,
            "finished_at",
            self.finished_at,
            "a time not before started_at",
        );
        let measured = SignedDuration::try_from(self.duration()).ok();
        let (from, to) = (self.started_at, self.finished_at);
        f.check(
            measured == Some(to.duration_since(from)),
            "duration",
            duration_text(self.duration()),
            "the time from started_at to finished_at",
        );
        manifest::id(&mut f, "task_id", &self.task_id);
        manifest::id(&mut f, "nonce", &self.nonce);
        let e = &self.environment;
        let names = [
            ("guild", self.guild.as_deref().unwrap_or("-")),
            ("environment.engine", &e.engine),
            ("environment.version", &e.version),
            ("environment.target", &e.target),
        ];
        for (field, name) in names {
            let plain =
                !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(|b| b.is_ascii_graphic());
            f.check(plain, field, name, format!("1 to {NAME_MAX} ASCII characters without spaces"));
        }
        let long = self.error.as_ref().map_or(0, String::len);
        f.check(long <= ERROR_MAX, "error", format!("{long} bytes"), format!("at most {ERROR_MAX} bytes"));
        f.check(
            self.status != Status::Ok || self.error.is_none(),
            "error",
            "present",
            "no error when the status is ok",
        );
        f
    }
}
