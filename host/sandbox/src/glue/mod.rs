//! The contract's imports, one file for each interface: count the call, check its bounds, translate, hand on.
//!
//! Past this point nothing sees the contract's generated types, and nothing sees a text or list without a bound. A bound that the contract names is
//! answered in the contract's own words; one that it doesn't ends the call.

pub(crate) mod convert;
mod entries;
mod http;
mod keys;
mod log;
mod progress;
mod state;
mod task;

use crate::bindings;
use crate::state::State;
use wasmtime::component::{HasSelf, Linker};

/// Adds the contract to what can be linked.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Own = HasSelf<State>;
    bindings::types::add_to_linker::<State, Own>(linker, |state| state)?;
    bindings::http::add_to_linker::<State, Own>(linker, |state| state)?;
    bindings::keys::add_to_linker::<State, Own>(linker, |state| state)?;
    bindings::entries::add_to_linker::<State, Own>(linker, |state| state)?;
    bindings::task::add_to_linker::<State, Own>(linker, |state| state)?;
    bindings::progress::add_to_linker::<State, Own>(linker, |state| state)?;
    bindings::state::add_to_linker::<State, Own>(linker, |state| state)?;
    bindings::log::add_to_linker::<State, Own>(linker, |state| state)?;
    Ok(())
}

impl bindings::types::Host for State {}
