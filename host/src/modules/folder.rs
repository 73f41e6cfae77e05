//! What lies in the folder, and under which name. Nothing is run or compiled here.
//!
//! The folder is written by others while we read it. So a file is opened once, without following links and without waiting (a pipe would hold
//! the start for ever), and everything is judged on that handle: its kind, its size, its bytes and their hash. What was swapped between listing
//! and opening is a different file with a different hash, and not approved.
//!
//! Bounds: [`MAX_FILES`] names, [`MAX_MODULE_BYTES`] a file, one file in memory at a time.

use super::{Listing, ModuleState, PINS, bundled};
use crate::config::Config;
use rustix::fs::OFlags;
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// The largest file that is read: connectors written in Python or JavaScript have 12 to 18 MiB.
pub const MAX_MODULE_BYTES: u64 = 64 << 20;
/// Files of one folder that are looked at.
const MAX_FILES: usize = 1_000;

/// One instance, or one file that is none.
pub struct Named {
    /// The instance's name, or what the file would be called.
    pub name: String,
    /// The file's.
    pub file: String,
    /// Why it is not even opened.
    pub refused: Option<String>,
    /// Another instance uses the file: this one is there only where its own name is pinned with the binary.
    pub shared: bool,
}

/// One file, as it was when it was opened.
pub struct Found {
    /// What there is to say of it so far.
    pub listing: Listing,
    /// Its bytes, where they could be read.
    pub bytes: Option<Vec<u8>>,
    /// Whether the name is this file's: what is decided about the name concerns it.
    pub ours: bool,
}

/// Lists the folder, by name: what the settings name, and every file that looks like a module. A folder that is not there is empty; one that cannot
/// be read is one line, and what the settings name is looked for all the same.
pub fn names(config: &Config) -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    let mut files = BTreeSet::new();
    if let Err(why) = list(&config.modules, &mut files) {
        all.push(folder_line(config, why));
    }
    if files.len() == MAX_FILES {
        let why = format!("more than {MAX_FILES} modules: the rest is not looked at; take out what is not used");
        all.push(folder_line(config, why));
    }
    // An instance is a name and a file; several instances may share a file.
    for (name, settings) in &config.connectors {
        let file = settings.module.clone().unwrap_or_else(|| format!("{name}.wasm"));
        all.push(Named { name: name.clone(), file, refused: None, shared: false });
    }
    for file in files {
        let shared = all.iter().any(|n| n.file == file);
        let named = unnamed(config, file, shared);
        if !all.iter().any(|n| n.name == named.name && n.file == named.file) {
            all.push(named);
        }
    }
    // Where a file of no use is called like an instance, the name means the instance: it comes first.
    all.sort_by(|a, b| (&a.name, a.refused.is_some(), &a.file).cmp(&(&b.name, b.refused.is_some(), &b.file)));
    all
}

fn list(folder: &Path, files: &mut BTreeSet<String>) -> Result<(), String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(format!("the modules folder cannot be read: {e}")),
    };
    for entry in entries {
        let name = entry.map_err(|e| format!("the modules folder cannot be listed to its end: {e}"))?.file_name();
        let name = name.to_string_lossy();
        if name.to_ascii_lowercase().ends_with(".wasm") {
            files.insert(name.into_owned());
        }
        if files.len() == MAX_FILES {
            break;
        }
    }
    Ok(())
}

/// A file that the settings do not name: an instance called like it, unless that cannot be.
fn unnamed(config: &Config, file: String, shared: bool) -> Named {
    let stem = file.get(..file.len().saturating_sub(".wasm".len())).unwrap_or(&file);
    let good = !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let refused = if !good || !file.ends_with(".wasm") {
        Some("a module's file name has a-z, 0-9 and - only, and ends in .wasm: rename it".to_owned())
    } else if let Some(other) = config.connectors.get(stem) {
        let taken = other.module.as_deref().unwrap_or_default();
        Some(format!("not used: [connectors.{stem}] takes module = \"{taken}\"; rename this file, or that line"))
    } else {
        None
    };
    Named { name: stem.to_owned(), file, refused, shared }
}

fn folder_line(config: &Config, why: String) -> Named {
    Named { name: "(folder)".to_owned(), file: config.modules.display().to_string(), refused: Some(why), shared: false }
}

