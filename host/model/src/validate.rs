//! What an entry must be like before it comes near the store.
//!
//! The problem: entries come from strangers' code and decide what two records are the same one; a connector that leaves an id out would store one entry
//! for all, and a value that is not finite would poison a day's sum for good. The contract: [`check_entry`] judges one entry against the manifest,
//! [`check_window`] a whole replaced window; the answer is a sentence for the connector's author. −0 is left to the store, which writes 0.
//! Every bound stands below with its reason.

use crate::entry::Entry;
use crate::manifest::{Identity, Manifest, Metric};
use crate::moment::{Day, Moment};
use serde::de::IgnoredAny;

/// The longest id: providers' ids are UUIDs, numbers, or URLs at worst; an id is part of an index key.
pub const MAX_ID_BYTES: usize = 256;
/// The longest key of a series, an index key as well.
pub const MAX_SERIES_BYTES: usize = 256;
/// The longest label of a series: it is one cell of a table.
pub const MAX_LABEL_BYTES: usize = 512;
/// The longest detail, as the contract says.
pub const MAX_DETAIL_BYTES: usize = 16 << 10;
/// The deepest nesting of a detail: beyond it common JSON readers, SQLite's among them, give up.
pub const MAX_DETAIL_DEPTH: usize = 100;
/// The most samples of one entry: a day at one a second is 86,400.
pub const MAX_SAMPLES: usize = 100_000;
/// The latest a sample may lie after its entry's `when`: 32 days, longer than any recording, so that an absolute time taken for an offset shows.
pub const MAX_SAMPLE_OFFSET_MS: u32 = 32 * 86_400_000;
/// The furthest an offset from UTC may be: ISO 8601 and the databases of zones stay within 18 hours.
pub const MAX_OFFSET_MINUTES: i16 = 18 * 60;
/// The first plausible day, 1900-01-01: no provider is older, and seconds taken for milliseconds land after it, in January 1970.
pub const FIRST_DAY: Day = Day(-25_567);
/// The first day that is too late, 2200-01-01: microseconds taken for milliseconds land beyond it.
pub const PAST_DAY: Day = Day(84_006);

const DAY_MS: i64 = 86_400_000;

/// Judges one entry against the manifest.
///
/// # Errors
/// What is wrong with it, for the connector's author.
pub fn check_entry(manifest: &Manifest, entry: &Entry) -> Result<(), String> {
    let Some(metric) = manifest.metric(&entry.metric) else { return Err(undeclared(manifest, &entry.metric)) };
    check_metric_entry(metric, entry)
}

/// As [`check_entry`], where the metric has been looked up already.
///
/// # Errors
/// What is wrong with the entry.
pub fn check_metric_entry(metric: &Metric, entry: &Entry) -> Result<(), String> {
    check_identity(metric, entry)?;
    if !entry.value.is_finite() {
        return Err(format!("the value of {} is {}: record finite numbers only", metric.name, entry.value));
    }
    check_moment("when", &entry.when)?;
    if let Some(end) = entry.end {
        match entry.when {
            Moment::Day(_) => return Err("a civil day has no `end`: leave it out, or give an instant as `when`".to_owned()),
            Moment::Instant(when) if end < when => return Err("`end` lies before `when`".to_owned()),
            Moment::Instant(_) => check_moment("end", &Moment::Instant(end))?,
        }
    }
    if entry.offset_minutes.is_some_and(|m| !(-MAX_OFFSET_MINUTES..=MAX_OFFSET_MINUTES).contains(&m)) {
        return Err(format!("`offset-minutes` lies beyond ±{MAX_OFFSET_MINUTES}: it is in minutes, east of Greenwich positive"));
    }
    if let Some(text) = &entry.day {
        let day: Day = text.parse().map_err(|error: crate::moment::NotADay| format!("`day`: {error}"))?;
        check_moment("day", &Moment::Day(day))?;
    }
    check_samples(entry)?;
    entry.detail.as_deref().map_or(Ok(()), check_detail)
}

