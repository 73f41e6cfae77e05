//! Reading entries and days, a page at a time.

use crate::{Store, StoreError};
use sluice_model::manifest::MetricKind;
use sluice_model::{ConnectionId, Day, Moment, UserId};

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

impl Store {
    /// Entries, a page at a time; no read transaction stays open between pages.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a cursor that is none, or the store failed.
    pub async fn entries(&self, query: EntryQuery) -> Result<Page, StoreError> {
        self.unfinished(query).await
    }

    /// Days, always right, also those whose counters are not folded yet.
    ///
    /// # Errors
    /// The store failed.
    pub async fn daily(&self, query: DailyQuery) -> Result<Vec<DailyView>, StoreError> {
        self.unfinished(query).await
    }

    /// What a connection has, metric by metric.
    ///
    /// # Errors
    /// The store failed.
    pub async fn summaries(&self, connection: ConnectionId) -> Result<Vec<MetricSummary>, StoreError> {
        self.unfinished(connection).await
    }
}
