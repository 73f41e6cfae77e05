//! Requests of the host itself: where tokens are handed out, exchanged and revoked.
//!
//! Guests can't reach these URLs, and this reaches nothing else: the URL must be one that the manifest names for this purpose. No redirect is
//! followed (a token endpoint that redirects is a phishing page or a mistake), no recipe applies, nothing is scrubbed, since reading the secrets
//! is what these requests are for; the answer's body is therefore a [`Secret`]. Errors carry no URL: their query may hold a code.

use crate::answer;
use crate::deadline::Deadline;
use crate::decode;
use crate::egress::Egress;
use crate::explain::{refusal, shown, shown_text};
use crate::redirect::same_origin;
use crate::wire::{NoAnswer, Outgoing};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method};
use sluice_model::Grant;
use sluice_model::request::FetchError;
use sluice_vault::Secret;
use std::time::Duration;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

/// A token answer has a few KiB.
const MAX_BYTES: u64 = 1 << 20;
/// Shorter than any lease on a refresh, so that two refreshers never overlap.
const DEADLINE: Duration = Duration::from_secs(45);

/// A request of the host.
#[derive(Default)]
pub struct HostRequest {
    /// Upper case; `POST` where nothing is said.
    pub method: String,
    /// A token, revoke or exchange URL of the manifest, with its own placeholders filled in.
    pub url: String,
    /// Query parameters, in order.
    pub query: Vec<(String, Secret)>,
    /// Form fields, in order.
    pub form: Vec<(String, Secret)>,
    /// A JSON body, instead of a form.
    pub json: Option<Secret>,
    /// Headers.
    pub headers: Vec<(String, Secret)>,
    /// HTTP Basic: the client's id and secret.
    pub basic: Option<(String, Secret)>,
    /// Asks for JSON.
    pub accept_json: bool,
}

/// What came back.
pub struct HostResponse {
    /// The HTTP status.
    pub status: u16,
    /// Response headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, which may hold tokens.
    pub body: Secret,
}

/// Why there is no answer. Never holds a URL's query, a body or a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostRequestError {
    /// Not a URL of this connector's sign-in, or its address is refused. Nothing was sent.
    #[error("{0}")]
    Denied(String),
    /// Could not be put into a request.
    #[error("the sign-in request could not be made: {0}")]
    Invalid(String),
    /// Nothing reached the provider, or nothing is known to have: name, connection or TLS.
    #[error("the provider could not be reached ({0}); try again later")]
    Unreachable(&'static str),
    /// It was sent, and whether it took effect is not known.
    #[error("the provider's answer did not arrive whole ({0}); whether it took effect is not known")]
    Unanswered(String),
}

impl Egress {
    /// Sends a request of the host's own.
    ///
    /// # Errors
    /// [`HostRequestError`]: `Unanswered` where it may have taken effect.
    pub async fn host_request(&self, request: HostRequest) -> Result<HostResponse, HostRequestError> {
        let mut deadline = Deadline::after(DEADLINE.min(self.timeouts().whole));
        let outgoing = self.host_outgoing(&request)?;
        let method = outgoing.method.clone();
        let place = shown_text(&request.url);
        let denied = |why: &str| HostRequestError::Denied(refusal(self.connector(), method.as_str(), &place, why, None));
        let response = match self.wire().send(outgoing, &mut deadline).await {
            Ok(response) => response,
            Err(NoAnswer { tls: Some(why), .. }) => return Err(HostRequestError::Unreachable(why)),
            Err(NoAnswer { error, .. }) => {
                return Err(match error {
                    FetchError::Denied(why) => denied(&why),
                    FetchError::Dns => HostRequestError::Unreachable("its name does not resolve"),
                    FetchError::Connect => HostRequestError::Unreachable("no connection"),
                    other => HostRequestError::Unanswered(other.to_string()),
                });
            }
        };
        let answer = answer::read(response, &method, MAX_BYTES, self.timeouts(), &mut deadline).await;
        let answer = answer.map_err(|why| HostRequestError::Unanswered(why.to_string()))?;
        let text = |v: &HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
        let headers = answer.headers.iter().map(|(n, v)| (n.as_str().to_owned(), text(v))).collect();
        Ok(HostResponse { status: answer.status, headers, body: Secret::new(answer.body) })
    }

