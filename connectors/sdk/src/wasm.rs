//! The contract's bindings, and the glue between them and the SDK's own types.
//!
//! Only compiled for wasm. The bindings are generated from `wit/` when the crate is built, so there is no copy that could differ from the
//! contract. The glue moves fields one by one: dull, and checked by the compiler whenever the contract changes.

use crate::day::Day;
use crate::host::{Backend, CheckpointError, Connector, Host, KeyError, KeyInfo, Level, RecordError, StateError};
use crate::http::{FetchError, Request, Response};
use crate::types::{Account, Entry, Failure, FailureKind, FailureScope, Moment, Outcome};
use std::panic::{self, PanicHookInfo};

#[allow(unsafe_code, unused_qualifications, missing_docs, clippy::all, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "source-connector",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "sluice_sdk::wasm::bindings",
    });
}

pub use bindings::export_component;
pub use bindings::exports::sluice::connector::identity::Guest as IdentityGuest;
pub use bindings::exports::sluice::connector::manifest::Guest as ManifestGuest;
pub use bindings::exports::sluice::connector::source::Guest as SourceGuest;
pub use bindings::sluice::connector::types::{Account as WitAccount, Failure as WitFailure, Outcome as WitOutcome};

use bindings::sluice::connector::{entries, http, keys, log, progress, state, task, types};

/// Runs a connector's `identify` over the bindings.
///
/// # Errors
/// What it answered.
pub fn identify<C: Connector>() -> Result<WitAccount, WitFailure> {
    panic::set_hook(Box::new(last_words));
    let mut backend = Bindings;
    let Account { id, label, route_keys } = C::identify(&mut Host::new(&mut backend)).map_err(|f| failure(&f))?;
    Ok(WitAccount { id, label, route_keys })
}

/// Runs a connector's `sync` over the bindings.
///
/// # Errors
/// What it answered.
pub fn sync<C: Connector>() -> Result<WitOutcome, WitFailure> {
    panic::set_hook(Box::new(last_words));
    let mut backend = Bindings;
    match C::sync(&mut Host::new(&mut backend)) {
        Ok(Outcome::Complete) => Ok(WitOutcome::Complete),
        Ok(Outcome::More) => Ok(WitOutcome::More),
        Err(f) => Err(failure(&f)),
    }
}

/// Bytes of a panic's message that go into the log.
const PANIC_BYTES: usize = 2000;

/// Puts a panic into the run's log as one error, with its place: the host quotes it where it says that the connector crashed. Not in `describe`, which may
/// call nothing of the host's; there Rust's own words on standard error have to do.
fn last_words(info: &PanicHookInfo<'_>) {
    let text = info.payload_as_str().unwrap_or("without a message");
    let text = text.get(..text.floor_char_boundary(PANIC_BYTES)).unwrap_or_default();
    let place = info.location().map(|at| format!(" at {at}")).unwrap_or_default();
    log::write(log::Level::Error, &format!("panicked{place}: {text}"));
}

/// The contract's imports.
struct Bindings;

fn moment(moment: Moment) -> types::Moment {
    match moment {
        Moment::Instant(ms) => types::Moment::Instant(ms),
        Moment::Day(day) => types::Moment::Day(day.to_string()),
    }
}

fn from_moment(moment: types::Moment) -> Option<Moment> {
    match moment {
        types::Moment::Instant(ms) => Some(Moment::Instant(ms)),
        types::Moment::Day(day) => day.parse::<Day>().ok().map(Moment::Day),
    }
}

fn entry(e: Entry) -> types::Entry {
    types::Entry {
        metric: e.metric,
        when: moment(e.when),
        end: e.end,
        offset_minutes: e.offset_minutes,
        id: e.id,
        series: e.series,
        day: e.day.map(|day| day.to_string()),
        value: e.value,
        samples: e.samples.iter().map(|s| types::Sample { offset_ms: s.offset_ms, value: s.value }).collect(),
        revision: e.revision,
        detail: e.detail,
    }
}

fn failure(f: &Failure) -> WitFailure {
    WitFailure {
        kind: match f.kind {
            FailureKind::Unauthorized => types::FailureKind::Unauthorized,
            FailureKind::NeedsConsent => types::FailureKind::NeedsConsent,
            FailureKind::NeedsAction => types::FailureKind::NeedsAction,
            FailureKind::RateLimited => types::FailureKind::RateLimited,
            FailureKind::Transient => types::FailureKind::Transient,
            FailureKind::UnexpectedResponse => types::FailureKind::UnexpectedResponse,
            FailureKind::Misconfigured => types::FailureKind::Misconfigured,
            FailureKind::Gone => types::FailureKind::Gone,
            FailureKind::Other => types::FailureKind::Other,
        },
        scope: match f.scope {
            FailureScope::Connection => types::FailureScope::Connection,
            FailureScope::Profile => types::FailureScope::Profile,
            FailureScope::App => types::FailureScope::App,
        },
        code: f.code.clone(),
        message: f.message.clone(),
        retry_after_ms: f.retry_after_ms,
        url: f.url.clone(),
    }
}

fn request(r: &Request) -> http::Request {
    http::Request {
        method: r.method.clone(),
        url: r.url.clone(),
        headers: r.headers.clone(),
        body: r.body.clone(),
        credential: r.credential.clone(),
        follow_redirects: r.follow_redirects,
    }
}

fn response(r: http::Response) -> Response {
    Response { status: r.status, url: r.url, headers: r.headers, body: r.body }
}

