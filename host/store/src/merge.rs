//! The merge: sorted rows of one metric against what is stored, by one range scan.
//!
//! Two phases. First a scan over (connection, metric, start) walks beside the sorted rows and decides for each what becomes of it; nothing is
//! written meanwhile, so the scan never sees its own work. Then what was decided is written, in key order. Rows that are as they were cost
//! nothing but the scan. Where the scan would read more than [`SCAN`] times the batch (sparse rows over a long history), it stops and the
//! rest is read row by row. A window is scanned whole, since what is stored and not said is gone.
//!
//! Order of versions: a record wins with (rank, revision, as-of) ≥ the stored triple; a window, a retraction, and whatever meets a tombstone
//! compare (rank, as-of) alone, since a deletion has no revision. What loses counts as older. What wins and says the same is unchanged and
//! is not written, save where rank or revision differ: those must be known when the next version comes. A deletion leaves a tombstone.
//!
//! Deliberately absent: an unchanged row keeps the as-of under which it was written, since stamping it would cost a write for every row of
//! every poll. Runs of one connection come one after the other, so nothing older than such a poll can follow it; whoever brings news that
//! waited elsewhere must not bring news from before the connection's last poll.

use crate::ingest::{Merge, Row, Window};
use crate::tally::Tally;
use crate::{Counts, StoreError};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::LazyLock;

/// A scan reads at most so many times the batch before it gives way to point reads…
const SCAN: usize = 4;
/// …and so many rows more, which cost less than one point read.
const SCAN_FREE: usize = 64;

macro_rules! columns {
    () => {
        "start, key, \"end\", \"offset\", civil, series, day, value, digest, rank, revision, as_of, gone"
    };
}

/// What one batch knows while it is applied.
pub(crate) struct Scope<'a> {
    pub conn: &'a Connection,
    pub connection: i64,
    pub as_of: i64,
    /// The run's id, already reserved.
    pub run: i64,
    /// The last change sequence given out.
    pub seq: i64,
    pub counts: Counts,
}

impl Scope<'_> {
    pub(crate) fn next(&mut self) -> i64 {
        self.seq += 1;
        self.seq
    }
}

/// A stored row, without its key.
struct Stored {
    start: i64,
    end: Option<i64>,
    offset: Option<i16>,
    civil: bool,
    day: i32,
    value: f64,
    digest: i64,
    rank: u8,
    revision: i64,
    as_of: i64,
    gone: bool,
}

impl Stored {
    fn read(row: &rusqlite::Row<'_>) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            start: row.get(0)?,
            end: row.get(2)?,
            offset: row.get(3)?,
            civil: row.get(4)?,
            day: row.get(6)?,
            value: row.get(7)?,
            digest: row.get(8)?,
            rank: row.get(9)?,
            revision: row.get(10)?,
            as_of: row.get(11)?,
            gone: row.get(12)?,
        })
    }
}

/// What a stored row was, as far as writing over it must know.
#[derive(Clone, Copy)]
struct Old {
    start: i64,
    series: u32,
    day: i32,
    digest: i64,
    gone: bool,
}

#[derive(Clone, Copy)]
enum Action {
    /// Nothing was found: insert (or, beyond where the scan stopped, look first).
    New,
    /// Nothing to write.
    Nothing,
    /// Only rank, revision and as-of.
    Stamp { start: i64 },
    /// The row's content.
    Write(Old),
}

/// A row that a window no longer has.
struct Dropped {
    key: String,
    old: Old,
}

/// Merges one group.
pub(crate) fn merge(scope: &mut Scope<'_>, op: &Merge) -> Result<(), StoreError> {
    if op.rows.is_empty() && op.window.is_none() {
        return Ok(());
    }
    let mut tally = Tally::new(&op.series);
    let mut plan = Plan { actions: vec![Action::New; op.rows.len()], known: op.rows.len(), dropped: Vec::new() };
    if op.by_id {
        scan_ids(scope, op, &mut tally, &mut plan)?
    } else {
        scan_sorted(scope, op, &mut tally, &mut plan)?
    }
    write(scope, op, &mut tally, &plan)?;
    tally.flush(scope.conn, scope.connection, op.metric, op.days)
}

struct Plan {
    actions: Vec<Action>,
    /// Rows before this index were met by the scan; those after need a point read.
    known: usize,
    dropped: Vec<Dropped>,
}

