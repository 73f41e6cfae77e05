//! The memory bound: all linear memories of a call together, and what else an instance can make grow.
//!
//! Growth that does not fit ends the call with the bound's name. To answer "no" instead would leave it to the guest's allocator, which as a rule aborts
//! with nothing but "unreachable". What is reserved as address space costs nothing; what counts is what a guest may touch.

use sluice_model::limits::{MAX_ALL_TABLE_ELEMENTS, MAX_TABLE_ELEMENTS};
use wasmtime::{Error, ResourceLimiter, Result};

/// Memories of one component: its own, and one of an adapter.
pub(crate) const MEMORIES: u32 = 2;
/// Tables of one component.
pub(crate) const TABLES: u32 = 16;
/// Core instances of one component. An interpreter with each of its libraries as a module of its own has some sixty.
pub(crate) const INSTANCES: u32 = 100;

/// A bound that was passed, on its way up through wasmtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("over {limit} {name} ({used})")]
pub(crate) struct Passed {
    pub(crate) name: &'static str,
    pub(crate) limit: u64,
    pub(crate) used: u64,
}

/// What a call's instances hold.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: u64,
    used: u64,
    peak: u64,
    elements: usize,
    /// Kept as well as returned: errors of an instantiation lose their type on the way.
    pub(crate) passed: Option<Passed>,
}

impl Memory {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: 0, peak: 0, elements: 0, passed: None }
    }

    /// The most that was held.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    fn refuse(&mut self, name: &'static str, limit: u64, used: u64) -> Error {
        let passed = Passed { name, limit, used };
        self.passed = Some(passed);
        Error::new(passed)
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let wanted = self.used.saturating_add(desired.saturating_sub(current) as u64);
        if wanted > self.limit {
            let limit = self.limit;
            return Err(self.refuse("memory-bytes", limit, wanted));
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The module's own maximum, or the slot's: the instruction answers -1, and nothing grew.
            return Ok(false);
        }
        self.used = wanted;
        self.peak = self.peak.max(wanted);
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if desired > MAX_TABLE_ELEMENTS {
            return Err(self.refuse("table-elements", MAX_TABLE_ELEMENTS as u64, desired as u64));
        }
        let wanted = self.elements.saturating_add(desired.saturating_sub(current));
        if wanted > MAX_ALL_TABLE_ELEMENTS {
            return Err(self.refuse("table-elements", MAX_ALL_TABLE_ELEMENTS as u64, wanted as u64));
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.elements = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES as usize
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}
