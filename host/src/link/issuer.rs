//! `iss` in a callback (RFC 9207): which authorization server does this answer come from?
//!
//! The problem is the mix-up: a person who is made to start at one provider and comes back with another's code. Each profile has a callback path
//! of its own, which stops it by itself; `iss` is the second lock where a provider sends it.
//!
//! A profile whose provider is known to send `iss` declares it (`issuer`): then it must be there, once, and equal. For the others the rule is here:
//! where it comes, it must be the authorize URL's own issuer. An issuer is the https URL under which the server publishes its endpoints (RFC 8414
//! §2), so it has the authorize URL's origin, and its path, if it has one, is whole segments at the beginning of the authorize URL's.
//! `https://a.example/realms/one` is not the issuer of `https://a.example/realms/two/authorize`.

use url::Url;

/// Whether `iss` may be the issuer of any of these authorize URLs (the manifest's own, and the one it is mapped to by the operator's upstream).
#[must_use]
pub fn is_issuer_of(iss: &str, authorize_urls: &[&Url]) -> bool {
    // Simple string comparison is what the RFC asks for; a text that the parser would first have to repair equals nothing.
    let Ok(issuer) = Url::parse(iss) else { return false };
    let repaired = issuer.as_str() != iss && issuer.as_str().strip_suffix('/') != Some(iss);
    if repaired || issuer.query().is_some() || issuer.fragment().is_some() || !issuer.username().is_empty() || issuer.password().is_some() {
        return false;
    }
    authorize_urls.iter().any(|url| {
        let base = issuer.path().trim_end_matches('/');
        issuer.origin() == url.origin()
            && url.path().strip_prefix(base).is_some_and(|rest| base.is_empty() || rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_the_origin_or_whole_leading_segments() {
        for (iss, authorize, same) in [
            ("https://github.com", "https://github.com/login/oauth/authorize", true),
            ("https://github.com/", "https://github.com/login/oauth/authorize", true),
            ("https://github.com/login/oauth", "https://github.com/login/oauth/authorize", true),
            ("https://github.com/login/oauth/", "https://github.com/login/oauth/authorize", true),
            ("https://id.example/realms/one", "https://id.example/realms/one/auth", true),
            ("https://id.example/realms/two", "https://id.example/realms/one/auth", false),
            ("https://id.example/realms/on", "https://id.example/realms/one/auth", false),
            ("https://evil.example", "https://github.com/login/oauth/authorize", false),
            ("https://github.com.evil.example", "https://github.com/login/oauth/authorize", false),
            ("https://github.com@evil.example", "https://github.com/login/oauth/authorize", false),
            ("https://user@github.com", "https://github.com/login/oauth/authorize", false),
            ("http://github.com", "https://github.com/login/oauth/authorize", false),
            ("https://github.com:8443", "https://github.com/login/oauth/authorize", false),
            ("https://GITHUB.com", "https://github.com/login/oauth/authorize", false),
            ("https://github.com/x/../login", "https://github.com/login/oauth/authorize", false),
            ("https://github.com?x", "https://github.com/login/oauth/authorize", false),
            ("https://github.com#x", "https://github.com/login/oauth/authorize", false),
            (" https://github.com", "https://github.com/login/oauth/authorize", false),
            ("github.com", "https://github.com/login/oauth/authorize", false),
            ("", "https://github.com/login/oauth/authorize", false),
        ] {
            assert_eq!(is_issuer_of(iss, &[&Url::parse(authorize).unwrap()]), same, "{iss}");
        }
    }
}
