//! The engine's settings, and the [`Environment`] that names them in a receipt.

use std::sync::LazyLock;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy, WasmFeatures,
};

use crate::document::{Environment, Sha256Digest};

/// The wasmtime this is built with; a test compares it with the lock file.
pub(super) const ENGINE_VERSION: &str = "48.0.8";

/// Changes whenever this code gives a guest something else to see (its clocks, its random bytes, what a
/// host call costs), which the engine's own settings cannot show.
const HOST_REVISION: &str = "host-3";

/// Address space kept for a linear memory: all that 32 bits can name, so that compiled code needs no bounds
/// checks and memory never moves. Address space is not memory; the limits bound what is used of it.
pub(super) const MEMORY_RESERVATION: u64 = 4 << 30;
/// What lies around a memory, on both sides, to catch constant offsets.
pub(super) const MEMORY_GUARD: u64 = 32 << 20;

/// Elements of all tables together. Programs of tens of megabytes have some 50,000 functions to point at; so many are 1 MiB
/// on the host.
pub(super) const MAX_TABLE_ELEMENTS: u64 = 128 << 10;
/// Tables of one job; compilers make one a module, hand-written modules a few, an adapted component half a dozen.
pub(super) const MAX_TABLES: u32 = 16;
/// Core instances of a component: program, adapter and the shims between them are four.
pub(super) const MAX_CORE_INSTANCES: u32 = 32;
/// Memories of a component, one for each core module that has one.
pub(super) const MAX_MEMORIES: u32 = 4;

/// What the engine keeps of one instance beside memories and tables: 100,000 globals take 1.6 MB.
const MAX_INSTANCE_BYTES: usize = 16 << 20;

/// Stack left to host functions above what WebAssembly may use: a native overflow would abort the process.
const HOST_STACK_BYTES: usize = 1 << 20;

/// The features a module may use: those of WebAssembly 2.0 and a few plain later ones. Left out is what
/// differs between machines (threads, relaxed SIMD), what multiplies the attack surface (GC types, exceptions,
/// several memories), and 64-bit memories, which lose the guard pages.
const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::COMPONENT_MODEL);

/// Everything in the settings that could change a result. The stack limit is the job's and stands in its
/// manifest. The processor's own extensions (AVX and such) change speed, never results.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    /// Bits of [`WasmFeatures`].
    features: u64,
    fuel: bool,
    /// Only one NaN: which bits an operation yields otherwise depends on the processor.
    canonical_nan: bool,
    epochs: bool,
    /// Copy-on-write images make fuel differ between platforms (wasmtime issue 14331).
    copy_on_write: bool,
    reservation: u64,
    guard: u64,
    may_move: bool,
    host_stack: usize,
}

const SETTINGS: Settings = Settings {
    features: FEATURES.bits(),
    fuel: true,
    canonical_nan: true,
    epochs: false,
    copy_on_write: false,
    reservation: MEMORY_RESERVATION,
    guard: MEMORY_GUARD,
    may_move: false,
    host_stack: HOST_STACK_BYTES,
};

/// The settings, with the stack limit a job asks for ([`Limits::possible`](super::Limits) bounds it).
fn config(stack_bytes: u64) -> Config {
    let stack = usize::try_from(stack_bytes).unwrap_or(HOST_STACK_BYTES);
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .wasm_features(FEATURES.complement(), false)
        .wasm_features(FEATURES, true)
        .consume_fuel(SETTINGS.fuel)
        .cranelift_nan_canonicalization(SETTINGS.canonical_nan)
        .epoch_interruption(SETTINGS.epochs)
        // One thread compiles: the child's limits then mean what they say.
        .parallel_compilation(false)
        .concurrency_support(false)
        .max_wasm_stack(stack)
        .async_stack_size(stack.saturating_add(SETTINGS.host_stack))
        .memory_reservation(SETTINGS.reservation)
        .memory_reservation_for_growth(0)
        .memory_guard_size(SETTINGS.guard)
        .memory_may_move(SETTINGS.may_move)
        .memory_init_cow(SETTINGS.copy_on_write);
    config
}

/// An engine that compiles, or that serves the few jobs with a stack limit of their own.
pub(super) fn engine(stack_bytes: u64) -> wasmtime::Result<Engine> {
    Engine::new(config(stack_bytes).allocation_strategy(InstanceAllocationStrategy::OnDemand))
}

/// An engine with everything for `slots` instances at once set aside: an instance then costs microseconds.
pub(super) fn pooled_engine(stack_bytes: u64, slots: u32) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    // A component is several core instances with a memory and a few tables between them.
    let many = slots.saturating_mul(2);
    pool.total_core_instances(many.max(MAX_CORE_INSTANCES))
        .total_component_instances(slots)
        .total_memories(many.max(MAX_MEMORIES))
        .total_tables(many.max(MAX_TABLES))
        .total_stacks(slots)
        .total_gc_heaps(0)
        .max_core_instance_size(MAX_INSTANCE_BYTES)
        .max_component_instance_size(MAX_INSTANCE_BYTES)
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_tables_per_module(MAX_TABLES)
        .max_memory_size(usize::try_from(MEMORY_RESERVATION).unwrap_or(usize::MAX))
        .table_elements(usize::try_from(MAX_TABLE_ELEMENTS).unwrap_or(usize::MAX))
        // Zeroing a small guest's memory by hand is faster than giving it back; more than this is not (1 MiB costs 15 µs).
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(4 << 10)
        // A slot that was used is used again before a fresh one: what is resident stays near what is needed.
        .max_unused_warm_slots(16)
        .pagemap_scan(Enabled::No);
    Engine::new(config(stack_bytes).allocation_strategy(InstanceAllocationStrategy::Pooling(pool)))
}

/// What results depend on besides the job: equal environments give equal outcomes. Starts no engine.
pub fn environment() -> Environment {
    static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| Environment {
        engine: "wasmtime".into(),
        version: ENGINE_VERSION.into(),
        settings_sha256: Sha256Digest::of(format!("{HOST_REVISION} {SETTINGS:?}").as_bytes()),
        target: target(),
    });
    ENVIRONMENT.clone()
}

/// What compiled code is good for. Processor extensions are not in it: a runner that lacks one refuses the code.
pub(super) fn code_digest() -> Sha256Digest {
    let Environment { engine, version, settings_sha256, target } = environment();
    Sha256Digest::of(format!("{engine} {version} {settings_sha256} {target}").as_bytes())
}

/// The target triple, as the engine would name it.
fn target() -> String {
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    match std::env::consts::OS {
        "linux" => format!("{}-unknown-linux-{libc}", std::env::consts::ARCH),
        other => format!("{}-{other}", std::env::consts::ARCH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_settings_the_engine_really_has() {
        let engine = engine(1 << 20).unwrap();
        let real = Settings {
            features: engine.get_wasm_features().bits(),
            fuel: engine.get_consume_fuel(),
            canonical_nan: engine.get_cranelift_nan_canonicalization() == Some(true),
            epochs: engine.get_epoch_interruption(),
            copy_on_write: engine.get_memory_init_cow(),
            reservation: engine.get_memory_reservation(),
            guard: engine.get_memory_guard_size(),
            may_move: engine.get_memory_may_move(),
            host_stack: engine.get_async_stack_size() - engine.get_max_wasm_stack(),
        };
        assert_eq!(real, SETTINGS);
        assert_eq!(engine.get_target(), Some(target()));
    }

    #[test]
    fn the_environment_names_the_version_that_is_linked() {
        let lock = include_str!("../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"wasmtime\"\nversion = \"{ENGINE_VERSION}\"\n")));
    }
}
