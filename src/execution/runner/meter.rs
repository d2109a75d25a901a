//! Counts a guest's memory and refuses what goes beyond its limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use super::super::engine::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLE_ELEMENTS, MAX_TABLES};

/// The limiter of one store, and the peak meter.
pub(super) struct Meter {
    memory: Account,
    tables: Account,
    /// The most memory held, shared with whoever reports progress while the store is busy.
    peak: Arc<AtomicU64>,
    refused: Option<String>,
    host_failed: bool,
}

/// How much of something all of a guest's memories, or tables, hold together.
struct Account {
    held: u64,
    limit: u64,
}

/// What to say to a wish to grow.
enum Growth {
    Granted,
    /// Beyond the module's own maximum: it fails by the rules of WebAssembly, not by the job's limit.
    Impossible,
    /// Beyond the job's limit: so much was wanted.
    Refused(u64),
}

impl Account {
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Growth {
        // The allocator's own bound comes in the same argument; it is never below this limit.
        let own = maximum.filter(|own| u64::try_from(*own).is_ok_and(|own| own < self.limit));
        if current > 0 && own.is_some_and(|own| desired > own) {
            return Growth::Impossible;
        }
        let grown = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
        let wanted = self.held.saturating_add(grown);
        if wanted > self.limit {
            return Growth::Refused(wanted);
        }
        self.held = wanted;
        Growth::Granted
    }
}

impl Meter {
    pub(super) fn new(memory_limit: u64, peak: Arc<AtomicU64>) -> Self {
        Self {
            memory: Account { held: 0, limit: memory_limit },
            tables: Account { held: 0, limit: MAX_TABLE_ELEMENTS },
            peak,
            refused: None,
            host_failed: false,
        }
    }

    pub(super) fn peak_bytes(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// The first refusal, in words, if there was one.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// True when this machine, not the limit, failed to provide memory.
    pub(super) fn host_failed(&self) -> bool {
        self.host_failed
    }

    fn judge(&mut self, growth: &Growth, words: impl FnOnce(u64) -> String) -> bool {
        if let Growth::Refused(wanted) = growth {
            self.refused.get_or_insert_with(|| words(*wanted));
        }
        matches!(growth, Growth::Granted)
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = self.memory.grow(current, desired, maximum);
        self.peak.fetch_max(self.memory.held, Ordering::Relaxed);
        let limit = self.memory.limit;
        Ok(self.judge(&growth, |wanted| {
            format!("memory of {wanted} bytes was asked for, the limit is {limit} bytes")
        }))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // Only a machine out of memory comes here: the type's own maximum is refused above. Ending the run
        // is better than a -1 that another machine would not have given.
        self.host_failed = true;
        Err(error.context("this machine could not provide the memory that the limit allows"))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = self.tables.grow(current, desired, maximum);
        Ok(self.judge(&growth, |wanted| {
            format!("tables of {wanted} elements were asked for, the limit is {MAX_TABLE_ELEMENTS}")
        }))
    }

    fn instances(&self) -> usize {
        count(MAX_CORE_INSTANCES)
    }

    fn tables(&self) -> usize {
        count(MAX_TABLES)
    }

    fn memories(&self) -> usize {
        count(MAX_MEMORIES)
    }
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
