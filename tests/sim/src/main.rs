//! `sluice-sim`: the simulators in a process of their own, for the demo, for measurements, and for tests that stop and start one.
//!
//! Prints `listening http://127.0.0.1:PORT` (with `all` one line for each, with the provider's name behind it) once the port answers, and serves until it is
//! ended. Everything else is said over `/_control/…` of that port. Exit code 1 with one line where it can't listen.

use clap::{Args, Parser, Subcommand};
use sluice_sim::{Clock, GitHub, LastFm, Listen, github, lastfm};
use std::io::{self, Write as _};

/// Simulated providers on loopback.
#[derive(Parser)]
#[command(name = "sluice-sim", version)]
struct Arguments {
    #[command(subcommand)]
    provider: Provider,
}

#[derive(Subcommand)]
enum Provider {
    /// GitHub: the API under /api/, sign-in under /login/oauth/.
    Github(Settings),
    /// Last.fm: the web service at /2.0/, sign-in at /api/auth/.
    Lastfm(Settings),
    /// Both, each on a port of its own.
    All(Settings),
}

#[derive(Args, Clone)]
struct Settings {
    /// Port on 127.0.0.1; 0 takes a free one (with `all`, the second provider takes the next).
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The same seed and end make the same data.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many users; the first is called demo.
    #[arg(long, default_value_t = 2)]
    users: u64,
    /// Days of history.
    #[arg(long, default_value_t = 200)]
    days: i64,
    /// End of the generated history, as a day or an instant; now unless said.
    #[arg(long)]
    until: Option<String>,
    /// Milliseconds by which the simulator's clock is ahead of the machine's.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    clock_offset: i64,
    /// Sign this user in at once, without showing the page.
    #[arg(long)]
    auto_approve: Option<String>,
    /// The first user's GitHub token.
    #[arg(long)]
    token: Option<String>,
    /// No limits of requests.
    #[arg(long)]
    no_limits: bool,
    /// Threads that serve.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

impl Settings {
    fn until(&self) -> io::Result<Option<i64>> {
        let Some(text) = &self.until else { return Ok(None) };
        let at = text.parse::<jiff::Timestamp>().map(|at| at.as_second());
        let day = || {
            text.parse::<jiff::civil::Date>().and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC)).map(|day| day.timestamp().as_second())
        };
        at.or_else(|_| day()).map(Some).map_err(|error| io::Error::other(format!("--until {text}: {error}")))
    }

    fn listen(&self, offset: u16) -> Listen {
        let port = if self.port == 0 { 0 } else { self.port.saturating_add(offset) };
        Listen { port, threads: self.threads }
    }

    fn github(&self) -> io::Result<github::Options> {
        let limits = if self.no_limits { github::Limits::generous() } else { github::Limits::default() };
        Ok(github::Options {
            seed: self.seed,
            users: self.users,
            days: self.days,
            until: self.until()?,
            clock: Clock::shifted(self.clock_offset),
            limits,
            auto_approve: self.auto_approve.clone(),
            token: self.token.clone(),
            listen: self.listen(0),
            ..github::Options::default()
        })
    }

    fn lastfm(&self, offset: u16) -> io::Result<lastfm::Options> {
        Ok(lastfm::Options {
            seed: self.seed,
            users: self.users,
            days: self.days,
            until: self.until()?,
            clock: Clock::shifted(self.clock_offset),
            auto_approve: self.auto_approve.clone(),
            // The documents of old asked for at most five requests a second over five minutes.
            limit: (!self.no_limits).then_some((1_500, 300)),
            listen: self.listen(offset),
            ..lastfm::Options::default()
        })
    }
}

fn serve(provider: &Provider) -> io::Result<()> {
    let mut out = io::stdout();
    match provider {
        Provider::Github(settings) => {
            let running = GitHub::start(settings.github()?)?;
            writeln!(out, "listening {}", running.url())?;
            out.flush()?;
            wait(running)
        }
        Provider::Lastfm(settings) => {
            let running = LastFm::start(settings.lastfm(0)?)?;
            writeln!(out, "listening {}", running.url())?;
            out.flush()?;
            wait(running)
        }
        Provider::All(settings) => {
            let (github, lastfm) = (GitHub::start(settings.github()?)?, LastFm::start(settings.lastfm(1)?)?);
            writeln!(out, "listening {} github\nlistening {} lastfm", github.url(), lastfm.url())?;
            out.flush()?;
            wait((github, lastfm))
        }
    }
}

/// Serves until the process is ended.
fn wait<T>(_running: T) -> io::Result<()> {
    loop {
        std::thread::park();
    }
}

fn main() {
    if let Err(error) = serve(&Arguments::parse().provider) {
        let _ = writeln!(io::stderr(), "sluice-sim: {error}");
        std::process::exit(1);
    }
}
