//! The modules folder: which files are there, which may run, and what each that may not is waiting for.
//!
//! Only approved bytes run: approval is of a name at a hash (`approval`), what was approved is copied into the data folder by its hash (`store_copy`),
//! and it is the copy that is loaded. The connectors that ship with a release are approved by their hashes in the binary, others by a pin
//! (`sha256` under `[connectors.NAME]`) or by a command (`decide`). What nobody has approved is compiled and asked for its manifest, in the sandbox and
//! with nothing granted, so that the operator can be told what it asks for. A bad file costs its own connections and one line, never the start.
//!
//! The catalogue (`catalogue`) is replaced as a whole when the folder (`watch`), the settings or a decision change; a run that is under way keeps the
//! connector that it began with. New settings that a connector refuses leave the old connector serving, and its line says so. Whatever takes its time
//! (compiling, asking) is done beside that (`examine`).

mod approval;
mod back;
mod catalogue;
mod connector;
mod decide;
mod examine;
mod figures;
mod folder;
mod store_copy;
mod trial;
mod watch;
mod words;

pub use approval::short;
pub use catalogue::{Catalogue, wake};
pub use connector::Connector;
pub use decide::{Decision, DecisionError, Verb, decide, named};
pub use figures::{Figures, LastError, Latest, Report, Version, bytes_words, cpu_words, report};
pub use folder::{MAX_MODULE_BYTES, Standing, stand};
pub use trial::{Ended, ended};
pub use watch::watch;
pub use words::known;

use crate::app::FailPoint;
use sluice_gate::Gate;
use sluice_sandbox::{Engine, harmless, inert};
use sluice_store::Store;

/// Names and hashes of the connectors that this binary was built with.
pub const PINS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pins.rs"));
/// Whether these bytes are a connector of this build, whatever its instance is called.
fn bundled(hash: &str) -> bool {
    PINS.iter().any(|(_, pin)| *pin == hash)
}

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
    /// It is being compiled and asked what it is, or waits for its turn; or it is being written.
    Examining,
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
    /// For how long it is being examined by now, ms, where its turn has come.
    pub examined_for_ms: Option<u64>,
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
    /// What else it says of itself, where it waits and nothing serves in its place: whoever decides wants to know.
    #[serde(skip)]
    pub told: Option<Told>,
}

/// What a file that nobody has approved says of itself, beside what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// How people would sign in, and what an operator would register for that.
    pub setup: String,
    /// What it would record.
    pub metrics: Vec<String>,
}

impl Listing {
    /// A row of which no more is known than this.
    fn of_file(name: String, file: String, state: ModuleState, line: String) -> Self {
        Self {
            name,
            file,
            sha256: None,
            size: 0,
            compile_ms: None,
            examined_for_ms: None,
            version: None,
            state,
            line,
            authority: Vec::new(),
            command: None,
            waiting: None,
            told: None,
        }
    }

    /// Whether it, or a new version of it, is being examined or is to be.
    #[must_use]
    pub fn is_examined(&self) -> bool {
        self.state == ModuleState::Examining || self.waiting.as_ref().is_some_and(|new| new.state == ModuleState::Examining)
    }

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
    /// For how long it is being examined by now, ms, where its turn has come.
    pub examined_for_ms: Option<u64>,
    /// `pending` where somebody is asked, `refused` where it can't run or somebody said no, `examining` where it is not known yet.
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
        let (difference, authority) = (Vec::new(), Vec::new());
        Self { sha256, size, compile_ms: None, examined_for_ms: None, state, version: None, line, difference, authority, command: None }
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

fn say(line: &Listing) {
    // A file that nobody would call so is listed as well.
    let file = inert(&line.file);
    match line.state {
        ModuleState::Running if line.waiting.is_none() => tracing::info!(module = %line.name, "{}", line.line),
        _ if line.is_examined() => tracing::info!("{file}: {}", line.line),
        _ => tracing::warn!("{file}: {}", line.line),
    }
}

/// A stranger's file is in all of these.
fn make_inert(listing: &mut Listing) {
    let Listing { line, version, authority, waiting, told, .. } = listing;
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
    if let Some(Told { setup, metrics }) = told {
        metrics.iter_mut().for_each(|metric| *metric = unbroken(metric));
        *setup = setup.lines().map(|line| inert(line) + "\n").collect();
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
