//! The catalogue: the connectors that can run, and a line for everything that was found.
//!
//! There is one writer: whoever changes the catalogue holds `changing`, reads the folder (or what concerns one name), has it judged (`approval`) and
//! replaces the shelf as a whole. Nothing is compiled meanwhile, so it is held for as long as reading files and a few rows takes. What must be examined
//! first stands on the shelf as a need; once that is done (`examine`) the instances that need it are judged again, by what lies there by then.
//!
//! A file that is being written is left as it was, whoever asks: it is one when it differs from what the folder was at the last look (`watch`).

use super::{
    Connector, Listing, ModuleState, Waiting, Workshop,
    approval::{self, Bench, Judged},
    examine::{Examiner, Hand, Need, Outcome, QUICK, Source},
    folder::{self, Found, Named},
    make_inert, say,
    store_copy::Copies,
    watch::{Look, SETTLES, differing, look},
};
use crate::config::Config;
use sluice_sandbox::inert;
use sluice_store::{Decided, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// How long a start waits for files that nobody has approved, all of them together: a bomb among them may take minutes, and what is approved is to
/// run. Whoever watches the folder looks at the rest.
const STRANGERS_AT_START: Duration = Duration::from_secs(5);
/// How long new settings wait for bytes that they pin and that nobody has examined; what takes longer follows by itself.
const PINNED_BY_SETTINGS: Duration = Duration::from_secs(10);
/// The line of a file that is being written.
const WRITTEN: &str = "is being written, or was a moment ago: it is looked at once it is at rest";

/// One state of the folder and the settings.
pub struct Shelf {
    /// The settings.
    pub config: Arc<Config>,
    connectors: BTreeMap<String, Arc<Connector>>,
    listing: Arc<[Listing]>,
    needs: Arc<[Need]>,
    /// Files that are looked at whatever else lies in the folder.
    always: Arc<BTreeSet<String>>,
}

/// The folder when it was looked at last, and what was being written then.
#[derive(Default)]
struct Seen {
    look: Look,
    restless: BTreeSet<String>,
}

/// The connectors that can run, and the listing of everything that was found.
pub struct Catalogue {
    shelf: RwLock<Arc<Shelf>>,
    /// One change at a time: reading the folder, judging and deciding belong together.
    pub(super) changing: tokio::sync::Mutex<()>,
    examiner: Examiner,
    seen: Mutex<Seen>,
    /// What the start found has been told.
    started: AtomicBool,
}

/// Somebody's yes to bytes.
pub struct Yes {
    /// The instance.
    pub name: String,
    /// The bytes.
    pub hash: String,
    /// Who.
    pub who: Decided,
}

/// What becomes of files that are being written.
#[derive(Clone, Default)]
pub enum Restless {
    /// Whatever is not as it was at the last look stays as it was.
    #[default]
    Looked,
    /// These stay as they were.
    Kept(BTreeSet<String>),
    /// These are not read; what was approved serves.
    Unread(BTreeSet<String>),
    /// None is: whoever asks has just changed the folder himself.
    None,
}

/// Why the folder is read again.
#[derive(Default)]
pub struct Change<'a> {
    /// New settings.
    pub config: Option<&'a Config>,
    /// The names that it is about; all of them where none is said.
    pub only: Option<BTreeSet<String>>,
    /// What is being written.
    pub restless: Restless,
    /// Somebody's yes.
    pub yes: Option<Yes>,
    /// What has just been examined.
    pub hand: Hand,
}

impl Change<'_> {
    /// About one name.
    pub fn of(name: &str) -> Self {
        Self { only: Some(BTreeSet::from([name.to_owned()])), ..Self::default() }
    }
}

impl Catalogue {
    /// Reads the folder and loads what is approved. Whatever is wrong with a file, or with the folder, is in the listing.
    pub async fn load(config: &Config, workshop: Workshop<'_>) -> Self {
        let config = Arc::new(config.clone());
        let always = always(&config, workshop.store).await;
        let seen = Seen { look: looked(&config, &always).await, restless: BTreeSet::new() };
        let empty = Shelf { config: config.clone(), connectors: BTreeMap::new(), listing: Arc::new([]), needs: Arc::new([]), always };
        let all = Self {
            shelf: RwLock::new(Arc::new(empty)),
            changing: tokio::sync::Mutex::new(()),
            examiner: Examiner::default(),
            seen: Mutex::new(seen),
            started: AtomicBool::new(false),
        };
        let copies = Copies::of(&config.data_dir, workshop.fail_point.clone());
        // The cache knows what was approved before strangers' files are compiled: they take no room from it.
        sweep(workshop, None, copies.clone()).await;
        all.change(workshop, Change { restless: Restless::None, ..Change::default() }).await;
        all.settle(workshop).await;
        while all.step(workshop, |need| need.vouched, None).await.is_some() {}
        let until = Instant::now() + STRANGERS_AT_START;
        while all.step(workshop, |_| true, Some(until)).await.is_some() {}
        all.started.store(true, Ordering::Release);
        let shelf = all.shelf();
        shelf.listing.iter().for_each(say);
        wake(workshop.store, shelf.connectors.keys().cloned().collect()).await;
        sweep(workshop, Some(&shelf.listing), copies).await;
        all
    }

