//! Requests over TLS: who is believed, and that nobody else gets a byte of a request, let alone a key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/authority.rs"]
mod authority;
mod support;

use authority::{Authority, TlsServer};
use sluice_gate::{GateOptions, HostRequest, Roots, Session, Upstream};
use sluice_model::request::FetchError;
use std::sync::Arc;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SIGN_IN: &str = r#"
[[auth]]
id = "oauth"
title = "Sign in"
kind = "oauth2"
app-fields = ["client-id", "client-secret"]
authorize-url = "https://two.example/authorize"
token-url = "https://two.example/token"
"#;

/// A gate that believes `roots` as well and knows the server by its name, and a session that asks it for `https://one.example`.
fn session_to(server: &TlsServer, roots: Roots) -> (Arc<sluice_gate::Egress>, Session) {
    let names = Names { known: vec![("provider.test".into(), vec!["127.0.0.1".parse().unwrap()])], ..Names::default() };
    let timeouts =
        sluice_gate::Timeouts { connect: std::time::Duration::from_secs(20), first_byte: std::time::Duration::from_secs(20), ..quick() };
    let options = GateOptions { timeouts, roots, resolver: Some(Arc::new(names)), ..GateOptions::new(Clockwork::new().clock()) };
    let gate = sluice_gate::Gate::new(options);
    let to = format!("https://provider.test:{}", server.port);
    let upstream = |from: &str| Upstream { from: from.into(), to: to.clone(), allow_private: true };
    let egress = egress_with(&gate, &manifest(SIGN_IN), vec![upstream("https://one.example"), upstream("https://two.example")]);
    let session = session(&egress);
    (egress, session)
}

#[tokio::test]
async fn a_certificate_by_an_authority_that_the_operator_added_is_believed() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority, "provider.test", (2020, 2090)).await;
    let (_, session) = session_to(&server, authority.roots());
    let response = session.fetch(attached(get("https://one.example/api/me"))).await.unwrap();
    assert_eq!((response.status, response.body.as_slice(), response.url.as_str()), (200, &b"well"[..], "https://one.example/api/me"));
    let got = server.got().pop().unwrap().unwrap().to_ascii_lowercase();
    assert!(got.starts_with("get /api/me http/1.1\r\n"), "{got}");
    assert!(got.contains(&format!("\r\nhost: provider.test:{}\r\n", server.port)), "{got}");
    assert!(got.contains(&format!("\r\nauthorization: bearer {TOKEN}\r\n")), "{got}");
    assert_eq!(session.seen().tls, None);
}

#[tokio::test]
async fn whoever_cannot_prove_the_name_gets_no_byte_of_a_request_and_the_error_says_why() {
    let (ours, other) = (Authority::new(), Authority::new());
    for (name, years, roots, why) in [
        ("provider.test", (2020, 2090), Roots::default(), "by an authority that this machine does not know"),
        ("provider.test", (2020, 2090), other.roots(), "by an authority that this machine does not know"),
        ("elsewhere.test", (2020, 2090), ours.roots(), "is for another name"),
        ("one.example", (2020, 2090), ours.roots(), "is for another name"),
        ("provider.test", (2015, 2020), ours.roots(), "has expired"),
        ("provider.test", (2089, 2090), ours.roots(), "is not valid yet"),
    ] {
        let server = TlsServer::start(&ours, name, years).await;
        let (egress, session) = session_to(&server, roots);
        let outcome = session.fetch(attached(get("https://one.example/api/me"))).await;
        assert_eq!(outcome, Err(FetchError::Tls), "{name} {years:?}");
        let seen = session.seen().tls.expect(why);
        assert!(seen.starts_with(&format!("https://provider.test:{} could not be asked: TLS failed: ", server.port)), "{seen}");
        assert!(seen.contains(why), "{seen}");

        // The host's own requests, whose whole point is a secret, say the same.
        let sent = egress.host_request(HostRequest { url: "https://two.example/token".into(), ..HostRequest::default() }).await;
        let said = sent.err().expect("a token endpoint that proves nothing was believed").to_string();
        assert!(said.contains(why), "{said}");
        assert!(server.got().iter().all(Option::is_none), "{:?}", server.got());
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_gets_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = TlsServer { port: listener.local_addr().unwrap().port(), got: Arc::default() };
    let all = Arc::clone(&server.got);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut piece = [0; 4096];
            let n = stream.read(&mut piece).await.unwrap();
            all.lock().unwrap().push(Some(String::from_utf8_lossy(&piece[..n]).into_owned()));
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let (_, session) = session_to(&server, Roots::default());
    assert_eq!(session.fetch(attached(get("https://one.example/api/me"))).await, Err(FetchError::Tls));
    assert!(session.seen().tls.unwrap().contains("speaks no TLS"));
    for brought in server.got().into_iter().flatten() {
        assert!(!brought.contains("/api/me") && !brought.contains(TOKEN), "{brought:?}");
    }
}

#[test]
fn a_file_that_holds_no_authority_is_refused_by_its_fault() {
    let authority = Authority::new();
    let pem = authority.pem();
    assert!(Roots::from_pem(format!("# ours\n{pem}\nand another\n{pem}").as_bytes()).is_ok());
    for (text, why) in [
        ("", "holds no certificate"),
        ("hello", "holds no certificate"),
        (&pem.replace("-----END CERTIFICATE-----", ""), "is damaged"),
        ("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n", "number 1 is no X.509 certificate"),
    ] {
        let said = Roots::from_pem(text.as_bytes()).unwrap_err();
        assert!(said.contains(why), "{text}: {said}");
    }
}
