//! The modules folder: which files are there, which may run, and what each that may not is waiting for.
//!
//! Only approved bytes run: approval is of a name at a hash (`approval`), what was approved is copied into the data folder by its hash (`store_copy`),
//! and it is the copy that is loaded. The connectors that ship with a release are approved by their hashes in the binary, others by a pin
//! (`sha256` under `[connectors.NAME]`) or by a command (`decide`). What nobody has approved is compiled and asked for its manifest, in the sandbox and
//! with nothing granted, so that the operator can be told what it asks for. A bad file costs its own connections and one line, never the start.
//!
//! The catalogue is replaced as a whole when the folder (`watch`), the settings or a decision change; a run that is under way keeps the connector that
//! it began with. New settings that a connector refuses leave the old connector serving, and its line says so.

mod approval;
mod connector;
mod decide;
mod figures;
mod folder;
mod store_copy;
mod trial;
mod watch;
mod words;

pub use approval::short;
pub use connector::Connector;
pub use decide::{Decision, DecisionError, Verb, decide, named};
pub use figures::{Figures, LastError, Latest, Report, Version, bytes_words, cpu_words, report};
pub use folder::{MAX_MODULE_BYTES, Standing, stand};
pub use trial::{Ended, ended};
pub use watch::watch;
pub use words::known;

use crate::{
    app::{App, FailPoint},
    config::Config,
};
use approval::Bench;
use sluice_gate::Gate;
use sluice_sandbox::{Engine, harmless, inert};
use sluice_store::{Decided, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use store_copy::Copies;
use tokio::time::Instant;

/// Names and hashes of the connectors that this binary was built with.
pub const PINS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pins.rs"));
/// Whether these bytes are a connector of this build, whatever its instance is called.
fn bundled(hash: &str) -> bool {
    PINS.iter().any(|(_, pin)| *pin == hash)
}

/// How long a start waits for files that nobody has approved, all of them together: a bomb among them may take minutes, and what is approved is to
/// run. Whoever watches the folder looks at the rest.
const STRANGERS_AT_START: Duration = Duration::from_secs(5);
/// Characters of a listing's line; what is over is cut. The longest line of something that waits fits, beside what serves (see `words`).
const MAX_LINE: usize = 1_800;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModuleState {
    /// It serves its connections.
    Running,
    /// Nobody has approved it: it was asked what it is, with nothing granted, and waits.
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
    /// Lower-case hex SHA-256 of what runs; of the file, where nothing does and it could be read.
    pub sha256: Option<String>,
    /// Bytes.
    pub size: u64,
    /// How long compiling it took, ms, once it was compiled.
    pub compile_ms: Option<u64>,
    /// The connector's own version, once it is known.
    pub version: Option<String>,
    /// What became of it.
    pub state: ModuleState,
    /// One line: what it is, or what is wrong and what to do.
    pub line: String,
    /// What it may do, in plain words, once its manifest is known.
    pub authority: Vec<String>,
    /// What approves it, where it waits for that.
    pub command: Option<String>,
    /// The file in the folder, where something else serves in its place.
    pub waiting: Option<Waiting>,
}

impl Listing {
    /// Whether it, or a new version of it, waits for the operator.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.state == ModuleState::Pending || self.waiting.as_ref().is_some_and(|new| new.state == ModuleState::Pending)
    }
}

/// A file that is not what runs under its name: a new version that waits, one that was refused, or a broken one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Waiting {
    /// Lower-case hex SHA-256, where it could be read.
    pub sha256: Option<String>,
    /// Bytes.
    pub size: u64,
    /// How long compiling it took, ms, once it was compiled.
    pub compile_ms: Option<u64>,
    /// `pending` where somebody is asked, `refused` where it can't run or somebody said no.
    pub state: ModuleState,
    /// Its own version, once it is known.
    pub version: Option<String>,
    /// One line: why it does not run.
    pub line: String,
    /// What it asks for that the approved version does not, a line each.
    pub difference: Vec<String>,
    /// All that it asks for.
    pub authority: Vec<String>,
    /// What approves it, where that is possible.
    pub command: Option<String>,
}

impl Waiting {
    fn of(listing: &Listing, line: String) -> Self {
        let (sha256, size) = (listing.sha256.clone(), listing.size);
        let state = ModuleState::Refused;
        Self { sha256, size, compile_ms: None, state, version: None, line, difference: Vec::new(), authority: Vec::new(), command: None }
    }
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
    /// Named between two durable steps; tests end the process there.
    pub fail_point: &'a FailPoint,
}

