//! Valid modules that ask for what is not here: features that are off, imports nobody has, entries nobody can call.

use zerostate::document::Status::Trap;

use super::corpus::Entry;
use super::guest::wat;

const OFF: &str = "it does not compile";
const NO_FIT: &str = "do not fit";

fn refuses(name: &'static str, module: fn() -> Vec<u8>) -> Entry {
    Entry::refused(name, module, OFF)
}

pub fn entries() -> Vec<Entry> {
    let mut entries = switched_off();
    entries.extend(imports_and_entries());
    entries
}

fn switched_off() -> Vec<Entry> {
    vec![
        refuses("memory64", || wat(r#"(module (memory i64 1) (func (export "_start")))"#)),
        refuses("table64", || wat(r#"(module (table i64 1 funcref) (func (export "_start")))"#)),
        refuses("a shared memory", || wat(r#"(module (memory 1 1 shared) (func (export "_start")))"#)),
        refuses("atomic instructions", || {
            wat(r#"(module (memory 1) (func (export "_start")
                (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))))"#)
        }),
        refuses("atomic.wait", || {
            wat(r#"(module (memory 1 1 shared) (func (export "_start")
                (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))"#)
        }),
        refuses("two memories", || wat(r#"(module (memory 1) (memory 1) (func (export "_start")))"#)),
        refuses("pages of one byte", || wat(r#"(module (memory 1 (pagesize 1)) (func (export "_start")))"#)),
        refuses("exceptions", || wat(r#"(module (tag $t) (func (export "_start") (throw $t)))"#)),
        refuses("caught exceptions", || {
            wat(r#"(module (func (export "_start") (block $h (try_table (catch_all $h)))))"#)
        }),
        refuses("GC structs", || {
            wat(
                r#"(module (type $s (struct (field i32))) (func (export "_start") (drop (struct.new_default $s))))"#,
            )
        }),
        refuses("GC arrays", || {
            wat(r#"(module (type $a (array (mut i8)))
                (func (export "_start") (drop (array.new_default $a (i32.const 1000000000)))))"#)
        }),
        refuses("references to the host's values", || {
            wat(r#"(module (table 1 externref) (func (export "_start")))"#)
        }),
        refuses("i31 references", || {
            wat(r#"(module (func (export "_start") (drop (ref.i31 (i32.const 1)))))"#)
        }),
        refuses("typed function references", || {
            wat(r#"(module (type $t (func)) (elem declare func $f) (func $f)
                (func (export "_start") (call_ref $t (ref.func $f))))"#)
        }),
        refuses("relaxed SIMD", || {
            wat(r#"(module (func (export "_start")
                (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0)))))"#)
        }),
        refuses("wide arithmetic", || {
            wat(r#"(module (func (export "_start")
                (i64.add128 (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)) drop drop))"#)
        }),
        refuses("stack switching", || {
            wat(r#"(module (type $f (func)) (type $c (cont $f)) (elem declare func $g) (func $g)
                (func (export "_start") (drop (cont.new $c (ref.func $g)))))"#)
        }),
    ]
}

fn imports_and_entries() -> Vec<Entry> {
    vec![
        Entry::refused(
            "an import nobody has",
            || wat(r#"(module (import "env" "launch" (func)) (func (export "_start")))"#),
            "it imports env.launch,",
        ),
        Entry::refused(
            "an import named to steer a terminal",
            || wat("(module (import \"\\1b[2J\" \"\\07\\n\" (func)) (func (export \"_start\")))"),
            "it imports \u{fffd}[2J.\u{fffd}\u{fffd},",
        ),
        Entry::refused(
            "an imported memory",
            || wat(r#"(module (import "env" "memory" (memory 1)) (func (export "_start")))"#),
            "it imports env.memory,",
        ),
        Entry::refused(
            "WASI of another version",
            || wat(r#"(module (import "wasi_unstable" "proc_exit" (func (param i32))) (func (export "_start")))"#),
            "it imports wasi_unstable.proc_exit,",
        ),
        Entry::refused(
            "WASI threads",
            || wat(r#"(module (import "wasi" "thread-spawn" (func (param i32) (result i32))) (func (export "_start")))"#),
            "it imports wasi.thread-spawn,",
        ),
        Entry::refused(
            "a known import of another type",
            || wat(r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i64))) (func (export "_start")))"#),
            NO_FIT,
        ),
        Entry::refused(
            "a known import of another kind",
            || wat(r#"(module (import "wasi_snapshot_preview1" "fd_write" (global i32)) (func (export "_start")))"#),
            NO_FIT,
        ),
        Entry::refused(
            "_start with a parameter",
            || wat(r#"(module (func (export "_start") (param i32)))"#),
            "`_start` must take and return nothing",
        ),
        Entry::refused(
            "_start with a result",
            || wat(r#"(module (func (export "_start") (result i64) (i64.const 1)))"#),
            "`_start` must take and return nothing",
        ),
        Entry::refused(
            "_start that is a memory",
            || wat(r#"(module (memory (export "_start") 1))"#),
            "no function `_start`",
        ),
        Entry::refused(
            "_start that is the host's proc_exit",
            || wat(r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32))) (export "_start" (func 0)))"#),
            "`_start` must take and return nothing",
        ),
        // Every function of WASI wants its caller's memory, and here nobody calls.
        Entry::new(
            "an entry that is the host's own function",
            || wat(r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32))) (export "go" (func 0)))"#),
            &[Trap],
            "host call: ",
        )
        .with(|job| job.function = "go".into()),
        Entry::refused(
            "exports named to steer a terminal",
            || {
                let name = format!("\\1b[2J{}", "x".repeat(50_000));
                wat(format!("(module (func (export \"{name}\")) (func (export \"a{name}\")))"))
            },
            "it exports no function `_start`; it exports `\u{fffd}[2J",
        ),
        Entry::refused(
            "an entry that wants a reference",
            || wat(r#"(module (func (export "go") (param funcref)))"#),
            "only numbers can be given",
        )
        .with(|job| (job.function, job.args) = ("go".into(), vec!["1".into()])),
        Entry::refused(
            "an entry that gives a vector",
            || wat(r#"(module (func (export "go") (result v128) (v128.const i64x2 0 0)))"#),
            "only numbers can be returned",
        )
        .with(|job| job.function = "go".into()),
        Entry::refused(
            "arguments that are no numbers",
            || wat(r#"(module (func (export "go") (param i32 f64)))"#),
            "argument 2 of `go` must be f64",
        )
        .with(|job| (job.function, job.args) = ("go".into(), vec!["1".into(), "\u{1b}[2J".into()])),
    ]
}
