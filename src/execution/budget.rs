//! What a runner process may use of the machine: one set of numbers for the child that binds itself with them
//! and for the parent that watches it.

use std::time::Duration;

use super::Limits;
use super::engine::{MEMORY_GUARD, MEMORY_RESERVATION};
use super::meter::MAX_TABLE_ELEMENTS;

const MIB: u64 = 1 << 20;

/// CPU time to compile any module at all. A 185 KB module has been seen to take 27 s, a 3 MB honest one 5 s.
const COMPILE_BASE: Duration = Duration::from_secs(5);
/// More for each begun MiB of module.
const COMPILE_PER_MIB: Duration = Duration::from_secs(4);
const COMPILE_MOST: Duration = Duration::from_secs(120);
/// Memory to compile any module at all, and for each byte of one. The 185 KB module took 2.4 GB.
const COMPILE_DATA_BASE: u64 = 512 * MIB;
const COMPILE_DATA_PER_BYTE: u64 = 64;
const COMPILE_DATA_MOST: u64 = 3 << 30;
/// Heap of the runner itself: its copies of the module and frames, the runtime, the allocator's slack.
const OWN_DATA: u64 = 128 * MIB;
/// Address space that is not memory: the program, its libraries, stacks.
const OWN_ADDRESS_SPACE: u64 = 1 << 30;
/// CPU time to read the job and hand back the outcome.
const OWN_CPU: Duration = Duration::from_secs(5);
/// Bytes of a table element on the host.
const TABLE_ELEMENT_BYTES: u64 = 16;
/// What the parent gives a child beyond the run's limit before it kills it.
const RUN_GRACE: Duration = Duration::from_millis(100);
/// What the parent gives a child to start and read its job, on a machine with much else to do.
const START: Duration = Duration::from_secs(10);
/// What the parent gives a child to hand over an outcome it has announced.
pub(super) const HAND_OVER: Duration = Duration::from_secs(10);

/// The bounds of one job's process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// CPU time up to the end of compiling.
    pub(super) compile_cpu: Duration,
    /// Writable memory while compiling, bytes.
    pub(super) compile_data: u64,
    /// CPU time altogether.
    pub(super) total_cpu: Duration,
    /// Writable memory while running, bytes.
    pub(super) run_data: u64,
    /// Address space, bytes.
    pub(super) address_space: u64,
    /// Wall clock, from the start of the process to the end of compiling.
    pub(super) compile_wall: Duration,
    /// Wall clock, from the end of compiling to the outcome.
    pub(super) run_wall: Duration,
}

impl Budget {
    /// For a module and a standard input of so many bytes.
    pub(super) fn new(module: u64, stdin: u64, limits: &Limits) -> Self {
        let mibs = u32::try_from(module.div_ceil(MIB)).unwrap_or(u32::MAX);
        let compile_cpu = COMPILE_PER_MIB.saturating_mul(mibs).saturating_add(COMPILE_BASE).min(COMPILE_MOST);
        let inputs = module.saturating_add(stdin.saturating_mul(2));
        let compile_data = COMPILE_DATA_PER_BYTE
            .saturating_mul(module)
            .saturating_add(COMPILE_DATA_BASE)
            .min(COMPILE_DATA_MOST)
            .saturating_add(inputs);
        // Two outputs, each in a buffer that doubles as it grows. What compiling left behind stays counted,
        // for the allocator may keep it. The guest's own limit is the meter's; this is the wall behind it.
        let run_data = limits
            .memory_bytes
            .min(MEMORY_RESERVATION)
            .saturating_add(compile_data)
            .saturating_add(limits.output_bytes.saturating_mul(4))
            .saturating_add(limits.stack_bytes)
            .saturating_add(MAX_TABLE_ELEMENTS.saturating_mul(TABLE_ELEMENT_BYTES))
            .saturating_add(OWN_DATA);
        Self {
            compile_cpu,
            compile_data,
            total_cpu: compile_cpu.saturating_add(limits.time).saturating_add(OWN_CPU),
            run_data,
            address_space: run_data
                .saturating_add(MEMORY_RESERVATION)
                .saturating_add(MEMORY_GUARD.saturating_mul(2))
                .saturating_add(OWN_ADDRESS_SPACE),
            // Three processes may share a core before wall clock says no where CPU time says yes.
            compile_wall: compile_cpu.saturating_mul(3).saturating_add(START),
            run_wall: limits.time.saturating_add(RUN_GRACE),
        }
    }
}
