//! The small values of a manifest: names, lengths of time, methods, URLs, pointers. Each reads a text and says what to write instead.

use super::SettingKind;
use super::read::{Fault, Placed, Read, short};
use crate::address;
use crate::url as guest_url;
use ::url::Url;

/// Methods that a connector may use at all; TRACE, CONNECT and methods of somebody's own are never sent.
pub(super) const METHODS: &[&str] = guest_url::METHODS;

/// `[a-z][a-z0-9-]{0,39}`, without a dash at the end: names of connectors, profiles, keys, recipes, settings.
pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 40
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.ends_with('-')
}

pub(super) fn name(text: &Placed<String>, what: &str) -> Read<String> {
    if is_name(&text.value) {
        return Ok(text.value.clone());
    }
    text.fault(format!(
        "“{}” is no name of {what}: it begins with a lower-case letter, goes on with letters, digits and dashes, and has at most 40 characters",
        short(&text.value)
    ))
}

/// `[a-z][a-z0-9_]{0,63}`: metrics, which become column values that people query.
pub(super) fn snake(text: &Placed<String>, what: &str) -> Read<String> {
    let mut bytes = text.value.bytes();
    let good = text.value.len() <= 64
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if good {
        return Ok(text.value.clone());
    }
    text.fault(format!(
        "“{}” is no name of {what}: it begins with a lower-case letter, goes on with letters, digits and underscores, and has at most 64 characters",
        short(&text.value)
    ))
}

/// A version such as `1.4.0` or `1.4.0-rc.1`.
pub(super) fn version(text: &Placed<String>) -> Read<String> {
    let (core, rest) = text.value.split_at(text.value.find(['-', '+']).unwrap_or(text.value.len()));
    let parts: Vec<_> = core.split('.').collect();
    let good = parts.len() == 3
        && parts.iter().all(|part| !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit()))
        && rest.len() != 1
        && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b));
    if good {
        Ok(text.value.clone())
    } else {
        text.fault(format!("“{}” is no version: write three numbers, such as 1.0.0", short(&text.value)))
    }
}

/// One of a closed list; the error names the nearest.
pub(super) fn choice<T: Copy>(text: &Placed<String>, what: &str, known: &[(&str, T)]) -> Read<T> {
    if let Some((_, value)) = known.iter().find(|(word, _)| *word == text.value) {
        return Ok(*value);
    }
    let words = known.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let hint =
        nearest(&text.value, known.iter().map(|(word, _)| *word)).map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
    text.fault(format!("{what} is one of {words}, not “{}”{hint}", short(&text.value)))
}

pub(super) fn method(text: &Placed<String>) -> Read<String> {
    let upper = text.value.to_ascii_uppercase();
    if METHODS.contains(&text.value.as_str()) {
        Ok(upper)
    } else if METHODS.contains(&upper.as_str()) {
        text.fault(format!("methods are written in capitals: {upper}"))
    } else {
        text.fault(format!("“{}” is no method that connectors may use: {}", short(&text.value), METHODS.join(", ")))
    }
}

/// A length of time as manifests and settings write it (`90s`, `15m`, `1h`, `2d`), in ms; `None` when it is none.
#[must_use]
pub fn parse_duration(text: &str) -> Option<i64> {
    let split = text.len() - usize::from(text.ends_with(['s', 'm', 'h', 'd']));
    let (number, unit) = text.split_at_checked(split)?;
    let factor = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let digits = (1..=9).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    number.parse::<i64>().ok().filter(|_| digits)?.checked_mul(factor)
}

/// A length of time within bounds; in ms.
pub(super) fn duration(text: &Placed<String>, what: &str, least_ms: i64, most_ms: i64) -> Read<i64> {
    let value = text.value.as_str();
    let Some(ms) = parse_duration(value) else {
        return text.fault(format!(
            "{what} is a length of time: a whole number and s, m, h or d, such as \"90s\", \"1h\" or \"2d\", not “{}”",
            short(value)
        ));
    };
    if (least_ms..=most_ms).contains(&ms) {
        return Ok(ms);
    }
    text.fault(format!("{what} lies between {} and {}, and “{value}” does not", spoken(least_ms), spoken(most_ms)))
}

/// The shortest way to say a length of time in one unit.
pub(super) fn spoken(ms: i64) -> String {
    for (factor, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m")] {
        if ms >= factor && ms % factor == 0 {
            return format!("{}{unit}", ms / factor);
        }
    }
    format!("{}s", ms / 1_000)
}

/// An https URL outside of this machine and its network, without a query: auth URLs, exchanges, `help`.
pub(super) fn https_url(text: &Placed<String>, what: &str) -> Read<Url> {
    let url = guest_url::parse_url(&text.value).or_else(|bad| text.fault(format!("{what}: {bad}")))?;
    if url.scheme() != "https" {
        return text.fault(format!("{what} must be https: what goes there is secret. (For a test server the operator sets `upstream`.)"));
    }
    if let Err(class) = address::judge_url(&url) {
        return text.fault(format!("{what}: no connector reaches {class} addresses by itself; an operator can point `upstream` there"));
    }
    Ok(url)
}

/// The same, and without a query.
pub(super) fn bare_https_url(text: &Placed<String>, what: &str) -> Read<String> {
    let url = https_url(text, what)?;
    if url.query().is_some() {
        return text.fault(format!("{what} has a query: parameters have keys of their own"));
    }
    Ok(url.to_string())
}

