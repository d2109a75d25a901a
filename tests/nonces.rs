//! No key of a guild seals two messages under one number, however often its holders are killed while they talk.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::StreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zerostate::api::{Answer, Answering as _, Client, Command, GuildAnswer, GuildCommand};

use crate::support::rogue::Rogue;
use crate::support::{Desk, Node, eventually, text};

/// Words of one node under way at once.
const AT_ONCE: usize = 32;

/// Of each epoch, sender and counter, what was sealed: the digest of its text.
type Sealed = HashMap<(u64, String, u64), [u8; 32]>;

/// Says so many words in the guild, as fast as they are taken; ends early with its node.
async fn talk(node: &Node, guild: &str, words: usize, taken: &AtomicUsize) {
    let client = Client::connect(&node.dir).await.unwrap();
    let said = futures::stream::iter(0..words).map(|n| {
        let say = GuildCommand::Say { guild_id: guild.to_owned(), text: format!("word {n}") };
        client.execute(Command::Guild(say))
    });
    let mut said = said.buffer_unordered(AT_ONCE);
    while let Some(Ok(answer)) = said.next().await {
        assert!(matches!(answer, Answer::Guild(GuildAnswer::Said { .. })), "{answer:?}");
        taken.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes down under what each message was sealed that the member has heard.
fn note(rogue: &Rogue, sealed: &mut Sealed) {
    for (_, said) in rogue.take_heard() {
        let said: Value = serde_json::from_slice(&said).unwrap();
        let message = &said["what"]["message"];
        if message.is_null() {
            continue;
        }
        let number = |key: &str| message[key].as_u64().unwrap();
        let key = (number("epoch"), text(message, "sender").to_owned(), number("counter"));
        let digest = Sha256::digest(BASE64.decode(text(message, "text")).unwrap()).into();
        // What was not answered is said again, just as it was.
        let first = *sealed.entry(key.clone()).or_insert(digest);
        assert_eq!(first, digest, "two messages under {key:?}");
    }
}

/// Two nodes talk in a guild to a third, and one of them is killed in the middle of it, again and again.
fn each_is_used_once(words: usize, kills: usize) {
    let desk = Desk::new();
    let dirs = ["a", "b"].map(|name| desk.path(name));
    let mut nodes = dirs.each_ref().map(|dir| Node::start(dir));
    let founded = nodes[0].ask(&["guild", "create", "--name", "chatter", "--admit", "invite"]);
    let (guild, invitation) = (text(&founded, "guild_id"), text(&founded, "invitation"));
    nodes[1].ask(&["guild", "join", invitation]);
    let (rogue, id) = (Rogue::start(), guild.parse().unwrap());
    nodes.iter().for_each(|node| rogue.connect(node));
    rogue.join(&nodes[0], &id, "member", Some(invitation));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut sealed, mut epochs) = (Sealed::new(), Vec::new());
    let each = (words / 2).div_ceil(kills);
    for round in 0..kills {
        let shown = eventually("all are in it, in one epoch", || {
            let shown = nodes.each_ref().map(|node| node.ask(&["guild", "show", guild]));
            let all = shown.iter().all(|shown| shown["members"].as_array().is_some_and(|m| m.len() == 3));
            (all && shown[0]["epoch"] == shown[1]["epoch"]).then(|| shown[0].clone())
        });
        epochs.push(shown["epoch"].as_u64().unwrap());
        rogue.ask(&nodes[0], &id, &json!({ "heartbeat": { "epoch": epochs.last() } }));
        let victim = round % 2;
        let taken = [AtomicUsize::new(0), AtomicUsize::new(0)];
        let [victims, others] = [victim, 1 - victim];
        let pid = nodes[victim].pid();
        runtime.block_on(async {
            let endless = talk(&nodes[victims], guild, usize::MAX, &taken[victims]);
            let kill = async {
                while taken[victims].load(Ordering::Relaxed) < each {
                    tokio::task::yield_now().await;
                }
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            };
            tokio::join!(endless, kill, talk(&nodes[others], guild, each, &taken[others]));
        });
        note(&rogue, &mut sealed);
        nodes[victim].gone();
        nodes[victim] = Node::start(&dirs[victim]);
        nodes[victim].meet(&nodes[1 - victim]);
        rogue.connect(&nodes[victim]);
    }
    assert!(epochs.is_sorted_by(|earlier, later| earlier < later), "each start is a new epoch: {epochs:?}");
    assert!(sealed.len() >= words, "{} of {words} were heard", sealed.len());
}

#[test]
fn no_number_is_used_twice_whoever_is_killed_while_talking() {
    each_is_used_once(2_000, 6);
}

#[test]
#[ignore = "a soak of several minutes: cargo test --release -- --ignored nonces"]
fn no_number_is_used_twice_in_a_million_messages_and_a_hundred_kills() {
    each_is_used_once(1_000_000, 100);
}
