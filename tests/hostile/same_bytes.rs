//! Random modules, each run again and again in two runner processes: what is attested is the same every time.

use std::collections::BTreeMap;

use arbitrary::Unstructured;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use futures::{StreamExt as _, stream};
use wasm_smith::{Config, Module};
use zerostate::document::Status;
use zerostate::execution::{Job, Outcome, Runners};

use super::guest::wat;
use super::{AT_ONCE, run, runners};

const MODULES: u64 = 1000;
/// Runs of each module, half of them in each runner.
const RUNS: usize = 10;
/// Fuel of a run: enough for most to come to an end, little enough for the others.
const FUEL: u64 = 1_000_000;
const MEMORY_BYTES: u64 = 16 << 20;
/// Random bytes a module is made from.
const SIZE: usize = 4096;
/// Of all runs, so many in a hundred must say more than that a module is invalid.
const TELLING: usize = 90;

/// What each module exports. Its entry calls nothing by itself; the others give what they computed.
const EXPORTS: [&str; 2] = ["numbers", "_start"];

fn config() -> Config {
    let exports = wat(r#"(module
        (func (export "_start"))
        (func (export "numbers") (result i64 f64 i32 f32)
            (i64.const 0) (f64.const 0) (i32.const 0) (f32.const 0)))"#);
    Config {
        exports: Some(exports),
        max_imports: 0,
        min_memories: 1,
        min_tables: 1,
        min_funcs: 4,
        min_globals: 2,
        max_instructions: 300,
        max_memory32_bytes: MEMORY_BYTES,
        max_table_elements: 1000,
        allow_start_export: true,
        // Off here because they are off there.
        gc_enabled: false,
        exceptions_enabled: false,
        // References to the host's values come with these.
        reference_types_enabled: false,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        threads_enabled: false,
        ..Config::default()
    }
}

/// The module of this seed, on every machine.
fn module(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    ChaCha20Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    Module::new(config(), &mut Unstructured::new(&bytes)).unwrap().to_bytes()
}

/// All of an outcome that a receipt attests.
type Attested = (Status, Option<i32>, Option<String>, Vec<u8>, Vec<u8>, u64, u64);

fn attested(outcome: Outcome) -> Attested {
    let Outcome { status, exit_code, error, stdout, stderr, fuel_used, peak_memory_bytes, .. } = outcome;
    (status, exit_code, error, stdout, stderr, fuel_used, peak_memory_bytes)
}

/// The one outcome of a module's function, or what differed. A status that is never attested says only itself.
async fn same(runners: &[Runners; 2], seed: u64, job: Job) -> Result<Status, String> {
    let mut first: Option<Attested> = None;
    for at in 0..RUNS {
        let outcome = run(&runners[at % 2], job.clone()).await;
        if at == 0 && outcome.status != Status::Ok {
            let told = outcome.error.as_deref().unwrap_or_default();
            println!("{} module {seed}, {}: {told}", outcome.status, job.function);
        }
        let status = outcome.status;
        if status == Status::RunnerCrashed {
            return Err(format!("module {seed}, {}, crashed its runner: {:?}", job.function, outcome.error));
        }
        if !status.is_attestable() {
            return Ok(status);
        }
        let now = attested(outcome);
        match &first {
            None => first = Some(now),
            Some(first) if *first == now => {}
            Some(first) => {
                return Err(format!("module {seed}, {}, run {at}: {now:?}, before {first:?}", job.function));
            }
        }
    }
    Ok(first.unwrap().0)
}

#[tokio::test]
async fn a_thousand_random_modules_give_the_same_bytes_in_two_runners() {
    let both = [runners(), runners()];
    let results: Vec<Result<Status, String>> = stream::iter(0..MODULES)
        .flat_map(|seed| {
            let bytes: std::sync::Arc<[u8]> = module(seed).into();
            stream::iter(EXPORTS.map(|function| {
                let mut job = Job::new(bytes.clone());
                job.function = function.into();
                job.limits.fuel = FUEL;
                job.limits.memory_bytes = MEMORY_BYTES;
                (seed, job)
            }))
        })
        .map(|(seed, job)| same(&both, seed, job))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    let mut differences = Vec::new();
    for result in results {
        match result {
            Ok(status) => *ends.entry(status.as_str()).or_default() += 1,
            Err(difference) => differences.push(difference),
        }
    }
    println!("{ends:?}");
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    let all: usize = ends.values().sum();
    let telling = all - ends.get("invalid-module").copied().unwrap_or(0);
    assert!(telling * 100 >= all * TELLING, "too little was run to tell anything: {ends:?}");
    assert!(ends.contains_key("ok") && ends.contains_key("trap"), "{ends:?}");
}
