//! Apps: a connector instance with one registration at the provider. "Every connection pauses" is one row here, never a touch on each.
//!
//! The schedule asks open apps only, so a paused app with a million connections costs what an open one with none costs.

use crate::{Store, StoreError};
use sluice_model::{AppId, ConnectionId};

/// Whether an app's connections run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppState {
    /// They do.
    Open,
    /// None does until the operator acts.
    Paused,
}

/// A connector instance with one registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Row id.
    pub id: AppId,
    /// Connector name.
    pub connector: String,
    /// Client id or the like; empty where there is none.
    pub registration: String,
    /// Whether it runs.
    pub state: AppState,
    /// Why not, for the operator.
    pub reason: Option<String>,
    /// Not before then, ms.
    pub blocked_until: Option<i64>,
}

impl Store {
    /// The app of that connector and registration; made, open, when it is new.
    ///
    /// # Errors
    /// The store failed.
    pub async fn app(&self, connector: &str, registration: &str) -> Result<App, StoreError> {
        self.unfinished((connector.to_owned(), registration.to_owned())).await
    }

    /// All apps, by connector.
    ///
    /// # Errors
    /// The store failed.
    pub async fn apps(&self) -> Result<Vec<App>, StoreError> {
        self.unfinished(()).await
    }

    /// Opens, pauses or blocks an app as a whole.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the store failed.
    pub async fn set_app(&self, app: AppId, state: AppState, reason: Option<String>, blocked_until: Option<i64>) -> Result<(), StoreError> {
        self.unfinished((app, state, reason, blocked_until)).await
    }

    /// Notes that a connection reported *misconfigured*, and says how many different ones of that app did within the last hour.
    ///
    /// # Errors
    /// The store failed.
    pub async fn note_misconfigured(&self, app: AppId, connection: ConnectionId, now: i64) -> Result<u32, StoreError> {
        self.unfinished((app, connection, now)).await
    }
}