/// What makes entries of this metric the same one must be there, and nothing that looks as if it did.
fn check_identity(metric: &Metric, entry: &Entry) -> Result<(), String> {
    let name = &metric.name;
    match (metric.identity, &entry.id) {
        (Identity::Id, None) => return Err(format!("{name} is declared with identity = \"id\": give the entry the provider's `id`")),
        (Identity::Time | Identity::Day, Some(_)) => {
            return Err(format!("{name} is not declared with identity = \"id\": leave `id` out, or put it into `detail`"));
        }
        _ => {}
    }
    match (metric.identity, &entry.when) {
        (Identity::Day, Moment::Instant(_)) => {
            return Err(format!("{name} is declared with identity = \"day\": give a civil day as `when`, not an instant"));
        }
        (Identity::Day, Moment::Day(day)) if entry.day.as_ref().is_some_and(|text| *text != day.to_string()) => {
            return Err(format!("{name} is declared with identity = \"day\": `when` is the day it counts for, and `day` says another"));
        }
        _ => {}
    }
    check_series(metric, entry.series.as_deref())?;
    entry.id.as_deref().map_or(Ok(()), |id| check_key("id", id, MAX_ID_BYTES))
}

/// A series is there if and only if the metric declares one.
///
/// # Errors
/// It is missing, not declared, empty, too long, or holds U+0000.
pub fn check_series(metric: &Metric, series: Option<&str>) -> Result<(), String> {
    match (&metric.series, series) {
        (Some(what), None) => Err(format!("{} has a series ({what}): say which", metric.name)),
        (None, Some(_)) => Err(format!("{} declares no series: leave `series` out, or declare series = \"…\" in [[metric]]", metric.name)),
        (_, Some(key)) => check_key("series", key, MAX_SERIES_BYTES),
        (None, None) => Ok(()),
    }
}

/// Judges what people are to see for a series.
///
/// # Errors
/// The metric or its series is not declared, or the label is empty, too long or holds U+0000.
pub fn check_label(manifest: &Manifest, metric: &str, series: &str, label: &str) -> Result<(), String> {
    let Some(found) = manifest.metric(metric) else { return Err(undeclared(manifest, metric)) };
    check_series(found, Some(series))?;
    check_key("label", label, MAX_LABEL_BYTES)
}

/// Judges a retraction.
///
/// # Errors
/// The metric is not declared or has no ids, or the id is empty, too long or holds U+0000.
pub fn check_retract(manifest: &Manifest, metric: &str, id: &str) -> Result<(), String> {
    match manifest.metric(metric) {
        None => Err(undeclared(manifest, metric)),
        Some(found) if found.identity != Identity::Id => {
            Err(format!("{metric} is not declared with identity = \"id\", so nothing is retracted by id: use replace-window"))
        }
        Some(_) => check_key("id", id, MAX_ID_BYTES),
    }
}

/// Judges a window that is to be replaced: its bounds, then every entry in it. Without `series` the window covers every series of the metric.
///
/// # Errors
/// What is wrong, with the index of the entry (0 for the window itself).
pub fn check_window(
    manifest: &Manifest,
    metric: &str,
    series: Option<&str>,
    first: &Moment,
    past: &Moment,
    entries: &[Entry],
) -> Result<(), (u32, String)> {
    let window = |why: String| (0, why);
    let found = manifest.metric(metric).ok_or_else(|| window(undeclared(manifest, metric)))?;
    if series.is_some() {
        check_series(found, series).map_err(window)?;
    }
    match (first, past) {
        (Moment::Instant(first), Moment::Instant(past)) if first > past => {
            return Err(window("the window ends before it begins".to_owned()));
        }
        (Moment::Day(first), Moment::Day(past)) if first > past => return Err(window("the window ends before it begins".to_owned())),
        (Moment::Instant(_), Moment::Instant(_)) | (Moment::Day(_), Moment::Day(_)) => {}
        _ => return Err(window("the window goes from an instant to a civil day: give two of a kind".to_owned())),
    }
    if found.identity == Identity::Day && matches!(first, Moment::Instant(_)) {
        return Err(window(format!("{metric} is declared with identity = \"day\": give civil days as bounds of the window")));
    }
    for (index, entry) in entries.iter().enumerate() {
        let at = |why: String| (u32::try_from(index).unwrap_or(u32::MAX), why);
        if entry.metric != metric {
            return Err(at(format!("an entry of {} in a window of {metric}: replace one metric at a time", cut(&entry.metric))));
        }
        if series.is_some() && entry.series.as_deref() != series {
            return Err(at("an entry of another series than the window's".to_owned()));
        }
        check_metric_entry(found, entry).map_err(at)?;
        let inside = match (first, &entry.when, past) {
            (Moment::Instant(first), Moment::Instant(when), Moment::Instant(past)) => (first..past).contains(&when),
            (Moment::Day(first), Moment::Day(when), Moment::Day(past)) => (first..past).contains(&when),
            _ => return Err(at("the entry's `when` and the window's bounds are not of a kind: instants or civil days".to_owned())),
        };
        if !inside {
            return Err(at("the entry lies outside of the window: `first` is inside, `past` is not".to_owned()));
        }
    }
    Ok(())
}

