//! SIGKILL at every step of an approval, of a version that takes over by the rule, and of a roll-back; and at random instants of an approval by command.
//! After each kill the data folder is looked at without a host, then the real program starts on it: what was asked for has happened as a whole or not at
//! all, whatever is approved has its copy, the old version serves on until the new one does, and no request is made that was not approved.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod strangers;

use sluice::modules::{self, Decision, Verb};
use sluice_e2e::{
    door::Door,
    dump::Copy,
    folder::Folder,
    program::{Serving, finish},
    sha256,
    time::Dice,
};
use sluice_store::Decided;
use std::{collections::BTreeMap, os::unix::process::ExitStatusExt, process::Command, sync::Arc, thread, time::Duration};
use strangers::{asking, drop_in, duplicate, listed, place, rename_in, runs, until_listed, until_waiting};

/// Kills at random instants.
const KILLS: u64 = 10;
/// An approval by command takes less than this, as a rule.
const LONGEST_LIFE_MS: u64 = 120;

/// What is under way when the host is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// The first yes to a connector.
    First,
    /// A yes to a version that asks for more.
    More,
    /// A version that asks for nothing more takes over.
    Rule,
    /// Back to the version before.
    Back,
}

/// Points of an approval, and whether it has happened when the host dies there.
const APPROVING: [(&str, bool); 8] = [
    ("approve:before-copy", false),
    ("copy:half-written", false),
    ("copy:before-its-name", false),
    ("approve:before-record", false),
    ("approve:after-record", true),
    ("modules:before-taking-over", true),
    ("modules:after-taking-over", true),
    ("modules:after-sweep", true),
];

/// Points of a roll-back.
const GOING_BACK: [(&str, bool); 5] = [
    ("rollback:before-record", false),
    ("rollback:after-record", true),
    ("modules:before-taking-over", true),
    ("modules:after-taking-over", true),
    ("modules:after-sweep", true),
];

/// The two sides of a change.
struct Sides {
    /// The bytes that serve before it, if any do, and after it.
    before: Option<Vec<u8>>,
    after: Vec<u8>,
    /// What a run of each asks for.
    paths: (&'static [&'static str], &'static [&'static str]),
    versions: (&'static str, &'static str),
}

impl Change {
    fn sides(self) -> Sides {
        const STEPS: &[&str] = &["/steps"];
        const MORE: &[&str] = &["/steps", "/heart"];
        let first = asking("1.0.0", 1.0, STEPS);
        match self {
            Self::First => Sides { before: None, after: first, paths: (&[], STEPS), versions: ("1.0.0", "1.0.0") },
            Self::More => {
                Sides { before: Some(first), after: asking("2.0.0", 2.0, MORE), paths: (STEPS, MORE), versions: ("1.0.0", "2.0.0") }
            }
            Self::Rule => {
                Sides { before: Some(first), after: asking("1.1.0", 3.0, STEPS), paths: (STEPS, STEPS), versions: ("1.0.0", "1.1.0") }
            }
            Self::Back => {
                Sides { before: Some(asking("1.1.0", 3.0, STEPS)), after: first, paths: (STEPS, STEPS), versions: ("1.1.0", "1.0.0") }
            }
        }
    }
}

fn approve(folder: &Folder, bytes: &[u8]) {
    folder.run(&["modules", "approve", &format!("fit@{}", &sha256(bytes)[..12])]).exits(0);
}

fn link(folder: &Folder) {
    folder.run_with(&["connect", "fit", "--key", "key=-"], "k-123456789\n").exits(0);
}

/// A folder in which nothing is missing but the change, and no host.
async fn before(change: Change, door: &Door) -> Folder {
    let folder = place(door);
    let sides = change.sides();
    let host = folder.serve();
    if change == Change::First {
        drop_in(&folder, &sides.after);
        until_listed(&folder, "pending", "1.0.0").await;
    } else {
        let first = asking("1.0.0", 1.0, &["/steps"]);
        drop_in(&folder, &first);
        until_listed(&folder, "pending", "1.0.0").await;
        approve(&folder, &first);
        link(&folder);
    }
    match change {
        Change::First => {}
        Change::More => {
            drop_in(&folder, &sides.after);
            until_waiting(&folder, "2.0.0").await;
        }
        Change::Rule => std::fs::write(folder.path("beside"), &sides.after).unwrap(),
        Change::Back => {
            drop_in(&folder, &sides.before.unwrap());
            until_listed(&folder, "running", "1.1.0").await;
            folder.run(&["run", "fit"]).exits(0);
        }
    }
    assert!(host.terminate().success());
    folder
}

