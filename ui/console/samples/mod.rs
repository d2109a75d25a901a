//! A node that never was, for tests and pictures: twelve peers, some tasks, receipts and attestations.

mod details;
mod many;

pub use details::*;
pub use many::*;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use zerostate::api::{
    AttestationRecord, Candidate, Event, GuildAsking, GuildLine, GuildMember, GuildView, Happening,
    InboxItem, LedgerView, LogLine, NodeView, PeerView, ProgressView, ReceiptRecord, Snapshot, Tail,
    TaskRecord, TaskState, TaskView,
};
use zerostate::config::Admit;
use zerostate::document::{Credits, Status, Untrusted, Verdict, content_id};
use zerostate::identity::{Did, Identity};

pub fn now() -> Timestamp {
    "2026-11-23T14:02:31Z".parse().unwrap()
}

pub fn ago(seconds: i64) -> Timestamp {
    now().checked_sub(SignedDuration::from_secs(seconds)).unwrap()
}

pub fn identity(n: u8) -> Identity {
    Identity::from_secret(&[n; 32])
}

pub fn did(n: u8) -> Did {
    identity(n).did().clone()
}

const NAMES: [&str; 12] = [
    "atlas", "borealis", "ceres", "dione", "europa", "fornax", "ganymede", "hyperion", "io", "juno",
    "kepler", "luna",
];

/// A guild of five, one of whom asks to join; `n` makes it another one.
fn guild(name: &str, creator: u8, n: u8) -> GuildView {
    let members = [(1, "creator"), (10, "executor"), (11, "member"), (12, "observer")];
    let line = |number: u64, who: u8, what: &str, text: &str| GuildLine {
        number,
        at: ago(400 - 60 * i64::try_from(number).unwrap()),
        did: did(who),
        name: None,
        what: what.to_owned(),
        text: text.into(),
    };
    GuildView {
        guild_id: guild_id(n),
        name: name.into(),
        creator: did(creator),
        role: Some(if creator == 1 { "creator" } else { "observer" }.to_owned()),
        state: "member".to_owned(),
        admit: Admit::Ask,
        capacity: 50,
        created_at: ago(1_133),
        expires_at: ago(1_133 - 3_600 * i64::from(n)),
        epoch: 5,
        members: members
            .iter()
            .map(|(who, role)| GuildMember {
                did: did(*who),
                name: None,
                role: (*role).to_owned(),
                heard_at: (*who != 11).then(|| ago(12)),
            })
            .collect(),
        asking: vec![GuildAsking { did: did(13), name: None, role: "member".to_owned(), since: ago(40) }],
        lines: vec![
            line(1, 10, "joined", ""),
            line(2, 11, "joined", ""),
            line(3, 11, "said", "the third quarter is in the store; shall we begin with the small files?"),
            line(4, 12, "role", "observer"),
            line(5, 1, "said", "yes"),
        ],
        lines_total: 5,
    }
}

fn guild_id(n: u8) -> String {
    content_id(&[b'g', n]).to_string()
}

fn receipt_id(n: u8) -> String {
    content_id(&[b'r', n]).to_string()
}

/// A node that has just started and knows nobody.
pub fn nothing() -> Snapshot {
    let node = NodeView {
        name: "harbour".into(),
        version: "0.1.0".to_owned(),
        listen: vec!["/ip4/192.0.2.7/tcp/4001".into()],
        data_dir: "/var/lib/zerostate".to_owned(),
        store_quota: 2 << 30,
        ..NodeView::new(did(1), ago(600))
    };
    Snapshot { at: now(), ..Snapshot::of(node) }
}

