//! Compiling in a child process: what it bounds, what it may see, what it leaves behind.
//!
//! This program is started by its own tests as the compiler, so it is run without the usual harness: started with `compile-child` it is the child,
//! otherwise it runs its tests one after the other, those whose name contains the first argument.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Fixture, TestHost, options, syncing};
use sluice_model::CompileLimits;
use sluice_model::Limits;
use sluice_sandbox::{Compiler, Engine, EngineOptions, LoadError};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let argument = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if argument.as_deref() == Some("compile-child") {
        return sluice_sandbox::compile_child_main();
    }
    tracing::subscriber::set_global_default(Heard).unwrap();
    let tests: [(&str, fn()); 10] = [
        ("a_component_compiled_in_a_child_runs_and_is_kept", a_component_compiled_in_a_child_runs_and_is_kept),
        ("refusals_are_the_same_as_without_a_child", refusals_are_the_same_as_without_a_child),
        ("bombs_of_growing_size_end_within_the_budget", bombs_of_growing_size_end_within_the_budget),
        ("each_limit_of_compiling_has_its_own_name", each_limit_of_compiling_has_its_own_name),
        ("the_child_has_nothing_but_its_pipes_and_limits", the_child_has_nothing_but_its_pipes_and_limits),
        ("what_is_no_longer_wanted_is_no_longer_compiled", what_is_no_longer_wanted_is_no_longer_compiled),
        ("a_child_whose_host_is_gone_ends", a_child_whose_host_is_gone_ends),
        ("another_program_in_the_compilers_place_is_refused", another_program_in_the_compilers_place_is_refused),
        ("a_long_compilation_says_so_in_the_log", a_long_compilation_says_so_in_the_log),
        ("the_cache_can_be_deleted_at_any_time", the_cache_can_be_deleted_at_any_time),
    ];
    if std::env::args().any(|argument| argument == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    for (name, test) in tests {
        if argument.as_deref().is_none_or(|wanted| name.contains(wanted)) {
            let began = Instant::now();
            // A failed assertion says so and ends the process with an error.
            test();
            println!("test {name} ... ok ({} ms)", began.elapsed().as_millis());
        }
    }
    ExitCode::SUCCESS
}

/// Keeps what is logged.
struct Heard;

static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl tracing::Subscriber for Heard {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("sluice_sandbox")
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        LOG.lock().unwrap().push(format!("{} {}", event.metadata().level(), message.0));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

fn this() -> Compiler {
    Compiler::this_program("compile-child")
}

fn engine(compiler: Compiler, cache: Option<&Path>) -> Engine {
    Engine::new(EngineOptions { compiler: Some(compiler), ..options(cache) }).unwrap()
}

fn limited(limits: CompileLimits) -> Engine {
    engine(Compiler { limits, ..this() }, None)
}

/// A small file, and so many blocks of endless work for a compiler.
fn bomb(blocks: usize) -> Vec<u8> {
    Fixture { more: &sluice_fixtures::bulk::bomb(blocks), ..Fixture::default() }.build()
}

/// The processes that this one started and that are still there.
fn children() -> Vec<PathBuf> {
    let me = std::process::id().to_string();
    let mut out = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let after: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // state, then the parent's id; a zombie is only waiting to be asked.
        if after.get(1) == Some(&me.as_str()) && after.first() != Some(&"Z") {
            out.push(entry.path());
        }
    }
    out
}

fn a_component_compiled_in_a_child_runs_and_is_kept() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let bytes = syncing("(call $checkpoint (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1536))");
        for from_cache in [false, true] {
            let module = engine(this(), Some(folder.path())).load_named("fitbit.wasm", &bytes).await.unwrap();
            assert_eq!(module.from_cache(), from_cache);
            assert_eq!(module.describe().await.unwrap(), "manifest = 1");
            let report = module.sync(Box::new(TestHost::default()), &Limits::default()).await;
            report.result.unwrap().unwrap();
            assert_eq!(report.usage.host_calls, 1);
        }
        // What the child made is what this process would have made: the cache is good for both.
        assert!(Engine::new(options(Some(folder.path()))).unwrap().load(&bytes).await.unwrap().from_cache());
        assert!(children().is_empty());
    });
}

fn refusals_are_the_same_as_without_a_child() {
    block_on(async {
        let damaged = {
            let mut bytes = syncing("");
            let middle = bytes.len() / 2;
            bytes[middle..middle + 40].fill(0xff);
            bytes
        };
        let threads = wat::parse_str("(component (core module (memory 1 1 shared)))").unwrap();
        for bytes in [damaged, threads] {
            let with = engine(this(), None).load(&bytes).await.map(|_| ()).unwrap_err();
            let without = common::engine().load(&bytes).await.map(|_| ()).unwrap_err();
            assert!(matches!(with, LoadError::Invalid(_) | LoadError::Feature(_)), "{with:?}");
            assert_eq!(with, without);
        }
    });
}

