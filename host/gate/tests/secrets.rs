//! What goes out with a key comes back without it, in whatever form the provider echoes it; and what `explain` and `host_request` say and do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use base64::Engine as _;
use sluice_gate::{HostRequest, HostRequestError, Upstream};
use sluice_model::request::Request;
use sluice_vault::Secret;
use support::*;

const MORE: &str = r#"
[[auth]]
id = "app"
title = "Sign in"
kind = "oauth2"
app-fields = ["client-id", "client-secret"]
authorize-url = "https://two.example/authorize"
token-url = "https://two.example/oauth/token"
revoke-url = "https://two.example/oauth/revoke"

[[quota]]
name = "hourly"
scope = "connection"
requests = 5000
window = "1h"
"#;

/// Every way in which a token is looked for by the tests; none may be found.
fn forms(token: &str) -> Vec<String> {
    let hex: String = token.bytes().map(|b| format!("{b:02x}")).collect();
    let url: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
    let engine = base64::engine::general_purpose::STANDARD;
    vec![
        token.to_owned(),
        url.clone(),
        url.replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d"),
        token.replace('/', "\\/"),
        hex.to_uppercase(),
        hex,
        engine.encode(token).trim_end_matches('=').to_owned(),
    ]
}

#[tokio::test]
async fn an_echoed_token_reaches_the_guest_in_no_form() {
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("someone:{TOKEN}"));
    let echo = forms(TOKEN).join("\n") + "\n" + &basic + "\noperators-shared-secret\nvisible-user-name";
    let url: String = url::form_urlencoded::byte_serialize(TOKEN.as_bytes()).collect();
    let link = format!("<https://one.example/api/x?access_token={url}&page=2>; rel=\"next\"");
    let (_server, session) = probe(move |_| {
        answer(
            200,
            &[("link", &link), ("x-echo", TOKEN), ("x-basic", &basic), ("set-cookie", "session=hidden"), ("x-plain", "stays")],
            &echo,
        )
    })
    .await;
    for request in [attached(get("https://one.example/api/x")), get("https://one.example/free")] {
        let response = session.fetch(request).await.unwrap();
        let all = format!("{} {:?} {}", response.url, response.headers, String::from_utf8_lossy(&response.body));
        for form in forms(TOKEN) {
            assert!(!all.contains(&form), "{form} in {all}");
        }
        assert!(!all.contains("operators-shared-secret") && !all.contains("hidden"), "{all}");
        assert!(all.contains("visible-user-name"), "what is no secret stays: {all}");
        assert_eq!(header(&response, "link"), Some("<https://one.example/api/x?access_token=***&page=2>; rel=\"next\""));
        assert_eq!(header(&response, "x-plain"), Some("stays"));
    }
    let text = format!("{:?} {:?}", session.seen(), session.excerpt());
    assert!(forms(TOKEN).iter().all(|f| !text.contains(f.as_str())), "{text}");
    assert_eq!(session.scrub(&format!("failed with {TOKEN}!")), "failed with ***!");
}

#[tokio::test]
async fn errors_carry_no_query_and_no_key() {
    let upstream = Upstream { from: "https://one.example".into(), to: "http://nowhere.invalid".into(), allow_private: true };
    let session = session(&egress_with(&gate(&Clockwork::new()), &manifest(""), vec![upstream]));
    let key = "query-canary-55";
    for request in [
        attached(get(&format!("https://one.example/api/x?k={key}"))),
        attached(get(&format!("https://two.example/api/x?k={key}"))),
        get(&format!("https://three.example/?k={key}")),
        get(&format!("https://user:{key}@one.example/")),
        get(&format!("https://one.example/api/../x?k={key}")),
        get(&format!("nonsense?{key}")),
        with_header(get("https://one.example/x"), "x-a\n", key),
        with_header(get("https://one.example/x"), "cookie", key),
        Request { body: Some(vec![0; 9 << 20]), ..get(&format!("https://one.example/api/x?k={key}")) },
    ] {
        let why = session.fetch(request).await.unwrap_err();
        let text = format!("{why} {why:?}");
        assert!(!text.contains(key) && !text.contains(TOKEN), "{text}");
    }
}