/// One state of the folder and the settings.
struct Shelf {
    config: Arc<Config>,
    connectors: BTreeMap<String, Arc<Connector>>,
    listing: Arc<[Listing]>,
    /// Files that are looked at whatever else lies in the folder.
    always: Arc<BTreeSet<String>>,
}

/// The connectors that can run, and the listing of everything that was found.
pub struct Catalogue {
    shelf: RwLock<Arc<Shelf>>,
    /// One change at a time: reading the folder, judging and deciding belong together.
    changing: tokio::sync::Mutex<()>,
}

/// Somebody's yes to bytes.
struct Yes {
    name: String,
    hash: String,
    who: Decided,
}

/// Why the folder is read again.
#[derive(Default)]
struct Change<'a> {
    config: Option<&'a Config>,
    restless: Option<&'a BTreeSet<String>>,
    yes: Option<Yes>,
    patience: Option<Instant>,
}

impl Catalogue {
    /// Reads the folder and loads what is approved. Whatever is wrong with a file, or with the folder, is in the listing.
    pub async fn load(config: &Config, workshop: Workshop<'_>) -> Self {
        let config = Arc::new(config.clone());
        let copies = Copies::of(&config.data_dir, workshop.fail_point.clone());
        // The cache knows what was approved before strangers' files are compiled: they take no room from it.
        sweep(workshop, None, copies.clone()).await;
        let start = Change { patience: Some(Instant::now() + STRANGERS_AT_START), ..Change::default() };
        let shelf = fill(config, workshop, &copies, None, &start).await;
        shelf.listing.iter().for_each(say);
        wake(workshop.store, shelf.connectors.keys().cloned().collect()).await;
        sweep(workshop, Some(&shelf.listing), copies).await;
        Self { shelf: RwLock::new(Arc::new(shelf)), changing: tokio::sync::Mutex::new(()) }
    }

    /// The same again with other settings. Says which instances are not as they were.
    pub async fn reload(&self, config: &Config, workshop: Workshop<'_>) -> Vec<String> {
        let _alone = self.changing.lock().await;
        self.change(workshop, Change { config: Some(config), ..Change::default() }).await
    }

    /// The caller holds `changing`. Accounts that waited for a connector which runs now are due when this returns.
    async fn change(&self, workshop: Workshop<'_>, change: Change<'_>) -> Vec<String> {
        let before = self.shelf();
        let config = change.config.map_or_else(|| before.config.clone(), |config| Arc::new(config.clone()));
        let copies = Copies::of(&config.data_dir, workshop.fail_point.clone());
        let after = fill(config, workshop, &copies, Some(&before), &change).await;
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
        let came: Vec<String> = after.connectors.keys().filter(|name| !before.connectors.contains_key(*name)).cloned().collect();
        (workshop.fail_point)("modules:before-taking-over");
        let listing = after.listing.clone();
        *self.shelf.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
        (workshop.fail_point)("modules:after-taking-over");
        wake(workshop.store, came).await;
        sweep(workshop, Some(&listing), copies).await;
        (workshop.fail_point)("modules:after-sweep");
        changed
    }

