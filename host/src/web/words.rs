//! States and outcomes in words: what is the matter, who has to do something, and which one button does it.
//!
//! Every state and every outcome has its words here, so that no page says `needs-sign-in`. Provider and connector texts stand beside these words,
//! never in their place.

use sluice_model::FailureKind;
use sluice_store::{ConnectionState, Counts, RunOutcome};

/// How a state looks: colour is never the only sign, the words say it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Sluice goes on by itself.
    Waiting,
    /// Somebody has to do something.
    Wanted,
    /// It has ended.
    Quiet,
}

impl Tone {
    /// The style sheet's class.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Waiting => "waiting",
            Self::Wanted => "wanted",
            Self::Quiet => "quiet",
        }
    }
}

/// A state in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateWords {
    /// How it looks.
    pub tone: Tone,
    /// In two to five words.
    pub headline: String,
    /// What it means, and who goes on.
    pub detail: String,
    /// The one button, when the person is wanted: it leads to signing in again.
    pub button: Option<&'static str>,
}

/// The words for a connection's state. `provider` is its title; `first` says that nothing has been fetched yet.
#[must_use]
pub fn state_words(state: ConnectionState, provider: &str, running: bool, first: bool) -> StateWords {
    let words = |tone, headline: &str, detail: String, button| StateWords { tone, headline: headline.to_owned(), detail, button };
    if running {
        let detail =
            if first { format!("The first run goes as far back as {provider} gives; it may take a while.") } else { String::new() };
        return words(Tone::Good, "Syncing now", detail, None);
    }
    match state {
        ConnectionState::Ok if first => words(Tone::Good, "Connected", "Its first run is about to begin.".to_owned(), None),
        ConnectionState::Ok => words(Tone::Good, "Up to date", String::new(), None),
        ConnectionState::BackingOff => words(
            Tone::Waiting,
            "Trying again later",
            "The last run failed. Nothing is lost; Sluice tries again by itself.".to_owned(),
            None,
        ),
        ConnectionState::RateLimited => words(
            Tone::Waiting,
            "Waiting for the provider",
            format!("{provider} asked for a pause. What came before it is kept; Sluice goes on by itself."),
            None,
        ),
        ConnectionState::NeedsSignIn => words(
            Tone::Wanted,
            "Sign in again",
            format!("{provider} no longer accepts the key. Your data is safe; new data comes once you have signed in."),
            Some("Sign in again"),
        ),
        ConnectionState::NeedsConsent => words(
            Tone::Wanted,
            "A permission is missing",
            format!("Sign in at {provider} again and allow what is asked for."),
            Some("Sign in and allow"),
        ),
        ConnectionState::NeedsAction => words(
            Tone::Wanted,
            "Something to do there",
            format!("{provider} wants something that only you can do. Do it there, then press “Sync now”."),
            None,
        ),
        ConnectionState::Misconfigured => words(
            Tone::Wanted,
            "Set up wrongly",
            format!(
                "{provider} does not accept how this Sluice is registered there. Whoever runs it finds the steps on this connection's page; Sluice tries again by itself."
            ),
            None,
        ),
        ConnectionState::Gone => words(
            Tone::Quiet,
            "The account is gone",
            format!(
                "{provider} no longer has this account. What was fetched is still here: download it, or disconnect and choose whether it stays."
            ),
            None,
        ),
        ConnectionState::Disconnected => words(
            Tone::Quiet,
            "Disconnected",
            "Nothing is fetched any more; the data that you kept is still here.".to_owned(),
            Some("Link again"),
        ),
        // A state that a newer store knows: say what is certain.
        other => words(Tone::Waiting, other.as_str(), String::new(), None),
    }
}

/// How a run ended, in words. A trap or a limit is told apart by the failure's code: the connector stopped, not the provider.
#[must_use]
pub fn outcome_words(outcome: &RunOutcome, code: Option<&str>) -> &'static str {
    match outcome {
        RunOutcome::Running => "Under way",
        RunOutcome::Complete => "Complete",
        RunOutcome::More => "More to come",
        RunOutcome::Interrupted => "Interrupted",
        RunOutcome::Failed(_) if code.is_some_and(|code| code == "TRAP" || code.starts_with("LIMIT_")) => "The connector stopped",
        RunOutcome::Failed(kind) => failure_words(*kind),
        // An outcome that a newer store knows.
        _ => "Ended",
    }
}

fn failure_words(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Unauthorized => "The key was refused",
        FailureKind::NeedsConsent => "A permission is missing",
        FailureKind::NeedsAction => "Something to do at the provider",
        FailureKind::RateLimited => "The provider asked for a pause",
        FailureKind::Transient => "The provider could not be reached",
        FailureKind::UnexpectedResponse => "An answer nobody expected",
        FailureKind::Misconfigured => "Set up wrongly",
        FailureKind::Gone => "The account is gone",
        FailureKind::Other => "Failed",
    }
}

