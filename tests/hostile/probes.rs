//! Guests that look around: for files, variables, other clocks, real chance. What they see is the same everywhere.

use super::corpus::Entry;
use super::guest::{DATA, Explores, command, command_with, explorer, found_nothing, quoted, report, times};

/// Paths to what every Linux has, and the ways out of a folder.
const PATHS: [&str; 10] = [
    "/etc/passwd",
    "etc/passwd",
    "../../../../../../../../etc/passwd",
    "./../.././../etc/passwd",
    "/proc/self/environ",
    "/proc/self/fd/0",
    "/proc/self/root/etc/passwd",
    "/dev/null",
    "/",
    "..",
];

fn paths() -> Vec<String> {
    PATHS.map(str::to_owned).to_vec()
}

/// The errno and the time of each of the four clocks, then the resolution of the first two.
fn shows_clocks() -> Vec<u8> {
    let mut body = String::new();
    for clock in 0..4 {
        body += &format!(
            "(i64.store (i32.const 64) (i64.const 0))
             (i32.store (i32.const 72) (call $clock_time_get (i32.const {clock}) (i64.const 0) (i32.const 64)))
             (call $write (i32.const 1) (i32.const 64) (i32.const 12))"
        );
    }
    for clock in 0..2 {
        body += &format!(
            "(drop (call $clock_res_get (i32.const {clock}) (i32.const 64)))
             (call $write (i32.const 1) (i32.const 64) (i32.const 8))"
        );
    }
    command(&body)
}

/// 2000-01-01 and one second; processor clocks are not here (EBADF, 8); all to the nanosecond.
fn fixed_clocks() -> Vec<u8> {
    let clock = |time: u64, errno: u32| [&time.to_le_bytes()[..], &errno.to_le_bytes()].concat();
    [
        clock(946_684_800_000_000_000, 0),
        clock(1_000_000_000, 0),
        clock(0, 8),
        clock(0, 8),
        1_u64.to_le_bytes().to_vec(),
        1_u64.to_le_bytes().to_vec(),
    ]
    .concat()
}

/// Tells the time, sleeps for 30 ms, works for a while, and tells the difference.
fn times_its_sleep() -> Vec<u8> {
    let now = "(drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 256)))";
    command(&format!(
        "{now} (local.set $n (i64.load (i32.const 256)))
         (i32.store (i32.const 80) (i32.const 1)) (i64.store (i32.const 88) (i64.const 30000000))
         (call $asked (call $poll_oneoff (i32.const 64) (i32.const 304) (i32.const 1) (i32.const 512)))
         {} {now}
         (i64.store (i32.const 64) (i64.sub (i64.load (i32.const 256)) (local.get $n)))
         (call $write (i32.const 1) (i32.const 64) (i32.const 8))",
        times(1_000_000, "")
    ))
}

/// Waits for two timers that end within a millisecond of each other, thirty times, and counts the times that it saw both.
fn races_timers() -> Vec<u8> {
    let subscription = |at: u32, nanoseconds: u32| {
        format!(
            "(i32.store (i32.const {}) (i32.const 1)) (i64.store (i32.const {}) (i64.const {nanoseconds}))",
            at + 16,
            at + 24
        )
    };
    let body = format!(
        "{} {}
         (drop (call $poll_oneoff (i32.const 16384) (i32.const 20480) (i32.const 2) (i32.const 64)))
         (call $asked (i32.sub (i32.load (i32.const 64)) (i32.const 2)))",
        subscription(16384, 1_900_000),
        subscription(16384 + 48, 1_000_000)
    );
    command(&(times(30, &body) + "(call $report)"))
}

fn shows_environment() -> Vec<u8> {
    command(
        "(i64.store (i32.const 64) (i64.const -1))
         (drop (call $environ_sizes_get (i32.const 64) (i32.const 68)))
         (drop (call $environ_get (i32.const 16384) (i32.const 20480)))
         (call $write (i32.const 1) (i32.const 64) (i32.const 8))
         (call $write (i32.const 1) (i32.const 16384) (i32.const 8192))",
    )
}

fn shows_arguments() -> Vec<u8> {
    command(
        "(drop (call $args_sizes_get (i32.const 64) (i32.const 68)))
         (drop (call $args_get (i32.const 16384) (i32.const 20480)))
         (call $write (i32.const 1) (i32.const 64) (i32.const 8))
         (call $write (i32.const 1) (i32.const 20480) (i32.load (i32.const 68)))",
    )
}

/// Asks for the state of every descriptor number; only the three streams have one.
fn counts_descriptors() -> Vec<u8> {
    command(
        &(times(5000, "(call $asked (call $fd_fdstat_get (local.get $i) (i32.const 64)))")
            + "(call $report)"),
    )
}

/// Asks for files by names with odd bytes, and of lengths up to all there is.
fn odd_paths() -> Vec<u8> {
    let odd = [&b"\xff\xfe"[..], b"a\0/etc/passwd", b"", b"//", b"...", "\u{202e}".as_bytes()];
    let (mut data, mut body, mut at) = (String::new(), String::new(), DATA);
    let open = |fd: u32, at: usize, length: usize| {
        format!(
            "(call $asked (call $path_open (i32.const {fd}) (i32.const 0) (i32.const {at}) (i32.const {length})
                (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 64)))"
        )
    };
    for path in odd {
        data += &format!("(data (i32.const {at}) \"{}\")", quoted(path));
        body += &(open(3, at, path.len()) + &open(0, at, path.len()));
        at += path.len();
    }
    body += &open(3, 0, 262_144);
    command_with(&data, &(body + "(call $report)"))
}

pub fn entries() -> Vec<Entry> {
    vec![
        Entry::exits("path escapes on a thousand descriptors", || explorer(&paths(), Explores::Looking), 0)
            .writes(found_nothing(PATHS.len(), Explores::Looking)),
        Entry::exits("odd paths", odd_paths, 0).writes(report(13, 0)),
        Entry::exits("descriptor probe", counts_descriptors, 0).writes(report(5000, 3)),
        Entry::exits("environment probe", shows_environment, 0).writes(vec![0; 8200]),
        Entry::exits("clock probe", shows_clocks, 0).writes(fixed_clocks()),
        Entry::exits("a sleep timed by the guest", times_its_sleep, 0).writes(vec![0; 8]),
        Entry::exits("two timers against each other", races_timers, 0).writes(report(30, 0)),
        Entry::exits("arguments probe", shows_arguments, 0)
            .with(|job| job.args = vec!["--help".into(), "\u{1b}[2J\n".into(), String::new()])
            .writes(b"\x04\0\0\0\x18\0\0\0main.wasm\0--help\0\x1b[2J\n\0\0".to_vec()),
        // The seed is the job's; the bytes are the same on every machine and for every run.
        Entry::exits(
            "random probe",
            || {
                command(
                    "(drop (call $random_get (i32.const 16384) (i32.const 4)))
                     (drop (call $random_get (i32.const 16388) (i32.const 4)))
                     (call $write (i32.const 1) (i32.const 16384) (i32.const 8))",
                )
            },
            0,
        )
        .with(|job| job.seed = [7; 32])
        .writes(SEVENS),
    ]
}

/// The first two words of ChaCha20 under a key of sevens; `openssl enc -chacha20` gives the same.
const SEVENS: [u8; 8] = [0xf4, 0x00, 0x92, 0x78, 0x57, 0xaa, 0xf6, 0x41];
