//! Which version of an entry wins.

use crate::fixture::*;
use sluice_model::{Entry, Moment};
use sluice_store::*;

#[tokio::test]
async fn a_late_poll_overwrites_what_is_older_and_not_what_is_newer() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    assert_eq!(f.record(fence, 20, &[steps(MIDNIGHT, 5.0)]).await, counts(1, 0, 0, 0, 0));
    assert_eq!(f.record(fence, 10, &[steps(MIDNIGHT, 4.0)]).await, counts(0, 0, 0, 0, 1), "sent before what is stored");
    assert_eq!(f.record(fence, 20, &[steps(MIDNIGHT, 6.0)]).await, counts(0, 1, 0, 0, 0), "the same age wins");
    assert_eq!(f.record(fence, 30, &[steps(MIDNIGHT, 6.0)]).await, counts(0, 0, 1, 0, 0));
    assert_eq!(f.values(fence.connection).await, [6.0]);
}

#[tokio::test]
async fn revisions_win_in_whatever_order_they_arrive() {
    for order in [[1_u64, 2, 3], [3, 2, 1], [2, 3, 1], [3, 1, 2]] {
        let f = Fixture::new().await;
        let fence = f.run("a").await;
        for (at, revision) in order.into_iter().enumerate() {
            f.record(fence, 10 + at as i64, &[note("n", Some(revision), revision as f64)]).await;
        }
        assert_eq!(f.values(fence.connection).await, [3.0], "{order:?}");
    }
}

#[tokio::test]
async fn a_higher_revision_that_says_the_same_is_remembered() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    f.record(fence, 10, &[note("n", Some(3), 7.0)]).await;
    assert_eq!(f.record(fence, 20, &[note("n", Some(5), 7.0)]).await, counts(0, 0, 1, 0, 0));
    assert_eq!(f.record(fence, 30, &[note("n", Some(4), 8.0)]).await, counts(0, 0, 0, 0, 1), "4 comes before 5");
    assert_eq!(f.values(fence.connection).await, [7.0]);
}

#[tokio::test]
async fn a_better_source_wins_and_a_lesser_one_never_does() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let commit = async |rank: u8, as_of: i64, value: f64| {
        let mut ingest = Ingest::new(&f.metrics, "Europe/Berlin", rank).unwrap();
        ingest.record(&steps(MIDNIGHT, value)).unwrap();
        f.store.commit(batch(fence, as_of, ingest.take())).await.unwrap().counts
    };
    assert_eq!(commit(0, 10, 1.0).await, counts(1, 0, 0, 0, 0));
    assert_eq!(commit(2, 5, 2.0).await, counts(0, 1, 0, 0, 0), "fetched before, but fetched");
    assert_eq!(commit(0, 99, 3.0).await, counts(0, 0, 0, 0, 1), "an unsigned push never overwrites what was fetched");
    assert_eq!(commit(1, 99, 3.0).await, counts(0, 0, 0, 0, 1));
}

#[tokio::test]
async fn what_was_deleted_is_not_raised_by_a_late_poll_but_by_newer_news() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    f.record(fence, 10, &[play("p", MIDNIGHT, 1.0)]).await;
    assert_eq!(f.retract(fence, 20, "plays", "p").await, counts(0, 0, 0, 1, 0));
    assert_eq!(f.record(fence, 15, &[play("p", MIDNIGHT, 2.0)]).await, counts(0, 0, 0, 0, 1));
    assert!(f.live(fence.connection).await.is_empty());
    assert_eq!(f.record(fence, 25, &[play("p", MIDNIGHT + 5, 3.0)]).await, counts(1, 0, 0, 0, 0));
    assert_eq!(f.values(fence.connection).await, [3.0]);
}

#[tokio::test]
async fn a_retraction_that_comes_before_its_record_still_counts() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    assert_eq!(f.retract(fence, 20, "plays", "p").await, counts(0, 0, 1, 0, 0));
    assert_eq!(f.record(fence, 10, &[play("p", MIDNIGHT, 2.0)]).await, counts(0, 0, 0, 0, 1));
    assert!(f.live(fence.connection).await.is_empty());
    assert_eq!(f.retract(fence, 5, "plays", "p").await, counts(0, 0, 0, 0, 1), "an older retraction is older");
}