/// A path prefix in the form in which requests are judged.
pub(super) fn path(text: &Placed<String>, what: &str) -> Read<String> {
    let value = text.value.as_str();
    if !value.starts_with('/') {
        return text.fault(format!("{what} begins with a slash: write \"/{}\"", short(value)));
    }
    if value.contains(['?', '#']) {
        return text.fault(format!("{what} is a path alone, without `?` or `#`"));
    }
    if value.contains('*') {
        return text.fault(format!(
            "{what} is a prefix, wildcards are not known: “/v1/” covers all below it, “/v1/me” that path and what is below it"
        ));
    }
    match guest_url::normal_path(value) {
        Ok(normal) if normal == value => Ok(normal),
        Ok(normal) => text.fault(format!("{what} is judged in its normal form: write \"{}\"", short(&normal))),
        Err(bad) => text.fault(format!("{what}: {bad}")),
    }
}

/// An HTTP header name; `own` refuses those that only the gate writes.
pub(super) fn header_name(text: &Placed<String>, own: bool) -> Read<String> {
    let value = text.value.as_str();
    let token = !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !token {
        return text.fault(format!("“{}” is no header name", short(value)));
    }
    let lower = value.to_ascii_lowercase();
    if own && (GATE_HEADERS.contains(&lower.as_str()) || lower.starts_with("proxy-")) {
        return text.fault(format!("the header {value} is the gate's alone"));
    }
    Ok(text.value.clone())
}

/// Headers that shape the message or the method, not the request.
const GATE_HEADERS: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "expect",
    "te",
    "trailer",
    "accept-encoding",
    "content-encoding",
    "range",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// RFC 6901.
pub(super) fn pointer(text: &Placed<String>, what: &str) -> Read<String> {
    let value = text.value.as_str();
    let mut escapes = value.split('~').skip(1);
    if value.starts_with('/') && value.len() <= 256 && escapes.all(|part| part.starts_with(['0', '1'])) {
        return Ok(value.to_owned());
    }
    text.fault(format!("{what} is a JSON pointer such as \"/session/key\", not “{}”", short(value)))
}

/// Fails for the first text that came before.
pub(super) fn unique<'a>(texts: impl IntoIterator<Item = (usize, &'a str)>, what: &str) -> Read<()> {
    let mut seen = std::collections::BTreeSet::new();
    for (at, text) in texts {
        if !seen.insert(text) {
            return Fault::new(at, format!("{what} “{}” is there twice", short(text)));
        }
    }
    Ok(())
}

/// Checks a setting's value.
pub(super) fn setting_value(kind: &SettingKind, value: &str) -> Result<(), String> {
    let shown = short(value);
    match kind {
        SettingKind::Bool if matches!(value, "true" | "false") => Ok(()),
        SettingKind::Bool => Err(format!("it is true or false, not “{shown}”")),
        SettingKind::Integer if value.parse::<i64>().is_ok() => Ok(()),
        SettingKind::Integer => Err(format!("it is a whole number, not “{shown}”")),
        SettingKind::Text if value.len() > 4096 => Err(format!("it has {} bytes, and 4096 is the most", value.len())),
        SettingKind::Text if value.contains('\0') => Err("it holds a NUL character".to_owned()),
        SettingKind::Text => Ok(()),
        SettingKind::Choice(choices) if choices.iter().any(|choice| choice == value) => Ok(()),
        SettingKind::Choice(choices) => Err(format!("it is one of {}, not “{shown}”", choices.join(", "))),
        SettingKind::Url => match guest_url::parse_url(value) {
            Ok(url) if url.scheme() == "https" => Ok(()),
            Ok(_) => Err("it must be an https URL".to_owned()),
            Err(bad) => Err(bad.to_string()),
        },
    }
}

/// The known word that was probably meant: the fewest single-letter changes, at most a third of its length.
pub(crate) fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > 80 {
        return None;
    }
    let folded = text.to_lowercase().replace('_', "-");
    known
        .map(|word| (distance(&folded, &word.replace('_', "-")), word))
        .filter(|(changes, word)| *changes <= (word.len().max(3) / 3).max(1))
        .min_by_key(|(changes, _)| *changes)
        .map(|(_, word)| word)
}

/// Insertions, deletions, substitutions and swaps of neighbours between two texts.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], k: usize| row.get(k).copied().unwrap_or(usize::MAX / 2);
            let mut cost = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                cost = cost.min(at(&before, j - 1) + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{distance, is_name, nearest};

    #[test]
    fn the_nearest_word_is_named_only_when_it_is_near() {
        let known = ["origin", "methods", "paths"];
        for (text, near) in [
            ("orign", Some("origin")),
            ("Origin", Some("origin")),
            ("method", Some("methods")),
            ("path", Some("paths")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, known.into_iter()), near, "{text}");
        }
        assert_eq!(nearest("app_fields", ["app-fields"].into_iter()), Some("app-fields"));
        assert_eq!((distance("ab", "ba"), distance("", "abc"), distance("kitten", "sitting")), (1, 3, 3));
    }

    #[test]
    fn names_are_lower_case_with_dashes() {
        for good in ["a", "api-key", "x1", "a-1-b"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "A", "1a", "-a", "a-", "a_b", "a.b", "ä", &"a".repeat(41)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
