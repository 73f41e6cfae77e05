//! `sluice-bench`: the first figures, each with its bar. Started by `cargo xtask bench`, which builds what is measured.
//!
//! The problem: a figure without something beside it says more about the machine than about the program. So most figures are ratios, both sides
//! measured within one run, in alternating rounds, after a warm-up; what is reported is the median. The absolute ones are for a quiet machine
//! whose fdatasync takes under half a millisecond, which is why that is measured and printed first.
//!
//! Contract: only loopback; everything that is written lies in one temporary folder (`--folder` says where it is made; a durable commit costs
//! nothing on a file system in memory, so that must not be one); every process that is started is ended; all figures take less than ten minutes.
//! The table goes to standard output, or with `--json` one object a figure; what was behind a ratio goes to standard error. Exit code 0 when every
//! bar holds, 1 when one does not, 2 when something could not be measured.
#![forbid(unsafe_code)]

mod drop;
mod fdatasync;
mod figure;
mod gate;
mod health;
mod host;
mod idle;
mod ingest;
mod instance;
mod interference;
mod place;
mod plain;
mod runs;
mod start;

use clap::Parser;
use figure::{Bar, Figure};
use place::Place;
use std::{error::Error, path::PathBuf, process::ExitCode, time::Instant};

/// Anything that keeps a figure from being measured.
type Fault = Box<dyn Error + Send + Sync>;

/// Figures and their bars.
#[derive(Parser)]
#[command(name = "sluice-bench", about = "Measures this build, and says which bars hold")]
struct Arguments {
    /// Print one JSON object a figure: name, value, unit, bar, holds.
    #[arg(long)]
    json: bool,
    /// Where the temporary folder is made [default: the system's place for such].
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Only these figures.
    names: Vec<String>,
}

/// What measures which figures.
const PARTS: [(&[&str], Part); 10] = [
    (&["instance-us"], instance::measure),
    (&["ingest-ratio"], ingest::measure),
    (&["runs-per-s", "runs-ratio"], runs::measure),
    (&["idle-tick-ratio"], idle::measure),
    (&["start-ms", "idle-mib"], start::measure),
    (&["gate-cost-ratio"], gate::measure),
    (&["drop-to-pending-ms"], drop::measure),
    (&["health-ms"], health::measure),
    (&["compile-interference"], interference::compile),
    (&["attack-interference"], interference::attack),
];

type Part = fn(&Place) -> Result<Vec<Figure>, Fault>;

fn run(arguments: &Arguments) -> Result<bool, Fault> {
    let names = || PARTS.iter().flat_map(|(names, _)| names.iter().copied());
    if let Some(unknown) = arguments.names.iter().find(|asked| !names().any(|name| name == asked.as_str())) {
        return Err(format!("there is no figure {unknown}; there are {}", names().collect::<Vec<_>>().join(", ")).into());
    }
    let wanted = |name: &str| arguments.names.is_empty() || arguments.names.iter().any(|asked| asked == name);
    let place = Place::new(arguments.folder.as_deref())?;
    let flush = fdatasync::median(place.folder())?;
    eprintln!("fdatasync takes {:.3} ms here{}", flush, fdatasync::remark(flush));
    let began = Instant::now();
    let mut all = Vec::new();
    for (names, part) in PARTS {
        if names.iter().any(|name| wanted(name)) {
            all.extend(part(&place).map_err(|why| format!("{}: {why}", names.join(", ")))?);
        }
    }
    all.retain(|figure| wanted(figure.name));
    eprintln!("measured in {:.0} s\n", began.elapsed().as_secs_f64());
    figure::print(&all, arguments.json)?;
    Ok(all.iter().all(Figure::holds))
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("sluice-bench: {why}");
            ExitCode::from(2)
        }
    }
}

/// A figure that must not be above its bar.
fn at_most(name: &'static str, value: f64, unit: &'static str, bar: f64) -> Figure {
    Figure { name, value, unit, bar: Bar::AtMost(bar) }
}

/// A figure that must not be below its bar.
fn at_least(name: &'static str, value: f64, unit: &'static str, bar: f64) -> Figure {
    Figure { name, value, unit, bar: Bar::AtLeast(bar) }
}