#[tokio::test]
async fn a_deletion_has_no_revision_so_only_age_counts_over_a_tombstone() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    f.record(fence, 10, &[note("n", Some(9), 1.0)]).await;
    assert_eq!(f.retract(fence, 20, "notes", "n").await, counts(0, 0, 0, 1, 0));
    assert_eq!(f.record(fence, 30, &[note("n", Some(1), 2.0)]).await, counts(1, 0, 0, 0, 0));
}

#[tokio::test]
async fn a_window_finds_what_is_new_changed_and_gone() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let at = |n: i64| MIDNIGHT + n * HOUR;
    f.record(fence, 10, &[steps(at(0), 1.0), steps(at(1), 2.0), steps(at(2), 3.0), steps(at(5), 9.0)]).await;
    let said = [steps(at(1), 2.0), steps(at(2), 33.0), steps(at(3), 4.0)];
    assert_eq!(f.window(fence, 20, "steps", at(0), at(5), &said).await, counts(1, 1, 1, 1, 0));
    assert_eq!(f.values(fence.connection).await, [2.0, 33.0, 4.0, 9.0], "what lies at its end is not in it");
    assert_eq!(f.window(fence, 15, "steps", at(2), at(6), &[]).await, counts(0, 0, 0, 1, 2), "only what is not newer goes");
    assert_eq!(f.values(fence.connection).await, [2.0, 33.0, 4.0], "the one at hour 5 was as of 10");
}

#[tokio::test]
async fn a_window_of_one_series_leaves_the_others_alone() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let page = |series: &str, at: i64, value: f64| Entry { series: Some(series.into()), ..Entry::new("pages", Moment::Instant(at), value) };
    f.record(fence, 10, &[page("x", MIDNIGHT, 1.0), page("y", MIDNIGHT, 2.0), page("x", MIDNIGHT + 1, 3.0)]).await;
    let mut ingest = f.ingest();
    let (first, past) = (Moment::Instant(MIDNIGHT), Moment::Instant(MIDNIGHT + HOUR));
    ingest.replace_window("pages", Some("x"), first, past, &[page("x", MIDNIGHT + 2, 4.0)]).unwrap();
    let done = f.store.commit(batch(fence, 20, ingest.take())).await.unwrap();
    assert_eq!(done.counts, counts(1, 0, 0, 2, 0));
    assert_eq!(f.values(fence.connection).await, [2.0, 4.0]);
    let all = ingest.replace_window("pages", None, first, past, &[]);
    assert_eq!(all, Ok(()));
    assert_eq!(f.store.commit(batch(fence, 30, ingest.take())).await.unwrap().counts, counts(0, 0, 0, 2, 0), "without one, all of them");
}

#[tokio::test]
async fn a_window_compares_no_revisions() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    f.record(fence, 10, &[note("n", Some(9), 1.0)]).await;
    let said = [note("n", Some(2), 5.0)];
    assert_eq!(f.window(fence, 20, "notes", MIDNIGHT, MIDNIGHT + 1, &said).await, counts(0, 1, 0, 0, 0));
    assert_eq!(f.values(fence.connection).await, [5.0]);
}

#[tokio::test]
async fn an_id_moves_in_time_without_leaving_a_copy() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let detailed = |at: i64, value: f64| Entry { detail: Some("{\"a\":1}".into()), ..play("p", at, value) };
    f.record(fence, 10, &[detailed(MIDNIGHT, 1.0), play("q", MIDNIGHT, 2.0)]).await;
    assert_eq!(f.record(fence, 20, &[detailed(MIDNIGHT + 3 * DAY, 1.0)]).await, counts(0, 1, 0, 0, 0));
    let live = f.live(fence.connection).await;
    assert_eq!(
        live.iter().map(|row| (row.id.clone().unwrap(), row.start.unwrap())).collect::<Vec<_>>(),
        [("q".to_owned(), MIDNIGHT), ("p".to_owned(), MIDNIGHT + 3 * DAY)]
    );
    assert_eq!(live[1].detail.as_deref(), Some("{\"a\":1}"), "what lies off the row moves with it");
    let days = f.store.daily(DailyQuery { connection: Some(fence.connection), ..DailyQuery::default() }).await.unwrap();
    assert_eq!(days.iter().map(|day| (day.day.0, day.n)).collect::<Vec<_>>(), [(TODAY.0, 1), (TODAY.0 + 3, 1)]);
    // Into a window, and out of one.
    assert_eq!(
        f.window(fence, 30, "plays", MIDNIGHT, MIDNIGHT + DAY, &[detailed(MIDNIGHT + 1, 1.0)]).await,
        counts(0, 1, 0, 1, 0),
        "p moved back in, q is gone"
    );
}

