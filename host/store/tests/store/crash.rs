//! Opening, refusing, coming back.

use crate::fixture::*;
use sluice_model::task::Reason;
use sluice_store::*;

#[tokio::test]
async fn a_second_opener_is_told_that_the_folder_is_held() {
    let f = Fixture::new().await;
    let error = open(f.dir.path(), &f.clock).err().unwrap();
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let f = Fixture::new().await;
    f.store.close().await;
    f.side().execute_batch("PRAGMA user_version = 99").unwrap();
    let error = open(f.dir.path(), &f.clock).err().unwrap();
    assert!(matches!(error, OpenError::NewerSchema { found: 99, known: 3, .. }), "{error}");
    f.side().execute_batch("PRAGMA user_version = 3").unwrap();
    assert!(open(f.dir.path(), &f.clock).is_ok());
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_drop_without_close() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    f.record(fence, 10, &[steps(MIDNIGHT, 1.0)]).await;
    let Fixture { store, dir, clock, .. } = f;
    drop(store);
    let store = open(dir.path(), &clock).unwrap();
    let page = store.entries(EntryQuery::default()).await.unwrap();
    assert_eq!(page.rows.len(), 1);
}

#[tokio::test]
async fn a_copy_of_the_files_taken_at_any_moment_opens_with_what_was_acknowledged() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    for n in 1..=20 {
        f.record(fence, n, &[steps(MIDNIGHT + n, n as f64)]).await;
        // As after a kill: the files as they are, nothing closed, days perhaps stale.
        let copy = tempfile::tempdir().unwrap();
        for name in ["sluice.db", "sluice.db-wal"] {
            std::fs::copy(f.dir.path().join(name), copy.path().join(name)).unwrap();
        }
        let store = open(copy.path(), &f.clock).unwrap();
        let days = store.daily(DailyQuery::default()).await.unwrap();
        assert_eq!(days.iter().map(|day| (day.n, day.sum)).collect::<Vec<_>>(), [(n as u64, (1..=n).sum::<i64>() as f64)]);
    }
}

#[tokio::test]
async fn a_host_that_died_gives_its_leases_back_and_its_runs_are_interrupted() {
    let f = Fixture::new().await;
    let with_rows = f.run("a").await;
    let without = f.run("b").await;
    f.record(with_rows, 10, &[steps(MIDNIGHT, 1.0)]).await;
    let Fixture { store, dir, clock, incarnation, .. } = f;
    drop(store);
    let store = open(dir.path(), &clock).unwrap();
    // Its time is not over, but the lock says that it ended.
    let next = store.start_incarnation(MIDNIGHT + 1, MIDNIGHT + HOUR).await.unwrap();
    assert!(next > incarnation);
    assert!(matches!(store.heartbeat(incarnation, MIDNIGHT + HOUR).await, Err(StoreError::TakenOver)));
    store.heartbeat(next, MIDNIGHT + 2 * HOUR).await.unwrap();
    assert_eq!(store.runs(with_rows.connection, 5).await.unwrap()[0].outcome, RunOutcome::Interrupted);
    let claims = store.claim(next, MIDNIGHT + 1, 10).await.unwrap();
    let mut ids: Vec<_> = claims.iter().map(|claim| (claim.connection.id, claim.attempts)).collect();
    ids.sort();
    assert_eq!(ids, [(with_rows.connection, 1), (without.connection, 1)]);
    assert_eq!(store.commit(ending(with_rows, 20, Vec::new())).await, Err(CommitError::Fenced), "the dead one's lease is no good");
    assert!(matches!(store.claim(incarnation, MIDNIGHT, 1).await, Err(StoreError::TakenOver)));
}

#[tokio::test]
async fn an_incarnation_that_is_alive_keeps_its_leases() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let second = f.store.start_incarnation(MIDNIGHT + 1, MIDNIGHT + HOUR).await.unwrap();
    assert!(f.store.claim(second, MIDNIGHT + 1, 10).await.unwrap().is_empty());
    let third = f.store.start_incarnation(MIDNIGHT + 2 * HOUR, MIDNIGHT + 3 * HOUR).await.unwrap();
    assert_eq!(f.store.claim(third, MIDNIGHT + 2 * HOUR, 10).await.unwrap().len(), 1, "its time was over");
    assert_eq!(f.store.commit(ending(fence, 20, Vec::new())).await, Err(CommitError::Fenced));
    assert_eq!(f.store.request_run(fence.connection, Reason::Manual, MIDNIGHT).await.unwrap(), Requested::Running);
}

#[tokio::test]
async fn the_files_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let f = Fixture::new().await;
    for name in ["sluice.db", "sluice.db-wal", "sluice.lock"] {
        let mode = std::fs::metadata(f.dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    assert!(Store::exists(f.dir.path()));
    assert!(!Store::exists(&f.dir.path().join("nowhere")));
}
