//! From entries as a connector says them to rows that only have to be merged.
//!
//! Everything that costs time and needs no database happens here, on the run's own thread: judging each entry against its metric, finding
//! the civil day it counts for, encoding and hashing what lies off the hot row, sorting, and letting the last of two versions in one batch
//! win. The writer then does one pass over sorted rows.
//!
//! A batch keeps the order of what was said about one metric: records gather into one group until a window or a retraction of the same
//! metric closes it. Within a group the higher revision wins, as it would across batches; among equals the last. A window compares no
//! revisions, so there the last always wins.

use crate::MetricIds;
use crate::metrics::MetricInfo;
use sha2::{Digest, Sha256};
use sluice_model::day::{Zone, civil_day};
use sluice_model::manifest::Identity;
use sluice_model::validate::{MAX_ID_BYTES, MAX_LABEL_BYTES, check_metric_entry, check_series, weight};
use sluice_model::{Day, Entry, Moment, Sample};
use std::cmp::Ordering;
use std::collections::HashMap;

pub use sluice_model::day::UnknownZone;

/// ms of a civil day, which stands at UTC midnight inside.
pub(crate) const DAY_MS: i64 = 86_400_000;
/// What a retraction or a label counts for, bytes.
const SMALL: usize = 64;

/// A group of prepared changes to one metric; made by [`Ingest`], opaque to everyone else.
#[derive(Clone, Debug)]
pub struct Op(pub(crate) Kind);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Merge(Merge),
    Retract { metric: i64, id: String, rank: u8 },
    Label { metric: i64, series: String, label: String },
}

/// Sorted rows of one metric, and the window they fill when they are all there is.
#[derive(Clone, Debug)]
pub(crate) struct Merge {
    pub metric: i64,
    pub rank: u8,
    /// Whether `key` is the id.
    pub by_id: bool,
    /// Whether days need counters: where the identity is the day, the entry itself is the day.
    pub days: bool,
    /// The series that rows name by index.
    pub series: Vec<String>,
    pub rows: Vec<Row>,
    pub window: Option<Window>,
}

/// What a replaced window covers: rows of one form (instants or civil days) with `first <= start < past`, of one series or of all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub civil: bool,
    pub first: i64,
    pub past: i64,
    pub series: Option<u32>,
}

/// An entry as it will lie in the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub start: i64,
    /// Empty where the key is the series.
    pub id: String,
    pub series: u32,
    pub end: Option<i64>,
    pub offset: Option<i16>,
    pub civil: bool,
    pub day: i32,
    /// The day came from the user's zone: a stored row keeps the one it has.
    pub day_by_zone: bool,
    pub value: f64,
    pub revision: i64,
    pub digest: i64,
    pub more: Option<Box<More>>,
}

/// What lies off the hot row.
#[derive(Clone, Debug)]
pub(crate) struct More {
    pub detail: Option<String>,
    pub samples: Option<Vec<u8>>,
}

impl Merge {
    pub(crate) fn key<'a>(&'a self, row: &'a Row) -> &'a str {
        if self.by_id { &row.id } else { self.series_of(row) }
    }

    pub(crate) fn series_of(&self, row: &Row) -> &str {
        self.series.get(row.series as usize).map_or("", String::as_str)
    }

    /// Sorts by key and leaves one version of each entry.
    fn settle(&mut self) {
        let keep_revisions = self.window.is_none();
        let wins = |later: &Row, earlier: &Row| !keep_revisions || later.revision >= earlier.revision;
        let mut rows = std::mem::take(&mut self.rows);
        if self.by_id {
            rows.sort_by(|a, b| a.id.cmp(&b.id));
            rows.dedup_by(|later, kept| settle_pair(later, kept, |a, b| a.id == b.id, wins));
            rows.sort_by(|a, b| a.start.cmp(&b.start).then_with(|| a.id.cmp(&b.id)));
        } else {
            let series = &self.series;
            let name = |row: &Row| series.get(row.series as usize);
            rows.sort_by(|a, b| {
                a.start.cmp(&b.start).then_with(|| if a.series == b.series { Ordering::Equal } else { name(a).cmp(&name(b)) })
            });
            rows.dedup_by(|later, kept| settle_pair(later, kept, |a, b| a.start == b.start && a.series == b.series, wins));
        }
        self.rows = rows;
    }
}

