//! What lies in the folder, and under which name. Nothing is run or compiled here.
//!
//! The folder is written by others while we read it. So a file is opened once, without following links and without waiting (a pipe would hold
//! the start for ever), and everything is judged on that handle: its kind, its size, its bytes and their hash. What was swapped between listing
//! and opening is a different file with a different hash, and not approved.
//!
//! Bounds: [`MAX_ENTRIES`] of the folder are walked through and [`MAX_FILES`] of the files looked at, [`MAX_MODULE_BYTES`] of each, one in memory at a time. Files that
//! an operator has decided about come before all others ([`always`]): whoever fills the folder takes none of them out of service.

use super::{Listing, ModuleState, PINS, bundled};
use crate::config::Config;
use rustix::fs::OFlags;
use sluice_sandbox::oversized;
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// The largest file that is read: connectors written in Python or JavaScript have 12 to 18 MiB.
pub const MAX_MODULE_BYTES: u64 = sluice_sandbox::MAX_MODULE_BYTES as u64;
/// Files of one folder that are looked at, besides those that an operator has decided about.
pub const MAX_FILES: usize = 1_000;
/// Entries of one folder that are walked through, whatever they are: a look a second must stay cheap.
const MAX_ENTRIES: usize = 20_000;
/// Bytes of a file that is too large from which it is told what it is.
const BEGINNING: u64 = 4096;

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

/// Files that are looked at whatever else lies in the folder: of the instances that the settings name, that are approved, or that ship.
#[must_use]
pub fn always(config: &Config, approved: &BTreeSet<String>) -> BTreeSet<String> {
    let named = config.connectors.iter().map(|(name, settings)| settings.module.clone().unwrap_or_else(|| format!("{name}.wasm")));
    let files = approved.iter().map(String::as_str).chain(PINS.iter().map(|(name, _)| *name)).map(|name| format!("{name}.wasm"));
    named.chain(files).collect()
}

/// Lists the folder, by name: what the settings name, and every file that looks like a module, `first` those that are [`always`] looked at. A folder
/// that is not there is empty; one that cannot be read is one line, and what the settings name is looked for all the same.
pub fn names(config: &Config, first: &BTreeSet<String>) -> Vec<Named> {
    let (files, troubles) = files(&config.modules, first);
    let mut all: Vec<Named> = troubles.into_iter().map(|why| folder_line(config, why)).collect();
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

/// The files that are looked at, and what the operator is to know of the others.
pub fn files(folder: &Path, first: &BTreeSet<String>) -> (BTreeSet<String>, Vec<String>) {
    let (mut others, mut troubles) = (BTreeSet::new(), Vec::new());
    match fs::read_dir(folder) {
        Ok(entries) => {
            for (at, entry) in entries.enumerate() {
                if at == MAX_ENTRIES {
                    troubles.push(format!(
                        "the modules folder has more than {MAX_ENTRIES} entries: what comes after them is not looked at; take out what is no module"
                    ));
                    break;
                }
                let name = match entry {
                    Ok(entry) => entry.file_name().to_string_lossy().into_owned(),
                    Err(e) => {
                        troubles.push(format!("the modules folder cannot be listed to its end: {e}"));
                        break;
                    }
                };
                if name.to_ascii_lowercase().ends_with(".wasm") && !first.contains(&name) {
                    others.insert(name);
                }
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => troubles.push(format!("the modules folder cannot be read: {e}")),
    }
    if let Some(over) = others.len().checked_sub(MAX_FILES).filter(|over| *over > 0) {
        troubles.push(format!(
            "{over} modules more than {MAX_FILES}, besides those that are approved, pinned or named in the settings: these, the last by name, are not \
             looked at; take out what is not used"
        ));
    }
    // Wherever in the folder they stand.
    let mut files: BTreeSet<String> = first.iter().filter(|name| fs::symlink_metadata(folder.join(name)).is_ok()).cloned().collect();
    files.extend(others.into_iter().take(MAX_FILES));
    (files, troubles)
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
    let judged = names(config, &always(config, &BTreeSet::new())).into_iter().filter_map(|named| look(config, named)).map(|found| {
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
    let mut listing = Listing::of_file(named.name, named.file, ModuleState::Refused, String::new());
    if let Some(why) = named.refused {
        listing.line = why;
        return Found { listing, bytes: None, ours: false };
    }
    let path = config.modules.join(&listing.file);
    let bytes = match read(&path) {
        Ok(bytes) => bytes,
        Err(Unreadable::Missing) => {
            listing.state = ModuleState::Missing;
            let (folder, name) = (config.modules.display(), &listing.name);
            // What ships is there after a build; the name of anything else is only in the settings.
            let ships = PINS.iter().any(|(ships, _)| ships == name);
            let advice = if ships { "`cargo xtask build` makes it" } else { "put it there" };
            listing.line = format!("{} is not in {folder}: {advice}, or take [connectors.{name}] out of the settings", listing.file);
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
    if meta.len() > MAX_MODULE_BYTES {
        let mut beginning = Vec::new();
        file.take(BEGINNING).read_to_end(&mut beginning).map_err(|e| other(format!("cannot be read: {e}")))?;
        return Err(other(oversized(&beginning, meta.len()).to_string()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or_default());
    file.take(MAX_MODULE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| other(format!("cannot be read: {e}")))?;
    if bytes.len() as u64 > MAX_MODULE_BYTES {
        return Err(other(oversized(&bytes, bytes.len() as u64).to_string()));
    }
    if bytes.is_empty() {
        return Err(other("an empty file: the copy was cut off, or is still going on; copy it again".to_owned()));
    }
    Ok(bytes)
}
