//! The console as a process: how soon it draws on a node that has done much, and what it costs while nothing happens.
//!
//! `cargo bench --bench console`; it takes about a minute, prints a table, and fails where a target is missed. What it measures, on a terminal of 120 by 40:
//!
//! - from the start of the program to the first byte of its first frame, and to a receipt on the screen, on a data directory with
//!   10,000 receipts: the median of five starts, each a new process on the same directory;
//! - from the start of `attach` to the same two, on a running node with 100,000 receipts;
//! - at 10,000 peers, 1,000 tasks and 100,000 receipts, all of them read by the console, on a terminal of 200 by 50: from a key to the first
//!   byte that comes back, the median and the worst of a hundred; the same while a snapshot with other numbers of every peer comes each
//!   second;
//! - of an idle node with its console, three seconds after its first frame and for twenty seconds: processor time, resident
//!   memory, and what is written to the terminal.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a bench that meets the unexpected ends by panicking"
)]

#[path = "../tests/pty.rs"]
mod pty;
mod receipt;
#[allow(unused_imports, reason = "the tests of the console use the rest")]
#[path = "../ui/console/samples/mod.rs"]
mod samples;

use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use zerostate::api::{
    Answer, Answering, ApiError, ArtifactInfo, Command, Download, ErrorKind, Link, Page, ReceiptRecord,
    Upload, serve, socket_path,
};
use zerostate::document::{Envelope, Untrusted};
use zerostate::identity::PassphraseSource;
use zerostate::node::Home;
use zerostate::storage::Write;

use pty::{PROGRAM, Pty};

const RECEIPTS: usize = 10_000;
const MANY: usize = 100_000;
const STARTS: usize = 5;
/// Of a long list, so much is in a snapshot.
const TAIL: usize = 200;
const KEYS: usize = 100;
/// Faster than that nobody types, and keys that come faster share a frame.
const BETWEEN_KEYS: Duration = Duration::from_millis(40);
const BATCH: usize = 1_000;
const SIZE: (u16, u16) = (120, 40);
const SETTLE: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(20);
/// USER_HZ: the kernel's unit in /proc/<pid>/stat, 100 on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// A data directory with a key and `count` receipts.
fn fill(directory: &Path, count: usize) {
    let home = Home::open(directory, &PassphraseSource::None).expect("a data directory");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let all: Vec<usize> = (0..count).collect();
    for batch in all.chunks(BATCH) {
        let rows = batch.iter().flat_map(|number| {
            let receipt = receipt::receipt(&home.identity, format!("{number:032x}"));
            let envelope = Envelope::sign(&home.identity, &receipt).expect("a signed receipt");
            Write::receipt(&envelope, Untrusted::new(&format!("task-{number}")), 0)
        });
        let writes: Vec<Write> = rows.collect();
        runtime.block_on(home.storage.write(&writes)).expect("stored receipts");
    }
}

fn open(directory: &Path, temp: &Path) -> Pty {
    let directory = directory.to_str().expect("a path in UTF-8");
    let args = ["--data-dir", directory, "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"];
    Pty::start(&args, SIZE, temp)
}

/// A node that has nothing but a snapshot and its receipts.
struct Told(Vec<ReceiptRecord>);

impl Told {
    fn page(&self, before: Option<u64>, limit: u32) -> Page<ReceiptRecord> {
        let older = self.0.iter().filter(|receipt| before.is_none_or(|before| receipt.cursor < before));
        let items: Vec<ReceiptRecord> = older.take(limit as usize).cloned().collect();
        let next = items.last().filter(|_| items.len() == limit as usize).map(|last| last.cursor);
        Page { total: self.0.len() as u64, items, next }
    }
}

fn nothing_there<T: Send + 'static>() -> BoxFuture<'static, Result<T, ApiError>> {
    async { Err(ApiError::new(ErrorKind::NotFound, "this node only tells what it has")) }.boxed()
}

