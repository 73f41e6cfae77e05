//! Days and series are right whenever they are read.

use crate::fixture::*;
use sluice_model::{Day as Civil, Entry, Moment};
use sluice_store::*;

fn page(series: &str, at: i64, value: f64) -> Entry {
    Entry { series: Some(series.into()), ..Entry::new("pages", Moment::Instant(at), value) }
}

#[tokio::test]
async fn a_day_is_right_when_it_is_counted_while_it_is_stale_and_after_it_is_folded() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let noon = MIDNIGHT + 12 * HOUR;
    f.record(fence, 10, &[page("x", noon, 1.0), page("x", noon + 1, 4.0), page("y", noon, 9.0), page("x", noon + DAY, 2.0)]).await;
    let db = f.side();
    type Day = (String, String, f64, i64, f64, f64, f64, f64);
    let view = || -> Vec<Day> {
        db.prepare("SELECT series, day, value, n, sum, min, max, last FROM v_daily WHERE metric = 'pages' ORDER BY day, series")
            .unwrap()
            .query_map([], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?))
            })
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    let expected = [
        ("x".to_owned(), "2026-11-21".to_owned(), 2.5, 2, 5.0, 1.0, 4.0, 4.0),
        ("y".to_owned(), "2026-11-21".to_owned(), 9.0, 1, 9.0, 9.0, 9.0, 9.0),
        ("x".to_owned(), "2026-11-22".to_owned(), 2.0, 1, 2.0, 2.0, 2.0, 2.0),
    ];
    // What is only added to is counted in the commit.
    let stale = || -> i64 { db.query_row("SELECT count(*) FROM day WHERE stale = 1", [], |row| row.get(0)).unwrap() };
    assert_eq!((view(), stale()), (expected.to_vec(), 0));
    f.record(fence, 20, &[page("x", noon + 2, -3.0), page("y", noon - 1, 5.0)]).await;
    let expected = [
        ("x".to_owned(), "2026-11-21".to_owned(), 2.0 / 3.0, 3, 2.0, -3.0, 4.0, -3.0),
        ("y".to_owned(), "2026-11-21".to_owned(), 7.0, 2, 14.0, 5.0, 9.0, 9.0),
        expected[2].clone(),
    ];
    assert_eq!((view(), stale()), (expected.to_vec(), 0));
    // What changes makes its day stale.
    f.record(fence, 30, &[page("x", noon, 2.5), page("y", noon - 1, 6.0)]).await;
    let expected = [
        ("x".to_owned(), "2026-11-21".to_owned(), 3.5 / 3.0, 3, 3.5, -3.0, 4.0, -3.0),
        ("y".to_owned(), "2026-11-21".to_owned(), 7.5, 2, 15.0, 6.0, 9.0, 9.0),
        expected[2].clone(),
    ];
    assert_eq!(view(), expected);
    // Until the writer has had a quiet moment.
    for _ in 0..200 {
        if stale() == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let folded: i64 = db.query_row("SELECT count(*) FROM day WHERE stale = 0", [], |row| row.get(0)).unwrap();
    assert_eq!(folded, 3);
    assert_eq!(view(), expected);
    // Forced stale, with nonsense in the counters: they are not looked at.
    db.execute_batch("UPDATE day SET stale = 1, n = 77, sum = 77, last = 77").unwrap();
    assert_eq!(view(), expected);
}

#[tokio::test]
async fn a_day_whose_entries_all_went_is_no_day() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    f.record(fence, 10, &[steps(MIDNIGHT, 1.0), steps(MIDNIGHT + DAY, 2.0)]).await;
    f.window(fence, 20, "steps", MIDNIGHT, MIDNIGHT + HOUR, &[]).await;
    for pause in [0, 100] {
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        let days = f.store.daily(DailyQuery::default()).await.unwrap();
        assert_eq!(days.iter().map(|day| day.day).collect::<Vec<_>>(), [Civil(TODAY.0 + 1)]);
    }
}

#[tokio::test]
async fn a_metric_by_day_needs_no_counters() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let total = |day: i32, value: f64| Entry::new("total", Moment::Day(Civil(TODAY.0 + day)), value);
    f.record(fence, 10, &[total(0, 5.0), total(1, 6.0)]).await;
    assert_eq!(f.record(fence, 20, &[total(1, 7.0)]).await, counts(0, 1, 0, 0, 0));
    let rows: i64 = f.side().query_row("SELECT count(*) FROM day", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
    let days = f.store.daily(DailyQuery { metric: Some("total".into()), ..DailyQuery::default() }).await.unwrap();
    assert_eq!(days.iter().map(|day| (day.value, day.n)).collect::<Vec<_>>(), [(5.0, 1), (7.0, 1)]);
    let live = f.live(fence.connection).await;
    assert_eq!((live[0].start, live[0].day), (None, TODAY), "a civil day is no instant");
    let summary = &f.store.summaries(fence.connection).await.unwrap()[0];
    assert_eq!((summary.first, summary.last), (Some(Moment::Day(TODAY)), Some(Moment::Day(Civil(TODAY.0 + 1)))));
    assert_eq!((summary.count, summary.latest_value), (2, Some(7.0)));
}

#[tokio::test]
async fn a_window_of_civil_days_replaces_them() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let day = |n: i32| Civil(TODAY.0 + n);
    let total = |n: i32, value: f64| Entry::new("total", Moment::Day(day(n)), value);
    f.record(fence, 10, &[total(0, 1.0), total(1, 2.0), total(2, 3.0)]).await;
    let mut ingest = f.ingest();
    ingest.replace_window("total", None, Moment::Day(day(0)), Moment::Day(day(2)), &[total(1, 2.0)]).unwrap();
    let done = f.store.commit(batch(fence, 20, ingest.take())).await.unwrap();
    assert_eq!(done.counts, counts(0, 0, 1, 1, 0));
    assert_eq!(f.values(fence.connection).await, [2.0, 3.0]);
}

#[tokio::test]
async fn a_series_is_shown_by_its_label() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let mut ingest = f.ingest();
    ingest.record(&page("r1", MIDNIGHT, 1.0)).unwrap();
    ingest.label("pages", "r1", "old/name").unwrap();
    f.store.commit(batch(fence, 10, ingest.take())).await.unwrap();
    ingest.label("pages", "r1", "new/name").unwrap();
    f.store.commit(batch(fence, 20, ingest.take())).await.unwrap();
    let live = f.live(fence.connection).await;
    assert_eq!((live[0].series.as_deref(), live[0].series_label.as_deref()), (Some("r1"), Some("new/name")));
    assert!(ingest.label("steps", "r1", "x").is_err(), "it has no series");
}

#[tokio::test]
async fn a_far_off_record_that_counts_for_a_day_is_found() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let far = Entry { day: Some("2026-11-21".into()), ..steps(MIDNIGHT - 300 * DAY, 5.0) };
    f.record(fence, 10, &[steps(MIDNIGHT, 1.0), far]).await;
    for pause in [0, 100] {
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        let days = f.store.daily(DailyQuery { first: Some(TODAY), last: Some(TODAY), ..DailyQuery::default() }).await.unwrap();
        assert_eq!(days.iter().map(|day| (day.n, day.sum, day.last)).collect::<Vec<_>>(), [(2, 6.0, 1.0)]);
    }
}
