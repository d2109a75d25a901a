//! What a bundle proves and what it does not, in plain words.

use super::Bundle;
use crate::document::{Attestation, Envelope, Status, Verdict};

impl Bundle {
    /// The votes of one kind; the executor's own is none.
    pub fn votes(&self, verdict: Verdict) -> impl Iterator<Item = &Envelope<Attestation>> {
        self.attestations.iter().filter(move |attestation| attestation.document().verdict == verdict)
    }

    /// `attested`, `disputed` or `unattested`, by its own witnesses.
    pub fn standing(&self) -> &'static str {
        let quorum = usize::try_from(self.manifest.document().attestation.quorum).unwrap_or(usize::MAX);
        if self.votes(Verdict::Disagree).next().is_some() {
            "disputed"
        } else if quorum > 0 && self.votes(Verdict::Agree).count() >= quorum {
            "attested"
        } else {
            "unattested"
        }
    }

    /// What follows from the signatures and the numbers alone.
    pub fn proven(&self) -> Vec<String> {
        let (terms, claim) = (self.manifest.document(), self.receipt.document());
        let mut proven = vec![
            format!(
                "{} asked for the task \"{}\" and set its limits and prices",
                claim.requester,
                terms.name.escape_debug()
            ),
            format!(
                "{} says that it ran the module {} and that it ended with {}; the receipt is of this manifest, within its time, and its price of {} follows from its numbers",
                claim.executor, claim.artifact.cid, claim.status, claim.cost.total_micro
            ),
        ];
        for (verdict, says) in [
            (Verdict::Agree, "they ran it again and found status, exit code, output, fuel and memory equal"),
            (Verdict::Disagree, "it is not right"),
            (Verdict::Unverifiable, "they could not tell"),
        ] {
            let witnesses: Vec<String> =
                self.votes(verdict).map(|vote| vote.document().witness.to_string()).collect();
            if !witnesses.is_empty() {
                proven.push(format!(
                    "{} of its witnesses say that {says}: {}",
                    witnesses.len(),
                    witnesses.join(", ")
                ));
            }
        }
        if self.carries.module {
            proven.push("the module in it is the one that the manifest names".to_owned());
        }
        proven
    }

    /// What nobody can tell from it.
    pub fn not_proven(&self) -> Vec<String> {
        let mut open = vec!["that the keys of executor and witnesses belong to different people".to_owned()];
        let claim = self.receipt.document();
        if claim.status == Status::Ok || claim.status.is_attestable() {
            open.push(if self.can_be_run() {
                "that the result is right: `verify --rerun` runs it here and compares".to_owned()
            } else {
                "that the result is right: the module is not in the bundle, `receipt export --bundle --with-artifact` puts it in".to_owned()
            });
        }
        open.push("that there are no other votes: whoever wrote the bundle chose which are in it".to_owned());
        if self.standing() == "unattested" && self.manifest.document().attestation.quorum > 0 {
            open.push(format!(
                "that enough witnesses agree: {} of {}",
                self.votes(Verdict::Agree).count(),
                self.manifest.document().attestation.quorum
            ));
        }
        open.push("how long it took and when: the clock is the executor's".to_owned());
        open
    }
}
