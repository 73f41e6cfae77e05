//! `compile-interference` and `attack-interference`: the 99th percentile of a good connector's runs while somebody else keeps the machine busy, over
//! the same without.
//!
//! The good connector's accounts run one after the other, each from when it is due until its end is durable: one page of 100 rows from a simulator in
//! its own process. Beside them, in alternating rounds, the same host compiles an 18 MiB module that was dropped into its folder (seen, compiled in a
//! process of its own, loaded, asked for its manifest, listed), or runs connectors that mean harm, one of each kind, for as long as their limits
//! let them, and again a second later.

use crate::{
    Fault, at_most, figure,
    figure::Figure,
    host::{self, Host, Shape},
    place::Place,
};
use sluice::{modules::ModuleState, runs::events::RunEvent};
use sluice_fixtures::{Stranger, attacks, bulk, rebuilt};
use std::{
    collections::VecDeque,
    fs,
    time::{Duration, Instant},
};
use tokio::sync::broadcast::error::TryRecvError;

const ROWS: u64 = 100;
const CONNECTIONS: usize = 50;
const ROUNDS: usize = 3;
/// Of each half of a round. Over a thousand runs on an ordinary machine, so that the 99th percentile is no single run.
const HALF: Duration = Duration::from_secs(4);
/// A connector in Python is that large.
pub const LARGE: usize = 18 << 20;
/// Compiling takes less than that, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(300);
/// One that was ended begins again so long after: the schedule would wait for a minute at least, and longer each time.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// One of each kind that keeps something busy: the processor, the allocator, the border, the log, the store, the gate, a slot.
const ATTACKS: [&str; 12] = [
    "a loop in sync",
    "a loop of calls",
    "copying memory in a loop",
    "growing memory",
    "growing a table",
    "recursion",
    "asking for the time",
    "log lines",
    "entries",
    "state",
    "checkpoints",
    "requests",
];

/// ms of each run, and how many there were in all.
struct Runs {
    took: Vec<f64>,
    next: usize,
}

impl Runs {
    fn new() -> Self {
        Self { took: Vec::new(), next: 0 }
    }

    async fn one(&mut self, host: &Host) -> Result<(), Fault> {
        self.took.push(host.one(self.next).await?.as_secs_f64() * 1e3);
        self.next += 1;
        Ok(())
    }

    async fn for_a_while(&mut self, host: &Host) -> Result<(), Fault> {
        let began = Instant::now();
        while began.elapsed() < HALF {
            self.one(host).await?;
        }
        Ok(())
    }

    /// The percentile of those since it was last asked for.
    fn p99(&mut self) -> f64 {
        figure::p99(std::mem::take(&mut self.took))
    }
}

/// The ratio of each round, and what was behind it.
#[derive(Default)]
struct Rounds {
    quiet: Vec<f64>,
    beside: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, quiet: f64, beside: f64) {
        self.quiet.push(quiet);
        self.beside.push(beside);
    }

    fn figure(self, name: &'static str) -> Figure {
        let ratios = self.quiet.iter().zip(&self.beside).map(|(quiet, beside)| beside / quiet).collect();
        eprintln!("{name}: p99 of a run {:.2} ms, {:.2} ms without", figure::median(self.beside), figure::median(self.quiet));
        at_most(name, figure::median(ratios), "ratio", 2.0)
    }
}

