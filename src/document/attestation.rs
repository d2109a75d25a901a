//! The attestation: a witness ran the task again and says whether the receipt is right.
//!
//! It is an in-toto Simple Verification Result v0.1 about the receipt's digest. `properties` names what was found equal,
//! as that specification wants; what this project adds stands in the extension field `zerostate`.

use std::fmt;

use cid::Cid;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Content, Document, DocumentError, Environment, Faults, Receipt, Sha256Digest, Status, cid_text, statement,
};
use crate::identity::Did;

pub const PREDICATE_TYPE: &str = "https://in-toto.io/attestation/svr/v0.1";
const SUBJECT: &str = "receipt";
const REASON_MAX: usize = 2048;
/// What two runs are compared by; a witness who agrees has compared all of it.
const COMPARED: [&str; 5] = ["status", "exit code", "output", "fuel", "peak memory"];

/// What a witness found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Agree,
    Disagree,
    /// Nothing can be said: another environment, a status that depends on the machine, something not to be had.
    Unverifiable,
}

impl Verdict {
    /// The word for people and for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::Disagree => "disagree",
            Self::Unverifiable => "unverifiable",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a run comes down to when two of them are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    pub status: Status,
    pub exit_code: Option<i32>,
    pub output: Content,
    pub fuel_used: u64,
    pub peak_memory_bytes: u64,
}

impl From<&Receipt> for Measured {
    fn from(receipt: &Receipt) -> Self {
        Self {
            status: receipt.status,
            exit_code: receipt.exit_code,
            output: receipt.output,
            fuel_used: receipt.fuel_used,
            peak_memory_bytes: receipt.peak_memory_bytes,
        }
    }
}

/// One compared value, claimed and measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    pub what: String,
    pub claimed: String,
    pub measured: String,
}

impl Comparison {
    /// Whether both are the same.
    pub fn is_equal(&self) -> bool {
        self.claimed == self.measured
    }
}

/// A witness's statement about a receipt.
#[derive(Debug, Clone, PartialEq)]
pub struct Attestation {
    pub witness: Did,
    pub created_at: Timestamp,
    /// Id of the receipt.
    pub receipt: Cid,
    pub verdict: Verdict,
    /// Why, for `unverifiable`, and for a `disagree` that no compared value shows.
    pub reason: Option<String>,
    /// What was compared; empty when nothing was run.
    pub compared: Vec<Comparison>,
    /// Where it was run again.
    pub environment: Option<Environment>,
    /// The manifest for which it was given as the receipt, where it is that of another.
    pub presented_for: Option<Cid>,
    /// 64 random hex digits of a witness that commits to this before anybody may see it.
    pub salt: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Predicate {
    verifier: Verifier,
    #[serde(rename = "timeCreated")]
    time_created: Timestamp,
    properties: Vec<String>,
    zerostate: Extension,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verifier {
    id: Did,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extension {
    #[serde(with = "cid_text")]
    receipt: Cid,
    verdict: Verdict,
    reason: Option<String>,
    compared: Vec<Comparison>,
    environment: Option<Environment>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "cid_text::option")]
    presented_for: Option<Cid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
}

impl Attestation {
    /// Compares a receipt's claims with what a witness measured. `problem` is a reason found beforehand, without running,
    /// for which the receipt is wrong (a field that does not fit the manifest).
    pub fn compare(
        receipt: (&Cid, &Receipt),
        measured: &Measured,
        environment: Environment,
        problem: Option<String>,
        witness: Did,
        now: Timestamp,
    ) -> Self {
        let (id, claim) = receipt;
        let compared = comparisons(&Measured::from(claim), measured);
        let same_digest = claim.output.sha256 == measured.output.sha256;
        let problem = problem.or_else(|| {
            (same_digest && claim.output.size != measured.output.size).then(|| {
                format!("output.size: {} where that output has {}", claim.output.size, measured.output.size)
            })
        });
        let (verdict, reason) = if let Some(problem) = problem {
            (Verdict::Disagree, Some(problem))
        } else if let Some(reason) = incomparable(claim, measured.status, &environment) {
            (Verdict::Unverifiable, Some(reason))
        } else if compared.iter().all(Comparison::is_equal) {
            (Verdict::Agree, None)
        } else {
            (Verdict::Disagree, None)
        };
        Self {
            witness,
            created_at: now,
            receipt: *id,
            verdict,
            reason: reason.as_deref().map(cut),
            compared,
            environment: Some(environment),
            presented_for: None,
            salt: None,
        }
    }

