//! The failure table, end to end: a provider does something, and these are the state, the words and the next run that the person sees.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice_e2e::{
    dump::assert_same,
    eventually,
    folder::{Folder, Settings, pinned},
    host::Host,
    time::{DAY, HOUR, noon},
    truth,
    worlds::{self, Fm, Hub, ROTATING},
};
use sluice_fixtures::Stranger;
use sluice_model::{ConnectionId, FailureKind, UserId};
use sluice_sim::{Clock, Fault, Kind, github, lastfm};
use sluice_store::{AppState, Connection, ConnectionState, Requested, RunOutcome};
use std::time::Duration;

const MINUTE: i64 = 60_000;

/// A developer whose account was linked and synced once.
struct Scene {
    clock: Clock,
    hub: Hub,
    folder: Folder,
    host: Host,
    user: UserId,
    id: ConnectionId,
}

impl Scene {
    async fn new() -> Self {
        Self::with(&Settings::default()).await
    }

    async fn with(settings: &Settings) -> Self {
        let clock = noon();
        let hub = worlds::github(&clock, 2, 6);
        let folder = Folder::new(&settings.clone().github(&hub));
        let host = Host::start(&folder, &clock).await;
        let user = host.user("ada", "Europe/Berlin", true).await;
        let id = host.link(user, "github", "token", &[("token", &hub.token("demo").unwrap())]).await;
        let first = host.settled(id).await;
        assert_eq!(first.state, ConnectionState::Ok, "{:?}", first.message);
        Self { clock, hub, folder, host, user, id }
    }

    /// Breaks the provider, runs, and mends it.
    async fn run_under(&self, fault: Fault) -> Connection {
        self.hub.fault(fault);
        let connection = self.host.run(self.id).await;
        self.hub.clear_faults();
        connection
    }

    /// From here on everything is as it should be.
    async fn recovers(&self) {
        let connection = self.host.run(self.id).await;
        assert_eq!((connection.state, connection.attempts, connection.message), (ConnectionState::Ok, 0, None));
        let now = self.clock.now();
        assert_same(
            "after it",
            &truth::found(&self.host.dump(), "github", "demo"),
            &truth::github(&self.hub, "demo", now, "Europe/Berlin"),
        );
    }
}

/// Waits in real time for something that must not happen.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(400)).await;
}

