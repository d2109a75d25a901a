//! What the whole corpus, twice over, and a thousand harmless runs leave in the process that gave them out: nothing.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt as _, stream};

use zerostate::execution::Runners;

use super::alone::{alone, bytes_of, children, descriptors};
use super::corpus::{Entry, corpus, run_all};
use super::{AT_ONCE, harmed, harmless, run, runners};
use crate::support::eventually;

/// Memory the process may hold more than before, bytes.
const MORE_MEMORY: u64 = 5 << 20;
/// Memory a runner may ever have held, bytes: what its guests may, and what it needs itself.
const RUNNER_LIMIT_BYTES: u64 = 1 << 30;
/// Memory a compiler may ever have held, bytes.
const COMPILER_LIMIT_BYTES: u64 = 1 << 30;
/// How often the children are looked at: a compiler at its worst takes memory for seconds.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const HARMLESS_RUNS: usize = 1000;
/// What glibc's allocator keeps of freed memory would hide a leak of megabytes: it gives it back at once.
const THRIFTY: [(&str, &str); 2] = [("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "65536")];

async fn harmless_runs(runners: &Runners, count: usize) -> Vec<String> {
    let runs = stream::iter(0..count).map(|_| async { harmed(&run(runners, harmless()).await) });
    runs.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await
}

/// Notes the most memory each child was seen to hold, by its command line; never ends.
async fn watch_children(most: &mut BTreeMap<String, u64>) {
    let mut clock = tokio::time::interval(LOOK_EVERY);
    loop {
        clock.tick().await;
        for pid in children() {
            let process = PathBuf::from(format!("/proc/{pid}"));
            let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
            // The kernel's own mark of the highest it ever was.
            let held = bytes_of(&process, "VmHWM");
            let noted = most.entry(String::from_utf8_lossy(&line).replace('\0', " ")).or_default();
            *noted = held.max(*noted);
        }
    }
}

fn limit_of(command_line: &str) -> u64 {
    if command_line.split_whitespace().nth(1) == Some("runner") {
        RUNNER_LIMIT_BYTES
    } else {
        COMPILER_LIMIT_BYTES
    }
}

#[test]
fn nothing_of_the_hostile_modules_stays_behind() {
    let test = "hostile::residue::nothing_of_the_hostile_modules_stays_behind";
    alone(test, &THRIFTY, async || {
        let this = Path::new("/proc/self");
        let runners = runners();
        // Made once: the modules themselves are not to be counted.
        let jobs: HashMap<&str, _> = corpus().iter().map(|entry| (entry.name, entry.job())).collect();
        let entries = corpus();
        let job = |entry: &Entry| jobs[entry.name].clone();

        // Every warm process is started, every buffer has its size, every lazy thing has been made.
        assert_eq!(harmless_runs(&runners, 100).await, Vec::<String>::new());
        let light: Vec<Entry> = corpus().into_iter().filter(|entry| entry.is_light()).collect();
        run_all(&runners, &light, job).await;
        let processes = children().len();
        let open = descriptors(this).unwrap();
        let held = bytes_of(this, "VmRSS");

        let mut most = BTreeMap::new();
        let mismatches = tokio::select! {
            () = watch_children(&mut most) => unreachable!("it never ends"),
            mismatches = async {
                let mut mismatches = run_all(&runners, &entries, job).await;
                mismatches.extend(run_all(&runners, &entries, job).await);
                mismatches.extend(harmless_runs(&runners, HARMLESS_RUNS).await);
                mismatches
            } => mismatches,
        };
        let now = bytes_of(this, "VmRSS");
        println!("memory {held} before, {now} after; the children held {most:?}");
        assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
        assert!(now <= held + MORE_MEMORY, "{held} bytes before, {now} after");
        assert!(most.values().any(|held| *held > 0), "no child was seen");
        for (line, held) in most {
            assert!(held <= limit_of(&line), "a child held {held} bytes: {line}");
        }
        // The last process is reaped when its end is heard of.
        eventually("as many children as before", || (children().len() == processes).then_some(()));
        eventually("the descriptors of before", || {
            let now = descriptors(this).unwrap();
            (now.len() == open.len()).then_some(())
        });
    });
}
