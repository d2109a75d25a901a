//! One run of a prepared module.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use wasmtime::{Engine, ExternType, InstancePre, Store, Trap};

use super::Job;
use super::deadline::{TimeIsUp, YIELD_FUEL, guarded};
use super::entry;
use super::host::Host;
use super::meter::Meter;
use super::module::missing_entry;
use super::stdio::{OUTPUT_LIMIT, Output};
use super::traps::{End, judge};
use crate::document::Status;

/// The entry of a WASI command.
const COMMAND_ENTRY: &str = "_start";
/// What a WASI library wants called before anything else.
const REACTOR_INITIALISE: &str = "_initialize";

/// The measured part of an outcome; the outputs travel beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    pub(super) status: Status,
    pub(super) exit_code: Option<i32>,
    pub(super) error: Option<String>,
    pub(super) fuel_used: u64,
    pub(super) peak_memory_bytes: u64,
    pub(super) duration: Duration,
}

impl Report {
    /// A run that did not come to run.
    pub(super) fn not_run(status: Status, error: impl Into<String>) -> Self {
        Self {
            status,
            exit_code: None,
            error: Some(error.into()),
            fuel_used: 0,
            peak_memory_bytes: 0,
            duration: Duration::ZERO,
        }
    }
}

/// A report and what the guest wrote.
pub(super) struct Finished {
    pub(super) report: Report,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Runs the job's function in a fresh instance, telling `progress(fuel, peak memory)` a few times a second.
/// Must be called in a tokio runtime with timers.
pub(super) async fn run(
    engine: &Engine,
    pre: &InstancePre<Host>,
    job: &Job,
    mut progress: impl FnMut(u64, u64) + Unpin,
) -> wasmtime::Result<Finished> {
    let started = Instant::now();
    let (stdout, stderr) = (Output::new(job.limits.output_bytes), Output::new(job.limits.output_bytes));
    let peak = Arc::new(AtomicU64::new(0));
    let meter = Meter::new(job.limits.memory_bytes, peak.clone());
    let mut store = Store::new(engine, Host::new(job, meter, stdout.clone(), stderr.clone()));
    store.limiter(|host| &mut host.meter);
    store.fuel_async_yield_interval(Some(YIELD_FUEL))?;

    // A limit too far away to be told from none.
    let deadline =
        started.checked_add(job.limits.time).unwrap_or_else(|| started + Duration::from_secs(86_400 * 365));
    let mut stage = Stage::Starting;
    let ended = guarded(deadline, call(&mut store, pre, job, &stdout, &mut stage), |fuel| {
        progress(fuel, peak.load(Ordering::Relaxed));
    })
    .await;

    let end = match ended {
        Err(TimeIsUp) => End::failed(Status::Timeout, time_is_up(job.limits.time)),
        Ok(Ok(())) => End::exited(0),
        Ok(Err(Fault::Entry(reason))) => End::failed(Status::InvalidModule, reason),
        Ok(Err(Fault::OutputLimit)) => End::failed(Status::Trap, OUTPUT_LIMIT),
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
        (Status::OutOfFuel, _) => job.limits.fuel,
        (_, Stage::Starting) => 0,
        (_, Stage::Entered) => job.limits.fuel.saturating_sub(store.get_fuel()?),
    };
    Ok(Finished {
        report: Report {
            status: end.status,
            exit_code: end.exit_code,
            error: end.error,
            fuel_used,
            peak_memory_bytes: store.data().meter.peak_bytes(),
            duration: started.elapsed(),
        },
        stdout: stdout.take(),
        stderr: stderr.take(),
    })
}

/// The words for a time limit reached.
pub(super) fn time_is_up(limit: Duration) -> String {
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

async fn call(
    store: &mut Store<Host>,
    pre: &InstancePre<Host>,
    job: &Job,
    stdout: &Output,
    stage: &mut Stage,
) -> Result<(), Fault> {
    let Some(ExternType::Func(ty)) = pre.module().get_export(&job.function) else {
        return Err(Fault::Entry(missing_entry(pre.module(), &job.function)));
    };
    let is_command = job.function == COMMAND_ENTRY;
    if is_command && (ty.params().len(), ty.results().len()) != (0, 0) {
        return Err(Fault::Entry(format!("`{COMMAND_ENTRY}` must take and return nothing, it is {ty}")));
    }
    let params = entry::parameters(&job.function, &ty, &job.args).map_err(Fault::Entry)?;
    let mut results = entry::room_for_results(&ty);

    // Bounds a hostile start function.
    store.set_fuel(job.limits.fuel)?;
    let instance = pre.instantiate_async(&mut *store).await?;
    let Some(function) = instance.get_func(&mut *store, &job.function) else {
        return Err(Fault::Entry(missing_entry(pre.module(), &job.function)));
    };
    if !is_command && let Ok(initialise) = instance.get_typed_func::<(), ()>(&mut *store, REACTOR_INITIALISE)
    {
        initialise.call_async(&mut *store, ()).await?;
    }
    store.set_fuel(job.limits.fuel)?;
    *stage = Stage::Entered;
    function.call_async(&mut *store, &params, &mut results).await?;
    match entry::to_json(&results) {
        Some(json) if !stdout.append(json.as_bytes()) => Err(Fault::OutputLimit),
        _ => Ok(()),
    }
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
