//! Rows of runs.

use crate::{Counts, LogLine, RunOutcome, Store, StoreError};
use sluice_model::task::Reason;
use sluice_model::{ConnectionId, RunId};

/// A run, or several that went the same way and changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunView {
    /// Row id.
    pub id: RunId,
    /// Whose.
    pub connection: ConnectionId,
    /// Why.
    pub reason: Reason,
    /// When the first of them began, ms.
    pub started_at: i64,
    /// When the first of them ended; `None` while it is under way.
    pub ended_at: Option<i64>,
    /// When the last of them ended.
    pub last_ended_at: Option<i64>,
    /// How many runs this row stands for.
    pub repeats: u32,
    /// How.
    pub outcome: RunOutcome,
    /// The failure's code.
    pub failure_code: Option<String>,
    /// The failure's message.
    pub message: Option<String>,
    /// What became of the entries.
    pub counts: Counts,
    /// Requests sent.
    pub requests: u64,
    /// What went wrong without ending it.
    pub problems: u32,
    /// The connector's own version.
    pub connector_version: String,
}

impl Store {
    /// The latest runs of a connection, newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn runs(&self, connection: ConnectionId, limit: usize) -> Result<Vec<RunView>, StoreError> {
        self.unfinished((connection, limit)).await
    }

    /// A run's log, in order.
    ///
    /// # Errors
    /// The store failed.
    pub async fn run_log(&self, run: RunId) -> Result<Vec<LogLine>, StoreError> {
        self.unfinished(run).await
    }
}