    /// What cannot be used may be half a copy: where something of it changes within a moment, it is being written.
    async fn settle(&self, workshop: Workshop<'_>) {
        let shelf = self.shelf();
        let refused =
            |l: &&Listing| l.state == ModuleState::Refused || l.waiting.as_ref().is_some_and(|new| new.state == ModuleState::Refused);
        let suspects: Vec<Listing> = shelf.listing.iter().filter(refused).cloned().collect();
        if suspects.is_empty() {
            return;
        }
        tokio::time::sleep(SETTLES).await;
        let now = looked(&shelf.config, &shelf.always).await;
        let before = self.seen.lock().unwrap_or_else(PoisonError::into_inner).look.clone();
        let restless = differing(&before, &now);
        self.saw(now, restless.clone());
        let names: BTreeSet<String> = suspects.into_iter().filter(|l| restless.contains(&l.file)).map(|l| l.name).collect();
        if !names.is_empty() {
            let restless = Restless::Unread(restless);
            self.change(workshop, Change { only: Some(names), restless, ..Change::default() }).await;
        }
    }

    /// The same again with other settings. Says which instances are not as they were.
    pub async fn reload(&self, config: &Config, workshop: Workshop<'_>) -> Vec<String> {
        let mut changed = {
            let _alone = self.changing.lock().await;
            self.change(workshop, Change { config: Some(config), ..Change::default() }).await
        };
        let until = Instant::now() + PINNED_BY_SETTINGS;
        for need in self.shelf().needs.iter().filter(|need| need.vouched) {
            match tokio::time::timeout_at(until, self.examine_now(workshop, need)).await {
                Ok(Some(outcome)) => changed.extend(self.take_in(workshop, need, outcome).await),
                Ok(None) => {}
                Err(_) => break,
            }
        }
        changed.sort();
        changed.dedup();
        changed
    }

    /// The caller holds `changing`. Accounts that waited for a connector which runs now are due when this returns.
    pub(super) async fn change(&self, workshop: Workshop<'_>, change: Change<'_>) -> Vec<String> {
        let before = self.shelf();
        let config = change.config.map_or_else(|| before.config.clone(), |config| Arc::new(config.clone()));
        let copies = Copies::of(&config.data_dir, workshop.fail_point.clone());
        let after = self.fill(config, workshop, &copies, &before, &change).await;
        // A start tells of itself when it is done.
        let told = self.started.load(Ordering::Acquire);
        let new = after.listing.iter().filter(|line| told && !before.listing.contains(line));
        new.for_each(|line| say(&self.examiner.told(line.clone())));
        let same = |name: &String| match (before.connectors.get(name), after.connectors.get(name)) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        let mut changed: Vec<String> =
            before.connectors.keys().chain(after.connectors.keys()).filter(|name| !same(name)).cloned().collect();
        changed.sort();
        changed.dedup();
        let came: Vec<String> = after.connectors.keys().filter(|name| !before.connectors.contains_key(*name)).cloned().collect();
        let point = |name: &str| {
            if told && !changed.is_empty() {
                (workshop.fail_point)(name);
            }
        };
        point("modules:before-taking-over");
        self.examiner.keep_slow(&after.needs);
        let listing = after.listing.clone();
        self.publish(after);
        point("modules:after-taking-over");
        if told {
            wake(workshop.store, came).await;
        }
        if told {
            sweep(workshop, Some(&listing), copies).await;
        }
        point("modules:after-sweep");
        changed
    }

