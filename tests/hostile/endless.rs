//! Guests that never end by themselves: computing, calling, sleeping, writing. Fuel stops those that compute, the
//! clock those that do not; both must reach each of them.

use zerostate::document::Status::{Ok, OutOfFuel, Timeout, Trap};

use super::corpus::{Entry, OUTPUT_BYTES};
use super::guest::{command, command_with, report, times, wat};

const FUEL: &str = "all fuel burnt";
const TIME: &str = "the time limit of 300 ms was reached";
const OUTPUT: &str = "output-limit";

/// Sleeps by `poll_oneoff` on `clock` for `nanoseconds`; flag 1: until then.
fn sleep(clock: u32, nanoseconds: u64, flags: u32) -> String {
    format!(
        "(i32.store (i32.const 64) (i32.const 0)) (i32.store8 (i32.const 72) (i32.const 0))
         (i32.store (i32.const 80) (i32.const {clock})) (i64.store (i32.const 88) (i64.const {nanoseconds}))
         (i32.store16 (i32.const 104) (i32.const {flags}))
         (drop (call $poll_oneoff (i32.const 64) (i32.const 256) (i32.const 1) (i32.const 512)))"
    )
}

fn endless_loop() -> Vec<u8> {
    wat(r#"(module (func (export "_start") (loop (br 0))))"#)
}

fn loop_in_start() -> Vec<u8> {
    wat(r#"(module (func $begin (loop (br 0))) (start $begin) (func (export "_start")))"#)
}

fn yields_for_ever() -> Vec<u8> {
    command("(loop (drop (call $sched_yield)) (br 0))")
}

/// 100 MiB and an instruction that goes over all of it, again and again.
fn bulk(instruction: &str) -> Vec<u8> {
    wat(format!(
        r#"(module (memory 1600) (func (export "_start") (local $size i32) (local.set $size (i32.const 104857600))
            (loop {instruction} (br 0))))"#
    ))
}

fn fills() -> Vec<u8> {
    bulk("(memory.fill (i32.const 0) (i32.const 7) (local.get $size))")
}

fn copies() -> Vec<u8> {
    bulk("(memory.copy (i32.const 1) (i32.const 0) (i32.sub (local.get $size) (i32.const 1)))")
}

fn bulk_tables() -> Vec<u8> {
    wat(
        r#"(module (table $t 100000 funcref) (elem $e func $f) (func $f) (func (export "_start") (local $size i32)
            (local.set $size (i32.const 99999))
            (loop
                (table.fill $t (i32.const 0) (ref.func $f) (local.get $size))
                (table.copy $t $t (i32.const 1) (i32.const 0) (local.get $size))
                (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))
                (br 0))))"#,
    )
}

/// A page of memory and more, and one host call that has much to look through, again and again.
fn calls(pages: u32, import: &str, call: &str) -> Vec<u8> {
    wat(format!(
        r#"(module (import "wasi_snapshot_preview1" {import}) (memory (export "memory") {pages})
            (func (export "_start") (loop (drop (call $call {call})) (br 0))))"#
    ))
}

