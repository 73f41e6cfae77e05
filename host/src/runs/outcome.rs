//! The failure table: what a run's end means for its connection. Pure: facts in, decision out.
//!
//! A guest's verdict reaches no further than its own connection. What reaches an app as a whole is decided by what the host itself saw
//! (`invalid_client` at a token exchange), by three different connections saying the same within an hour, or, for a limit shared by an app,
//! for an hour at most.

use super::backoff;
use sluice_model::{Failure, FailureKind, FailureScope, Outcome, time::Random};
use sluice_sandbox::CallError;
use sluice_store::{ConnectionState, RunOutcome};

/// The longest that a provider's word keeps a connection waiting.
pub const MAX_WAIT_MS: i64 = 24 * 3_600_000;
/// The longest that one connection's word keeps a whole app waiting.
pub const MAX_APP_WAIT_MS: i64 = 3_600_000;
/// What a limit without a time means.
pub const DEFAULT_LIMIT_MS: i64 = 15 * 60_000;
/// So many different connections of an app must say that it is misconfigured, within an hour, before the app pauses.
pub const MISCONFIGURED_CONNECTIONS: u32 = 3;

/// How the call ended, as the sandbox saw it.
pub type Ended = Result<Result<Outcome, Failure>, CallError>;

/// What the host knows beside the guest's word.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Now, ms.
    pub now: i64,
    /// Failures in a row before this run.
    pub attempts: u32,
    /// The regular interval, ms.
    pub every_ms: i64,
    /// The gate saw a 401 on a request that carried a key.
    pub unauthorized_seen: bool,
    /// A forced refresh is possible and has not been tried for this version of the key.
    pub can_refresh: bool,
    /// Until when the provider asked to wait, by its headers.
    pub limited_until: Option<i64>,
    /// When a used-up quota is full again.
    pub quota_until: Option<i64>,
    /// Nothing was recorded, and the cursor is where it was.
    pub stuck: bool,
    /// Somebody stopped this run; otherwise an interrupted one was stopped with the host.
    pub by_hand: bool,
    /// The connector's name and version, for the operator's line.
    pub connector: String,
}

/// What to do to the app as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppAction {
    /// Nothing runs for it until then.
    BlockUntil(i64),
    /// Remember that this connection says the app is misconfigured.
    NoteMisconfigured(String),
}

/// What follows from a run's end.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Refresh the key by force and run once more, at once.
    RefreshAndRetry,
    /// Write this down.
    Finish(Box<End>),
}

/// How a run is written down.
#[derive(Clone, Debug)]
pub struct End {
    /// For the run's row.
    pub outcome: RunOutcome,
    /// The guest's failure or the host's word for it.
    pub failure: Option<Failure>,
    /// The connection's state from now on.
    pub state: ConnectionState,
    /// What the person reads.
    pub message: Option<String>,
    /// Where the person can mend it.
    pub url: Option<String>,
    /// When it runs again; `None` waits for the person.
    pub next_due: Option<i64>,
    /// Why then.
    pub next_reason: String,
    /// Failures in a row.
    pub attempts: u32,
    /// What the operator should look at.
    pub flag: Option<String>,
    /// What happens to the app.
    pub app: Option<AppAction>,
}

/// Reads the table.
pub fn decide(ended: &Ended, facts: &Facts, random: &dyn Random) -> Decision {
    match ended {
        Ok(Err(failure)) if failure.kind == FailureKind::Unauthorized && facts.unauthorized_seen && facts.can_refresh => {
            Decision::RefreshAndRetry
        }
        _ => Decision::Finish(Box::new(settle(ended, facts, random))),
    }
}

/// The row of the table for an end that nothing more is tried against.
pub fn settle(ended: &Ended, facts: &Facts, random: &dyn Random) -> End {
    match ended {
        Ok(Ok(outcome)) => well(*outcome, facts, random),
        Ok(Err(failure)) => failed(failure.clone(), facts, random),
        Err(CallError::Cancelled) => cancelled(facts, random),
        Err(error) => broken(error, facts, random),
    }
}

/// An outcome in one word, as tables and programs read it.
#[must_use]
pub fn word(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Complete => "complete",
        RunOutcome::More => "more",
        RunOutcome::Running => "running",
        RunOutcome::Failed(kind) => match kind {
            FailureKind::Unauthorized => "unauthorized",
            FailureKind::NeedsConsent => "needs-consent",
            FailureKind::NeedsAction => "needs-action",
            FailureKind::RateLimited => "rate-limited",
            FailureKind::Transient => "transient",
            FailureKind::UnexpectedResponse => "unexpected-response",
            FailureKind::Misconfigured => "misconfigured",
            FailureKind::Gone => "gone",
            FailureKind::Other => "other",
        },
        _ => "interrupted",
    }
}

fn well(outcome: Outcome, facts: &Facts, random: &dyn Random) -> End {
    let (run, next_due, why) = match outcome {
        Outcome::Complete => (RunOutcome::Complete, facts.now + backoff::regular(random, facts.every_ms), "on schedule"),
        // A connector that goes round in circles does it once a minute, and not as fast as the machine can.
        Outcome::More if facts.stuck => {
            (RunOutcome::More, facts.now + backoff::FLOOR_MS, "there is more to fetch, and the last run got no further")
        }
        Outcome::More => (RunOutcome::More, facts.now, "there is more to fetch"),
    };
    // A provider that asked to wait is obeyed even when the connector made do with what it had.
    let waits = facts.limited_until.filter(|until| *until > next_due);
    End {
        outcome: run,
        failure: None,
        state: ConnectionState::Ok,
        message: None,
        url: None,
        next_due: Some(waits.map_or(next_due, |until| until.min(facts.now + MAX_WAIT_MS))),
        next_reason: if waits.is_some() { "the provider asked to wait".to_owned() } else { why.to_owned() },
        attempts: 0,
        flag: None,
        app: None,
    }
}

