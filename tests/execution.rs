//! Guests in real runner processes: what each way of ending looks like, and that nobody gets out or stays behind.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zerostate::document::Status;
use zerostate::execution::{Job, Limits, Outcome, Phase, Progress, Runners, RunnersConfig};

pub const RUNNER: &str = env!("CARGO_BIN_EXE_zerostate");

pub fn runners() -> Runners {
    Runners::new(RunnersConfig::of_program(RUNNER)).unwrap()
}

pub fn job(wat: &str) -> Job {
    Job::new(wat::parse_str(wat).unwrap())
}

async fn run(job: Job) -> Outcome {
    runners().run(job, None, CancellationToken::new()).await.unwrap()
}

async fn run_wat(wat: &str) -> Outcome {
    run(job(wat)).await
}

pub fn error(outcome: &Outcome) -> &str {
    outcome.error.as_deref().unwrap_or_default()
}

/// A command that imports what the tests need and has `body` as its `_start`.
pub fn command(body: &str) -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
            (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
            (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_open"
                (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (memory (export "memory") 2)
            (data (i32.const 1024) "hello\n")
            (func $write (param $fd i32) (param $at i32) (param $length i32)
                (i32.store (i32.const 0) (local.get $at))
                (i32.store (i32.const 4) (local.get $length))
                (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
            (func (export "_start") {body}))"#
    )
}

#[tokio::test]
async fn a_command_that_says_hello_is_ok_and_its_output_is_there() {
    let outcome = run_wat(&command("(call $write (i32.const 1) (i32.const 1024) (i32.const 6))")).await;
    assert_eq!((outcome.status, outcome.exit_code, error(&outcome)), (Status::Ok, Some(0), ""));
    assert_eq!((outcome.stdout.as_slice(), outcome.stderr.as_slice()), (&b"hello\n"[..], &b""[..]));
    assert_eq!(outcome.peak_memory_bytes, 2 * 65536);
    assert!(outcome.fuel_used > 0 && outcome.fuel_used < 1000, "{}", outcome.fuel_used);
    assert_eq!(outcome.finished_at.duration_since(outcome.started_at).unsigned_abs(), outcome.duration);
}

#[tokio::test]
async fn stdin_is_what_the_job_carries_and_stderr_is_kept_apart() {
    let mut job = job(&command(
        "(i32.store (i32.const 0) (i32.const 2048)) (i32.store (i32.const 4) (i32.const 100))
         (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
         (call $write (i32.const 2) (i32.const 2048) (i32.load (i32.const 8)))",
    ));
    job.stdin = b"from outside".to_vec();
    let outcome = run(job).await;
    assert_eq!((outcome.stdout.as_slice(), outcome.stderr.as_slice()), (&b""[..], &b"from outside"[..]));
}

#[tokio::test]
async fn arguments_follow_a_fixed_program_name() {
    let mut job = job(&command(
        "(drop (call $args_sizes (i32.const 16) (i32.const 20)))
         (drop (call $args (i32.const 4096) (i32.const 8192)))
         (call $write (i32.const 1) (i32.const 8192) (i32.load (i32.const 20)))",
    ));
    job.args = vec!["one".into(), "two words".into()];
    assert_eq!(run(job).await.stdout, b"main.wasm\0one\0two words\0");
}

#[tokio::test]
async fn an_exit_code_is_the_guests_word_and_the_run_is_still_ok() {
    for code in [3, 200] {
        let outcome = run_wat(&command(&format!("(call $proc_exit (i32.const {code}))"))).await;
        assert_eq!((outcome.status, outcome.exit_code), (Status::Ok, Some(code)));
    }
}

#[tokio::test]
async fn an_endless_loop_burns_exactly_its_fuel() {
    let mut job = job(&command("(loop (br 0))"));
    job.limits.fuel = 5_000_000;
    let outcome = run(job).await;
    assert_eq!((outcome.status, outcome.exit_code), (Status::OutOfFuel, None));
    assert_eq!(outcome.fuel_used, 5_000_000);
}

#[tokio::test]
async fn an_endless_loop_with_endless_fuel_ends_at_its_time() {
    let mut job = job(&command("(loop (br 0))"));
    job.limits = Limits { fuel: u64::MAX, time: Duration::from_millis(700), ..job.limits };
    let (told, progress) = watch::channel(Progress::default());
    let outcome = runners().run(job, Some(told), CancellationToken::new()).await.unwrap();
    assert_eq!((outcome.status, outcome.fuel_used), (Status::Timeout, 0));
    assert_eq!(error(&outcome), "the time limit of 700 ms was reached");
    assert!(outcome.duration >= Duration::from_millis(690), "{:?}", outcome.duration);
    let progress = progress.borrow().clone();
    assert_eq!(progress.phase, Phase::Running);
    assert!(progress.fuel_used >= 1_000_000 && progress.memory_bytes == 2 * 65536, "{progress:?}");
}

/// A subscription to the monotonic clock, relative, for 20 s.
const SLEEP_20_S: &str = "(i32.store (i32.const 64) (i32.const 0)) (i32.store8 (i32.const 72) (i32.const 0))
    (i32.store (i32.const 80) (i32.const 1)) (i64.store (i32.const 88) (i64.const 20000000000))
    (drop (call $poll (i32.const 64) (i32.const 256) (i32.const 1) (i32.const 512)))";

#[tokio::test]
async fn a_sleeping_guest_is_woken_for_its_deadline() {
    let mut job = job(&command(SLEEP_20_S));
    job.limits.time = Duration::from_secs(1);
    let outcome = run(job).await;
    assert_eq!(outcome.status, Status::Timeout, "{outcome:?}");
    assert!(outcome.duration >= Duration::from_millis(990), "{:?}", outcome.duration);
}

#[tokio::test]
async fn growing_beyond_the_limit_is_refused_and_the_guest_goes_on() {
    let mut job = job(r#"(module (memory (export "memory") 1)
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#);
    job.function = "grow".into();
    job.limits.memory_bytes = 4 << 20;
    job.args = vec!["63".into()];
    let outcome = run(job.clone()).await;
    assert_eq!((outcome.status, outcome.stdout.as_slice()), (Status::Ok, &b"1"[..]));
    assert_eq!(outcome.peak_memory_bytes, 4 << 20);
    job.args = vec!["64".into()];
    let outcome = run(job).await;
    assert_eq!((outcome.status, outcome.stdout.as_slice()), (Status::Ok, &b"-1"[..]));
    assert_eq!(outcome.peak_memory_bytes, 65536);
}

#[tokio::test]
async fn a_guest_that_traps_after_a_refusal_is_out_of_memory() {
    let outcome =
        run_wat(&command("(if (i32.eq (memory.grow (i32.const 4000)) (i32.const -1)) (then unreachable))"))
            .await;
    assert_eq!(outcome.status, Status::OutOfMemory);
    assert_eq!(
        error(&outcome),
        "memory of 262275072 bytes was asked for, the limit is 134217728 bytes; then it trapped: unreachable"
    );
}

#[tokio::test]
async fn a_modules_own_maximum_is_not_the_limits_refusal() {
    let outcome = run_wat(
        r#"(module (memory 1 2) (func (export "_start") (drop (memory.grow (i32.const 5000))) unreachable))"#,
    )
    .await;
    assert_eq!((outcome.status, error(&outcome)), (Status::Trap, "unreachable"));
}

#[tokio::test]
async fn a_module_that_needs_more_than_the_limit_from_the_start_is_out_of_memory() {
    let outcome = run_wat(r#"(module (memory 3000) (func (export "_start")))"#).await;
    assert_eq!((outcome.status, outcome.peak_memory_bytes), (Status::OutOfMemory, 0));
    let outcome = run_wat(r#"(module (table 5000000 funcref) (func (export "_start")))"#).await;
    assert_eq!(outcome.status, Status::OutOfMemory);
    assert_eq!(error(&outcome), "tables of 5000000 elements were asked for, the limit is 131072");
}

#[tokio::test]
async fn the_whole_of_a_large_limit_can_be_used() {
    let mut job = job(r#"(module (memory (export "memory") 1) (func (export "_start")
            (if (i32.eq (memory.grow (i32.const 65535)) (i32.const -1)) (then unreachable))
            (i32.store8 (i32.const -1) (i32.const 7))))"#);
    job.limits.memory_bytes = 16 << 30;
    let outcome = run(job).await;
    assert_eq!((outcome.status, error(&outcome), outcome.peak_memory_bytes), (Status::Ok, "", 4 << 30));
}

#[tokio::test]
async fn endless_recursion_overflows_the_guests_stack_and_no_other() {
    for stack_bytes in [0, 1 << 20, 64 << 20] {
        let mut job = job(r#"(module (func $deeper (export "_start") (call $deeper)))"#);
        job.limits.stack_bytes = stack_bytes;
        let outcome = run(job).await;
        assert_eq!((outcome.status, error(&outcome)), (Status::StackOverflow, "stack overflow in deeper"));
    }
}

#[tokio::test]
async fn a_trap_is_named_with_its_function() {
    let outcome = run_wat(r#"(module (func $oops unreachable) (func (export "_start") (call $oops)))"#).await;
    assert_eq!((outcome.status, error(&outcome)), (Status::Trap, "unreachable in oops"));
    let outcome =
        run_wat(r#"(module (memory 1) (func (export "_start") (drop (i32.load (i32.const -4)))))"#).await;
    assert_eq!((outcome.status, error(&outcome)), (Status::Trap, "memory access out of bounds"));
    let outcome =
        run_wat(r#"(module (func (export "_start") (drop (i32.div_s (i32.const 1) (i32.const 0)))))"#).await;
    assert_eq!((outcome.status, error(&outcome)), (Status::Trap, "integer divide by zero"));
}

#[tokio::test]
async fn a_flood_of_output_ends_the_run_and_keeps_what_was_allowed() {
    let mut job =
        job(&command("(loop (call $write (i32.const 1) (i32.const 1024) (i32.const 60000)) (br 0))"));
    job.limits.output_bytes = 100_000;
    let outcome = run(job).await;
    assert_eq!((outcome.status, error(&outcome)), (Status::Trap, "output-limit"));
    assert_eq!(outcome.stdout.len(), 100_000);
}

#[tokio::test]
async fn what_is_not_a_module_is_refused_with_a_reason() {
    let whole = wat::parse_str(command("")).unwrap();
    let component = b"\0asm\x0d\0\x01\0";
    for (bytes, reason) in [
        (&b"\x7fELF\x02\x01"[..], "begins with 7f454c46, not 0061736d, a native Linux program"),
        (b"(module)", "WebAssembly text"),
        (b"", "it is empty"),
        (b"\0as", "truncated"),
        (whole.get(..whole.len() / 2).unwrap(), "truncated"),
        (component, "it is no command component"),
    ] {
        let outcome = run(Job::new(bytes)).await;
        assert_eq!(outcome.status, Status::InvalidModule);
        assert!(error(&outcome).contains(reason), "{} should say {reason}", error(&outcome));
    }
    for (wat, reason) in [
        (r#"(module (import "env" "launch" (func)) (func (export "_start")))"#, "it imports env.launch,"),
        (
            r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)) (func (export "_start")))"#,
            "do not fit",
        ),
        (
            r#"(module (func (export "main")) (func (export "b")))"#,
            "no function `_start`; it exports `main`, `b`",
        ),
        (r#"(module (memory (export "_start") 1))"#, "no function `_start`, and no other"),
        (r#"(module (func (export "_start") (param i32)))"#, "must take and return nothing"),
        (r#"(module (memory 1 1 shared) (func (export "_start")))"#, "does not compile"),
        (r#"(module (memory i64 1) (func (export "_start")))"#, "does not compile"),
        (r#"(module (memory 1) (memory 1) (func (export "_start")))"#, "does not compile"),
    ] {
        let outcome = run_wat(wat).await;
        assert_eq!(outcome.status, Status::InvalidModule, "{wat}");
        assert!(error(&outcome).contains(reason), "{} should say {reason}", error(&outcome));
    }
}

#[tokio::test]
async fn a_start_function_is_bound_like_the_entry() {
    let mut job = job(r#"(module (func $begin (loop (br 0))) (start $begin) (func (export "_start")))"#);
    job.limits.fuel = 1_000_000;
    assert_eq!(run(job).await.status, Status::OutOfFuel);
}

/// LEB128, as WebAssembly writes its numbers.
fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A module of `functions` functions that each declare 50,000 locals: nine bytes that take 2 ms to compile.
fn many_locals(functions: u32) -> Vec<u8> {
    let section = |id: u8, content: Vec<u8>| [vec![id], leb(content.len() as u32), content].concat();
    let locals = [vec![1], leb(50_000), vec![0x7f, 0x0b]].concat();
    let body = [leb(locals.len() as u32), locals].concat();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, vec![1, 0x60, 0, 0]),
        section(3, [leb(functions), vec![0; functions as usize]].concat()),
        section(7, b"\x01\x06_start\x00\x00".to_vec()),
        section(10, [leb(functions), body.repeat(functions as usize)].concat()),
    ]
    .concat()
}

#[tokio::test]
async fn a_module_that_compiles_for_ever_is_refused_for_it() {
    assert_eq!(run(Job::new(many_locals(1))).await.status, Status::Ok, "such a module is valid");
    let outcome = run(Job::new(many_locals(40_000))).await;
    assert_eq!(outcome.status, Status::InvalidModule, "{outcome:?}");
    assert!(error(&outcome).contains("compiling it takes more than"), "{}", error(&outcome));
}

#[tokio::test]
async fn a_module_that_compiles_to_gigabytes_is_refused_for_it() {
    // All values of one function alive at the same time.
    let count = 40_000;
    let loads: String = (0..count).map(|at| format!("(i32.load (i32.const {}))", at * 4)).collect();
    let adds = "i32.add ".repeat(count - 1);
    let wat = format!(r#"(module (memory 10) (func (result i32) {loads} {adds}) (func (export "_start")))"#);
    let outcome = run_wat(&wat).await;
    assert_eq!(outcome.status, Status::InvalidModule, "{outcome:?}");
    assert!(error(&outcome).contains("compiling it takes more than"), "{}", error(&outcome));
}

#[tokio::test]
async fn typed_functions_take_words_and_give_json() {
    let wat = r#"(module
        (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func (export "same") (param i64) (result i64) (local.get 0))
        (func (export "divide") (param f64 f64) (result f64) (f64.div (local.get 0) (local.get 1)))
        (func (export "both") (param f32) (result f32 i32) (local.get 0) (i32.const -5))
        (func (export "none") (param i32)))"#;
    for (function, args, result) in [
        ("add", &["40", "2"][..], "42"),
        ("add", &["4294967295", "0"], "-1"),
        ("same", &["9007199254740991"], "9007199254740991"),
        ("same", &["-9007199254740992"], "\"-9007199254740992\""),
        ("divide", &["1", "8"], "0.125"),
        ("divide", &["-1", "0"], "\"-Infinity\""),
        ("divide", &["0", "0"], "\"NaN\""),
        ("both", &["0.1"], "[0.1,-5]"),
        ("none", &["1"], ""),
    ] {
        let mut job = job(wat);
        job.function = function.into();
        job.args = args.iter().map(|arg| arg.to_string()).collect();
        let outcome = run(job).await;
        assert_eq!((outcome.status, error(&outcome)), (Status::Ok, ""));
        assert_eq!(String::from_utf8(outcome.stdout).unwrap(), result, "{function} {args:?}");
    }
    for (args, reason) in
        [(&["1"][..], "takes 2 arguments (i32, i32), 1 given"), (&["1", "x"], "argument 2 of `add`")]
    {
        let mut job = job(wat);
        job.function = "add".into();
        job.args = args.iter().map(|arg| arg.to_string()).collect();
        let outcome = run(job).await;
        assert_eq!(outcome.status, Status::InvalidModule);
        assert!(error(&outcome).contains(reason), "{}", error(&outcome));
    }
}

/// Prints both clocks and 32 random bytes, then works a little with memory and floats.
pub fn probe() -> Job {
    job(&command(
        "(drop (call $clock (i32.const 0) (i64.const 1) (i32.const 2048)))
         (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 2056)))
         (drop (call $random_get (i32.const 2064) (i32.const 32)))
         (f64.store (i32.const 2096) (f64.div (f64.const 0) (f64.const 0)))
         (drop (memory.grow (i32.const 3)))
         (call $write (i32.const 1) (i32.const 2048) (i32.const 56))",
    ))
}

#[tokio::test]
async fn the_same_job_gives_the_same_everything_and_another_seed_other_bytes() {
    let facts =
        |outcome: Outcome| (outcome.status, outcome.stdout, outcome.fuel_used, outcome.peak_memory_bytes);
    let first = facts(run(probe()).await);
    assert_eq!(first.0, Status::Ok);
    assert_eq!(first, facts(run(probe()).await));
    let mut other = probe();
    other.seed = [1; 32];
    let other = facts(run(other).await);
    assert_eq!(other.1.get(..16), first.1.get(..16), "the clocks do not follow the seed");
    assert_ne!(other.1.get(16..48), first.1.get(16..48), "the random bytes do");
    assert_eq!((other.2, other.3), (first.2, first.3));
}

#[tokio::test]
async fn real_clocks_and_random_bytes_come_only_when_allowed() {
    let fixed = run(probe()).await.stdout;
    let mut job = probe();
    (job.wall_clock, job.random) = (true, true);
    let real = run(job).await.stdout;
    let wall = u64::from_le_bytes(real.get(..8).unwrap().try_into().unwrap());
    assert!(wall > 1_700_000_000_000_000_000, "{wall}");
    assert_ne!(real.get(8..16), fixed.get(8..16));
    assert_ne!(real.get(16..48), fixed.get(16..48));
    assert_eq!(fixed.get(..8).unwrap(), 946_684_800_000_000_000_u64.to_le_bytes());
}

#[tokio::test]
async fn random_bytes_cost_fuel_and_come_in_bounded_pieces() {
    let body = |length: u32| {
        command(&format!("(call $proc_exit (call $random_get (i32.const 4096) (i32.const {length})))"))
    };
    let outcome = run_wat(&body(40_000)).await;
    assert_eq!(outcome.exit_code, Some(0));
    assert!((40_000..40_100).contains(&outcome.fuel_used), "{}", outcome.fuel_used);
    assert_eq!(run_wat(&body(100_000)).await.exit_code, Some(28), "EINVAL");
    let mut dear = job(&body(40_000));
    dear.limits.fuel = 30_000;
    assert_eq!(run(dear).await.status, Status::OutOfFuel);
}

#[tokio::test]
async fn a_guest_sees_no_environment_and_opens_no_file() {
    let outcome = run_wat(&command(
        "(drop (call $environ (i32.const 2048) (i32.const 2052)))
         (i32.store (i32.const 2056)
            (call $open (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 5)
                (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 3000)))
         (call $write (i32.const 1) (i32.const 2048) (i32.const 12))",
    ))
    .await;
    let word = |at: usize| u32::from_le_bytes(outcome.stdout.get(at..at + 4).unwrap().try_into().unwrap());
    assert_eq!((word(0), word(4)), (0, 0), "no variables");
    assert_eq!(word(8), 8, "EBADF: descriptor 3 is not there");
}

#[tokio::test]
async fn a_module_of_more_than_64_mib_is_refused() {
    let outcome = run(Job::new(vec![0; (64 << 20) + 1])).await;
    assert_eq!(outcome.status, Status::InvalidModule);
    assert!(error(&outcome).contains("at most 67108864 are accepted"), "{outcome:?}");
}
