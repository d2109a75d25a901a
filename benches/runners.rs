//! Guests in warm, locked-down runner processes, beside raw wasmtime in this process.
//!
//! `cargo bench --bench runners`; each line says what was measured, what it is compared with and what it should be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a bench that meets the unexpected ends by panicking"
)]

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer as _, SigningKey};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasm_encoder::{CodeSection, ExportKind, ExportSection, Function, FunctionSection, Module, TypeSection};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, PoolingAllocationConfig, Store,
};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use zerostate::config;
use zerostate::document::{ArtifactSource, Draft, Status, Verdict};
use zerostate::execution::{Job, Runners, RunnersConfig};
use zerostate::identity::PassphraseSource;
use zerostate::node::Home;

const PROGRAM: &str = env!("CARGO_BIN_EXE_zerostate");
const HELLO: &[u8] = include_bytes!("../assets/examples/hello.wasm");
const IN_FLIGHT: usize = 1_000;

/// Everything, or what is named: `cargo bench --bench runners -- latency`.
fn wanted(part: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|name| name == part)
}

fn line(what: &str, measured: String, beside: String, target: &str, holds: bool) {
    println!("{what:<58} {measured:>14} {beside:>24} {target:>14}   {}", if holds { "yes" } else { "NO" });
}

/// Raw wasmtime: the same settings, the same pool, no process, no protocol, no limits but fuel.
struct Raw {
    engine: Engine,
    pre: InstancePre<WasiP1Ctx>,
}

impl Raw {
    fn new(wasm: &[u8]) -> Self {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(100).linear_memory_keep_resident(64 << 10).table_keep_resident(4 << 10);
        let mut config = Config::new();
        config
            .consume_fuel(true)
            .gc_support(false)
            .cranelift_nan_canonicalization(true)
            .memory_init_cow(false)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).unwrap();
        let mut linker = Linker::new(&engine);
        p1::add_to_linker_async(&mut linker, |wasi| wasi).unwrap();
        let module = wasmtime::Module::new(&engine, wasm).unwrap();
        let pre = linker.instantiate_pre(&module).unwrap();
        Self { engine, pre }
    }

    async fn run(&self, entry: &str) -> usize {
        let stdout = MemoryOutputPipe::new(1 << 20);
        let wasi = WasiCtxBuilder::new().arg("main.wasm").stdout(stdout.clone()).build_p1();
        let mut store = Store::new(&self.engine, wasi);
        store.set_fuel(u64::MAX).unwrap();
        store.fuel_async_yield_interval(Some(1_000_000)).unwrap();
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        let entry = instance.get_typed_func::<(), ()>(&mut store, entry).unwrap();
        entry.call_async(&mut store, ()).await.unwrap();
        stdout.contents().len()
    }
}

async fn run(runners: &Runners, job: Job) {
    let outcome = runners.run(job, None, CancellationToken::new()).await.unwrap();
    assert_eq!(outcome.status, Status::Ok, "{outcome:?}");
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// One after the other, alternating with raw runs so that both meet the same machine.
async fn latency(runners: &Runners) {
    let raw = Raw::new(HELLO);
    let job = Job::new(HELLO);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..40 {
        for _ in 0..250 {
            let start = Instant::now();
            assert!(raw.run("_start").await > 0);
            theirs.push(start.elapsed());
        }
        for _ in 0..250 {
            let start = Instant::now();
            run(runners, job.clone()).await;
            ours.push(start.elapsed());
        }
        if round == 0 {
            (ours, theirs) = (Vec::new(), Vec::new());
        }
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let holds = ours <= 50.0 && ours <= 2.5 * theirs;
    line(
        "hello world, job in to outcome out, p50",
        format!("{ours:.1} µs"),
        format!("{:.2} x raw {theirs:.1} µs", ours / theirs),
        "50 µs, 2.5 x",
        holds,
    );
}

async fn throughput(runners: &Runners) {
    const RUNS: usize = 150_000;
    let job = Job::new(HELLO);
    let mut jobs = JoinSet::new();
    let start = Instant::now();
    for _ in 0..IN_FLIGHT {
        let (runners, job) = (runners.clone(), job.clone());
        jobs.spawn(async move {
            for _ in 0..RUNS / IN_FLIGHT {
                run(&runners, job.clone()).await;
            }
        });
    }
    jobs.join_all().await;
    let rate = RUNS as f64 / start.elapsed().as_secs_f64();
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    line(
        "hello world, 1,000 in flight, two runners",
        format!("{rate:.0} /s"),
        format!("{cores} cores"),
        "30000 /s",
        rate >= 30_000.0,
    );
}

async fn computing(runners: &Runners) {
    let text = r#"(module (func (export "_start") (local $n i32) (local $x i64)
        (local.set $x (i64.const 88172645463325252))
        (loop
            (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
            (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
            (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
            (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100000000)))))
        (memory (export "memory") 1))"#;
    let wasm = wat::parse_str(text).unwrap();
    let raw = Raw::new(&wasm);
    let mut job = Job::new(wasm);
    job.limits.fuel = u64::MAX;
    run(runners, job.clone()).await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let start = Instant::now();
        raw.run("_start").await;
        theirs.push(start.elapsed());
        let start = Instant::now();
        run(runners, job.clone()).await;
        ours.push(start.elapsed());
    }
    let (ours, theirs) = (median(ours), median(theirs));
    line(
        "a guest that computes",
        format!("{:.0} ms", ours / 1e3),
        format!("{:.3} x raw {:.0} ms", ours / theirs, theirs / 1e3),
        "1.10 x",
        ours <= 1.1 * theirs,
    );
}