fn peer(i: u8) -> PeerView {
    let name = NAMES[usize::from(i) % NAMES.len()];
    let relayed = i % 4 == 2;
    let base = if relayed { 84_000 } else { 900 + 1_400 * u32::from(i) };
    PeerView {
        peer_id: identity(10 + i).peer_id(),
        did: Some(did(10 + i)),
        name: (i != 9).then(|| name.into()),
        address: format!("/ip4/203.0.113.{i}/tcp/4001").as_str().into(),
        relayed,
        connected_since: ago(60 * i64::from(i) + 20),
        ping_us: (0..8).map(|k| base + base / 3 * ((k * 7 + u32::from(i)) % 5) / 2).collect(),
        capabilities: vec!["wasi".into(), "component".into()],
        prices: None,
        agent: "zerostate/0.1.0".into(),
        protocols: vec!["/zerostate/kad/1".into(), "/ipfs/bitswap/1.2.0".into(), "/zerostate/guild/1".into()],
        bytes_in: 48_000 * u64::from(i + 1),
        bytes_out: 9_000 * u64::from(i + 1),
        guest: false,
        bitswap: LedgerView::default(),
        faults: u32::from(i == 7) * 3,
    }
}

fn task(n: u8, name: &str, state: TaskState, executor: Option<u8>, quorum: u32) -> TaskView {
    TaskView {
        record: TaskRecord {
            task_id: format!("{n:02x}").repeat(16),
            manifest_id: content_id(&[b'm', n]).to_string(),
            name: name.into(),
            creator: did(1),
            executor: executor.map(did),
            guild_id: None,
            within: None,
            candidates: Vec::new(),
            audit: None,
            state,
            quorum,
            created_at: ago(30 * i64::from(n)),
            updated_at: ago(20 * i64::from(n)),
            expires_at: ago(-3600),
        },
        progress: None,
    }
}

fn receipt(n: u8, name: &str, status: Status, executor: u8, votes: (u32, u32, u32, u32)) -> ReceiptRecord {
    ReceiptRecord {
        cursor: 1_300 - u64::from(n),
        receipt_id: receipt_id(n),
        task_id: format!("{n:02x}").repeat(16),
        name: name.into(),
        executor: did(executor),
        requester: did(1),
        status,
        total_micro: Credits::from_micro(360 * u64::from(n)).unwrap(),
        duration_ns: 80_000_000 * u64::from(n),
        fuel_used: 1_204_551 * u64::from(n),
        peak_memory_bytes: 2 << 20,
        finished_at: ago(45 * i64::from(n)),
        agree: votes.0,
        disagree: votes.1,
        unverifiable: votes.2,
        quorum: votes.3,
    }
}

