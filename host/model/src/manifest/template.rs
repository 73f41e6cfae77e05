//! Texts with `{placeholders}`: how keys get into headers, queries and forms.
//!
//! The manifest's reader uses this to check that every name is one that somebody provides; the gate and the sign-in code use it to fill the names in.
//! `{{` and `}}` stand for the braces themselves. A template is flat: what is filled in is never read again, so a key that holds braces is just text.

use std::borrow::Cow;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As it stands.
    Text(Cow<'a, str>),
    /// To be filled in.
    Name(&'a str),
}

/// A text that is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A brace without its partner.
    #[error("“{0}” has a brace without its partner: a placeholder is {{name}}, a brace itself is written twice")]
    Unbalanced(String),
    /// Braces around something that is no name.
    #[error("“{{{0}}}” is no placeholder: names are lower case with dashes, such as {{api-key}} or {{app.client-id}}")]
    NoName(String),
    /// Nobody provides this name.
    #[error("nothing provides {{{0}}}")]
    Missing(String),
}

/// Cuts a template into pieces.
///
/// # Errors
/// Braces that do not pair, or hold no name.
pub fn pieces(template: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let cut = || TemplateError::Unbalanced(template.chars().take(60).collect());
    let mut out = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        if !before.is_empty() {
            out.push(Piece::Text(Cow::Borrowed(before)));
        }
        if let Some(after) = from.strip_prefix("{{") {
            out.push(Piece::Text(Cow::Borrowed("{")));
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            out.push(Piece::Text(Cow::Borrowed("}")));
            rest = after;
        } else if let Some(after) = from.strip_prefix('{') {
            let (name, after) = after.split_once('}').ok_or_else(cut)?;
            if !is_placeholder(name) {
                return Err(TemplateError::NoName(name.chars().take(60).collect()));
            }
            out.push(Piece::Name(name));
            rest = after;
        } else {
            return Err(cut());
        }
    }
    if !rest.is_empty() {
        out.push(Piece::Text(Cow::Borrowed(rest)));
    }
    Ok(out)
}

/// The names that a template needs, in order.
///
/// # Errors
/// As [`pieces`].
pub fn names(template: &str) -> Result<Vec<&str>, TemplateError> {
    Ok(pieces(template)?
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Name(name) => Some(name),
            Piece::Text(_) => None,
        })
        .collect())
}

/// Fills a template from `lookup`, into a buffer of the caller's, which may be one that is wiped afterwards.
///
/// # Errors
/// As [`pieces`], and [`TemplateError::Missing`] for a name that `lookup` does not know; the buffer may then hold a part.
pub fn expand_into<T: AsRef<[u8]>>(
    template: &str,
    mut lookup: impl FnMut(&str) -> Option<T>,
    out: &mut Vec<u8>,
) -> Result<(), TemplateError> {
    for piece in pieces(template)? {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Name(name) => out.extend_from_slice(lookup(name).ok_or_else(|| TemplateError::Missing(name.to_owned()))?.as_ref()),
        }
    }
    Ok(())
}

/// Fills a template from `lookup`.
///
/// # Errors
/// As [`expand_into`].
pub fn expand<T: AsRef<str>>(template: &str, mut lookup: impl FnMut(&str) -> Option<T>) -> Result<String, TemplateError> {
    let mut out = String::with_capacity(template.len());
    for piece in pieces(template)? {
        match piece {
            Piece::Text(text) => out.push_str(&text),
            Piece::Name(name) => out.push_str(lookup(name).ok_or_else(|| TemplateError::Missing(name.to_owned()))?.as_ref()),
        }
    }
    Ok(out)
}

/// `api-key`, or `app.api-key`.
fn is_placeholder(name: &str) -> bool {
    super::words::is_name(name.strip_prefix("app.").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::{TemplateError, expand, names};

    #[test]
    fn a_template_is_filled_once_and_never_read_again() {
        let fill = |text: &str| expand(text, |name| (name != "gone").then(|| format!("<{name}{{x}}>")));
        assert_eq!(fill("Bearer {access-token}").as_deref(), Ok("Bearer <access-token{x}>"));
        assert_eq!(fill("{{{app.api-key}}}").as_deref(), Ok("{<app.api-key{x}>}"));
        assert_eq!(fill("plain").as_deref(), Ok("plain"));
        assert_eq!(fill("").as_deref(), Ok(""));
        assert_eq!(fill("{gone}"), Err(TemplateError::Missing("gone".into())));
        for bad in ["{", "}", "{a", "a}", "{}", "{A}", "{a b}", "{app.}", "{app.a.b}", "{-a}", "{{}", "{a}}"] {
            assert!(names(bad).is_err(), "{bad}");
        }
        assert_eq!(names("{a}:{app.b}").unwrap(), ["a", "app.b"]);
    }
}
