//! The merge against a naive model: the same random operations, then the same rows, counts, days and series.

use crate::fixture::*;
use proptest::prelude::*;
use sluice_model::{Entry, Moment};
use sluice_store::*;
use std::collections::BTreeMap;

/// What a batch says, in the small: few keys and few times, so that everything collides.
#[derive(Clone, Debug)]
enum Said {
    Record(Version),
    Window { metric: usize, series: Option<u8>, first: i64, past: i64, versions: Vec<Version> },
    Retract(u8),
}

#[derive(Clone, Copy, Debug)]
struct Version {
    metric: usize,
    start: i64,
    key: u8,
    value: i8,
    revision: u8,
    far: bool,
}

const NAMES: [&str; 3] = ["steps", "plays", "pages"];

impl Version {
    fn start(&self) -> i64 {
        // Some lie far off, so that the scan gives way to point reads.
        if self.far { self.start * 400 * HOUR } else { self.start * 7 * HOUR }
    }

    fn id(&self) -> Option<String> {
        (self.metric == 1).then(|| format!("id{}", self.key))
    }

    fn series(&self) -> Option<String> {
        match self.metric {
            0 => None,
            1 => Some(format!("s{}", self.value.rem_euclid(2))),
            _ => Some(format!("s{}", self.key % 3)),
        }
    }

    fn entry(&self) -> Entry {
        Entry {
            id: self.id(),
            series: self.series(),
            revision: (self.revision > 0).then(|| u64::from(self.revision)),
            detail: (self.value % 3 == 0).then(|| format!("{{\"v\":{}}}", self.value)),
            ..Entry::new(NAMES[self.metric], Moment::Instant(MIDNIGHT + self.start()), f64::from(self.value))
        }
    }

    fn key(&self) -> Key {
        match self.metric {
            1 => (1, 0, self.id().unwrap()),
            metric => (metric, self.start(), self.series().unwrap_or_default()),
        }
    }
}

/// (metric, start where it identifies, id or series)
type Key = (usize, i64, String);

#[derive(Clone, Debug, PartialEq)]
struct Held {
    start: i64,
    series: String,
    value: i8,
    triple: (u8, u64, i64),
    gone: bool,
}

#[derive(Default)]
struct Naive {
    rows: BTreeMap<Key, Held>,
}

impl Naive {
    fn write(&mut self, version: &Version, rank: u8, as_of: i64, by_revision: bool, counts: &mut Counts) {
        let new = Held {
            start: version.start(),
            series: version.series().unwrap_or_default(),
            value: version.value,
            triple: (rank, u64::from(version.revision), as_of),
            gone: false,
        };
        let Some(was) = self.rows.get_mut(&version.key()) else {
            counts.inserted += 1;
            self.rows.insert(version.key(), new);
            return;
        };
        let wins = if by_revision && !was.gone { new.triple >= was.triple } else { (rank, as_of) >= (was.triple.0, was.triple.2) };
        if !wins {
            counts.older += 1;
        } else if was.gone {
            counts.inserted += 1;
            *was = new;
        } else if (was.start, &was.series, was.value) != (new.start, &new.series, new.value) {
            counts.updated += 1;
            *was = new;
        } else {
            counts.unchanged += 1;
            if (was.triple.0, was.triple.1) != (new.triple.0, new.triple.1) {
                was.triple = new.triple;
            }
        }
    }

    fn bury(held: &mut Held, rank: u8, as_of: i64, counts: &mut Counts) {
        if (rank, as_of) >= (held.triple.0, held.triple.2) {
            counts.deleted += 1;
            held.gone = true;
            held.triple = (rank, 0, as_of);
        } else {
            counts.older += 1;
        }
    }