/// A module of about a million bytes, of honest functions.
fn million() -> Vec<u8> {
    let (mut types, mut functions, mut exports, mut codes) =
        (TypeSection::new(), FunctionSection::new(), ExportSection::new(), CodeSection::new());
    types.ty().function([], []);
    types.ty().function([wasm_encoder::ValType::I32], [wasm_encoder::ValType::I32]);
    functions.function(0);
    let mut start = Function::new([]);
    start.instructions().end();
    codes.function(&start);
    exports.export("_start", ExportKind::Func, 0);
    let mut bytes = 0;
    let mut number = 0;
    while bytes < 1_000_000 {
        let mut function = Function::new([(1, wasm_encoder::ValType::I32)]);
        let mut code = function.instructions();
        code.local_get(0);
        for step in 0..100 {
            code.i32_const(number * 7 + step)
                .i32_mul()
                .local_tee(1)
                .i32_const(step)
                .i32_rotl()
                .local_get(1)
                .i32_add();
        }
        code.end();
        bytes += function.byte_len();
        number += 1;
        functions.function(1);
        codes.function(&function);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&exports).section(&codes);
    module.finish()
}

async fn cached() {
    let folder = tempfile::tempdir().unwrap();
    let config = || RunnersConfig { cache: Some(folder.path().into()), ..RunnersConfig::of_program(PROGRAM) };
    let wasm = million();
    let size = wasm.len();
    let job = Job::new(wasm);
    let first = Runners::new(config()).unwrap();
    run(&first, job.clone()).await;
    drop(first);
    let mut times = Vec::new();
    for _ in 0..9 {
        // A pool that has been started again, and whose runners are warm.
        let again = Runners::new(RunnersConfig { warm: true, ..config() }).unwrap();
        run(&again, Job::new(HELLO)).await;
        let start = Instant::now();
        run(&again, job.clone()).await;
        times.push(start.elapsed());
    }
    let time = median(times) / 1e3;
    line(
        "first run of a cached module after a restart",
        format!("{time:.1} ms"),
        format!("{:.1} MB of wasm", size as f64 / 1e6),
        "5 ms",
        time <= 5.0,
    );
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0)
}

/// A thousand guests that have written to each page of their MiB, and sleep.
async fn memory(runners: &Runners) {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 16)
        (func (export "_start") (local $at i32)
            (loop (i32.store (local.get $at) (i32.const 7))
                (br_if 0 (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4096))) (i32.const 1048576))))
            (i32.store8 (i32.const 112) (i32.const 0)) (i32.store (i32.const 116) (i32.const 1))
            (i64.store (i32.const 120) (i64.const 600000000000))
            (drop (call $poll (i32.const 96) (i32.const 200) (i32.const 1) (i32.const 300)))))"#;
    let mut job = Job::new(wat::parse_str(text).unwrap());
    (job.limits.memory_bytes, job.limits.time) = (1 << 20, Duration::from_secs(600));
    // What they may write counts as theirs too.
    job.limits.output_bytes = 64 << 10;
    let cancel = CancellationToken::new();
    let mut jobs = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (runners, job, cancel) = (runners.clone(), job.clone(), cancel.clone());
        jobs.spawn(async move { runners.run(job, None, cancel).await.is_err() });
    }
    let mut load = runners.load();
    let all = load.wait_for(|load| load.running == IN_FLIGHT && load.waiting == 0).await.unwrap().clone();
    let pids = all.runners.iter().copied().chain([std::process::id()]);
    let total = pids.map(resident).sum::<u64>() / 1024;
    line(
        "1,000 guests of 1 MiB at once, all processes",
        format!("{total} MB"),
        String::new(),
        "2000 MB",
        total <= 2_000,
    );
    cancel.cancel();
    assert!(jobs.join_all().await.into_iter().all(|cancelled| cancelled));
}

