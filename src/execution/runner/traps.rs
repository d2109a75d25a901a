//! From the error that ended a guest to a status and stable words.

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::super::compiler::{shown, shown_error};
use super::meter::Meter;

use super::stdio::OUTPUT_LIMIT;
use crate::document::Status;

/// How a guest ended.
pub(super) struct End {
    pub(super) status: Status,
    pub(super) exit_code: Option<i32>,
    pub(super) error: Option<String>,
}

impl End {
    pub(super) fn exited(code: i32) -> Self {
        Self { status: Status::Ok, exit_code: Some(code), error: None }
    }

    pub(super) fn failed(status: Status, error: impl Into<String>) -> Self {
        Self { status, exit_code: None, error: Some(error.into()) }
    }
}

/// Judges `error`, knowing what the meter refused and whether the guest wrote too much.
pub(super) fn judge(error: &wasmtime::Error, meter: &Meter, output_exceeded: bool) -> End {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return End::exited(exit.0);
    }
    if output_exceeded {
        return End::failed(Status::Trap, OUTPUT_LIMIT);
    }
    if meter.host_failed() {
        return End::failed(Status::RunnerCrashed, shown_error(&format!("{error:#}")));
    }
    let trap = error.downcast_ref::<Trap>();
    match (trap, meter.refusal()) {
        (Some(Trap::OutOfFuel), _) => End::failed(Status::OutOfFuel, "all fuel burnt"),
        (Some(Trap::StackOverflow), _) => {
            End::failed(Status::StackOverflow, located("stack overflow", error))
        }
        (Some(trap), Some(refusal)) => End::failed(
            Status::OutOfMemory,
            format!("{refusal}; then it trapped: {}", located(name(*trap), error)),
        ),
        (None, Some(refusal)) => End::failed(Status::OutOfMemory, refusal),
        (Some(trap), None) => End::failed(Status::Trap, located(name(*trap), error)),
        (None, None) => End::failed(Status::Trap, shown_error(&format!("host call: {}", error.root_cause()))),
    }
}

/// Adds the function it happened in, where the module tells names.
fn located(what: &str, error: &wasmtime::Error) -> String {
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    match frames.first().and_then(|frame| frame.func_name()) {
        Some(function) => format!("{what} in {}", shown(function)),
        None => what.to_string(),
    }
}

/// The words stand in receipts and are compared between nodes: they must not follow wasmtime's wording.
fn name(trap: Trap) -> &'static str {
    match trap {
        Trap::MemoryOutOfBounds => "memory access out of bounds",
        Trap::TableOutOfBounds => "table access out of bounds",
        Trap::IndirectCallToNull => "indirect call to null",
        Trap::BadSignature => "indirect call type mismatch",
        Trap::IntegerOverflow => "integer overflow",
        Trap::IntegerDivisionByZero => "integer divide by zero",
        Trap::BadConversionToInteger => "invalid conversion to integer",
        Trap::UnreachableCodeReached => "unreachable",
        Trap::NullReference => "null reference",
        // The rest belongs to features that are off.
        _ => "trap",
    }
}