fn fetch_error(e: http::Error) -> FetchError {
    match e {
        http::Error::Denied(why) => FetchError::Denied(why),
        http::Error::QuotaExhausted(ms) => FetchError::QuotaExhausted(ms),
        http::Error::Timeout => FetchError::Timeout,
        http::Error::Dns => FetchError::Dns,
        http::Error::Connect => FetchError::Connect,
        http::Error::Tls => FetchError::Tls,
        http::Error::Interrupted => FetchError::Interrupted,
        http::Error::TooLarge(max) => FetchError::TooLarge(max),
        http::Error::Cancelled => FetchError::Cancelled,
        http::Error::Other(why) => FetchError::Other(why),
    }
}

fn record_error(e: entries::Error) -> RecordError {
    match e {
        entries::Error::Rejected(list) => RecordError::Rejected(list.into_iter().map(|r| (r.index, r.why)).collect()),
        entries::Error::TooMany(max) => RecordError::TooMany(max),
        entries::Error::Other(why) => RecordError::Other(why),
    }
}

fn key_error(e: keys::Error) -> KeyError {
    match e {
        keys::Error::HeldByHost => KeyError::HeldByHost,
        keys::Error::TooLarge(max) => KeyError::TooLarge(max),
        keys::Error::Other(why) => KeyError::Other(why),
    }
}

impl Backend for Bindings {
    fn fetch(&mut self, r: &Request) -> Result<Response, FetchError> {
        http::fetch(&request(r)).map(response).map_err(fetch_error)
    }
    fn fetch_all(&mut self, requests: &[Request]) -> Vec<Result<Response, FetchError>> {
        let requests: Vec<_> = requests.iter().map(request).collect();
        http::fetch_all(&requests).into_iter().map(|answer| answer.map(response).map_err(fetch_error)).collect()
    }
    fn record(&mut self, list: Vec<Entry>) -> Result<(), RecordError> {
        let list: Vec<_> = list.into_iter().map(entry).collect();
        entries::record_entries(&list).map_err(record_error)
    }
    fn replace_window(
        &mut self,
        metric: &str,
        series: Option<&str>,
        first: Moment,
        past: Moment,
        list: Vec<Entry>,
    ) -> Result<(), RecordError> {
        let list: Vec<_> = list.into_iter().map(entry).collect();
        entries::replace_window(metric, series, &moment(first), &moment(past), &list).map_err(record_error)
    }
    fn retract(&mut self, metric: &str, id: &str) -> Result<(), RecordError> {
        entries::retract(metric, id).map_err(record_error)
    }
    fn label_series(&mut self, metric: &str, series: &str, label: &str) {
        entries::label_series(metric, series, label);
    }
    fn checkpoint(&mut self, cursor: Option<&str>) -> Result<(), CheckpointError> {
        progress::checkpoint(cursor).map_err(|e| match e {
            progress::Error::Cancelled => CheckpointError::Cancelled,
            progress::Error::TooLarge(max) => CheckpointError::TooLarge(max),
            progress::Error::Other(why) => CheckpointError::Other(why),
        })
    }
    fn report(&mut self, done: u64, total: Option<u64>) {
        progress::report(done, total);
    }
    fn problem(&mut self, f: &Failure, metric: Option<&str>) {
        progress::problem(&failure(f), metric);
    }
    fn cancelled(&mut self) -> bool {
        progress::cancelled()
    }
    fn state_get(&mut self, key: &str) -> Option<Vec<u8>> {
        state::get(key)
    }
    fn state_set(&mut self, key: &str, value: &[u8]) -> Result<(), StateError> {
        state::set(key, value).map_err(|e| match e {
            state::Error::TooLarge(max) => StateError::TooLarge(max),
            state::Error::Other(why) => StateError::Other(why),
        })
    }
    fn state_delete(&mut self, key: &str) {
        state::delete(key);
    }
    fn list_keys(&mut self) -> Vec<KeyInfo> {
        let info = |k: keys::KeyInfo| KeyInfo { name: k.name, held_by_host: k.held_by_host, expires_at: k.expires_at };
        keys::list_keys().into_iter().map(info).collect()
    }
    fn key_get(&mut self, name: &str) -> Result<Option<Vec<u8>>, KeyError> {
        keys::get(name).map_err(key_error)
    }
    fn key_set(&mut self, name: &str, value: &[u8]) -> Result<(), KeyError> {
        keys::set(name, value).map_err(key_error)
    }
    fn key_delete(&mut self, name: &str) -> Result<(), KeyError> {
        keys::delete(name).map_err(key_error)
    }
    fn reason(&mut self) -> String {
        task::reason()
    }
    fn now(&mut self) -> i64 {
        task::now()
    }
    fn time_zone(&mut self) -> String {
        task::time_zone()
    }
    fn cursor(&mut self) -> Option<String> {
        task::cursor()
    }
    fn cursor_version(&mut self) -> Option<String> {
        task::cursor_version()
    }
    fn window(&mut self) -> Option<(Moment, Moment)> {
        let (first, past) = task::window()?;
        Some((from_moment(first)?, from_moment(past)?))
    }
    fn profile(&mut self) -> String {
        task::profile()
    }
    fn account_id(&mut self) -> Option<String> {
        task::account_id()
    }
    fn scopes(&mut self) -> Vec<String> {
        task::scopes()
    }
    fn setting(&mut self, name: &str) -> Option<String> {
        task::setting(name)
    }
    fn log(&mut self, level: Level, message: &str) {
        let level = match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::write(level, message);
    }
}