/// The range of starts that the scan covers.
fn range(op: &Merge) -> (i64, i64) {
    let (Some(first), Some(last)) = (op.rows.first(), op.rows.last()) else {
        return op.window.map_or((0, -1), |window| (window.first, window.past.saturating_sub(1)));
    };
    op.window.map_or((first.start, last.start), |window| (window.first, window.past.saturating_sub(1)))
}

const RANGE: &str =
    concat!("SELECT ", columns!(), " FROM entry WHERE connection = ? AND metric = ? AND start BETWEEN ? AND ? ORDER BY start, key");

/// Rows whose key is the series: both sides are in the same order, so two fingers suffice.
fn scan_sorted(scope: &mut Scope<'_>, op: &Merge, tally: &mut Tally<'_>, plan: &mut Plan) -> Result<(), StoreError> {
    let (lo, hi) = range(op);
    let mut statement = scope.conn.prepare_cached(RANGE)?;
    let mut stored = statement.query(params![scope.connection, op.metric, lo, hi])?;
    let most = op.rows.len() * SCAN + SCAN_FREE;
    let mut read = 0_usize;
    let mut at = 0_usize;
    while let Some(found) = stored.next()? {
        let start: i64 = found.get(0)?;
        let key = text(found, 1)?;
        let mut met = None;
        while let Some(row) = op.rows.get(at) {
            match row.start.cmp(&start).then_with(|| op.key(row).cmp(key)) {
                Ordering::Less => at += 1,
                Ordering::Equal => {
                    met = Some(row);
                    break;
                }
                Ordering::Greater => break,
            }
        }
        if let Some(row) = met {
            let was = Stored::read(found)?;
            let action = decide(&mut scope.counts, op, row, &was, row.series, scope.as_of);
            if let Some(slot) = plan.actions.get_mut(at) {
                *slot = action;
            }
            at += 1;
        } else if let Some(window) = op.window {
            let series = tally.number(key);
            drop_row(scope, op, window, plan, Stored::read(found)?, key, series);
        }
        read += 1;
        if op.window.is_none() {
            if at >= op.rows.len() {
                break;
            }
            if read > most {
                plan.known = at;
                break;
            }
        }
    }
    Ok(())
}

/// Rows whose key is an id, which may have moved in time: matched by id.
fn scan_ids(scope: &mut Scope<'_>, op: &Merge, tally: &mut Tally<'_>, plan: &mut Plan) -> Result<(), StoreError> {
    let by_id: HashMap<&str, usize> = op.rows.iter().enumerate().map(|(at, row)| (row.id.as_str(), at)).collect();
    let (lo, hi) = range(op);
    let mut statement = scope.conn.prepare_cached(RANGE)?;
    let mut stored = statement.query(params![scope.connection, op.metric, lo, hi])?;
    let most = op.rows.len() * SCAN + SCAN_FREE;
    let mut read = 0_usize;
    while let Some(found) = stored.next()? {
        let key = text(found, 1)?;
        let met = by_id.get(key).and_then(|at| op.rows.get(*at).map(|row| (*at, row)));
        if met.is_some() || op.window.is_some() {
            let series = tally.number(series_text(found)?);
            let was = Stored::read(found)?;
            if let Some((at, row)) = met {
                let action = decide(&mut scope.counts, op, row, &was, series, scope.as_of);
                if let Some(slot) = plan.actions.get_mut(at) {
                    *slot = action;
                }
            } else if let Some(window) = op.window {
                drop_row(scope, op, window, plan, was, key, series);
            }
        }
        read += 1;
        if op.window.is_none() && read > most {
            break;
        }
    }
    Ok(())
}

fn text<'a>(row: &'a rusqlite::Row<'_>, at: usize) -> Result<&'a str, StoreError> {
    row.get_ref(at)?.as_str().map_err(|_| StoreError::Fatal("an entry's key is no text".to_owned()))
}

fn series_text<'a>(row: &'a rusqlite::Row<'_>) -> Result<&'a str, StoreError> {
    let value = row.get_ref(5)?.as_str_or_null().map_err(|_| StoreError::Fatal("an entry's series is no text".to_owned()))?;
    Ok(value.unwrap_or(""))
}