fn bombs_of_growing_size_end_within_the_budget() {
    block_on(async {
        let limits = CompileLimits { memory_bytes: 1 << 30, cpu_seconds: 2, wall: Duration::from_secs(30) };
        let engine = limited(limits);
        let good = syncing("");
        let mut ended = Vec::new();
        for blocks in [1, 10, 100, 1_000, 5_000] {
            let bytes = bomb(blocks);
            let began = Instant::now();
            let health = tokio::spawn(async {
                let mut beats = 0u32;
                loop {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    beats += 1;
                    if beats >= 3 {
                        return;
                    }
                }
            });
            let loaded = engine.load_named("bomb.wasm", &bytes).await;
            let took = began.elapsed();
            health.await.unwrap();
            assert!(took < limits.wall + Duration::from_secs(10), "{blocks} blocks ({} bytes) took {took:?}", bytes.len());
            match loaded {
                Ok(_) => ended.push(format!("{blocks}: compiled")),
                Err(LoadError::CompileLimit { name, limit, .. }) => ended.push(format!("{blocks}: {limit} {name}")),
                Err(other) => panic!("{blocks} blocks: {other}"),
            }
            assert!(children().is_empty());
            // What was too much for it once is not tried again.
            let again = Instant::now();
            let known = engine.load_named("bomb.wasm", &bytes).await.map(|_| ());
            let refused = ended.last().is_some_and(|ended| !ended.contains("compiled"));
            assert_eq!(known.is_err(), refused);
            assert!(!refused || again.elapsed() < Duration::from_secs(1), "{blocks} blocks again: {:?}", again.elapsed());
            // Whatever became of it, the next one compiles.
            engine.load(&good).await.unwrap();
        }
        assert!(ended[0].contains("compiled"), "{ended:?}");
        assert!(ended[4].contains("2 seconds of CPU") || ended[4].contains("bytes of memory"), "{ended:?}");
        println!("  {ended:?}");
    });
}

fn each_limit_of_compiling_has_its_own_name() {
    block_on(async {
        let big = bomb(20_000);
        let roomy = CompileLimits { memory_bytes: 4 << 30, cpu_seconds: 60, wall: Duration::from_secs(60) };
        let cases = [
            (CompileLimits { cpu_seconds: 1, ..roomy }, "seconds of CPU", 1),
            (CompileLimits { memory_bytes: 600 << 20, ..roomy }, "bytes of memory", 600 << 20),
            (CompileLimits { wall: Duration::from_secs(1), ..roomy }, "seconds by the clock", 1),
        ];
        for (limits, wanted, value) in cases {
            let error = limited(limits).load_named("big.wasm", &big).await.map(|_| ()).unwrap_err();
            let LoadError::CompileLimit { name, limit, after_ms } = error else { panic!("{wanted}: {error}") };
            assert_eq!((name, limit), (wanted, value), "after {after_ms} ms");
            let text = LoadError::CompileLimit { name, limit, after_ms }.to_string();
            assert!(text.contains(&format!("limit of {value} {wanted}")), "{text}");
            assert!(children().is_empty());
        }
        // So little memory that not even the compiler itself fits in.
        let error = limited(CompileLimits { memory_bytes: 1 << 20, ..roomy }).load(&syncing("")).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, LoadError::CompileLimit { name: "bytes of memory", .. } | LoadError::CompilerFailed(_)), "{error:?}");
    });
}

