//! What lies in the folder, and which of it is pinned. Nothing is run or compiled here.

use super::{Listing, ModuleError, ModuleState, PINS};
use crate::config::Config;
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, fs, io::Read, path::Path};

/// The largest file that is read: connectors written in Python or JavaScript have 12 to 18 MiB.
pub const MAX_MODULE_BYTES: u64 = 64 << 20;

/// One file; its bytes only where it is pinned and they are the pinned ones.
pub struct Found {
    pub listing: Listing,
    pub bytes: Option<Vec<u8>>,
}

/// Reads the folder, by name. A folder that is not there is empty.
pub fn scan(config: &Config) -> Result<Vec<Found>, ModuleError> {
    let mut files = BTreeSet::new();
    match fs::read_dir(&config.modules) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(|e| ModuleError(format!("{}: cannot be listed: {e}", config.modules.display())))?;
                if let Ok(name) = entry.file_name().into_string()
                    && name.ends_with(".wasm")
                {
                    files.insert(name);
                }
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(ModuleError(format!("modules folder {}: cannot be read: {e}", config.modules.display()))),
    }
    // An instance is a name and a file; several instances may share a file.
    let mut wanted: Vec<(String, String)> = Vec::new();
    for (name, settings) in &config.connectors {
        let file = settings.module.clone().unwrap_or_else(|| format!("{name}.wasm"));
        wanted.push((name.clone(), file));
    }
    for file in &files {
        if !wanted.iter().any(|(_, f)| f == file) {
            wanted.push((file.trim_end_matches(".wasm").to_owned(), file.clone()));
        }
    }
    wanted.sort();
    Ok(wanted.into_iter().map(|(name, file)| look(config, name, file)).collect())
}

fn look(config: &Config, name: String, file: String) -> Found {
    let mut listing = Listing {
        name,
        file,
        sha256: None,
        size: 0,
        version: None,
        state: ModuleState::Refused,
        line: String::new(),
        authority: Vec::new(),
    };
    let path = config.modules.join(&listing.file);
    let bytes = match read(&path) {
        Ok(bytes) => bytes,
        Err(Unreadable::Missing) => {
            listing.state = ModuleState::Missing;
            listing.line = format!("not in {}; `cargo xtask build` makes the bundled ones", config.modules.display());
            return Found { listing, bytes: None };
        }
        Err(Unreadable::Other(why)) => {
            listing.line = why;
            return Found { listing, bytes: None };
        }
    };
    let sha256: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    listing.size = bytes.len() as u64;
    listing.sha256 = Some(sha256.clone());
    let pin = config.connectors.get(&listing.name).and_then(|c| c.sha256.as_deref());
    let bundled = PINS.iter().any(|(_, hash)| *hash == sha256);
    match pin {
        Some(pin) if pin != sha256 => {
            listing.line = format!(
                "[connectors.{}] pins sha256 {pin}, and the file has {sha256}: put the pinned file back, or pin this one",
                listing.name
            );
            Found { listing, bytes: None }
        }
        None if !bundled => {
            listing.state = ModuleState::Pending;
            listing.line = format!("not pinned, so it is not run; to run it: [connectors.{}] sha256 = \"{sha256}\"", listing.name);
            Found { listing, bytes: None }
        }
        _ => Found { listing, bytes: Some(bytes) },
    }
}

enum Unreadable {
    Missing,
    Other(String),
}

/// Reads a regular file (a symbolic link would let its target change behind the pin's back), up to the bound.
fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let other = |why: String| Unreadable::Other(why);
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(Unreadable::Missing),
        Err(e) => return Err(other(format!("cannot be read: {e}"))),
    };
    if !meta.is_file() {
        return Err(other("not a regular file: copy the module itself into the folder".to_owned()));
    }
    if meta.len() > MAX_MODULE_BYTES {
        return Err(other(format!("{} bytes; a module has at most {MAX_MODULE_BYTES}", meta.len())));
    }
    let file = fs::File::open(path).map_err(|e| other(format!("cannot be opened: {e}")))?;
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or_default());
    file.take(MAX_MODULE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| other(format!("cannot be read: {e}")))?;
    if bytes.len() as u64 > MAX_MODULE_BYTES {
        return Err(other(format!("over {MAX_MODULE_BYTES} bytes")));
    }
    Ok(bytes)
}