    fn publish(&self, shelf: Shelf) {
        *self.shelf.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shelf);
        self.examiner.news.notify_one();
    }

    /// The present state.
    pub(super) fn shelf(&self) -> Arc<Shelf> {
        self.shelf.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Files that are looked at whatever else lies in the folder.
    pub(super) fn always(&self) -> Arc<BTreeSet<String>> {
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
        let shelf = self.shelf();
        if shelf.listing.iter().any(Listing::is_examined) {
            return shelf.listing.iter().cloned().map(|row| self.examiner.told(row)).collect();
        }
        shelf.listing.clone()
    }

    /// What is known of one instance.
    #[must_use]
    pub fn listed(&self, name: &str) -> Option<Listing> {
        self.shelf().listing.iter().find(|l| l.name == name).cloned().map(|row| self.examiner.told(row))
    }

    /// The folder was looked at: how it is, and what of it is being written.
    pub(super) fn saw(&self, look: Look, restless: BTreeSet<String>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { look, restless };
    }

    /// The files that are not as they were at the last look, and those that were being written then.
    pub(super) async fn restless(&self) -> BTreeSet<String> {
        let shelf = self.shelf();
        let now = looked(&shelf.config, &shelf.always).await;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        differing(&seen.look, &now).union(&seen.restless).cloned().collect()
    }

    /// What this name waits for, where it is these bytes.
    pub(super) fn need(&self, name: &str, hash: &str) -> Option<Need> {
        self.shelf().needs.iter().find(|need| need.name == name && need.hash == hash).cloned()
    }

    /// From now on somebody examines whatever waits, and calls [`Catalogue::step`] until it is done.
    pub(super) fn works(&self) {
        self.examiner.works();
    }

    /// Waits until there may be something to examine.
    pub(super) async fn news(&self) {
        self.examiner.news.notified().await;
    }

    /// Examines what is next, or begins to; says which instances are not as they were. None where nothing waits, or it is not done by `until`.
    pub(super) async fn step(&self, workshop: Workshop<'_>, which: impl Fn(&Need) -> bool, until: Option<Instant>) -> Option<Vec<String>> {
        let shelf = self.shelf();
        let needs: Vec<Need> = shelf.needs.iter().filter(|need| which(need)).cloned().collect();
        let need = self.examiner.next(&needs)?;
        let turn = self.turn(workshop, need);
        // What has been examined is taken in as a whole, however late it is.
        let turn = match until {
            Some(until) => tokio::time::timeout_at(until, turn).await.ok()?,
            None => turn.await,
        };
        match turn {
            Some(Some(outcome)) => Some(self.take_in(workshop, need, outcome).await),
            Some(None) => {
                self.forget(need).await;
                Some(Vec::new())
            }
            None => Some(Vec::new()),
        }
    }

    /// Its turn, until something goes before it.
    async fn turn(&self, workshop: Workshop<'_>, need: &Need) -> Option<Option<Outcome>> {
        let source = self.source(workshop);
        let mut work = std::pin::pin!(self.examiner.examine(workshop.engine, &source, need));
        let mut long = std::pin::pin!(tokio::time::sleep(QUICK));
        let mut quick = true;
        loop {
            tokio::select! {
                outcome = &mut work => return Some(outcome),
                () = self.examiner.news.notified() => {}
                () = &mut long, if quick => {
                    quick = false;
                    self.examiner.is_slow(need);
                }
            }
            if self.examiner.gives_way(need, &self.shelf().needs) {
                return None;
            }
        }
    }

    fn source(&self, workshop: Workshop<'_>) -> Source {
        let config = &self.shelf().config;
        Source { folder: config.modules.clone(), copies: Copies::of(&config.data_dir, workshop.fail_point.clone()) }
    }

    /// Examines bytes before all others, for somebody who waits for it. None where they are no longer there. The caller does not hold `changing`.
    pub(super) async fn examine_now(&self, workshop: Workshop<'_>, need: &Need) -> Option<Outcome> {
        self.examiner.examine_now(workshop.engine, &self.source(workshop), need).await
    }

    /// What came of examining: whoever needs these bytes is judged again.
    async fn take_in(&self, workshop: Workshop<'_>, need: &Need, outcome: Outcome) -> Vec<String> {
        let _alone = self.changing.lock().await;
        let shelf = self.shelf();
        let names = shelf.needs.iter().filter(|other| other.hash == need.hash).map(|other| other.name.clone()).collect();
        let hand = Hand::from([(need.hash.clone(), outcome)]);
        self.change(workshop, Change { only: Some(names), hand, ..Change::default() }).await
    }

    /// Bytes that are gone are not waited for: the next look at the folder finds what lies there instead.
    async fn forget(&self, need: &Need) {
        let _alone = self.changing.lock().await;
        let Shelf { config, connectors, listing, needs, always } = &*self.shelf();
        let needs = needs.iter().filter(|other| other.hash != need.hash).cloned().collect();
        let (config, always) = (config.clone(), always.clone());
        self.publish(Shelf { config, connectors: connectors.clone(), listing: listing.clone(), needs, always });
    }

    async fn fill(&self, config: Arc<Config>, workshop: Workshop<'_>, copies: &Copies, before: &Shelf, change: &Change<'_>) -> Shelf {
        let concerned = |name: &str| change.only.as_ref().is_none_or(|only| only.contains(name));
        let restless = match &change.restless {
            Restless::Looked => self.restless().await,
            Restless::Kept(files) | Restless::Unread(files) => files.clone(),
            Restless::None => BTreeSet::new(),
        };
        let unread = matches!(change.restless, Restless::Unread(_));
        let mut rows = Rows::default();
        for row in before.listing.iter().filter(|row| !concerned(&row.name)) {
            rows.keep(before, row, &Hand::new());
        }
        let mut met = BTreeSet::new();
        let always = always(&config, workshop.store).await;
        let first = always.clone();
        for named in blocking(&config, move |config| folder::names(config, &first)).await.unwrap_or_default() {
            let (name, file) = (named.name.clone(), named.file.clone());
            if !concerned(&name) {
                continue;
            }
            met.insert((name.clone(), file.clone()));
            let old = before.connectors.get(&name);
            let known = before.listing.iter().find(|l| l.name == name && l.file == file);
            let written = restless.contains(&file);
            // Approved bytes that have been examined serve from their copy, whatever happens to the file.
            let awaited = before.needs.iter().any(|need| need.vouched && need.name == name && change.hand.contains_key(&need.hash));
            if written && !unread && !awaited {
                if let Some(known) = known {
                    rows.keep(before, known, &change.hand);
                }
                continue;
            }
            let found = if written {
                Some(being_written(named))
            } else {
                let Some(found) = blocking(&config, move |config| folder::look(config, named)).await else {
                    tracing::error!("{}: looking at it ended in a panic; it is left out", inert(&file));
                    continue;
                };
                found
            };
            let Some(found) = found else { continue };
            let yes = change.yes.as_ref().filter(|yes| yes.name == name).map(|yes| (yes.hash.as_str(), &yes.who));
            let bench = Bench { config: &config, workshop, copies, old, examiner: &self.examiner, hand: &change.hand, yes };
            let mut judged = approval::judge(&bench, found).await;
            if written {
                unsettled(&mut judged.listing);
            }
            make_inert(&mut judged.listing);
            rows.add(judged);
        }
        // What is being replaced may be away for a moment.
        for row in before.listing.iter().filter(|row| concerned(&row.name) && restless.contains(&row.file)) {
            if !met.contains(&(row.name.clone(), row.file.clone())) {
                rows.keep(before, row, &change.hand);
            }
        }
        // Sorted as the folder is: of several rows of a name, the instance's own comes first and stays there.
        rows.listing.sort_by(|a, b| a.name.cmp(&b.name));
        Shelf { config, connectors: rows.connectors, listing: rows.listing.into(), needs: rows.needs.into(), always }
    }
}

