//! Entries, moments and failures, in the contract's words.
//!
//! Plain data without a trace of the bindings, so that the same connector code runs inside the sandbox and under the harness. What each
//! field means is said in `wit/types.wit`; here are the builders that keep a connector's own code short.

use crate::day::Day;
use serde::Serialize;

/// An instant in ms since 1970-01-01T00:00:00Z, or a civil day as the provider names it. A day is not a midnight: it has no time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// Milliseconds since the Unix epoch.
    Instant(i64),
    /// A civil day.
    Day(Day),
}

/// One point of a fine curve that belongs to an entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds after the entry's `when`, ascending.
    pub offset_ms: u32,
    /// The value there, finite.
    pub value: f64,
}

/// One recorded value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name of a declared metric.
    pub metric: String,
    /// When it was, or began.
    pub when: Moment,
    /// When it ended, ms since the epoch.
    pub end: Option<i64>,
    /// How far local time was ahead of UTC, minutes.
    pub offset_minutes: Option<i16>,
    /// The provider's id of the record.
    pub id: Option<String>,
    /// The key of the series.
    pub series: Option<String>,
    /// The civil day it counts for, when that is not the day of `when`.
    pub day: Option<Day>,
    /// The value, in the metric's unit.
    pub value: f64,
    /// A fine curve, replaced with the entry.
    pub samples: Vec<Sample>,
    /// The provider's own version: of two that carry one, the higher wins.
    pub revision: Option<u64>,
    /// A JSON object, at most 16 KiB.
    pub detail: Option<String>,
}

impl Entry {
    /// A value at an instant, ms since the epoch.
    #[must_use]
    pub fn at(metric: &str, ms: i64, value: f64) -> Self {
        Self::new(metric, Moment::Instant(ms), value)
    }

    /// A value of a civil day.
    #[must_use]
    pub fn on(metric: &str, day: Day, value: f64) -> Self {
        Self::new(metric, Moment::Day(day), value)
    }

    /// A value and nothing else said of it.
    #[must_use]
    pub fn new(metric: &str, when: Moment, value: f64) -> Self {
        Self {
            metric: metric.to_owned(),
            when,
            end: None,
            offset_minutes: None,
            id: None,
            series: None,
            day: None,
            value,
            samples: Vec::new(),
            revision: None,
            detail: None,
        }
    }

    /// With the provider's id of the record.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Of this series.
    #[must_use]
    pub fn series(mut self, series: impl Into<String>) -> Self {
        self.series = Some(series.into());
        self
    }

    /// That lasted until then, ms since the epoch.
    #[must_use]
    pub fn until(mut self, end: i64) -> Self {
        self.end = Some(end);
        self
    }

    /// Where local time was this many minutes ahead of UTC.
    #[must_use]
    pub fn offset(mut self, minutes: i16) -> Self {
        self.offset_minutes = Some(minutes);
        self
    }

    /// That counts for another day than that of its `when`.
    #[must_use]
    pub fn counts_for(mut self, day: Day) -> Self {
        self.day = Some(day);
        self
    }

    /// With the provider's own version.
    #[must_use]
    pub fn revision(mut self, revision: u64) -> Self {
        self.revision = Some(revision);
        self
    }

    /// With a fine curve.
    #[must_use]
    pub fn samples(mut self, samples: Vec<Sample>) -> Self {
        self.samples = samples;
        self
    }

    /// With what else is worth keeping: anything that serialises as a JSON object. What does not serialise is left out.
    #[must_use]
    pub fn detail(mut self, detail: &impl Serialize) -> Self {
        self.detail = serde_json::to_string(detail).ok();
        self
    }
}

/// Whose account it is at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The provider's id of the account: stable, never used again for another.
    pub id: Option<String>,
    /// What people call it.
    pub label: String,
    /// The names under which the provider's pushes speak of it.
    pub route_keys: Vec<String>,
}

impl Account {
    /// An account with an id and a name, and no pushes.
    #[must_use]
    pub fn new(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self { id: Some(id.into()), label: label.into(), route_keys: Vec::new() }
    }
}

/// How a run ended that ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything there is has been taken in.
    Complete,
    /// There is more: run again at once, behind the others that are due.
    More,
}

/// What kind of failure ended a run; it decides what the host does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The provider refuses the key.
    Unauthorized,
    /// A scope or permission is missing.
    NeedsConsent,
    /// Something that only the person can do at the provider.
    NeedsAction,
    /// The provider asks to wait.
    RateLimited,
    /// Network, 5xx, time-outs.
    Transient,
    /// The answer's shape was not the expected one.
    UnexpectedResponse,
    /// The operator's app registration or settings are wrong.
    Misconfigured,
    /// The account is no more.
    Gone,
    /// Anything else.
    Other,
}

/// How far a failure reaches, as far as the connector can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureScope {
    /// This connection.
    Connection,
    /// Everyone who signed in by this profile.
    Profile,
    /// Everyone who uses this app registration.
    App,
}

/// What went wrong, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// How far it reaches.
    pub scope: FailureScope,
    /// Short and stable, for programs.
    pub code: String,
    /// For people: what happened, what to do. Never a secret, never a whole answer.
    pub message: String,
    /// When to come again, ms from now.
    pub retry_after_ms: Option<u64>,
    /// Where the person can mend it.
    pub url: Option<String>,
}

impl Failure {
    /// A failure of this connection.
    #[must_use]
    pub fn new(kind: FailureKind, code: &str, message: impl Into<String>) -> Self {
        Self { kind, scope: FailureScope::Connection, code: code.to_owned(), message: message.into(), retry_after_ms: None, url: None }
    }

    /// The key was refused.
    #[must_use]
    pub fn unauthorized(code: &str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unauthorized, code, message)
    }

    /// It should pass by itself.
    #[must_use]
    pub fn transient(code: &str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Transient, code, message)
    }

    /// The answer did not have the expected shape.
    #[must_use]
    pub fn unexpected(code: &str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::UnexpectedResponse, code, message)
    }

    /// The provider asks to wait; `retry_after_ms` where it says how long.
    #[must_use]
    pub fn rate_limited(code: &str, message: impl Into<String>, retry_after_ms: Option<u64>) -> Self {
        Self { retry_after_ms, ..Self::new(FailureKind::RateLimited, code, message) }
    }

    /// Anything else.
    #[must_use]
    pub fn other(code: &str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Other, code, message)
    }

    /// That reaches further than this connection.
    #[must_use]
    pub fn scope(mut self, scope: FailureScope) -> Self {
        self.scope = scope;
        self
    }

    /// That the person can mend there.
    #[must_use]
    pub fn at(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }
}

/// At most `max` characters of a text, for messages: what a provider says is quoted, never poured out.
#[must_use]
pub fn clip(text: &str, max: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
