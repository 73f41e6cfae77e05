//! An operator's `upstream`: a URL prefix that is served from another place (GitHub Enterprise, a compatible server, a simulator).
//!
//! Guests, grants, recipes and quotas speak of the originals only. The mapping happens last on the way out and first on the way in: the URL of
//! the answer, `Location` and `Link` are mapped back. Whether a private address may be dialled is a property of one upstream, and holds for
//! nothing else.

use url::Url;

/// One mapping of URL prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The prefix in the manifest's words.
    pub from: String,
    /// Where it is served from.
    pub to: String,
    /// Whether that may be a private or loopback address.
    pub allow_private: bool,
}

struct Mapping {
    from: Url,
    to: Url,
    allow_private: bool,
}

/// All mappings of one connector.
pub(crate) struct Upstreams(Vec<Mapping>);

/// Where a request really goes.
pub(crate) struct Target {
    pub(crate) url: Url,
    /// Whether a private address is allowed there.
    pub(crate) open: bool,
}

impl Upstreams {
    /// # Errors
    /// A prefix that is no absolute http(s) URL, or carries a query, a fragment or a user.
    pub(crate) fn new(all: &[Upstream]) -> Result<Self, String> {
        let one = |u: &Upstream| Ok(Mapping { from: prefix(&u.from)?, to: prefix(&u.to)?, allow_private: u.allow_private });
        all.iter().map(one).collect::<Result<_, String>>().map(Self)
    }

    /// Where a request to an original URL goes: the longest prefix decides.
    pub(crate) fn forward(&self, original: Url) -> Target {
        let best = self.0.iter().filter_map(|m| rest(&original, &m.from).map(|rest| (m, rest))).max_by_key(|(m, _)| m.from.path().len());
        match best {
            Some((m, rest)) => Target { url: moved(&original, &m.to, rest), open: m.allow_private },
            None => Target { url: original, open: false },
        }
    }

    /// The original of a URL that an upstream wrote. Of several that fit, the one that served `near` (the request it answers) comes first.
    pub(crate) fn back(&self, real: &Url, near: &Url) -> Url {
        let best = self
            .0
            .iter()
            .filter_map(|m| rest(real, &m.to).map(|rest| (m, rest)))
            .max_by_key(|(m, _)| (m.to.path().len(), rest(near, &m.from).is_some(), m.from.path().len()));
        match best {
            Some((m, rest)) => moved(real, &m.from, rest),
            None => real.clone(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn prefix(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|why| format!("“{text}” is no URL: {why}"))?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !plain {
        return Err(format!("“{text}” is no URL prefix: write it as https://host or https://host/path"));
    }
    Ok(url)
}

/// What of `url`'s path lies below `prefix`, by whole segments: "" or "/…".
fn rest<'u>(url: &'u Url, prefix: &Url) -> Option<&'u str> {
    let same =
        url.scheme() == prefix.scheme() && url.host() == prefix.host() && url.port_or_known_default() == prefix.port_or_known_default();
    if !same {
        return None;
    }
    let rest = url.path().strip_prefix(prefix.path().trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// `url` with origin and the leading path of `to`.
fn moved(url: &Url, to: &Url, rest: &str) -> Url {
    let mut out = to.clone();
    out.set_path(&format!("{}{rest}", to.path().trim_end_matches('/')));
    out.set_query(url.query());
    out.set_fragment(url.fragment());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(from: &str, to: &str, allow_private: bool) -> Upstream {
        Upstream { from: from.into(), to: to.into(), allow_private }
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn prefixes_map_there_and_back() {
        let all = Upstreams::new(&[
            up("https://api.github.com", "https://ghe.example/api/v3", false),
            up("https://github.com", "https://ghe.example", false),
            up("https://github.com/login", "http://127.0.0.1:9000/sign-in/", true),
        ])
        .unwrap();
        for (original, real, open) in [
            ("https://api.github.com/", "https://ghe.example/api/v3/", false),
            ("https://api.github.com/user?a=b%2F", "https://ghe.example/api/v3/user?a=b%2F", false),
            ("https://github.com/x/y", "https://ghe.example/x/y", false),
            ("https://github.com/login/oauth?x", "http://127.0.0.1:9000/sign-in/oauth?x", true),
            ("https://github.com/loginx", "https://ghe.example/loginx", false),
            ("http://github.com/x", "http://github.com/x", false),
            ("https://github.com:8443/x", "https://github.com:8443/x", false),
            ("https://other.example/login", "https://other.example/login", false),
        ] {
            let to = all.forward(url(original));
            assert_eq!((to.url.as_str(), to.open), (real, open), "{original}");
            assert_eq!(all.back(&to.url, &url(original)).as_str(), original);
        }
    }

    #[test]
    fn of_two_originals_at_one_place_the_one_asked_comes_back() {
        let all =
            Upstreams::new(&[up("https://a.example", "http://127.0.0.1:1", true), up("https://b.example", "http://127.0.0.1:1", true)])
                .unwrap();
        let real = url("http://127.0.0.1:1/next?page=2");
        assert_eq!(all.back(&real, &url("https://a.example/x")).as_str(), "https://a.example/next?page=2");
        assert_eq!(all.back(&real, &url("https://b.example/x")).as_str(), "https://b.example/next?page=2");
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for bad in ["", "/x", "ftp://x/", "https://u:p@x/", "https://x/?q", "https://x/#f", "mailto:x@y", "https://"] {
            assert!(Upstreams::new(&[up(bad, "https://x", false)]).is_err(), "{bad}");
            assert!(Upstreams::new(&[up("https://x", bad, false)]).is_err(), "{bad}");
        }
    }
}
