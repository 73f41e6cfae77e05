//! Request signatures, a closed set. `sorted-md5` is Last.fm's: MD5 over names and values in byte order of the names, and the shared secret.
//!
//! MD5 is what the provider asks for; here it proves nothing to us.

use md5::{Digest, Md5};
use zeroize::Zeroizing;

/// The parameter that carries the signature.
pub(crate) const SIGNATURE: &str = "api_sig";
/// Parameters that are not signed.
const UNSIGNED: [&str; 3] = ["format", "callback", SIGNATURE];

/// The signature of raw (not yet encoded) parameters: 32 lower-case hex digits.
#[must_use]
pub fn sign_sorted_md5<N: AsRef<str>, V: AsRef<str>>(params: &[(N, V)], secret: &str) -> String {
    let mut signed: Vec<(&str, &str)> =
        params.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).filter(|(n, _)| !UNSIGNED.contains(n)).collect();
    signed.sort_unstable();
    let mut text = Zeroizing::new(String::with_capacity(signed.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>() + secret.len()));
    for (name, value) in signed {
        text.push_str(name);
        text.push_str(value);
    }
    text.push_str(secret);
    Md5::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_over_sorted_names_and_the_secret() {
        // Both computed by another program.
        let params = [
            ("token", "yyyy"),
            ("method", "auth.getSession"),
            ("format", "json"),
            ("api_key", "xxxx"),
            ("callback", "f"),
            ("api_sig", "0"),
        ];
        assert_eq!(sign_sorted_md5(&params, "ilovecher"), "823df9939bce8abaf766d357c0eb08e1");
        let order = [("api_key", ""), ("artist[1]", "A"), ("artist[10]", "B")];
        assert_eq!(sign_sorted_md5(&order, ""), "4bbc4e7456f0e784509bb3ad03cf358c");
    }
}
