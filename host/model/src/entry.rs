//! One recorded value of a metric, as a connector hands it over.

use crate::moment::Moment;

/// One point of a fine curve that belongs to an entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds after the entry's `when`, ascending.
    pub offset_ms: u32,
    /// The value there, finite.
    pub value: f64,
}

/// One recorded value. Which of `id` and `series` is needed is what the manifest says of the metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name of a declared metric.
    pub metric: String,
    /// When it was, or began.
    pub when: Moment,
    /// When it ended, ms since the epoch.
    pub end: Option<i64>,
    /// The offset from UTC at the place it was recorded, minutes.
    pub offset_minutes: Option<i16>,
    /// The provider's id of the record.
    pub id: Option<String>,
    /// The key of the series.
    pub series: Option<String>,
    /// The civil day it counts for, when that is not the day of `when`.
    pub day: Option<String>,
    /// The value, in the metric's unit.
    pub value: f64,
    /// A fine curve, replaced with the entry.
    pub samples: Vec<Sample>,
    /// The provider's own version: of two that carry one, the higher wins.
    pub revision: Option<u64>,
    /// A JSON object, at most 16 KiB.
    pub detail: Option<String>,
}

impl Entry {
    /// An entry with a value and nothing else said of it.
    #[must_use]
    pub fn new(metric: impl Into<String>, when: Moment, value: f64) -> Self {
        Self {
            metric: metric.into(),
            when,
            end: None,
            offset_minutes: None,
            id: None,
            series: None,
            day: None,
            value,
            samples: Vec::new(),
            revision: None,
            detail: None,
        }
    }
}
