//! Proofs that travel: what one node exports another machine checks with nothing but the file, and notices whatever was touched.

use std::time::Duration;

use serde_json::Value;
use zerostate::document::{
    Agreement, Attestation, Commitment, Content, Cost, Document, Draw, Envelope, Manifest, Measured, Receipt,
    Seed, Sha256Digest, Verdict, content_id,
};
use zerostate::identity::{Did, Identity};
use zerostate::proof::{Bundle, Outcome, Problem};

use crate::documents::{self, creator, environment, executor, noon, witness};
use crate::support::{Desk, Node, submitted, text as field, two, zerostate};

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

/// A witness of three, each with its own key.
fn juror(n: u8) -> Identity {
    Identity::from_secret(&[n + 3; 32])
}

/// A receipt that came of an agreement, and the agreement as its executor and its requester have signed it.
fn agreed(change: impl FnOnce(&mut Agreement)) -> (Receipt, Envelope<Agreement>, Envelope<Agreement>) {
    let (manifest, mut receipt) = (documents::manifest(), documents::receipt());
    let id = documents::manifest_id(&manifest);
    let mut pool: Vec<Did> = (0..5).map(|n| juror(n).did().clone()).collect();
    pool.sort_unstable();
    let seed = Seed { creator_nonce: [7; 32], executor_nonce: [8; 32], attempt: 1 };
    let draw = Draw { pool, seed: Some(seed) };
    let guild = content_id(b"a guild");
    let mut agreement = Agreement {
        guild,
        manifest: id,
        executor: executor().did().clone(),
        witnesses: draw.witnesses(&id, executor().did(), 3),
        draw: Some(draw),
        member: executor().did().clone(),
        agreed_at: noon(),
    };
    change(&mut agreement);
    let by_executor = Envelope::sign(&executor(), &agreement).unwrap();
    agreement.member = creator().did().clone();
    let by_creator = Envelope::sign(&creator(), &agreement).unwrap();
    (receipt.guild, receipt.agreement) = (Some(guild.to_string()), Some(*by_executor.id()));
    (receipt, by_executor, by_creator)
}

fn text<D: Document>(envelope: &Envelope<D>) -> String {
    Bundle::envelope_line(std::str::from_utf8(envelope.bytes()).unwrap())
}

/// Those who were drawn.
fn jurors(agreement: &Envelope<Agreement>) -> Vec<Identity> {
    let drawn = &agreement.document().witnesses;
    (0..5).map(juror).filter(|one| drawn.contains(one.did())).collect()
}

/// A salted vote and the commitment to it.
fn committed(by: &Identity, receipt: &Receipt, same: bool) -> (Envelope<Attestation>, Envelope<Commitment>) {
    let salt = Some("5a".repeat(32));
    let vote = Envelope::sign(by, &Attestation { salt, ..vote(by, receipt, same) }).unwrap();
    let commitment = Commitment::to(vote.id(), documents::receipt_id(receipt), by.did().clone(), noon());
    (vote, Envelope::sign(by, &commitment).unwrap())
}

/// The lines of a bundle of a task that was done in a guild: its manifest, its receipt, both agreements, each witness's commitment and
/// vote, and one card; the witnesses find the same or not.
fn in_guild(same: [bool; 3]) -> Vec<String> {
    let (receipt, by_executor, by_creator) = agreed(|_| {});
    let mut lines = vec![
        line(&creator(), &documents::manifest()),
        line(&executor(), &receipt),
        text(&by_executor),
        text(&by_creator),
    ];
    for (by, same) in jurors(&by_executor).iter().zip(same) {
        let (vote, commitment) = committed(by, &receipt, same);
        lines.extend([text(&commitment), text(&vote)]);
    }
    lines
        .push(line(&executor(), &zerostate::document::AgentCard::new(executor().did().clone(), "e", noon())));
    lines
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

fn read(lines: &[String]) -> Bundle {
    Bundle::read(lines.concat().as_bytes()).unwrap()
}

fn problems(lines: &[String]) -> String {
    let problems = Bundle::read(lines.concat().as_bytes()).unwrap_err();
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// Touches every byte of a bundle, one at a time, two bits each.
fn touched(lines: &[String]) {
    let file = lines.concat().into_bytes();
    Bundle::read(&file).unwrap();
    let mut at = 0;
    for (number, line) in (1..).zip(lines) {
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
                        assert!(line.starts_with("{\"cid\"") && why.starts_with("the block baf"), "{why}")
                    }
                    _ => panic!("{place}: {problems:?}"),
                }
            }
        }
        at += line.len();
    }
}

