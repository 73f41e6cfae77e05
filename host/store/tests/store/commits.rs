//! Fences, groups, neighbours.

use crate::fixture::*;
use sluice_store::*;

#[tokio::test]
async fn a_batch_with_an_old_epoch_or_another_lease_is_fenced_and_its_neighbours_commit() {
    let f = Fixture::new().await;
    let a = f.run("a").await;
    let b = f.run("b").await;
    let make = |fence: Fence, value: f64| {
        let mut ingest = f.ingest();
        ingest.record(&steps(MIDNIGHT, value)).unwrap();
        batch(fence, 10, ingest.take())
    };
    let old = f.store.submit(make(Fence { epoch: a.epoch - 1, ..a }, 1.0));
    let good = f.store.submit(make(b, 2.0));
    let other = f.store.submit(make(Fence { owner: a.owner + 1, ..a }, 3.0));
    let also = f.store.submit(make(a, 4.0));
    assert_eq!(old.await, Err(CommitError::Fenced));
    assert_eq!(good.await.unwrap().counts.inserted, 1);
    assert_eq!(other.await, Err(CommitError::Fenced));
    assert_eq!(also.await.unwrap().counts.inserted, 1);
    assert_eq!((f.values(a.connection).await, f.values(b.connection).await), (vec![4.0], vec![2.0]));
}

#[tokio::test]
async fn a_batch_that_is_refused_halfway_leaves_nothing_and_costs_its_neighbours_nothing() {
    let f = Fixture::new().await;
    let (a, b, c) = (f.run("a").await, f.run("b").await, f.run("c").await);
    // What no caller can bring about: a row that the database itself refuses, after others of the batch were written.
    f.side().execute_batch("CREATE TRIGGER refusing BEFORE INSERT ON state BEGIN SELECT RAISE(ABORT, 'not this one'); END").unwrap();
    let make = |fence: Fence, state: Vec<(String, Option<Vec<u8>>)>| {
        let mut ingest = f.ingest();
        ingest.record(&steps(MIDNIGHT, 1.0)).unwrap();
        Batch { state, ..batch(fence, 10, ingest.take()) }
    };
    let before = f.store.submit(make(a, Vec::new()));
    let refused = f.store.submit(make(b, vec![("key".into(), Some(b"value".to_vec()))]));
    let after = f.store.submit(make(c, Vec::new()));
    let job = f.store.create_user(NewUser { name: "beside".into(), time_zone: "UTC".into(), password_hash: None, owner: false });
    assert!(job.await.is_ok());
    assert_eq!(before.await.unwrap().counts.inserted, 1);
    assert!(matches!(refused.await, Err(CommitError::Transient(_))));
    assert_eq!(after.await.unwrap().counts.inserted, 1);
    let stored = [f.values(a.connection).await, f.values(b.connection).await, f.values(c.connection).await];
    assert_eq!(stored, [vec![1.0], vec![], vec![1.0]]);
    assert_eq!(f.record(b, 20, &[steps(MIDNIGHT, 2.0)]).await.inserted, 1, "its lease is still its own");
}

#[tokio::test]
async fn pausing_linking_again_and_disconnecting_stop_a_run_under_way() {
    let f = Fixture::new().await;
    let a = f.run("a").await;
    f.record(a, 10, &[steps(MIDNIGHT, 1.0)]).await;
    f.store.set_state(a.connection, ConnectionState::NeedsSignIn, Some("sign in again".into()), None).await.unwrap();
    assert_eq!(f.store.commit(ending(a, 20, Vec::new())).await, Err(CommitError::Fenced));
    let run = &f.store.runs(a.connection, 1).await.unwrap()[0];
    assert_eq!((run.outcome, run.counts.inserted), (RunOutcome::Interrupted, 1));
    let before = f.store.connection(a.connection).await.unwrap().unwrap();
    assert_eq!((before.state, before.next_due, before.running), (ConnectionState::NeedsSignIn, None, false));

    let again = NewLink { public_id: before.public_id.clone(), relink: Some(a.connection), ..f.link_of("a") };
    assert_eq!(f.store.link(again.clone()).await.unwrap(), a.connection);
    let after = f.store.connection(a.connection).await.unwrap().unwrap();
    assert_eq!((after.state, after.next_due), (ConnectionState::Ok, Some(MIDNIGHT)));
    assert!(after.epoch > before.epoch);
    assert_eq!(f.values(a.connection).await, [1.0], "its data stays");

    let b = f.claim().await.fence;
    f.store.link(again).await.unwrap();
    assert_eq!(f.store.commit(ending(b, 20, Vec::new())).await, Err(CommitError::Fenced));
    let c = f.claim().await.fence;
    f.store.disconnect(a.connection, DataChoice::Keep).await.unwrap();
    assert_eq!(f.store.commit(ending(c, 20, Vec::new())).await, Err(CommitError::Fenced));
}

