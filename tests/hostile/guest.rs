//! The language hostile guests are written in: WebAssembly text with all of WASI imported, each function under its
//! own name, and a few words of their own.

/// Every function of WASI preview 1 that a guest may misuse, with its parameters. All but the first return an errno.
const WASI: &[(&str, &str)] = &[
    ("proc_exit", "i32"),
    ("args_get", "i32 i32"),
    ("args_sizes_get", "i32 i32"),
    ("clock_res_get", "i32 i32"),
    ("clock_time_get", "i32 i64 i32"),
    ("environ_get", "i32 i32"),
    ("environ_sizes_get", "i32 i32"),
    ("fd_allocate", "i32 i64 i64"),
    ("fd_close", "i32"),
    ("fd_fdstat_get", "i32 i32"),
    ("fd_filestat_get", "i32 i32"),
    ("fd_pread", "i32 i32 i32 i64 i32"),
    ("fd_prestat_get", "i32 i32"),
    ("fd_read", "i32 i32 i32 i32"),
    ("fd_readdir", "i32 i32 i32 i64 i32"),
    ("fd_renumber", "i32 i32"),
    ("fd_seek", "i32 i64 i32 i32"),
    ("fd_write", "i32 i32 i32 i32"),
    ("path_create_directory", "i32 i32 i32"),
    ("path_filestat_get", "i32 i32 i32 i32 i32"),
    ("path_link", "i32 i32 i32 i32 i32 i32 i32"),
    ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
    ("path_readlink", "i32 i32 i32 i32 i32 i32"),
    ("path_rename", "i32 i32 i32 i32 i32 i32"),
    ("path_symlink", "i32 i32 i32 i32 i32"),
    ("path_unlink_file", "i32 i32 i32"),
    ("poll_oneoff", "i32 i32 i32 i32"),
    ("proc_raise", "i32"),
    ("random_get", "i32 i32"),
    ("sched_yield", ""),
    ("sock_accept", "i32 i32 i32"),
    ("sock_recv", "i32 i32 i32 i32 i32 i32"),
    ("sock_send", "i32 i32 i32 i32 i32"),
    ("sock_shutdown", "i32 i32"),
];

/// Where a command's own data lies; below is room for what the words here need.
pub const DATA: usize = 1024;
/// Where free memory begins.
pub const FREE: usize = 16384;

pub fn wat(text: impl AsRef<str>) -> Vec<u8> {
    wat::parse_str(text.as_ref()).unwrap_or_else(|error| panic!("{error}:\n{}", text.as_ref()))
}

/// A WASI command with four pages of memory and `body` as its `_start`.
pub fn command(body: &str) -> Vec<u8> {
    command_with("", body)
}

/// As [`command`], with more definitions.
///
/// Its words: `$write fd at length`; `$asked errno` counts a question and, when the errno is 0, a find;
/// `$report` writes both counts (u32 each) to stdout; `$until n` and locals `$i`, `$n` for loops.
pub fn command_with(definitions: &str, body: &str) -> Vec<u8> {
    let imports: String = WASI
        .iter()
        .map(|(name, params)| {
            let result = if *name == "proc_exit" { "" } else { "(result i32)" };
            format!(r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {params}) {result}))"#)
        })
        .collect();
    wat(format!(
        r#"(module {imports}
            (memory (export "memory") 4)
            (global $questions (mut i32) (i32.const 0))
            (global $finds (mut i32) (i32.const 0))
            (func $write (param $fd i32) (param $at i32) (param $length i32)
                (i32.store (i32.const 0) (local.get $at))
                (i32.store (i32.const 4) (local.get $length))
                (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
            (func $asked (param $errno i32)
                (global.set $questions (i32.add (global.get $questions) (i32.const 1)))
                (if (i32.eqz (local.get $errno)) (then
                    (global.set $finds (i32.add (global.get $finds) (i32.const 1))))))
            (func $report
                (i32.store (i32.const 16) (global.get $questions))
                (i32.store (i32.const 20) (global.get $finds))
                (call $write (i32.const 1) (i32.const 16) (i32.const 8)))
            {definitions}
            (func (export "_start") (local $i i32) (local $n i64) {body}))"#
    ))
}

/// What `$report` writes.
pub fn report(questions: u32, finds: u32) -> Vec<u8> {
    [questions.to_le_bytes(), finds.to_le_bytes()].concat()
}

/// Runs `body` for `$i` from 0 up to `end`.
pub fn times(end: u32, body: &str) -> String {
    format!(
        "(local.set $i (i32.const 0))
         (loop $again {body}
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const {end}))))"
    )
}

