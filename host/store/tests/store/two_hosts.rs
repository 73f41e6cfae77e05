//! Two hosts on one database: the folder's lock keeps the second out, and where somebody takes the lock's file away, leases and versions keep the first
//! from writing over what the second did.

use crate::fixture::*;
use sluice_store::*;

/// Opens the folder beside the fixture's store, as a second process could after somebody deleted the lock's file.
fn beside(f: &Fixture) -> Store {
    assert!(matches!(open(f.dir.path(), &f.clock), Err(OpenError::Locked(_))));
    std::fs::remove_file(f.dir.path().join("sluice.lock")).unwrap();
    open(f.dir.path(), &f.clock).unwrap()
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

    let second = beside(&f);
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
    assert!(!f.store.heartbeat(f.incarnation, MIDNIGHT + 9 * HOUR).await.unwrap(), "it learns that it is over");
    assert!(matches!(f.store.claim(f.incarnation, MIDNIGHT + 9 * HOUR, 1).await, Err(StoreError::Fenced)));
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
async fn of_two_hosts_that_renew_the_same_key_at_once_one_keeps_its_answer() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let second = beside(&f);
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