    fn apply(&mut self, said: &[Said], rank: u8, as_of: i64) -> Counts {
        let mut counts = Counts::default();
        let mut at = 0;
        while at < said.len() {
            match &said[at] {
                Said::Record(_) => {
                    // Records of one metric gather until something else of that metric comes; between metrics nothing depends on order.
                    let mut group: Vec<Version> = Vec::new();
                    let metric = match &said[at] {
                        Said::Record(version) => version.metric,
                        _ => unreachable!(),
                    };
                    let mut taken = Vec::new();
                    for (index, other) in said.iter().enumerate().skip(at) {
                        match other {
                            Said::Record(version) if version.metric == metric => {
                                taken.push(index);
                                match group.iter_mut().find(|known| known.key() == version.key()) {
                                    Some(known) if version.revision >= known.revision => *known = *version,
                                    Some(_) => {}
                                    None => group.push(*version),
                                }
                            }
                            Said::Window { metric: other, .. } if *other == metric => break,
                            Said::Retract(_) if metric == 1 => break,
                            _ => {}
                        }
                    }
                    for version in &group {
                        self.write(version, rank, as_of, true, &mut counts);
                    }
                    // Those that were gathered are done; put the rest back in order.
                    let rest: Vec<Said> = said
                        .iter()
                        .enumerate()
                        .skip(at)
                        .filter(|(index, _)| !taken.contains(index))
                        .map(|(_, said)| said.clone())
                        .collect();
                    let more = self.apply(&rest, rank, as_of);
                    counts.inserted += more.inserted;
                    counts.updated += more.updated;
                    counts.unchanged += more.unchanged;
                    counts.deleted += more.deleted;
                    counts.older += more.older;
                    return counts;
                }
                Said::Window { metric, series, first, past, versions } => {
                    let of = series.map(|series| format!("s{series}"));
                    let mut group: Vec<Version> = Vec::new();
                    for version in versions {
                        match group.iter_mut().find(|known| known.key() == version.key()) {
                            Some(known) => *known = *version,
                            None => group.push(*version),
                        }
                    }
                    for (key, held) in &mut self.rows {
                        let inside = key.0 == *metric
                            && (*first..*past).contains(&held.start)
                            && of.as_ref().is_none_or(|of| *of == held.series)
                            && !held.gone;
                        if inside && !group.iter().any(|version| version.key() == *key) {
                            Self::bury(held, rank, as_of, &mut counts);
                        }
                    }
                    for version in &group {
                        self.write(version, rank, as_of, false, &mut counts);
                    }
                }
                Said::Retract(id) => {
                    let key = (1, 0, format!("id{id}"));
                    match self.rows.get_mut(&key) {
                        Some(held) if held.gone => {
                            if (rank, as_of) >= (held.triple.0, held.triple.2) {
                                counts.unchanged += 1;
                                held.triple = (rank, held.triple.1, as_of);
                            } else {
                                counts.older += 1;
                            }
                        }
                        Some(held) => Self::bury(held, rank, as_of, &mut counts),
                        None => {
                            counts.unchanged += 1;
                            let triple = (rank, 0, as_of);
                            self.rows.insert(key, Held { start: -MIDNIGHT, series: String::new(), value: 0, triple, gone: true });
                        }
                    }
                }
            }
            at += 1;
        }
        counts
    }
}

fn version() -> impl Strategy<Value = Version> {
    (0..3_usize, 0..12_i64, 0..6_u8, -4..5_i8, 0..4_u8, prop::bool::weighted(0.2))
        .prop_map(|(metric, start, key, value, revision, far)| Version { metric, start, key, value, revision, far })
}

fn said() -> impl Strategy<Value = Said> {
    let window = (0..3_usize, prop::option::of(0..3_u8), 0..12_i64, 0..12_i64, prop::collection::vec(version(), 0..8)).prop_map(
        |(metric, series, a, b, versions)| {
            let (first, past) = (a.min(b) * 7 * HOUR, a.max(b) * 7 * HOUR);
            let series = if metric == 0 { None } else { series };
            let of = series.map(|series| format!("s{series}"));
            let versions = versions
                .into_iter()
                .map(|version| Version { metric, far: false, ..version })
                .filter(|version| {
                    (first..past).contains(&version.start()) && of.as_ref().is_none_or(|of| version.series().as_ref() == Some(of))
                })
                .collect();
            Said::Window { metric, series, first, past, versions }
        },
    );
    prop_oneof![6 => version().prop_map(Said::Record), 1 => window, 1 => (0..6_u8).prop_map(Said::Retract)]
}

fn batches() -> impl Strategy<Value = Vec<(Vec<Said>, u8, i64)>> {
    prop::collection::vec((prop::collection::vec(said(), 0..14), 1..3_u8, 0..6_i64), 1..14)
}