/// For `dedup_by`: of two versions of the same entry, leaves the winner in `kept`.
fn settle_pair(later: &mut Row, kept: &mut Row, same: impl Fn(&Row, &Row) -> bool, wins: impl Fn(&Row, &Row) -> bool) -> bool {
    if !same(later, kept) {
        return false;
    }
    if wins(later, kept) {
        std::mem::swap(later, kept);
    }
    true
}

/// Collects what a run records until the next checkpoint.
pub struct Ingest {
    metrics: MetricIds,
    zone: Zone,
    rank: u8,
    ops: Vec<Op>,
    /// By metric: the group that records still join, and its series by name.
    open: HashMap<i64, (usize, HashMap<String, u32>)>,
    len: usize,
    bytes: usize,
}

impl Ingest {
    /// For metrics of one connector, a user's zone, and a rank: 2 fetched, 1 imported, 0 pushed without a signature.
    ///
    /// # Errors
    /// The zone is unknown.
    pub fn new(metrics: &MetricIds, time_zone: &str, rank: u8) -> Result<Self, UnknownZone> {
        let zone = Zone::find(time_zone)?;
        Ok(Self { metrics: metrics.clone(), zone, rank, ops: Vec::new(), open: HashMap::new(), len: 0, bytes: 0 })
    }

    /// Takes one entry.
    ///
    /// # Errors
    /// Why it was refused, for the connector's author.
    pub fn record(&mut self, entry: &Entry) -> Result<(), String> {
        self.record_all(std::slice::from_ref(entry)).map_err(|(_, why)| why)
    }

    /// Takes entries, all of them or none.
    ///
    /// # Errors
    /// The index of the first that was refused, and why, for the connector's author.
    pub fn record_all(&mut self, entries: &[Entry]) -> Result<(), (u32, String)> {
        // Stretches of one metric, mostly one for all. Nothing is taken before everything is judged.
        let mut stretches: Vec<(MetricInfo, Vec<Row>)> = Vec::new();
        for (index, entry) in (0_u32..).zip(entries) {
            let goes_on = stretches.last().is_some_and(|(info, _)| info.metric.name == entry.metric);
            if !goes_on {
                let info = self.find(&entry.metric).map_err(|why| (index, why))?;
                stretches.push((info, Vec::with_capacity(entries.len() - index as usize)));
            }
            if let Some((info, rows)) = stretches.last_mut() {
                rows.push(self.row(info, entry).map_err(|why| (index, why))?);
            }
        }
        let mut entries = entries.iter();
        for (info, mut rows) in stretches {
            let next = self.ops.len();
            let (at, known) = self.open.entry(info.id).or_insert_with(|| (next, HashMap::new()));
            if *at == next {
                self.ops.push(Op(Kind::Merge(merge(&info, self.rank, None))));
            }
            let Some(Op(Kind::Merge(group))) = self.ops.get_mut(*at) else { continue };
            for (row, entry) in rows.iter_mut().zip(entries.by_ref()) {
                row.series = number(&mut group.series, known, entry.series.as_deref().unwrap_or(""));
                self.len += 1;
                self.bytes = self.bytes.saturating_add(usize::try_from(weight(entry)).unwrap_or(usize::MAX));
            }
            if group.rows.is_empty() {
                group.rows = rows;
            } else {
                group.rows.append(&mut rows);
            }
        }
        Ok(())
    }

