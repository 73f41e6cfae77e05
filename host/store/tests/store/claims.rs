//! What is due, for whom, at what cost.

use crate::fixture::*;
use sluice_model::task::Reason;
use sluice_model::{Account, AppId, FailureKind, UserId};
use sluice_store::*;

async fn user(f: &Fixture, name: &str) -> UserId {
    let user = NewUser { name: name.into(), time_zone: "UTC".into(), password_hash: None, owner: false };
    f.store.create_user(user).await.unwrap()
}

async fn link(f: &Fixture, user: UserId, app: AppId, account: &str, due: i64) -> sluice_model::ConnectionId {
    let account = Account { id: Some(account.into()), label: account.into(), route_keys: Vec::new() };
    let link = NewLink { user, app, account, due, ..f.link_of("x") };
    let id = f.store.link(link).await.unwrap();
    // As after the first run: nobody asked for it.
    f.side().execute("UPDATE work SET priority = 0, reason = 'scheduled' WHERE connection = ?", [id.0]).unwrap();
    id
}

#[tokio::test]
async fn no_user_takes_more_than_their_share_while_others_wait() {
    let f = Fixture::new().await;
    let (many, few) = (user(&f, "many").await, user(&f, "few").await);
    for n in 0..40 {
        link(&f, many, f.app, &format!("m{n}"), MIDNIGHT - 1000 + n).await;
    }
    for n in 0..2 {
        link(&f, few, f.app, &format!("f{n}"), MIDNIGHT - 1).await;
    }
    let claims = f.claims(4).await;
    let of_few = claims.iter().filter(|claim| claim.connection.user == few).count();
    assert_eq!((claims.len(), of_few), (4, 2), "two each, though the other waited longer");
    assert_eq!(f.claims(50).await.len(), 38, "alone, everything is theirs");
}

#[tokio::test]
async fn apps_take_turns_and_paused_or_blocked_ones_are_skipped() {
    let f = Fixture::new().await;
    let mut apps = vec![f.app];
    for name in ["second", "third", "fourth"] {
        apps.push(f.store.app("sample", name).await.unwrap().id);
    }
    for (n, app) in apps.iter().enumerate() {
        for m in 0..10 {
            let owner = user(&f, &format!("u{n}-{m}")).await;
            link(&f, owner, *app, &format!("a{n}-{m}"), MIDNIGHT - 100 + n as i64).await;
        }
    }
    f.store.set_app(apps[2], AppState::Paused, Some("invalid_client".into()), None).await.unwrap();
    f.store.set_app(apps[3], AppState::Open, None, Some(MIDNIGHT + HOUR)).await.unwrap();
    let of = |claims: &[Claim], app: AppId| claims.iter().filter(|claim| claim.app.id == app).count();
    let claims = f.claims(8).await;
    assert_eq!((of(&claims, apps[0]), of(&claims, apps[1]), claims.len()), (4, 4, 8));
    let mut singly = [0, 0];
    for _ in 0..4 {
        let claims = f.claims(1).await;
        singly[usize::from(claims[0].app.id == apps[1])] += 1;
    }
    assert_eq!(singly, [2, 2], "one at a time they take turns too");
    assert_eq!(f.claims(100).await.len(), 8);
    assert!(f.claims(100).await.is_empty());
    assert_eq!(f.store.next_due().await.unwrap(), Some(MIDNIGHT + HOUR), "when the block ends");
    f.at(MIDNIGHT + HOUR);
    assert_eq!(f.claims(100).await.len(), 10);
}

#[tokio::test]
async fn what_somebody_asked_for_goes_first() {
    let f = Fixture::new().await;
    let mut last = None;
    for n in 0..20 {
        last = Some(link(&f, f.user, f.app, &format!("a{n}"), MIDNIGHT - 100 + n).await);
    }
    let last = last.unwrap();
    assert_eq!(f.store.request_run(last, Reason::Manual, MIDNIGHT).await.unwrap(), Requested::Queued);
    let claim = f.claim().await;
    assert_eq!((claim.connection.id, claim.reason), (last, Reason::Manual));
    assert_eq!(f.store.request_run(last, Reason::Manual, MIDNIGHT).await.unwrap(), Requested::Running);
}

#[tokio::test]
async fn a_wish_to_run_does_not_override_what_only_signing_in_or_waiting_can_mend() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let limited = Finish { state: ConnectionState::RateLimited, ..finish(MIDNIGHT, RunOutcome::More) };
    f.store.commit(Batch { finish: Some(limited), ..batch(fence, 10, Vec::new()) }).await.unwrap();
    let ask = async |now| f.store.request_run(fence.connection, Reason::Manual, now).await.unwrap();
    assert_eq!(ask(MIDNIGHT).await, Requested::Paused(ConnectionState::RateLimited));
    assert_eq!(ask(MIDNIGHT + HOUR).await, Requested::Queued);
    for (state, answer) in [
        (ConnectionState::NeedsSignIn, Requested::Paused(ConnectionState::NeedsSignIn)),
        (ConnectionState::Gone, Requested::Paused(ConnectionState::Gone)),
        (ConnectionState::NeedsAction, Requested::Queued),
        (ConnectionState::BackingOff, Requested::Queued),
    ] {
        f.store.set_state(fence.connection, state, None, None).await.unwrap();
        assert_eq!(ask(MIDNIGHT).await, answer);
    }
}