/// What becomes of a row that meets a stored one.
fn decide(counts: &mut Counts, op: &Merge, row: &Row, was: &Stored, was_series: u32, as_of: i64) -> Action {
    let by_revision = op.window.is_none() && !was.gone;
    let wins = if by_revision {
        (op.rank, row.revision, as_of) >= (was.rank, was.revision, was.as_of)
    } else {
        (op.rank, as_of) >= (was.rank, was.as_of)
    };
    if !wins {
        counts.older += 1;
        return Action::Nothing;
    }
    let old = Old { start: was.start, series: was_series, day: was.day, digest: was.digest, gone: was.gone };
    if was.gone {
        counts.inserted += 1;
        return Action::Write(old);
    }
    let same = row.start == was.start
        && row.value.to_bits() == was.value.to_bits()
        && row.digest == was.digest
        && row.end == was.end
        && row.offset == was.offset
        && row.civil == was.civil
        && row.series == was_series
        && day_of(row, &old) == was.day;
    if !same {
        counts.updated += 1;
        return Action::Write(old);
    }
    counts.unchanged += 1;
    if (op.rank, row.revision) == (was.rank, was.revision) { Action::Nothing } else { Action::Stamp { start: was.start } }
}

/// A day that came from the user's zone is kept once it is stored, so that a change of zone moves nothing and doubles nothing.
fn day_of(row: &Row, old: &Old) -> i32 {
    if row.day_by_zone && row.start == old.start { old.day } else { row.day }
}

fn drop_row(scope: &mut Scope<'_>, op: &Merge, window: Window, plan: &mut Plan, was: Stored, key: &str, series: u32) {
    let covered = was.civil == window.civil && window.series.is_none_or(|of| of == series) && !was.gone;
    if !covered {
        return;
    }
    if (op.rank, scope.as_of) < (was.rank, was.as_of) {
        scope.counts.older += 1;
        return;
    }
    let old = Old { start: was.start, series, day: was.day, digest: was.digest, gone: false };
    plan.dropped.push(Dropped { key: key.to_owned(), old });
}

/// Rows that one statement inserts, largest first: a statement costs as much again as a row, and a batch of any length should need few.
const AT_ONCE: [usize; 4] = [128, 32, 8, 1];

/// What all rows of one insertion share, as the parameters ?1 to ?6.
const SHARED: usize = 6;
/// Parameters of each row.
const EACH: usize = 11;

/// An insertion of so many rows. What is stored already is passed over; that must show by the number of rows, since nothing else can be refused here.
fn insertion(rows: usize) -> String {
    use std::fmt::Write as _;
    let mut sql = String::from(
        "INSERT OR IGNORE INTO entry (connection, metric, rank, as_of, run, by_id, gone, start, key, \"end\", \"offset\", civil, series, day, value,
           digest, revision, seq) VALUES ",
    );
    for row in 0..rows {
        sql.push_str(if row == 0 { "(?1, ?2, ?3, ?4, ?5, ?6, 0" } else { ", (?1, ?2, ?3, ?4, ?5, ?6, 0" });
        for parameter in 1..=EACH {
            // Writing to a string cannot fail.
            let _ = write!(sql, ", ?{}", SHARED + row * EACH + parameter);
        }
        sql.push(')');
    }
    sql
}

static INSERTIONS: LazyLock<[String; AT_ONCE.len()]> = LazyLock::new(|| AT_ONCE.map(insertion));

/// The statements of the second phase, each prepared once and bound again only where rows differ.
struct Statements<'a> {
    /// By the number of rows, as in [`AT_ONCE`]; made when first used.
    inserts: [Option<CachedStatement<'a>>; AT_ONCE.len()],
    /// Where the row stands: the key is not assigned, so only the index of changes is rewritten.
    update: CachedStatement<'a>,
    /// To another time.
    shift: CachedStatement<'a>,
}

impl<'a> Statements<'a> {
    fn new(scope: &Scope<'a>, op: &Merge) -> Result<Self, StoreError> {
        let mut update = scope.conn.prepare_cached(
            "UPDATE entry SET rank = ?1, as_of = ?2, run = ?3, \"end\" = ?6, \"offset\" = ?7, civil = ?8, series = ?9, day = ?10, value = ?11,
               digest = ?12, revision = ?13, seq = ?14, gone = 0
             WHERE connection = ?4 AND metric = ?5 AND start = ?15 AND key = ?16",
        )?;
        update.raw_bind_parameter(1, op.rank)?;
        update.raw_bind_parameter(2, scope.as_of)?;
        update.raw_bind_parameter(3, scope.run)?;
        update.raw_bind_parameter(4, scope.connection)?;
        update.raw_bind_parameter(5, op.metric)?;
        let shift =
            scope.conn.prepare_cached("UPDATE entry SET start = ? WHERE connection = ? AND metric = ? AND start = ? AND key = ?")?;
        Ok(Self { inserts: [const { None }; AT_ONCE.len()], update, shift })
    }

