//! Adding files and getting them from another process, beside the disk's own speed and beside Helia to Helia.
//!
//! `cargo bench --bench artifacts`; takes about 4 GB in the temporary folder while it runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a bench that meets the unexpected ends by panicking"
)]

#[path = "../tests/support/helia.rs"]
mod helia;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use helia::{Helia, random_bytes};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_zerostate");
const MIB: usize = 1 << 20;
/// Of each measurement so many, of which the median counts.
const ROUNDS: u32 = 5;

struct Node {
    dir: PathBuf,
    address: String,
    child: Child,
}

impl Node {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(PROGRAM);
        command
            .args(["node", "--json", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", "--data-dir"])
            .arg(dir);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self { dir: dir.to_path_buf(), address: ready["addrs"][0].as_str().unwrap().to_owned(), child }
    }

    fn ask(&self, args: &[&str]) -> Value {
        let output =
            Command::new(PROGRAM).arg("--json").arg("--data-dir").arg(&self.dir).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A line of `/proc/…/status`, in MB.
    fn memory(&self, line: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib =
            status.lines().find_map(|l| l.strip_prefix(line)?.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap() * 1024.0 / 1e6
    }

    /// Forgets the peak so far.
    fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn line(what: &str, measured: String, beside: String, target: &str, holds: bool) {
    println!("{what:<50} {measured:>14} {beside:>36} {target:>22}   {}", if holds { "yes" } else { "NO" });
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn write_random(path: &Path, mib: usize, seed: u32) {
    let mut file = File::create(path).unwrap();
    for n in 0..mib {
        file.write_all(&random_bytes(MIB, seed.wrapping_add(u32::try_from(n).unwrap() * 7919))).unwrap();
    }
}

/// The same bytes as files of 1 MiB, each synced: what the disk itself takes.
fn write_synced(folder: &Path, bytes: &[u8]) {
    fs::create_dir(folder).unwrap();
    for (n, chunk) in bytes.chunks(MIB).enumerate() {
        let mut file = File::create(folder.join(n.to_string())).unwrap();
        file.write_all(chunk).unwrap();
        file.sync_data().unwrap();
    }
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (Node::start(&folder.path().join("a")), Node::start(&folder.path().join("b")));
    b.ask(&["connect", &a.address]);

    let (mut adding, mut writing, mut hashing) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let file = folder.path().join("file");
        write_random(&file, 95, 1 + round * 100_000);
        let bytes = fs::read(&file).unwrap();
        hashing.push(seconds(|| {
            std::hint::black_box(zerostate::document::Sha256Digest::of(&bytes));
        }));
        let raw = folder.path().join("raw");
        writing.push(seconds(|| write_synced(&raw, &bytes)));
        fs::remove_dir_all(&raw).unwrap();
        adding.push(seconds(|| drop(a.ask(&["artifact", "add", file.to_str().unwrap()]))));
        a.ask(&["artifact", "gc"]);
    }
    let megabytes = |mib: usize, time: f64| (mib * MIB) as f64 / 1e6 / time;
    let (adding, writing) = (megabytes(95, median(adding)), megabytes(95, median(writing)));
    let hashing = megabytes(95, median(hashing));
    line(
        "100 MB added, with the program's start",
        format!("{adding:.0} MB/s"),
        format!("disk {writing:.0}, one sha256 {hashing:.0} MB/s"),
        "300, or the disk's",
        adding >= 300.0 || adding >= writing,
    );

    let mut getting = Vec::new();
    for round in 0..ROUNDS {
        let file = folder.path().join("file");
        write_random(&file, 20, 3 + round * 100_000);
        let cid = a.ask(&["artifact", "add", file.to_str().unwrap()])["cid"].as_str().unwrap().to_owned();
        getting.push(seconds(|| drop(b.ask(&["artifact", "get", &cid]))));
    }
    let ours = megabytes(20, median(getting));
    let theirs = helia::set_up().map(|ready| {
        let times = (0..ROUNDS).map(|round| {
            let (mut giver, mut taker) = (Helia::start(&ready), Helia::start(&ready));
            let cid = giver.ask(&json!({ "do": "add", "size": 20 * MIB, "seed": 7 + round }));
            taker.ask(&json!({ "do": "dial", "addr": giver.address }));
            let got = taker.ask(&json!({ "do": "get", "cid": cid["cid"] }));
            got["ms"].as_f64().unwrap() / 1000.0
        });
        megabytes(20, median(times.collect()))
    });
    match theirs {
        Ok(theirs) => line(
            "20 MiB from one node to another, onto the disk",
            format!("{ours:.0} MB/s"),
            format!("Helia to Helia {theirs:.0} MB/s: {:.1} x", ours / theirs),
            "100 MB/s and 3 x",
            ours >= 100.0 && ours >= 3.0 * theirs,
        ),
        Err(why) => {
            println!("no Helia could be set up: {why}");
            line(
                "20 MiB from one node to another",
                format!("{ours:.0} MB/s"),
                String::new(),
                "100 MB/s",
                ours >= 100.0,
            );
        }
    }

    let file = folder.path().join("file");
    write_random(&file, 954, 5);
    let mut peaks = Vec::new();
    let mut peak = |what: &str, node: &Node, work: &mut dyn FnMut()| {
        let idle = node.memory("VmRSS:");
        node.forget_peak();
        let took = seconds(work);
        let above = node.memory("VmHWM:") - idle;
        line(
            what,
            format!("{above:.0} MB"),
            format!("{:.0} MB/s", megabytes(954, took)),
            "32 MB above idle",
            above <= 32.0,
        );
        peaks.push(above);
    };
    let mut cid = String::new();
    peak("memory while 1 GB is added", &a, &mut || {
        cid = a.ask(&["artifact", "add", file.to_str().unwrap()])["cid"].as_str().unwrap().to_owned();
    });
    peak("memory while 1 GB is got", &b, &mut || drop(b.ask(&["artifact", "get", &cid])));
    let c = Node::start(&folder.path().join("c"));
    c.ask(&["connect", &a.address]);
    fs::remove_dir_all(folder.path().join("b").join("blocks")).unwrap();
    peak("memory while 1 GB is given", &a, &mut || drop(c.ask(&["artifact", "get", &cid])));
}