    /// The statement that nothing can be said.
    pub fn unverifiable(receipt: Cid, reason: String, witness: Did, now: Timestamp) -> Self {
        Self::unrun(receipt, Verdict::Unverifiable, reason, witness, now)
    }

    /// The statement that it is wrong, which did not take a run to find.
    pub fn wrong(receipt: Cid, problem: String, witness: Did, now: Timestamp) -> Self {
        Self::unrun(receipt, Verdict::Disagree, problem, witness, now)
    }

    fn unrun(receipt: Cid, verdict: Verdict, reason: String, witness: Did, now: Timestamp) -> Self {
        Self {
            witness,
            created_at: now,
            receipt,
            verdict,
            reason: Some(cut(&reason)),
            compared: Vec::new(),
            environment: None,
            presented_for: None,
            salt: None,
        }
    }

    /// Adds to a `disagree` what it does not say yet.
    pub fn explain(&mut self, reason: &str) {
        if self.verdict == Verdict::Disagree && self.reason.is_none() {
            self.reason = Some(cut(reason));
        }
    }

    /// Whether it speaks of this very receipt: what it says was claimed is what the receipt claims, and the verdict follows.
    ///
    /// # Errors
    /// Each thing that does not fit.
    pub fn is_about(&self, id: &Cid, claim: &Receipt) -> Result<(), Faults> {
        let mut f = Faults::default();
        f.check(self.receipt == *id, "receipt", self.receipt, id.to_string());
        f.check(
            self.presented_for != Some(claim.manifest),
            "presented_for",
            claim.manifest,
            "another manifest than the receipt's own",
        );
        let all = self.compared.is_empty() || self.compared.iter().map(|row| row.what.as_str()).eq(COMPARED);
        f.check(all, "compared", self.compared.len(), COMPARED.join(", "));
        let own = comparisons(&Measured::from(claim), &Measured::from(claim));
        for (said, own) in self.compared.iter().zip(&own).filter(|(said, own)| said.claimed != own.claimed) {
            f.check(false, "compared", format!("{} {}", said.what, said.claimed), &own.claimed);
        }
        let measured = self.compared.first().and_then(|row| Status::from_word(&row.measured));
        let comparable = match (&self.environment, measured) {
            (Some(environment), Some(status)) => incomparable(claim, status, environment).is_none(),
            _ => false,
        };
        let follows = match self.verdict {
            Verdict::Agree => comparable,
            // A reason may be what no run shows.
            Verdict::Disagree => comparable || self.reason.is_some(),
            Verdict::Unverifiable => true,
        };
        f.check(follows, "verdict", self.verdict, "unverifiable, for what was measured cannot be compared");
        f.into_result()
    }

    /// What speaks against the receipt, or why nothing can be said, in one line.
    pub fn grounds(&self) -> String {
        let differs = self
            .differences()
            .map(|row| format!("{} {} ≠ {}", row.what, brief(&row.claimed), brief(&row.measured)));
        self.reason.clone().into_iter().chain(differs).collect::<Vec<_>>().join(", ")
    }

    /// What differed.
    pub fn differences(&self) -> impl Iterator<Item = &Comparison> {
        self.compared.iter().filter(|comparison| !comparison.is_equal())
    }

    /// Whether everything was compared, somewhere that is named, and found equal, with a status that another machine must
    /// come to as well.
    fn finds_all_equal(&self) -> bool {
        let status = self.compared.first().and_then(|comparison| Status::from_word(&comparison.claimed));
        self.compared.iter().map(|comparison| comparison.what.as_str()).eq(COMPARED)
            && self.compared.iter().all(Comparison::is_equal)
            && status.is_some_and(Status::is_attestable)
            && self.environment.is_some()
    }

