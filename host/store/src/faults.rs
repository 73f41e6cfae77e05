//! What the writer does when the disk is full, when a statement finds the database broken, when a COMMIT fails, and when its own code fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use crate::{NewUser, OpenError, Store, StoreError};
use sluice_model::time::Random;
use std::sync::Arc;
use std::time::Duration;

struct Zeros;

impl Random for Zeros {
    fn fill(&self, buf: &mut [u8]) {
        buf.fill(0);
    }
}

fn open(dir: &std::path::Path) -> Result<Store, OpenError> {
    Store::open(dir, Arc::new(|| 1_000), Arc::new(Zeros))
}

fn user(name: String) -> NewUser {
    NewUser { name, time_zone: "UTC".into(), password_hash: None, owner: false }
}

/// Holds the writer, so that what is queued meanwhile forms one group.
async fn hold(store: &Store) -> (std::sync::mpsc::Sender<()>, tokio::task::JoinHandle<Result<(), StoreError>>) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (begins, begun) = tokio::sync::oneshot::channel();
    let store = store.clone();
    let held = tokio::spawn(async move {
        store
            .write(move |_, _| {
                let _ = begins.send(());
                let _ = wait.recv_timeout(Duration::from_secs(10));
                Ok(())
            })
            .await
    });
    begun.await.unwrap();
    (go, held)
}

async fn names(store: &Store) -> Vec<String> {
    store
        .read(|conn| {
            let mut statement = conn.prepare("SELECT substr(name, 1, 9) FROM user ORDER BY id")?;
            let names = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(names)
        })
        .await
        .unwrap()
}

async fn limit_pages(store: &Store, extra: i64) {
    store
        .write(move |conn, _| {
            let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let limit = if extra < 0 { i64::from(i32::MAX) } else { pages + extra };
            Ok(conn.query_row(&format!("PRAGMA max_page_count = {limit}"), [], |_| Ok(()))?)
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_full_disk_fails_the_whole_group_half_commits_nothing_and_is_left_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.create_user(user("before".into())).await.unwrap();
    limit_pages(&store, 8).await;
    let (go, held) = hold(&store).await;
    let (first, large, last) = {
        let group = async {
            tokio::join!(
                store.create_user(user("neighbour1".into())),
                store.create_user(user(format!("large{}", "x".repeat(400_000)))),
                store.create_user(user("neighbour2".into())),
            )
        };
        let free = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            go.send(()).unwrap();
            held.await.unwrap().unwrap();
        };
        tokio::join!(group, free).0
    };
    for outcome in [first, large, last] {
        assert!(matches!(outcome, Err(StoreError::Full)), "{outcome:?}");
    }
    assert_eq!(names(&store).await, ["before"]);
    assert_eq!(store.full_since(), Some(1_000));
    assert!(tokio::time::timeout(Duration::from_millis(20), store.fatal()).await.is_err(), "a full disk stops nothing for good");
    store.create_user(user("small".into())).await.expect("what fits is written");
    assert_eq!(store.full_since(), None);
    limit_pages(&store, -1).await;
    store.create_user(user(format!("large{}", "x".repeat(400_000)))).await.unwrap();
    assert_eq!(names(&store).await, ["before", "small", "largexxxx"]);
    store.close().await;
    let check: String = rusqlite::Connection::open(dir.path().join("sluice.db"))
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test]
async fn one_that_is_refused_costs_its_neighbours_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.create_user(user("ann".into())).await.unwrap();
    let (go, held) = hold(&store).await;
    let group = async {
        tokio::join!(store.create_user(user("bob".into())), store.create_user(user("ann".into())), store.create_user(user("cid".into())))
    };
    let free = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        go.send(()).unwrap();
        held.await.unwrap().unwrap();
    };
    let ((bob, ann, cid), ()) = tokio::join!(group, free);
    assert!(bob.is_ok() && cid.is_ok());
    assert!(matches!(ann, Err(StoreError::Refused(_))));
    assert_eq!(names(&store).await, ["ann", "bob", "cid"]);
}

