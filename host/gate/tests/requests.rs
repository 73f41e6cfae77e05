//! What goes out: recipes where they apply and nowhere else, framing that guests can't shape, refusals that say what to do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use sluice_model::request::{FetchError, Request};
use sluice_vault::Secret;
use support::*;

#[tokio::test]
async fn a_plain_request_arrives_as_it_was_meant() {
    let (server, session) = probe(|_| answer(200, &[("x-rate", "7"), ("content-type", "application/json")], "{}")).await;
    let request = with_header(get("https://one.example/free/x?q=a%2Fb&r=%C3%A9"), "accept", "application/json");
    let response = session.fetch(request).await.unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.url, "https://one.example/free/x?q=a%2Fb&r=%C3%A9");
    assert_eq!(response.body, b"{}");
    assert_eq!(header(&response, "x-rate"), Some("7"));
    assert_eq!(header(&response, "content-length"), None);
    let got = server.last();
    assert_eq!(got.line, "GET /free/x?q=a%2Fb&r=%C3%A9 HTTP/1.1");
    assert_eq!(got.header("accept"), Some("application/json"));
    assert_eq!(got.header("user-agent"), Some(concat!("sluice/", env!("CARGO_PKG_VERSION"), " (probe 1.2.3)")));
    assert_eq!(got.header("authorization"), None);
    let seen = session.seen();
    assert_eq!((seen.requests, seen.first_request_at, seen.last_status, seen.denied), (1, Some(NOW), Some(200), 0));
    assert_eq!(session.take_as_of(), Some(NOW));
    assert_eq!(session.take_as_of(), None);
}

#[tokio::test]
async fn a_recipe_attaches_where_its_to_says_and_is_never_sent_bare() {
    let (server, session) = probe(|_| answer(200, &[], "")).await;
    session.fetch(attached(get("https://one.example/api/me"))).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    let before = server.got().len();
    for (what, request) in [
        ("another path", attached(get("https://one.example/free"))),
        ("a path that only begins alike", attached(get("https://one.example/apix/me"))),
        ("another method", attached(Request { method: "DELETE".into(), ..get("https://one.example/api/me") })),
        ("another port", attached(get("https://one.example:8443/api/me"))),
        ("another origin", attached(get("https://two.example/api/me"))),
        ("no such recipe", Request { credential: Some("other".into()), ..get("https://one.example/api/me") }),
    ] {
        let why = denied(session.fetch(request).await);
        assert!(why.contains("recipe"), "{what}: {why}");
    }
    assert_eq!(server.got().len(), before, "something was sent bare");
    assert_eq!(session.seen().denied, 6);
}

#[tokio::test]
async fn what_a_recipe_owns_is_not_a_guests_to_write() {
    let more = r#"
[[attach]]
name = "query"
profiles = ["key"]
to = ["GET https://two.example/q/"]
query = { api_key = "{token}", user = "{user}" }
"#;
    let server = Server::start(|_| answer(200, &[], "")).await;
    let egress = egress(&gate(&Clockwork::new()), &manifest(more), &[("https://one.example", &server), ("https://two.example", &server)]);
    let session = session(&egress);
    let by = |name: &str, url: &str| Request { credential: Some(name.into()), ..get(url) };
    session.fetch(by("query", "https://two.example/q/x?page=2")).await.unwrap();
    assert_eq!(server.last().path(), "/q/x?page=2&api_key=canary%2Btok%2Fen%3D0123456789&user=visible-user-name");
    for name in ["authorization", "Authorization", "AUTHORIZATION"] {
        let why = denied(session.fetch(with_header(get("https://one.example/free"), name, "Bearer mine")).await);
        assert!(why.contains("belongs to a recipe"), "{why}");
    }
    for query in ["api_key=x", "a=b&api_key=", "api%5Fkey=x", "api_key[]=x", "api.key=x", "API_KEY=x", "+api_key=x", "user=me"] {
        let url = format!("https://two.example/q/x?{query}");
        for request in [get(&url), by("query", &url)] {
            let why = denied(session.fetch(request).await);
            assert!(why.contains("is not a connector's to write"), "{query}: {why}");
        }
    }
    // Elsewhere the same names mean something else.
    assert!(session.fetch(get("https://one.example/free?user=someone")).await.is_ok());
}

