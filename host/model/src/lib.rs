//! The plain types that every other part of Sluice speaks in: no I/O, no clock, no randomness.
//!
//! This crate also builds for wasm, so that the SDK's test harness reads manifests and judges requests with exactly the code the host uses.
#![forbid(unsafe_code)]

pub mod account;
pub mod address;
pub mod authority;
pub mod day;
pub mod entry;
pub mod failure;
pub mod grant;
pub mod ids;
pub mod limits;
pub mod manifest;
pub mod moment;
pub mod request;
pub mod task;
pub mod time;
pub mod units;
pub mod url;
pub mod validate;

pub use account::Account;
pub use entry::{Entry, Sample};
pub use failure::{Failure, FailureKind, FailureScope, Outcome};
pub use grant::Grant;
pub use ids::{AppId, ConnectionId, RunId, UserId};
pub use limits::{CompileLimits, Limits};
pub use manifest::Manifest;
pub use moment::{Day, Moment};
pub use time::{Clock, Random};
