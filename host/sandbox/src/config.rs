//! wasmtime's settings, each chosen and none left to chance.
//!
//! Address space is reserved once and handed out in slots, so that a fresh instance costs microseconds. A slot reserves four GiB for each memory, though
//! no guest gets near that: with them compiled code needs no bounds checks. A machine (or a limit on address space) that has no room for that gets
//! on-demand allocation with small reservations instead: slower to start an instance, otherwise the same.

use crate::features::features;
use crate::memory::{INSTANCES, MEMORIES, TABLES};
use sluice_model::limits::MAX_TABLE_ELEMENTS;
use std::num::NonZeroUsize;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy, WasmFeatures};

/// Native stack for a guest's calls. Interpreters recurse deeply; twice wasmtime's own default.
const WASM_STACK: usize = 1 << 20;
/// The whole stack of a call: the guest's, and room for the host functions on top of it.
const ASYNC_STACK: usize = 2 << 20;
/// Bookkeeping of one core instance; large for interpreters with tens of thousands of functions.
const CORE_INSTANCE_BYTES: usize = 10 << 20;
/// Bookkeeping of a component: all its core instances together.
const COMPONENT_INSTANCE_BYTES: usize = 20 << 20;
/// Of each memory slot this much is cleaned by writing rather than by giving pages back: what a small connector touches in a run.
const KEEP_RESIDENT: usize = 128 << 10;
/// Functions of a crash that are kept: the innermost ones.
pub(crate) const FRAMES: usize = 16;
/// Address space behind each memory, where an access a little past the end is caught.
const GUARD: u64 = 32 << 20;
/// What a memory reserves at once where address space is scarce.
const SMALL_RESERVATION: u64 = 16 << 20;

/// How memory is found for instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// From slots reserved at the start, for this many calls at a time and this many bytes each.
    Pooling { calls: u32, memory_bytes: u64 },
    /// From the system, each time.
    OnDemand,
}

/// The settings of an engine that only compiles, for an engine that reserves address space or one that does not: the code is the same, and nothing is
/// reserved here. It compiles on one thread, so that what it may cost is known and the machine's other processors stay with the runs.
#[must_use]
pub(crate) fn compiling(reserved: bool) -> Config {
    let mut config = base();
    memory(&mut config, reserved);
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config.parallel_compilation(false);
    config
}

/// How compiled code reaches its memory: it decides whether there are bounds checks.
fn memory(config: &mut Config, reserved: bool) {
    config.memory_reservation(if reserved { 4 << 30 } else { SMALL_RESERVATION });
    config.memory_may_move(!reserved);
}

/// The settings of an engine.
#[must_use]
pub(crate) fn config(allocation: Allocation) -> Config {
    let mut config = base();
    match allocation {
        Allocation::Pooling { calls, memory_bytes } => {
            memory(&mut config, true);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(calls, memory_bytes)));
        }
        Allocation::OnDemand => {
            memory(&mut config, false);
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        }
    }
    config
}

/// What holds however memory is found.
fn base() -> Config {
    let mut config = Config::new();
    config.wasm_features(WasmFeatures::all() & !features(), false);
    config.wasm_features(features(), true);
    config.strategy(Strategy::Cranelift);
    config.cranelift_opt_level(OptLevel::Speed);
    config.epoch_interruption(true);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(FRAMES));
    config.native_unwind_info(false);
    config.max_wasm_stack(WASM_STACK);
    config.async_stack_size(ASYNC_STACK);
    config.memory_init_cow(true);
    config.memory_guard_size(GUARD);
    config.table_lazy_init(true);
    config
}

fn pool(calls: u32, memory_bytes: u64) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls.saturating_mul(INSTANCES))
        .total_memories(calls.saturating_mul(MEMORIES))
        .total_tables(calls.saturating_mul(TABLES))
        .total_stacks(calls)
        .max_core_instances_per_component(INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .max_core_instance_size(CORE_INSTANCE_BYTES)
        .max_component_instance_size(COMPONENT_INSTANCE_BYTES)
        .max_memory_size(usize::try_from(memory_bytes).unwrap_or(usize::MAX).min(4 << 30))
        .table_elements(MAX_TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(4096)
        .async_stack_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_child_compiles_fits_the_engine_that_asked() {
        for (allocation, reserved) in [(Allocation::Pooling { calls: 2, memory_bytes: 64 << 20 }, true), (Allocation::OnDemand, false)] {
            let asked = crate::cache::engine_hash(&wasmtime::Engine::new(&config(allocation)).unwrap());
            let hash = |reserved| crate::cache::engine_hash(&wasmtime::Engine::new(&compiling(reserved)).unwrap());
            assert_eq!(asked, hash(reserved), "{allocation:?}");
            assert_ne!(asked, hash(!reserved), "{allocation:?}");
        }
    }

    #[test]
    fn both_ways_of_finding_memory_make_an_engine() {
        for allocation in [Allocation::Pooling { calls: 2, memory_bytes: 64 << 20 }, Allocation::OnDemand] {
            assert!(wasmtime::Engine::new(&config(allocation)).is_ok(), "{allocation:?}");
        }
    }
}
