//! Guilds and tasks between separate processes on loopback, beside what the API and the disk take alone.
//!
//! `cargo bench --bench guilds`; with a number, that many tasks (1,000); with `lives`, these alone. With `churn`, instead of all that,
//! guilds are founded, joined and dissolved (10,000 of them), and the node is looked at before and after.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a bench that meets the unexpected ends by panicking"
)]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde_json::Value;
use tokio::sync::Semaphore;
use zerostate::api::{Answer, Answering as _, Client, GuildAnswer, GuildCommand, Happening, Upload};
use zerostate::config::Admit;
use zerostate::document::{ArtifactSource, Draft};

const PROGRAM: &str = env!("CARGO_BIN_EXE_zerostate");
const HELLO: &[u8] = include_bytes!("../assets/examples/hello.wasm");
/// Of each measurement so many, of which the median counts.
const ROUNDS: usize = 51;
const TASKS: usize = 1_000;
const GUILDS: usize = 10_000;
/// Submissions under way at once.
const AT_ONCE: usize = 64;

struct Node {
    client: Client,
    address: String,
    child: Child,
}

impl Node {
    async fn start(folder: &Path, name: &str) -> Self {
        let config = folder.join("config.toml");
        std::fs::write(&config, "[policy]\naccept = \"matching\"\nattest = \"always\"\n").unwrap();
        let dir = folder.join(name);
        let mut command = Command::new(PROGRAM);
        command.args(["node", "--json", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", "--data-dir"]);
        command.arg(&dir).arg("--config").arg(config);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let address = ready["addrs"][0].as_str().unwrap().to_owned();
        Self { client: Client::connect(&dir).await.unwrap(), address, child }
    }

    async fn guild(&self, command: GuildCommand) -> GuildAnswer {
        match self.client.execute(zerostate::api::Command::Guild(command)).await.unwrap() {
            Answer::Guild(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    async fn connect(&self, other: &Self) {
        let address = other.address.clone();
        self.client.execute(zerostate::api::Command::Connect { address }).await.unwrap();
    }

    async fn found(&self) -> (String, String) {
        let create = GuildCommand::Create {
            name: "bench".into(),
            ttl_ms: None,
            capacity: None,
            admit: Some(Admit::Invite),
        };
        match self.guild(create).await {
            GuildAnswer::Founded { guild_id, invitation, .. } => (guild_id, invitation),
            other => panic!("{other:?}"),
        }
    }

    /// The journal's number at the moment.
    async fn latest(&self) -> u64 {
        self.client.snapshot().await.unwrap().events.total
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn quantile(times: &[f64], share: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * share).round() as usize]
}

fn line(what: &str, measured: f64, unit: &str, beside: &str, target: &str, holds: bool) {
    println!(
        "{what:<44} {measured:>9.2} {unit:<4} {beside:>28} {target:>12}   {}",
        if holds { "yes" } else { "NO" }
    );
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn main() {
    let number = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asked = |word: &str| std::env::args().any(|arg| arg == word);
    if asked("churn") {
        return runtime.block_on(churn(number.unwrap_or(GUILDS)));
    }
    runtime.block_on(bench(number.unwrap_or(TASKS), asked("lives")));
}

/// Resident memory in MiB, descriptors and threads of a process.
fn held(node: &Node) -> (f64, usize, usize) {
    let of = |what: &str| PathBuf::from(format!("/proc/{}/{what}", node.child.id()));
    let status = std::fs::read_to_string(of("status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let count = |what: &str| std::fs::read_dir(of(what)).unwrap().count();
    (kib / 1024.0, count("fd"), count("task"))
}

/// Founds so many guilds, has another node join them, and dissolves them.
async fn turn_over(nodes: &[Node; 2], guilds: usize) {
    let [first, second] = nodes;
    futures::stream::iter(0..guilds)
        .for_each_concurrent(AT_ONCE, |_| async {
            let (guild_id, invitation) = first.found().await;
            second.guild(GuildCommand::Join { place: invitation, role: "member".into() }).await;
            first.guild(GuildCommand::Dissolve { guild_id }).await;
        })
        .await;
}

async fn churn(guilds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let nodes = [Node::start(folder.path(), "a").await, Node::start(folder.path(), "b").await];
    nodes[1].connect(&nodes[0]).await;
    turn_over(&nodes, guilds / 10).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = nodes.each_ref().map(held);
    let start = Instant::now();
    turn_over(&nodes, guilds).await;
    let took = start.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("{guilds} guilds founded, joined and dissolved in {took:.1} s, {:.0} /s", guilds as f64 / took);
    for (node, (name, before)) in nodes.iter().zip([("its creator", before[0]), ("its member", before[1])]) {
        let (now, snapshot) = (held(node), node.client.snapshot().await.unwrap());
        let left = (snapshot.guilds.total, snapshot.node.guild_secrets);
        println!(
            "{name}: memory {:.1} MiB before, {:.1} after; descriptors {} and {}; threads {} and {}; guilds {}, secrets {}",
            before.0, now.0, before.1, now.1, before.2, now.2, left.0, left.1
        );
        let as_before = now.0 < before.0 + 8.0 && now.1 <= before.1 + 4 && left == (0, 0);
        assert!(as_before, "{name} is not as before");
    }
}

async fn bench(tasks: usize, only_lives: bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = Vec::new();
    for n in 0..if only_lives { 4 } else { 11 } {
        nodes.push(Node::start(folder.path(), &format!("n{n}")).await);
    }
    let (first, others) = nodes.split_first().unwrap();
    for other in others {
        other.connect(first).await;
    }
    for (n, one) in others.iter().enumerate() {
        for other in &others[..n] {
            one.connect(other).await;
        }
    }
    let [mut asking, mut syncing, mut creating, mut joining, mut speaking, mut leaving] =
        std::array::from_fn::<_, 6, _>(|_| Vec::new());
    let mut file = File::create(folder.path().join("synced")).unwrap();
    for _ in 0..if only_lives { 1 } else { ROUNDS } {
        let start = Instant::now();
        first.guild(GuildCommand::List).await;
        asking.push(ms(start));
        let start = Instant::now();
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
        syncing.push(ms(start));

        let start = Instant::now();
        let (guild_id, invitation) = first.found().await;
        creating.push(ms(start));
        for other in others {
            let start = Instant::now();
            other.guild(GuildCommand::Join { place: invitation.clone(), role: "member".into() }).await;
            joining.push(ms(start));
        }
        let start = Instant::now();
        let said = first.guild(GuildCommand::Say { guild_id: guild_id.clone(), text: "hello".into() }).await;
        speaking.push(ms(start));
        assert!(matches!(said, GuildAnswer::Said { missed, .. } if missed.is_empty()));
        let start = Instant::now();
        others[0].guild(GuildCommand::Leave { guild_id: guild_id.clone() }).await;
        leaving.push(ms(start));
        first.guild(GuildCommand::Dissolve { guild_id }).await;
    }
    let (ask, sync) = (quantile(&asking, 0.5), quantile(&syncing, 0.5));
    println!("an answer of the API {ask:.2} ms, a synced write {sync:.2} ms\n");
    for (what, times, target) in [
        ("create a guild", &creating, 5.0),
        ("join it", &joining, 10.0),
        ("a message to 10 members, to the last", &speaking, 5.0),
        ("leave it", &leaving, 5.0),
    ] {
        let (half, most) = (quantile(times, 0.5), quantile(times, 0.95));
        let beside = format!("p95 {most:.2}, {:.1} x (API + sync)", half / (ask + sync));
        line(what, half, "ms", &beside, &format!("{target} ms"), half <= target);
    }
    // The tasks go through four.
    nodes.truncate(4);
    tokio::time::sleep(Duration::from_secs(1)).await;
    lives(&nodes, tasks).await;
}

async fn lives(nodes: &[Node], tasks: usize) {
    let creator = &nodes[0];
    let artifact = creator.client.add_artifact(Upload::whole(HELLO.to_vec())).await.unwrap();
    let source = ArtifactSource::Cid { cid: artifact.cid, sha256: None, size: None };
    let mut draft = Draft::for_module("hello", source);
    (draft.attestation.quorum, draft.attestation.witnesses) = (2, 2);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(one_life(creator, &draft).await);
    }
    let (half, most) = (quantile(&times, 0.5), quantile(&times, 0.95));
    line("a task, submit to 2 attestations, p50", half, "ms", "", "100 ms", half <= 100.0);
    line("the same, p95", most, "ms", "", "300 ms", most <= 300.0);

    let from = creator.latest().await;
    let (client, places) = (creator.client.clone(), Arc::new(Semaphore::new(AT_ONCE)));
    let start = Instant::now();
    let submitting = async {
        let mut submitted = Vec::new();
        for _ in 0..tasks {
            let place = Arc::clone(&places).acquire_owned().await.unwrap();
            let (client, draft) = (client.clone(), Box::new(draft.clone()));
            submitted.push(tokio::spawn(async move {
                let answer =
                    client.execute(zerostate::api::Command::Submit { draft, guild: None }).await.unwrap();
                drop(place);
                answer
            }));
        }
        for answer in submitted {
            assert!(matches!(answer.await.unwrap(), Answer::Submitted { .. }));
        }
    };
    let (mut done, mut other) = (0, 0);
    let ended = creator.client.follow(from, |event| {
        if let Happening::Task { step, .. } = &event.what {
            done += usize::from(step == "attested");
            other += usize::from(["failed", "expired", "cancelled", "disputed"].contains(&step.as_str()));
        }
        done + other < tasks
    });
    let ended = tokio::time::timeout(Duration::from_secs(300), ended);
    let (_, ended) = tokio::join!(submitting, ended);
    let took = start.elapsed().as_secs_f64();
    if ended.is_err() {
        println!("after {took:.0} s only {done} of {tasks} were attested, and {other} had ended otherwise");
        return;
    }
    let rate = done as f64 / took;
    let beside = format!("{done} attested, {other} otherwise");
    line(
        &format!("{tasks} tasks over four nodes"),
        rate,
        "/s",
        &beside,
        "100 /s",
        rate >= 100.0 && other == 0,
    );
}

/// From the submission to the announcement of receipt and attestations, as the journal has it: it is told of a tenth of a second
/// late.
async fn one_life(creator: &Node, draft: &Draft) -> f64 {
    let from = creator.latest().await;
    let draft = Box::new(draft.clone());
    let Answer::Submitted { task_id: own } =
        creator.client.execute(zerostate::api::Command::Submit { draft, guild: None }).await.unwrap()
    else {
        panic!("submitted")
    };
    let (mut begun, mut ended) = (None, None);
    let announced = creator.client.follow(from, |event| {
        if let Happening::Task { task_id, step, .. } = &event.what
            && *task_id == own
        {
            begun = begun.or(Some(event.at));
            ended = (step == "announced").then_some(event.at);
        }
        ended.is_none()
    });
    tokio::time::timeout(Duration::from_secs(30), announced).await.unwrap().unwrap();
    ended.unwrap().duration_since(begun.unwrap()).as_secs_f64() * 1e3
}
