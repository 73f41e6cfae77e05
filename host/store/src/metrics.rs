//! What a connector's metrics are called inside.
//!
//! A metric is known by (connector, name) for ever: what is stored under it keeps its meaning, so a manifest that changes its unit, kind or
//! identity under the same name is refused as a whole. What the dimension is called may change.

use crate::{MetricChanged, Store, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use sluice_model::manifest::{Identity, Metric, MetricKind};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) struct MetricInfo {
    pub id: i64,
    pub metric: Arc<Metric>,
}

/// The ids of one connector's metrics, with what [`crate::Ingest`] must know of each. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MetricIds {
    pub(crate) by_name: Arc<BTreeMap<String, MetricInfo>>,
}

pub(crate) fn kind_name(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Sum => "sum",
        MetricKind::Last => "last",
        MetricKind::Mean => "mean",
        MetricKind::Max => "max",
        MetricKind::Event => "event",
    }
}

pub(crate) fn parse_kind(text: &str) -> MetricKind {
    match text {
        "last" => MetricKind::Last,
        "mean" => MetricKind::Mean,
        "max" => MetricKind::Max,
        "event" => MetricKind::Event,
        _ => MetricKind::Sum,
    }
}

fn identity_name(identity: Identity) -> &'static str {
    match identity {
        Identity::Time => "time",
        Identity::Id => "id",
        Identity::Day => "day",
    }
}

impl Store {
    /// Makes a connector's metrics known, or finds them known.
    ///
    /// # Errors
    /// A metric kept its name and changed its unit, kind or identity (nothing is stored then); or the store failed.
    pub async fn ensure_metrics(&self, connector: &str, metrics: &[Metric]) -> Result<MetricIds, MetricChanged> {
        let (connector, metrics) = (connector.to_owned(), metrics.to_vec());
        // The refusal travels as a value: it is no failure of the store.
        self.write(move |conn, _| {
            let mut by_name = BTreeMap::new();
            // All are judged before one is written.
            for metric in &metrics {
                if let Some(changed) = compare(conn, &connector, metric)? {
                    return Ok(Err(changed));
                }
            }
            for metric in metrics {
                let id = ensure(conn, &connector, &metric)?;
                by_name.insert(metric.name.clone(), MetricInfo { id, metric: Arc::new(metric) });
            }
            Ok(Ok(MetricIds { by_name: Arc::new(by_name) }))
        })
        .await?
    }
}

fn compare(conn: &Connection, connector: &str, metric: &Metric) -> Result<Option<MetricChanged>, StoreError> {
    let stored: Option<(String, String, String)> = conn
        .prepare_cached("SELECT unit, kind, identity FROM metric WHERE connector = ? AND name = ?")?
        .query_row(params![connector, metric.name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((unit, kind, identity)) = stored else { return Ok(None) };
    let pairs = [
        ("unit", unit, metric.unit.clone()),
        ("kind", kind, kind_name(metric.kind).to_owned()),
        ("identity", identity, identity_name(metric.identity).to_owned()),
    ];
    Ok(pairs.into_iter().find(|(_, was, now)| was != now).map(|(what, was, now)| MetricChanged::Changed {
        connector: connector.to_owned(),
        metric: metric.name.clone(),
        what,
        was,
        now,
    }))
}

fn ensure(conn: &Connection, connector: &str, metric: &Metric) -> Result<i64, StoreError> {
    conn.prepare_cached(
        "INSERT INTO metric (connector, name, unit, kind, identity, series) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (connector, name) DO UPDATE SET series = excluded.series WHERE series IS NOT excluded.series",
    )?
    .execute(params![connector, metric.name, metric.unit, kind_name(metric.kind), identity_name(metric.identity), metric.series])?;
    Ok(conn
        .prepare_cached("SELECT id FROM metric WHERE connector = ? AND name = ?")?
        .query_row(params![connector, metric.name], |row| row.get(0))?)
}
