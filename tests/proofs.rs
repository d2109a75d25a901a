//! Proofs that travel: what one node exports another machine checks with nothing but the file, and notices whatever was touched.

use serde_json::Value;
use zerostate::document::{
    Attestation, Content, Cost, Document, Envelope, Manifest, Measured, Receipt, Sha256Digest, Verdict,
};
use zerostate::identity::Identity;
use zerostate::proof::{Bundle, Problem};

use crate::documents::{self, creator, environment, executor, noon, witness};
use crate::support::{Desk, Node, submitted, text, two, zerostate};

fn line<D: Document>(identity: &Identity, document: &D) -> String {
    let envelope = Envelope::sign(identity, document).unwrap();
    Bundle::envelope_line(std::str::from_utf8(envelope.bytes()).unwrap())
}

/// What a witness says who found the same, or another output.
fn vote(by: &Identity, receipt: &Receipt, same: bool) -> Attestation {
    let mut measured = Measured::from(receipt);
    if !same {
        measured.output = Content::of(b"something else");
    }
    let id = documents::receipt_id(receipt);
    Attestation::compare((&id, receipt), &measured, environment(), None, by.did().clone(), noon())
}

/// The lines of a bundle with two votes, its manifest first, then its receipt.
fn lines() -> Vec<String> {
    let (manifest, receipt) = (documents::manifest(), documents::receipt());
    let second = Identity::from_secret(&[4; 32]);
    vec![
        line(&creator(), &manifest),
        line(&executor(), &receipt),
        line(&witness(), &vote(&witness(), &receipt, true)),
        line(&second, &vote(&second, &receipt, true)),
        line(&executor(), &zerostate::document::AgentCard::new(executor().did().clone(), "e", noon())),
        Bundle::block_line(&manifest.artifact.cid, b"a module"),
    ]
}