#[tokio::test]
async fn a_claim_brings_everything_that_a_run_needs() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    let quota = |connection, name: &str| QuotaRow { app: f.app, connection, name: name.into(), used: 5, remaining: Some(7), reset_at: 99 };
    let end = Finish {
        quotas: vec![quota(None, "app"), quota(Some(fence.connection), "own")],
        attempts: 2,
        ..finish(MIDNIGHT, RunOutcome::Complete)
    };
    let last = Batch {
        cursor: Some(("page 3".into(), "1.0.0".into())),
        state: vec![("etag".into(), Some(b"x".to_vec()))],
        guest_keys: vec![("session".into(), Some(b"guest".to_vec())), ("token".into(), Some(b"stolen".to_vec()))],
        finish: Some(end),
        ..batch(fence, 10, Vec::new())
    };
    f.store.commit(last).await.unwrap();
    assert_eq!(f.store.next_due().await.unwrap(), Some(MIDNIGHT + HOUR));
    assert!(f.claims(5).await.is_empty());
    f.at(MIDNIGHT + HOUR);
    let claim = f.claim().await;
    assert_eq!(claim.reason, Reason::Scheduled);
    assert_eq!((claim.cursor.as_deref(), claim.cursor_version.as_deref()), (Some("page 3"), Some("1.0.0")));
    assert_eq!((claim.last_complete, claim.attempts), (Some(MIDNIGHT), 2));
    assert_eq!(claim.user_time_zone, "Europe/Berlin");
    assert_eq!(claim.state, [("etag".to_owned(), b"x".to_vec())]);
    assert_eq!(claim.data_key, Some(("k1".to_owned(), b"wrapped".to_vec())));
    assert_eq!(claim.quotas.len(), 2);
    let keys: Vec<_> = claim.credentials.iter().map(|key| (key.name.as_str(), key.ciphertext.as_slice(), key.guest)).collect();
    assert_eq!(keys, [("session", b"guest".as_slice(), true), ("token", b"sealed".as_slice(), false)], "a key the host holds stays");
    assert_eq!(claim.connection.settings, [("units".to_owned(), "metric".to_owned())]);
    assert!(claim.connection.running);
    assert_eq!(claim.connection.last_check, Some(MIDNIGHT));
}

