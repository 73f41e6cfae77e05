//! What a merge changed, by series and by day, gathered in memory and written once.
//!
//! A series row counts its live entries and knows the first and the last. A day that was only added to, which is what most polls do, is counted
//! here and now, and so does not cost a second reading of what it held before. A day that lost or changed something is marked stale, with the range
//! of starts that may count for it; [`crate::days`] folds it afterwards. Each touched series and day costs one statement a batch, whatever the
//! rows.

use crate::StoreError;
use crate::days::Sums;
use rusqlite::{Connection, params};
use std::collections::HashMap;

#[derive(Clone, Copy, Default)]
struct Series {
    count: i64,
    /// Of what was added.
    added: Option<(i64, i64)>,
    /// Of what was taken away.
    removed: Option<(i64, i64)>,
}

pub(crate) struct Tally<'a> {
    names: &'a [String],
    /// Series that only stored rows name, numbered after `names`.
    more: Vec<String>,
    /// By name; made when a stored row's series is first asked for.
    numbers: Option<HashMap<String, u32>>,
    series: Vec<Series>,
    days: HashMap<(u32, i32), Touched>,
    /// The latest day touched: sorted rows mostly stay in it.
    latest: Option<((u32, i32), Touched)>,
}

/// What happened to a day.
#[derive(Clone, Copy, Default)]
struct Touched {
    /// Of what was added.
    sums: Sums,
    /// Of what was taken away.
    removed: Option<(i64, i64)>,
}

fn widen(range: &mut Option<(i64, i64)>, start: i64) {
    *range = Some(range.map_or((start, start), |(lo, hi)| (lo.min(start), hi.max(start))));
}

impl<'a> Tally<'a> {
    pub(crate) fn new(names: &'a [String]) -> Self {
        Self { names, more: Vec::new(), numbers: None, series: Vec::new(), days: HashMap::new(), latest: None }
    }

    /// The number of a series by its name.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        // Without dimensions, the usual case, there is one name.
        if let [only] = self.names
            && only == name
        {
            return 0;
        }
        let names = self.names;
        let numbers = self.numbers.get_or_insert_with(|| (0..).zip(names).map(|(at, name)| (name.clone(), at)).collect());
        if let Some(at) = numbers.get(name) {
            return *at;
        }
        let at = u32::try_from(names.len() + self.more.len()).unwrap_or(u32::MAX);
        self.more.push(name.to_owned());
        numbers.insert(name.to_owned(), at);
        at
    }

    /// Counts an entry that is there now. Of those of one day, the last to be added is the last of the day.
    pub(crate) fn added(&mut self, series: u32, day: i32, start: i64, value: f64) {
        let entry = self.entry(series);
        entry.count += 1;
        widen(&mut entry.added, start);
        self.touch(series, day).sums.add(value, start);
    }

    pub(crate) fn removed(&mut self, series: u32, day: i32, start: i64) {
        let entry = self.entry(series);
        entry.count -= 1;
        widen(&mut entry.removed, start);
        widen(&mut self.touch(series, day).removed, start);
    }

    fn entry(&mut self, series: u32) -> &mut Series {
        let at = series as usize;
        if self.series.len() <= at {
            self.series.resize(at + 1, Series::default());
        }
        // Just made long enough.
        #[allow(clippy::indexing_slicing, reason = "resized on the line before")]
        &mut self.series[at]
    }

    fn touch(&mut self, series: u32, day: i32) -> &mut Touched {
        let key = (series, day);
        if self.latest.as_ref().is_none_or(|(latest, _)| *latest != key) {
            self.settle();
            self.latest = Some((key, self.days.remove(&key).unwrap_or_default()));
        }
        &mut self.latest.get_or_insert((key, Touched::default())).1
    }

    fn settle(&mut self) {
        if let Some((key, touched)) = self.latest.take() {
            self.days.insert(key, touched);
        }
    }

    fn name(&self, number: u32) -> &str {
        let at = number as usize;
        self.names.get(at).or_else(|| self.more.get(at.saturating_sub(self.names.len()))).map_or("", String::as_str)
    }

    /// Writes it all.
    pub(crate) fn flush(mut self, conn: &Connection, connection: i64, metric: i64, days: bool) -> Result<(), StoreError> {
        self.settle();
        for (number, series) in (0_u32..).zip(&self.series) {
            write_series(conn, connection, metric, self.name(number), series)?;
        }
        if days && !self.days.is_empty() {
            let mut touched: Vec<_> = self.days.iter().map(|((series, day), touched)| (self.name(*series), *day, touched)).collect();
            touched.sort_unstable_by_key(|(name, day, _)| (*name, *day));
            for (name, day, touched) in touched {
                write_day(conn, connection, metric, name, day, touched)?;
            }
        }
        Ok(())
    }
}

