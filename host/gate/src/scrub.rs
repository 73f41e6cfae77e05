//! Takes secrets out of bytes: answers, excerpts, log lines.
//!
//! Providers echo tokens: in paging links, in error texts, in a request that they quote back. What goes out with a key comes back through here, and
//! every form in which a secret commonly travels is looked for at once: as it is, URL-encoded, JSON-escaped (each also with every
//! character escaped), HTML-escaped, in base64
//! (both alphabets, at each of the three places where it may begin inside a longer encoded text), and in hex.
//!
//! Most answers hold no secret at all, so what has to be fast is finding nothing, in answers and in the making, since each session has a scrubber of its
//! own: packed searches (SIMD, made in microseconds) go over an answer at memory speed, and without a match nothing is copied. Only where one matches is
//! the automaton built that tells which form it was, longest first; for a token that takes some 200 µs. Values under eight characters are not
//! looked for: they would turn up by chance.

use aho_corasick::{AhoCorasick, MatchKind, packed};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::borrow::Cow;
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// Shorter values are no secrets, or would be found in innocent text.
pub const SHORTEST: usize = 8;
/// What stands in a secret's place. Fit for headers, URLs and JSON alike.
pub const STAND_IN: &str = "***";

/// RFC 3986's unreserved characters stay.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// What browsers leave alone as well (`encodeURIComponent`).
const SCRIPT: &AsciiSet = &COMPONENT.remove(b'!').remove(b'\'').remove(b'(').remove(b')').remove(b'*');
/// What a path or query may hold as it is.
const LENIENT: &AsciiSet = &SCRIPT
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'+')
    .remove(b'=')
    .remove(b',')
    .remove(b';')
    .remove(b'$')
    .remove(b'&')
    .remove(b'?');

/// Forms of one packed search: beyond 64 there is none, and with fewer its buckets stay selective.
const TOGETHER: usize = 32;

/// Finds secrets in all their forms.
#[derive(Default)]
pub struct Scrubber {
    forms: Zeroizing<Vec<Vec<u8>>>,
    /// Empty where this machine has no SIMD for them: then the automaton does it all.
    packed: Vec<packed::Searcher>,
    automaton: OnceLock<Option<AhoCorasick>>,
}

impl Scrubber {
    /// A scrubber for these values. Those under eight characters are left out.
    #[must_use]
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s [u8]>) -> Self {
        let mut forms: Zeroizing<Vec<Vec<u8>>> = Zeroizing::default();
        for secret in secrets {
            let characters = std::str::from_utf8(secret).map_or(secret.len(), |text| text.chars().count());
            if characters >= SHORTEST {
                forms.extend(forms_of(secret).into_iter().filter(|f| f.len() >= SHORTEST));
            }
        }
        forms.sort_unstable();
        forms.dedup();
        let search = |forms: &[Vec<u8>]| packed::Config::new().builder().extend(forms).build();
        let packed = forms.chunks(TOGETHER).map(search).collect::<Option<_>>().unwrap_or_default();
        Self { forms, packed, automaton: OnceLock::new() }
    }

    /// Whether a secret is in there.
    #[must_use]
    pub fn finds(&self, bytes: &[u8]) -> bool {
        if self.forms.is_empty() {
            return false;
        }
        if self.packed.is_empty() {
            return self.automaton().is_none_or(|automaton| automaton.is_match(bytes));
        }
        self.packed.iter().any(|search| search.find(bytes).is_some())
    }

    /// The bytes without secrets; the same vector when there was none.
    #[must_use]
    pub fn bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        if self.finds(&bytes) { self.replaced(&bytes) } else { bytes }
    }

    /// The text without secrets; borrowed when there was none.
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.finds(text.as_bytes()) {
            return Cow::Borrowed(text);
        }
        // Replaced as bytes: a form of a secret that is no text may begin inside a character.
        Cow::Owned(String::from_utf8_lossy(&self.replaced(text.as_bytes())).into_owned())
    }

    fn replaced(&self, bytes: &[u8]) -> Vec<u8> {
        // Building fails only for gigabytes of forms; then nothing is shown rather than too much.
        let Some(automaton) = self.automaton() else { return STAND_IN.as_bytes().to_vec() };
        let mut out = Vec::with_capacity(bytes.len());
        automaton.replace_all_with_bytes(bytes, &mut out, |_, _, out| {
            out.extend_from_slice(STAND_IN.as_bytes());
            true
        });
        out
    }

    /// Longest first at each place, so that an encoded form with its escapes goes as a whole.
    fn automaton(&self) -> Option<&AhoCorasick> {
        let build = || AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(self.forms.iter()).ok();
        self.automaton.get_or_init(build).as_ref()
    }
}

