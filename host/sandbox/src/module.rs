//! A connector that loaded: what it can do, and the three ways to enter it.

use crate::bindings::exports::sluice::connector::{identity, manifest, source};
use crate::call::{self, Answer, Entry, Export, Performed};
use crate::engine::Shared;
use crate::error::CallError;
use crate::glue::convert;
use crate::host::Host;
use crate::log::{Level, LogLine};
use crate::nobody::Nobody;
use crate::state::State;
use crate::wasi::FIXED_TIME_MS;
use sluice_model::{Account, Failure, Limits, Outcome};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wasmtime::component::InstancePre;

/// Bytes of a manifest.
const MANIFEST: u64 = 64 << 10;
/// CPU time for `describe`: a constant text takes next to none.
const DESCRIBE_CPU_MS: u64 = 1_000;
/// Time on the wall for it: a busy machine gets some patience, a sleeper does not.
const DESCRIBE_WALL_MS: u64 = 10_000;

/// What a module may use to describe itself; nobody sets it.
#[must_use]
pub fn describe_limits() -> Limits {
    Limits { cpu_ms: DESCRIBE_CPU_MS, wall_ms: DESCRIBE_WALL_MS, ..Limits::default() }
}

/// What a module can be entered for, besides describing itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exports {
    /// It can say whose account it is.
    pub identity: bool,
    /// It can bring data.
    pub source: bool,
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of the guest, ms.
    pub cpu_ms: u64,
    /// The same in µs: most calls take less than a millisecond.
    pub cpu_us: u64,
    /// Time on the wall, from the first instruction, ms.
    pub wall_ms: u64,
    /// The most linear memory it held, bytes.
    pub memory_bytes: u64,
    /// Calls into the contract's imports.
    pub host_calls: u64,
}

impl Usage {
    /// The larger of the two in each respect.
    fn or(&self, other: &Self) -> Self {
        Self {
            cpu_ms: self.cpu_ms.max(other.cpu_ms),
            cpu_us: self.cpu_us.max(other.cpu_us),
            wall_ms: self.wall_ms.max(other.wall_ms),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            host_calls: self.host_calls.max(other.host_calls),
        }
    }
}

/// How a call went; the `Host` comes back whatever happened.
pub struct Report<T> {
    /// What the connector answered, or why it did not.
    pub result: Result<T, CallError>,
    /// What was handed in.
    pub host: Box<dyn Host>,
    /// What it used.
    pub usage: Usage,
    /// What it wrote.
    pub log: Vec<LogLine>,
    /// Where it was when it was ended, innermost function first, by the names in the file; empty where it returned, or was waiting.
    pub stack: Vec<String>,
    /// What its author needs to know of a call that was ended, to stand behind the log: which limit or crash, what was used, where it was. Empty for a
    /// call that returned, or that was cancelled.
    pub closing: Vec<LogLine>,
}

/// Lines of the log that an author is shown.
const LAST_LINES: usize = 10;

impl<T> Report<T> {
    /// What the author of a connector needs to find out why a call was ended: the closing lines, and the last ones of the log before them. None for a
    /// call that returned.
    #[must_use]
    pub fn for_author(&self) -> Option<String> {
        let (first, rest) = self.closing.split_first()?;
        let mut text = first.text.clone();
        for line in rest {
            let _ = write!(text, "\n  {}", line.text);
        }
        if !self.log.is_empty() {
            text.push_str("\n  the last lines of its log:");
        }
        for line in self.log.iter().skip(self.log.len().saturating_sub(LAST_LINES)) {
            let _ = write!(text, "\n    {} {}", line.level.as_str(), line.text);
        }
        Some(text)
    }
}

