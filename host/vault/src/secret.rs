//! A secret in memory: wiped when dropped, and with no way to be printed, copied or serialised by accident.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes that must not leave their box: a token, an API key, a client secret.
///
/// The scaffold of the checks below compiles, so that each of them fails for its own reason and for no other:
///
/// ```
/// fn sized<T: Sized>() {}
/// sized::<sluice_vault::Secret>();
/// ```
///
/// It can't be printed for programmers:
///
/// ```compile_fail,E0277
/// fn debug<T: std::fmt::Debug>() {}
/// debug::<sluice_vault::Secret>();
/// ```
///
/// nor for people:
///
/// ```compile_fail,E0277
/// fn display<T: std::fmt::Display>() {}
/// display::<sluice_vault::Secret>();
/// ```
///
/// It can't be copied by a derive on something that holds it; [`Secret::duplicate`] says it aloud:
///
/// ```compile_fail,E0277
/// fn clone<T: Clone>() {}
/// clone::<sluice_vault::Secret>();
/// ```
///
/// Nor can it be serialised:
///
/// ```compile_fail,E0277
/// fn serialize<T: serde::Serialize>() {}
/// serialize::<sluice_vault::Secret>();
/// ```
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over bytes. The vector is wiped when the secret is dropped; copies that the caller made before are the caller's.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Takes over text.
    #[must_use]
    pub fn text(text: String) -> Self {
        Self::new(text.into_bytes())
    }

    pub(crate) fn from_zeroizing(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes themselves. Search for this word to see who reads secrets.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, or `None` where they are not UTF-8.
    #[must_use]
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// A second copy, asked for in so many words.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    /// Whether it equals `other`, in a time that depends on nothing but the lengths.
    #[must_use]
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.as_slice().ct_eq(other).into()
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_gives_back_what_it_was_given() {
        let secret = Secret::text("hunter2-hunter2".into());
        assert_eq!(secret.expose(), b"hunter2-hunter2");
        assert_eq!(secret.expose_str(), Some("hunter2-hunter2"));
        assert_eq!(secret.len(), 15);
        assert!(!secret.is_empty());
        assert!(Secret::new(vec![0xff, 0xfe]).expose_str().is_none());
    }

    #[test]
    fn equality_is_of_all_bytes() {
        let secret = Secret::text("abc".into());
        assert!(secret.matches(b"abc"));
        assert!(!secret.matches(b"abd"));
        assert!(!secret.matches(b"ab"));
        assert!(secret.duplicate().matches(b"abc"));
    }
}