    fn host_outgoing(&self, request: &HostRequest) -> Result<Outgoing, HostRequestError> {
        let invalid = |why: &str| HostRequestError::Invalid(why.to_owned());
        let method = if request.method.is_empty() { "POST" } else { &request.method };
        let mut url = Grant::parse_url(&request.url).map_err(|why| HostRequestError::Invalid(why.to_string()))?;
        if !self.host_urls().any(|(declared, template)| declared.is_none_or(|m| m == method) && is_at(template, &url)) {
            let why = "it is no token, revoke or exchange URL of this connector's manifest";
            return Err(HostRequestError::Denied(refusal(self.connector(), method, &shown(&url), why, None)));
        }
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| invalid("there is no such method"))?;
        let text = |value: &Secret| value.expose_str().map(|t| Zeroizing::new(t.to_owned())).ok_or_else(|| invalid("a value is no text"));
        for (name, value) in &request.query {
            url.query_pairs_mut().append_pair(name, &text(value)?);
        }
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, self.user_agent());
        headers.insert(ACCEPT, HeaderValue::from_static(if request.accept_json { "application/json" } else { "*/*" }));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(decode::OFFERED));
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("a header's name is none"))?;
            let mut value = HeaderValue::from_bytes(value.expose()).map_err(|_| invalid("a value can't stand in a header"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        if let Some((id, secret)) = &request.basic {
            // RFC 6749 §2.3.1: both are form-encoded before they are joined.
            let encode = |t: &str| Zeroizing::new(form_urlencoded::byte_serialize(t.as_bytes()).collect::<String>());
            let pair = Zeroizing::new(format!("{}:{}", *encode(id), *encode(&text(secret)?)));
            let mut value = HeaderValue::from_str(&Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
                .map_err(|_| invalid("the client id or secret can't stand in a header"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let body = match (&request.json, request.form.is_empty()) {
            (Some(_), false) => return Err(invalid("it has a form and a JSON body")),
            (Some(json), true) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Some(Bytes::copy_from_slice(json.expose()))
            }
            (None, false) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                for (name, value) in &request.form {
                    form.append_pair(name, &text(value)?);
                }
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
                Some(Bytes::from(form.finish()))
            }
            (None, true) => None,
        };
        let target = self.upstreams().forward(url);
        Ok(Outgoing { method, url: target.url, open: target.open, headers, body })
    }
}

/// Whether a URL is a declared one; `{placeholders}` stand for one path segment each.
fn is_at(template: &str, url: &Url) -> bool {
    let Ok(template) = Url::parse(template) else { return false };
    let (declared, given): (Vec<&str>, Vec<&str>) = (template.path().split('/').collect(), url.path().split('/').collect());
    let segment = |d: &str, g: &str| if d.starts_with("%7B") && d.ends_with("%7D") { !g.is_empty() } else { d == g };
    same_origin(&template, url) && declared.len() == given.len() && declared.iter().zip(&given).all(|(d, g)| segment(d, g))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_url_is_matched_whole() {
        for (template, url, is) in [
            ("https://a.example/token", "https://a.example/token", true),
            ("https://a.example/token", "https://a.example/token?x=y", true),
            ("https://a.example/token", "https://a.example/token/x", false),
            ("https://a.example/token", "https://a.example/tokens", false),
            ("https://a.example/token", "https://a.example/", false),
            ("https://a.example/token", "http://a.example/token", false),
            ("https://a.example/token", "https://b.example/token", false),
            ("https://a.example/token", "https://a.example:8443/token", false),
            ("https://a.example/applications/{app.client-id}/grant", "https://a.example/applications/Iv1.abc/grant", true),
            ("https://a.example/applications/{app.client-id}/grant", "https://a.example/applications//grant", false),
            ("https://a.example/applications/{app.client-id}/grant", "https://a.example/applications/a/b/grant", false),
            ("https://a.example/applications/{app.client-id}/grant", "https://a.example/applications/a/token", false),
        ] {
            assert_eq!(is_at(template, &Url::parse(url).unwrap()), is, "{template} {url}");
        }
    }
}
