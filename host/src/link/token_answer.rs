//! One reader for every answer of a token endpoint.
//!
//! The problem: RFC 6749 §5 is a suggestion. GitHub answers in form encoding unless asked otherwise, reports errors with status 200 and separates
//! scopes by commas; Facebook's error is an object; Instagram calls scopes `permissions`; Fitbit lists its errors; some nest the answer, some write
//! numbers as text. An answer also holds the most valuable thing there is, so that what goes wrong while reading it must never be printed.
//!
//! The contract: [`read`] is total. Any bytes give a [`TokenAnswer`] or a [`TokenError`], never a panic. An error holds no byte of the answer: codes
//! are matched against [`CODES`] and reported as that table's own text, so that an endpoint which puts a token where its error code belongs gets
//! "unlisted" into the log and no more.
//!
//! What bounds it: 64 KiB of answer, 16 KiB a token, 100 scopes of 256 bytes, lifetimes of at most ten years, serde_json's depth of 128.

use serde_json::Value;
use sluice_vault::Secret;

/// The largest answer read. Real ones have 100 bytes to 4 KiB (a token that is a signed JWT).
pub const MAX_ANSWER_BYTES: usize = 64 << 10;
/// The longest token. Header lines above 16 KiB are refused by most servers, so that a longer one could not be used.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;
const MAX_SCOPES: usize = 100;
const MAX_SCOPE_BYTES: usize = 256;
/// Ten years: longer than any connection, short enough that no sum of times overflows.
const MAX_LIFETIME_MS: i64 = 10 * 365 * 24 * 3_600_000;

/// What a token endpoint gave.
pub struct TokenAnswer {
    /// The access token.
    pub access_token: Secret,
    /// A new refresh token; `None` means that the old one stays.
    pub refresh_token: Option<Secret>,
    /// How long the access token lives; `None` where the endpoint does not say, or says nothing sensible.
    pub expires_in_ms: Option<i64>,
    /// How long the refresh token lives.
    pub refresh_expires_in_ms: Option<i64>,
    /// What was granted; `None` where the endpoint does not say, which means: what was asked for (RFC 6749 §5.1).
    pub scopes: Option<Vec<String>>,
}

/// What an endpoint's own error means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not know our app, or its secret is wrong: nobody of this app can be served.
    InvalidClient,
    /// The app is known, but registered otherwise than the manifest or `public-url` needs.
    Misregistered,
    /// The code or refresh token is no longer good: the person signs in again.
    SignInAgain,
    /// The person, or the provider's rules for the person, said no.
    Declined,
    /// It may work later.
    Transient,
    /// Anything else.
    Other,
}

/// Why there is no token. Holds nothing of the answer itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The endpoint said no.
    #[error("the token endpoint refused with status {status}: {code}")]
    Refused {
        /// What it means.
        class: Refusal,
        /// From [`CODES`], or "unlisted".
        code: &'static str,
        /// The HTTP status.
        status: u16,
    },
    /// Busy or broken; nothing can be said of the token.
    #[error("the token endpoint answered with status {0}")]
    Unavailable(u16),
    /// The status or shape is none that a token endpoint has.
    #[error("the token endpoint's answer (status {status}) cannot be read: {why}")]
    Malformed {
        /// What is wrong with it.
        why: &'static str,
        /// The HTTP status.
        status: u16,
    },
}

impl TokenError {
    /// What it means, with the shapeless ones as [`Refusal::Other`].
    #[must_use]
    pub fn class(&self) -> Refusal {
        match self {
            Self::Refused { class, .. } => *class,
            Self::Unavailable(_) => Refusal::Transient,
            Self::Malformed { .. } => Refusal::Other,
        }
    }
}

