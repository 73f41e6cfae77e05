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
                .query_row(params![app.0, account, profile, except.0], |row| row.get::<_, i64>(0))?;
            Ok(u64::try_from(count).unwrap_or_default())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataChoice, NewLink, NewUser};
    use sluice_model::{Account, UserId};
    use std::sync::Arc;

    struct Counting(std::sync::atomic::AtomicU8);

    impl sluice_model::time::Random for Counting {
        fn fill(&self, buf: &mut [u8]) {
            buf.iter_mut().for_each(|byte| *byte = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
    }

    fn open(dir: &std::path::Path) -> Store {
        Store::open(dir, Arc::new(|| 1_000), Arc::new(Counting(0.into()))).unwrap()
    }

    async fn user(store: &Store, name: &str) -> UserId {
        let user = NewUser { name: name.into(), time_zone: "UTC".into(), password_hash: None, owner: false };
        store.create_user(user).await.unwrap()
    }

    async fn link(store: &Store, user: UserId, app: AppId, profile: &str, relink: Option<ConnectionId>) -> ConnectionId {
        let link = NewLink {
            public_id: format!("{user}-{profile}"),
            user,
            app,
            connector: "github".into(),
            profile: profile.into(),
            account: Account { id: Some("583231".into()), label: "octo".into(), route_keys: Vec::new() },
            scopes: Vec::new(),
            settings: Vec::new(),
            data_key: ("k".into(), vec![1]),
            credentials: Vec::new(),
            relink,
            due: 1_000,
        };
        store.link(link).await.unwrap()
    }

    fn row(connection: ConnectionId, app: AppId) -> NewRevocation {
        NewRevocation {
            connection,
            app,
            connector: "github".into(),
            profile: "oauth".into(),
            account: Some("583231".into()),
            sealed: vec![7; 40],
            created_at: 1_000,
            due: 2_000,
        }
    }

    #[tokio::test]
    async fn nothing_is_handed_out_while_its_connection_lives_and_nothing_is_lost_after() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let app = store.app("github", "id").await.unwrap().id;
        let owner = user(&store, "ann").await;
        let connection = link(&store, owner, app, "oauth", None).await;
        let id = store.put_revocation(row(connection, app)).await.unwrap();
        assert_eq!(store.take_due_revocations(2_000, 10, 9_000).await.unwrap(), []);
        store.disconnect(connection, DataChoice::Keep).await.unwrap();
        assert_eq!(store.take_due_revocations(1_999, 10, 9_000).await.unwrap(), [], "not due");
        // What was taken comes back, also after the process died with it.
        for (now, again, attempts) in [(2_000, 9_000, 0), (9_000, 20_000, 1)] {
            let taken = store.take_due_revocations(now, 10, again).await.unwrap();
            assert_eq!(taken.iter().map(|r| (r.id, r.attempts, r.sealed.len())).collect::<Vec<_>>(), [(id, attempts, 40)]);
            assert_eq!(store.take_due_revocations(again - 1, 10, again).await.unwrap(), []);
        }
        store.postpone_revocation(id, 30_000).await.unwrap();
        assert_eq!(store.take_due_revocations(29_999, 10, 40_000).await.unwrap(), []);
        store.disconnect(connection, DataChoice::Delete).await.unwrap();
        assert_eq!(store.take_due_revocations(30_000, 10, 40_000).await.unwrap().len(), 1, "a row outlives its connection");
        store.done_revocation(id).await.unwrap();
        assert_eq!(store.take_due_revocations(i64::MAX, 10, i64::MAX).await.unwrap(), []);
        store.close().await;
    }

    #[tokio::test]
    async fn an_account_that_was_linked_again_is_forgotten_here() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let app = store.app("github", "id").await.unwrap().id;
        let owner = user(&store, "ann").await;
        let connection = link(&store, owner, app, "oauth", None).await;
        store.put_revocation(row(connection, app)).await.unwrap();
        store.disconnect(connection, DataChoice::Keep).await.unwrap();
        link(&store, owner, app, "oauth", Some(connection)).await;
        assert_eq!(store.take_due_revocations(1_000 + STRAY_MS + 1, 10, i64::MAX).await.unwrap(), []);
        store.disconnect(connection, DataChoice::Keep).await.unwrap();
        assert_eq!(store.take_due_revocations(i64::MAX, 10, i64::MAX).await.unwrap(), [], "the stray row is gone");
        store.close().await;
    }

    #[tokio::test]
    async fn a_grant_is_shared_by_those_of_one_app_profile_and_account() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let app = store.app("github", "id").await.unwrap().id;
        let other_app = store.app("github", "").await.unwrap().id;
        let (ann, bob, cid) = (user(&store, "ann").await, user(&store, "bob").await, user(&store, "cid").await);
        let first = link(&store, ann, app, "oauth", None).await;
        let second = link(&store, bob, app, "oauth", None).await;
        link(&store, cid, other_app, "token", None).await;
        assert_eq!(store.grant_users(app, "oauth", "583231", first).await.unwrap(), 1);
        assert_eq!(store.grant_users(app, "oauth", "other", first).await.unwrap(), 0);
        assert_eq!(store.grant_users(app, "token", "583231", first).await.unwrap(), 0);
        store.disconnect(second, DataChoice::Keep).await.unwrap();
        assert_eq!(store.grant_users(app, "oauth", "583231", first).await.unwrap(), 0);
        store.close().await;
    }
}