    /// Takes "this is all there is from `first` up to, not including, `past`". Without a series it covers every series of the metric. The
    /// bounds and all entries are of one form: instants, or civil days.
    ///
    /// # Errors
    /// The index of the first entry that was refused (0 for the window itself) and why; nothing is taken then.
    pub fn replace_window(
        &mut self,
        metric: &str,
        series: Option<&str>,
        first: Moment,
        past: Moment,
        entries: &[Entry],
    ) -> Result<(), (u32, String)> {
        let whole = |why: String| (0, why);
        let info = self.find(metric).map_err(whole)?;
        let (civil, first, past) = bounds(first, past).map_err(whole)?;
        if !civil && info.metric.identity == Identity::Day {
            return Err(whole(format!("{metric} is by civil day: give civil days as bounds of the window")));
        }
        if series.is_some() {
            check_series(&info.metric, series).map_err(whole)?;
        }
        let mut known = HashMap::new();
        let mut group = merge(&info, self.rank, None);
        let of = series.map(|name| number(&mut group.series, &mut known, name));
        group.window = Some(Window { civil, first, past, series: of });
        for (index, entry) in entries.iter().enumerate() {
            let at = |why: String| (u32::try_from(index).unwrap_or(u32::MAX), why);
            if entry.metric != metric {
                return Err(at(format!("an entry of another metric in a window of {metric}")));
            }
            let mut row = self.row(&info, entry).map_err(at)?;
            row.series = number(&mut group.series, &mut known, entry.series.as_deref().unwrap_or(""));
            if of.is_some_and(|of| of != row.series) {
                return Err(at("an entry of another series than the window's".to_owned()));
            }
            if row.civil != civil || row.start < first || row.start >= past {
                return Err(at("the entry lies outside of the window: `first` is inside, `past` is not".to_owned()));
            }
            group.rows.push(row);
        }
        self.open.remove(&info.id);
        self.ops.push(Op(Kind::Merge(group)));
        self.bytes += SMALL;
        for entry in entries {
            self.grow(entry);
        }
        Ok(())
    }

    /// Takes "the record of this id is gone".
    ///
    /// # Errors
    /// Why it was refused.
    pub fn retract(&mut self, metric: &str, id: &str) -> Result<(), String> {
        let info = self.find(metric)?;
        if info.metric.identity != Identity::Id {
            return Err(format!("{metric} has no ids: replace a window instead"));
        }
        if id.is_empty() || id.len() > MAX_ID_BYTES || id.contains('\0') {
            return Err(format!("an id has 1 to {MAX_ID_BYTES} bytes, none of them zero"));
        }
        self.open.remove(&info.id);
        self.ops.push(Op(Kind::Retract { metric: info.id, id: id.to_owned(), rank: self.rank }));
        self.len += 1;
        self.bytes += SMALL + id.len();
        Ok(())
    }

    /// Takes what people see for a series.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn label(&mut self, metric: &str, series: &str, label: &str) -> Result<(), String> {
        let info = self.find(metric)?;
        check_series(&info.metric, Some(series))?;
        if label.is_empty() || label.len() > MAX_LABEL_BYTES || label.contains('\0') {
            return Err(format!("a label has 1 to {MAX_LABEL_BYTES} bytes, none of them zero"));
        }
        self.ops.push(Op(Kind::Label { metric: info.id, series: series.to_owned(), label: label.to_owned() }));
        self.bytes += SMALL + series.len() + label.len();
        Ok(())
    }

    /// Entries and retractions since the last [`Ingest::take`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes since the last [`Ingest::take`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Everything since the last time, sorted and deduplicated.
    pub fn take(&mut self) -> Vec<Op> {
        self.open.clear();
        self.len = 0;
        self.bytes = 0;
        let mut ops = std::mem::take(&mut self.ops);
        for op in &mut ops {
            if let Kind::Merge(group) = &mut op.0 {
                group.settle();
            }
        }
        ops
    }

    fn find(&self, metric: &str) -> Result<MetricInfo, String> {
        self.metrics.by_name.get(metric).cloned().ok_or_else(|| format!("no metric “{metric}” is declared"))
    }

    fn grow(&mut self, entry: &Entry) {
        self.len += 1;
        self.bytes = self.bytes.saturating_add(usize::try_from(weight(entry)).unwrap_or(usize::MAX));
    }

    fn row(&self, info: &MetricInfo, entry: &Entry) -> Result<Row, String> {
        check_metric_entry(&info.metric, entry)?;
        let Day(day) = civil_day(&entry.when, entry.offset_minutes, entry.day.as_deref(), &self.zone)?;
        let (civil, start) = form(entry.when);
        let revision = i64::try_from(entry.revision.unwrap_or(0)).map_err(|_| "`revision` is beyond 2^63 − 1".to_owned())?;
        let samples = (!entry.samples.is_empty()).then(|| encode(&entry.samples));
        let digest = digest(entry.detail.as_deref(), samples.as_deref());
        let more = (digest != 0).then(|| Box::new(More { detail: entry.detail.clone(), samples }));
        Ok(Row {
            start,
            id: entry.id.clone().unwrap_or_default(),
            series: 0,
            end: entry.end,
            offset: entry.offset_minutes,
            civil,
            day,
            day_by_zone: !civil && entry.day.is_none() && entry.offset_minutes.is_none(),
            // −0 becomes 0.
            value: entry.value + 0.0,
            revision,
            digest,
            more,
        })
    }
}

