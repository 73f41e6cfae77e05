//! Reading entries, a page at a time.
//!
//! Entries come in the order of time, across metrics and accounts: each metric of each connection is a range of the primary key, read ahead in
//! pieces, and the ranges are merged. That is one look into the index for each metric and page, so it is done for [`CONNECTIONS`] at a time; who
//! reads of more gets the next ones after these. A page's cursor names the last row, so that nothing is counted off and no read transaction stays
//! open between pages.

use crate::ingest::DAY_MS;
use crate::read::rows;
use crate::{Store, StoreError};
use rusqlite::{Connection, Row, params};
use sluice_model::{ConnectionId, Day, Moment, UserId};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct EntryQuery {
    /// Only this user's.
    pub user: Option<UserId>,
    /// Only of this connection.
    pub connection: Option<ConnectionId>,
    /// Only of this connector.
    pub connector: Option<String>,
    /// Only of this metric.
    pub metric: Option<String>,
    /// Not before.
    pub since: Option<Moment>,
    /// The `next` of the page before.
    pub after: Option<String>,
    /// Rows a page, at most 20,000 (also for 0).
    pub limit: usize,
    /// The latest first.
    pub newest_first: bool,
}

/// A row of `v_entries`.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryView {
    /// Connector name.
    pub connector: String,
    /// The account's label.
    pub account: String,
    /// Metric name.
    pub metric: String,
    /// UCUM.
    pub unit: String,
    /// Series key.
    pub series: Option<String>,
    /// What people see for it.
    pub series_label: Option<String>,
    /// The provider's id.
    pub id: Option<String>,
    /// ms; `None` when the provider named a civil day.
    pub start: Option<i64>,
    /// ms.
    pub end: Option<i64>,
    /// Minutes.
    pub utc_offset: Option<i16>,
    /// The civil day it counts for.
    pub day: Day,
    /// In the metric's unit.
    pub value: f64,
    /// JSON.
    pub detail: Option<String>,
}

/// One page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// By start, key, connection, metric; a civil day starts at its midnight in UTC.
    pub rows: Vec<EntryView>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

/// Connections whose entries are merged.
const CONNECTIONS: i64 = 256;
/// Rows of one metric that are read ahead at most, where several are merged.
const AHEAD: usize = 1_024;
/// The furthest that a civil day's midnight lies from the instants that count for it, for the range of starts that `since` reads.
const SLACK: i64 = 40 * DAY_MS;

/// Where a page ended. Opaque outside: `from.to.connection.metric.start.key`.
#[derive(Clone, Debug)]
struct Place {
    /// The connections that are being merged, by their ids: a later one must not get in among them.
    from: i64,
    to: i64,
    connection: i64,
    metric: i64,
    start: i64,
    key: String,
}

impl Place {
    fn parse(text: &str) -> Result<Self, StoreError> {
        let mut parts = text.splitn(6, '.');
        let mut number = || parts.next().and_then(|part| part.parse::<i64>().ok());
        match (number(), number(), number(), number(), number(), parts.next()) {
            (Some(from), Some(to), Some(connection), Some(metric), Some(start), Some(key)) => {
                Ok(Self { from, to, connection, metric, start, key: key.to_owned() })
            }
            _ => Err(StoreError::Invalid("this is no place to go on from: take `next` of the page before as it is".to_owned())),
        }
    }

    fn text(&self) -> String {
        format!("{}.{}.{}.{}.{}.{}", self.from, self.to, self.connection, self.metric, self.start, self.key)
    }
}

/// A metric of a connection, to be read in key order.
struct Part {
    connection: i64,
    metric: i64,
    /// What was read and is not in the page yet.
    ahead: VecDeque<Found>,
    /// Where reading goes on: behind this row, or with it.
    after: Option<(i64, String, bool)>,
    /// Rows of the next piece; 0 when there are no more.
    piece: usize,
}

/// A row with its place.
struct Found {
    start: i64,
    key: String,
    entry: EntryView,
}

