//! Tests that look at their own process, in a process of their own: beside others in one binary, their memory,
//! descriptors and children would be everybody's.

use std::path::Path;
use std::process::Command;

/// Says in a process that it is the one that was started for a test.
const ALONE: &str = "ZEROSTATE_TEST_ALONE";

/// Runs `body` in a process of its own, in which `variables` are set: this test binary again, with this test alone.
///
/// `test` is the full name of the calling test.
pub fn alone(test: &str, variables: &[(&str, &str)], body: impl AsyncFnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        // One thread: what others would do is not there to be measured.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(body());
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("running 1 test"), "there is no test {test}: {said}");
    print!("{said}");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Children of a process, those among them that are dead and not reaped.
pub fn children(pid: i32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    tasks
        .map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default())
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<i32>>())
        .collect()
}

/// What the open descriptors of a process lead to; `None` when the process is gone.
pub fn descriptors(process: &Path) -> Option<Vec<String>> {
    let entries = std::fs::read_dir(process.join("fd")).ok()?.flatten();
    let mut targets: Vec<String> = entries
        .filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        // Compiled code of the modules used last is kept open, up to a bound of its own.
        .filter(|target| !target.starts_with("/memfd:zerostate-code") && !target.contains("/cache/compiled/"))
        // The directory that is being read.
        .filter(|target| !(target.starts_with("/proc/") && target.ends_with("/fd")))
        .collect();
    targets.sort();
    Some(targets)
}

/// A figure of a process in bytes, by its name in `/proc/pid/status`; 0 when the process is gone.
pub fn bytes_of(process: &Path, name: &str) -> u64 {
    let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
