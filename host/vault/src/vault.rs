//! The host's key ring: makes and unwraps data keys, seals what belongs to the host itself, derives keys for other purposes.

use crate::key_file::{self, HostKey, KeyError};
use crate::sealed::{self, Identity, KEY_BYTES, KeyBytes, SealError};
use crate::secret::Secret;
use sluice_model::time::Random;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The host's keys, the current one and those that still open what is older.
pub struct Vault {
    current: HostKey,
    older: Vec<HostKey>,
    random: Arc<dyn Random>,
}

/// Where the host key came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFile {
    /// Made just now: its path is for the operator, with "back this up with your data".
    Created(PathBuf),
    /// It was there.
    Opened(PathBuf),
}

/// A data key under the host key, as it is stored beside the data. Deleting it makes everything under it unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// Which host key it is wrapped by.
    pub key_id: String,
    /// The sealed key.
    pub bytes: Vec<u8>,
}

/// The key of one connection.
///
/// ```compile_fail,E0277
/// fn debug<T: std::fmt::Debug>() {}
/// debug::<sluice_vault::DataKey>();
/// ```
///
/// ```compile_fail,E0277
/// fn clone<T: Clone>() {}
/// clone::<sluice_vault::DataKey>();
/// ```
pub struct DataKey {
    key: KeyBytes,
    random: Arc<dyn Random>,
}

impl Vault {
    /// Opens the key file, or makes one where there is no data yet.
    ///
    /// `data_exists` says whether there is a database: then a missing key file is an error, since a fresh key would open nothing of it.
    ///
    /// # Errors
    /// The file is missing though there is data, short, changed, readable by others, not ours; or the operating system said no. Nothing is
    /// written in any of these cases.
    pub fn open(key_path: &Path, data_exists: bool, random: Arc<dyn Random>) -> Result<(Self, KeyFile), KeyError> {
        let missing = || KeyError::Missing { path: key_path.to_owned() };
        let ring = match key_file::read(key_path)? {
            Some(ring) => ring,
            None if data_exists => return Err(missing()),
            None => {
                if let Some(key) = key_file::create(key_path, random.as_ref())? {
                    return Ok((Self { current: key, older: Vec::new(), random }, KeyFile::Created(key_path.to_owned())));
                }
                key_file::read(key_path)?.ok_or_else(missing)?
            }
        };
        let mut ring = ring.into_iter();
        let current = ring.next().ok_or_else(missing)?;
        Ok((Self { current, older: ring.collect(), random }, KeyFile::Opened(key_path.to_owned())))
    }

    /// Refuses a key file that lies inside the data folder. Neither of the two has to exist yet.
    ///
    /// # Errors
    /// [`KeyError::InsideData`].
    pub fn check_place(key_path: &Path, data: &Path) -> Result<(), KeyError> {
        let inside = match (resolved(key_path), resolved(data)) {
            (Some(key), Some(folder)) => key.starts_with(folder),
            _ => key_path.starts_with(data),
        };
        if inside { Err(KeyError::InsideData { path: key_path.to_owned(), data: data.to_owned() }) } else { Ok(()) }
    }

