use rainlog::Rainlog;
use serde_json::json;
use sluice_sdk::harness::{self, Fault, Sent, TestBed, crash_everywhere};
use sluice_sdk::{FailureKind, FetchError, Outcome, Response};

/// Rainlog in memory: one millimetre on each of these days.
fn rainlog(days: &'static [&'static str]) -> impl Fn(&Sent<'_>) -> Result<Response, FetchError> {
    move |sent| {
        assert!(sent.attached, "a request without the key");
        Ok(match sent.path() {
            "/v1/me" => harness::json(200, &json!({ "id": 7, "name": "Ada", "since": "2024-03-01" })),
            "/v1/days" => {
                let (from, to) = (sent.query("from").unwrap(), sent.query("to").unwrap());
                let within = days.iter().filter(|day| (from.as_str()..=to.as_str()).contains(*day));
                let rows: Vec<_> = within.map(|day| json!({ "day": day, "mm": 1.0 })).collect();
                harness::json(200, &json!({ "days": rows }))
            }
            other => panic!("nobody should ask for {other}"),
        })
    }
}

const DAYS: &[&str] = &["2024-03-01", "2024-12-31", "2025-01-01", "2026-03-08"];

fn bed() -> TestBed {
    TestBed::new::<Rainlog>("key")
}

#[test]
fn everything_is_taken_in_and_a_second_run_changes_nothing() {
    let mut bed = bed();
    let account = bed.identify::<Rainlog>(&mut rainlog(DAYS)).unwrap();
    assert_eq!((account.id.as_deref(), account.label.as_str()), (Some("7"), "Ada"));
    bed.run_to_end::<Rainlog>(&mut rainlog(DAYS));
    assert_eq!((bed.store.count("rain"), bed.store.sum("rain")), (4, 4.0));
    let run = bed.run::<Rainlog>(&mut rainlog(DAYS));
    assert_eq!(run.outcome(), Ok(Outcome::Complete));
    assert_eq!((run.counts.inserted, run.counts.updated, run.counts.deleted), (0, 0, 0));
    assert_eq!(run.requests.len(), 1, "only the overlap is read again");
}

#[test]
fn a_day_taken_back_within_the_overlap_goes_away() {
    let mut bed = bed();
    bed.run_to_end::<Rainlog>(&mut rainlog(DAYS));
    let run = bed.run::<Rainlog>(&mut rainlog(&DAYS[..3]));
    assert_eq!((run.counts.deleted, bed.store.count("rain")), (1, 3));
}

#[test]
fn a_crash_at_any_call_loses_nothing_and_doubles_nothing() {
    assert!(crash_everywhere::<Rainlog>(bed, || Box::new(rainlog(DAYS))) > 10);
}

#[test]
fn a_broken_answer_stores_nothing_and_moves_no_cursor() {
    let broken = [
        (harness::text(200, "<html>Log in to the café's network</html>"), FailureKind::UnexpectedResponse),
        (harness::json(200, &json!({ "error": "no such station" })), FailureKind::UnexpectedResponse),
        (harness::answer(200, "application/json", r#"{"days":[{"day":"2026-"#), FailureKind::UnexpectedResponse),
        (harness::json(200, &json!({ "days": [{ "day": "yesterday", "mm": 1 }] })), FailureKind::UnexpectedResponse),
        (harness::answer(200, "application/json", ""), FailureKind::Transient),
        (harness::json(401, &json!({})), FailureKind::Unauthorized),
        (harness::with_headers(harness::json(429, &json!({})), &[("retry-after", "60")]), FailureKind::RateLimited),
        (harness::text(502, "Bad gateway"), FailureKind::Transient),
    ];
    for (answer, kind) in broken {
        let good = rainlog(DAYS);
        let mut bed = bed();
        let run = bed.run::<Rainlog>(&mut |sent| if sent.path() == "/v1/days" { Ok(answer.clone()) } else { good(sent) });
        assert_eq!(run.failure().kind, kind, "{answer:?}");
        assert!(bed.store.is_empty() && bed.cursor.is_none(), "{answer:?}");
    }
}

#[test]
fn a_network_that_fails_half_way_keeps_what_was_checkpointed() {
    let mut bed = bed();
    let run = bed.run_with::<Rainlog>(&mut rainlog(DAYS), Fault::FetchFails(3, FetchError::Timeout));
    assert_eq!((run.failure().kind, run.commits), (FailureKind::Transient, 1));
    bed.run_to_end::<Rainlog>(&mut rainlog(DAYS));
    assert_eq!(bed.store.count("rain"), 4);
}
