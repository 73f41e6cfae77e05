//! The engine: one for the process, made at the start; it loads modules.
//!
//! Loading is: look at the file, hash it, take its compiled form from the cache or compile it, compare what it needs with what is offered, resolve its
//! imports. One compilation goes on at a time, in a child process of little priority and with limits (see `compiler.rs`), so that a large or malicious
//! file dropped into the folder takes the runs that are under way neither their workers nor their memory. Reading the cache and loading compiled code
//! happen on a blocking thread.

use crate::cache::{Cache, engine_hash, load_code};
use crate::compiler::{Compiler, noted};
use crate::config::{Allocation, config};
use crate::error::{EngineError, LoadError};
use crate::hopeless::Hopeless;
use crate::module::{Facts, Module};
use crate::refusal::refusal;
use crate::state::State;
use crate::ticker::Ticker;
use crate::{glue, kind, needs, wasi};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use wasmtime::component::{Component, Linker};

/// Slots beside those of runs: for modules that describe themselves and people who are linking.
const SPARE_SLOTS: u32 = 8;

/// What an engine is made for.
#[derive(Clone)]
pub struct EngineOptions {
    /// Where compiled connectors are kept; none compiles at every start.
    pub cache_dir: Option<PathBuf>,
    /// The key of the cache's MACs: known to this host alone.
    pub cache_key: [u8; 32],
    /// How many runs there are at a time. More wait.
    pub concurrent_runs: u32,
    /// The most memory that any run may be given; address space is reserved for it.
    pub max_memory_bytes: u64,
    /// The program that compiles. None compiles in this process, where nothing bounds it: only for files of one's own.
    pub compiler: Option<Compiler>,
}

/// What modules and calls share.
pub(crate) struct Shared {
    pub(crate) engine: wasmtime::Engine,
    linker: Linker<State>,
    pub(crate) ticker: Ticker,
    pub(crate) slots: Arc<Semaphore>,
    cache: Option<Cache>,
    compiling: Semaphore,
    hopeless: Hopeless,
    compiler: Option<Compiler>,
    pooling: bool,
    /// The most memory a call can have here, whatever its limits say.
    pub(crate) max_memory_bytes: u64,
}

/// Loads modules. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

