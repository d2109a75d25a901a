//! The bundle: written line by line, read and checked as a whole.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use cid::Cid;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Problem, Tally};
use crate::dag::{Walk, canonical};
use crate::document::strict::MAX_ENVELOPE_BYTES;
use crate::document::{
    ARTIFACT_MAX, AgentCard, Agreement, AnyEnvelope, Attestation, Commitment, Content, Envelope, Kind,
    Manifest, Receipt, Sha256Digest, Stdin, Untrusted, base64_bytes, cid_text,
};
use crate::identity::Did;

/// A module and an input of the largest size in base64, and what is around them.
pub const MAX_BUNDLE_BYTES: u64 = 192 << 20;
/// Documents and blocks in one: the module and the input have 130 blocks at the most.
const DOCUMENTS: usize = 1024;
/// Problems that are told of; after so many nobody reads on.
const PROBLEMS: usize = 32;

/// A receipt, and all that speaks for it or against it.
#[derive(Debug, Clone)]
pub struct Bundle {
    pub manifest: Envelope<Manifest>,
    pub receipt: Envelope<Receipt>,
    /// To the same, the executor's among them: who was to run it, and who to witness it.
    pub agreements: Vec<Envelope<Agreement>>,
    pub commitments: Vec<Envelope<Commitment>>,
    /// One a witness at the most.
    pub attestations: Vec<Envelope<Attestation>>,
    /// Of those who have signed any of it.
    pub cards: Vec<Envelope<AgentCard>>,
    pub blocks: Vec<(Cid, Bytes)>,
    /// Whether the module is in it, and the inputs.
    pub(super) carries: Carries,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Carries {
    pub(super) module: bool,
    pub(super) inputs: bool,
}

/// A block as it stands in a line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    #[serde(with = "cid_text")]
    cid: Cid,
    #[serde(with = "base64_bytes")]
    bytes: Vec<u8>,
}

impl Bundle {
    /// Whether a file is to be read as a bundle, and not as one envelope.
    pub fn is_meant(file: &[u8]) -> bool {
        file.trim_ascii_end().contains(&b'\n') || file.starts_with(b"{\"cid\"")
    }

    /// A line for an envelope.
    pub fn envelope_line(envelope: &str) -> String {
        format!("{envelope}\n")
    }

    /// A line for a block.
    pub fn block_line(cid: &Cid, bytes: &[u8]) -> String {
        let block = Block { cid: *cid, bytes: bytes.to_vec() };
        // Text and base64 can always be written.
        serde_json::to_string(&block).unwrap_or_default() + "\n"
    }

    /// Reads a bundle and checks everything in it.
    ///
    /// # Errors
    /// All that does not hold, in the order of the lines.
    pub fn read(file: &[u8]) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut lines = Lines::default();
        let text = file.strip_suffix(b"\n").unwrap_or(file);
        for (line, bytes) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            if let Err((what, why)) = lines.take(bytes) {
                problems.push(Problem::Line { line, what, why });
            }
            if problems.len() >= PROBLEMS {
                return Err(problems);
            }
        }
        match lines.together(&mut problems) {
            Some(bundle) if problems.is_empty() => Ok(bundle),
            _ => Err(problems),
        }
    }

    /// What was agreed to, if the receipt says that it was and it is in here.
    pub fn agreement(&self) -> Option<&Agreement> {
        let executor = self.receipt.signer();
        self.agreements.iter().find(|agreement| agreement.signer() == executor).map(Envelope::document)
    }

    /// The votes that count, and why others do not.
    pub fn tally(&self) -> Tally<'_> {
        Tally::of(&self.receipt, self.agreement(), &self.commitments, &self.attestations)
    }

    /// Whether the module is in it, so that it can be run again.
    pub fn can_be_run(&self) -> bool {
        self.carries.module && self.carries.inputs
    }
}

#[derive(Default)]
struct Lines {
    manifest: Option<Envelope<Manifest>>,
    receipt: Option<Envelope<Receipt>>,
    agreements: Vec<Envelope<Agreement>>,
    commitments: Vec<Envelope<Commitment>>,
    attestations: Vec<Envelope<Attestation>>,
    cards: Vec<Envelope<AgentCard>>,
    blocks: Vec<(Cid, Bytes)>,
    seen: HashSet<Cid>,
}

