//! Hosts that are killed: SIGKILL at random instants during syncs, again and again, and what must be true of the folder each of them left.
//!
//! Shortly before each kill the entries are asked for over the command socket: what was told then was acknowledged, and must be in the database that
//! the dead host left. A kill counts only where a run was under way: the database says so itself (a lease that nobody gave back). After some kills a
//! folder's host is let to its end, and then the data is that of a host that nobody touched: nothing lost, nothing twice.
//!
//! The test kills fifty times; `sluice-soak` as often as it is told to.

use crate::{
    PATIENCE,
    dump::{Copy, Dump, assert_same},
    folder::{Folder, Settings},
    time::Dice,
    worlds::{self, Fm, Hub},
};
use serde_json::Value;
use sluice::{
    config::{self, Overrides},
    control::{Client, api},
};
use sluice_sim::{Clock, Fault, Kind};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Kills in one database, before its host is let to its end.
const KILLS_A_FOLDER: u64 = 9;
/// A host lives at most so long before it is killed; a sync of these worlds takes about twice as long.
const LONGEST_LIFE_MS: u64 = 900;

/// Worlds, a folder with everything linked and nothing synced, and what a host makes of it that nobody touches.
pub struct Torment {
    /// The simulated GitHub.
    pub hub: Hub,
    /// The simulated Last.fm.
    pub fm: Fm,
    /// The settings of every folder.
    pub settings: Settings,
    /// Linked, and nothing synced.
    pub template: Folder,
    /// The lines of [`Dump::lines`] in the end.
    pub wanted: Vec<String>,
}

/// What came of it so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Kills that fell into runs.
    pub kills: AtomicU64,
    /// Of these, those that found some of the data stored and not all of it.
    pub halfway: AtomicU64,
    /// Rows that were told before a kill and looked for after it.
    pub told: AtomicU64,
    /// Folders that were let to their end and were as they should be.
    pub folders: AtomicU64,
    /// Integrity checks that found nothing.
    pub checks: AtomicU64,
}

impl Tally {
    /// One of its numbers.
    #[must_use]
    pub fn now(number: &AtomicU64) -> u64 {
        number.load(Ordering::SeqCst)
    }
}

/// When to end: after so many kills, or when the time is up.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    /// So many kills that fell into runs.
    pub kills: u64,
    /// Or then.
    pub time: Option<Instant>,
}

impl Until {
    fn reached(&self, tally: &Tally) -> bool {
        Tally::now(&tally.kills) >= self.kills || self.time.is_some_and(|time| Instant::now() >= time)
    }
}

impl Torment {
    /// Makes the worlds with so many accounts each, links all of them, and finds out what should come of it.
    pub async fn prepare(accounts: u64) -> Self {
        let clock = Clock::system();
        let (hub, fm) = (worlds::github(&clock, accounts, 40), worlds::lastfm(&clock, accounts, 40));
        let settings = Settings::default().github(&hub).lastfm(&fm);
        let template = linked(&settings, &hub, &fm);
        let wanted = finish(&template.duplicate(&settings)).await.lines();
        Self { hub, fm, settings, template, wanted }
    }

    /// From now on the providers are slow enough that a kill falls between two requests as well as into one, and into each commit in its turn.
    pub fn slow_down(&self) {
        self.hub.fault(Fault::new(Kind::Delay { ms: 60 }));
        self.fm.fault(Fault::new(Kind::Delay { ms: 30 }));
    }

    /// Kills host after host, folder after folder.
    ///
    /// # Panics
    /// Something that was told is not there, something is there twice or missing in the end, the database is damaged, or files were left over.
    pub async fn kill(&self, seed: u64, until: Until, tally: &Tally) {
        let mut dice = Dice::new(seed);
        while !until.reached(tally) {
            self.kill_one_folder(&mut dice, until, tally).await;
        }
    }

    async fn kill_one_folder(&self, dice: &mut Dice, until: Until, tally: &Tally) {
        let folder = self.template.duplicate(&self.settings);
        let whole = self.wanted.iter().filter(|line| line.starts_with("entry")).count();
        for _ in 0..KILLS_A_FOLDER {
            if until.reached(tally) {
                break;
            }
            let host = folder.serve();
            tokio::time::sleep(Duration::from_millis(dice.below(LONGEST_LIFE_MS))).await;
            let acknowledged = told(&folder).await;
            host.kill();
            let (copy, stored) = nothing_lost(&folder, &acknowledged, tally);
            if copy.rows("SELECT 1 FROM connection WHERE owner <> 0").is_empty() {
                // Everything is taken in: this folder has no more to give.
                break;
            }
            tally.halfway.fetch_add(u64::from(stored > 0 && stored < whole), Ordering::SeqCst);
            tally.kills.fetch_add(1, Ordering::SeqCst);
        }
        self.brought_to_its_end(&folder, tally).await;
    }

    /// Lets a folder's host finish; then its data is as if nobody had ever killed one.
    ///
    /// # Panics
    /// It is not.
    pub async fn brought_to_its_end(&self, folder: &Folder, tally: &Tally) {
        let dump = finish(folder).await;
        assert_same("a database whose hosts were killed", &dump.lines(), &self.wanted);
        assert_eq!(Copy::of(&folder.data()).integrity(), "ok");
        let left = leftovers(&folder.data());
        assert!(left.is_empty(), "files that nobody will take away: {left:?}");
        tally.checks.fetch_add(1, Ordering::SeqCst);
        tally.folders.fetch_add(1, Ordering::SeqCst);
    }
}