/// What the dead host left: at most one version is approved, and whatever is approved or can be gone back to lies there by its hash.
fn look(folder: &Folder, what: &str) -> Option<String> {
    let rows = Copy::of(&folder.data()).rows("SELECT hash, state FROM approval WHERE name = 'fit'");
    let states: BTreeMap<String, String> =
        rows.iter().map(|row| (row["hash"].as_str().unwrap().to_owned(), row["state"].as_str().unwrap().to_owned())).collect();
    for (hash, _) in states.iter().filter(|(_, state)| matches!(state.as_str(), "approved" | "superseded")) {
        let copy = std::fs::read(folder.data().join("modules").join(format!("{hash}.wasm")));
        assert_eq!(sha256(&copy.unwrap_or_else(|e| panic!("{what}: approved without its copy: {e}"))), *hash, "{what}");
    }
    let approved: Vec<&String> = states.iter().filter(|(_, state)| *state == "approved").map(|(hash, _)| hash).collect();
    assert!(approved.len() <= 1, "{what}: {states:?}");
    approved.first().map(|hash| (*hash).clone())
}

/// Starts the real program on what a dead host left, and holds it to one of the two sides. Then the change is made after all.
async fn judge(change: Change, happened: Option<bool>, folder: &Folder, door: &Door, what: &str) -> bool {
    let sides = change.sides();
    let approved = look(folder, what);
    let is = approved.as_deref() == Some(sha256(&sides.after).as_str());
    if !is {
        assert_eq!(approved, sides.before.as_ref().map(|bytes| sha256(bytes)), "{what}: half of it");
    }
    assert!(happened.is_none_or(|wanted| wanted == is), "{what}: it has happened: {is}");

    let asked = door.asked().len();
    let host = folder.serve();
    // A version that the rule lets in takes over at the start at the latest, where its file lies in the folder.
    let row = listed(folder);
    let ruled = change == Change::Rule && !folder.path("beside").exists();
    let now = is || ruled;
    let version = if now { sides.versions.1 } else { sides.versions.0 };
    let state = if now || sides.before.is_some() { "running" } else { "pending" };
    assert_eq!((row["state"].as_str(), row["version"].as_str()), (Some(state), Some(version)), "{what}: {row}");
    if change == Change::First {
        if !now {
            // Nothing of it runs: not even to find out whose key it would be.
            assert_ne!(folder.run_with(&["connect", "fit", "--key", "key=-"], "k-123456789\n").code, 0, "{what}");
            assert_eq!(door.asked().len(), asked, "{what}");
            approve(folder, &sides.after);
        }
        link(folder);
    } else {
        folder.run(&["run", "fit"]).exits(0);
    }
    assert_eq!(runs(folder)[0], (version.to_owned(), "complete".to_owned()), "{what}");
    let wanted = if now || sides.before.is_none() { sides.paths.1 } else { sides.paths.0 };
    let asked_now = door.asked().split_off(asked);
    assert_eq!(asked_now.iter().map(|a| a.path.as_str()).collect::<Vec<_>>(), wanted, "{what}");
    assert!(asked_now.iter().all(|a| a.key.as_deref() == Some("Bearer k-123456789")), "{what}: {asked_now:?}");

    if !now {
        match change {
            Change::First => {}
            Change::More => approve(folder, &sides.after),
            Change::Rule => rename_in(&folder.path("")),
            Change::Back => drop(folder.run(&["modules", "rollback", "fit"]).exits(0)),
        }
        until_listed(folder, "running", sides.versions.1).await;
    }
    assert!(host.terminate().success(), "{what}");
    assert_eq!(look(folder, what), Some(sha256(&sides.after)), "{what}");
    let halves = std::fs::read_dir(folder.data().join("modules")).unwrap().flatten();
    assert!(halves.into_iter().all(|file| !file.file_name().to_string_lossy().ends_with(".half")), "{what}");
    is
}

