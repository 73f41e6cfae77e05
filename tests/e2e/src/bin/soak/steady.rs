//! One host that lives on: every account syncs again as soon as it has synced, a connector that crashes in every run among them.
//!
//! What must hold: memory and open files of the last quarter are what they were in the second one, or hardly more; and after a SIGKILL in the end the
//! folder has everything that was ever told, nothing twice, and is brought to the same end as any other.

use crate::{
    apart,
    process::{Sample, early_and_late, sample},
    verdict::Verdict,
    words,
};
use sluice::control::api;
use sluice_e2e::{
    folder::{Folder, pinned},
    program::Serving,
    torment::{Tally, Torment, ask, nothing_lost, told},
};
use sluice_fixtures::Stranger;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Between two looks at the process.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Between two rounds of syncs: a host is not to be measured by how fast it is asked.
const BREATH: Duration = Duration::from_millis(200);
/// Memory may differ by so much between the two quarters whatever its size: an allocator's arenas come and go.
const SLACK: u64 = 8 << 20;
/// Files likewise: connections to providers and commands come and go.
const FILES_SLACK: u64 = 16;
/// With fewer looks there is no trend.
const LOOKS: usize = 40;

#[derive(Default)]
struct Seen {
    samples: Mutex<Vec<Sample>>,
    complete: AtomicU64,
    crashed: AtomicU64,
    /// Runs of good connectors that were not complete, in words.
    failed: Mutex<Vec<String>>,
}

/// The host, its load, and what was seen of it.
pub struct Steady {
    seen: Arc<Seen>,
    task: JoinHandle<u64>,
}

impl Steady {
    /// Starts it; it goes on until `over`.
    pub fn start(torment: Arc<Torment>, over: Arc<AtomicBool>) -> Self {
        let seen = Arc::new(Seen::default());
        let watched = seen.clone();
        let task = apart(move || live(torment, over, watched));
        Self { seen, task }
    }

    /// How it is, for a line.
    pub fn progress(&self) -> String {
        let last = self.seen.samples.lock().expect("the samples").last().copied();
        let state = last.map_or_else(String::new, |s| format!("{:.1} MiB, {} files, ", mib(s.memory), s.files));
        let (complete, crashed) = (self.seen.complete.load(Ordering::SeqCst), self.seen.crashed.load(Ordering::SeqCst));
        format!("steady host: {state}{complete} runs, {crashed} crashes")
    }

    /// Waits for its end and judges.
    pub fn end(self) -> Vec<Verdict> {
        let ended = self.task.join().map_err(words);
        let samples = std::mem::take(&mut *self.seen.samples.lock().expect("the samples"));
        let (complete, crashed) = (self.seen.complete.load(Ordering::SeqCst), self.seen.crashed.load(Ordering::SeqCst));
        let failed = std::mem::take(&mut *self.seen.failed.lock().expect("the failures"));
        let runs = match failed.first() {
            None => complete.to_string(),
            Some(first) => format!("{complete}, and {} failed, the first: {first}", failed.len()),
        };
        let mut verdicts = vec![
            Verdict::of("steady-runs", runs, "syncs without a pause, none fails", complete > 0 && failed.is_empty()),
            Verdict::of("steady-crashes", crashed, "a crashing connector beside them", crashed > 0),
        ];
        verdicts.extend(trend(
            "steady-memory",
            samples.iter().map(|s| s.memory).collect(),
            |early| early / 5 + SLACK,
            |bytes| format!("{:.1} MiB", mib(bytes)),
        ));
        verdicts.extend(trend("steady-files", samples.iter().map(|s| s.files).collect(), |_| FILES_SLACK, |files| files.to_string()));
        verdicts.push(match ended {
            Ok(told) => {
                Verdict::of("steady-killed-at-the-end", format!("{told} rows told, and all there"), "nothing lost, nothing twice", told > 0)
            }
            Err(fault) => Verdict::of("steady-killed-at-the-end", fault, "nothing lost, nothing twice", false),
        });
        verdicts
    }
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Whether something stayed as it was: nothing is said where it could not be seen, and nothing is claimed of too short a time.
fn trend(name: &'static str, values: Vec<u64>, slack: impl Fn(u64) -> u64, shown: impl Fn(u64) -> String) -> Option<Verdict> {
    let (early, late) = early_and_late(&values)?;
    let most = early + slack(early);
    let bar = format!("at most {} in the last quarter", shown(most));
    let short = if values.len() < LOOKS { " (too short a time to tell)" } else { "" };
    let value = format!("{} in the second, {} in the last{short}", shown(early), shown(late));
    Some(Verdict::of(name, value, &bar, late <= most || values.len() < LOOKS))
}

/// The host's life. Answers with how many rows it had told before it was killed.
async fn live(torment: Arc<Torment>, over: Arc<AtomicBool>, seen: Arc<Seen>) -> u64 {
    let folder = torment.template.duplicate(&torment.settings);
    let host = with_a_crashing_neighbour(&torment, &folder);
    let pid = host.pid();
    let watched = seen.clone();
    let stop = over.clone();
    let watch = thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            watched.samples.lock().expect("the samples").extend(sample(pid));
            thread::sleep(LOOK_EVERY);
        }
    });
    while !over.load(Ordering::SeqCst) {
        sync_all(&folder, &seen).await;
        tokio::time::sleep(BREATH).await;
    }
    watch.join().expect("looking at the host");
    // Killed in the middle of a round, like the others.
    let client = ask(&folder).await;
    let _under_way = client.lines("/v1/run", &api::RunRequest { which: None, since: None }).await.expect("a last round");
    let told = told(&folder).await;
    host.kill();
    let tally = Tally::default();
    let _ = nothing_lost(&folder, &told, &tally);
    // The crashing neighbour leaves, since nobody can wait for it to have everything.
    let linked: Vec<api::ConnectionRow> = folder.run(&["connections", "--json"]).exits(0).json();
    for row in linked.iter().filter(|row| row.connector == "trapper") {
        folder.run(&["disconnect", &row.id, "--delete-data"]).exits(0);
    }
    folder.configure(&torment.settings);
    torment.brought_to_its_end(&folder, &tally).await;
    told.len() as u64
}

fn with_a_crashing_neighbour(torment: &Torment, folder: &Folder) -> Serving {
    let sha256 = folder.put(&Stranger::trapper());
    folder.configure(&torment.settings.clone().more(&pinned("trapper", &sha256)));
    folder.run_with(&["connect", "trapper", "--key", "key=-", "--no-wait"], "k-123456789\n").exits(0);
    folder.serve()
}

/// One round: every account once, to its end.
async fn sync_all(folder: &Folder, seen: &Seen) {
    let client = ask(folder).await;
    let mut lines = client.lines("/v1/run", &api::RunRequest { which: None, since: None }).await.expect("a round of syncs");
    while let Some(line) = lines.next::<api::RunLine>().await.expect("the host stays") {
        if let api::RunLine::Finished(summary) = line {
            match (summary.connector.as_str(), summary.outcome.as_str()) {
                ("trapper", _) => drop(seen.crashed.fetch_add(1, Ordering::SeqCst)),
                // What a connector declares for a minute is soon used up by syncs without a pause; the host keeps to it.
                (_, "rate-limited") => {}
                (_, "complete") => drop(seen.complete.fetch_add(1, Ordering::SeqCst)),
                (connector, outcome) => {
                    let why = summary.message.as_deref().unwrap_or("no reason was given");
                    seen.failed.lock().expect("the failures").push(format!("{connector} {}: {outcome}: {why}", summary.account));
                }
            }
        }
    }
}