    fn shelf(&self) -> Arc<Shelf> {
        self.shelf.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Files that are looked at whatever else lies in the folder.
    fn always(&self) -> Arc<BTreeSet<String>> {
        self.shelf().always.clone()
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
    // A file that nobody would call so is listed as well.
    let file = inert(&line.file);
    match line.state {
        ModuleState::Running if line.waiting.is_none() => tracing::info!(module = %line.name, "{}", line.line),
        _ => tracing::warn!("{file}: {}", line.line),
    }
}

/// Reads the folder again; what is being written stays as it was.
async fn rescan(app: &App, restless: &BTreeSet<String>) {
    let _alone = app.modules.changing.lock().await;
    let changed = app.modules.change(app.workshop(), Change { restless: Some(restless), ..Change::default() }).await;
    if !changed.is_empty() {
        app.wake.notify_one();
    }
}

/// Accounts that look for one of these connectors now and then need not wait any longer. Where that cannot be written down, they come by themselves.
pub async fn wake(store: &Store, connectors: Vec<String>) {
    if connectors.is_empty() {
        return;
    }
    match store.wake_absent(connectors).await {
        Ok(0) => {}
        Ok(accounts) => tracing::info!("{accounts} accounts waited for a connector that runs now: they are due"),
        Err(error) => tracing::warn!("accounts that wait for a connector could not be told that it runs: {error}"),
    }
}

/// Copies that nothing goes back to, and compiled code of what is neither kept nor listed, take up room and no more: a failure is for the log. Without a
/// listing nobody knows yet what lies in the folder.
async fn sweep(workshop: Workshop<'_>, listing: Option<&[Listing]>, copies: Copies) {
    let keep = match workshop.store.kept_hashes().await {
        Ok(keep) => keep,
        Err(error) => return tracing::warn!("what was approved could not be read, so nothing is tidied up: {error}"),
    };
    let hashes = |listing: &[Listing]| -> BTreeSet<String> {
        let waiting = listing.iter().filter_map(|l| l.waiting.as_ref()?.sha256.clone());
        listing.iter().filter_map(|l| l.sha256.clone()).chain(waiting).collect()
    };
    let listed = listing.map(hashes);
    // What waited and is gone is asked again when it comes back.
    if let Some(listed) = &listed
        && let Err(error) = workshop.store.forget_pending(listed.clone()).await
    {
        tracing::warn!("what was noted of files that no longer wait could not be removed: {error}");
    }
    if let Err(error) = workshop.engine.tidy(keep.clone(), listed).await {
        tracing::warn!("compiled code that is no longer needed could not be removed: {error}");
    }
    let swept = tokio::task::spawn_blocking(move || copies.sweep(&keep)).await.map_err(|e| e.to_string());
    if let Err(error) = swept.and_then(|done| done.map_err(|e| e.to_string())) {
        tracing::warn!("copies of modules that are no longer needed could not be removed: {error}");
    }
}

async fn fill(config: Arc<Config>, workshop: Workshop<'_>, copies: &Copies, before: Option<&Shelf>, change: &Change<'_>) -> Shelf {
    let mut connectors = BTreeMap::new();
    let mut listing = Vec::new();
    // Where the store fails, each line says so.
    let approved = workshop.store.approved_names().await.unwrap_or_default();
    let always = Arc::new(folder::always(&config, &approved));
    let first = always.clone();
    let named = blocking(&config, move |config| folder::names(config, &first)).await.unwrap_or_default();
    for named in named {
        let (name, file) = (named.name.clone(), named.file.clone());
        let old = before.and_then(|shelf| shelf.connectors.get(&name));
        let known = before.and_then(|shelf| shelf.listing.iter().find(|l| l.name == name && l.file == file));
        if change.restless.is_some_and(|r| r.contains(&file)) {
            if let Some(known) = known {
                listing.push(known.clone());
                connectors.extend(old.map(|old| (name, old.clone())));
            }
            continue;
        }
        let Some(found) = blocking(&config, move |config| folder::look(config, named)).await else {
            tracing::error!("{}: looking at it ended in a panic; it is left out", inert(&file));
            continue;
        };
        let Some(found) = found else { continue };
        let yes = change.yes.as_ref().filter(|yes| yes.name == name).map(|yes| (yes.hash.as_str(), &yes.who));
        let bench = Bench { config: &config, workshop, copies, old, yes, patience: change.patience };
        let (mut line, connector) = approval::judge(&bench, found).await;
        make_inert(&mut line);
        connectors.extend(connector.map(|connector| (name, connector)));
        listing.push(line);
    }
    Shelf { config, connectors, listing: listing.into(), always }
}

async fn blocking<T: Send + 'static>(config: &Arc<Config>, work: impl FnOnce(&Config) -> T + Send + 'static) -> Option<T> {
    let config = config.clone();
    tokio::task::spawn_blocking(move || work(&config)).await.ok()
}

/// A stranger's file is in all of these.
fn make_inert(listing: &mut Listing) {
    let Listing { line, version, authority, waiting, .. } = listing;
    *line = one_line(line);
    let (mut versions, mut lists) = (vec![version], vec![authority]);
    if let Some(waiting) = waiting {
        waiting.line = one_line(&waiting.line);
        versions.push(&mut waiting.version);
        lists.extend([&mut waiting.authority, &mut waiting.difference]);
    }
    for text in versions.into_iter().flatten().chain(lists.into_iter().flatten()) {
        *text = unbroken(text);
    }
}

/// What a stranger's file brings into a line cannot break it or turn it around.
fn unbroken(text: &str) -> String {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    words.join(" ").chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// The same, and it cannot fill the screen. What a connector asks for is never cut: the end of it counts as much as its beginning.
fn one_line(text: &str) -> String {
    let clean = unbroken(text);
    match clean.char_indices().nth(MAX_LINE) {
        Some((at, _)) => format!("{}…", clean.get(..at).unwrap_or_default()),
        None => clean,
    }
}
