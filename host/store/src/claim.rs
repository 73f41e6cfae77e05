//! The schedule: what is due, who runs it, for how long.

use crate::{App, Connection, ConnectionState, Credential, Store, StoreError};
use sluice_model::task::Reason;
use sluice_model::{AppId, ConnectionId};

/// What a run must show at each commit: a connection, its epoch when the run began, and the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The connection.
    pub connection: ConnectionId,
    /// Its epoch at the claim.
    pub epoch: i64,
    /// The lease: unique, and of the incarnation that claimed it.
    pub owner: i64,
}

/// What is known of a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaRow {
    /// The app.
    pub app: AppId,
    /// The connection; `None` when all of the app share it.
    pub connection: Option<ConnectionId>,
    /// Its name in the manifest.
    pub name: String,
    /// Requests in this window.
    pub used: u64,
    /// What the provider said remains.
    pub remaining: Option<u64>,
    /// When the window ends, ms.
    pub reset_at: i64,
}

/// A run to be done, with everything that it needs.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Shown at each commit.
    pub fence: Fence,
    /// Whose and how.
    pub connection: Connection,
    /// Why.
    pub reason: Reason,
    /// Failures in a row before this.
    pub attempts: u32,
    /// Where the last run got to.
    pub cursor: Option<String>,
    /// The connector version that wrote it.
    pub cursor_version: Option<String>,
    /// When the last run that ended `complete` began, ms.
    pub last_complete: Option<i64>,
    /// Its app.
    pub app: App,
    /// IANA.
    pub user_time_zone: String,
    /// All keys.
    pub credentials: Vec<Credential>,
    /// Key id and wrapped key.
    pub data_key: Option<(String, Vec<u8>)>,
    /// The connector's own state.
    pub state: Vec<(String, Vec<u8>)>,
    /// Quotas of the connection and of its app.
    pub quotas: Vec<QuotaRow>,
}

/// What became of a wish to run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requested {
    /// It is due.
    Queued,
    /// It runs already.
    Running,
    /// It cannot: this is why.
    Paused(ConnectionState),
}

impl Store {
    /// Begins a host's life: a new incarnation, after freeing what dead ones held (their runs end as interrupted and are due again).
    ///
    /// # Errors
    /// The store failed.
    pub async fn start_incarnation(&self, now: i64, alive_until: i64) -> Result<i64, StoreError> {
        self.unfinished((now, alive_until)).await
    }

    /// Goes on living. False when others have declared this incarnation dead: stop everything.
    ///
    /// # Errors
    /// The store failed.
    pub async fn heartbeat(&self, incarnation: i64, alive_until: i64) -> Result<bool, StoreError> {
        self.unfinished((incarnation, alive_until)).await
    }

    /// Takes leases on what is due: round-robin over open apps, and over users while others wait.
    ///
    /// # Errors
    /// The store failed.
    pub async fn claim(&self, incarnation: i64, now: i64, limit: usize) -> Result<Vec<Claim>, StoreError> {
        self.unfinished((incarnation, now, limit)).await
    }

    /// When something is due next among apps that are not paused, ms.
    ///
    /// # Errors
    /// The store failed.
    pub async fn next_due(&self) -> Result<Option<i64>, StoreError> {
        self.unfinished(()).await
    }

    /// Makes a connection due now.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the store failed.
    pub async fn request_run(&self, connection: ConnectionId, reason: Reason, now: i64) -> Result<Requested, StoreError> {
        self.unfinished((connection, reason, now)).await
    }

    /// Gives leases back unused; their connections are due at once. A lease that is no longer held is passed over.
    ///
    /// # Errors
    /// The store failed.
    pub async fn release(&self, fences: Vec<Fence>) -> Result<(), StoreError> {
        self.unfinished(fences).await
    }
}
