//! SIGKILL at fifty random instants during syncs: after each the next host goes on, and in the end the data is that of a host that nobody touched.
//!
//! Shortly before each kill the entries are asked for over the command socket: what was told then was acknowledged, and must be in the database that
//! the dead host left. A kill counts only where a run was under way: the database says so itself (a lease that nobody gave back).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use sluice::{
    config::{self, Overrides},
    control::{Client, api},
};
use sluice_e2e::{
    dump::{Copy, Dump, assert_same},
    eventually,
    folder::{Folder, Settings},
    time::Dice,
    worlds::{self, Fm, Hub},
};
use sluice_sim::{Clock, Fault, Kind};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Kills that must fall into runs.
const KILLS: u64 = 50;
/// Of these, in one database, before it is let to its end.
const KILLS_A_FOLDER: u64 = 9;
/// A host lives at most so long before it is killed; a sync of these worlds takes about twice as long.
const LONGEST_LIFE_MS: u64 = 900;

/// A folder with both accounts linked and nothing synced.
fn linked(settings: &Settings, hub: &Hub) -> Folder {
    let folder = Folder::new(settings);
    let token = format!("{}\n", hub.token("demo").unwrap());
    folder.run_with(&["connect", "github", "--key", "token=-", "--no-wait", "--time-zone", "Europe/Berlin"], &token).exits(0);
    folder.run(&["connect", "lastfm", "--key", "user=demo", "--no-wait"]).exits(0);
    folder.give_to_shared();
    folder
}

async fn ask(folder: &Folder) -> Client {
    let config = config::load(&folder.config(), true, &Overrides::default()).unwrap();
    Client::open(config, false).await.unwrap()
}

/// Everything that the running host says it has, without what may still become known of it (a label).
async fn told(folder: &Folder) -> Vec<String> {
    let client = ask(folder).await;
    let mut request = api::EntriesRequest::default();
    let mut rows = Vec::new();
    loop {
        let page: api::EntriesPage = client.post("/v1/entries", &request).await.unwrap();
        rows.extend(page.rows.into_iter().map(|row| line(&serde_json::to_value(row).unwrap())));
        match page.next {
            Some(next) => request.after = Some(next),
            None => return rows,
        }
    }
}

fn line(row: &Value) -> String {
    let names = ["connector", "account", "metric", "series", "id", "start", "end", "day", "detail"];
    let mut parts: Vec<String> = names.iter().map(|name| row[*name].to_string()).collect();
    parts.push(row["value"].as_f64().unwrap().to_string());
    parts.join(" ")
}

/// Waits until both accounts have everything.
async fn complete(folder: &Folder) {
    let client = ask(folder).await;
    eventually("both accounts to have everything", async || {
        let rows: Vec<api::ConnectionRow> = client.get("/v1/connections").await.unwrap();
        let runs: Vec<api::RunRow> = client.post("/v1/runs", &serde_json::json!({})).await.unwrap();
        let mut latest: BTreeMap<&str, &str> = BTreeMap::new();
        for run in &runs {
            latest.entry(&run.summary.connection).or_insert(&run.summary.outcome);
        }
        let done = rows.iter().all(|row| row.state == "ok" && latest.get(row.id.as_str()) == Some(&"complete"));
        done.then_some(())
    })
    .await;
}

/// Lets a host of this folder take in everything, and ends it in order.
async fn finish(folder: &Folder) -> Dump {
    let host = folder.serve();
    complete(folder).await;
    assert!(host.terminate().success());
    Dump::of(&folder.data()).without_days_of_gauges()
}

/// Kills host after host of one folder.
async fn torment(folder: &Folder, dice: &mut Dice, hits: &AtomicU64, halfway: &AtomicU64, wanted: &[String]) {
    let mut here = 0;
    let whole = wanted.iter().filter(|line| line.starts_with("entry")).count();
    while here < KILLS_A_FOLDER && hits.load(Ordering::SeqCst) < KILLS {
        let host = folder.serve();
        tokio::time::sleep(Duration::from_millis(dice.below(LONGEST_LIFE_MS))).await;
        let acknowledged = told(folder).await;
        host.kill();
        let copy = Copy::of(&folder.data());
        let stored: Vec<String> =
            copy.rows("SELECT * FROM v_entries").into_iter().map(|row| line(&serde_json::to_value(row).unwrap())).collect();
        let lost: Vec<&String> = acknowledged.iter().filter(|row| !stored.contains(row)).take(5).collect();
        assert!(lost.is_empty(), "told before the kill and not there after it: {lost:#?}");
        if copy.rows("SELECT 1 FROM connection WHERE owner <> 0").is_empty() {
            // Everything is taken in: this folder has no more to give.
            break;
        }
        here += 1;
        halfway.fetch_add(u64::from(!stored.is_empty() && stored.len() < whole), Ordering::SeqCst);
        hits.fetch_add(1, Ordering::SeqCst);
    }
    let dump = finish(folder).await;
    assert_same("a database whose hosts were killed", &dump.lines(), wanted);
    assert_eq!(Copy::of(&folder.data()).integrity(), "ok");
}

fn worlds(clock: &Clock) -> (Hub, Fm) {
    let hub = worlds::github(clock, 1, 40);
    let fm = worlds::lastfm(clock, 1, 40);
    (hub, fm)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_fifty_random_instants_a_host_loses_nothing_and_stores_nothing_twice() {
    let (hub, fm) = worlds(&Clock::system());
    let settings = Settings::default().github(&hub).lastfm(&fm);
    let template = linked(&settings, &hub);
    let wanted = finish(&template.duplicate(&settings)).await.lines();
    assert!(wanted.len() > 300, "only {} lines: nothing much to lose", wanted.len());

    // Slow enough that a kill falls between two requests as well as into one, and into each commit in its turn.
    hub.fault(Fault::new(Kind::Delay { ms: 60 }));
    fm.fault(Fault::new(Kind::Delay { ms: 30 }));
    let (hits, halfway) = (AtomicU64::new(0), AtomicU64::new(0));
    let worker = async |seed: u64| {
        let mut dice = Dice::new(seed);
        while hits.load(Ordering::SeqCst) < KILLS {
            torment(&template.duplicate(&settings), &mut dice, &hits, &halfway, &wanted).await;
        }
    };
    tokio::join!(worker(1), worker(2));
    assert!(hits.load(Ordering::SeqCst) >= KILLS);
    let halfway = halfway.load(Ordering::SeqCst);
    eprintln!("{halfway} of them found some of the data stored, and not all of it");
    assert!(halfway >= KILLS / 3, "only {halfway} kills fell between the first commit and the last: the worlds are too small or too large");
}
