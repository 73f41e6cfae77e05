//! Quotas as declared, corrected by what the provider says; one person's empty one stops nobody else; waits are short here or handed back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use sluice_gate::{Gate, QuotaState, Session};
use sluice_model::request::FetchError;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::*;

fn quota(name: &str, scope: &str, requests: u64, window: &str, more: &str) -> String {
    format!("\n[[quota]]\nname = \"{name}\"\nscope = \"{scope}\"\nrequests = {requests}\nwindow = \"{window}\"\n{more}\n")
}

const LEARNED: &str = "remaining-header = \"x-left\"\nreset-header = \"x-reset\"\n";

async fn exhausted(session: &Session, url: &str) -> u64 {
    match session.fetch(get(url)).await {
        Err(FetchError::QuotaExhausted(ms)) => ms,
        other => panic!("{other:?}"),
    }
}

const URL: &str = "https://one.example/free";

struct Net {
    server: Server,
    gate: Gate,
    clock: Clockwork,
    headers: Arc<Mutex<Vec<(String, String)>>>,
}

async fn net() -> Net {
    let headers: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let say = Arc::clone(&headers);
    let server = Server::start(move |_| {
        let all = say.lock().unwrap().clone();
        let all: Vec<(&str, &str)> = all.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        answer(200, &all, "")
    })
    .await;
    let clock = Clockwork::new();
    Net { server, gate: gate(&clock), clock, headers }
}

impl Net {
    fn egress(&self, quotas: &str) -> Arc<sluice_gate::Egress> {
        egress(&self.gate, &manifest(quotas), &[("https://one.example", &self.server)])
    }

    fn says(&self, headers: &[(&str, &str)]) {
        *self.headers.lock().unwrap() = headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
    }
}

#[tokio::test]
async fn a_window_holds_so_many_requests_and_then_hands_back_the_wait() {
    let net = net().await;
    let session = session(&net.egress(&quota("hourly", "connection", 3, "1h", "")));
    for _ in 0..3 {
        session.fetch(get(URL)).await.unwrap();
        net.clock.advance(1000);
    }
    assert_eq!(exhausted(&session, URL).await, 3_600_000 - 3000);
    assert_eq!(net.server.got().len(), 3, "what is over is not sent");
    assert_eq!(
        session.quotas(),
        [QuotaState { name: "hourly".into(), connection_scope: true, used: 3, remaining: None, reset_at: NOW + 3_600_000 }]
    );
    net.clock.advance(3_600_000);
    session.fetch(get(URL)).await.unwrap();
    assert_eq!(session.quotas()[0].used, 1);
}

#[tokio::test]
async fn one_person_who_used_up_theirs_stops_nobody_else_but_an_apps_is_shared() {
    let net = net().await;
    let own = net.egress(&quota("own", "connection", 2, "1h", ""));
    let (a, b) = (session_of(&own, 1, 1, Vec::new()), session_of(&own, 1, 2, Vec::new()));
    for _ in 0..2 {
        a.fetch(get(URL)).await.unwrap();
    }
    exhausted(&a, URL).await;
    b.fetch(get(URL)).await.unwrap();

    let shared = net.egress(&quota("shared", "app", 3, "1h", ""));
    let (a, b, other) =
        (session_of(&shared, 7, 1, Vec::new()), session_of(&shared, 7, 2, Vec::new()), session_of(&shared, 8, 3, Vec::new()));
    a.fetch(get(URL)).await.unwrap();
    b.fetch(get(URL)).await.unwrap();
    a.fetch(get(URL)).await.unwrap();
    exhausted(&a, URL).await;
    exhausted(&b, URL).await;
    other.fetch(get(URL)).await.unwrap();
    // A later session of the app starts from there too.
    exhausted(&session_of(&shared, 7, 9, Vec::new()), URL).await;
}

#[tokio::test]
async fn what_remains_is_learned_in_each_of_the_three_formats() {
    for (format, value, until) in [
        ("seconds", "90".to_owned(), NOW + 90_000),
        ("epoch", ((NOW / 1000) + 120).to_string(), NOW + 120_000),
        ("http-date", "Tue, 14 Nov 2023 22:14:20 GMT".to_owned(), NOW + 60_000),
        // Clamped: past is now, and nothing is believed more than a day ahead.
        ("seconds", "99999999999".to_owned(), NOW + 86_400_000),
        ("epoch", "1".to_owned(), NOW),
        ("epoch", "99999999999999999999999".to_owned(), NOW + 86_400_000),
        ("http-date", "Fri, 14 Nov 2053 22:14:20 GMT".to_owned(), NOW + 86_400_000),
        // Unreadable: our own window holds.
        ("seconds", "soon".to_owned(), NOW + 3_600_000),
        ("http-date", "90".to_owned(), NOW + 3_600_000),
    ] {
        let net = net().await;
        let session = session(&net.egress(&quota("q", "connection", 100, "1h", &format!("{LEARNED}reset-format = \"{format}\""))));
        net.says(&[("x-left", "0"), ("x-reset", &value)]);
        session.fetch(get(URL)).await.unwrap();
        let state = &session.quotas()[0];
        assert_eq!((state.used, state.remaining, state.reset_at), (100, Some(0), until), "{format} {value}");
        if until > NOW + 5_000 {
            assert_eq!(exhausted(&session, URL).await, u64::try_from(until - NOW).unwrap(), "{format} {value}");
        }
    }
}