#[tokio::test]
async fn a_lease_given_back_cannot_commit_into_the_next_one() {
    let f = Fixture::new().await;
    let first = f.run("a").await;
    f.store.release(vec![first]).await.unwrap();
    let second = f.claim().await.fence;
    assert_eq!((first.connection, first.epoch), (second.connection, second.epoch));
    assert_eq!(f.store.commit(ending(first, 10, Vec::new())).await, Err(CommitError::Fenced));
    f.store.commit(ending(second, 10, Vec::new())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_submitters_at_once_all_commit_and_share_the_flushes() {
    let f = std::sync::Arc::new(Fixture::new().await);
    let mut tasks = Vec::new();
    for n in 0..64 {
        f.link(&format!("account{n}")).await;
    }
    let claims = f.claims(64).await;
    assert_eq!(claims.len(), 64);
    for claim in claims {
        let f = std::sync::Arc::clone(&f);
        tasks.push(tokio::spawn(async move {
            let mut sequence = 0;
            for round in 0..10_i64 {
                let mut ingest = f.ingest();
                for n in 0..20 {
                    ingest.record(&steps(MIDNIGHT + round * HOUR + n, n as f64)).unwrap();
                }
                let done = f.store.commit(batch(claim.fence, round, ingest.take())).await.unwrap();
                assert_eq!(done.counts, counts(20, 0, 0, 0, 0));
                assert_eq!(done.sequence, sequence + 20, "sequence numbers are the connection's own, without gaps");
                sequence = done.sequence;
            }
            claim.fence.connection
        }));
    }
    for task in tasks {
        let connection = task.await.unwrap();
        assert_eq!(f.live(connection).await.len(), 200);
    }
}

#[tokio::test]
async fn one_connections_batches_keep_their_order_whatever_their_size() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let mut waiting = Vec::new();
    for round in 0..12_i64 {
        let mut ingest = f.ingest();
        // Small ones would overtake large ones if nothing held them.
        let rows = if round % 3 == 0 { 6_000 } else { 3 };
        for n in 0..rows {
            ingest.record(&steps(MIDNIGHT + n, round as f64)).unwrap();
        }
        waiting.push(f.store.submit(Batch { cursor: Some((round.to_string(), "1".into())), ..batch(fence, 5, ingest.take()) }));
    }
    let mut before = 0;
    for pending in waiting {
        let sequence = pending.await.unwrap().sequence;
        assert!(sequence > before);
        before = sequence;
    }
    assert_eq!(f.values(fence.connection).await[0], 11.0);
    f.store.commit(ending(fence, 10, Vec::new())).await.unwrap();
    f.at(MIDNIGHT + DAY);
    assert_eq!(f.claim().await.cursor.as_deref(), Some("11"));
}

#[tokio::test]
async fn everything_of_a_batch_is_committed_or_nothing() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let mut ingest = f.ingest();
    ingest.record(&steps(MIDNIGHT, 1.0)).unwrap();
    // The quota names an app that is not there: a constraint says no, after entries and state were written.
    let quota = QuotaRow { app: sluice_model::AppId(999), connection: None, name: "q".into(), used: 1, remaining: None, reset_at: 0 };
    let bad = Batch {
        cursor: Some(("c".into(), "1".into())),
        state: vec![("etag".into(), Some(b"x".to_vec()))],
        finish: Some(Finish { quotas: vec![quota], ..finish(MIDNIGHT, RunOutcome::Complete) }),
        ..batch(fence, 10, ingest.take())
    };
    assert!(matches!(f.store.commit(bad).await, Err(CommitError::Transient(_))));
    assert!(f.live(fence.connection).await.is_empty());
    assert!(f.store.runs(fence.connection, 10).await.unwrap().is_empty());
    assert!(f.store.connection(fence.connection).await.unwrap().unwrap().running, "the lease is still held");
    f.store.release(vec![fence]).await.unwrap();
    let claim = f.claim().await;
    assert_eq!((claim.cursor, claim.state), (None, Vec::new()));
}

#[tokio::test]
async fn a_closed_store_refuses_and_drains_first() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let mut ingest = f.ingest();
    ingest.record(&steps(MIDNIGHT, 1.0)).unwrap();
    let pending = f.store.submit(batch(fence, 10, ingest.take()));
    f.store.close().await;
    assert_eq!(pending.await.unwrap().counts.inserted, 1);
    assert!(matches!(f.store.owner().await, Err(StoreError::Closed)));
    assert!(matches!(f.store.apps().await, Err(StoreError::Closed)));
    let again = open(f.dir.path(), &f.clock).expect("the folder is free");
    assert!(again.owner().await.unwrap().is_some());
}