/// Opens and hashes one file; `None` where there is nothing to say of it. Blocks on the disk.
pub fn look(config: &Config, named: Named) -> Option<Found> {
    let shared = named.shared;
    let found = open(config, named);
    let as_named = |l: &Listing| PINS.iter().any(|(name, hash)| *name == l.name && Some(*hash) == l.sha256.as_deref());
    (!shared || as_named(&found.listing)).then_some(found)
}

/// One file of the folder as it lies there, for whoever looks without a host.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The instance's name.
    pub name: String,
    /// The file's.
    pub file: String,
    /// [`ModuleState::Pending`] where it could be a connector.
    pub state: ModuleState,
    /// Whether this build or the settings vouch for these bytes.
    pub pinned: bool,
    /// What is wrong with it.
    pub line: String,
}

/// Looks at every file of the folder: can it be read, is it a whole component, is it pinned? Nothing is compiled. Blocks on the disk.
#[must_use]
pub fn stand(config: &Config) -> Vec<Standing> {
    let judged = names(config).into_iter().filter_map(|named| look(config, named)).map(|found| {
        let Listing { name, file, sha256, mut state, mut line, .. } = found.listing;
        let pinned = sha256.as_deref().is_some_and(|hash| {
            let own = config.connectors.get(&name).and_then(|c| c.sha256.as_deref());
            own.map_or_else(|| bundled(hash), |own| own == hash)
        });
        if let Some(Err(why)) = found.bytes.map(|bytes| sluice_sandbox::recognise(&bytes)) {
            (state, line) = (ModuleState::Refused, why.to_string());
        }
        Standing { name, file, state, pinned, line }
    });
    judged.collect()
}

fn open(config: &Config, named: Named) -> Found {
    let mut listing = Listing {
        name: named.name,
        file: named.file,
        sha256: None,
        size: 0,
        compile_ms: None,
        version: None,
        state: ModuleState::Refused,
        line: String::new(),
        authority: Vec::new(),
        command: None,
        waiting: None,
    };
    if let Some(why) = named.refused {
        listing.line = why;
        return Found { listing, bytes: None, ours: false };
    }
    let path = config.modules.join(&listing.file);
    let bytes = match read(&path) {
        Ok(bytes) => bytes,
        Err(Unreadable::Missing) => {
            listing.state = ModuleState::Missing;
            listing.line = format!("not in {}; `cargo xtask build` makes the bundled ones", config.modules.display());
            return Found { listing, bytes: None, ours: true };
        }
        Err(Unreadable::Other(why)) => {
            listing.line = why;
            return Found { listing, bytes: None, ours: true };
        }
    };
    let sha256 = super::store_copy::hash(&bytes);
    listing.size = bytes.len() as u64;
    listing.sha256 = Some(sha256);
    listing.state = ModuleState::Pending;
    Found { listing, bytes: Some(bytes), ours: true }
}

/// Why a file is not in memory.
pub enum Unreadable {
    Missing,
    Other(String),
}

/// Reads a regular file, up to the bound. A symbolic link would let its target change behind the approval's back.
pub fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let other = |why: String| Unreadable::Other(why);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = fs::OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let not_regular = || other("not a regular file: copy the module itself into the folder".to_owned());
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Unreadable::Missing),
        // A link (ELOOP) or a socket (ENXIO) cannot even be opened.
        Err(_) if fs::symlink_metadata(path).is_ok_and(|m| !m.is_file()) => return Err(not_regular()),
        Err(e) => return Err(other(format!("cannot be opened: {e}"))),
    };
    // Judged on the handle: whatever lies at the path by now makes no difference.
    let meta = file.metadata().map_err(|e| other(format!("cannot be read: {e}")))?;
    if !meta.is_file() {
        return Err(not_regular());
    }
    let too_large = |size: u64| other(format!("{size} bytes; a module has at most {MAX_MODULE_BYTES}"));
    if meta.len() > MAX_MODULE_BYTES {
        return Err(too_large(meta.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or_default());
    file.take(MAX_MODULE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| other(format!("cannot be read: {e}")))?;
    if bytes.len() as u64 > MAX_MODULE_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    if bytes.is_empty() {
        return Err(other("an empty file: the copy was cut off, or is still going on; copy it again".to_owned()));
    }
    Ok(bytes)
}
