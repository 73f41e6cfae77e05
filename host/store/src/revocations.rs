//! Grants that are to be taken back at a provider which did not answer yet.
//!
//! A row is put aside *before* its connection's keys are wiped, so that a crash in between cannot lose what revoking needs; and it is handed out only
//! once the connection is really gone, so that the same crash cannot revoke what is in use. What is sealed in a row is the vault's affair. Rows are
//! few: one for each disconnect that met a provider's bad hour.

use crate::{Store, StoreError};
use rusqlite::{OptionalExtension, params};
use sluice_model::{AppId, ConnectionId};

/// A row whose connection still lives after this long was put aside by a disconnect that never happened, or by one whose account was linked again.
const STRAY_MS: i64 = 3_600_000;

/// A grant to be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRevocation {
    /// Whose keys these were.
    pub connection: ConnectionId,
    /// Through which app.
    pub app: AppId,
    /// Connector name.
    pub connector: String,
    /// `[[auth]]` id.
    pub profile: String,
    /// The provider's id of the account.
    pub account: Option<String>,
    /// What revoking needs, sealed.
    pub sealed: Vec<u8>,
    /// ms.
    pub created_at: i64,
    /// The first repetition, ms.
    pub due: i64,
}

/// One that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Row id.
    pub id: i64,
    /// Whose keys these were.
    pub connection: ConnectionId,
    /// Through which app.
    pub app: AppId,
    /// Connector name.
    pub connector: String,
    /// `[[auth]]` id.
    pub profile: String,
    /// The provider's id of the account.
    pub account: Option<String>,
    /// What revoking needs, sealed.
    pub sealed: Vec<u8>,
    /// ms.
    pub created_at: i64,
    /// How often it was taken before.
    pub attempts: u32,
}

/// What makes a row's connection a living one.
const ALIVE: &str =
    "EXISTS (SELECT 1 FROM connection c WHERE c.id = revocation.connection AND c.state <> 'disconnected' AND c.erasing = 0)";

impl Store {
    /// Puts a revocation aside; its id is for [`Store::done_revocation`].
    ///
    /// # Errors
    /// The store failed.
    pub async fn put_revocation(&self, row: NewRevocation) -> Result<i64, StoreError> {
        self.write(move |conn, _| {
            conn.prepare_cached(
                "INSERT INTO revocation (connection, app, connector, profile, account, sealed, created_at, due, attempts)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
            )?
            .execute(params![
                row.connection.0,
                row.app.0,
                row.connector,
                row.profile,
                row.account,
                row.sealed,
                row.created_at,
                row.due
            ])?;
            Ok(conn.last_insert_rowid())
        })
        .await
    }

    /// Takes what is due, at most `limit`, and moves each to `again_at`, so that one which is not finished comes back. Nothing is handed out whose
    /// connection lives.
    ///
    /// # Errors
    /// The store failed.
    pub async fn take_due_revocations(&self, now: i64, limit: usize, again_at: i64) -> Result<Vec<Revocation>, StoreError> {
        // Nearly always there is none, and the writer is not asked.
        let any = self.read(move |conn| {
            Ok(conn.prepare_cached("SELECT 1 FROM revocation WHERE due <= ? LIMIT 1")?.query_row([now], |_| Ok(())).optional()?.is_some())
        });
        if !any.await? {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.write(move |conn, _| {
            conn.prepare_cached(&format!("DELETE FROM revocation WHERE created_at < ? AND {ALIVE}"))?
                .execute([now.saturating_sub(STRAY_MS)])?;
            let mut statement = conn.prepare_cached(&format!(
                "SELECT id, connection, app, connector, profile, account, sealed, created_at, attempts FROM revocation
                 WHERE due <= ? AND NOT {ALIVE} ORDER BY due, id LIMIT ?"
            ))?;
            let rows = statement.query_map([now, limit], |row| {
                Ok(Revocation {
                    id: row.get(0)?,
                    connection: ConnectionId(row.get(1)?),
                    app: AppId(row.get(2)?),
                    connector: row.get(3)?,
                    profile: row.get(4)?,
                    account: row.get(5)?,
                    sealed: row.get(6)?,
                    created_at: row.get(7)?,
                    attempts: row.get(8)?,
                })
            })?;
            let taken: Vec<Revocation> = rows.collect::<Result<_, _>>()?;
            let mut again = conn.prepare_cached("UPDATE revocation SET due = ?, attempts = attempts + 1 WHERE id = ?")?;
            for row in &taken {
                again.execute([again_at, row.id])?;
            }
            Ok(taken)
        })
        .await
    }

    /// Moves one that the provider did not answer.
    ///
    /// # Errors
    /// The store failed.
    pub async fn postpone_revocation(&self, id: i64, due: i64) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            conn.prepare_cached("UPDATE revocation SET due = ? WHERE id = ?")?.execute([due, id])?;
            Ok(())
        })
        .await
    }

    /// Destroys a row: the grant is taken back, or never will be.
    ///
    /// # Errors
    /// The store failed.
    pub async fn done_revocation(&self, id: i64) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            conn.prepare_cached("DELETE FROM revocation WHERE id = ?")?.execute([id])?;
            Ok(())
        })
        .await
    }

    /// How many living connections other than `except` stand on the same grant: one account's consent to one app by one profile.
    ///
    /// # Errors
    /// The store failed.
    pub async fn grant_users(&self, app: AppId, profile: &str, account: &str, except: ConnectionId) -> Result<u64, StoreError> {
        let (profile, account) = (profile.to_owned(), account.to_owned());
        self.read(move |conn| {
            let count = conn
                .prepare_cached(
                    "SELECT count(*) FROM connection
                     WHERE app = ?1 AND account = ?2 AND profile = ?3 AND id <> ?4 AND state <> 'disconnected' AND erasing = 0",
                )?
                .query_row(params![app.0, account, profile, except.0], |row| row.get::<_, u64>(0))?;
            Ok(count)
        })
        .await
    }
}
