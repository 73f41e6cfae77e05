//! What is fuzzed: every reader of foreign bytes that stands between a stranger and the host. One function each, total by contract: any bytes give a
//! value or an error, and what must hold of either is asserted here.
//!
//! | target | what comes in | from whom |
//! | --- | --- | --- |
//! | `manifest` | what a connector says it wants | its author |
//! | `plugins_toml` | the operator's settings | whoever can write the file |
//! | `component` | a file of the modules folder, as bytes or as text that becomes one, through validation up to the compiler; names and log text in it; a compiling child's answer | its author |
//! | `provider_headers` | `Retry-After` and quota headers | a provider |
//! | `token_answer` | the answer of a token endpoint | a provider |
//!
//! Compiling a component and running it is wasmtime's, which is fuzzed by its own makers all the time; leaving it and the HTTP client out makes these
//! targets build in a minute or two. What comes before the compiler is here: the validator, with the features that the host allows and no others. That is why readers that lie in crates with such dependencies are compiled in here from their own files: the same
//! source, and no copy.
//!
//! A crash found here becomes a test beside the code that it was found in.

#![allow(dead_code, unused_imports, reason = "of each file the readers alone are used")]

// The settings call it by the name of the crate that it lies in.
extern crate self as sluice_gate;
pub use upstream::Upstream;
// And the list of features calls the validator's by the name of what it is part of.
extern crate self as wasmtime;
pub use wasmparser::WasmFeatures;

#[path = "../../host/src/config/mod.rs"]
mod config;
#[path = "../../host/sandbox/src/error.rs"]
mod error;
#[path = "../../host/sandbox/src/features.rs"]
mod features;
#[path = "../../host/sandbox/src/kind.rs"]
mod kind;
#[path = "../../host/sandbox/src/log.rs"]
mod log;
#[path = "../../host/sandbox/src/names.rs"]
mod names;
#[path = "../../host/gate/src/quota.rs"]
mod quota;
#[path = "../../host/sandbox/src/refusal.rs"]
mod refusal;
#[path = "../../host/gate/src/retry_after.rs"]
mod retry_after;
#[path = "../../host/src/link/token_answer.rs"]
mod token_answer;
#[path = "../../host/gate/src/upstream.rs"]
mod upstream;
#[path = "../../host/sandbox/src/wire.rs"]
mod wire;
#[path = "../../host/sandbox/src/words.rs"]
mod words;

mod targets;

pub use targets::{component, manifest, plugins_toml, provider_headers, token_answer};
