//! One call: a fresh store, a fresh instance, entered once, watched, dropped.
//!
//! The future that runs the guest borrows the store and lives in here only, so that whatever ends it (its return, a trap, a bound, the deadline, a panic
//! of the host's) leaves the store to take the `Host`, the log and the figures from. The guest runs on a stack of its own; at every tick it is interrupted,
//! its CPU time compared with its budget, and everybody else on this thread gets a turn. One that computes for long goes on aside (see `aside.rs`).

use crate::aside;
use crate::bindings::exports::sluice::connector::{identity, manifest, source};
use crate::bindings::types;
use crate::config::FRAMES;
use crate::error::{CALL_BYTES, CallError};
use crate::log::{cut, inert};
use crate::meter::Meter;
use crate::module::{Module, Usage};
use crate::state::{CancelledCall, State};
use sluice_model::{
    Limits,
    limits::{CALL_BYTES_OF_ENTRIES, LEAST_CALL_BYTES, MAX_HANDLES, MAX_RANDOM_BYTES, MAX_RESOURCES},
};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use wasmtime::component::{InstancePre, ResourceTableError};
use wasmtime::{Error, Store, StoreContextMut, Trap, UpdateDeadline, WasmBacktrace};

/// Ticks that a cancelled run may still compute before it is ended: a second.
const CANCEL_GRACE_TICKS: u32 = 100;
/// Bytes of each function's name in a crash.
const FRAME_BYTES: usize = 300;

/// What a guest is entered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// To say what it is.
    Describe,
    /// To say whose account it is.
    Identify,
    /// To bring data.
    Sync,
}

/// Where a guest is entered.
pub(crate) enum Export<'a> {
    Describe(&'a manifest::GuestIndices),
    Identify(&'a identity::GuestIndices),
    Sync(&'a source::GuestIndices),
}

/// What a guest answers.
pub(crate) enum Answer {
    Text(String),
    Account(Result<types::Account, types::Failure>),
    Outcome(Result<types::Outcome, types::Failure>),
}

/// What came of a call.
pub(crate) struct Performed {
    pub(crate) result: Result<Answer, CallError>,
    pub(crate) state: State,
    pub(crate) usage: Usage,
    /// Where the guest was when it was ended, innermost first.
    pub(crate) stack: Vec<String>,
}

/// Runs the guest once, and reports; none where the module has no such export.
pub(crate) async fn perform(module: &Module, entry: Entry, state: State, limits: &Limits) -> Performed {
    // Waiting for a free slot is not the connector's time.
    let slot = Arc::clone(&module.shared().slots).acquire_owned().await;
    let meter = Arc::clone(&state.meter);
    if module.begins_aside() {
        meter.move_on(1);
    }
    let (entered, limits) = (module.clone(), limits.clone());
    let call = async move {
        let performed = watched(&entered, entry, state, &limits).await;
        drop(slot);
        performed
    };
    // Who describes itself has a second to compute, and ten by the clock, however busy the machine is.
    let places = if entry == Entry::Describe { aside::SHORT } else { aside::LONG };
    let performed = aside::run(Box::pin(call), meter, places).await;
    let Usage { cpu_us, wall_ms, .. } = performed.usage;
    let long = aside::is_heavy(Duration::from_micros(cpu_us), Duration::from_millis(wall_ms));
    module.next_begins_aside(long || matches!(&performed.result, Err(CallError::Limit { .. } | CallError::Trap { .. })));
    performed
}

async fn watched(module: &Module, entry: Entry, state: State, limits: &Limits) -> Performed {
    let shared = module.shared();
    let running = shared.ticker.running();
    let meter = Arc::clone(&state.meter);
    let mut store = Store::new(&shared.engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_epoch_deadline(1);
    let (budget, wall) = (limits.cpu_ms, Duration::from_millis(limits.wall_ms));
    let began = Instant::now();
    store.epoch_deadline_callback(move |cx| tick(cx, budget, began, wall));
    let call_bytes = call_bytes(limits);
    store.set_hostcall_fuel(call_bytes);
    store.set_max_component_handles(MAX_HANDLES);

    let outcome = {
        let guest = pin!(enter(&mut store, module.pre(), module.export(entry)));
        let watched = Watched { guest, meter: &meter };
        tokio::time::timeout(wall, watched).await
    };
    let took = began.elapsed();
    drop(running);
    let state = store.into_data();
    let usage = Usage {
        cpu_us: meter.total() / 1000,
        cpu_ms: meter.total() / 1_000_000,
        wall_ms: millis(took),
        memory_bytes: state.memory.peak(),
        host_calls: state.calls,
    };
    let stack = match &outcome {
        Ok(Ok(Err(error))) => error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default(),
        _ => Vec::new(),
    };
    let result = match outcome {
        Err(_) => Err(CallError::Limit { name: "wall-ms", limit: limits.wall_ms, used: usage.wall_ms.max(limits.wall_ms) }),
        Ok(Err(panic)) => Err(CallError::Host(panic)),
        Ok(Ok(Err(error))) => Err(match state.verdict(&error) {
            CallError::Limit { name: CALL_BYTES, .. } => {
                CallError::Limit { name: CALL_BYTES, limit: call_bytes as u64, used: (call_bytes as u64).saturating_add(1) }
            }
            other => other,
        }),
        Ok(Ok(Ok(answer))) => Ok(answer),
    };
    Performed { result, state, usage, stack }
}

fn call_bytes(limits: &Limits) -> usize {
    let bytes = limits.entry_bytes.saturating_mul(CALL_BYTES_OF_ENTRIES).min(1 << 30);
    usize::try_from(bytes).unwrap_or(1 << 30).max(LEAST_CALL_BYTES)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn enter(store: &mut Store<State>, pre: &InstancePre<State>, export: Option<Export<'_>>) -> wasmtime::Result<Answer> {
    let Some(export) = export else { return Err(Error::msg("the module has no such export")) };
    let instance = pre.instantiate_async(&mut *store).await?;
    let (function, answer) = match export {
        Export::Describe(indices) => ("describe", indices.load(&mut *store, &instance)?.call_describe(store).await.map(Answer::Text)),
        Export::Identify(indices) => ("identify", indices.load(&mut *store, &instance)?.call_identify(store).await.map(Answer::Account)),
        Export::Sync(indices) => ("sync", indices.load(&mut *store, &instance)?.call_sync(store).await.map(Answer::Outcome)),
    };
    // Whatever fails while the guest is entered, in its own code or in the host's, has the guest's stack with it: without one it had returned already.
    let returned = |error: &Error| error.downcast_ref::<WasmBacktrace>().is_none() && error.downcast_ref::<Trap>().is_none();
    answer.map_err(|error| if returned(&error) { error.context(WrongAnswer(function)) } else { error })
}

/// What a guest returned could not be read, on its way up through wasmtime.
#[derive(Debug, thiserror::Error)]
#[error("its answer to `{0}` is not of the contract's types")]
struct WrongAnswer(&'static str);

/// Called from inside the guest once a tick.
fn tick(mut cx: StoreContextMut<'_, State>, budget_ms: u64, began: Instant, wall: Duration) -> wasmtime::Result<UpdateDeadline> {
    let state = cx.data_mut();
    let used = state.meter.used();
    if used >= budget_ms.saturating_mul(1_000_000) {
        return Err(state.passed("cpu-ms", budget_ms, used / 1_000_000));
    }
    let since = began.elapsed();
    if state.meter.step() > 0 {
        if aside::is_starved(since, wall) {
            state.meter.move_on(2);
        }
    } else if aside::is_heavy(Duration::from_nanos(used), since) {
        state.meter.move_on(1);
    }
    if state.host.cancelled() {
        state.cancelled_ticks = state.cancelled_ticks.saturating_add(1);
        if state.cancelled_ticks > CANCEL_GRACE_TICKS {
            return Err(Error::new(CancelledCall));
        }
    }
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
}

/// The guest's future with its time measured and the host's panics caught.
struct Watched<'a, F> {
    guest: Pin<&'a mut F>,
    meter: &'a Meter,
}

impl<F: Future> Future for Watched<'_, F> {
    type Output = Result<F::Output, String>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let guest = &mut this.guest;
        let polled = this.meter.guest_slice(|| catch_unwind(AssertUnwindSafe(|| guest.as_mut().poll(cx))));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panicked(panic.as_ref()))),
        }
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", inert(cut(&text.unwrap_or_else(|| "without a message".into()), FRAME_BYTES)))
}

