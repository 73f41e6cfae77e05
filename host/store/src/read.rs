//! Reading entries and days, a page at a time.
//!
//! Entries are read by their own key: connection after connection, metric after metric, each a range of the primary key, until the page is
//! full. A page's cursor names the last row, so that nothing is counted off and no read transaction stays open between pages. Days come from
//! the view that is always right. At most [`ROWS`] rows a page.

use crate::ingest::{DAY_MS, decode, form};
use crate::metrics::parse_kind;
use crate::{Store, StoreError};
use rusqlite::{Connection, OptionalExtension, Row, params};
use sluice_model::manifest::Identity;
use sluice_model::manifest::MetricKind;
use sluice_model::{ConnectionId, Day, Moment, Sample, UserId};

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
    /// Within each metric of each connection, the latest first.
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
    /// By connection, metric, start, key.
    pub rows: Vec<EntryView>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

/// Which days.
#[derive(Clone, Debug, Default)]
pub struct DailyQuery {
    /// Only this user's.
    pub user: Option<UserId>,
    /// Only of this connection.
    pub connection: Option<ConnectionId>,
    /// Only of this connector.
    pub connector: Option<String>,
    /// Only of this metric.
    pub metric: Option<String>,
    /// Not before.
    pub first: Option<Day>,
    /// Not after.
    pub last: Option<Day>,
    /// At most 20,000 (also for 0).
    pub limit: usize,
}

/// A row of `v_daily`.
#[derive(Clone, Debug, PartialEq)]
pub struct DailyView {
    /// Connector name.
    pub connector: String,
    /// The account's label.
    pub account: String,
    /// Metric name.
    pub metric: String,
    /// UCUM.
    pub unit: String,
    /// How a day adds up.
    pub kind: MetricKind,
    /// Series key.
    pub series: Option<String>,
    /// What people see for it.
    pub series_label: Option<String>,
    /// The civil day.
    pub day: Day,
    /// As the metric's kind says.
    pub value: f64,
    /// How many entries.
    pub n: u64,
    /// Their sum.
    pub sum: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The latest.
    pub last: f64,
}

/// What a connection has of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSummary {
    /// Metric name.
    pub metric: String,
    /// UCUM.
    pub unit: String,
    /// How a day adds up.
    pub kind: MetricKind,
    /// Live entries.
    pub count: u64,
    /// The earliest.
    pub first: Option<Moment>,
    /// The latest.
    pub last: Option<Moment>,
    /// The latest one's value.
    pub latest_value: Option<f64>,
}

/// Rows of one page.
const ROWS: usize = 20_000;
/// Connections looked at in one go, while a page is not full.
const CONNECTIONS: i64 = 256;
/// The furthest that a civil day's midnight lies from the instants that count for it, for the range of starts that `since` reads.
const SLACK: i64 = 40 * DAY_MS;

fn rows(limit: usize) -> usize {
    if limit == 0 { ROWS } else { limit.min(ROWS) }
}

/// Where a page ended. Opaque outside: `connection.metric.start.key`.
#[derive(Clone, Debug)]
struct Place {
    connection: i64,
    metric: i64,
    start: i64,
    key: String,
}

impl Place {
    fn parse(text: &str) -> Result<Self, StoreError> {
        let mut parts = text.splitn(4, '.');
        let mut number = || parts.next().and_then(|part| part.parse::<i64>().ok());
        let (connection, metric, start) = (number(), number(), number());
        match (connection, metric, start, parts.next()) {
            (Some(connection), Some(metric), Some(start), Some(key)) => Ok(Self { connection, metric, start, key: key.to_owned() }),
            _ => Err(StoreError::Invalid("this is no place to go on from: take `next` of the page before as it is".to_owned())),
        }
    }

    fn text(&self) -> String {
        format!("{}.{}.{}.{}", self.connection, self.metric, self.start, self.key)
    }
}

/// A metric of a connection, to be read in key order.
struct Part {
    connection: i64,
    metric: i64,
}

