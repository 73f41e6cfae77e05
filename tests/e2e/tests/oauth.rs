//! Sign-in under attack: a code never reaches another provider's token endpoint, a flow ends only where and when it may, and each renewal happens once,
//! whoever asks and whenever the host dies.
//!
//! Every case that must be refused is refused before a token request: the simulators count those, and the count stands still.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice::link;
use sluice_e2e::{
    browser::{Browser, Page},
    folder::{Folder, Settings, upstream},
    host::Host,
    time::{HOUR, NOON, noon},
    worlds::{self, Fm, Hub, OAUTH, ROTATING},
};
use sluice_model::ConnectionId;
use sluice_sim::{Clock, Fault, Kind, github, lastfm};
use sluice_store::{ConnectionState, RunOutcome};
use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use url::Url;

/// Three providers that a person of this host may sign in to. The second is the first's connector under another name, with an app and a provider of
/// its own: to the first it is a stranger who may be hostile.
struct Providers {
    github: Hub,
    octo: Hub,
    lastfm: Fm,
    _folder: Folder,
    host: Host,
}

impl Providers {
    async fn start() -> Self {
        let clock = noon();
        let hub = || {
            let options = github::Options { auto_approve: Some("demo".into()), require_pkce: true, days: 2, ..worlds::options(&clock) };
            worlds::github_of(options)
        };
        let (github, octo, lastfm) = (hub(), hub(), worlds::lastfm(&clock, 1, 1));
        lastfm.apply(lastfm::Command::AutoApprove { user: Some("demo".into()) }).unwrap();
        let more = format!(
            "[connectors.octo]\nmodule = \"github.wasm\"\n[connectors.octo.app]\nclient-id = \"{}\"\nclient-secret = {{ file = \"secrets/octo\" }}\n{}{}",
            OAUTH.0,
            upstream("octo", "https://api.github.com/", &octo.api()),
            upstream("octo", "https://github.com/", &format!("{}/", octo.url())),
        );
        let folder = Folder::new(&Settings::default().github(&github).app(ROTATING).lastfm(&lastfm).more(&more));
        folder.secret("octo", OAUTH.1);
        let host = Host::start(&folder, &clock).await;
        Self { github, octo, lastfm, _folder: folder, host }
    }

    /// Requests to token endpoints so far, of all three.
    fn token_requests(&self) -> usize {
        let codes = |hub: &Hub| hub.requests().iter().filter(|r| r.path == "/login/oauth/access_token").count();
        let sessions = self.lastfm.requests().iter().filter(|r| r.query.contains("auth.getSession")).count();
        codes(&self.github) + codes(&self.octo) + sessions
    }

    /// Presses the button, signs in at the provider, and holds the address that the provider sends back to.
    async fn begin(&self, browser: &mut Browser, (connector, profile): Way) -> Url {
        let page = browser.get(&format!("{}/link/{connector}", self.host.pages)).await;
        let sent = browser.post(&page, &format!("/link/{connector}/{profile}"), &[]).await;
        assert_eq!(sent.status, 303, "{}", sent.text());
        let provider = browser.open(sent.location.unwrap().as_str()).await;
        provider.location.unwrap_or_else(|| panic!("the provider keeps the person: {}", provider.body))
    }

    /// How many sign-ins were refused, by the audit log.
    async fn refusals(&self) -> usize {
        let log = self.host.app.store.audit_log(1_000).await.unwrap();
        log.iter().filter(|entry| entry.kind == "link-refused" || entry.kind == "link-failed").count()
    }

    async fn links(&self) -> usize {
        self.host.app.store.connections(sluice_store::ConnectionFilter::default()).await.unwrap().len()
    }

    /// Opens a callback that must be refused, with no token request, an audit entry, and the flow burnt.
    async fn refused(&self, what: &str, browser: &mut Browser, callback: &Url, honest: Option<(&mut Browser, &Url)>) -> Page {
        let (asked, audited, linked) = (self.token_requests(), self.refusals().await, self.links().await);
        let page = browser.open(callback.as_str()).await;
        assert!(matches!(page.status, 403 | 410), "{what}: {} {}", page.status, page.text());
        assert!(page.location.is_none(), "{what}");
        assert_eq!(self.token_requests(), asked, "{what}: a token request went out");
        assert!(self.refusals().await > audited, "{what}: nothing in the audit log");
        if let Some((browser, callback)) = honest {
            let late = browser.open(callback.as_str()).await;
            assert_eq!(late.status, 403, "{what}: the flow was not burnt: {}", late.text());
            assert_eq!(self.token_requests(), asked, "{what}: the flow was not burnt");
        }
        assert_eq!(self.links().await, linked, "{what}: something was linked");
        page
    }
}

/// A connector and a profile of it.
type Way = (&'static str, &'static str);