    /// Inserts as many rows as the `size`th statement takes, numbered from the scope's next; how many were not there before.
    fn insert(&mut self, scope: &Scope<'a>, op: &Merge, size: usize, rows: &[&Row]) -> Result<usize, StoreError> {
        let (Some(slot), Some(sql)) = (self.inserts.get_mut(size), INSERTIONS.get(size)) else { return Ok(0) };
        let insert = match slot {
            Some(insert) => insert,
            None => {
                let mut insert = scope.conn.prepare_cached(sql)?;
                insert.raw_bind_parameter(1, scope.connection)?;
                insert.raw_bind_parameter(2, op.metric)?;
                insert.raw_bind_parameter(3, op.rank)?;
                insert.raw_bind_parameter(4, scope.as_of)?;
                insert.raw_bind_parameter(5, scope.run)?;
                insert.raw_bind_parameter(6, op.by_id)?;
                slot.insert(insert)
            }
        };
        for (n, row) in rows.iter().enumerate() {
            let first = SHARED + n * EACH + 1;
            let series = op.series_of(row);
            insert.raw_bind_parameter(first, row.start)?;
            insert.raw_bind_parameter(first + 1, op.key(row))?;
            insert.raw_bind_parameter(first + 2, row.end)?;
            insert.raw_bind_parameter(first + 3, row.offset)?;
            insert.raw_bind_parameter(first + 4, row.civil)?;
            insert.raw_bind_parameter(first + 5, (op.by_id && !series.is_empty()).then_some(series))?;
            insert.raw_bind_parameter(first + 6, row.day)?;
            insert.raw_bind_parameter(first + 7, row.value)?;
            insert.raw_bind_parameter(first + 8, row.digest)?;
            insert.raw_bind_parameter(first + 9, row.revision)?;
            insert.raw_bind_parameter(first + 10, scope.seq + 1 + i64::try_from(n).unwrap_or(i64::MAX))?;
        }
        Ok(insert.raw_execute()?)
    }
}

fn write(scope: &mut Scope<'_>, op: &Merge, tally: &mut Tally<'_>, plan: &Plan) -> Result<(), StoreError> {
    for dropped in &plan.dropped {
        bury(scope, op.metric, op.rank, &dropped.key, dropped.old.start, dropped.old.digest)?;
        tally.removed(dropped.old.series, dropped.old.day, dropped.old.start);
    }
    let mut statements = Statements::new(scope, op)?;
    // Rows that are to be inserted, until one comes that is not.
    let mut fresh: Vec<&Row> = Vec::new();
    for (at, (row, action)) in op.rows.iter().zip(&plan.actions).enumerate() {
        let action = match action {
            Action::New if at >= plan.known => match by_key(scope, op, row)? {
                Some(was) => decide(&mut scope.counts, op, row, &was, row.series, scope.as_of),
                None => Action::New,
            },
            Action::New | Action::Nothing | Action::Stamp { .. } | Action::Write(_) => *action,
        };
        if let Action::New = action {
            fresh.push(row);
            continue;
        }
        insert(scope, op, tally, &mut statements, &mut fresh)?;
        match action {
            Action::New | Action::Nothing => {}
            Action::Stamp { start } => stamp(scope, op, row, start)?,
            Action::Write(old) => update(scope, op, tally, &mut statements, row, old)?,
        }
    }
    insert(scope, op, tally, &mut statements, &mut fresh)
}

/// Inserts the gathered rows, many by one statement; those whose id is stored at another time are written there.
fn insert<'a>(
    scope: &mut Scope<'a>,
    op: &Merge,
    tally: &mut Tally<'_>,
    statements: &mut Statements<'a>,
    fresh: &mut Vec<&Row>,
) -> Result<(), StoreError> {
    let mut rest = fresh.as_slice();
    for (size, count) in AT_ONCE.into_iter().enumerate() {
        while let Some((rows, others)) = rest.split_at_checked(count) {
            rest = others;
            let before = scope.seq;
            let inserted = statements.insert(scope, op, size, rows)?;
            let all = inserted == count;
            if inserted > 0 {
                scope.seq += i64::try_from(count).unwrap_or(i64::MAX);
            }
            for (seq, row) in (before + 1..).zip(rows) {
                if all || (inserted > 0 && stands(scope, op, row, seq)?) {
                    scope.counts.inserted += 1;
                    tally.added(row.series, row.day, row.start, row.value);
                    if row.more.is_some() {
                        more(scope, op, row, row.start)?;
                    }
                } else {
                    elsewhere(scope, op, tally, statements, row)?;
                }
            }
        }
    }
    fresh.clear();
    Ok(())
}

