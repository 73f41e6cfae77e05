//! A connector that tries every way out that it was not given, through the whole host: each request ends with an error of its own, nothing of it arrives
//! anywhere, and what it may do goes on beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod modules_support;

use modules_support::{Place, Script, Stranger, link as approve_and_link, pends, runs_of};
use sluice::{link, runs::Scheduler};
use sluice_fixtures::{Ask, HELD, KEYS, NONE};
use sluice_store::{NewUser, RunOutcome};
use sluice_vault::Secret;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Answers every request with this body, and keeps what came, whatever it was.
async fn listener(body: String) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, got) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let all = Arc::clone(&got);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            all.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (addr, got)
}

/// Where it may ask, with the key and without one.
const STEPS: &str = "https://api.fit.example/steps";
const OPEN: &str = "https://api.fit.example/open";

/// The name of a key that it keeps for each account.
const KEPT: &str = "kept";

fn get(url: &str) -> Ask<'_> {
    Ask { method: "GET", url, headers: &[], recipe: None }
}

/// The places that every cloud has and every private network, by every spelling, and what is said of each.
fn places(trap: SocketAddr, provider: SocketAddr) -> Vec<(String, &'static str)> {
    let (no, odd) = ("denied: not in its grant", "host is not written in its normal form");
    let port = trap.port();
    let mut all: Vec<(String, &'static str)> = [
        ("http://169.254.169.254/latest/meta-data/", no),
        ("https://169.254.169.254/", no),
        ("http://2852039166/", odd),
        ("http://0xa9fea9fe/", odd),
        ("http://0xA9.0xFE.0xA9.0xFE/", odd),
        ("http://0251.0376.0251.0376/", odd),
        ("http://025177524776/", odd),
        ("http://169.254.43518/", odd),
        ("http://169.254.169.254./", odd),
        ("http://%31%36%39.254.169.254/", odd),
        ("http://169%2E254%2E169%2E254/", odd),
        ("http://①⑥⑨.②⑤④.①⑥⑨.②⑤④/", odd),
        ("http://169。254。169。254/", odd),
        ("http://[::ffff:169.254.169.254]/", odd),
        ("http://[::ffff:a9fe:a9fe]/", no),
        ("http://[64:ff9b::a9fe:a9fe]/", no),
        ("http://[2002:a9fe:a9fe::1]/", no),
        ("http://[fd00:0ec2:0:0:0:0:0:0254]/", odd),
        ("http://[fd00:ec2::254]/latest/meta-data/", no),
        ("http://[fe80::a9fe:a9fe%25eth0]/", "does not parse"),
        ("http://metadata.google.internal/computeMetadata/v1/", no),
        ("http://METADATA.google.internal/", no),
        ("http://metadata.google.internal./", "ends in a dot"),
        ("http://metadata/", no),
        ("http://100.100.100.200/", no),
        ("https://api.fit.example@169.254.169.254/steps", "a user name or password before an @"),
        ("https://api.fit.example:443@169.254.169.254/steps", "a user name or password before an @"),
        ("https://169.254.169.254\\@api.fit.example/steps", "a backslash"),
        ("https://169.254.169.254#@api.fit.example/steps", "a fragment"),
        ("https://api.fit.example\r\n.169.254.169.254/steps", "a space or control character"),
        ("https://api.fit.example.169.254.169.254/steps", "does not parse"),
        ("https://api.fit.example.evil.example/steps", no),
        ("https://api.fit.example:8443/steps", no),
        ("http://api.fit.example/steps", no),
        ("https://api.fit.example/steps/../admin", "dot segment"),
        ("https://api.fit.example/steps/%2e%2e/admin", "dot segment"),
        ("https://api.fit.example/steps/%252e%252e/admin", "dot segment"),
        ("//169.254.169.254/", "not absolute"),
        ("file:///etc/passwd", "not absolute"),
        ("gopher://169.254.169.254/", "not absolute"),
        ("unix:/run/docker.sock", "not absolute"),
    ]
    .map(|(url, says)| (url.to_owned(), says))
    .into();
    // Listeners of this machine: another one's, and the one that the operator named as an upstream, by its own address.
    all.extend([
        (format!("http://127.0.0.1:{port}/"), no),
        (format!("http://2130706433:{port}/"), odd),
        (format!("http://127.1:{port}/"), odd),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), odd),
        (format!("http://[::ffff:7f00:1]:{port}/"), no),
        (format!("http://localhost:{port}/"), no),
        (format!("http://0.0.0.0:{port}/"), no),
        (format!("https://api.fit.example@127.0.0.1:{port}/steps"), "a user name or password before an @"),
        (format!("http://{provider}/steps"), no),
    ]);
    all
}