#[test]
fn whatever_byte_of_a_bundle_is_touched_its_line_is_named_and_why() {
    touched(&lines());
    touched(&in_guild([true, true, false]));
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
    assert_eq!((quorum, bundle.standing()), (2, Outcome::Attested));
    assert!(
        bundle.proven().iter().any(|line| line.starts_with("2 of its witnesses say that they ran it again"))
    );
    let mut disputed = lines();
    disputed[3] = line(&witness(), &vote(&witness(), &receipt, false));
    disputed.remove(2);
    let bundle = Bundle::read(disputed.concat().as_bytes()).unwrap();
    assert_eq!(bundle.standing(), Outcome::Disputed);
    assert!(bundle.proven().iter().any(|line| line.contains("say that it is not right")));
    let mut bare = lines();
    bare.truncate(2);
    let bundle = Bundle::read(bare.concat().as_bytes()).unwrap();
    assert_eq!((bundle.standing(), bundle.can_be_run()), (Outcome::Unattested, false));
    assert!(bundle.not_proven(None).iter().any(|line| line.contains("--with-artifact")));
}

#[test]
fn an_attestation_that_speaks_of_another_receipt_than_it_names_is_no_vote() {
    let receipt = documents::receipt();
    let with = |change: &dyn Fn(&mut Attestation)| {
        let mut vote = vote(&witness(), &receipt, true);
        change(&mut vote);
        let mut lines = lines();
        lines[2] = line(&witness(), &vote);
        problems(&lines)
    };
    let claims = |change: &dyn Fn(&mut Attestation)| {
        let found = with(change);
        assert!(found.contains("does not speak of this receipt"), "{found}");
        found
    };
    // Both values are equal, and neither is the receipt's.
    let fuel = claims(&|vote| {
        (vote.compared[3].claimed, vote.compared[3].measured) = ("5".to_owned(), "5".to_owned());
    });
    assert!(fuel.contains("compared: fuel 5 (expected 1204551)") || fuel.contains("fuel 5"), "{fuel}");
    // It agrees with what it has measured somewhere else.
    claims(&|vote| vote.environment.as_mut().unwrap().version = "1".to_owned());
    claims(&|vote| {
        vote.compared.pop();
        (vote.verdict, vote.reason) = (Verdict::Disagree, Some("it is so".to_owned()));
    });
}

#[test]
fn in_a_guild_those_count_who_were_drawn_and_only_with_what_they_had_committed_to() {
    let good = read(&in_guild([true, true, true]));
    assert_eq!((good.standing(), good.tally().faults), (Outcome::Attested, vec![]));
    let proven = good.proven().join("\n");
    assert!(
        proven.contains("3 witnesses of 5 were drawn by nonces of the requester and its own"),
        "{proven}"
    );
    assert!(proven.contains("3 of its witnesses say that they ran it again"), "{proven}");
    assert_eq!(read(&in_guild([true, true, false])).standing(), Outcome::Disputed);

    // Whoever asked for it has run it too, and settles what they do not agree on.
    let (receipt, agreement, _) = agreed(|_| {});
    let mut settled = in_guild([true, true, false]);
    settled.push(line(&creator(), &vote(&creator(), &receipt, true)));
    let settled = read(&settled);
    assert_eq!((settled.standing(), settled.tally().refuted().count()), (Outcome::Attested, 1));

    // A vote by one who was not drawn.
    let stranger = (0..5).map(juror).find(|one| !agreement.document().witnesses.contains(one.did())).unwrap();
    let mut more = in_guild([true, true, true]);
    let others: Vec<String> = more.drain(6..10).collect();
    let lone = read(&more);
    assert_eq!(lone.standing(), Outcome::Unattested);
    let silent: Vec<String> = lone.tally().faults.iter().map(|fault| fault.why.clone()).collect();
    assert_eq!(silent, ["it has said nothing"; 2]);
    let (outsider, its) = committed(&stranger, &receipt, true);
    more.extend([text(&its), text(&outsider)]);
    let more = read(&more);
    assert_eq!(more.standing(), Outcome::Unattested);
    assert!(more.proven().join("\n").contains("it is none of the witnesses that were agreed to"));

    // One that commits to one thing and says another, and one that says nothing.
    let (_, others_commitment) = committed(&jurors(&agreement)[1], &receipt, false);
    let mut changed = in_guild([true, true, true]);
    (changed[6], changed[9]) = (text(&others_commitment), String::new());
    let changed = read(&changed);
    let faults: Vec<&str> = changed
        .tally()
        .faults
        .iter()
        .map(|fault| fault.why.as_str().to_owned())
        .map(|why| {
            if why.contains("committed to") {
                "other"
            } else if why.contains("not revealed") {
                "silent"
            } else {
                "?"
            }
        })
        .collect();
    assert_eq!((changed.standing(), faults), (Outcome::Unattested, vec!["other", "silent"]));
    assert_eq!(others.len(), 4);

    // Without the agreement nobody knows who was to witness it.
    let mut bare = in_guild([true, true, true]);
    bare.drain(2..4);
    let bare = read(&bare);
    assert_eq!(bare.standing(), Outcome::Unattested);
    assert!(
        bare.not_proven(None)
            .join("\n")
            .contains("the agreement that the receipt names is not in the bundle")
    );
}

