//! Connections: one user's link to one provider account.
//!
//! Whatever stops a run that may be under way (pausing, linking again, disconnecting) raises the connection's `epoch`: the run's next
//! commit finds its fence broken and nothing of it enters the store.

use crate::credentials::{self, NewCredential};
use crate::{RunView, Store, StoreError, runs, schedule};
use rusqlite::{Connection as Database, OptionalExtension, Row, params};
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

    /// Whether runs end here until somebody acts.
    #[must_use]
    pub fn stops(self) -> bool {
        self.needs_link() || self == Self::NeedsAction
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
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

/// Rows of one answer.
const MOST: i64 = 10_000;

const CONNECTION: &str = "SELECT c.id, c.public_id, c.user, c.app, c.connector, c.profile, c.account, c.label, c.route_keys, c.scopes,
  c.settings, c.state, c.message, c.url, c.failure_code, c.epoch, c.owner, c.last_data, c.last_check, c.linked_at, w.due, w.why, w.attempts,
  k.key_id, k.bytes
  FROM connection c
  LEFT JOIN work w ON w.connection = c.id AND w.kind = 'sync' AND w.subject = 0
  LEFT JOIN data_key k ON k.connection = c.id
  WHERE c.erasing = 0";

/// Lists are kept as JSON: they are read whole, and never searched.
fn list<T: serde::de::DeserializeOwned>(row: &Row<'_>, at: usize) -> Result<Vec<T>, rusqlite::Error> {
    let text = row.get_ref(at)?.as_str()?;
    serde_json::from_str(text).map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, Box::new(error)))
}

fn json<T: serde::Serialize>(list: &[T]) -> Result<String, StoreError> {
    serde_json::to_string(list).map_err(|error| StoreError::Invalid(error.to_string()))
}

fn read_connection(row: &Row<'_>) -> Result<Connection, rusqlite::Error> {
    let owner: i64 = row.get(16)?;
    let key_id: Option<String> = row.get(23)?;
    let bytes: Option<Vec<u8>> = row.get(24)?;
    Ok(Connection {
        id: ConnectionId(row.get(0)?),
        public_id: row.get(1)?,
        user: UserId(row.get(2)?),
        app: AppId(row.get(3)?),
        connector: row.get(4)?,
        profile: row.get(5)?,
        account: Account { id: row.get(6)?, label: row.get(7)?, route_keys: list(row, 8)? },
        scopes: list(row, 9)?,
        settings: list(row, 10)?,
        // A word that only a later Sluice knows is shown as what stops nothing.
        state: ConnectionState::parse(row.get_ref(11)?.as_str()?).unwrap_or(ConnectionState::Ok),
        message: row.get(12)?,
        url: row.get(13)?,
        failure_code: row.get(14)?,
        epoch: row.get(15)?,
        last_data: row.get(17)?,
        last_check: row.get(18)?,
        last_run: None,
        next_due: row.get(20)?,
        next_reason: row.get(21)?,
        running: owner != 0,
        attempts: row.get::<_, Option<u32>>(22)?.unwrap_or(0),
        linked_at: row.get(19)?,
        data_key: key_id.zip(bytes),
    })
}

/// One connection with its latest run.
pub(crate) fn load(conn: &Database, condition: &str, values: impl rusqlite::Params) -> Result<Option<Connection>, StoreError> {
    let sql = format!("{CONNECTION} AND {condition}");
    let Some(mut found) = conn.prepare_cached(&sql)?.query_row(values, read_connection).optional()? else { return Ok(None) };
    found.last_run = runs::last_run(conn, found.id)?;
    Ok(Some(found))
}

/// The same user's other connection to the same provider account.
fn twin(conn: &Database, link: &NewLink) -> Result<Option<i64>, StoreError> {
    let Some(account) = &link.account.id else { return Ok(None) };
    Ok(conn
        .prepare_cached(
            "SELECT id FROM connection WHERE user = ? AND connector = ? AND account = ? AND id IS NOT ? AND erasing = 0 LIMIT 1",
        )?
        .query_row(params![link.user.0, link.connector, account, link.relink.map(|id| id.0)], |row| row.get(0))
        .optional()?)
}