/// Holds what was told against what a dead host left; answers with a copy of that, and how many entries there are.
///
/// # Panics
/// Something that was told is not there, or is there twice.
pub fn nothing_lost(folder: &Folder, told: &[String], tally: &Tally) -> (Copy, usize) {
    let copy = Copy::of(&folder.data());
    let mut stored: BTreeMap<String, u64> = BTreeMap::new();
    for row in copy.rows("SELECT * FROM v_entries") {
        *stored.entry(line(&serde_json::to_value(row).expect("a row is JSON"))).or_default() += 1;
    }
    let lost: Vec<&String> = told.iter().filter(|row| !stored.contains_key(*row)).take(5).collect();
    assert!(lost.is_empty(), "told before the kill and not there after it: {lost:#?}");
    let twice: Vec<&String> = stored.iter().filter(|(_, n)| **n > 1).map(|(row, _)| row).take(5).collect();
    assert!(twice.is_empty(), "there twice: {twice:#?}");
    tally.told.fetch_add(told.len() as u64, Ordering::SeqCst);
    (copy, stored.len())
}

/// Every account of both worlds, linked; nothing synced.
fn linked(settings: &Settings, hub: &Hub, fm: &Fm) -> Folder {
    let folder = Folder::new(settings);
    let logins: Vec<String> = hub.with(|world| world.users.values().map(|user| user.login.clone()).collect());
    for token in logins.iter().filter_map(|login| hub.token(login)) {
        let args = ["connect", "github", "--key", "token=-", "--no-wait", "--time-zone", "Europe/Berlin"];
        folder.run_with(&args, &format!("{token}\n")).exits(0);
    }
    for name in worlds::listeners(fm) {
        folder.run(&["connect", "lastfm", "--key", &format!("user={name}"), "--no-wait"]).exits(0);
    }
    folder.give_to_shared();
    folder
}

/// A client of the folder's running host.
pub async fn ask(folder: &Folder) -> Client {
    let config = config::load(&folder.config(), true, &Overrides::default()).expect("the settings hold");
    Client::open(config, false).await.expect("the host answers")
}

/// Everything that the running host says it has, without what may still become known of it (a label).
pub async fn told(folder: &Folder) -> Vec<String> {
    let client = ask(folder).await;
    let mut request = api::EntriesRequest::default();
    let mut rows = Vec::new();
    loop {
        let page: api::EntriesPage = client.post("/v1/entries", &request).await.expect("a page of entries");
        rows.extend(page.rows.into_iter().map(|row| line(&serde_json::to_value(row).expect("a row is JSON"))));
        match page.next {
            Some(next) => request.after = Some(next),
            None => return rows,
        }
    }
}

fn line(row: &Value) -> String {
    let names = ["connector", "account", "metric", "series", "id", "start", "end", "day", "detail"];
    let mut parts: Vec<String> = names.iter().map(|name| row[*name].to_string()).collect();
    parts.push(row["value"].as_f64().expect("a value").to_string());
    parts.join(" ")
}

/// How long an account may take to its end: a folder whose hosts began again and again may have used up what its connector declares for a minute, and
/// the host then keeps to that.
const TO_THE_END: Duration = Duration::from_secs(3 * PATIENCE.as_secs());

/// Waits until every account has everything; says of each that has not how it stands.
async fn complete(folder: &Folder) {
    let client = ask(folder).await;
    let deadline = Instant::now() + TO_THE_END;
    loop {
        let rows: Vec<api::ConnectionRow> = client.get("/v1/connections").await.expect("the accounts");
        let runs: Vec<api::RunRow> = client.post("/v1/runs", &serde_json::json!({})).await.expect("the runs");
        let mut latest: BTreeMap<&str, &str> = BTreeMap::new();
        for run in &runs {
            latest.entry(&run.summary.connection).or_insert(&run.summary.outcome);
        }
        let last = |row: &api::ConnectionRow| latest.get(row.id.as_str()).copied();
        let behind: Vec<String> = rows
            .iter()
            .filter(|row| row.state != "ok" || last(row) != Some("complete"))
            .map(|row| format!("{} {}: {}, last run {:?}, {:?}", row.connector, row.account, row.state, last(row), row.message))
            .collect();
        if behind.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "after {TO_THE_END:?} not every account has everything:\n{}", behind.join("\n"));
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// Lets a host of this folder take in everything, and ends it in order.
async fn finish(folder: &Folder) -> Dump {
    let host = folder.serve();
    complete(folder).await;
    assert!(host.terminate().success(), "it did not end in order");
    Dump::of(&folder.data()).without_days_of_gauges()
}

/// Files of a data folder whose host has ended in order that are none of its own: what a killed one left half-made.
#[must_use]
pub fn leftovers(data: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for (below, endings) in [("", ["sluice.db", "sluice.lock"].as_slice()), ("compiled", &[".cwasm"]), ("modules", &[".wasm"])] {
        for entry in std::fs::read_dir(data.join(below)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let own = if folder { below.is_empty() } else { endings.iter().any(|end| name.ends_with(end)) };
            // An empty log and its index may stay behind a database.
            let beside = below.is_empty() && matches!(name.as_str(), "sluice.db-wal" | "sluice.db-shm");
            if !own && !beside {
                left.push(format!("{below}/{name}"));
            }
        }
    }
    left
}
