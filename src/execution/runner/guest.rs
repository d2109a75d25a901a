//! One run of a loaded program.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wasmtime::{Engine, ExternType, InstancePre, PoolConcurrencyLimitError, Store, Trap};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::super::OUTPUT_TOLD;
use super::super::budget::guest_memory;
use super::super::compiler::missing_entry;
use super::super::wire::{Beat, Report, Task};
use super::deadline::{Place, TimeIsUp, YIELD_FUEL, guarded};
use super::entry;
use super::host::Host;
use super::meter::Meter;
use super::stdio::{OUTPUT_LIMIT, Output};
use super::timers::Timers;
use super::traps::{End, judge};
use super::turn::Turn;
use crate::document::Status;

/// The entry of a WASI command.
pub(in super::super) const COMMAND_ENTRY: &str = "_start";
/// What a WASI library wants called before anything else.
const REACTOR_INITIALISE: &str = "_initialize";
/// Bytes that one host call copies or walks through at the most: twice the default output, which takes a few milliseconds.
const HOST_CALL_BYTES: usize = 16 << 20;

/// Code that is loaded and linked.
pub(super) enum Program {
    Module(InstancePre<Host>),
    Component(CommandPre<Host>),
}

/// A report and what the guest wrote.
pub(super) struct Finished {
    pub(super) report: Report,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// There was no room for one more instance; nothing of the guest has run.
pub(super) struct NoRoom;

/// Runs the task in a fresh instance, telling how it is if it takes longer than a moment.
pub(super) async fn run(
    engine: &Engine,
    program: &Program,
    task: &Task,
    stdin: Vec<u8>,
    place: Place,
    mut tell: impl FnMut(Beat) + Unpin,
) -> wasmtime::Result<Result<Finished, NoRoom>> {
    let started = Instant::now();
    let limits = &task.limits;
    let (stdout, stderr) = (Output::new(limits.output_bytes), Output::new(limits.output_bytes));
    let peak = Arc::new(AtomicU64::new(0));
    let meter = Meter::new(guest_memory(limits), peak.clone());
    let (turn, timers) = (Turn::default(), Timers::default());
    let host = Host::new(task, stdin, meter, (stdout.clone(), stderr.clone()), timers.clone());
    let mut store = Store::new(engine, host);
    store.limiter(|host| &mut host.meter);
    store.fuel_async_yield_interval(Some(YIELD_FUEL))?;
    store.call_hook_async(turn.clone());
    store.set_hostcall_fuel(HOST_CALL_BYTES);

    let mut stage = Stage::Starting;
    let call = async {
        match program {
            Program::Module(pre) => call_module(&mut store, pre, task, &stdout, &mut stage).await,
            Program::Component(pre) => call_component(&mut store, pre, task, &mut stage).await,
        }
    };
    let ended = guarded(limits.time, place, turn, timers, call, |pulse| {
        tell(Beat {
            fuel_used: pulse.fuel.min(limits.fuel),
            memory_bytes: peak.load(Ordering::Relaxed),
            output_bytes: stdout.len().saturating_add(stderr.len()),
            elapsed: pulse.elapsed,
            asleep: pulse.asleep,
            output: stdout.end(OUTPUT_TOLD),
        });
    })
    .await;

    let end = match ended {
        Err(TimeIsUp) => End::failed(Status::Timeout, time_is_up(limits.time)),
        Ok(Ok(code)) => End::exited(code),
        Ok(Err(Fault::Entry(reason))) => End::failed(Status::InvalidModule, reason),
        Ok(Err(Fault::OutputLimit)) => End::failed(Status::Trap, OUTPUT_LIMIT),
        Ok(Err(Fault::Guest(error))) if stage == Stage::Starting && has_no_room(&error) => {
            return Ok(Err(NoRoom));
        }
        Ok(Err(Fault::Guest(error))) if stage == Stage::Starting && never_instantiates(&error, &store) => {
            End::failed(Status::InvalidModule, format!("it cannot be instantiated: {error:#}"))
        }
        Ok(Err(Fault::Guest(error))) => {
            judge(&error, &store.data().meter, stdout.exceeded() || stderr.exceeded())
        }
    };
    let fuel_used = match (end.status, stage) {
        // Which of the two limits fell is a race; the number would not repeat.
        (Status::Timeout | Status::RunnerCrashed, _) => 0,
        (Status::OutOfFuel, _) => limits.fuel,
        (_, Stage::Starting) => 0,
        (_, Stage::Entered) => limits.fuel.saturating_sub(store.get_fuel()?),
    };
    let report = Report {
        status: end.status,
        exit_code: end.exit_code,
        error: end.error,
        fuel_used,
        peak_memory_bytes: store.data().meter.peak_bytes(),
        duration: started.elapsed(),
    };
    Ok(Ok(Finished { report, stdout: stdout.take(), stderr: stderr.take() }))
}

/// The words for a time limit reached.
pub(in super::super) fn time_is_up(limit: Duration) -> String {
    format!("the time limit of {} ms was reached", limit.as_millis())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Instantiation, with the module's own start function.
    Starting,
    /// The entry call: from here fuel counts.
    Entered,
}

enum Fault {
    /// The entry function is not there or not callable with these arguments.
    Entry(String),
    /// The function's result does not fit into the output.
    OutputLimit,
    Guest(wasmtime::Error),
}

impl From<wasmtime::Error> for Fault {
    fn from(error: wasmtime::Error) -> Self {
        Self::Guest(error)
    }
}

/// Calls the task's function and gives the exit code.
async fn call_module(
    store: &mut Store<Host>,
    pre: &InstancePre<Host>,
    task: &Task,
    stdout: &Output,
    stage: &mut Stage,
) -> Result<i32, Fault> {
    let Some(ExternType::Func(ty)) = pre.module().get_export(&task.function) else {
        return Err(Fault::Entry(missing_entry(pre.module(), &task.function)));
    };
    let is_command = task.function == COMMAND_ENTRY;
    if is_command && (ty.params().len(), ty.results().len()) != (0, 0) {
        return Err(Fault::Entry(format!("`{COMMAND_ENTRY}` must take and return nothing, it is {ty}")));
    }
    let params = entry::parameters(&task.function, &ty, &task.args).map_err(Fault::Entry)?;
    let mut results = entry::room_for_results(&ty);

    // Bounds a hostile start function.
    store.set_fuel(task.limits.fuel)?;
    let instance = pre.instantiate_async(&mut *store).await?;
    let Some(function) = instance.get_func(&mut *store, &task.function) else {
        return Err(Fault::Entry(missing_entry(pre.module(), &task.function)));
    };
    if !is_command && let Ok(initialise) = instance.get_typed_func::<(), ()>(&mut *store, REACTOR_INITIALISE)
    {
        initialise.call_async(&mut *store, ()).await?;
    }
    store.set_fuel(task.limits.fuel)?;
    *stage = Stage::Entered;
    function.call_async(&mut *store, &params, &mut results).await?;
    match entry::to_json(&results) {
        Some(json) if !stdout.append(json.as_bytes()) => Err(Fault::OutputLimit),
        _ => Ok(0),
    }
}

/// Calls `wasi:cli/run` and gives the exit code: a component that returns an error has exit code 1.
async fn call_component(
    store: &mut Store<Host>,
    pre: &CommandPre<Host>,
    task: &Task,
    stage: &mut Stage,
) -> Result<i32, Fault> {
    if task.function != COMMAND_ENTRY {
        return Err(Fault::Entry(format!(
            "it is a component, which is run as a command; only `{COMMAND_ENTRY}` can be called, not `{}`",
            super::super::compiler::shown(&task.function)
        )));
    }
    store.set_fuel(task.limits.fuel)?;
    let command = pre.instantiate_async(&mut *store).await?;
    store.set_fuel(task.limits.fuel)?;
    *stage = Stage::Entered;
    let ended = command.wasi_cli_run().call_run(&mut *store).await?;
    Ok(i32::from(ended.is_err()))
}

/// True when this process had no place for one more instance, or no memory or address space for what it begins with.
fn has_no_room(error: &wasmtime::Error) -> bool {
    let lacks_memory = |cause: &(dyn std::error::Error + 'static)| {
        let of_io = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        let of_system = cause.downcast_ref::<rustix::io::Errno>().map(|error| error.raw_os_error());
        of_io.or(of_system) == Some(rustix::io::Errno::NOMEM.raw_os_error())
    };
    error.is::<PoolConcurrencyLimitError>() || error.chain().any(lacks_memory)
}

/// True when the module itself is at fault before any of its code ran: too many tables, say. A refusal by the
/// meter, a trap of the start function and a segment out of bounds are judged like any other end.
fn never_instantiates(error: &wasmtime::Error, store: &Store<Host>) -> bool {
    let meter = &store.data().meter;
    meter.refusal().is_none()
        && !meter.host_failed()
        && !error.is::<Trap>()
        && !error.is::<wasmtime_wasi::I32Exit>()
        && !error.is::<wasmtime::WasmBacktrace>()
}
