//! What a Sluice connector written in Rust depends on.
//!
//! A connector implements [`Connector`] and calls [`export!`] with its type. Its logic speaks to a [`Host`]: compiled for wasm that is the
//! contract in `wit/`, compiled for the machine at hand it is the mock of [`harness`], so a connector is tested by plain `cargo test`,
//! without a host, an account or a network.
//!
//! | module | what it takes off an author's hands |
//! | --- | --- |
//! | [`types`] | entries, moments, failures, in the contract's words, with builders |
//! | [`day`] | civil days and provider time stamps, without a time library in the module |
//! | [`http`] | requests, their addresses, responses |
//! | [`json`] | typed JSON that tells HTML, half a page and a wrong shape apart |
//! | [`status`] | what an HTTP status means for the run; Retry-After |
//! | [`paging`] | `Link` headers, numbered pages |
//! | [`walk`] | a long history in windows, newest first, resumable at any instant |
//! | [`cursor`] | a versioned cursor |
//! | [`cache`] | ETags, so that what did not change costs nothing |
//!
//! The rule that all of it serves: a provider's answer becomes entries only when status and shape are right. Every helper that is not sure
//! answers with a [`Failure`], and a run that returns one drops what it recorded since its last checkpoint.
// The bindings are generated with unsafe code (a component's exports are raw functions); nothing else here may have any.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

pub mod cache;
pub mod cursor;
pub mod day;
#[cfg(not(target_family = "wasm"))]
pub mod harness;
pub mod host;
pub mod http;
pub mod json;
pub mod paging;
pub mod status;
pub mod types;
pub mod walk;
#[cfg(target_family = "wasm")]
pub mod wasm;

pub use day::Day;
pub use host::{Backend, CheckpointError, Connector, Host, KeyError, KeyInfo, Level, RecordError, StateError};
pub use http::{FetchError, Request, Response};
pub use types::{Account, Entry, Failure, FailureKind, FailureScope, Moment, Outcome, Sample};

/// Makes a type that implements [`Connector`] the component that this crate builds.
///
/// Compiled for anything but wasm it does nothing, so the same crate is a plain library to its tests.
#[macro_export]
macro_rules! export {
    ($connector:ty) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, reason = "a component's exports are raw functions; the generated code makes them")]
        const _: () = {
            struct Component;
            impl $crate::wasm::ManifestGuest for Component {
                fn describe() -> String {
                    <$connector as $crate::Connector>::DESCRIBE.to_owned()
                }
            }
            impl $crate::wasm::IdentityGuest for Component {
                fn identify() -> Result<$crate::wasm::WitAccount, $crate::wasm::WitFailure> {
                    $crate::wasm::identify::<$connector>()
                }
            }
            impl $crate::wasm::SourceGuest for Component {
                fn sync() -> Result<$crate::wasm::WitOutcome, $crate::wasm::WitFailure> {
                    $crate::wasm::sync::<$connector>()
                }
            }
    $crate::wasm::export_component!(Component with_types_in $crate::wasm::bindings);
        };
    };
}
