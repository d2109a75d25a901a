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
/// A slot that was left stays as writable as it was until it is used again: it counts, though nothing is in it.
const LEFT_SLOTS: u64 = 2;
/// What a guest may touch beside its memory, stack, input and outputs: a table's worth of elements, its instance.
const PER_GUEST_DATA: u64 = 2 * MIB;
/// CPU time of a runner in its whole life. It is replaced long before.
pub(super) const RUNNER_CPU: Duration = Duration::from_secs(24 * 3600);

/// What guests may go beyond their deadlines before their runner is taken for hung.
const GRACE: Duration = Duration::from_millis(100);
/// Nanoseconds that one instruction takes for each byte it fills or copies, at the most: it looks at no clock meanwhile, and
/// memory that is touched for the first time has to be found first (measured: 0.5 to 1.7 ns).
const BULK_NS_PER_BYTE: u64 = 2;

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

/// The most memory that a guest can have, whatever its limit: what 32 bits can name.
pub(super) fn guest_memory(limits: &Limits) -> u64 {
    limits.memory_bytes.min(MEMORY_RESERVATION)
}

/// What of the guests' memory one with these limits, and so much input, may take.
pub(super) fn guest_data(limits: &Limits, input: usize) -> u64 {
    let input = u64::try_from(input).unwrap_or(u64::MAX);
    let outputs = limits.output_bytes.saturating_mul(2);
    let parts = [guest_memory(limits), limits.stack_bytes, outputs, input, PER_GUEST_DATA];
    parts.into_iter().fold(0, u64::saturating_add)
}

/// Writable memory of a runner whose guests together may have so much.
pub(super) fn runner_data(guests: u64, slots: u32) -> u64 {
    let slots = PER_SLOT_DATA.saturating_mul(slots.into());
    guests.saturating_mul(LEFT_SLOTS).saturating_add(RUNNER_DATA).saturating_add(slots)
}

/// Address space of a runner: a pool sets aside all that 32 bits can name for each memory.
pub(super) fn runner_address_space(data_bytes: u64, slots: u32) -> u64 {
    let slot = MEMORY_RESERVATION.saturating_add(MEMORY_GUARD.saturating_mul(2)).saturating_mul(2);
    // Tables and stacks, a small part of that. As much again for guests with a stack of their own size, which have no slot.
    let slots = slot.saturating_add(256 * MIB).saturating_mul(slots.into()).saturating_mul(2);
    data_bytes.saturating_add(slots).saturating_add(OWN_ADDRESS_SPACE)
}

/// How long a runner may be silent because a guest with these limits does one thing. Whoever else is in it is late by that.
pub(super) fn silence(limits: &Limits) -> Duration {
    GRACE.saturating_add(Duration::from_nanos(guest_memory(limits).saturating_mul(BULK_NS_PER_BYTE)))
}