#[tokio::test]
async fn a_guest_cannot_shape_framing() {
    let (server, session) = probe(|_| answer(200, &[], "")).await;
    for name in [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
        "expect",
        "te",
        "trailer",
        "proxy-authorization",
        "proxy-connection",
        "keep-alive",
        "accept-encoding",
        "cookie",
        "x-http-method-override",
        "x-method-override",
        "x-http-method",
        "http2-settings",
    ] {
        for name in [name.to_owned(), name.to_ascii_uppercase()] {
            let why = denied(session.fetch(with_header(get("https://one.example/free"), &name, "1")).await);
            assert!(why.contains("is not a connector's to write"), "{name}: {why}");
        }
    }
    for (name, value) in [
        ("x-a", "1\r\nhost: evil.example"),
        ("x-a", "1\nx-b: 2"),
        ("x-a", "1\r"),
        ("x-a", "\0"),
        ("x-a\r\nx-b", "1"),
        ("x a", "1"),
        ("", "1"),
        ("x-a:", "1"),
    ] {
        denied(session.fetch(with_header(get("https://one.example/free"), name, value)).await);
    }
    for url in [
        "https://one.example/free\r\nx: y",
        "https://one.example/free HTTP/1.1",
        "https://one.example/\tfree",
        "https://one.example\\@evil.example/",
    ] {
        denied(session.fetch(get(url)).await);
    }
    for method in ["TRACE", "CONNECT", "get", "GET ", "GET /x HTTP/1.1\r\nhost: e\r\n\r\nGET", "PURGE", ""] {
        denied(session.fetch(Request { method: method.into(), ..get("https://one.example/free") }).await);
    }
    assert!(server.got().is_empty(), "{:?}", server.got());

    // What does go out has exactly the framing of the library: one host, one length, no chunks.
    let body = "5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: one.example\r\n\r\n";
    session.fetch(post("https://one.example/free", "text/plain", body)).await.unwrap();
    let got = server.got();
    assert_eq!(got.len(), 1, "{got:?}");
    let count = |name: &str| got[0].headers.iter().filter(|(n, _)| n == name).count();
    assert_eq!((count("host"), count("content-length"), count("transfer-encoding"), count("connection")), (1, 1, 0, 0));
    assert_eq!(got[0].body, body.as_bytes());
    assert_eq!(got[0].header("host"), Some(server.addr.to_string().as_str()));
    assert_eq!(got[0].header("accept-encoding"), Some("gzip, br"));
}

#[tokio::test]
async fn range_goes_without_a_key_only() {
    let (server, session) = probe(|_| answer(206, &[], "x")).await;
    let why = denied(session.fetch(with_header(attached(get("https://one.example/api/x")), "Range", "bytes=0-3")).await);
    assert!(why.contains("range"), "{why}");
    session.fetch(with_header(get("https://one.example/free"), "Range", "bytes=0-3")).await.unwrap();
    assert_eq!(server.last().header("range"), Some("bytes=0-3"));
}

