//! One port, one provider: accepts connections, applies faults, keeps the log, and answers `/_control/…` and `/bench/…` itself.
//!
//! A simulator runs on threads of its own with a runtime of its own: a test that blocks its executor, or a host that is stopped with a signal,
//! does not stop the provider with it, and [`Running`] works in plain tests as well as in asynchronous ones. Dropping it ends it and
//! its connections. Provider code is a plain function under a lock; only the wire is asynchronous.

use crate::bench::Bench;
use crate::clock::Clock;
use crate::fault::{Fault, Faults, Kind, LimitForm};
use crate::http::{Answer, Call, pairs};
use crate::log::{Entry, Log};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;

use wire::{Body, Wire};

mod control;
mod spoil;
mod wire;

/// The largest request body that is read.
const MOST_BODY: usize = 1 << 20;

/// What a simulated provider is to the server.
pub trait Provider: Send + Sync + 'static {
    /// Answers a request.
    fn answer(&self, call: &Call) -> Answer;
    /// Every credential in a request, the one that matters most first.
    fn credentials(&self, call: &Call) -> Vec<String>;
    /// The provider's own error for a status.
    fn error(&self, call: &Call, status: u16, text: &str) -> Answer;
    /// The provider's own words for a limit; `form` where it has several.
    fn limited(&self, call: &Call, form: Option<LimitForm>) -> Answer;
    /// The provider's way of sending an error with status 200.
    fn error_in_200(&self, call: &Call) -> Answer;
    /// A change of the world, as JSON; see each provider's `Command`.
    fn command(&self, command: Value) -> Result<Value, String>;
    /// Users, applications, credentials: what a test or the demo needs to begin.
    fn state(&self) -> Value;
    /// The true data of one user.
    fn truth(&self, user: &str) -> Option<Value>;
}

/// How to listen.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Threads that serve (1 is enough for tests; a measurement may want 2).
    pub threads: usize,
}

impl Default for Listen {
    fn default() -> Listen {
        Listen { port: 0, threads: 1 }
    }
}

/// What the connections of one simulator share.
struct Shared<P> {
    provider: P,
    clock: Clock,
    faults: Mutex<Faults>,
    log: Mutex<Log>,
    bench: Bench,
    bench_requests: AtomicU64,
    in_flight: AtomicU64,
    most_in_flight: AtomicU64,
}

/// Takes a lock whatever happened to its last holder.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A simulator that listens until it is dropped.
pub struct Running<P> {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared<P>>,
    runtime: Option<Runtime>,
}

impl<P: Provider> Running<P> {
    /// Starts listening on loopback.
    pub(crate) fn start(provider: P, clock: Clock, listen: &Listen) -> io::Result<Running<P>> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(listen.threads.max(1))
            .thread_name("simulator")
            .enable_all()
            .build()?;
        let listener = runtime.block_on_elsewhere(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, listen.port)))?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            provider,
            clock,
            faults: Mutex::default(),
            log: Mutex::default(),
            bench: Bench::default(),
            bench_requests: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            most_in_flight: AtomicU64::new(0),
        });
        runtime.spawn(accept(listener, Arc::clone(&shared), addr));
        Ok(Running { addr, shared, runtime: Some(runtime) })
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The simulator's clock; advancing it moves the simulator's time.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Sets a fault.
    pub fn fault(&self, fault: Fault) {
        lock(&self.shared.faults).add(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        lock(&self.shared.faults).clear();
    }

    /// The faults that still wait for requests.
    pub fn faults(&self) -> Vec<Fault> {
        lock(&self.shared.faults).list()
    }

    /// The requests so far, oldest first (control and bench requests are not among them).
    pub fn requests(&self) -> Vec<Entry> {
        lock(&self.shared.log).entries()
    }

    /// How many requests there were.
    pub fn count(&self) -> u64 {
        lock(&self.shared.log).count()
    }

    /// How many bench pages were served.
    pub fn bench_count(&self) -> u64 {
        self.shared.bench_requests.load(Ordering::Relaxed)
    }

    /// The most requests that were in work at one time.
    pub fn most_in_flight(&self) -> u64 {
        self.shared.most_in_flight.load(Ordering::Relaxed)
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        lock(&self.shared.log).clear();
    }

    /// The provider behind the port.
    pub(crate) fn provider(&self) -> &P {
        &self.shared.provider
    }
}

