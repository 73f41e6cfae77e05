//! PKCE (RFC 7636) and the random values of a sign-in.
//!
//! State and verifier are 256 random bits each, base64url: the state is what a stranger would have to guess, and the verifier is what a stolen code
//! is worth nothing without. Of the state only its SHA-256 is stored, so that whoever reads the database cannot finish somebody's sign-in; the
//! verifier is sealed in the flow's row. Only S256 exists here: `plain` would put the verifier into the browser's address bar.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use sluice_model::time::Random;
use sluice_vault::Secret;

/// 256 bits: RFC 7636 §7.1 recommends it for the verifier, and twice what is required of a state.
const RANDOM_BYTES: usize = 32;
/// Longer values in a callback are none of ours.
const MAX_TOKEN_TEXT: usize = 128;

/// A fresh unguessable text of 43 characters `[A-Za-z0-9_-]`, fit for a URL path or query.
#[must_use]
pub fn random_text(random: &dyn Random) -> String {
    let mut bytes = [0u8; RANDOM_BYTES];
    random.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The `code_challenge` of a verifier: BASE64URL(SHA256(ASCII(verifier))).
#[must_use]
pub fn challenge(verifier: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose()))
}

/// What is stored instead of a state or nonce; `None` where the text can be none of ours.
#[must_use]
pub fn state_hash(text: &str) -> Option<[u8; 32]> {
    let plausible =
        (32..=MAX_TOKEN_TEXT).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    plausible.then(|| Sha256::digest(text.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_vault::OsRandom;

    #[test]
    fn the_example_of_rfc_7636_appendix_b() {
        let octets: [u8; 32] = [
            116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105, 214, 191, 240, 91, 88, 5, 88,
            83, 132, 141, 121,
        ];
        struct Fixed([u8; 32]);
        impl Random for Fixed {
            fn fill(&self, buf: &mut [u8]) {
                buf.copy_from_slice(&self.0);
            }
        }
        let verifier = random_text(&Fixed(octets));
        assert_eq!(verifier, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge(&Secret::text(verifier)), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn values_are_fit_for_urls_and_never_the_same() {
        let all: std::collections::BTreeSet<String> = (0..1000).map(|_| random_text(&OsRandom)).collect();
        assert_eq!(all.len(), 1000);
        for text in &all {
            assert_eq!(text.len(), 43);
            assert!(state_hash(text).is_some());
        }
    }

    #[test]
    fn what_cannot_be_ours_has_no_hash() {
        for text in [
            "",
            "short",
            &"x".repeat(129),
            "dBjftJeZ4CVP mB92K27uhbUJU1p1r wW1gFWFOEjXk",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjX\u{e9}k",
        ] {
            assert_eq!(state_hash(text), None, "{text}");
        }
    }
}
