//! Audits: now and then this node has a task of its own witnessed whose receipt is wrong on purpose. Who agrees to it has not run it.
//!
//! An audit looks like any task that its creator runs itself, so it finds those at least who do not look into such tasks. That it was
//! planned as one is bound into its manifest before anybody offers to witness it: the nonce is the digest of a secret, which the guild
//! is told afterwards. The wrong receipt goes to nobody else, and is part of no chain.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::life::Reins;
use super::{Context, TaskError};
use crate::document::{DEFAULT_FUNCTION, Envelope, Manifest, Receipt, Untrusted, Verdict};
use crate::identity::Did;
use crate::proof::Tally;
use crate::storage::{TaskRecord, TaskState};

/// An audit waits no longer for its witnesses.
const LASTS: SignedDuration = SignedDuration::from_mins(30);
/// What a wrong receipt claims too much of.
const TOO_MUCH_FUEL: u64 = 1;

/// The nonce of an audit's manifest.
fn nonce(secret: &[u8; 32]) -> String {
    let digest = Sha256::new().chain_update(b"zerostate audit v1").chain_update(secret).finalize();
    hex::encode(digest.split_at(16).0)
}

/// Whether a task was planned as an audit, by the secret that is told of it.
pub(super) fn was_planned(manifest: &Manifest, secret: &str) -> bool {
    let bytes = hex::decode(secret).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.is_some_and(|bytes| nonce(&bytes) == manifest.nonce)
}

impl Context {
    /// Whether an audit follows this task, which others have witnessed.
    pub(super) fn is_to_audit(&self, record: &TaskRecord) -> Result<bool, TaskError> {
        let one_in = self.policy.audit;
        if one_in == 0
            || record.quorum == 0
            || record.audit.is_some()
            || record.guild_id.is_none()
            || record.within.is_some()
        {
            return Ok(false);
        }
        let [first, second, third, fourth, ..] = self.random()?;
        Ok(u32::from_be_bytes([first, second, third, fourth]) % one_in == 0)
    }

    /// Has the same work witnessed once more, with a wrong receipt.
    pub(super) async fn audit(&self, like: &Manifest, reins: &Reins) -> Result<(), TaskError> {
        let secret = self.random()?;
        let now = Timestamp::now();
        let mut args = like.args.clone();
        // Nobody knows what this comes to from the task before it. The arguments of another function are of its types.
        if like.function == DEFAULT_FUNCTION {
            args.push(hex::encode(self.random()?.split_at(4).0));
        }
        let terms = Manifest {
            args,
            task_id: hex::encode(self.random()?.split_at(16).0),
            creator: self.identity.did().clone(),
            created_at: now,
            expires_at: now.checked_add(LASTS).unwrap_or(Timestamp::MAX),
            nonce: nonce(&secret),
            ..like.clone()
        };
        let manifest = Envelope::sign(&self.identity, &terms)?;
        let mut record = self.publish(&manifest, None, Some(hex::encode(secret))).await?;
        let heard = self.by_others(&mut record, &manifest, reins).await;
        let reason = match heard {
            Ok(true) => return Ok(()),
            Ok(false) => "too few would witness it".to_owned(),
            Err(error) => error.to_string(),
        };
        let reason = Untrusted::new(&format!("the audit came to nothing: {reason}"));
        self.turn(&mut record, TaskState::Cancelled { reason }, None).await
    }

    /// An honest receipt made wrong.
    pub(super) fn falsify(&self, receipt: &Receipt, terms: &Manifest) -> Receipt {
        let fuel_used = receipt.fuel_used.saturating_add(TOO_MUCH_FUEL).min(terms.limits.fuel);
        let fuel_used = if fuel_used == receipt.fuel_used { fuel_used.saturating_sub(1) } else { fuel_used };
        let cost = crate::document::Cost::of(
            &terms.payment,
            receipt.duration(),
            receipt.peak_memory_bytes,
            fuel_used,
        );
        Receipt { fuel_used, cost, ..receipt.clone() }
    }

    /// Writes down who has noticed, and who has agreed to what is not so. Gives back the latter.
    pub(super) async fn settle_audit(
        &self,
        record: &mut TaskRecord,
        receipt: cid::Cid,
        tally: &Tally<'_>,
    ) -> Result<Vec<Did>, TaskError> {
        let (mut rows, mut failed) = (Vec::new(), Vec::new());
        let now = Timestamp::now();
        for vote in &tally.counted {
            let (who, finding) = (vote.signer(), vote.document());
            let (step, said) = match finding.verdict {
                Verdict::Disagree => ("audit-passed", "it has found what was wrong on purpose".to_owned()),
                Verdict::Agree => {
                    failed.push(who.clone());
                    (
                        "audit-failed",
                        "it agrees to a receipt that was wrong on purpose: it has not run the task"
                            .to_owned(),
                    )
                }
                Verdict::Unverifiable => ("audit-open", format!("it cannot tell: {}", finding.grounds())),
            };
            rows.push(self.step_by(who, now, record, step, Some(Untrusted::new(&said))));
        }
        for fault in &tally.faults {
            rows.push(self.step_by(&fault.who, now, record, "audit-open", Some(Untrusted::new(&fault.why))));
        }
        let found = tally.votes(Verdict::Disagree).count();
        let said = format!(
            "an audit: {found} found what was wrong on purpose, {} agreed without looking",
            failed.len()
        );
        rows.extend(self.turned(record, TaskState::Closed { receipt }, Some(Untrusted::new(&said))));
        self.write(rows).await?;
        Ok(failed)
    }
}