    /// The id of the key that new values are sealed under.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.current.id
    }

    /// Whether a key of that id is in the ring. A host asks this for the ids in its database before it starts, so that a key file of another
    /// host stops the start and not the first run.
    #[must_use]
    pub fn holds(&self, key_id: &str) -> bool {
        self.find(key_id).is_some()
    }

    /// A fresh key for a connection (its public id), and its wrapped form.
    #[must_use]
    pub fn new_data_key(&self, connection: &str) -> (DataKey, WrappedKey) {
        let mut key: KeyBytes = Zeroizing::new([0u8; KEY_BYTES]);
        self.random.fill(key.as_mut_slice());
        let bytes = sealed::seal(&self.current.key, self.random.as_ref(), &wrapping(&self.current.id, connection), key.as_slice());
        (DataKey { key, random: Arc::clone(&self.random) }, WrappedKey { key_id: self.current.id.clone(), bytes })
    }

    /// The data key of a connection.
    ///
    /// # Errors
    /// It was wrapped by a key that is not in the ring, for another connection, or was changed.
    pub fn unwrap(&self, connection: &str, wrapped: &WrappedKey) -> Result<DataKey, SealError> {
        let host = self.find(&wrapped.key_id).ok_or_else(|| SealError::UnknownKey { key_id: shown(&wrapped.key_id) })?;
        let plain = sealed::open(&host.key, &wrapping(&host.id, connection), &wrapped.bytes)?;
        let mut key: KeyBytes = Zeroizing::new([0u8; KEY_BYTES]);
        if plain.len() != KEY_BYTES {
            return Err(SealError::Malformed);
        }
        key.copy_from_slice(&plain);
        Ok(DataKey { key, random: Arc::clone(&self.random) })
    }

    /// Seals something of the host's own (a link flow under way) for one context.
    #[must_use]
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let id = self.current.id.as_bytes();
        let mut body = sealed::seal(&self.current.key, self.random.as_ref(), &host_value(&self.current.id, context), plain);
        let mut out = Vec::with_capacity(id.len() + body.len());
        out.extend_from_slice(id);
        out.append(&mut body);
        out
    }

    /// Opens what [`Vault::seal`] made for the same context.
    ///
    /// # Errors
    /// Another context, a key that is not in the ring, or changed bytes.
    pub fn open_sealed(&self, context: &str, sealed: &[u8]) -> Result<Secret, SealError> {
        let (id, body) = sealed.split_at_checked(self.current.id.len()).ok_or(SealError::Malformed)?;
        let id = std::str::from_utf8(id).map_err(|_| SealError::Malformed)?;
        let host = self.find(id).ok_or_else(|| SealError::UnknownKey { key_id: shown(id) })?;
        sealed::open(&host.key, &host_value(&host.id, context), body).map(Secret::from_zeroizing)
    }

    /// A key for one purpose, the same at each start, from which the host key can't be told.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut out = [0u8; 32];
        key_file::expand(&self.current.key, &format!("derive/{purpose}"), &mut out);
        out
    }

    fn find(&self, id: &str) -> Option<&HostKey> {
        std::iter::once(&self.current).chain(&self.older).find(|k| k.id == id)
    }
}

impl DataKey {
    /// Seals a credential where `id` says it belongs.
    #[must_use]
    pub fn seal(&self, id: &Identity<'_>, plain: &[u8]) -> Vec<u8> {
        sealed::seal(&self.key, self.random.as_ref(), &id.associated(), plain)
    }

    /// Opens a credential that was sealed for the same identity.
    ///
    /// # Errors
    /// It belongs elsewhere, was sealed under another key, or was changed.
    pub fn open(&self, id: &Identity<'_>, sealed: &[u8]) -> Result<Secret, SealError> {
        sealed::open(&self.key, &id.associated(), sealed).map(Secret::from_zeroizing)
    }
}

fn wrapping(key_id: &str, connection: &str) -> Vec<u8> {
    sealed::associated("data-key", &[key_id, connection])
}

fn host_value(key_id: &str, context: &str) -> Vec<u8> {
    sealed::associated("host", &[key_id, context])
}

/// An id from the database, fit for an error line.
fn shown(key_id: &str) -> String {
    key_id.chars().filter(char::is_ascii_alphanumeric).take(32).collect()
}

/// The path with its longest existing part resolved, so that a link or `..` can't hide where it leads.
fn resolved(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    let mut rest = Vec::new();
    let mut at = absolute.as_path();
    loop {
        if let Ok(real) = at.canonicalize() {
            return Some(rest.iter().rev().fold(real, |p, name| p.join(name)));
        }
        rest.push(at.file_name()?.to_owned());
        at = at.parent()?;
    }
}
