//! The console as a process: how soon it draws on a node that has done much, and what it costs while nothing happens.
//!
//! `cargo bench --bench console`; it takes about a minute and prints a table. What it measures, on a terminal of 120 by 40:
//!
//! - from the start of the program to the first byte of its first frame, and to a receipt on the screen, on a data directory with
//!   10,000 receipts: the median of five starts, each a new process on the same directory;
//! - of an idle node with its console, three seconds after its first frame and for twenty seconds: processor time, resident
//!   memory, and what is written to the terminal.

#![allow(
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

use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use zerostate::document::{Envelope, Untrusted};
use zerostate::identity::PassphraseSource;
use zerostate::node::Home;
use zerostate::storage::Write;

use pty::Pty;

const RECEIPTS: usize = 10_000;
const STARTS: usize = 5;
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
    fn print(&self) {
        let Self { what, measured, unit, .. } = self;
        let (target, ok) = match self.target {
            Some(target) => (format!("{target} {unit}"), if *measured <= target { "yes" } else { "NO" }),
            None => ("-".to_owned(), "-"),
        };
        println!("{what:<52} {:>14} {target:>10} {ok:>5}", format!("{measured:.2} {unit}"));
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

    println!("{:<52} {:>14} {:>10} {:>5}", "", "measured", "target", "ok?");
    let row = |what, measured, unit, target| Row { what, measured, unit, target }.print();
    row("10,000 receipts: start to the first frame", median(frames), "ms", Some(200.0));
    row("10,000 receipts: start to a receipt on the screen", median(receipts), "ms", None);
    row("idle with console: processor, of one core", used, "%", Some(1.0));
    row("idle with console: resident memory", memory, "MB", Some(100.0));
    row("idle with console: written to the terminal", bytes / IDLE.as_secs_f64(), "B/s", None);
}
