//! What every response says to the browser, whatever made it.
//!
//! The contract: no page runs a script, loads anything from elsewhere, or is shown in a frame; nothing is kept by caches save the style sheet;
//! no address of ours is told to another site. A form may only be sent to us, or to the provider that a link form of this very page leads to:
//! browsers apply `form-action` also to the redirect that answers a form, so a page names those origins by [`allow_forms_to`].

use super::site::Site;
use axum::response::Response;
use http::{HeaderName, HeaderValue, header};

/// Origins that forms of this page may end at.
#[derive(Clone, Debug, Default)]
struct FormTargets(Vec<String>);

/// Lets forms of this page be redirected to `origins`.
#[must_use]
pub fn allow_forms_to(mut response: Response, origins: Vec<String>) -> Response {
    response.extensions_mut().insert(FormTargets(origins));
    response
}

/// The Content-Security-Policy of a page.
fn policy(origins: &[String]) -> String {
    let mut targets = String::from("'self'");
    let mut seen: Vec<&str> = Vec::new();
    for origin in origins {
        // An origin has neither of these; one that does must not become a directive of its own.
        if !seen.contains(&origin.as_str()) && !origin.contains([' ', ';', ',', '\'', '*']) {
            targets.push(' ');
            targets.push_str(origin);
            seen.push(origin);
        }
    }
    format!("default-src 'none'; style-src 'self'; img-src 'self' data:; form-action {targets}; frame-ancestors 'none'; base-uri 'none'")
}

/// Puts the headers on.
pub fn apply(site: &Site, response: &mut Response) {
    let targets = response.extensions_mut().remove::<FormTargets>().unwrap_or_default();
    let policy =
        HeaderValue::from_str(&policy(&targets.0)).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if site.https() {
        // A year; subdomains are somebody else's to decide about.
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;

    fn dressed(public: &str, response: Response) -> http::HeaderMap {
        let mut response = response;
        apply(&Site::new(&public.parse().unwrap()), &mut response);
        response.headers().clone()
    }

    #[test]
    fn every_response_is_dressed() {
        let headers = dressed("http://localhost:8642", "hello".into_response());
        let policy = headers["content-security-policy"].to_str().unwrap();
        for part in ["default-src 'none'", "style-src 'self'", "form-action 'self';", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"));
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["cache-control"], "no-store");
        assert!(!headers.contains_key("strict-transport-security"), "plain http must not promise https");
        assert!(dressed("https://example.org", "x".into_response()).contains_key("strict-transport-security"));
    }

    #[test]
    fn a_link_page_names_the_provider_and_nothing_else() {
        let page =
            allow_forms_to("x".into_response(), vec!["https://github.com".into(), "https://github.com".into(), "x; script-src *".into()]);
        let headers = dressed("http://localhost:8642", page);
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("form-action 'self' https://github.com; frame"), "{policy}");
        assert!(!policy.contains("script-src"), "{policy}");
    }
}