/// About how many bytes an entry takes, for the bound on bytes between two checkpoints: its texts, twelve for each sample, and 64 for the rest.
#[must_use]
pub fn weight(entry: &Entry) -> u64 {
    let text = |field: &Option<String>| field.as_ref().map_or(0, String::len);
    let texts = entry.metric.len() + text(&entry.id) + text(&entry.series) + text(&entry.day) + text(&entry.detail);
    (texts + entry.samples.len() * 12 + 64) as u64
}

fn undeclared(manifest: &Manifest, metric: &str) -> String {
    let hint = crate::manifest::nearest(metric, manifest.metrics.iter().map(|m| m.name.as_str()))
        .map_or_else(|| "declare it in [[metric]]".to_owned(), |near| format!("did you mean “{near}”?"));
    format!("no metric “{}” is declared: {hint}", cut(metric))
}

fn check_key(what: &str, key: &str, most: usize) -> Result<(), String> {
    if key.is_empty() {
        return Err(format!("`{what}` is empty: leave it out, or say which"));
    }
    if key.len() > most {
        return Err(format!("`{what}` has {} bytes, and {most} is the most", key.len()));
    }
    if key.contains('\0') {
        return Err(format!("`{what}` holds U+0000, which no text here may"));
    }
    Ok(())
}

fn check_moment(what: &str, moment: &Moment) -> Result<(), String> {
    let plausible = match moment {
        Moment::Day(day) => (FIRST_DAY..PAST_DAY).contains(day),
        Moment::Instant(ms) => (i64::from(FIRST_DAY.0) * DAY_MS..i64::from(PAST_DAY.0) * DAY_MS).contains(ms),
    };
    if plausible { Ok(()) } else { Err(format!("`{what}` lies outside of 1900 to 2199: instants are in milliseconds since 1970")) }
}

fn check_samples(entry: &Entry) -> Result<(), String> {
    if entry.samples.len() > MAX_SAMPLES {
        return Err(format!("the entry has {} samples, and {MAX_SAMPLES} is the most: cut it into several entries", entry.samples.len()));
    }
    let mut before = None;
    for sample in &entry.samples {
        if !sample.value.is_finite() {
            return Err("a sample's value is not a finite number: leave it out".to_owned());
        }
        if before.is_some_and(|before| sample.offset_ms <= before) {
            return Err("samples come in ascending order of `offset-ms`, each once".to_owned());
        }
        before = Some(sample.offset_ms);
    }
    match before {
        Some(last) if last > MAX_SAMPLE_OFFSET_MS => {
            Err("a sample lies more than 32 days after `when`: `offset-ms` counts from there".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_detail(detail: &str) -> Result<(), String> {
    if detail.len() > MAX_DETAIL_BYTES {
        return Err(format!("`detail` has {} bytes, and {MAX_DETAIL_BYTES} is the most: keep what people will look at", detail.len()));
    }
    if has_nul(detail) {
        return Err("`detail` holds U+0000, which no text here may".to_owned());
    }
    if !detail.trim_start().starts_with('{') {
        return Err("`detail` is a JSON object: it begins with a brace".to_owned());
    }
    if depth(detail) > MAX_DETAIL_DEPTH {
        return Err(format!("`detail` is nested more than {MAX_DETAIL_DEPTH} deep"));
    }
    serde_json::from_str::<IgnoredAny>(detail).map(|_| ()).map_err(|error| format!("`detail` is no JSON: {error}"))
}

/// U+0000 as it is, or as the escape `\u0000` (which an even number of backslashes before would take away).
fn has_nul(json: &str) -> bool {
    json.contains('\0')
        || json.match_indices("\\u0000").any(|(at, _)| {
            let before = json.get(..at).unwrap_or_default();
            (before.len() - before.trim_end_matches('\\').len()) % 2 == 0
        })
}

/// How deep brackets nest, outside of strings. (The parser that skips values has no limit of its own.)
fn depth(json: &str) -> usize {
    let (mut deepest, mut now, mut in_string, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => now += 1,
            b'}' | b']' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(now);
    }
    deepest
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}
