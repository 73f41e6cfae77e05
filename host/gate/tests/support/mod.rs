//! What the gate's tests share: a server that answers with exactly the bytes a test wants, and a connector to ask it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice_gate::{Egress, EgressOptions, Gate, GateOptions, Keys, QuotaState, Resolve, Session, SessionOptions, Timeouts, Upstream};
use sluice_model::request::{FetchError, Request, Response};
use sluice_model::{AppId, ConnectionId, Grant, Manifest};
use sluice_vault::Secret;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const TOKEN: &str = "canary+tok/en=0123456789";
pub const NOW: i64 = 1_700_000_000_000;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Got {
    pub line: String,
    pub raw_head: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Which connection it came over, from 0.
    pub connection: usize,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }
}

/// A piece of an answer.
pub enum Piece {
    Bytes(Vec<u8>),
    Pause(Duration),
    /// The same bytes until the other side is gone.
    Forever(Vec<u8>, Duration),
    Close,
}

pub struct Server {
    pub addr: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start(answer: impl Fn(&Got) -> Vec<Piece> + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", answer).await
    }

    pub async fn start_at(at: &str, answer: impl Fn(&Got) -> Vec<Piece> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (got, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (all, count) = (Arc::clone(&got), Arc::clone(&connections));
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, number, Arc::clone(&all), Arc::clone(&answer)));
            }
        });
        Self { addr, got, connections }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    pub fn last(&self) -> Got {
        self.got().pop().expect("nothing arrived")
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, connection: usize, all: Arc<Mutex<Vec<Got>>>, answer: Arc<impl Fn(&Got) -> Vec<Piece>>) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            let mut piece = [0u8; 4096];
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(n) => buffer.extend_from_slice(&piece[..n]),
            }
        };
        let raw_head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let mut lines = raw_head.split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let headers: Vec<(String, String)> =
            lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect();
        let length: usize = headers.iter().find(|(n, _)| n == "content-length").map_or(0, |(_, v)| v.parse().unwrap());
        while buffer.len() < end + length {
            let mut piece = [0u8; 4096];
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(n) => buffer.extend_from_slice(&piece[..n]),
            }
        }
        let body = buffer[end..end + length].to_vec();
        buffer.drain(..end + length);
        let got = Got { line, raw_head, headers, body, connection };
        let pieces = answer(&got);
        all.lock().unwrap().push(got);
        for piece in pieces {
            let wrote = match piece {
                Piece::Bytes(bytes) => stream.write_all(&bytes).await,
                Piece::Pause(span) => {
                    tokio::time::sleep(span).await;
                    Ok(())
                }
                Piece::Forever(bytes, pause) => loop {
                    if let Err(why) = stream.write_all(&bytes).await {
                        break Err(why);
                    }
                    tokio::time::sleep(pause).await;
                },
                Piece::Close => return,
            };
            if wrote.is_err() {
                return;
            }
        }
    }
}

