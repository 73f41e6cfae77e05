//! The file that holds the host's keys.
//!
//! One line a key, the current one first, so that rotation can put a new key before the old ones and drop them when no row needs them:
//!
//! ```text
//! # lines that begin with a number sign say what this file is
//! sluice-key-1 ID BASE64
//! ```
//!
//! The id is derived from the key, so a line that was cut, mistyped or mixed with another is noticed before anything is sealed under it. The file
//! is read through one handle (mode, kind and size are judged on what is read, not on what lay at that path a moment ago), and it is created whole:
//! written under another name, forced to the disk, then linked to its own name, which fails if somebody else was quicker.

use crate::sealed::{KEY_BYTES, KeyBytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hkdf::Hkdf;
use sha2::Sha256;
use sluice_model::time::Random;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A key file is a few lines; anything larger is some other file.
const MAX_FILE_BYTES: u64 = 64 << 10;
/// Rotation keeps two or three; the rest is slack.
const MAX_KEYS: usize = 64;
const MARK: &str = "sluice-key-1";
const HEADER: &str = "# The key of this Sluice host. Back it up with your data, and keep it secret: whoever has both reads every stored token,\n\
                      # and without it nobody does. The first key is in use; further ones open what is older.\n";

/// Why the host key is not usable. Each of them stops the start, before anything is written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is data, sealed under a key that is not there.
    #[error(
        "looked for the host key at {path}: there is no such file, but there is data that was sealed under it\n  \
         put the key file back from your backup, or name it with key-file in plugins.toml; nothing was written"
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Others than the owner may read or change it.
    #[error("the host key {path} can be read or changed by others (mode {mode:04o}); run: chmod 600 {path}")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to another user of this machine.
    #[error("the host key {path} belongs to user id {owner}, and sluice runs as {us}; run: chown {us} {path}")]
    NotOurs {
        /// Which file.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who asks.
        us: u32,
    },
    /// Its content is not what was written there.
    #[error("the host key {path} is not usable: {why}; put it back from your backup")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Line and reason.
        why: String,
    },
    /// It would lie in the data folder, where every backup of the data would carry it along.
    #[error(
        "the host key {path} lies inside the data folder {data}, so whoever copies the data has the key too; name another place with key-file in plugins.toml"
    )]
    InsideData {
        /// Which file.
        path: PathBuf,
        /// The data folder.
        data: PathBuf,
    },
    /// The operating system said no.
    #[error("{doing} the host key {path} failed: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// One host key and its id.
pub(crate) struct HostKey {
    pub(crate) id: String,
    pub(crate) key: KeyBytes,
}

impl HostKey {
    pub(crate) fn new(key: KeyBytes) -> Self {
        Self { id: key_id(&key), key }
    }
}

/// Sixteen hex digits that say which key this is, and nothing about it.
fn key_id(key: &KeyBytes) -> String {
    let mut id = [0u8; 8];
    expand(key, "key-id", &mut id);
    id.iter().map(|b| format!("{b:02x}")).collect()
}

/// HKDF-SHA256 of a host key for one purpose.
pub(crate) fn expand(key: &KeyBytes, purpose: &str, out: &mut [u8]) {
    let hkdf = Hkdf::<Sha256>::new(Some(b"sluice host key"), key.as_slice());
    if hkdf.expand(purpose.as_bytes(), out).is_err() {
        // Only more than 8,160 bytes of output do this, and every caller asks for at most 32.
        eprintln!("sluice: asked for {} bytes derived from the host key, which is more than HKDF gives; ending", out.len());
        std::process::abort();
    }
}

/// Reads the keys at `path`; `None` when there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<HostKey>>, KeyError> {
    let io = |doing, source| KeyError::Io { doing, path: path.to_owned(), source };
    // Non-blocking, so that a fifo put in its place can't stop the start for ever.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(io("opening", why)),
    };
    let meta = file.metadata().map_err(|why| io("examining", why))?;
    let damaged = |why: &str| KeyError::Damaged { path: path.to_owned(), why: why.to_owned() };
    if !meta.is_file() {
        return Err(damaged("it is not a file"));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode: meta.mode() & 0o7777 });
    }
    let us = rustix::process::geteuid().as_raw();
    if meta.uid() != us && us != 0 {
        return Err(KeyError::NotOurs { path: path.to_owned(), owner: meta.uid(), us });
    }
    if meta.len() > MAX_FILE_BYTES {
        return Err(damaged("it has more than 64 KiB"));
    }
    // Reserved at once: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize));
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(|why| match why.kind() {
        io::ErrorKind::InvalidData => damaged("it is not text"),
        _ => io("reading", why),
    })?;
    parse(&text).map(Some).map_err(|why| damaged(&why))
}

fn parse(text: &str) -> Result<Vec<HostKey>, String> {
    let mut keys: Vec<HostKey> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let number = index + 1;
        let mut words = line.split_ascii_whitespace();
        let (Some(MARK), Some(id), Some(encoded), None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err(format!("line {number} should read “{MARK} ID KEY”"));
        };
        let mut key: KeyBytes = Zeroizing::new([0u8; KEY_BYTES]);
        match STANDARD.decode_slice(encoded, key.as_mut_slice()) {
            Ok(KEY_BYTES) => {}
            Ok(bytes) => return Err(format!("the key in line {number} has {bytes} bytes instead of {KEY_BYTES}: it was cut short")),
            Err(_) => return Err(format!("the key in line {number} is not {KEY_BYTES} bytes in base64")),
        }
        let key = HostKey::new(key);
        if key.id != id {
            return Err(format!("the key in line {number} does not belong to its id: one of the two was changed"));
        }
        if keys.iter().any(|k| k.id == key.id) {
            return Err(format!("the key in line {number} is there twice"));
        }
        if keys.len() == MAX_KEYS {
            return Err(format!("it has more than {MAX_KEYS} keys"));
        }
        keys.push(key);
    }
    if keys.is_empty() { Err("there is no key in it".to_owned()) } else { Ok(keys) }
}

/// Makes a key file with one fresh key. Answers `None` when somebody else made one meanwhile.
pub(crate) fn create(path: &Path, random: &dyn Random) -> Result<Option<HostKey>, KeyError> {
    let io = |doing, source| KeyError::Io { doing, path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|why| io("making the folder of", why))?;
    let mut key: KeyBytes = Zeroizing::new([0u8; KEY_BYTES]);
    random.fill(key.as_mut_slice());
    let key = HostKey::new(key);
    let mut tag = [0u8; 8];
    random.fill(&mut tag);
    let draft = folder.join(format!(".sluice-key-{:016x}", u64::from_be_bytes(tag)));
    let outcome = write_draft(&draft, &key).and_then(|()| match std::fs::hard_link(&draft, path) {
        Ok(()) => Ok(true),
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(why) => Err(why),
    });
    let removed = std::fs::remove_file(&draft);
    let made = outcome.map_err(|why| io("writing", why))?;
    removed.map_err(|why| io("tidying up after writing", why))?;
    // The name itself must survive a power cut: without its key, everything sealed from now on would be lost.
    File::open(folder).and_then(|f| f.sync_all()).map_err(|why| io("forcing to the disk", why))?;
    Ok(made.then_some(key))
}

fn write_draft(draft: &Path, key: &HostKey) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    let encoded = Zeroizing::new(STANDARD.encode(key.key.as_slice()));
    let text = Zeroizing::new(format!("{HEADER}{MARK} {} {}\n", key.id, *encoded));
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