/// Headers that would shape the request, pass for somebody, or be two.
const HEADERS: [(&str, &str, &str); 24] = [
    ("Host", "169.254.169.254", "the header host is not"),
    ("host", "evil.example", "the header host is not"),
    ("Authorization", "Bearer stolen", "the header authorization belongs to a recipe"),
    ("AUTHORIZATION", "Basic c3RvbGVu", "the header authorization belongs to a recipe"),
    ("Proxy-Authorization", "Bearer stolen", "the header proxy-authorization is not"),
    ("Cookie", "session=stolen", "the header cookie is not"),
    ("X-Forwarded-For", "127.0.0.1", "the header x-forwarded-for is not"),
    ("X-Forwarded-Host", "evil.example", "the header x-forwarded-host is not"),
    ("X-Forwarded-Proto", "http", "the header x-forwarded-proto is not"),
    ("Forwarded", "for=127.0.0.1", "the header forwarded is not"),
    ("Via", "1.1 evil", "the header via is not"),
    ("Transfer-Encoding", "chunked", "the header transfer-encoding is not"),
    ("Content-Length", "5", "the header content-length is not"),
    ("Connection", "upgrade", "the header connection is not"),
    ("Upgrade", "h2c", "the header upgrade is not"),
    ("Expect", "100-continue", "the header expect is not"),
    ("X-HTTP-Method-Override", "DELETE", "the header x-http-method-override is not"),
    ("X-Original-URL", "/admin", "the header x-original-url is not"),
    ("X-A", "1\r\nAuthorization: Bearer stolen", "the header x-a holds a control character"),
    ("X-A", "1\nHost: evil.example", "the header x-a holds a control character"),
    ("X-A", "1\0", "the header x-a holds a control character"),
    ("X-A\r\nHost", "evil.example", "“X-AHost” is no header name"),
    ("Host ", "evil.example", "“Host” is no header name"),
    ("", "evil.example", "“” is no header name"),
];

