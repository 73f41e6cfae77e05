//! Crash at every host call: whatever call a connector dies after, the next run leaves what a run that never died leaves.
//!
//! Each n is an instance of the connector in its own right (`[connectors.NAME]` is a name and a file) whose limit lets it make n calls: one host runs
//! hundreds of doomed connections at once, and a second one on the same data, without the limits, finishes them. Each instance is a world of its own in
//! the database, so that each can be compared with the one that was never disturbed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice_e2e::{
    dump::{Dump, assert_same},
    folder::{Folder, Settings, upstream},
    host::Host,
    time::noon,
    truth, worlds,
};
use sluice_model::ConnectionId;
use sluice_store::{ConnectionState, RunOutcome};
use std::collections::BTreeMap;

/// How an instance is set up, in lines of `plugins.toml`.
type Lines<'a> = &'a dyn Fn(&str) -> String;

struct Trial<'a> {
    connector: &'a str,
    profile: &'a str,
    fields: Vec<(&'a str, String)>,
    lines: Lines<'a>,
    account: &'a str,
    /// More calls than its small world takes; the test says so when they are not.
    most: u64,
}

/// The instances' settings; `limit` is what the first host gives the n-th.
fn settings(trial: &Trial<'_>, names: &BTreeMap<u64, String>, limited: bool) -> Settings {
    let mut text = String::new();
    for (n, name) in names {
        text.push_str(&format!("[connectors.{name}]\nmodule = \"{}.wasm\"\n", trial.connector));
        if limited && *n > 0 {
            text.push_str(&format!("[connectors.{name}.limits]\nhost-calls = {n}\n"));
        }
        text.push_str(&(trial.lines)(name));
    }
    // Runs wait for the provider's pace most of the time.
    Settings::default().top("concurrent-runs = 60").more(&text)
}

async fn link(host: &Host, trial: &Trial<'_>, user: sluice_model::UserId, name: &str) -> ConnectionId {
    let fields: Vec<(&str, &str)> = trial.fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
    host.link(user, name, trial.profile, &fields).await
}

/// What a run that nothing disturbs leaves.
async fn undisturbed(trial: &Trial<'_>, clock: &sluice_sim::Clock) -> Dump {
    let names = BTreeMap::from([(0, "whole".to_owned())]);
    let folder = Folder::new(&settings(trial, &names, false));
    let host = Host::start(&folder, clock).await;
    let user = host.user("ada", "Europe/Berlin", true).await;
    let id = link(&host, trial, user, "whole").await;
    let connection = host.settled(id).await;
    assert_eq!(connection.state, ConnectionState::Ok, "{:?}", connection.message);
    let dump = host.dump().only("whole").nameless();
    host.stop().await;
    dump
}

/// Lets instance n die after its n-th call, then run in peace. Says how many of them died.
async fn every_call(trial: &Trial<'_>, clock: &sluice_sim::Clock, wanted: &[String]) -> u64 {
    let names: BTreeMap<u64, String> = (1..=trial.most).map(|n| (n, format!("x{n}"))).collect();
    let folder = Folder::new(&settings(trial, &names, true));
    let mut ids = BTreeMap::new();
    let host = Host::start_with(&folder, clock, std::sync::Arc::new(|_| {}), false).await;
    let user = host.user("ada", "Europe/Berlin", true).await;
    // Linking asks `identify`, which lives under the same limits: so it is another host's work.
    host.stop().await;
    folder.configure(&settings(trial, &names, false));
    let host = Host::start_with(&folder, clock, std::sync::Arc::new(|_| {}), false).await;
    for (n, name) in &names {
        ids.insert(*n, link(&host, trial, user, name).await);
    }
    host.stop().await;

    folder.configure(&settings(trial, &names, true));
    let host = Host::start(&folder, clock).await;
    let mut died = 0;
    for (n, id) in &ids {
        let connection = host.settled(*id).await;
        let run = connection.last_run.expect("a run");
        if run.outcome == RunOutcome::Complete {
            continue;
        }
        assert_eq!(run.failure_code.as_deref(), Some("LIMIT_HOST_CALLS"), "after call {n}: {:?}", run.message);
        assert_eq!(connection.state, ConnectionState::BackingOff, "after call {n}");
        assert!(*n == died + 1, "a run with {n} calls died, and one with {} did not", died + 1);
        died = *n;
    }
    host.stop().await;
    assert!(died < trial.most, "this world takes more than {} calls", trial.most);
    eprintln!("{}: died after each of {died} calls", trial.connector);

    folder.configure(&settings(trial, &names, false));
    let host = Host::start(&folder, clock).await;
    for id in ids.values() {
        host.request(*id).await;
    }
    for (n, id) in &ids {
        let connection = host.settled(*id).await;
        assert_eq!(connection.state, ConnectionState::Ok, "after call {n}: {:?}", connection.message);
    }
    let all = host.dump();
    host.stop().await;
    for (n, name) in &names {
        assert_same(
            &format!("{} ended after host call {n}, then run in peace", trial.connector),
            &all.only(name).nameless().lines(),
            wanted,
        );
    }
    died
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn github_ended_after_any_host_call_and_run_again_leaves_what_an_undisturbed_run_leaves() {
    let clock = noon();
    let hub = worlds::github(&clock, 1, 8);
    let (api, site) = (hub.api(), format!("{}/", hub.url()));
    let lines = move |name: &str| upstream(name, "https://api.github.com/", &api) + &upstream(name, "https://github.com/", &site);
    let token = hub.token("demo").unwrap();
    let trial = Trial { connector: "github", profile: "token", fields: vec![("token", token)], lines: &lines, account: "demo", most: 250 };
    let whole = undisturbed(&trial, &clock).await;
    let mut named = whole.clone();
    named.entries.iter_mut().for_each(|row| drop(row.insert("connector".to_owned(), "github".into())));
    assert_same(
        "an undisturbed run",
        &truth::found(&named, "github", trial.account),
        &truth::github(&hub, "demo", clock.now(), "Europe/Berlin"),
    );
    let died = every_call(&trial, &clock, &whole.lines()).await;
    assert!(died > 30, "only {died} host calls: the world is too small to prove anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lastfm_ended_after_any_host_call_and_run_again_leaves_what_an_undisturbed_run_leaves() {
    let clock = noon();
    let fm = worlds::lastfm(&clock, 1, 12);
    let url = format!("{}/", fm.url());
    let lines = move |name: &str| {
        let app = format!("[connectors.{name}.app]\napi-key = {{ file = \"secrets/api-key\" }}\n");
        app + &upstream(name, "https://ws.audioscrobbler.com/", &url)
    };
    let trial = Trial {
        connector: "lastfm",
        profile: "user",
        fields: vec![("user", "demo".to_owned())],
        lines: &lines,
        account: "demo",
        most: 100,
    };
    let whole = undisturbed(&trial, &clock).await;
    let mut named = whole.clone();
    named.entries.iter_mut().for_each(|row| drop(row.insert("connector".to_owned(), "lastfm".into())));
    assert_same(
        "an undisturbed run",
        &truth::found(&named, "lastfm", trial.account),
        &truth::lastfm(&fm, "demo", clock.now(), "Europe/Berlin"),
    );
    let died = every_call(&trial, &clock, &whole.lines()).await;
    assert!(died > 10, "only {died} host calls: the world is too small to prove anything");
}