fn kind(connection: &Connection) -> FailureKind {
    match connection.last_run.as_ref().unwrap().outcome {
        RunOutcome::Failed(kind) => kind,
        other => panic!("the run ended {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_needs_a_sign_in_and_is_not_tried_again_for_ever() {
    let scene = Scene::new().await;
    scene.hub.apply(github::Command::RevokeToken { token: scene.hub.token("demo").unwrap() }).unwrap();
    let connection = scene.host.run(scene.id).await;
    assert_eq!((connection.state, kind(&connection), connection.next_due), (ConnectionState::NeedsSignIn, FailureKind::Unauthorized, None));
    let row = scene.host.listed(scene.id).await;
    assert_eq!((row.state.as_str(), row.next_due), ("needs-sign-in", None));
    assert!(row.message.as_deref().unwrap().contains("Sign in again"), "{row:?}");

    let asked = scene.hub.count();
    for _ in 0..3 {
        scene.host.advance(3 * DAY);
        a_moment().await;
    }
    assert_eq!(scene.host.request(scene.id).await, Requested::Paused(ConnectionState::NeedsSignIn));
    a_moment().await;
    assert_eq!(scene.hub.count(), asked, "a key that was refused is not tried again");

    // One button: signing in again makes it run at once, on the same data.
    let token =
        scene.hub.apply(github::Command::IssueToken { login: "demo".into(), scopes: None, permissions: None, expires_at: None }).unwrap();
    let again = scene.host.link(scene.user, "github", "token", &[("token", token.as_str().unwrap())]).await;
    assert_eq!(again, scene.id);
    let connection = scene.host.settled(scene.id).await;
    assert_eq!((connection.state, connection.message), (ConnectionState::Ok, None));
    scene.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ended_is_renewed_once_and_the_run_repeated_before_anybody_is_bothered() {
    let clock = noon();
    let hub = worlds::github_of(github::Options { auto_approve: Some("demo".into()), require_pkce: true, ..worlds::options(&clock) });
    let folder = Folder::new(&Settings::default().github(&hub).app(ROTATING));
    let host = Host::start(&folder, &clock).await;
    let user = host.user("ada", "Europe/Berlin", true).await;
    let id = host.sign_in(user, "github", "oauth").await;
    assert_eq!(host.settled(id).await.state, ConnectionState::Ok);
    assert_eq!(hub.refreshes(), 0);

    // Ended at the provider before its time: the gate sees the 401, the key is renewed by force, the run repeated.
    hub.apply(github::Command::ExpireTokens { login: None }).unwrap();
    let connection = host.run(id).await;
    assert_eq!((connection.state, connection.last_run.unwrap().outcome), (ConnectionState::Ok, RunOutcome::Complete));
    assert_eq!((hub.refreshes(), hub.revoked_families()), (1, 0));

    // Ended by its own declaration: renewed before the run, and no request comes back refused.
    hub.clear_requests();
    host.advance(8 * HOUR);
    let connection = host.run(id).await;
    assert_eq!(connection.state, ConnectionState::Ok, "{:?}", connection.message);
    assert_eq!(hub.refreshes(), 2);
    assert!(hub.requests().iter().all(|r| r.status != 401), "a key that was known to have ended was sent");

    // The refresh token is gone as well: only the person can help now.
    hub.apply(github::Command::ExpireTokens { login: None }).unwrap();
    hub.apply(github::Command::ExpireRefreshTokens { login: None }).unwrap();
    let connection = host.run(id).await;
    assert_eq!((connection.state, connection.next_due), (ConnectionState::NeedsSignIn, None));
    let asked = hub.count();
    host.advance(2 * DAY);
    a_moment().await;
    assert_eq!(hub.count(), asked);
    assert_eq!(hub.revoked_families(), 0);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named_and_waits_for_the_person() {
    let scene = Scene::new().await;
    let demand = |path: &str| github::Command::Demand { path: path.into(), scope: None, permission: Some("followers".into()) };
    scene.hub.apply(demand("/search/issues")).unwrap();
    let partly = scene.host.run(scene.id).await;
    assert_eq!(
        (partly.state, partly.last_run.as_ref().unwrap().problems > 0),
        (ConnectionState::Ok, true),
        "what else there is comes all the same"
    );

    scene.hub.with(|world| world.users.values_mut().for_each(|user| user.followers += 1));
    scene.hub.apply(demand("/api/user")).unwrap();
    let connection = scene.host.run(scene.id).await;
    assert_eq!(
        (connection.state, kind(&connection), connection.next_due),
        (ConnectionState::NeedsConsent, FailureKind::NeedsConsent, None)
    );
    assert!(connection.message.as_deref().unwrap().contains("followers=read"), "{:?}", connection.message);
    assert!(connection.url.as_deref().unwrap().starts_with("https://github.com/settings/"), "{:?}", connection.url);
    assert_eq!(scene.host.listed(scene.id).await.state, "needs-consent");
    scene.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_waited_out_in_both_forms_while_the_worker_serves_others_and_what_was_checkpointed_stays() {
    for date in [false, true] {
        let scene = Scene::with(&Settings::default().top("concurrent-runs = 1")).await;
        // New data in front of the limit: the walk of repositories meets it after the followers are committed.
        scene.hub.apply(github::Command::SetFollowers { login: "demo".into(), followers: 4_242 }).unwrap();
        let repository = scene.hub.repositories("demo").iter().find(|r| !r.fork && !r.commits.is_empty()).unwrap().id;
        let now = scene.clock.now() / 1_000;
        scene
            .hub
            .apply(github::Command::AddCommit { repository, login: Some("demo".into()), authored_at: now - 60, committed_at: None })
            .unwrap();
        let connection = scene.run_under(Fault::new(Kind::TooManyRequests { retry_after: Some(120), date }).matching("/commits")).await;
        assert_eq!((connection.state, kind(&connection)), (ConnectionState::RateLimited, FailureKind::RateLimited));
        let wait = connection.next_due.unwrap() - scene.clock.now();
        assert!((100_000..=121_000).contains(&wait), "date: {date}, {wait} ms");
        let row = scene.host.listed(scene.id).await;
        assert_eq!((row.state.as_str(), row.next_reason.as_deref()), ("rate-limited", Some("the provider asked to wait")));
        let facts = truth::found(&scene.host.dump(), "github", "demo");
        assert!(facts.iter().any(|f| f.contains("4242")), "what came before the limit is kept");

        // One worker, and it is free.
        let other = scene.hub.users().into_iter().find(|u| u.login != "demo").unwrap().login;
        let second = scene.host.link(scene.user, "github", "token", &[("token", &scene.hub.token(&other).unwrap())]).await;
        assert_eq!(scene.host.settled(second).await.state, ConnectionState::Ok);
        assert_eq!(
            scene.host.request(scene.id).await,
            Requested::Paused(ConnectionState::RateLimited),
            "a press of a button doesn't override the provider"
        );

        scene.host.advance(wait + 1_000);
        let connection = scene.host.settled(scene.id).await;
        assert_eq!((connection.state, connection.message), (ConnectionState::Ok, None));
        scene.recovers().await;
        scene.host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_persons_used_up_limit_stops_nobody_else() {
    let scene = Scene::new().await;
    let other = scene.hub.users().into_iter().find(|u| u.login != "demo").unwrap().login;
    let neighbour = scene.host.user("grace", "UTC", false).await;
    let second = scene.host.link(neighbour, "github", "token", &[("token", &scene.hub.token(&other).unwrap())]).await;
    scene.host.settled(second).await;
    scene.hub.apply(github::Command::Leave { login: "demo".into(), resource: "core".into(), remaining: 0 }).unwrap();
    scene.hub.apply(github::Command::SetFollowers { login: other.clone(), followers: 77 }).unwrap();
    let (limited, served) = tokio::join!(scene.host.run(scene.id), scene.host.run(second));
    assert_eq!(limited.state, ConnectionState::RateLimited, "{:?}", limited.message);
    let wait = limited.next_due.unwrap() - scene.clock.now();
    assert!((50 * MINUTE..=HOUR + MINUTE).contains(&wait), "until the reset: {wait} ms");
    assert_eq!((served.state, served.last_run.unwrap().outcome), (ConnectionState::Ok, RunOutcome::Complete));
    let app = scene.host.app.store.apps().await.unwrap().into_iter().find(|a| a.id == served.app).unwrap();
    assert_eq!((app.state, app.blocked_until), (AppState::Open, None), "a limit of one account blocks no app");
    scene.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_in_trouble_is_left_alone_for_longer_and_longer_and_the_account_stays_connected() {
    let scene = Scene::new().await;
    let mut last = 0;
    for attempt in 1..=4_u32 {
        let fault = match attempt {
            1 => Kind::Status { status: 503 },
            2 => Kind::HtmlStatus { status: 502 },
            3 => Kind::Reset,
            _ => Kind::Truncate { keep: None },
        };
        let connection = scene.run_under(Fault::new(fault.clone())).await;
        assert_eq!((connection.state, connection.attempts), (ConnectionState::BackingOff, attempt), "{fault:?}");
        assert_eq!(kind(&connection), FailureKind::Transient, "{fault:?}");
        let wait = connection.next_due.unwrap() - scene.clock.now();
        let most = MINUTE << attempt;
        assert!((MINUTE - 5_000..=most).contains(&wait), "{fault:?}: {wait} ms after attempt {attempt}");
        assert!(connection.message.is_some());
        last = connection.next_due.unwrap();
    }
    let row = scene.host.listed(scene.id).await;
    assert_eq!((row.state.as_str(), row.next_reason.as_deref()), ("backing-off", Some("attempt 5 after a failure")));
    // By itself, when its time has come.
    scene.host.advance(last - scene.clock.now() + 10);
    assert_eq!(scene.host.settled(scene.id).await.state, ConnectionState::Ok);
    scene.recovers().await;
    scene.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_answer_backs_off_and_leaves_the_operator_an_excerpt() {
    let scene = Scene::new().await;
    for fault in [Kind::Html, Kind::HtmlStatus { status: 200 }, Kind::Half, Kind::ErrorIn200 { body: None }] {
        // A changed profile, or the answer would be a 304 and have no body to spoil.
        scene.hub.with(|world| world.users.values_mut().for_each(|user| user.followers += 1));
        let connection = scene.run_under(Fault::new(fault.clone())).await;
        assert_eq!(
            (connection.state, kind(&connection)),
            (ConnectionState::BackingOff, FailureKind::UnexpectedResponse),
            "{fault:?}: {:?}",
            connection.message
        );
        assert!(connection.message.as_deref().unwrap().contains("nothing of it was stored"), "{fault:?}: {:?}", connection.message);
        let run = connection.last_run.unwrap();
        assert_eq!(run.connector_version, "1.0.0");
        let log = scene.host.app.store.run_log(run.id).await.unwrap();
        assert!(log.iter().any(|line| line.text.starts_with("last answer: ")), "{fault:?}: {log:?}");
    }
    scene.recovers().await;
    scene.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_provider_takes_back_needs_a_sign_in_which_makes_a_new_one() {
    for on_200 in [false, true] {
        let clock = noon();
        let fm = worlds::lastfm(&clock, 1, 3);
        fm.apply(lastfm::Command::AutoApprove { user: Some("demo".into()) }).unwrap();
        // Only a session can read it.
        fm.apply(lastfm::Command::Hide { user: "demo".into(), hidden: true }).unwrap();
        fm.apply(lastfm::Command::ErrorsOn200 { on: on_200 }).unwrap();
        let folder = Folder::new(&Settings::default().lastfm(&fm));
        let host = Host::start(&folder, &clock).await;
        let user = host.user("ada", "UTC", true).await;
        let id = host.sign_in(user, "lastfm", "web").await;
        assert_eq!(host.settled(id).await.state, ConnectionState::Ok);
        let before = host.dump().lines();

        // Error 9. Last.fm renews nothing: its manifest has no step for that, so nothing is tried.
        fm.apply(lastfm::Command::RevokeSession { session: None, user: Some("demo".into()) }).unwrap();
        let exchanges = fm.exchanges();
        let connection = host.run(id).await;
        assert_eq!(
            (connection.state, kind(&connection), connection.next_due),
            (ConnectionState::NeedsSignIn, FailureKind::Unauthorized, None),
            "errors on 200: {on_200}"
        );
        let row = host.listed(id).await;
        let says = row.message.unwrap();
        assert!(
            row.state == "needs-sign-in" && says.contains("Last.fm no longer accepts this sign-in") && says.contains("sign in again"),
            "{says}"
        );
        let asked = fm.count();
        host.advance(3 * DAY);
        a_moment().await;
        assert_eq!((fm.count(), fm.exchanges()), (asked, exchanges), "a session that was refused is not tried again");
        assert_same("what was fetched stays", &host.dump().lines(), &before);

        assert_eq!(host.sign_in(user, "lastfm", "web").await, id, "the same account is the same connection");
        let connection = host.settled(id).await;
        assert_eq!((connection.state, connection.message), (ConnectionState::Ok, None));
        assert_eq!(fm.exchanges(), exchanges + 1);
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_traps_backs_off_with_its_frames_in_the_log_and_its_neighbour_runs() {
    let clock = noon();
    let hub = worlds::github(&clock, 1, 3);
    let folder = Folder::new(&Settings::default().github(&hub));
    let sha256 = folder.put(&Stranger::trapper());
    folder.configure(&Settings::default().github(&hub).more(&pinned("trapper", &sha256)));
    let host = Host::start(&folder, &clock).await;
    let user = host.user("ada", "UTC", true).await;
    let bad = host.link(user, "trapper", "key", &[("key", "k-123456789")]).await;
    let good = host.link(user, "github", "token", &[("token", &hub.token("demo").unwrap())]).await;
    let connection = host.settled(bad).await;
    assert_eq!((connection.state, connection.failure_code.as_deref()), (ConnectionState::BackingOff, Some("TRAP")));
    assert!(
        connection
            .message
            .as_deref()
            .unwrap()
            .starts_with("The connector stopped working on this account; the operator can see why: the connector crashed: ")
    );
    assert_eq!(host.settled(good).await.state, ConnectionState::Ok);
    // It is never entered again, and tried again all the same: in a fresh sandbox.
    assert_eq!(host.run(bad).await.attempts, 2);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_broken_degrades_its_own_connections_and_says_so_in_one_line() {
    let clock = noon();
    let (hub, fm) = (worlds::github(&clock, 1, 3), worlds::lastfm(&clock, 1, 2));
    let folder = Folder::new(&Settings::default().github(&hub).lastfm(&fm));
    let host = Host::start(&folder, &clock).await;
    let user = host.user("ada", "UTC", true).await;
    let github = host.link(user, "github", "token", &[("token", &hub.token("demo").unwrap())]).await;
    let lastfm = host.link(user, "lastfm", "user", &[("user", "demo")]).await;
    host.settled(github).await;
    host.settled(lastfm).await;
    let before = host.dump().only("lastfm").lines();
    host.stop().await;

    let file = folder.path("modules").join("lastfm.wasm");
    let whole = std::fs::read(&file).unwrap();
    for broken in
        [None, Some(Vec::new()), Some(b"\0asm\x0d\0\x01\0 and then something else".to_vec()), Some(whole[..whole.len() / 2].to_vec())]
    {
        match &broken {
            None => std::fs::remove_file(&file).unwrap(),
            Some(bytes) => std::fs::write(&file, bytes).unwrap(),
        }
        let host = Host::start(&folder, &clock).await;
        let listing = host.app.modules.listing().iter().find(|l| l.name == "lastfm").unwrap().clone();
        assert!(!listing.line.is_empty() && !listing.line.contains('\n'), "{listing:?}");
        assert_eq!(host.run(github).await.state, ConnectionState::Ok);
        let connection = host.run(lastfm).await;
        if broken.is_some() {
            // What was approved serves on, from its copy.
            assert_eq!(connection.state, ConnectionState::Ok);
            assert!(listing.waiting.is_some(), "{listing:?}");
            host.stop().await;
            continue;
        }
        assert_eq!(connection.state, ConnectionState::BackingOff);
        assert!(
            connection.message.as_deref().unwrap().starts_with("The connector lastfm cannot run at the moment: "),
            "{:?}",
            connection.message
        );
        assert!(connection.next_due.unwrap() <= host.app.now() + 15 * MINUTE);
        assert_same("its data stays", &host.dump().only("lastfm").lines(), &before);
        host.stop().await;
    }
    // The same broken file, pinned by its hash: it is read, and refused.
    let hash = folder.put_bytes("lastfm", &whole[..whole.len() / 2]);
    folder.configure(&Settings::default().github(&hub).lastfm(&fm).more(&pinned("lastfm", &hash)));
    let host = Host::start(&folder, &clock).await;
    let listing = host.app.modules.listing().iter().find(|l| l.name == "lastfm").unwrap().clone();
    assert_eq!(listing.state, sluice::modules::ModuleState::Refused, "{listing:?}");
    assert_eq!(host.run(github).await.state, ConnectionState::Ok);
    host.stop().await;

    folder.configure(&Settings::default().github(&hub).lastfm(&fm));
    std::fs::write(&file, whole).unwrap();
    let host = Host::start(&folder, &clock).await;
    assert_eq!(host.run(lastfm).await.state, ConnectionState::Ok, "the file is back, and so is the connection");
    host.stop().await;
}

/// Some listeners, each linked by a person of their own and synced once.
async fn listeners(many: u64) -> (Clock, Fm, Folder, Host, Vec<(String, ConnectionId)>) {
    let clock = noon();
    let fm = worlds::lastfm(&clock, many, 2);
    let folder = Folder::new(&Settings::default().lastfm(&fm));
    let host = Host::start(&folder, &clock).await;
    let mut all = Vec::new();
    for (at, name) in worlds::listeners(&fm).into_iter().enumerate() {
        let user = host.user(&format!("user-{at}"), "UTC", at == 0).await;
        let id = host.link(user, "lastfm", "user", &[("user", &name)]).await;
        all.push((name, id));
    }
    for (_, id) in &all {
        assert_eq!(host.settled(*id).await.state, ConnectionState::Ok);
    }
    (clock, fm, folder, host, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_accounts_that_say_so_pause_the_app_and_one_only_itself() {
    let (clock, fm, folder, host, all) = listeners(4).await;
    let key = lastfm::API_KEY.to_owned();
    fm.apply(lastfm::Command::SuspendKey { api_key: key.clone(), suspended: true }).unwrap();
    let app = async |host: &Host| {
        host.app.store.apps().await.unwrap().into_iter().find(|a| a.connector == "lastfm" && !a.registration.is_empty()).unwrap()
    };
    for (at, (name, id)) in all.iter().take(3).enumerate() {
        let connection = host.run(*id).await;
        assert_eq!((connection.state, kind(&connection)), (ConnectionState::Misconfigured, FailureKind::Misconfigured), "{name}");
        assert!(connection.message.as_deref().unwrap().contains("[connectors.lastfm.app]"), "{:?}", connection.message);
        assert!(connection.next_due.is_some(), "by itself it would try again");
        if at < 2 {
            a_moment().await;
            assert_eq!(host.listed(*id).await.state, "misconfigured");
            assert_eq!(app(&host).await.state, AppState::Open, "after {} accounts", at + 1);
        }
    }
    // The run is written down first, the app is paused right after.
    eventually("the app to pause", async || (app(&host).await.state == AppState::Paused).then_some(())).await;
    for (name, id) in &all {
        assert_eq!(host.listed(*id).await.state, "app-paused", "{name}");
    }
    let paused = app(&host).await;
    assert!(paused.reason.as_deref().unwrap().contains("API key"), "{:?}", paused.reason);
    let asked = fm.count();
    host.advance(12 * HOUR);
    a_moment().await;
    host.request(all[3].1).await;
    a_moment().await;
    assert_eq!(fm.count(), asked, "a paused app asks the provider nothing, for nobody");
    host.stop().await;

    // The operator puts it right and starts again.
    fm.apply(lastfm::Command::SuspendKey { api_key: key, suspended: false }).unwrap();
    let host = Host::start(&folder, &clock).await;
    for (name, id) in &all {
        let connection = host.settled(*id).await;
        assert_eq!(connection.state, ConnectionState::Ok, "{name}: {:?}", connection.message);
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_whole_app_blocks_it_for_an_hour_at_most_and_everybody_goes_on_afterwards() {
    let (clock, fm, _folder, host, all) = listeners(2).await;
    fm.fault(Fault::new(Kind::TooManyRequests { retry_after: Some(5 * 3_600), date: false }));
    let connection = host.run(all[0].1).await;
    fm.clear_faults();
    assert_eq!(connection.state, ConnectionState::RateLimited);
    let apps = async || host.app.store.apps().await.unwrap().into_iter().find(|a| a.id == connection.app).unwrap();
    let blocked = eventually("the app to be blocked", async || apps().await.blocked_until).await - clock.now();
    assert!((HOUR - 10_000..=HOUR).contains(&blocked), "{blocked} ms");
    let asked = fm.count();
    host.request(all[1].1).await;
    a_moment().await;
    assert_eq!(fm.count(), asked, "the key is the same for all");
    host.advance(HOUR);
    assert_eq!(host.settled(all[1].1).await.last_run.unwrap().outcome, RunOutcome::Complete);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_gone_stops_and_a_name_that_never_was_is_not_linked() {
    let (_clock, fm, _folder, host, all) = listeners(2).await;
    let before = host.dump().lines();
    fm.apply(lastfm::Command::DeleteUser { user: all[1].0.clone() }).unwrap();
    let connection = host.run(all[1].1).await;
    assert_eq!((connection.state, connection.next_due), (ConnectionState::Gone, None), "{:?}", connection.message);
    assert!(connection.message.is_some());
    let row = host.listed(all[1].1).await;
    assert_eq!((row.state.as_str(), row.next_due), ("gone", None));
    assert_same("what was fetched stays", &host.dump().lines(), &before);
    assert_eq!(host.run(all[0].1).await.state, ConnectionState::Ok, "somebody else's account is not gone");

    let user = host.user("late", "UTC", false).await;
    let error = host.try_link(user, "lastfm", "user", &[("user", "nobody-of-this-name")]).await.unwrap_err();
    assert!(error.public().contains("no user of this name"), "{}", error.public());
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_the_provider_does_not_know_is_paused_by_what_the_host_itself_saw() {
    let clock = noon();
    let hub = worlds::github_of(github::Options { auto_approve: Some("demo".into()), ..worlds::options(&clock) });
    let folder = Folder::new(&Settings::default().github(&hub).app(ROTATING));
    let host = Host::start(&folder, &clock).await;
    let user = host.user("ada", "UTC", true).await;
    let signed_in = host.sign_in(user, "github", "oauth").await;
    assert_eq!(host.settled(signed_in).await.state, ConnectionState::Ok);
    hub.apply(github::Command::SetClientSecret { client_id: ROTATING.0.into(), secret: "another".into() }).unwrap();
    host.advance(8 * HOUR);
    let connection = host.run(signed_in).await;
    assert_eq!((connection.state, kind(&connection)), (ConnectionState::Misconfigured, FailureKind::Misconfigured));
    let app = host.app.store.apps().await.unwrap().into_iter().find(|a| a.id == connection.app).unwrap();
    assert_eq!(app.state, AppState::Paused, "one sight of invalid_client is enough");
    // Personal tokens of the same connector are another registration (none), and go on.
    let other = host.link(user, "github", "token", &[("token", &hub.token("demo").unwrap())]).await;
    assert_eq!(other, signed_in, "the same account is the same connection, whatever the way in");
    assert_eq!(host.settled(other).await.state, ConnectionState::Ok);
    host.stop().await;

    // The new secret is put where plugins.toml points, and the host started again.
    folder.secret("client-secret", "another");
    let host = Host::start(&folder, &clock).await;
    let apps = host.app.store.apps().await.unwrap();
    assert!(apps.iter().all(|a| a.state == AppState::Open), "{apps:?}");
    let again = host.sign_in(user, "github", "oauth").await;
    assert_eq!(host.settled(again).await.state, ConnectionState::Ok);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn something_only_the_person_can_do_is_said_with_the_providers_link() {
    let scene = Scene::new().await;
    // The token now belongs to another account than the one that was linked.
    let token = scene.hub.token("demo").unwrap();
    scene.hub.with(|world| {
        let user = world.users.values_mut().find(|u| u.login == "demo").unwrap();
        user.id += 500_000;
    });
    let connection = scene.host.run(scene.id).await;
    assert_eq!((connection.state, connection.next_due), (ConnectionState::NeedsAction, None), "{:?}", connection.message);
    assert!(connection.message.as_deref().unwrap().contains("another account"), "{:?}", connection.message);
    assert!(!connection.message.as_deref().unwrap().contains(&token));
    let _ = &scene.folder;
    scene.host.stop().await;
}
