//! What a bundle proves and what it does not, in plain words.

use super::{Bundle, Outcome};
use crate::document::{Agreement, Attestation, Envelope, Verdict};

impl Bundle {
    /// How the receipt stands, by what is in here.
    pub fn standing(&self) -> Outcome {
        match self.tally().outcome(self.manifest.document().attestation.quorum) {
            // Anybody could have made up so many witnesses, or copied what one of them says.
            Outcome::Attested if self.lacks_agreement() || self.lacks_commitments() => Outcome::Unattested,
            outcome => outcome,
        }
    }

    fn lacks_agreement(&self) -> bool {
        self.receipt.document().agreement.is_some() && self.agreement().is_none()
    }

    fn lacks_commitments(&self) -> bool {
        self.agreement().is_some() && self.commitments.is_empty()
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
        if let Some(agreement) = self.agreement() {
            let (count, draw) = (agreement.witnesses.len(), agreement.draw.as_ref());
            let pool = draw.map_or(count, |draw| draw.pool.len());
            proven.push(match draw.and_then(|draw| draw.seed.as_ref()) {
                Some(seed) => format!(
                    "its executor says that {count} witnesses of {pool} were drawn by nonces of the requester and its own, at draw number {}; the nonces give these witnesses",
                    seed.attempt
                ),
                None => format!("its executor says that all {pool} who would witness it were made its witnesses"),
            });
        }
        let tally = self.tally();
        for (verdict, says) in [
            (Verdict::Agree, "they ran it again and found status, exit code, output, fuel and memory equal"),
            (Verdict::Disagree, "it is not right"),
            (Verdict::Unverifiable, "they could not tell"),
        ] {
            let witnesses: Vec<String> =
                tally.votes(verdict).map(|vote| vote.document().witness.to_string()).collect();
            if !witnesses.is_empty() {
                let bound = if self.agreement().is_some() && !self.commitments.is_empty() {
                    ", which is what each has signed a commitment to"
                } else {
                    ""
                };
                proven.push(format!(
                    "{} of its witnesses say that {says}{bound}: {}",
                    witnesses.len(),
                    witnesses.join(", ")
                ));
            }
        }
        if let Some(finding) = tally.finding {
            proven.push(format!(
                "{} says that it has run it too, and that it would {finding}",
                claim.requester
            ));
        }
        for fault in tally.faults.iter().filter(|fault| fault.attestation.is_some()) {
            proven.push(format!("the word of {} does not count: {}", fault.who, fault.why));
        }
        if self.carries.module {
            proven.push("the module in it is the one that the manifest names".to_owned());
        }
        proven
    }

    /// What nobody can tell from it, but for what was found by running it again here.
    pub fn not_proven(&self, found: Option<&Attestation>) -> Vec<String> {
        let (terms, claim) = (self.manifest.document(), self.receipt.document());
        let mut open =
            vec!["that the keys of requester, executor and witnesses belong to different people".to_owned()];
        if claim.executor == claim.requester && self.agreement().is_some() {
            open.push(
                "that its witnesses were drawn by chance: the requester has run it itself, and drawn alone"
                    .to_owned(),
            );
        }
        let by_requester = |agreement: &Envelope<Agreement>| *agreement.signer() == claim.requester;
        if self.agreement().is_some() && !self.agreements.iter().any(by_requester) {
            open.push(
                "that the requester took part in the draw: its agreement is not in the bundle".to_owned(),
            );
        }
        if self.lacks_agreement() {
            open.push(
                "who was to witness it: the agreement that the receipt names is not in the bundle".to_owned(),
            );
        } else if claim.agreement.is_none() && !self.attestations.is_empty() {
            open.push("that its witnesses did not choose themselves: it was not done in a guild".to_owned());
        } else if self.commitments.is_empty() && !self.attestations.is_empty() {
            open.push("that its witnesses did not copy: their commitments are not in the bundle".to_owned());
        }
        match found.map(|found| (found.verdict, found.grounds())) {
            Some((Verdict::Agree, _)) => {}
            Some((Verdict::Disagree, grounds)) => {
                open.push(format!("that the result is right; run again here, it is not: {grounds}"));
            }
            Some((Verdict::Unverifiable, grounds)) => {
                open.push(format!("that the result is right: run again here, it cannot be told: {grounds}"));
            }
            None => open.push(format!("that the result is right: {}", self.could_be_told())),
        }
        open.push("that there are no other votes: whoever wrote the bundle chose which are in it".to_owned());
        let (tally, quorum) = (self.tally(), terms.attestation.quorum);
        for fault in tally.faults.iter().filter(|fault| fault.attestation.is_none()) {
            open.push(format!("what {} has found: its word is not in the bundle", fault.who));
        }
        if tally.outcome(quorum) == Outcome::Unattested && quorum > 0 {
            let agree = tally.votes(Verdict::Agree).count();
            open.push(format!("that enough witnesses agree: {agree} of {quorum}"));
        }
        let clocks =
            "how long it took, and when it and what was signed for it came about: each clock is its owner's";
        open.push(clocks.to_owned());
        open
    }

    /// How one could find out whether the result is right, or why one cannot.
    fn could_be_told(&self) -> String {
        let (terms, claim) = (self.manifest.document(), self.receipt.document());
        if !terms.is_deterministic() {
            return "the task may read the real clock or draw real randomness, so no two runs need be equal"
                .to_owned();
        }
        if !claim.status.is_attestable() {
            return format!("the status {} depends on the machine", claim.status);
        }
        let lacks = match (self.carries.module, self.carries.inputs) {
            (true, true) => "`verify --rerun` runs it here and compares",
            (true, false) => "its input is not in the bundle",
            (false, _) => {
                "the module is not in the bundle, `receipt export --bundle --with-artifact` puts it in"
            }
        };
        lacks.to_owned()
    }
}
