//! Each hop is a new decision: what is attached, by status, host, scheme and port.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use sluice_gate::{Session, Upstream};
use sluice_model::request::{FetchError, Request};
use support::*;

/// `/api/go?N:URL` redirects with status N to URL; everything else answers 200.
fn redirector(got: &Got) -> Vec<Piece> {
    match got.path().split_once("go?") {
        Some((_, what)) => {
            let (status, to) = what.split_once(':').unwrap();
            let to = to.replace("%20", " ");
            answer(status.parse().unwrap(), &[("location", &to)], "")
        }
        None => answer(200, &[], got.line.clone()),
    }
}

struct Net {
    one: Server,
    alt: Server,
    two: Server,
    session: Session,
}

async fn net() -> Net {
    let (one, alt, two) = (Server::start(redirector).await, Server::start(redirector).await, Server::start(redirector).await);
    let egress = egress(
        &gate(&Clockwork::new()),
        &manifest(""),
        &[("https://one.example", &one), ("https://one.example:8443", &alt), ("https://two.example", &two)],
    );
    let session = session(&egress);
    Net { one, alt, two, session }
}

fn go(status: u16, to: &str) -> Request {
    following(attached(get(&format!("https://one.example/api/go?{status}:{to}"))))
}

const BEARER: &str = "Bearer canary+tok/en=0123456789";

#[tokio::test]
async fn a_key_follows_on_its_origin_where_to_matches_and_nowhere_else() {
    for status in [301, 302, 303, 307, 308] {
        let net = net().await;
        // Same origin, still in `to`: attached. The same, outside `to`: sent without.
        net.session.fetch(go(status, "https://one.example/api/next")).await.unwrap();
        assert_eq!((net.one.last().path(), net.one.last().header("authorization")), ("/api/next", Some(BEARER)), "{status}");
        net.session.fetch(go(status, "/api/relative")).await.unwrap();
        assert_eq!((net.one.last().path(), net.one.last().header("authorization")), ("/api/relative", Some(BEARER)), "{status}");
        net.session.fetch(go(status, "https://one.example/free")).await.unwrap();
        assert_eq!((net.one.last().path(), net.one.last().header("authorization")), ("/free", None), "{status}");
        // Another port, another host: granted, and never with the key.
        net.session.fetch(go(status, "https://one.example:8443/api/next")).await.unwrap();
        assert_eq!((net.alt.last().path(), net.alt.last().header("authorization")), ("/api/next", None), "{status}");
        net.session.fetch(go(status, "https://two.example/api/next")).await.unwrap();
        assert_eq!((net.two.last().path(), net.two.last().header("authorization")), ("/api/next", None), "{status}");
        // And not regained on the way back.
        net.session.fetch(go(status, "https://two.example/api/go?302:https://one.example/api/back")).await.unwrap();
        assert_eq!((net.one.last().path(), net.one.last().header("authorization")), ("/api/back", None), "{status}");
    }
}

#[tokio::test]
async fn a_hop_out_of_the_grant_or_out_of_tls_is_denied_and_not_sent() {
    for status in [301, 302, 303, 307, 308] {
        let net = net().await;
        for (to, word) in [
            ("https://three.example/x", "not in its grant"),
            ("https://one.example:9999/api/x", "not in its grant"),
            ("https://one.example.evil.example/api/x", "not in its grant"),
            ("http://one.example/api/x", "from https to http"),
            ("http://two.example/x", "from https to http"),
            ("http://169.254.169.254/latest/meta-data", "from https to http"),
            ("https://user:pass@one.example/api/x", "user"),
            ("https://127.0.0.1/x", "denied"),
        ] {
            let why = denied(net.session.fetch(go(status, to)).await);
            assert!(why.contains(word), "{status} {to}: {why}");
            assert!(!why.contains("pass@"), "{why}");
        }
        for to in ["javascript:alert(1)", "file:///etc/passwd", "//", "https://", "ftp://one.example/"] {
            let outcome = net.session.fetch(go(status, to)).await;
            assert!(matches!(outcome, Err(FetchError::Denied(_) | FetchError::Other(_))), "{status} {to}: {outcome:?}");
        }
        assert!(net.one.got().iter().all(|g| g.path().contains("go?")));
        assert!(net.two.got().is_empty() && net.alt.got().is_empty());
    }
}

#[tokio::test]
async fn statuses_that_are_no_redirect_are_answers() {
    let net = net().await;
    for status in [300, 304, 305, 306] {
        let response = net.session.fetch(go(status, "https://two.example/x")).await.unwrap();
        assert_eq!(response.status, status);
    }
    for status in [301, 302, 303, 307, 308] {
        let plain = Request { follow_redirects: false, ..go(status, "https://two.example/x") };
        let response = net.session.fetch(plain).await.unwrap();
        assert_eq!((response.status, header(&response, "location")), (status, Some("https://two.example/x")));
    }
    assert!(net.two.got().is_empty());
}

#[tokio::test]
async fn methods_and_bodies_follow_the_standard() {
    let net = net().await;
    for (status, line, body) in [
        (301, "GET /api/next HTTP/1.1", ""),
        (302, "GET /api/next HTTP/1.1", ""),
        (303, "GET /api/next HTTP/1.1", ""),
        (307, "POST /api/next HTTP/1.1", "payload"),
        (308, "POST /api/next HTTP/1.1", "payload"),
    ] {
        let request = following(attached(post(&format!("https://one.example/api/go?{status}:/api/next"), "text/plain", "payload")));
        net.session.fetch(request).await.unwrap();
        let got = net.one.last();
        assert_eq!((got.line.as_str(), got.body.as_slice()), (line, body.as_bytes()), "{status}");
        assert_eq!(got.header("content-type").is_some(), !body.is_empty(), "{status}");
        assert_eq!(got.header("authorization"), Some(BEARER));
    }
}

