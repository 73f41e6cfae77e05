//! The contract as Rust types and traits, generated from `wit/` when this crate is built, so that the two can't drift apart.
//!
//! Only what may wait is asynchronous: the other imports are called without the detour through a future. Every import may end the call (`trappable`):
//! that is how a bound that is passed inside one becomes the run's error.
#![allow(dead_code, unused_qualifications, missing_docs, clippy::all, clippy::pedantic, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "source-connector",
    imports: {
        "sluice:connector/http": async | trappable,
        "sluice:connector/keys.get": async | trappable,
        "sluice:connector/keys.set": async | trappable,
        "sluice:connector/keys.delete": async | trappable,
        "sluice:connector/progress.checkpoint": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});

pub(crate) use self::sluice::connector::{entries, http, keys, log, progress, state, task, types};