/// The closing lines of a call that ended with this error.
fn closing(
    error: &CallError,
    usage: &Usage,
    stack: &[String],
    (last_call, rejected): (Option<&'static str>, Option<&str>),
    at: i64,
) -> Vec<LogLine> {
    if matches!(error, CallError::Cancelled) {
        return Vec::new();
    }
    let mut used = format!(
        "used: {}.{:03} ms of CPU in {} ms, {} KiB of memory, {} calls into the host",
        usage.cpu_us / 1000,
        usage.cpu_us % 1000,
        usage.wall_ms,
        usage.memory_bytes >> 10,
        usage.host_calls
    );
    if let Some(call) = last_call {
        let _ = write!(used, " (the last: {call})");
    }
    let stack = stack.iter().enumerate().map(|(n, function)| format!("{} {function}", if n == 0 { "in" } else { "called by" }));
    let texts = [error.to_string(), used].into_iter().chain(rejected.map(str::to_owned)).chain(stack);
    texts.map(|text| LogLine { at, level: Level::Error, text }).collect()
}

/// A compiled connector with its imports resolved. Cheap to clone; calls don't disturb each other.
#[derive(Clone)]
pub struct Module(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    pre: InstancePre<State>,
    describe: manifest::GuestIndices,
    identify: Option<identity::GuestIndices>,
    sync: Option<source::GuestIndices>,
    facts: Facts,
    /// Its last call computed for long, or was ended.
    begins_aside: AtomicBool,
}

/// What is known of a module from loading it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) hash: [u8; 32],
    pub(crate) size: u64,
    pub(crate) compile_time: Duration,
    pub(crate) from_cache: bool,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("facts", &self.0.facts).field("exports", &self.exports()).finish_non_exhaustive()
    }
}

impl Module {
    pub(crate) fn new(shared: Arc<Shared>, pre: InstancePre<State>, exports: Exports, facts: Facts) -> wasmtime::Result<Self> {
        let describe = manifest::GuestIndices::new(&pre)?;
        let identify = exports.identity.then(|| identity::GuestIndices::new(&pre)).transpose()?;
        let sync = exports.source.then(|| source::GuestIndices::new(&pre)).transpose()?;
        Ok(Self(Arc::new(Inner { shared, pre, describe, identify, sync, facts, begins_aside: AtomicBool::new(false) })))
    }

    /// Whether a call begins on a thread of its own: the last one computed for long, or was ended.
    pub(crate) fn begins_aside(&self) -> bool {
        self.0.begins_aside.load(Ordering::Relaxed)
    }

    /// Remembers that for the next call.
    pub(crate) fn next_begins_aside(&self, aside: bool) {
        self.0.begins_aside.store(aside, Ordering::Relaxed);
    }

    /// What it shares with all others.
    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// Itself with its imports resolved.
    pub(crate) fn pre(&self) -> &InstancePre<State> {
        &self.0.pre
    }

