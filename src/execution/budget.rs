//! What the children may use of the machine: one set of numbers for the child that binds itself with them and for the
//! parent that watches it.

use std::time::Duration;

use super::Limits;
use super::engine::{MEMORY_GUARD, MEMORY_RESERVATION};

const MIB: u64 = 1 << 20;

/// CPU time to compile, more for each begun MiB of module: a 3 MB honest one takes 5 s. A hostile 185 KB module has been
/// seen to take 27 s.
const COMPILE_CPU_PER_MIB: Duration = Duration::from_secs(4);
const COMPILE_CPU_MOST: Duration = Duration::from_secs(120);
/// Memory to compile, more for each byte of module. The 185 KB module took 2.4 GB.
const COMPILE_DATA_PER_BYTE: u64 = 64;
const COMPILE_DATA_MOST: u64 = 3 << 30;
/// Three processes may share a core before wall clock says no where CPU time says yes.
const COMPILE_WALL_PER_CPU: u32 = 3;
/// What the parent gives a child to start, on a machine with much else to do.
const START: Duration = Duration::from_secs(10);

/// Address space that is not memory: the program, its libraries, stacks.
const OWN_ADDRESS_SPACE: u64 = 1 << 30;
/// Heap of a runner beside its guests: loaded code, the runtime, outputs on their way, the allocator's slack.
const RUNNER_DATA: u64 = 1 << 30;
/// What is set aside for each slot beside its memory, most of it never touched: two tables, a stack.
const PER_SLOT_DATA: u64 = 5 * MIB;
/// What a guest may touch of that, beside its memory: a table's worth of elements, some stack, some output.
const PER_GUEST_DATA: u64 = 2 * MIB;
/// CPU time of a runner in its whole life. It is replaced long before.
pub(super) const RUNNER_CPU: Duration = Duration::from_secs(24 * 3600);

/// What a guest may go beyond its deadline before its runner is taken for hung.
const GRACE: Duration = Duration::from_millis(100);
/// Bytes that one instruction fills or copies in a nanosecond at the least: it looks at no clock meanwhile.
const BULK_BYTES_PER_NS: u64 = 2;

/// The bounds of one compilation.
#[derive(Debug, Clone, Copy)]
pub(super) struct CompileBudget {
    pub(super) cpu: Duration,
    /// Writable memory, bytes.
    pub(super) data_bytes: u64,
    pub(super) wall: Duration,
}

impl CompileBudget {
    /// For a module of so many bytes, `cpu` and `data_bytes` being what the smallest gets.
    pub(super) fn new(module: u64, cpu: Duration, data_bytes: u64) -> Self {
        let mibs = u32::try_from(module / MIB).unwrap_or(u32::MAX);
        let cpu = COMPILE_CPU_PER_MIB.saturating_mul(mibs).saturating_add(cpu).min(COMPILE_CPU_MOST.max(cpu));
        let data_bytes = COMPILE_DATA_PER_BYTE
            .saturating_mul(module)
            .saturating_add(data_bytes)
            .min(COMPILE_DATA_MOST.max(data_bytes));
        Self { cpu, data_bytes, wall: cpu.saturating_mul(COMPILE_WALL_PER_CPU).saturating_add(START) }
    }
}

/// Address space of a compiler, for so much memory: its engine sets aside what a runner's does for a single guest.
pub(super) fn compiler_address_space(data_bytes: u64) -> u64 {
    runner_address_space(data_bytes, 2)
}

/// What of the guests' memory one with these limits may take.
pub(super) fn guest_data(limits: &Limits) -> u64 {
    limits.memory_bytes.min(MEMORY_RESERVATION).saturating_add(PER_GUEST_DATA)
}

/// Writable memory of a runner whose guests together may have so much.
pub(super) fn runner_data(guests: u64, slots: u32) -> u64 {
    guests.saturating_add(RUNNER_DATA).saturating_add(PER_SLOT_DATA.saturating_mul(slots.into()))
}

/// Address space of a runner: a pool sets aside all that 32 bits can name for each memory.
pub(super) fn runner_address_space(data_bytes: u64, slots: u32) -> u64 {
    let slot = MEMORY_RESERVATION.saturating_add(MEMORY_GUARD.saturating_mul(2)).saturating_mul(2);
    // Tables and stacks, a small part of that.
    let slots = slot.saturating_add(256 * MIB).saturating_mul(slots.into());
    data_bytes.saturating_add(slots).saturating_add(OWN_ADDRESS_SPACE)
}

/// How long after its start a guest must have ended, or its runner is hung.
pub(super) fn must_end_within(limits: &Limits) -> Duration {
    limits.time.saturating_add(silence(limits))
}

/// How long a runner may be silent because a guest with these limits does one thing.
pub(super) fn silence(limits: &Limits) -> Duration {
    GRACE
        .saturating_add(Duration::from_nanos(limits.memory_bytes.min(MEMORY_RESERVATION) / BULK_BYTES_PER_NS))
}
