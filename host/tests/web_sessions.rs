//! Who is let in, for how long, and what ends it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod web_support;

use http::StatusCode;
use sluice::web;
use web_support::{Host, PASSWORD};

const DAY: i64 = 86_400_000;

#[tokio::test]
async fn the_cookie_is_a_host_cookie_under_https_and_a_plain_one_at_home() {
    for (public, starts, secure) in [
        ("https://sluice.example.org", "__Host-sluice=", true),
        ("https://example.org/apps/sluice", "__Host-sluice=", true),
        ("http://localhost:8642", "sluice_session=", false),
        ("http://192.168.1.5:8642", "sluice_session=", false),
    ] {
        let host = Host::at(public).await;
        let mut browser = host.browser();
        let path = host.setup_path().await;
        let page = browser.get(&path).await;
        let form = [
            ("csrf", page.csrf()),
            ("name", "ada".into()),
            ("password", PASSWORD.into()),
            ("again", PASSWORD.into()),
            ("time-zone", "UTC".into()),
        ];
        let answer = browser.post(&path, &form).await;
        let cookie = answer.set_cookie().unwrap().to_owned();
        assert!(cookie.starts_with(starts), "{public}: {cookie}");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/;"), "{cookie}");
        assert_eq!(cookie.contains("Secure"), secure, "{public}: {cookie}");
        assert!(!cookie.contains("Domain"), "{cookie}");
        let home = browser.get(answer.location()).await;
        assert_eq!(home.status, StatusCode::OK, "{public}: signed in, and no loop");
        assert_eq!(home.body.contains("Not encrypted"), !secure, "the banner is on plain http only");
    }
}

