//! Settings that change while the host runs: what is right holds at once, what is wrong is said, and nothing stops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod folder_support;

use folder_support::{Place, sha256};
use sluice::{
    config::{follow, reload},
    modules::ModuleState,
};
use sluice_store::AppState;
use std::{fs, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const HOUR: i64 = 3_600_000;

fn place() -> (Place, String) {
    let place = Place::new();
    for name in ["github", "lastfm"] {
        fs::write(place.modules().join(format!("{name}.wasm")), place.connector(name)).unwrap();
    }
    let pin = |name: &str| format!("[connectors.{name}]\nsha256 = \"{}\"\n", sha256(&place.connector(name)));
    let pins = format!("{}{}", pin("lastfm"), pin("github"));
    (place, pins)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connectors_settings_hold_at_once_and_nobody_elses_connector_is_touched() {
    let (place, pins) = place();
    place.settle(&pins);
    let app = place.open().await;
    let (github, lastfm) = (app.modules.get("github").unwrap(), app.modules.get("lastfm").unwrap());
    place.settle(&format!("{pins}[connectors.github.schedule]\nevery = \"3h\"\n[connectors.github.limits]\nrequests = 7\n"));
    let done = reload(&app).await.unwrap();
    assert_eq!((done.connectors, done.restart), (vec!["github".to_owned()], Vec::new()));
    let now = app.modules.get("github").unwrap();
    assert_eq!((now.every_ms(), now.config.limits.requests), (3 * HOUR, 7));
    assert_ne!(github.every_ms(), 3 * HOUR, "a run under way keeps what it began with");
    assert!(Arc::ptr_eq(&lastfm, &app.modules.get("lastfm").unwrap()));
    assert!(reload(&app).await.unwrap().connectors.is_empty(), "the same file changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_and_the_settings_before_stay() {
    let (place, pins) = place();
    place.settle(&format!("{pins}[connectors.github.schedule]\nevery = \"2h\"\n"));
    let app = place.open().await;
    place.settle(&format!("{pins}[connectors.github.schedule]\nevry = \"3h\"\n"));
    let error = reload(&app).await.unwrap_err().to_string();
    assert!(error.contains("did you mean “every”") && error.contains("plugins.toml"), "{error}");
    assert_eq!(app.modules.get("github").unwrap().every_ms(), 2 * HOUR);

    // Right as a file, wrong for the connector: that one goes on as it was, and says so.
    place.settle(&format!("{pins}[connectors.github.schedule]\nevery = \"3h\"\n[connectors.github.app]\nnonsense = \"x\"\n[connectors.lastfm.schedule]\nevery = \"5h\"\n"));
    reload(&app).await.unwrap();
    assert_eq!(app.modules.get("github").unwrap().every_ms(), 2 * HOUR);
    assert_eq!(app.modules.get("lastfm").unwrap().every_ms(), 5 * HOUR);
    let listed = app.modules.listed("github").unwrap();
    assert_eq!(listed.state, ModuleState::Running);
    assert!(listed.line.contains("settings of before") && listed.line.contains("nonsense"), "{}", listed.line);

    fs::remove_file(place.path("plugins.toml")).unwrap();
    assert!(reload(&app).await.is_err(), "a file that is gone is no empty one");
    assert!(app.modules.get("lastfm").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_pin_runs_and_one_that_is_taken_back_stops() {
    let place = Place::new();
    // Bytes that no binary has pinned: a connector with a harmless section behind it.
    let mut bytes = place.connector("github");
    bytes.extend_from_slice(&[0, 3, 1, b'x', 0]);
    fs::write(place.modules().join("mine.wasm"), &bytes).unwrap();
    place.settle("");
    let app = place.open().await;
    assert_eq!(app.modules.listed("mine").unwrap().state, ModuleState::Refused, "it says that it is github, and nobody said otherwise");
    place.settle(&format!("[connectors.mine]\nsha256 = \"{}\"\n", sha256(&bytes)));
    assert_eq!(reload(&app).await.unwrap().connectors, ["mine"]);
    assert!(app.modules.get("mine").is_some(), "{:?}", app.modules.listed("mine"));
    place.settle("");
    assert_eq!(reload(&app).await.unwrap().connectors, ["mine"]);
    assert!(app.modules.get("mine").is_none(), "bytes that are not pinned do not run");
}

#[tokio::test(flavor = "multi_thread")]
async fn host_settings_that_wait_for_a_restart_are_named() {
    let place = Place::new();
    place.settle("");
    let app = place.open().await;
    place.settle_with(
        "listen = \"127.0.0.1:9\"\nconcurrent-runs = 3\n[compile]\ncpu-s = 60\n",
        "[connectors.github.limits]\nmemory-bytes = 1073741824\n",
    );
    let restart = reload(&app).await.unwrap().restart;
    assert_eq!(restart[..4], ["public-url", "listen", "concurrent-runs", "[compile]"]);
    assert!(restart[4].starts_with("[connectors.github.limits] memory-bytes"), "{restart:?}");
    assert_eq!(app.config.concurrent_runs, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_app_opens_when_its_registration_changes_or_the_host_restarts() {
    let (place, pins) = place();
    let with = |id: &str| format!("{pins}[connectors.github.app]\nclient-id = \"{id}\"\n");
    place.settle(&with("one"));
    let app = place.open().await;
    let id = app.store.app("github", "r").await.unwrap().id;
    let state = async |app: &sluice::app::App| app.store.app("github", "r").await.unwrap().state;
    app.store.set_app(id, AppState::Paused, Some("mend it".into()), None).await.unwrap();
    place.settle(&format!("{}[connectors.lastfm.schedule]\nevery = \"5h\"\n", with("one")));
    reload(&app).await.unwrap();
    assert_eq!(state(&app).await, AppState::Paused, "nothing about its registration has changed");
    place.settle(&with("two"));
    reload(&app).await.unwrap();
    assert_eq!(state(&app).await, AppState::Open);

    app.store.set_app(id, AppState::Paused, Some("mend it".into()), None).await.unwrap();
    app.store.close().await;
    drop(app);
    let app = place.open().await;
    assert_eq!(state(&app).await, AppState::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_file_is_noticed_without_being_told() {
    let (place, pins) = place();
    place.settle(&pins);
    let app = place.open().await;
    let stop = CancellationToken::new();
    let following = tokio::spawn(follow(app.clone(), stop.clone()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    place.settle(&format!("{pins}[connectors.github.schedule]\nevery = \"3h\"\n"));
    let noticed = async {
        while app.modules.get("github").unwrap().every_ms() != 3 * HOUR {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), noticed).await.expect("the change holds within seconds");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), following).await.expect("it ends with the host").unwrap();
}
