//! The spellings in which a secret could be recognised, for tests that search what was written, served, printed or handed over.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// A secret in all the spellings in which it could be recognised. The first two thirds of a long one count as it: the rest could be guessed, or the
/// text was cut there.
#[must_use]
pub fn spellings(secret: &str) -> Vec<Vec<u8>> {
    let mut all = forms(secret);
    if secret.len() >= 32 {
        all.extend(forms(&secret[..secret.len() * 2 / 3]));
    }
    all.sort();
    all.dedup();
    all
}

/// The same without the beginnings.
#[must_use]
pub fn forms(secret: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let hex = |upper: bool| bytes.iter().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") }).collect::<String>();
    let percent = |upper: bool| bytes.iter().map(|b| if upper { format!("%{b:02X}") } else { format!("%{b:02x}") }).collect::<String>();
    let json: String = secret.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let form: String = url::form_urlencoded::byte_serialize(bytes).collect();
    let mut all = vec![secret.to_owned(), hex(false), hex(true), percent(false), percent(true), json, form, secret.chars().rev().collect()];
    // Base64 of it at each of the three places within a group; what its neighbours would change is cut off.
    for lead in 0..3 {
        let padded: Vec<u8> = std::iter::repeat_n(b'x', lead).chain(bytes.iter().copied()).collect();
        let whole = padded.len() / 3 * 3;
        let text = STANDARD_NO_PAD.encode(&padded[..whole]);
        let inner = text[if lead == 0 { 0 } else { 4 }..].to_owned();
        all.push(inner.replace('+', "-").replace('/', "_"));
        all.push(inner);
    }
    all.push(STANDARD.encode(bytes));
    all.push(URL_SAFE_NO_PAD.encode(bytes));
    all.into_iter().map(String::into_bytes).collect()
}

/// Where the needle begins.
#[must_use]
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(step) = haystack.get(from..)?.iter().position(|b| *b == first) {
        let at = from + step;
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Whether it is in there.
#[must_use]
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    find(haystack, needle).is_some()
}
