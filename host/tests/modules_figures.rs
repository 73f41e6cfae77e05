//! What an operator is told of a module: what its runs cost, what the gate refused, and how they failed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod modules_support;

use modules_support::*;
use sluice::{
    modules::{self, Verb},
    runs::Scheduler,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_module_is_told_by_its_runs() {
    let mut place = Place::new();
    place.put("fit.wasm", &Stranger { sync: &astray().sync, more: &astray().more, ..Stranger::default() }.build());
    let app = place.watched().await;
    let (pending, _) = place.until("fit", pends).await;
    assert!(pending.compile_ms.is_some(), "it was compiled to be asked what it is");
    let report = modules::report(&app, "fit").await.unwrap().unwrap();
    assert_eq!((&report.listing, report.runs, report.before, report.memory_limit), (&pending, None, None, None));
    assert_eq!(modules::report(&app, "fat").await.unwrap(), None);

    let connection = link(&place).await;
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    runs_of(&place, connection, |runs| runs.len() == 1).await;
    run_now(&place, connection).await;
    let ran = runs_of(&place, connection, |runs| runs.len() == 2 || runs[0].repeats == 2).await;
    assert!(ran.iter().all(|run| run.used.denied == u64::from(run.repeats)), "one refusal a run: {ran:?}");
    let report = modules::report(&app, "fit").await.unwrap().unwrap();
    let figures = report.runs.unwrap();
    assert_eq!((figures.runs, figures.denied, figures.errors.len()), (2, 2, 0));
    // Four pages are what the fixture begins with.
    assert!(figures.cpu_us > 0 && figures.memory_bytes >= 4 << 16, "{figures:?}");
    assert!(figures.memory_bytes <= report.memory_limit.unwrap());
    assert_eq!((figures.latest[0].version.as_str(), figures.latest[0].outcome.as_str()), ("1.0.0", "complete"));

    // The next version crashes: its error is there, and so is what it can go back to until it does.
    place.put("fit.wasm", &Stranger { version: "1.1.0", sync: "unreachable", metrics: &["sleep", "steps"], ..Stranger::default() }.build());
    place.until("fit", |l| l.version.as_deref() == Some("1.1.0")).await;
    let report = modules::report(&app, "fit").await.unwrap().unwrap();
    // To store more needs no yes, and is told all the same, here and in the audit trail.
    assert_eq!(report.stores.as_deref(), Some("now also stores sleep"));
    let log = place.audited().await;
    assert!(log.last().unwrap().ends_with("it asks for nothing more than the version before; it now also stores sleep"), "{log:?}");
    let before = report.before.unwrap();
    assert_eq!((before.version.as_str(), Some(before.sha256)), ("1.0.0", pending.sha256));
    run_now(&place, connection).await;
    place.until("fit", |l| l.waiting.is_some()).await;
    runs_of(&place, connection, |runs| runs[0].connector_version == "1.1.0").await;
    let report = modules::report(&app, "fit").await.unwrap().unwrap();
    assert_eq!((&report.before, &report.stores), (&None, &None), "it is what serves again");
    let error = &report.runs.unwrap().errors[0];
    assert!(error.version == "1.1.0" && error.code == "TRAP" && error.message.contains("crashed"), "{error:?}");

    place.decide(Verb::Remove, "fit").await.unwrap();
    scheduler.stop().await.unwrap();
    place.stop().await;
}
