//! Connectors that mean harm, each with what must become of it. Every one is built from the text here.

use super::{Fixture, TestHost};
use sluice_model::Limits;
use sluice_sandbox::{CallError, Engine, Module};
use std::time::Duration;

/// For what it is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enter {
    Describe,
    Identify,
    Sync,
}

/// What must become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Ended at the limit of this name.
    Limit(&'static str),
    /// A crash whose message has these words.
    Crash(&'static str),
    /// Refused, for it answered differently twice.
    Changing,
}

/// One of them.
pub struct Attack {
    pub name: &'static str,
    pub enter: Enter,
    pub end: End,
    pub limits: Limits,
    /// How long each request takes, where it makes any.
    pub delay: Option<Duration>,
    pub bytes: Vec<u8>,
}

/// Low, so that an attack is over soon: what is tested is that they hold, not their size.
pub fn low() -> Limits {
    Limits { cpu_ms: 40, wall_ms: 20_000, memory_bytes: 16 << 20, log_bytes: 4096, host_calls: 2_000, ..Limits::default() }
}

const LOOP: &str = "(loop $forever (br $forever))";
const GROW: &str = "(loop $more (drop (memory.grow (i32.const 16))) (br $more))";
const TIMER: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $timer (param i64) (result i32)))
    (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
    (import "wasi:io/poll@0.2.0" "[method]pollable.ready" (func $ready (param i32) (result i32)))"#;
const CLOCK: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $clock (result i64)))"#;
const STDOUT: &str = r#"(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
    (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush" (func $print (param i32 i32 i32 i32)))"#;
const RANDOM: &str = r#"(import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))"#;
const THINGS: &str = r#"(import "[export]test:test/things" "[resource-new]thing" (func $new (param i32) (result i32)))
    (import "[export]test:test/things" "[resource-drop]thing" (func $drop (param i32)))"#;
const EXIT: &str = r#"(import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))"#;

/// A manifest that says how long a timer took: turns of a loop, four bits a letter, over three timers.
const CHANGING: &str = "(local $timer i32) (local $n i32) (local $at i32)
    (local.set $at (i32.const 4096))
    (loop $again
      (local.set $timer (call $timer (i64.const 15000000)))
      (local.set $n (i32.const 0))
      (loop $wait (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $wait (i32.eqz (call $ready (local.get $timer)))))
      (i32.store8 (local.get $at) (i32.add (i32.const 97) (i32.and (local.get $n) (i32.const 15))))
      (i32.store8 offset=1 (local.get $at) (i32.add (i32.const 97) (i32.and (i32.shr_u (local.get $n) (i32.const 4)) (i32.const 15))))
      (i32.store8 offset=2 (local.get $at) (i32.add (i32.const 97) (i32.and (i32.shr_u (local.get $n) (i32.const 8)) (i32.const 15))))
      (local.set $at (i32.add (local.get $at) (i32.const 3)))
      (br_if $again (i32.lt_u (local.get $at) (i32.const 4108))))";

/// All of them.
pub fn all() -> Vec<Attack> {
    use End::{Changing, Crash, Limit};
    let mut list = Vec::new();
    let mut add = |name, enter, end, fixture: Fixture<'_>, change: fn(&mut Limits)| {
        let mut limits = low();
        change(&mut limits);
        list.push(Attack { name, enter, end, limits, delay: None, bytes: fixture.build() });
    };
    let none: fn(&mut Limits) = |_| {};
    let sync = |sync| Fixture { sync, ..Fixture::default() };
    let wasi = |imports, sync| Fixture { imports, sync, ..Fixture::default() };
    let more = |sync, more| Fixture { sync, more, ..Fixture::default() };

    // Time.
    add("a loop in sync", Enter::Sync, Limit("cpu-ms"), sync(LOOP), none);
    add("a loop in identify", Enter::Identify, Limit("cpu-ms"), Fixture { identify: LOOP, ..Fixture::default() }, none);
    add("a loop in describe", Enter::Describe, Limit("cpu-ms"), Fixture { describe: LOOP, ..Fixture::default() }, none);
    let begin = format!("(func $begin {LOOP}) (start $begin)");
    add("a loop before it is entered", Enter::Sync, Limit("cpu-ms"), more("", &begin), none);
    let post = format!(r#"(func (export "cabi_post_sluice:connector/source@0.1.0#sync") (param i32) {LOOP})"#);
    add("a loop after it returned", Enter::Sync, Limit("cpu-ms"), more("", &post), none);
    let dtor = format!(r#"(func (export "test:test/things#[dtor]thing") (param i32) {LOOP})"#);
    let dropping =
        Fixture { imports: THINGS, sync: "(call $drop (call $new (i32.const 1)))", more: &dtor, things: true, ..Fixture::default() };
    add("a loop in a destructor", Enter::Sync, Limit("cpu-ms"), dropping, none);
    let mutual =
        "(func $ping (result i32) (loop $l (br_if $l (i32.eqz (call $pong)))) (i32.const 0)) (func $pong (result i32) (i32.const 0))";
    add("a loop of calls", Enter::Sync, Limit("cpu-ms"), more("(drop (call $ping))", mutual), none);
    let copy = "(drop (memory.grow (i32.const 200)))
        (loop $more (memory.copy (i32.const 131072) (i32.const 6000000) (i32.const 6000000)) (br $more))";
    add("copying memory in a loop", Enter::Sync, Limit("cpu-ms"), sync(copy), none);
    let straight = format!(
        "(drop (memory.grow (i32.const 200))) {}",
        "(memory.copy (i32.const 131072) (i32.const 6000000) (i32.const 6000000)) (memory.fill (i32.const 131072) (i32.const 7) (i32.const 12000000))"
            .repeat(2000)
    );
    add("copying memory without a loop", Enter::Sync, Limit("cpu-ms"), sync(&straight), none);
    let tables = "(table $t 90000 funcref)";
    let table_copy = "(loop $more (table.copy $t $t (i32.const 0) (i32.const 40000) (i32.const 40000)) (br $more))";
    add("copying a table in a loop", Enter::Sync, Limit("cpu-ms"), more(table_copy, tables), none);
    add("asking WASI for the time", Enter::Sync, Limit("cpu-ms"), wasi(CLOCK, "(loop $l (drop (call $clock)) (br $l))"), none);
    let late = "(loop $l (br_if $l (i64.lt_u (call $clock) (i64.const 15000000000))))";
    add("returning after its budget", Enter::Sync, Limit("cpu-ms"), wasi(CLOCK, late), none);
    let sleeping = "(loop $l (call $block (call $timer (i64.const 3600000000000))) (br $l))";
    add("sleeping", Enter::Sync, Limit("wall-ms"), wasi(TIMER, sleeping), |limits| limits.wall_ms = 60);

    // Space.
    add("recursion", Enter::Sync, Crash("call stack"), more("(call $deep)", "(func $deep (call $deep) (call $deep))"), none);
    add("growing memory", Enter::Sync, Limit("memory-bytes"), sync(GROW), none);
    let begin = format!("(func $begin {GROW}) (start $begin)");
    add("growing memory before it is entered", Enter::Sync, Limit("memory-bytes"), more("", &begin), none);
    let grow_table = "(loop $more (drop (table.grow $t (ref.null func) (i32.const 10000))) (br $more))";
    add("growing a table", Enter::Sync, Limit("table-elements"), more(grow_table, "(table $t 1 funcref)"), none);
    let grow_tables: String = (0..8).map(|n| format!("(drop (table.grow $t{n} (ref.null func) (i32.const 90000)))")).collect();
    let tables: String = (0..8).map(|n| format!("(table $t{n} 1 funcref)")).collect();
    add("growing many tables", Enter::Sync, Limit("table-elements"), more(&grow_tables, &tables), none);
    let leak = "(loop $more (drop (call $timer (i64.const 1))) (br $more))";
    add("leaking timers", Enter::Sync, Limit("resources"), wasi(TIMER, leak), |limits| limits.cpu_ms = 2000);
    let leak = "(loop $more (drop (call $new (i32.const 1))) (br $more))";
    let leaking = Fixture { imports: THINGS, sync: leak, things: true, ..Fixture::default() };
    add("leaking handles", Enter::Sync, Limit("handles"), leaking, |limits| limits.cpu_ms = 2000);

    // What crosses the border.
    let giant = "(call $record (i32.const 8192) (i32.const 8388608) (i32.const 1536))";
    add("a list of a gigabyte", Enter::Sync, Crash("out of bounds"), sync(giant), none);
    let text = "(call $log (i32.const 0) (i32.const 0) (i32.const 1073741824))";
    add("a text of a gigabyte", Enter::Sync, Crash("out of bounds"), sync(text), none);
    let manifest =
        "(i32.store (i32.const 2048) (i32.const 0)) (i32.store (i32.const 2052) (i32.const 1073741824)) (return (i32.const 2048))";
    add("a manifest of a gigabyte", Enter::Describe, Crash("out of bounds"), Fixture { describe: manifest, ..Fixture::default() }, none);
    let manifest =
        "(i32.store (i32.const 2048) (i32.const 4096)) (i32.store (i32.const 2052) (i32.const 200000)) (return (i32.const 2048))";
    add("a huge manifest", Enter::Describe, Limit("manifest-bytes"), Fixture { describe: manifest, ..Fixture::default() }, none);
    let changing = Fixture { imports: TIMER, describe: CHANGING, ..Fixture::default() };
    add("another manifest each time", Enter::Describe, Changing, changing, none);
    let detail =
        "(drop (memory.grow (i32.const 700))) (i32.store8 (i32.const 8304) (i32.const 1)) (i32.store (i32.const 8308) (i32.const 131072))
        (i32.store (i32.const 8312) (i32.const 41943040)) (call $record (i32.const 8192) (i32.const 1) (i32.const 1536))";
    add("a detail of 40 MiB", Enter::Sync, Limit("call-bytes"), sync(detail), |limits| limits.memory_bytes = 64 << 20);
    let account = "(i32.store8 (i32.const 1032) (i32.const 1)) (i32.store (i32.const 1036) (i32.const 8192)) (i32.store (i32.const 1040) (i32.const 300))";
    add(
        "an account's id of 300 bytes",
        Enter::Identify,
        Limit("account-id-bytes"),
        Fixture { identify: account, ..Fixture::default() },
        none,
    );
    let routes = "(i32.store (i32.const 1052) (i32.const 8192)) (i32.store (i32.const 1056) (i32.const 5000))";
    add("five thousand route keys", Enter::Identify, Limit("route-keys"), Fixture { identify: routes, ..Fixture::default() }, none);
    let broken = "(i32.store8 (i32.const 8192) (i32.const 255)) (call $log (i32.const 2) (i32.const 8192) (i32.const 1))";
    add("a text that is none", Enter::Sync, Crash("utf-8"), sync(broken), none);
    add(
        "a word that is not in the contract",
        Enter::Sync,
        Crash("discriminant"),
        sync("(call $log (i32.const 77) (i32.const 0) (i32.const 0))"),
        none,
    );
    add("an answer outside its memory", Enter::Sync, Crash("out of bounds"), sync("(return (i32.const 0x7ffffff0))"), none);
    let random = "(call $random (i64.const 1073741824) (i32.const 1536))";
    add("a gigabyte of randomness", Enter::Sync, Limit("random-bytes"), wasi(RANDOM, random), none);
    add("leaving by the back door", Enter::Sync, Crash("exited"), wasi(EXIT, "(call $exit (i32.const 0))"), none);

    // Floods.
    let flood = |call: &str| format!("(loop $more {call} (br $more))");
    let now = flood("(drop (call $now))");
    add("asking for the time", Enter::Sync, Limit("host-calls"), sync(&now), |l| l.cpu_ms = 2000);
    let log = flood("(call $log (i32.const 3) (i32.const 5000) (i32.const 7))");
    add("log lines", Enter::Sync, Limit("host-calls"), sync(&log), |l| l.cpu_ms = 2000);
    let print = "(local $out i32) (local.set $out (call $stdout)) (loop $more (call $print (local.get $out) (i32.const 4096) (i32.const 4000) (i32.const 1536)) (br $more))";
    add("printing", Enter::Sync, Limit("cpu-ms"), wasi(STDOUT, print), none);
    let entries = flood("(call $record (i32.const 8192) (i32.const 500) (i32.const 1536))");
    add("entries", Enter::Sync, Limit("host-calls"), sync(&entries), |l| (l.host_calls, l.cpu_ms) = (20, 2000));
    let state = flood("(call $state-set (i32.const 4096) (i32.const 4) (i32.const 8192) (i32.const 60000) (i32.const 1536))");
    add("state", Enter::Sync, Limit("host-calls"), sync(&state), |l| (l.host_calls, l.cpu_ms) = (200, 2000));
    let checkpoints = flood("(call $checkpoint (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1536))");
    add("checkpoints", Enter::Sync, Limit("host-calls"), sync(&checkpoints), |l| (l.host_calls, l.cpu_ms) = (500, 2000));
    let zeros = "(i32.const 0)".repeat(13);
    let requests = flood(&format!("(call $fetch {zeros} (i32.const 1536))"));
    add("requests", Enter::Sync, Limit("host-calls"), sync(&requests), |l| (l.host_calls, l.cpu_ms) = (200, 2000));
    let once = format!("(call $fetch {zeros} (i32.const 1536))");
    add("returning after the deadline", Enter::Sync, Limit("wall-ms"), sync(&once), |l| l.wall_ms = 60);
    if let Some(last) = list.last_mut() {
        last.delay = Some(Duration::from_millis(600));
    }
    list
}

/// An attack that is loaded.
pub struct Loaded {
    pub attack: Attack,
    pub module: Module,
}

/// Loads all of them into one engine.
pub async fn load(engine: &Engine) -> Vec<Loaded> {
    let mut out = Vec::new();
    for attack in all() {
        let module = engine.load(&attack.bytes).await.unwrap_or_else(|error| panic!("{}: {error}", attack.name));
        out.push(Loaded { attack, module });
    }
    out
}

/// What became of one run of it.
pub struct Ended {
    pub error: Option<CallError>,
    pub cpu_ms: u64,
    pub wall_ms: u64,
    pub memory_bytes: u64,
    pub log_bytes: usize,
    pub text: String,
}

impl Loaded {
    pub async fn run(&self, limits: &Limits) -> Ended {
        let host = Box::new(TestHost { delay: self.attack.delay, ..TestHost::default() });
        match self.attack.enter {
            Enter::Describe => {
                let error = self.module.describe().await.err();
                let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
                Ended { error, cpu_ms: 0, wall_ms: 0, memory_bytes: 0, log_bytes: 0, text }
            }
            Enter::Identify => ended(self.module.identify(host, limits).await),
            Enter::Sync => ended(self.module.sync(host, limits).await),
        }
    }

    /// Whether it ended as it must, and why not.
    pub fn judge(&self, ended: &Ended) -> Result<(), String> {
        let name = self.attack.name;
        let limits = &self.attack.limits;
        let right = match (&self.attack.end, &ended.error) {
            (End::Limit(wanted), Some(CallError::Limit { name, limit, used })) => name == wanted && used >= limit,
            (End::Crash(words), Some(CallError::Trap { message, .. })) => message.contains(words),
            (End::Changing, Some(CallError::Changing)) => true,
            _ => false,
        };
        if !right {
            return Err(format!("{name}: {:?} instead of {:?}", ended.error, self.attack.end));
        }
        if ended.cpu_ms > limits.cpu_ms + 1000 || ended.wall_ms > limits.wall_ms + 5000 {
            return Err(format!("{name}: it went on for {} ms of CPU, {} ms in all", ended.cpu_ms, ended.wall_ms));
        }
        if ended.memory_bytes > limits.memory_bytes {
            return Err(format!("{name}: it had {} bytes", ended.memory_bytes));
        }
        if ended.log_bytes as u64 > limits.log_bytes + 200 {
            return Err(format!("{name}: {} bytes of log", ended.log_bytes));
        }
        Ok(())
    }
}

fn ended<T>(report: sluice_sandbox::Report<T>) -> Ended {
    Ended {
        text: report.for_author().unwrap_or_default(),
        cpu_ms: report.usage.cpu_ms,
        wall_ms: report.usage.wall_ms,
        memory_bytes: report.usage.memory_bytes,
        log_bytes: report.log.iter().map(|line| line.text.len()).sum(),
        error: report.result.err(),
    }
}
