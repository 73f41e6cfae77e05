//! Keys that end and are renewed by a step of the manifest (`when = "renew"`): a session for the next session, asked for by the host itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use sluice_e2e::{
    folder::{Folder, Settings, pinned, upstream},
    host::Host,
    time::{DAY, noon},
};
use sluice_fixtures::{Fixture, Script, Stranger};
use sluice_store::{Connection, ConnectionState};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A person's seed becomes a session of an hour, and a session the next one.
const AUTH: &str = r#"[[auth]]
id = "key"
title = "Key"
kind = "fields"
  [[auth.field]]
  name = "seed"
  label = "Seed"
  [[auth.exchange]]
  when = "linked"
  method = "GET"
  url = "https://api.fit.example/begin"
  query = { seed = "{seed}" }
  keep = { session = "/session", expires-in = "/ttl" }
  [[auth.exchange]]
  when = "renew"
  method = "GET"
  url = "https://api.fit.example/renew"
  header = { x-session = "{session}" }
  keep = { session = "/session", expires-in = "/ttl" }
"#;

/// Four minutes before the end of a session it is time for the next one; the regular run comes a minute later at the soonest.
const NEARLY: i64 = 56 * 60_000;

/// What the provider does with the next wish for a new session.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mishap {
    /// It acts, and half of its answer arrives.
    Cut,
    /// It does not act, and says 503.
    Busy,
    /// It no longer knows the session, and says so with its own number.
    Refused,
}

#[derive(Default)]
struct World {
    sessions: u32,
    renewals: usize,
    /// What the connector's own requests carried.
    seen: Vec<String>,
    mishaps: VecDeque<Mishap>,
}

impl World {
    fn current(&self) -> String {
        format!("session-{:012}", self.sessions)
    }

    fn next(&mut self) -> String {
        self.sessions += 1;
        format!("{{\"session\":\"{}\",\"ttl\":3600}}", self.current())
    }
}

type Shared = Arc<Mutex<World>>;