fn insert(conn: &Database, link: &NewLink, now: i64) -> Result<i64, StoreError> {
    conn.prepare_cached(
        "INSERT INTO connection (public_id, user, app, connector, profile, account, label, route_keys, scopes, settings, linked_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        link.public_id,
        link.user.0,
        link.app.0,
        link.connector,
        link.profile,
        link.account.id,
        link.account.label,
        json(&link.account.route_keys)?,
        json(&link.scopes)?,
        json(&link.settings)?,
        now
    ])?;
    Ok(conn.last_insert_rowid())
}

fn relink(conn: &Database, link: &NewLink, id: i64, now: i64) -> Result<(), StoreError> {
    schedule::interrupt(conn, id, now)?;
    let changed = conn
        .prepare_cached(
            "UPDATE connection SET app = ?, profile = ?, account = ?, label = ?, route_keys = ?, scopes = ?, settings = ?, state = 'ok',
               message = NULL, url = NULL, failure_code = NULL, epoch = epoch + 1, linked_at = ?
             WHERE id = ? AND user = ? AND connector = ? AND public_id = ? AND erasing = 0",
        )?
        .execute(params![
            link.app.0,
            link.profile,
            link.account.id,
            link.account.label,
            json(&link.account.route_keys)?,
            json(&link.scopes)?,
            json(&link.settings)?,
            now,
            id,
            link.user.0,
            link.connector,
            link.public_id
        ])?;
    if changed == 0 { Err(StoreError::Missing("connection of this user, connector and public id")) } else { Ok(()) }
}

impl Store {
    /// Stores a finished sign-in: a new connection with its task and its first run, or, with `relink`, the same connection with new keys,
    /// a higher epoch and its data where it was.
    ///
    /// # Errors
    /// [`StoreError::AlreadyLinked`], [`StoreError::Missing`], or the store failed.
    pub async fn link(&self, link: NewLink) -> Result<ConnectionId, StoreError> {
        let now = self.now();
        self.write(move |conn, _| {
            if let Some(twin) = twin(conn, &link)? {
                return Err(StoreError::AlreadyLinked(ConnectionId(twin)));
            }
            let id = match link.relink {
                Some(id) => {
                    relink(conn, &link, id.0, now)?;
                    id.0
                }
                None => insert(conn, &link, now)?,
            };
            // Versions go on rising over a re-link, so that the answer to a refresh of the keys of before never passes for one of these.
            let before: i64 = conn
                .prepare_cached("SELECT coalesce(max(version), 0) FROM credential WHERE connection = ?")?
                .query_row([id], |row| row.get(0))?;
            credentials::wipe(conn, id)?;
            credentials::put(conn, id, &link.credentials)?;
            conn.prepare_cached("UPDATE credential SET version = version + ? WHERE connection = ?")?.execute([before, id])?;
            conn.prepare_cached("INSERT INTO data_key (connection, key_id, bytes) VALUES (?, ?, ?)")?.execute(params![
                id,
                link.data_key.0,
                link.data_key.1
            ])?;
            conn.prepare_cached("INSERT INTO task (connection, kind) VALUES (?, 'sync') ON CONFLICT DO NOTHING")?.execute([id])?;
            conn.prepare_cached(
                "INSERT INTO work (connection, kind, subject, app, user, due, priority, reason) VALUES (?, 'sync', 0, ?, ?, ?, 1, 'linked')
                 ON CONFLICT DO UPDATE SET app = excluded.app, user = excluded.user, due = excluded.due, priority = 1, attempts = 0,
                   reason = 'linked', why = NULL",
            )?
            .execute(params![id, link.app.0, link.user.0, link.due])?;
            Ok(ConnectionId(id))
        })
        .await
    }

