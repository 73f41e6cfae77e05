//! `plugins.toml`, the operator's file: read in two stages, raw then resolved, so that nothing else ever sees half-read settings.
//!
//! Every value has a default, so an empty or missing file works. Flags and `SLUICE_*` variables override the host's own settings (clap reads
//! both). A key that nothing knows is an error that names the nearest one that exists.

mod bounds;
mod raw;
mod reference;
// The fuzz targets compile this folder's readers by themselves, without a host to follow the file for.
#[cfg(not(fuzzing))]
mod reload;
mod resolve;

pub use reference::SecretRef;
#[cfg(not(fuzzing))]
pub use reload::{Reloaded, follow, reload};
pub use resolve::resolve;

use sluice_gate::Upstream;
use sluice_model::{CompileLimits, Limits};
use std::{
    collections::BTreeMap,
    io::Read,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};
use url::Url;

/// Where Sluice listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8642";
/// The largest `plugins.toml` that is read.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// What flags and environment variables say; each overrides the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--data-dir`, `SLUICE_DATA_DIR`.
    pub data_dir: Option<PathBuf>,
    /// `--listen`, `SLUICE_LISTEN`.
    pub listen: Option<String>,
    /// `--public-url`, `SLUICE_PUBLIC_URL`.
    pub public_url: Option<String>,
    /// `--modules`, `SLUICE_MODULES`.
    pub modules: Option<PathBuf>,
    /// `--key-file`, `SLUICE_KEY_FILE`.
    pub key_file: Option<PathBuf>,
    /// `--ca-file`, `SLUICE_CA_FILE`.
    pub ca_file: Option<PathBuf>,
    /// `--concurrent-runs`, `SLUICE_CONCURRENT_RUNS`.
    pub concurrent_runs: Option<u32>,
    /// `--trusted-proxies`, `SLUICE_TRUSTED_PROXIES`: several are separated by commas.
    pub trusted_proxies: Option<Vec<String>>,
}

/// Every setting, with defaults filled in and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from; relative paths in it start at its folder.
    pub file: PathBuf,
    /// What overrode it, for when it is read again.
    pub overrides: Overrides,
    /// The one source of every redirect and page address. May have a path; never ends in `/`.
    pub public_url: Url,
    /// Where the pages are served.
    pub listen: SocketAddr,
    /// The database and the socket.
    pub data_dir: PathBuf,
    /// Where connector files are looked for.
    pub modules: PathBuf,
    /// The key that seals every secret; never inside `data_dir`.
    pub key_file: PathBuf,
    /// A PEM file of certificate authorities that are believed beside the machine's.
    pub ca_file: Option<PathBuf>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// How many runs go on at once.
    pub concurrent_runs: u32,
    /// `[compile]`: what compiling one module may cost.
    pub compile: CompileLimits,
    /// `[connectors.NAME]`.
    pub connectors: BTreeMap<String, ConnectorConfig>,
}

impl Config {
    /// Whether pages are served over TLS (by a proxy in front): cookies are then `__Host-` and `Secure`.
    #[must_use]
    pub fn https(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    /// The settings of one connector, or the defaults.
    #[must_use]
    pub fn connector(&self, name: &str) -> ConnectorConfig {
        self.connectors.get(name).cloned().unwrap_or_default()
    }

    /// The most memory that any connector may have.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let set = self.connectors.values().map(|c| c.limits.memory_bytes).max().unwrap_or_default();
        set.max(Limits::default().memory_bytes)
    }

    /// The Unix socket through which commands reach a running host.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.data_dir.join("sluice.sock")
    }
}

/// `[connectors.NAME]`: one instance of a connector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectorConfig {
    /// The file in the modules folder; default `NAME.wasm`.
    pub module: Option<String>,
    /// The pin: lower-case hex SHA-256 of the file. What is pinned runs.
    pub sha256: Option<String>,
    /// What the operator registered at the provider, secrets by reference.
    pub app: BTreeMap<String, SecretRef>,
    /// Values of the manifest's `[[setting]]`.
    pub settings: BTreeMap<String, String>,
    /// Bounds of one run.
    pub limits: Limits,
    /// Instead of the manifest's `every`, ms.
    pub every_ms: Option<i64>,
    /// Instead of the manifest's `overlap`, ms.
    pub overlap_ms: Option<i64>,
    /// URL prefixes that are served from somewhere else.
    pub upstreams: Vec<Upstream>,
}

/// Why the settings could not be read: one text, for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Reads the file at `path` (absent is as good as empty, unless `must_exist`) and applies the overrides.
///
/// # Errors
/// The first thing wrong, with line, column and the nearest valid key.
pub fn load(path: &Path, must_exist: bool, overrides: &Overrides) -> Result<Config, ConfigError> {
    let mut text = String::new();
    match std::fs::File::open(path) {
        Ok(file) => {
            file.take(MAX_CONFIG_BYTES + 1)
                .read_to_string(&mut text)
                .map_err(|e| ConfigError(format!("{}: cannot be read: {e}", path.display())))?;
            if text.len() as u64 > MAX_CONFIG_BYTES {
                return Err(ConfigError(format!("{}: a settings file has at most {MAX_CONFIG_BYTES} bytes", path.display())));
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_exist => {}
        Err(e) => return Err(ConfigError(format!("{}: cannot be read: {e}", path.display()))),
    }
    read(path, &text, overrides)
}

/// Judges the text of the file at `path`, and applies the overrides.
///
/// # Errors
/// As [`load`].
pub fn read(path: &Path, text: &str, overrides: &Overrides) -> Result<Config, ConfigError> {
    let raw = raw::parse(text).map_err(|why| ConfigError(format!("{}: {why}", path.display())))?;
    resolve(path, raw, overrides)
}
