//! One host, assembled: what every page, command and run works on.
//!
//! `App::open` does what must be done before anything can be served: settings are already read, so it opens the store under its lock, finds or
//! makes the host key, starts the sandbox engine and reads the modules folder. A bad module never stops it; a bad key or database does.

use crate::{
    config::Config,
    modules::{Catalogue, Workshop},
    runs::{events::RunEvents, stops::Stops},
};
use sluice_gate::{Gate, GateOptions, Roots};
use sluice_model::{Clock, time::Random};
use sluice_sandbox::{Compiler, Engine, EngineOptions};
use sluice_store::Store;
use sluice_vault::{KeyFile, Vault};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What happens at a named point of a sign-in, a refresh or an approval; tests stop the process there.
pub type FailPoint = Arc<dyn Fn(&str) + Send + Sync>;

/// A host.
pub struct App {
    /// Everything that is kept.
    pub store: Store,
    /// Secrets at rest.
    pub vault: Arc<Vault>,
    /// The way out.
    pub gate: Gate,
    /// The sandbox.
    pub engine: Engine,
    /// Connectors that can run, and files that cannot.
    pub modules: Catalogue,
    /// The operator's settings as they were at the start; those of a connector are with the connector.
    pub config: Config,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// Wakes the scheduler when something became due.
    pub wake: Notify,
    /// What runs are doing, for pages and commands that wait.
    pub events: RunEvents,
    /// What stops a run that goes on.
    pub stops: Stops,
    /// Cancelled once nothing will run any more: whoever waits for a run waits in vain.
    pub stopped: CancellationToken,
    /// Who is renewing or revoking which grant.
    pub grants: crate::link::Grants,
    fail_point: FailPoint,
}

/// What `App::open` needs besides the settings.
pub struct Surroundings {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
    /// A hook for tests; does nothing by default.
    pub fail_point: FailPoint,
    /// Name look-ups; the system's unless a test brings its own.
    pub resolver: Option<Arc<dyn sluice_gate::Resolve>>,
    /// What compiles connectors, under the limits of the settings; the program itself, where it is `sluice`. None compiles in this process, where
    /// nothing bounds it.
    pub compiler: Option<Compiler>,
}

impl Surroundings {
    /// The real world.
    #[must_use]
    pub fn system() -> Self {
        Self {
            clock: Arc::new(|| jiff::Timestamp::now().as_millisecond()),
            random: Arc::new(sluice_vault::OsRandom),
            fail_point: Arc::new(|_| {}),
            resolver: None,
            compiler: crate::cli::compile::compiler(),
        }
    }
}

/// Why the host cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data folder or the database.
    #[error(transparent)]
    Store(#[from] sluice_store::OpenError),
    /// The host key.
    #[error(transparent)]
    Key(#[from] sluice_vault::KeyError),
    /// The key file belongs to other data.
    #[error(
        "{}: this is not the key of the data in {} (which was sealed under key {missing})\n  restore the key file that was backed up with this data, or name it with --key-file",
        path.display(), data.display()
    )]
    OtherKey {
        /// The key file.
        path: std::path::PathBuf,
        /// The data folder.
        data: std::path::PathBuf,
        /// The id that is wanted.
        missing: String,
    },
    /// The operator's certificate authorities.
    #[error("ca-file: {} {why}", path.display())]
    Authorities {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The sandbox.
    #[error("the sandbox cannot start: {0}")]
    Sandbox(String),
    /// Statements that had to succeed.
    #[error("the database refused: {0}")]
    Database(#[from] sluice_store::StoreError),
    /// The system.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What came of it.
        source: std::io::Error,
    },
}

/// An opened host, and what its operator should be told about the key.
pub struct Opened {
    /// The host.
    pub app: Arc<App>,
    /// Whether the key was made just now.
    pub key: KeyFile,
}

