//! Claims: leases on what is due, taken in batches, fair, from an index.
//!
//! The problem: a million connections, of which a few are due; a blocked app whose connections are all due; one person with hundreds of
//! connections beside another with one. The contract: only apps that run are asked, each by a range of the index on (app, due), which holds
//! nothing that is paused or running; what is idle costs nothing. Apps take turns, and within a claim whoever has got least so far is next,
//! so that no user takes more than their share while others wait. Runs that somebody asked for go before the rest.
//!
//! Bounds: a claim takes at most [`MOST`] leases and looks at most at [`LOOK`] due rows an app; over that many due rows of few users, those
//! behind them wait for the next claim. The leases are one commit; what the runs need is read afterwards on a reader, in a handful of
//! prepared statements each: with the lease taken, nothing of it changes under the run unless the epoch does.

use crate::apply::WriterState;
use crate::credentials::{self, Credential};
use crate::names::parse_reason;
use crate::{App, Connection, Held, Store, StoreError, apps, connections, schedule};
use rusqlite::{Connection as Database, OptionalExtension, params};
use sluice_model::task::Reason;
use sluice_model::{AppId, ConnectionId, UserId};
use std::collections::{HashMap, HashSet, VecDeque};

/// Leases of one claim.
const MOST: usize = 256;
/// Due rows of one app that one claim looks at.
const LOOK: usize = 4_096;

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

/// The users of one app who have something due, the one who has waited longest first.
struct Lane {
    users: VecDeque<(i64, VecDeque<i64>)>,
}

impl Lane {
    /// The next connection of the app, of the user who holds least; none where both have their share.
    fn next(&mut self, app: AppId, held: &mut Held) -> Option<i64> {
        let holds = |(_, (user, _)): &(usize, &(i64, _))| held.of_user(UserId(*user));
        let least = self.users.iter().enumerate().min_by_key(holds).map(|(at, _)| at)?;
        let user = UserId(self.users.get(least)?.0);
        if !held.admits(app, user) {
            return None;
        }
        let (_, mut waiting) = self.users.remove(least)?;
        let connection = waiting.pop_front();
        held.take(app, user);
        if !waiting.is_empty() {
            self.users.push_back((user.0, waiting));
        }
        connection
    }
}

/// Apps that run now.
pub(crate) const OPEN_APPS: &str = "SELECT id FROM app WHERE state = 'open' AND (blocked_until IS NULL OR blocked_until <= ?) ORDER BY id";
/// What is due in an app, the longest waiting first.
pub(crate) const DUE: &str =
    "SELECT user, connection FROM work INDEXED BY work_due WHERE app = ? AND due <= ? AND kind = 'sync' ORDER BY due";
/// What somebody asked for.
pub(crate) const URGENT: &str =
    "SELECT user, connection FROM work INDEXED BY work_urgent WHERE app = ? AND due <= ? AND priority > 0 AND kind = 'sync' ORDER BY due";

fn lane(conn: &Database, sql: &str, app: i64, now: i64, limit: usize, skip: &HashSet<i64>) -> Result<Lane, StoreError> {
    let mut users: VecDeque<(i64, VecDeque<i64>)> = VecDeque::new();
    let mut places: HashMap<i64, usize> = HashMap::new();
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![app, now])?;
    let mut looked = 0;
    while looked < LOOK && users.len() < limit {
        let Some(row) = rows.next()? else { break };
        looked += 1;
        let (user, connection): (i64, i64) = (row.get(0)?, row.get(1)?);
        if skip.contains(&connection) {
            continue;
        }
        let place = *places.entry(user).or_insert_with(|| {
            users.push_back((user, VecDeque::new()));
            users.len() - 1
        });
        if let Some((_, waiting)) = users.get_mut(place)
            && waiting.len() < limit
        {
            waiting.push_back(connection);
        }
    }
    Ok(Lane { users })
}

/// Which connections are next.
pub(crate) fn pick(conn: &Database, state: &mut WriterState, now: i64, limit: usize, held: &mut Held) -> Result<Vec<i64>, StoreError> {
    let mut apps: Vec<i64> = conn.prepare_cached(OPEN_APPS)?.query_map([now], |row| row.get(0))?.collect::<Result<_, _>>()?;
    if apps.is_empty() || limit == 0 {
        return Ok(Vec::new());
    }
    let turn = state.turn % apps.len();
    apps.rotate_left(turn);
    state.turn = state.turn.wrapping_add(1);
    let mut picked = Vec::new();
    let mut seen = HashSet::new();
    for sql in [URGENT, DUE] {
        let mut lanes = apps.iter().map(|app| lane(conn, sql, *app, now, limit, &seen)).collect::<Result<Vec<_>, _>>()?;
        loop {
            let before = picked.len();
            for (app, lane) in apps.iter().zip(&mut lanes) {
                if picked.len() == limit {
                    return Ok(picked);
                }
                if let Some(connection) = lane.next(AppId(*app), held) {
                    seen.insert(connection);
                    picked.push(connection);
                }
            }
            if picked.len() == before {
                break;
            }
        }
    }
    Ok(picked)
}

