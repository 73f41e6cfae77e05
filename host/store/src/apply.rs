//! A batch, applied inside the writer's transaction: fence, entries, state, keys, cursor, the run's row, and at the end what is next.
//!
//! The fence is the first statement: it proves that lease and epoch are still the run's, and says where the connection's change sequence stands.
//! There is one writer, so nothing moves between it and the last statement, which writes the sequence (a database with row locks would have to take
//! the lock here). Nothing before it, so a zombie's batch costs one look-up.
//!
//! The run's id is reserved in memory and its row written once, at the end, with everything in it; a run that changed nothing usually needs
//! no row at all, since it extends the one before it.

use crate::ingest::Kind;
use crate::merge::{self, Scope};
use crate::names::{failure_name, outcome_name};
use crate::{Batch, Committed, Counts, Finish, RunOutcome, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

/// What the writer knows besides the database.
pub(crate) struct WriterState {
    /// The last run id given out.
    run: i64,
    /// The last lease number given out, of the low 32 bits of an owner.
    pub lease: i64,
    /// Incarnations up to this one belong to processes that held the folder before: they are dead whatever their rows say.
    pub before: i64,
    /// Where the next claim begins among the apps, so that a claim of one is fair too.
    pub turn: usize,
}

impl WriterState {
    pub(crate) fn load(conn: &Connection) -> Result<Self, StoreError> {
        let last = |table: &str| -> Result<i64, StoreError> {
            let found = conn.query_row("SELECT seq FROM sqlite_sequence WHERE name = ?", [table], |row| row.get(0)).optional()?;
            Ok(found.unwrap_or(0))
        };
        Ok(Self { run: last("run")?, lease: 0, before: last("host")?, turn: 0 })
    }
}

/// A batch on the writer's queue.
pub(crate) struct Prepared {
    batch: Batch,
    pub rows: usize,
    pub bytes: usize,
    made: Option<Committed>,
    reply: oneshot::Sender<Result<Committed, StoreError>>,
}

impl Prepared {
    pub(crate) fn new(batch: Batch, reply: oneshot::Sender<Result<Committed, StoreError>>) -> Self {
        let (mut rows, mut bytes) = (1, 0);
        for op in &batch.ops {
            match &op.0 {
                Kind::Merge(group) => {
                    rows += group.rows.len() + usize::from(group.window.is_some());
                    bytes += group.rows.iter().map(row_bytes).sum::<usize>();
                }
                Kind::Retract { .. } | Kind::Label { .. } => rows += 1,
            }
        }
        for (name, value) in batch.state.iter().chain(&batch.guest_keys) {
            rows += 1;
            bytes += name.len() + value.as_ref().map_or(0, Vec::len);
        }
        Self { batch, rows, bytes, made: None, reply }
    }

    pub(crate) fn connection(&self) -> i64 {
        self.batch.fence.connection.0
    }

    pub(crate) fn answer(self, outcome: Result<(), StoreError>) {
        // A caller that gave up has dropped the other end.
        let _ = self.reply.send(outcome.and_then(|()| self.made.ok_or(StoreError::Closed)));
    }
}

fn row_bytes(row: &crate::ingest::Row) -> usize {
    let more = row.more.as_ref();
    let detail = more.and_then(|more| more.detail.as_ref()).map_or(0, String::len);
    let samples = more.and_then(|more| more.samples.as_ref()).map_or(0, Vec::len);
    64 + row.id.len() + detail + samples
}

/// Applies a batch.
pub(crate) fn apply(conn: &Connection, state: &mut WriterState, prepared: &mut Prepared, now: i64) -> Result<(), StoreError> {
    let batch = &prepared.batch;
    let fence = batch.fence;
    let passed: Option<(i64, Option<i64>)> = conn
        .prepare_cached("SELECT seq, run FROM connection WHERE id = ? AND epoch = ? AND owner = ?")?
        .query_row(params![fence.connection.0, fence.epoch, fence.owner], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((seq, known)) = passed else { return Err(StoreError::Fenced) };
    let run = known.unwrap_or_else(|| {
        state.run += 1;
        state.run
    });
    let mut scope = Scope { conn, connection: fence.connection.0, as_of: batch.as_of, run, seq, counts: Counts::default() };
    for op in &batch.ops {
        match &op.0 {
            Kind::Merge(group) => merge::merge(&mut scope, group)?,
            Kind::Retract { metric, id, rank } => merge::retract(&mut scope, *metric, id, *rank)?,
            Kind::Label { metric, series, label } => label_series(conn, scope.connection, *metric, series, label)?,
        }
    }
    let (counts, seq) = (scope.counts, scope.seq);
    write_state(conn, batch)?;
    write_keys(conn, batch)?;
    if let Some((cursor, version)) = &batch.cursor {
        conn.prepare_cached("UPDATE task SET cursor = ?, cursor_version = ? WHERE connection = ? AND kind = 'sync'")?.execute(params![
            cursor,
            version,
            fence.connection.0
        ])?;
    }
    let news = counts.inserted + counts.updated + counts.deleted > 0;
    match &batch.finish {
        None => {
            run_row(conn, batch, run, known.is_some(), &counts)?;
            conn.prepare_cached("UPDATE connection SET seq = ?, run = ?, last_data = CASE WHEN ? THEN ? ELSE last_data END WHERE id = ?")?
                .execute(params![seq, run, news, now, fence.connection.0])?;
        }
        Some(finish) => {
            end_run(conn, batch, finish, run, known.is_some(), &counts)?;
            end_lease(conn, batch, finish, seq, news, now)?;
        }
    }
    prepared.made = Some(Committed { counts, sequence: seq });
    Ok(())
}

fn label_series(conn: &Connection, connection: i64, metric: i64, series: &str, label: &str) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO series (connection, metric, key, label, count) VALUES (?, ?, ?, ?, 0)
         ON CONFLICT DO UPDATE SET label = excluded.label WHERE label IS NOT excluded.label",
    )?
    .execute(params![connection, metric, series, label])?;
    Ok(())
}