#[tokio::test]
async fn explain_reads_as_a_person_would_say_it() {
    let server = Server::start(|_| answer(200, &[], "")).await;
    let upstreams = vec![
        Upstream { from: "https://two.example".into(), to: "https://mirror.example/two".into(), allow_private: false },
        Upstream { from: "https://one.example:8443".into(), to: "http://127.0.0.1:9".into(), allow_private: false },
    ];
    let egress = egress_with(&gate(&Clockwork::new()), &manifest(MORE), upstreams);
    for (method, url, allowed, text) in [
        (
            "GET",
            "https://one.example/api/me?token=hidden",
            true,
            "probe: GET https://one.example/api/me?… allowed\n  a key is attached when the connector asks for: user\n  counted by: hourly (5000 in 1 h)",
        ),
        (
            "POST",
            "https://two.example/x",
            true,
            "probe: POST https://two.example/x allowed\n  upstream: https://mirror.example/two/x\n  a key is attached when the connector asks for: user\n  counted by: hourly (5000 in 1 h)",
        ),
        (
            "GET",
            "https://one.example:8443/x",
            false,
            "probe: GET https://one.example:8443/x denied: 127.0.0.1 is no public address (loopback)\n  an operator who means it sets `allow-private = true` on an upstream for exactly this prefix",
        ),
        (
            "DELETE",
            "https://two.example/x",
            false,
            "probe: DELETE https://two.example/x denied: not in its grant\n  granted: GET, HEAD, POST, PUT, DELETE https://one.example/",
        ),
        ("POST", "https://two.example/oauth/token", false, "probe: POST https://two.example/oauth/token denied: people sign in there"),
        ("GET", "nonsense", false, "probe: GET nonsense denied: "),
    ] {
        let said = egress.explain(method, url);
        assert_eq!(said.allowed, allowed, "{}", said.text);
        assert!(said.text.starts_with(text), "\n{}\n{text}", said.text);
        assert!(!said.text.contains("hidden"));
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_host_asks_its_own_urls_and_nothing_else() {
    let server = Server::start(|got| match got.path() {
        "/oauth/token" => answer(200, &[("content-type", "application/json")], "{\"access_token\":\"fresh-canary-token\"}"),
        "/oauth/revoke?hint=access" => answer(302, &[("location", "https://one.example/phishing")], ""),
        _ => answer(404, &[], ""),
    })
    .await;
    let egress = egress(&gate(&Clockwork::new()), &manifest(MORE), &[("https://one.example", &server), ("https://two.example", &server)]);
    let secret = |t: &str| Secret::text(t.into());
    let response = egress
        .host_request(HostRequest {
            method: "POST".into(),
            url: "https://two.example/oauth/token".into(),
            form: vec![("grant_type".into(), secret("authorization_code")), ("code".into(), secret("a code&more"))],
            basic: Some(("client:id".into(), secret("client secret"))),
            accept_json: true,
            ..HostRequest::default()
        })
        .await
        .unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(response.status, 200);
    assert!(response.body.expose_str().unwrap().contains("fresh-canary-token"));
    let got = server.last();
    assert_eq!(String::from_utf8(got.body.clone()).unwrap(), "grant_type=authorization_code&code=a+code%26more");
    assert_eq!(got.header("authorization"), Some("Basic Y2xpZW50JTNBaWQ6Y2xpZW50K3NlY3JldA=="));
    assert_eq!(got.header("accept"), Some("application/json"));

    let response = egress
        .host_request(HostRequest {
            method: "DELETE".into(),
            url: "https://two.example/oauth/revoke".into(),
            query: vec![("hint".into(), secret("access"))],
            json: Some(secret("{\"token\":1}")),
            headers: vec![("x-version".into(), secret("7"))],
            ..HostRequest::default()
        })
        .await
        .unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(response.status, 302, "a redirect is an answer, not an order");
    let got = server.last();
    assert_eq!(
        (got.line.as_str(), got.body.as_slice(), got.header("x-version")),
        ("DELETE /oauth/revoke?hint=access HTTP/1.1", b"{\"token\":1}".as_slice(), Some("7"))
    );

    let before = server.got().len();
    for (method, url) in [
        ("POST", "https://one.example/api/x"),
        ("GET", "https://two.example/oauth/token"),
        ("POST", "https://two.example/oauth/token/x"),
        ("POST", "https://two.example/authorize"),
        ("POST", "https://three.example/oauth/token"),
        ("POST", "http://two.example/oauth/token"),
    ] {
        let request = HostRequest { method: method.into(), url: format!("{url}?code=query-canary"), ..HostRequest::default() };
        match egress.host_request(request).await {
            Err(why @ HostRequestError::Denied(_)) => assert!(!why.to_string().contains("query-canary"), "{why}"),
            Err(why) => panic!("{why}"),
            Ok(_) => panic!("{method} {url} was sent"),
        }
    }
    assert_eq!(server.got().len(), before);
}

#[tokio::test]
async fn a_token_answer_that_never_comes_whole_says_that_it_may_have_counted() {
    let server = Server::start(|_| vec![Piece::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec()), Piece::Close]).await;
    let gate = gate(&Clockwork::new());
    let ask = async |to: String| {
        let upstream = Upstream { from: "https://two.example".into(), to, allow_private: true };
        let egress = egress_with(&gate, &manifest(MORE), vec![upstream]);
        let request = HostRequest { url: "https://two.example/oauth/token".into(), ..HostRequest::default() };
        egress.host_request(request).await.err().unwrap()
    };
    assert!(matches!(ask(server.url()).await, HostRequestError::Unanswered(_)));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(ask(format!("http://{free}")).await, HostRequestError::Unreachable(_)));
}