fn the_child_has_nothing_but_its_pipes_and_limits() {
    // What this process itself was started with, and what is open in here now: the one cannot be helped, the other must not be seen.
    let open = |process: &Path| -> BTreeSet<String> {
        let list = std::fs::read_dir(process.join("fd")).unwrap().flatten();
        list.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let at_start: BTreeSet<String> = open(Path::new("/proc/self"));
    let folder = tempfile::tempdir().unwrap();
    let _secret = std::fs::File::create(folder.path().join("database")).unwrap();
    let _socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(std::env::vars_os().count() > 0);
    block_on(async {
        let limits = CompileLimits { memory_bytes: 2 << 30, cpu_seconds: 40, wall: Duration::from_secs(60) };
        let engine = limited(limits);
        let load = tokio::spawn(async move { engine.load(&bomb(20_000)).await.map(|_| ()) });
        let mut seen = None;
        while seen.is_none() {
            assert!(!load.is_finished(), "it ended before it was looked at");
            tokio::time::sleep(Duration::from_millis(20)).await;
            let Some(child) = children().into_iter().next() else { continue };
            let Ok(text) = std::fs::read_to_string(child.join("limits")) else { continue };
            let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            // Its last limit: by then all of them are set.
            if !row("Max open files").split_whitespace().any(|word| word == "0") {
                continue;
            }
            let environment = std::fs::read(child.join("environ")).unwrap();
            seen = Some((open(&child), environment, row("Max address space"), row("Max cpu time"), row("Max file size"), row("Max core")));
        }
        load.abort();
        let (descriptors, environment, space, cpu, file, core) = seen.unwrap();
        let strange: Vec<_> = descriptors.difference(&at_start).filter(|name| !matches!(name.as_str(), "0" | "1" | "2")).collect();
        assert!(strange.is_empty(), "{strange:?}");
        assert!(environment.is_empty(), "{}", String::from_utf8_lossy(&environment));
        assert!(space.contains(" 2147483648 "), "{space}");
        assert!(cpu.contains(" 40 "), "{cpu}");
        assert!(file.contains(" 0 ") && core.contains(" 0 "), "{file} {core}");
    });
}

fn what_is_no_longer_wanted_is_no_longer_compiled() {
    block_on(async {
        let engine = engine(this(), None);
        let theirs = engine.clone();
        let load = tokio::spawn(async move { theirs.load(&bomb(20_000)).await.map(|_| ()) });
        while children().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        load.abort();
        assert!(load.await.unwrap_err().is_cancelled());
        let began = Instant::now();
        while !children().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(20), "the child goes on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        engine.load(&syncing("")).await.unwrap();
    });
}

/// The host is killed: nobody kills its child then, it notices by itself. Here the host is only a pipe.
fn a_child_whose_host_is_gone_ends() {
    let component = bomb(20_000);
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let mut child = child.arg("compile-child").env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut host = child.stdin.take().unwrap();
    host.write_all(b"SLUICEQ1\x01").unwrap();
    for number in [4u64 << 30, 60, component.len() as u64] {
        host.write_all(&number.to_le_bytes()).unwrap();
    }
    host.write_all(&component).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none(), "it was not at it yet");
    let began = Instant::now();
    drop(host);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert!(began.elapsed() < Duration::from_secs(20));
    // And started by somebody who is no host, it says so.
    let output = std::process::Command::new(std::env::current_exe().unwrap()).arg("compile-child").stdin(Stdio::null()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("for a host to start"), "{output:?}");
    assert!(output.stdout.is_empty() && !output.status.success());
}

fn another_program_in_the_compilers_place_is_refused() {
    block_on(async {
        let limits = CompileLimits { wall: Duration::from_secs(1), ..CompileLimits::default() };
        let cases: [(&str, &[&str], &str); 6] = [
            ("/nowhere/compiler", &[], "did not start"),
            ("/bin/false", &[], "exit status: 1"),
            ("/bin/cat", &[], "another program"),
            ("/bin/sleep", &["60"], "1 seconds by the clock"),
            ("/bin/sh", &["-c", "while :; do echo yes; done"], "another program"),
            ("/bin/sh", &["-c", "kill -9 $$"], "killed from outside"),
        ];
        for (program, args, words) in cases {
            let compiler = Compiler { program: program.into(), args: args.iter().map(Into::into).collect(), limits };
            let error = engine(compiler, None).load(&syncing("")).await.map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains('\n'), "{program} {args:?}: {error}");
            assert!(children().is_empty());
        }
    });
}

fn a_long_compilation_says_so_in_the_log() {
    block_on(async {
        let limits = CompileLimits { wall: Duration::from_secs(3), ..CompileLimits::default() };
        let slow = Compiler { program: "/bin/sleep".into(), args: vec!["60".into()], limits };
        engine(slow, None).load_named("slow\u{1b}[2J.wasm", &syncing("")).await.map(|_| ()).unwrap_err();
        let log = LOG.lock().unwrap();
        assert!(log.iter().any(|line| line == "INFO compiling slow\\u{1b}[2J.wasm: 2 s"), "{log:?}");
    });
}

fn the_cache_can_be_deleted_at_any_time() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("compiled");
        let bytes = syncing("");
        let engine = engine(this(), Some(&cache));
        let module = engine.load(&bytes).await.unwrap();
        std::fs::remove_dir_all(&cache).unwrap();
        // The one that is loaded runs on; the next load compiles, and keeps it again.
        module.sync(Box::new(TestHost::default()), &Limits::default()).await.result.unwrap().unwrap();
        assert!(!engine.load(&bytes).await.unwrap().from_cache());
        assert!(engine.load(&bytes).await.unwrap().from_cache());
        // While others load: every load ends well, from the cache or not.
        let deleting = tokio::task::spawn_blocking({
            let cache = cache.clone();
            move || {
                for _ in 0..200 {
                    let _ = std::fs::remove_dir_all(&cache);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        while !deleting.is_finished() {
            engine.load(&bytes).await.unwrap();
        }
        deleting.await.unwrap();
    });
}
