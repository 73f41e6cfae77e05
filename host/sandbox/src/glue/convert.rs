//! Between the contract's generated types and the model's. Texts move, they are not copied.

use crate::bindings::types;
use crate::log::{cut, inert};
use sluice_model::{Account, Day, Entry, Failure, FailureKind, FailureScope, Moment, Outcome, Sample};

/// Bytes of a failure's code.
const CODE: usize = 64;
/// Bytes of a failure's message: a few sentences.
const MESSAGE: usize = 2000;
/// Bytes of an address.
const URL: usize = 2000;
/// Bytes of a label that people see: 200 characters of any script.
pub(crate) const LABEL: usize = 800;
/// Characters of a label.
pub(crate) const LABEL_CHARS: usize = 200;
/// Bytes of an account's id, and of each route key.
pub(crate) const ACCOUNT_ID: usize = 256;
/// Route keys of an account.
pub(crate) const ROUTE_KEYS: usize = 16;

/// A moment, or why it is none.
pub(crate) fn moment(when: types::Moment) -> Result<Moment, String> {
    match when {
        types::Moment::Instant(ms) => Ok(Moment::Instant(ms)),
        types::Moment::Day(text) => text.parse::<Day>().map(Moment::Day).map_err(|wrong| wrong.to_string()),
    }
}

/// The contract's form of a moment.
pub(crate) fn moment_out(when: Moment) -> types::Moment {
    match when {
        Moment::Instant(ms) => types::Moment::Instant(ms),
        Moment::Day(day) => types::Moment::Day(day.to_string()),
    }
}

fn entry(entry: types::Entry) -> Result<Entry, String> {
    Ok(Entry {
        metric: entry.metric,
        when: moment(entry.when)?,
        end: entry.end,
        offset_minutes: entry.offset_minutes,
        id: entry.id,
        series: entry.series,
        day: entry.day,
        value: entry.value,
        samples: entry.samples.into_iter().map(|sample| Sample { offset_ms: sample.offset_ms, value: sample.value }).collect(),
        revision: entry.revision,
        detail: entry.detail,
    })
}

/// The entries, or each that has no moment and why.
pub(crate) fn entries(list: Vec<types::Entry>) -> Result<Vec<Entry>, Vec<(u32, String)>> {
    let mut out = Vec::with_capacity(list.len());
    let mut wrong = Vec::new();
    for (index, one) in (0u32..).zip(list) {
        match entry(one) {
            Ok(entry) => out.push(entry),
            Err(why) => wrong.push((index, why)),
        }
    }
    if wrong.is_empty() { Ok(out) } else { Err(wrong) }
}

/// A failure, its texts cut and made inert: people read them.
pub(crate) fn failure(failure: types::Failure) -> Failure {
    Failure {
        kind: match failure.kind {
            types::FailureKind::Unauthorized => FailureKind::Unauthorized,
            types::FailureKind::NeedsConsent => FailureKind::NeedsConsent,
            types::FailureKind::NeedsAction => FailureKind::NeedsAction,
            types::FailureKind::RateLimited => FailureKind::RateLimited,
            types::FailureKind::Transient => FailureKind::Transient,
            types::FailureKind::UnexpectedResponse => FailureKind::UnexpectedResponse,
            types::FailureKind::Misconfigured => FailureKind::Misconfigured,
            types::FailureKind::Gone => FailureKind::Gone,
            types::FailureKind::Other => FailureKind::Other,
        },
        scope: match failure.scope {
            types::FailureScope::Connection => FailureScope::Connection,
            types::FailureScope::Profile => FailureScope::Profile,
            types::FailureScope::App => FailureScope::App,
        },
        code: inert(cut(&failure.code, CODE)),
        message: inert(cut(&failure.message, MESSAGE)),
        retry_after_ms: failure.retry_after_ms,
        // Half an address leads somewhere else.
        url: failure.url.filter(|url| url.len() <= URL).map(|url| inert(&url)),
    }
}

/// An outcome.
pub(crate) fn outcome(outcome: types::Outcome) -> Outcome {
    match outcome {
        types::Outcome::Complete => Outcome::Complete,
        types::Outcome::More => Outcome::More,
    }
}

/// A label, cut and made inert.
pub(crate) fn label(text: &str) -> String {
    inert(cut(text, LABEL)).chars().take(LABEL_CHARS).collect()
}

/// An account, or the bound it passes: an id that was cut would be another account's.
pub(crate) fn account(account: types::Account) -> Result<Account, (&'static str, usize, usize)> {
    let longest = account.route_keys.iter().chain(&account.id).map(String::len).max().unwrap_or(0);
    if longest > ACCOUNT_ID {
        return Err(("account-id-bytes", ACCOUNT_ID, longest));
    }
    if account.route_keys.len() > ROUTE_KEYS {
        return Err(("route-keys", ROUTE_KEYS, account.route_keys.len()));
    }
    Ok(Account { id: account.id, label: label(&account.label), route_keys: account.route_keys })
}