#[tokio::test]
async fn an_idle_tick_costs_no_scan() {
    let f = Fixture::new().await;
    // Many that are idle, one that is due.
    let db = f.side();
    let idle = link(&f, f.user, f.app, "idle", MIDNIGHT + DAY).await;
    db.execute_batch("BEGIN").unwrap();
    for n in 0..20_000 {
        db.execute(
            "INSERT INTO connection (public_id, user, app, connector, profile, label, route_keys, scopes, settings, linked_at)
             VALUES (?, ?, ?, 'sample', 'p', 'l', '[]', '[]', '[]', 0)",
            rusqlite::params![format!("idle{n}"), f.user.0, f.app.0],
        )
        .unwrap();
        let id = db.last_insert_rowid();
        db.execute(
            "INSERT INTO work (connection, kind, subject, app, user, due, reason) VALUES (?, 'sync', 0, ?, ?, ?, 'scheduled')",
            [id, f.app.0, f.user.0, MIDNIGHT + DAY + n],
        )
        .unwrap();
        db.execute("INSERT INTO task (connection, kind) VALUES (?, 'sync')", [id]).unwrap();
    }
    db.execute_batch("COMMIT").unwrap();
    let plan = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> String {
        let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        statement.query_map(values, |row| row.get::<_, String>(3)).unwrap().map(Result::unwrap).collect::<Vec<_>>().join("; ")
    };
    let due =
        plan("SELECT user, connection FROM work INDEXED BY work_due WHERE app = ? AND due <= ? AND kind = 'sync' ORDER BY due", &[&1, &1]);
    assert!(due.contains("SEARCH work USING COVERING INDEX work_due (app=? AND due<?)") && !due.contains("SCAN"), "{due}");
    assert!(!due.contains("TEMP B-TREE"), "{due}");
    let next = plan("SELECT min(due) FROM work INDEXED BY work_due WHERE app = ? AND due IS NOT NULL", &[&1]);
    assert!(next.contains("SEARCH work USING COVERING INDEX work_due") && !next.contains("SCAN"), "{next}");
    // And in fact: the same tick, with 20,000 idle, is done in a moment.
    f.claims(16).await;
    let begun = std::time::Instant::now();
    for _ in 0..50 {
        assert!(f.claims(16).await.is_empty());
        assert_eq!(f.store.next_due().await.unwrap(), Some(MIDNIGHT + DAY));
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(f.store.connection(idle).await.unwrap().unwrap().next_due, Some(MIDNIGHT + DAY));
}

#[tokio::test]
async fn three_different_connections_within_the_hour_are_counted_once_each() {
    let f = Fixture::new().await;
    let mut all = Vec::new();
    for n in 0..3 {
        all.push(f.link(&format!("a{n}")).await);
    }
    let note = async |n: usize, at| f.store.note_misconfigured(f.app, all[n], at).await.unwrap();
    assert_eq!(note(0, MIDNIGHT).await, 1);
    assert_eq!(note(0, MIDNIGHT + 1).await, 1);
    assert_eq!(note(1, MIDNIGHT + 2).await, 2);
    assert_eq!(note(2, MIDNIGHT + HOUR + 1).await, 2, "the first was over an hour ago");
}

#[tokio::test]
async fn an_app_that_holds_its_share_leaves_the_rest_to_others() {
    let f = Fixture::new().await;
    let other = f.store.app("sample", "other").await.unwrap().id;
    for n in 0..20 {
        link(&f, f.user, f.app, &format!("a{n}"), MIDNIGHT - 1000 + n).await;
    }
    link(&f, f.user, other, "b", MIDNIGHT - 1).await;
    let mut held = Held::none(12);
    held.several_apps = true;
    while held.admits(f.app, f.user) {
        held.take(f.app, f.user);
    }
    let incarnation = f.store.start_incarnation(MIDNIGHT, MIDNIGHT + HOUR).await.unwrap();
    let claims = f.store.claim_beside(incarnation, MIDNIGHT, 12, held.clone()).await.unwrap();
    let apps: Vec<AppId> = claims.iter().map(|claim| claim.app.id).collect();
    assert_eq!(apps, [other], "the other one, although the first waits longer");
    held.several_apps = false;
    assert_eq!(f.store.claim_beside(incarnation, MIDNIGHT, 12, held.clone()).await.unwrap().len(), held.free(), "alone, all that is free");
}

#[tokio::test]
async fn a_limit_that_one_run_met_does_not_open_a_paused_app() {
    let f = Fixture::new().await;
    let state = async || f.store.apps().await.unwrap().into_iter().find(|app| app.id == f.app).unwrap();
    f.store.block_app(f.app, MIDNIGHT + HOUR, Some("limit".into())).await.unwrap();
    f.store.block_app(f.app, MIDNIGHT + 1, Some("shorter".into())).await.unwrap();
    assert_eq!(state().await.blocked_until, Some(MIDNIGHT + HOUR), "the longer one holds");
    f.store.set_app(f.app, AppState::Paused, Some("invalid_client".into()), None).await.unwrap();
    f.store.block_app(f.app, MIDNIGHT + HOUR, Some("limit".into())).await.unwrap();
    assert_eq!((state().await.state, state().await.reason.as_deref()), (AppState::Paused, Some("invalid_client")));
    assert!(f.store.resume_app(f.app).await.unwrap());
    assert!(!f.store.resume_app(f.app).await.unwrap(), "it was open already");
    assert_eq!((state().await.state, state().await.reason), (AppState::Open, None));
}

#[tokio::test]
async fn whoever_waits_for_a_connector_is_due_when_it_comes_and_nobody_else_is() {
    let f = Fixture::new().await;
    let later = MIDNIGHT + HOUR;
    let failed = |code: &str, due: Option<i64>| Finish {
        failure: Some(sluice_model::Failure::new(FailureKind::Other, code, "it failed")),
        state: ConnectionState::BackingOff,
        next_due: due,
        ..finish(MIDNIGHT, RunOutcome::Failed(FailureKind::Other))
    };
    let mut waits = Vec::new();
    for (account, code, due) in [
        ("waits", "NO_CONNECTOR", Some(later)),
        ("waits too", "NO_CONNECTOR", Some(later)),
        ("failed", "HTTP_503", Some(later)),
        ("paused", "NO_CONNECTOR", None),
    ] {
        let fence = f.run(account).await;
        f.store.commit(Batch { finish: Some(failed(code, due)), ..batch(fence, 10, Vec::new()) }).await.unwrap();
        if account.starts_with("waits") {
            waits.push(fence.connection);
        }
    }
    assert_eq!(f.store.next_due().await.unwrap(), Some(later));
    assert_eq!(f.store.wake_absent(vec!["another".into()]).await.unwrap(), 0);
    assert_eq!(f.store.wake_absent(vec!["another".into(), "sample".into()]).await.unwrap(), 2);
    let mut due: Vec<_> = f.claims(10).await.into_iter().map(|claim| claim.fence.connection).collect();
    due.sort_by_key(|id| id.0);
    assert_eq!(due, waits);
    assert_eq!(f.store.wake_absent(vec!["sample".into()]).await.unwrap(), 0, "they run");
}
