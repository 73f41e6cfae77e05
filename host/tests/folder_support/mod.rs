//! A host's folder for tests of what an operator puts into it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sha2::{Digest, Sha256};
use sluice::{
    app::{App, Surroundings},
    config::{Config, Overrides, load},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// `plugins.toml`, `modules`, `data` and `keys`.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.modules()).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn modules(&self) -> PathBuf {
        self.path("modules")
    }

    /// One that ships; `cargo xtask build` makes it.
    pub fn connector(&self, name: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/connectors").join(format!("{name}.wasm"));
        fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}: run `cargo xtask build` first", path.display()))
    }

    /// Writes the settings: these below the host's own.
    pub fn settle(&self, connectors: &str) {
        self.settle_with("", connectors);
    }

    pub fn settle_with(&self, host: &str, connectors: &str) {
        let text = format!("data-dir = \"data\"\nmodules = \"modules\"\nkey-file = \"keys/host.key\"\n{host}{connectors}");
        // As editors do it.
        fs::write(self.path("plugins.toml.new"), text).unwrap();
        fs::rename(self.path("plugins.toml.new"), self.path("plugins.toml")).unwrap();
    }

    pub fn config(&self) -> Config {
        load(&self.path("plugins.toml"), true, &Overrides::default()).unwrap()
    }

    pub async fn open(&self) -> Arc<App> {
        App::open(self.config(), Surroundings::system()).await.unwrap_or_else(|e| panic!("{e}")).app
    }
}