/// All forms of one secret; some are equal for plain ones, and the set above keeps one of each.
fn forms_of(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_vec()];
    // Most tokens are made of characters that only the strictest writers of URLs escape, and none of JSON or HTML.
    let plain = secret.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(b));
    let sets = [NON_ALPHANUMERIC, COMPONENT, SCRIPT, LENIENT];
    for set in sets.get(..if plain { 1 } else { sets.len() }).unwrap_or_default() {
        let upper: String = percent_encode(secret, set).collect();
        if !plain {
            forms.push(upper.replace("%20", "+").into_bytes());
            forms.push(lower_escapes(&upper).replace("%20", "+").into_bytes());
        }
        forms.push(lower_escapes(&upper).into_bytes());
        forms.push(upper.into_bytes());
    }
    // Hardly anybody escapes letters; those who do must not get a secret past us.
    forms.push(escape_all(secret, "%", b"0123456789ABCDEF"));
    forms.push(escape_all(secret, "%", b"0123456789abcdef"));
    if let Ok(text) = std::str::from_utf8(secret) {
        let mut every = String::with_capacity(text.len() * 6);
        text.chars().for_each(|c| escape(c, &mut every));
        forms.push(every.to_ascii_uppercase().replace("\\U", "\\u").into_bytes());
        forms.push(every.into_bytes());
    }
    if let (false, Ok(text)) = (plain, std::str::from_utf8(secret)) {
        for slashes in [false, true] {
            for unicode in [false, true] {
                for html_safe in [false, true] {
                    forms.push(json(text, slashes, unicode, html_safe).into_bytes());
                }
            }
        }
        let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        forms.push(html.replace('\'', "&#39;").into_bytes());
        forms.push(html.replace('\'', "&#x27;").into_bytes());
        forms.push(html.into_bytes());
    }
    forms.push(escape_all(secret, "", b"0123456789ABCDEF"));
    forms.push(escape_all(secret, "", b"0123456789abcdef"));
    for shift in 0..3 {
        forms.push(base64_inside(secret, shift, |bytes| STANDARD_NO_PAD.encode(bytes)));
        forms.push(base64_inside(secret, shift, |bytes| URL_SAFE_NO_PAD.encode(bytes)));
    }
    forms
}

/// Every byte as two digits with a sign before them.
fn escape_all(secret: &[u8], sign: &str, digits: &[u8; 16]) -> Vec<u8> {
    let mut out = Vec::with_capacity(secret.len() * (sign.len() + 2));
    for byte in secret {
        out.extend_from_slice(sign.as_bytes());
        out.extend([byte >> 4, byte & 15].into_iter().filter_map(|digit| digits.get(usize::from(digit))));
    }
    out
}

/// The characters of an encoded longer text that depend on the secret alone, when it begins `shift` bytes after a boundary of three.
fn base64_inside(secret: &[u8], shift: usize, encode: impl Fn(&[u8]) -> String) -> Vec<u8> {
    let mut padded = vec![0u8; shift];
    padded.extend_from_slice(secret);
    let encoded = encode(&padded).into_bytes();
    let first = (shift * 8).div_ceil(6);
    let past = padded.len() * 8 / 6;
    encoded.get(first..past).unwrap_or_default().to_vec()
}

/// `%2F` as `%2f`.
fn lower_escapes(upper: &str) -> String {
    upper
        .chars()
        .scan(0u8, |hex, c| {
            let out = if *hex > 0 { c.to_ascii_lowercase() } else { c };
            *hex = if c == '%' { 2 } else { hex.saturating_sub(1) };
            Some(out)
        })
        .collect()
}

/// As JSON writers put text inside a string.
fn json(text: &str, slashes: bool, unicode: bool, html_safe: bool) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' if slashes => out.push_str("\\/"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\'' if html_safe => escape(c, &mut out),
            c if (c as u32) < 0x20 => escape(c, &mut out),
            c if unicode && !c.is_ascii() => escape(c, &mut out),
            c => out.push(c),
        }
    }
    out
}

fn escape(c: char, out: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.push_str("\\u");
        out.extend([12, 8, 4, 0].map(|shift| char::from_digit(u32::from((*unit >> shift) & 15), 16).unwrap_or('0')));
    }
}

#[cfg(test)]
mod tests;