pub fn entries() -> Vec<Entry> {
    vec![
        // Host calls cost next to no fuel, whatever they have to look through: the clock must be looked at all the same.
        Entry::new(
            "fd_write of two million empty buffers for ever",
            || {
                calls(
                    300,
                    "\"fd_write\" (func $call (param i32 i32 i32 i32) (result i32))",
                    "(i32.const 1) (i32.const 1024) (i32.const 2000000) (i32.const 0)",
                )
            },
            &[Timeout],
            TIME,
        )
        .timed(),
        Entry::new(
            "fd_write of twelve million empty buffers for ever",
            || {
                calls(
                    1600,
                    "\"fd_write\" (func $call (param i32 i32 i32 i32) (result i32))",
                    "(i32.const 1) (i32.const 1024) (i32.const 12000000) (i32.const 0)",
                )
            },
            &[Timeout],
            TIME,
        )
        .timed(),
        Entry::new(
            "args_get of twenty thousand arguments for ever",
            || {
                calls(
                    16,
                    "\"args_get\" (func $call (param i32 i32) (result i32))",
                    "(i32.const 0) (i32.const 262144)",
                )
            },
            &[Timeout],
            TIME,
        )
        .with(|job| {
            job.args = vec!["a".into(); 20_000];
            (job.limits.fuel, job.limits.time) = (u64::MAX, std::time::Duration::from_millis(300));
        }),
        Entry::new(
            "path_open with a name of 100 MB for ever",
            || {
                calls(
                    1600,
                    "\"path_open\" (func $call (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32))",
                    "(i32.const 3) (i32.const 0) (i32.const 0) (i32.const 100000000) (i32.const 0)
                     (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)",
                )
            },
            &[Timeout],
            TIME,
        )
        .timed(),
        Entry::new("endless loop, little fuel", endless_loop, &[OutOfFuel], FUEL).fuelled(),
        Entry::new("endless loop, all fuel", endless_loop, &[Timeout], TIME).timed(),
        Entry::new("loop in the start function, little fuel", loop_in_start, &[OutOfFuel], FUEL).fuelled(),
        Entry::new("loop in the start function, all fuel", loop_in_start, &[Timeout], TIME).timed(),
        Entry::new(
            "loop in _initialize",
            || wat(r#"(module (func (export "_initialize") (loop (br 0))) (func (export "go")))"#),
            &[OutOfFuel],
            FUEL,
        )
        .with(|job| (job.function, job.limits.fuel) = ("go".into(), 10_000_000)),
        // A tail call takes no stack: this is a loop, not a recursion.
        Entry::new(
            "endless tail calls",
            || wat(r#"(module (func $f (export "_start") (return_call $f)))"#),
            &[OutOfFuel],
            FUEL,
        )
        .fuelled(),
        Entry::new("sched_yield loop, little fuel", yields_for_ever, &[OutOfFuel], FUEL)
            .with(|job| job.limits.fuel = 1_000_000),
        Entry::new("sched_yield loop, all fuel", yields_for_ever, &[Timeout], TIME).timed(),
        Entry::new("20 s sleep", || command(&sleep(1, 20_000_000_000, 0)), &[Timeout], TIME).timed(),
        Entry::new("sleep until the end of time", || command(&sleep(0, u64::MAX, 1)), &[Timeout], TIME).timed(),
        Entry::new(
            "sleeps of a nanosecond",
            || command(&format!("(loop {} (br 0))", sleep(1, 1, 0))),
            &[Timeout],
            TIME,
        )
        .timed(),
        // The clock stands still: waiting for it to move is waiting for ever.
        Entry::new(
            "waits for the clock to move",
            || {
                command(
                    "(drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 64)))
                     (local.set $n (i64.load (i32.const 64)))
                     (loop
                        (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 64)))
                        (br_if 0 (i64.eq (local.get $n) (i64.load (i32.const 64)))))",
                )
            },
            &[OutOfFuel],
            FUEL,
        )
        .with(|job| job.limits.fuel = 1_000_000),
        Entry::new(
            "random flood",
            || command("(loop (drop (call $random_get (i32.const 4096) (i32.const 65536))) (br 0))"),
            &[OutOfFuel],
            FUEL,
        )
        .fuelled(),
        // EINVAL: what libraries ask for comes in small pieces.
        Entry::exits(
            "4 GiB of random bytes in one call",
            || command("(call $proc_exit (call $random_get (i32.const 0) (i32.const -1)))"),
            28,
        ),
        Entry::new(
            "stdout flood",
            || command("(loop (call $write (i32.const 1) (i32.const 4096) (i32.const 60000)) (br 0))"),
            &[Trap],
            OUTPUT,
        )
        .writes(vec![0; OUTPUT_BYTES as usize]),
        Entry::new(
            "stderr flood",
            || command("(loop (call $write (i32.const 2) (i32.const 4096) (i32.const 60000)) (br 0))"),
            &[Trap],
            OUTPUT,
        )
        .writes(b""),
        Entry::new(
            "both streams flooded byte by byte",
            || {
                command(
                    "(loop (call $write (i32.const 1) (i32.const 4096) (i32.const 1))
                           (call $write (i32.const 2) (i32.const 4096) (i32.const 1)) (br 0))",
                )
            },
            &[Trap],
            OUTPUT,
        )
        .with(|job| job.limits.output_bytes = 50_000)
        .writes(vec![0; 50_000]),
        Entry::new("memory.fill of 100 MiB for ever, little fuel", fills, &[OutOfFuel], FUEL).fuelled(),
        Entry::new("memory.fill of 100 MiB for ever, all fuel", fills, &[Timeout], TIME).timed(),
        Entry::new("memory.copy of 100 MiB for ever, all fuel", copies, &[Timeout], TIME).timed(),
        Entry::new("bulk table instructions for ever, little fuel", bulk_tables, &[OutOfFuel], FUEL).fuelled(),
        Entry::new("bulk table instructions for ever, all fuel", bulk_tables, &[Timeout], TIME).timed(),
        // 5,000 subscriptions in one call; the host may refuse them (an errno or a trap) but not hold them all.
        Entry::new(
            "flood of subscriptions",
            || {
                command(
                    "(memory.fill (i32.const 16384) (i32.const 0) (i32.const 240000))
                     (drop (call $poll_oneoff (i32.const 16384) (i32.const 16384) (i32.const 5000) (i32.const 512)))",
                )
            },
            &[Ok, Trap],
            "",
        ),
        // Nothing is opened, so nothing can run out.
        Entry::exits(
            "descriptor flood",
            || {
                command_with(
                    "(data (i32.const 1024) \"x\")",
                    &(times(
                        20_000,
                        "(call $asked (call $path_open (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 1)
                            (i32.const 9) (i64.const 66) (i64.const 66) (i32.const 0) (i32.const 64)))
                         (call $asked (call $fd_renumber (i32.const 1) (i32.add (local.get $i) (i32.const 3))))
                         (call $asked (call $sock_accept (i32.const 0) (i32.const 0) (i32.const 64)))",
                    ) + "(call $report)"),
                )
            },
            0,
        )
        .writes(report(60_000, 0)),
    ]
}
