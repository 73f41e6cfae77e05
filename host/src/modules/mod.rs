//! The modules folder: which files are there, which may run, and what each that may not is waiting for.
//!
//! Only pinned bytes run: a file is read once, hashed, and it is those very bytes that are compiled. Two kinds of pin exist: the connectors that
//! ship with a release are pinned in the binary, and an operator pins others by `sha256` under `[connectors.NAME]`. Everything else is listed with
//! the line that would pin it, and never run. A bad file costs its own connections and one line, never the start.
//!
//! The catalogue is replaced as a whole when the settings change; a run that is under way keeps the connector that it began with. New settings that
//! a connector refuses leave the old connector serving, and its line says so; bytes that are no longer pinned stop.

mod connector;
mod folder;

pub use connector::Connector;
pub use folder::MAX_MODULE_BYTES;

use crate::config::Config;
use sluice_gate::Gate;
use sluice_sandbox::Engine;
use sluice_store::Store;
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

/// Names and hashes of the connectors that this binary was built with.
pub const PINS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pins.rs"));
/// Characters of a listing's line; what is over is cut.
const MAX_LINE: usize = 600;

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
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
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

/// What connectors are made with.
#[derive(Clone, Copy)]
pub struct Workshop<'a> {
    /// Compiles.
    pub engine: &'a Engine,
    /// Makes the way out.
    pub gate: &'a Gate,
    /// Knows the metrics.
    pub store: &'a Store,
}

/// One state of the folder and the settings.
struct Shelf {
    connectors: BTreeMap<String, Arc<Connector>>,
    listing: Arc<[Listing]>,
}

/// The connectors that can run, and the listing of everything that was found.
pub struct Catalogue(RwLock<Arc<Shelf>>);

impl Catalogue {
    /// Reads the folder and loads what is pinned. Whatever is wrong with a file, or with the folder, is in the listing.
    pub async fn load(config: &Config, workshop: Workshop<'_>) -> Self {
        let shelf = fill(config, workshop, None).await;
        shelf.listing.iter().for_each(say);
        Self(RwLock::new(Arc::new(shelf)))
    }

    /// The same again with other settings. Says which instances are not as they were.
    pub async fn reload(&self, config: &Config, workshop: Workshop<'_>) -> Vec<String> {
        let before = self.shelf();
        let after = fill(config, workshop, Some(&before)).await;
        for line in after.listing.iter().filter(|line| !before.listing.contains(line)) {
            say(line);
        }
        let same = |name: &String| match (before.connectors.get(name), after.connectors.get(name)) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        let mut changed: Vec<String> =
            before.connectors.keys().chain(after.connectors.keys()).filter(|name| !same(name)).cloned().collect();
        changed.sort();
        changed.dedup();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
        changed
    }

    fn shelf(&self) -> Arc<Shelf> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connector of that name, when it can run.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Connector>> {
        self.shelf().connectors.get(name).cloned()
    }

    /// Every connector that can run, by name.
    pub fn running(&self) -> impl Iterator<Item = Arc<Connector>> {
        self.shelf().connectors.values().cloned().collect::<Vec<_>>().into_iter()
    }

    /// Everything that was found, by name.
    #[must_use]
    pub fn listing(&self) -> Arc<[Listing]> {
        self.shelf().listing.clone()
    }

    /// What is known of one instance.
    #[must_use]
    pub fn listed(&self, name: &str) -> Option<Listing> {
        self.shelf().listing.iter().find(|l| l.name == name).cloned()
    }
}

fn say(line: &Listing) {
    match line.state {
        ModuleState::Running => tracing::info!(module = %line.name, "{}", line.line),
        _ => tracing::warn!("{}: {}", line.file, line.line),
    }
}

async fn fill(config: &Config, workshop: Workshop<'_>, before: Option<&Shelf>) -> Shelf {
    let mut connectors = BTreeMap::new();
    let mut listing = Vec::new();
    let settings = Arc::new(config.clone());
    let named = blocking(&settings, folder::names).await.unwrap_or_default();
    for named in named {
        let file = named.file.clone();
        let Some(found) = blocking(&settings, move |config| folder::look(config, named)).await else {
            tracing::error!("{file}: looking at it ended in a panic; it is left out");
            continue;
        };
        let Some(found) = found else { continue };
        let mut line = found.listing;
        if let Some(bytes) = found.bytes {
            let old = before.and_then(|shelf| shelf.connectors.get(&line.name));
            match take(config, workshop, &line.name, &bytes, old).await {
                Ok((connector, note)) => {
                    line.state = ModuleState::Running;
                    line.version = Some(connector.manifest.version.clone());
                    line.line = format!("{} {}{note}", connector.manifest.title, connector.manifest.version);
                    line.authority = connector.grant.authority().lines();
                    connectors.insert(line.name.clone(), connector);
                }
                Err(why) => {
                    line.state = ModuleState::Refused;
                    line.line = why;
                }
            }
        }
        line.line = one_line(&line.line);
        listing.push(line);
    }
    Shelf { connectors, listing: listing.into() }
}

/// The connector for these bytes: the one before where nothing changed, a new one, or the one before with a note where the new settings do not fit it.
async fn take(
    config: &Config,
    workshop: Workshop<'_>,
    name: &str,
    bytes: &[u8],
    old: Option<&Arc<Connector>>,
) -> Result<(Arc<Connector>, String), String> {
    use sha2::Digest;
    let hash: [u8; 32] = sha2::Sha256::digest(bytes).into();
    let old = old.filter(|old| old.module.hash() == hash);
    if let Some(old) = old
        && old.config == config.connector(name)
    {
        return Ok((old.clone(), String::new()));
    }
    match (connector::load(config, workshop, name, bytes).await, old) {
        (Ok(connector), _) => Ok((Arc::new(connector), String::new())),
        (Err(why), Some(old)) => Ok((old.clone(), format!(", with its settings of before: {why}"))),
        (Err(why), None) => Err(why),
    }
}

async fn blocking<T: Send + 'static>(config: &Arc<Config>, work: impl FnOnce(&Config) -> T + Send + 'static) -> Option<T> {
    let config = config.clone();
    tokio::task::spawn_blocking(move || work(&config)).await.ok()
}

/// What a stranger's file brings into a line cannot break it, turn it around or fill the screen.
fn one_line(text: &str) -> String {
    let hidden = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let clean: String = words.join(" ").chars().map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect();
    match clean.char_indices().nth(MAX_LINE) {
        Some((at, _)) => format!("{}…", clean.get(..at).unwrap_or_default()),
        None => clean,
    }
}
