//! The smallest store that can tell whether a connector is right: entries by identity, windows, labels.
//!
//! Not the host's store: one writer, so there is no order of versions to keep. What it shares with it is what a connector can see the
//! effect of: an entry recorded again changes nothing, a window replaced deletes what it does not hold.

use crate::types::{Entry, Moment};
use sluice_model::manifest::Identity;
use std::collections::BTreeMap;

/// What makes two entries of a metric the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Id(String),
    Time(Option<String>, Moment),
}

/// What a commit changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries that were not there.
    pub inserted: u64,
    /// Entries that were there with another content.
    pub updated: u64,
    /// Entries that were there just so.
    pub unchanged: u64,
    /// Entries that were there and are no more.
    pub deleted: u64,
}

/// What a connection has.
#[derive(Clone, Debug, Default)]
pub struct Store {
    entries: BTreeMap<(String, Key), Entry>,
    labels: BTreeMap<(String, String), String>,
}

/// One thing to do at the next commit.
pub(super) enum Op {
    Put(Identity, Entry),
    Replace { metric: String, identity: Identity, series: Option<String>, first: Moment, past: Moment, entries: Vec<Entry> },
    Retract { metric: String, id: String },
    Label { metric: String, series: String, label: String },
}

impl Store {
    /// Every entry of a metric, by key.
    pub fn of(&self, metric: &str) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |((m, _), _)| m == metric).map(|(_, entry)| entry)
    }

    /// How many entries a metric has.
    #[must_use]
    pub fn count(&self, metric: &str) -> usize {
        self.of(metric).count()
    }

    /// The sum of a metric's values.
    #[must_use]
    pub fn sum(&self, metric: &str) -> f64 {
        self.of(metric).map(|entry| entry.value).sum()
    }

    /// The value of the last entry of a metric, by key.
    #[must_use]
    pub fn last(&self, metric: &str) -> Option<f64> {
        self.of(metric).last().map(|entry| entry.value)
    }

    /// What people see for a series.
    #[must_use]
    pub fn label(&self, metric: &str, series: &str) -> Option<&str> {
        self.labels.get(&(metric.to_owned(), series.to_owned())).map(String::as_str)
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.labels.is_empty()
    }

    /// Everything, one line an entry, to compare two stores by.
    #[must_use]
    pub fn dump(&self) -> Vec<String> {
        let entries = self
            .entries
            .values()
            .map(|e| format!("{} {:?} {:?} {:?} {:?} {} {:?} {:?}", e.metric, e.when, e.id, e.series, e.day, e.value, e.end, e.detail));
        entries.chain(self.labels.iter().map(|((m, s), l)| format!("label {m} {s} {l}"))).collect()
    }

    pub(super) fn apply(&mut self, ops: Vec<Op>) -> Counts {
        let mut counts = Counts::default();
        for op in ops {
            match op {
                Op::Put(identity, entry) => self.put(identity, entry, &mut counts),
                Op::Replace { metric, identity, series, first, past, entries } => {
                    let kept: Vec<Key> = entries.iter().map(|entry| key(identity, entry)).collect();
                    let gone = |(m, k): &(String, Key), e: &Entry| {
                        *m == metric && (series.is_none() || e.series == series) && e.when >= first && e.when < past && !kept.contains(k)
                    };
                    let before = self.entries.len();
                    self.entries.retain(|at, entry| !gone(at, entry));
                    counts.deleted += (before - self.entries.len()) as u64;
                    for entry in entries {
                        self.put(identity, entry, &mut counts);
                    }
                }
                Op::Retract { metric, id } => {
                    counts.deleted += u64::from(self.entries.remove(&(metric, Key::Id(id))).is_some());
                }
                Op::Label { metric, series, label } => {
                    self.labels.insert((metric, series), label);
                }
            }
        }
        counts
    }

    fn put(&mut self, identity: Identity, entry: Entry, counts: &mut Counts) {
        let at = (entry.metric.clone(), key(identity, &entry));
        match self.entries.insert(at, entry.clone()) {
            None => counts.inserted += 1,
            Some(before) if before == entry => counts.unchanged += 1,
            Some(_) => counts.updated += 1,
        }
    }
}

fn key(identity: Identity, entry: &Entry) -> Key {
    match identity {
        Identity::Id => Key::Id(entry.id.clone().unwrap_or_default()),
        Identity::Time | Identity::Day => Key::Time(entry.series.clone(), entry.when),
    }
}
