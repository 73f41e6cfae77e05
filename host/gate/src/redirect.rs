//! What a redirect asks for, apart from whether it is granted.

use http::Method;
use url::Url;

/// How many hops one request follows.
pub(crate) const MAX_HOPS: u32 = 5;

/// Statuses that are followed. 300 and 304–306 are answers like any other.
pub(crate) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The method of the next request, and whether the body goes along (RFC 9110 §15.4): 303 asks for a GET, 301 and 302 turn a POST into a GET as every
/// client does, 307 and 308 repeat the request.
pub(crate) fn next_method(status: u16, method: &Method) -> (Method, bool) {
    match status {
        303 if *method == Method::HEAD => (Method::HEAD, false),
        303 => (Method::GET, false),
        301 | 302 if *method == Method::POST => (Method::GET, false),
        _ => (method.clone(), true),
    }
}

/// Same scheme, host and port.
pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
}

/// Whether following would give up encryption.
pub(crate) fn gives_up_tls(from: &Url, to: &Url) -> bool {
    from.scheme() == "https" && to.scheme() != "https"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_change_as_the_standard_says() {
        let table = [
            (301, "GET", "GET", true),
            (301, "POST", "GET", false),
            (301, "PUT", "PUT", true),
            (302, "POST", "GET", false),
            (302, "HEAD", "HEAD", true),
            (303, "POST", "GET", false),
            (303, "PUT", "GET", false),
            (303, "HEAD", "HEAD", false),
            (307, "POST", "POST", true),
            (308, "POST", "POST", true),
            (308, "DELETE", "DELETE", true),
        ];
        for (status, method, next, body) in table {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let (to, keeps) = next_method(status, &method);
            assert_eq!((to.as_str(), keeps), (next, body), "{status} {method}");
        }
        for (status, followed) in [
            (300, false),
            (301, true),
            (302, true),
            (303, true),
            (304, false),
            (305, false),
            (306, false),
            (307, true),
            (308, true),
            (200, false),
        ] {
            assert_eq!(is_redirect(status), followed, "{status}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let url = |t: &str| Url::parse(t).unwrap();
        for (a, b, same) in [
            ("https://a.example/x", "https://a.example:443/y", true),
            ("https://a.example", "https://A.EXAMPLE", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://a.example:8443", false),
            ("https://a.example", "https://b.a.example", false),
            ("https://a.example", "https://a.example.", false),
        ] {
            assert_eq!(same_origin(&url(a), &url(b)), same, "{a} {b}");
        }
        assert!(gives_up_tls(&url("https://a"), &url("http://a")));
        assert!(!gives_up_tls(&url("http://a"), &url("https://a")));
    }
}
