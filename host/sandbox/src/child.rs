//! The compiling child: this program, started by itself, to compile one component and go.
//!
//! A component of a few KiB can keep a compiler busy for minutes and make it ask for gigabytes. So the compiler works in a process of its own, which
//! binds its own hands before it looks at a stranger's bytes: address space, CPU time, no file opened or written, no further process. It steps back
//! behind everything else on the machine, and volunteers to be the first to go when memory runs out.
//!
//! What it makes runs in the host afterwards: this bounds what compiling costs, and is no wall against what compiled code could do.

use crate::cache::engine_hash;
use crate::config::compiling;
use crate::kind::MAX_MODULE_BYTES;
use crate::log::cut;
use crate::needs::chain;
use crate::wire::{Answer, Kind, MAX_WORDS, REQUEST_HEAD, Request};
use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};
use std::io::{self, Read, Write};
use std::process::ExitCode;

/// How far it steps back behind runs and pages.
const NICE: i32 = 10;
/// The stack of the thread that notices when the host has gone.
const WATCH_STACK: usize = 64 << 10;

/// What the child's program does: reads a component from standard input, writes what became of it to standard output.
///
/// The program that names itself in [`crate::Compiler`] calls this first thing, before it reads settings or starts threads.
#[must_use]
pub fn compile_child_main() -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "compiling: {error}");
            ExitCode::from(2)
        }
    }
}

fn answer() -> io::Result<()> {
    let mut head = [0; REQUEST_HEAD];
    let read = io::stdin().lock().read_exact(&mut head);
    let request = read.ok().and_then(|()| Request::decode(&head)).filter(|request| request.length <= MAX_MODULE_BYTES as u64);
    let Some(request) = request else {
        return Err(io::Error::other("this is for a host to start, which says on standard input what to compile"));
    };
    limit(Resource::As, request.memory_bytes, 0)?;
    // The signal that says which limit it was comes a second before the one that can't be caught.
    limit(Resource::Cpu, request.cpu_seconds, 1)?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    let _ = nice(NICE);
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");

    let mut component = vec![0; usize::try_from(request.length).unwrap_or(usize::MAX)];
    io::stdin().lock().read_exact(&mut component)?;
    watch()?;
    limit(Resource::Nproc, 0, 0)?;
    limit(Resource::Nofile, 0, 0)?;

    let (kind, engine, bytes) = match std::panic::catch_unwind(|| compile(request.reserved, &component)) {
        Ok(compiled) => compiled,
        Err(_) => (Kind::Failed, [0; 32], b"the compiler panicked".to_vec()),
    };
    let mut out = io::stdout().lock();
    out.write_all(&Answer { kind, engine, length: bytes.len() as u64 }.encode())?;
    out.write_all(&bytes)?;
    out.flush()
}

fn compile(reserved: bool, component: &[u8]) -> (Kind, [u8; 32], Vec<u8>) {
    let words = |error: &wasmtime::Error| cut(&chain(error), usize::try_from(MAX_WORDS).unwrap_or(0)).as_bytes().to_vec();
    let engine = match wasmtime::Engine::new(&compiling(reserved)) {
        Ok(engine) => engine,
        Err(error) => return (Kind::Failed, [0; 32], words(&error)),
    };
    let hash = engine_hash(&engine);
    match engine.precompile_component(component) {
        Ok(code) => (Kind::Code, hash, code),
        Err(error) => (Kind::Refused, hash, words(&error)),
    }
}

/// Lowers a limit of this process; one that is lower already stays.
fn limit(resource: Resource, value: u64, grace: u64) -> io::Result<()> {
    let there = getrlimit(resource);
    let lower = |there: Option<u64>, wanted: u64| Some(there.map_or(wanted, |there| there.min(wanted)));
    let maximum = lower(there.maximum, value.saturating_add(grace));
    Ok(setrlimit(resource, Rlimit { current: lower(maximum, value), maximum })?)
}

/// Ends this process when the host closes the pipe, or is gone.
fn watch() -> io::Result<()> {
    std::thread::Builder::new().name("watch".into()).stack_size(WATCH_STACK).spawn(|| {
        let _ = io::stdin().lock().read(&mut [0; 1]);
        std::process::exit(3)
    })?;
    Ok(())
}