#[test]
fn an_agreement_that_is_not_the_receipts_or_whose_draw_does_not_hold_is_found() {
    let with = |place: usize, other: String| {
        let mut lines = in_guild([true, true, true]);
        lines[place] = other;
        problems(&lines)
    };
    let (_, other, by_creator) = agreed(|agreement| agreement.guild = content_id(b"another guild"));
    assert!(with(2, text(&other)).contains("the receipt names another agreement"));
    assert!(with(3, text(&by_creator)).contains("the agreements are not to the same"));
    let mut without = in_guild([true, true, true]);
    without.remove(2);
    assert!(problems(&without).contains("there are agreements in it, and not the executor's"));
    // The witnesses are not those that the nonces give, and who signs it says so in vain.
    let (_, honest, _) = agreed(|_| {});
    let mut document = honest.document().clone();
    document.witnesses.swap(0, 1);
    assert!(Envelope::sign(&executor(), &document).is_err());
    // A run that began before it was agreed to.
    let (receipt, late, by_creator) =
        agreed(|agreement| agreement.agreed_at = noon() + Duration::from_secs(3));
    let early = [
        line(&creator(), &documents::manifest()),
        line(&executor(), &receipt),
        text(&late),
        text(&by_creator),
    ];
    assert!(problems(&early).contains("before it was agreed to"));
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
    let id = field(&done, "receipt_id").to_owned();
    let [plain, whole] = ["plain.jsonl", "whole.jsonl"].map(|name| desk.named(name));
    a.run(&["receipt", "export", &id, "--bundle", "--output", &plain]).exits(0);
    // The witness has all of it as well, and writes it to stdout as it is.
    let written = b.run(&["receipt", "export", &id, "--bundle", "--with-artifact"]).exits(0);
    std::fs::write(&whole, written.text()).unwrap();
    let (witness, executor) = (b.did().to_owned(), a.did().to_owned());
    assert_eq!((a.stop(), b.stop()), (Some(0), Some(0)));

    let proof = verified(&desk, &[&plain]);
    assert_eq!(
        (&proof["valid"], field(&proof, "kind"), field(&proof, "standing")),
        (&Value::Bool(true), "bundle", "attested")
    );
    assert_eq!((field(&proof, "id"), field(&proof, "signer")), (id.as_str(), executor.as_str()));
    assert_eq!(field(&proof["attestations"][0], "witness"), witness);
    assert_eq!(proof["rerun"], Value::Null);
    let proof = verified(&desk, &[&whole, "--rerun"]);
    assert_eq!((&proof["valid"], field(&proof["rerun"], "verdict")), (&Value::Bool(true), "agree"));
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

/// The lines of a bundle of a real run, with its receipt made another by a key of nobody's.
fn falsified(desk: &Desk, change: impl FnOnce(&mut Receipt)) -> String {
    let node = Node::start(&desk.path("a"));
    let done = submitted(&node, &desk.hello(0));
    let id = field(&done, "receipt_id").to_owned();
    let written = node.run(&["receipt", "export", &id, "--bundle", "--with-artifact"]).exits(0).text();
    let mut lines: Vec<String> = written.lines().map(|line| format!("{line}\n")).collect();
    let truth = Envelope::<Receipt>::open(lines[1].trim_end().as_bytes()).unwrap().document().clone();
    let liar = Identity::from_secret(&[5; 32]);
    let mut lie = Receipt { executor: liar.did().clone(), ..truth };
    change(&mut lie);
    lines[1] = line(&liar, &lie);
    desk.file("lie.jsonl", lines.concat())
}

#[test]
fn what_cannot_be_told_by_running_it_again_is_not_proven() {
    let desk = Desk::new();
    let file = falsified(&desk, |receipt| receipt.environment.settings_sha256 = Sha256Digest::of(b"other"));
    let empty = desk.path("empty");
    let found =
        zerostate(&empty, &["--json", "verify", "--rerun", &file]).fails(1, "could not be told").json();
    assert_eq!((&found["valid"], field(&found["rerun"], "verdict")), (&Value::Bool(true), "unverifiable"));
    assert!(found["not_proven"].to_string().contains("run again here, it cannot be told"), "{found}");
}

#[test]
fn running_a_bundle_again_finds_out_who_lied_about_the_output() {
    let desk = Desk::new();
    let file = falsified(&desk, |receipt| receipt.output = Content::of(b"a lie"));
    let empty = desk.path("empty");
    zerostate(&empty, &["verify", &file]).exits(0);
    let found = zerostate(&empty, &["--json", "verify", "--rerun", &file])
        .fails(1, "it came to something else")
        .json();
    assert_eq!((&found["valid"], field(&found["rerun"], "verdict")), (&Value::Bool(false), "disagree"));
    assert!(found["problems"][0].as_str().unwrap().contains("output"), "{found}");
}
