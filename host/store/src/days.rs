//! Folding: stale day counters made right again from their entries.
//!
//! What was only added to a day is counted in the commit itself ([`crate::tally`]). A day that lost or changed something is marked there, and
//! folded right after, when the writer has nothing else to do, one scan for all that lie together; until then the views read it from the
//! entries themselves, so what is read is always right. Metrics whose
//! identity is the day need none of this: their one entry is the day.
//!
//! A slice folds at most [`SLICE`] days. It reads the entries between the first and the last start that ever counted for those days; where
//! a provider puts one far-off record on a day that range is wide, and the scan with it, but nothing is missed.

use crate::StoreError;
use rusqlite::{Connection, params};
use std::collections::HashMap;

/// Days of one slice: a slice of them costs about as much as a group of entries.
const SLICE: i64 = 2_000;

/// What a day comes to. Entries are added in the order of their keys.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sums {
    pub n: u64,
    sum: f64,
    /// What rounding lost of `sum` (Neumaier), so that a day of a million small values adds up.
    lost: f64,
    pub min: f64,
    pub max: f64,
    pub last: f64,
    pub lo: i64,
    pub hi: i64,
}

impl Sums {
    pub(crate) fn add(&mut self, value: f64, start: i64) {
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
        if self.n == 0 {
            (self.min, self.max, self.lo, self.hi) = (value, value, start, start);
        }
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.lo = self.lo.min(start);
        self.hi = self.hi.max(start);
        self.last = value;
        self.n += 1;
    }

    pub(crate) fn total(&self) -> f64 {
        let total = self.sum + self.lost;
        // Sums beyond what a float holds stay what they are; the correction would be no number.
        if total.is_finite() { total } else { self.sum.clamp(f64::MIN, f64::MAX) }
    }
}

/// Series, then day.
type Stale = HashMap<String, HashMap<i32, Sums>>;
/// By connection and metric: what is stale, and the ranges of starts to read for it.
type Work = HashMap<(i64, i64), (Stale, Vec<(i64, i64)>)>;

/// Whether anything waits to be folded.
pub(crate) fn any_stale(conn: &Connection) -> Result<bool, StoreError> {
    Ok(conn.prepare_cached("SELECT 1 FROM day WHERE stale = 1 LIMIT 1")?.exists([])?)
}

/// Folds one slice, in the caller's transaction; whether there may be more.
pub(crate) fn fold(conn: &Connection) -> Result<bool, StoreError> {
    let mut metrics = Work::new();
    let mut found = 0;
    {
        let mut statement = conn.prepare_cached(
            "SELECT connection, metric, key, day, lo, hi FROM day INDEXED BY day_stale WHERE stale = 1 ORDER BY connection, metric LIMIT ?",
        )?;
        let mut rows = statement.query([SLICE])?;
        while let Some(row) = rows.next()? {
            let (stale, ranges) = metrics.entry((row.get(0)?, row.get(1)?)).or_default();
            stale.entry(row.get(2)?).or_default().insert(row.get(3)?, Sums::default());
            ranges.push((row.get(4)?, row.get(5)?));
            found += 1;
        }
    }
    for ((connection, metric), (mut stale, ranges)) in metrics {
        for (lo, hi) in join(ranges) {
            scan(conn, connection, metric, lo, hi, &mut stale)?;
        }
        store(conn, connection, metric, &stale)?;
    }
    Ok(found == SLICE)
}

/// Overlapping ranges as one.
fn join(mut ranges: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (lo, hi) in ranges {
        match joined.last_mut() {
            Some(last) if lo <= last.1 => last.1 = last.1.max(hi),
            _ => joined.push((lo, hi)),
        }
    }
    joined
}

fn scan(conn: &Connection, connection: i64, metric: i64, lo: i64, hi: i64, stale: &mut Stale) -> Result<(), StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT CASE WHEN by_id = 1 THEN coalesce(series, '') ELSE key END, day, value, start FROM entry
         WHERE connection = ? AND metric = ? AND start BETWEEN ? AND ? AND gone = 0 ORDER BY start, key",
    )?;
    let mut rows = statement.query(params![connection, metric, lo, hi])?;
    while let Some(row) = rows.next()? {
        let series = row.get_ref(0)?.as_str().unwrap_or("");
        let day: i32 = row.get(1)?;
        if let Some(sums) = stale.get_mut(series).and_then(|days| days.get_mut(&day)) {
            sums.add(row.get(2)?, row.get(3)?);
        }
    }
    Ok(())
}

fn store(conn: &Connection, connection: i64, metric: i64, stale: &Stale) -> Result<(), StoreError> {
    let mut update = conn.prepare_cached(
        "UPDATE day SET stale = 0, n = ?, sum = ?, min = ?, max = ?, last = ?, lo = ?, hi = ?
         WHERE connection = ? AND metric = ? AND key = ? AND day = ?",
    )?;
    let mut delete = conn.prepare_cached("DELETE FROM day WHERE connection = ? AND metric = ? AND key = ? AND day = ?")?;
    for (series, days) in stale {
        for (day, sums) in days {
            if sums.n == 0 {
                delete.execute(params![connection, metric, series, day])?;
            } else {
                let n = i64::try_from(sums.n).unwrap_or(i64::MAX);
                update.execute(params![
                    n,
                    sums.total(),
                    sums.min,
                    sums.max,
                    sums.last,
                    sums.lo,
                    sums.hi,
                    connection,
                    metric,
                    series,
                    day
                ])?;
            }
        }
    }
    Ok(())
}
