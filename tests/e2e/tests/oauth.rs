//! Sign-in under attack: a code never reaches another provider's token endpoint, and a flow ends only where and when it may.
//!
//! Every case that must be refused is refused before a token request: the simulators count those, and the count stands still.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice_e2e::{
    browser::{Browser, Page},
    folder::{Folder, Settings, upstream},
    host::Host,
    time::noon,
    worlds::{self, Fm, Hub, OAUTH, ROTATING},
};
use sluice_sim::{github, lastfm};
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
