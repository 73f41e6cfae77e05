//! What a connector's metrics are called inside.

use crate::{MetricChanged, Store};
use sluice_model::manifest::{Identity, Metric, MetricKind};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MetricInfo {
    pub id: i64,
    pub kind: MetricKind,
    pub identity: Identity,
    pub series: bool,
}

/// The ids of one connector's metrics, with what [`crate::Ingest`] must know of each. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MetricIds {
    pub(crate) by_name: Arc<BTreeMap<String, MetricInfo>>,
}

impl Store {
    /// Makes a connector's metrics known, or finds them known.
    ///
    /// # Errors
    /// A metric kept its name and changed its unit, kind or identity; or the store failed.
    pub async fn ensure_metrics(&self, connector: &str, metrics: &[Metric]) -> Result<MetricIds, MetricChanged> {
        Ok(self.unfinished((connector.to_owned(), metrics.to_vec())).await?)
    }
}
