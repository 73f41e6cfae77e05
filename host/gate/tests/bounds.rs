//! Every answer has an end: drips, endless headers, endless bodies, bombs, silence and half an answer each end in their own error, in time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use sluice_model::request::FetchError;
use std::io::Write;
use std::time::{Duration, Instant};
use support::*;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n";

fn bytes(text: impl AsRef<[u8]>) -> Piece {
    Piece::Bytes(text.as_ref().to_vec())
}

async fn outcome(pieces: impl Fn() -> Vec<Piece> + Send + Sync + 'static) -> (Result<Vec<u8>, FetchError>, Duration) {
    let (_server, session) = probe(move |_| pieces()).await;
    let from = Instant::now();
    let outcome = session.fetch(get("https://one.example/free")).await.map(|r| r.body);
    (outcome, from.elapsed())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn brotli(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    brotli::BrotliCompress(&mut &body[..], &mut out, &brotli::enc::BrotliEncoderParams { quality: 5, ..Default::default() }).unwrap();
    out
}

fn encoded(name: &str, body: &[u8]) -> Vec<Piece> {
    answer(200, &[("content-encoding", name)], body)
}

#[tokio::test]
async fn silence_and_drips_end_in_time() {
    let (result, took) = outcome(|| vec![Piece::Pause(Duration::from_secs(60))]).await;
    assert_eq!(result, Err(FetchError::Timeout));
    assert!(took < Duration::from_secs(2), "no first byte: {took:?}");

    let (result, took) = outcome(|| vec![bytes(HEAD), Piece::Forever(b"x".to_vec(), Duration::from_millis(50))]).await;
    assert_eq!(result, Err(FetchError::Timeout));
    assert!(took < Duration::from_secs(2), "dripped headers: {took:?}");

    let (result, took) =
        outcome(|| vec![bytes(HEAD), bytes("content-length: 10\r\n\r\n12345"), Piece::Pause(Duration::from_secs(60))]).await;
    assert_eq!(result, Err(FetchError::Timeout));
    assert!(took < Duration::from_secs(2), "a pause in the body: {took:?}");
}

#[tokio::test]
async fn a_steady_drip_ends_at_the_deadline_of_the_whole() {
    let server = Server::start(|_| {
        vec![bytes(HEAD), bytes("content-length: 100000\r\n\r\n"), Piece::Forever(b"x".to_vec(), Duration::from_millis(40))]
    })
    .await;
    let timeouts = sluice_gate::Timeouts { whole: Duration::from_millis(900), ..quick() };
    let gate = sluice_gate::Gate::new(sluice_gate::GateOptions { timeouts, ..sluice_gate::GateOptions::new(Clockwork::new().clock()) });
    let session = session(&egress(&gate, &manifest(""), &[("https://one.example", &server)]));
    let from = Instant::now();
    assert_eq!(session.fetch(get("https://one.example/free")).await.map(|r| r.status), Err(FetchError::Timeout));
    assert!(from.elapsed() > Duration::from_millis(700) && from.elapsed() < Duration::from_secs(3), "{:?}", from.elapsed());
}

#[tokio::test]
async fn headers_are_bounded_in_number_and_size() {
    let many: String = (0..200).map(|i| format!("x-{i}: v\r\n")).collect();
    let large = format!("x-large: {}\r\n", "v".repeat(70_000));
    let endless = Piece::Forever;
    for (what, head) in [("many", many), ("large", large)] {
        let (result, _) = outcome(move || vec![bytes(HEAD), bytes(&head), bytes("content-length: 0\r\n\r\n")]).await;
        assert!(matches!(result, Err(FetchError::TooLarge(_))), "{what}: {result:?}");
    }
    let (result, took) = outcome(move || {
        vec![bytes(HEAD), endless(b"x-a: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n".repeat(100), Duration::ZERO)]
    })
    .await;
    assert!(matches!(result, Err(FetchError::TooLarge(_))), "endless: {result:?}");
    assert!(took < Duration::from_secs(2));
}

#[tokio::test]
async fn bodies_are_bounded_whatever_they_claim() {
    let limit = 1 << 20;
    let too_large = Err(FetchError::TooLarge(limit));
    let (result, _) = outcome(|| vec![bytes(HEAD), bytes("content-length: 99999999999\r\n\r\n")]).await;
    assert_eq!(result, too_large, "claimed");
    let (result, _) =
        outcome(|| vec![bytes(HEAD), bytes("connection: close\r\n\r\n"), Piece::Forever(vec![b'x'; 65_536], Duration::ZERO)]).await;
    assert_eq!(result, too_large, "endless until close");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let (result, _) = outcome(move || {
        vec![bytes(HEAD), bytes("transfer-encoding: chunked\r\n\r\n"), Piece::Forever(chunk.clone().into_bytes(), Duration::ZERO)]
    })
    .await;
    assert_eq!(result, too_large, "endless chunks");
    let (result, _) = outcome(|| answer(200, &[], vec![b'x'; 1 << 20])).await;
    assert_eq!(result.map(|b| b.len()), Ok(1 << 20), "exactly the limit");
    let (result, _) = outcome(|| answer(200, &[], vec![b'x'; (1 << 20) + 1])).await;
    assert_eq!(result, too_large, "one more");
}

#[tokio::test]
async fn compressed_bodies_are_decoded_within_the_bound() {
    let text = "the quick brown fox ".repeat(500);
    for (name, body) in [
        ("gzip", gzip(text.as_bytes())),
        ("GZIP", gzip(text.as_bytes())),
        ("br", brotli(text.as_bytes())),
        ("identity", text.clone().into_bytes()),
    ] {
        let (result, _) = outcome(move || encoded(name, &body)).await;
        assert_eq!(result.as_deref(), Ok(text.as_bytes()), "{name}");
    }
    // 64 MiB that travel as some tens of KiB, or less.
    let zeros = vec![0u8; 64 << 20];
    for (name, bomb) in [("gzip", gzip(&zeros)), ("br", brotli(&zeros))] {
        assert!(bomb.len() < 100_000, "{name}: {}", bomb.len());
        let (result, took) = outcome(move || encoded(name, &bomb)).await;
        assert_eq!(result, Err(FetchError::TooLarge(1 << 20)), "{name}");
        assert!(took < Duration::from_secs(5), "{name}: {took:?}");
    }
    // Many members, each small.
    let members = gzip(&vec![0u8; 500_000]).repeat(5);
    let (result, _) = outcome(move || encoded("gzip", &members)).await;
    assert_eq!(result, Err(FetchError::TooLarge(1 << 20)));
}

#[tokio::test]
async fn encodings_that_were_not_offered_are_errors() {
    for name in ["zstd", "deflate", "compress", "gzip, gzip", "gzip, br", "chunked", "x"] {
        let (result, _) = outcome(move || encoded(name, b"anything")).await;
        assert!(matches!(&result, Err(FetchError::Other(why)) if why.contains("not offered")), "{name}: {result:?}");
    }
    let (result, _) = outcome(|| answer(200, &[("content-encoding", "gzip"), ("content-encoding", "gzip")], gzip(&gzip(b"x")))).await;
    assert!(matches!(result, Err(FetchError::Other(_))), "{result:?}");
}

#[tokio::test]
async fn half_an_answer_is_interrupted_and_never_data() {
    let text = "x".repeat(10_000);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("before anything", Vec::new()),
        ("in the status line", b"HTTP/1.1 2".to_vec()),
        ("in the headers", b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
        ("in a body of known length", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345".to_vec()),
        ("in a chunk", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n12345".to_vec()),
        ("between chunks", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n".to_vec()),
        ("in gzip, framing whole", {
            let half = gzip(text.as_bytes());
            let half = &half[..half.len() / 2];
            [format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", half.len()).as_bytes(), half].concat()
        }),
        ("in brotli, framing whole", {
            let half = brotli(text.as_bytes());
            let half = &half[..half.len() / 2];
            [format!("HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: {}\r\n\r\n", half.len()).as_bytes(), half].concat()
        }),
    ];
    for (what, sent) in cases {
        let (result, _) = outcome(move || vec![bytes(&sent), Piece::Close]).await;
        assert_eq!(result, Err(FetchError::Interrupted), "{what}");
    }
}

#[tokio::test]
async fn what_is_no_http_or_no_gzip_says_so() {
    let (result, _) = outcome(|| vec![bytes("SSH-2.0-OpenSSH_9.0\r\n\r\n"), Piece::Close]).await;
    assert!(matches!(&result, Err(FetchError::Other(why)) if why.contains("not HTTP")), "{result:?}");
    let (result, _) = outcome(|| encoded("gzip", b"this is no gzip at all, not even nearly")).await;
    assert!(matches!(&result, Err(FetchError::Other(why)) if why.contains("damaged")), "{result:?}");
    let (result, _) = outcome(|| encoded("gzip", b"")).await;
    assert_eq!(result, Ok(Vec::new()), "an empty body is empty in any encoding");
}

#[tokio::test]
async fn nobody_listening_is_a_failed_connection() {
    let server = Server::start(|_| answer(200, &[], "")).await;
    let free = { std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    let upstream = |to: String| sluice_gate::Upstream { from: "https://one.example".into(), to, allow_private: true };
    let gate = gate(&Clockwork::new());
    let away = session(&egress_with(&gate, &manifest(""), vec![upstream(format!("http://{free}"))]));
    assert_eq!(away.fetch(get("https://one.example/free")).await.map(|r| r.status), Err(FetchError::Connect));
    // A server that speaks no TLS where TLS is spoken.
    let plain = session(&egress_with(&gate, &manifest(""), vec![upstream(format!("https://{}", server.addr))]));
    let outcome = plain.fetch(get("https://one.example/free")).await.map(|r| r.status);
    assert!(matches!(outcome, Err(FetchError::Tls | FetchError::Connect | FetchError::Timeout)), "{outcome:?}");
    // One that takes the connection and says nothing of TLS: nothing was sent there, so it is no answer that is missing.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let timeouts = sluice_gate::Timeouts { first_byte: Duration::from_secs(20), ..quick() };
    let patient = sluice_gate::Gate::new(sluice_gate::GateOptions { timeouts, ..sluice_gate::GateOptions::new(Clockwork::new().clock()) });
    let silent = session(&egress_with(&patient, &manifest(""), vec![upstream(format!("https://{}", mute.local_addr().unwrap()))]));
    assert_eq!(silent.fetch(get("https://one.example/free")).await.map(|r| r.status), Err(FetchError::Connect));
    // A name that nobody knows.
    let nowhere = session(&egress_with(&gate, &manifest(""), vec![upstream("http://does-not-exist.invalid".into())]));
    assert_eq!(nowhere.fetch(get("https://one.example/free")).await.map(|r| r.status), Err(FetchError::Dns));
}
