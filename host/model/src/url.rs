//! URLs of connectors, in the one form in which they are judged and sent.
//!
//! The problem: a grant says `/v1/me`, and a request says `/v1/me/%2e%2e/admin`. Whoever judges one reading of a URL while the server acts on another
//! has no grant at all. So a URL is brought into a normal form first, and what has more than one reading is refused instead of interpreted.
//!
//! The contract of [`parse_url`]: absolute http or https; no user name, fragment, backslash, space or control character; the host exactly as it
//! normalises (no decimal, octal, short or percent-encoded addresses, no Unicode look-alikes, no trailing dot); a path without dot segments, whether
//! plain, encoded or encoded twice, where unreserved characters stand for themselves and escapes are upper case. An encoded slash stays encoded, since
//! it is part of a name for providers that use it, but no reading of the path may hold a dot segment. Bounded by [`MAX_URL_BYTES`].

use std::fmt::Write as _;
use url::Url;

/// Methods that a connector may use at all; TRACE, CONNECT and methods of somebody's own are never sent.
pub const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// The longest URL: servers commonly stop at 8 KiB for the request line, and batch queries of some providers come close.
pub const MAX_URL_BYTES: usize = 16 << 10;

/// How often a path is decoded to look for hidden dot segments. Nested escapes beyond that are refused.
const MAX_NESTED_ESCAPES: usize = 4;

/// Why a URL is not one that Sluice would ever request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUrl(pub String);

fn bad<T>(message: impl Into<String>) -> Result<T, BadUrl> {
    Err(BadUrl(message.into()))
}

/// Parses and normalises a URL.
///
/// # Errors
/// What is wrong with it; the text never repeats the query, which may hold a key.
pub fn parse_url(text: &str) -> Result<Url, BadUrl> {
    if text.len() > MAX_URL_BYTES {
        return bad(format!("the URL has {} bytes, and {MAX_URL_BYTES} is the most", text.len()));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return bad("the URL holds a space or control character: percent-encode it");
    }
    if text.contains('\\') {
        return bad(
            "the URL holds a backslash, which servers read in different ways: percent-encode it in a query, leave it out elsewhere",
        );
    }
    if text.contains('#') {
        return bad("the URL has a fragment (#…), which is never sent: leave it out");
    }
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") => rest,
        _ => return bad("the URL is not absolute: it begins with https:// and a host"),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return bad("the URL holds a user name or password before an @: keys go into requests by [[attach]]");
    }
    let mut url = Url::parse(text).or_else(|error| bad(format!("the URL does not parse: {error}")))?;
    let (host, port) = split_port(authority);
    if port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
        return bad("the URL's port is no number between 1 and 65535");
    }
    let normal = url.host_str().unwrap_or_default();
    if normal.is_empty() || !host.eq_ignore_ascii_case(normal) {
        return bad(format!(
            "the URL's host is not written in its normal form: write {}",
            if normal.is_empty() { "a host" } else { normal }
        ));
    }
    if normal.ends_with('.') {
        return bad("the URL's host ends in a dot: leave the dot out");
    }
    // The parser resolves dot segments; what it resolved is compared with what was written, so that nothing is granted that the author did not write.
    let written = rest.get(authority.len()..).unwrap_or_default().split('?').next().unwrap_or_default();
    normal_path(written)?;
    let path = normal_path(url.path())?;
    url.set_path(&path);
    if url.path() != path {
        return bad("the URL's path has no single reading: leave dot segments and odd escapes out");
    }
    Ok(url)
}

/// `host:port`, `[::1]:port`.
pub(crate) fn split_port(authority: &str) -> (&str, Option<&str>) {
    let from = match authority.rfind(']') {
        Some(at) => at + 1,
        None if authority.starts_with('[') => return (authority, None),
        None => 0,
    };
    match authority.get(from..).and_then(|rest| rest.find(':')) {
        Some(at) => (authority.get(..from + at).unwrap_or_default(), authority.get(from + at + 1..)),
        None => (authority, None),
    }
}

/// A path in normal form: escapes upper case, unreserved characters plain, everything else that needs it escaped.
///
/// # Errors
/// A dot segment, a backslash or a control character in any reading, a broken escape, or escapes nested beyond any use.
pub fn normal_path(path: &str) -> Result<String, BadUrl> {
    check_readings(path)?;
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        at += 1;
        let byte = if byte == b'%' {
            let Some(decoded) = bytes.get(at..at + 2).and_then(hex) else {
                return bad("the URL's path has a % that begins no escape: write %25");
            };
            at += 2;
            if !is_unreserved(decoded) {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{decoded:02X}");
                continue;
            }
            decoded
        } else {
            byte
        };
        if byte.is_ascii_graphic() && !b"\"<>`{}^|".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    Ok(out)
}

fn check_readings(path: &str) -> Result<(), BadUrl> {
    let mut reading = path.as_bytes().to_vec();
    for _ in 0..=MAX_NESTED_ESCAPES {
        if reading.contains(&b'\\') || reading.iter().any(u8::is_ascii_control) {
            return bad("the URL's path holds a backslash or control character, plain or encoded: leave it out");
        }
        let hidden = |segment: &[u8]| matches!(segment.split(|b| *b == b';').next(), Some(b"." | b".."));
        if reading.split(|b| *b == b'/').any(hidden) {
            return bad("the URL's path holds a dot segment, plain or encoded: write the path that is meant");
        }
        let next = decode(&reading);
        if next == reading {
            return Ok(());
        }
        reading = next;
    }
    bad("the URL's path is percent-encoded many times over: encode it once")
}

/// Decodes each escape once; what is no escape stays.
pub(crate) fn decode(bytes: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(bytes).collect()
}

fn hex(pair: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(pair).ok()?;
    if text.bytes().all(|b| b.is_ascii_hexdigit()) { u8::from_str_radix(text, 16).ok() } else { None }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Scheme, host and port as they are compared: `https://api.github.com`, with the port only where it is not the scheme's.
#[must_use]
pub fn normal_origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Whether a path is at or below a prefix. A prefix that ends in a slash covers what is below it; another covers exactly that path and, after a slash,
/// what is below it: `/v1/me` covers `/v1/me` and `/v1/me/photo`, never `/v1/menu`.
#[must_use]
pub fn covers(prefix: &str, path: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => prefix.is_empty() || prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// A URL as it may be shown: without its query, which may hold a key.
#[must_use]
pub fn shown(url: &Url) -> String {
    let query = if url.query().is_some() { "?…" } else { "" };
    format!("{}{}{query}", normal_origin(url), url.path())
}

/// A path as the most forgiving server would read it: decoded to the end, lower case, slashes single, `;parameters` and the last slash gone. Only for
/// refusing, where a reading too many costs nothing.
pub(crate) fn forgiving_path(path: &str) -> String {
    let mut reading = path.as_bytes().to_vec();
    for _ in 0..=MAX_NESTED_ESCAPES {
        reading = decode(&reading);
    }
    let text = String::from_utf8_lossy(&reading).to_lowercase().replace('\\', "/");
    let mut out = String::new();
    for segment in text.split('/').map(|s| s.split(';').next().unwrap_or_default().trim()).filter(|s| !s.is_empty()) {
        out.push('/');
        out.push_str(segment);
    }
    out
}
