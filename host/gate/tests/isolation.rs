//! The gate is the only way out, and each connector's way is its own: no proxy, no shared connection, no private address, no listener of our own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use sluice_gate::Upstream;
use sluice_model::request::FetchError;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use support::*;

const PROXIES: [&str; 7] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "REQUEST_METHOD"];

/// Run by the test below, in a process whose environment names proxies.
#[tokio::test]
#[ignore = "run by proxy_variables_change_nothing, in an environment of its own"]
async fn child_with_proxy_variables() {
    if std::env::var_os("http_proxy").is_none() {
        return;
    }
    let (server, session) = probe(|_| answer(200, &[], "direct")).await;
    assert_eq!(session.fetch(get("https://one.example/free")).await.unwrap().body, b"direct");
    assert!(server.last().line.starts_with("GET /free "), "{}", server.last().line);
}

#[tokio::test]
async fn proxy_variables_change_nothing() {
    let proxy = Server::start(|_| answer(502, &[], "a proxy was asked")).await;
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "child_with_proxy_variables"]).env("no_proxy", "").env("NO_PROXY", "");
    for name in PROXIES {
        child.env(name, proxy.url());
    }
    child.env_remove("REQUEST_METHOD");
    let output = child.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn a_connection_is_reused_by_its_connector_and_by_no_other() {
    let server = Server::start(|_| answer(200, &[], "")).await;
    let gate = gate(&Clockwork::new());
    let a = egress(&gate, &manifest(""), &[("https://one.example", &server)]);
    let b = egress(&gate, &manifest(""), &[("https://one.example", &server)]);
    let fetch = async |egress| session(egress).fetch(get("https://one.example/free")).await.unwrap();
    for _ in 0..3 {
        fetch(&a).await;
    }
    assert_eq!(server.connections(), 1, "one connector keeps its connection");
    for _ in 0..3 {
        fetch(&b).await;
    }
    assert_eq!(server.connections(), 2, "another opens its own");
    fetch(&a).await;
    let over: Vec<usize> = server.got().iter().map(|g| g.connection).collect();
    assert_eq!(over, [0, 0, 0, 1, 1, 1, 0]);
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_not_dialled() {
    let server = Server::start(|_| answer(200, &[], "private")).await;
    let port = server.addr.port();
    let private: [&[&str]; 9] = [
        &["127.0.0.1"],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["10.0.0.1"],
        &["169.254.169.254"],
        &["64:ff9b::7f00:1"],
        &["8.8.8.8", "127.0.0.1"],
        &["127.0.0.1", "8.8.8.8"],
        &["2606:4700::1111", "fd00::1", "8.8.8.8"],
    ];
    for set in private {
        let all: Vec<IpAddr> = set.iter().map(|t| t.parse().unwrap()).collect();
        let names = Arc::new(Names { known: vec![("rebind.example".into(), all)], ..Names::default() });
        let upstream = Upstream { from: "https://one.example".into(), to: format!("http://rebind.example:{port}"), allow_private: false };
        let session = session(&egress_with(&gate_with(&Clockwork::new(), Arc::clone(&names)), &manifest(""), vec![upstream]));
        let why = denied(session.fetch(get("https://one.example/free")).await);
        assert!(why.contains("no public address"), "{set:?}: {why}");
        assert_eq!(names.asked.load(Ordering::SeqCst), 1, "resolved once");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn opening_private_addresses_holds_for_that_upstream_alone() {
    let server = Server::start(|_| answer(200, &[], "")).await;
    let names = || Arc::new(Names { known: vec![("home.example".into(), vec!["127.0.0.1".parse().unwrap()])], ..Names::default() });
    let to = format!("http://home.example:{}", server.addr.port());
    let opened = Upstream { from: "https://one.example".into(), to: to.clone(), allow_private: true };
    let closed = Upstream { from: "https://two.example".into(), to, allow_private: false };
    let session = session(&egress_with(&gate_with(&Clockwork::new(), names()), &manifest(""), vec![opened, closed]));
    // The open one first: the other must not come to share its connection.
    session.fetch(get("https://one.example/free")).await.unwrap();
    let why = denied(session.fetch(get("https://two.example/free")).await);
    assert!(why.contains("127.0.0.1 is no public address (loopback)") && why.contains("allow-private = true"), "{why}");
    assert_eq!(server.got().len(), 1);
}

#[tokio::test]
async fn our_own_listeners_are_never_dialled() {
    let own = Server::start(|_| answer(200, &[], "ours")).await;
    let everywhere = Server::start_at("0.0.0.0:0", |_| answer(200, &[], "ours")).await;
    let gate = gate_with(
        &Clockwork::new(),
        Arc::new(Names { known: vec![("self.example".into(), vec!["127.0.0.1".parse().unwrap()])], ..Names::default() }),
    );
    gate.add_own_listener(own.addr);
    gate.add_own_listener(everywhere.addr);
    let port = own.addr.port();
    for to in [
        own.url(),
        format!("http://self.example:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        format!("http://127.0.0.1:{}", everywhere.addr.port()),
        format!("http://self.example:{}", everywhere.addr.port()),
    ] {
        let upstream = Upstream { from: "https://one.example".into(), to: to.clone(), allow_private: true };
        let session = session(&egress_with(&gate, &manifest(""), vec![upstream]));
        let why = denied(session.fetch(get("https://one.example/free")).await);
        assert!(why.contains("this host itself"), "{to}: {why}");
    }
    assert_eq!((own.connections(), everywhere.connections()), (0, 0));
    // Another port of the same address is somebody else.
    let other = Server::start(|_| answer(200, &[], "other")).await;
    let session = session(&egress(&gate, &manifest(""), &[("https://one.example", &other)]));
    assert!(session.fetch(get("https://one.example/free")).await.is_ok());
}

/// The vectors that the model is judged by, on the wire: whatever they call refused, no name is looked up for and nothing is dialled.
#[tokio::test]
async fn what_the_vectors_refuse_is_never_dialled() {
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../model/vectors/addresses.txt");
    let text = std::fs::read_to_string(vectors).unwrap();
    let mut refused = 0;
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let Some((class, url)) = line.split_once('\t') else { continue };
        if class == "allowed" {
            continue;
        }
        // As an upstream: the URL reaches the wire's own judgement without the grant before it.
        let url = unescaped(url);
        let names = Arc::new(Names::default());
        let gate = gate_with(&Clockwork::new(), Arc::clone(&names));
        let as_guest = session(&egress_with(&gate, &manifest(""), Vec::new())).fetch(get(&url)).await;
        assert!(matches!(as_guest, Err(FetchError::Denied(_))), "{class} {url:?}: {as_guest:?}");
        let Ok(parsed) = url::Url::parse(&url) else {
            refused += 1;
            continue;
        };
        let to = parsed[..url::Position::BeforePath].to_owned();
        let upstream = Upstream { from: "https://one.example".into(), to: to.clone(), allow_private: false };
        let manifest = sluice_model::Manifest::parse(&manifest("")).unwrap();
        let grant = sluice_model::Grant::new(&manifest, &[]).unwrap();
        let options = sluice_gate::EgressOptions {
            connector: "probe".into(),
            grant: Arc::new(grant),
            manifest: Arc::new(manifest),
            upstreams: vec![upstream],
        };
        if let Ok(egress) = gate.egress(options)
            && sluice_model::address::judge_url(&parsed).is_err()
        {
            let on_the_wire = session(&egress).fetch(get("https://one.example/free")).await;
            assert!(matches!(on_the_wire, Err(FetchError::Denied(_))), "{class} {to}: {on_the_wire:?}");
        }
        assert_eq!(names.asked.load(Ordering::SeqCst), 0, "{url:?} was looked up");
        refused += 1;
    }
    assert!(refused >= 150, "only {refused} vectors");
}

/// `<XX>` stands for a byte.
fn unescaped(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let hex = rest.get(at + 1..at + 3).and_then(|h| u8::from_str_radix(h, 16).ok()).filter(|_| rest.get(at + 3..at + 4) == Some(">"));
        match hex {
            Some(byte) => {
                out.extend_from_slice(&rest.as_bytes()[..at]);
                out.push(byte);
                rest = &rest[at + 4..];
            }
            None => {
                out.extend_from_slice(&rest.as_bytes()[..=at]);
                rest = &rest[at + 1..];
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}