#[tokio::test]
async fn a_guests_own_headers_stay_on_their_origin() {
    let net = net().await;
    let request = with_header(with_header(go(302, "https://two.example/x"), "x-api-key", "guests-own-key"), "accept", "text/x");
    net.session.fetch(request).await.unwrap();
    let got = net.two.last();
    assert_eq!((got.header("x-api-key"), got.header("accept")), (None, Some("text/x")));
    assert_eq!(net.one.last().header("x-api-key"), Some("guests-own-key"));
}

#[tokio::test]
async fn five_hops_are_followed_and_a_sixth_is_not() {
    let server = Server::start(|got| {
        let n: u32 = got.path().trim_start_matches("/api/").parse().unwrap();
        if n == 0 { answer(200, &[], "end") } else { answer(302, &[("location", &format!("/api/{}", n - 1))], "") }
    })
    .await;
    let session = session(&egress(&gate(&Clockwork::new()), &manifest(""), &[("https://one.example", &server)]));
    let response = session.fetch(following(attached(get("https://one.example/api/5")))).await.unwrap();
    assert_eq!((response.body.as_slice(), response.url.as_str()), (b"end".as_slice(), "https://one.example/api/0"));
    assert_eq!(session.seen().requests, 6);
    let outcome = session.fetch(following(attached(get("https://one.example/api/6")))).await;
    assert!(matches!(&outcome, Err(FetchError::Other(why)) if why.contains("more than 5 redirects")), "{outcome:?}");
    assert_eq!(server.got().len(), 12);
}

#[tokio::test]
async fn parameters_of_a_recipe_are_stripped_from_where_an_answer_points() {
    let more = r#"
[[attach]]
name = "query"
profiles = ["key"]
to = ["GET https://two.example/q/"]
query = { access_token = "{token}" }
"#;
    let server = Server::start(|got| match got.path().split_once('?').map(|(p, _)| p) {
        Some("/q/start") => answer(302, &[("location", "/q/end?page=2&access_token=planted&x=1")], ""),
        Some("/q/away") => answer(302, &[("location", "https://one.example/free?access_token=planted&x=1")], ""),
        Some("/q/links") => answer(
            200,
            &[(
                "link",
                "<https://two.example/q/l?access_token=planted&page=3>; rel=\"next\", </q/l?page=9>; rel=\"last\", <not a url>; rel=x",
            )],
            "",
        ),
        _ => answer(200, &[], ""),
    })
    .await;
    let egress = egress(&gate(&Clockwork::new()), &manifest(more), &[("https://one.example", &server), ("https://two.example", &server)]);
    let session = session(&egress);
    let by = |url: &str| following(Request { credential: Some("query".into()), ..get(url) });
    let sent = "access_token=canary%2Btok%2Fen%3D0123456789";
    let response = session.fetch(by("https://two.example/q/start")).await.unwrap();
    assert_eq!(server.last().path(), format!("/q/end?page=2&x=1&{sent}"));
    assert_eq!(response.url, "https://two.example/q/end?page=2&x=1");
    session.fetch(by("https://two.example/q/away")).await.unwrap();
    assert_eq!(server.last().path(), "/free?x=1");
    let response = session.fetch(by("https://two.example/q/links")).await.unwrap();
    let link = header(&response, "link").unwrap();
    assert!(
        link.starts_with("<https://two.example/q/l?page=3>; rel=\"next\", <https://two.example/q/l?page=9>; rel=\"last\", <"),
        "{link}"
    );
    // Without following, the same.
    let response = session.fetch(Request { follow_redirects: false, ..by("https://two.example/q/start") }).await.unwrap();
    assert_eq!(header(&response, "location"), Some("https://two.example/q/end?page=2&x=1"));
}

#[tokio::test]
async fn guests_see_the_originals_of_an_upstream() {
    let server = Server::start(|got| {
        let host = got.header("host").unwrap();
        match got.path() {
            "/v3/moved" => answer(301, &[("location", &format!("http://{host}/v3/here?a=b"))], ""),
            _ => answer(200, &[("link", &format!("<http://{host}/v3/list?page=2>; rel=\"next\"")), ("content-location", "/v3/x")], ""),
        }
    })
    .await;
    let upstream = Upstream { from: "https://one.example/api".into(), to: format!("{}/v3", server.url()), allow_private: true };
    let session = session(&egress_with(&gate(&Clockwork::new()), &manifest(""), vec![upstream]));
    let response = session.fetch(following(attached(get("https://one.example/api/moved")))).await.unwrap();
    assert_eq!(response.url, "https://one.example/api/here?a=b");
    assert_eq!(server.last().header("authorization"), Some(BEARER));
    assert_eq!(header(&response, "link"), Some("<https://one.example/api/list?page=2>; rel=\"next\""));
    assert_eq!(header(&response, "content-location"), Some("https://one.example/api/x"));
    let text = format!("{response:?}");
    assert!(!text.contains("127.0.0.1"), "{text}");
    // Beside the prefix there is no upstream, and nobody opened private addresses.
    let outcome = session.fetch(get("https://one.example/apix")).await;
    assert!(outcome.is_err(), "{outcome:?}");
    assert_eq!(server.got().len(), 2);
}
