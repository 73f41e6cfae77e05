//! Connections: one user's link to one provider account.
//!
//! Whatever stops a run that may be under way (pausing, linking again, disconnecting) raises the connection's `epoch`: the run's next
//! commit finds its fence broken and nothing of it enters the store.

use crate::{RunView, Store, StoreError};
use sluice_model::{Account, AppId, ConnectionId, UserId};

/// How a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Runs as planned.
    Ok,
    /// Something passing went wrong; it tries again by itself.
    BackingOff,
    /// The provider asked to wait.
    RateLimited,
    /// The key no longer works: one button.
    NeedsSignIn,
    /// A scope is missing: one button.
    NeedsConsent,
    /// The person must do something at the provider.
    NeedsAction,
    /// The operator must do something.
    Misconfigured,
    /// The account is no more.
    Gone,
    /// The person left; keys are wiped.
    Disconnected,
}

impl ConnectionState {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::BackingOff,
        Self::RateLimited,
        Self::NeedsSignIn,
        Self::NeedsConsent,
        Self::NeedsAction,
        Self::Misconfigured,
        Self::Gone,
        Self::Disconnected,
    ];

    /// The word for it, in storage and for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::BackingOff => "backing-off",
            Self::RateLimited => "rate-limited",
            Self::NeedsSignIn => "needs-sign-in",
            Self::NeedsConsent => "needs-consent",
            Self::NeedsAction => "needs-action",
            Self::Misconfigured => "misconfigured",
            Self::Gone => "gone",
            Self::Disconnected => "disconnected",
        }
    }

    /// Whether only linking again makes it run.
    #[must_use]
    pub fn needs_link(self) -> bool {
        matches!(self, Self::NeedsSignIn | Self::NeedsConsent | Self::Gone | Self::Disconnected)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A credential to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCredential {
    /// The key's name.
    pub name: String,
    /// Sealed with its identity.
    pub ciphertext: Vec<u8>,
    /// Whether it is kept secret (a user name is not).
    pub secret: bool,
    /// Whether the connector set it itself; such a key never satisfies a recipe.
    pub guest: bool,
    /// ms.
    pub expires_at: Option<i64>,
}

/// A stored credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The key's name.
    pub name: String,
    /// Sealed with its identity.
    pub ciphertext: Vec<u8>,
    /// Whether it is kept secret.
    pub secret: bool,
    /// Whether the connector set it itself.
    pub guest: bool,
    /// ms.
    pub expires_at: Option<i64>,
    /// Rises with each replacement.
    pub version: i64,
    /// A refresh of this version went out then, and its answer is not stored.
    pub intent_at: Option<i64>,
}

/// What a finished sign-in leaves.
#[derive(Clone, Debug)]
pub struct NewLink {
    /// Random; credentials are sealed under it. For a re-link: that of the connection.
    pub public_id: String,
    /// Whose.
    pub user: UserId,
    /// Through which app.
    pub app: AppId,
    /// Connector name.
    pub connector: String,
    /// `[[auth]]` id.
    pub profile: String,
    /// What `identify` said.
    pub account: Account,
    /// Granted.
    pub scopes: Vec<String>,
    /// Set by the person.
    pub settings: Vec<(String, String)>,
    /// Key id and wrapped key.
    pub data_key: (String, Vec<u8>),
    /// All keys; those of before are wiped.
    pub credentials: Vec<NewCredential>,
    /// The connection to link again.
    pub relink: Option<ConnectionId>,
    /// When the first run is due, ms.
    pub due: i64,
}

/// One user's link to one provider account.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Row id, never shown.
    pub id: ConnectionId,
    /// Shown, in addresses and commands.
    pub public_id: String,
    /// Whose.
    pub user: UserId,
    /// Through which app.
    pub app: AppId,
    /// Connector name.
    pub connector: String,
    /// `[[auth]]` id.
    pub profile: String,
    /// What `identify` said.
    pub account: Account,
    /// Granted.
    pub scopes: Vec<String>,
    /// Set by the person.
    pub settings: Vec<(String, String)>,
    /// How it is.
    pub state: ConnectionState,
    /// What to do, for people.
    pub message: Option<String>,
    /// Where to do it.
    pub url: Option<String>,
    /// The last failure's code; `None` after a run that ended well.
    pub failure_code: Option<String>,
    /// Rises whenever a run under way must not commit.
    pub epoch: i64,
    /// Something new was stored, ms.
    pub last_data: Option<i64>,
    /// A run ended well, ms.
    pub last_check: Option<i64>,
    /// The latest run.
    pub last_run: Option<RunView>,
    /// ms; `None` when it is paused or runs now.
    pub next_due: Option<i64>,
    /// Why then, for people.
    pub next_reason: Option<String>,
    /// A run holds the lease.
    pub running: bool,
    /// Failures in a row.
    pub attempts: u32,
    /// ms.
    pub linked_at: i64,
    /// Key id and wrapped key; gone once it is disconnected.
    pub data_key: Option<(String, Vec<u8>)>,
}

