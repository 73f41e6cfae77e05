//! Two hosts on one database: the folder's locks keep the second out, and where the same files are reached by another way, leases and versions keep the
//! first from writing over what the second did, until its heartbeat ends it.

use crate::fixture::*;
use sluice_store::*;

/// Opens the fixture's database beside its store: the same files, by names in another folder.
fn beside(f: &Fixture) -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["sluice.db", "sluice.db-wal", "sluice.db-shm"] {
        std::fs::hard_link(f.dir.path().join(name), folder.path().join(name)).unwrap();
    }
    (open(folder.path(), &f.clock).unwrap(), folder)
}

async fn version(store: &Store, fence: Fence) -> (i64, Option<i64>) {
    let row = store.credentials(fence.connection).await.unwrap().1.remove(0);
    (row.version, row.intent_at)
}

#[tokio::test]
async fn a_host_whose_lease_another_took_over_commits_nothing_and_replaces_no_key() {
    let f = Fixture::new().await;
    let old = f.run("a").await;
    f.record(old, 10, &[steps(MIDNIGHT, 1.0)]).await;
    // Its renewal is under way when it stands still.
    assert!(f.store.mark_intent(old.connection, "token", 1, MIDNIGHT).await.unwrap());

    let (second, _folder) = beside(&f);
    let incarnation = second.start_incarnation(MIDNIGHT + 2 * HOUR, MIDNIGHT + 3 * HOUR).await.unwrap();
    let claim = second.claim(incarnation, MIDNIGHT + 2 * HOUR, 1).await.unwrap().remove(0);
    assert_eq!((claim.connection.id, claim.attempts), (old.connection, 1));
    assert_eq!(version(&second, old).await, (1, Some(MIDNIGHT)), "it sees that an answer was lost");
    assert!(second.mark_intent(old.connection, "token", 1, MIDNIGHT + 2 * HOUR).await.unwrap());
    let key = |text: &[u8]| vec![credential("token", text)];
    assert!(second.replace_credentials(old.connection, ("token".into(), 1), key(b"of the second")).await.unwrap());

    // The first goes on: of all that it tries, nothing is taken.
    assert!(!f.store.replace_credentials(old.connection, ("token".into(), 1), key(b"of the first")).await.unwrap());
    assert!(!f.store.mark_intent(old.connection, "token", 1, MIDNIGHT + 2 * HOUR).await.unwrap(), "it asks the provider nothing");
    f.store.take_back_intent(old.connection, "token", 1).await.unwrap();
    let mut ingest = f.ingest();
    ingest.record(&steps(MIDNIGHT, 7.0)).unwrap();
    ingest.record(&steps(MIDNIGHT + 1, 7.0)).unwrap();
    assert_eq!(f.store.commit(batch(old, 20, ingest.take())).await.err(), Some(CommitError::Fenced));
    assert_eq!(f.store.commit(ending(old, 20, Vec::new())).await.err(), Some(CommitError::Fenced));
    assert!(matches!(f.store.heartbeat(f.incarnation, MIDNIGHT + 9 * HOUR).await, Err(StoreError::TakenOver)), "it learns that it is over");
    assert!(matches!(f.store.claim(f.incarnation, MIDNIGHT + 9 * HOUR, 1).await, Err(StoreError::TakenOver)));
    f.store.release(vec![old]).await.unwrap();

    // And the second ends as if nobody else had been there.
    assert_eq!(version(&second, old).await, (2, None));
    assert_eq!(second.credentials(old.connection).await.unwrap().1[0].ciphertext, b"of the second");
    let mut ingest = f.ingest();
    ingest.record(&steps(MIDNIGHT, 2.0)).unwrap();
    let counts = second.commit(ending(claim.fence, 30, ingest.take())).await.unwrap().counts;
    assert_eq!((counts.inserted, counts.updated), (0, 1));
    let rows = second.entries(EntryQuery::default()).await.unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.value).collect::<Vec<_>>(), [2.0]);
    second.close().await;
}

#[tokio::test]
async fn a_folder_whose_lock_file_was_deleted_is_held_all_the_same() {
    let f = Fixture::new().await;
    for _ in 0..2 {
        assert!(matches!(open(f.dir.path(), &f.clock), Err(OpenError::Locked(_))));
        std::fs::remove_file(f.dir.path().join("sluice.lock")).unwrap();
    }
    f.store.heartbeat(f.incarnation, MIDNIGHT + HOUR).await.unwrap();
    f.store.close().await;
    open(f.dir.path(), &f.clock).unwrap();
}

#[tokio::test]
async fn of_two_hosts_that_begin_at_once_the_later_one_lives() {
    let f = Fixture::new().await;
    let (second, _folder) = beside(&f);
    // Opened before either began: neither finds the other dead.
    let first = f.store.start_incarnation(MIDNIGHT, MIDNIGHT + HOUR).await.unwrap();
    f.store.heartbeat(first, MIDNIGHT + HOUR).await.unwrap();
    let later = second.start_incarnation(MIDNIGHT, MIDNIGHT + HOUR).await.unwrap();
    let over = f.store.heartbeat(first, MIDNIGHT + HOUR).await.unwrap_err();
    assert!(over.to_string().starts_with("another host took this data folder over, so this one stops\n"), "{over}");
    assert!(matches!(f.store.claim(first, MIDNIGHT, 1).await, Err(StoreError::TakenOver)));
    second.heartbeat(later, MIDNIGHT + HOUR).await.unwrap();
    second.claim(later, MIDNIGHT, 1).await.unwrap();
    second.close().await;
}

#[tokio::test]
async fn a_host_whose_database_is_no_longer_at_its_place_stops() {
    let f = Fixture::new().await;
    let (here, aside) = (f.dir.path().join("sluice.db"), f.dir.path().join("aside"));
    let beat = async || f.store.heartbeat(f.incarnation, MIDNIGHT + HOUR).await;
    beat().await.unwrap();
    std::fs::rename(&here, &aside).unwrap();
    assert!(matches!(beat().await, Err(StoreError::Moved(path)) if path == here), "it is gone");
    std::fs::copy(&aside, &here).unwrap();
    assert!(matches!(beat().await, Err(StoreError::Moved(_))), "it was restored from a backup");
    std::fs::rename(&aside, &here).unwrap();
    beat().await.unwrap();
}

#[tokio::test]
async fn of_two_hosts_that_renew_the_same_key_at_once_one_keeps_its_answer() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let (second, _folder) = beside(&f);
    for round in 1..=50 {
        let replace = |store: &Store, text: &'static [u8]| {
            let store = store.clone();
            async move {
                store.mark_intent(fence.connection, "token", round, MIDNIGHT).await.unwrap();
                store.replace_credentials(fence.connection, ("token".into(), round), vec![credential("token", text)]).await.unwrap()
            }
        };
        let (here, there) = tokio::join!(tokio::spawn(replace(&f.store, b"here")), tokio::spawn(replace(&second, b"there")));
        let (here, there) = (here.unwrap(), there.unwrap());
        assert!(here ^ there, "round {round}: {here} {there}");
        let row = f.store.credentials(fence.connection).await.unwrap().1.remove(0);
        assert_eq!((row.version, row.intent_at), (round + 1, None));
        assert_eq!(row.ciphertext, if here { &b"here"[..] } else { b"there" });
    }
    second.close().await;
}
