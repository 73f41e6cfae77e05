//! What goes wrong while somebody links an account, told twice: to the person, with the next step, and to the log.
//!
//! Neither text ever holds a token, a code, a state or a secret: both are made of our own words, names from the manifest, and numbers. What a
//! provider or a connector says in its own words gets in only through [`quote`], which bounds it and takes its control characters away; and of token
//! endpoints not even that (see `token_answer`).

use super::token_answer::{Refusal, TokenError};
use super::wire::CallError;
use sluice_model::Failure;
use std::fmt;

/// What kind of thing went wrong; pages choose their status by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkErrorKind {
    /// No such connector, profile or connection.
    NotFound,
    /// The operator has something to do first.
    NotSetUp,
    /// What the person typed does not fit.
    Invalid,
    /// The answer does not belong to a sign-in of this browser: used before, someone else's, for another connector, or forged.
    NotYours,
    /// Too late.
    Expired,
    /// The person or the provider said no.
    Declined,
    /// Another account than the connection's.
    OtherAccount,
    /// The provider or the network; worth another try.
    Transient,
    /// The connector or this host failed.
    Failed,
}

/// Why an account was not linked.
#[derive(Debug)]
pub struct LinkError {
    kind: LinkErrorKind,
    public: String,
    internal: String,
}

impl LinkError {
    pub(super) fn new(kind: LinkErrorKind, public: impl Into<String>, internal: impl Into<String>) -> Self {
        Self { kind, public: public.into(), internal: internal.into() }
    }

    /// The same text for both.
    pub(super) fn plain(kind: LinkErrorKind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, public: text.clone(), internal: text }
    }

    /// For a failure that the person cannot help.
    pub(super) fn internal(internal: impl fmt::Display) -> Self {
        Self::new(
            LinkErrorKind::Failed,
            "the account was not linked: something failed inside Sluice; try again, and if it stays, look into the host's log",
            internal.to_string(),
        )
    }

    /// What kind.
    #[must_use]
    pub fn kind(&self) -> LinkErrorKind {
        self.kind
    }

    /// For the person: what happened, what to do.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }
}

/// For the log.
impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.internal)
    }
}

impl std::error::Error for LinkError {}

/// Foreign words, made fit to be shown: at most 300 characters, on one line, nothing that steers a terminal or turns text around.
#[must_use]
pub(super) fn quote(text: &str) -> String {
    let mut out: String = text
        .chars()
        .map(|c| {
            if c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}') {
                ' '
            } else {
                c
            }
        })
        .take(300)
        .collect();
    if text.chars().nth(300).is_some() {
        out.push('…');
    }
    out.trim().to_owned()
}

/// A refusal of the token endpoint while linking.
pub(super) fn token_refused(title: &str, connector: &str, profile: &str, error: &TokenError) -> LinkError {
    let internal = format!("{connector}/{profile}: {error}");
    let (kind, public) = match error.class() {
        Refusal::InvalidClient => (
            LinkErrorKind::NotSetUp,
            format!(
                "{title} does not know this host's app, or its secret is wrong; whoever runs this host checks client-id and client-secret under \
                 [connectors.{connector}.app]"
            ),
        ),
        Refusal::Misregistered => (
            LinkErrorKind::NotSetUp,
            format!(
                "{title} knows this host's app, but it is registered with another redirect URL or other permissions; whoever runs this host compares \
                 the registration with what `sluice modules show {connector}` prints"
            ),
        ),
        Refusal::SignInAgain => (LinkErrorKind::Expired, format!("{title} no longer accepts this sign-in; start it once more")),
        Refusal::Declined => {
            (LinkErrorKind::Declined, format!("{title} did not allow it; look at your account there, then start once more"))
        }
        Refusal::Transient => {
            (LinkErrorKind::Transient, format!("{title} cannot be reached properly just now; try again in a few minutes"))
        }
        Refusal::Other => (
            LinkErrorKind::Failed,
            format!("{title} answered the sign-in with something that is no token; try again, and if it stays, look into the host's log"),
        ),
    };
    LinkError::new(kind, public, internal)
}

/// A request of the sign-in that got no answer.
pub(super) fn not_answered(title: &str, connector: &str, profile: &str, error: &CallError) -> LinkError {
    let kind = if matches!(error, CallError::Refused(_)) { LinkErrorKind::Failed } else { LinkErrorKind::Transient };
    let public = match error {
        CallError::Refused(_) => format!("this host may not ask {title} for the sign-in; the log says why"),
        _ => format!("{title} did not answer; try again in a few minutes"),
    };
    LinkError::new(kind, public, format!("{connector}/{profile}: {error}"))
}

/// A connector's word that this account cannot be used.
pub(super) fn identify_failed(title: &str, connector: &str, profile: &str, failure: &Failure) -> LinkError {
    use sluice_model::FailureKind as K;
    let said = quote(&failure.message);
    let (kind, next) = match failure.kind {
        K::Unauthorized => (LinkErrorKind::Invalid, "check what you entered, or make a new key, and try once more"),
        K::NeedsConsent => (LinkErrorKind::Declined, "start once more and allow what is asked for"),
        K::NeedsAction => (LinkErrorKind::Declined, "do what is asked for at the provider, then start once more"),
        K::RateLimited | K::Transient => (LinkErrorKind::Transient, "try again in a few minutes"),
        K::Misconfigured => (LinkErrorKind::NotSetUp, "whoever runs this host looks at the app's registration and settings"),
        K::Gone => (LinkErrorKind::Invalid, "check whether the account still exists"),
        K::UnexpectedResponse | K::Other => (LinkErrorKind::Failed, "try again, and if it stays, look into the host's log"),
    };
    let mut public = format!("{title}: {said}\n  {next}");
    if let Some(url) = failure.url.as_deref().filter(|u| u.starts_with("https://")) {
        public.push_str(&format!(": {}", quote(url)));
    }
    LinkError::new(kind, public, format!("{connector}/{profile}: identify: {} ({:?}): {said}", quote(&failure.code), failure.kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_model::FailureKind;

    #[test]
    fn foreign_words_are_bounded_and_inert() {
        assert_eq!(quote("a\u{1b}[31mb\r\nc\u{202e}d"), "a [31mb  c d");
        let long = quote(&"x".repeat(1000));
        assert_eq!(long.chars().count(), 301);
    }

    #[test]
    fn every_refusal_has_a_next_step() {
        for (code, class) in super::super::token_answer::CODES {
            let error = TokenError::Refused { class: *class, code, status: 400 };
            let link = token_refused("GitHub", "github", "app", &error);
            assert!(link.public().contains("GitHub"), "{code}");
            assert!(link.to_string().contains(code), "the log has the code: {link}");
            assert!(["start", "try", "whoever", "look"].iter().any(|step| link.public().contains(step)), "{}", link.public());
        }
    }

    #[test]
    fn a_connectors_words_are_shown_with_ours() {
        let mut failure = Failure::new(FailureKind::Unauthorized, "BAD", "the token was refused");
        failure.url = Some("https://github.com/settings/tokens".into());
        let error = identify_failed("GitHub", "github", "token", &failure);
        assert_eq!(
            error.public(),
            "GitHub: the token was refused\n  check what you entered, or make a new key, and try once more: https://github.com/settings/tokens"
        );
        failure.url = Some("javascript:alert(1)".into());
        assert!(!identify_failed("GitHub", "github", "token", &failure).public().contains("javascript"));
    }
}
