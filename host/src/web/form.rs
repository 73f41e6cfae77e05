//! What a browser sends: a form's fields and an address's query, read with bounds before anything else sees them.

use axum::extract::FromRequestParts;
use http::{StatusCode, request::Parts};
use std::{convert::Infallible, sync::Arc};
use zeroize::Zeroizing;

/// The largest form that is read.
pub const MAX_FORM_BYTES: usize = 64 << 10;
/// Fields of one form, or of one query.
const MAX_FIELDS: usize = 64;
/// The longest query that is looked at; what providers send back has a few hundred bytes.
const MAX_QUERY_BYTES: usize = 8 << 10;

/// A form that passed the guard. Its values are wiped when it is dropped, since some are passwords and tokens.
#[derive(Clone, Default)]
pub struct Form(Arc<Vec<(String, Zeroizing<String>)>>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`; `None` if it has more fields than any form of ours.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = Vec::new();
        for (name, value) in url::form_urlencoded::parse(body) {
            if fields.len() >= MAX_FIELDS {
                return None;
            }
            fields.push((name.into_owned(), Zeroizing::new(value.into_owned())));
        }
        Some(Self(Arc::new(fields)))
    }

    /// The first field of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The same, empty where it is missing.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }
}

impl<S: Sync> FromRequestParts<S> for Form {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        // Only the guard puts one there, so a handler that asks for a form can't be reached around it.
        parts.extensions.remove::<Self>().ok_or(StatusCode::FORBIDDEN)
    }
}

/// The query of an address: at most [`MAX_FIELDS`] pairs of at most [`MAX_QUERY_BYTES`] altogether; what is over is not looked at.
#[derive(Clone, Debug, Default)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// Reads a query.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        if query.len() > MAX_QUERY_BYTES {
            return Self::default();
        }
        let pairs = url::form_urlencoded::parse(query.as_bytes()).take(MAX_FIELDS);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first value of that name that is not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, value)| n == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_up_to_their_bounds() {
        let form = Form::parse(b"a=1&b=%3Cx%3E&a=2&c=").unwrap();
        assert_eq!((form.get("a"), form.text("b"), form.get("c"), form.get("d")), (Some("1"), "<x>", Some(""), None));
        let many = (0..=MAX_FIELDS).map(|n| format!("f{n}=1")).collect::<Vec<_>>().join("&");
        assert!(Form::parse(many.as_bytes()).is_none());
    }

    #[test]
    fn queries_are_read_up_to_their_bounds() {
        assert_eq!(Query::parse("code=a%20b&state=").get("code"), Some("a b"));
        assert_eq!(Query::parse("code=a&state=").get("state"), None);
        assert!(Query::parse(&format!("a={}", "x".repeat(MAX_QUERY_BYTES))).0.is_empty());
    }
}