#[tokio::test]
async fn a_change_of_zone_moves_no_day_and_doubles_none() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    // 23:30 UTC is the next day in Berlin.
    let late = MIDNIGHT - HOUR / 2;
    f.record(fence, 10, &[steps(late, 100.0)]).await;
    let mut elsewhere = Ingest::new(&f.metrics, "America/New_York", 2).unwrap();
    elsewhere.record(&steps(late, 100.0)).unwrap();
    elsewhere.record(&steps(late + 1, 7.0)).unwrap();
    let done = f.store.commit(batch(fence, 20, elsewhere.take())).await.unwrap();
    assert_eq!(done.counts, counts(1, 0, 1, 0, 0), "the same again is unchanged, whatever the zone");
    elsewhere.record(&steps(late, 101.0)).unwrap();
    f.store.commit(batch(fence, 30, elsewhere.take())).await.unwrap();
    let days = f.store.daily(DailyQuery { connection: Some(fence.connection), ..DailyQuery::default() }).await.unwrap();
    assert_eq!(days.iter().map(|day| (day.day.0 - TODAY.0, day.value)).collect::<Vec<_>>(), [(-1, 7.0), (0, 101.0)]);
}

#[tokio::test]
async fn an_offset_or_a_named_day_beats_the_zone() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let late = MIDNIGHT - HOUR / 2;
    let there = Entry { offset_minutes: Some(-300), ..steps(late, 1.0) };
    let slept = Entry { day: Some("2026-11-25".into()), ..steps(late + 1, 2.0) };
    f.record(fence, 10, &[there, slept]).await;
    let days: Vec<_> = f.live(fence.connection).await.iter().map(|row| row.day.0 - TODAY.0).collect();
    assert_eq!(days, [-1, 4]);
}

#[tokio::test]
async fn within_one_batch_the_last_wins() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    assert_eq!(f.record(fence, 10, &[steps(MIDNIGHT, 1.0), steps(MIDNIGHT, 2.0), steps(MIDNIGHT, 3.0)]).await, counts(1, 0, 0, 0, 0));
    assert_eq!(f.values(fence.connection).await, [3.0]);
    let mut ingest = f.ingest();
    ingest.record(&play("p", MIDNIGHT, 1.0)).unwrap();
    ingest.retract("plays", "p").unwrap();
    ingest.record(&play("q", MIDNIGHT, 1.0)).unwrap();
    ingest.replace_window("steps", None, Moment::Instant(MIDNIGHT), Moment::Instant(MIDNIGHT + 9), &[]).unwrap();
    ingest.record(&steps(MIDNIGHT + 1, 8.0)).unwrap();
    let done = f.store.commit(batch(fence, 20, ingest.take())).await.unwrap();
    assert_eq!(done.counts, counts(3, 0, 0, 2, 0));
    let live: Vec<_> = f.live(fence.connection).await.into_iter().map(|row| (row.metric, row.value)).collect();
    assert_eq!(live, [("plays".to_owned(), 1.0), ("steps".to_owned(), 8.0)]);
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_with_a_reason() {
    let f = Fixture::new().await;
    let mut ingest = f.ingest();
    for (wrong, says) in [
        (steps(MIDNIGHT, f64::NAN), "finite"),
        (steps(MIDNIGHT, f64::INFINITY), "finite"),
        (play("a\0b", MIDNIGHT, 1.0), "U+0000"),
        (Entry::new("plays", Moment::Instant(MIDNIGHT), 1.0), "id"),
        (Entry::new("nothing", Moment::Instant(MIDNIGHT), 1.0), "nothing"),
        (Entry::new("total", Moment::Instant(MIDNIGHT), 1.0), "civil day"),
        (note("n", Some(u64::MAX), 1.0), "revision"),
    ] {
        let why = ingest.record(&wrong).unwrap_err();
        assert!(why.contains(says), "{why}");
    }
    assert!(ingest.is_empty());
    let (at, why) = ingest
        .replace_window("steps", None, Moment::Instant(0), Moment::Instant(MIDNIGHT), &[steps(5, 1.0), steps(MIDNIGHT, 1.0)])
        .unwrap_err();
    assert_eq!(at, 1, "{why}");
    assert!(ingest.is_empty(), "a refused window leaves nothing behind");
    let (_, why) = ingest.replace_window("total", None, Moment::Instant(0), Moment::Instant(1), &[]).unwrap_err();
    assert!(why.contains("civil day"), "{why}");
    assert!(Ingest::new(&f.metrics, "Mars/Olympus", 2).is_err());
}