impl<P> Drop for Running<P> {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs one future on a runtime, from inside another runtime too (where `block_on` would refuse).
trait Elsewhere {
    fn block_on_elsewhere<T: Send + 'static>(&self, future: impl Future<Output = io::Result<T>> + Send + 'static) -> io::Result<T>;
}

impl Elsewhere for Runtime {
    fn block_on_elsewhere<T: Send + 'static>(&self, future: impl Future<Output = io::Result<T>> + Send + 'static) -> io::Result<T> {
        let (send, receive) = std::sync::mpsc::channel();
        self.spawn(async move {
            let _ = send.send(future.await);
        });
        receive.recv().map_err(io::Error::other)?
    }
}

async fn accept<P: Provider>(listener: tokio::net::TcpListener, shared: Arc<Shared<P>>, addr: SocketAddr) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        let wire = Wire::new(stream);
        let cut = wire.cutter();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (shared, cut) = (Arc::clone(&shared), cut.clone());
                async move {
                    let answer = serve(&shared, addr, request).await;
                    if answer.is_err() {
                        cut.cut();
                    }
                    answer
                }
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(60)).pipeline_flush(true);
            let _ = builder.serve_connection(TokioIo::new(wire), service).await;
        });
    }
}

/// The connection is to be reset instead of answered.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is reset, as asked for")
    }
}

impl std::error::Error for Cut {}

async fn serve<P: Provider>(shared: &Shared<P>, addr: SocketAddr, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let now_in_flight = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
    shared.most_in_flight.fetch_max(now_in_flight, Ordering::Relaxed);
    let _leave = Leave(&shared.in_flight);
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    if parts.uri.path() == "/bench/items" && lock(&shared.faults).is_empty() {
        shared.bench_requests.fetch_add(1, Ordering::Relaxed);
        let page = shared.bench.page(query);
        let status = if page.is_some() { 200 } else { 400 };
        return Ok(wire::response(Answer::new(status, "application/json", page.unwrap_or_default())));
    }
    let body = match Limited::new(body, MOST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(wire::response(Answer::bare(413))),
    };
    let base = match parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()) {
        Some(host) => format!("http://{host}"),
        None => format!("http://{addr}"),
    };
    let mut call = Call {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        raw_query: query.to_owned(),
        query: pairs(query.as_bytes()),
        headers: parts.headers,
        body,
        base,
        now: shared.clock.now(),
        shift: 0,
    };
    if call.path.starts_with("/_control/") {
        return Ok(wire::response(control::answer(shared, &call)));
    }
    let kinds = lock(&shared.faults).take(&line(&call));
    for kind in &kinds {
        match kind {
            Kind::Delay { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Kind::Shift { rows } => call.shift = *rows,
            _ => {}
        }
    }
    call.now = shared.clock.now();
    let answer = spoil::answer(&shared.provider, &shared.bench, &call, &kinds);
    let status = answer.as_ref().map_or(0, |answer| answer.status);
    let text = |name: &str| call.header(name).unwrap_or_default().to_owned();
    lock(&shared.log).push(Entry {
        number: 0,
        at: call.now,
        method: call.method.clone(),
        path: call.path.clone(),
        query: call.raw_query.clone(),
        credentials: shared.provider.credentials(&call),
        user_agent: text("user-agent"),
        conditional: call.header("if-none-match").is_some(),
        status,
        faults: kinds.iter().map(Kind::name).collect(),
    });
    let mut answer = answer.ok_or(Cut)?;
    // The provider's own time, which a client may compare limits and ends with.
    answer.set("date", &crate::time::http_date(call.seconds()));
    Ok(wire::spoiled(answer, &kinds))
}

/// What faults are matched against.
fn line(call: &Call) -> String {
    let form = call.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let body = if form { String::from_utf8_lossy(&call.body) } else { "".into() };
    format!("{} {}?{}&{}", call.method, call.path, call.raw_query, body)
}

struct Leave<'a>(&'a AtomicU64);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
}
