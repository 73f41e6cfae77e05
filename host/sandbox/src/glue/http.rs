//! Requests, bounded here and judged by the gate.

use crate::bindings::http::{Error, Host, Request, Response};
use crate::state::State;
use sluice_model::limits::{MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_HEADERS, MAX_REQUESTS_AT_ONCE};
use sluice_model::request;
use sluice_model::request::FetchError;
use sluice_model::url::MAX_URL_BYTES;

/// Bytes of a method's or a recipe's name.
const NAME: usize = 128;
/// Bytes of all bodies that one `fetch-all` brings back.
const BODIES: usize = 64 << 20;

impl Host for State {
    async fn fetch(&mut self, request: Request) -> wasmtime::Result<Result<Response, Error>> {
        let (host, meter) = self.enter("http.fetch")?;
        let request = match bounded(request) {
            Ok(request) => request,
            Err(error) => return Ok(Err(error)),
        };
        let answer = meter.host_time(host.fetch(request)).await;
        Ok(answer.map(response).map_err(error))
    }

    async fn fetch_all(&mut self, requests: Vec<Request>) -> wasmtime::Result<Vec<Result<Response, Error>>> {
        let asked = requests.len();
        if asked > MAX_REQUESTS_AT_ONCE {
            return Err(self.passed("requests-at-once", MAX_REQUESTS_AT_ONCE as u64, asked as u64));
        }
        let (host, meter) = self.enter("http.fetch-all")?;
        // A malformed one answers in its place; the others go out.
        let mut going = Vec::with_capacity(asked);
        let mut answers = Vec::with_capacity(asked);
        for request in requests {
            match bounded(request) {
                Ok(request) => {
                    going.push(request);
                    answers.push(None);
                }
                Err(error) => answers.push(Some(Err(error))),
            }
        }
        let came = meter.host_time(host.fetch_all(going)).await;
        let mut came = came.into_iter();
        let mut bodies = 0usize;
        Ok(answers
            .into_iter()
            .map(|answer| match answer {
                Some(answer) => answer,
                None => match came.next() {
                    Some(Ok(one)) => {
                        bodies = bodies.saturating_add(one.body.len());
                        if bodies > BODIES { Err(Error::TooLarge(BODIES as u64)) } else { Ok(response(one)) }
                    }
                    Some(Err(wrong)) => Err(error(wrong)),
                    None => Err(Error::Other("the host gave no answer".into())),
                },
            })
            .collect())
    }
}

/// The model's form of a request that is within bounds.
fn bounded(request: Request) -> Result<request::Request, Error> {
    let over = |what: &str, most: usize, of: &str| Err(Error::Denied(format!("{what} over {most} {of}")));
    if request.method.len() > NAME {
        return over("the method is", NAME, "bytes long");
    }
    if request.url.len() > MAX_URL_BYTES {
        return over("the URL is", MAX_URL_BYTES, "bytes long");
    }
    if request.headers.len() > MAX_HEADERS {
        return over("there are", MAX_HEADERS, "headers");
    }
    let bytes = request.headers.iter().fold(0usize, |sum, (name, value)| sum.saturating_add(name.len()).saturating_add(value.len()));
    if bytes > MAX_HEADER_BYTES {
        return over("the headers have", MAX_HEADER_BYTES, "bytes");
    }
    if request.body.as_ref().is_some_and(|body| body.len() > MAX_BODY_BYTES) {
        return over("the body is", MAX_BODY_BYTES, "bytes long");
    }
    if request.credential.as_ref().is_some_and(|name| name.len() > NAME) {
        return over("the name of the recipe is", NAME, "bytes long");
    }
    Ok(request::Request {
        method: request.method,
        url: request.url,
        headers: request.headers,
        body: request.body,
        credential: request.credential,
        follow_redirects: request.follow_redirects,
    })
}

fn response(response: request::Response) -> Response {
    Response { status: response.status, url: response.url, headers: response.headers, body: response.body }
}

fn error(error: FetchError) -> Error {
    match error {
        FetchError::Denied(text) => Error::Denied(text),
        FetchError::QuotaExhausted(ms) => Error::QuotaExhausted(ms),
        FetchError::Timeout => Error::Timeout,
        FetchError::Dns => Error::Dns,
        FetchError::Connect => Error::Connect,
        FetchError::Tls => Error::Tls,
        FetchError::Interrupted => Error::Interrupted,
        FetchError::TooLarge(bytes) => Error::TooLarge(bytes),
        FetchError::Cancelled => Error::Cancelled,
        FetchError::Other(text) => Error::Other(text),
    }
}