#[tokio::test]
async fn minus_zero_is_zero() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    f.record(fence, 10, &[steps(MIDNIGHT, 0.0)]).await;
    assert_eq!(f.record(fence, 20, &[steps(MIDNIGHT, -0.0)]).await, counts(0, 0, 1, 0, 0));
}

#[tokio::test]
async fn detail_and_samples_are_part_of_what_changed() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let entry = |detail: Option<&str>, value: f64| Entry {
        detail: detail.map(str::to_owned),
        samples: vec![sluice_model::Sample { offset_ms: 10, value }],
        ..steps(MIDNIGHT, 1.0)
    };
    f.record(fence, 10, &[entry(Some("{}"), 2.0)]).await;
    assert_eq!(f.record(fence, 20, &[entry(Some("{}"), 2.0)]).await, counts(0, 0, 1, 0, 0));
    assert_eq!(f.record(fence, 20, &[entry(Some("{}"), 3.0)]).await, counts(0, 1, 0, 0, 0));
    assert_eq!(f.record(fence, 20, &[entry(Some("{\"b\":2}"), 3.0)]).await, counts(0, 1, 0, 0, 0));
    let samples = f.store.samples(fence.connection, "steps", Moment::Instant(MIDNIGHT), "").await.unwrap();
    assert_eq!(samples, [sluice_model::Sample { offset_ms: 10, value: 3.0 }]);
    assert_eq!(f.record(fence, 20, &[steps(MIDNIGHT, 1.0)]).await, counts(0, 1, 0, 0, 0));
    assert!(f.store.samples(fence.connection, "steps", Moment::Instant(MIDNIGHT), "").await.unwrap().is_empty());
    assert_eq!(f.live(fence.connection).await[0].detail, None);
}

#[tokio::test]
async fn a_metric_that_changes_its_meaning_is_refused_as_a_whole() {
    let f = Fixture::new().await;
    let mut changed = metrics();
    changed[0].unit = "m".into();
    changed.push(metric("fresh", sluice_model::manifest::MetricKind::Sum, sluice_model::manifest::Identity::Time, false));
    let error = f.store.ensure_metrics("sample", &changed).await.unwrap_err();
    assert!(matches!(&error, MetricChanged::Changed { metric, what: "unit", .. } if metric == "steps"), "{error}");
    let fresh: i64 = f.side().query_row("SELECT count(*) FROM metric WHERE name = 'fresh'", [], |row| row.get(0)).unwrap();
    assert_eq!(fresh, 0);
    assert!(f.store.ensure_metrics("another", &changed).await.is_ok(), "names belong to a connector");
}

#[tokio::test]
async fn of_many_that_are_new_those_whose_id_is_stored_at_another_time_are_moved_there() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    // Far enough before that the look at what is stored about the new times does not meet them.
    let ids: Vec<String> = (0..50).map(|n| format!("id-{n:02}")).collect();
    let known = |n: usize| n % 7 == 3;
    let old: Vec<Entry> = (0..50).filter(|n| known(*n)).map(|n| play(&ids[n], MIDNIGHT - DAY - i64::try_from(n).unwrap(), 1.0)).collect();
    assert_eq!(f.record(fence, 10, &old).await, counts(7, 0, 0, 0, 0));
    let new: Vec<Entry> = (0..50).map(|n| play(&ids[n], MIDNIGHT + i64::try_from(n).unwrap(), 2.0)).collect();
    assert_eq!(f.record(fence, 20, &new).await, counts(43, 7, 0, 0, 0));
    assert_eq!(f.values(fence.connection).await, vec![2.0; 50]);
    assert_eq!(f.record(fence, 30, &new).await, counts(0, 0, 50, 0, 0));
    let sequences: i64 = f.side().query_row("SELECT count(DISTINCT seq) FROM entry", [], |row| row.get(0)).unwrap();
    assert_eq!(sequences, 50, "each change has a number of its own");
}