/// Which connections.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFilter {
    /// Only this user's.
    pub user: Option<UserId>,
    /// Only this connector's.
    pub connector: Option<String>,
}

/// What happens to the entries when a person leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataChoice {
    /// They stay; the connection is shown as disconnected and can be linked again.
    Keep,
    /// Everything goes, the connection's row with it.
    Delete,
}

/// What a disconnect removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Keys wiped.
    pub credentials: u64,
    /// Entries removed, tombstones included.
    pub entries: u64,
    /// Run rows removed.
    pub runs: u64,
    /// Log lines removed.
    pub log_lines: u64,
    /// Whether the write-ahead log was emptied too; when not (a long read was under way), the next start does it.
    pub wal_emptied: bool,
}

impl Store {
    /// Stores a finished sign-in: a new connection with its task and its first run, or, with `relink`, the same connection with new keys,
    /// a higher epoch and its data where it was.
    ///
    /// # Errors
    /// [`StoreError::AlreadyLinked`], [`StoreError::Missing`], or the store failed.
    pub async fn link(&self, link: NewLink) -> Result<ConnectionId, StoreError> {
        self.unfinished(link).await
    }

    /// A connection by id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn connection(&self, id: ConnectionId) -> Result<Option<Connection>, StoreError> {
        self.unfinished(id).await
    }

    /// A connection by its public id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn connection_by_public(&self, public_id: &str) -> Result<Option<Connection>, StoreError> {
        self.unfinished(public_id.to_owned()).await
    }

    /// This user's connection to that provider account, when there is one (disconnected ones included).
    ///
    /// # Errors
    /// The store failed.
    pub async fn connection_by_account(&self, user: UserId, connector: &str, account_id: &str) -> Result<Option<Connection>, StoreError> {
        self.unfinished((user, connector.to_owned(), account_id.to_owned())).await
    }

    /// Connections, oldest first, at most 10,000.
    ///
    /// # Errors
    /// The store failed.
    pub async fn connections(&self, filter: ConnectionFilter) -> Result<Vec<Connection>, StoreError> {
        self.unfinished(filter).await
    }

    /// Sets how a connection is. A state that only linking again (or the person) can end stops a run under way; `Ok` makes it due now when
    /// nothing else is planned.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the store failed.
    pub async fn set_state(
        &self,
        connection: ConnectionId,
        state: ConnectionState,
        message: Option<String>,
        url: Option<String>,
    ) -> Result<(), StoreError> {
        self.unfinished((connection, state, message, url)).await
    }

    /// Sets a connection's settings; they hold from the next run on.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the store failed.
    pub async fn set_settings(&self, connection: ConnectionId, settings: Vec<(String, String)>) -> Result<(), StoreError> {
        self.unfinished((connection, settings)).await
    }

    /// Wipes keys and wrapped key at once, ends a run under way, and removes the data when the person says so.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the store failed.
    pub async fn disconnect(&self, connection: ConnectionId, choice: DataChoice) -> Result<Erased, StoreError> {
        self.unfinished((connection, choice)).await
    }

    /// Key id and wrapped key, and all keys of a connection.
    ///
    /// # Errors
    /// The store failed.
    #[allow(clippy::type_complexity, reason = "a pair of what the vault needs; a struct would be unpacked at once")]
    pub async fn credentials(&self, connection: ConnectionId) -> Result<(Option<(String, Vec<u8>)>, Vec<Credential>), StoreError> {
        self.unfinished(connection).await
    }

    /// Notes, durably, that a refresh of this version goes out now. False when the version moved on: re-read instead.
    ///
    /// # Errors
    /// The store failed.
    pub async fn mark_intent(&self, connection: ConnectionId, name: &str, version: i64, at: i64) -> Result<bool, StoreError> {
        self.unfinished((connection, name.to_owned(), version, at)).await
    }

    /// Stores the rotated keys in one transaction, versions raised, intents cleared. False when the version moved on: nothing is stored.
    ///
    /// # Errors
    /// The store failed.
    pub async fn replace_credentials(
        &self,
        connection: ConnectionId,
        expected: (String, i64),
        credentials: Vec<NewCredential>,
    ) -> Result<bool, StoreError> {
        self.unfinished((connection, expected, credentials)).await
    }
}