#[tokio::test]
async fn a_broken_database_acknowledges_nobody_and_stops_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let (go, held) = hold(&store).await;
    let group = async {
        tokio::join!(
            store.create_user(user("before".into())),
            store.write(|_, _| -> Result<(), StoreError> { Err(StoreError::Fatal("disk I/O error".into())) }),
            store.create_user(user("after".into())),
        )
    };
    let free = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        go.send(()).unwrap();
        held.await.unwrap().unwrap();
    };
    let ((before, broken, after), ()) = tokio::join!(group, free);
    assert!(matches!(before, Err(StoreError::Fatal(_))), "{before:?}");
    assert!(matches!(broken, Err(StoreError::Fatal(_))));
    assert!(matches!(after, Err(StoreError::Fatal(_))));
    assert!(store.fatal().await.contains("disk I/O error"));
    assert!(matches!(store.create_user(user("late".into())).await, Err(StoreError::Fatal(_))));
    drop(store);
    let again = open(dir.path()).unwrap();
    assert_eq!(names(&again).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_fault_in_the_writers_own_code_stops_the_store_and_hangs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let outcome = store.write(|_, _| -> Result<(), StoreError> { panic!("a fault, on purpose") }).await;
    assert!(outcome.is_err());
    assert!(tokio::time::timeout(Duration::from_secs(5), store.fatal()).await.is_ok());
    assert!(matches!(store.create_user(user("late".into())).await, Err(StoreError::Fatal(_))));
    drop(store);
    assert!(open(dir.path()).is_ok());
}

/// Neighbours in one group with something that makes its COMMIT fail: what each of them is told.
async fn group_with(store: &Store, spoil: bool) -> [Result<(), StoreError>; 3] {
    let (go, held) = hold(store).await;
    let group = async {
        tokio::join!(
            store.create_user(user("neighbour1".into())),
            store.write(move |conn, _| {
                if spoil {
                    // Judged when the transaction ends, and not before: every statement of the group succeeds.
                    conn.execute_batch("PRAGMA defer_foreign_keys = ON; INSERT INTO data_key VALUES (4711, 'k1', x'00')")?;
                }
                Ok(())
            }),
            store.create_user(user("neighbour2".into())),
        )
    };
    let free = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        go.send(()).unwrap();
        held.await.unwrap().unwrap();
    };
    let ((first, spoiler, last), ()) = tokio::join!(group, free);
    [first.map(drop), spoiler, last.map(drop)]
}

#[tokio::test]
async fn a_commit_that_fails_acknowledges_nobody_and_stops_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.create_user(user("before".into())).await.unwrap();
    for outcome in group_with(&store, true).await {
        assert!(matches!(&outcome, Err(StoreError::Fatal(why)) if why.contains("a commit failed")), "{outcome:?}");
    }
    assert!(store.fatal().await.contains("a commit failed"));
    assert!(matches!(store.create_user(user("late".into())).await, Err(StoreError::Fatal(_))), "and nothing is tried again");
    assert_eq!(names(&store).await, ["before"], "what was acknowledged can be read");
    drop(store);
    let again = open(dir.path()).unwrap();
    assert_eq!(names(&again).await, ["before"]);
    assert!(group_with(&again, false).await.iter().all(Result::is_ok));
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fails_at_the_commit_acknowledges_nobody_and_the_next_start_has_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    // In a process of its own, which is not told by a signal that its files have reached their limit, but by the write that fails.
    let mut child = std::process::Command::new("sh");
    child.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "faults::a_store_on_a_disk_that_fails", "--nocapture"]).env("SLUICE_STORE_DIR", dir.path());
    let output = child.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let again = open(dir.path()).unwrap();
        assert_eq!(names(&again).await, ["before"]);
        again.create_user(user("after".into())).await.unwrap();
        again.close().await;
    });
}

/// Not a test of its own: a process whose files may not grow any more.
#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "started by a_disk_that_fails_at_the_commit_acknowledges_nobody_and_the_next_start_has_what_was_acknowledged"]
async fn a_store_on_a_disk_that_fails() {
    let Some(dir) = std::env::var_os("SLUICE_STORE_DIR").map(std::path::PathBuf::from) else { return };
    let store = open(&dir).unwrap();
    store.create_user(user("before".into())).await.unwrap();
    let limit = std::fs::metadata(dir.join("sluice.db-wal")).unwrap().len();
    let limits = rustix::process::Rlimit { current: Some(limit), maximum: Some(limit) };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limits).unwrap();
    for outcome in group_with(&store, false).await {
        assert!(matches!(&outcome, Err(StoreError::Fatal(why)) if why.contains("a commit failed: disk I/O error")), "{outcome:?}");
    }
    assert!(store.fatal().await.contains("disk I/O error"));
    assert!(matches!(store.create_user(user("late".into())).await, Err(StoreError::Fatal(_))));
}