/// A node in the middle of its work.
pub fn busy() -> Snapshot {
    let guilds = vec![guild("summarise-q3", 1, 1), guild("nightly-etl", 12, 3)];
    let cid = |n: u8| receipt_id(n).parse().unwrap();
    let mut running = task(1, "word-count", TaskState::Running, Some(11), 2);
    running.record.guild_id = Some(guild_id(1));
    running.record.candidates = candidates();
    running.progress = Some(ProgressView {
        fuel_used: 7_100_000_000,
        fuel_limit: 10_000_000_000,
        memory_bytes: 12 << 20,
        memory_limit: 128 << 20,
        output_bytes: 96 << 10,
        output_limit: 16 << 20,
        elapsed_ms: 4_200,
        time_limit_ms: 30_000,
        output: Untrusted::lines(
            "counted 7,100 of 10,000 words\nlongest so far: antidisestablishmentarianism\n",
            1_000,
        ),
        told_at: Some(now()),
    });
    let mut second = task(2, "classify-2024", TaskState::Running, Some(1), 0);
    second.progress = Some(ProgressView {
        fuel_used: 800_000_000,
        fuel_limit: 10_000_000_000,
        memory_bytes: 29 << 20,
        memory_limit: 128 << 20,
        output_bytes: 0,
        output_limit: 16 << 20,
        elapsed_ms: 900,
        time_limit_ms: 30_000,
        output: Untrusted::default(),
        told_at: None,
    });
    // Proposed to a guild, and not taken up yet.
    let mut proposed = task(3, "thumbnails", TaskState::Published, None, 3);
    proposed.record.within = Some(guild_id(1).parse().unwrap());
    // It runs elsewhere, and nothing was heard of it for some minutes.
    let mut silent = task(10, "tile-pyramid", TaskState::Running, Some(15), 0);
    silent.progress = Some(ProgressView {
        fuel_used: 2_300_000_000,
        fuel_limit: 10_000_000_000,
        memory_bytes: 51 << 20,
        memory_limit: 128 << 20,
        output_bytes: 0,
        output_limit: 16 << 20,
        elapsed_ms: 8_100,
        time_limit_ms: 30_000,
        output: Untrusted::default(),
        told_at: Some(ago(200)),
    });
    let tasks = vec![
        running,
        second,
        proposed,
        task(4, "hello", TaskState::Attested { receipt: cid(4) }, Some(13), 2),
        task(
            5,
            "classify",
            TaskState::Disputed { reason: "dione found another fuel count".into(), receipt: cid(5) },
            Some(12),
            3,
        ),
        task(
            6,
            "index-logs",
            TaskState::Failed { reason: "memory limit reached".into(), receipt: Some(receipt_id(6)) },
            Some(14),
            0,
        ),
        task(7, "nightly-etl", TaskState::Receipted { receipt: cid(7) }, Some(10), 2),
        task(8, "weather-grid", TaskState::Cancelled { reason: "by the operator".into() }, None, 0),
        task(9, "primes", TaskState::Closed { receipt: cid(9) }, Some(1), 1),
        silent,
    ];
    let receipts = vec![
        receipt(4, "hello", Status::Ok, 13, (2, 0, 0, 2)),
        receipt(5, "classify", Status::OutOfFuel, 12, (1, 1, 0, 3)),
        receipt(6, "index-logs", Status::OutOfMemory, 14, (0, 0, 0, 0)),
        receipt(7, "nightly-etl", Status::Ok, 10, (1, 0, 0, 2)),
        receipt(9, "primes", Status::Ok, 1, (1, 0, 0, 1)),
        receipt(10, "render-tile", Status::Timeout, 15, (0, 0, 2, 2)),
        receipt(11, "日本語の仕事", Status::Ok, 16, (3, 0, 0, 3)),
        receipt(12, "fold-proteins", Status::Trap, 17, (0, 0, 0, 0)),
    ];
    let attestation = |n: u8, name: &str, witness: u8, verdict, differences: &[&str]| AttestationRecord {
        cursor: 900 - u64::from(n),
        attestation_id: content_id(&[b'a', n]).to_string(),
        receipt_id: receipt_id(n),
        name: name.into(),
        witness: did(witness),
        verdict,
        reason: (verdict == Verdict::Unverifiable)
            .then(|| "the status timeout depends on the machine".into()),
        differences: differences.iter().map(|what| (*what).into()).collect(),
        at: ago(15 * i64::from(n)),
        discounted: None,
    };
    let attestations = vec![
        attestation(4, "hello", 10, Verdict::Agree, &[]),
        attestation(5, "classify", 13, Verdict::Disagree, &["fuel"]),
        attestation(7, "nightly-etl", 11, Verdict::Agree, &[]),
        attestation(9, "primes", 12, Verdict::Agree, &[]),
        attestation(10, "render-tile", 10, Verdict::Unverifiable, &[]),
    ];
    Snapshot {
        peers: (0..12).map(peer).map(Arc::new).collect(),
        guilds: Tail { total: 2, items: guilds },
        tasks: Tail { total: 41, items: tasks },
        receipts: Tail { total: 1_204, items: receipts },
        attestations: Tail { total: 877, items: attestations },
        events: events(),
        inbox: inbox(),
        log: vec![LogLine {
            at: ago(40),
            level: "INFO".to_owned(),
            target: "zerostate::network".to_owned(),
            text: "listening on /ip4/192.0.2.7/tcp/4001".into(),
        }],
        node: NodeView { running: 2, bytes_in: 8_400, bytes_out: 1_200, dht_peers: 12, ..nothing().node },
        ..nothing()
    }
}