/// Whether a row was inserted with this sequence.
fn stands(scope: &Scope<'_>, op: &Merge, row: &Row, seq: i64) -> Result<bool, StoreError> {
    Ok(scope
        .conn
        .prepare_cached("SELECT 1 FROM entry WHERE connection = ? AND metric = ? AND start = ? AND key = ? AND seq = ?")?
        .exists(params![scope.connection, op.metric, row.start, op.key(row), seq])?)
}

/// Writes a row whose id is stored at another time.
fn elsewhere(
    scope: &mut Scope<'_>,
    op: &Merge,
    tally: &mut Tally<'_>,
    statements: &mut Statements<'_>,
    row: &Row,
) -> Result<(), StoreError> {
    let Some((was, series)) = by_id(scope, op, tally, row)? else {
        return Err(StoreError::Refused("an entry was neither there nor insertable".to_owned()));
    };
    match decide(&mut scope.counts, op, row, &was, series, scope.as_of) {
        Action::Write(old) => update(scope, op, tally, statements, row, old),
        Action::Stamp { start } => stamp(scope, op, row, start),
        Action::New | Action::Nothing => Ok(()),
    }
}

/// Writes a row over a stored one, wherever that stands.
fn update(
    scope: &mut Scope<'_>,
    op: &Merge,
    tally: &mut Tally<'_>,
    statements: &mut Statements<'_>,
    row: &Row,
    old: Old,
) -> Result<(), StoreError> {
    let series = op.series_of(row);
    let day = day_of(row, &old);
    let seq = scope.next();
    if old.start != row.start {
        statements.shift.execute(params![row.start, scope.connection, op.metric, old.start, op.key(row)])?;
    }
    let update = &mut statements.update;
    update.raw_bind_parameter(6, row.end)?;
    update.raw_bind_parameter(7, row.offset)?;
    update.raw_bind_parameter(8, row.civil)?;
    update.raw_bind_parameter(9, (op.by_id && !series.is_empty()).then_some(series))?;
    update.raw_bind_parameter(10, day)?;
    update.raw_bind_parameter(11, row.value)?;
    update.raw_bind_parameter(12, row.digest)?;
    update.raw_bind_parameter(13, row.revision)?;
    update.raw_bind_parameter(14, seq)?;
    update.raw_bind_parameter(15, row.start)?;
    update.raw_bind_parameter(16, op.key(row))?;
    update.raw_execute()?;
    if !old.gone {
        tally.removed(old.series, old.day, old.start);
    }
    tally.added(row.series, day, row.start, row.value);
    if row.digest != old.digest || old.start != row.start {
        more(scope, op, row, old.start)?;
    }
    Ok(())
}

/// Brings what lies off the hot row in line with it.
fn more(scope: &Scope<'_>, op: &Merge, row: &Row, old_start: i64) -> Result<(), StoreError> {
    let key = op.key(row);
    if old_start != row.start || row.more.is_none() {
        forget_more(scope, op.metric, key, old_start)?;
    }
    if let Some(more) = &row.more {
        scope
            .conn
            .prepare_cached(
                "INSERT INTO entry_more (connection, metric, start, key, detail, samples) VALUES (?, ?, ?, ?, ?, ?)
                 ON CONFLICT DO UPDATE SET detail = excluded.detail, samples = excluded.samples",
            )?
            .execute(params![scope.connection, op.metric, row.start, key, more.detail, more.samples])?;
    }
    Ok(())
}

fn forget_more(scope: &Scope<'_>, metric: i64, key: &str, start: i64) -> Result<(), StoreError> {
    scope.conn.prepare_cached("DELETE FROM entry_more WHERE connection = ? AND metric = ? AND start = ? AND key = ?")?.execute(params![
        scope.connection,
        metric,
        start,
        key
    ])?;
    Ok(())
}

