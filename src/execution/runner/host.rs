//! The world as a guest sees it: WASI preview 1, or 0.2 for a component, with clocks that stand still and random bytes from a seed.

use std::time::Duration;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use wasmtime::component;
use wasmtime::{Caller, Engine, Extern, Linker, Trap};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, I32Exit, WasiCtxBuilder, WasiCtxView, WasiView, p2};

use super::super::wire::Task;
use super::meter::Meter;
use super::stdio::Output;

const WASI: &str = "wasi_snapshot_preview1";
/// What a guest sees as its program's name; a file's true name would differ between machines.
const PROGRAM_NAME: &str = "main.wasm";
/// The hour it always is: 2000-01-01T00:00:00Z. Not zero, which programs take for a clock not set.
const FIXED_WALL_CLOCK: Duration = Duration::from_secs(946_684_800);
/// The fixed monotonic clock, ns. Not zero either.
const FIXED_MONOTONIC: u64 = 1_000_000_000;
/// Handles of the host a guest may hold: three streams and what one poll needs.
const MAX_RESOURCES: usize = 64;
/// Most random bytes in one call. Callers that want more loop; wasi-libc asks for 256 at a time.
const MAX_RANDOM_BYTES: u32 = 64 << 10;
/// WASI's errno for a bad argument and for an address outside memory.
const ERRNO_FAULT: i32 = 21;
const ERRNO_INVAL: i32 = 28;
const ERRNO_IO: i32 = 29;

/// The state of one store.
pub(in super::super) struct Host {
    wasi: WasiP1Ctx,
    pub(super) meter: Meter,
    /// None: real random bytes are allowed.
    random: Option<ChaCha20Rng>,
}

impl Host {
    pub(super) fn new(task: &Task, stdin: Vec<u8>, meter: Meter, stdout: Output, stderr: Output) -> Self {
        let mut builder = WasiCtxBuilder::new();
        builder
            .arg(PROGRAM_NAME)
            .args(&task.args)
            .stdin(MemoryInputPipe::new(stdin))
            .stdout(stdout)
            .stderr(stderr)
            .allow_tcp(false)
            .allow_udp(false);
        if !task.wall_clock {
            builder.wall_clock(Fixed).monotonic_clock(Fixed);
        }
        let seeded = || ChaCha20Rng::from_seed(task.seed);
        if !task.random {
            // Components ask here, preview-1 modules in `random_get` below.
            builder.secure_random(seeded()).insecure_random(seeded()).insecure_random_seed(0);
        }
        builder.max_random_size(MAX_RANDOM_BYTES.into());
        let mut wasi = builder.build_p1();
        wasi.ctx().table.set_max_capacity(MAX_RESOURCES);
        let random = (!task.random).then(seeded);
        Self { wasi, meter, random }
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

struct Fixed;

impl HostWallClock for Fixed {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        FIXED_WALL_CLOCK
    }
}

impl HostMonotonicClock for Fixed {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        FIXED_MONOTONIC
    }
}

/// All that a module may import.
pub(in super::super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_async(&mut linker, |host: &mut Host| &mut host.wasi)?;
    linker.allow_shadowing(true);
    // wasmtime's own lets a guest have 64 MiB of random bytes for a few units of fuel.
    linker.func_wrap(WASI, "random_get", random_get)?;
    // wasmtime's own traps on codes from 126 on, which programs do use (255 for -1).
    linker.func_wrap(WASI, "proc_exit", |code: i32| -> wasmtime::Result<()> { Err(I32Exit(code).into()) })?;
    linker.allow_shadowing(false);
    Ok(linker)
}

/// All that a component may import.
pub(in super::super) fn component_linker(engine: &Engine) -> wasmtime::Result<component::Linker<Host>> {
    let mut linker = component::Linker::new(engine);
    p2::add_to_linker_async(&mut linker)?;
    Ok(linker)
}

/// `random_get(buffer, length) -> errno`, at one unit of fuel a byte.
fn random_get(mut caller: Caller<'_, Host>, buffer: u32, length: u32) -> wasmtime::Result<i32> {
    if length > MAX_RANDOM_BYTES {
        return Ok(ERRNO_INVAL);
    }
    let Some(fuel) = caller.get_fuel()?.checked_sub(u64::from(length)) else {
        caller.set_fuel(0)?;
        return Err(Trap::OutOfFuel.into());
    };
    caller.set_fuel(fuel)?;
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        return Ok(ERRNO_FAULT);
    };
    let (bytes, host) = memory.data_and_store_mut(&mut caller);
    let range = usize::try_from(buffer).ok().zip(usize::try_from(length).ok());
    let Some(target) = range.and_then(|(start, length)| bytes.get_mut(start..start.checked_add(length)?))
    else {
        return Ok(ERRNO_FAULT);
    };
    match &mut host.random {
        Some(seeded) => seeded.fill_bytes(target),
        None if getrandom::fill(target).is_err() => return Ok(ERRNO_IO),
        None => {}
    }
    Ok(0)
}
