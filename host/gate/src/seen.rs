//! What the gate itself saw during a session: the scheduler believes this, not the guest.

use crate::scrub::Scrubber;
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
    /// What was wrong with TLS when it last failed, and with whom: the contract's word for it has no room for that.
    pub tls: Option<String>,
    /// Why the last of `denied` was refused.
    pub refusal: Option<String>,
    /// Requests that were refused as not in the grant or against the gate's rules.
    pub denied: u64,
}

/// Characters of a body that an excerpt shows.
const SHOWN: usize = 300;
/// Bytes of a body that are kept for it: what is shown, and behind it room for the rest of a secret that begins there, however it is written.
const KEPT: usize = 2048;

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
        let start = body.get(..KEPT).unwrap_or(body).to_vec();
        Self { method, url, status, kind, bytes: body.len(), start }
    }

    /// One line: control characters are replaced, since it ends up in logs and on pages. Secrets go before it is cut: half of one would not be known
    /// for what it is.
    pub(crate) fn excerpt(&self, scrubber: &Scrubber) -> String {
        let body = String::from_utf8_lossy(&self.start);
        let text: String = scrubber.text(&body).chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let kind: String = self.kind.as_deref().unwrap_or("no content type").chars().filter(|c| !c.is_control()).take(80).collect();
        let line = format!("{} {} → {}, {kind}, {} bytes: {}", self.method, shown(&self.url), self.status, self.bytes, text.trim());
        scrubber.text(&line).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_bounded_line() {
        let body = "<html>\r\n\u{1b}[31m".to_owned() + &"x".repeat(5000);
        let last = Last::new(Method::GET, Url::parse("https://api.example/x").unwrap(), 502, Some("text/html".into()), body.as_bytes());
        let text = last.excerpt(&Scrubber::default());
        assert!(text.starts_with("GET https://api.example/x → 502, text/html, 5013 bytes: <html>"), "{text}");
        assert!(text.chars().all(|c| !c.is_control()));
        assert!(text.chars().count() < 400);
    }

    #[test]
    fn a_secret_that_the_end_of_an_excerpt_would_cut_is_taken_out_first() {
        let secret = "tok_0123456789abcdefghijklmnopqrstuvwxyz";
        let every: String = secret.bytes().map(|b| format!("%{b:02X}")).collect();
        let scrubber = Scrubber::new([secret.as_bytes()]);
        for form in [secret, &every] {
            for before in [0, SHOWN - form.len() / 2, SHOWN - 9, SHOWN - 1, SHOWN] {
                let body = format!("{}{form} and more{}", "é".repeat(before), "x".repeat(5000));
                let last = Last::new(Method::GET, Url::parse("https://api.example/x").unwrap(), 500, None, body.as_bytes());
                let text = last.excerpt(&scrubber);
                assert!(!text.contains(&form[..8]), "{before}: {text}");
            }
        }
    }
}
