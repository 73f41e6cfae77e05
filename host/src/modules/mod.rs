//! The modules folder: which files are there, which may run, and what each that may not is waiting for.
//!
//! Only pinned bytes run: a file is read once, hashed, and it is those very bytes that are compiled. Two kinds of pin exist: the connectors that
//! ship with a release are pinned in the binary, and an operator pins others by `sha256` under `[connectors.NAME]`. Everything else is listed with
//! the line that would pin it, and never run. A bad file costs its own connections and one line, never the start.

mod connector;
mod folder;

pub use connector::Connector;
pub use folder::MAX_MODULE_BYTES;

use crate::config::Config;
use sluice_gate::Gate;
use sluice_sandbox::Engine;
use sluice_store::Store;
use std::{collections::BTreeMap, sync::Arc};

/// Names and hashes of the connectors that this binary was built with.
pub const PINS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pins.rs"));

/// Why the folder as a whole could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ModuleError(pub String);

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModuleState {
    /// It serves its connections.
    Running,
    /// Nobody has pinned it; it has not been run, not even to ask for its manifest.
    Pending,
    /// It cannot run; the line says why.
    Refused,
    /// Named in the settings or by a pin, and not in the folder.
    Missing,
}

/// One file of the folder, or one name that has no file.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Listing {
    /// The instance's name: the file's stem unless `[connectors.NAME]` says another.
    pub name: String,
    /// The file's name.
    pub file: String,
    /// Lower-case hex SHA-256, where the file could be read.
    pub sha256: Option<String>,
    /// Bytes.
    pub size: u64,
    /// The connector's own version, once it runs.
    pub version: Option<String>,
    /// What became of it.
    pub state: ModuleState,
    /// One line: what it is, or what is wrong and what to do.
    pub line: String,
    /// What it may do, in plain words, once its manifest is known.
    pub authority: Vec<String>,
}

/// The connectors that can run, and the listing of everything that was found.
pub struct Catalogue {
    connectors: BTreeMap<String, Arc<Connector>>,
    listing: Vec<Listing>,
}

impl Catalogue {
    /// Reads the folder and loads what is pinned.
    ///
    /// # Errors
    /// The folder exists and cannot be read at all.
    pub async fn load(config: &Config, engine: &Engine, gate: &Gate, store: &Store) -> Result<Self, ModuleError> {
        let mut connectors = BTreeMap::new();
        let mut listing = Vec::new();
        for found in folder::scan(config)? {
            let mut line = found.listing;
            if let Some(bytes) = found.bytes {
                match connector::load(config, engine, gate, store, &line.name, &bytes).await {
                    Ok(loaded) => {
                        line.state = ModuleState::Running;
                        line.version = Some(loaded.manifest.version.clone());
                        line.line = format!("{} {}", loaded.manifest.title, loaded.manifest.version);
                        line.authority = loaded.grant.authority().lines();
                        connectors.insert(line.name.clone(), Arc::new(loaded));
                    }
                    Err(why) => {
                        line.state = ModuleState::Refused;
                        line.line = why;
                    }
                }
            }
            match line.state {
                ModuleState::Running => tracing::info!(module = %line.name, version = ?line.version, "connector loaded"),
                _ => tracing::warn!("{}: {}", line.file, line.line),
            }
            listing.push(line);
        }
        Ok(Self { connectors, listing })
    }

    /// The connector of that name, when it can run.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Connector>> {
        self.connectors.get(name).cloned()
    }

    /// Every connector that can run, by name.
    pub fn running(&self) -> impl Iterator<Item = &Arc<Connector>> {
        self.connectors.values()
    }

    /// Everything that was found, by name.
    #[must_use]
    pub fn listing(&self) -> &[Listing] {
        &self.listing
    }
}
