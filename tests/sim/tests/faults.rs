//! Each fault does to an answer what it says, and the control endpoint and the log do what other processes rely on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use sluice_sim::github::{Command, Options, Simulator};
use sluice_sim::{Clock, Encoding, Fault, GitHub, Kind, LastFm, LimitForm, Place, Running};
use std::io::BufRead as _;
use std::time::Instant;
use support::{get, post_form, send};

fn start() -> (Running<Simulator>, String) {
    let sim = GitHub::start(Options { clock: Clock::fixed(1_790_000_000_000), ..Options::default() }).unwrap();
    let token = sim.token("demo").unwrap();
    (sim, token)
}

#[test]
fn answers_in_the_providers_place_take_the_next_requests_and_then_stop() {
    let (sim, token) = start();
    let in_200 = |reply: &support::Reply| reply.json()["error"] == "server_error";
    type Check = dyn Fn(&support::Reply) -> bool;
    let cases: Vec<(Kind, u16, Box<Check>)> = vec![
        (Kind::Status { status: 503 }, 503, Box::new(|reply| reply.json()["status"] == "503")),
        (Kind::HtmlStatus { status: 502 }, 502, Box::new(|reply| reply.text().starts_with("<!DOCTYPE html>"))),
        (Kind::Html, 200, Box::new(|reply| reply.header("content-type").starts_with("text/html"))),
        (Kind::Empty, 200, Box::new(|reply| reply.body.is_empty() && reply.whole)),
        (Kind::ErrorIn200 { body: None }, 200, Box::new(in_200)),
        (Kind::ErrorIn200 { body: Some(json!({"ok": false})) }, 200, Box::new(|reply| reply.json()["ok"] == false)),
        (Kind::TooManyRequests { retry_after: Some(30), date: false }, 429, Box::new(|reply| reply.header("retry-after") == "30")),
        (
            Kind::TooManyRequests { retry_after: Some(30), date: true },
            429,
            Box::new(|reply| reply.header("retry-after") == "Mon, 21 Sep 2026 14:13:50 GMT"),
        ),
        (Kind::TooManyRequests { retry_after: None, date: false }, 429, Box::new(|reply| reply.header("retry-after").is_empty())),
        (
            Kind::WrongType { content_type: "text/plain".into() },
            200,
            Box::new(|reply| reply.header("content-type") == "text/plain" && reply.json()["login"] == "demo"),
        ),
        (Kind::Half, 200, Box::new(|reply| reply.whole && serde_json::from_slice::<Value>(&reply.body).is_err())),
        (Kind::Truncate { keep: Some(10) }, 200, Box::new(|reply| !reply.whole && reply.body.len() == 10)),
        (Kind::Flood { bytes: 300_000 }, 200, Box::new(|reply| reply.body.len() > 300_000)),
        (
            Kind::Limit { form: LimitForm::Primary403, retry_after: None },
            403,
            Box::new(|reply| reply.header("x-ratelimit-remaining") == "0"),
        ),
        (
            Kind::Limit { form: LimitForm::Primary429, retry_after: None },
            429,
            Box::new(|reply| reply.header("x-ratelimit-remaining") == "0"),
        ),
        (
            Kind::Limit { form: LimitForm::Secondary403, retry_after: Some(9) },
            403,
            Box::new(|reply| reply.header("retry-after") == "9" && reply.header("x-ratelimit-remaining") != "0"),
        ),
        (
            Kind::Limit { form: LimitForm::Secondary429, retry_after: None },
            429,
            Box::new(|reply| reply.text().contains("secondary rate limit")),
        ),
        (
            Kind::Limit { form: LimitForm::SecondaryReset, retry_after: None },
            403,
            Box::new(|reply| reply.header("x-ratelimit-remaining") == "0" && reply.text().contains("secondary")),
        ),
        (
            Kind::Limit { form: LimitForm::GraphQl200, retry_after: None },
            200,
            Box::new(|reply| reply.json()["errors"][0]["type"] == "RATE_LIMITED"),
        ),
    ];
    for (kind, status, check) in cases {
        let name = kind.name();
        sim.fault(Fault::once(kind).matching("/api/user"));
        let reply = get(sim.addr, "/api/user", &token);
        assert_eq!(reply.status, status, "{name}");
        assert!(check(&reply), "{name}: {:?} {}", reply.headers, reply.text().chars().take(300).collect::<String>());
        assert_eq!(sim.requests().last().unwrap().faults.join(","), name);
        let after = get(sim.addr, "/api/user", &token);
        assert!(after.status == 200 && after.json()["login"] == "demo", "{name} took a second request");
    }
    assert!(sim.faults().is_empty());
}

