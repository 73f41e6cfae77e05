//! What still fits between two checkpoints.

use super::*;
use sluice_model::manifest::{Identity, Metric, MetricKind};
use std::sync::Arc;

async fn ingest() -> Ingest {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Arc::new(|| 1_000), Arc::new(sluice_vault::OsRandom)).unwrap();
    let metric =
        Metric { name: "notes".into(), alias: None, unit: "1".into(), kind: MetricKind::Sum, identity: Identity::Id, series: None };
    let ids = store.ensure_metrics("sample", &[metric]).await.unwrap();
    Ingest::new(&ids, "UTC", FETCHED).unwrap()
}

/// As a fetched entry counts.
const FETCHED: u8 = 2;

fn notes(from: u64, many: u64, detail: usize) -> Vec<Entry> {
    let note = |n: u64| Entry {
        id: Some(format!("{n:08}")),
        detail: Some(format!("{{\"t\":\"{}\"}}", "x".repeat(detail))),
        ..Entry::new("notes", Moment::Instant(1_000), 1.0)
    };
    (from..from + many).map(note).collect()
}

/// What `record` does.
fn take(ingest: &mut Ingest, limits: &Limits, entries: &[Entry]) -> Result<(), RecordError> {
    room(ingest, limits, entries.len(), weigh(entries))?;
    ingest.record_all(entries).map_err(|why| RecordError::Rejected(vec![why]))
}

#[tokio::test]
async fn a_call_that_would_pass_the_bound_on_bytes_is_refused_whole() {
    let mut ingest = ingest().await;
    let limits = Limits { entry_bytes: 100_000, ..Limits::default() };
    let refused =
        |outcome: Result<(), RecordError>| matches!(outcome, Err(RecordError::Other(why)) if why.starts_with("over 100000 bytes"));
    // One call alone, from nothing.
    assert!(refused(take(&mut ingest, &limits, &notes(0, 20, 10_000))));
    assert_eq!((ingest.len(), ingest.bytes()), (0, 0), "nothing of it is kept");
    take(&mut ingest, &limits, &notes(0, 9, 10_000)).unwrap();
    let before = (ingest.len(), ingest.bytes());
    assert!(before.1 > 90_000 && before.1 < 100_000, "{before:?}");
    // What is over by its last entry only.
    assert!(refused(take(&mut ingest, &limits, &notes(100, 2, 9_000))));
    assert_eq!((ingest.len(), ingest.bytes()), before);
    // What fits goes on fitting, to the last byte and no further.
    let rest = 100_000 - before.1 as u64;
    let filler = rest - weigh(&notes(200, 1, 0));
    take(&mut ingest, &limits, &notes(200, 1, usize::try_from(filler).unwrap())).unwrap();
    assert_eq!(ingest.bytes(), 100_000);
    assert!(refused(take(&mut ingest, &limits, &notes(300, 1, 0))));
    // A checkpoint makes room.
    assert_eq!(ingest.take().len(), 1);
    take(&mut ingest, &limits, &notes(300, 1, 0)).unwrap();
}

#[tokio::test]
async fn the_bound_on_entries_is_on_what_would_be_there_after_the_call() {
    let mut ingest = ingest().await;
    let limits = Limits { entries: 10, ..Limits::default() };
    take(&mut ingest, &limits, &notes(0, 10, 1)).unwrap();
    assert!(matches!(take(&mut ingest, &limits, &notes(10, 1, 1)), Err(RecordError::TooMany(10))));
    assert_eq!(ingest.len(), 10);
    let hostile = room(&ingest, &Limits { entries: u64::MAX, entry_bytes: u64::MAX, ..limits }, usize::MAX, u64::MAX);
    assert!(hostile.is_ok(), "sums that overflow are no bound passed by accident: {hostile:?}");
}