    fn properties(&self) -> Vec<String> {
        let name = |what: &str| format!("ZEROSTATE_{}_EQUAL", what.to_uppercase().replace(' ', "_"));
        let mut properties: Vec<_> =
            self.compared.iter().filter(|c| c.is_equal()).map(|c| name(&c.what)).collect();
        if self.verdict == Verdict::Agree {
            properties.push("ZEROSTATE_REEXECUTION_AGREES".to_owned());
        }
        properties
    }
}

/// A digest is known by its beginning.
fn brief(value: &str) -> String {
    match value.char_indices().nth(16) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}

/// Why two runs cannot be compared.
fn incomparable(claim: &Receipt, measured: Status, environment: &Environment) -> Option<String> {
    if *environment != claim.environment {
        return Some("it was run in another environment".to_owned());
    }
    if let Some(status) = [claim.status, measured].iter().find(|status| !status.is_attestable()) {
        return Some(format!("the status {status} depends on the machine"));
    }
    // A node may be too small or too slow to compile what another one can.
    ((claim.status == Status::InvalidModule) != (measured == Status::InvalidModule))
        .then(|| "whether it compiles within a node's limits depends on the machine".to_owned())
}

/// A reason may quote what somebody else wrote; it must not grow too long to be signed by that.
fn cut(reason: &str) -> String {
    reason.get(..reason.floor_char_boundary(REASON_MAX)).unwrap_or_default().to_owned()
}

fn comparisons(claimed: &Measured, measured: &Measured) -> Vec<Comparison> {
    let values = |m: &Measured| {
        [
            m.status.to_string(),
            m.exit_code.map_or("none".to_owned(), |code| code.to_string()),
            m.output.sha256.to_string(),
            m.fuel_used.to_string(),
            m.peak_memory_bytes.to_string(),
        ]
    };
    let rows = COMPARED.into_iter().zip(values(claimed)).zip(values(measured));
    rows.map(|((what, claimed), measured)| Comparison { what: what.to_owned(), claimed, measured }).collect()
}

impl Document for Attestation {
    const PAYLOAD_TYPE: &'static str = statement::PAYLOAD_TYPE;

    fn encode(&self) -> Result<Vec<u8>, DocumentError> {
        let subject = Sha256Digest::from_cid(&self.receipt)
            .ok_or(DocumentError::Envelope("an attestation is about a receipt id with a sha2-256 hash"))?;
        let predicate = Predicate {
            verifier: Verifier { id: self.witness.clone() },
            time_created: self.created_at,
            properties: self.properties(),
            zerostate: Extension {
                receipt: self.receipt,
                verdict: self.verdict,
                reason: self.reason.clone(),
                compared: self.compared.clone(),
                environment: self.environment.clone(),
                presented_for: self.presented_for,
                salt: self.salt.clone(),
            },
        };
        statement::encode(SUBJECT, subject, PREDICATE_TYPE, predicate)
    }

    fn decode(payload: &[u8]) -> Result<Self, DocumentError> {
        let (subject, predicate): (_, Predicate) = statement::decode(payload, SUBJECT, PREDICATE_TYPE)?;
        let extension = predicate.zerostate;
        let attestation = Self {
            witness: predicate.verifier.id,
            created_at: predicate.time_created,
            receipt: extension.receipt,
            verdict: extension.verdict,
            reason: extension.reason,
            compared: extension.compared,
            environment: extension.environment,
            presented_for: extension.presented_for,
            salt: extension.salt,
        };
        let mut f = attestation.faults();
        let about = Sha256Digest::from_cid(&attestation.receipt) == Some(subject);
        f.check(about, "subject", subject, "the digest of the receipt");
        let properties = predicate.properties == attestation.properties();
        f.check(
            properties,
            "properties",
            predicate.properties.join(" "),
            "the properties that were found equal",
        );
        f.into_result().map_err(DocumentError::Faults)?;
        Ok(attestation)
    }

    fn author(&self) -> &Did {
        &self.witness
    }

    fn faults(&self) -> Faults {
        let mut f = Faults::default();
        let holds = match self.verdict {
            Verdict::Agree => self.finds_all_equal() && self.reason.is_none(),
            Verdict::Disagree => self.differences().next().is_some() || self.reason.is_some(),
            Verdict::Unverifiable => self.reason.is_some(),
        };
        f.check(
            holds,
            "verdict",
            self.verdict,
            "a verdict that follows from what was compared and the reason given",
        );
        let unsaid = self.presented_for.is_none() || self.verdict == Verdict::Disagree;
        f.check(
            unsaid,
            "presented_for",
            self.verdict,
            "disagree, where it is the receipt of another manifest",
        );
        if let Some(salt) = &self.salt {
            let hex =
                salt.len() == 64 && salt.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            f.check(hex, "salt", salt, "64 lower-case hex digits");
        }
        f.check(self.compared.len() <= 16, "compared", self.compared.len(), "at most 16 comparisons");
        let long = self.reason.as_ref().map_or(0, String::len);
        f.check(long <= REASON_MAX, "reason", format!("{long} bytes"), format!("at most {REASON_MAX} bytes"));
        f
    }
}
