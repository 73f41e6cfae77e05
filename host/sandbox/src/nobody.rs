//! The host of a module that describes itself: there is none.
//!
//! Every import is refused before it gets here, so none of this is called by a guest; it stands in the place of a [`Host`] so that a call always has one.

use crate::host::{CheckpointError, Host, KeyError, KeyInfo, RecordError, StateError};
use async_trait::async_trait;
use sluice_model::request::{FetchError, Request, Response};
use sluice_model::task::{Reason, Task};
use sluice_model::{Entry, Failure, Moment};

/// Nobody, at a fixed time.
pub(crate) struct Nobody(Task);

impl Nobody {
    pub(crate) fn new(now: i64) -> Self {
        Self(Task {
            reason: Reason::Manual,
            now,
            time_zone: "UTC".into(),
            cursor: None,
            cursor_version: None,
            window: None,
            profile: String::new(),
            account_id: None,
            scopes: Vec::new(),
            settings: Vec::new(),
        })
    }
}

const NOT_HERE: &str = "nothing can be used in `describe`";

#[async_trait]
impl Host for Nobody {
    fn task(&self) -> &Task {
        &self.0
    }
    fn now(&self) -> i64 {
        self.0.now
    }
    async fn fetch(&mut self, _: Request) -> Result<Response, FetchError> {
        Err(FetchError::Denied(NOT_HERE.into()))
    }
    async fn fetch_all(&mut self, _: Vec<Request>) -> Vec<Result<Response, FetchError>> {
        Vec::new()
    }
    fn list_keys(&mut self) -> Vec<KeyInfo> {
        Vec::new()
    }
    async fn key_get(&mut self, _: &str) -> Result<Option<Vec<u8>>, KeyError> {
        Err(KeyError::Other(NOT_HERE.into()))
    }
    async fn key_set(&mut self, _: &str, _: Vec<u8>) -> Result<(), KeyError> {
        Err(KeyError::Other(NOT_HERE.into()))
    }
    async fn key_delete(&mut self, _: &str) -> Result<(), KeyError> {
        Err(KeyError::Other(NOT_HERE.into()))
    }
    fn record(&mut self, _: Vec<Entry>) -> Result<(), RecordError> {
        Err(RecordError::Other(NOT_HERE.into()))
    }
    fn replace_window(&mut self, _: &str, _: Option<&str>, _: Moment, _: Moment, _: Vec<Entry>) -> Result<(), RecordError> {
        Err(RecordError::Other(NOT_HERE.into()))
    }
    fn retract(&mut self, _: &str, _: &str) -> Result<(), RecordError> {
        Err(RecordError::Other(NOT_HERE.into()))
    }
    fn label_series(&mut self, _: &str, _: &str, _: &str) {}
    async fn checkpoint(&mut self, _: Option<String>) -> Result<(), CheckpointError> {
        Err(CheckpointError::Other(NOT_HERE.into()))
    }
    fn report(&mut self, _: u64, _: Option<u64>) {}
    fn problem(&mut self, _: Failure, _: Option<String>) {}
    fn cancelled(&self) -> bool {
        false
    }
    fn state_get(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
    fn state_set(&mut self, _: &str, _: Vec<u8>) -> Result<(), StateError> {
        Err(StateError::Other(NOT_HERE.into()))
    }
    fn state_delete(&mut self, _: &str) {}
}
