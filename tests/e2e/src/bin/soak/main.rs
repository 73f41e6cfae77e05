//! `sluice-soak`: hours of what the tests do for a minute. Started by `cargo xtask soak`, which builds what it needs.
//!
//! Two things go on side by side. Hosts of short lives are killed at random instants, folder after folder ([`sluice_e2e::torment`]). And one host lives
//! on under steady load ([`steady`]): all its accounts sync without a pause, a connector that crashes in every run beside them; its memory and open
//! files are looked at all the time, and in the end it is killed, too, and must have lost nothing.
//!
//! Only loopback is used, everything lies in temporary folders, every process that is started is ended. It ends by itself: after so many kills or when
//! the time is up. A table says what held, or with `--json` one object a line; exit code 0 when all of it did, 1 when not.
#![forbid(unsafe_code)]
// Like the tests, it fails by panicking and says what it saw; each part is caught, and becomes a line of the table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that is a program")]

mod process;
mod steady;
mod verdict;

use clap::Parser;
use sluice_e2e::torment::{Tally, Torment, Until};
use std::{
    any::Any,
    io,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use steady::Steady;
use verdict::Verdict;

/// Between two looks at whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Folders that are tormented at once.
const WORKERS: u64 = 2;

/// How long, and how much.
#[derive(Parser)]
#[command(name = "sluice-soak", about = "Kills hosts under load for a long time, and says what held")]
pub struct Arguments {
    /// Kills that must fall into runs.
    #[arg(long, default_value_t = 1000)]
    loops: u64,
    /// Ends after so many minutes at the latest, however many kills there were.
    #[arg(long)]
    minutes: Option<u64>,
    /// Accounts at each of the two providers, in each folder.
    #[arg(long, default_value_t = 3)]
    accounts: u64,
    /// Where chance begins; the same seed kills after the same times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object a line: name, value, bar, holds.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let verdicts = soak(&arguments, began);
    eprintln!("{} min {} s\n", began.elapsed().as_secs() / 60, began.elapsed().as_secs() % 60);
    if let Err(error) = verdict::print(&mut io::stdout().lock(), &verdicts, arguments.json) {
        eprintln!("sluice-soak: {error}");
        return ExitCode::from(2);
    }
    ExitCode::from(u8::from(!verdicts.iter().all(|v| v.holds)))
}

fn soak(arguments: &Arguments, began: Instant) -> Vec<Verdict> {
    eprintln!("making worlds of {} accounts each, and seeing what a host makes of them that nobody touches", arguments.accounts);
    let accounts = arguments.accounts.max(1);
    let torment = match apart(move || Torment::prepare(accounts)).join() {
        Ok(torment) => Arc::new(torment),
        Err(panic) => return vec![Verdict::of("prepared", words(panic), "a host takes in everything", false)],
    };
    torment.slow_down();
    let time = arguments.minutes.map(|minutes| began + Duration::from_secs(minutes.saturating_mul(60)));
    let until = Until { kills: arguments.loops, time };
    let tally = Arc::new(Tally::default());
    let over = Arc::new(AtomicBool::new(false));
    let steady = Steady::start(torment.clone(), over.clone());
    let workers: Vec<JoinHandle<()>> = (0..WORKERS)
        .map(|worker| {
            let (torment, tally, seed) = (torment.clone(), tally.clone(), arguments.seed.wrapping_mul(WORKERS).wrapping_add(worker));
            apart(move || async move { torment.kill(seed, until, &tally).await })
        })
        .collect();

    let mut said = Instant::now();
    while !workers.iter().all(JoinHandle::is_finished) {
        thread::sleep(LOOK_EVERY);
        if said.elapsed() >= PROGRESS_EVERY {
            said = Instant::now();
            let (kills, folders) = (Tally::now(&tally.kills), Tally::now(&tally.folders));
            let seconds = began.elapsed().as_secs();
            eprintln!("{seconds:>5} s  {kills} of {} kills, {folders} folders whole; {}", arguments.loops, steady.progress());
        }
    }
    let faults = workers.into_iter().filter_map(|worker| worker.join().err()).map(words).collect();
    over.store(true, Ordering::SeqCst);
    let mut verdicts = of_the_kills(arguments, &tally, faults);
    verdicts.extend(steady.end());
    verdicts
}

/// Starts a part on a thread with a runtime of its own: it waits for processes, and a panic is its own.
fn apart<T: Send + 'static, F: Future<Output = T>>(part: impl FnOnce() -> F + Send + 'static) -> JoinHandle<T> {
    thread::spawn(move || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(part()))
}

fn of_the_kills(arguments: &Arguments, tally: &Tally, faults: Vec<String>) -> Vec<Verdict> {
    let (kills, halfway) = (Tally::now(&tally.kills), Tally::now(&tally.halfway));
    // Whoever gave a time takes what fits into it, as long as that is something.
    let enough = if arguments.minutes.is_some() { kills > 0 } else { kills >= arguments.loops };
    let (told, folders) = (Tally::now(&tally.told), Tally::now(&tally.folders));
    let whole = match faults.first() {
        None => format!("{folders} folders whole"),
        Some(_) => faults.join("; "),
    };
    vec![
        Verdict::of("kills", kills, &format!("{} that fall into runs", arguments.loops), enough),
        Verdict::of("kills-halfway", halfway, "some with half of the data stored", halfway > 0),
        Verdict::of("rows-told", told, "each found after the kill", told > 0 && faults.is_empty()),
        Verdict::of("nothing-lost-or-doubled", whole, "as if nobody had killed a host", folders > 0 && faults.is_empty()),
        Verdict::of("integrity", Tally::now(&tally.checks), "no check finds damage or leftovers", faults.is_empty()),
    ]
}

/// What a part that panicked said.
fn words(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without words".to_owned())
}