/// Measures `compile-interference`.
pub fn compile(place: &Place) -> Result<Vec<Figure>, Fault> {
    let simulator = place.simulator()?;
    let large = bulk::large(&Stranger { name: "large", ..Stranger::default() }, LARGE);
    host::runtime("host")?.block_on(async {
        let shape = Shape { watched: true, ..Shape::of(ROWS, 1, CONNECTIONS) };
        let host = Host::start(place, "compile", &simulator, &shape).await?;
        let (mut runs, mut rounds) = (Runs::new(), Rounds::default());
        runs.for_a_while(&host).await?;
        let mut took = Vec::new();
        for round in 0..ROUNDS {
            runs.p99();
            runs.for_a_while(&host).await?;
            let quiet = runs.p99();
            let before = host.app().modules.listed("large").and_then(|l| l.sha256);
            host.drop_in("large.wasm", &rebuilt(&large, &round.to_string()))?;
            let dropped = Instant::now();
            // The folder is looked at now and then: until the compiler is at it, nothing is measured.
            while !compiling(std::process::id())? {
                patient(dropped)?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let began = Instant::now();
            loop {
                runs.one(&host).await?;
                patient(dropped)?;
                let Some(listing) = host.app().modules.listed("large").filter(|l| l.sha256 != before) else { continue };
                if listing.is_examined() {
                    continue;
                }
                if listing.state != ModuleState::Pending {
                    return Err(format!("the large module is {:?}: {}", listing.state, listing.line).into());
                }
                break;
            }
            took.push(began.elapsed().as_secs_f64());
            rounds.add(quiet, runs.p99());
        }
        eprintln!("compiling {} MiB took {:.1} s beside the runs", large.len() >> 20, figure::median(took));
        let entries = ROWS * runs.next as u64;
        host.end(entries).await?;
        Ok(vec![rounds.figure("compile-interference")])
    })
}

/// An error when it was waited for longer than compiling takes.
pub fn patient(since: Instant) -> Result<(), Fault> {
    if since.elapsed() > PATIENCE { Err("the large module was not listed".into()) } else { Ok(()) }
}

/// Whether a process that this host started compiles.
pub fn compiling(host: u32) -> Result<bool, Fault> {
    let host = host.to_string();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = stat.rsplit(')').next().unwrap_or_default().split_whitespace().nth(1);
        if parent == Some(host.as_str()) && fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.ends_with(b"compile-child\0")) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Measures `attack-interference`.
pub fn attack(place: &Place) -> Result<Vec<Figure>, Fault> {
    let simulator = place.simulator()?;
    host::runtime("host")?.block_on(async {
        let shape = Shape { strangers: attacks::strangers(&ATTACKS), ..Shape::of(ROWS, 1, CONNECTIONS) };
        let host = Host::start(place, "attack", &simulator, &shape).await?;
        let (mut runs, mut rounds) = (Runs::new(), Rounds::default());
        runs.for_a_while(&host).await?;
        let (mut began, mut failed) = (0, 0);
        for _ in 0..ROUNDS {
            runs.p99();
            runs.for_a_while(&host).await?;
            let quiet = runs.p99();
            let mut events = host.app().events.subscribe();
            for attacker in host.strangers() {
                host.due(*attacker)?;
            }
            let since = Instant::now();
            let mut ended = VecDeque::new();
            while since.elapsed() < HALF {
                runs.one(&host).await?;
                while let Some((at, connection)) = ended.front().copied()
                    && Instant::now() >= at
                {
                    ended.pop_front();
                    host.due(connection)?;
                }
                loop {
                    match events.try_recv() {
                        Ok(RunEvent::Started { connection }) if host.strangers().contains(&connection) => began += 1,
                        Ok(RunEvent::Finished { connection, outcome, .. }) if host.strangers().contains(&connection) => {
                            failed += u32::from(outcome != "complete");
                            ended.push_back((Instant::now() + AGAIN_AFTER, connection));
                        }
                        Ok(_) => {}
                        Err(TryRecvError::Empty) => break,
                        Err(why) => return Err(why.into()),
                    }
                }
            }
            rounds.add(quiet, runs.p99());
            quieten(&host).await?;
        }
        eprintln!("{began} attacks began beside {} runs, and {failed} were ended", runs.next);
        if began < ATTACKS.len() * ROUNDS {
            return Err("not every attack was under way: nothing was measured".into());
        }
        let entries = ROWS * runs.next as u64;
        host.end(entries).await?;
        Ok(vec![rounds.figure("attack-interference")])
    })
}

/// Ends the attacks, and waits until none goes on.
async fn quieten(host: &Host) -> Result<(), Fault> {
    let began = Instant::now();
    loop {
        let mut running = 0;
        for attacker in host.strangers() {
            host.not_due(*attacker)?;
            running += u32::from(host.app().stops.stop(*attacker));
        }
        if running == 0 {
            return Ok(());
        }
        patient(began)?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
