//! From entries as a connector says them to rows that only have to be merged.

use crate::MetricIds;
use sluice_model::{Entry, Moment};

/// A group of prepared changes to one metric; made by [`Ingest`], opaque to everyone else.
#[derive(Clone, Debug)]
pub struct Op {}

/// A time zone that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no time zone: name one as IANA does, like Europe/Berlin")]
pub struct UnknownZone(pub String);

/// Collects what a run records until the next checkpoint.
pub struct Ingest {}

impl Ingest {
    /// For metrics of one connector, a user's zone, and a rank: 2 fetched, 1 imported, 0 pushed without a signature.
    ///
    /// # Errors
    /// The zone is unknown.
    pub fn new(_metrics: &MetricIds, time_zone: &str, _rank: u8) -> Result<Self, UnknownZone> {
        Err(UnknownZone(time_zone.to_owned()))
    }

    /// Takes one entry.
    ///
    /// # Errors
    /// Why it was refused, for the connector's author.
    pub fn record(&mut self, _entry: &Entry) -> Result<(), String> {
        Err(String::new())
    }

    /// Takes "this is all there is from `first` up to, not including, `past`".
    ///
    /// # Errors
    /// The index of the first entry that was refused and why; nothing is taken then.
    pub fn replace_window(
        &mut self,
        _metric: &str,
        _series: Option<&str>,
        _first: Moment,
        _past: Moment,
        _entries: &[Entry],
    ) -> Result<(), (u32, String)> {
        Err((0, String::new()))
    }

    /// Takes "the record of this id is gone".
    ///
    /// # Errors
    /// Why it was refused.
    pub fn retract(&mut self, _metric: &str, _id: &str) -> Result<(), String> {
        Err(String::new())
    }

    /// Takes what people see for a series.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn label(&mut self, _metric: &str, _series: &str, _label: &str) -> Result<(), String> {
        Err(String::new())
    }

    /// Entries since the last [`Ingest::take`].
    #[must_use]
    pub fn len(&self) -> usize {
        0
    }

    /// Bytes since the last [`Ingest::take`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        0
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Everything since the last time, sorted and deduplicated.
    pub fn take(&mut self) -> Vec<Op> {
        Vec::new()
    }
}
