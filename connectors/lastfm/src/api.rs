//! Requests as Last.fm wants them, and what its error numbers mean.
//!
//! The HTTP status says little: the same error has come with 200, 400, 403 and 404. So a body is first looked at for `error`, and only one
//! without it is judged by its status. Keys, session and signature are the host's; this code names a method and its parameters.

use serde::Deserialize;
use sluice_sdk::types::clip;
use sluice_sdk::{Failure, FailureKind, FailureScope, Host, Request, Response, json, status};

/// Where everything is.
pub const ROOT: &str = "https://ws.audioscrobbler.com/2.0/";

/// How long to leave Last.fm alone when it says that the key asked too often; it never says itself.
const LIMITED_WAIT_MS: u64 = 5 * 60_000;

/// How requests are made for one connection.
pub struct Api {
    /// The name to ask with, where the recipe does not name the user itself.
    user: Option<String>,
    /// The person signed in on Last.fm's page, so hidden listening can be read.
    signed_in: bool,
}

impl Api {
    /// For the profile that the person chose.
    pub fn new(host: &mut Host<'_>, account: Option<String>) -> Self {
        let signed_in = host.profile() == "web";
        Self { user: account.filter(|_| signed_in), signed_in }
    }

    /// A request of a method.
    #[must_use]
    pub fn method(&self, method: &str) -> Request {
        let request = Request::get(ROOT)
            .header("User-Agent", concat!("sluice-connector-lastfm/", env!("CARGO_PKG_VERSION")))
            .credential("user")
            .query("method", method)
            .query("format", "json");
        match &self.user {
            Some(user) => request.query("user", user),
            None => request,
        }
    }

    /// Sends a request and reads the answer as JSON of a type.
    ///
    /// # Errors
    /// No answer, an error of Last.fm's, or another shape.
    pub fn ask<T: serde::de::DeserializeOwned>(&self, host: &mut Host<'_>, request: &Request, what: &str) -> Result<T, Failure> {
        let now = host.now();
        let response = host.fetch(request)?;
        self.check(&response, what, now)?;
        response.json(what)
    }

    /// `Ok` for an answer that holds no error.
    ///
    /// # Errors
    /// What its error, or else its status, means.
    pub fn check(&self, response: &Response, what: &str, now: i64) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Refusal {
            error: i64,
            #[serde(default)]
            message: String,
        }
        if let Ok(refusal) = json::parse::<Refusal>(&response.body) {
            return Err(self.refused(refusal.error, &refusal.message, response, what, now));
        }
        match response.status {
            429 => Err(limited("http-429", response, now)),
            // Without Last.fm's own word a 401 or 403 is some proxy's, and no verdict on the person's key.
            401 | 403 => Err(Failure::unexpected(
                &format!("http-{}", response.status),
                format!("asked for {what}, something other than Last.fm answered ({}); nothing of it was stored", response.status),
            )),
            _ => status::check(response, what, now),
        }
    }

    fn refused(&self, error: i64, said: &str, response: &Response, what: &str, now: i64) -> Failure {
        let code = format!("lastfm-{error}");
        let said = clip(said, 160);
        match error {
            4 | 9 | 14 | 15 => Failure::unauthorized(&code, format!("Last.fm no longer accepts this sign-in ({said}): sign in again"))
                .at("https://www.last.fm/settings/applications"),
            17 if !self.signed_in => Failure::unauthorized(
                &code,
                "this person hides their recent listening: link again by “Sign in with Last.fm”, or show it in Last.fm's privacy settings",
            )
            .at("https://www.last.fm/settings/privacy"),
            17 => Failure::unauthorized(&code, format!("Last.fm wants a sign-in to show {what} ({said}): sign in again")),
            10 | 26 => Failure::new(
                FailureKind::Misconfigured,
                &code,
                format!("Last.fm refuses the API key ({said}): set a working one under [connectors.lastfm.app]"),
            )
            .scope(FailureScope::App)
            .at("https://www.last.fm/api/accounts"),
            6 if is_about_the_user(&said) => Failure::new(
                FailureKind::NeedsAction,
                &code,
                "Last.fm has no user of this name: it is mistyped, was renamed or deleted. Check it on Last.fm and link again.",
            ),
            8 | 11 | 16 => Failure {
                retry_after_ms: status::retry_after(response, now),
                ..Failure::transient(&code, format!("Last.fm is in trouble ({said}); the next run tries again"))
            },
            29 => limited(&code, response, now),
            13 => Failure::other(
                &code,
                format!("Last.fm found the signature wrong ({said}): check the shared secret under [connectors.lastfm.app]"),
            ),
            _ if response.status >= 500 => Failure::transient(&code, format!("Last.fm is in trouble ({said}); the next run tries again")),
            _ => Failure::other(&code, format!("asked for {what}, Last.fm refused the request (error {error}: {said})")),
        }
    }
}

/// Error 6 is any parameter that is wrong; only its words tell a missing user from a missing page.
fn is_about_the_user(said: &str) -> bool {
    said.to_ascii_lowercase().contains("user")
}

/// Whether what was asked for is a page that is not there.
#[must_use]
pub fn is_no_such_page(failure: &Failure) -> bool {
    failure.code == "lastfm-6" && failure.kind == FailureKind::Other
}

/// The limit counts by API key, so it concerns everybody who uses it.
fn limited(code: &str, response: &Response, now: i64) -> Failure {
    let wait = status::retry_after(response, now).unwrap_or(LIMITED_WAIT_MS);
    Failure::rate_limited(code, "Last.fm asks to wait: too many requests with this API key", Some(wait)).scope(FailureScope::App)
}
