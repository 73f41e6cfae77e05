//! A module in words.

use super::{Reader, When};
use crate::{
    app::App,
    modules::{Listing, ModuleState, Report, bytes_words, cpu_words},
    web::{
        markup::inert,
        when::{counted, duration},
        words::{Tone, outcome_words},
    },
};

/// Those that wait come first…
const WANTED: u8 = 0;
/// …then those that run…
pub const RUNS: u8 = 1;
/// …and then the others.
const REST: u8 = 2;

/// One file, or one name.
pub struct Card {
    pub name: String,
    pub title: String,
    pub file: String,
    /// It serves its connections.
    pub runs: bool,
    /// It has a page of its own.
    pub linked: bool,
    pub tone: Tone,
    pub rank: u8,
    pub headline: &'static str,
    pub line: String,
    pub facts: Vec<(&'static str, String)>,
    pub asks: Option<Asks>,
    pub actions: Vec<Action>,
}

/// What waits for a yes or no.
pub struct Asks {
    /// Nothing serves in its place.
    pub first: bool,
    pub version: String,
    pub hash: String,
    pub difference: Vec<String>,
    pub authority: Vec<String>,
    pub command: String,
}

/// A link to a decision.
pub struct Action {
    pub path: String,
    pub words: String,
    pub class: &'static str,
}

/// What the latest runs say.
pub struct Figures {
    pub memory: String,
    pub cpu: String,
    pub denied: String,
    pub runs: String,
    pub latest: Vec<Row>,
    pub errors: Vec<Failed>,
}

/// A row of the latest runs.
pub struct Row {
    pub at: When,
    pub version: String,
    pub outcome: &'static str,
    pub repeats: u32,
    pub cpu: String,
    pub memory: String,
    pub denied: u64,
}

/// One of the last errors.
pub struct Failed {
    pub at: When,
    pub version: String,
    pub code: String,
    pub message: String,
}

/// Whether an instance can be called so.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 250 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A listing in words.
pub fn card(app: &App, listing: &Listing) -> Card {
    let Listing { name, file, state, .. } = listing;
    // A name stands for one file; another file of the same name is only told about.
    let linked = is_name(name) && app.modules.listed(name).is_some_and(|first| first.file == *file);
    let asks = asks(listing).filter(|_| listing.waits());
    let (tone, headline) = match (state, listing.waiting.as_ref().map(|new| new.state)) {
        (ModuleState::Running, None) => (Tone::Good, "Running"),
        (ModuleState::Running, Some(ModuleState::Pending)) => (Tone::Wanted, "Running; a new version waits for your approval"),
        (ModuleState::Running, Some(ModuleState::Examining)) => (Tone::Waiting, "Running; the file in the folder is being examined"),
        (ModuleState::Running, Some(_)) => (Tone::Waiting, "Running, from its approved copy; the file in the folder does not run"),
        (ModuleState::Examining, _) => (Tone::Waiting, "Being examined"),
        (ModuleState::Pending, _) => (Tone::Wanted, "Waits for your approval"),
        (ModuleState::Refused, _) => (Tone::Quiet, "Does not run"),
        (ModuleState::Missing, _) => (Tone::Quiet, "Its file is missing"),
    };
    let rank = match (listing.waits(), state) {
        (true, _) => WANTED,
        (_, ModuleState::Running) => RUNS,
        _ => REST,
    };
    let mut facts = vec![("File", inert(file))];
    facts.extend(listing.version.as_deref().map(|version| ("Version", inert(version))));
    if listing.size > 0 {
        facts.push(("Size", bytes_words(listing.size)));
    }
    facts.extend(listing.compile_ms.map(|ms| ("Compiled in", duration(i64::try_from(ms).unwrap_or(i64::MAX)))));
    let actions = if linked { actions(listing, asks.is_some()) } else { Vec::new() };
    let line = plain_line(listing);
    Card {
        name: name.clone(),
        title: inert(if linked { name } else { file }),
        file: inert(file),
        runs: *state == ModuleState::Running,
        linked,
        tone,
        rank,
        headline,
        line,
        facts,
        asks,
        actions,
    }
}

/// The line without the command, which stands below it.
fn plain_line(listing: &Listing) -> String {
    let command = listing.waiting.as_ref().map_or(&listing.command, |new| &new.command);
    let without = command.as_ref().and_then(|command| listing.line.strip_suffix(&format!("; to approve: {command}")));
    inert(without.unwrap_or(&listing.line))
}

/// What a yes to the bytes that do not run would allow; none where there is nothing to say yes to.
pub fn asks(listing: &Listing) -> Option<Asks> {
    let lines = |lines: &[String]| lines.iter().map(|line| inert(line)).collect();
    let (version, hash, command) = match &listing.waiting {
        Some(new) => (&new.version, &new.sha256, &new.command),
        None => (&listing.version, &listing.sha256, &listing.command),
    };
    Some(Asks {
        first: listing.waiting.is_none(),
        version: inert(version.as_deref().unwrap_or_default()),
        hash: hash.clone()?,
        difference: listing.waiting.as_ref().map(|new| lines(&new.difference)).unwrap_or_default(),
        authority: lines(listing.waiting.as_ref().map_or(&listing.authority, |new| &new.authority)),
        command: command.clone()?,
    })
}

/// Going back is not among them: whether there is anything to go back to is not in the listing.
fn actions(listing: &Listing, asked: bool) -> Vec<Action> {
    let name = &listing.name;
    let (hash, command) = match &listing.waiting {
        Some(new) => (&new.sha256, &new.command),
        None => (&listing.sha256, &listing.command),
    };
    let mut all = Vec::new();
    if let (Some(hash), Some(_)) = (hash, command) {
        let words = if asked { "Approve…" } else { "Run it after all…" };
        let class = if asked { "" } else { "quiet" };
        all.push(Action { path: format!("/modules/{name}/approve?hash={hash}"), words: words.to_owned(), class });
        if asked {
            all.push(Action { path: format!("/modules/{name}/refuse?hash={hash}"), words: "Refuse…".to_owned(), class: "quiet" });
        }
    }
    if listing.state != ModuleState::Missing {
        all.push(Action { path: format!("/modules/{name}/remove"), words: "Remove the file…".to_owned(), class: "quiet danger" });
    }
    all
}

/// Back to what served before.
pub fn back(name: &str, version: &str) -> Action {
    Action { path: format!("/modules/{name}/rollback"), words: format!("Back to {}…", inert(version)), class: "quiet" }
}

/// What its latest runs say.
pub fn figures(reader: &Reader, report: &Report) -> Option<Figures> {
    let runs = report.runs.as_ref()?;
    let of = |limit: Option<String>| limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    let row = |run: &crate::modules::Latest| Row {
        at: reader.when(run.at),
        version: inert(&run.version),
        outcome: outcome_words(&run.ended, run.code.as_deref()),
        repeats: run.repeats,
        cpu: cpu_words(run.cpu_us),
        memory: bytes_words(run.memory_bytes),
        denied: run.denied,
    };
    let failed = |error: &crate::modules::LastError| Failed {
        at: reader.when(error.at),
        version: inert(&error.version),
        code: inert(&error.code),
        message: inert(&error.message),
    };
    Some(Figures {
        memory: format!("{}{}", bytes_words(runs.memory_bytes), of(report.memory_limit.map(bytes_words))),
        cpu: format!("{}{}", cpu_words(runs.cpu_us), of(report.cpu_limit_ms.map(|ms| cpu_words(ms.saturating_mul(1_000))))),
        denied: counted(runs.denied, "request"),
        runs: counted(runs.runs, "run"),
        latest: runs.latest.iter().map(row).collect(),
        errors: runs.errors.iter().map(failed).collect(),
    })
}
