//! Whether a form was sent by one of our own pages.
//!
//! The problem: any site can make a browser POST here, with the visitor's cookie. Two checks stand against it, and a request must pass both.
//!
//! 1. **Where it came from.** `Sec-Fetch-Site` must be `same-origin` (or `none`: the visitor's own doing), and an `Origin` that names somebody
//!    must name us. Either header may be missing: browsers send `Sec-Fetch-Site` to https and loopback only, so not on a home network, and with
//!    `Referrer-Policy: no-referrer` a form's `Origin` is the word `null` even on our own pages. So `null` says nothing, and alone it proves nothing:
//!    that is what the second check is for.
//! 2. **A token in the form**, derived from the host's key and the visitor's cookie: nobody without the cookie's value can have been given it.
//!    It is compared in constant time, and changes with each sign-in, since the cookie does.

use super::site::Site;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, header};
use sluice_vault::Vault;
use subtle::ConstantTimeEq as _;

/// The name of the field in every form.
pub const FIELD: &str = "csrf";

/// The token of the visitor whose cookie has this hash.
#[must_use]
pub fn token(vault: &Vault, cookie_hash: &[u8; 32]) -> String {
    let purpose = format!("web form {}", URL_SAFE_NO_PAD.encode(cookie_hash));
    URL_SAFE_NO_PAD.encode(vault.derive(&purpose))
}

/// Whether `given` is the token that was handed out; takes the same time wherever they differ.
#[must_use]
pub fn same(expected: &str, given: &str) -> bool {
    expected.as_bytes().ct_eq(given.as_bytes()).into()
}

/// Whether the headers allow that the form stood on one of our pages.
#[must_use]
pub fn came_from_here(site: &Site, headers: &HeaderMap) -> bool {
    let one = |name: &str| {
        let mut all = headers.get_all(name).iter();
        match (all.next(), all.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
            (Some(_), Some(_)) => Err(()),
        }
    };
    let (Ok(fetch), Ok(origin), Ok(host)) = (one("sec-fetch-site"), one(header::ORIGIN.as_str()), one(header::HOST.as_str())) else {
        return false;
    };
    let fetch_allows = matches!(fetch, None | Some("same-origin" | "none"));
    let origin_allows = match origin {
        None | Some("null") => true,
        Some(origin) => site.is_own_origin(origin, host),
    };
    fetch_allows && origin_allows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_from_elsewhere_is_known_by_its_headers() {
        let site = Site::new(&"http://localhost:8642".parse().unwrap());
        for (fetch, origin, allowed) in [
            (None, None, true),
            (Some("same-origin"), Some("http://localhost:8642"), true),
            (Some("same-origin"), Some("null"), true),
            (Some("none"), None, true),
            (None, Some("http://localhost:8642"), true),
            (Some("cross-site"), Some("null"), false),
            (Some("cross-site"), None, false),
            (Some("same-site"), Some("http://localhost:9000"), false),
            (Some("same-origin"), Some("https://evil.example"), false),
            (None, Some("https://evil.example"), false),
            (None, Some("http://localhost:8642.evil.example"), false),
            (Some("whatever"), None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "localhost:8642".parse().unwrap());
            if let Some(fetch) = fetch {
                headers.insert("sec-fetch-site", fetch.parse().unwrap());
            }
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(came_from_here(&site, &headers), allowed, "{fetch:?} {origin:?}");
        }
    }

    #[test]
    fn a_header_that_comes_twice_is_refused() {
        let site = Site::new(&"http://localhost:8642".parse().unwrap());
        let mut headers = HeaderMap::new();
        headers.append(header::ORIGIN, "http://localhost:8642".parse().unwrap());
        headers.append(header::ORIGIN, "http://evil.example".parse().unwrap());
        assert!(!came_from_here(&site, &headers));
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same("abc", "abc"));
        assert!(!same("abc", "ab"));
        assert!(!same("abc", "abd"));
        assert!(!same("abc", ""));
    }
}