    /// A connection by id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn connection(&self, id: ConnectionId) -> Result<Option<Connection>, StoreError> {
        self.read(move |conn| load(conn, "c.id = ?", [id.0])).await
    }

    /// A connection by its public id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn connection_by_public(&self, public_id: &str) -> Result<Option<Connection>, StoreError> {
        let public_id = public_id.to_owned();
        self.read(move |conn| load(conn, "c.public_id = ?", [public_id])).await
    }

    /// This user's connection to that provider account, when there is one (disconnected ones included).
    ///
    /// # Errors
    /// The store failed.
    pub async fn connection_by_account(&self, user: UserId, connector: &str, account_id: &str) -> Result<Option<Connection>, StoreError> {
        let (connector, account) = (connector.to_owned(), account_id.to_owned());
        self.read(move |conn| load(conn, "c.user = ? AND c.connector = ? AND c.account = ? LIMIT 1", params![user.0, connector, account]))
            .await
    }

    /// How many connections there are.
    ///
    /// # Errors
    /// The store failed.
    pub async fn connection_count(&self) -> Result<u64, StoreError> {
        self.read(|conn| {
            let count: i64 = conn.prepare_cached("SELECT count(*) FROM connection WHERE erasing = 0")?.query_row([], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        })
        .await
    }

    /// Connections, oldest first, at most 10,000.
    ///
    /// # Errors
    /// The store failed.
    pub async fn connections(&self, filter: ConnectionFilter) -> Result<Vec<Connection>, StoreError> {
        self.read(move |conn| {
            let condition = match (filter.user, &filter.connector) {
                (Some(_), Some(_)) => "c.user = ?1 AND c.connector = ?2",
                (Some(_), None) => "c.user = ?1 AND ?2 IS NULL",
                (None, Some(_)) => "?1 IS NULL AND c.connector = ?2",
                (None, None) => "?1 IS NULL AND ?2 IS NULL",
            };
            let sql = format!("{CONNECTION} AND {condition} ORDER BY c.id LIMIT {MOST}");
            let mut statement = conn.prepare_cached(&sql)?;
            let rows = statement.query_map(params![filter.user.map(|user| user.0), filter.connector], read_connection)?;
            let mut found = rows.collect::<Result<Vec<_>, _>>()?;
            for connection in &mut found {
                connection.last_run = runs::last_run(conn, connection.id)?;
            }
            Ok(found)
        })
        .await
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
        let now = self.now();
        self.write(move |conn, _| {
            let changed = conn
                .prepare_cached("UPDATE connection SET state = ?, message = ?, url = ? WHERE id = ? AND erasing = 0")?
                .execute(params![state.as_str(), message, url, connection.0])?;
            if changed == 0 {
                return Err(StoreError::Missing("connection"));
            }
            if state.stops() {
                schedule::interrupt(conn, connection.0, now)?;
                conn.prepare_cached("UPDATE connection SET epoch = epoch + 1 WHERE id = ?")?.execute([connection.0])?;
                conn.prepare_cached("UPDATE work SET due = NULL, why = NULL WHERE connection = ?")?.execute([connection.0])?;
            } else if state == ConnectionState::Ok {
                conn.prepare_cached(
                    "UPDATE work SET due = ?1 WHERE connection = ?2 AND kind = 'sync' AND due IS NULL
                       AND (SELECT owner FROM connection WHERE id = ?2) = 0",
                )?
                .execute(params![now, connection.0])?;
            }
            Ok(())
        })
        .await
    }

    /// Sets a connection's settings; they hold from the next run on.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the store failed.
    pub async fn set_settings(&self, connection: ConnectionId, settings: Vec<(String, String)>) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            let changed = conn
                .prepare_cached("UPDATE connection SET settings = ? WHERE id = ? AND erasing = 0")?
                .execute(params![json(&settings)?, connection.0])?;
            if changed == 0 { Err(StoreError::Missing("connection")) } else { Ok(()) }
        })
        .await
    }
}
