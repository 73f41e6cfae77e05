//! What a connector's calls turn into: implemented by whoever runs it.
//!
//! The sandbox does what can be judged from the call alone (bounds, shapes, words); a `Host` does what needs the connection: its keys, its grant, its
//! store. Everything arrives here as plain model types, already within bounds. One `Host` serves one call and comes back with its report; being `Any`, it
//! can be turned back into what it was.

use async_trait::async_trait;
use sluice_model::request::{FetchError, Request, Response};
use sluice_model::task::Task;
use sluice_model::{Entry, Failure, Moment};
use std::any::Any;

/// One stored key, as a guest may know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name.
    pub name: String,
    /// Whether the host holds it: usable by recipe only.
    pub held_by_host: bool,
    /// When it ends, ms since the epoch.
    pub expires_at: Option<i64>,
}

/// Why a key could not be read or kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The host holds a key of this name.
    #[error("the host holds this key: it is used by recipe, not read or changed")]
    HeldByHost,
    /// The value, or all of them, would be over this many bytes.
    #[error("over {0} bytes")]
    TooLarge(u64),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Why nothing was recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// These entries (by index) are not as declared, and why.
    #[error("{} entries are not as declared", .0.len())]
    Rejected(Vec<(u32, String)>),
    /// More than this since the last checkpoint.
    #[error("over {0} since the last checkpoint")]
    TooMany(u64),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Why a checkpoint was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The run is to end.
    #[error("the run is being cancelled")]
    Cancelled,
    /// The cursor is over this many bytes.
    #[error("the cursor is over {0} bytes")]
    TooLarge(u64),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Why a value of the connector's state was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// All of it together would be over this many bytes.
    #[error("over {0} bytes")]
    TooLarge(u64),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// The other side of the contract's imports, for one call.
///
/// Functions that are not `async` run inside the guest's time and should not wait. A panic in any of them ends the call with [`crate::CallError::Host`].
#[async_trait]
pub trait Host: Any + Send {
    /// What the call is for.
    fn task(&self) -> &Task;
    /// The host's clock, ms since the epoch.
    fn now(&self) -> i64;

    /// One request through the gate.
    async fn fetch(&mut self, request: Request) -> Result<Response, FetchError>;
    /// At most 64 requests, answered in order.
    async fn fetch_all(&mut self, requests: Vec<Request>) -> Vec<Result<Response, FetchError>>;

    /// The connection's keys, by name.
    fn list_keys(&mut self) -> Vec<KeyInfo>;
    /// A key that the guest set.
    async fn key_get(&mut self, name: &str) -> Result<Option<Vec<u8>>, KeyError>;
    /// Keeps a key of the guest's; `name` is well formed, `value` at most 16 KiB.
    async fn key_set(&mut self, name: &str, value: Vec<u8>) -> Result<(), KeyError>;
    /// Removes a key of the guest's.
    async fn key_delete(&mut self, name: &str) -> Result<(), KeyError>;

    /// Records entries: all or none.
    fn record(&mut self, entries: Vec<Entry>) -> Result<(), RecordError>;
    /// This is all there is from `first` up to, not including, `past`.
    fn replace_window(
        &mut self,
        metric: &str,
        series: Option<&str>,
        first: Moment,
        past: Moment,
        entries: Vec<Entry>,
    ) -> Result<(), RecordError>;
    /// Takes an entry back.
    fn retract(&mut self, metric: &str, id: &str) -> Result<(), RecordError>;
    /// Names a series for people.
    fn label_series(&mut self, metric: &str, series: &str, label: &str);

    /// Commits what was recorded so far, with the cursor (at most 16 KiB).
    async fn checkpoint(&mut self, cursor: Option<String>) -> Result<(), CheckpointError>;
    /// How far the run is.
    fn report(&mut self, done: u64, total: Option<u64>);
    /// Something that went wrong without ending the run; at most 100 arrive.
    fn problem(&mut self, failure: Failure, metric: Option<String>);
    /// Whether the run is to end.
    fn cancelled(&self) -> bool;

    /// A value of the connector's state.
    fn state_get(&self, key: &str) -> Option<Vec<u8>>;
    /// Keeps a value of the connector's state; the key has 1 to 256 bytes.
    fn state_set(&mut self, key: &str, value: Vec<u8>) -> Result<(), StateError>;
    /// Removes a value of the connector's state.
    fn state_delete(&mut self, key: &str);
}