/// From a draft to a receipt that is signed and on the disk.
async fn receipts() {
    const RECEIPTS: usize = 30_000;
    const SIGNATURES: u32 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), &PassphraseSource::None).unwrap();
    let config = config::Config::default();
    let artifacts = home.artifacts(&config).unwrap();
    let cid = artifacts.add_bytes(HELLO.to_vec(), false).await.unwrap().cid.to_string();
    let (tracker, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let tasks = home.tasks_alone(&artifacts, &config, &tracker, shutdown.clone()).unwrap();
    let draft = Draft::for_module("hello", ArtifactSource::Cid { cid, sha256: None, size: None });
    tasks.run(draft.clone()).await.unwrap();
    let mut jobs = JoinSet::new();
    let start = Instant::now();
    for _ in 0..IN_FLIGHT {
        let (tasks, draft) = (tasks.clone(), draft.clone());
        jobs.spawn(async move {
            for _ in 0..RECEIPTS / IN_FLIGHT {
                tasks.run(draft.clone()).await.unwrap();
            }
        });
    }
    jobs.join_all().await;
    let rate = RECEIPTS as f64 / start.elapsed().as_secs_f64();
    // Each needs two signatures, the manifest's and its own.
    let key = SigningKey::from_bytes(&[7; 32]);
    let start = Instant::now();
    for number in 0..SIGNATURES {
        std::hint::black_box(key.sign(&number.to_le_bytes()));
    }
    let signature = start.elapsed().as_secs_f64() / f64::from(SIGNATURES);
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get) as f64;
    line(
        "receipts run, signed and durably stored, 1,000 in flight",
        format!("{rate:.0} /s"),
        format!("{:.1} x 2 raw signatures", cores / rate / (2.0 * signature)),
        "10000 /s",
        rate >= 10_000.0,
    );
    shutdown.cancel();
}

/// A loop of some 30 million steps.
const LOOP: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (local $n i64)
    (local.set $n (i64.const 30000000))
    (loop $again
        (local.set $n (i64.sub (local.get $n) (i64.const 1)))
        (br_if $again (i64.ne (local.get $n) (i64.const 0))))))"#;

/// A receipt's task run again and compared, beside the run that the receipt is of.
async fn reruns() {
    const ROUNDS: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), &PassphraseSource::None).unwrap();
    let config = config::Config::default();
    let artifacts = home.artifacts(&config).unwrap();
    let (tracker, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let tasks = home.tasks_alone(&artifacts, &config, &tracker, shutdown.clone()).unwrap();
    for (name, module) in [("hello", HELLO.to_vec()), ("a loop", wat::parse_str(LOOP).unwrap())] {
        let cid = artifacts.add_bytes(module, false).await.unwrap().cid.to_string();
        let draft = Draft::for_module("bench", ArtifactSource::Cid { cid, sha256: None, size: None });
        let receipt = tasks.run(draft.clone()).await.unwrap().receipt;
        let (mut plain, mut again) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = Instant::now();
            tasks.run(draft.clone()).await.unwrap();
            plain.push(start.elapsed());
            let start = Instant::now();
            let found = tasks.examine(receipt.clone()).await.unwrap().attestation;
            again.push(start.elapsed());
            assert_eq!(found.verdict, Verdict::Agree);
        }
        let [plain, again] = [plain, again].map(|mut times| {
            times.sort_unstable();
            times[ROUNDS / 2].as_secs_f64()
        });
        line(
            &format!("{name} run again and compared, median"),
            format!("{:.2} ms", again * 1e3),
            format!("{:.2} x the run and receipt", again / plain),
            "1.2 x",
            again <= 1.2 * plain,
        );
    }
    shutdown.cancel();
}

fn main() -> ExitCode {
    // The home's own runners are children of this very program.
    match std::env::args().nth(1).as_deref() {
        Some("runner") => return zerostate::execution::serve(),
        Some("compiler") => return zerostate::execution::compile_one(),
        _ => {}
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        println!("{:<58} {:>14} {:>24} {:>14}   ok?", "", "measured", "beside", "target");
        let two = RunnersConfig {
            processes: NonZeroUsize::new(2).unwrap(),
            warm: true,
            ..RunnersConfig::of_program(PROGRAM)
        };
        let runners = Runners::new(two).unwrap();
        run(&runners, Job::new(HELLO)).await;
        if wanted("latency") {
            // On a worker thread, as it is in a node.
            let spawned = runners.clone();
            tokio::spawn(async move { latency(&spawned).await }).await.unwrap();
        }
        if wanted("throughput") {
            throughput(&runners).await;
        }
        if wanted("computing") {
            computing(&runners).await;
        }
        if wanted("memory") {
            memory(&runners).await;
        }
        drop(runners);
        if wanted("cached") {
            cached().await;
        }
        if wanted("receipts") {
            receipts().await;
        }
        if wanted("reruns") {
            reruns().await;
        }
    });
    ExitCode::SUCCESS
}
