//! Versions of a stranger's connector that come and go while a sync is under way, with the real program: what runs ends on the bytes it began with, and
//! the next run begins on what serves by then.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod strangers;

use serde_json::Value;
use sluice_e2e::{PATIENCE, door::Door, eventually, folder::Folder, program::Output, sha256};
use std::thread;
use strangers::{asking, drop_in, listed, place, runs, until_listed};

async fn until_run(folder: &Folder, count: usize, version: &str) {
    eventually(&format!("run {count}, on {version}, to be complete"), async || {
        let runs = runs(folder);
        (runs.len() == count && runs[0] == (version.to_owned(), "complete".to_owned())).then_some(())
    })
    .await;
}

/// What is recorded for noon: the number of the version that recorded it.
fn recorded(folder: &Folder) -> f64 {
    let rows: Vec<Value> = folder.run(&["entries", "fit", "--json"]).exits(0).json();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0]["value"].as_f64().unwrap()
}

/// `sluice run fit` beside the test, which waits for the run.
fn run_beside(folder: &Folder) -> thread::JoinHandle<Output> {
    let mut command = folder.sluice(&["run", "fit"]);
    thread::spawn(move || sluice_e2e::program::finish(&mut command, ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_under_way_ends_on_its_bytes_whatever_takes_over_and_the_next_begins_on_what_serves() {
    let door = Door::new();
    let folder = place(&door);
    let (first, second) = (asking("1.0.0", 1.0, &["/steps"]), asking("1.1.0", 2.0, &["/steps"]));
    drop_in(&folder, &first);
    let host = folder.serve();
    until_listed(&folder, "pending", "1.0.0").await;
    folder.run(&["modules", "approve", &format!("fit@{}", &sha256(&first)[..12])]).exits(0);
    door.hold();
    folder.run_with(&["connect", "fit", "--key", "key=-", "--no-wait"], "k-123456789\n").exits(0);
    door.until_asked(1);

    // The sync is under way, and waits for its answer. A new version takes over meanwhile.
    drop_in(&folder, &second);
    until_listed(&folder, "running", "1.1.0").await;
    assert_eq!(listed(&folder)["sha256"], sha256(&second));
    assert_eq!(door.asked().len(), 1, "and nothing else has begun");
    door.let_through();
    until_run(&folder, 1, "1.0.0").await;
    assert!((recorded(&folder) - 1.0).abs() < 1e-9, "by the old version");
    folder.run(&["run", "fit"]).exits(0);
    until_run(&folder, 2, "1.1.0").await;
    assert!((recorded(&folder) - 2.0).abs() < 1e-9, "by the new version");

    // And back, while a sync of the new one is under way.
    door.hold();
    let beside = run_beside(&folder);
    door.until_asked(3);
    folder.run(&["modules", "rollback", "fit"]).exits(0);
    let row = listed(&folder);
    assert_eq!((row["state"].as_str(), row["version"].as_str()), (Some("running"), Some("1.0.0")), "{row}");
    assert_eq!(door.asked().len(), 3);
    door.let_through();
    beside.join().unwrap().exits(0);
    until_run(&folder, 3, "1.1.0").await;
    assert!((recorded(&folder) - 2.0).abs() < 1e-9);
    folder.run(&["run", "fit"]).exits(0);
    until_run(&folder, 4, "1.0.0").await;
    assert!((recorded(&folder) - 1.0).abs() < 1e-9, "by the version that serves again");

    // What the host would run after a restart is what it says it runs.
    assert!(host.terminate().success());
    let host = folder.serve();
    until_listed(&folder, "running", "1.0.0").await;
    folder.run(&["run", "fit"]).exits(0);
    assert_eq!(runs(&folder)[0].0, "1.0.0");
    assert!(host.terminate().success(), "within {PATIENCE:?}");
}