/// Days are folded while nothing else is to do, which a busy machine may put off.
async fn until_folded(f: &Fixture) {
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let stale: i64 = f.side().query_row("SELECT count(*) FROM day WHERE stale = 1", [], |row| row.get(0)).unwrap();
        if stale == 0 {
            return;
        }
        assert!(std::time::Instant::now() < patience, "{stale} days were never folded");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn check(batches: Vec<(Vec<Said>, u8, i64)>) {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let mut naive = Naive::default();
    for (number, (said, rank, as_of)) in batches.iter().enumerate() {
        let mut ingest = Ingest::new(&f.metrics, "UTC", *rank).unwrap();
        for said in said {
            match said {
                Said::Record(version) => ingest.record(&version.entry()).unwrap(),
                Said::Retract(id) => ingest.retract("plays", &format!("id{id}")).unwrap(),
                Said::Window { metric, series, first, past, versions } => {
                    let entries: Vec<Entry> = versions.iter().map(Version::entry).collect();
                    let (first, past) = (Moment::Instant(MIDNIGHT + first), Moment::Instant(MIDNIGHT + past));
                    let series = series.map(|series| format!("s{series}"));
                    ingest.replace_window(NAMES[*metric], series.as_deref(), first, past, &entries).unwrap();
                }
            }
        }
        let done = f.store.commit(batch(fence, *as_of, ingest.take())).await.unwrap();
        assert_eq!(done.counts, naive.apply(said, *rank, *as_of), "batch {number}");
    }
    // Rows.
    let mut live: Vec<(String, String, String, i64, f64, Option<String>)> = f
        .live(fence.connection)
        .await
        .into_iter()
        .map(|row| {
            (row.metric, row.id.unwrap_or_default(), row.series.unwrap_or_default(), row.start.unwrap() - MIDNIGHT, row.value, row.detail)
        })
        .collect();
    let mut expected: Vec<_> = naive
        .rows
        .iter()
        .filter(|(_, held)| !held.gone)
        .map(|(key, held)| {
            let id = if key.0 == 1 { key.2.clone() } else { String::new() };
            let detail = (held.value % 3 == 0).then(|| format!("{{\"v\":{}}}", held.value));
            (NAMES[key.0].to_owned(), id, held.series.clone(), held.start, f64::from(held.value), detail)
        })
        .collect();
    let order = |a: &(String, String, String, i64, f64, Option<String>), b: &(String, String, String, i64, f64, Option<String>)| {
        (&a.0, a.3, &a.1, &a.2).cmp(&(&b.0, b.3, &b.1, &b.2))
    };
    live.sort_by(order);
    expected.sort_by(order);
    assert_eq!(live, expected);
    // Days, while they are stale and once they are folded.
    let mut days: BTreeMap<(String, String, i32), (u64, f64)> = BTreeMap::new();
    for (key, held) in naive.rows.iter().filter(|(_, held)| !held.gone) {
        let day = i32::try_from((MIDNIGHT + held.start).div_euclid(DAY)).unwrap();
        let entry = days.entry((NAMES[key.0].to_owned(), held.series.clone(), day)).or_default();
        entry.0 += 1;
        entry.1 += f64::from(held.value);
    }
    for folded in [false, true] {
        if folded {
            until_folded(&f).await;
        }
        let read = f.store.daily(DailyQuery { connection: Some(fence.connection), ..DailyQuery::default() }).await.unwrap();
        let read: BTreeMap<_, _> =
            read.into_iter().map(|day| ((day.metric, day.series.unwrap_or_default(), day.day.0), (day.n, day.sum))).collect();
        assert_eq!(read, days);
    }
    // Series.
    for summary in f.store.summaries(fence.connection).await.unwrap() {
        let held: Vec<_> = naive.rows.iter().filter(|(key, held)| NAMES[key.0] == summary.metric && !held.gone).collect();
        assert_eq!(summary.count, held.len() as u64);
        let moment = |start: Option<i64>| start.map(|start| Moment::Instant(MIDNIGHT + start));
        assert_eq!(summary.first, moment(held.iter().map(|(_, held)| held.start).min()));
        assert_eq!(summary.last, moment(held.iter().map(|(_, held)| held.start).max()));
    }
    // What lies off the rows belongs to live ones.
    let orphans: i64 = f
        .side()
        .query_row(
            "SELECT count(*) FROM entry_more x LEFT JOIN entry e USING (connection, metric, start, key) WHERE e.gone IS NOT 0 OR e.digest = 0",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(orphans, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_merge_does_what_a_naive_one_does(batches in batches()) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(check(batches));
    }
}