impl Answering for Told {
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Answer, ApiError>> {
        match command {
            Command::Receipts { page } => {
                async move { Ok(Answer::Receipts(self.page(page.before, page.limit))) }.boxed()
            }
            _ => nothing_there(),
        }
    }

    fn add_artifact(&self, _: Upload) -> BoxFuture<'_, Result<ArtifactInfo, ApiError>> {
        nothing_there()
    }

    fn read_artifact(&self, _: String) -> BoxFuture<'_, Result<Download, ApiError>> {
        nothing_there()
    }

    fn read_block(&self, _: String) -> BoxFuture<'_, Result<Bytes, ApiError>> {
        nothing_there()
    }
}

/// The console on a node that has all that, on its socket; what keys take there, each in milliseconds.
fn keys_at_load(temp: &Path) -> [Vec<Duration>; 2] {
    let directory = temp.join("load");
    std::fs::create_dir(&directory).expect("a folder");
    let mut snapshot = samples::many(10_000, 1_000, MANY as u64);
    let receipts = snapshot.receipts.items.clone();
    samples::cut_to_tails(&mut snapshot, TAIL);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (told, snapshots) = tokio::sync::watch::channel(Some(Arc::new(snapshot.clone())));
    let link = Link::new(Arc::new(Told(receipts)), snapshots);
    let stop = CancellationToken::new();
    let listener = {
        let _inside = runtime.enter();
        UnixListener::bind(socket_path(&directory)).expect("a socket")
    };
    let server = runtime.spawn(serve(listener, link, stop.clone()));
    let mut console =
        Pty::start(&["attach", "--data-dir", directory.to_str().expect("UTF-8")], (200, 50), temp);
    console.until_shows("10,000 peers");
    // A filter has everything read; nothing matches it but the last one.
    console.keys(&format!("4/-{}", MANY - 1));
    console.until("everything is read", |console| {
        let text = console.text();
        text.contains("1 of 100,000") && !text.contains("searching")
    });
    console.keys("\x1b\x1bgg");
    console.read_for(Duration::from_millis(500));
    let mut press = || -> Vec<Duration> {
        let times = (0..KEYS).map(|n| {
            console.read_for(BETWEEN_KEYS);
            console.answered(if n % 20 < 10 { "j" } else { "k" })
        });
        times.collect()
    };
    let resting = press();
    let telling = runtime.spawn(async move {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            snapshot.peers.iter_mut().for_each(|peer| Arc::make_mut(peer).bytes_in += 1_000);
            told.send_replace(Some(Arc::new(snapshot.clone())));
        }
    });
    let told = press();
    telling.abort();
    leave(console);
    stop.cancel();
    runtime.block_on(server).expect("the server").expect("no error");
    [resting, told]
}

/// From the start of `attach` to its first frame and to a receipt, on a real node.
fn attach_to_many(temp: &Path) -> (Vec<Duration>, Vec<Duration>) {
    let directory = temp.join("many");
    fill(&directory, MANY);
    let path = directory.to_str().expect("UTF-8");
    let mut node = Process::new(PROGRAM)
        .args(["node", "--json", "--data-dir", path, "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a node");
    let mut ready = String::new();
    let output = node.stdout.as_mut().expect("its output");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut ready).expect("that it is ready");
    // A node that has just started has to look through what it has; this one runs.
    let mut first = Pty::start(&["attach", "--data-dir", path], SIZE, temp);
    first.until_shows("✓ task-");
    first.read_for(SETTLE);
    leave(first);
    let (mut frames, mut receipts) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let start = Instant::now();
        let mut console = Pty::start(&["attach", "--data-dir", path], SIZE, temp);
        console.until("a receipt", |console| console.text().contains("✓ task-"));
        receipts.push(start.elapsed());
        frames.push(console.first_frame.expect("a frame before a receipt").duration_since(start));
        leave(console);
    }
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(node.id().cast_signed()).expect("a process id"),
        rustix::process::Signal::TERM,
    )
    .expect("a signal");
    node.wait().expect("its end");
    (frames, receipts)
}

