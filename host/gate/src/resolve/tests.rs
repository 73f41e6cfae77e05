//! Rebinding, with loopback standing for the internet: 127.0.0.1 is public here, 127.0.0.2 private.

use super::*;
use crate::gate::{GateOptions, Shared, Timeouts};
use crate::quota::Registry;
use crate::{Egress, EgressOptions, Keys, SessionOptions, Upstream};
use sluice_model::request::{FetchError, Request};
use sluice_model::{AppId, Grant, Manifest};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn only_one_is_public(ip: IpAddr) -> Result<(), String> {
    if ip == IpAddr::from([127, 0, 0, 1]) { Ok(()) } else { Err(format!("{ip} is private in this test")) }
}

/// Says another set each time; the last one stays.
struct Flip {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Resolve for Flip {
    async fn resolve(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

struct Net {
    flip: Arc<Flip>,
    public: Arc<AtomicUsize>,
    private: Arc<AtomicUsize>,
    egress: Arc<Egress>,
}

/// A server on both addresses at one port, closing each connection after its answer so that each request dials.
async fn listen(ip: &str, port: u16, close: bool) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((ip, port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut piece = [0u8; 4096];
                while stream.read(&mut piece).await.is_ok_and(|n| n > 0) {
                    let end = if close { "connection: close\r\n" } else { "" };
                    let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{end}content-length: 2\r\n\r\nok").as_bytes()).await;
                    if close {
                        return;
                    }
                }
            });
        }
    });
    (port, count)
}

async fn net(answers: &[&[&str]], close: bool) -> Net {
    let (port, public) = listen("127.0.0.1", 0, close).await;
    let (_, private) = listen("127.0.0.2", port, close).await;
    let answers = answers.iter().map(|set| set.iter().map(|t| t.parse().unwrap()).collect()).collect();
    let flip = Arc::new(Flip { answers: Mutex::new(answers), asked: AtomicUsize::new(0) });
    let text = "manifest = 1\nname = \"probe\"\ntitle = \"Probe\"\nversion = \"1.0.0\"\n[[allow]]\norigin = \"https://one.example\"\n[[auth]]\nid = \"none\"\ntitle = \"None\"\nkind = \"none\"\n[[metric]]\nname = \"things\"\nunit = \"1\"\nkind = \"last\"\nidentity = \"day\"\n[schedule]\nevery = \"1h\"\n";
    let manifest = Manifest::parse(text).unwrap();
    let grant = Grant::new(&manifest, &[]).unwrap();
    let options = GateOptions::new(Arc::new(|| 0));
    let shared = Shared {
        clock: options.clock,
        resolver: Arc::clone(&flip) as Arc<dyn Resolve>,
        own: OwnListeners::new(Vec::new()),
        timeouts: Timeouts::default(),
        tls: Default::default(),
        quotas: Registry::default(),
    };
    let upstreams = vec![Upstream { from: "https://one.example".into(), to: format!("http://flip.example:{port}"), allow_private: false }];
    let options = EgressOptions { connector: "probe".into(), grant: Arc::new(grant), manifest: Arc::new(manifest), upstreams };
    let egress = Arc::new(Egress::new(Arc::new(shared), options).unwrap().with_rule(only_one_is_public));
    Net { flip, public, private, egress }
}

async fn fetch(net: &Net) -> Result<u16, FetchError> {
    let session = net.egress.session(SessionOptions {
        app: AppId(1),
        connection: None,
        profile: "none".into(),
        keys: Keys::new(),
        response_bytes: 1000,
        requests: 100,
        quotas: Vec::new(),
    });
    let request = Request {
        method: "GET".into(),
        url: "https://one.example/x".into(),
        headers: Vec::new(),
        body: None,
        credential: None,
        follow_redirects: false,
    };
    session.fetch(request).await.map(|r| r.status)
}

#[tokio::test]
async fn what_was_judged_is_what_is_dialled() {
    // Were the name resolved again for dialling, the second answer would be used.
    let net = net(&[&["127.0.0.1"], &["127.0.0.2"]], true).await;
    assert_eq!(fetch(&net).await, Ok(200));
    assert_eq!(net.flip.asked.load(Ordering::SeqCst), 1);
    assert!(matches!(fetch(&net).await, Err(FetchError::Denied(why)) if why.contains("private in this test")));
    assert_eq!(net.flip.asked.load(Ordering::SeqCst), 2);
    assert_eq!((net.public.load(Ordering::SeqCst), net.private.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn a_mixed_set_is_refused_whatever_its_order() {
    for set in [&["127.0.0.1", "127.0.0.2"][..], &["127.0.0.2", "127.0.0.1"], &["127.0.0.1", "127.0.0.1", "::ffff:127.0.0.2"]] {
        let net = net(&[set], true).await;
        assert!(matches!(fetch(&net).await, Err(FetchError::Denied(_))), "{set:?}");
        assert_eq!((net.public.load(Ordering::SeqCst), net.private.load(Ordering::SeqCst)), (0, 0));
    }
}

#[tokio::test]
async fn a_kept_connection_is_used_without_asking_again() {
    let net = net(&[&["127.0.0.1"], &["127.0.0.2"]], false).await;
    for _ in 0..3 {
        assert_eq!(fetch(&net).await, Ok(200));
    }
    assert_eq!((net.flip.asked.load(Ordering::SeqCst), net.public.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn no_addresses_or_too_many_are_none() {
    assert_eq!(fetch(&net(&[&[]], true).await).await, Err(FetchError::Dns));
    let many = vec!["127.0.0.1"; MAX_ADDRESSES + 1];
    assert!(matches!(fetch(&net(&[&many], true).await).await, Err(FetchError::Denied(_))));
}

#[test]
fn literals_take_the_same_path() {
    let judge = |open, port| Judge { own: OwnListeners::new(Vec::new()), port, open, rule: by_the_model };
    let literal = |text: &str, open| {
        let url = Url::parse(text).unwrap();
        judge(open, url.port_or_known_default().unwrap_or(0)).literal(&url).is_ok()
    };
    for (url, closed, open) in [
        ("https://8.8.8.8/", true, true),
        ("https://127.0.0.1/", false, true),
        ("https://2130706433/", false, true),
        ("https://0x7f.1/", false, true),
        ("https://0177.0.0.1/", false, true),
        ("https://[::ffff:7f00:1]/", false, true),
        ("https://10.0.0.1/", false, true),
        ("https://localhost/", false, true),
        ("https://0.0.0.0/", false, false),
        ("https://[::]/", false, false),
        ("https://224.0.0.1/", false, false),
        ("https://255.255.255.255/", false, false),
        ("https://8.8.8.8:0/", false, false),
        ("https://api.github.com:0/", false, false),
        ("https://api.github.com/", true, true),
    ] {
        assert_eq!((literal(url, false), literal(url, true)), (closed, open), "{url}");
    }
}
