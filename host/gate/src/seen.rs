//! What the gate itself saw during a session: the scheduler believes this, not the guest.

use http::Method;
use sluice_model::url::shown;
use url::Url;

/// Facts of one session so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests sent, redirect hops included.
    pub requests: u64,
    /// When the first request went out since the last [`crate::Session::take_as_of`], ms since the epoch: what comes back may be as old as that.
    pub first_request_at: Option<i64>,
    /// A request that carried a key was answered 401.
    pub unauthorized_on_attached: bool,
    /// The provider asked to wait (429, or 403 with a limit) until then, ms since the epoch.
    pub rate_limited_until: Option<i64>,
    /// The last answer's status.
    pub last_status: Option<u16>,
    /// The last answer in a few words, scrubbed: method, URL without query, status, type, size and the beginning of the body.
    pub excerpt: Option<String>,
    /// Requests that were refused as not in the grant or against the gate's rules.
    pub denied: u64,
}

/// Characters of a body that an excerpt shows.
const SHOWN: usize = 300;

/// The last answer, kept raw so that the words are only made when somebody asks.
pub(crate) struct Last {
    method: Method,
    url: Url,
    status: u16,
    kind: Option<String>,
    bytes: usize,
    start: Vec<u8>,
}

impl Last {
    pub(crate) fn new(method: Method, url: Url, status: u16, kind: Option<String>, body: &[u8]) -> Self {
        let start = body.get(..SHOWN * 2).unwrap_or(body).to_vec();
        Self { method, url, status, kind, bytes: body.len(), start }
    }

    /// One line: control characters are replaced, since it ends up in logs and on pages.
    pub(crate) fn excerpt(&self) -> String {
        let text: String = String::from_utf8_lossy(&self.start).chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let kind: String = self.kind.as_deref().unwrap_or("no content type").chars().filter(|c| !c.is_control()).take(80).collect();
        format!("{} {} → {}, {kind}, {} bytes: {}", self.method, shown(&self.url), self.status, self.bytes, text.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_bounded_line() {
        let body = "<html>\r\n\u{1b}[31m".to_owned() + &"x".repeat(5000);
        let last = Last::new(Method::GET, Url::parse("https://api.example/x").unwrap(), 502, Some("text/html".into()), body.as_bytes());
        let text = last.excerpt();
        assert!(text.starts_with("GET https://api.example/x → 502, text/html, 5013 bytes: <html>"), "{text}");
        assert!(text.chars().all(|c| !c.is_control()));
        assert!(text.chars().count() < 400);
    }
}
