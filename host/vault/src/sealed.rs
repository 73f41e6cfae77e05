//! The sealed form of a value: one version byte, a random nonce, the ciphertext and its tag.
//!
//! Everything that says *where* a value belongs is associated data: it is not stored with the ciphertext, it is stated again by whoever opens it,
//! and a value that was moved elsewhere does not open. Each part is written with its length before it, so that `("ab", "c")` and `("a", "bc")` are
//! different bytes, and each kind of value begins with a domain of its own, so that a wrapped data key never passes for a credential.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use sluice_model::time::Random;
use zeroize::Zeroizing;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of a nonce: large enough to be drawn at random for ever (2^96 values before a repetition is as likely as 2^-1).
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// The only version there is. It stands in the associated data too.
const VERSION: u8 = 1;

/// A key that is wiped when dropped.
pub(crate) type KeyBytes = Zeroizing<[u8; KEY_BYTES]>;

/// Where a credential belongs. All of it is associated data of the ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The connector's name.
    pub connector: &'a str,
    /// The connection's public id.
    pub connection: &'a str,
    /// The key's name.
    pub name: &'a str,
    /// Whether the guest put it there (key storage), or the host holds it.
    pub guest: bool,
}

impl Identity<'_> {
    pub(crate) fn associated(&self) -> Vec<u8> {
        associated("credential", &[self.connector, self.connection, self.name, if self.guest { "guest" } else { "host" }])
    }
}

/// Why a sealed value did not open. None of them says anything about the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Sealed under a host key that is not in the key file.
    #[error(
        "a stored secret is sealed under the host key {key_id}, which is not in the key file; put back the key file that was in use, or link the account again"
    )]
    UnknownKey {
        /// The id it asks for.
        key_id: String,
    },
    /// Changed since it was sealed, or moved from where it belongs.
    #[error(
        "a stored secret did not open: it was changed, or belongs to another name or connection; restore the database from a backup, or link the account again"
    )]
    Refused,
    /// Not of the form that this version writes.
    #[error("a stored secret has a form that this version of sluice does not read; it was cut short, or written by a newer version")]
    Malformed,
}

/// Domain and parts as unambiguous bytes.
pub(crate) fn associated(domain: &str, parts: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + parts.iter().map(|p| p.len() + 8).sum::<usize>());
    out.push(VERSION);
    for part in std::iter::once(&domain).chain(parts) {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    out
}

/// Seals `plain` under `key`, bound to `associated`.
pub(crate) fn seal(key: &KeyBytes, random: &dyn Random, associated: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut nonce = [0u8; NONCE_BYTES];
    random.fill(&mut nonce);
    // The plaintext is written once, into the buffer that becomes the ciphertext, with its room reserved: no stray copy by growing.
    let mut body = Vec::with_capacity(plain.len() + TAG_BYTES);
    body.extend_from_slice(plain);
    let cipher = XChaCha20Poly1305::new(&Key::from(**key));
    if cipher.encrypt_in_place(&XNonce::from(nonce), associated, &mut body).is_err() {
        // Only a plaintext of more than 256 GiB does this; nothing in Sluice holds one.
        eprintln!("sluice: a value of {} bytes is too long to be sealed; ending rather than storing it open", plain.len());
        std::process::abort();
    }
    let mut out = Vec::with_capacity(1 + NONCE_BYTES + body.len());
    out.push(VERSION);
    out.extend_from_slice(&nonce);
    out.append(&mut body);
    out
}

/// Opens what [`seal`] made with the same key and associated data.
pub(crate) fn open(key: &KeyBytes, associated: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (version, rest) = sealed.split_first().ok_or(SealError::Malformed)?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Malformed)?;
    if *version != VERSION || body.len() < TAG_BYTES {
        return Err(SealError::Malformed);
    }
    let mut plain = Zeroizing::new(body.to_vec());
    let cipher = XChaCha20Poly1305::new(&Key::from(**key));
    cipher.decrypt_in_place(&XNonce::from(*nonce), associated, &mut *plain).map_err(|_| SealError::Refused)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_identities_share_bytes() {
        let at = |connector, connection, name, guest| Identity { connector, connection, name, guest }.associated();
        let all = [
            at("ab", "c", "d", false),
            at("a", "bc", "d", false),
            at("a", "b", "cd", false),
            at("abc", "d", "", false),
            at("", "abc", "d", false),
            at("a", "b", "cd", true),
            at("a", "b", "cdhost", false),
            at("a", "b", "", false),
            associated("data-key", &["a", "b", "cd", "host"]),
            associated("credential", &["a", "b", "cd"]),
        ];
        for (i, a) in all.iter().enumerate() {
            for b in all.iter().skip(i + 1) {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn the_same_plaintext_never_seals_to_the_same_bytes() {
        let key = Zeroizing::new([7u8; KEY_BYTES]);
        let a = seal(&key, &crate::OsRandom, b"x", b"token");
        let b = seal(&key, &crate::OsRandom, b"x", b"token");
        assert_ne!(a, b);
        assert_eq!(open(&key, b"x", &a).ok().map(|p| p.to_vec()), Some(b"token".to_vec()));
    }
}
