//! Versions while runs go on: what runs ends on the bytes it began with, and a version whose first run crashes gives way to the one before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod modules_support;

use modules_support::*;
use sluice::{
    config, link,
    modules::{self, Ended, Verb},
    runs::Scheduler,
};
use sluice_fixtures::{ANEW, DYING, dying};
use sluice_model::ConnectionId;
use sluice_store::{NewUser, RunOutcome, RunView};
use sluice_vault::Secret;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

async fn until_running(place: &Place, connection: ConnectionId) {
    let began = Instant::now();
    while !place.app().store.connection(connection).await.unwrap().unwrap().running {
        assert!(began.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_on_the_version_it_began_with_and_the_next_begins_on_the_new_one() {
    let mut place = Place::new();
    place.put("fit.wasm", &Stranger { sync: SLOW, ..Stranger::default() }.build());
    let app = place.watched().await;
    let connection = link(&place).await;
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    until_running(&place, connection).await;
    // The folder is not waited for here: the run is under way for a second or two.
    let second = Stranger { version: "1.1.0", sync: SLOW, ..Stranger::default() }.build();
    place.put("fit.wasm", &second);
    let runs = runs_of(&place, connection, |runs| runs.len() == 1).await;
    assert_eq!((runs[0].outcome, runs[0].connector_version.as_str()), (RunOutcome::Complete, "1.0.0"));
    place.until("fit", |l| l.version.as_deref() == Some("1.1.0")).await;
    run_now(&place, connection).await;
    until_running(&place, connection).await;
    // A first run that ends well needs no way back any more; going back by hand while it goes on does not touch it.
    let back = place.decide(Verb::Rollback, "fit").await.unwrap();
    assert_eq!(back.version.as_deref(), Some("1.0.0"));
    let newest = |version: &'static str| move |runs: &[RunView]| runs.first().is_some_and(|r| r.connector_version == version);
    let runs = runs_of(&place, connection, newest("1.1.0")).await;
    assert_eq!(runs[0].outcome, RunOutcome::Complete);
    run_now(&place, connection).await;
    let runs = runs_of(&place, connection, newest("1.0.0")).await;
    assert_eq!(runs[0].outcome, RunOutcome::Complete);
    scheduler.stop().await.unwrap();
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_whose_first_run_crashes_gives_way_to_the_one_before() {
    let mut place = Place::new();
    place.put("fit.wasm", &Stranger::default().build());
    let app = place.watched().await;
    let connection = link(&place).await;
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    runs_of(&place, connection, |runs| runs.len() == 1).await;

    let bad = Stranger { version: "1.1.0", sync: "unreachable", ..Stranger::default() }.build();
    place.put("fit.wasm", &bad);
    place.until("fit", |l| l.version.as_deref() == Some("1.1.0")).await;
    run_now(&place, connection).await;
    let (listing, _) = place.until("fit", |l| l.waiting.is_some()).await;
    assert!(runs(&listing) && listing.version.as_deref() == Some("1.0.0"), "{listing:?}");
    let waiting = listing.waiting.unwrap();
    assert!(waiting.line.contains("its first run failed") && waiting.line.contains("crashed"), "{waiting:?}");
    let log = place.audited().await;
    assert!(log.last().unwrap().starts_with("module-rolled-back fit@"), "{log:?}");
    let runs = runs_of(&place, connection, |runs| runs.first().is_some_and(|r| r.connector_version == "1.1.0")).await;
    assert_ne!(runs[0].outcome, RunOutcome::Complete);
    run_now(&place, connection).await;
    runs_of(&place, connection, |runs| runs.first().is_some_and(|r| r.connector_version == "1.0.0" && r.outcome == RunOutcome::Complete))
        .await;

    // One that runs well stays, and a later crash of it is an ordinary failure.
    let good = Stranger { version: "1.2.0", ..Stranger::default() }.build();
    place.put("fit.wasm", &good);
    place.until("fit", |l| l.version.as_deref() == Some("1.2.0")).await;
    let trial = |approvals: Vec<sluice_store::Approval>| approvals.iter().any(|a| a.on_trial);
    assert!(trial(app.store.approvals("fit").await.unwrap()));
    run_now(&place, connection).await;
    runs_of(&place, connection, |runs| runs.first().is_some_and(|r| r.connector_version == "1.2.0")).await;
    let began = Instant::now();
    while trial(app.store.approvals("fit").await.unwrap()) {
        assert!(began.elapsed() < Duration::from_secs(30), "a run has ended well");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    scheduler.stop().await.unwrap();
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_ended_well_stays_ended_whatever_was_set_meanwhile() {
    let mut place = Place::new();
    place.put("fit.wasm", &Stranger::default().build());
    let app = place.watched().await;
    place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    place.put("fit.wasm", &Stranger { version: "1.1.0", ..Stranger::default() }.build());
    place.until("fit", |l| l.version.as_deref() == Some("1.1.0")).await;
    let began = app.modules.get("fit").unwrap();
    place.settings("[connectors.fit.schedule]\nevery = \"3h\"\n");
    assert_eq!(config::reload(&app).await.unwrap().connectors, ["fit"]);
    let later = app.modules.get("fit").unwrap();
    // A run of each: the one that began before the settings changed ends well, a later one crashes.
    modules::ended(&app, &began, Ended::Well).expect("it is on trial").await.unwrap();
    modules::ended(&app, &later, Ended::Crashed("much later")).expect("nobody has told this one").await.unwrap();
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.1.0");
    let log = place.audited().await;
    assert!(log.iter().all(|line| line.starts_with("module-approved")), "{log:?}");
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_bytes_are_on_no_trial() {
    let mut place = Place::new();
    let first = Stranger::default().build();
    let bad = Stranger { version: "1.1.0", sync: "unreachable", ..Stranger::default() }.build();
    let pin = |bytes: &[u8]| format!("[connectors.fit]\nsha256 = \"{}\"\n", hash(bytes));
    place.put("fit.wasm", &first);
    let app = place.start().await;
    let connection = link(&place).await;
    // From one pin to another, as an operator does it.
    place.settings(&pin(&first));
    config::reload(&app).await.unwrap();
    place.stop().await;
    place.put("fit.wasm", &bad);
    place.settings(&pin(&bad));
    for _ in 0..2 {
        let app = place.start().await;
        assert!(app.store.approvals("fit").await.unwrap().iter().all(|a| !a.on_trial));
        let scheduler = Scheduler::start(app.clone()).await.unwrap();
        run_now(&place, connection).await;
        let crashed = |r: &RunView| r.connector_version == "1.1.0" && r.failure_code.as_deref() == Some("TRAP");
        runs_of(&place, connection, |runs| runs.first().is_some_and(crashed)).await;
        scheduler.stop().await.unwrap();
        let serves = app.modules.get("fit").unwrap();
        assert!(modules::ended(&app, &serves, Ended::Crashed("again")).is_none());
        assert!(runs(&place.listed("fit")) && place.listed("fit").waiting.is_none(), "{:?}", place.listed("fit"));
        place.stop().await;
    }
    place.start().await;
    assert!(!place.audited().await.iter().any(|line| line.starts_with("module-rolled-back")));
    place.stop().await;

    // Pinned while it is on trial, it is on trial no longer, nor when the pin is gone.
    let mut place = Place::new();
    place.put("fit.wasm", &first);
    let app = place.watched().await;
    place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    place.put("fit.wasm", &bad);
    place.until("fit", |l| l.version.as_deref() == Some("1.1.0")).await;
    let began = app.modules.get("fit").unwrap();
    place.settings(&pin(&bad));
    config::reload(&app).await.unwrap();
    modules::ended(&app, &began, Ended::Crashed("pinned meanwhile")).expect("it began on trial").await.unwrap();
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.1.0");
    assert!(app.store.approvals("fit").await.unwrap().iter().all(|a| !a.on_trial));
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_connector_runs_as_soon_as_it_is_there() {
    let mut place = Place::new();
    let bytes = Stranger::default().build();
    place.put("fit.wasm", &bytes);
    let app = place.watched().await;
    let connection = link(&place).await;
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    runs_of(&place, connection, |runs| runs.first().is_some_and(|run| run.outcome == RunOutcome::Complete)).await;
    let waits = |runs: &[RunView]| runs.first().is_some_and(|run| run.failure_code.as_deref() == Some("NO_CONNECTOR"));
    let ran = |runs: &[RunView]| runs.first().is_some_and(|run| run.outcome == RunOutcome::Complete);
    let in_minutes = async || {
        let due = app.store.connection(connection).await.unwrap().unwrap().next_due.unwrap();
        (due - app.now()) / 60_000
    };

    // The file is taken away and put back: no yes is needed.
    std::fs::rename(place.file("fit.wasm"), place.dir.path().join("away")).unwrap();
    let began = Instant::now();
    while app.modules.get("fit").is_some() {
        assert!(began.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    run_now(&place, connection).await;
    runs_of(&place, connection, waits).await;
    assert!(in_minutes().await >= 10, "it looks again now and then");
    std::fs::rename(place.dir.path().join("away"), place.file("fit.wasm")).unwrap();
    runs_of(&place, connection, ran).await;

    // Forgotten, it must be approved again: until then its account waits.
    place.decide(Verb::Remove, "fit").await.unwrap();
    run_now(&place, connection).await;
    runs_of(&place, connection, waits).await;
    place.put("fit.wasm", &bytes);
    place.until("fit", pends).await;
    assert!(in_minutes().await >= 10, "pending is not there");
    place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    runs_of(&place, connection, ran).await;
    scheduler.stop().await.unwrap();

    // What was mended while the host was down counts as well.
    std::fs::rename(place.file("fit.wasm"), place.dir.path().join("away")).unwrap();
    place.stop().await;
    let app = place.start().await;
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    run_now(&place, connection).await;
    runs_of(&place, connection, waits).await;
    scheduler.stop().await.unwrap();
    place.stop().await;
    std::fs::rename(place.dir.path().join("away"), place.file("fit.wasm")).unwrap();
    let app = place.start().await;
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    runs_of(&place, connection, ran).await;
    scheduler.stop().await.unwrap();
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_first_run_is_over_while_the_version_before_is_still_loaded() {
    let mut place = Place::new();
    // It takes three seconds to load.
    place.put("fit.wasm", &Stranger::default().build_sleeping(1_500));
    let app = place.watched().await;
    let connection = link(&place).await;
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    runs_of(&place, connection, |runs| runs.len() == 1).await;
    place.put("fit.wasm", &Stranger { version: "1.1.0", sync: "unreachable", ..Stranger::default() }.build());
    place.until("fit", |l| l.version.as_deref() == Some("1.1.0")).await;
    run_now(&place, connection).await;
    runs_of(&place, connection, |runs| runs.first().is_some_and(|r| r.connector_version == "1.1.0")).await;
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.1.0", "its run waited until the version before was back");
    place.until("fit", |l| runs(l) && l.version.as_deref() == Some("1.0.0")).await;
    scheduler.stop().await.unwrap();
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_wakes_whoever_waits_for_a_connector_that_cannot_be_loaded() {
    let mut place = Place::new();
    place.put("fit.wasm", &Stranger::default().build());
    let app = place.watched().await;
    let connection = link(&place).await;
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    runs_of(&place, connection, |runs| runs.first().is_some_and(|run| run.outcome == RunOutcome::Complete)).await;
    let second = Stranger { version: "1.1.0", ..Stranger::default() }.build();
    place.put("fit.wasm", &second);
    place.until("fit", |l| l.version.as_deref() == Some("1.1.0")).await;
    scheduler.stop().await.unwrap();
    place.stop().await;
    // Its copy is damaged, and its file is no longer there to mend it.
    std::fs::write(place.copy(&second), b"damaged").unwrap();
    place.put("fit.wasm", b"of no use");
    let app = place.watched().await;
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    assert!(app.modules.get("fit").is_none(), "{:?}", place.listed("fit"));
    run_now(&place, connection).await;
    runs_of(&place, connection, |runs| runs.first().is_some_and(|run| run.failure_code.as_deref() == Some("NO_CONNECTOR"))).await;
    let due = app.store.connection(connection).await.unwrap().unwrap().next_due.unwrap();
    assert!(due > app.now() + 10 * 60_000, "it looks again in a quarter of an hour");
    let back = place.decide(Verb::Rollback, "fit").await.unwrap();
    assert_eq!(back.version.as_deref(), Some("1.0.0"));
    let came = |run: &RunView| run.outcome == RunOutcome::Complete && run.connector_version == "1.0.0";
    runs_of(&place, connection, |runs| runs.first().is_some_and(came)).await;
    scheduler.stop().await.unwrap();
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_told_with_its_last_words_and_without_the_keys_that_stand_in_them() {
    let mut place = Place::new();
    let more = "(data (i32.const 6000) \"lost CANARY-key\") (func $boom unreachable)";
    let sync = "(call $log (i32.const 4) (i32.const 6000) (i32.const 15)) (call $boom)";
    place.put("fit.wasm", &Stranger { sync, more, ..Stranger::default() }.build());
    let app = place.watched().await;
    let connection = link(&place).await;
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    let runs = runs_of(&place, connection, |runs| runs.len() == 1).await;
    let crash = "the connector crashed: it gave up: lost *** (in boom)";
    assert!(runs[0].message.as_deref().unwrap().contains(crash), "{:?}", runs[0]);
    let log: Vec<String> = app.store.run_log(runs[0].id).await.unwrap().into_iter().map(|line| line.text).collect();
    assert_eq!((log[0].as_str(), log[1].as_str()), ("lost ***", crash), "{log:?}");
    assert!(!format!("{runs:?}{log:?}").contains("CANARY-key"));
    scheduler.stop().await.unwrap();
    place.stop().await;
}

/// Log lines of this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_a_connector_says_before_there_is_a_connection_is_told_without_keys_as_well() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let mut place = Place::new();
    let crashes = "(call $log (i32.const 4) (i32.const 6000) (i32.const 15)) (call $boom)";
    // An error: `unauthorized` of this connection, whose code and message lie at 6000.
    let fails = "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1036) (i32.const 6000)) (i32.store (i32.const 1040) (i32.const 15))
        (i32.store (i32.const 1044) (i32.const 6000)) (i32.store (i32.const 1048) (i32.const 15))";
    let more = "(data (i32.const 6000) \"lost CANARY-key\") (func $boom unreachable)";
    place.put("fit.wasm", &Stranger { identify: crashes, more, ..Stranger::default() }.build());
    let other = Stranger { name: "other", identify: fails, more, ..Stranger::default() }.build();
    place.put("other.wasm", &other);
    let app = place.start().await;
    let user = NewUser { name: "ada".into(), time_zone: "UTC".into(), password_hash: None, owner: true };
    let user = app.store.create_user(user).await.unwrap();
    for (name, says) in [("fit", "the connector crashed: it gave up: lost *** (in boom)"), ("other", "lost ***")] {
        place.decide(Verb::Approve, &place.asked(name)).await.unwrap();
        let fields = vec![("key".to_owned(), Secret::text("CANARY-key".to_owned()))];
        let error = link::link_fields(&app, user, name, "key", fields, None).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(!format!("{error} {}", error.public()).contains("CANARY"), "{error} {}", error.public());
    }
    place.stop().await;
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    // Who reads the log learns what was said, how it ended and where.
    for line in ["the connector crashed: it gave up: lost *** (in boom)", "identify:   in boom", "identify:     error lost ***"] {
        assert!(log.contains(line), "{log}");
    }
    assert!(!log.contains("CANARY"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_with_different_causes_are_rows_of_their_own() {
    let mut place = Place::new();
    // What stands behind the cause is the same each time.
    let more = dying(&format!("panic: no row {ANEW}\n\ngoroutine 1 [running]:\nrain.read_days()\n\t/src/rain.go:61 +0xbc\nmain.sync()\n"));
    place.put("fit.wasm", &Stranger { imports: DYING, sync: "(call $rain.read_days)", more: &more, ..Stranger::default() }.build());
    let app = place.watched().await;
    let connection = link(&place).await;
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    // The first one is linked, the others are asked for by hand.
    for n in 1..=3 {
        runs_of(&place, connection, |runs| runs.iter().map(|run| run.repeats).sum::<u32>() == n).await;
        if n < 3 {
            run_now(&place, connection).await;
        }
    }
    let runs = app.store.runs(connection, 10).await.unwrap();
    let said: BTreeSet<&str> = runs.iter().filter_map(|run| run.message.as_deref()).collect();
    assert!(said.len() >= 3 && said.len() == runs.len(), "{said:?}");
    assert!(said.iter().all(|said| said.contains("it gave up: panic: no row ") && said.ends_with(" (in rain.read_days)")), "{said:?}");
    scheduler.stop().await.unwrap();
    place.stop().await;
}