/// A shelf that is being filled.
#[derive(Default)]
struct Rows {
    connectors: BTreeMap<String, Arc<Connector>>,
    listing: Vec<Listing>,
    needs: Vec<Need>,
}

impl Rows {
    fn add(&mut self, judged: Judged) {
        let Judged { listing, connector, needs } = judged;
        self.connectors.extend(connector.map(|connector| (listing.name.clone(), connector)));
        self.listing.push(listing);
        self.needs.extend(needs);
    }

    /// As it was. What has been examined meanwhile is no longer waited for.
    fn keep(&mut self, before: &Shelf, row: &Listing, hand: &Hand) {
        self.listing.push(row.clone());
        // Of several rows of a name, one is the instance's.
        if row.state == ModuleState::Running {
            self.connectors.extend(before.connectors.get(&row.name).map(|old| (row.name.clone(), old.clone())));
        }
        let theirs = |need: &&Need| need.name == row.name && need.file == row.file && !hand.contains_key(&need.hash);
        self.needs.extend(before.needs.iter().filter(theirs).cloned());
    }
}

/// A file that nobody reads, since it is being written.
fn being_written(named: Named) -> Found {
    let listing = Listing::of_file(named.name, named.file, ModuleState::Refused, WRITTEN.to_owned());
    Found { listing, bytes: None, ours: true }
}

/// What is being written is not refused.
fn unsettled(listing: &mut Listing) {
    match &mut listing.waiting {
        Some(Waiting { state, .. }) => *state = ModuleState::Examining,
        None if listing.state == ModuleState::Refused => listing.state = ModuleState::Examining,
        None => {}
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

/// Files that are looked at whatever else lies in the folder. Where the store fails, each line says so.
async fn always(config: &Config, store: &Store) -> Arc<BTreeSet<String>> {
    let approved = store.approved_names().await.unwrap_or_default();
    Arc::new(folder::always(config, &approved))
}

async fn looked(config: &Config, always: &Arc<BTreeSet<String>>) -> Look {
    let (folder, always) = (config.modules.clone(), always.clone());
    tokio::task::spawn_blocking(move || look(&folder, &always)).await.unwrap_or_default()
}

async fn blocking<T: Send + 'static>(config: &Arc<Config>, work: impl FnOnce(&Config) -> T + Send + 'static) -> Option<T> {
    let config = config.clone();
    tokio::task::spawn_blocking(move || work(&config)).await.ok()
}
