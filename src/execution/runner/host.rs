//! The world as a guest sees it: WASI preview 1, or 0.2 for a component, with clocks that stand still and random bytes from a seed.

use std::time::Duration;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use tokio::time::Instant;
use wasmtime::component::{self, Resource};
use wasmtime::{Caller, Engine, Extern, Linker, StoreContextMut, Trap};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{self, DynPollable};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, I32Exit, WasiCtxBuilder, WasiCtxView, WasiView};

use super::super::wire::Task;
use super::meter::Meter;
use super::poll::poll_oneoff;
use super::stdio::Output;
use super::timers::Timers;

pub(super) const WASI: &str = "wasi_snapshot_preview1";
/// Where components get their timers; a test compares the version with the one that is linked.
const COMPONENT_CLOCK: &str = "wasi:clocks/monotonic-clock@0.2.12";
/// What a guest sees as its program's name; a file's true name would differ between machines.
const PROGRAM_NAME: &str = "main.wasm";
/// The hour it always is: 2000-01-01T00:00:00Z. Not zero, which programs take for a clock not set.
const FIXED_WALL_CLOCK: Duration = Duration::from_secs(946_684_800);
/// The fixed monotonic clock, ns. Not zero either.
const FIXED_MONOTONIC: u64 = 1_000_000_000;
/// Handles of the host a guest may hold: three streams and what one poll needs.
pub(super) const MAX_RESOURCES: usize = 64;
/// Most random bytes in one call. Callers that want more loop; wasi-libc asks for 256 at a time.
const MAX_RANDOM_BYTES: u32 = 64 << 10;
/// WASI's errno for a descriptor that is none, an address outside memory, a bad argument, and a fault of this side.
pub(super) const ERRNO_BADF: i32 = 8;
pub(super) const ERRNO_FAULT: i32 = 21;
pub(super) const ERRNO_INVAL: i32 = 28;
const ERRNO_IO: i32 = 29;

/// The state of one store.
pub(in super::super) struct Host {
    wasi: WasiP1Ctx,
    pub(super) meter: Meter,
    pub(super) timers: Timers,
    pub(super) clock: Clock,
    /// None: real random bytes are allowed.
    random: Option<ChaCha20Rng>,
}

impl Host {
    pub(super) fn new(
        task: &Task,
        stdin: Vec<u8>,
        meter: Meter,
        (stdout, stderr): (Output, Output),
        timers: Timers,
    ) -> Self {
        let clock = if task.wall_clock { Clock::Real(Instant::now()) } else { Clock::Fixed };
        let mut builder = WasiCtxBuilder::new();
        builder
            .arg(PROGRAM_NAME)
            .args(&task.args)
            .stdin(MemoryInputPipe::new(stdin))
            .stdout(stdout)
            .stderr(stderr)
            .wall_clock(clock)
            .monotonic_clock(clock)
            .allow_tcp(false)
            .allow_udp(false);
        let seeded = || ChaCha20Rng::from_seed(task.seed);
        if !task.random {
            // Components ask here, preview-1 modules in `random_get` below.
            builder.secure_random(seeded()).insecure_random(seeded()).insecure_random_seed(0);
        }
        builder.max_random_size(MAX_RANDOM_BYTES.into());
        let mut wasi = builder.build_p1();
        wasi.ctx().table.set_max_capacity(MAX_RESOURCES);
        let random = (!task.random).then(seeded);
        Self { wasi, meter, timers, clock, random }
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

/// What a guest is told of the time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clock {
    /// It stands still.
    Fixed,
    /// The real ones; the monotonic one begins with the run.
    Real(Instant),
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        match self {
            Self::Fixed => FIXED_WALL_CLOCK,
            Self::Real(_) => std::time::UNIX_EPOCH.elapsed().unwrap_or_default(),
        }
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        match self {
            Self::Fixed => FIXED_MONOTONIC,
            Self::Real(began) => u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX),
        }
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
    // wasmtime's own timers are real ones, and which of two is seen first a matter of luck.
    linker
        .func_wrap_async(WASI, "poll_oneoff", |caller, arguments| Box::new(poll_oneoff(caller, arguments)))?;
    linker.allow_shadowing(false);
    Ok(linker)
}

/// All that a component may import.
pub(in super::super) fn component_linker(engine: &Engine) -> wasmtime::Result<component::Linker<Host>> {
    let mut linker = component::Linker::new(engine);
    p2::add_to_linker_async(&mut linker)?;
    linker.allow_shadowing(true);
    let mut clock = linker.instance(COMPONENT_CLOCK)?;
    clock.func_wrap("subscribe-duration", |store: StoreContextMut<'_, Host>, (after,): (u64,)| {
        subscribe(store, after)
    })?;
    clock.func_wrap("subscribe-instant", |store: StoreContextMut<'_, Host>, (at,): (u64,)| {
        let now = HostMonotonicClock::now(&store.data().clock);
        subscribe(store, at.saturating_sub(now))
    })?;
    linker.allow_shadowing(false);
    Ok(linker)
}

/// A component's timer.
fn subscribe(mut store: StoreContextMut<'_, Host>, after: u64) -> wasmtime::Result<(Resource<DynPollable>,)> {
    let host = store.data_mut();
    let timer = host.timers.timer(after);
    let table = host.wasi.ctx().table;
    let timer = table.push(timer)?;
    Ok((p2::subscribe(table, timer)?,))
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

#[cfg(test)]
mod tests {
    /// A version that is not linked would leave the real timers in their place, and say nothing.
    #[test]
    fn the_timers_of_components_are_those_of_the_wasi_that_is_linked() {
        let engine = crate::execution::engine::engine(1 << 20).unwrap();
        let mut linker = wasmtime::component::Linker::<super::Host>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        let defined = linker
            .instance(super::COMPONENT_CLOCK)
            .unwrap()
            .func_wrap("subscribe-duration", |_, (_,): (u64,)| Ok(()));
        assert!(defined.is_err(), "there is nothing of that name to be put out of its place");
    }
}
