//! Guests that want all the memory there is: linear memory, tables, stack.

use zerostate::document::Status::{Ok, OutOfFuel, OutOfMemory, StackOverflow};

use super::corpus::Entry;
use super::guest::{command_with, wat};

const STACK: &str = "stack overflow";
/// The limit of a job's memory, in bytes.
const LIMIT: u64 = 128 << 20;

/// Takes a page at a time until there is no more, and writes to each.
fn grows_and_touches(then: &str) -> Vec<u8> {
    wat(format!(
        r#"(module (memory 0) (func (export "_start") (local $at i32)
            (block $full (loop $more
                (br_if $full (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
                (br $more)))
            (loop $touch
                (i32.store (local.get $at) (i32.const -1))
                (local.set $at (i32.add (local.get $at) (i32.const 4096)))
                (br_if $touch (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
            {then}))"#
    ))
}

fn deep(body: &str) -> Vec<u8> {
    command_with(
        &format!(
            "(table 1 funcref) (elem (i32.const 0) $deeper) (type $nothing (func)) (func $deeper {body})"
        ),
        "(call $deeper)",
    )
}

pub fn entries() -> Vec<Entry> {
    vec![
        // The guest is told of the limit, and lives with it.
        Entry::exits("memory bomb", || grows_and_touches(""), 0).peaks(LIMIT),
        Entry::new(
            "memory bomb that writes beyond what it got",
            || grows_and_touches("(i32.store (local.get $at) (i32.const 1))"),
            &[OutOfMemory],
            "the limit is 134217728 bytes; then it trapped: memory access out of bounds",
        )
        .peaks(LIMIT),
        Entry::new(
            "4 GiB minimum",
            || wat(r#"(module (memory 65536) (func (export "_start")))"#),
            &[OutOfMemory],
            "memory of 4294967296 bytes was asked for",
        )
        .peaks(0),
        Entry::exits(
            "4 GiB maximum",
            || wat(r#"(module (memory 1 65536) (func (export "_start") (drop (memory.grow (i32.const 65535)))))"#),
            0,
        )
        .peaks(65536),
        Entry::new(
            "grows by 4 GiB for ever",
            || wat(r#"(module (memory 1) (func (export "_start") (loop (drop (memory.grow (i32.const -1))) (br 0))))"#),
            &[OutOfFuel],
            "all fuel burnt",
        )
        .with(|job| job.limits.fuel = 5_000_000),
        Entry::exits(
            "table bomb",
            || {
                wat(r#"(module (table 0 funcref) (func (export "_start")
                    (loop (br_if 0 (i32.ne (table.grow (ref.null func) (i32.const 1000)) (i32.const -1))))))"#)
            },
            0,
        ),
        Entry::new(
            "10^7-element table",
            || wat(r#"(module (table 10000000 funcref) (func (export "_start")))"#),
            &[OutOfMemory],
            "tables of 10000000 elements were asked for",
        ),
        Entry::new(
            "16 tables of 10^5 elements",
            || {
                let tables = "(table 100000 funcref)".repeat(16);
                wat(format!(r#"(module {tables} (func (export "_start")))"#))
            },
            &[OutOfMemory],
            "the limit is 131072",
        ),
        Entry::refused(
            "100 tables",
            || wat(format!(r#"(module {} (func (export "_start")))"#, "(table 1 funcref)".repeat(100))),
            "",
        ),
        Entry::new(
            "deep recursion",
            || wat(r#"(module (func $deeper (export "_start") (call $deeper)))"#),
            &[StackOverflow],
            "stack overflow in deeper",
        ),
        Entry::new(
            "mutual recursion",
            || wat(r#"(module (func $a (export "_start") (call $b)) (func $b (call $a) (call $a)))"#),
            &[StackOverflow],
            STACK,
        ),
        Entry::new(
            "recursion through a table",
            || deep("(call_indirect (type $nothing) (i32.const 0))"),
            &[StackOverflow],
            STACK,
        ),
        Entry::new(
            "recursion in the start function",
            || wat(r#"(module (func $deeper (call $deeper)) (start $deeper) (func (export "_start")))"#),
            &[StackOverflow],
            STACK,
        ),
        // Host functions run above the guest's stack: at each depth one is called, down to the last.
        Entry::new(
            "recursion with a host call at every depth",
            || {
                deep(
                    "(drop (call $random_get (i32.const 16384) (i32.const 8)))
                     (call $write (i32.const 1) (i32.const 1024) (i32.const 1))
                     (call $deeper)",
                )
            },
            &[StackOverflow],
            STACK,
        ),
        Entry::new(
            "recursion on the largest stack",
            || wat(r#"(module (func $deeper (export "_start") (call $deeper)))"#),
            &[StackOverflow],
            STACK,
        )
        .with(|job| job.limits.stack_bytes = 64 << 20),
        Entry::new(
            "recursion with frames of 2,000 live values",
            || {
                let values: String = (0..2000).map(|at| format!("(i64.load (i32.const {}))", at * 8)).collect();
                let adds = "i64.add ".repeat(1999);
                deep(&format!("{values} (call $deeper) {adds} drop"))
            },
            &[StackOverflow],
            STACK,
        ),
        // 400 KB of frame may fit into the stack or not: by how the compiler keeps what is never read.
        Entry::new(
            "49,000 locals",
            || wat(format!(r#"(module (func (export "_start") (local {})))"#, "i64 ".repeat(49_000))),
            &[Ok, StackOverflow],
            STACK,
        ),
    ]
}