impl App {
    /// Opens the data folder (making it where it is missing) and loads the connectors.
    ///
    /// # Errors
    /// Another process has the folder open; the key is missing while there is data; the database cannot be trusted.
    pub async fn open(config: Config, around: Surroundings) -> Result<Opened, StartError> {
        // Before anything is made: a file that cannot be read is a typing error.
        let roots = config.ca_file.as_deref().map(authorities).transpose()?.unwrap_or_default();
        Vault::check_place(&config.key_file, &config.data_dir)?;
        let data_exists = Store::exists(&config.data_dir);
        // The key is judged first: a wrong one must leave the folder as it was.
        let (vault, key) = Vault::open(&config.key_file, data_exists, around.random.clone())?;
        let store = Store::open(&config.data_dir, around.clock.clone(), around.random.clone())?;
        if let Some(missing) = store.host_key_ids().await?.into_iter().find(|id| !vault.holds(id)) {
            store.close().await;
            return Err(StartError::OtherKey { path: config.key_file.clone(), data: config.data_dir.clone(), missing });
        }
        let cache = config.data_dir.join("compiled");
        let engine = Engine::new(EngineOptions {
            cache_dir: Some(cache),
            cache_key: vault.derive("compile-cache"),
            concurrent_runs: config.concurrent_runs,
            max_memory_bytes: config.memory_bytes(),
            compiler: around.compiler.map(|compiler| Compiler { limits: config.compile, ..compiler }),
        })
        .map_err(|e| StartError::Sandbox(e.to_string()))?;
        let gate = Gate::new(GateOptions {
            roots,
            resolver: around.resolver,
            own_listeners: vec![config.listen],
            ..GateOptions::new(around.clock.clone())
        });
        let workshop = Workshop { engine: &engine, gate: &gate, store: &store, fail_point: &around.fail_point };
        let modules = Catalogue::load(&config, workshop).await;
        let app = Arc::new(Self {
            store,
            vault: Arc::new(vault),
            gate,
            engine,
            modules,
            config,
            clock: around.clock,
            random: around.random,
            wake: Notify::new(),
            events: RunEvents::new(),
            stops: Stops::default(),
            stopped: CancellationToken::new(),
            grants: crate::link::Grants::default(),
            fail_point: around.fail_point,
        });
        // Whoever mends a registration restarts; if it was not mended, the next runs say so again.
        crate::runs::resume(&app, None).await?;
        Ok(Opened { app, key })
    }

    /// What connectors are made with.
    pub(crate) fn workshop(&self) -> Workshop<'_> {
        Workshop { engine: &self.engine, gate: &self.gate, store: &self.store, fail_point: &self.fail_point }
    }

    /// Now, ms since the epoch.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    /// `N` random bytes.
    #[must_use]
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }

    /// Names a point between two durable steps; tests end the process there.
    pub fn fail_point(&self, name: &str) {
        (self.fail_point)(name);
    }
}

/// The largest file of authorities that is read: those of a whole operating system have a quarter of a MiB.
const MAX_AUTHORITIES_BYTES: u64 = 4 << 20;

/// Reads the operator's `ca-file`.
pub(crate) fn authorities(path: &Path) -> Result<Roots, StartError> {
    let refused = |why: String| StartError::Authorities { path: path.to_owned(), why };
    let meta = std::fs::metadata(path).map_err(|e| refused(format!("cannot be read: {e}")))?;
    if !meta.is_file() || meta.len() > MAX_AUTHORITIES_BYTES {
        return Err(refused(format!("is no regular file of at most {MAX_AUTHORITIES_BYTES} bytes")));
    }
    let pem = std::fs::read(path).map_err(|e| refused(format!("cannot be read: {e}")))?;
    Roots::from_pem(&pem).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_that_is_none_is_refused_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("home-ca.pem");
        let said = || authorities(&file).unwrap_err().to_string();
        assert!(said().starts_with("ca-file: /") && said().contains("home-ca.pem cannot be read"), "{}", said());
        std::fs::write(&file, "hello").unwrap();
        assert!(said().contains("home-ca.pem holds no certificate"), "{}", said());
        std::fs::File::create(&file).unwrap().set_len(MAX_AUTHORITIES_BYTES + 1).unwrap();
        assert!(said().contains("at most"), "{}", said());
        assert!(authorities(dir.path()).unwrap_err().to_string().contains("no regular file"));
    }
}
