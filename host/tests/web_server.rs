//! The listener: what is left half done is closed, what is too large is refused, and the end is clean.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod web_support;

use axum::body::Body;
use http::{Request, StatusCode};
use sluice::web::{Peer, serve};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use web_support::Host;

async fn listening(host: &Host) -> (SocketAddr, CancellationToken, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    (address, stop.clone(), tokio::spawn(serve(host.app.clone(), listener, stop)))
}

async fn answer(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other end may answer and close before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut text = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut text)).await.expect("an answer or an end");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn it_serves_and_stops() {
    let host = Host::local().await;
    let (address, stop, task) = listening(&host).await;
    let text = answer(address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("{\"status\":\"ok\"}"), "{text}");
    let _idle = TcpStream::connect(address).await.unwrap();
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), task).await.expect("an idle connection keeps nobody waiting").unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_head_that_never_ends_is_closed_and_others_are_served_meanwhile() {
    let host = Host::local().await;
    let (address, _stop, _task) = listening(&host).await;
    let began = Instant::now();
    let half = tokio::spawn(async move { answer(address, "GET /healthz HTTP/1.1\r\nHost: local").await });
    let text = answer(address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200"));
    assert!(began.elapsed() < Duration::from_secs(5));
    let text = half.await.unwrap();
    assert!(!text.contains("200 OK"), "{text}");
    assert!((5..15).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn heads_and_bodies_have_their_bounds() {
    let host = Host::local().await;
    let (address, _stop, _task) = listening(&host).await;
    let many: String = (0..500).map(|n| format!("X-{n}: 1\r\n")).collect();
    let text = answer(address, &format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{many}\r\n")).await;
    assert!(text.starts_with("HTTP/1.1 431"), "{text}");
    let long = "y".repeat(100_000);
    let text = answer(address, &format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n")).await;
    assert!(text.starts_with("HTTP/1.1 4") || text.is_empty(), "{text}");
    let body = "x".repeat(200_000);
    let head = "POST /sign-in HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let text = answer(address, &format!("{head}Content-Length: 1000000000\r\n\r\n{body}")).await;
    assert!(text.starts_with("HTTP/1.1 413") || text.is_empty(), "{text}");
}

#[tokio::test]
async fn plain_http_is_not_for_the_open_web() {
    for (public, remote, local, status) in [
        ("http://localhost:8642", "192.168.1.9:5000", "192.168.1.5:8642", StatusCode::OK),
        ("http://localhost:8642", "127.0.0.1:5000", "127.0.0.1:8642", StatusCode::OK),
        ("http://localhost:8642", "203.0.113.9:5000", "192.168.1.5:8642", StatusCode::FORBIDDEN),
        ("http://localhost:8642", "192.168.1.9:5000", "203.0.113.5:8642", StatusCode::FORBIDDEN),
        ("https://sluice.example.org", "203.0.113.9:5000", "203.0.113.5:443", StatusCode::OK),
    ] {
        let host = Host::at(public).await;
        let mut request = Request::get("/sign-in").header("host", host.name.clone()).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer { remote: remote.parse().unwrap(), local: local.parse().unwrap() });
        assert_eq!(host.router.clone().oneshot(request).await.unwrap().status(), status, "{public} from {remote}");
    }
}