/// Who offered to take part in the first task, as its node ranked them, and who had failed before.
fn candidates() -> Vec<Candidate> {
    let candidate = |n: u8, part: &str, reason: &str| Candidate {
        did: did(n),
        part: part.to_owned(),
        reason: reason.into(),
    };
    vec![
        candidate(11, "executor", "2.3 ms away, 41 of 41 tasks done before, 0 now"),
        candidate(13, "witness", "5.1 ms away, 12 of 12 tasks done before, 0 now"),
        candidate(10, "witness", "1.5 ms away, 30 of 31 tasks done before, 1 now"),
        candidate(14, "reserve", "6.5 ms away, 0 of 0 tasks done before, 0 now"),
        candidate(16, "reserve", "98.0 ms away, 3 of 9 tasks done before, 2 now"),
        candidate(15, "failed", "did not begin: its queue is full"),
    ]
}

/// One question of each kind.
fn inbox() -> Vec<InboxItem> {
    let item = |n: u8, kind: &str, from: u8, text: &str, subject: String, seconds: i64| InboxItem {
        inbox_id: format!("in-{n}"),
        kind: kind.to_owned(),
        from: did(from),
        text: text.into(),
        subject,
        at: ago(seconds),
    };
    vec![
        item(1, "attest", 12, "ceres asks for a witness of classify", receipt_id(5), 20),
        item(2, "join-request", 13, "wants to join summarise-q3 as member", guild_id(1), 40),
        item(
            3,
            "task-offer",
            14,
            "wants resample-tiles to be run, for 0.050000 at most",
            "0b".repeat(16),
            90,
        ),
    ]
}

fn events() -> Tail<Event> {
    let task_step = |n: u8, name: &str, step: &str, node: u8, detail: Option<&str>| Happening::Task {
        task_id: format!("{n:02x}").repeat(16),
        name: name.into(),
        step: step.to_owned(),
        node: did(node),
        detail: detail.map(Untrusted::new),
    };
    let what = vec![
        task_step(1, "word-count", "running", 11, Some("started within 12 ms")),
        Happening::Receipt {
            receipt_id: receipt_id(4),
            task_id: "04".repeat(16),
            name: "hello".into(),
            executor: did(13),
            status: Status::Ok,
        },
        Happening::Attestation {
            attestation_id: content_id(b"a4").to_string(),
            receipt_id: receipt_id(4),
            name: "hello".into(),
            witness: did(10),
            verdict: Verdict::Agree,
        },
        task_step(4, "hello", "attested", 1, Some("2 of 2 agree")),
        Happening::PeerConnected {
            peer_id: identity(12).peer_id(),
            address: "/ip4/203.0.113.2/tcp/4001".into(),
        },
        Happening::PeerFault {
            peer_id: identity(17).peer_id(),
            what: "a record whose signature does not hold".into(),
        },
        Happening::Attestation {
            attestation_id: content_id(b"a5").to_string(),
            receipt_id: receipt_id(5),
            name: "classify".into(),
            witness: did(13),
            verdict: Verdict::Disagree,
        },
        task_step(5, "classify", "disputed", 13, Some("fuel ≠")),
        Happening::Artifact { cid: content_id(b"x").to_string(), size: 21_504 },
        Happening::Guild {
            guild_id: content_id(b"g1").to_string(),
            name: "summarise-q3".into(),
            step: "joined".to_owned(),
            who: did(12),
            detail: Some("observer".into()),
        },
        Happening::Equivocation {
            node: did(17),
            position: 12,
            proof: "/var/lib/zerostate/equivocations/bafkreia.jsonl".into(),
        },
        Happening::Warning { text: "a receipt is disputed; what speaks for and against it is kept".into() },
        Happening::PeerCard { peer_id: identity(12).peer_id(), did: did(12), name: "ceres".into() },
        Happening::PeerDisconnected { peer_id: identity(18).peer_id(), reason: "keep-alive timeout".into() },
        Happening::Stopped,
        Happening::Listening { address: "/ip4/192.0.2.7/tcp/4001".into() },
        Happening::Started { version: "0.1.0".to_owned() },
    ];
    let items = what
        .into_iter()
        .enumerate()
        .map(|(i, what)| Event { seq: 340 - i as u64, at: ago(7 * i as i64), what })
        .collect();
    Tail { total: 340, items }
}
