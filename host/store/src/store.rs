//! The handle.

use crate::{Batch, CommitError, Committed, OpenError, Pending, StoreError};
use sluice_model::time::{Clock, Random};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A data folder that this process holds. Cheap to clone.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Opens a data folder, making it when it is new, and holds it until the last clone is dropped.
    ///
    /// # Errors
    /// Why it was refused; see [`OpenError`].
    pub fn open(_dir: &Path, _clock: Arc<dyn Clock>, _random: Arc<dyn Random>) -> Result<Self, OpenError> {
        Ok(Self {})
    }

    /// Whether there is a database in this folder.
    #[must_use]
    pub fn exists(dir: &Path) -> bool {
        dir.join("sluice.db").exists()
    }

    /// Drains the writer, empties the write-ahead log, and refuses further calls.
    pub async fn close(&self) {}

    /// Resolves when the store has stopped for good, with the reason: the host must exit.
    pub async fn fatal(&self) -> String {
        std::future::pending().await
    }

    /// A fresh random public id.
    #[must_use]
    pub fn new_public_id(&self) -> String {
        String::new()
    }

    /// Queues a batch. Batches of one connection are committed in the order in which they are submitted.
    pub fn submit(&self, _batch: Batch) -> Pending {
        let (_, answer) = oneshot::channel();
        Pending { answer }
    }

    /// Queues a batch and waits until it is on the disk.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.submit(batch).await
    }

    pub(crate) async fn unfinished<A, T>(&self, _with: A) -> Result<T, StoreError> {
        Err(StoreError::Closed)
    }
}
