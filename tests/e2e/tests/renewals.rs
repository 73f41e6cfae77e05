//! Renewing keys: each renewal happens once, whoever asks, whenever the host dies or stands still, and whatever becomes of the answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice::link;
use sluice_e2e::{
    dump::Copy,
    eventually,
    folder::{Folder, Settings, upstream},
    host::Host,
    time::{DAY, HOUR, NOON, noon},
    worlds::{self, Hub, ROTATING},
};
use sluice_model::ConnectionId;
use sluice_sim::{Clock, Fault, Kind, github};
use sluice_store::{Connection, ConnectionState, RunOutcome};
use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

/// Where tokens are handed out.
const TOKEN: &str = "/login/oauth/access_token";

/// A developer signed in through the app whose tokens end and rotate.
async fn rotating(clock: &Clock) -> (Hub, Folder, Host, ConnectionId) {
    let options = github::Options { auto_approve: Some("demo".into()), require_pkce: true, days: 2, ..worlds::options(clock) };
    let hub = worlds::github_of(options);
    let folder = Folder::new(&Settings::default().github(&hub).app(ROTATING));
    let host = Host::start_with(&folder, clock, Arc::new(|_| {}), false).await;
    let user = host.user("ada", "UTC", true).await;
    let id = host.sign_in(user, "github", "oauth").await;
    (hub, folder, host, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixty_four_who_find_a_token_ended_one_renews_it_and_the_provider_revokes_nothing() {
    let clock = noon();
    let (hub, _folder, host, id) = rotating(&clock).await;
    hub.fault(Fault::new(Kind::Delay { ms: 20 }).matching(TOKEN));
    let rounds = 500;
    for round in 1..=rounds {
        let force = round % 4 == 0;
        if force {
            hub.apply(github::Command::ExpireTokens { login: None }).unwrap();
        } else {
            clock.advance(8 * HOUR);
        }
        let connection = host.connection(id).await;
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let (app, connection) = (host.app.clone(), connection.clone());
            callers.spawn(async move { link::refresh(&app, &connection, force).await.map(drop) });
        }
        while let Some(done) = callers.join_next().await {
            done.unwrap().unwrap_or_else(|e| panic!("round {round}: {e}"));
        }
        assert_eq!((hub.refreshes(), hub.revoked_families()), (round, 0), "round {round}, force: {force}");
    }
    let alive: Vec<String> = hub.tokens_alive().into_iter().filter(|t| t.client_id.is_some()).map(|t| t.value).collect();
    assert_eq!(alive.len(), 1);
    host.stop().await;
}

/// Requests to the token endpoint so far.
fn asked(hub: &Hub) -> usize {
    hub.requests().iter().filter(|request| request.path == TOKEN).count()
}

/// Waits in real time for something that must not happen.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// How a run ended: the connection's state, and the code of the failure.
fn ended(connection: &Connection) -> (ConnectionState, Option<&str>) {
    (connection.state, connection.failure_code.as_deref())
}

const OK: (ConnectionState, Option<&str>) = (ConnectionState::Ok, None);
const LOST: (ConnectionState, Option<&str>) = (ConnectionState::BackingOff, Some("RENEWAL_LOST"));
const UNANSWERED: (ConnectionState, Option<&str>) = (ConnectionState::NeedsSignIn, Some("RENEWAL_UNANSWERED"));
const LATER: (ConnectionState, Option<&str>) = (ConnectionState::BackingOff, Some("REFRESH_FAILED"));

/// The same with a schedule, synced once, and the token past its end.
async fn ended_token() -> (Clock, Hub, Folder, Host, ConnectionId) {
    let clock = noon();
    let (hub, folder, host, id) = rotating(&clock).await;
    host.stop().await;
    let host = Host::start(&folder, &clock).await;
    assert_eq!(ended(&host.settled(id).await), OK);
    clock.advance(8 * HOUR);
    hub.clear_requests();
    (clock, hub, folder, host, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_whose_answer_was_lost_is_tried_once_more_with_the_next_run_and_goes_well() {
    let (clock, hub, _folder, host, id) = ended_token().await;
    for round in 1..=2 {
        // The request never arrived: the old token is as good as it was.
        hub.fault(Fault::once(Kind::Reset).matching(TOKEN));
        let connection = host.run(id).await;
        assert_eq!(ended(&connection), LOST);
        let wait = connection.next_due.unwrap() - clock.now();
        assert!((50_000..=120_000).contains(&wait), "soon, since some providers answer a repetition only for minutes: {wait} ms");
        assert!(connection.message.unwrap().contains("once more with the next run"));
        host.advance(wait + 10);
        let connection = host.settled(id).await;
        assert_eq!((connection.state, connection.message), (ConnectionState::Ok, None), "by itself");
        // A loss that was made good counts no more: the next is a first one again.
        assert_eq!((hub.refreshes(), hub.revoked_families(), asked(&hub)), (round, 0, 2));
        hub.clear_requests();
        hub.apply(github::Command::ExpireTokens { login: None }).unwrap();
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_lost_answer_to_the_same_renewal_needs_a_sign_in_and_says_why() {
    for fault in [Kind::Reset, Kind::ResetAfter, Kind::Truncate { keep: Some(9) }] {
        let (_clock, hub, _folder, host, id) = ended_token().await;
        hub.fault(Fault::new(fault.clone()).matching(TOKEN));
        assert_eq!(ended(&host.run(id).await), LOST, "{fault:?}");
        assert_eq!(asked(&hub), 1, "{fault:?}");
        let connection = host.run(id).await;
        assert_eq!((ended(&connection), connection.next_due), (UNANSWERED, None), "{fault:?}");
        assert_eq!(asked(&hub), 2, "{fault:?}");
        let row = host.listed(id).await;
        assert_eq!(row.state, "needs-sign-in", "{fault:?}");
        let says = row.message.unwrap();
        assert!(says.contains("asked twice") && says.contains("both answers were lost") && says.contains("Sign in again"), "{says}");
        for _ in 0..3 {
            host.advance(3 * DAY);
            a_moment().await;
        }
        assert_eq!(asked(&hub), 2, "{fault:?}: it is not asked for ever");

        // One button: the keys are new, and so is the count.
        hub.clear_faults();
        let user = host.connection(id).await.user;
        assert_eq!(host.sign_in(user, "github", "oauth").await, id);
        assert_eq!(ended(&host.settled(id).await), OK, "{fault:?}");
        hub.fault(Fault::once(Kind::Reset).matching(TOKEN));
        host.advance(8 * HOUR);
        eventually("the first loss of the new key", async || (ended(&host.connection(id).await) == LOST).then_some(())).await;
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_says_it_cannot_or_cannot_be_reached_has_lost_nothing_and_is_asked_for_as_long_as_it_takes() {
    let (clock, hub, folder, host, id) = ended_token().await;
    for fault in [
        Kind::Status { status: 503 },
        Kind::TooManyRequests { retry_after: None, date: false },
        Kind::HtmlStatus { status: 502 },
        Kind::Status { status: 500 },
        Kind::TooManyRequests { retry_after: Some(30), date: true },
    ] {
        hub.fault(Fault::new(fault.clone()).matching(TOKEN));
        assert_eq!(ended(&host.run(id).await), LATER, "{fault:?}");
        hub.clear_faults();
    }
    assert_eq!(asked(&hub), 5);
    host.stop().await;

    // Nobody listens where tokens are handed out.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let app = format!("[connectors.github.app]\nclient-id = \"{}\"\nclient-secret = {{ file = \"secrets/client-secret\" }}\n", ROTATING.0);
    let lines = upstream("github", "https://api.github.com/", &hub.api())
        + &upstream("github", "https://github.com/", &format!("http://{nowhere}/"));
    folder.configure(&Settings::default().more(&(app + &lines)));
    let host = Host::start(&folder, &clock).await;
    for _ in 0..3 {
        assert_eq!(ended(&host.run(id).await), LATER);
    }
    assert_eq!(asked(&hub), 5);
    host.stop().await;

    // A lost answer among them counts, and stays counted whatever is said in between.
    folder.configure(&Settings::default().github(&hub).app(ROTATING));
    let host = Host::start(&folder, &clock).await;
    hub.fault(Fault::once(Kind::Reset).matching(TOKEN));
    assert_eq!(ended(&host.run(id).await), LOST);
    hub.fault(Fault::new(Kind::Status { status: 503 }).times(2).matching(TOKEN));
    assert_eq!(ended(&host.run(id).await), LATER);
    assert_eq!(ended(&host.run(id).await), LATER);
    let connection = host.run(id).await;
    assert_eq!((connection.state, connection.message), (ConnectionState::Ok, None));
    assert_eq!((hub.refreshes(), hub.revoked_families()), (1, 0));
    host.advance(8 * HOUR);
    host.settled(id).await;
    hub.fault(Fault::once(Kind::Reset).matching(TOKEN));
    hub.fault(Fault::new(Kind::Status { status: 503 }).times(1).after(1).matching(TOKEN));
    hub.apply(github::Command::ExpireTokens { login: None }).unwrap();
    assert_eq!(ended(&host.run(id).await), LOST, "a renewal by force counts like any other");
    assert_eq!(ended(&host.run(id).await), LATER);
    hub.fault(Fault::once(Kind::Reset).matching(TOKEN));
    assert_eq!(ended(&host.run(id).await), UNANSWERED);
    host.stop().await;
}

/// Points of a renewal, and whether the token can still be renewed by a host that comes after one that died there.
const POINTS: [(&str, bool); 5] = [
    ("refresh:before-intent", true),
    ("refresh:after-intent", true),
    // The provider has taken the old pair back, and nobody but the dead host was told the new one: this provider answers no repetition.
    ("refresh:after-answer", false),
    ("refresh:before-commit", false),
    ("refresh:after-commit", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_of_a_renewal_a_host_loses_no_token_that_could_be_renewed() {
    for (point, renewable) in POINTS {
        let clock = noon();
        let (hub, folder, host, id) = rotating(&clock).await;
        clock.advance(8 * HOUR);
        let before = hub.refreshes();
        host.stop().await;

        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--ignored", "--exact", "a_host_that_dies_at_a_point", "--nocapture"]);
        child.env("SLUICE_E2E_CONFIG", folder.config()).env("SLUICE_E2E_POINT", point).env("SLUICE_E2E_NOW", clock.now().to_string());
        let output = child.output().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(9), "{point}: {output:?}");

        let host = Host::start(&folder, &clock).await;
        let connection = host.run(id).await;
        let asked = hub.refreshes() - before;
        if renewable {
            assert_eq!(
                (connection.state, connection.last_run.unwrap().outcome),
                (ConnectionState::Ok, RunOutcome::Complete),
                "{point}: {:?}",
                connection.message
            );
            assert_eq!((asked, hub.revoked_families()), (1, 0), "{point}");
        } else {
            assert_eq!((connection.state, connection.next_due), (ConnectionState::NeedsSignIn, None), "{point}: {:?}", connection.message);
            assert_eq!(asked, 1, "{point}");
            let requests = hub.count();
            host.advance(HOUR);
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(hub.count(), requests, "{point}: it is not tried for ever");
        }
        host.stop().await;
    }
}

/// Not a test of its own: a process that opens the data folder it is told of, begins a renewal, and kills itself at the point it is told of.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by killed_at_any_point_of_a_renewal_a_host_loses_no_token_that_could_be_renewed"]
async fn a_host_that_dies_at_a_point() {
    let Some(config) = std::env::var_os("SLUICE_E2E_CONFIG") else { return };
    let wanted = std::env::var("SLUICE_E2E_POINT").unwrap();
    let now: i64 = std::env::var("SLUICE_E2E_NOW").unwrap().parse().unwrap();
    assert!(now > NOON);
    let began = Instant::now();
    let config = sluice::config::load(config.as_ref(), true, &sluice::config::Overrides::default()).unwrap();
    let around = sluice::app::Surroundings {
        clock: Arc::new(move || now + i64::try_from(began.elapsed().as_millis()).unwrap()),
        fail_point: Arc::new(move |point| {
            if point == wanted {
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            }
        }),
        ..sluice::app::Surroundings::system()
    };
    let app = sluice::app::App::open(config, around).await.unwrap().app;
    let connection = app.store.connections(sluice_store::ConnectionFilter::default()).await.unwrap().remove(0);
    let renewed = link::refresh(&app, &connection, false).await.map(drop);
    panic!("it lives: {renewed:?}");
}

/// A folder whose only account must renew its token in its next run, at a provider that takes its time over it once.
async fn due_for_renewal(takes: Duration) -> (Hub, Folder) {
    let (hub, folder, host, _) = rotating(&Clock::system()).await;
    host.stop().await;
    hub.apply(github::Command::ExpireTokens { login: None }).unwrap();
    hub.clear_requests();
    hub.fault(Fault::once(Kind::Delay { ms: takes.as_millis().try_into().unwrap() }).matching(TOKEN));
    (hub, folder)
}

/// Another process with a host on this folder. It is killed when this is dropped.
struct Elsewhere {
    child: Child,
    ahead: PathBuf,
}

impl Elsewhere {
    /// Starts it, and waits until the provider has its request for new keys.
    async fn renewing(folder: &Folder, hub: &Hub) -> Self {
        let ahead = folder.path("ahead");
        std::fs::write(&ahead, "0").unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--ignored", "--exact", "a_host_whose_clock_runs_ahead"]);
        child.env("SLUICE_E2E_CONFIG", folder.config()).env("SLUICE_E2E_AHEAD", &ahead).stdout(Stdio::null()).stderr(Stdio::null());
        let elsewhere = Self { child: child.spawn().unwrap(), ahead };
        eventually("the request for new keys", async || hub.faults().is_empty().then_some(())).await;
        elsewhere
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stands still, for far longer than a lease lasts by its own clock.
    fn stand_still(&self) {
        self.signal(rustix::process::Signal::STOP);
        std::fs::write(&self.ahead, (10 * 60_000).to_string()).unwrap();
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A second host on the same data, as somebody starts it to whom the first seems to hang.
fn a_second_one_is_refused(folder: &Folder) {
    let second = folder.run(&["serve"]).exits(2);
    assert!(second.stderr.contains("another sluice holds this data folder"), "{second:?}");
    assert!(!second.stdout.contains(" serves "), "{second:?}");
}

/// The key's versions and intents, and the state of the account, as the database has them.
fn stored(folder: &Folder) -> (Vec<(i64, bool)>, String) {
    let copy = Copy::of(&folder.data());
    let keys = copy.rows("SELECT version, intent_at IS NOT NULL AS asked FROM credential ORDER BY name");
    let keys = keys.iter().map(|row| (row["version"].as_i64().unwrap(), row["asked"] == 1)).collect();
    let state = copy.rows("SELECT state FROM connection").remove(0)["state"].as_str().unwrap().to_owned();
    (keys, state)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stands_still_in_a_renewal_keeps_its_folder_and_ends_the_renewal_when_it_goes_on() {
    let (hub, folder) = due_for_renewal(Duration::from_millis(700)).await;
    let first = Elsewhere::renewing(&folder, &hub).await;
    first.stand_still();
    // The provider has replaced the pair by now, and nobody reads what it says.
    eventually("the provider's answer", async || (hub.refreshes() == 1).then_some(())).await;
    a_second_one_is_refused(&folder);
    assert_eq!(stored(&folder), (vec![(1, false), (1, true)], "ok".to_owned()), "asked, and not answered");
    assert_eq!((asked(&hub), hub.revoked_families()), (1, 0));
    // Its own timers are over as well when it goes on: the answer lies in its socket all the same, and is the only copy of the new pair.
    tokio::time::sleep(sluice_gate::Timeouts::default().first_byte + Duration::from_secs(2)).await;

    first.signal(rustix::process::Signal::CONT);
    eventually("the new pair", async || (stored(&folder).0 == [(2, false), (2, false)]).then_some(())).await;
    eventually("the run's end", async || {
        let runs = Copy::of(&folder.data()).rows("SELECT outcome FROM run");
        runs.iter().any(|run| run["outcome"] == "complete").then_some(())
    })
    .await;
    assert_eq!((asked(&hub), hub.refreshes(), hub.revoked_families()), (1, 1, 0));
    first.kill();

    // The pair that it stored is the good one: it can be renewed in its turn.
    hub.apply(github::Command::ExpireTokens { login: None }).unwrap();
    let rows: Vec<serde_json::Value> = folder.run(&["run", "--json"]).exits(0).json();
    assert_eq!(rows[0]["outcome"], "complete", "{rows:?}");
    assert_eq!((asked(&hub), hub.refreshes(), hub.revoked_families()), (2, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_where_it_stood_still_is_followed_by_one_that_renews_once() {
    let (hub, folder) = due_for_renewal(Duration::from_secs(300)).await;
    let first = Elsewhere::renewing(&folder, &hub).await;
    first.stand_still();
    a_second_one_is_refused(&folder);
    first.kill();
    assert_eq!(stored(&folder).0, [(1, false), (1, true)]);

    // What the dead one held is free at once: the folder's lock says that it is dead.
    let second = folder.serve();
    eventually("the new pair", async || (stored(&folder).0 == [(2, false), (2, false)]).then_some(())).await;
    let rows: Vec<serde_json::Value> = folder.run(&["run", "--json"]).exits(0).json();
    assert_eq!(rows[0]["outcome"], "complete", "{rows:?}");
    assert_eq!((asked(&hub), hub.refreshes(), hub.revoked_families()), (1, 1, 0), "the request of the dead was never answered");
    assert_eq!(stored(&folder).1, "ok");
    assert!(second.terminate().success());
}

/// Not a test of its own: a process with a host and a schedule, whose clock is ahead by what a file says.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the tests of hosts that stand still"]
async fn a_host_whose_clock_runs_ahead() {
    let Some(config) = std::env::var_os("SLUICE_E2E_CONFIG") else { return };
    let ahead = PathBuf::from(std::env::var_os("SLUICE_E2E_AHEAD").unwrap());
    let config = sluice::config::load(config.as_ref(), true, &sluice::config::Overrides::default()).unwrap();
    let system = sluice::app::Surroundings::system();
    let clock = system.clock.clone();
    let by = move || std::fs::read_to_string(&ahead).ok().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    let around = sluice::app::Surroundings { clock: Arc::new(move || clock.now() + by()), ..system };
    let app = sluice::app::App::open(config, around).await.unwrap().app;
    let mut schedule = sluice::runs::Scheduler::start(app).await.unwrap();
    panic!("the schedule ended: {:?}", schedule.ended().await);
}