    /// Where it is entered for that, if it can be.
    pub(crate) fn export(&self, entry: Entry) -> Option<Export<'_>> {
        match entry {
            Entry::Describe => Some(Export::Describe(&self.0.describe)),
            Entry::Identify => self.0.identify.as_ref().map(Export::Identify),
            Entry::Sync => self.0.sync.as_ref().map(Export::Sync),
        }
    }

    /// SHA-256 of the file.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.0.facts.hash
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.facts.size
    }

    /// How long it took to compile, whenever that was: the cache remembers.
    #[must_use]
    pub fn compile_time(&self) -> Duration {
        self.0.facts.compile_time
    }

    /// Whether the compiled code came from the cache.
    #[must_use]
    pub fn from_cache(&self) -> bool {
        self.0.facts.from_cache
    }

    /// What it can be entered for.
    #[must_use]
    pub fn exports(&self) -> Exports {
        Exports { identity: self.0.identify.is_some(), source: self.0.sync.is_some() }
    }

    /// The text of its manifest. Nothing is granted: one second of CPU, still clocks, and any call into the contract ends it.
    ///
    /// It is asked twice, and must answer the same: what an operator accepts is what was shown. Only the time that a timer of WASI takes could make a
    /// difference, and a connector that looks for one means no good.
    ///
    /// # Errors
    /// What ended the call; `manifest-bytes` for a text over 64 KiB; [`CallError::Changing`] for two different ones.
    pub async fn describe(&self) -> Result<String, CallError> {
        self.described().await.0
    }

    /// The same with what it used, of the two calls the dearer in each respect: each has limits of its own, [`describe_limits`].
    pub async fn described(&self) -> (Result<String, CallError>, Usage) {
        self.described_in(&describe_limits()).await
    }

    /// As [`Module::describe`], with so many milliseconds by the clock for each of the two answers: for whoever waits for it beside others.
    ///
    /// # Errors
    /// As [`Module::describe`].
    pub async fn describe_within(&self, wall_ms: u64) -> Result<String, CallError> {
        self.described_in(&Limits { wall_ms, ..describe_limits() }).await.0
    }

    async fn described_in(&self, limits: &Limits) -> (Result<String, CallError>, Usage) {
        let (first, usage) = self.describe_once(limits).await;
        let first = match first {
            Ok(first) => first,
            Err(error) => return (Err(error), usage),
        };
        let (second, more) = self.describe_once(limits).await;
        let same = second.and_then(|second| if second == first { Ok(first) } else { Err(CallError::Changing) });
        (same, usage.or(&more))
    }

    async fn describe_once(&self, limits: &Limits) -> (Result<String, CallError>, Usage) {
        let nobody = Box::new(Nobody::new(FIXED_TIME_MS));
        let state = State::new(Entry::Describe, nobody, limits, self.0.shared.max_memory_bytes);
        let performed = call::perform(self, Entry::Describe, state, limits).await;
        let text = performed.result.and_then(|answer| match answer {
            Answer::Text(text) if text.len() as u64 <= MANIFEST => Ok(text),
            Answer::Text(text) => Err(CallError::Limit { name: "manifest-bytes", limit: MANIFEST, used: text.len() as u64 }),
            Answer::Account(_) | Answer::Outcome(_) => Err(other_answer()),
        });
        (text, performed.usage)
    }

    /// Asks whose account it is.
    pub async fn identify(&self, host: Box<dyn Host>, limits: &Limits) -> Report<Result<Account, Failure>> {
        self.call(Entry::Identify, host, limits, |answer| match answer {
            Answer::Account(Ok(account)) => match convert::account(account) {
                Ok(account) => Ok(Ok(account)),
                Err((name, limit, used)) => Err(CallError::Limit { name, limit: limit as u64, used: used as u64 }),
            },
            Answer::Account(Err(failure)) => Ok(Err(convert::failure(failure))),
            Answer::Text(_) | Answer::Outcome(_) => Err(other_answer()),
        })
        .await
    }

    /// Brings data.
    pub async fn sync(&self, host: Box<dyn Host>, limits: &Limits) -> Report<Result<Outcome, Failure>> {
        self.call(Entry::Sync, host, limits, |answer| match answer {
            Answer::Outcome(outcome) => Ok(outcome.map(convert::outcome).map_err(convert::failure)),
            Answer::Text(_) | Answer::Account(_) => Err(other_answer()),
        })
        .await
    }

    async fn call<T>(
        &self,
        entry: Entry,
        host: Box<dyn Host>,
        limits: &Limits,
        read: impl FnOnce(Answer) -> Result<T, CallError>,
    ) -> Report<T> {
        if self.export(entry).is_none() {
            let result = Err(CallError::Host("this module doesn't export what it was to be entered for".into()));
            return Report { result, host, usage: Usage::default(), log: Vec::new(), stack: Vec::new(), closing: Vec::new() };
        }
        let state = State::new(entry, host, limits, self.0.shared.max_memory_bytes);
        let Performed { result, state, usage, stack } = call::perform(self, entry, state, limits).await;
        let log = state.log.take();
        let rejected = state.rejected.as_deref();
        let result = result.and_then(read);
        let closing = match &result {
            Err(error) => closing(error, &usage, &stack, (state.last_call, rejected), state.log.last_heard()),
            Ok(_) => Vec::new(),
        };
        Report { result, host: state.host, usage, log, stack, closing }
    }
}

fn other_answer() -> CallError {
    CallError::Host("another function answered than was called".into())
}
