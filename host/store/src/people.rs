//! People and their way in: users, sessions, one-time links, link flows, the audit trail.
//!
//! Nothing here is a secret: of a session cookie, a ticket and a state only the SHA-256 is kept, a password only as its argon2 hash, and
//! what a flow must remember is sealed before it comes here. Whether something has expired is the caller's judgement by its own clock;
//! rows that ended long ago are swept away when a new one is made.

use crate::{Store, StoreError};
use rusqlite::{OptionalExtension, Row, params};
use sluice_model::{ConnectionId, UserId};

/// Someone to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Unique, as it is typed at sign-in.
    pub name: String,
    /// IANA zone: every day that is counted depends on it.
    pub time_zone: String,
    /// argon2id in PHC form; `None` until one is set.
    pub password_hash: Option<String>,
    /// Whether this is the operator's own account; there is one.
    pub owner: bool,
}

/// A person who signs in to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Row id.
    pub id: UserId,
    /// Unique.
    pub name: String,
    /// IANA zone.
    pub time_zone: String,
    /// argon2id in PHC form.
    pub password_hash: Option<String>,
    /// The operator's own account.
    pub owner: bool,
    /// ms.
    pub created_at: i64,
}

/// A signed-in browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the cookie's value.
    pub hash: [u8; 32],
    /// Whose.
    pub user: UserId,
    /// ms.
    pub created_at: i64,
    /// Ends then when nothing happens before.
    pub idle_until: i64,
    /// Ends then whatever happens.
    pub absolute_until: i64,
}

/// A one-time link: the owner's first set-up, a way back in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// SHA-256 of the link's secret part.
    pub hash: [u8; 32],
    /// What it is good for.
    pub kind: String,
    /// For whom, when that is known.
    pub user: Option<UserId>,
    /// ms.
    pub expires_at: i64,
}

/// A sign-in at a provider that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// SHA-256 of the state (or the nonce in the callback's path).
    pub state_hash: [u8; 32],
    /// The browser session it began in; `None` from a terminal.
    pub session: Option<[u8; 32]>,
    /// Who began it.
    pub user: UserId,
    /// Connector name.
    pub connector: String,
    /// `[[auth]]` id.
    pub profile: String,
    /// The connection to link again.
    pub relink: Option<ConnectionId>,
    /// What the second half needs (the PKCE verifier), sealed.
    pub sealed: Vec<u8>,
    /// ms.
    pub created_at: i64,
    /// ms.
    pub expires_at: i64,
}

/// Who did what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// ms.
    pub at: i64,
    /// Who, when that is known.
    pub user: Option<UserId>,
    /// Short and stable.
    pub kind: String,
    /// To which connection.
    pub connection: Option<ConnectionId>,
    /// For people.
    pub detail: String,
}

/// Sessions and flows that ended so long ago are swept when a new one is made; until then the caller can still say "expired".
const SWEEP_AFTER: i64 = 24 * 3_600_000;
/// Rows of the audit trail in one answer.
const AUDIT_ROWS: usize = 10_000;

const USER: &str = "SELECT id, name, time_zone, password_hash, owner, created_at FROM user";

fn read_user(row: &Row<'_>) -> Result<User, rusqlite::Error> {
    Ok(User {
        id: UserId(row.get(0)?),
        name: row.get(1)?,
        time_zone: row.get(2)?,
        password_hash: row.get(3)?,
        owner: row.get(4)?,
        created_at: row.get(5)?,
    })
}

fn read_ticket(row: &Row<'_>) -> Result<Ticket, rusqlite::Error> {
    Ok(Ticket { hash: row.get(0)?, kind: row.get(1)?, user: row.get::<_, Option<i64>>(2)?.map(UserId), expires_at: row.get(3)? })
}

/// A change of one row that must be there.
fn must(changed: usize, what: &'static str) -> Result<(), StoreError> {
    if changed == 0 { Err(StoreError::Missing(what)) } else { Ok(()) }
}

impl Store {
    /// Makes a user. A name that is taken, or a second owner, is refused.
    ///
    /// # Errors
    /// [`StoreError::Refused`], or the store failed.
    pub async fn create_user(&self, user: NewUser) -> Result<UserId, StoreError> {
        let now = self.now();
        self.write(move |conn, _| {
            conn.prepare_cached("INSERT INTO user (name, time_zone, password_hash, owner, created_at) VALUES (?, ?, ?, ?, ?)")?
                .execute(params![user.name, user.time_zone, user.password_hash, user.owner, now])?;
            Ok(UserId(conn.last_insert_rowid()))
        })
        .await
    }

