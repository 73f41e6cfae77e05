//! Which bytes serve, who said so, and the way back.

use crate::fixture::*;
use sluice_store::*;
use std::sync::atomic::Ordering;

fn bytes(hash: &str) -> Candidate {
    Candidate { name: "fit".into(), hash: hash.into(), version: "1".into(), authority: format!("{{\"of\":\"{hash}\"}}") }
}

fn operator() -> Decided {
    Decided { by: "the operator".into(), user: None, reason: None }
}

async fn states(store: &Store) -> Vec<(String, &'static str, bool)> {
    let mut all: Vec<_> =
        store.approvals("fit").await.unwrap().into_iter().map(|a| (a.candidate.hash, a.state.as_str(), a.on_trial)).collect();
    all.sort();
    all
}

#[tokio::test]
async fn one_version_serves_and_the_one_before_is_kept() {
    let f = Fixture::new().await;
    assert!(f.store.note_pending(bytes("a")).await.unwrap());
    assert!(!f.store.note_pending(bytes("a")).await.unwrap(), "known already");
    assert!(f.store.kept_hashes().await.unwrap().is_empty(), "what waits has no copy");
    f.store.approve(bytes("a"), operator()).await.unwrap();
    f.clock.fetch_add(1, Ordering::Relaxed);
    f.store.approve(bytes("b"), operator()).await.unwrap();
    assert_eq!(states(&f.store).await, [("a".into(), "superseded", false), ("b".into(), "approved", true)]);
    assert_eq!(f.store.kept_hashes().await.unwrap().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    f.store.end_trial("fit", "b").await.unwrap();
    assert_eq!(states(&f.store).await[1], ("b".into(), "approved", false));
    // Noted again, a decided version stays decided.
    f.store.note_pending(bytes("b")).await.unwrap();
    assert_eq!(states(&f.store).await[1].1, "approved");
    let refused = f.store.refuse(bytes("b"), operator()).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "what serves is rolled back or removed: {refused:?}");
}

#[tokio::test]
async fn the_way_back_leads_to_what_served_before_and_only_once() {
    let f = Fixture::new().await;
    assert_eq!(f.store.roll_back("fit", "a", operator()).await.unwrap(), None, "nothing serves");
    f.store.approve(bytes("a"), operator()).await.unwrap();
    assert_eq!(f.store.roll_back("fit", "a", operator()).await.unwrap(), None, "nothing served before");
    f.clock.fetch_add(1, Ordering::Relaxed);
    f.store.approve(bytes("b"), operator()).await.unwrap();
    let why = Decided { reason: Some("its first run crashed".into()), ..operator() };
    let back = f.store.roll_back("fit", "b", why.clone()).await.unwrap().unwrap();
    assert_eq!((back.candidate, back.state), (bytes("a"), ApprovalState::Approved));
    assert_eq!(states(&f.store).await, [("a".into(), "approved", false), ("b".into(), "refused", false)]);
    assert_eq!(f.store.roll_back("fit", "b", why).await.unwrap(), None, "another run of the same version crashed as well");
    let log: Vec<String> = f.store.audit_log(10).await.unwrap().into_iter().map(|a| format!("{} {}", a.kind, a.detail)).collect();
    assert_eq!(
        log,
        [
            "module-rolled-back fit@b by the operator: its first run crashed",
            "module-approved fit@b by the operator",
            "module-approved fit@a by the operator"
        ]
    );
}

#[tokio::test]
async fn a_trial_fails_only_while_it_lasts_and_what_is_approved_for_good_has_none() {
    let f = Fixture::new().await;
    for hash in ["a", "b"] {
        f.store.approve(bytes(hash), operator()).await.unwrap();
        f.clock.fetch_add(1, Ordering::Relaxed);
    }
    f.store.end_trial("fit", "b").await.unwrap();
    assert_eq!(f.store.fail_trial("fit", "b", operator()).await.unwrap(), None, "a run of it has ended well");
    assert_eq!(states(&f.store).await, [("a".into(), "superseded", false), ("b".into(), "approved", false)]);
    f.store.approve_for_good(bytes("c"), operator()).await.unwrap();
    assert_eq!(states(&f.store).await[2], ("c".into(), "approved", false));
    assert_eq!(f.store.fail_trial("fit", "c", operator()).await.unwrap(), None);
    f.clock.fetch_add(1, Ordering::Relaxed);
    f.store.approve(bytes("d"), operator()).await.unwrap();
    let back = f.store.fail_trial("fit", "d", operator()).await.unwrap().unwrap();
    assert_eq!(back.candidate, bytes("c"));
    assert_eq!(states(&f.store).await[3], ("d".into(), "refused", false));
}

#[tokio::test]
async fn old_versions_make_room_and_forgetting_is_complete() {
    let f = Fixture::new().await;
    for n in 0..30 {
        f.clock.fetch_add(1, Ordering::Relaxed);
        f.store.approve(bytes(&format!("served-{n:02}")), operator()).await.unwrap();
        f.store.note_pending(bytes(&format!("waits-{n:02}"))).await.unwrap();
    }
    let all = states(&f.store).await;
    let of = |state: &str| all.iter().filter(|(_, s, _)| *s == state).count();
    assert_eq!((of("approved"), of("superseded"), of("pending")), (1, 3, 20));
    assert!(all.iter().any(|(hash, _, _)| hash == "waits-29") && !all.iter().any(|(hash, _, _)| hash == "waits-00"));
    assert_eq!(f.store.forget_module("fit", operator()).await.unwrap(), 24);
    assert!(f.store.approvals("fit").await.unwrap().is_empty());
    assert!(f.store.audit_log(1).await.unwrap()[0].detail.starts_with("fit@served-29"));
}

#[tokio::test]
async fn a_refusal_stays_until_somebody_says_yes() {
    let f = Fixture::new().await;
    f.store.refuse(bytes("a"), operator()).await.unwrap();
    f.store.note_pending(bytes("a")).await.unwrap();
    assert_eq!(states(&f.store).await, [("a".into(), "refused", false)]);
    f.store.approve(bytes("a"), operator()).await.unwrap();
    assert_eq!(states(&f.store).await, [("a".into(), "approved", false)]);
}

#[tokio::test]
async fn what_waits_nowhere_any_more_is_forgotten_and_what_was_decided_is_not() {
    let f = Fixture::new().await;
    let other = |hash: &str| Candidate { name: "other".into(), ..bytes(hash) };
    f.store.approve(bytes("serves"), operator()).await.unwrap();
    f.store.refuse(bytes("refused"), operator()).await.unwrap();
    for candidate in [bytes("here"), bytes("gone"), other("gone"), other("here")] {
        f.store.note_pending(candidate).await.unwrap();
    }
    let there = std::collections::BTreeSet::from(["here".to_owned()]);
    assert_eq!(f.store.forget_pending(there.clone()).await.unwrap(), 2);
    assert_eq!(f.store.forget_pending(there).await.unwrap(), 0);
    assert_eq!(states(&f.store).await.iter().map(|(hash, ..)| hash.as_str()).collect::<Vec<_>>(), ["here", "refused", "serves"]);
    assert_eq!(f.store.approvals("other").await.unwrap().len(), 1);
    assert_eq!(f.store.approved_names().await.unwrap().into_iter().collect::<Vec<_>>(), ["fit"]);
}