fn problems(lines: &[String]) -> String {
    let problems = Bundle::read(lines.concat().as_bytes()).unwrap_err();
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn whatever_byte_of_a_bundle_is_touched_its_line_is_named_and_why() {
    let lines = lines();
    let file = lines.concat().into_bytes();
    let bundle = Bundle::read(&file).unwrap();
    assert_eq!((bundle.votes(Verdict::Agree).count(), bundle.can_be_run()), (2, true));
    let mut at = 0;
    for (number, line) in (1..).zip(&lines) {
        for place in at..at + line.len() {
            for touched in [file[place] ^ 1, file[place] ^ 0x20] {
                let mut file = file.clone();
                file[place] = touched;
                let problems = Bundle::read(&file).unwrap_err();
                match problems.first() {
                    // A line end that is none any more makes one line of two.
                    Some(Problem::Line { line, what, why }) => {
                        assert_eq!(*line, number, "{place}: {problems:?}");
                        assert!(!what.is_empty() && !why.is_empty());
                    }
                    // The same bytes with the CID of another codec.
                    Some(Problem::Other(why)) => {
                        assert!(number == 6 && why.starts_with("the block baf"), "{why}")
                    }
                    _ => panic!("{place}: {problems:?}"),
                }
            }
        }
        at += line.len();
    }
}

#[test]
fn what_does_not_belong_together_is_no_bundle() {
    let good = lines();
    let with = |place: usize, other: String| {
        let mut lines = good.clone();
        lines[place] = other;
        problems(&lines)
    };
    let without = |place: usize| {
        let mut lines = good.clone();
        lines.remove(place);
        problems(&lines)
    };
    let and = |other: String| problems(&[good.clone(), vec![other]].concat());
    assert!(without(0).contains("there is no manifest in it"));
    assert!(without(1).contains("there is no receipt in it"));

    let other = Manifest { name: "another".to_owned(), ..documents::manifest() };
    assert!(with(0, line(&creator(), &other)).contains("the receipt does not fit its manifest: manifest"));
    let mut dear = documents::receipt();
    dear.cost = Cost { total_micro: documents::credits(49_999), ..dear.cost };
    assert!(with(1, line(&executor(), &dear)).contains("the receipt does not fit its manifest: cost.total"));

    let receipt = documents::receipt();
    let again = Attestation {
        created_at: noon() + std::time::Duration::from_secs(1),
        ..vote(&witness(), &receipt, true)
    };
    assert!(and(line(&witness(), &again)).contains("is a second one by did:key:"));
    assert!(and(line(&executor(), &vote(&executor(), &receipt, true))).contains("is by the executor itself"));
    // Nor has whoever asked for the task more than one.
    let asker = vote(&creator(), &receipt, true);
    let later = Attestation { created_at: noon() + std::time::Duration::from_secs(1), ..asker.clone() };
    let twice = [good.clone(), vec![line(&creator(), &asker), line(&creator(), &later)]].concat();
    assert!(problems(&twice).contains("is a second one by did:key:"));
    let of_another = Receipt { exit_code: Some(3), ..receipt.clone() };
    assert!(
        with(2, line(&witness(), &vote(&witness(), &of_another, true))).contains("is about another receipt")
    );
    let stranger = Identity::from_secret(&[9; 32]);
    let card = zerostate::document::AgentCard::new(stranger.did().clone(), "s", noon());
    assert!(and(line(&stranger, &card)).contains("who has signed nothing in it"));

    assert!(and(good[0].clone()).contains("line 7, the manifest: it is in the bundle twice"));
    assert!(and(good[5].clone()).contains("line 7, a block: it is in the bundle twice"));
    assert!(and(line(&executor(), &of_another)).contains("line 7, the receipt: a bundle has one of them"));
    assert!(and(line(&creator(), &documents::charter())).contains("has no place in a bundle"));
    let alien = Bundle::block_line(&Sha256Digest::of(b"alien").to_cid(), b"alien");
    assert!(and(alien).contains("is neither of the module nor of the inputs"));
    assert!(and("\n".to_owned()).contains("line 7, a document"));
    assert!(and("x".repeat(200_000)).contains("line 7, a document: 200000 bytes"));
    // However bad a file is, what is told of it is bounded.
    assert_eq!(Bundle::read("x\n".repeat(1_000_000).as_bytes()).unwrap_err().len(), 32);
}

#[test]
fn what_a_bundle_says_follows_from_its_votes() {
    let receipt = documents::receipt();
    let bundle = Bundle::read(lines().concat().as_bytes()).unwrap();
    let quorum = usize::try_from(bundle.manifest.document().attestation.quorum).unwrap();
    assert_eq!(bundle.standing(), if quorum <= 2 { "attested" } else { "unattested" });
    assert!(
        bundle.proven().iter().any(|line| line.starts_with("2 of its witnesses say that they ran it again"))
    );
    let mut disputed = lines();
    disputed[3] = line(&witness(), &vote(&witness(), &receipt, false));
    disputed.remove(2);
    let bundle = Bundle::read(disputed.concat().as_bytes()).unwrap();
    assert_eq!(bundle.standing(), "disputed");
    assert!(bundle.proven().iter().any(|line| line.contains("say that it is not right")));
    let mut bare = lines();
    bare.truncate(2);
    let bundle = Bundle::read(bare.concat().as_bytes()).unwrap();
    assert_eq!((bundle.standing(), bundle.can_be_run()), ("unattested", false));
    assert!(bundle.not_proven().iter().any(|line| line.contains("--with-artifact")));
}

fn verified(desk: &Desk, args: &[&str]) -> Value {
    let empty = desk.path("empty");
    zerostate(&empty, &[&["--json", "verify"], args].concat()).exits(0).json()
}

#[test]
fn a_bundle_made_on_one_machine_is_checked_and_run_again_on_another_that_knows_nothing() {
    let desk = Desk::new();
    let (a, b) = two(&desk, "always");
    let done = submitted(&a, &desk.hello(1));
    let id = text(&done, "receipt_id").to_owned();
    let [plain, whole] = ["plain.jsonl", "whole.jsonl"].map(|name| desk.named(name));
    a.run(&["receipt", "export", &id, "--bundle", "--output", &plain]).exits(0);
    // The witness has all of it as well, and writes it to stdout as it is.
    let written = b.run(&["receipt", "export", &id, "--bundle", "--with-artifact"]).exits(0);
    std::fs::write(&whole, written.text()).unwrap();
    let (witness, executor) = (b.did().to_owned(), a.did().to_owned());
    assert_eq!((a.stop(), b.stop()), (Some(0), Some(0)));

    let proof = verified(&desk, &[&plain]);
    assert_eq!(
        (&proof["valid"], text(&proof, "kind"), text(&proof, "standing")),
        (&Value::Bool(true), "bundle", "attested")
    );
    assert_eq!((text(&proof, "id"), text(&proof, "signer")), (id.as_str(), executor.as_str()));
    assert_eq!(text(&proof["attestations"][0], "witness"), witness);
    assert_eq!(proof["rerun"], Value::Null);
    let proof = verified(&desk, &[&whole, "--rerun"]);
    assert_eq!((&proof["valid"], text(&proof["rerun"], "verdict")), (&Value::Bool(true), "agree"));
    assert!(!desk.path("empty").exists(), "checking leaves nothing behind");
    let both = verified(&desk, &[&plain, &whole]);
    assert_eq!(both.as_array().map(Vec::len), Some(2));

    let empty = desk.path("empty");
    zerostate(&empty, &["verify", &plain, "--rerun"])
        .fails(1, "what is to be run again is not in the bundle");
    let mut touched = std::fs::read_to_string(&plain).unwrap();
    touched = touched.replacen("\"sig\":\"", "\"sig\":\"A", 1);
    std::fs::write(&plain, touched).unwrap();
    zerostate(&empty, &["verify", &plain]).fails(1, "the bundle does not verify");
    let answer = zerostate(&empty, &["--json", "verify", &plain]).fails(1, "does not verify").json();
    assert!(answer["problems"][0].as_str().unwrap().starts_with("line 1, the manifest: "), "{answer}");
}

#[test]
fn running_a_bundle_again_finds_out_who_lied_about_the_output() {
    let desk = Desk::new();
    let node = Node::start(&desk.path("a"));
    let done = submitted(&node, &desk.hello(0));
    let id = text(&done, "receipt_id").to_owned();
    let written = node.run(&["receipt", "export", &id, "--bundle", "--with-artifact"]).exits(0).text();
    let mut lines: Vec<String> = written.lines().map(|line| format!("{line}\n")).collect();
    let truth = Envelope::<Receipt>::open(lines[1].trim_end().as_bytes()).unwrap().document().clone();
    let liar = Identity::from_secret(&[5; 32]);
    let lie = Receipt { output: Content::of(b"a lie"), executor: liar.did().clone(), ..truth };
    lines[1] = line(&liar, &lie);
    let file = desk.file("lie.jsonl", lines.concat());
    let empty = desk.path("empty");
    zerostate(&empty, &["verify", &file]).exits(0);
    let found = zerostate(&empty, &["--json", "verify", "--rerun", &file])
        .fails(1, "it came to something else")
        .json();
    assert_eq!((&found["valid"], text(&found["rerun"], "verdict")), (&Value::Bool(false), "disagree"));
    assert!(found["problems"][0].as_str().unwrap().contains("output"), "{found}");
}