/// The next few connections' metrics, from a connection on.
fn parts(conn: &Connection, query: &EntryQuery, from: i64) -> Result<(Vec<Part>, Option<i64>), StoreError> {
    let condition = match (query.user, &query.connector) {
        (Some(_), _) => "c.user = ?2 AND (?3 IS NULL OR c.connector = ?3)",
        (None, Some(_)) => "?2 IS NULL AND c.connector = ?3",
        (None, None) => "?2 IS NULL AND ?3 IS NULL",
    };
    let range = if query.connection.is_some() { "c.id = ?4 AND c.id >= ?1" } else { "c.id >= ?1 AND ?4 IS NULL" };
    let sql = format!("SELECT c.id, c.connector FROM connection c WHERE {range} AND {condition} AND c.erasing = 0 ORDER BY c.id LIMIT ?5");
    let mut statement = conn.prepare_cached(&sql)?;
    let found: Vec<(i64, String)> = statement
        .query_map(params![from, query.user.map(|user| user.0), query.connector, query.connection.map(|id| id.0), CONNECTIONS], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let whole = i64::try_from(found.len()).unwrap_or(0) == CONNECTIONS;
    let next = if whole { found.last().map(|(id, _)| id + 1) } else { None };
    let mut metrics = conn.prepare_cached("SELECT id FROM metric WHERE connector = ?1 AND (?2 IS NULL OR name = ?2) ORDER BY id")?;
    let mut parts = Vec::new();
    for (connection, connector) in found {
        let ids = metrics.query_map(params![connector, query.metric], |row| row.get(0))?;
        for metric in ids {
            parts.push(Part { connection, metric: metric? });
        }
    }
    Ok((parts, next))
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

/// One metric of one connection, in key order, into the page; the last row's place when the page is full.
fn read_part(
    conn: &Connection,
    query: &EntryQuery,
    part: &Part,
    after: Option<&Place>,
    page: &mut Vec<EntryView>,
) -> Result<Option<Place>, StoreError> {
    let most = rows(query.limit);
    let (order, beyond) = if query.newest_first { ("DESC", "<") } else { ("ASC", ">") };
    let since = match query.since {
        None => "?3 IS NULL AND ?4 IS NULL",
        // A civil day is in while any of it is.
        Some(Moment::Instant(_)) => "e.start >= ?3 AND (e.civil = 0 AND e.start >= ?4 OR e.civil = 1 AND e.start > ?4 - 86400000)",
        Some(Moment::Day(_)) => "e.start >= ?3 AND e.day >= ?4",
    };
    let (from, bound) = match query.since {
        None => (None, None),
        Some(Moment::Instant(ms)) => (Some(ms.saturating_sub(DAY_MS)), Some(ms)),
        Some(Moment::Day(Day(day))) => (Some(i64::from(day) * DAY_MS - SLACK), Some(i64::from(day))),
    };
    let going_on = if after.is_some() { format!("(e.start, e.key) {beyond} (?5, ?6)") } else { "?5 IS NULL AND ?6 IS NULL".to_owned() };
    let sql = format!(
        "SELECT c.connector, c.label, m.name, m.unit, CASE WHEN e.by_id = 1 THEN e.series ELSE nullif(e.key, '') END, s.label,
           CASE WHEN e.by_id = 1 THEN e.key END, CASE WHEN e.civil = 0 THEN e.start END, e.\"end\", e.\"offset\", e.day, e.value, x.detail,
           e.start, e.key
         FROM entry e JOIN connection c ON c.id = e.connection JOIN metric m ON m.id = e.metric
         LEFT JOIN series s ON s.connection = e.connection AND s.metric = e.metric
           AND s.key = CASE WHEN e.by_id = 1 THEN coalesce(e.series, '') ELSE e.key END
         LEFT JOIN entry_more x ON e.digest <> 0 AND x.connection = e.connection AND x.metric = e.metric AND x.start = e.start AND x.key = e.key
         WHERE e.connection = ?1 AND e.metric = ?2 AND e.gone = 0 AND {since} AND {going_on}
         ORDER BY e.start {order}, e.key {order} LIMIT ?7"
    );
    let left = i64::try_from(most - page.len()).unwrap_or(0);
    let mut statement = conn.prepare_cached(&sql)?;
    let mut found = statement.query(params![
        part.connection,
        part.metric,
        from,
        bound,
        after.map(|place| place.start),
        after.map(|place| place.key.as_str()),
        left
    ])?;
    while let Some(row) = found.next()? {
        page.push(read_entry(row)?);
        if page.len() == most {
            return Ok(Some(Place { connection: part.connection, metric: part.metric, start: row.get(13)?, key: row.get(14)? }));
        }
    }
    Ok(None)
}

fn read_page(conn: &Connection, query: &EntryQuery) -> Result<Page, StoreError> {
    let mut after = query.after.as_deref().map(Place::parse).transpose()?;
    let mut from = Some(after.as_ref().map_or(0, |place| place.connection));
    let mut page = Vec::new();
    while let Some(start) = from {
        let (parts, next) = parts(conn, query, start)?;
        for part in &parts {
            let here = after.as_ref().filter(|place| place.connection == part.connection && place.metric == part.metric);
            if after.as_ref().is_some_and(|place| (part.connection, part.metric) < (place.connection, place.metric)) {
                continue;
            }
            if let Some(place) = read_part(conn, query, part, here, &mut page)? {
                return Ok(Page { rows: page, next: Some(place.text()) });
            }
        }
        after = None;
        from = next;
    }
    Ok(Page { rows: page, next: None })
}

fn read_daily(row: &Row<'_>) -> Result<DailyView, rusqlite::Error> {
    Ok(DailyView {
        connector: row.get(0)?,
        account: row.get(1)?,
        metric: row.get(2)?,
        unit: row.get(3)?,
        kind: parse_kind(row.get_ref(4)?.as_str().unwrap_or("")),
        series: row.get(5)?,
        series_label: row.get(6)?,
        day: Day(row.get(7)?),
        value: row.get(8)?,
        n: row.get::<_, i64>(9)?.unsigned_abs(),
        sum: row.get(10)?,
        min: row.get(11)?,
        max: row.get(12)?,
        last: row.get(13)?,
    })
}

fn read_days(conn: &Connection, query: &DailyQuery) -> Result<Vec<DailyView>, StoreError> {
    let mut conditions = vec!["n > 0"];
    for (there, condition, absent) in [
        (query.user.is_some(), "user = ?1", "?1 IS NULL"),
        (query.connection.is_some(), "connection = ?2", "?2 IS NULL"),
        (query.connector.is_some(), "connector = ?3", "?3 IS NULL"),
        (query.metric.is_some(), "metric = ?4", "?4 IS NULL"),
        (query.first.is_some(), "day >= ?5", "?5 IS NULL"),
        (query.last.is_some(), "day <= ?6", "?6 IS NULL"),
    ] {
        conditions.push(if there { condition } else { absent });
    }
    let sql = format!(
        "SELECT connector, account, metric, unit, kind, nullif(key, ''), series_label, day,
           CASE kind WHEN 'sum' THEN sum WHEN 'last' THEN last WHEN 'mean' THEN sum / n WHEN 'max' THEN max ELSE CAST(n AS REAL) END,
           n, sum, min, max, last
         FROM day_now WHERE {} ORDER BY connection, metric_id, key, day LIMIT ?7",
        conditions.join(" AND ")
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let found = statement.query_map(
        params![
            query.user.map(|user| user.0),
            query.connection.map(|connection| connection.0),
            query.connector,
            query.metric,
            query.first.map(|day| day.0),
            query.last.map(|day| day.0),
            i64::try_from(rows(query.limit)).unwrap_or(0)
        ],
        read_daily,
    )?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn read_summaries(conn: &Connection, connection: i64) -> Result<Vec<MetricSummary>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT m.id, m.name, m.unit, m.kind, m.identity, sum(s.count), min(s.first), max(s.last)
         FROM series s JOIN metric m ON m.id = s.metric JOIN connection c ON c.id = s.connection
         WHERE s.connection = ? AND c.erasing = 0 GROUP BY m.id ORDER BY m.name",
    )?;
    let mut latest = conn
        .prepare_cached("SELECT value FROM entry WHERE connection = ? AND metric = ? AND gone = 0 ORDER BY start DESC, key DESC LIMIT 1")?;
    let mut rows = statement.query([connection])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let identity = if row.get_ref(4)?.as_str().unwrap_or("") == "day" { Identity::Day } else { Identity::Time };
        let moment = |start: i64| match identity {
            Identity::Day => Moment::Day(Day(i32::try_from(start.div_euclid(DAY_MS)).unwrap_or(i32::MAX))),
            Identity::Time | Identity::Id => Moment::Instant(start),
        };
        let mut values = latest.query(params![connection, row.get::<_, i64>(0)?])?;
        let latest_value = match values.next()? {
            Some(row) => Some(row.get(0)?),
            None => None,
        };
        found.push(MetricSummary {
            metric: row.get(1)?,
            unit: row.get(2)?,
            kind: parse_kind(row.get_ref(3)?.as_str().unwrap_or("")),
            count: row.get::<_, i64>(5)?.unsigned_abs(),
            first: row.get::<_, Option<i64>>(6)?.map(moment),
            last: row.get::<_, Option<i64>>(7)?.map(moment),
            latest_value,
        });
    }
    Ok(found)
}

impl Store {
    /// Entries, a page at a time; no read transaction stays open between pages.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a cursor that is none, or the store failed.
    pub async fn entries(&self, query: EntryQuery) -> Result<Page, StoreError> {
        self.read(move |conn| read_page(conn, &query)).await
    }

    /// Days, always right, also those whose counters are not folded yet.
    ///
    /// # Errors
    /// The store failed.
    pub async fn daily(&self, query: DailyQuery) -> Result<Vec<DailyView>, StoreError> {
        self.read(move |conn| read_days(conn, &query)).await
    }

    /// What a connection has, metric by metric.
    ///
    /// # Errors
    /// The store failed.
    pub async fn summaries(&self, connection: ConnectionId) -> Result<Vec<MetricSummary>, StoreError> {
        self.read(move |conn| read_summaries(conn, connection.0)).await
    }

    /// The fine curve of one entry; `key` is its id, else its series, else empty. Empty when there is none.
    ///
    /// # Errors
    /// The store failed.
    pub async fn samples(&self, connection: ConnectionId, metric: &str, when: Moment, key: &str) -> Result<Vec<Sample>, StoreError> {
        let (metric, key) = (metric.to_owned(), key.to_owned());
        let (_, start) = form(when);
        self.read(move |conn| {
            let found: Option<Option<Vec<u8>>> = conn
                .prepare_cached(
                    "SELECT x.samples FROM connection c JOIN metric m ON m.connector = c.connector AND m.name = ?
                     JOIN entry_more x ON x.connection = c.id AND x.metric = m.id AND x.start = ? AND x.key = ?
                     WHERE c.id = ? AND c.erasing = 0",
                )?
                .query_row(params![metric, start, key, connection.0], |row| row.get(0))
                .optional()?;
            Ok(decode(&found.flatten().unwrap_or_default()))
        })
        .await
    }
}