async fn provider(State(world): State<Shared>, uri: Uri, headers: HeaderMap) -> Response {
    let mut world = world.lock().unwrap();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match uri.path() {
        "/begin" => world.next().into_response(),
        "/renew" => {
            world.renewals += 1;
            let mishap = world.mishaps.pop_front();
            if mishap == Some(Mishap::Busy) {
                return (StatusCode::SERVICE_UNAVAILABLE, "busy").into_response();
            }
            if mishap == Some(Mishap::Refused) || header("x-session") != world.current() {
                return (StatusCode::FORBIDDEN, r#"{"error":9,"message":"Invalid session key"}"#).into_response();
            }
            if mishap == Some(Mishap::Cut) {
                // The old session stays good: this provider answers a repetition.
                let whole = format!("{{\"session\":\"{}\",\"ttl\":3600}}", world.current());
                let (half, length) = (whole[..whole.len() / 2].to_owned(), whole.len());
                let pieces = [Ok(half), Err(std::io::Error::other("cut"))];
                let body = Body::from_stream(futures_util::stream::iter(pieces));
                return ([("content-length", length.to_string())], body).into_response();
            }
            world.next().into_response()
        }
        _ => {
            let bearer = header("authorization").trim_start_matches("Bearer ").to_owned();
            world.seen.push(bearer);
            "{}".into_response()
        }
    }
}

/// Whose account it is: the same one whoever asks, or a sign-in would make another.
const IDENTIFY: &str = "(i32.store8 (i32.const 1032) (i32.const 1)) (i32.store (i32.const 1036) (i32.const 16384))
    (i32.store (i32.const 1040) (i32.const 7)) (i32.store (i32.const 1044) (i32.const 16384)) (i32.store (i32.const 1048) (i32.const 7))";

/// Fetches one thing with its key, which is a session that the host keeps.
fn reader() -> Vec<u8> {
    let script = Script::default().get("https://api.fit.example/thing");
    let like = Stranger { name: "reader", paths: "\"/\"", to: "\"GET https://api.fit.example/\"", ..Stranger::default() }.manifest();
    let (before, rest) = like.split_once("[[auth]]").unwrap();
    let (_, rest) = rest.split_once("[[attach]]").unwrap();
    let manifest = format!("{before}{AUTH}\n[[attach]]{}", rest.replace("{key}", "{session}"));
    let more = format!(r#"{} (data (i32.const 16384) "guest-1")"#, script.more);
    Fixture { manifest: &manifest, identify: IDENTIFY, sync: &script.sync, more: &more, ..Fixture::default() }.build()
}

fn ended(connection: &Connection) -> (ConnectionState, Option<&str>) {
    (connection.state, connection.failure_code.as_deref())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_renewed_by_the_manifests_step_and_a_person_asked_only_when_the_provider_refuses_it_or_is_silent_twice() {
    let world = Shared::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let router = Router::new().fallback(provider).with_state(Arc::clone(&world));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = Folder::new(&Settings::default());
    let sha256 = folder.put_bytes("reader", &reader());
    let lines = pinned("reader", &sha256) + &upstream("reader", "https://api.fit.example/", &format!("http://{addr}/"));
    folder.configure(&Settings::default().more(&lines));
    let clock = noon();
    let host = Host::start(&folder, &clock).await;
    let user = host.user("ada", "UTC", true).await;
    let link = async || host.link(user, "reader", "key", &[("seed", "seed-0123456789")]).await;
    let then = |mishaps: &[Mishap]| world.lock().unwrap().mishaps = mishaps.iter().copied().collect();
    let renewals = || world.lock().unwrap().renewals;
    let last = || world.lock().unwrap().seen.last().cloned().unwrap();

    let id = link().await;
    assert_eq!(ended(&host.settled(id).await), (ConnectionState::Ok, None));
    assert_eq!((last(), renewals()), ("session-000000000001".to_owned(), 0));
    // Its hour is nearly over: the next one is there before the run.
    host.advance(NEARLY);
    assert_eq!(ended(&host.run(id).await), (ConnectionState::Ok, None));
    assert_eq!((last(), renewals()), ("session-000000000002".to_owned(), 1));

    // A provider that is busy is asked until it is not; an answer that is lost, once more.
    then(&[Mishap::Busy, Mishap::Busy, Mishap::Busy, Mishap::Cut]);
    host.advance(NEARLY);
    for (n, wanted) in ["REFRESH_FAILED", "REFRESH_FAILED", "REFRESH_FAILED", "RENEWAL_LOST"].into_iter().enumerate() {
        assert_eq!(ended(&host.run(id).await), (ConnectionState::BackingOff, Some(wanted)), "{n}");
    }
    assert_eq!(ended(&host.run(id).await), (ConnectionState::Ok, None));
    assert_eq!((last(), renewals()), ("session-000000000003".to_owned(), 6));

    // Two lost answers are too many; and the provider's own no is enough.
    for (mishaps, code) in [(&[Mishap::Cut, Mishap::Cut][..], "RENEWAL_UNANSWERED"), (&[Mishap::Refused], "SIGN_IN_AGAIN")] {
        then(mishaps);
        host.advance(NEARLY);
        let mut connection = host.run(id).await;
        if mishaps.len() == 2 {
            assert_eq!(ended(&connection), (ConnectionState::BackingOff, Some("RENEWAL_LOST")));
            connection = host.run(id).await;
        }
        assert_eq!((ended(&connection), connection.next_due), ((ConnectionState::NeedsSignIn, Some(code)), None));
        assert!(connection.message.unwrap().to_lowercase().contains("sign in again"), "{code}");
        let asked = renewals();
        host.advance(3 * DAY);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(renewals(), asked, "{code}");
        assert_eq!(link().await, id, "{code}: the same connection");
        assert_eq!(ended(&host.settled(id).await), (ConnectionState::Ok, None), "{code}");
    }
    assert_eq!(last(), "session-000000000005");
    host.stop().await;
}
