//! Where the pages live, as their visitors see it: `public-url`, its path, and the names under which this host answers.
//!
//! The problem: a page on another site can make a browser talk to a service at home by giving its own name this machine's address (DNS
//! rebinding), and a return address taken from a query can send somebody anywhere. Both are settled here, on plain text.
//!
//! The contract: [`Site::answers_to`] is true for the host of `public-url`, for `localhost`, and for IP literals of loopback and private
//! ranges, which no foreign name can stand for. [`Site::local`] lets a return address through only if it is a path below `public-url` and can't
//! be read as another origin. Every link in a page is made by [`Site::path`], so that a `public-url` with a path holds everywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::Url;

/// The longest return address that is followed: a page with its filters fits many times.
const MAX_LOCAL: usize = 1024;

/// What follows from `public-url`.
#[derive(Clone, Debug)]
pub struct Site {
    public: Url,
    base: String,
}

impl Site {
    /// The site at `public`.
    #[must_use]
    pub fn new(public: &Url) -> Self {
        Self { public: public.clone(), base: public.path().trim_end_matches('/').to_owned() }
    }

    /// Whether visitors come over TLS, which a proxy in front ends.
    #[must_use]
    pub fn https(&self) -> bool {
        self.public.scheme() == "https"
    }

    /// The path of `public-url`: empty, or `/…` without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A page's path, to be put in a link.
    #[must_use]
    pub fn path(&self, page: &str) -> String {
        format!("{}{page}", self.base)
    }

    /// A page's full address, for what is read outside a browser.
    #[must_use]
    pub fn address(&self, page: &str) -> String {
        format!("{}{}{page}", self.origin(), self.base)
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        self.public.origin().ascii_serialization()
    }

    /// Whether a `Host` header names this host.
    #[must_use]
    pub fn answers_to(&self, host: &str) -> bool {
        let Some(name) = host_name(host) else { return false };
        if self.public.host_str().is_some_and(|own| own.trim_matches(['[', ']']).eq_ignore_ascii_case(name)) {
            return true;
        }
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| at_home(&ip))
    }

    /// Whether `host` (a `Host` header) is where `public-url` points, port and all: provider sign-ins come back there and nowhere else.
    #[must_use]
    pub fn is_public(&self, host: &str) -> bool {
        let own = match (self.public.host_str(), self.public.port()) {
            (Some(name), Some(port)) => format!("{name}:{port}"),
            (Some(name), None) => name.to_owned(),
            (None, _) => return false,
        };
        let default = if self.https() { ":443" } else { ":80" };
        host.eq_ignore_ascii_case(&own) || host.strip_suffix(default).is_some_and(|bare| bare.eq_ignore_ascii_case(&own))
    }

    /// Whether `origin` (an `Origin` header) is a page of ours, given the `Host` that the request came to.
    #[must_use]
    pub fn is_own_origin(&self, origin: &str, host: Option<&str>) -> bool {
        if origin.eq_ignore_ascii_case(&self.origin()) {
            return true;
        }
        // The same machine under another of its names (an address of the home network, say): the page's host is then the request's host.
        host.is_some_and(|host| {
            self.answers_to(host)
                && origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).is_some_and(|o| o.eq_ignore_ascii_case(host))
        })
    }

    /// `next` as a path that leads to a page of this site, or `None`.
    #[must_use]
    pub fn local<'a>(&self, next: &'a str) -> Option<&'a str> {
        let rest = next.strip_prefix(self.base.as_str())?;
        let plain = next.len() <= MAX_LOCAL && rest.starts_with('/') && !next.starts_with("//") && !rest.starts_with("//");
        let clean = !next.contains('\\') && next.bytes().all(|b| (0x21..0x7f).contains(&b));
        let dots = next.split(['/', '?', '#']).any(|part| matches!(part, "." | ".."));
        (plain && clean && !dots).then_some(next)
    }
}

/// The name in a `Host` header, without port and brackets.
fn host_name(host: &str) -> Option<&str> {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map(|(name, _)| name);
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    (!name.is_empty() && !host.contains('@')).then_some(name)
}

/// Loopback, private, link-local, unique-local, and the shared range that home VPNs use: where plain http may be spoken.
#[must_use]
pub fn at_home(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4_at_home(v4),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(|| v6_at_home(v6), |v4| v4_at_home(&v4)),
    }
}

fn v4_at_home(ip: &Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    ip.is_loopback() || ip.is_private() || ip.is_link_local() || (a == 100 && (64..128).contains(&b))
}

fn v6_at_home(ip: &Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(url: &str) -> Site {
        Site::new(&url.parse().unwrap())
    }

    #[test]
    fn only_its_own_names_and_home_addresses_are_answered() {
        let site = site("https://sluice.example.org/s");
        for (host, known) in [
            ("sluice.example.org", true),
            ("Sluice.Example.Org:443", true),
            ("localhost:8642", true),
            ("127.0.0.1:8642", true),
            ("192.168.1.5", true),
            ("[::1]:8642", true),
            ("[fd00::1]", true),
            ("example.org", false),
            ("sluice.example.org.evil.example", false),
            ("8.8.8.8", false),
            ("user@localhost", false),
            ("", false),
            ("[::1", false),
        ] {
            assert_eq!(site.answers_to(host), known, "{host}");
        }
    }

    #[test]
    fn return_addresses_are_local() {
        let root = site("http://localhost:8642");
        for (next, kept) in [
            ("/", true),
            ("/connections/abc?metric=steps", true),
            ("//evil.example", false),
            ("https://evil.example/", false),
            ("/\\evil.example", false),
            ("\\\\evil.example", false),
            ("/a\r\nSet-Cookie: x", false),
            ("/a/../..//evil.example", false),
            ("/ä", false),
            ("javascript:alert(1)", false),
            ("", false),
        ] {
            assert_eq!(root.local(next).is_some(), kept, "{next}");
        }
        let below = site("https://example.org/sluice");
        assert!(below.local("/sluice/link").is_some());
        assert!(below.local("/sluicegate/x").is_none());
        assert!(below.local("/elsewhere").is_none());
        assert!(below.local("/sluice//evil.example").is_none());
        assert!(root.local(&format!("/{}", "a".repeat(2000))).is_none());
    }

    #[test]
    fn origins_are_ours_by_public_url_or_by_the_host_asked() {
        let site = site("http://localhost:8642");
        for (origin, host, own) in [
            ("http://localhost:8642", Some("localhost:8642"), true),
            ("http://192.168.1.5:8642", Some("192.168.1.5:8642"), true),
            ("http://192.168.1.6:8642", Some("192.168.1.5:8642"), false),
            ("http://evil.example", Some("evil.example"), false),
            ("http://localhost:9999", Some("localhost:8642"), false),
            ("null", Some("localhost:8642"), false),
        ] {
            assert_eq!(site.is_own_origin(origin, host), own, "{origin} {host:?}");
        }
    }

    #[test]
    fn a_path_in_public_url_is_in_every_link() {
        let site = site("https://example.org/apps/sluice/");
        assert_eq!(site.path("/link"), "/apps/sluice/link");
        assert_eq!(site.address("/link"), "https://example.org/apps/sluice/link");
        assert!(site.is_public("example.org") && site.is_public("EXAMPLE.org:443") && !site.is_public("localhost:8642"));
    }
}