#[tokio::test]
async fn the_first_set_up_makes_an_owner_once() {
    let host = Host::local().await;
    let path = host.setup_path().await;
    let mut browser = host.browser();
    let page = browser.get(&path).await;
    assert!(page.body.contains("Every daily count depends on it") && page.body.contains("<option>Europe/Vienna</option>"), "{}", page.body);
    // Looking at the link, as a preview or a scanner does, uses nothing up; nor does a form that does not hold.
    assert_eq!(host.browser().get(&path).await.status, StatusCode::OK);
    let form = |csrf: String, password: &str, zone: &str| {
        [("csrf", csrf), ("name", "ada".into()), ("password", password.into()), ("again", password.into()), ("time-zone", zone.into())]
    };
    let short = browser.post(&path, &form(page.csrf(), "short", "UTC")).await;
    assert_eq!(short.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(short.body.contains("too short") && short.body.contains("value=\"ada\"") && !short.body.contains("value=\"short\""));
    let nowhere = browser.post(&path, &form(page.csrf(), PASSWORD, "Atlantis/Capital")).await;
    assert_eq!(nowhere.status, StatusCode::UNPROCESSABLE_ENTITY);
    let made = browser.post(&path, &form(page.csrf(), PASSWORD, "Europe/Vienna")).await;
    assert_eq!((made.status, made.location()), (StatusCode::SEE_OTHER, "/?note=welcome"));
    assert!(browser.get("/").await.body.contains("Nothing is linked yet"));
    let owner = host.app.store.owner().await.unwrap().unwrap();
    assert_eq!((owner.name.as_str(), owner.time_zone.as_str()), ("ada", "Europe/Vienna"));
    assert!(owner.password_hash.unwrap().starts_with("$argon2id$"));
    assert_eq!(host.browser().get(&path).await.status, StatusCode::GONE);
    assert!(web::make_setup_link(&host.app).await.unwrap().is_none(), "there is nothing left to set up");
}

#[tokio::test]
async fn an_old_or_invented_link_opens_nothing() {
    let host = Host::local().await;
    let path = host.setup_path().await;
    assert_eq!(host.browser().get("/setup/AAAA").await.status, StatusCode::GONE);
    assert_eq!(host.browser().get(&path.replace("/setup/", "/owner-link/")).await.status, StatusCode::GONE, "a link is good for one thing");
    host.pass(DAY + 1);
    assert_eq!(host.browser().get(&path).await.status, StatusCode::GONE);
}

#[tokio::test]
async fn the_owners_link_sets_a_password_and_ends_every_session() {
    let host = Host::local().await;
    let mut old = host.owner().await;
    let link = web::make_owner_link(&host.app).await.unwrap();
    let path = link.url.parse::<url::Url>().unwrap().path().to_owned();
    let mut browser = host.browser();
    let page = browser.get(&path).await;
    assert!(page.body.contains("ada"));
    let form = [("csrf", page.csrf()), ("password", "another set of words".into()), ("again", "another set of words".into())];
    assert_eq!(browser.post(&path, &form).await.status, StatusCode::SEE_OTHER);
    assert!(browser.is_in().await);
    assert!(!old.is_in().await);
    assert_eq!(host.browser().get(&path).await.status, StatusCode::GONE);
    assert_eq!(host.browser().sign_in("ada", "another set of words").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn each_sign_in_has_a_new_id_and_the_old_one_is_worth_nothing() {
    let host = Host::local().await;
    let mut browser = host.owner().await;
    let first = browser.cookie.clone();
    let mut again = host.browser();
    again.get("/sign-in").await;
    let before = again.cookie.clone();
    assert!(before.is_some() && !again.is_in().await, "a visitor's cookie is no session");
    assert_eq!(again.sign_in("ada", PASSWORD).await.status, StatusCode::SEE_OTHER);
    assert_ne!(again.cookie, before);
    assert_ne!(again.cookie, first);
    let mut fixed = host.browser();
    fixed.cookie = before;
    assert!(!fixed.is_in().await, "an id that was planted before sign-in stays what it was");
    assert!(browser.is_in().await, "the other browser stays signed in");
}

#[tokio::test]
async fn signing_out_ends_the_session_on_the_server() {
    let host = Host::local().await;
    let mut browser = host.owner().await;
    let cookie = browser.cookie.clone();
    let page = browser.get("/").await;
    let out = browser.post("/sign-out", &[("csrf", page.csrf())]).await;
    assert_eq!(out.status, StatusCode::SEE_OTHER);
    assert!(out.set_cookie().unwrap().contains("Max-Age=0"));
    let mut thief = host.browser();
    thief.cookie = cookie;
    assert!(!thief.is_in().await);
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    let host = Host::local().await;
    let mut here = host.owner().await;
    let mut there = host.browser();
    there.sign_in("ada", PASSWORD).await;
    assert!(there.is_in().await);
    let before = here.cookie.clone();
    let page = here.get("/account").await;
    let form = |current: &str| {
        [
            ("csrf", page.csrf()),
            ("current", current.into()),
            ("password", "new words for ada".into()),
            ("again", "new words for ada".into()),
        ]
    };
    let wrong = here.post("/account/password", &form("not that")).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(there.is_in().await);
    assert_eq!(here.post("/account/password", &form(PASSWORD)).await.status, StatusCode::SEE_OTHER);
    assert_ne!(here.cookie, before);
    assert!(here.is_in().await);
    assert!(!there.is_in().await);
    let mut old = host.browser();
    old.cookie = before;
    assert!(!old.is_in().await);
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_and_at_its_limit() {
    let host = Host::local().await;
    let mut idle = host.owner().await;
    host.pass(13 * DAY);
    assert!(idle.is_in().await, "13 days are not 14");
    host.pass(13 * DAY);
    assert!(idle.is_in().await, "a visit begins the count again");
    host.pass(14 * DAY + 1);
    assert!(!idle.is_in().await);

    let mut busy = host.browser();
    busy.sign_in("ada", PASSWORD).await;
    for _ in 0..8 {
        host.pass(11 * DAY);
        assert!(busy.is_in().await);
    }
    host.pass(2 * DAY + 1);
    assert!(!busy.is_in().await, "90 days are the most");
}

#[tokio::test]
async fn unknown_names_and_wrong_passwords_are_answered_alike() {
    let host = Host::local().await;
    host.owner().await;
    let wrong = host.browser().sign_in("ada", "not her password").await;
    let nobody = host.browser().sign_in("grace", "not her password").await;
    assert_eq!(wrong.status, nobody.status);
    let strip = |answer: &web_support::Answer, name: &str| answer.body.replace(&answer.csrf(), "").replace(name, "");
    assert_eq!(strip(&wrong, "ada"), strip(&nobody, "grace"));
}

#[tokio::test]
async fn guessing_is_slowed_for_known_and_unknown_names() {
    let host = Host::local().await;
    host.owner().await;
    for name in ["ada", "grace"] {
        for _ in 0..5 {
            assert_eq!(host.browser().sign_in(name, "a guess").await.status, StatusCode::UNPROCESSABLE_ENTITY);
        }
        let stopped = host.browser().sign_in(name, PASSWORD).await;
        assert_eq!(stopped.status, StatusCode::TOO_MANY_REQUESTS, "even the right one waits");
        assert!(stopped.headers.contains_key("retry-after"));
        assert!(stopped.body.contains("Too many attempts"));
    }
    host.pass(2_000);
    assert_eq!(host.browser().sign_in("ada", PASSWORD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_sign_in_leads_back_to_a_page_of_ours_and_nowhere_else() {
    let host = Host::local().await;
    host.owner().await;
    for (next, to) in [("/link", "/link"), ("https://evil.example/", "/"), ("//evil.example", "/"), ("/\\evil.example", "/"), ("", "/")] {
        let mut browser = host.browser();
        let page = browser.get("/sign-in").await;
        let form = [("csrf", page.csrf()), ("name", "ada".into()), ("password", PASSWORD.into()), ("next", next.into())];
        assert_eq!(browser.post("/sign-in", &form).await.location(), to, "{next}");
        let query = url::form_urlencoded::byte_serialize(next.as_bytes()).collect::<String>();
        assert_eq!(browser.get(&format!("/sign-in?next={query}")).await.location(), to, "signed in already, {next}");
    }
}
