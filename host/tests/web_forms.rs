//! Requests that change something come from our own pages or not at all. The list of routes comes from the router.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod web_support;

use http::{Method, StatusCode};
use sluice::web::{Kind, routes};
use web_support::{Host, encode};

/// A path for a template: the values are shaped right and lead to nothing.
fn path(template: &str, setup: &str) -> String {
    let token = setup.rsplit('/').next().unwrap();
    template
        .replace("{token}", token)
        .replace("{connector}", "github")
        .replace("{profile}", "token")
        .replace("{id}", "nothing")
        .replace("{name}", "nothing")
        .replace("{verb}", "approve")
        .replace("{nonce}", "n")
}

#[tokio::test]
async fn every_route_that_changes_something_refuses_other_sites_and_wrong_tokens() {
    let host = Host::local().await;
    let setup = host.setup_path().await;
    let mut owner = host.owner().await;
    let token = owner.get("/").await.csrf();
    let wrong = format!("{}{}", if token.starts_with('A') { 'B' } else { 'A' }, &token[1..]);
    let mut walked = 0;
    for route in routes().into_iter().filter(|route| !matches!(route.method, Method::GET | Method::HEAD)) {
        let at = path(route.path, &setup);
        let good = encode(&[("csrf", token.clone())]);
        let own = ("sec-fetch-site", "same-origin");
        for (what, headers, body) in [
            ("another site, by its headers", vec![("sec-fetch-site", "cross-site"), ("origin", "null")], good.clone()),
            ("a neighbour", vec![("sec-fetch-site", "same-site")], good.clone()),
            ("another origin", vec![("origin", "https://evil.example")], good.clone()),
            ("another origin that says it is not", vec![own, ("origin", "https://evil.example")], good.clone()),
            ("no token", vec![own], String::new()),
            ("an empty token", vec![own], encode(&[("csrf", String::new())])),
            ("a wrong token", vec![own], encode(&[("csrf", wrong.clone())])),
            ("a token in the address", vec![own], String::new()),
        ] {
            let at = if what == "a token in the address" { format!("{at}?csrf={token}") } else { at.clone() };
            let answer = owner.send(route.method.clone(), &at, &headers, Some(body)).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{} {} by {what}", route.method, route.path);
            assert!(answer.set_cookie().is_none(), "{} {} by {what}", route.method, route.path);
        }
        walked += 1;
    }
    assert!(walked >= 9, "the table has its forms");
    assert!(owner.is_in().await, "nothing of it signed anybody out");
}

#[tokio::test]
async fn a_form_of_our_own_gets_through_with_its_token() {
    let host = Host::local().await;
    let mut owner = host.owner().await;
    let token = owner.get("/account").await.csrf();
    // As a browser sends it at home, where there is no Sec-Fetch-Site, under no-referrer.
    let body = encode(&[("csrf", token.clone()), ("time-zone", "Asia/Kolkata".into())]);
    let answer = owner.send(Method::POST, "/account/time-zone", &[("origin", "null")], Some(body)).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/account?note=zone"));
    assert_eq!(host.app.store.owner().await.unwrap().unwrap().time_zone, "Asia/Kolkata");
}

#[tokio::test]
async fn one_visitors_token_is_worth_nothing_to_another() {
    let host = Host::local().await;
    let mut owner = host.owner().await;
    let mut stranger = host.browser();
    let theirs = stranger.get("/sign-in").await.csrf();
    let answer = owner.post("/sign-out", &[("csrf", theirs)]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(owner.is_in().await);
}

#[tokio::test]
async fn forms_are_bounded_and_of_one_kind() {
    let host = Host::local().await;
    let mut owner = host.owner().await;
    let token = owner.get("/").await.csrf();
    let big = encode(&[("csrf", token.clone()), ("x", "y".repeat(70_000))]);
    let answer = owner.send(Method::POST, "/account/time-zone", &[("sec-fetch-site", "same-origin")], Some(big)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let many: Vec<(&str, String)> = (0..100).map(|_| ("x", "1".to_owned())).chain([("csrf", token.clone())]).collect();
    let answer = owner.post("/account/time-zone", &many).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn pages_of_members_send_everybody_else_to_the_sign_in() {
    let host = Host::local().await;
    for route in routes().into_iter().filter(|route| route.method == Method::GET && matches!(route.kind, Kind::Member | Kind::Owner)) {
        let at = path(route.path, "/setup/x");
        let answer = host.browser().get(&at).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{at}");
        assert!(answer.location().starts_with("/sign-in?next=%2F"), "{at}: {}", answer.location());
    }
}

#[tokio::test]
async fn a_method_that_is_not_in_the_table_is_refused() {
    let host = Host::local().await;
    let mut owner = host.owner().await;
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = owner.send(method.clone(), "/account", &[("sec-fetch-site", "same-origin")], None).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
}