/// A whole answer with its length.
pub fn answer(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<Piece> {
    let body = body.as_ref();
    let mut out = format!("HTTP/1.1 {status} X\r\n").into_bytes();
    for (name, value) in headers {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(body);
    vec![Piece::Bytes(out)]
}

/// A manifest with two granted origins, a recipe by header and what else a test adds.
pub fn manifest(more: &str) -> String {
    format!(
        r#"
manifest = 1
name = "probe"
title = "Probe"
version = "1.2.3"

[[allow]]
origin = "https://one.example"
methods = ["GET", "HEAD", "POST", "PUT", "DELETE"]

[[allow]]
origin = "https://one.example:8443"
methods = ["GET", "HEAD", "POST", "PUT", "DELETE"]

[[allow]]
origin = "https://two.example"
methods = ["GET", "POST"]

[[auth]]
id = "key"
title = "Key"
kind = "fields"
app-fields = ["shared-secret", "client-id"]
  [[auth.field]]
  name = "token"
  label = "Token"
  [[auth.field]]
  name = "user"
  label = "Name"
  secret = false

[[attach]]
name = "user"
profiles = ["key"]
to = ["GET https://one.example/api/", "POST https://one.example/api/", "PUT https://one.example/api/"]
header = {{ authorization = "Bearer {{token}}" }}

[[metric]]
name = "things"
unit = "1"
kind = "last"
identity = "day"

[schedule]
every = "1h"
{more}"#
    )
}

pub struct Clockwork(pub Arc<AtomicI64>);

impl Clockwork {
    pub fn new() -> Self {
        Self(Arc::new(AtomicI64::new(NOW)))
    }

    pub fn clock(&self) -> Arc<dyn sluice_model::Clock> {
        let at = Arc::clone(&self.0);
        Arc::new(move || at.load(Ordering::SeqCst))
    }

    pub fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

pub fn quick() -> Timeouts {
    Timeouts {
        connect: Duration::from_millis(500),
        first_byte: Duration::from_millis(400),
        between_bytes: Duration::from_millis(300),
        whole: Duration::from_secs(10),
    }
}

/// Knows the names it was given, and says how often it was asked.
#[derive(Default)]
pub struct Names {
    pub known: Vec<(String, Vec<IpAddr>)>,
    pub asked: AtomicUsize,
}

#[async_trait::async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let known = self.known.iter().find(|(name, _)| name == host).map(|(_, all)| all.clone());
        known.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

/// A gate that knows no name at all, so that no test ever asks the network for one.
pub fn gate(clock: &Clockwork) -> Gate {
    gate_with(clock, Arc::new(Names::default()))
}

pub fn gate_with(clock: &Clockwork, names: Arc<Names>) -> Gate {
    Gate::new(GateOptions { timeouts: quick(), resolver: Some(names), ..GateOptions::new(clock.clock()) })
}

/// An egress of the manifest, each origin served from the address beside it.
pub fn egress(gate: &Gate, manifest_text: &str, upstreams: &[(&str, &Server)]) -> Arc<Egress> {
    let upstreams = upstreams.iter().map(|(from, to)| Upstream { from: (*from).into(), to: to.url(), allow_private: true }).collect();
    egress_with(gate, manifest_text, upstreams)
}

pub fn egress_with(gate: &Gate, manifest_text: &str, upstreams: Vec<Upstream>) -> Arc<Egress> {
    let manifest = Manifest::parse(manifest_text).unwrap_or_else(|why| panic!("{why}"));
    let grant = Grant::new(&manifest, &[]).unwrap();
    gate.egress(EgressOptions { connector: "probe".into(), grant: Arc::new(grant), manifest: Arc::new(manifest), upstreams }).unwrap()
}

pub fn keys() -> Keys {
    Keys::new()
        .with("token", Secret::text(TOKEN.into()), true)
        .with("user", Secret::text("visible-user-name".into()), false)
        .with("app.shared-secret", Secret::text("operators-shared-secret".into()), true)
        .with("app.client-id", Secret::text("public-client-id".into()), false)
}

pub fn session(egress: &Arc<Egress>) -> Session {
    session_of(egress, 1, 1, Vec::new())
}

pub fn session_of(egress: &Arc<Egress>, app: i64, connection: i64, quotas: Vec<QuotaState>) -> Session {
    egress.session(SessionOptions {
        app: AppId(app),
        connection: Some(ConnectionId(connection)),
        profile: "key".into(),
        keys: keys(),
        response_bytes: 1 << 20,
        requests: 1000,
        quotas,
    })
}

/// A server at `https://one.example`, and a session to it.
pub async fn probe(answer: impl Fn(&Got) -> Vec<Piece> + Send + Sync + 'static) -> (Server, Session) {
    let server = Server::start(answer).await;
    let egress = egress(&gate(&Clockwork::new()), &manifest(""), &[("https://one.example", &server)]);
    let session = session(&egress);
    (server, session)
}

pub fn get(url: &str) -> Request {
    Request { method: "GET".into(), url: url.into(), headers: Vec::new(), body: None, credential: None, follow_redirects: false }
}

pub fn post(url: &str, kind: &str, body: &str) -> Request {
    Request { method: "POST".into(), headers: vec![("content-type".into(), kind.into())], body: Some(body.as_bytes().to_vec()), ..get(url) }
}

pub fn attached(request: Request) -> Request {
    Request { credential: Some("user".into()), ..request }
}

pub fn following(request: Request) -> Request {
    Request { follow_redirects: true, ..request }
}

pub fn with_header(mut request: Request, name: &str, value: &str) -> Request {
    request.headers.push((name.into(), value.into()));
    request
}

pub fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

#[track_caller]
pub fn denied(outcome: Result<Response, FetchError>) -> String {
    match outcome {
        Err(FetchError::Denied(why)) => why,
        other => panic!("not denied: {other:?}"),
    }
}