#[test]
fn a_reset_cuts_the_connection_before_or_after_the_provider_acted() {
    let (sim, token) = start();
    let bearer = format!("Bearer {token}");
    let headers = [("user-agent", "test"), ("authorization", bearer.as_str())];
    for (kind, used) in [(Kind::Reset, "1"), (Kind::ResetAfter, "3")] {
        sim.fault(Fault::once(kind.clone()));
        let error = send(sim.addr, "GET", "/api/user", &headers, "").unwrap_err();
        assert!(matches!(error.kind(), std::io::ErrorKind::ConnectionReset), "{kind:?}: {error}");
        assert_eq!(sim.requests().last().unwrap().status, 0);
        assert_eq!(get(sim.addr, "/api/user", &token).header("x-ratelimit-used"), used, "{kind:?}");
    }
}

#[test]
fn a_lost_answer_of_a_refresh_leaves_the_old_token_used() {
    let sim = GitHub::start(Options { auto_approve: Some("demo".into()), ..Options::default() }).unwrap();
    let app = [("client_id", "Iv23simgithubapp"), ("client_secret", "sim-github-app-secret-0001")];
    let page =
        send(sim.addr, "GET", "/login/oauth/authorize?client_id=Iv23simgithubapp&redirect_uri=http://localhost:5/cb&state=s", &[], "")
            .unwrap();
    let code = support::query(page.header("location"), "code").unwrap();
    let ask = |more: (&str, &str), grant: &str| {
        post_form(sim.addr, "/login/oauth/access_token", &[app[0], app[1], more, ("grant_type", grant)], &[("accept", "application/json")])
    };
    let refresh = ask(("code", &code), "authorization_code").json()["refresh_token"].as_str().unwrap().to_owned();
    sim.fault(Fault::once(Kind::Truncate { keep: Some(0) }).matching("grant_type=refresh_token"));
    assert!(!ask(("refresh_token", &refresh), "refresh_token").whole);
    assert_eq!(sim.refreshes(), 1);
    assert_eq!(ask(("refresh_token", &refresh), "refresh_token").json()["error"], "bad_refresh_token");
    assert_eq!(sim.revoked_families(), 1);
    assert!(sim.requests().iter().any(|entry| entry.credentials.contains(&refresh)));
}

#[test]
fn drips_and_delays_take_their_time_and_then_are_whole() {
    let (sim, token) = start();
    let whole = get(sim.addr, "/api/user", &token).body;
    for kind in [Kind::Drip { chunk: whole.len() / 4, every_ms: 40 }, Kind::Delay { ms: 150 }] {
        sim.fault(Fault::once(kind));
        let begun = Instant::now();
        let reply = get(sim.addr, "/api/user", &token);
        assert!(reply.whole && reply.body == whole && begun.elapsed().as_millis() >= 120, "{:?}", begun.elapsed());
    }
}

