//! What a command shares with the terminal: printing that survives a closed pipe, the log, times for people.

use super::CliError;
use sluice_sandbox::harmless;
use std::io::{self, IsTerminal, Write};
use tracing_subscriber::EnvFilter;

/// Prints one text and a newline; a reader that has gone away (`| head`) ends the command quietly.
pub fn print(text: &str) -> Result<(), CliError> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(|e| CliError::Io("standard output", e)),
    }
}

/// Prints one text and a newline for whoever is there: what a host has to say at its start must not end it when nobody reads.
pub fn tell(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// The log goes to standard error: `info` from a serving host, warnings from a command; `SLUICE_LOG` says otherwise.
pub fn start_log(serving: bool) {
    let default = if serving { "info" } else { "error" };
    let filter = EnvFilter::try_from_env("SLUICE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false).with_ansi(colour);
    // A second start, in a test, keeps the first.
    let _ = log.try_init();
}

/// A provider's text cannot move the cursor, colour the screen or turn the line around.
pub fn inert(text: &str) -> String {
    text.chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// Waits for something as long as nobody presses Ctrl-C; then the caller tidies up, and a second Ctrl-C ends the command there and then.
pub async fn until_ctrl_c<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::select! {
        done = work => done,
        pressed = tokio::signal::ctrl_c() => {
            pressed.map_err(|e| CliError::Io("the signal handler", e))?;
            end_at_once_on(async { tokio::signal::ctrl_c().await.is_ok() });
            Err(CliError::Usage("interrupted: what was committed stays, the rest follows with the next run".to_owned()))
        }
    }
}

/// Ends the process without more ado once `asked` says so: everything that was acknowledged is on the disk.
pub fn end_at_once_on(asked: impl Future<Output = bool> + Send + 'static) {
    tokio::spawn(async move {
        if asked.await {
            eprintln!("sluice: ended at once");
            std::process::exit(130);
        }
    });
}

/// Whether somebody watches: progress is drawn only then.
pub fn watched() -> bool {
    io::stderr().is_terminal()
}

/// An instant in the system's zone, to the minute.
pub fn local_time(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(instant) => instant.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => "—".to_owned(),
    }
}

/// `950 ms`, `3.2 s`, `2 min 5 s`.
pub fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}
