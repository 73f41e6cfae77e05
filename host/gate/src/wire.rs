//! One request on the wire, without any rule about who may send it: judge, dial, send, compare the address, hand over the open answer.

use crate::client;
use crate::deadline::Deadline;
use crate::gate::Shared;
use crate::resolve::{self, IpRule, Judge, Judged, NotDialled};
use crate::tls;
use bytes::Bytes;
use http::{HeaderMap, Method};
use sluice_model::request::FetchError;
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use url::Url;

/// All header lines of one answer.
pub(crate) const MAX_HEADER_BYTES: usize = 64 << 10;

/// A request as it goes out.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// After upstream mapping.
    pub(crate) url: Url,
    /// Whether the operator opened private addresses for this upstream.
    pub(crate) open: bool,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
}

/// The clients of one connector: one for each port and openness, made when first needed. A grant names few origins, so there are few.
pub(crate) struct Wire {
    connector: String,
    shared: Arc<Shared>,
    rule: IpRule,
    clients: RwLock<HashMap<(u16, bool), Arc<Line>>>,
}

/// Why no answer came.
pub(crate) struct NoAnswer {
    /// In the contract's words, which for TLS are none.
    pub(crate) error: FetchError,
    /// What was wrong with TLS, where that was it.
    pub(crate) tls: Option<&'static str>,
}

impl From<FetchError> for NoAnswer {
    fn from(error: FetchError) -> Self {
        Self { error, tls: None }
    }
}

impl From<reqwest::Error> for NoAnswer {
    fn from(error: reqwest::Error) -> Self {
        Self { error: classify(&error), tls: tls_error(&error).map(tls::reason) }
    }
}

struct Line {
    judge: Judge,
    client: reqwest::Client,
}

impl Wire {
    pub(crate) fn new(connector: &str, shared: Arc<Shared>) -> Self {
        Self { connector: connector.to_owned(), shared, rule: resolve::by_the_model, clients: RwLock::default() }
    }

    #[cfg(test)]
    pub(crate) fn with_rule(mut self, rule: IpRule) -> Self {
        self.rule = rule;
        self
    }

    pub(crate) fn judge(&self, url: &Url, open: bool) -> Judge {
        Judge { own: self.shared.own.clone(), port: url.port_or_known_default().unwrap_or(0), open, rule: self.rule }
    }

    fn line(&self, judge: Judge) -> Result<Arc<Line>, FetchError> {
        let key = (judge.port, judge.open);
        if let Some(line) = self.clients.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(line));
        }
        let mut all = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = all.get(&key) {
            return Ok(Arc::clone(line));
        }
        let judged = Judged { connector: self.connector.clone(), resolver: Arc::clone(&self.shared.resolver), judge: judge.clone() };
        let client = client::client(&self.shared.tls, judged, &self.shared.timeouts).map_err(FetchError::Other)?;
        let line = Arc::new(Line { judge, client });
        all.insert(key, Arc::clone(&line));
        Ok(line)
    }

    /// Sends, and waits for the end of the answer's headers.
    pub(crate) async fn send(&self, out: Outgoing, deadline: &mut Deadline) -> Result<reqwest::Response, NoAnswer> {
        let judge = self.judge(&out.url, out.open);
        judge.literal(&out.url).map_err(not_dialled)?;
        // The gate's record of what it dials: whatever leaves this process belongs to such a line. No path and no query, which may hold a key.
        tracing::debug!(
            connector = self.connector,
            method = %out.method,
            scheme = out.url.scheme(),
            host = out.url.host_str().unwrap_or_default(),
            port = judge.port,
            "a request goes out"
        );
        let line = self.line(judge)?;
        let mut request = reqwest::Request::new(out.method, out.url);
        *request.headers_mut() = out.headers;
        *request.body_mut() = out.body.map(reqwest::Body::from);
        let response = deadline.wait(self.shared.timeouts.first_byte, line.client.execute(request)).await??;
        // What was dialled is what was judged, or nothing of the answer is used.
        match response.remote_addr() {
            Some(at) => line.judge.ip(at.ip()).map_err(not_dialled)?,
            None => return Err(FetchError::Denied("the connection does not say where it leads".to_owned()).into()),
        }
        let header_bytes: usize = response.headers().iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
        if header_bytes > MAX_HEADER_BYTES {
            return Err(FetchError::TooLarge(MAX_HEADER_BYTES as u64).into());
        }
        Ok(response)
    }
}

fn not_dialled(why: NotDialled) -> FetchError {
    match why {
        NotDialled::Unknown => FetchError::Dns,
        NotDialled::Refused(why) => FetchError::Denied(why),
    }
}

/// Everything below what the client library reports, outermost first. An `io::Error` leaves what it wraps out of its chain of sources, and may wrap
/// another one that wraps what matters.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    fn below<'a>(cause: &&'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
        let cause: &'a (dyn Error + 'static) = *cause;
        match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        }
    }
    std::iter::successors(error.source(), below)
}

/// The TLS library's own error, where that is what happened.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// The contract's word for what the client library reports. Nothing of its text is used: it may hold the URL.
pub(crate) fn classify(error: &reqwest::Error) -> FetchError {
    for cause in causes(error) {
        if let Some(refused) = cause.downcast_ref::<NotDialled>() {
            return not_dialled(refused.clone());
        }
        if cause.is::<rustls::Error>() {
            return FetchError::Tls;
        }
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
            if hyper.is_parse_too_large() {
                return FetchError::TooLarge(MAX_HEADER_BYTES as u64);
            }
            if hyper.is_parse() {
                return FetchError::Other("the answer is not HTTP".to_owned());
            }
            if hyper.is_incomplete_message() {
                return FetchError::Interrupted;
            }
        }
    }
    // A connection that was not made in time has carried nothing, which is more than a timeout says.
    if error.is_connect() {
        FetchError::Connect
    } else if error.is_timeout() {
        FetchError::Timeout
    } else if error.is_builder() {
        FetchError::Other("the request could not be built".to_owned())
    } else {
        FetchError::Interrupted
    }
}