#[test]
fn shifted_pages_repeat_rows_as_newcomers_make_them() {
    let (sim, token) = start();
    let id = sim.repositories("demo")[0].id;
    let shas = |page: usize| {
        let rows = get(sim.addr, &format!("/api/repositories/{id}/commits?per_page=5&page={page}"), &token).json();
        rows.as_array().unwrap().iter().map(|row| row["sha"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (first, second) = (shas(1), shas(2));
    sim.fault(Fault::new(Kind::Shift { rows: 2 }).matching("page="));
    assert_eq!(shas(1), first);
    assert_eq!(shas(2), [&first[3..], &second[..3]].concat());
}

#[test]
fn an_echoed_credential_stands_where_it_was_asked_for() {
    let (sim, token) = start();
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD.encode(&token);
    let percent: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let json: String = token.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    for (encoding, written) in [(Encoding::Raw, &token), (Encoding::Base64, &base64), (Encoding::Url, &percent), (Encoding::Json, &json)] {
        for place in [Place::Header, Place::Body, Place::Error, Place::Link, Place::Location] {
            sim.fault(Fault::once(Kind::Echo { place, encoding }));
            let reply = get(sim.addr, "/api/user", &token);
            let found = match place {
                Place::Header => reply.header("x-debug-credential").to_owned(),
                Place::Link => reply.link("next").unwrap(),
                Place::Location => reply.header("location").to_owned(),
                _ => reply.text().replace("\\\\", "\\"),
            };
            assert!(found.contains(written.as_str()), "{place:?} {encoding:?}: {found}");
        }
    }
}

#[test]
fn the_control_endpoint_does_what_the_library_does() {
    let (sim, token) = start();
    let control = |method: &str, name: &str, body: Value| {
        let reply =
            send(sim.addr, method, &format!("/_control/{name}"), &[("content-type", "application/json")], &body.to_string()).unwrap();
        (reply.status, reply.json())
    };
    let state = control("GET", "state", Value::Null).1;
    assert_eq!(state["provider"]["users"][0]["token"], token.as_str());
    assert_eq!(control("POST", "do", json!({"do": "set-followers", "login": "demo", "followers": 5})).0, 200);
    assert_eq!(get(sim.addr, "/api/user", &token).json()["followers"], 5);
    assert_eq!(control("POST", "do", json!({"do": "set-followers", "login": "nobody", "followers": 5})).0, 400);
    assert_eq!(control("POST", "do", json!({"do": "dance"})).0, 400);
    assert_eq!(control("POST", "fault", json!({"kind": "too-many-requests", "retry-after": 3, "times": 1})).0, 200);
    assert_eq!(get(sim.addr, "/api/user", &token).header("retry-after"), "3");
    let before = sim.clock().now();
    assert_eq!(control("POST", "clock", json!({"advance": 5_000})).1["now"], before + 5_000);
    let log = control("GET", "log", Value::Null).1;
    assert_eq!(log.as_array().unwrap().len(), 2);
    assert_eq!((log[1]["path"].as_str(), log[1]["credentials"][0].as_str()), (Some("/api/user"), Some(token.as_str())));
    let truth = control("GET", "truth?user=demo", Value::Null).1;
    assert_eq!(truth["commits"].as_array().unwrap().len(), sim.commits("demo").len());
    sim.apply(Command::SetStars { repository: sim.repositories("demo")[0].id, stars: 9 }).unwrap();
    assert_eq!(control("GET", "truth?user=demo", Value::Null).1["repositories"][0]["stars"], 9);
    control("DELETE", "log", Value::Null);
    assert!(sim.requests().is_empty() && sim.count() == 2);
}

#[test]
fn lastfm_speaks_of_limits_in_its_own_words() {
    let sim = LastFm::start(sluice_sim::lastfm::Options::default()).unwrap();
    sim.fault(Fault::once(Kind::TooManyRequests { retry_after: None, date: false }));
    sim.fault(Fault::once(Kind::ErrorIn200 { body: None }));
    let path = format!("/2.0/?method=user.getinfo&user=demo&format=json&api_key={}", sluice_sim::lastfm::API_KEY);
    let limited = send(sim.addr, "GET", &path, &[], "").unwrap();
    assert_eq!((limited.status, limited.json()["error"].as_u64()), (429, Some(29)));
    sim.clear_faults();
    sim.fault(Fault::once(Kind::ErrorIn200 { body: None }).matching("getinfo"));
    let failed = send(sim.addr, "GET", &path, &[], "").unwrap();
    assert_eq!((failed.status, failed.json()["error"].as_u64()), (200, Some(8)));
    assert_eq!(send(sim.addr, "GET", &path, &[], "").unwrap().json()["user"]["name"], "demo");
}

#[test]
fn the_binary_prints_where_it_listens_and_serves_bench_pages_without_keeping_them() {
    for (arguments, lines) in [
        (vec!["github", "--users", "1", "--token", "known-token-0001", "--until", "2026-09-01"], 1),
        (vec!["all", "--users", "1", "--no-limits"], 2),
    ] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_sluice-sim"))
            .args(arguments)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let printed: Vec<String> = (0..lines).map(|_| out.next().unwrap().unwrap()).collect();
        let addr = printed[0].strip_prefix("listening http://").unwrap().split(' ').next().unwrap().parse().unwrap();
        let page = send(addr, "GET", "/bench/items?n=1000&page=2&pages=3", &[], "").unwrap();
        assert_eq!((page.status, page.json()["items"].as_array().unwrap().len(), page.json()["next"].as_u64()), (200, 1_000, Some(3)));
        assert_eq!(send(addr, "GET", "/_control/state", &[], "").unwrap().json()["bench-requests"], 1);
        if lines == 1 {
            assert_eq!(get(addr, "/api/user", "known-token-0001").status, 200);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