/// Bytes of a crash's message: the last words are most of it.
const MESSAGE_BYTES: usize = 800;

/// What a crash says: its cause, the connector's last words, and the functions it happened in, innermost first.
pub(crate) fn trap(error: &Error, words: Option<&str>) -> CallError {
    let said = words.map(|words| format!(": {words}")).unwrap_or_default();
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        // WASI passes on whether it was an error, and not the number.
        let how = if exit.0 == 0 { "it exited" } else { "it exited with an error" };
        return CallError::Trap { message: format!("{how}{said}"), frames: Vec::new() };
    }
    let root = error.root_cause().to_string();
    // Bounds that wasmtime counts itself; it has no types for them, only words.
    if root.starts_with("too much data is being copied") {
        return CallError::Limit { name: CALL_BYTES, limit: 0, used: 0 };
    }
    if root.contains("store handle limit exceeded") {
        return CallError::Limit { name: "handles", limit: MAX_HANDLES as u64, used: (MAX_HANDLES as u64).saturating_add(1) };
    }
    if let Some(wanted) =
        root.strip_prefix("requested len ").and_then(|rest| rest.strip_suffix(&format!(" exceeds limit {MAX_RANDOM_BYTES}")))
    {
        return CallError::Limit { name: "random-bytes", limit: MAX_RANDOM_BYTES as u64, used: wanted.parse().unwrap_or(u64::MAX) };
    }
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full)) {
        return CallError::Limit { name: "resources", limit: MAX_RESOURCES as u64, used: (MAX_RESOURCES as u64).saturating_add(1) };
    }
    let message = match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => {
            let silent = if said.is_empty() { " without a word (unreachable code: a panic or an abort)" } else { "" };
            format!("it gave up{silent}{said}")
        }
        Some(Trap::StackOverflow) => "its call stack is exhausted (endless recursion)".to_owned(),
        Some(trap) => trap.to_string(),
        None => error.downcast_ref::<WrongAnswer>().map_or_else(|| root.clone(), |wrong| format!("{wrong}: {root}")),
    };
    let frames = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    CallError::Trap { message: inert(cut(&message, MESSAGE_BYTES)), frames }
}

/// wasmtime's own rendering has the names demangled: one line a function, `N: OFFSET - MODULE!FUNCTION`.
fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let text = backtrace.to_string();
    let lines = text.lines().filter_map(|line| line.split_once('!').map(|(_, function)| inert(cut(function.trim(), FRAME_BYTES))));
    lines.take(FRAMES).collect()
}