impl Engine {
    /// Makes the engine: reserves address space (or does without, with a warning), opens the cache, starts the ticking thread.
    ///
    /// # Errors
    /// wasmtime can't work on this machine, the cache's folder can't be used, or the thread did not start.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let calls = calls(options.concurrent_runs);
        let (engine, pooling) = allocate(calls, options.max_memory_bytes)?;
        let cache = match &options.cache_dir {
            Some(folder) => Some(Cache::open(folder, options.cache_key, &engine)?),
            None => None,
        };
        let mut linker = Linker::new(&engine);
        wasi::link(&mut linker).map_err(|error| EngineError::Setup(needs::chain(&error)))?;
        glue::link(&mut linker).map_err(|error| EngineError::Setup(needs::chain(&error)))?;
        let ticker = Ticker::start(&engine).map_err(|error| EngineError::Thread(error.to_string()))?;
        let slots = Arc::new(Semaphore::new(usize::try_from(calls).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)));
        let compiling = Semaphore::new(1);
        let hopeless = Hopeless::default();
        let max_memory_bytes = options.max_memory_bytes;
        let compiler = options.compiler;
        Ok(Self(Arc::new(Shared { engine, linker, ticker, slots, cache, compiling, hopeless, compiler, pooling, max_memory_bytes })))
    }

    /// Whether address space could be reserved. Without, starting an instance takes longer.
    #[must_use]
    pub fn pooling(&self) -> bool {
        self.0.pooling
    }

    /// Takes compiled code away that is of no use any more. `approved` and `listed` are SHA-256s in lower-case hex: of what somebody said yes to, which
    /// is kept before everything else, and of what lies in the folder besides; none for the latter, where nobody has looked there yet.
    ///
    /// # Errors
    /// The folder could not be read, or a file not removed.
    pub async fn tidy(&self, approved: BTreeSet<String>, listed: Option<BTreeSet<String>>) -> std::io::Result<()> {
        let shared = Arc::clone(&self.0);
        let tidied = tokio::task::spawn_blocking(move || match &shared.cache {
            Some(cache) => cache.tidy(approved, listed.as_ref()),
            None => Ok(()),
        });
        tidied.await.unwrap_or_else(|error| Err(error.into()))
    }

    /// Loads a module from the bytes of its file.
    ///
    /// # Errors
    /// Why it can't be used, in one line to stand behind the file's name.
    pub async fn load(&self, bytes: &[u8]) -> Result<Module, LoadError> {
        self.load_named("a connector", bytes).await
    }

    /// Loads a module from the bytes of the file of this name, which stands in the log while it is compiled.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub async fn load_named(&self, name: &str, bytes: &[u8]) -> Result<Module, LoadError> {
        kind::check(bytes)?;
        let hash: [u8; 32] = Sha256::digest(bytes).into();
        let cached = self.cached(hash).await?;
        let from_cache = cached.is_some();
        let (component, compile_time) = match cached {
            Some(cached) => cached,
            None => self.compile(name, bytes, hash).await?,
        };
        let exports = needs::compare(&self.0.engine, &component)?;
        let resolved = self.0.linker.instantiate_pre(&component).map_err(|error| LoadError::Mismatch(needs::chain(&error)))?;
        let facts = Facts { hash, size: bytes.len() as u64, compile_time, from_cache };
        Module::new(Arc::clone(&self.0), resolved, exports, facts).map_err(|error| LoadError::Mismatch(needs::chain(&error)))
    }

    async fn cached(&self, hash: [u8; 32]) -> Result<Option<(Component, Duration)>, LoadError> {
        if self.0.cache.is_none() {
            return Ok(None);
        }
        let shared = Arc::clone(&self.0);
        blocking(move || shared.cache.as_ref().and_then(|cache| cache.load(&shared.engine, &hash))).await
    }

    /// Compiles when it is its turn; says how long it took from then on.
    async fn compile(&self, name: &str, bytes: &[u8], hash: [u8; 32]) -> Result<(Component, Duration), LoadError> {
        let _turn = self.0.compiling.acquire().await;
        let began = Instant::now();
        if let Some(compiler) = &self.0.compiler {
            if let Some(error) = self.0.hopeless.known(&hash) {
                return Err(error);
            }
            let engine = engine_hash(&self.0.engine);
            let compiled = noted(name, compiler.compile(self.0.pooling, &engine, bytes)).await;
            let code = compiled.inspect_err(|error| self.0.hopeless.note(hash, error))?;
            return self.keep(code, hash, began.elapsed()).await;
        }
        let shared = Arc::clone(&self.0);
        let bytes = bytes.to_vec();
        let compiled = blocking(move || shared.engine.precompile_component(&bytes));
        let code = noted(name, compiled).await?.map_err(|error| refusal(&needs::chain(&error)))?;
        self.keep(code, hash, began.elapsed()).await
    }

    /// Puts compiled code into the cache, and loads it: the same bytes.
    async fn keep(&self, code: Vec<u8>, hash: [u8; 32], took: Duration) -> Result<(Component, Duration), LoadError> {
        let shared = Arc::clone(&self.0);
        let loaded = blocking(move || {
            if let Some(cache) = &shared.cache {
                cache.store(&hash, took, &code);
            }
            load_code(&shared.engine, &code).map(|component| (component, took)).map_err(|error| refusal(&needs::chain(&error)))
        });
        loaded.await?
    }
}

/// Calls at a time, for so many runs.
pub(crate) fn calls(concurrent_runs: u32) -> u32 {
    concurrent_runs.saturating_add(SPARE_SLOTS)
}

/// An engine with reserved address space, or one without where there is no room for it.
fn allocate(calls: u32, memory_bytes: u64) -> Result<(wasmtime::Engine, bool), EngineError> {
    match wasmtime::Engine::new(&config(Allocation::Pooling { calls, memory_bytes })) {
        Ok(engine) => Ok((engine, true)),
        Err(error) => {
            tracing::warn!(
                error = %needs::chain(&error),
                "no address space could be reserved for {calls} connectors at a time: memory is asked for at each run instead, which is slower; \
                 fewer concurrent runs, or a higher limit on address space (ulimit -v), would bring it back"
            );
            match wasmtime::Engine::new(&config(Allocation::OnDemand)) {
                Ok(engine) => Ok((engine, false)),
                Err(error) => Err(EngineError::Setup(needs::chain(&error))),
            }
        }
    }
}

/// Runs work that takes its time beside the async workers; a panic in there is the host's fault, and stays an error.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LoadError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| LoadError::Host(format!("its work ended early: {error}")))
}
