//! Pages, filters, and the views that people query.

use crate::fixture::*;
use sluice_model::{Day, Entry, Moment};
use sluice_store::*;

async fn filled() -> (Fixture, Vec<Fence>) {
    let f = Fixture::new().await;
    let mut fences = Vec::new();
    for account in ["a", "b", "c"] {
        let fence = f.run(account).await;
        let mut entries: Vec<Entry> = (0..25).map(|n| steps(MIDNIGHT + n * HOUR, n as f64)).collect();
        entries.extend((0..5).map(|n| play(&format!("dotted.id.{n}"), MIDNIGHT + n, n as f64)));
        f.record(fence, 10, &entries).await;
        fences.push(fence);
    }
    (f, fences)
}

#[tokio::test]
async fn pages_of_any_size_give_every_entry_once() {
    let (f, _) = filled().await;
    let whole = f.store.entries(EntryQuery::default()).await.unwrap();
    assert_eq!((whole.rows.len(), whole.next), (90, None));
    for limit in [1, 7, 25, 30, 90, 91] {
        for newest_first in [false, true] {
            let (mut rows, mut after) = (Vec::new(), None);
            loop {
                let page = f.store.entries(EntryQuery { limit, after, newest_first, ..EntryQuery::default() }).await.unwrap();
                rows.extend(page.rows);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            if newest_first {
                assert_eq!(rows[0].value, 24.0);
            } else {
                assert_eq!(rows, whole.rows, "{limit}");
            }
            assert_eq!(rows.len(), 90);
        }
    }
    let wrong = EntryQuery { after: Some("nonsense".into()), ..EntryQuery::default() };
    assert!(matches!(f.store.entries(wrong).await, Err(StoreError::Invalid(_))));
}

#[tokio::test]
async fn entries_come_by_time_across_metrics_and_accounts_on_pages_of_any_size() {
    let (f, _) = filled().await;
    let when = |row: &EntryView| row.start.unwrap();
    let whole = f.store.entries(EntryQuery::default()).await.unwrap().rows;
    assert!(whole.windows(2).all(|pair| when(&pair[0]) <= when(&pair[1])), "not by time");
    let first: Vec<(&str, &str)> = whole.iter().take(6).map(|row| (row.account.as_str(), row.metric.as_str())).collect();
    let of_each = |metric| [("a (label)", metric), ("b (label)", metric), ("c (label)", metric)];
    // At midnight each account has steps and a play: by key, then by account.
    assert_eq!(first, [of_each("steps"), of_each("plays")].concat());
    let mut back = f.store.entries(EntryQuery { newest_first: true, ..EntryQuery::default() }).await.unwrap().rows;
    assert!(back.windows(2).all(|pair| when(&pair[0]) >= when(&pair[1])), "not by time");
    for limit in [1, 2, 5, 13, 89] {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = f.store.entries(EntryQuery { limit, after, newest_first: true, ..EntryQuery::default() }).await.unwrap();
            rows.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(rows, back, "{limit}");
    }
    let order = |row: &EntryView| (when(row), row.account.clone(), row.metric.clone(), row.id.clone());
    back.sort_by_key(order);
    let mut whole = whole;
    whole.sort_by_key(order);
    assert_eq!(back, whole, "both ways are the same rows");
}

#[tokio::test]
async fn an_account_that_comes_between_two_pages_gets_into_no_group_that_was_begun() {
    let (f, _) = filled().await;
    let page = f.store.entries(EntryQuery { limit: 40, ..EntryQuery::default() }).await.unwrap();
    let fence = f.run("d").await;
    f.record(fence, 10, &[steps(MIDNIGHT, 1.0), steps(MIDNIGHT + 48 * HOUR, 2.0)]).await;
    let rest = f.store.entries(EntryQuery { after: page.next, ..EntryQuery::default() }).await.unwrap();
    let old = page.rows.iter().chain(&rest.rows).filter(|row| row.account != "d (label)").count();
    assert_eq!(old, 90, "nothing of the others is lost or twice");
}

#[tokio::test]
async fn filters_narrow_what_is_read() {
    let (f, fences) = filled().await;
    let count = async |query: EntryQuery| f.store.entries(query).await.unwrap().rows.len();
    let all = EntryQuery::default;
    assert_eq!(count(EntryQuery { connection: Some(fences[1].connection), ..all() }).await, 30);
    assert_eq!(count(EntryQuery { metric: Some("plays".into()), ..all() }).await, 15);
    assert_eq!(count(EntryQuery { connector: Some("sample".into()), user: Some(f.user), ..all() }).await, 90);
    assert_eq!(count(EntryQuery { connector: Some("other".into()), ..all() }).await, 0);
    assert_eq!(count(EntryQuery { user: Some(sluice_model::UserId(77)), ..all() }).await, 0);
    let since = |moment| EntryQuery { metric: Some("steps".into()), since: Some(moment), ..EntryQuery::default() };
    assert_eq!(count(since(Moment::Instant(MIDNIGHT + 20 * HOUR))).await, 15);
    // The 25th hour after midnight UTC begins the second day in Berlin at hour 23.
    assert_eq!(count(since(Moment::Day(Day(TODAY.0 + 1)))).await, 6);
    let days = f.store.daily(DailyQuery { user: Some(f.user), metric: Some("steps".into()), ..DailyQuery::default() }).await.unwrap();
    assert_eq!(days.len(), 6);
}

#[tokio::test]
async fn the_views_have_exactly_their_columns_and_agree_with_the_pages() {
    let (f, _) = filled().await;
    let db = f.side();
    let columns =
        |view: &str| -> Vec<String> { db.prepare(&format!("SELECT * FROM {view}")).unwrap().column_names().map(str::to_owned).collect() };
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(columns("v_entries"), words("connector account metric unit series series_label id start end utc_offset day value detail"));
    assert_eq!(columns("v_daily"), words("connector account metric unit kind series series_label day value n sum min max last"));
    let rows: i64 =
        db.query_row("SELECT count(*) FROM v_entries WHERE metric = 'steps' AND day = '2026-11-21'", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 3 * 23);
    let (account, sum): (String, f64) = db
        .query_row("SELECT account, sum FROM v_daily WHERE metric = 'steps' AND day = '2026-11-22' LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!((account.as_str(), sum), ("a (label)", 47.0));
    let id: String = db.query_row("SELECT id FROM v_entries WHERE metric = 'plays' ORDER BY start LIMIT 1", [], |row| row.get(0)).unwrap();
    assert_eq!(id, "dotted.id.0");
}

#[tokio::test]
async fn a_chart_reads_a_range_of_a_key_and_no_whole_table() {
    let (f, _) = filled().await;
    let db = f.side();
    for sql in [
        "SELECT * FROM v_daily WHERE connector = 'sample' AND metric = 'steps'",
        "SELECT * FROM v_entries WHERE connector = 'sample' AND metric = 'steps'",
    ] {
        let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let plan: Vec<String> = statement.query_map([], |row| row.get(3)).unwrap().map(Result::unwrap).collect();
        for table in ["day", "entry", "connection", "series", "d", "e", "c", "s"] {
            assert!(!plan.iter().any(|step| *step == format!("SCAN {table}")), "{plan:?}");
        }
    }
}
