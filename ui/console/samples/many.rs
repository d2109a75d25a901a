//! A node that has been at work for long.

use std::sync::Arc;

use jiff::SignedDuration;
use zerostate::api::{AttestationRecord, Event, GuildView, InboxItem, LogLine, PeerView, Snapshot, Tail};
use zerostate::document::{Untrusted, content_id};
use zerostate::identity::Identity;

use super::{NAMES, ago, busy, peer};

/// A node that has been at work for long: so many peers, so many tasks, guilds and questions, and so many receipts, attestations, events
/// and lines of the log.
pub fn many(peers: u32, tasks: u32, receipts: u64) -> Snapshot {
    let mut snapshot = busy();
    more_of_the_rest(&mut snapshot, tasks, receipts);
    let one = peer(1);
    snapshot.peers = (0..peers)
        .map(|n| {
            let mut secret = [7; 32];
            secret[..4].copy_from_slice(&n.to_le_bytes());
            let who = Identity::from_secret(&secret);
            PeerView {
                peer_id: who.peer_id(),
                did: Some(who.did().clone()),
                name: Some(Untrusted::new(&format!("{}-{n}", NAMES[n as usize % NAMES.len()]))),
                bytes_in: u64::from(n) * 977 % 100_000,
                ping_us: vec![n * 7_919 % 200_000; 8],
                ..one.clone()
            }
        })
        .map(Arc::new)
        .collect();
    let states = snapshot.tasks.items.clone();
    let again = |n: u32| {
        let mut task = states[n as usize % states.len()].clone();
        task.record.task_id = format!("{n:032x}");
        task.record.name = Untrusted::new(&format!("{}-{n}", task.record.name));
        task
    };
    snapshot.tasks = Tail { total: tasks.into(), items: (0..tasks).map(again).collect() };
    let rows = snapshot.receipts.items.clone();
    let again = |n: u64| {
        let mut row = rows[usize::try_from(n).unwrap() % rows.len()].clone();
        row.cursor = receipts - n;
        row.receipt_id = content_id(&n.to_le_bytes()).to_string();
        row.name = Untrusted::new(&format!("{}-{n}", row.name));
        row.executor = snapshot
            .peers
            .get(usize::try_from(n).unwrap() % 64)
            .and_then(|peer| peer.did.clone())
            .unwrap_or(row.executor);
        row
    };
    snapshot.receipts = Tail { total: receipts, items: (0..receipts).map(again).collect() };
    snapshot.node.running = u64::from(tasks) / 4;
    snapshot
}

/// Of the long lists a node tells the newest with every snapshot, and the rest page by page.
pub fn cut_to_tails(snapshot: &mut Snapshot, rows: usize) {
    snapshot.tasks.items.truncate(rows);
    snapshot.receipts.items.truncate(rows);
    snapshot.attestations.items.truncate(rows);
    snapshot.events.items.truncate(rows);
    snapshot.log.truncate(rows);
}

fn more_of_the_rest(snapshot: &mut Snapshot, guilds: u32, rows: u64) {
    let id = |kind: u8, n: u64| content_id(&[&[kind], &n.to_le_bytes()[..]].concat()).to_string();
    let named = |name: &str, n: u64| Untrusted::new(&format!("{name}-{n}"));
    let back = |n: u64| ago(i64::try_from(n).unwrap());
    let (few, asked) = (snapshot.guilds.items.clone(), snapshot.inbox[0].clone());
    let guild = |n: u32| {
        let one = few[n as usize % few.len()].clone();
        let (name, guild_id) = (named(one.name.as_str(), n.into()), id(b'g', n.into()));
        let expires_at = one.expires_at.checked_add(SignedDuration::from_secs(i64::from(n))).unwrap();
        // A thousand channels are enough.
        let lines = if n < 1_000 { one.lines } else { Vec::new() };
        GuildView { guild_id, name, expires_at, lines, ..one }
    };
    snapshot.guilds = Tail { total: guilds.into(), items: (0..guilds).map(guild).collect() };
    let asked = |n: u32| InboxItem {
        inbox_id: format!("in-{n}"),
        at: ago(90 + i64::from(n)),
        text: Untrusted::new(&format!("{} ({n})", asked.text)),
        ..asked.clone()
    };
    snapshot.inbox = (0..guilds).map(asked).collect();
    let (votes, happened) = (snapshot.attestations.items.clone(), snapshot.events.items.clone());
    let vote = |n: u64| {
        let one = votes[usize::try_from(n).unwrap() % votes.len()].clone();
        let (name, attestation_id) = (named(one.name.as_str(), n), id(b'a', n));
        AttestationRecord { cursor: rows - n, attestation_id, name, at: back(15 * n), ..one }
    };
    snapshot.attestations = Tail { total: rows, items: (0..rows).map(vote).collect() };
    let event = |n: u64| Event {
        seq: rows - n,
        at: back(n),
        what: happened[usize::try_from(n).unwrap() % happened.len()].what.clone(),
    };
    snapshot.events = Tail { total: rows, items: (0..rows).map(event).collect() };
    let levels = ["INFO", "DEBUG", "WARN", "DEBUG", "ERROR"];
    let line = |n: u64| LogLine {
        at: back(n),
        level: levels[usize::try_from(n).unwrap() % levels.len()].to_owned(),
        target: "zerostate::network".to_owned(),
        text: Untrusted::new(&format!("line {n} of what a node says in weeks")),
    };
    snapshot.log = (0..rows).map(line).collect();
}
