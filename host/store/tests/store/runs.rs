//! Rows of runs.

use crate::fixture::*;
use sluice_model::{Failure, FailureKind};
use sluice_store::*;

async fn next(f: &Fixture, at: i64) -> Fence {
    f.at(at);
    f.claim().await.fence
}

#[tokio::test]
async fn a_run_that_changed_nothing_extends_the_row_before_it() {
    let f = Fixture::new().await;
    let mut fence = f.run("a").await;
    let line = |text: &str| vec![LogLine { at: 1, level: "info".into(), text: text.into() }];
    let end = |at: i64, log: &str| Finish { log: line(log), ..finish(at, RunOutcome::Complete) };
    let mut ingest = f.ingest();
    for round in 0..4_i64 {
        let at = MIDNIGHT + round * HOUR;
        ingest.record(&steps(MIDNIGHT, 1.0)).unwrap();
        let last = Batch { finish: Some(end(at, &format!("round {round}"))), ..batch(fence, at, ingest.take()) };
        f.store.commit(last).await.unwrap();
        fence = next(&f, at + HOUR).await;
    }
    let runs = f.store.runs(fence.connection, 10).await.unwrap();
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    assert_eq!((run.repeats, run.counts, run.requests), (4, counts(1, 0, 3, 0, 0), 4));
    assert_eq!((run.ended_at, run.last_ended_at), (Some(MIDNIGHT), Some(MIDNIGHT + 3 * HOUR)));
    let log: Vec<_> = f.store.run_log(run.id).await.unwrap().into_iter().map(|line| line.text).collect();
    assert_eq!(log, ["round 0", "round 3"], "the first one's and the latest one's");

    // Something new is a row of its own, and so is a run that went another way.
    ingest.record(&steps(MIDNIGHT, 2.0)).unwrap();
    f.store.commit(ending(fence, MIDNIGHT + 4 * HOUR, ingest.take())).await.unwrap();
    let fence = next(&f, MIDNIGHT + 6 * HOUR).await;
    let failed = Finish {
        failure: Some(Failure::new(FailureKind::Transient, "HTTP_503", "the provider is down")),
        state: ConnectionState::BackingOff,
        problems: vec![(Failure::new(FailureKind::Other, "ODD", "one record was odd"), Some("steps".into()))],
        ..finish(MIDNIGHT + 6 * HOUR, RunOutcome::Failed(FailureKind::Transient))
    };
    f.store.commit(Batch { finish: Some(failed), ..batch(fence, 10, Vec::new()) }).await.unwrap();
    let runs = f.store.runs(fence.connection, 10).await.unwrap();
    let outcomes: Vec<_> = runs.iter().map(|run| (run.outcome, run.repeats)).collect();
    assert_eq!(outcomes, [(RunOutcome::Failed(FailureKind::Transient), 1), (RunOutcome::Complete, 1), (RunOutcome::Complete, 4)]);
    assert_eq!((runs[0].failure_code.as_deref(), runs[0].problems), (Some("HTTP_503"), 1));
    let log = f.store.run_log(runs[0].id).await.unwrap();
    assert_eq!(log[0].text, "steps: other (ODD): one record was odd");
    let connection = f.store.connection(fence.connection).await.unwrap().unwrap();
    assert_eq!((connection.state, connection.failure_code.as_deref()), (ConnectionState::BackingOff, Some("HTTP_503")));
    assert_eq!(connection.last_run.unwrap().id, runs[0].id);
    assert_eq!(connection.last_data, Some(MIDNIGHT + 4 * HOUR));
    assert_eq!(connection.last_check, Some(MIDNIGHT + 4 * HOUR), "a failed run checked nothing");
}

#[tokio::test]
async fn crashes_share_a_row_when_they_are_the_same_crash() {
    let f = Fixture::new().await;
    let mut fence = f.run("a").await;
    let said = ["panic: no row 77", "panic: no row 1024", "panic: nil pointer", "panic: nil pointer", "panic: no row 78"];
    for (round, said) in (0_i64..).zip(said) {
        let at = MIDNIGHT + round * HOUR;
        let failure = Some(Failure::new(FailureKind::Other, "TRAP", said));
        let end = Finish { failure, ..finish(at, RunOutcome::Failed(FailureKind::Other)) };
        f.store.commit(Batch { finish: Some(end), ..batch(fence, at, Vec::new()) }).await.unwrap();
        fence = next(&f, at + HOUR).await;
    }
    let runs = f.store.runs(fence.connection, 10).await.unwrap();
    let rows: Vec<_> = runs.iter().map(|run| (run.message.as_deref().unwrap(), run.repeats)).collect();
    assert_eq!(rows, [("panic: no row 78", 1), ("panic: nil pointer", 2), ("panic: no row 1024", 2)]);
}

#[tokio::test]
async fn checkpoints_and_the_ending_share_one_row() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    f.record(fence, 10, &[steps(MIDNIGHT, 1.0)]).await;
    let under_way = &f.store.runs(fence.connection, 5).await.unwrap()[0];
    assert_eq!((under_way.outcome, under_way.ended_at), (RunOutcome::Running, None));
    f.record(fence, 11, &[steps(MIDNIGHT, 1.0), steps(MIDNIGHT + 1, 1.0)]).await;
    let mut ingest = f.ingest();
    ingest.record(&steps(MIDNIGHT + 2, 1.0)).unwrap();
    f.store.commit(Batch { requests: 9, ..ending(fence, 20, ingest.take()) }).await.unwrap();
    let runs = f.store.runs(fence.connection, 5).await.unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].counts, runs[0].requests), (counts(3, 0, 1, 0, 0), 9));
    // A later run with checkpoints that changed nothing leaves no row either.
    let fence = next(&f, MIDNIGHT + 2 * HOUR).await;
    f.record(fence, 30, &[steps(MIDNIGHT, 1.0)]).await;
    f.store.commit(ending(fence, 40, Vec::new())).await.unwrap();
    let runs = f.store.runs(fence.connection, 5).await.unwrap();
    assert_eq!((runs.len(), runs[0].repeats, runs[0].counts.unchanged), (1, 2, 2));
}