    /// The operator's own account, once it is set up.
    ///
    /// # Errors
    /// The store failed.
    pub async fn owner(&self) -> Result<Option<User>, StoreError> {
        self.read(|conn| Ok(conn.prepare_cached(&format!("{USER} WHERE owner = 1"))?.query_row([], read_user).optional()?)).await
    }

    /// A user by id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.read(move |conn| Ok(conn.prepare_cached(&format!("{USER} WHERE id = ?"))?.query_row([id.0], read_user).optional()?)).await
    }

    /// A user by name, exactly as stored.
    ///
    /// # Errors
    /// The store failed.
    pub async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        let name = name.to_owned();
        self.read(move |conn| Ok(conn.prepare_cached(&format!("{USER} WHERE name = ?"))?.query_row([name], read_user).optional()?)).await
    }

    /// Sets a password hash and ends that user's sessions.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the store failed.
    pub async fn set_password(&self, user: UserId, hash: String) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            let changed = conn.prepare_cached("UPDATE user SET password_hash = ? WHERE id = ?")?.execute(params![hash, user.0])?;
            conn.prepare_cached("DELETE FROM session WHERE user = ?")?.execute([user.0])?;
            must(changed, "user")
        })
        .await
    }

    /// Sets a user's zone. Days already stored stay where they are.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the store failed.
    pub async fn set_time_zone(&self, user: UserId, time_zone: String) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            must(conn.prepare_cached("UPDATE user SET time_zone = ? WHERE id = ?")?.execute(params![time_zone, user.0])?, "user")
        })
        .await
    }

    /// Keeps a new session.
    ///
    /// # Errors
    /// The store failed.
    pub async fn create_session(&self, session: Session) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            conn.prepare_cached("DELETE FROM session WHERE absolute_until < ?")?.execute([session.created_at - SWEEP_AFTER])?;
            conn.prepare_cached("INSERT INTO session (hash, user, created_at, idle_until, absolute_until) VALUES (?, ?, ?, ?, ?)")?
                .execute(params![session.hash, session.user.0, session.created_at, session.idle_until, session.absolute_until])?;
            Ok(())
        })
        .await
    }

    /// The session of that hash, whatever its age.
    ///
    /// # Errors
    /// The store failed.
    pub async fn session(&self, hash: &[u8; 32]) -> Result<Option<Session>, StoreError> {
        let hash = *hash;
        self.read(move |conn| {
            Ok(conn
                .prepare_cached("SELECT user, created_at, idle_until, absolute_until FROM session WHERE hash = ?")?
                .query_row([hash], |row| {
                    Ok(Session {
                        hash,
                        user: UserId(row.get(0)?),
                        created_at: row.get(1)?,
                        idle_until: row.get(2)?,
                        absolute_until: row.get(3)?,
                    })
                })
                .optional()?)
        })
        .await
    }

    /// Moves the idle limit of a session.
    ///
    /// # Errors
    /// The store failed.
    pub async fn touch_session(&self, hash: &[u8; 32], idle_until: i64) -> Result<(), StoreError> {
        let hash = *hash;
        self.write(move |conn, _| {
            conn.prepare_cached("UPDATE session SET idle_until = ? WHERE hash = ?")?.execute(params![idle_until, hash])?;
            Ok(())
        })
        .await
    }

    /// Ends a session; one that is not there is no error.
    ///
    /// # Errors
    /// The store failed.
    pub async fn end_session(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        let hash = *hash;
        self.write(move |conn, _| {
            conn.prepare_cached("DELETE FROM session WHERE hash = ?")?.execute([hash])?;
            Ok(())
        })
        .await
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    /// The store failed.
    pub async fn end_sessions(&self, user: UserId) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            conn.prepare_cached("DELETE FROM session WHERE user = ?")?.execute([user.0])?;
            Ok(())
        })
        .await
    }

    /// Keeps a one-time link; others of the same kind and user end.
    ///
    /// # Errors
    /// The store failed.
    pub async fn put_ticket(&self, ticket: Ticket) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            let user = ticket.user.map(|user| user.0);
            conn.prepare_cached("DELETE FROM ticket WHERE kind = ? AND user IS ?")?.execute(params![ticket.kind, user])?;
            conn.prepare_cached("INSERT INTO ticket (hash, kind, user, expires_at) VALUES (?, ?, ?, ?)")?.execute(params![
                ticket.hash,
                ticket.kind,
                user,
                ticket.expires_at
            ])?;
            Ok(())
        })
        .await
    }

    /// Looks at a one-time link without using it up.
    ///
    /// # Errors
    /// The store failed.
    pub async fn peek_ticket(&self, hash: &[u8; 32]) -> Result<Option<Ticket>, StoreError> {
        let hash = *hash;
        self.read(move |conn| {
            Ok(conn
                .prepare_cached("SELECT hash, kind, user, expires_at FROM ticket WHERE hash = ?")?
                .query_row([hash], read_ticket)
                .optional()?)
        })
        .await
    }

    /// Uses a one-time link up: of two callers one gets it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn take_ticket(&self, hash: &[u8; 32]) -> Result<Option<Ticket>, StoreError> {
        let hash = *hash;
        self.write(move |conn, _| {
            Ok(conn
                .prepare_cached("DELETE FROM ticket WHERE hash = ? RETURNING hash, kind, user, expires_at")?
                .query_row([hash], read_ticket)
                .optional()?)
        })
        .await
    }

    /// Keeps a sign-in that is under way.
    ///
    /// # Errors
    /// The store failed.
    pub async fn start_flow(&self, flow: Flow) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            conn.prepare_cached("DELETE FROM flow WHERE expires_at < ?")?.execute([flow.created_at - SWEEP_AFTER])?;
            conn.prepare_cached(
                "INSERT INTO flow (state_hash, session, user, connector, profile, relink, sealed, created_at, expires_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                flow.state_hash,
                flow.session,
                flow.user.0,
                flow.connector,
                flow.profile,
                flow.relink.map(|connection| connection.0),
                flow.sealed,
                flow.created_at,
                flow.expires_at
            ])?;
            Ok(())
        })
        .await
    }

    /// Takes a flow out, whatever its age: of two callers one gets it, and a failed callback burns it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn take_flow(&self, state_hash: &[u8; 32]) -> Result<Option<Flow>, StoreError> {
        let state_hash = *state_hash;
        self.write(move |conn, _| {
            Ok(conn
                .prepare_cached(
                    "DELETE FROM flow WHERE state_hash = ?
                     RETURNING session, user, connector, profile, relink, sealed, created_at, expires_at",
                )?
                .query_row([state_hash], |row| {
                    Ok(Flow {
                        state_hash,
                        session: row.get(0)?,
                        user: UserId(row.get(1)?),
                        connector: row.get(2)?,
                        profile: row.get(3)?,
                        relink: row.get::<_, Option<i64>>(4)?.map(ConnectionId),
                        sealed: row.get(5)?,
                        created_at: row.get(6)?,
                        expires_at: row.get(7)?,
                    })
                })
                .optional()?)
        })
        .await
    }

    /// Notes who did what.
    ///
    /// # Errors
    /// The store failed.
    pub async fn audit(&self, audit: Audit) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            conn.prepare_cached("INSERT INTO audit (at, user, kind, connection, detail) VALUES (?, ?, ?, ?, ?)")?.execute(params![
                audit.at,
                audit.user.map(|user| user.0),
                audit.kind,
                audit.connection.map(|connection| connection.0),
                audit.detail
            ])?;
            Ok(())
        })
        .await
    }

    /// The latest notes, newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn audit_log(&self, limit: usize) -> Result<Vec<Audit>, StoreError> {
        self.read(move |conn| {
            let limit = i64::try_from(limit.min(AUDIT_ROWS)).unwrap_or(0);
            let mut statement = conn.prepare_cached("SELECT at, user, kind, connection, detail FROM audit ORDER BY id DESC LIMIT ?")?;
            let rows = statement.query_map([limit], |row| {
                Ok(Audit {
                    at: row.get(0)?,
                    user: row.get::<_, Option<i64>>(1)?.map(UserId),
                    kind: row.get(2)?,
                    connection: row.get::<_, Option<i64>>(3)?.map(ConnectionId),
                    detail: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}
