//! Requests, their addresses, responses.
//!
//! A request names a recipe of the manifest where it needs the person's keys ([`Request::credential`]); the keys themselves never come in
//! here. Whatever goes into a query is percent-encoded by [`Request::query`]: names and titles from a provider hold `&`, `#` and every
//! script there is.

use crate::types::{Failure, clip};
use serde::Serialize;
use std::fmt;

/// What to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// An HTTP method, upper case.
    pub method: String,
    /// An absolute URL.
    pub url: String,
    /// Headers of the connector's own.
    pub headers: Vec<(String, String)>,
    /// The body, if any.
    pub body: Option<Vec<u8>>,
    /// The name of an `[[attach]]` recipe.
    pub credential: Option<String>,
    /// Whether redirects are followed, each hop judged anew.
    pub follow_redirects: bool,
}

impl Request {
    /// A GET, without keys, that follows no redirects.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self { method: "GET".to_owned(), url: url.into(), headers: Vec::new(), body: None, credential: None, follow_redirects: false }
    }

    /// A POST of a JSON body.
    ///
    /// # Errors
    /// The body does not serialise.
    pub fn post_json(url: impl Into<String>, body: &impl Serialize) -> Result<Self, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|e| Failure::other("request-body", format!("the request's JSON could not be written: {e}")))?;
        Ok(Self { method: "POST".to_owned(), body: Some(body), ..Self::get(url) }.header("Content-Type", "application/json"))
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With a query parameter, percent-encoded.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.url.push(if self.url.contains('?') { '&' } else { '?' });
        encode_into(&mut self.url, name);
        self.url.push('=');
        encode_into(&mut self.url, &value.to_string());
        self
    }

    /// With the person's keys, by a recipe of the manifest.
    #[must_use]
    pub fn credential(mut self, recipe: &str) -> Self {
        self.credential = Some(recipe.to_owned());
        self
    }

    /// Follows redirects.
    #[must_use]
    pub fn follow(mut self) -> Self {
        self.follow_redirects = true;
        self
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986, so that the result fits any part of a URL.
pub fn encode_into(out: &mut String, text: &str) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.extend(HEX.get(usize::from(nibble)));
            }
        }
    }
}

/// One path segment or value, percent-encoded.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    encode_into(&mut out, text);
    out
}

/// What came back, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status of the last hop.
    pub status: u16,
    /// Where it came from, after redirects.
    pub url: String,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body, with any compression undone.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// A header that holds a whole number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.header(name)?.trim().parse().ok()
    }

    /// 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text, what is no UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// Not in the grant: nothing was sent.
    Denied(String),
    /// A declared quota has nothing left for this many ms.
    QuotaExhausted(u64),
    /// No answer in time.
    Timeout,
    /// The name did not resolve.
    Dns,
    /// No connection.
    Connect,
    /// TLS failed.
    Tls,
    /// The answer ended early.
    Interrupted,
    /// The answer is over this many bytes.
    TooLarge(u64),
    /// The run is being cancelled.
    Cancelled,
    /// Anything else.
    Other(String),
}

/// What a run says that stops because the host asked it to.
#[must_use]
pub fn cancelled() -> Failure {
    Failure::transient("cancelled", "the run was cancelled; what it checkpointed stays")
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        match error {
            // The gate answers in several lines, for a terminal; a failure's message is one.
            FetchError::Denied(why) => {
                let line = why.lines().map(str::trim).collect::<Vec<_>>().join("; ");
                Self::other("denied", format!("a request was not allowed: {line}"))
            }
            FetchError::QuotaExhausted(ms) => {
                Self::rate_limited("quota-exhausted", "the provider's quota is used up; the next run comes when it is full again", Some(ms))
            }
            FetchError::Timeout => Self::transient("timeout", "the provider did not answer in time; the next run tries again"),
            FetchError::Dns => Self::transient("dns", "the provider's name could not be resolved; the next run tries again"),
            FetchError::Connect => Self::transient("connect", "the provider could not be reached; the next run tries again"),
            FetchError::Tls => Self::transient("tls", "no secure connection to the provider could be made; the next run tries again"),
            FetchError::Interrupted => {
                Self::transient("interrupted", "the provider's answer ended before it was whole; the next run tries again")
            }
            FetchError::TooLarge(max) => Self::unexpected("too-large", format!("the provider's answer is over {max} bytes")),
            FetchError::Cancelled => cancelled(),
            FetchError::Other(why) => Self::transient("network", format!("the request failed: {}", clip(&why, 200))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::FailureKind;

    #[test]
    fn queries_are_encoded_whatever_they_hold() {
        let request = Request::get("https://example.com/a").query("q", "Tom & Jerry #1 é/?").query("n", 5).query("e", "");
        assert_eq!(request.url, "https://example.com/a?q=Tom%20%26%20Jerry%20%231%20%C3%A9%2F%3F&n=5&e=");
    }

    #[test]
    fn every_way_to_get_no_answer_has_its_kind() {
        let cases = [
            (FetchError::Denied("x".into()), FailureKind::Other),
            (FetchError::QuotaExhausted(5), FailureKind::RateLimited),
            (FetchError::Timeout, FailureKind::Transient),
            (FetchError::Dns, FailureKind::Transient),
            (FetchError::Connect, FailureKind::Transient),
            (FetchError::Tls, FailureKind::Transient),
            (FetchError::Interrupted, FailureKind::Transient),
            (FetchError::TooLarge(1), FailureKind::UnexpectedResponse),
            (FetchError::Cancelled, FailureKind::Transient),
            (FetchError::Other("y".into()), FailureKind::Transient),
        ];
        for (error, kind) in cases {
            assert_eq!(Failure::from(error.clone()).kind, kind, "{error:?}");
        }
        assert_eq!(Failure::from(FetchError::QuotaExhausted(5)).retry_after_ms, Some(5));
        let denied = Failure::from(FetchError::Denied("x: GET https://a/ denied\n  granted: nothing".into()));
        assert_eq!(denied.message, "a request was not allowed: x: GET https://a/ denied; granted: nothing");
    }
}