impl Lines {
    /// Takes a line. An error says what it is, as far as it tells, and why it does not hold.
    fn take(&mut self, line: &[u8]) -> Result<(), (String, String)> {
        if line.starts_with(b"{\"cid\"") {
            return self.take_block(line).map_err(|why| ("a block".to_owned(), why));
        }
        let named = || named(line);
        if line.len() > MAX_ENVELOPE_BYTES {
            let why = format!("{} bytes; an envelope has at most {MAX_ENVELOPE_BYTES}", line.len());
            return Err(("a document".to_owned(), why));
        }
        let envelope = AnyEnvelope::open(line).map_err(|error| (named(), error.to_string()))?;
        if !self.seen.insert(*envelope.id()) {
            return Err((named(), "it is in the bundle twice".to_owned()));
        }
        if self.seen.len() > DOCUMENTS {
            return Err((named(), format!("a bundle has at most {DOCUMENTS} documents and blocks")));
        }
        let twice = || Err((named(), "a bundle has one of them".to_owned()));
        match envelope {
            AnyEnvelope::Manifest(_) if self.manifest.is_some() => return twice(),
            AnyEnvelope::Receipt(_) if self.receipt.is_some() => return twice(),
            AnyEnvelope::Manifest(manifest) => self.manifest = Some(manifest),
            AnyEnvelope::Receipt(receipt) => self.receipt = Some(receipt),
            AnyEnvelope::Attestation(attestation) => self.attestations.push(attestation),
            AnyEnvelope::Agreement(agreement) => self.agreements.push(agreement),
            AnyEnvelope::Commitment(commitment) => self.commitments.push(commitment),
            AnyEnvelope::AgentCard(card) => self.cards.push(card),
            AnyEnvelope::Charter(_) | AnyEnvelope::Head(_) => {
                return Err((named(), "it has no place in a bundle".to_owned()));
            }
        }
        Ok(())
    }

    fn take_block(&mut self, line: &[u8]) -> Result<(), String> {
        let block: Block =
            serde_json::from_slice(line).map_err(|error| Untrusted::new(&error.to_string()).to_string())?;
        // One spelling, so that no byte of a line can be changed unnoticed.
        if Bundle::block_line(&block.cid, &block.bytes).trim_ascii_end().as_bytes() != line {
            return Err("it is not spelt as it is written".to_owned());
        }
        if canonical(&block.cid) != block.cid
            || Sha256Digest::from_cid(&block.cid) != Some(Sha256Digest::of(&block.bytes))
        {
            return Err(format!("its bytes are not those of {}", block.cid));
        }
        if !self.seen.insert(block.cid) {
            return Err("it is in the bundle twice".to_owned());
        }
        self.blocks.push((block.cid, block.bytes.into()));
        Ok(())
    }

    /// The bundle, if both documents are there that it cannot be without.
    fn together(self, problems: &mut Vec<Problem>) -> Option<Bundle> {
        for (there, kind) in
            [(self.manifest.is_some(), Kind::Manifest), (self.receipt.is_some(), Kind::Receipt)]
        {
            if !there {
                problems.push(Problem::Missing(kind));
            }
        }
        let (manifest, receipt) = (self.manifest?, self.receipt?);
        let claim = receipt.document();
        let mut other = |what: String| {
            if problems.len() < PROBLEMS {
                problems.push(Problem::Other(what));
            }
        };
        if let Err(faults) = claim.fits(manifest.id(), manifest.document()) {
            other(format!("the receipt does not fit its manifest: {faults}"));
        }
        let mut witnesses: HashSet<&Did> = HashSet::new();
        for attestation in &self.attestations {
            let finding = attestation.document();
            let what = format!("the attestation {}", attestation.id());
            if finding.receipt != *receipt.id() {
                other(format!("{what} is about another receipt, {}", finding.receipt));
            } else if let Err(faults) = finding.is_about(receipt.id(), claim) {
                other(format!("{what} does not speak of this receipt: {faults}"));
            }
            if finding.witness == claim.executor {
                other(format!("{what} is by the executor itself"));
            } else if !witnesses.insert(&finding.witness) {
                other(format!("{what} is a second one by {}", finding.witness));
            }
        }
        for commitment in self.commitments.iter().map(Envelope::document) {
            if commitment.receipt != *receipt.id() {
                other(format!("the commitment of {} is about another receipt", commitment.witness));
            }
        }
        agreed(&self.agreements, &receipt, manifest.document(), &mut other);
        let committed = |who: &Did| self.commitments.iter().any(|commitment| commitment.signer() == who);
        let signed = |who: &Did| {
            let party = *who == claim.executor || *who == claim.requester;
            party || witnesses.contains(who) || committed(who)
        };
        for card in self.cards.iter().filter(|card| !signed(card.signer())) {
            other(format!("the card of {}, who has signed nothing in it", card.signer()));
        }
        let (carries, faults) = files(&self.blocks, manifest.document(), claim);
        faults.into_iter().for_each(other);
        let (agreements, commitments) = (self.agreements, self.commitments);
        let (attestations, cards, blocks) = (self.attestations, self.cards, self.blocks);
        Some(Bundle { manifest, receipt, agreements, commitments, attestations, cards, blocks, carries })
    }
}

