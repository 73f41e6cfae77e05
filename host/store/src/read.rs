//! Reading days, what a connection has of each metric, and the fine curve of one entry. Days come from the view that is always right. At most
//! [`ROWS`] rows a page. Entries are read in `entries`.

use crate::ingest::{DAY_MS, decode, form};
use crate::metrics::parse_kind;
use crate::{Store, StoreError};
use rusqlite::{Connection, OptionalExtension, Row, params};
use sluice_model::manifest::Identity;
use sluice_model::manifest::MetricKind;
use sluice_model::{ConnectionId, Day, Moment, Sample, UserId};

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
/// Rows of a page, as they were asked for.
pub(crate) fn rows(limit: usize) -> usize {
    if limit == 0 { ROWS } else { limit.min(ROWS) }
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
