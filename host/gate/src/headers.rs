//! Which headers a guest may write, and which it gets to read.
//!
//! A guest must not shape framing (two servers that read one request differently), pose as another method, choose an encoding, or carry cookies.
//! Refused names are refused aloud: a header that is dropped in silence costs its author an evening. Values hold no CR, LF or NUL, so that one
//! header stays one header.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use sluice_model::limits::{MAX_HEADER_BYTES, MAX_HEADERS};
use sluice_model::request::Pairs;

/// Names that belong to the connection, to the gate, or to nobody.
const REFUSED: [&str; 25] = [
    "accept-encoding",
    "alt-used",
    "connection",
    "content-encoding",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-http-method",
    "x-http-method-override",
    "x-method",
    "x-method-override",
    "x-original-url",
    "x-override-method",
    "x-override-url",
    "x-rewrite-url",
];
/// Families of names.
const REFUSED_PREFIXES: [&str; 3] = ["proxy-", "sec-", "x-forwarded-"];

/// What is kept from a guest's headers when a redirect leads to another origin: nothing that could be a key under a name of the guest's own.
const KEPT_ELSEWHERE: [&str; 7] =
    ["accept", "accept-language", "content-type", "if-modified-since", "if-none-match", "if-unmodified-since", "user-agent"];

/// Names that the guest does not get to read: framing that no longer holds after decoding, and cookies, which it could not send back.
const HIDDEN: [&str; 9] = [
    "connection",
    "content-encoding",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "set-cookie",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Checks a guest's headers and turns them into the library's.
///
/// # Errors
/// Which header, and why.
pub(crate) fn from_guest(pairs: &Pairs, attached: bool, owned: &dyn Fn(&str) -> bool) -> Result<HeaderMap, String> {
    if pairs.len() > MAX_HEADERS {
        return Err(format!("{} headers, more than the {MAX_HEADERS} a request may have", pairs.len()));
    }
    let bytes: usize = pairs.iter().map(|(n, v)| n.len() + v.len()).sum();
    if bytes > MAX_HEADER_BYTES {
        return Err(format!("{bytes} bytes of headers, more than the {MAX_HEADER_BYTES} a request may have"));
    }
    let mut out = HeaderMap::with_capacity(pairs.len() + 4);
    for (name, value) in pairs {
        let shown: String = name.chars().filter(char::is_ascii_graphic).take(60).collect();
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("“{shown}” is no header name"))?;
        let lower = parsed.as_str();
        if REFUSED.contains(&lower) || REFUSED_PREFIXES.iter().any(|p| lower.starts_with(p)) {
            return Err(format!("the header {lower} is not a connector's to write"));
        }
        if attached && matches!(lower, "range" | "if-range") {
            return Err(format!("the header {lower} does not go with a key: a part of an answer can't be scrubbed safely"));
        }
        if owned(lower) {
            return Err(format!("the header {lower} belongs to a recipe of the manifest ([[attach]]): name it in `credential` instead"));
        }
        if value.bytes().any(|b| b != b'\t' && (b < 0x20 || b == 0x7f)) {
            return Err(format!("the header {lower} holds a control character"));
        }
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| format!("the value of the header {lower} is not allowed"))?;
        out.append(parsed, value);
    }
    Ok(out)
}

/// Leaves what may go to another origin.
pub(crate) fn for_another_origin(headers: &mut HeaderMap) {
    let gone: Vec<HeaderName> = headers.keys().filter(|n| !KEPT_ELSEWHERE.contains(&n.as_str())).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// Answer headers as the guest sees them, before scrubbing.
pub(crate) fn for_guest<'h>(headers: &'h HeaderMap, method: &'h Method) -> impl Iterator<Item = (&'h HeaderName, &'h HeaderValue)> {
    let length_holds = method == Method::HEAD;
    headers.iter().filter(move |(name, _)| {
        let name = name.as_str();
        !HIDDEN.contains(&name) && (length_holds || name != "content-length")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str, attached: bool) -> Result<HeaderMap, String> {
        from_guest(&vec![(name.into(), value.into())], attached, &|owned| owned == "authorization")
    }

    #[test]
    fn framing_cookies_overrides_and_owned_names_are_refused_in_any_case() {
        for name in REFUSED.iter().copied().chain([
            "proxy-authorization",
            "proxy-connection",
            "Proxy-Anything",
            "sec-fetch-mode",
            "x-forwarded-host",
        ]) {
            for name in [name.to_owned(), name.to_ascii_uppercase()] {
                let why = check(&name, "x", false).unwrap_err();
                assert!(why.contains(&name.to_ascii_lowercase()), "{why}");
            }
        }
        assert!(check("Authorization", "x", false).unwrap_err().contains("recipe"));
        for name in ["", "a b", "a:b", "a\r\nb", "host ", " host", "ho\0st", "hôst", "transfer-encoding\t"] {
            assert!(check(name, "x", false).is_err(), "{name:?}");
        }
        for value in ["a\r\nHost: b", "a\nb", "a\rb", "a\0b", "\u{1b}[0m", "\u{7f}"] {
            assert!(check("x-own", value, false).is_err(), "{value:?}");
        }
        assert!(check("x-own", "tab\tand ünïcode", false).is_ok());
        assert!(check("range", "bytes=0-1", false).is_ok());
        assert!(check("Range", "bytes=0-1", true).is_err());
        assert!(check("If-Range", "x", true).is_err());
    }

    #[test]
    fn number_and_size_are_bounded() {
        let many: Pairs = (0..65).map(|i| (format!("x-{i}"), "v".into())).collect();
        assert!(from_guest(&many, false, &|_| false).unwrap_err().contains("65 headers"));
        let large: Pairs = vec![("x-a".into(), "v".repeat(MAX_HEADER_BYTES))];
        assert!(from_guest(&large, false, &|_| false).unwrap_err().contains("bytes of headers"));
    }

    #[test]
    fn another_origin_gets_nothing_that_could_be_a_key() {
        let pairs: Pairs =
            [("accept", "a"), ("x-api-key", "k"), ("authorization", "b"), ("user-agent", "u"), ("x-github-api-version", "1")]
                .map(|(n, v)| (n.into(), v.into()))
                .into();
        let mut headers = from_guest(&pairs, false, &|_| false).unwrap();
        for_another_origin(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "user-agent"]);
    }
}
