//! What an operator decides about a module, whether at a terminal or on a page.
//!
//! A yes or no is to bytes: `NAME@HASH`, at least [`LEAST_HASH`] letters of it. It concerns what lies in the folder and waits, and it is read again
//! while nothing else can change: if the file has been swapped since the operator read the line, the hash no longer fits and nothing happens.
//!
//! A decision concerns the name that it names. Where its bytes must be compiled first, that happens while others decide about others.

use super::{
    Listing, ModuleState, approval,
    back::{Why, go_back, is_pinned},
    catalogue::{Change, Restless, Yes},
    examine::Hand,
    folder::{self, Unreadable},
    store_copy, words,
};
use crate::app::App;
use sluice_store::{ApprovalState, Candidate, Decided, StoreError};
use std::{path::Path, sync::Arc};

/// Letters of a hash that say which bytes are meant.
const LEAST_HASH: usize = 8;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// These bytes run.
    Approve,
    /// These bytes don't.
    Refuse,
    /// What served before serves again.
    Rollback,
    /// The file goes, and everything that was decided about it.
    Remove,
}

/// A decision.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What.
    pub verb: Verb,
    /// The instance.
    pub name: String,
    /// The beginning of the hash of the bytes that are meant: needed for a yes or no. Going back with one is from these bytes only; removing with one is
    /// of a file that has these bytes.
    pub hash: Option<String>,
    /// Who.
    pub who: Decided,
}

/// Why nothing was done: one line for whoever asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecisionError {
    /// There is no such instance.
    #[error("{0}")]
    Unknown(String),
    /// It cannot be done.
    #[error("{0}")]
    Refused(String),
    /// The store failed.
    #[error("the database refused: {0}")]
    Store(#[from] StoreError),
}

/// `NAME@HASH`, apart.
#[must_use]
pub fn named(text: &str) -> (&str, Option<&str>) {
    text.split_once('@').map_or((text, None), |(name, hash)| (name, Some(hash)))
}

fn refused<T>(why: impl Into<String>) -> Result<T, DecisionError> {
    Err(DecisionError::Refused(why.into()))
}

/// Carries a decision out. Says what has become of the instance. Once it has begun it comes to its end, whether or not whoever asked still listens:
/// between what is written down and what serves nobody may walk away.
///
/// # Errors
/// Nothing was changed, and why.
pub async fn decide(app: &Arc<App>, decision: Decision) -> Result<Listing, DecisionError> {
    let app = app.clone();
    let carried_out = tokio::spawn(async move { carry_out(&app, decision).await });
    carried_out.await.unwrap_or_else(|error| refused(format!("carrying it out ended early, which is a mistake of this host: {error}")))
}

async fn carry_out(app: &App, decision: Decision) -> Result<Listing, DecisionError> {
    match decision.verb {
        Verb::Approve => approve(app, &decision).await,
        Verb::Refuse => refuse(app, &decision).await,
        Verb::Rollback => roll_back(app, &decision).await,
        Verb::Remove => {
            let _alone = app.modules.changing.lock().await;
            let listing = listed(app, &decision.name)?;
            remove(app, &decision, &listing).await
        }
    }
}

fn listed(app: &App, name: &str) -> Result<Listing, DecisionError> {
    app.modules.listed(name).ok_or_else(|| {
        let known = words::known(&app.modules.listing()).unwrap_or_else(|| "none".to_owned());
        DecisionError::Unknown(format!("there is no module {name}; in the folder are: {known}"))
    })
}

/// What is decided about bytes is decided about bytes that are at rest.
async fn at_rest(app: &App, listing: &Listing) -> Result<(), DecisionError> {
    if app.modules.restless().await.contains(&listing.file) {
        let name = &listing.name;
        return refused(format!("{} is being written at this moment: look at it again with `sluice modules show {name}`", listing.file));
    }
    Ok(())
}

/// Whoever says which bytes they looked at decides about no others.
fn unchanged(decision: &Decision, listing: &Listing) -> Result<(), DecisionError> {
    let there = listing.sha256.as_deref().unwrap_or_default();
    match decision.hash.as_deref().filter(|part| !begins(there, part)) {
        Some(part) => other_bytes(&decision.name, there, part),
        None => Ok(()),
    }
}

fn begins(hash: &str, part: &str) -> bool {
    part.len() >= LEAST_HASH && hash.starts_with(&part.to_ascii_lowercase())
}

fn other_bytes(name: &str, there: &str, part: &str) -> Result<(), DecisionError> {
    let there = approval::short(there);
    refused(format!("{name} is at {there} by now, and not at {part}: look at it again with `sluice modules show {name}`"))
}

/// The file in the folder must have the bytes that somebody looked at, whatever serves in its place.
fn same_file(path: &Path, name: &str, part: &str) -> Result<(), DecisionError> {
    match folder::read(path) {
        Ok(bytes) => {
            let there = store_copy::hash(&bytes);
            if begins(&there, part) { Ok(()) } else { other_bytes(name, &there, part) }
        }
        Err(Unreadable::Missing) => refused(format!("{} is not there any more", path.display())),
        Err(Unreadable::Other(why)) => {
            refused(format!("whether {} has these bytes can't be seen ({why}): without @HASH it is removed all the same", path.display()))
        }
    }
}