/// A lease that was taken.
struct Leased {
    fence: Fence,
    reason: Reason,
    attempts: u32,
}

fn lease(conn: &Database, state: &mut WriterState, incarnation: i64, connection: i64, now: i64) -> Result<Option<Leased>, StoreError> {
    state.lease += 1;
    let owner = incarnation << 32 | (state.lease & 0xFFFF_FFFF);
    // Read, then written: RETURNING would make a table of its own for each row.
    let epoch: Option<i64> = conn
        .prepare_cached("SELECT epoch FROM connection WHERE id = ? AND owner = 0 AND erasing = 0")?
        .query_row([connection], |row| row.get(0))
        .optional()?;
    if epoch.is_some() {
        conn.prepare_cached("UPDATE connection SET owner = ?, leased_at = ?, run = NULL WHERE id = ?")?
            .execute(params![owner, now, connection])?;
    }
    let (reason, attempts) = conn
        .prepare_cached("SELECT reason, attempts FROM work WHERE connection = ? AND kind = 'sync' AND subject = 0")?
        .query_row([connection], |row| Ok((parse_reason(row.get_ref(0)?.as_str().unwrap_or("")), row.get(1)?)))?;
    conn.prepare_cached("UPDATE work SET due = NULL, priority = 0 WHERE connection = ? AND kind = 'sync' AND subject = 0")?
        .execute([connection])?;
    let fence = |epoch| Fence { connection: ConnectionId(connection), epoch, owner };
    Ok(epoch.map(|epoch| Leased { fence: fence(epoch), reason, attempts }))
}

/// Everything that a run needs.
fn details(conn: &Database, leased: &Leased, known: &mut HashMap<AppId, App>) -> Result<Option<Claim>, StoreError> {
    let id = leased.fence.connection.0;
    let Some(connection) = connections::load(conn, "c.id = ?", [id])? else { return Ok(None) };
    let app = match known.get(&connection.app) {
        Some(app) => app.clone(),
        None => {
            let app = apps::load_app(conn, connection.app)?.ok_or(StoreError::Missing("app"))?;
            known.insert(connection.app, app.clone());
            app
        }
    };
    let user_time_zone =
        conn.prepare_cached("SELECT time_zone FROM user WHERE id = ?")?.query_row([connection.user.0], |row| row.get(0))?;
    let (cursor, cursor_version, last_complete) = conn
        .prepare_cached("SELECT cursor, cursor_version, last_complete FROM task WHERE connection = ? AND kind = 'sync'")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let state = conn
        .prepare_cached("SELECT key, value FROM state WHERE connection = ? ORDER BY key")?
        .query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let quotas = conn
        .prepare_cached("SELECT connection, name, used, remaining, reset_at FROM quota WHERE app = ? AND connection IN (0, ?)")?
        .query_map([connection.app.0, id], |row| {
            let whose: i64 = row.get(0)?;
            Ok(QuotaRow {
                app: connection.app,
                connection: (whose != 0).then_some(ConnectionId(whose)),
                name: row.get(1)?,
                used: row.get::<_, i64>(2)?.unsigned_abs(),
                remaining: row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs),
                reset_at: row.get(4)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    let data_key = connection.data_key.clone();
    Ok(Some(Claim {
        fence: leased.fence,
        connection,
        reason: leased.reason,
        attempts: leased.attempts,
        cursor,
        cursor_version,
        last_complete,
        app,
        user_time_zone,
        credentials: credentials::load(conn, id)?,
        data_key,
        state,
        quotas,
    }))
}

impl Store {
    /// Takes leases on what is due, at most 256: apps in turn, and whoever got least so far first.
    ///
    /// # Errors
    /// [`StoreError::TakenOver`], or the store failed.
    pub async fn claim(&self, incarnation: i64, now: i64, limit: usize) -> Result<Vec<Claim>, StoreError> {
        self.claim_beside(incarnation, now, limit, Held::none(limit)).await
    }

    /// The same beside leases that are out already, so that nobody gets more than the share that [`Held`] leaves them.
    ///
    /// # Errors
    /// [`StoreError::TakenOver`], or the store failed.
    pub async fn claim_beside(&self, incarnation: i64, now: i64, limit: usize, mut held: Held) -> Result<Vec<Claim>, StoreError> {
        let leased = self
            .write(move |conn, state| {
                schedule::newest(conn, incarnation)?;
                let mut leased = Vec::new();
                for connection in pick(conn, state, now, limit.min(MOST), &mut held)? {
                    leased.extend(lease(conn, state, incarnation, connection, now)?);
                }
                Ok(leased)
            })
            .await?;
        if leased.is_empty() {
            return Ok(Vec::new());
        }
        let fences: Vec<Fence> = leased.iter().map(|leased| leased.fence).collect();
        let read = self
            .read(move |conn| {
                let mut known = HashMap::new();
                let mut claims = Vec::with_capacity(leased.len());
                for leased in &leased {
                    // One that was disconnected in between is no claim any more.
                    claims.extend(details(conn, leased, &mut known)?);
                }
                Ok(claims)
            })
            .await;
        if read.is_err() {
            self.release(fences).await?;
        }
        read
    }
}
