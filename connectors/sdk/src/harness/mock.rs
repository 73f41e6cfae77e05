//! The contract, kept in memory: what a connector's logic calls when it is compiled for the machine at hand.
//!
//! What a run records waits in a batch; a checkpoint, or a run that ends well, moves it to the test bed; a failure or a crash drops it.
//! State and keys are read back within the run as they were set. Every call is counted, and a fault may strike at any of them.

use super::store::{Counts, Op};
use super::{Judge, Run, Sent, TestBed};
use crate::host::{Backend, CheckpointError, KeyError, KeyInfo, Level, RecordError, StateError};
use crate::http::{FetchError, Request, Response};
use crate::types::{Entry, Failure, Moment, Outcome};
use sluice_model::limits::{MAX_CURSOR_BYTES, MAX_PROBLEMS, MAX_STATE_KEY_BYTES};
use std::collections::BTreeMap;
use std::panic::resume_unwind;

/// A scripted provider.
pub type Provider<'p> = dyn FnMut(&Sent<'_>) -> Result<Response, FetchError> + 'p;

/// What goes wrong in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The connector is gone right after its n-th call to the host, as after a trap.
    CrashAfter(u64),
    /// The n-th request fails like this.
    FetchFails(u64, FetchError),
    /// From the n-th call on, the run is being cancelled.
    CancelAfter(u64),
}

/// What a run said went wrong without ending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub failure: Failure,
    /// Which metric, if it is about one.
    pub metric: Option<String>,
}

/// How a crash travels through the connector's code.
pub(super) struct Crashed;

pub(super) struct Mock<'a, 'p> {
    bed: &'a mut TestBed,
    provider: &'a mut Provider<'p>,
    fault: Fault,
    pub(super) identifying: bool,
    ops: Vec<Op>,
    waiting: u64,
    waiting_bytes: u64,
    cursor: Option<String>,
    state: BTreeMap<String, Option<Vec<u8>>>,
    keys: BTreeMap<String, Option<Vec<u8>>>,
    calls: u64,
    commits: u64,
    requests: Vec<Request>,
    problems: Vec<Problem>,
    log: Vec<String>,
    counts: Counts,
}

