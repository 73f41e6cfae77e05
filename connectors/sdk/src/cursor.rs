//! A cursor as JSON, with a version of its own.
//!
//! Written as `{"v":2,"c":{…}}`. A connector that meets a version it does not know, or text that is no cursor, starts over: reading the
//! whole history again costs time, and stores nothing twice. Where an older version can be understood, [`Versioned::upgrade`] says how.

use crate::host::Host;
use crate::types::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Where a run got to.
pub trait Versioned: Serialize + DeserializeOwned {
    /// Raised whenever older text would be misread.
    const VERSION: u32;

    /// Understands the text of an older version (`{"v":1,"c":…}`), where that can be done.
    #[must_use]
    fn upgrade(version: u32, text: &str) -> Option<Self> {
        let _ = (version, text);
        None
    }
}

#[derive(Serialize)]
struct Written<'a, C> {
    v: u32,
    c: &'a C,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Deserialize)]
struct Content<C> {
    c: C,
}

/// A cursor as text.
///
/// # Errors
/// It does not serialise.
pub fn write<C: Versioned>(cursor: &C) -> Result<String, Failure> {
    serde_json::to_string(&Written { v: C::VERSION, c: cursor })
        .map_err(|e| Failure::other("cursor", format!("the cursor could not be written: {e}")))
}

/// A cursor from its text; `None` where it is not one of ours.
#[must_use]
pub fn read<C: Versioned>(text: &str) -> Option<C> {
    let Version { v } = serde_json::from_str(text).ok()?;
    if v == C::VERSION { serde_json::from_str(text).ok().map(|Content { c }| c) } else { C::upgrade(v, text) }
}

impl Host<'_> {
    /// Where the last run got to; `None` at the beginning, and where the cursor cannot be read (with a line in the log).
    pub fn cursor<C: Versioned>(&mut self) -> Option<C> {
        let text = self.backend().cursor()?;
        let cursor = read(&text);
        if cursor.is_none() {
            let version = self.backend().cursor_version().unwrap_or_default();
            self.warn(&format!("the cursor that version {version} wrote cannot be read: starting over"));
        }
        cursor
    }

    /// Commits everything recorded since the last time, together with the cursor.
    ///
    /// # Errors
    /// The run is being cancelled, or the cursor is too large.
    pub fn checkpoint<C: Versioned>(&mut self, cursor: &C) -> Result<(), Failure> {
        let text = write(cursor)?;
        self.checkpoint_text(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Cursor {
        page: u32,
    }

    impl Versioned for Cursor {
        const VERSION: u32 = 2;
        fn upgrade(version: u32, text: &str) -> Option<Self> {
            #[derive(Deserialize)]
            struct First {
                p: u32,
            }
            let Content { c: First { p } } = serde_json::from_str(text).ok().filter(|_| version == 1)?;
            Some(Self { page: p })
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_was_written_and_older_ones_are_understood() {
        let text = write(&Cursor { page: 7 }).unwrap();
        assert_eq!(text, r#"{"v":2,"c":{"page":7}}"#);
        assert_eq!(read(&text), Some(Cursor { page: 7 }));
        assert_eq!(read(r#"{"v":1,"c":{"p":3}}"#), Some(Cursor { page: 3 }));
        for text in [r#"{"v":3,"c":{"page":7}}"#, r#"{"v":2,"c":{"page":"x"}}"#, "page 7", "", "{}"] {
            assert_eq!(read::<Cursor>(text), None, "{text}");
        }
    }
}
