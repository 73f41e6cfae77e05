//! Users, sessions, tickets, flows, keys.

use crate::fixture::*;
use sluice_store::*;

#[tokio::test]
async fn there_is_one_owner_and_names_are_unique() {
    let f = Fixture::new().await;
    let new = |name: &str, owner| NewUser { name: name.into(), time_zone: "UTC".into(), password_hash: None, owner };
    assert!(matches!(f.store.create_user(new("bob", true)).await, Err(StoreError::Refused(_))));
    assert!(matches!(f.store.create_user(new("ann", false)).await, Err(StoreError::Refused(_))));
    let bob = f.store.create_user(new("bob", false)).await.unwrap();
    assert_eq!(f.store.owner().await.unwrap().unwrap().id, f.user);
    assert_eq!(f.store.user_by_name("bob").await.unwrap().unwrap().id, bob);
    f.store.set_time_zone(bob, "Asia/Tokyo".into()).await.unwrap();
    assert_eq!(f.store.user(bob).await.unwrap().unwrap().time_zone, "Asia/Tokyo");
    let nobody = sluice_model::UserId(99);
    assert!(matches!(f.store.set_password(nobody, "x".into()).await, Err(StoreError::Missing("user"))));
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_of_before() {
    let f = Fixture::new().await;
    let session = |n: u8| Session { hash: [n; 32], user: f.user, created_at: 1, idle_until: 10, absolute_until: MIDNIGHT };
    f.store.create_session(session(1)).await.unwrap();
    f.store.create_session(session(2)).await.unwrap();
    f.store.touch_session(&[1; 32], 99).await.unwrap();
    assert_eq!(f.store.session(&[1; 32]).await.unwrap().unwrap().idle_until, 99);
    f.store.end_session(&[1; 32]).await.unwrap();
    assert_eq!(f.store.session(&[1; 32]).await.unwrap(), None);
    f.store.set_password(f.user, "$argon2id$".into()).await.unwrap();
    assert_eq!(f.store.session(&[2; 32]).await.unwrap(), None);
}

#[tokio::test]
async fn a_ticket_and_a_flow_are_taken_once() {
    let f = Fixture::new().await;
    let ticket = Ticket { hash: [7; 32], kind: "owner".into(), user: None, expires_at: 5 };
    f.store.put_ticket(Ticket { hash: [6; 32], ..ticket.clone() }).await.unwrap();
    f.store.put_ticket(ticket.clone()).await.unwrap();
    assert_eq!(f.store.peek_ticket(&[6; 32]).await.unwrap(), None, "a newer one ends the one before");
    assert_eq!(f.store.peek_ticket(&[7; 32]).await.unwrap(), Some(ticket.clone()));
    let both = tokio::join!(f.store.take_ticket(&[7; 32]), f.store.take_ticket(&[7; 32]));
    let mut both = [both.0.unwrap(), both.1.unwrap()];
    both.sort_by_key(Option::is_some);
    assert_eq!(both, [None, Some(ticket)]);

    let flow = Flow {
        state_hash: [1; 32],
        session: Some([2; 32]),
        user: f.user,
        connector: "sample".into(),
        profile: "app".into(),
        relink: None,
        sealed: b"verifier".to_vec(),
        created_at: MIDNIGHT,
        expires_at: MIDNIGHT + 600_000,
    };
    f.store.start_flow(flow.clone()).await.unwrap();
    assert_eq!(f.store.take_flow(&[1; 32]).await.unwrap(), Some(flow));
    assert_eq!(f.store.take_flow(&[1; 32]).await.unwrap(), None);
}

#[tokio::test]
async fn of_two_refreshers_one_replaces_the_pair() {
    let f = Fixture::new().await;
    let id = f.link("a").await;
    assert!(f.store.mark_intent(id, "token", 1, 42).await.unwrap());
    assert!(!f.store.mark_intent(id, "token", 2, 42).await.unwrap(), "a version that is not there");
    assert_eq!(f.store.credentials(id).await.unwrap().1[0].intent_at, Some(42));
    let pair = vec![credential("token", b"new"), credential("refresh", b"new too")];
    assert!(f.store.replace_credentials(id, ("token".into(), 1), pair.clone()).await.unwrap());
    assert!(!f.store.replace_credentials(id, ("token".into(), 1), pair).await.unwrap());
    let keys = f.store.credentials(id).await.unwrap().1;
    let brief: Vec<_> = keys.iter().map(|key| (key.name.as_str(), key.version, key.intent_at)).collect();
    assert_eq!(brief, [("refresh", 1, None), ("token", 2, None)]);
    // An answer without a new value for the one that was asked about: still answered.
    assert!(f.store.replace_credentials(id, ("refresh".into(), 1), vec![credential("token", b"newer")]).await.unwrap());
    assert!(!f.store.mark_intent(id, "refresh", 1, 50).await.unwrap());
}

#[tokio::test]
async fn the_same_account_is_not_linked_twice_by_the_same_user() {
    let f = Fixture::new().await;
    let id = f.link("a").await;
    assert!(matches!(f.store.link(f.link_of("a")).await, Err(StoreError::AlreadyLinked(other)) if other == id));
    let found = f.store.connection_by_account(f.user, "sample", "a").await.unwrap().unwrap();
    assert_eq!(found.id, id);
    assert_eq!(f.store.connection_by_public(&found.public_id).await.unwrap().unwrap().id, id);
    // Where the provider tells nobody who they are, nothing can be compared.
    let nameless = || {
        let mut link = f.link_of("x");
        link.account.id = None;
        link
    };
    f.store.link(nameless()).await.unwrap();
    f.store.link(nameless()).await.unwrap();
    let filter = ConnectionFilter { user: Some(f.user), connector: Some("sample".into()) };
    assert_eq!(f.store.connections(filter).await.unwrap().len(), 3);
    assert_eq!(f.store.connection_count().await.unwrap(), f.store.connections(ConnectionFilter::default()).await.unwrap().len() as u64);
    let other = ConnectionFilter { connector: Some("other".into()), ..ConnectionFilter::default() };
    assert!(f.store.connections(other).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_audit_trail_is_read_newest_first() {
    let f = Fixture::new().await;
    for n in 0..3 {
        let note = Audit { at: n, user: Some(f.user), kind: "sign-in".into(), connection: None, detail: format!("n{n}") };
        f.store.audit(note).await.unwrap();
    }
    let log = f.store.audit_log(2).await.unwrap();
    assert_eq!(log.iter().map(|note| note.detail.as_str()).collect::<Vec<_>>(), ["n2", "n1"]);
}

#[tokio::test]
async fn public_ids_are_random_and_typable() {
    let f = Fixture::new().await;
    let ids: std::collections::HashSet<String> = (0..100).map(|_| f.store.new_public_id()).collect();
    assert_eq!(ids.len(), 100);
    assert!(ids.iter().all(|id| id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())));
}
