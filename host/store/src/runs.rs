//! Rows of runs, as people see them.
//!
//! A row stands for one run, or for several in a row that went the same way and changed nothing, so that a connection that is polled for a
//! year without news has a handful of rows. Logs lie aside.

use crate::apply::number;
use crate::names::{parse_outcome, parse_reason};
use crate::{Counts, LogLine, RunOutcome, Store, StoreError, Used};
use rusqlite::{Connection, OptionalExtension, Row, params};
use sluice_model::task::Reason;
use sluice_model::{ConnectionId, RunId};

/// A run, or several that went the same way and changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunView {
    /// Row id.
    pub id: RunId,
    /// Whose.
    pub connection: ConnectionId,
    /// Why.
    pub reason: Reason,
    /// When the first of them began, ms.
    pub started_at: i64,
    /// When the first of them ended; `None` while it is under way.
    pub ended_at: Option<i64>,
    /// When the last of them ended.
    pub last_ended_at: Option<i64>,
    /// How many runs this row stands for.
    pub repeats: u32,
    /// How.
    pub outcome: RunOutcome,
    /// The failure's code.
    pub failure_code: Option<String>,
    /// The failure's message.
    pub message: Option<String>,
    /// What became of the entries.
    pub counts: Counts,
    /// Requests sent.
    pub requests: u64,
    /// What went wrong without ending it.
    pub problems: u32,
    /// The connector's own version.
    pub connector_version: String,
    /// What it cost.
    pub used: Used,
}

/// Rows of one answer.
const RUN_ROWS: usize = 10_000;
/// Accounts whose latest runs speak for a connector: those that ran last.
const SPEAKING: i64 = 200;
/// Rows of each of them.
const SPEAKING_ROWS: i64 = 10;
/// Log lines removed in one commit.
const LOG_SLICE: u64 = 5_000;

const RUN: &str = "SELECT id, connection, reason, started_at, ended_at, last_ended_at, repeats, outcome, code, message, inserted, updated,
  unchanged, deleted, older, requests, problems, version, cpu_us, memory_bytes, denied FROM run";

fn read_run(row: &Row<'_>) -> Result<RunView, rusqlite::Error> {
    let count = |at: usize| row.get::<_, i64>(at).map(i64::unsigned_abs);
    Ok(RunView {
        id: RunId(row.get(0)?),
        connection: ConnectionId(row.get(1)?),
        reason: parse_reason(row.get_ref(2)?.as_str().unwrap_or("")),
        started_at: row.get(3)?,
        ended_at: row.get(4)?,
        last_ended_at: row.get(5)?,
        repeats: row.get(6)?,
        outcome: parse_outcome(row.get_ref(7)?.as_str().unwrap_or("")),
        failure_code: row.get(8)?,
        message: row.get(9)?,
        counts: Counts { inserted: count(10)?, updated: count(11)?, unchanged: count(12)?, deleted: count(13)?, older: count(14)? },
        requests: count(15)?,
        problems: row.get(16)?,
        connector_version: row.get(17)?,
        used: Used { cpu_us: count(18)?, memory_bytes: count(19)?, denied: count(20)? },
    })
}

pub(crate) fn last_run(conn: &Connection, connection: ConnectionId) -> Result<Option<RunView>, StoreError> {
    let sql = format!("{RUN} WHERE connection = ? ORDER BY id DESC LIMIT 1");
    Ok(conn.prepare_cached(&sql)?.query_row([connection.0], read_run).optional()?)
}

impl Store {
    /// The latest runs of a connection, newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn runs(&self, connection: ConnectionId, limit: usize) -> Result<Vec<RunView>, StoreError> {
        self.read(move |conn| {
            let limit = i64::try_from(limit.min(RUN_ROWS)).unwrap_or(0);
            let mut statement = conn.prepare_cached(&format!("{RUN} WHERE connection = ? ORDER BY id DESC LIMIT ?"))?;
            let rows = statement.query_map(params![connection.0, limit], read_run)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The latest runs of a connector over its accounts, newest first: some of each of those accounts that ran last, so that one account with a
    /// thousand runs does not stand for all.
    ///
    /// # Errors
    /// The store failed.
    pub async fn connector_runs(&self, connector: &str) -> Result<Vec<RunView>, StoreError> {
        let connector = connector.to_owned();
        self.read(move |conn| {
            let sql = format!(
                "WITH speaking (connection, latest) AS MATERIALIZED (
                   SELECT c.id, (SELECT max(r.id) FROM run r WHERE r.connection = c.id) AS latest FROM connection c
                   WHERE c.connector = ? ORDER BY latest DESC LIMIT {SPEAKING})
                 {RUN} WHERE id IN (SELECT r.id FROM speaking s JOIN run r ON r.id IN
                   (SELECT n.id FROM run n WHERE n.connection = s.connection ORDER BY n.id DESC LIMIT {SPEAKING_ROWS}))
                 ORDER BY coalesce(last_ended_at, started_at) DESC, id DESC"
            );
            let mut statement = conn.prepare_cached(&sql)?;
            let rows = statement.query_map([connector], read_run)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// A run's log, in order; of a row that stands for several, the first run's and then the latest's.
    ///
    /// # Errors
    /// The store failed.
    pub async fn run_log(&self, run: RunId) -> Result<Vec<LogLine>, StoreError> {
        self.read(move |conn| {
            let mut statement = conn.prepare_cached("SELECT at, level, text FROM run_log WHERE run = ? ORDER BY part, n")?;
            let rows = statement.query_map([run.0], |row| Ok(LogLine { at: row.get(0)?, level: row.get(1)?, text: row.get(2)? }))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Removes log lines from before a time, in slices, so that nobody waits long; how many. The rows of the runs stay.
    ///
    /// # Errors
    /// The store failed; slices that went are gone.
    pub async fn trim_logs(&self, before: i64) -> Result<u64, StoreError> {
        let mut gone = 0;
        loop {
            let slice = self
                .write(move |conn, _| {
                    Ok(conn
                        .prepare_cached(
                            "DELETE FROM run_log WHERE (run, part, n) IN (SELECT run, part, n FROM run_log WHERE at < ? ORDER BY at LIMIT ?)",
                        )?
                        .execute(params![before, number(LOG_SLICE)])? as u64)
                })
                .await?;
            gone += slice;
            if slice < LOG_SLICE {
                return Ok(gone);
            }
        }
    }
}