fn write_state(conn: &Connection, batch: &Batch) -> Result<(), StoreError> {
    let connection = batch.fence.connection.0;
    for (key, value) in &batch.state {
        match value {
            Some(value) => conn
                .prepare_cached(
                    "INSERT INTO state (connection, key, value) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                )?
                .execute(params![connection, key, value])?,
            None => conn.prepare_cached("DELETE FROM state WHERE connection = ? AND key = ?")?.execute(params![connection, key])?,
        };
    }
    Ok(())
}

/// Keys that the connector set. One that the host holds is never touched, whatever its name.
fn write_keys(conn: &Connection, batch: &Batch) -> Result<(), StoreError> {
    let connection = batch.fence.connection.0;
    for (name, sealed) in &batch.guest_keys {
        match sealed {
            Some(sealed) => conn
                .prepare_cached(
                    "INSERT INTO credential (connection, name, ciphertext, secret, guest, version) VALUES (?, ?, ?, 1, 1, 1)
                     ON CONFLICT DO UPDATE SET ciphertext = excluded.ciphertext, version = version + 1 WHERE guest = 1",
                )?
                .execute(params![connection, name, sealed])?,
            None => conn
                .prepare_cached("DELETE FROM credential WHERE connection = ? AND name = ? AND guest = 1")?
                .execute(params![connection, name])?,
        };
    }
    Ok(())
}

/// A checkpoint's row: made by the first, added to by the others.
fn run_row(conn: &Connection, batch: &Batch, run: i64, known: bool, counts: &Counts) -> Result<(), StoreError> {
    if known {
        return add(conn, batch, run, counts);
    }
    let start = &batch.run;
    conn.prepare_cached(
        "INSERT INTO run (id, connection, reason, version, started_at, outcome, inserted, updated, unchanged, deleted, older, requests)
         VALUES (?, ?, ?, ?, ?, 'running', ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        run,
        batch.fence.connection.0,
        start.reason.as_str(),
        start.connector_version,
        start.started_at,
        number(counts.inserted),
        number(counts.updated),
        number(counts.unchanged),
        number(counts.deleted),
        number(counts.older),
        number(batch.requests),
    ])?;
    Ok(())
}

fn add(conn: &Connection, batch: &Batch, run: i64, counts: &Counts) -> Result<(), StoreError> {
    conn.prepare_cached(
        "UPDATE run SET inserted = inserted + ?, updated = updated + ?, unchanged = unchanged + ?, deleted = deleted + ?, older = older + ?,
           requests = max(requests, ?) WHERE id = ?",
    )?
    .execute(params![
        number(counts.inserted),
        number(counts.updated),
        number(counts.unchanged),
        number(counts.deleted),
        number(counts.older),
        number(batch.requests),
        run
    ])?;
    Ok(())
}

pub(crate) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The end of a run: its row, or one more of the row before it.
fn end_run(conn: &Connection, batch: &Batch, finish: &Finish, run: i64, known: bool, counts: &Counts) -> Result<(), StoreError> {
    let mut whole = *counts;
    if known {
        add(conn, batch, run, counts)?;
        whole =
            conn.prepare_cached("SELECT inserted, updated, unchanged, deleted, older FROM run WHERE id = ?")?.query_row([run], |row| {
                Ok(Counts {
                    inserted: row.get::<_, i64>(0)?.unsigned_abs(),
                    updated: row.get::<_, i64>(1)?.unsigned_abs(),
                    unchanged: row.get::<_, i64>(2)?.unsigned_abs(),
                    deleted: row.get::<_, i64>(3)?.unsigned_abs(),
                    older: row.get::<_, i64>(4)?.unsigned_abs(),
                })
            })?;
    }
    let nothing = whole.inserted + whole.updated + whole.deleted + whole.older == 0;
    let code = finish.failure.as_ref().map(|failure| failure.code.as_str());
    if nothing && let Some(before) = extend(conn, batch, finish, run, whole.unchanged, code)? {
        if known {
            conn.prepare_cached("DELETE FROM run WHERE id = ?")?.execute([run])?;
        }
        return write_log(conn, before, 1, finish);
    }
    if !known {
        run_row(conn, batch, run, false, counts)?;
    }
    conn.prepare_cached(
        "UPDATE run SET ended_at = ?1, last_ended_at = ?1, outcome = ?2, code = ?3, message = ?4, problems = ?5, cpu_us = ?6,
           memory_bytes = ?7, denied = ?8 WHERE id = ?9",
    )?
    .execute(params![
        finish.ended_at,
        outcome_name(finish.outcome),
        code,
        finish.failure.as_ref().map(|failure| failure.message.as_str()),
        number(finish.problems.len() as u64),
        number(finish.used.cpu_us),
        number(finish.used.memory_bytes),
        number(finish.used.denied),
        run
    ])?;
    write_log(conn, run, 0, finish)
}

/// The code of a crash, which says nothing of what kind it was.
const CRASH: &str = "TRAP";

/// Whether two crashes are the same one, by what is said of them. Numbers are not compared: which record it was, or where it lay, makes no other crash.
fn same_crash(one: Option<&str>, other: Option<&str>) -> bool {
    let kind = |said: Option<&str>| said.unwrap_or_default().chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    kind(one) == kind(other)
}

/// Adds a run that changed nothing to the row before it, when that one went the same way; the row's id.
fn extend(
    conn: &Connection,
    batch: &Batch,
    finish: &Finish,
    run: i64,
    unchanged: u64,
    code: Option<&str>,
) -> Result<Option<i64>, StoreError> {
    let before: Option<(i64, Option<String>)> = conn
        .prepare_cached(
            "SELECT id, message FROM (SELECT id, message, outcome, code, reason, version FROM run WHERE connection = ? AND id < ? ORDER BY id DESC LIMIT 1)
             WHERE outcome = ? AND code IS ? AND reason = ? AND version = ?",
        )?
        .query_row(
            params![
                batch.fence.connection.0,
                run,
                outcome_name(finish.outcome),
                code,
                batch.run.reason.as_str(),
                batch.run.connector_version
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let message = finish.failure.as_ref().map(|failure| failure.message.as_str());
    let before = before.filter(|(_, said)| code != Some(CRASH) || same_crash(said.as_deref(), message)).map(|(id, _)| id);
    if let Some(before) = before {
        conn.prepare_cached(
            "UPDATE run SET repeats = repeats + 1, last_ended_at = ?, unchanged = unchanged + ?, requests = requests + ?, message = ?,
               problems = ?, cpu_us = cpu_us + ?, memory_bytes = max(memory_bytes, ?), denied = denied + ? WHERE id = ?",
        )?
        .execute(params![
            finish.ended_at,
            number(unchanged),
            number(batch.requests),
            message,
            number(finish.problems.len() as u64),
            number(finish.used.cpu_us),
            number(finish.used.memory_bytes),
            number(finish.used.denied),
            before
        ])?;
    }
    Ok(before)
}

/// The log, with the problems at its end. Part 1 is that of the latest run that extended the row.
fn write_log(conn: &Connection, run: i64, part: i64, finish: &Finish) -> Result<(), StoreError> {
    if part > 0 {
        conn.prepare_cached("DELETE FROM run_log WHERE run = ? AND part = ?")?.execute(params![run, part])?;
    }
    if finish.log.is_empty() && finish.problems.is_empty() {
        return Ok(());
    }
    let mut insert = conn.prepare_cached("INSERT INTO run_log (run, part, n, at, level, text) VALUES (?, ?, ?, ?, ?, ?)")?;
    let mut n = 0;
    for line in &finish.log {
        insert.execute(params![run, part, n, line.at, line.level, line.text])?;
        n += 1;
    }
    for (failure, metric) in &finish.problems {
        let about = metric.as_ref().map_or_else(String::new, |metric| format!("{metric}: "));
        let text = format!("{about}{} ({}): {}", failure_name(failure.kind), failure.code, failure.message);
        insert.execute(params![run, part, n, finish.ended_at, "problem", text])?;
        n += 1;
    }
    Ok(())
}

/// Gives the lease back and says what is next.
fn end_lease(conn: &Connection, batch: &Batch, finish: &Finish, seq: i64, news: bool, now: i64) -> Result<(), StoreError> {
    let connection = batch.fence.connection.0;
    let well = matches!(finish.outcome, RunOutcome::Complete | RunOutcome::More);
    conn.prepare_cached(
        "UPDATE connection SET seq = ?1, owner = 0, leased_at = NULL, run = NULL, state = ?2, message = ?3, url = ?4, failure_code = ?5,
           last_data = CASE WHEN ?6 THEN ?7 ELSE last_data END, last_check = CASE WHEN ?8 THEN ?9 ELSE last_check END WHERE id = ?10",
    )?
    .execute(params![
        seq,
        finish.state.as_str(),
        finish.message,
        finish.url,
        finish.failure.as_ref().map(|failure| failure.code.as_str()),
        news,
        now,
        well,
        finish.ended_at,
        connection
    ])?;
    conn.prepare_cached(
        "UPDATE work SET due = ?, priority = 0, attempts = ?, reason = 'scheduled', why = ? WHERE connection = ? AND kind = 'sync' AND subject = 0",
    )?
    .execute(params![finish.next_due, finish.attempts, finish.next_reason, connection])?;
    if finish.outcome == RunOutcome::Complete {
        conn.prepare_cached("UPDATE task SET last_complete = ? WHERE connection = ? AND kind = 'sync'")?
            .execute(params![batch.run.started_at, connection])?;
    }
    for quota in &finish.quotas {
        conn.prepare_cached(
            "INSERT INTO quota (app, connection, name, used, remaining, reset_at) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET used = excluded.used, remaining = excluded.remaining, reset_at = excluded.reset_at",
        )?
        .execute(params![
            quota.app.0,
            quota.connection.map_or(0, |connection| connection.0),
            quota.name,
            number(quota.used),
            quota.remaining.map(number),
            quota.reset_at
        ])?;
    }
    Ok(())
}