/// Everything that it tries, with what must be said of it.
fn tries(trap: SocketAddr, provider: SocketAddr) -> (Script, Vec<(String, String)>) {
    let (mut script, mut wanted) = (Script::default(), Vec::new());
    let mut ask = |what: String, ask: Ask<'_>, says: &str| {
        script = std::mem::take(&mut script).ask(&ask);
        wanted.push((what, says.to_owned()));
    };
    for (url, says) in places(trap, provider) {
        ask(url.clone(), get(&url), says);
        // Nor with the key, which is decided on after the place.
        ask(format!("{url} with the key"), Ask { recipe: Some("user"), ..get(&url) }, says);
    }
    for (name, value, says) in HEADERS {
        ask(format!("{name:?}: {value:?}"), Ask { headers: &[(name, value)], ..get(OPEN) }, says);
        let beside = [("Accept", "application/json"), (name, value)];
        ask(format!("{name:?}: {value:?} with the key"), Ask { headers: &beside, recipe: Some("user"), ..get(STEPS) }, says);
    }
    for recipe in ["other", "", "USER", "user ", "../other/user", "{key}", "key"] {
        let says = format!("there is no recipe “{}” for the profile key", recipe.trim_end());
        ask(format!("the recipe {recipe:?}"), Ask { recipe: Some(recipe), ..get(STEPS) }, &says);
    }
    ask("its recipe elsewhere".into(), Ask { recipe: Some("user"), ..get(OPEN) }, "the recipe “user” does not attach there");
    for method in ["POST", "DELETE", "TRACE", "CONNECT", "get", "GET /admin HTTP/1.1\r\nHost: evil.example\r\n\r\nGET", ""] {
        ask(format!("the method {method:?}"), Ask { method, ..get(STEPS) }, "denied");
    }
    // A URL that it was given by the provider is a URL like any other.
    let answered = format!("http://{trap}/from-an-answer");
    ask("what it may ask".into(), get(OPEN), &answered);
    script = script.ask_for_what_was_answered();
    wanted.push(("a URL from an answer".into(), "denied: not in its grant".into()));
    for (name, says) in [
        ("key", HELD),
        ("keys", NONE),
        // What this connector keeps for another account is not this one's.
        (KEPT, NONE),
        ("2/key", "a key's name has"),
        ("../fit/key", "a key's name has"),
        ("KEY", "a key's name has"),
        ("key\0", "a key's name has"),
    ] {
        script = script.key(name);
        wanted.push((format!("the key {name:?}"), says.to_owned()));
    }
    script = script.keep(KEPT, "of one account");
    // What looks like a template is a text, and its own recipe goes where it goes.
    let note = [("X-Note", "{key} {{key}} ${key}")];
    script = script.ask(&Ask { headers: &note, ..get(OPEN) }).ask(&Ask { recipe: Some("user"), ..get(STEPS) });
    wanted.extend([("a template".into(), answered.clone()), ("its own request".into(), answered)]);
    (script, wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_connector_forges_ends_in_its_own_error_and_nothing_of_it_arrives_anywhere() {
    let (trap, trapped) = listener("caught".into()).await;
    let (provider, got) = listener(format!("http://{trap}/from-an-answer")).await;
    let (script, wanted) = tries(trap, provider);
    let mut place = Place::new();
    let upstream =
        format!("[[connectors.fit.upstream]]\nfrom = \"https://api.fit.example/\"\nto = \"http://{provider}/\"\nallow-private = true\n");
    place.settings(&format!("{upstream}[connectors.fit.limits]\nlog-bytes = 1000000\n"));
    let forger = Stranger { paths: "\"/steps\", \"/open\"", imports: KEYS, sync: &script.sync, more: &script.more, ..Stranger::default() };
    place.put("fit.wasm", &forger.build());
    let app = place.watched().await;
    place.until("fit", pends).await;
    let first = approve_and_link(&place).await;
    let bob = NewUser { name: "bob".into(), time_zone: "UTC".into(), password_hash: None, owner: false };
    let bob = app.store.create_user(bob).await.unwrap();
    let fields = vec![("key".to_owned(), Secret::text("CANARY-of-bob".to_owned()))];
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    runs_of(&place, first, |runs| runs.len() == 1).await;
    let second = link::link_fields(&app, bob, "fit", "key", fields, None).await.unwrap().connection;
    let denied = wanted.iter().filter(|(what, says)| !what.starts_with("the key ") && !says.starts_with("http://")).count();
    for connection in [first, second] {
        let runs = runs_of(&place, connection, |runs| runs.len() == 1).await;
        let log = app.store.run_log(runs[0].id).await.unwrap();
        assert_eq!(runs[0].outcome, RunOutcome::Complete, "{:?} {:?}", runs[0], log.last());
        assert_eq!(log.len(), wanted.len(), "{:?}", log.last());
        for ((what, says), line) in wanted.iter().zip(&log) {
            assert!(line.text.contains(says), "{what}: {:?} instead of {says:?}", line.text);
            assert!(!line.text.contains("CANARY"), "{what}: {:?}", line.text);
        }
        assert_eq!((runs[0].requests, runs[0].used.denied), (3, denied as u64), "each refusal is counted");
    }
    scheduler.stop().await.unwrap();
    place.stop().await;

    assert_eq!(trapped.lock().unwrap().as_slice(), [] as [String; 0], "nobody came there");
    // Of all that, three requests were its to make, for each account with that account's key.
    let got = got.lock().unwrap();
    assert_eq!(got.len(), 6, "{got:?}");
    for (heads, key) in got.chunks(3).zip(["CANARY-key", "CANARY-of-bob"]) {
        let lines: Vec<&str> = heads.iter().map(|head| head.lines().next().unwrap()).collect();
        assert_eq!(lines, ["GET /open HTTP/1.1", "GET /open HTTP/1.1", "GET /steps HTTP/1.1"]);
        assert!(!heads[..2].concat().contains("CANARY"), "{heads:?}");
        assert!(heads[1].contains("x-note: {key} {{key}} ${key}\r\n"), "{}", heads[1]);
        assert!(heads[2].contains(&format!("authorization: Bearer {key}\r\n")), "{}", heads[2]);
    }
    assert!(!got.iter().any(|head| head.contains("evil") || head.contains("stolen")), "{got:?}");
}
