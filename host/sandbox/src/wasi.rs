//! WASI 0.2, for the languages whose libraries can't do without it, over nothing.
//!
//! No files, no environment, no arguments, no standard input, no sockets: the functions are there, and answer that there is nothing. The wall clock is the
//! host's; standard output and error go to the run's log. Timers sleep real time, whatever clock is injected, and end at the latest with the run's own
//! deadline. While a module describes itself, clocks stand still and randomness repeats, so that nothing can make it describe itself differently twice.

use crate::call::Entry;
use crate::log::{Log, Stream};
use crate::state::State;
use async_trait::async_trait;
use bytes::Bytes;
use sluice_model::limits::MAX_RANDOM_BYTES;
use std::time::Instant;
use tokio::io::AsyncWrite;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::clocks::wall_clock;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{HostMonotonicClock, WasiCtx, WasiCtxBuilder};

/// The time it always is while a module describes itself: 2026-01-01T00:00:00Z.
pub(crate) const FIXED_TIME_MS: i64 = 1_767_225_600_000;
/// How much a stream takes at once.
const WRITE_PERMIT: usize = 64 << 10;

/// Adds WASI to what can be linked.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    wall_clock::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The empty context of one call.
pub(crate) fn context(entry: Entry, log: &Log) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    builder
        .stdout(Output { log: log.clone(), stream: Stream::Out })
        .stderr(Output { log: log.clone(), stream: Stream::Err })
        .monotonic_clock(Monotonic { began: (entry != Entry::Describe).then(Instant::now) })
        .max_random_size(MAX_RANDOM_BYTES as u64)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    if entry == Entry::Describe {
        let fixed = || Deterministic::new(vec![7, 1, 8, 2, 8, 1, 8, 2, 8, 4, 5, 9, 0, 4, 5, 2, 3]);
        builder.secure_random(fixed()).insecure_random(fixed()).insecure_random_seed(1);
    }
    builder.build()
}

impl wall_clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        let now = u64::try_from(self.host.now()).unwrap_or_default();
        let nanoseconds = u32::try_from(now % 1000).unwrap_or_default() * 1_000_000;
        Ok(wall_clock::Datetime { seconds: now / 1000, nanoseconds })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: 1_000_000 })
    }
}

/// Time since the call began; it stands still in `describe`. Never nought: Go takes that for a broken clock, and gives up.
struct Monotonic {
    began: Option<Instant>,
}

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.began.map_or(1, |began| u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1))
    }
}

/// A stream that becomes log lines. It never blocks and never fails: what is over the log's bound is dropped.
#[derive(Clone)]
struct Output {
    log: Log,
    stream: Stream,
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this one, and it is not linked.
        Box::new(tokio::io::empty())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_PERMIT {
            return Err(StreamError::trap("more was written than the stream had asked for"));
        }
        self.log.stream(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT)
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}
