//! What the witnesses' words come to.

use std::collections::HashSet;
use std::fmt;

use cid::Cid;

use crate::document::{Agreement, Attestation, Commitment, Envelope, Receipt, Verdict};
use crate::identity::Did;

/// How a receipt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// So many agree as were to.
    Attested,
    /// Somebody disagrees, and nothing says that it is wrong to.
    Disputed,
    Unattested,
}

impl Outcome {
    /// The word for people and for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attested => "attested",
            Self::Disputed => "disputed",
            Self::Unattested => "unattested",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Somebody whose word does not count, or who has none, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub who: Did,
    /// What it said nevertheless.
    pub attestation: Option<Cid>,
    pub why: String,
    /// Nothing is known of it, which may not be its fault.
    pub silent: bool,
}

/// The votes that count, and the others.
#[derive(Debug, Clone)]
pub struct Tally<'a> {
    pub counted: Vec<&'a Envelope<Attestation>>,
    pub faults: Vec<Fault>,
    /// What whoever asked for the task found by running it itself: it settles what its witnesses do not agree on.
    pub finding: Option<Verdict>,
}

impl<'a> Tally<'a> {
    /// Counts the votes on a receipt. Where it was agreed who witnesses it, nobody else counts; and where commitments are known, only
    /// what was committed to.
    pub fn of(
        receipt: &Envelope<Receipt>,
        agreement: Option<&Agreement>,
        commitments: &[Envelope<Commitment>],
        votes: &'a [Envelope<Attestation>],
    ) -> Self {
        let claim = receipt.document();
        let mut tally = Self { counted: Vec::new(), faults: Vec::new(), finding: None };
        let mut heard: HashSet<&Did> = HashSet::new();
        for vote in votes {
            let (finding, id) = (vote.document(), vote.id());
            let who = &finding.witness;
            let asker = *who == claim.requester && *who != claim.executor;
            let is_witness = agreement.is_none_or(|agreement| agreement.witnesses.contains(who));
            let about = finding.is_about(receipt.id(), claim);
            let why = if *who == claim.executor {
                "nobody attests its own receipt".to_owned()
            } else if let Err(faults) = about {
                format!("it does not speak of this receipt: {faults}")
            } else if !heard.insert(who) {
                "it has voted twice; the first counts".to_owned()
            } else if !is_witness && asker {
                tally.finding = Some(finding.verdict).filter(|verdict| *verdict != Verdict::Unverifiable);
                continue;
            } else if !is_witness {
                "it is none of the witnesses that were agreed to".to_owned()
            } else if let Some(why) = unbound(agreement.is_some(), commitments, who, receipt.id(), id) {
                why.to_owned()
            } else {
                tally.counted.push(vote);
                continue;
            };
            tally.faults.push(Fault { who: who.clone(), attestation: Some(*id), why, silent: false });
        }
        let silent = agreement.iter().flat_map(|agreement| &agreement.witnesses);
        for who in silent.filter(|who| !heard.contains(who)) {
            if tally.faults.iter().any(|fault| fault.who == *who) {
                continue;
            }
            let committed = commitments.iter().any(|commitment| commitment.signer() == who);
            let why =
                if committed { "it has committed, and has not revealed" } else { "it has said nothing" };
            let (who, why) = (who.clone(), why.to_owned());
            tally.faults.push(Fault { who, attestation: None, why, silent: !committed });
        }
        tally
    }

    /// The counted votes of one kind.
    pub fn votes(&self, verdict: Verdict) -> impl Iterator<Item = &'a Envelope<Attestation>> {
        self.counted.iter().copied().filter(move |vote| vote.document().verdict == verdict)
    }

    /// What it comes to where so many have to agree.
    pub fn outcome(&self, quorum: u32) -> Outcome {
        let quorum = usize::try_from(quorum).unwrap_or(usize::MAX);
        let [agree, disagree] =
            [Verdict::Agree, Verdict::Disagree].map(|verdict| self.votes(verdict).count());
        // Whoever asked for the task is a party to it: its word lifts no dispute against most of the witnesses.
        let lifted = self.finding == Some(Verdict::Agree) && agree > disagree;
        if self.finding == Some(Verdict::Disagree) || (disagree > 0 && !lifted) {
            Outcome::Disputed
        } else if quorum > 0 && agree >= quorum {
            Outcome::Attested
        } else {
            Outcome::Unattested
        }
    }

    /// Counted votes that are the contrary of what whoever asked for the task found itself.
    pub fn refuted(&self) -> impl Iterator<Item = &'a Envelope<Attestation>> {
        let contrary = match self.finding {
            Some(Verdict::Agree) => Some(Verdict::Disagree),
            Some(Verdict::Disagree) => Some(Verdict::Agree),
            _ => None,
        };
        contrary.into_iter().flat_map(|contrary| self.votes(contrary))
    }

    /// Why it comes to what it does: what each witness says, and what does not count.
    pub fn why(&self, quorum: u32) -> Vec<String> {
        let mut why = vec![format!("{} of {quorum} agree", self.votes(Verdict::Agree).count())];
        for vote in self.votes(Verdict::Disagree).chain(self.votes(Verdict::Unverifiable)) {
            let finding = vote.document();
            why.push(format!("{} says {}: {}", finding.witness.short(), finding.verdict, finding.grounds()));
        }
        if let Some(finding) = self.finding {
            why.push(format!("whoever asked for it has run it too: {finding}"));
        }
        for vote in self.refuted() {
            let finding = vote.document();
            why.push(format!("{} says {}, which is not so", finding.witness.short(), finding.verdict));
        }
        why.extend(self.faults.iter().map(|fault| format!("{}: {}", fault.who.short(), fault.why)));
        why
    }
}

/// Why a vote is not what its witness had bound itself to, where it had to be and commitments are known.
fn unbound(
    in_guild: bool,
    commitments: &[Envelope<Commitment>],
    who: &Did,
    receipt: &Cid,
    attestation: &Cid,
) -> Option<&'static str> {
    if !in_guild || commitments.is_empty() {
        return None;
    }
    let mut own = commitments.iter().map(Envelope::document).filter(|one| one.witness == *who).peekable();
    if own.peek().is_none() {
        return Some("it had committed to nothing");
    }
    // One that has committed to two things has committed to neither.
    let opens = own.all(|one| one.receipt == *receipt && one.opens_to(attestation));
    (!opens).then_some("what it says is not what it had committed to")
}
