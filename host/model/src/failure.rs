//! How a run ends: the scheduler's vocabulary.

use serde::{Deserialize, Serialize};

/// A run that ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything there is has been taken in.
    Complete,
    /// There is more: run again at once, behind the others that are due.
    More,
}

/// What kind of failure ended a run; the host's answer to each is in ARCHITECTURE.md, "Failures".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The key was refused.
    Unauthorized,
    /// A scope or permission is missing.
    NeedsConsent,
    /// Something that only the person can do at the provider.
    NeedsAction,
    /// The provider asked to wait.
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

/// How far the failure reaches, in the connector's opinion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureScope {
    /// This connection.
    Connection,
    /// Everyone who signed in by this profile.
    Profile,
    /// Everyone who uses this app registration.
    App,
}

/// What went wrong, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// How far it reaches.
    pub scope: FailureScope,
    /// Short and stable, for programs.
    pub code: String,
    /// For people: what happened, what to do.
    pub message: String,
    /// When to come again, ms from now.
    pub retry_after_ms: Option<u64>,
    /// Where the person can mend it.
    pub url: Option<String>,
}

impl Failure {
    /// A failure of one connection.
    #[must_use]
    pub fn new(kind: FailureKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, scope: FailureScope::Connection, code: code.into(), message: message.into(), retry_after_ms: None, url: None }
    }
}
