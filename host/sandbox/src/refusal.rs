//! What it means that a component did not pass validation, in words that stand on one line.

use crate::error::LoadError;
use crate::log::{cut, inert};

/// Bytes of such words: names of the component's own stand in them.
const BYTES: usize = 600;

/// Causes, the nearest first, as one statement.
pub(crate) fn one_line(causes: impl Iterator<Item = String>) -> String {
    let text = causes.collect::<Vec<_>>().join(": ");
    inert(cut(&text.split_whitespace().collect::<Vec<_>>().join(" "), BYTES))
}

/// What the compiler's refusal means.
pub(crate) fn refusal(text: &str) -> LoadError {
    let text = text.to_owned();
    let feature = [
        "not enabled",
        "must be enabled",
        "require",
        "not supported",
        "unsupported",
        "without the",
        "multiple memories",
        "is disabled",
        "proposal disabled",
        "is not active",
    ];
    let size =
        ["exceeds the configured maximum", "exceeds the limit", "which exceeds", "does not fit in", "exceeds the per-instance limit"];
    if size.iter().any(|word| text.contains(word)) {
        LoadError::Host(format!("it needs more than a sandbox of this host has ({text})"))
    } else if feature.iter().any(|word| text.contains(word)) {
        LoadError::Feature(text)
    } else {
        LoadError::Invalid(text)
    }
}
