//! The keys that recipes may draw on during one run, by name.

use sluice_vault::Secret;
use std::collections::BTreeMap;

struct Key {
    value: Secret,
    secret: bool,
}

/// Keys of one connection (`access-token`, `user`, …) and the operator's fields of its app (`app.client-id`, `app.api-key`, …).
///
/// Neither printed nor cloned; [`Keys::duplicate`] says it aloud.
#[derive(Default)]
pub struct Keys {
    all: BTreeMap<String, Key>,
}

impl Keys {
    /// No keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key, or replaces the one of that name. `secret = false` is for what the person may see (a user name): it is not scrubbed from answers.
    pub fn insert(&mut self, name: impl Into<String>, value: Secret, secret: bool) {
        self.all.insert(name.into(), Key { value, secret });
    }

    /// The same, for building in one expression.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: Secret, secret: bool) -> Self {
        self.insert(name, value, secret);
        self
    }

    /// A key's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.all.get(name).map(|k| &k.value)
    }

    /// Names, whether each is secret, in order of name.
    pub fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        self.all.iter().map(|(name, key)| (name.as_str(), key.secret))
    }

    /// Values that must not be seen.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.all.values().filter(|k| k.secret).map(|k| &k.value)
    }

    /// Puts a new value under a name, keeping whether it is secret; a name not there before is taken for secret.
    pub(crate) fn replace(&mut self, name: &str, value: Secret) -> Option<Secret> {
        match self.all.get_mut(name) {
            Some(key) => Some(std::mem::replace(&mut key.value, value)),
            None => {
                self.insert(name, value, true);
                None
            }
        }
    }

    /// A second copy, asked for in so many words.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self { all: self.all.iter().map(|(n, k)| (n.clone(), Key { value: k.value.duplicate(), secret: k.secret })).collect() }
    }
}