/// Error codes of RFC 6749 §4.1.2.1 and §5.2, RFC 7009, and the providers' own, with what each means.
pub const CODES: &[(&str, Refusal)] = &[
    ("invalid_client", Refusal::InvalidClient),
    ("incorrect_client_credentials", Refusal::InvalidClient),
    ("unauthorized_client", Refusal::Misregistered),
    ("redirect_uri_mismatch", Refusal::Misregistered),
    ("application_suspended", Refusal::Misregistered),
    ("unsupported_grant_type", Refusal::Misregistered),
    ("unsupported_response_type", Refusal::Misregistered),
    ("invalid_scope", Refusal::Misregistered),
    ("invalid_grant", Refusal::SignInAgain),
    ("bad_refresh_token", Refusal::SignInAgain),
    ("bad_verification_code", Refusal::SignInAgain),
    ("invalid_token", Refusal::SignInAgain),
    ("expired_token", Refusal::SignInAgain),
    ("access_denied", Refusal::Declined),
    ("unverified_user_email", Refusal::Declined),
    ("consent_required", Refusal::Declined),
    ("interaction_required", Refusal::Declined),
    ("login_required", Refusal::Declined),
    ("temporarily_unavailable", Refusal::Transient),
    ("server_error", Refusal::Transient),
    ("slow_down", Refusal::Transient),
    ("rate_limit_exceeded", Refusal::Transient),
    ("invalid_request", Refusal::Other),
    ("unsupported_token_type", Refusal::Other),
    ("oauthexception", Refusal::Other),
];

/// The table's entry for an endpoint's own code.
#[must_use]
pub fn classify(code: &str) -> (Refusal, &'static str) {
    let code = code.trim();
    CODES.iter().find(|(known, _)| known.eq_ignore_ascii_case(code)).map_or((Refusal::Other, "unlisted"), |(known, class)| (*class, known))
}

/// Reads an answer. `token_path` is the manifest's JSON pointer to the object that holds it, where it is nested.
///
/// # Errors
/// See [`TokenError`].
pub fn read(status: u16, body: &[u8], token_path: Option<&str>) -> Result<TokenAnswer, TokenError> {
    let malformed = |why| Err(TokenError::Malformed { why, status });
    // Whatever a broken server says about the token, it is not to be believed.
    if status >= 500 || matches!(status, 408 | 425 | 429) {
        return Err(TokenError::Unavailable(status));
    }
    if body.len() > MAX_ANSWER_BYTES {
        return malformed("it is larger than 64 KiB");
    }
    if (300..400).contains(&status) {
        return malformed("it is a redirect, which a token endpoint must not answer");
    }
    let Ok(text) = std::str::from_utf8(body) else { return malformed("it is no UTF-8 text") };
    let text = text.trim_start_matches('\u{feff}').trim();
    let root = match text.bytes().next() {
        None => return malformed("it is empty"),
        Some(b'{' | b'[') => match serde_json::from_str::<Value>(text) {
            Ok(value) => value,
            Err(_) => return malformed("it begins like JSON and is none"),
        },
        Some(b'<') => return malformed("it is a page and no token answer"),
        Some(_) if text.contains('=') && !text.contains(char::is_whitespace) => match from_form(text) {
            Some(value) => value,
            None => return malformed("it names one field twice"),
        },
        Some(_) => return malformed("it is neither JSON nor form-encoded"),
    };
    let nested = token_path.and_then(|path| root.pointer(path));
    if let Some((class, code)) = error_of(&root).or_else(|| nested.and_then(error_of)) {
        return Err(TokenError::Refused { class, code, status });
    }
    if !(200..300).contains(&status) {
        return Err(TokenError::Refused { class: Refusal::Other, code: "no error code", status });
    }
    let holder = match token_path {
        None => &root,
        Some(_) => match nested {
            Some(value) => value,
            None => return malformed("nothing is at the manifest's token-path"),
        },
    };
    let Some(fields) = holder.as_object() else { return malformed("it is no object") };
    let access_token = match token(fields.get("access_token")) {
        Ok(Some(token)) => token,
        Ok(None) => return malformed("it has no access_token"),
        Err(why) => return malformed(why),
    };
    let refresh_token = match token(fields.get("refresh_token")) {
        Ok(token) => token,
        Err(why) => return malformed(why),
    };
    if let Some(kind) = fields.get("token_type").and_then(Value::as_str)
        && ["mac", "dpop", "pop", "hmac"].iter().any(|bound| kind.trim().eq_ignore_ascii_case(bound))
    {
        return malformed("its token_type binds the token to a key, which is not supported");
    }
    let lifetime = |names: &[&str]| names.iter().filter_map(|name| fields.get(*name)).find_map(lifetime_ms);
    Ok(TokenAnswer {
        access_token,
        refresh_token,
        expires_in_ms: lifetime(&["expires_in", "expires"]),
        refresh_expires_in_ms: lifetime(&["refresh_token_expires_in", "refresh_expires_in"]),
        scopes: ["scope", "scopes", "permissions"].iter().filter_map(|name| fields.get(*name)).find_map(scopes_of),
    })
}