fn merge(info: &MetricInfo, rank: u8, window: Option<Window>) -> Merge {
    Merge {
        metric: info.id,
        rank,
        by_id: info.metric.identity == Identity::Id,
        days: info.metric.identity != Identity::Day,
        series: Vec::new(),
        rows: Vec::new(),
        window,
    }
}

fn number(series: &mut Vec<String>, known: &mut HashMap<String, u32>, name: &str) -> u32 {
    // Without a dimension, the usual case, there is one name.
    if series.first().is_some_and(|first| first == name) {
        return 0;
    }
    if let Some(at) = known.get(name) {
        return *at;
    }
    let at = u32::try_from(series.len()).unwrap_or(u32::MAX);
    series.push(name.to_owned());
    known.insert(name.to_owned(), at);
    at
}

/// Whether it is a civil day, and where it stands among starts.
pub(crate) fn form(moment: Moment) -> (bool, i64) {
    match moment {
        Moment::Instant(ms) => (false, ms),
        Moment::Day(Day(day)) => (true, i64::from(day) * DAY_MS),
    }
}

fn bounds(first: Moment, past: Moment) -> Result<(bool, i64, i64), String> {
    let ((civil, first), (also, past)) = (form(first), form(past));
    if civil != also {
        return Err("the window goes from an instant to a civil day: give two of a kind".to_owned());
    }
    if first > past {
        return Err("the window ends before it begins".to_owned());
    }
    Ok((civil, first, past))
}

/// Twelve bytes a sample: the offset and the value, little-endian.
fn encode(samples: &[Sample]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(samples.len() * 12);
    for sample in samples {
        bytes.extend_from_slice(&sample.offset_ms.to_le_bytes());
        bytes.extend_from_slice(&(sample.value + 0.0).to_le_bytes());
    }
    bytes
}

/// The other way round; what is left over of a damaged blob is passed over.
pub(crate) fn decode(bytes: &[u8]) -> Vec<Sample> {
    let (whole, _) = bytes.as_chunks::<12>();
    whole
        .iter()
        .map(|&[a, b, c, d, value @ ..]| Sample { offset_ms: u32::from_le_bytes([a, b, c, d]), value: f64::from_le_bytes(value) })
        .collect()
}

/// Tells whether what lies off the hot row changed: 0 when there is nothing, else 64 bits of SHA-256.
fn digest(detail: Option<&str>, samples: Option<&[u8]>) -> i64 {
    if detail.is_none() && samples.is_none() {
        return 0;
    }
    let mut hash = Sha256::new();
    for part in [detail.map(str::as_bytes), samples] {
        hash.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
        hash.update(part.unwrap_or_default());
    }
    let whole = hash.finalize();
    let first = whole.first_chunk::<8>().copied().unwrap_or_default();
    i64::from_le_bytes(first).max(i64::MIN + 1) | i64::from(first == [0; 8])
}
