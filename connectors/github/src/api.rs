//! Requests as GitHub wants them, and what its refusals mean.
//!
//! The order of the questions matters. A 403 can be a limit, a missing permission, an organisation's sign-in wall: limits come first,
//! because taking one for a missing permission would ask the person for nothing, and hammering on while limited can get a token banned.
//! GitHub's own words are quoted, shortened, in what people see.

use serde::Deserialize;
use sluice_sdk::types::clip;
use sluice_sdk::{Failure, FailureKind, Request, Response, status};

/// Where everything is.
pub const API: &str = "https://api.github.com";

/// The version whose shapes this connector was written for; it is served until 2028 at least.
pub const VERSION: &str = "2022-11-28";

/// What to wait when a secondary limit names no time: GitHub's documentation says at least a minute.
const SECONDARY_WAIT_MS: u64 = 60_000;

/// A read with the person's key.
#[must_use]
pub fn get(url: impl Into<String>) -> Request {
    dressed(Request::get(url)).follow()
}

/// A GraphQL query.
///
/// # Errors
/// The query does not serialise.
pub fn graphql(query: &str, variables: &serde_json::Value) -> Result<Request, Failure> {
    let body = serde_json::json!({ "query": query, "variables": variables });
    Ok(dressed(Request::post_json(format!("{API}/graphql"), &body)?))
}

fn dressed(request: Request) -> Request {
    request
        .header("Accept", "application/vnd.github+json")
        .header("X-GitHub-Api-Version", VERSION)
        .header("User-Agent", concat!("sluice-connector-github/", env!("CARGO_PKG_VERSION")))
        .credential("user")
}

/// `Ok` for 2xx; else what the refusal means.
///
/// # Errors
/// Every other status.
pub fn check(response: &Response, what: &str, now: i64) -> Result<(), Failure> {
    let said = said(response);
    match response.status {
        200..=299 => Ok(()),
        401 => Err(Failure::unauthorized(
            "bad-credentials",
            "GitHub refuses the token: it was revoked, has ended, or is mistyped. Sign in again.",
        )
        .at("https://github.com/settings/personal-access-tokens")),
        403 | 429 if is_limited(response, &said) => Err(limited(response, &said, now)),
        403 => Err(forbidden(response, what, &said)),
        404 => Err(Failure::other("not-found", format!("GitHub has no {what}, or the token may not see it"))),
        409 => Err(Failure::other("conflict", format!("asked for {what}, GitHub answered: {}", clip(&said, 160)))),
        422 => Err(Failure::other("invalid", format!("asked for {what}, GitHub found the question invalid: {}", clip(&said, 160)))),
        451 => Err(Failure::other("unavailable", format!("GitHub blocks access to {what}"))),
        _ => status::check(response, what, now),
    }
}

/// Whether a refusal concerns what was asked for and nothing else.
#[must_use]
pub fn is_about_one_thing(code: &str) -> bool {
    matches!(code, "not-found" | "unavailable" | "invalid" | "conflict" | "search-too-many") || code.starts_with("http-4")
}

/// GitHub's own words.
fn said(response: &Response) -> String {
    #[derive(Deserialize)]
    struct Message {
        #[serde(default)]
        message: String,
    }
    sluice_sdk::json::parse::<Message>(&response.body).map(|m| m.message).unwrap_or_default()
}

fn is_limited(response: &Response, said: &str) -> bool {
    response.status == 429
        || response.number("x-ratelimit-remaining") == Some(0)
        || response.header("retry-after").is_some()
        || says_limit(said)
}

/// Whether GitHub's words speak of a limit.
#[must_use]
pub fn says_limit(said: &str) -> bool {
    said.to_ascii_lowercase().contains("rate limit")
}

/// How long a limit holds: what `Retry-After` says, else until the bucket is full again, else a minute.
#[must_use]
pub fn limited(response: &Response, said: &str, now: i64) -> Failure {
    let secondary = said.to_ascii_lowercase().contains("secondary");
    let spent = response.number("x-ratelimit-remaining") == Some(0);
    let reset = || status::until_epoch(response, "x-ratelimit-reset", now).filter(|_| spent);
    let wait = status::retry_after(response, now).or_else(reset).unwrap_or(SECONDARY_WAIT_MS);
    let code = if secondary || !spent { "secondary-rate-limit" } else { "primary-rate-limit" };
    Failure::rate_limited(code, "GitHub asks to wait: too many requests from this account, all its apps and tokens together", Some(wait))
}

fn forbidden(response: &Response, what: &str, said: &str) -> Failure {
    if let Some(url) = response.header("x-github-sso").and_then(|value| value.split("url=").nth(1)) {
        return Failure::new(
            FailureKind::NeedsAction,
            "sso",
            format!("an organisation wants the token authorised for its sign-in before it shows {what}"),
        )
        .at(url.trim());
    }
    if let Some(permissions) = response.header("x-accepted-github-permissions").filter(|p| !p.trim().is_empty()) {
        return Failure::new(
            FailureKind::NeedsConsent,
            "permission-missing",
            format!("the token may not read {what}: it needs the permission {}", clip(permissions, 120)),
        )
        .at("https://github.com/settings/personal-access-tokens");
    }
    let accepted = words(response.header("x-accepted-oauth-scopes"));
    let granted = words(response.header("x-oauth-scopes"));
    if !accepted.is_empty() && !accepted.iter().any(|scope| granted.contains(scope)) {
        return Failure::new(
            FailureKind::NeedsConsent,
            "scope-missing",
            format!("the sign-in may not read {what}: it needs one of the scopes {}", clip(&accepted.join(", "), 120)),
        );
    }
    Failure::new(FailureKind::NeedsConsent, "forbidden", format!("the token may not read {what}; GitHub says: {}", clip(said, 160)))
}

fn words(list: Option<&str>) -> Vec<&str> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty()).collect()
}
