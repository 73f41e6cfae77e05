//! Apps: a connector instance with one registration at the provider. "Every connection pauses" is one row here, never a touch on each.
//!
//! The schedule asks open apps only, so a paused app with a million connections costs what an open one with none costs.

use crate::{Store, StoreError};
use rusqlite::{Connection, OptionalExtension, Row, params};
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

/// Reports older than this no longer count together.
const HOUR: i64 = 3_600_000;

const APP: &str = "SELECT id, connector, registration, state, reason, blocked_until FROM app";

fn read_app(row: &Row<'_>) -> Result<App, rusqlite::Error> {
    let state: String = row.get(3)?;
    Ok(App {
        id: AppId(row.get(0)?),
        connector: row.get(1)?,
        registration: row.get(2)?,
        state: if state == "open" { AppState::Open } else { AppState::Paused },
        reason: row.get(4)?,
        blocked_until: row.get(5)?,
    })
}

pub(crate) fn load_app(conn: &Connection, id: AppId) -> Result<Option<App>, StoreError> {
    Ok(conn.prepare_cached(&format!("{APP} WHERE id = ?"))?.query_row([id.0], read_app).optional()?)
}

fn find_app(conn: &Connection, connector: &str, registration: &str) -> Result<Option<App>, StoreError> {
    let sql = format!("{APP} WHERE connector = ? AND registration = ?");
    Ok(conn.prepare_cached(&sql)?.query_row([connector, registration], read_app).optional()?)
}

impl Store {
    /// The app of that connector and registration; made, open, when it is new.
    ///
    /// # Errors
    /// The store failed.
    pub async fn app(&self, connector: &str, registration: &str) -> Result<App, StoreError> {
        let (connector, registration) = (connector.to_owned(), registration.to_owned());
        let known = {
            let (connector, registration) = (connector.clone(), registration.clone());
            self.read(move |conn| find_app(conn, &connector, &registration)).await?
        };
        if let Some(app) = known {
            return Ok(app);
        }
        self.write(move |conn, _| {
            conn.prepare_cached("INSERT INTO app (connector, registration) VALUES (?, ?) ON CONFLICT DO NOTHING")?
                .execute([&connector, &registration])?;
            find_app(conn, &connector, &registration)?.ok_or(StoreError::Missing("app"))
        })
        .await
    }

    /// All apps, by connector.
    ///
    /// # Errors
    /// The store failed.
    pub async fn apps(&self) -> Result<Vec<App>, StoreError> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached(&format!("{APP} ORDER BY connector, registration"))?;
            let rows = statement.query_map([], read_app)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Opens, pauses or blocks an app as a whole.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the store failed.
    pub async fn set_app(&self, app: AppId, state: AppState, reason: Option<String>, blocked_until: Option<i64>) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            let word = match state {
                AppState::Open => "open",
                AppState::Paused => "paused",
            };
            let changed = conn.prepare_cached("UPDATE app SET state = ?, reason = ?, blocked_until = ? WHERE id = ?")?.execute(params![
                word,
                reason,
                blocked_until,
                app.0
            ])?;
            if changed == 0 { Err(StoreError::Missing("app")) } else { Ok(()) }
        })
        .await
    }

    /// Keeps an open app from running until then, or longer where it waits already. One that is paused stays paused.
    ///
    /// # Errors
    /// The store failed.
    pub async fn block_app(&self, app: AppId, until: i64, reason: Option<String>) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            conn.prepare_cached(
                "UPDATE app SET blocked_until = ?1, reason = ?2 WHERE id = ?3 AND state = 'open' AND coalesce(blocked_until, 0) < ?1",
            )?
            .execute(params![until, reason, app.0])?;
            Ok(())
        })
        .await
    }

    /// Opens an app that was paused or blocked; what was said against it is forgotten. False when it was open.
    ///
    /// # Errors
    /// The store failed.
    pub async fn resume_app(&self, app: AppId) -> Result<bool, StoreError> {
        self.write(move |conn, _| {
            let changed = conn
                .prepare_cached(
                    "UPDATE app SET state = 'open', reason = NULL, blocked_until = NULL
                     WHERE id = ? AND (state <> 'open' OR blocked_until IS NOT NULL)",
                )?
                .execute([app.0])?;
            conn.prepare_cached("DELETE FROM misconfigured WHERE app = ?")?.execute([app.0])?;
            Ok(changed == 1)
        })
        .await
    }

    /// Notes that a connection reported *misconfigured*, and says how many different ones of that app did within the last hour.
    ///
    /// # Errors
    /// The store failed.
    pub async fn note_misconfigured(&self, app: AppId, connection: ConnectionId, now: i64) -> Result<u32, StoreError> {
        self.write(move |conn, _| {
            conn.prepare_cached(
                "INSERT INTO misconfigured (app, connection, at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)",
            )?
            .execute(params![app.0, connection.0, now])?;
            conn.prepare_cached("DELETE FROM misconfigured WHERE app = ? AND at <= ?")?.execute(params![app.0, now - HOUR])?;
            Ok(conn.prepare_cached("SELECT count(*) FROM misconfigured WHERE app = ?")?.query_row([app.0], |row| row.get(0))?)
        })
        .await
    }
}