/// Connections that are merged: the first one's id, the last one's, and their metrics.
struct Group {
    from: i64,
    to: i64,
    parts: Vec<Part>,
    /// Where the next group begins.
    next: Option<i64>,
}

/// The connections from an id on, up to one where that is known, and their metrics.
fn group(conn: &Connection, query: &EntryQuery, from: i64, to: Option<i64>) -> Result<Group, StoreError> {
    let condition = match (query.user, &query.connector) {
        (Some(_), _) => "c.user = ?2 AND (?3 IS NULL OR c.connector = ?3)",
        (None, Some(_)) => "?2 IS NULL AND c.connector = ?3",
        (None, None) => "?2 IS NULL AND ?3 IS NULL",
    };
    let range = if query.connection.is_some() { "c.id = ?4 AND c.id >= ?1" } else { "c.id >= ?1 AND ?4 IS NULL" };
    let sql = format!(
        "SELECT c.id, c.connector FROM connection c WHERE {range} AND c.id <= ?6 AND {condition} AND c.erasing = 0 ORDER BY c.id LIMIT ?5"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let (user, connection) = (query.user.map(|user| user.0), query.connection.map(|id| id.0));
    let found: Vec<(i64, String)> = statement
        .query_map(params![from, user, query.connector, connection, CONNECTIONS, to.unwrap_or(i64::MAX)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let full = i64::try_from(found.len()).unwrap_or(0) == CONNECTIONS;
    let to = to.or_else(|| found.last().filter(|_| full).map(|(id, _)| *id)).unwrap_or(i64::MAX);
    let mut metrics = conn.prepare_cached("SELECT id FROM metric WHERE connector = ?1 AND (?2 IS NULL OR name = ?2) ORDER BY id")?;
    let mut parts = Vec::new();
    for (connection, connector) in found {
        let ids = metrics.query_map(params![connector, query.metric], |row| row.get(0))?;
        for metric in ids {
            parts.push(Part { connection, metric: metric?, ahead: VecDeque::new(), after: None, piece: 0 });
        }
    }
    Ok(Group { from, to, parts, next: to.checked_add(1) })
}

fn read_entry(row: &Row<'_>) -> Result<EntryView, rusqlite::Error> {
    Ok(EntryView {
        connector: row.get(0)?,
        account: row.get(1)?,
        metric: row.get(2)?,
        unit: row.get(3)?,
        series: row.get(4)?,
        series_label: row.get(5)?,
        id: row.get(6)?,
        start: row.get(7)?,
        end: row.get(8)?,
        utc_offset: row.get(9)?,
        day: Day(row.get(10)?),
        value: row.get(11)?,
        detail: row.get(12)?,
    })
}

/// Statement for one metric of one connection in key order: `with` says whether it goes on behind a row, or with it.
fn entries_sql(query: &EntryQuery, with: Option<bool>) -> String {
    let (order, beyond) = if query.newest_first { ("DESC", "<") } else { ("ASC", ">") };
    let since = match query.since {
        None => "?3 IS NULL AND ?4 IS NULL",
        // A civil day is in while any of it is.
        Some(Moment::Instant(_)) => "e.start >= ?3 AND (e.civil = 0 AND e.start >= ?4 OR e.civil = 1 AND e.start > ?4 - 86400000)",
        Some(Moment::Day(_)) => "e.start >= ?3 AND e.day >= ?4",
    };
    let going_on = match with {
        None => "?5 IS NULL AND ?6 IS NULL".to_owned(),
        Some(with) => format!("(e.start, e.key) {beyond}{} (?5, ?6)", if with { "=" } else { "" }),
    };
    format!(
        "SELECT c.connector, c.label, m.name, m.unit, CASE WHEN e.by_id = 1 THEN e.series ELSE nullif(e.key, '') END, s.label,
           CASE WHEN e.by_id = 1 THEN e.key END, CASE WHEN e.civil = 0 THEN e.start END, e.\"end\", e.\"offset\", e.day, e.value, x.detail,
           e.start, e.key
         FROM entry e JOIN connection c ON c.id = e.connection JOIN metric m ON m.id = e.metric
         LEFT JOIN series s ON s.connection = e.connection AND s.metric = e.metric
           AND s.key = CASE WHEN e.by_id = 1 THEN coalesce(e.series, '') ELSE e.key END
         LEFT JOIN entry_more x ON e.digest <> 0 AND x.connection = e.connection AND x.metric = e.metric AND x.start = e.start AND x.key = e.key
         WHERE e.connection = ?1 AND e.metric = ?2 AND e.gone = 0 AND {since} AND {going_on}
         ORDER BY e.start {order}, e.key {order} LIMIT ?7"
    )
}

/// The next piece of one metric of one connection, in key order.
fn read_ahead(conn: &Connection, query: &EntryQuery, part: &mut Part) -> Result<(), StoreError> {
    let (from, bound) = match query.since {
        None => (None, None),
        Some(Moment::Instant(ms)) => (Some(ms.saturating_sub(DAY_MS)), Some(ms)),
        Some(Moment::Day(Day(day))) => (Some(i64::from(day) * DAY_MS - SLACK), Some(i64::from(day))),
    };
    let sql = entries_sql(query, part.after.as_ref().map(|(.., with)| *with));
    let mut statement = conn.prepare_cached(&sql)?;
    let mut found = statement.query(params![
        part.connection,
        part.metric,
        from,
        bound,
        part.after.as_ref().map(|(start, ..)| start),
        part.after.as_ref().map(|(_, key, _)| key),
        i64::try_from(part.piece).unwrap_or(i64::MAX)
    ])?;
    while let Some(row) = found.next()? {
        part.ahead.push_back(Found { start: row.get(13)?, key: row.get(14)?, entry: read_entry(row)? });
    }
    if part.ahead.len() < part.piece {
        part.piece = 0;
    } else {
        part.piece = part.piece.saturating_mul(2).min(AHEAD.max(part.piece));
        part.after = part.ahead.back().map(|last| (last.start, last.key.clone(), false));
    }
    Ok(())
}

/// The first row of a part that is not in the page yet; the earliest of them is the greatest, as a heap wants it.
#[derive(PartialEq, Eq)]
struct Head {
    start: i64,
    key: String,
    part: usize,
    newest_first: bool,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let time = (self.start, &self.key).cmp(&(other.start, &other.key));
        // Parts lie by connection and metric, in both directions of time.
        if self.newest_first { time } else { time.reverse() }.then_with(|| other.part.cmp(&self.part))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The next row of a part, read when there is none.
fn head(conn: &Connection, query: &EntryQuery, part: &mut Part, at: usize) -> Result<Option<Head>, StoreError> {
    if part.ahead.is_empty() && part.piece > 0 {
        read_ahead(conn, query, part)?;
    }
    Ok(part.ahead.front().map(|row| Head { start: row.start, key: row.key.clone(), part: at, newest_first: query.newest_first }))
}

/// A group's rows behind a place, in the order of time, into the page; the last row's place when the page is full.
fn read_group(
    conn: &Connection,
    query: &EntryQuery,
    mut group: Group,
    after: Option<&Place>,
    page: &mut Vec<EntryView>,
) -> Result<Option<Place>, StoreError> {
    let most = rows(query.limit);
    let share = (most / group.parts.len().max(1)).saturating_add(1).min(most);
    let mut heads = BinaryHeap::with_capacity(group.parts.len());
    for (at, part) in group.parts.iter_mut().enumerate() {
        part.piece = share;
        part.after = after.map(|place| {
            // Of rows at the same time, those of later parts are still to come.
            (place.start, place.key.clone(), (part.connection, part.metric) > (place.connection, place.metric))
        });
        heads.extend(head(conn, query, part, at)?);
    }
    while let Some(Head { part: at, .. }) = heads.pop() {
        let Some(part) = group.parts.get_mut(at) else { continue };
        let Some(Found { start, key, entry }) = part.ahead.pop_front() else { continue };
        page.push(entry);
        if page.len() == most {
            let (connection, metric) = (part.connection, part.metric);
            return Ok(Some(Place { from: group.from, to: group.to, connection, metric, start, key }));
        }
        heads.extend(head(conn, query, part, at)?);
    }
    Ok(None)
}

fn read_page(conn: &Connection, query: &EntryQuery) -> Result<Page, StoreError> {
    let mut after = query.after.as_deref().map(Place::parse).transpose()?;
    let mut from = Some(after.as_ref().map_or(0, |place| place.from));
    let mut page = Vec::new();
    while let Some(start) = from {
        let group = group(conn, query, start, after.as_ref().map(|place| place.to))?;
        from = group.next;
        if let Some(place) = read_group(conn, query, group, after.as_ref(), &mut page)? {
            return Ok(Page { rows: page, next: Some(place.text()) });
        }
        after = None;
    }
    Ok(Page { rows: page, next: None })
}

impl Store {
    /// Entries, a page at a time; no read transaction stays open between pages.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a cursor that is none, or the store failed.
    pub async fn entries(&self, query: EntryQuery) -> Result<Page, StoreError> {
        self.read(move |conn| read_page(conn, &query)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_of_a_page_is_a_range_of_the_key_in_its_own_order() {
        let dir = tempfile::tempdir().unwrap();
        let conn = crate::open::writer(dir.path()).unwrap();
        for newest_first in [false, true] {
            for with in [None, Some(false), Some(true)] {
                for since in [None, Some(Moment::Instant(5)), Some(Moment::Day(Day(5)))] {
                    let query = EntryQuery { newest_first, since, ..EntryQuery::default() };
                    let sql = format!("EXPLAIN QUERY PLAN {}", entries_sql(&query, with));
                    let mut statement = conn.prepare(&sql).unwrap();
                    let plan: Vec<String> =
                        statement.query_map(params![1, 1, 1, 1, 1, "", 1], |row| row.get(3)).unwrap().map(Result::unwrap).collect();
                    let search = plan.iter().find(|step| step.contains(" e USING PRIMARY KEY")).unwrap_or_else(|| panic!("{plan:?}"));
                    assert!(search.contains("connection=? AND metric=?"), "{plan:?}");
                    assert_eq!(search.contains("start"), with.is_some() || since.is_some(), "{plan:?}");
                    assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE") || step.starts_with("SCAN")), "{plan:?}");
                }
            }
        }
    }

    #[test]
    fn more_connections_than_are_merged_come_group_after_group() {
        let dir = tempfile::tempdir().unwrap();
        let conn = crate::open::writer(dir.path()).unwrap();
        // 300 connections; the n-th has an entry at -n and one at n.
        conn.execute_batch(
            "PRAGMA foreign_keys = OFF;
             INSERT INTO metric (id, connector, name, unit, kind, identity) VALUES (1, 'sample', 'steps', '1', 'sum', 'time');
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
             INSERT INTO connection (id, public_id, user, app, connector, profile, label, route_keys, scopes, settings, linked_at)
             SELECT i, 'c' || i, 1, 1, 'sample', 'token', 'account', '[]', '[]', '[]', 0 FROM n;
             INSERT INTO entry SELECT id, 1, f.sign * id, '', NULL, NULL, 0, 0, NULL, 0, id, 0, 0, 0, 0, 0, id, 0
             FROM connection, (SELECT -1 AS sign UNION SELECT 1) f",
        )
        .unwrap();
        let merged = CONNECTIONS as f64;
        for limit in [7, 256, 511, 512, 513, 600] {
            let mut query = EntryQuery { limit, ..EntryQuery::default() };
            let mut values = Vec::new();
            loop {
                let page = read_page(&conn, &query).unwrap();
                values.extend(page.rows.iter().map(|row| row.value * row.start.unwrap().signum() as f64));
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
            }
            assert_eq!(values.len(), 600, "{limit}");
            let (first, second) = values.split_at(2 * CONNECTIONS as usize);
            assert!(first.is_sorted() && first.iter().all(|value| value.abs() <= merged), "{limit}: {first:?}");
            assert!(second.is_sorted() && second.iter().all(|value| value.abs() > merged), "{limit}: {second:?}");
        }
    }
}