/// What a run changed: "12 new, 3 changed", or "nothing new".
#[must_use]
pub fn counts_words(counts: &Counts) -> String {
    let parts: Vec<String> =
        [(counts.inserted, "new"), (counts.updated, "changed"), (counts.deleted, "removed"), (counts.older, "older than what is here")]
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, word)| format!("{} {word}", grouped(n)))
            .collect();
    match (parts.is_empty(), counts.unchanged) {
        (true, 0) => "nothing new".to_owned(),
        (true, n) => format!("nothing new, {} as before", grouped(n)),
        (false, _) => parts.join(", "),
    }
}

/// 1,234,567.
#[must_use]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// "1 entry", "1,204 entries".
#[must_use]
pub fn entries_words(n: u64) -> String {
    if n == 1 { "1 entry".to_owned() } else { format!("{} entries", grouped(n)) }
}

/// A value without noise: at most six digits after the point, none where there are none.
#[must_use]
pub fn value_words(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [(ConnectionState, &str, Option<&str>); 9] = [
        (ConnectionState::Ok, "Up to date", None),
        (ConnectionState::BackingOff, "Trying again later", None),
        (ConnectionState::RateLimited, "Waiting for the provider", None),
        (ConnectionState::NeedsSignIn, "Sign in again", Some("Sign in again")),
        (ConnectionState::NeedsConsent, "A permission is missing", Some("Sign in and allow")),
        (ConnectionState::NeedsAction, "Something to do there", None),
        (ConnectionState::Misconfigured, "Set up wrongly", None),
        (ConnectionState::Gone, "The account is gone", None),
        (ConnectionState::Disconnected, "Disconnected", Some("Link again")),
    ];

    #[test]
    fn every_state_has_words_and_at_most_one_button() {
        for (state, headline, button) in STATES {
            let words = state_words(state, "GitHub", false, false);
            assert_eq!(words.headline, headline);
            assert_eq!(words.button, button, "{headline}");
            assert!(!words.headline.contains('-'), "a state's internal name is no word for people");
            if words.tone != Tone::Good {
                assert!(words.detail.len() > 20, "{headline} says what it means: {}", words.detail);
            }
        }
    }

    #[test]
    fn a_run_under_way_is_said_first() {
        assert_eq!(state_words(ConnectionState::BackingOff, "GitHub", true, false).headline, "Syncing now");
        assert!(state_words(ConnectionState::Ok, "GitHub", true, true).detail.contains("as far back as GitHub gives"));
        assert_eq!(state_words(ConnectionState::Ok, "GitHub", false, true).headline, "Connected");
    }

    #[test]
    fn a_connector_that_stopped_is_told_from_a_provider_that_failed() {
        let failed = RunOutcome::Failed(FailureKind::Other);
        assert_eq!(outcome_words(&failed, Some("TRAP")), "The connector stopped");
        assert_eq!(outcome_words(&failed, Some("LIMIT_CPU")), "The connector stopped");
        assert_eq!(outcome_words(&failed, Some("HTTP_418")), "Failed");
        assert_eq!(outcome_words(&RunOutcome::Complete, None), "Complete");
        assert_eq!(outcome_words(&RunOutcome::Failed(FailureKind::RateLimited), None), "The provider asked for a pause");
    }

    #[test]
    fn counts_read_as_sentences() {
        let counts = |inserted, updated, unchanged, deleted, older| Counts { inserted, updated, unchanged, deleted, older };
        for (counts, words) in [
            (counts(0, 0, 0, 0, 0), "nothing new"),
            (counts(0, 0, 2000, 0, 0), "nothing new, 2,000 as before"),
            (counts(1234, 1, 7, 0, 0), "1,234 new, 1 changed"),
            (counts(0, 0, 0, 2, 1), "2 removed, 1 older than what is here"),
        ] {
            assert_eq!(counts_words(&counts), words);
        }
    }

    #[test]
    fn numbers_are_shown_without_noise() {
        for (value, text) in [(3.0, "3"), (0.1 + 0.2, "0.3"), (-0.0, "0"), (1234.5, "1234.5"), (-2.25, "-2.25"), (0.0, "0")] {
            assert_eq!(value_words(value), text);
        }
        assert_eq!(
            (grouped(0), grouped(999), grouped(1_000), grouped(1_234_567)),
            ("0".into(), "999".into(), "1,000".into(), "1,234,567".into())
        );
    }
}