async fn die_at_every_point(change: Change, points: &[(&str, bool)]) {
    let door = Door::new();
    let template = before(change, &door).await;
    for (point, happened) in points {
        let folder = duplicate(&template, &door);
        if change == Change::Rule {
            std::fs::copy(template.path("beside"), folder.path("beside")).unwrap();
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--ignored", "--exact", "a_host_that_dies_at_a_point", "--nocapture"]);
        child.env("SLUICE_E2E_CONFIG", folder.config()).env("SLUICE_E2E_POINT", point);
        child.env("SLUICE_E2E_CHANGE", format!("{change:?}")).env("SLUICE_E2E_HASH", sha256(&change.sides().after));
        let output = child.output().unwrap();
        assert_eq!(output.status.signal(), Some(9), "{change:?} {point}: {output:?}");
        judge(change, Some(*happened), &folder, &door, &format!("{change:?}, killed at {point}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_of_a_first_approval_it_waits_as_before_or_runs() {
    die_at_every_point(Change::First, &APPROVING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_of_an_approval_of_more_the_old_version_serves_on_or_the_new_one_does() {
    die_at_every_point(Change::More, &APPROVING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_of_a_take_over_one_of_the_two_versions_serves() {
    die_at_every_point(Change::Rule, &APPROVING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_of_a_roll_back_one_of_the_two_versions_serves() {
    die_at_every_point(Change::Back, &GOING_BACK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_instants_of_an_approval_by_command_it_has_happened_or_not() {
    let door = Door::new();
    let template = before(Change::More, &door).await;
    let mut dice = Dice::new(11);
    let mut happened = 0;
    for n in 0..KILLS {
        let folder = duplicate(&template, &door);
        let host: Serving = folder.serve();
        let hash = sha256(&Change::More.sides().after);
        let mut command = folder.sluice(&["modules", "approve", &format!("fit@{hash}")]);
        let asking = thread::spawn(move || finish(&mut command, ""));
        tokio::time::sleep(Duration::from_millis(dice.below(LONGEST_LIFE_MS))).await;
        host.kill();
        let told = asking.join().unwrap().code == 0;
        let is = judge(Change::More, None, &folder, &door, &format!("kill {n}")).await;
        assert!(is || !told, "kill {n}: what was told to be approved is not");
        happened += u64::from(is);
    }
    eprintln!("{happened} of {KILLS} approvals were through when the host was killed");
}

/// Not a test of its own: a process that opens the data folder it is told of, begins a change, and kills itself at the point it is told of.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the tests above"]
async fn a_host_that_dies_at_a_point() {
    let Some(config) = std::env::var_os("SLUICE_E2E_CONFIG") else { return };
    let of = |name: &str| std::env::var(name).unwrap();
    let (wanted, change, hash) = (of("SLUICE_E2E_POINT"), of("SLUICE_E2E_CHANGE"), of("SLUICE_E2E_HASH"));
    let config = sluice::config::load(config.as_ref(), true, &sluice::config::Overrides::default()).unwrap();
    let folder = config.file.parent().unwrap().to_owned();
    // What a start does is not what is looked at.
    let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let theirs = Arc::clone(&armed);
    let around = sluice::app::Surroundings {
        fail_point: Arc::new(move |point| {
            if point == wanted && theirs.load(std::sync::atomic::Ordering::SeqCst) {
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            }
        }),
        ..sluice::app::Surroundings::system()
    };
    let app = sluice::app::App::open(config, around).await.unwrap().app;
    armed.store(true, std::sync::atomic::Ordering::SeqCst);
    let decide = async |verb, hash| {
        let who = Decided { by: "the operator".to_owned(), user: None, reason: Some("by command".to_owned()) };
        modules::decide(&app, Decision { verb, name: "fit".to_owned(), hash, who }).await.map(|now| now.line).map_err(|e| e.to_string())
    };
    let done = match change.as_str() {
        "First" | "More" => decide(Verb::Approve, Some(hash)).await,
        "Back" => decide(Verb::Rollback, None).await,
        _ => {
            rename_in(&folder);
            let never = tokio_util::sync::CancellationToken::new();
            let _ = tokio::time::timeout(Duration::from_secs(30), modules::watch(app.clone(), never)).await;
            Ok("nobody took over".to_owned())
        }
    };
    panic!("it lives: {done:?}");
}