/// The same content from a better source, or of a higher revision.
fn stamp(scope: &Scope<'_>, op: &Merge, row: &Row, start: i64) -> Result<(), StoreError> {
    scope
        .conn
        .prepare_cached("UPDATE entry SET rank = ?, revision = ?, as_of = ? WHERE connection = ? AND metric = ? AND start = ? AND key = ?")?
        .execute(params![op.rank, row.revision, scope.as_of, scope.connection, op.metric, start, op.key(row)])?;
    Ok(())
}

/// Turns a row into a tombstone: what it said goes, where it stood stays.
fn bury(scope: &mut Scope<'_>, metric: i64, rank: u8, key: &str, start: i64, digest: i64) -> Result<(), StoreError> {
    let seq = scope.next();
    scope
        .conn
        .prepare_cached(
            "UPDATE entry SET gone = 1, \"end\" = NULL, \"offset\" = NULL, value = 0, digest = 0, revision = 0, rank = ?, as_of = ?, run = ?,
               seq = ?
             WHERE connection = ? AND metric = ? AND start = ? AND key = ?",
        )?
        .execute(params![rank, scope.as_of, scope.run, seq, scope.connection, metric, start, key])?;
    scope.counts.deleted += 1;
    if digest != 0 {
        forget_more(scope, metric, key, start)?;
    }
    Ok(())
}

/// A point read, where the scan has stopped.
fn by_key(scope: &Scope<'_>, op: &Merge, row: &Row) -> Result<Option<Stored>, StoreError> {
    if op.by_id {
        // The insertion finds out.
        return Ok(None);
    }
    Ok(scope
        .conn
        .prepare_cached(concat!("SELECT ", columns!(), " FROM entry WHERE connection = ? AND metric = ? AND start = ? AND key = ?"))?
        .query_row(params![scope.connection, op.metric, row.start, op.key(row)], Stored::read)
        .optional()?)
}

const BY_ID: &str = concat!("SELECT ", columns!(), " FROM entry WHERE connection = ? AND metric = ? AND key = ? AND by_id = 1");

fn by_id(scope: &Scope<'_>, op: &Merge, tally: &mut Tally<'_>, row: &Row) -> Result<Option<(Stored, u32)>, StoreError> {
    let mut statement = scope.conn.prepare_cached(BY_ID)?;
    let mut rows = statement.query(params![scope.connection, op.metric, row.id])?;
    let Some(found) = rows.next()? else { return Ok(None) };
    let series = tally.number(series_text(found)?);
    Ok(Some((Stored::read(found)?, series)))
}

/// "The record of this id is gone." One that was never seen leaves a tombstone too: a poll that is under way may still bring it.
pub(crate) fn retract(scope: &mut Scope<'_>, metric: i64, id: &str, rank: u8) -> Result<(), StoreError> {
    let mut tally = Tally::new(&[]);
    let found = {
        let mut statement = scope.conn.prepare_cached(BY_ID)?;
        let mut rows = statement.query(params![scope.connection, metric, id])?;
        match rows.next()? {
            Some(row) => Some((tally.number(series_text(row)?), Stored::read(row)?)),
            None => None,
        }
    };
    match found {
        Some((_, was)) if (rank, scope.as_of) < (was.rank, was.as_of) => scope.counts.older += 1,
        Some((_, was)) if was.gone => {
            scope.counts.unchanged += 1;
            scope
                .conn
                .prepare_cached("UPDATE entry SET rank = ?, as_of = ? WHERE connection = ? AND metric = ? AND start = ? AND key = ?")?
                .execute(params![rank, scope.as_of, scope.connection, metric, was.start, id])?;
        }
        Some((series, was)) => {
            bury(scope, metric, rank, id, was.start, was.digest)?;
            tally.removed(series, was.day, was.start);
            tally.flush(scope.conn, scope.connection, metric, true)?;
        }
        None => {
            scope.counts.unchanged += 1;
            let seq = scope.next();
            scope
                .conn
                .prepare_cached(
                    "INSERT INTO entry (connection, metric, start, key, civil, by_id, day, value, digest, rank, revision, as_of, run, seq, gone)
                     VALUES (?, ?, 0, ?, 0, 1, 0, 0, 0, ?, 0, ?, ?, ?, 1)",
                )?
                .execute(params![scope.connection, metric, id, rank, scope.as_of, scope.run, seq])?;
        }
    }
    Ok(())
}