fn write_day(conn: &Connection, connection: i64, metric: i64, key: &str, day: i32, touched: &Touched) -> Result<(), StoreError> {
    let sums = &touched.sums;
    if let Some((lo, hi)) = touched.removed {
        let (lo, hi) = if sums.n > 0 { (lo.min(sums.lo), hi.max(sums.hi)) } else { (lo, hi) };
        conn.prepare_cached(
            "INSERT INTO day (connection, metric, key, day, lo, hi, stale) VALUES (?, ?, ?, ?, ?, ?, 1)
             ON CONFLICT DO UPDATE SET stale = 1, lo = min(lo, excluded.lo), hi = max(hi, excluded.hi)
             WHERE stale = 0 OR excluded.lo < lo OR excluded.hi > hi",
        )?
        .execute(params![connection, metric, key, day, lo, hi])?;
        return Ok(());
    }
    // Which of two at the same instant is the last, and what a sum beyond all floats is, is for folding to find out. What stands in a stale row is
    // not looked at.
    conn.prepare_cached(
        "INSERT INTO day (connection, metric, key, day, lo, hi, stale, n, sum, min, max, last) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET stale = stale = 1 OR excluded.hi = hi OR abs(sum + excluded.sum) > 1e308, n = n + excluded.n,
           sum = CASE WHEN stale = 1 THEN 0 ELSE sum + excluded.sum END, min = min(min, excluded.min), max = max(max, excluded.max),
           last = CASE WHEN excluded.hi > hi THEN excluded.last ELSE last END, lo = min(lo, excluded.lo), hi = max(hi, excluded.hi)",
    )?
    .execute(params![
        connection,
        metric,
        key,
        day,
        sums.lo,
        sums.hi,
        i64::try_from(sums.n).unwrap_or(i64::MAX),
        sums.total(),
        sums.min,
        sums.max,
        sums.last
    ])?;
    Ok(())
}

fn write_series(conn: &Connection, connection: i64, metric: i64, key: &str, series: &Series) -> Result<(), StoreError> {
    if series.added.is_none() && series.removed.is_none() {
        return Ok(());
    }
    // Entries that were written over where they stood change nothing here.
    if series.count == 0 && series.added == series.removed {
        return Ok(());
    }
    conn.prepare_cached(
        "INSERT INTO series (connection, metric, key, count, first, last) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET count = count + excluded.count,
           first = CASE WHEN first IS NULL OR excluded.first < first THEN excluded.first ELSE first END,
           last = CASE WHEN last IS NULL OR excluded.last > last THEN excluded.last ELSE last END",
    )?
    .execute(params![connection, metric, key, series.count, series.added.map(|(lo, _)| lo), series.added.map(|(_, hi)| hi)])?;
    if let Some((lo, hi)) = series.removed {
        shrink(conn, connection, metric, key, lo, hi)?;
    }
    Ok(())
}

/// What was taken away may have been the first or the last.
fn shrink(conn: &Connection, connection: i64, metric: i64, key: &str, lo: i64, hi: i64) -> Result<(), StoreError> {
    let (count, first, last): (i64, Option<i64>, Option<i64>) = conn
        .prepare_cached("SELECT count, first, last FROM series WHERE connection = ? AND metric = ? AND key = ?")?
        .query_row(params![connection, metric, key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let edge = |order: &str| -> Result<Option<i64>, StoreError> {
        if count <= 0 {
            return Ok(None);
        }
        let sql = format!(
            "SELECT start FROM entry WHERE connection = ? AND metric = ? AND gone = 0
               AND CASE WHEN by_id = 1 THEN coalesce(series, '') ELSE key END = ? ORDER BY start {order} LIMIT 1"
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![connection, metric, key])?;
        Ok(match rows.next()? {
            Some(row) => Some(row.get(0)?),
            None => None,
        })
    };
    let first = if first.is_none_or(|first| lo <= first) { edge("ASC")? } else { first };
    let last = if last.is_none_or(|last| hi >= last) { edge("DESC")? } else { last };
    conn.prepare_cached("UPDATE series SET first = ?, last = ? WHERE connection = ? AND metric = ? AND key = ?")?
        .execute(params![first, last, connection, metric, key])?;
    Ok(())
}