fn leave(mut console: Pty) {
    console.keys("q");
    assert_eq!(console.ended_with_the_terminal_given_back(), 0);
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Processor time used so far, in seconds: utime and stime of proc_pid_stat(5).
fn cpu(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process that runs");
    let (_, fields) = text.rsplit_once(')').expect("a name in parentheses");
    fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("ticks")).sum::<f64>()
        / TICKS
}

/// Resident memory in MB: VmRSS, which the kernel gives in KiB.
fn resident(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process that runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).expect("KiB") * 1024.0 / 1e6
}

struct Row {
    what: &'static str,
    measured: f64,
    unit: &'static str,
    target: Option<f64>,
}

impl Row {
    /// Prints it, and says whether its target was reached.
    fn print(&self) -> bool {
        let Self { what, measured, unit, .. } = self;
        let (target, ok) = match self.target {
            Some(target) => (format!("{target} {unit}"), if *measured <= target { "yes" } else { "NO" }),
            None => ("-".to_owned(), "-"),
        };
        println!("{what:<52} {:>14} {target:>10} {ok:>5}", format!("{measured:.2} {unit}"));
        ok != "NO"
    }
}

fn main() {
    let temp = TempDir::new().expect("a temporary directory");
    let directory = temp.path().join("much");
    fill(&directory, RECEIPTS);
    let (mut frames, mut receipts) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let start = Instant::now();
        let mut console = open(&directory, temp.path());
        console.until("a receipt", |console| console.text().contains("✓ task-"));
        receipts.push(start.elapsed());
        frames.push(console.first_frame.expect("a frame before a receipt").duration_since(start));
        leave(console);
    }

    let mut console = open(&temp.path().join("idle"), temp.path());
    console.until_shows("/tcp/");
    console.read_for(SETTLE);
    let (before, written) = (cpu(console.pid()), console.raw.len());
    console.read_for(IDLE);
    let used = (cpu(console.pid()) - before) / IDLE.as_secs_f64() * 100.0;
    let bytes = u32::try_from(console.raw.len() - written).map_or(f64::INFINITY, f64::from);
    let memory = resident(console.pid());
    leave(console);

    let (attached, shown) = attach_to_many(temp.path());
    let [keys, keys_and_snapshots] = keys_at_load(temp.path());
    let worst = |keys: &[Duration]| keys.iter().max().map_or(0.0, Duration::as_secs_f64) * 1e3;
    let worsts = [worst(&keys), worst(&keys_and_snapshots)];

    println!("{:<52} {:>14} {:>10} {:>5}", "", "measured", "target", "ok?");
    let row = |what, measured, unit, target| Row { what, measured, unit, target };
    let rows = [
        row("10,000 receipts: start to the first frame", median(frames), "ms", Some(200.0)),
        row("10,000 receipts: start to a receipt on the screen", median(receipts), "ms", None),
        row("100,000 receipts: attach to the first frame", median(attached), "ms", Some(100.0)),
        row("100,000 receipts: attach to a receipt on the screen", median(shown), "ms", Some(100.0)),
        row("at full load: a key to the first byte, median", median(keys), "ms", Some(5.0)),
        row("at full load: a key to the first byte, worst of 100", worsts[0], "ms", Some(5.0)),
        row("the same, a snapshot a second: median", median(keys_and_snapshots), "ms", Some(5.0)),
        row("the same, a snapshot a second: worst of 100", worsts[1], "ms", None),
        row("idle with console: processor, of one core", used, "%", Some(0.5)),
        row("idle with console: resident memory", memory, "MB", Some(100.0)),
        row("idle with console: written to the terminal", bytes / IDLE.as_secs_f64(), "B/s", Some(64.0)),
    ];
    // All of them are printed.
    let missed = rows.iter().filter(|row| !row.print()).count();
    assert_eq!(missed, 0, "targets were missed");
}