/// The full hash of the bytes that wait, where the given letters are its beginning.
fn meant(decision: &Decision, listing: &Listing) -> Result<String, DecisionError> {
    let name = &decision.name;
    let waiting = match (&listing.waiting, listing.state) {
        (Some(waiting), _) => waiting.sha256.clone(),
        (None, ModuleState::Pending | ModuleState::Examining | ModuleState::Refused) => listing.sha256.clone(),
        (None, ModuleState::Running | ModuleState::Missing) => None,
    };
    let Some(full) = waiting else {
        return refused(format!("nothing of {name} waits to be decided: {}", listing.line));
    };
    let Some(part) = decision.hash.as_deref() else {
        return refused(format!("say which bytes are meant: {name}@{}", approval::short(&full)));
    };
    let part = part.to_ascii_lowercase();
    if part.len() < LEAST_HASH || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
        return refused(format!("{name}@{part}: at least {LEAST_HASH} letters of the hash are needed (0-9, a-f)"));
    }
    if !full.starts_with(&part) {
        return refused(format!(
            "what waits is {name}@{}, and not {name}@{part}: the file was replaced; look at it again with `sluice modules show {name}`",
            approval::short(&full)
        ));
    }
    Ok(full)
}

async fn approve(app: &App, decision: &Decision) -> Result<Listing, DecisionError> {
    let name = &decision.name;
    let mut hand = Hand::new();
    loop {
        let need = {
            let _alone = app.modules.changing.lock().await;
            let listing = listed(app, name)?;
            let hash = meant(decision, &listing)?;
            at_rest(app, &listing).await?;
            let yes = Yes { name: name.clone(), hash: hash.clone(), who: decision.who.clone() };
            app.modules.change(app.workshop(), Change { yes: Some(yes), hand: hand.clone(), ..Change::of(name) }).await;
            app.wake.notify_one();
            let now = app.modules.listed(name);
            match (app.modules.need(name, &hash).filter(|_| !hand.contains_key(&hash)), now) {
                (_, Some(now)) if now.state == ModuleState::Running && now.sha256.as_deref() == Some(hash.as_str()) => return Ok(now),
                (Some(need), _) => need,
                (None, Some(now)) => return refused(format!("{name} was not approved: {}", now.waiting.map_or(now.line, |w| w.line))),
                (None, None) => return refused(format!("{name} is no longer in the folder")),
            }
        };
        let Some(outcome) = app.modules.examine_now(app.workshop(), &need).await else {
            return refused(format!("{name} was not approved: its file was replaced while it was examined"));
        };
        hand.insert(need.hash, outcome);
    }
}

async fn refuse(app: &App, decision: &Decision) -> Result<Listing, DecisionError> {
    let name = &decision.name;
    let _alone = app.modules.changing.lock().await;
    let listing = listed(app, name)?;
    let hash = meant(decision, &listing)?;
    at_rest(app, &listing).await?;
    let rows = app.store.approvals(name).await?;
    let known = rows.into_iter().find(|row| row.candidate.hash == hash).map(|row| row.candidate);
    let blank = || Candidate { name: name.clone(), hash: hash.clone(), version: String::new(), authority: "{}".to_owned() };
    app.store.refuse(known.unwrap_or_else(blank), decision.who.clone()).await?;
    app.modules.change(app.workshop(), Change::of(name)).await;
    app.wake.notify_one();
    listed(app, name)
}

async fn roll_back(app: &App, decision: &Decision) -> Result<Listing, DecisionError> {
    let name = &decision.name;
    unchanged(decision, &listed(app, name)?)?;
    if approval::pinned(&app.modules.shelf().config, name) {
        return refused(is_pinned(name));
    }
    let rows = app.store.approvals(name).await?;
    let Some(serves) = rows.iter().find(|row| row.state == ApprovalState::Approved) else {
        return refused(format!("no version of {name} is approved, so there is none to go back from"));
    };
    let fits = |listing: &Listing| unchanged(decision, listing);
    if go_back(app, name, &serves.candidate.hash, decision.who.clone(), Why::Asked(&fits)).await?.is_none() {
        return refused(format!("{name} {} is the only version that was ever approved here", serves.candidate.version));
    }
    listed(app, name)
}

async fn remove(app: &App, decision: &Decision, listing: &Listing) -> Result<Listing, DecisionError> {
    let name = &decision.name;
    let config = app.modules.shelf().config.clone();
    if let Some(other) = app.modules.listing().iter().find(|l| l.file == listing.file && l.name != *name) {
        return refused(format!("{} serves {} as well: take [connectors.{name}] out of the settings instead", listing.file, other.name));
    }
    let path = config.modules.join(&listing.file);
    let (of, meant) = (name.clone(), decision.hash.clone());
    let gone = tokio::task::spawn_blocking(move || {
        if let Some(part) = meant {
            same_file(&path, &of, &part)?;
        }
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => refused(format!("{} can't be removed: {e}", path.display())),
            _ => Ok(()),
        }
    });
    gone.await.unwrap_or_else(|e| refused(e.to_string()))?;
    app.store.forget_module(name, decision.who.clone()).await?;
    let before = listing.clone();
    app.modules.change(app.workshop(), Change { restless: Restless::None, ..Change::of(name) }).await;
    let line = format!("{} is removed, and what was decided about it forgotten; its accounts and their data stay", listing.file);
    let state = ModuleState::Missing;
    Ok(app.modules.listed(name).unwrap_or(Listing {
        state,
        line,
        sha256: None,
        waiting: None,
        command: None,
        authority: Vec::new(),
        told: None,
        ..before
    }))
}
