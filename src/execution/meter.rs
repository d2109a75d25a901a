//! Counts a guest's memory and refuses what goes beyond its limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

/// Elements of all tables together. Programs of tens of megabytes have some 50,000 functions to point at; a
/// million is 8 MB on the host.
pub(super) const MAX_TABLE_ELEMENTS: u64 = 1_000_000;
/// Tables of an instance; compilers make one, hand-written modules a few.
const MAX_TABLES: usize = 16;

/// The limiter of one store, and the peak meter.
pub(super) struct Meter {
    limit: u64,
    /// The sum over all memories now.
    held: u64,
    table_elements: u64,
    /// Shared with whoever reports progress while the store is busy.
    peak: Arc<AtomicU64>,
    refused: Option<String>,
    host_failed: bool,
}

impl Meter {
    pub(super) fn new(limit: u64, peak: Arc<AtomicU64>) -> Self {
        Self { limit, held: 0, table_elements: 0, peak, refused: None, host_failed: false }
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

    fn refuse(&mut self, reason: String) {
        self.refused.get_or_insert(reason);
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Beyond the module's own maximum: fails by the rules of WebAssembly, not by the job's limit.
        if current > 0 && maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let grown = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
        let wanted = self.held.saturating_add(grown);
        if wanted > self.limit {
            self.refuse(format!("memory of {wanted} bytes was asked for, the limit is {} bytes", self.limit));
            return Ok(false);
        }
        self.held = wanted;
        self.peak.fetch_max(wanted, Ordering::Relaxed);
        Ok(true)
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
        if current > 0 && maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let grown = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
        let wanted = self.table_elements.saturating_add(grown);
        if wanted > MAX_TABLE_ELEMENTS {
            self.refuse(format!(
                "tables of {wanted} elements were asked for, the limit is {MAX_TABLE_ELEMENTS}"
            ));
            return Ok(false);
        }
        self.table_elements = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        1
    }
}