impl<'a, 'p> Mock<'a, 'p> {
    pub(super) fn new(bed: &'a mut TestBed, provider: &'a mut Provider<'p>, fault: Fault) -> Self {
        Self {
            bed,
            provider,
            fault,
            identifying: false,
            ops: Vec::new(),
            waiting: 0,
            waiting_bytes: 0,
            cursor: None,
            state: BTreeMap::new(),
            keys: BTreeMap::new(),
            calls: 0,
            commits: 0,
            requests: Vec::new(),
            problems: Vec::new(),
            log: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Does what has to be done of a call, and then lets the fault strike.
    fn call<T>(&mut self, what: impl FnOnce(&mut Self) -> T) -> T {
        let answer = what(self);
        self.calls += 1;
        if self.fault == Fault::CrashAfter(self.calls) {
            resume_unwind(Box::new(Crashed));
        }
        answer
    }

    fn is_cancelled(&self) -> bool {
        matches!(self.fault, Fault::CancelAfter(n) if self.calls >= n)
    }

    pub(super) fn commit(&mut self) {
        let counts = self.bed.store.apply(std::mem::take(&mut self.ops));
        self.counts.inserted += counts.inserted;
        self.counts.updated += counts.updated;
        self.counts.unchanged += counts.unchanged;
        self.counts.deleted += counts.deleted;
        (self.waiting, self.waiting_bytes) = (0, 0);
        if let Some(cursor) = self.cursor.take() {
            self.bed.cursor = Some(cursor);
        }
        merge(&mut self.bed.state, &mut self.state);
        merge(&mut self.bed.keys, &mut self.keys);
        self.commits += 1;
    }

    pub(super) fn into_run(self, result: Option<Result<Outcome, Failure>>) -> Run {
        Run {
            result,
            requests: self.requests,
            calls: self.calls,
            commits: self.commits,
            problems: self.problems,
            log: self.log,
            counts: self.counts,
        }
    }

    fn send(&mut self, request: &Request) -> Result<Response, FetchError> {
        if self.is_cancelled() {
            return Err(FetchError::Cancelled);
        }
        let attached = self.bed.judge.request(request, &self.bed.profile).map_err(FetchError::Denied)?;
        self.requests.push(request.clone());
        let n = self.requests.len() as u64;
        if n > self.bed.limits.requests {
            return Err(FetchError::Other(format!("more than {} requests in one run", self.bed.limits.requests)));
        }
        match &self.fault {
            Fault::FetchFails(at, error) if *at == n => Err(error.clone()),
            _ => (self.provider)(&Sent { request, attached }).map(|mut response| {
                if response.url.is_empty() {
                    response.url.clone_from(&request.url);
                }
                response
            }),
        }
    }

    fn take_in(&mut self, count: usize, bytes: u64) -> Result<(), RecordError> {
        if self.identifying {
            return Err(RecordError::Other("nothing can be recorded while identifying".to_owned()));
        }
        let (entries, bytes) = (self.waiting + count as u64, self.waiting_bytes + bytes);
        if entries > self.bed.limits.entries {
            return Err(RecordError::TooMany(self.bed.limits.entries));
        }
        if bytes > self.bed.limits.entry_bytes {
            return Err(RecordError::Other(format!("over {} bytes of entries since the last checkpoint", self.bed.limits.entry_bytes)));
        }
        (self.waiting, self.waiting_bytes) = (entries, bytes);
        Ok(())
    }

    fn rejected(list: Vec<(u32, String)>) -> Result<(), RecordError> {
        if list.is_empty() { Ok(()) } else { Err(RecordError::Rejected(list)) }
    }

    fn state_bytes(&self) -> usize {
        let kept = self.bed.state.iter().filter(|(key, _)| !self.state.contains_key(*key)).map(|(k, v)| k.len() + v.len());
        let set = self.state.iter().filter_map(|(k, v)| v.as_ref().map(|v| k.len() + v.len()));
        kept.chain(set).sum()
    }
}

fn merge(into: &mut BTreeMap<String, Vec<u8>>, from: &mut BTreeMap<String, Option<Vec<u8>>>) {
    for (key, value) in std::mem::take(from) {
        match value {
            Some(value) => into.insert(key, value),
            None => into.remove(&key),
        };
    }
}

impl Backend for Mock<'_, '_> {
    fn fetch(&mut self, request: &Request) -> Result<Response, FetchError> {
        self.call(|m| m.send(request))
    }
    fn fetch_all(&mut self, requests: &[Request]) -> Vec<Result<Response, FetchError>> {
        assert!(requests.len() <= 64, "fetch-all takes at most 64 requests");
        self.call(|m| requests.iter().map(|request| m.send(request)).collect())
    }
    fn record(&mut self, entries: Vec<Entry>) -> Result<(), RecordError> {
        self.call(|m| {
            let mut bad = Vec::new();
            let mut ops = Vec::with_capacity(entries.len());
            let bytes = entries.iter().map(Judge::weight).sum();
            for (index, entry) in (0..).zip(entries) {
                match m.bed.judge.entry(&entry) {
                    Ok(identity) => ops.push(Op::Put(identity, entry)),
                    Err(why) => bad.push((index, why)),
                }
            }
            Self::rejected(bad)?;
            m.take_in(ops.len(), bytes)?;
            m.ops.extend(ops);
            Ok(())
        })
    }
    fn replace_window(
        &mut self,
        metric: &str,
        series: Option<&str>,
        first: Moment,
        past: Moment,
        entries: Vec<Entry>,
    ) -> Result<(), RecordError> {
        self.call(|m| {
            let declared = m.bed.judge.metric(metric).map_err(RecordError::Other)?;
            let identity = declared.identity;
            Judge::window(declared, first, past).map_err(RecordError::Other)?;
            let judged = (0..).zip(&entries).filter_map(|(index, entry)| {
                let verdict = m.bed.judge.entry(entry).and_then(|_| Judge::inside(entry, metric, series, first, past));
                verdict.err().map(|why| (index, why))
            });
            Self::rejected(judged.collect())?;
            m.take_in(entries.len(), entries.iter().map(Judge::weight).sum())?;
            m.ops.push(Op::Replace { metric: metric.to_owned(), identity, series: series.map(str::to_owned), first, past, entries });
            Ok(())
        })
    }
    fn retract(&mut self, metric: &str, id: &str) -> Result<(), RecordError> {
        self.call(|m| {
            m.bed.judge.retract(metric, id).map_err(RecordError::Other)?;
            m.take_in(1, id.len() as u64)?;
            m.ops.push(Op::Retract { metric: metric.to_owned(), id: id.to_owned() });
            Ok(())
        })
    }
    fn label_series(&mut self, metric: &str, series: &str, label: &str) {
        self.call(|m| match m.bed.judge.label(metric, series, label) {
            Ok(()) => m.ops.push(Op::Label { metric: metric.to_owned(), series: series.to_owned(), label: label.to_owned() }),
            // A host passes over it without a word; an author should find out.
            Err(why) => m.log.push(format!("{:?}: a label was refused: {why}", Level::Warn)),
        });
    }
    fn checkpoint(&mut self, cursor: Option<&str>) -> Result<(), CheckpointError> {
        self.call(|m| {
            if m.is_cancelled() {
                return Err(CheckpointError::Cancelled);
            }
            if let Some(cursor) = cursor {
                if cursor.len() > MAX_CURSOR_BYTES {
                    return Err(CheckpointError::TooLarge(MAX_CURSOR_BYTES as u64));
                }
                m.cursor = Some(cursor.to_owned());
            }
            m.commit();
            Ok(())
        })
    }
    fn report(&mut self, _done: u64, _total: Option<u64>) {
        self.call(|_| ());
    }
    fn problem(&mut self, failure: &Failure, metric: Option<&str>) {
        self.call(|m| {
            if m.problems.len() < MAX_PROBLEMS {
                m.problems.push(Problem { failure: failure.clone(), metric: metric.map(str::to_owned) });
            }
        });
    }
    fn cancelled(&mut self) -> bool {
        self.call(|m| m.is_cancelled())
    }
    fn state_get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.call(|m| m.state.get(key).cloned().unwrap_or_else(|| m.bed.state.get(key).cloned()))
    }
    fn state_set(&mut self, key: &str, value: &[u8]) -> Result<(), StateError> {
        self.call(|m| {
            if key.is_empty() || key.len() > MAX_STATE_KEY_BYTES {
                return Err(StateError::Other("a key of the state has 1 to 256 bytes".to_owned()));
            }
            let before = m.state.insert(key.to_owned(), Some(value.to_vec()));
            if m.state_bytes() as u64 > m.bed.limits.state_bytes {
                match before {
                    Some(before) => m.state.insert(key.to_owned(), before),
                    None => m.state.remove(key),
                };
                return Err(StateError::TooLarge(m.bed.limits.state_bytes));
            }
            Ok(())
        })
    }
    fn state_delete(&mut self, key: &str) {
        self.call(|m| m.state.insert(key.to_owned(), None));
    }
    fn list_keys(&mut self) -> Vec<KeyInfo> {
        self.call(|m| m.bed.keys.keys().map(|name| KeyInfo { name: name.clone(), held_by_host: false, expires_at: None }).collect())
    }
    fn key_get(&mut self, name: &str) -> Result<Option<Vec<u8>>, KeyError> {
        self.call(|m| Ok(m.keys.get(name).cloned().unwrap_or_else(|| m.bed.keys.get(name).cloned())))
    }
    fn key_set(&mut self, name: &str, value: &[u8]) -> Result<(), KeyError> {
        self.call(|m| {
            m.keys.insert(name.to_owned(), Some(value.to_vec()));
            Ok(())
        })
    }
    fn key_delete(&mut self, name: &str) -> Result<(), KeyError> {
        self.call(|m| {
            m.keys.insert(name.to_owned(), None);
            Ok(())
        })
    }
    fn reason(&mut self) -> String {
        self.call(|m| m.bed.reason.clone())
    }
    fn now(&mut self) -> i64 {
        self.call(|m| m.bed.now)
    }
    fn time_zone(&mut self) -> String {
        self.call(|m| m.bed.time_zone.clone())
    }
    fn cursor(&mut self) -> Option<String> {
        self.call(|m| m.bed.cursor.clone())
    }
    fn cursor_version(&mut self) -> Option<String> {
        self.call(|m| m.bed.cursor.as_ref().map(|_| m.bed.judge.manifest().version.clone()))
    }
    fn window(&mut self) -> Option<(Moment, Moment)> {
        self.call(|m| m.bed.window())
    }
    fn profile(&mut self) -> String {
        self.call(|m| m.bed.profile.clone())
    }
    fn account_id(&mut self) -> Option<String> {
        self.call(|m| m.bed.account.clone())
    }
    fn scopes(&mut self) -> Vec<String> {
        self.call(|_| Vec::new())
    }
    fn setting(&mut self, name: &str) -> Option<String> {
        self.call(|m| m.bed.judge.setting(name))
    }
    fn log(&mut self, level: Level, message: &str) {
        self.call(|m| m.log.push(format!("{level:?}: {message}")));
    }
}