#[tokio::test]
async fn sorted_md5_signs_query_and_form_alike() {
    let more = r#"
[[attach]]
name = "signed"
profiles = ["key"]
to = ["GET https://two.example/2.0/", "POST https://two.example/2.0/"]
query = { api_key = "{app.client-id}" }
sign = "sorted-md5"

[[attach]]
name = "form"
profiles = ["key"]
to = ["POST https://one.example/form"]
form = { token = "{token}" }
sign = "sorted-md5"
"#;
    let server = Server::start(|_| answer(200, &[], "")).await;
    let egress = egress(&gate(&Clockwork::new()), &manifest(more), &[("https://one.example", &server), ("https://two.example", &server)]);
    let session = session(&egress);
    let by = |name: &str, request: Request| Request { credential: Some(name.into()), ..request };
    let expected = |params: &[(&str, &str)]| sluice_gate::sign_sorted_md5(params, "operators-shared-secret");

    session.fetch(by("signed", get("https://two.example/2.0/?method=user.getInfo&format=json&name=J%C3%B6rg+X"))).await.unwrap();
    let signature = expected(&[("method", "user.getInfo"), ("name", "Jörg X"), ("api_key", "public-client-id")]);
    assert_eq!(
        server.last().path(),
        format!("/2.0/?method=user.getInfo&format=json&name=J%C3%B6rg+X&api_key=public-client-id&api_sig={signature}")
    );

    let form = "application/x-www-form-urlencoded";
    session.fetch(by("form", post("https://one.example/form", form, "a=1&b=%26"))).await.unwrap();
    let signature = expected(&[("a", "1"), ("b", "&"), ("token", TOKEN)]);
    assert_eq!(
        String::from_utf8(server.last().body).unwrap(),
        format!("a=1&b=%26&token=canary%2Btok%2Fen%3D0123456789&api_sig={signature}")
    );
    assert_eq!(server.last().header("content-type"), Some(form));

    for (what, request) in [
        ("twice the same name", by("signed", get("https://two.example/2.0/?a=1&a=2"))),
        ("a signature of the guest's own", by("signed", get("https://two.example/2.0/?api_sig=0"))),
        ("an owned field in the form", by("form", post("https://one.example/form", form, "token=mine"))),
        ("JSON where a form is signed", by("form", post("https://one.example/form", "application/json", "{}"))),
        ("a multipart body", by("form", post("https://one.example/form", "multipart/form-data; boundary=x", "--x--"))),
    ] {
        let before = server.got().len();
        denied(session.fetch(request).await);
        assert_eq!(server.got().len(), before, "{what}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_there_denies_and_a_renewed_one_is_used() {
    let (server, session) =
        probe(|got| answer(if got.header("authorization") == Some("Bearer renewed-token-1") { 200 } else { 401 }, &[], TOKEN)).await;
    let response = session.fetch(attached(get("https://one.example/api/x"))).await.unwrap();
    assert_eq!(response.status, 401);
    assert!(session.seen().unauthorized_on_attached);
    session.replace_key("token", Secret::text("renewed-token-1".into()));
    let response = session.fetch(attached(get("https://one.example/api/x"))).await.unwrap();
    assert_eq!((response.status, response.body.as_slice()), (200, b"***".as_slice()), "the old value is still scrubbed");
    assert_eq!(server.got().len(), 2);

    session.replace_key("token", Secret::text("with\r\nbreak".into()));
    let why = denied(session.fetch(attached(get("https://one.example/api/x"))).await);
    assert!(why.contains("link it again") && !why.contains("break"), "{why}");
}

#[tokio::test]
async fn a_401_without_a_key_says_nothing_about_the_key() {
    let (_server, session) = probe(|_| answer(401, &[], "")).await;
    session.fetch(get("https://one.example/free")).await.unwrap();
    assert!(!session.seen().unauthorized_on_attached);
}

#[tokio::test]
async fn fetch_all_keeps_order_and_has_eight_in_flight() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let app = axum::Router::new().fallback({
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        move |uri: http::Uri| async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(15)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            uri.path().to_owned()
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let upstream = sluice_gate::Upstream { from: "https://one.example".into(), to, allow_private: true };
    let egress = egress_with(&gate(&Clockwork::new()), &manifest(""), vec![upstream]);
    let session = session(&egress);
    let all = (0..64).map(|i| get(&format!("https://one.example/free/{i}"))).collect();
    let answers = session.fetch_all(all).await;
    for (i, one) in answers.into_iter().enumerate() {
        assert_eq!(one.unwrap().body, format!("/free/{i}").as_bytes());
    }
    assert_eq!(most.load(Ordering::SeqCst), 8);
    let too_many = session.fetch_all((0..65).map(|_| get("https://one.example/free")).collect()).await;
    assert_eq!(too_many.len(), 65);
    assert!(too_many.iter().all(|r| matches!(r, Err(FetchError::Other(why)) if why.contains("at most 64"))));
    assert_eq!(session.seen().requests, 64);
}

#[tokio::test]
async fn a_session_has_a_budget_of_requests() {
    let (server, _) = probe(|_| answer(200, &[], "")).await;
    let egress = egress(&gate(&Clockwork::new()), &manifest(""), &[("https://one.example", &server)]);
    let session = egress.session(sluice_gate::SessionOptions {
        app: sluice_model::AppId(1),
        connection: None,
        profile: "key".into(),
        keys: keys(),
        response_bytes: 1000,
        requests: 2,
        quotas: Vec::new(),
    });
    assert!(session.fetch(get("https://one.example/free")).await.is_ok());
    assert!(session.fetch(get("https://one.example/free")).await.is_ok());
    match session.fetch(get("https://one.example/free")).await {
        Err(FetchError::Other(why)) => assert!(why.starts_with("request limit") && why.contains('2'), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(server.got().len(), 2);
}

#[tokio::test]
async fn an_excerpt_shows_the_last_answer_without_query_or_secret() {
    let (_server, session) =
        probe(|_| answer(500, &[("content-type", "text/html")], format!("<p>bad token {TOKEN} from visible-user-name"))).await;
    session.fetch(attached(get("https://one.example/api/x?since=2026-01-01"))).await.unwrap();
    assert_eq!(
        session.excerpt().unwrap(),
        "GET https://one.example/api/x?… → 500, text/html, 60 bytes: <p>bad token *** from visible-user-name"
    );
}
