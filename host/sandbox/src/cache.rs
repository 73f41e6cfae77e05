//! Compiled connectors, kept between starts.
//!
//! Loading compiled code ([`load_code`]) is the one thing here that trusts bytes: wasmtime runs what it is given. So a file is used only when its MAC, under a key that
//! never leaves this host, covers exactly the bytes that are then loaded, together with the hash of the component they came from and of the engine they
//! were made for. Anything else in the folder (an older engine's file, half a file, a changed one) is not an error: the component is compiled again and
//! the file replaced. Files appear by renaming, so that a reader never sees half of one. How many there may be, and which go, is `room`'s.
//!
//! Layout: magic (8) · hash of the component (32) · hash of engine and build (32) · how long compiling took, ms (8, little-endian) · code ·
//! HMAC-SHA256 over all before it (32).

use crate::error::EngineError;
use crate::room::{self, MAX_KEPT, Spare, Wanted};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wasmtime::component::Component;

const MAGIC: &[u8; 8] = b"SLUICEC2";
const HEAD: usize = 8 + 32 + 32;
const TOOK: usize = 8;
const MAC: usize = 32;
/// No compiled connector comes near; a larger file is not read into memory.
const MAX_FILE: u64 = 1 << 30;

/// The folder, and what its files must be made for.
pub(crate) struct Cache {
    folder: PathBuf,
    key: [u8; 32],
    engine: [u8; 32],
    /// Hashes of what was approved, as last told. Held while a file is written or removed: no temporary file but the holder's is in use.
    approved: Mutex<BTreeSet<String>>,
}

/// SHA-256 as a hasher, for wasmtime's compatibility hash: the standard ones are neither stable nor strong.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn finish(&self) -> u64 {
        // Never asked: the whole digest is taken instead.
        0
    }
}

