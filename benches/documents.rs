//! Signing and verifying receipts, beside the raw Ed25519 operations that they cannot do without.
//!
//! `cargo bench --bench documents`; the ratios are printed at the end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a bench that meets the unexpected ends by panicking"
)]

mod receipt;

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use zerostate::document::{
    Agreement, ArtifactSource, Attestation, AttestationTerms, Commitment, Completion, Document, Draft, Draw,
    Entry, Envelope, Head, Measured, Receipt, Relation, content_id,
};
use zerostate::identity::{Did, Identity};
use zerostate::proof::{Bundle, Outcome};

const TASK: &str = "0123456789abcdef0123456789abcdef";
const SECRET: [u8; 32] = [7; 32];
/// Rounds for a ratio: long enough that a stray interrupt does not show.
const ROUNDS: u32 = 20_000;

/// What is signed: the payload behind DSSE's pre-authentication head, so that both sides hash the same number of bytes.
fn signed_bytes(receipt: &Receipt) -> Vec<u8> {
    let payload = receipt.encode().expect("a payload");
    let head = format!("DSSEv1 {} {} {} ", Receipt::PAYLOAD_TYPE.len(), Receipt::PAYLOAD_TYPE, payload.len());
    [head.as_bytes(), &payload].concat()
}

fn time(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    start.elapsed().as_secs_f64() / f64::from(ROUNDS)
}

fn main() {
    let identity = Identity::from_secret(&SECRET);
    let key = SigningKey::from_bytes(&SECRET);
    let public = key.verifying_key().to_bytes();
    let receipt = receipt::receipt(&identity, TASK.into());
    let message = signed_bytes(&receipt);
    let signature = key.sign(&message);
    let envelope = Envelope::sign(&identity, &receipt).expect("a signed receipt");

    let raw_sign = || {
        black_box(key.sign(black_box(&message)));
    };
    // A receipt's key comes with it, so the reference parses its key too.
    let raw_verify = || {
        let key = VerifyingKey::from_bytes(black_box(&public)).expect("a key");
        key.verify_strict(black_box(&message), &signature).expect("a good signature");
    };
    let sign = || drop(black_box(Envelope::sign(&identity, black_box(&receipt)).expect("a signed receipt")));
    let verify =
        || drop(black_box(Envelope::<Receipt>::open(black_box(envelope.bytes())).expect("a good receipt")));

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("receipt");
    group.bench_function("sign, raw ed25519-dalek", |b| b.iter(raw_sign));
    group.bench_function("sign, envelope", |b| b.iter(sign));
    group.bench_function("verify, raw ed25519-dalek", |b| b.iter(raw_verify));
    group.bench_function("verify, envelope", |b| b.iter(verify));
    group.finish();
    criterion.final_summary();

    // Alternating, so that a change of the clock's speed meets both sides.
    let (mut raw, mut ours) = ([0.0; 2], [0.0; 2]);
    for _ in 0..5 {
        raw[0] += time(raw_sign);
        ours[0] += time(sign);
        raw[1] += time(raw_verify);
        ours[1] += time(verify);
    }
    println!("receipt of {} bytes; target at most 1.3 times raw", message.len());
    println!(
        "sign:   {:.2} times raw ({:.1} µs against {:.1} µs)",
        ours[0] / raw[0],
        ours[0] * 2e5,
        raw[0] * 2e5
    );
    println!(
        "verify: {:.2} times raw ({:.1} µs against {:.1} µs)",
        ours[1] / raw[1],
        ours[1] * 2e5,
        raw[1] * 2e5
    );
    let (file, signatures) = bundle(&identity, 3);
    let read = time(|| drop(black_box(Bundle::read(black_box(file.as_bytes())).expect("a good bundle"))));
    println!(
        "a bundle with 3 attestations, read and checked: {:.0} µs, {:.2} times its {signatures} raw signatures; target 1000 µs",
        read * 1e6,
        read / (f64::from(signatures) * raw[1] / 5.0)
    );
    let (receipts, heads) = chain(&identity, 10_000);
    let start = Instant::now();
    check(&receipts, &heads);
    let took = start.elapsed().as_secs_f64();
    println!(
        "10,000 receipts and their chain checked on one core: {took:.2} s, {:.2} times their raw signatures; target 2 s",
        took / (10_000.0 * raw[1] / 5.0)
    );
}