const WAYS: [Way; 3] = [("github", "oauth"), ("octo", "oauth"), ("lastfm", "web")];

fn linked(page: &Page) -> bool {
    page.status == 303 && page.location.as_ref().is_some_and(|to| to.path().starts_with("/connections/"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_never_reaches_the_token_endpoint_of_another_provider() {
    let providers = Providers::start().await;
    let mut owner = providers.host.owner().await;
    for from in WAYS {
        for at in WAYS.into_iter().filter(|at| *at != from) {
            // The answer of one provider, at the other's address: as it is, and with state and nonce where the other's would be.
            for moved in [false, true] {
                let honest = providers.begin(&mut owner, from).await;
                let mut bounced = honest.clone();
                let carried = honest.query_pairs().find(|(name, _)| name == "state").map(|(_, value)| value.into_owned());
                let carried = carried.or_else(|| honest.path().split_once("/callback/").map(|(_, nonce)| nonce.to_owned())).unwrap();
                let nonce = if moved == (at.1 == "web") { format!("/{carried}") } else { String::new() };
                bounced.set_path(&format!("/connect/{}/{}/callback{nonce}", at.0, at.1));
                if !bounced.query_pairs().any(|(name, _)| name == "state") {
                    bounced.query_pairs_mut().append_pair("state", &carried).append_pair("code", "c0de");
                }
                let mut again = Browser::new();
                std::mem::swap(&mut again, &mut owner);
                let what = format!("{from:?} bounced to {at:?}");
                let cookie = again.cookie("localhost", "sluice_session").unwrap();
                owner.set_cookie("localhost", "sluice_session", &cookie);
                providers.refused(&what, &mut owner, &bounced, Some((&mut again, &honest))).await;
            }
        }
    }
    // And each of them works when nobody meddles.
    for way in WAYS {
        let honest = providers.begin(&mut owner, way).await;
        let page = owner.open(honest.as_str()).await;
        assert!(linked(&page), "{way:?}: {} {}", page.status, page.text());
    }
    providers.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_ends_only_in_the_login_session_that_began_it() {
    let providers = Providers::start().await;
    let mut owner = providers.host.owner().await;
    let mut elsewhere = providers.host.owner_again().await;
    let mut stranger = providers.host.stranger("mallory").await;
    for way in WAYS {
        let mut nobody = Browser::new();
        for (who, other) in
            [("a second browser of the same person", &mut elsewhere), ("somebody else", &mut stranger), ("nobody", &mut nobody)]
        {
            let honest = providers.begin(&mut owner, way).await;
            providers.refused(&format!("{way:?} finished by {who}"), other, &honest, Some((&mut owner, &honest))).await;
        }
        // Signed out in between, and in again: another session in the same browser.
        let honest = providers.begin(&mut owner, way).await;
        let home = owner.get(&format!("{}/", providers.host.pages)).await;
        owner.submit(&home, "/sign-out", &[]).await;
        providers.refused(&format!("{way:?} after signing out"), &mut owner, &honest, None).await;
        owner = providers.host.owner_again().await;
        let late = owner.open(honest.as_str()).await;
        assert_eq!(late.status, 403, "{way:?} after signing in again");
    }
    providers.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_works_once_within_ten_minutes_and_two_tabs_do_not_disturb_each_other() {
    let providers = Providers::start().await;
    let mut owner = providers.host.owner().await;
    for way in WAYS {
        // Two tabs, finished in the other order.
        let first = providers.begin(&mut owner, way).await;
        let second = providers.begin(&mut owner, way).await;
        assert_ne!(first, second);
        for tab in [&second, &first] {
            let page = owner.open(tab.as_str()).await;
            assert!(linked(&page), "{way:?}: {} {}", page.status, page.text());
        }
        // A replay, of both.
        for tab in [&first, &second] {
            let asked = providers.token_requests();
            let page = owner.open(tab.as_str()).await;
            assert_eq!((page.status, providers.token_requests()), (403, asked), "{way:?}: {}", page.text());
        }
        // Too late.
        let slow = providers.begin(&mut owner, way).await;
        providers.host.advance(10 * 60_000 + 1);
        let page = providers.refused(&format!("{way:?} after ten minutes"), &mut owner, &slow, None).await;
        assert_eq!(page.status, 410);
        assert!(page.text().contains("longer than ten minutes"), "{}", page.text());
    }
    assert_eq!(providers.links().await, 3, "the same account is the same connection");
    providers.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_code_in_another_flow_is_worth_nothing_where_proof_keys_are_asked_for() {
    let providers = Providers::start().await;
    let mut owner = providers.host.owner().await;
    for way in [("github", "oauth"), ("octo", "oauth")] {
        let (mine, other) = (providers.begin(&mut owner, way).await, providers.begin(&mut owner, way).await);
        // State of the one, code of the other: everything fits but the proof.
        let mut mixed = mine.clone();
        let pairs: Vec<(String, String)> = mine
            .query_pairs()
            .map(|(name, value)| {
                let value = if name == "code" {
                    other.query_pairs().find(|(n, _)| n == "code").unwrap().1.into_owned()
                } else {
                    value.into_owned()
                };
                (name.into_owned(), value)
            })
            .collect();
        mixed.query_pairs_mut().clear().extend_pairs(&pairs);
        let page = owner.open(mixed.as_str()).await;
        assert!(page.status >= 400 && page.location.is_none(), "{way:?}: {} {}", page.status, page.text());
        assert_eq!(providers.links().await, 0, "{way:?}");
        // The code was burnt by the attempt, as a provider must, and so was the flow.
        let late = owner.open(other.as_str()).await;
        assert!(!linked(&late), "{way:?}: {}", late.text());
    }
    let challenges = providers.github.requests().into_iter().filter(|r| r.path == "/login/oauth/authorize");
    let all: Vec<String> = challenges.map(|r| r.query).collect();
    assert!(!all.is_empty() && all.iter().all(|q| q.contains("code_challenge_method=S256") && q.contains("code_challenge=")), "{all:?}");
    let mut states: Vec<&str> = all.iter().map(|q| q.split("state=").nth(1).unwrap().split('&').next().unwrap()).collect();
    assert!(states.iter().all(|state| state.len() >= 22), "at least 128 bits: {states:?}");
    states.sort_unstable();
    states.dedup();
    assert_eq!(states.len(), all.len(), "each state once");
    providers.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_names_another_issuer_is_refused_also_when_it_is_an_error() {
    let providers = Providers::start().await;
    let mut owner = providers.host.owner().await;
    for iss in ["https://evil.example", "https://github.com.evil.example", "http://github.com", "https://github.com/other", ""] {
        for error in [false, true] {
            let mut callback = providers.begin(&mut owner, ("github", "oauth")).await;
            if error {
                let state = callback.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
                callback.query_pairs_mut().clear().append_pair("error", "access_denied").append_pair("state", &state);
            }
            callback.query_pairs_mut().append_pair("iss", iss);
            let page = providers.refused(&format!("iss = {iss:?}, error: {error}"), &mut owner, &callback, None).await;
            assert!(page.text().contains("another provider"), "{}", page.text());
        }
    }
    let mut twice = providers.begin(&mut owner, ("github", "oauth")).await;
    twice.query_pairs_mut().append_pair("iss", "https://github.com/login/oauth").append_pair("iss", "https://evil.example");
    providers.refused("iss twice", &mut owner, &twice, None).await;
    let mut right = providers.begin(&mut owner, ("github", "oauth")).await;
    right.query_pairs_mut().append_pair("iss", "https://github.com/login/oauth");
    assert!(linked(&owner.open(right.as_str()).await));
    providers.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_no_at_the_provider_is_told_so_and_nothing_is_linked() {
    let providers = Providers::start().await;
    let mut owner = providers.host.owner().await;
    let mut callback = providers.begin(&mut owner, ("github", "oauth")).await;
    let state = callback.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    callback.query_pairs_mut().clear().extend_pairs([
        ("error", "access_denied"),
        ("error_description", "<b>CANARY</b>"),
        ("state", &state),
    ]);
    let page = providers.refused("access_denied", &mut owner, &callback, None).await;
    assert!(page.text().contains("You did not allow it at GitHub") && !page.body.contains("CANARY"), "{}", page.text());
    providers.host.stop().await;
}

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
    hub.fault(Fault::new(Kind::Delay { ms: 20 }).matching("/login/oauth/access_token"));
    let rounds = 40;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_whose_request_was_lost_on_the_way_is_tried_once_more_at_once() {
    let clock = noon();
    let (hub, _folder, host, id) = rotating(&clock).await;
    clock.advance(8 * HOUR);
    hub.fault(Fault::once(Kind::Reset).matching("/login/oauth/access_token"));
    let connection = host.connection(id).await;
    link::refresh(&host.app, &connection, false).await.map(drop).unwrap();
    assert_eq!((hub.refreshes(), hub.revoked_families()), (1, 0));

    // The provider's bad hour ends nobody's connection.
    clock.advance(8 * HOUR);
    hub.fault(Fault::new(Kind::Status { status: 503 }).matching("/login/oauth/access_token"));
    let error = link::refresh(&host.app, &connection, false).await.map(drop).unwrap_err();
    assert!(matches!(error, link::RefreshError::Transient { .. }), "{error}");
    hub.clear_faults();
    link::refresh(&host.app, &connection, false).await.map(drop).unwrap();
    assert_eq!((hub.refreshes(), hub.revoked_families()), (2, 0));
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
