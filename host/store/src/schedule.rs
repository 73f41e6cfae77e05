//! The schedule around claims: hosts that live and die, wishes to run now, leases given back, and when to wake.
//!
//! A lease names an incarnation (a host's life, from start to end) in its upper half and a number in its lower half, so that one heartbeat
//! holds all leases of a host and no two leases are ever alike: a run whose lease was given back cannot commit into the next one's. An
//! incarnation is dead when its time is over, or when it began before this process took the folder: the lock proves that it ended.

use crate::{ConnectionState, Fence, Store, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use sluice_model::task::Reason;
use sluice_model::{AppId, ConnectionId};

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

/// What the schedule has before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// When something is due next, ms.
    pub next: Option<i64>,
    /// Apps that are not paused and have something before them, now or later.
    pub apps: Vec<AppId>,
    /// There is more than one person.
    pub several_users: bool,
}

/// Ends the run that holds a connection's lease, if any: its row says so, and its next commit is fenced off.
pub(crate) fn interrupt(conn: &Connection, connection: i64, now: i64) -> Result<bool, StoreError> {
    let held: Option<(Option<i64>, Option<i64>)> = conn
        .prepare_cached("SELECT run, leased_at FROM connection WHERE id = ? AND owner <> 0")?
        .query_row([connection], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((run, _)) = held else { return Ok(false) };
    if let Some(run) = run {
        conn.prepare_cached("UPDATE run SET outcome = 'interrupted', ended_at = ?1, last_ended_at = ?1 WHERE id = ?2")?
            .execute(params![now, run])?;
    }
    conn.prepare_cached("UPDATE connection SET owner = 0, leased_at = NULL, run = NULL WHERE id = ?")?.execute([connection])?;
    Ok(true)
}

/// Frees everything that a dead incarnation held.
fn bury(conn: &Connection, incarnation: i64, now: i64) -> Result<(), StoreError> {
    let held: Vec<i64> = conn
        .prepare_cached("SELECT id FROM connection WHERE owner BETWEEN ? AND ? AND owner <> 0")?
        .query_map([incarnation << 32, (incarnation << 32) | 0xFFFF_FFFF], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for connection in held {
        interrupt(conn, connection, now)?;
        conn.prepare_cached(
            "UPDATE work SET due = ?, attempts = attempts + 1, why = 'the host stopped during the last run' WHERE connection = ?
               AND kind = 'sync'",
        )?
        .execute(params![now, connection])?;
    }
    conn.prepare_cached("DELETE FROM host WHERE id = ?")?.execute([incarnation])?;
    Ok(())
}

/// A host lives until another one begins: the folder's locks let nobody begin beside a living one, so where somebody does, they were lost, and of two
/// that write only the later knows of the other.
pub(crate) fn newest(conn: &Connection, incarnation: i64) -> Result<(), StoreError> {
    let newest: Option<i64> = conn.prepare_cached("SELECT max(id) FROM host")?.query_row([], |row| row.get(0))?;
    if newest == Some(incarnation) { Ok(()) } else { Err(StoreError::TakenOver) }
}

/// The failure of a run whose connector was not there; [`Store::wake_absent`] finds whoever has it.
pub const NO_CONNECTOR: &str = "NO_CONNECTOR";

/// Goes by `connection_absent`, which holds nobody else; what runs or is paused has no time.
const WAKE: &str = "UPDATE work SET due = ?1, why = NULL WHERE kind = 'sync' AND subject = 0 AND due > ?1
  AND connection IN (SELECT id FROM connection WHERE connector = ?2 AND failure_code = 'NO_CONNECTOR')";

impl Store {
    /// Begins a host's life: a new incarnation, after freeing what dead ones held (their runs end as interrupted and are due again).
    ///
    /// # Errors
    /// The store failed.
    pub async fn start_incarnation(&self, now: i64, alive_until: i64) -> Result<i64, StoreError> {
        self.write(move |conn, state| {
            let dead: Vec<i64> = conn
                .prepare_cached("SELECT id FROM host WHERE id <= ? OR alive_until < ?")?
                .query_map([state.before, now], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for incarnation in dead {
                bury(conn, incarnation, now)?;
            }
            conn.prepare_cached("INSERT INTO host (started_at, alive_until) VALUES (?, ?)")?.execute([now, alive_until])?;
            Ok(conn.last_insert_rowid())
        })
        .await
    }

    /// Goes on living.
    ///
    /// # Errors
    /// [`StoreError::TakenOver`] or [`StoreError::Moved`]: stop everything. Or the store failed.
    pub async fn heartbeat(&self, incarnation: i64, alive_until: i64) -> Result<(), StoreError> {
        let place = self.place();
        self.write(move |conn, _| {
            place.check()?;
            newest(conn, incarnation)?;
            conn.prepare_cached("UPDATE host SET alive_until = ? WHERE id = ?")?.execute(params![alive_until, incarnation])?;
            Ok(())
        })
        .await
    }

    /// When something is due next among apps that are not paused, ms; a blocked app's connections are due when the block ends.
    ///
    /// # Errors
    /// The store failed.
    pub async fn next_due(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.waiting().await?.next)
    }

    /// The same, with who is waiting: one look-up for each app.
    ///
    /// # Errors
    /// The store failed.
    pub async fn waiting(&self) -> Result<Waiting, StoreError> {
        self.read(|conn| {
            let mut apps = conn.prepare_cached("SELECT id, blocked_until FROM app WHERE state = 'open'")?;
            let mut first = conn.prepare_cached("SELECT min(due) FROM work INDEXED BY work_due WHERE app = ? AND due IS NOT NULL")?;
            let people: i64 = conn.prepare_cached("SELECT count(*) FROM (SELECT 1 FROM user LIMIT 2)")?.query_row([], |row| row.get(0))?;
            let mut rows = apps.query([])?;
            let mut waiting = Waiting { several_users: people > 1, ..Waiting::default() };
            while let Some(row) = rows.next()? {
                let (app, blocked): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
                let due: Option<i64> = first.query_row([app], |row| row.get(0))?;
                if let Some(due) = due {
                    let due = due.max(blocked.unwrap_or(due));
                    waiting.next = Some(waiting.next.map_or(due, |next| next.min(due)));
                    waiting.apps.push(AppId(app));
                }
            }
            Ok(waiting)
        })
        .await
    }

    /// Makes a connection due now, before those whose time has come by itself. What only linking again can mend stays paused, and so does
    /// what the provider asked to leave alone until its time.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the store failed.
    pub async fn request_run(&self, connection: ConnectionId, reason: Reason, now: i64) -> Result<Requested, StoreError> {
        self.write(move |conn, _| {
            let (state, owner, due): (String, i64, Option<i64>) = conn
                .prepare_cached(
                    "SELECT c.state, c.owner, w.due FROM connection c LEFT JOIN work w ON w.connection = c.id AND w.kind = 'sync'
                     WHERE c.id = ? AND c.erasing = 0",
                )?
                .query_row([connection.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?
                .ok_or(StoreError::Missing("connection"))?;
            let state = ConnectionState::parse(&state).unwrap_or(ConnectionState::Ok);
            if owner != 0 {
                return Ok(Requested::Running);
            }
            let waits = state == ConnectionState::RateLimited && due.is_some_and(|due| due > now);
            if state.needs_link() || waits {
                return Ok(Requested::Paused(state));
            }
            conn.prepare_cached("UPDATE work SET due = ?, priority = 1, reason = ?, why = NULL WHERE connection = ? AND kind = 'sync'")?
                .execute(params![now, reason.as_str(), connection.0])?;
            Ok(Requested::Queued)
        })
        .await
    }

    /// These connectors are there (again): whoever backs off for want of them is due now. Says how many are.
    ///
    /// # Errors
    /// The store failed.
    pub async fn wake_absent(&self, connectors: Vec<String>) -> Result<usize, StoreError> {
        let now = self.now();
        self.write(move |conn, _| {
            let mut wake = conn.prepare_cached(WAKE)?;
            connectors.iter().try_fold(0, |woken, connector| Ok(woken + wake.execute(params![now, connector])?))
        })
        .await
    }

    /// Gives leases back; their connections are due at once. One that is no longer held is passed over.
    ///
    /// # Errors
    /// The store failed.
    pub async fn release(&self, fences: Vec<Fence>) -> Result<(), StoreError> {
        let now = self.now();
        self.write(move |conn, _| {
            for fence in &fences {
                let held = conn.prepare_cached("SELECT 1 FROM connection WHERE id = ? AND epoch = ? AND owner = ?")?.exists(params![
                    fence.connection.0,
                    fence.epoch,
                    fence.owner
                ])?;
                if held {
                    interrupt(conn, fence.connection.0, now)?;
                    conn.prepare_cached("UPDATE work SET due = ? WHERE connection = ? AND kind = 'sync'")?
                        .execute(params![now, fence.connection.0])?;
                }
            }
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_and_the_index_know_the_failure_by_its_name() {
        assert!(WAKE.contains(&format!("failure_code = '{NO_CONNECTOR}'")));
        assert!(include_str!("schema_3.sql").contains(&format!("failure_code = '{NO_CONNECTOR}'")));
    }

    #[test]
    fn waking_looks_at_nobody_who_does_not_wait() {
        let dir = tempfile::tempdir().unwrap();
        let conn = crate::open::writer(dir.path()).unwrap();
        let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {WAKE}")).unwrap();
        let steps: Vec<String> = plan.query_map(params![0, "x"], |row| row.get(3)).unwrap().collect::<Result<_, _>>().unwrap();
        assert!(steps.iter().any(|step| step.contains("connection_absent")), "{steps:?}");
        assert!(!steps.iter().any(|step| step.starts_with("SCAN")), "{steps:?}");
    }
}
