//! Requests as a scripted provider sees them, and the responses it gives.

use crate::http::{Request, Response};
use serde::Serialize;
use std::borrow::Cow;

/// A request that passed the grant, on its way to the scripted provider.
pub struct Sent<'a> {
    /// As the connector made it, without what a recipe adds.
    pub request: &'a Request,
    /// Whether the person's keys went with it.
    pub attached: bool,
}

impl Sent<'_> {
    /// The path of its URL.
    #[must_use]
    pub fn path(&self) -> &str {
        let after = self.request.url.split_once("://").map_or("", |(_, rest)| rest);
        let path = after.find('/').and_then(|at| after.get(at..)).unwrap_or("/");
        path.split('?').next().unwrap_or(path)
    }

    /// A query parameter, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.request.url.split_once('?')?.1;
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| decode(v).into_owned())
    }

    /// A header, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn body(&self) -> serde_json::Value {
        self.request.body.as_deref().and_then(|b| serde_json::from_slice(b).ok()).unwrap_or_default()
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        if byte == b'%' {
            match (hex(bytes.next()), hex(bytes.next())) {
                (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
                _ => out.push(b'?'),
            }
        } else {
            out.push(byte);
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// A response of any kind.
#[must_use]
pub fn answer(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
    Response { status, url: String::new(), headers: vec![("content-type".to_owned(), content_type.to_owned())], body: body.into() }
}

/// A response in JSON.
#[must_use]
pub fn json(status: u16, body: &(impl Serialize + ?Sized)) -> Response {
    answer(status, "application/json; charset=utf-8", serde_json::to_vec(body).unwrap_or_default())
}

/// A web page, or another text.
#[must_use]
pub fn text(status: u16, body: &str) -> Response {
    answer(status, "text/html; charset=utf-8", body)
}

/// A response with further headers.
#[must_use]
pub fn with_headers(mut response: Response, headers: &[(&str, &str)]) -> Response {
    response.headers.extend(headers.iter().map(|(n, v)| ((*n).to_ascii_lowercase(), (*v).to_owned())));
    response
}
