//! Typed JSON from a provider, with errors that tell apart what can be wrong with it.
//!
//! Captive portals, proxies and providers in trouble answer with pages, with nothing, or with half of what was asked, and often with status
//! 200. Each of those has its own code here, and all of them end the run as *unexpected response* (nothing at all as *transient*: it comes
//! and goes). Text that is not UTF-8 is mended first: one broken title must not cost a page of good records.

use crate::http::Response;
use crate::types::{Failure, clip};
use serde::de::DeserializeOwned;
use std::fmt;

/// What is wrong with a body that should have been JSON of a certain shape.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShapeError {
    /// Nothing at all.
    Empty,
    /// A web page, or another kind of markup.
    Markup,
    /// JSON that stops before its end.
    Truncated,
    /// No JSON.
    NotJson,
    /// JSON of another shape; the parser's words.
    WrongShape(String),
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty body"),
            Self::Markup => f.write_str("a web page (HTML or XML) instead of JSON"),
            Self::Truncated => f.write_str("JSON that stops before its end"),
            Self::NotJson => f.write_str("something that is no JSON"),
            Self::WrongShape(why) => write!(f, "JSON of another shape than expected ({why})"),
        }
    }
}

impl ShapeError {
    /// Short and stable, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty-body",
            Self::Markup => "html",
            Self::Truncated => "truncated",
            Self::NotJson => "not-json",
            Self::WrongShape(_) => "wrong-shape",
        }
    }

    /// The failure of a run that asked for `what`.
    #[must_use]
    pub fn into_failure(self, what: &str) -> Failure {
        let message = format!("asked for {what}, the provider answered with {self}; nothing of it was stored");
        match self {
            Self::Empty => Failure::transient(self.code(), message),
            _ => Failure::unexpected(self.code(), message),
        }
    }
}

/// Reads a body as JSON of a type.
///
/// # Errors
/// What is wrong with it.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ShapeError> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(ShapeError::Empty);
    }
    if text.starts_with('<') {
        return Err(ShapeError::Markup);
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => ShapeError::Truncated,
        serde_json::error::Category::Data => ShapeError::WrongShape(clip(&error.to_string(), 160)),
        _ => ShapeError::NotJson,
    })
}

impl Response {
    /// The body as JSON of a type; `what` says for people what was asked for.
    ///
    /// # Errors
    /// An unexpected response (transient for an empty body).
    pub fn json<T: DeserializeOwned>(&self, what: &str) -> Result<T, Failure> {
        parse(&self.body).map_err(|error| error.into_failure(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::FailureKind;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Row {
        n: u32,
    }

    #[test]
    fn each_wrong_body_has_its_own_code() {
        let cases: [(&[u8], &str, FailureKind); 9] = [
            (b"", "empty-body", FailureKind::Transient),
            (b" \n", "empty-body", FailureKind::Transient),
            (b"<!DOCTYPE html><html>", "html", FailureKind::UnexpectedResponse),
            (b"\xef\xbb\xbf <?xml version=\"1.0\"?>", "html", FailureKind::UnexpectedResponse),
            (b"[{\"n\":1},{\"n\"", "truncated", FailureKind::UnexpectedResponse),
            (b"[", "truncated", FailureKind::UnexpectedResponse),
            (b"upstream connect error", "not-json", FailureKind::UnexpectedResponse),
            (b"{\"message\":\"no\"}", "wrong-shape", FailureKind::UnexpectedResponse),
            (b"[{\"n\":\"1\"}]", "wrong-shape", FailureKind::UnexpectedResponse),
        ];
        for (body, code, kind) in cases {
            let error = parse::<Vec<Row>>(body).unwrap_err();
            assert_eq!(error.code(), code, "{body:?}");
            assert_eq!(error.into_failure("rows").kind, kind, "{body:?}");
        }
    }

    #[test]
    fn broken_text_inside_costs_no_page() {
        #[derive(Deserialize)]
        struct Title {
            t: String,
        }
        let row: Title = parse(b"{\"t\":\"caf\xe9\"}").unwrap();
        assert_eq!(row.t, "caf\u{fffd}");
        assert_eq!(parse::<Vec<Row>>(b"\xef\xbb\xbf[{\"n\":7}]").unwrap(), [Row { n: 7 }]);
    }
}