fn cancelled(facts: &Facts, random: &dyn Random) -> End {
    let (next_due, why) = match facts.by_hand {
        true => (facts.now + backoff::regular(random, facts.every_ms), "it was stopped by hand"),
        false => (facts.now, "the run before was interrupted"),
    };
    End {
        outcome: RunOutcome::Interrupted,
        failure: None,
        state: ConnectionState::Ok,
        message: None,
        url: None,
        next_due: Some(next_due),
        next_reason: why.to_owned(),
        attempts: facts.attempts,
        flag: None,
        app: None,
    }
}

/// A trap or a limit: the connector's fault, never the person's.
fn broken(error: &CallError, facts: &Facts, random: &dyn Random) -> End {
    let (code, text) = match error {
        CallError::Limit { name, .. } => (format!("LIMIT_{}", name.to_ascii_uppercase().replace('-', "_")), error.to_string()),
        _ => ("TRAP".to_owned(), error.to_string()),
    };
    let message = format!("The connector stopped working on this account; the operator can see why: {text}");
    let failure = Failure::new(FailureKind::Other, code, text.clone());
    let mut end = backing_off(failure, facts, random);
    end.message = Some(message);
    end.flag = Some(format!("{}: {text}", facts.connector));
    end
}

fn backing_off(failure: Failure, facts: &Facts, random: &dyn Random) -> End {
    let attempts = facts.attempts.saturating_add(1);
    let asked = failure.retry_after_ms.map(|ms| facts.now.saturating_add(i64::try_from(ms).unwrap_or(MAX_WAIT_MS)));
    let until = asked.max(facts.limited_until).unwrap_or(0).max(facts.now + backoff::after_failure(random, attempts));
    End {
        outcome: RunOutcome::Failed(failure.kind),
        state: ConnectionState::BackingOff,
        message: Some(failure.message.clone()),
        url: failure.url.clone(),
        next_due: Some(until.min(facts.now + MAX_WAIT_MS)),
        next_reason: format!("attempt {} after a failure", attempts + 1),
        attempts,
        flag: None,
        app: None,
        failure: Some(failure),
    }
}

fn waiting_for_the_person(failure: Failure, state: ConnectionState, facts: &Facts) -> End {
    End {
        outcome: RunOutcome::Failed(failure.kind),
        state,
        message: Some(failure.message.clone()),
        url: failure.url.clone(),
        next_due: None,
        next_reason: "waits for you".to_owned(),
        attempts: facts.attempts,
        flag: None,
        app: None,
        failure: Some(failure),
    }
}

fn failed(failure: Failure, facts: &Facts, random: &dyn Random) -> End {
    let flagged = |mut end: End| {
        end.flag = Some(format!("{}: {}: {}", facts.connector, failure.code, failure.message));
        end
    };
    match failure.kind {
        FailureKind::Unauthorized => waiting_for_the_person(failure, ConnectionState::NeedsSignIn, facts),
        FailureKind::NeedsConsent => waiting_for_the_person(failure, ConnectionState::NeedsConsent, facts),
        FailureKind::NeedsAction => waiting_for_the_person(failure, ConnectionState::NeedsAction, facts),
        FailureKind::Gone => waiting_for_the_person(failure, ConnectionState::Gone, facts),
        FailureKind::RateLimited => rate_limited(failure, facts),
        FailureKind::Transient => backing_off(failure, facts, random),
        FailureKind::UnexpectedResponse | FailureKind::Other => flagged(backing_off(failure.clone(), facts, random)),
        FailureKind::Misconfigured => {
            let mut end = flagged(backing_off(failure.clone(), facts, random));
            end.state = ConnectionState::Misconfigured;
            end.app = Some(AppAction::NoteMisconfigured(failure.message.clone()));
            end
        }
    }
}

/// The provider's time: what the connector read, what the gate read, else the quota's window, else a quarter of an hour.
fn rate_limited(failure: Failure, facts: &Facts) -> End {
    let said = failure.retry_after_ms.map(|ms| facts.now.saturating_add(i64::try_from(ms).unwrap_or(MAX_WAIT_MS)));
    let until = said.max(facts.limited_until).or(facts.quota_until).unwrap_or(facts.now + DEFAULT_LIMIT_MS);
    let until = until.clamp(facts.now + 1_000, facts.now + MAX_WAIT_MS);
    let app = (failure.scope != FailureScope::Connection).then(|| AppAction::BlockUntil(until.min(facts.now + MAX_APP_WAIT_MS)));
    End {
        outcome: RunOutcome::Failed(FailureKind::RateLimited),
        state: ConnectionState::RateLimited,
        message: Some(failure.message.clone()),
        url: failure.url.clone(),
        next_due: Some(until),
        next_reason: "the provider asked to wait".to_owned(),
        attempts: facts.attempts,
        flag: None,
        app,
        failure: Some(failure),
    }
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
