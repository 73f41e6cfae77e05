//! The HTTP client library, with everything switched off that would do more than it was told: proxies from the environment, redirects, retries,
//! cookies, referers, decompression (the gate decodes within its own bounds).
//!
//! HTTP/1.1 only. One request at a time on a connection keeps framing simple to bound, and no provider that we know needs more.

use crate::gate::Timeouts;
use crate::resolve::Judged;
use crate::tls::Tls;
use std::sync::Arc;
use std::time::Duration;

/// A connection is not kept longer than that without a request: a changed address is noticed within a minute.
const IDLE: Duration = Duration::from_secs(60);
/// Connections of all sessions of a connector are kept here: twice what the default number of runs has in flight with a request each.
const IDLE_PER_HOST: usize = 32;
/// Headers of one answer.
pub(crate) const MAX_HEADERS: usize = 128;

/// A client that resolves and dials as `judged` says.
pub(crate) fn client(tls: &Tls, judged: Judged, timeouts: &Timeouts) -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .http1_only()
        .http1_max_headers(MAX_HEADERS)
        .connect_timeout(timeouts.connect)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .tcp_nodelay(true)
        .dns_resolver(Arc::new(judged))
        .tls_backend_preconfigured(tls.config()?)
        .build()
        .map_err(|why| format!("setting up the HTTP client failed: {}", why.without_url()))
}
