//! Small connectors written as text, and a host that remembers what was asked of it.
//!
//! A fixture is a core module that speaks the canonical ABI by hand; the tools that wrap real connectors make a component of it against `wit/`. All of
//! them share the frame here and differ in the body of one function.
#![allow(dead_code)]

pub mod attacks;

use async_trait::async_trait;
use sluice_model::request::{FetchError, Request, Response};
use sluice_model::task::{Reason, Task};
use sluice_model::{Entry, Failure, Limits, Moment};
use sluice_sandbox::{CheckpointError, Engine, EngineOptions, Host, KeyError, KeyInfo, RecordError, Report, StateError};
use std::any::Any;
use std::path::Path;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What every fixture has: the imports its body may call, memory, the three exports. At 1024 lies an area of zeros: as an answer it says
/// "complete", or an account without a name.
const FRAME: &str = r#"(module
  (import "sluice:connector/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (import "sluice:connector/task@0.1.0" "now" (func $now (result i64)))
  (import "sluice:connector/progress@0.1.0" "cancelled" (func $cancelled (result i32)))
  (import "sluice:connector/progress@0.1.0" "checkpoint" (func $checkpoint (param i32 i32 i32 i32)))
  (import "sluice:connector/progress@0.1.0" "problem"
    (func $problem (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32)))
  (import "sluice:connector/state@0.1.0" "set" (func $state-set (param i32 i32 i32 i32 i32)))
  (import "sluice:connector/entries@0.1.0" "record-entries" (func $record (param i32 i32 i32)))
  (import "sluice:connector/http@0.1.0" "fetch"
    (func $fetch (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  {imports}
  (memory (export "memory") 4)
  (global $top (mut i32) (i32.const 131072))
  (data (i32.const 4096) "manifest = 1")
  (data (i32.const 5000) "a\1b[2J\0ab")
  (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $top (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
    (if (i32.gt_u (i32.add (global.get $top) (local.get 3)) (i32.const 260000)) (then (global.set $top (i32.const 131072))))
    (global.get $top)
    (global.set $top (i32.add (global.get $top) (local.get 3))))
  (func (export "sluice:connector/manifest@0.1.0#describe") (result i32)
    {describe}
    (i32.store (i32.const 2048) (i32.const 4096))
    (i32.store (i32.const 2052) (i32.const 12))
    (i32.const 2048))
  (func (export "sluice:connector/identity@0.1.0#identify") (result i32)
    {identify}
    (i32.const 1024))
  (func $sync (export "sluice:connector/source@0.1.0#sync") (result i32)
    {sync}
    (i32.const 1024))
  {more}
)"#;

/// The parts in which fixtures differ.
#[derive(Default)]
pub struct Fixture<'a> {
    pub imports: &'a str,
    pub describe: &'a str,
    pub identify: &'a str,
    pub sync: &'a str,
    pub more: &'a str,
    /// It exports a resource of its own, `thing`.
    pub things: bool,
}

/// As much of WASI as the fixtures use.
const WASI: [(&str, &str); 4] = [
    (
        "io.wit",
        "package wasi:io@0.2.0; interface error { resource error; } \
         interface poll { resource pollable { block: func(); ready: func() -> bool; } } \
         interface streams { use error.{error}; variant stream-error { last-operation-failed(error), closed } \
         resource output-stream { blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>; } }",
    ),
    (
        "clocks.wit",
        "package wasi:clocks@0.2.0; interface monotonic-clock { use wasi:io/poll@0.2.0.{pollable}; \
         now: func() -> u64; subscribe-duration: func(when: u64) -> pollable; } \
         interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }",
    ),
    (
        "cli.wit",
        "package wasi:cli@0.2.0; interface exit { exit: func(status: result); } \
         interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }",
    ),
    ("random.wit", "package wasi:random@0.2.0; interface random { get-random-bytes: func(len: u64) -> list<u8>; }"),
];

impl Fixture<'_> {
    pub fn build(&self) -> Vec<u8> {
        let text = FRAME
            .replace("{imports}", self.imports)
            .replace("{describe}", self.describe)
            .replace("{identify}", self.identify)
            .replace("{sync}", self.sync)
            .replace("{more}", self.more);
        let mut core = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut resolve = Resolve::default();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let (package, _) = resolve.push_dir(&wit).unwrap();
        let mut world = resolve.select_world(&[package], Some("source-connector")).unwrap();
        if !self.imports.is_empty() {
            for (name, text) in WASI {
                resolve.push_str(name, text).unwrap();
            }
            let things = if self.things { "export things;" } else { "" };
            let tested = format!(
                "package test:test; interface things {{ resource thing; }} \
                 world tested {{ include sluice:connector/source-connector@0.1.0; {things} \
                 import wasi:clocks/monotonic-clock@0.2.0; import wasi:clocks/wall-clock@0.2.0; \
                 import wasi:cli/exit@0.2.0; import wasi:cli/stdout@0.2.0; import wasi:random/random@0.2.0; }}"
            );
            let tested = resolve.push_str("tested.wit", &tested).unwrap();
            world = resolve.select_world(&[tested], Some("tested")).unwrap();
        }
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().validate(true).module(&core).unwrap().encode().unwrap()
    }
}

/// A fixture whose `sync` is this.
pub fn syncing(body: &str) -> Vec<u8> {
    Fixture { sync: body, ..Fixture::default() }.build()
}

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

/// Remembers what it was asked, by function.
pub struct TestHost {
    pub task: Task,
    pub asked: Vec<String>,
    pub recorded: Vec<Entry>,
    pub requests: Vec<Request>,
    /// Requests take this long.
    pub delay: Option<std::time::Duration>,
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
