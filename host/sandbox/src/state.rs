//! What belongs to one call: the store's data.

use crate::call::Entry;
use crate::error::CallError;
use crate::host::Host;
use crate::log::Log;
use crate::memory::{Memory, Passed};
use crate::meter::Meter;
use sluice_model::{
    Limits,
    limits::{MAX_PROBLEMS, MAX_RESOURCES},
};
use std::sync::Arc;
use wasmtime::component::ResourceTable;
use wasmtime::{Error, Result};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// A call that is refused while a module describes itself, on its way up through wasmtime.
#[derive(Debug, thiserror::Error)]
#[error("{0} is refused in `describe`")]
pub(crate) struct RefusedCall(pub(crate) String);

/// A cancelled run that would not end, on its way up through wasmtime.
#[derive(Debug, thiserror::Error)]
#[error("cancelled")]
pub(crate) struct CancelledCall;

/// The store's data of one call.
pub(crate) struct State {
    /// The other side of the imports.
    pub(crate) host: Box<dyn Host>,
    /// What the guest was entered for.
    pub(crate) entry: Entry,
    pub(crate) meter: Arc<Meter>,
    pub(crate) memory: Memory,
    pub(crate) log: Log,
    pub(crate) wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    /// Calls into the host so far, and how many there may be.
    pub(crate) calls: u64,
    call_limit: u64,
    /// The function of the contract that was called last.
    pub(crate) last_call: Option<&'static str>,
    /// What was wrong with the entries that the host refused last.
    pub(crate) rejected: Option<String>,
    problems: u32,
    /// Ticks seen since the run was cancelled.
    pub(crate) cancelled_ticks: u32,
}

impl State {
    pub(crate) fn new(entry: Entry, host: Box<dyn Host>, limits: &Limits, memory_bytes: u64) -> Self {
        let log = Log::new(limits.log_bytes, host.now());
        let wasi = crate::wasi::context(entry, &log);
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Self {
            host,
            entry,
            meter: Arc::default(),
            memory: Memory::new(limits.memory_bytes.min(memory_bytes)),
            log,
            wasi,
            table,
            calls: 0,
            call_limit: limits.host_calls,
            last_call: None,
            rejected: None,
            problems: 0,
            cancelled_ticks: 0,
        }
    }

    /// Every import of the contract begins here: refused in `describe`, counted, and given the host.
    pub(crate) fn enter(&mut self, function: &'static str) -> Result<(&mut dyn Host, &Meter)> {
        if self.entry == Entry::Describe {
            return Err(Error::new(RefusedCall(function.to_owned())));
        }
        if self.calls >= self.call_limit {
            return Err(self.passed("host-calls", self.call_limit, self.calls.saturating_add(1)));
        }
        self.calls += 1;
        self.last_call = Some(function);
        Ok((self.host.as_mut(), &self.meter))
    }

    /// The error that ends a call at a bound.
    pub(crate) fn passed(&mut self, name: &'static str, limit: u64, used: u64) -> Error {
        let passed = Passed { name, limit, used };
        self.memory.passed = Some(passed);
        Error::new(passed)
    }

    /// Whether one more problem is passed on.
    pub(crate) fn one_more_problem(&mut self) -> bool {
        self.problems = self.problems.saturating_add(1);
        self.problems as usize <= MAX_PROBLEMS
    }

    /// What an error that ended the call means.
    pub(crate) fn verdict(&self, error: &Error) -> CallError {
        if let Some(Passed { name, limit, used }) = self.memory.passed.or_else(|| error.downcast_ref::<Passed>().copied()) {
            return CallError::Limit { name, limit, used };
        }
        if let Some(RefusedCall(function)) = error.downcast_ref::<RefusedCall>() {
            return CallError::Refused(function.clone());
        }
        if error.downcast_ref::<CancelledCall>().is_some() {
            return CallError::Cancelled;
        }
        crate::call::trap(error, self.log.last_words().as_deref())
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
