//! Leaving: keys at once, data in slices, and nothing of it left in any file.
//!
//! The first commit wipes keys and the wrapped data key, ends a run under way (its epoch is over) and takes the connection off the schedule.
//! Where the data goes too, it also marks the connection as being erased, which hides it from every view; then slices of [`SLICE`] rows go,
//! each a commit of its own, so that nobody else waits long; then the connection's row; then the WAL is emptied, since it holds pages from
//! before. The mark makes it resumable: the next start goes on where a killed host stopped. `secure_delete` overwrites what is deleted.

use crate::{Store, StoreError, credentials, schedule};
use rusqlite::{Connection, params};
use sluice_model::ConnectionId;

/// Rows of one slice.
const SLICE: i64 = 5_000;
/// Runs of one slice: each may have hundreds of log lines.
const RUN_SLICE: i64 = 100;
/// Pages given back to the file system in one go.
const VACUUM: &str = "PRAGMA incremental_vacuum(4096)";

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

/// One slice of a connection that is being erased; whether there is more.
fn slice(conn: &Connection, connection: i64, erased: &mut Erased) -> Result<bool, StoreError> {
    const SLICES: [(&str, &str); 4] = [
        ("entry_more", "connection, metric, start, key"),
        ("entry", "connection, metric, start, key"),
        ("day", "connection, metric, key, day"),
        ("series", "connection, metric, key"),
    ];
    for (table, key) in SLICES {
        let sql = format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE connection = ? LIMIT {SLICE})");
        let gone = conn.prepare_cached(&sql)?.execute([connection])?;
        if table == "entry" {
            erased.entries += gone as u64;
        }
        if gone > 0 {
            return Ok(true);
        }
    }
    const RUNS: &str = "(SELECT id FROM run WHERE connection = ?1 ORDER BY id LIMIT ?2)";
    let lines = conn.prepare_cached(&format!("DELETE FROM run_log WHERE run IN {RUNS}"))?.execute(params![connection, RUN_SLICE])?;
    let runs = conn.prepare_cached(&format!("DELETE FROM run WHERE id IN {RUNS}"))?.execute(params![connection, RUN_SLICE])?;
    erased.log_lines += lines as u64;
    erased.runs += runs as u64;
    if runs > 0 {
        return Ok(true);
    }
    conn.prepare_cached("DELETE FROM quota WHERE connection = ?")?.execute([connection])?;
    conn.prepare_cached("DELETE FROM flow WHERE relink = ?")?.execute([connection])?;
    // Takes task, state, work and what else hangs on it along.
    conn.prepare_cached("DELETE FROM connection WHERE id = ?")?.execute([connection])?;
    Ok(false)
}

/// Goes on with what a killed host left half-erased.
pub(crate) fn resume(conn: &Connection) -> Result<(), StoreError> {
    let mut erased = Erased::default();
    let waiting: Vec<i64> =
        conn.prepare("SELECT id FROM connection WHERE erasing <> 0")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for connection in &waiting {
        loop {
            conn.execute_batch("BEGIN IMMEDIATE")?;
            let more = slice(conn, *connection, &mut erased);
            conn.execute_batch(if more.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
            if !more? {
                break;
            }
        }
    }
    if !waiting.is_empty() {
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    Ok(())
}

impl Store {
    /// Wipes keys and wrapped key at once, ends a run under way, and removes the data when the person says so.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the store failed.
    pub async fn disconnect(&self, connection: ConnectionId, choice: DataChoice) -> Result<Erased, StoreError> {
        let now = self.now();
        let delete = choice == DataChoice::Delete;
        let wiped = self
            .write(move |conn, _| {
                schedule::interrupt(conn, connection.0, now)?;
                let changed = conn
                    .prepare_cached(
                        "UPDATE connection SET state = 'disconnected', message = NULL, url = NULL, failure_code = NULL, epoch = epoch + 1,
                           erasing = ? WHERE id = ?",
                    )?
                    .execute(params![delete, connection.0])?;
                if changed == 0 {
                    return Err(StoreError::Missing("connection"));
                }
                conn.prepare_cached("DELETE FROM work WHERE connection = ?")?.execute([connection.0])?;
                credentials::wipe(conn, connection.0)
            })
            .await?;
        let mut erased = Erased { credentials: wiped, ..Erased::default() };
        if delete {
            loop {
                let (so_far, more) = self
                    .write(move |conn, _| {
                        let mut so_far = erased;
                        let more = slice(conn, connection.0, &mut so_far)?;
                        Ok((so_far, more))
                    })
                    .await?;
                erased = so_far;
                if !more {
                    break;
                }
            }
            self.write(|conn, _| {
                let mut pages = conn.prepare(VACUUM)?;
                let mut pages = pages.query([])?;
                while pages.next()?.is_some() {}
                Ok(())
            })
            .await?;
        }
        // Wiped keys are in older pages of the WAL too.
        erased.wal_emptied = self.empty_wal().await?;
        Ok(erased)
    }
}