/// What compiled code depends on besides its source: wasmtime's version, settings and target, and this crate's version.
pub(crate) fn engine_hash(engine: &wasmtime::Engine) -> [u8; 32] {
    let mut hasher = ShaHasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.update(env!("CARGO_PKG_VERSION").as_bytes());
    hasher.0.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Loads compiled code that this host made: verified by its MAC, or just now come from the child that it started itself.
pub(crate) fn load_code(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    #[allow(unsafe_code, reason = "compiled code that this host made")]
    // SAFETY: `code` lies in this process's own memory, so nobody changes it any more, and comes from `Engine::precompile_component` or
    // `Component::serialize` of an engine with the same compatibility hash: its MAC under the host's own key says so, or the child that this host
    // started from its own program said so over a pipe that nobody else holds.
    unsafe {
        Component::deserialize(engine, code)
    }
}

impl Cache {
    /// Opens the folder, and makes it where it is missing: for this user alone.
    pub(crate) fn open(folder: &Path, key: [u8; 32], engine: &wasmtime::Engine) -> Result<Self, EngineError> {
        let wrong = |reason: String| EngineError::Cache { path: folder.to_owned(), reason };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| wrong(e.to_string()))?;
        let meta = std::fs::metadata(folder).map_err(|e| wrong(e.to_string()))?;
        if meta.mode() & 0o077 != 0 {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(|e| wrong(e.to_string()))?;
        }
        Ok(Self { folder: folder.to_owned(), key, engine: engine_hash(engine), approved: Mutex::default() })
    }

    /// Whose file it is, in its name.
    fn engine_name(&self) -> String {
        hex(self.engine.get(..8).unwrap_or_default())
    }

    fn approved(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.approved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes away what is of no use (see `room`): `approved` and `listed` are hashes of the modules that are there, the latter none where nobody knows
    /// yet what lies in the folder. Blocks on the disk.
    pub(crate) fn tidy(&self, approved: BTreeSet<String>, listed: Option<&BTreeSet<String>>) -> std::io::Result<()> {
        let mut known = self.approved();
        *known = approved;
        let wanted = Wanted { engine: &self.engine_name(), approved: &known, listed };
        room::make(&self.folder, &wanted, Spare::Anything, 0, MAX_KEPT, None).map(|_| ())
    }

    /// One file for each component and engine.
    fn path(&self, hash: &[u8; 32]) -> PathBuf {
        self.folder.join(format!("{}-{}.cwasm", hex(hash), self.engine_name()))
    }

    fn mac(&self) -> Option<Hmac<Sha256>> {
        Hmac::<Sha256>::new_from_slice(&self.key).ok()
    }

    /// The compiled form of the component with this hash, if it is there, whole and ours; and how long compiling it took.
    pub(crate) fn load(&self, engine: &wasmtime::Engine, hash: &[u8; 32]) -> Option<(Component, Duration)> {
        let path = self.path(hash);
        let meta = std::fs::symlink_metadata(&path).ok()?;
        if !meta.is_file() || meta.len() > MAX_FILE {
            return None;
        }
        let file = std::fs::read(&path).ok()?;
        let Some((took, code)) = self.verified(&file, hash) else {
            tracing::warn!(path = %path.display(), "a file of compiled code is not as this host wrote it: compiling again");
            return None;
        };
        match load_code(engine, code) {
            Ok(component) => Some((component, took)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled code could not be loaded: compiling again");
                None
            }
        }
    }

    /// The code inside a file, when the MAC holds and it was made for this component and engine.
    fn verified<'a>(&self, file: &'a [u8], hash: &[u8; 32]) -> Option<(Duration, &'a [u8])> {
        let (signed, tag) = file.split_at_checked(file.len().checked_sub(MAC)?)?;
        let mut mac = self.mac()?;
        mac.update(signed);
        mac.verify_slice(tag).ok()?;
        let (head, rest) = signed.split_at_checked(HEAD)?;
        let (took, code) = rest.split_first_chunk::<TOOK>()?;
        (head == self.head(hash)).then_some((Duration::from_millis(u64::from_le_bytes(*took)), code))
    }

    fn head(&self, hash: &[u8; 32]) -> Vec<u8> {
        [MAGIC.as_slice(), hash, &self.engine].concat()
    }

    /// Keeps compiled code, where there is room for it. Failing costs the next start a compilation, and is only said.
    pub(crate) fn store(&self, hash: &[u8; 32], took: Duration, code: &[u8]) {
        let path = self.path(hash);
        let approved = self.approved();
        let wanted = Wanted { engine: &self.engine_name(), approved: &approved, listed: None };
        // What nobody has approved takes nothing away.
        let spare = if approved.contains(&hex(hash)) { Spare::Strangers } else { Spare::Nothing };
        let bytes = (HEAD + TOOK + MAC + code.len()) as u64;
        let kept = room::make(&self.folder, &wanted, spare, bytes, MAX_KEPT, Some(&path)).and_then(|fits| match fits {
            true => self.write(&path, hash, took, code),
            false => Err(std::io::Error::other(format!("there is no room: all of it may have {MAX_KEPT} bytes"))),
        });
        if let Err(error) = kept {
            tracing::warn!(path = %path.display(), %error, "compiled code could not be kept: the next start compiles again");
        }
    }

    fn write(&self, path: &Path, hash: &[u8; 32], took: Duration, code: &[u8]) -> std::io::Result<()> {
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let head = [self.head(hash).as_slice(), &took.to_le_bytes()].concat();
        let mut mac = self.mac().ok_or_else(|| std::io::Error::other("no MAC"))?;
        mac.update(&head);
        mac.update(code);
        let tag = mac.finalize().into_bytes();
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = (|| {
            // The folder may be removed at any time: it costs compiling again.
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            let _ = std::fs::remove_file(&temporary);
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(&head)?;
            file.write_all(code)?;
            file.write_all(&tag)?;
            // A crash may lose the file, and then the next start compiles; half a file would not pass its MAC.
            std::fs::rename(&temporary, path)
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }
}