#[tokio::test]
async fn what_the_provider_says_replaces_our_own_count() {
    let net = net().await;
    let session = session(&net.egress(&quota("q", "connection", 5, "1h", &format!("{LEARNED}reset-format = \"seconds\""))));
    // Requests that cost nothing: the count does not run away.
    net.says(&[("x-left", "4"), ("x-reset", "1800")]);
    for _ in 0..20 {
        session.fetch(get(URL)).await.unwrap();
    }
    assert_eq!(
        session.quotas()[0],
        QuotaState { name: "q".into(), connection_scope: true, used: 1, remaining: Some(4), reset_at: NOW + 1_800_000 }
    );
    // Another program used the same key.
    net.says(&[("x-left", "0")]);
    session.fetch(get(URL)).await.unwrap();
    assert_eq!(exhausted(&session, URL).await, 1_800_000);
    net.clock.advance(1_800_000);
    net.says(&[]);
    session.fetch(get(URL)).await.unwrap();
    assert_eq!((session.quotas()[0].used, session.quotas()[0].remaining), (1, None));
}

#[tokio::test]
async fn counts_survive_between_runs() {
    let net = net().await;
    let egress = net.egress(&(quota("own", "connection", 2, "1h", "") + &quota("all", "app", 10, "1d", "")));
    let first = session_of(&egress, 3, 1, Vec::new());
    first.fetch(get(URL)).await.unwrap();
    let stored = first.quotas();
    assert_eq!(stored.iter().map(|q| (q.name.as_str(), q.used)).collect::<Vec<_>>(), [("own", 1), ("all", 1)]);
    let second = session_of(&egress, 3, 1, stored.clone());
    second.fetch(get(URL)).await.unwrap();
    exhausted(&second, URL).await;
    assert_eq!(second.quotas()[1].used, 2, "what was refused by one quota is given back to the other");
    // After a restart nothing but the stored rows is known.
    let restarted = egress_of(&gate(&net.clock), &net, &(quota("own", "connection", 2, "1h", "") + &quota("all", "app", 10, "1d", "")));
    let third = session_of(&restarted, 3, 1, second.quotas());
    exhausted(&third, URL).await;
    assert_eq!(third.quotas()[1].used, 2);
}

fn egress_of(gate: &Gate, net: &Net, quotas: &str) -> Arc<sluice_gate::Egress> {
    egress(gate, &manifest(quotas), &[("https://one.example", &net.server)])
}

#[tokio::test]
async fn a_quota_counts_its_paths_only_and_several_may_count() {
    let net = net().await;
    let session = session(
        &net.egress(&(quota("search", "connection", 1, "1h", "paths = [\"/search/\"]") + &quota("all", "connection", 3, "1d", ""))),
    );
    session.fetch(get("https://one.example/search/x")).await.unwrap();
    exhausted(&session, "https://one.example/search/y").await;
    session.fetch(get(URL)).await.unwrap();
    session.fetch(get(URL)).await.unwrap();
    assert_eq!(exhausted(&session, URL).await, 86_400_000);
}

#[tokio::test]
async fn a_short_wait_happens_inside_and_all_waits_together_stay_short() {
    let server = Server::start(|_| answer(200, &[], "")).await;
    let options = sluice_gate::GateOptions::new(Arc::new(|| {
        i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap()
    }));
    let egress = egress(&Gate::new(options), &manifest(&quota("q", "connection", 2, "1s", "")), &[("https://one.example", &server)]);
    let session = session(&egress);
    let from = Instant::now();
    let answers = session.fetch_all((0..5).map(|_| get(URL)).collect()).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(from.elapsed() >= Duration::from_millis(1900) && from.elapsed() < Duration::from_secs(5), "{:?}", from.elapsed());

    // A clock that stands still never refills the window: the waiting ends all the same.
    let net = net().await;
    let stuck = support::session(&net.egress(&quota("q", "connection", 1, "2s", "")));
    stuck.fetch(get(URL)).await.unwrap();
    let from = Instant::now();
    exhausted(&stuck, URL).await;
    assert!(from.elapsed() <= Duration::from_secs(6), "{:?}", from.elapsed());
}

#[tokio::test]
async fn retry_after_is_learned_from_403_and_429_in_both_forms() {
    for (status, headers, until) in [
        (429, vec![("retry-after", "30")], Some(NOW + 30_000)),
        (403, vec![("retry-after", "30")], Some(NOW + 30_000)),
        (429, vec![("retry-after", "Tue, 14 Nov 2023 22:14:20 GMT")], Some(NOW + 60_000)),
        (429, vec![("retry-after", "9999999")], Some(NOW + 86_400_000)),
        (403, vec![("x-left", "0"), ("x-reset", "600")], Some(NOW + 600_000)),
        (429, vec![("x-left", "0"), ("x-reset", "600"), ("retry-after", "5")], Some(NOW + 5_000)),
        (403, vec![("x-left", "12"), ("x-reset", "600")], None),
        (403, vec![], None),
        (503, vec![("retry-after", "30")], None),
        (200, vec![("retry-after", "30")], None),
    ] {
        let server = Server::start({
            let headers = headers.clone();
            move |_| answer(status, &headers, "")
        })
        .await;
        let quotas = quota("q", "connection", 100, "1h", &format!("{LEARNED}reset-format = \"seconds\""));
        let session = session(&egress(&gate(&Clockwork::new()), &manifest(&quotas), &[("https://one.example", &server)]));
        assert_eq!(session.fetch(get(URL)).await.unwrap().status, status);
        assert_eq!(session.seen().rate_limited_until, until, "{status} {headers:?}");
    }
}
