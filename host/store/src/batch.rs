//! What a run hands over to be committed as one.

use crate::{CommitError, ConnectionState, Fence, Op, QuotaRow, StoreError};
use sluice_model::task::Reason;
use sluice_model::{Failure, FailureKind};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// How a run began; the same in every batch of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStart {
    /// Why.
    pub reason: Reason,
    /// ms.
    pub started_at: i64,
    /// The connector's own version.
    pub connector_version: String,
}

/// How a run ended, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunOutcome {
    /// Under way: some of it is committed.
    Running,
    /// Everything there is.
    Complete,
    /// There is more; it runs again.
    More,
    /// It failed.
    Failed(FailureKind),
    /// The host stopped, or the run was cancelled.
    Interrupted,
}

/// One line of a run's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// ms.
    pub at: i64,
    /// `trace` to `error`.
    pub level: String,
    /// Scrubbed and inert.
    pub text: String,
}

/// What a run cost, and what it was denied. Of a row that stands for several runs: CPU time and refusals of all of them, the memory of the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// CPU time of the guest, µs.
    pub cpu_us: u64,
    /// The most memory that the guest held, bytes.
    pub memory_bytes: u64,
    /// Requests that the gate refused.
    pub denied: u64,
}

/// The end of a run: outcome, what is next, and the lease given back.
#[derive(Clone, Debug)]
pub struct Finish {
    /// ms.
    pub ended_at: i64,
    /// How.
    pub outcome: RunOutcome,
    /// What went wrong.
    pub failure: Option<Failure>,
    /// The run's log.
    pub log: Vec<LogLine>,
    /// What went wrong without ending the run, with the metric it concerns.
    pub problems: Vec<(Failure, Option<String>)>,
    /// How the connection is from now on.
    pub state: ConnectionState,
    /// What to do, for people.
    pub message: Option<String>,
    /// Where to do it.
    pub url: Option<String>,
    /// The next run, ms; `None` pauses.
    pub next_due: Option<i64>,
    /// Why then, for people.
    pub next_reason: Option<String>,
    /// Failures in a row, this one included.
    pub attempts: u32,
    /// Quotas as they stand.
    pub quotas: Vec<QuotaRow>,
    /// What it cost.
    pub used: Used,
}

/// Everything that is committed together: entries, cursor, state, keys the connector set, the run's row and, at the end, what is next.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Who may commit.
    pub fence: Fence,
    /// From [`crate::Ingest::take`].
    pub ops: Vec<Op>,
    /// When the first request since the last checkpoint was sent, ms.
    pub as_of: i64,
    /// Cursor and the connector version that wrote it; `None` keeps the old one.
    pub cursor: Option<(String, String)>,
    /// Connector state: `None` deletes a key.
    pub state: Vec<(String, Option<Vec<u8>>)>,
    /// Keys the connector set, sealed: `None` deletes one. A key that the host holds is never touched.
    pub guest_keys: Vec<(String, Option<Vec<u8>>)>,
    /// The run.
    pub run: RunStart,
    /// Requests of the whole run so far.
    pub requests: u64,
    /// Present in the run's last batch.
    pub finish: Option<Finish>,
}

/// What became of the entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// New, or back from the dead.
    pub inserted: u64,
    /// Changed.
    pub updated: u64,
    /// As they were.
    pub unchanged: u64,
    /// Now tombstones.
    pub deleted: u64,
    /// Older than what is stored: dropped.
    pub older: u64,
}

/// A batch that is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// What became of its entries.
    pub counts: Counts,
    /// The connection's change sequence after it.
    pub sequence: i64,
}

/// A batch on its way. Dropping this does not take the batch back.
#[must_use = "a batch is acknowledged only when this future says so"]
pub struct Pending {
    pub(crate) answer: oneshot::Receiver<Result<Committed, StoreError>>,
}

impl Future for Pending {
    type Output = Result<Committed, CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| match answer {
            Ok(Ok(committed)) => Ok(committed),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(CommitError::Fatal("the writer ended without an answer".to_owned())),
        })
    }
}