/// Whether the agreements are to the same, and to what the receipt says was agreed to.
fn agreed(
    agreements: &[Envelope<Agreement>],
    receipt: &Envelope<Receipt>,
    terms: &Manifest,
    other: &mut impl FnMut(String),
) {
    let claim = receipt.document();
    if agreements.is_empty() {
        return;
    }
    let Some(agreement) = agreements.iter().find(|agreement| *agreement.signer() == claim.executor) else {
        return other("there are agreements in it, and not the executor's".to_owned());
    };
    let plan = agreement.document();
    if claim.agreement.as_ref() != Some(agreement.id()) {
        other("the receipt names another agreement, or none".to_owned());
    }
    if agreements.iter().any(|agreement| !agreement.document().is_to_the_same_as(plan)) {
        other("the agreements are not to the same".to_owned());
    }
    let about = (plan.manifest, Some(plan.guild.to_string()), &plan.executor);
    if about != (claim.manifest, claim.guild.clone(), &claim.executor) {
        other("the agreements are to another task, or with another executor".to_owned());
    }
    let wanted = usize::try_from(terms.attestation.witnesses).unwrap_or(usize::MAX);
    match &plan.draw {
        Some(draw) if plan.witnesses.len() == wanted.min(draw.pool.len()) => {}
        Some(_) => other(format!("there are not as many witnesses as the manifest asks for, {wanted}")),
        None => other("the executor's agreement does not say how the witnesses were drawn".to_owned()),
    }
    if let Some(early) = claim.begun_before(plan.agreed_at) {
        other(format!("the receipt does not fit its agreement: {early}"));
    }
    for signer in agreements.iter().map(Envelope::signer) {
        if *signer != claim.requester && !plan.parties().any(|party| party == signer) {
            other(format!("an agreement by {signer}, who has no part in it"));
        }
    }
}

/// Which files the blocks make; each block has to be of one of them.
fn files(blocks: &[(Cid, Bytes)], terms: &Manifest, claim: &Receipt) -> (Carries, Vec<String>) {
    let blocks: HashMap<Cid, &Bytes> = blocks.iter().map(|(cid, bytes)| (*cid, bytes)).collect();
    let (mut used, mut faults) = (HashSet::new(), Vec::new());
    let mut whole = |what: &str, root: &Cid, expected: Content| -> bool {
        let root = canonical(root);
        if !blocks.contains_key(&root) {
            return false;
        }
        match file(&blocks, &root, &mut used) {
            Ok(found) if found == expected => true,
            Ok(found) => {
                faults.push(format!("the blocks of the {what} make {found} where {expected} is named"));
                false
            }
            Err(why) => {
                faults.push(format!("the blocks of the {what} make no file: {why}"));
                false
            }
        }
    };
    let artifact = &terms.artifact;
    let module = whole("module", &artifact.cid, Content { sha256: artifact.sha256, size: artifact.size });
    let inputs = match terms.stdin() {
        // They stand in the manifest.
        Stdin::Inline(_) => true,
        Stdin::Blob(cid) => whole("inputs", &cid, claim.inputs),
    };
    if let Some(unused) = blocks.keys().find(|cid| !used.contains(*cid))
        && faults.is_empty()
    {
        faults.push(format!("the block {unused} is neither of the module nor of the inputs"));
    }
    (Carries { module, inputs }, faults)
}

/// Digest and size of a file.
fn file(blocks: &HashMap<Cid, &Bytes>, root: &Cid, used: &mut HashSet<Cid>) -> Result<Content, String> {
    let mut walk = Walk::new(root, ARTIFACT_MAX).map_err(|error| error.to_string())?;
    let (mut digest, mut size) = (Sha256::new(), 0_u64);
    while let Some(wanted) = walk.take() {
        let block = blocks.get(&wanted.cid).ok_or_else(|| format!("{} is missing", wanted.cid))?;
        used.insert(wanted.cid);
        if let Some(bytes) = walk.open(&wanted, block).map_err(|error| error.to_string())? {
            digest.update(&bytes);
            size = size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
    }
    Ok(Content { sha256: Sha256Digest::from_bytes(digest.finalize().into()), size })
}

/// What a line that does not hold would be, for a person.
fn named(line: &[u8]) -> String {
    let kind = serde_json::from_slice::<Value>(line).ok().and_then(|line| {
        let payload_type = line.get("payloadType")?.as_str()?.to_owned();
        let kinds =
            [Kind::Manifest, Kind::AgentCard, Kind::Charter, Kind::Agreement, Kind::Commitment, Kind::Head];
        let plain = kinds.into_iter().find(|kind| payload_type.contains(kind.as_str()));
        plain.map(|kind| kind.as_str()).or_else(|| {
            use base64::Engine as _;
            let payload = line.get("payload")?.as_str()?;
            let payload = base64::engine::general_purpose::STANDARD.decode(payload).ok()?;
            let has = |word: &[u8]| payload.windows(word.len()).any(|window| window == word);
            [("receipt", &b"execution-receipt"[..]), ("attestation", b"in-toto.io/attestation/svr")]
                .into_iter()
                .find_map(|(kind, word)| has(word).then_some(kind))
        })
    });
    match kind {
        Some("attestation") => "an attestation".to_owned(),
        Some("agreement") => "an agreement".to_owned(),
        Some("commitment") => "a commitment".to_owned(),
        Some("agent-card") => "an agent's card".to_owned(),
        Some(kind) => format!("the {kind}"),
        None => "a document".to_owned(),
    }
}
