//! The sandbox: a stranger's program runs here, with what it is handed and nothing else.
//!
//! **Problem.** A connector is a WebAssembly component that somebody else wrote. It gets requests to a provider, key storage, a place to put
//! entries; it must not get memory, time or attention beyond its bounds, nor anything of its neighbour or of this process.
//!
//! **Three phases.** [`Engine`] is made once: compiler settings, address space, the ticking thread, everything that can be linked. [`Module`] is made
//! once for each file: recognised, compiled (or taken from the cache), its needs compared with what is offered, its imports resolved. A *call* is
//! made for each run: a fresh store and instance, entered once, dropped. Whatever a call leaves behind it hands over through its [`Host`].
//!
//! **Contract.** [`Module::describe`], [`Module::identify`] and [`Module::sync`] always come back, within the bounds of [`sluice_model::Limits`], and
//! always give the `Host` back: when the connector returned, when it trapped, when it ran over, when the host's own code panicked.
//!
//! **What bounds it.** CPU time (thread clock, checked at every tick), wall time (one deadline around the call), linear memory over all instances,
//! tables, instances and handles, the number of calls into the host, the bytes that one such call may carry, log bytes, and a bound of its own for
//! every text that is kept. Each is named in [`CallError::Limit`].
//!
//! **What it costs.** Nothing is linked, looked up or compiled for a call: imports are resolved once for a module, exports are known by index, memory
//! starts as a copy-on-write image. Only this crate names wasmtime.

mod aside;
mod bindings;
mod cache;
mod call;
mod child;
mod compiler;
mod config;
mod engine;
mod error;
mod features;
mod glue;
mod hopeless;
mod host;
mod kind;
mod log;
mod memory;
mod meter;
mod module;
mod names;
mod needs;
mod nobody;
mod platform;
mod refusal;
mod room;
mod state;
mod ticker;
mod wasi;
mod wire;
mod words;

pub use child::compile_child_main;
pub use compiler::Compiler;
pub use engine::{Engine, EngineOptions};
pub use error::{CallError, EngineError, LoadError};
pub use features::allowed_features;
pub use host::{CheckpointError, Host, KeyError, KeyInfo, RecordError, StateError};
pub use kind::{MAX_MODULE_BYTES, oversized, recognise};
pub use log::{Level, LogLine, harmless, inert};
pub use module::{Exports, Module, Report, Usage, describe_limits};
pub use needs::{CONTRACT, offered};
pub use platform::{FLOOR, Platform, WASMTIME, platform, reaches, try_reserving};
