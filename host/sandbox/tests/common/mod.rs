//! Engines for tests, and a host that remembers what was asked of it. The connectors are those of `tests/fixtures`.
#![allow(dead_code, unused_imports)]

pub mod attacks;

use async_trait::async_trait;
pub use sluice_fixtures::{Fixture, syncing};
use sluice_model::request::{FetchError, Request, Response};
use sluice_model::task::{Reason, Task};
use sluice_model::{Entry, Failure, Limits, Moment};
use sluice_sandbox::{CheckpointError, Engine, EngineOptions, Host, KeyError, KeyInfo, RecordError, Report, StateError};
use std::{
    any::Any,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub fn options(cache: Option<&Path>) -> EngineOptions {
    EngineOptions {
        cache_dir: cache.map(Path::to_owned),
        cache_key: [7; 32],
        concurrent_runs: 4,
        max_memory_bytes: 256 << 20,
        compiler: None,
    }
}

pub fn engine() -> Engine {
    Engine::new(options(None)).unwrap()
}

/// Runs the bytes once.
pub async fn sync(bytes: &[u8], host: TestHost, limits: &Limits) -> (Report<Result<sluice_model::Outcome, Failure>>, TestHost) {
    let module = engine().load(bytes).await.unwrap();
    taken(module.sync(Box::new(host), limits).await)
}

/// The report, and the host in it as what it was.
pub fn taken<T>(mut report: Report<T>) -> (Report<T>, TestHost) {
    let host: Box<dyn Host> = std::mem::replace(&mut report.host, Box::new(TestHost::default()));
    let host: Box<dyn Any> = host;
    let host = *host.downcast::<TestHost>().unwrap();
    (report, host)
}

/// How late this machine is with sleeps on a thread that has nothing else to do, added up: what others on it take away from everybody.
pub struct Lateness {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Lateness {
    /// Measured from now on.
    pub fn measured() -> Self {
        const NAP: Duration = Duration::from_millis(10);
        let over = Arc::<AtomicBool>::default();
        let theirs = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut late = Duration::ZERO;
            while !theirs.load(Ordering::Relaxed) {
                let began = Instant::now();
                thread::sleep(NAP);
                late += began.elapsed().saturating_sub(NAP);
            }
            late
        });
        Self { over, thread }
    }

    /// Until now.
    pub fn end(self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Remembers what it was asked, by function.
pub struct TestHost {
    pub task: Task,
    pub asked: Vec<String>,
    pub recorded: Vec<Entry>,
    pub requests: Vec<Request>,
    /// Where they were asked for: the threads' names.
    pub threads: Vec<String>,
    /// Requests take this long.
    pub delay: Option<Duration>,
    /// Requests never come back.
    pub stall: bool,
    /// The state panics.
    pub panic: bool,
    pub cancelled: bool,
}

pub const NOW: i64 = 1_795_000_000_000;

impl Default for TestHost {
    fn default() -> Self {
        let task = Task {
            reason: Reason::Scheduled,
            now: NOW,
            time_zone: "Europe/Lisbon".into(),
            cursor: None,
            cursor_version: None,
            window: None,
            profile: "token".into(),
            account_id: None,
            scopes: Vec::new(),
            settings: Vec::new(),
        };
        Self {
            task,
            asked: Vec::new(),
            recorded: Vec::new(),
            requests: Vec::new(),
            threads: Vec::new(),
            delay: None,
            stall: false,
            panic: false,
            cancelled: false,
        }
    }
}

#[async_trait]
impl Host for TestHost {
    fn task(&self) -> &Task {
        &self.task
    }
    fn now(&self) -> i64 {
        self.task.now
    }
    async fn fetch(&mut self, request: Request) -> Result<Response, FetchError> {
        self.asked.push(format!("fetch {}", request.url));
        self.threads.push(thread::current().name().unwrap_or_default().to_owned());
        if self.stall {
            std::future::pending::<()>().await;
        }
        if let Some(delay) = self.delay {
            tokio::time::sleep(delay).await;
        }
        self.requests.push(request.clone());
        Ok(Response { status: 401, url: request.url, headers: Vec::new(), body: b"{\"message\":\"Bad credentials\"}".to_vec() })
    }
    async fn fetch_all(&mut self, requests: Vec<Request>) -> Vec<Result<Response, FetchError>> {
        let mut out = Vec::new();
        for request in requests {
            out.push(self.fetch(request).await);
        }
        out
    }
    fn list_keys(&mut self) -> Vec<KeyInfo> {
        Vec::new()
    }
    async fn key_get(&mut self, _: &str) -> Result<Option<Vec<u8>>, KeyError> {
        Ok(None)
    }
    async fn key_set(&mut self, name: &str, _: Vec<u8>) -> Result<(), KeyError> {
        self.asked.push(format!("key-set {name}"));
        Ok(())
    }
    async fn key_delete(&mut self, _: &str) -> Result<(), KeyError> {
        Ok(())
    }
    fn record(&mut self, entries: Vec<Entry>) -> Result<(), RecordError> {
        self.asked.push(format!("record {}", entries.len()));
        self.recorded.extend(entries);
        Ok(())
    }
    fn replace_window(&mut self, _: &str, _: Option<&str>, _: Moment, _: Moment, entries: Vec<Entry>) -> Result<(), RecordError> {
        self.record(entries)
    }
    fn retract(&mut self, metric: &str, id: &str) -> Result<(), RecordError> {
        self.asked.push(format!("retract {metric} {id}"));
        Ok(())
    }
    fn label_series(&mut self, _: &str, _: &str, label: &str) {
        self.asked.push(format!("label {label}"));
    }
    async fn checkpoint(&mut self, cursor: Option<String>) -> Result<(), CheckpointError> {
        self.asked.push(format!("checkpoint {cursor:?}"));
        tokio::task::yield_now().await;
        Ok(())
    }
    fn report(&mut self, _: u64, _: Option<u64>) {}
    fn problem(&mut self, failure: Failure, metric: Option<String>) {
        self.asked.push(format!("problem {} {metric:?}", failure.message));
    }
    fn cancelled(&self) -> bool {
        self.cancelled
    }
    fn state_get(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
    fn state_set(&mut self, key: &str, value: Vec<u8>) -> Result<(), StateError> {
        assert!(!self.panic, "the state is broken");
        self.asked.push(format!("state {key} {}", value.len()));
        Ok(())
    }
    fn state_delete(&mut self, _: &str) {}
}