#[tokio::test]
async fn pausing_at_the_end_takes_it_off_the_schedule() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let end = Finish {
        state: ConnectionState::NeedsSignIn,
        message: Some("sign in again".into()),
        next_due: None,
        ..finish(MIDNIGHT, RunOutcome::Failed(FailureKind::Unauthorized))
    };
    f.store.commit(Batch { finish: Some(end), ..batch(fence, 10, Vec::new()) }).await.unwrap();
    f.at(MIDNIGHT + 100 * DAY);
    assert!(f.claims(5).await.is_empty());
    assert_eq!(f.store.next_due().await.unwrap(), None);
    f.store.set_state(fence.connection, ConnectionState::Ok, None, None).await.unwrap();
    assert_eq!(f.claims(5).await.len(), 1);
}

#[tokio::test]
async fn logs_are_removed_by_age_and_the_rows_stay() {
    let f = Fixture::new().await;
    let mut fence = f.run("a").await;
    for round in 0..3_i64 {
        let at = MIDNIGHT + round * DAY;
        let log = (0..4).map(|n| LogLine { at, level: "info".into(), text: format!("line {n}") }).collect();
        let mut ingest = f.ingest();
        ingest.record(&steps(at, 1.0)).unwrap();
        let end = Finish { log, ..finish(at, RunOutcome::Complete) };
        f.store.commit(Batch { finish: Some(end), ..batch(fence, at, ingest.take()) }).await.unwrap();
        fence = next(&f, at + HOUR).await;
    }
    assert_eq!(f.store.trim_logs(MIDNIGHT + 2 * DAY).await.unwrap(), 8);
    let mut lines = Vec::new();
    for run in f.store.runs(fence.connection, 10).await.unwrap() {
        lines.push(f.store.run_log(run.id).await.unwrap().len());
    }
    assert_eq!(lines, [4, 0, 0]);
}

#[tokio::test]
async fn what_runs_cost_is_added_up_where_they_share_a_row() {
    let f = Fixture::new().await;
    let mut fence = f.run("a").await;
    let spent = |cpu_us: u64, memory_bytes: u64, denied: u64| Used { cpu_us, memory_bytes, denied };
    let mut ingest = f.ingest();
    for (round, used) in (0_i64..).zip([spent(100, 5 << 20, 0), spent(40, 7 << 20, 2), spent(60, 6 << 20, 1)]) {
        let at = MIDNIGHT + round * HOUR;
        ingest.record(&steps(MIDNIGHT, 1.0)).unwrap();
        let end = Finish { used, ..finish(at, RunOutcome::Complete) };
        f.store.commit(Batch { finish: Some(end), ..batch(fence, at, ingest.take()) }).await.unwrap();
        fence = next(&f, at + HOUR).await;
    }
    let runs = f.store.runs(fence.connection, 10).await.unwrap();
    assert_eq!((runs.len(), runs[0].repeats), (1, 3));
    assert_eq!(runs[0].used, spent(200, 7 << 20, 3), "time and refusals are sums, memory is the largest");
    // A run with checkpoints, which has its row before its end is known.
    f.record(fence, 11, &[steps(MIDNIGHT, 2.0)]).await;
    assert_eq!(f.store.runs(fence.connection, 1).await.unwrap()[0].used, Used::default());
    let end = Finish { used: spent(9, 8, 7), ..finish(MIDNIGHT + 4 * HOUR, RunOutcome::Complete) };
    f.store.commit(Batch { finish: Some(end), ..batch(fence, 12, Vec::new()) }).await.unwrap();
    assert_eq!(f.store.runs(fence.connection, 1).await.unwrap()[0].used, spent(9, 8, 7));
}

#[tokio::test]
async fn a_connector_is_told_by_the_latest_runs_of_all_its_accounts() {
    let f = Fixture::new().await;
    let mut ingest = f.ingest();
    let mut at = MIDNIGHT;
    for account in ["a", "b"] {
        let mut fence = f.run(account).await;
        // Fifteen rows each, since each brings something.
        for round in 0..15 {
            ingest.record(&steps(MIDNIGHT, f64::from(round))).unwrap();
            let end = Finish { used: Used { cpu_us: 1, ..Used::default() }, next_due: Some(at + 1), ..finish(at, RunOutcome::Complete) };
            f.store.commit(Batch { finish: Some(end), ..batch(fence, at, ingest.take()) }).await.unwrap();
            at += 1;
            fence = next(&f, at).await;
        }
        f.store.set_state(fence.connection, ConnectionState::NeedsSignIn, None, None).await.unwrap();
    }
    let runs = f.store.connector_runs("sample").await.unwrap();
    assert_eq!(runs.len(), 20, "ten of each");
    assert_eq!(runs[0].last_ended_at, Some(at - 1));
    assert!(runs.windows(2).all(|pair| pair[0].last_ended_at >= pair[1].last_ended_at), "newest first");
    assert!(f.store.connector_runs("another").await.unwrap().is_empty());
}
