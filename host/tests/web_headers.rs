//! What every answer says to browsers, under which names the host answers, and what its health says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod web_support;

use http::{Method, StatusCode};
use sluice::web::routes;
use web_support::Host;

#[tokio::test]
async fn every_answer_carries_the_headers() {
    let host = Host::local().await;
    let mut owner = host.owner().await;
    let mut paths: Vec<String> = routes()
        .into_iter()
        .filter(|route| route.method == Method::GET)
        .map(|route| {
            route
                .path
                .replace("{token}", "t")
                .replace("{connector}", "c")
                .replace("{profile}", "p")
                .replace("{id}", "i")
                .replace("{name}", "m")
                .replace("{verb}", "approve")
                .replace("{nonce}", "n")
        })
        .collect();
    paths.push("/nothing/here".to_owned());
    for path in paths {
        for answer in [owner.get(&path).await, owner.send(Method::PUT, &path, &[], None).await, host.browser().get(&path).await] {
            let csp = answer.headers["content-security-policy"].to_str().unwrap();
            for part in ["default-src 'none'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
                assert!(csp.contains(part), "{path}: {csp}");
            }
            assert!(!csp.contains("unsafe") && !csp.contains("script-src"), "{path}: {csp}");
            assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
            assert_eq!(answer.headers["referrer-policy"], "no-referrer", "{path}");
            assert!(answer.headers.contains_key("permissions-policy") && answer.headers.contains_key("x-request-id"), "{path}");
            assert!(!answer.headers.contains_key("strict-transport-security"), "{path}");
            let cached = answer.headers["cache-control"].to_str().unwrap();
            assert!(cached == "no-store" || path.starts_with("/assets/"), "{path}: {cached}");
            assert!(
                !answer.body.contains("<script") && !answer.body.contains(" style=") && !answer.body.contains("onclick"),
                "{path}: nothing inline"
            );
        }
    }
}

#[tokio::test]
async fn https_is_promised_under_https() {
    let host = Host::at("https://sluice.example.org").await;
    assert_eq!(host.browser().get("/sign-in").await.headers["strict-transport-security"], "max-age=31536000");
}

#[tokio::test]
async fn another_name_for_this_machine_is_not_answered() {
    let host = Host::local().await;
    for (name, status) in [
        ("localhost:8642", StatusCode::OK),
        ("127.0.0.1:8642", StatusCode::OK),
        ("192.168.1.5:8642", StatusCode::OK),
        ("[::1]:8642", StatusCode::OK),
        ("evil.example", StatusCode::MISDIRECTED_REQUEST),
        ("evil.example:8642", StatusCode::MISDIRECTED_REQUEST),
        ("localhost.evil.example", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let mut browser = host.browser();
        browser.host = name.to_owned();
        let answer = browser.get("/sign-in").await;
        assert_eq!(answer.status, status, "{name}");
        assert!(status == StatusCode::OK || answer.body.contains("public-url"), "it says what to do");
    }
}

#[tokio::test]
async fn a_public_url_with_a_path_holds_everywhere() {
    let host = Host::at("http://localhost:8642/apps/sluice").await;
    let mut owner = host.browser();
    let path = host.setup_path().await;
    assert!(path.starts_with("/apps/sluice/setup/"));
    let page = owner.get(&path).await;
    let form = [
        ("csrf", page.csrf()),
        ("name", "ada".into()),
        ("password", web_support::PASSWORD.into()),
        ("again", web_support::PASSWORD.into()),
        ("time-zone", "UTC".into()),
    ];
    assert_eq!(owner.post(&path, &form).await.location(), "/apps/sluice/?note=welcome");
    let home = owner.get("/apps/sluice/").await;
    assert_eq!(home.status, StatusCode::OK);
    for piece in home.body.split("href=\"").skip(1).chain(home.body.split("action=\"").skip(1)) {
        assert!(piece.starts_with("/apps/sluice/") || piece.starts_with('#'), "{piece}");
    }
    assert_eq!(owner.get("/apps/sluice").await.location(), "/apps/sluice/");
    assert_eq!(owner.get("/").await.status, StatusCode::NOT_FOUND);
    assert_eq!(owner.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(host.browser().get("/apps/sluice/link").await.location(), "/apps/sluice/sign-in?next=%2Fapps%2Fsluice%2Flink");
}

#[tokio::test]
async fn health_is_told_to_anybody_and_fails_with_the_store() {
    let host = Host::local().await;
    let answer = host.browser().get("/healthz").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "{\"status\":\"ok\"}"));
    assert!(answer.set_cookie().is_none());
    host.app.store.close().await;
    let answer = host.browser().get("/healthz").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "{\"status\":\"store-failed\"}"));
    let page = host.browser().get("/sign-in").await;
    assert!(page.status == StatusCode::INTERNAL_SERVER_ERROR || page.status == StatusCode::OK);
    assert!(!page.body.contains("closed"), "the cause is for the log");
}

#[tokio::test]
async fn what_is_not_there_says_so_on_a_page() {
    let host = Host::local().await;
    let mut owner = host.owner().await;
    for path in ["/nothing/here", "/connections/none", "/connections/none/entries.csv", "/link/none"] {
        let answer = owner.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.body.contains("<h1>Nothing here</h1>"), "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn the_style_sheet_is_cached_under_its_hash() {
    let host = Host::local().await;
    let page = host.browser().get("/sign-in").await;
    let (_, rest) = page.body.split_once("rel=\"stylesheet\" href=\"").unwrap();
    let sheet = host.browser().get(rest.split('"').next().unwrap()).await;
    assert_eq!((sheet.status, sheet.headers["content-type"].to_str().unwrap()), (StatusCode::OK, "text/css; charset=utf-8"));
    assert!(sheet.headers["cache-control"].to_str().unwrap().contains("immutable"));
    assert!(!sheet.body.contains("url("), "it loads nothing");
}
