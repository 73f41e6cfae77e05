//! ETags: what did not change costs nothing.
//!
//! A provider that answers 304 sends no body, so what the last body said has to be kept: not the body itself, but the digest of it that the
//! connector needs (a page of repositories becomes ids, names and counts). Digests live in the connector's state under the URL and the
//! account, because an ETag belongs to both, and are committed together with the entries drawn from them.
//!
//! A cache is a luxury: where the state is full, or a digest cannot be read any more, the answer is simply fetched whole.

use crate::host::Host;
use crate::http::{Request, Response};
use crate::json;
use crate::types::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One digest may take this much of the state, a quarter of its default bound: past that it would crowd out the rest.
pub const MAX_DIGEST_BYTES: usize = 256 << 10;

#[derive(Serialize, Deserialize)]
struct Kept<T> {
    url: String,
    etag: String,
    digest: T,
}

/// What a conditional request brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched<T> {
    /// The digest of the answer, new or kept.
    pub digest: T,
    /// Whether the provider said that nothing changed.
    pub unchanged: bool,
}

/// Fetches with `If-None-Match` where there is something to compare with. `judge` sees every answer but a 304 and turns it into a digest or
/// a failure; a digest is kept when the answer carried an ETag.
///
/// # Errors
/// There was no answer, or `judge` refused it.
pub fn conditional<T: Serialize + DeserializeOwned>(
    host: &mut Host<'_>,
    request: Request,
    account: &str,
    judge: impl FnOnce(&Response) -> Result<T, Failure>,
) -> Result<Fetched<T>, Failure> {
    let key = format!("etag/{}/{:016x}", name(account), hash(request.url.as_bytes()));
    let url = request.url.clone();
    let kept: Option<Kept<T>> = host.backend().state_get(&key).and_then(|bytes| json::parse(&bytes).ok());
    // Two addresses may share a hash, so the address is kept and compared.
    let kept = kept.filter(|k| k.url == url);
    let conditional = match &kept {
        Some(k) => request.clone().header("If-None-Match", k.etag.as_str()),
        None => request.clone(),
    };
    let mut response = host.fetch(&conditional)?;
    if response.status == 304 {
        match kept {
            Some(k) => return Ok(Fetched { digest: k.digest, unchanged: true }),
            // A 304 to a question that was not asked: ask again, in words that allow no such answer.
            None => response = host.fetch(&request.header("Cache-Control", "no-cache"))?,
        }
    }
    let digest = judge(&response)?;
    keep(host, &key, &url, response.header("etag"), &digest);
    Ok(Fetched { digest, unchanged: false })
}

fn keep<T: Serialize>(host: &mut Host<'_>, key: &str, url: &str, etag: Option<&str>, digest: &T) {
    let Some(etag) = etag else {
        host.backend().state_delete(key);
        return;
    };
    let written = serde_json::to_vec(&Kept { url: url.to_owned(), etag: etag.to_owned(), digest });
    let kept = match written {
        Ok(bytes) if bytes.len() <= MAX_DIGEST_BYTES => host.backend().state_set(key, &bytes).is_ok(),
        _ => false,
    };
    if !kept {
        host.backend().state_delete(key);
    }
}

/// An account's part of a state key: its own characters where they are harmless, cut to what a key has room for.
fn name(account: &str) -> String {
    account.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(40).collect()
}

/// FNV-1a, 64 bits: short names for long addresses and ids. Not for anything that an enemy should not be able to match.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, byte| (h ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