/// The text of a bundle of a task that was done in a guild, and how many signatures are in it.
fn bundle(executor: &Identity, witnesses: u8) -> (String, u32) {
    let creator = Identity::from_secret(&[1; 32]);
    let claim = receipt::receipt(executor, TASK.into());
    let source = ArtifactSource::Cid { cid: claim.artifact.cid.to_string(), sha256: None, size: None };
    let mut manifest = Draft::for_module("bench", source).complete(Completion {
        creator: creator.did().clone(),
        artifact: claim.artifact.clone(),
        now: claim.started_at,
        random: [5; 32],
    });
    manifest.attestation = AttestationTerms { quorum: u32::from(witnesses), witnesses: u32::from(witnesses) };
    let terms = Envelope::sign(&creator, &manifest).expect("a signed manifest");
    let signers: Vec<Identity> = (0..witnesses).map(|n| Identity::from_secret(&[10 + n; 32])).collect();
    let mut pool: Vec<Did> = signers.iter().map(|one| one.did().clone()).collect();
    pool.sort_unstable();
    let (guild, draw) = (content_id(b"a guild"), Draw { pool, seed: None });
    let mut agreement = Agreement {
        guild,
        manifest: *terms.id(),
        executor: executor.did().clone(),
        witnesses: draw.witnesses(terms.id(), executor.did(), signers.len()),
        draw: Some(draw),
        member: executor.did().clone(),
        agreed_at: claim.started_at,
    };
    let agreed = Envelope::sign(executor, &agreement).expect("a signed agreement");
    agreement.member = creator.did().clone();
    let proposed = Envelope::sign(&creator, &agreement).expect("a signed agreement");
    let (task_id, nonce) = (manifest.task_id, manifest.nonce);
    let (requester, guild) = (creator.did().clone(), Some(guild.to_string()));
    let agreement = Some(*agreed.id());
    let claim = Receipt { manifest: *terms.id(), requester, task_id, nonce, guild, agreement, ..claim };
    let signed = Envelope::sign(executor, &claim).expect("a signed receipt");
    let mut lines =
        [terms.bytes(), signed.bytes(), agreed.bytes(), proposed.bytes()].map(Clone::clone).to_vec();
    for witness in &signers {
        let (measured, now) = (Measured::from(&claim), claim.finished_at);
        let (environment, about) = (claim.environment.clone(), (signed.id(), &claim));
        let vote = Attestation::compare(about, &measured, environment, None, witness.did().clone(), now);
        let vote = Attestation { salt: Some("5a".repeat(32)), ..vote };
        let vote = Envelope::sign(witness, &vote).expect("a signed attestation");
        let commitment = Commitment::to(vote.id(), *signed.id(), witness.did().clone(), now);
        let commitment = Envelope::sign(witness, &commitment).expect("a signed commitment");
        lines.extend([commitment.bytes().clone(), vote.bytes().clone()]);
    }
    let signatures = u32::try_from(lines.len()).expect("a few");
    let text: String =
        lines.iter().map(|line| Bundle::envelope_line(&String::from_utf8_lossy(line))).collect();
    let standing = Bundle::read(text.as_bytes()).expect("a good bundle").standing();
    assert_eq!(standing, Outcome::Attested);
    (text, signatures)
}

/// So many receipts of one executor, and the heads of its chain of them.
fn chain(executor: &Identity, entries: usize) -> (Vec<Envelope<Receipt>>, Vec<Envelope<Head>>) {
    let receipts = (0..entries).map(|number| {
        let receipt = receipt::receipt(executor, format!("{number:032x}"));
        Envelope::sign(executor, &receipt).expect("a signed receipt")
    });
    let receipts: Vec<_> = receipts.collect();
    let (mut heads, mut base, mut length, mut before) = (Vec::new(), Head::genesis(), 0, None);
    for some in receipts.chunks(Head::ENTRIES) {
        length += some.len() as u64;
        let entries = some.iter().map(|receipt| Entry(*receipt.id())).collect();
        let at = some[0].document().finished_at;
        let head = Head { node: executor.did().clone(), length, base, entries, before, at };
        base = head.value();
        let head = Envelope::sign(executor, &head).expect("a signed head");
        before = Some(*head.id());
        heads.push(head);
    }
    (receipts, heads)
}

/// Checks every signature, that each head goes on where the one before it ends, and that the chain is of these receipts.
fn check(receipts: &[Envelope<Receipt>], heads: &[Envelope<Head>]) {
    let mut entries = Vec::with_capacity(receipts.len());
    let mut last: Option<Envelope<Head>> = None;
    for head in heads {
        let head = Envelope::<Head>::open(head.bytes()).expect("a good head");
        if let Some(last) = &last {
            assert_eq!(last.document().to(head.document()), Relation::Extends);
            assert_eq!(head.document().before.as_ref(), Some(last.id()));
        }
        entries.extend(head.document().entries.iter().map(|Entry(entry)| *entry));
        last = Some(head);
    }
    assert_eq!(entries.len(), receipts.len());
    for (receipt, entry) in receipts.iter().zip(entries) {
        let receipt = Envelope::<Receipt>::open(receipt.bytes()).expect("a good receipt");
        assert_eq!(*receipt.id(), entry);
    }
}