/// A form as a JSON object; `None` where a name comes twice, since nobody could say which one counts.
fn from_form(text: &str) -> Option<Value> {
    let mut fields = serde_json::Map::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        if fields.insert(name.into_owned(), Value::String(value.into_owned())).is_some() {
            return None;
        }
    }
    Some(Value::Object(fields))
}

/// An error in an object, in any of the shapes seen. A falsy `error` is none.
pub(super) fn error_of(value: &Value) -> Option<(Refusal, &'static str)> {
    let fields = value.as_object()?;
    match fields.get("error") {
        None | Some(Value::Null | Value::Bool(false)) => {}
        Some(Value::String(code)) if code.is_empty() => {}
        Some(Value::String(code)) => return Some(classify(code)),
        // Facebook: an object with a number. 190 is a dead token, 1, 2, 4, 17 and 341 pass.
        Some(Value::Object(inner)) => {
            let named = inner.get("code").and_then(Value::as_str).or_else(|| inner.get("type").and_then(Value::as_str));
            return Some(match inner.get("code").and_then(Value::as_u64) {
                Some(190) => (Refusal::SignInAgain, "code 190"),
                Some(101) => (Refusal::InvalidClient, "code 101"),
                Some(1 | 2 | 4 | 17 | 341) => (Refusal::Transient, "a temporary code"),
                _ => named.map_or((Refusal::Other, "unlisted"), classify),
            });
        }
        Some(Value::Number(number)) if number.as_f64() == Some(0.0) => {}
        Some(_) => return Some((Refusal::Other, "unlisted")),
    }
    // Instagram's short-lived tokens, Fitbit's list, and what is left of OAuth 1 habits.
    if let Some(code) = fields.get("error_type").or_else(|| fields.get("error_code")).and_then(Value::as_str) {
        return Some(classify(code));
    }
    if fields.contains_key("error_message") || fields.contains_key("error_description") {
        return Some((Refusal::Other, "unlisted"));
    }
    let first = fields.get("errors")?.as_array()?.first()?;
    Some(first.get("errorType").or_else(|| first.get("code")).and_then(Value::as_str).map_or((Refusal::Other, "unlisted"), classify))
}

/// A token: visible ASCII, so that it fits a header line as it is.
fn token(value: Option<&Value>) -> Result<Option<Secret>, &'static str> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text.len() > MAX_TOKEN_BYTES => Err("a token in it is longer than 16 KiB"),
        Some(Value::String(text)) if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(Some(Secret::text(text.clone()))),
        Some(Value::String(_)) => Err("a token in it has characters that no token has"),
        Some(_) => Err("a token in it is no text"),
    }
}

/// Seconds as a number or text, to ms. Nothing, zero and less mean that it was not said: a token that had already ended would not have been given.
pub(super) fn lifetime_ms(value: &Value) -> Option<i64> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) if text.len() <= 32 => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    if !seconds.is_finite() || seconds < 1.0 {
        return None;
    }
    // The cast saturates, and the bound below is far inside what an f64 holds exactly.
    Some(((seconds.floor() * 1000.0) as i64).min(MAX_LIFETIME_MS))
}

/// Scopes by comma, space or list. What is no scope is left out: it could not have been asked for.
fn scopes_of(value: &Value) -> Option<Vec<String>> {
    let mut out: Vec<String> = Vec::new();
    let mut add = |text: &str| {
        for scope in text.split([' ', ',', '\t', '\n', '\r']) {
            let fits = !scope.is_empty() && scope.len() <= MAX_SCOPE_BYTES && scope.bytes().all(|b| b.is_ascii_graphic());
            if fits && out.len() < MAX_SCOPES && !out.iter().any(|known| known == scope) {
                out.push(scope.to_owned());
            }
        }
    };
    match value {
        Value::String(text) => add(text),
        Value::Array(items) => items.iter().filter_map(Value::as_str).for_each(add),
        _ => return None,
    }
    Some(out)
}

#[cfg(test)]
#[path = "token_answer_tests.rs"]
mod tests;
