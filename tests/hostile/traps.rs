//! Guests that end by doing what may not be done, or by telling the host what it should not believe. A trap's words
//! are compared between nodes, so they stand here in full.

use zerostate::document::Status::{Ok, Trap};

use super::corpus::Entry;
use super::guest::{command, command_with, quoted, wat};

/// A `_start` without parameters that does just this.
fn does(body: &str) -> Vec<u8> {
    wat(format!(
        r#"(module (memory 1) (table 4 funcref) (elem (i32.const 0) $other) (type $nothing (func))
            (func $other (param i64) (result f32) (f32.const 0))
            (func (export "_start") (local f64) {body}))"#
    ))
}

/// Each operation's NaN as it lies in memory: one pattern, whatever the processor makes.
fn shows_nans() -> Vec<u8> {
    command(
        "(f32.store (i32.const 64) (f32.div (f32.load (i32.const 4096)) (f32.load (i32.const 4096))))
         (f64.store (i32.const 68) (f64.sqrt (f64.const -1)))
         (f32.store (i32.const 76) (f32.add (f32.const -nan:0x200001) (f32.const 1)))
         (f64.store (i32.const 80) (f64.min (f64.const nan:0x4000000000001) (f64.const 0)))
         (f32.store (i32.const 88) (f32.demote_f64 (f64.const -nan:0x4000000000001)))
         (v128.store (i32.const 92) (f32x4.div (v128.const f32x4 0 0 -0 0) (v128.const f32x4 0 -0 0 0)))
         (call $write (i32.const 1) (i32.const 64) (i32.const 44))",
    )
}

fn canonical_nans() -> Vec<u8> {
    let (single, double) = (0x7fc0_0000_u32.to_le_bytes(), 0x7ff8_0000_0000_0000_u64.to_le_bytes());
    [&single[..], &double, &single, &double, &single, &single.repeat(4)].concat()
}

/// The bits of integers say how the numbers the guest exits with are read.
fn exits_with(code: &str) -> Vec<u8> {
    command(&format!("(call $proc_exit (i32.const {code})) unreachable"))
}

pub fn entries() -> Vec<Entry> {
    vec![
        Entry::new("unreachable", || does("unreachable"), &[Trap], "unreachable"),
        Entry::new(
            "divide by zero",
            || does("(drop (i64.rem_u (i64.const 1) (i64.const 0)))"),
            &[Trap],
            "integer divide by zero",
        ),
        Entry::new(
            "the smallest number by -1",
            || does("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))"),
            &[Trap],
            "integer overflow",
        ),
        Entry::new(
            "not a number as a number",
            || does("(drop (i32.trunc_f64_s (f64.div (local.get 0) (local.get 0))))"),
            &[Trap],
            "invalid conversion to integer",
        ),
        Entry::new(
            "memory beyond the last byte",
            || does("(drop (i64.load offset=4294967295 (i32.const -1)))"),
            &[Trap],
            "memory access out of bounds",
        ),
        Entry::new(
            "memory.copy that wraps around",
            || does("(memory.copy (i32.const -1) (i32.const 1) (i32.const -1))"),
            &[Trap],
            "memory access out of bounds",
        ),
        Entry::new(
            "table beyond its end",
            || does("(call_indirect (type $nothing) (i32.const -1))"),
            &[Trap],
            "table access out of bounds",
        ),
        Entry::new(
            "indirect call to nothing",
            || does("(call_indirect (type $nothing) (i32.const 3))"),
            &[Trap],
            "indirect call to null",
        ),
        Entry::new(
            "indirect call type mismatch",
            || does("(call_indirect (type $nothing) (i32.const 0))"),
            &[Trap],
            "indirect call type mismatch",
        ),
        Entry::new(
            "data segment beyond memory",
            || wat(r#"(module (memory 1) (data (i32.const 65535) "ab") (func (export "_start")))"#),
            &[Trap],
            "memory access out of bounds",
        ),
        Entry::new(
            "element segment beyond its table",
            || wat(r#"(module (table 1 funcref) (elem (i32.const 1) $f) (func $f (export "_start")))"#),
            &[Trap],
            "table access out of bounds",
        ),
        Entry::exits("NaN bit patterns", shows_nans, 0).writes(canonical_nans()),
        Entry::exits("exit code 255", || exits_with("255"), 255),
        Entry::exits("exit code -1", || exits_with("-1"), -1),
        Entry::exits("exit code of the smallest number", || exits_with("0x80000000"), i32::MIN),
        Entry::exits(
            "exit in the start function",
            || {
                wat(r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                    (memory (export "memory") 1)
                    (func $begin (call $exit (i32.const 7))) (start $begin) (func (export "_start") unreachable))"#)
            },
            7,
        ),
        // ENOTSUP.
        Entry::exits("raises a signal", || command("(call $proc_exit (call $proc_raise (i32.const 9)))"), 58),
        Entry::new(
            "a function named to steer a terminal",
            || {
                wat(
                    "(module (func $\"\\1b[2J\\1b]0;owned\\07\\u{202e}\" unreachable) (func (export \"_start\") (call 0)))",
                )
            },
            &[Trap],
            "unreachable in \u{fffd}[2J",
        ),
        Entry::new(
            "writes without a memory",
            || {
                wat(r#"(module
                    (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
                    (func (export "_start") (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#)
            },
            &[Trap],
            "host call: ",
        ),
        Entry::new(
            "a memory that is a function",
            || {
                wat(r#"(module
                    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $e (param i32 i32) (result i32)))
                    (func (export "memory")) (func (export "_start") (drop (call $e (i32.const 0) (i32.const 4)))))"#)
            },
            &[Trap],
            "host call: ",
        ),
        // Whether a bad pointer is an errno (21, EFAULT) or a trap is the host's to say: it does both.
        Entry::new(
            "pointers beyond memory given to the host",
            || {
                command(
                    "(drop (call $fd_write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 8)))
                     (drop (call $args_sizes_get (i32.const -1) (i32.const -2)))
                     (drop (call $random_get (i32.const -4) (i32.const 100)))",
                )
            },
            &[Ok, Trap],
            "",
        ),
        // 2^29 buffers would be the whole address space; the host reads them where they are, or refuses.
        Entry::new(
            "half a billion buffers in one write",
            || {
                command(
                    "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 536870911) (i32.const 8)))",
                )
            },
            &[Ok, Trap],
            "",
        ),
        Entry::new(
            "a buffer of 4 GiB",
            || {
                command_with(
                    &format!("(data (i32.const 0) \"{}\")", quoted(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])),
                    "(drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 64)))",
                )
            },
            &[Ok, Trap],
            "",
        ),
    ]
}
