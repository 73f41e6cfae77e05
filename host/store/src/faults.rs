//! What the writer does when the disk is full, when a statement finds the database broken, and when its own code fails.
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