/// Bytes as a string of WebAssembly text.
pub fn quoted(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// Descriptors an [`explorer`] tries: what a guest begins with, and where a host's own would be.
pub const DESCRIPTORS: u32 = 1001;
/// Questions an [`explorer`] asks of each descriptor, and more for each path.
const ASKED_OF_EACH: u32 = 8;
const LOOKS: u32 = 3;
const CHANGES: u32 = 5;

/// What an [`explorer`] does with its paths.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Explores {
    /// Opens and reads. For paths to what is the machine's own: should it ever get there, nothing is lost.
    Looking,
    /// Makes, moves and removes too. Only for paths to what the test itself has made.
    Changing,
}

/// A guest that tries every descriptor up to 1,000: opening and reading `paths`, accepting and receiving from
/// sockets. It writes whatever it gets to read, then the [`report`].
pub fn explorer(paths: &[String], explores: Explores) -> Vec<u8> {
    let (mut data, mut tries, mut at) = (String::new(), String::new(), DATA);
    for path in paths {
        data += &format!("(data (i32.const {at}) \"{}\")", quoted(path.as_bytes()));
        let arguments = format!("(local.get $i) (i32.const {at}) (i32.const {})", path.len());
        tries += &format!("(call $look {arguments})");
        if explores == Explores::Changing {
            tries += &format!("(call $change {arguments})");
        }
        at += path.len();
    }
    assert!(at < FREE, "the paths do not fit");
    let each = "
        (call $asked (call $fd_prestat_get (local.get $i) (i32.const 64)))
        (call $asked (call $fd_readdir (local.get $i) (i32.const 16384) (i32.const 4096) (i64.const 0) (i32.const 64)))
        (call $asked (call $fd_allocate (local.get $i) (i64.const 0) (i64.const 1000000)))
        (call $asked (call $sock_accept (local.get $i) (i32.const 0) (i32.const 64)))
        (i32.store (i32.const 0) (i32.const 16384)) (i32.store (i32.const 4) (i32.const 4096))
        (call $asked (call $sock_recv
            (local.get $i) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 64) (i32.const 68)))
        (call $asked (call $sock_send (local.get $i) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 64)))
        (call $asked (call $sock_shutdown (local.get $i) (i32.const 2)))
        (call $asked (call $read (local.get $i)))";
    let definitions = format!(
        "{data}
        ;; Reads from any descriptor but the streams, and shows what was read.
        (func $read (param $fd i32) (result i32) (local $errno i32)
            (if (i32.lt_u (local.get $fd) (i32.const 3)) (then (return (i32.const 8))))
            (i32.store (i32.const 0) (i32.const 16384)) (i32.store (i32.const 4) (i32.const 4096))
            (local.set $errno (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 64)))
            (if (i32.eqz (local.get $errno)) (then
                (call $write (i32.const 1) (i32.const 16384) (i32.load (i32.const 64)))))
            (local.get $errno))
        (func $open (param $fd i32) (param $at i32) (param $length i32) (param $flags i32) (param $rights i64)
            (local $errno i32)
            (local.set $errno (call $path_open (local.get $fd) (i32.const 1) (local.get $at) (local.get $length)
                (local.get $flags) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 72)))
            (call $asked (local.get $errno))
            (if (i32.eqz (local.get $errno)) (then (drop (call $read (i32.load (i32.const 72)))))))
        (func $look (param $fd i32) (param $at i32) (param $length i32)
            (call $open (local.get $fd) (local.get $at) (local.get $length) (i32.const 0) (i64.const 2))
            (call $asked (call $path_filestat_get (local.get $fd) (i32.const 1)
                (local.get $at) (local.get $length) (i32.const 128)))
            (call $asked (call $path_readlink (local.get $fd) (local.get $at) (local.get $length)
                (i32.const 16384) (i32.const 4096) (i32.const 64))))
        (func $change (param $fd i32) (param $at i32) (param $length i32)
            (call $open (local.get $fd) (local.get $at) (local.get $length) (i32.const 9) (i64.const 64))
            (call $asked (call $path_create_directory (local.get $fd) (local.get $at) (local.get $length)))
            (call $asked (call $path_symlink (local.get $at) (local.get $length)
                (local.get $fd) (local.get $at) (local.get $length)))
            (call $asked (call $path_rename (local.get $fd) (local.get $at) (local.get $length)
                (local.get $fd) (local.get $at) (local.get $length)))
            (call $asked (call $path_unlink_file (local.get $fd) (local.get $at) (local.get $length))))"
    );
    command_with(&definitions, &(times(DESCRIPTORS, &(each.to_owned() + &tries)) + "(call $report)"))
}

/// What an [`explorer`] of so many paths reports when there is nothing to be found.
pub fn found_nothing(paths: usize, explores: Explores) -> Vec<u8> {
    let by_path = if explores == Explores::Changing { LOOKS + CHANGES } else { LOOKS };
    report(DESCRIPTORS * (ASKED_OF_EACH + by_path * paths as u32), 0)
}
