//! `{placeholders}` in what the host itself sends: authorize queries, exchange URLs, forms and headers.
//!
//! The manifest's own template language, filled in with what may be secret, so that what comes out is a [`Secret`]. Values are put in raw: whoever
//! builds the request encodes them for where they go. A placeholder that nothing answers is an error that names it, never an empty text: a request
//! without its key would be answered by a puzzling refusal of the provider.

use sluice_model::manifest::template::expand_into;
use sluice_vault::Secret;
use zeroize::Zeroizing;

pub(super) use sluice_model::manifest::template::TemplateError;

/// Fills in a template; `look_up` gives the value of a name.
///
/// # Errors
/// A name that nobody provides.
pub(super) fn fill(template: &str, look_up: impl Fn(&str) -> Option<Secret>) -> Result<Secret, TemplateError> {
    // Room for any token, so that no copy is left behind by growing.
    let mut out = Zeroizing::new(Vec::with_capacity(template.len() + (16 << 10)));
    expand_into(template, |name| look_up(name).map(Exposed), &mut out)?;
    Ok(Secret::new(std::mem::take(&mut *out)))
}

struct Exposed(Secret);

impl AsRef<[u8]> for Exposed {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str) -> Result<String, TemplateError> {
        let known = |name: &str| match name {
            "token" => Some(Secret::text("a&b=c".into())),
            "app.api-key" => Some(Secret::text("KEY".into())),
            "braces" => Some(Secret::text("{token}".into())),
            _ => None,
        };
        fill(template, known).map(|secret| secret.expose_str().unwrap_or_default().to_owned())
    }

    #[test]
    fn values_go_in_raw_and_once() {
        assert_eq!(check("").as_deref(), Ok(""));
        assert_eq!(check("Bearer {token}").as_deref(), Ok("Bearer a&b=c"));
        assert_eq!(check("{app.api-key}:{token}:{app.api-key}").as_deref(), Ok("KEY:a&b=c:KEY"));
        // What was filled in is not looked at again.
        assert_eq!(check("{braces}").as_deref(), Ok("{token}"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(check("{sk}"), Err(TemplateError::Missing("sk".into())));
        assert!(check("{token").is_err());
    }
}
