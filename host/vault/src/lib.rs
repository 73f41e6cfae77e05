//! Secrets at rest, and the type that carries one in memory.
//!
//! The problem: Sluice holds tokens of other people. Whoever copies the database must not get them, a row that is moved to another name or
//! connection must not open there, and a token must not end up in a log line because somebody wrote `{:?}`.
//!
//! The contract:
//! - [`Secret`] can't be printed, cloned or serialised; reading it takes the word [`Secret::expose`], which is easy to search for. Its memory is
//!   wiped when it is dropped.
//! - Each connection has a [`DataKey`] of its own, wrapped by the host key and stored beside the data. Deleting the wrapped key makes a deletion
//!   real, backups of the database aside. What a data key seals is bound to an [`Identity`] as associated data: connector, connection, name and
//!   whether a guest or the host keeps it.
//! - The host key is a file of mode 0600 that lives outside the data folder ([`Vault::open`]). There is no plain mode: where there is data and no
//!   usable key, the host does not start, and nothing is written.
//! - Each sealed value is XChaCha20-Poly1305 under a random 192-bit nonce, so that no counter has to survive a crash or a restored backup.
//!
//! What bounds it: a key file has at most 64 KiB and 64 keys; names in an identity are length-prefixed, so that no two identities share bytes.
//! What it costs: one HKDF at start, one stream-cipher pass for each value; sealing a token of 100 bytes takes about a microsecond.
#![forbid(unsafe_code)]

mod key_file;
mod random;
mod sealed;
mod secret;
mod vault;

pub use key_file::KeyError;
pub use random::OsRandom;
pub use sealed::{Identity, SealError};
pub use secret::Secret;
pub use vault::{DataKey, KeyFile, Vault, WrappedKey};
