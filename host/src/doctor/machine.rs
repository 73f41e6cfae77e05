//! The machine: what this program is built with, what the system lets a process have, what time it is.

use super::Finding;
use crate::{config::Config, modules::bytes_words};
use jiff::tz::TimeZone;
use rustix::process::{Resource, getrlimit};
use std::time::{SystemTime, UNIX_EPOCH};

/// 2026-01-01: no Sluice is older, so no right clock shows less.
const EARLIEST_MS: i64 = 1_767_225_600_000;
/// 2100-01-01: what lies beyond is a clock that was never set.
const LATEST_MS: i64 = 4_102_444_800_000;
/// A file from so far ahead was written by another clock.
const AHEAD_MS: i64 = 5 * 60_000;
/// Connections to providers, pages, and the database, with room.
const OPEN_FILES: u64 = 1024;

/// The sandbox, and what it stands on.
pub fn build(all: &mut Vec<Finding>) {
    let (is, floor) = (sluice_sandbox::WASMTIME, sluice_sandbox::FLOOR);
    all.push(if sluice_sandbox::reaches(is, floor) {
        Finding::ok("wasmtime", format!("{is} (at least {floor} is needed)"))
    } else {
        Finding::problem("wasmtime", format!("{is}, and at least {floor} is needed"), "build Sluice anew from its own Cargo.lock")
    });
    let platform = sluice_sandbox::platform();
    let line = match platform.tier {
        Some(tier) => format!("{}: tier {tier} of wasmtime, {}", platform.name, platform.meaning),
        None => format!("{}: in no tier of wasmtime, {}", platform.name, platform.meaning),
    };
    all.push(match platform.tier {
        Some(1 | 2) => Finding::ok("platform", line),
        _ => Finding::warning(
            "platform",
            line,
            "for strangers' connectors take a machine of tier 1 or 2: 64-bit x86 or Arm with Linux and glibc, or macOS",
        ),
    });
}

/// What this process may have. A service has limits of its own, which is said where it matters.
pub fn limits(all: &mut Vec<Finding>, config: &Config) {
    let limit = getrlimit(Resource::As).current;
    let shown = limit.map_or_else(|| "without a limit".to_owned(), |bytes| format!("limited to {} (ulimit -v)", bytes_words(bytes)));
    all.push(match sluice_sandbox::try_reserving(config.concurrent_runs, config.memory_bytes()) {
        Ok(()) => Finding::ok("address space", format!("{shown}; room for {} runs at a time", config.concurrent_runs)),
        Err(why) => Finding::warning(
            "address space",
            format!(
                "{shown}; none can be reserved for {} runs at a time ({why}): each run asks for its memory, which is slower",
                config.concurrent_runs
            ),
            "raise `ulimit -v` (LimitAS= of a service), or lower concurrent-runs",
        ),
    });
    let files = getrlimit(Resource::Nofile).current;
    all.push(match files {
        Some(limit) if limit < OPEN_FILES => Finding::warning(
            "open files",
            format!("at most {limit} (ulimit -n)"),
            format!("raise it to {OPEN_FILES} or more (LimitNOFILE= of a service): each request and each page is one"),
        ),
        Some(limit) => Finding::ok("open files", format!("at most {limit}")),
        None => Finding::ok("open files", "without a limit"),
    });
}

/// The clock, held against what was `written` in the data folder last, and the time zone.
pub fn time(all: &mut Vec<Finding>, now: i64, written: Option<SystemTime>) {
    let shown =
        jiff::Timestamp::from_millisecond(now).map_or_else(|_| format!("{now} ms"), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    let written = written.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).and_then(|since| i64::try_from(since.as_millis()).ok());
    all.push(if !(EARLIEST_MS..LATEST_MS).contains(&now) {
        Finding::problem(
            "clock",
            format!("it shows {shown}"),
            "set it, and let the system keep it (NTP): schedules, keys and certificates go by it",
        )
    } else if written.is_some_and(|at| at > now.saturating_add(AHEAD_MS)) {
        Finding::problem(
            "clock",
            format!("it shows {shown}, and the database was written later than that"),
            "set it: it has gone back, and runs would wait until it is there again",
        )
    } else {
        Finding::ok("clock", shown)
    });
    let zone = TimeZone::try_system().ok().and_then(|zone| zone.iana_name().map(str::to_owned));
    all.push(match zone {
        Some(zone) => Finding::ok("time zone", format!("{zone} here; each person has their own")),
        None => Finding::warning(
            "time zone",
            "the system's own has no name",
            "set TZ or /etc/localtime: it is what `sluice connect` takes where --time-zone is left out",
        ),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;
    use std::time::Duration;

    #[test]
    fn a_clock_that_cannot_be_right_is_a_problem() {
        let noon = 1_800_000_000_000;
        let at = |ms: u64| Some(UNIX_EPOCH + Duration::from_millis(ms));
        for (now, written, wanted) in [
            (noon, None, Verdict::Ok),
            (noon, at(1_799_999_000_000), Verdict::Ok),
            (noon, at(1_800_000_100_000), Verdict::Ok),
            (noon, at(1_800_000_400_000), Verdict::Problem),
            (0, None, Verdict::Problem),
            (5_000_000_000_000, None, Verdict::Problem),
        ] {
            let mut all = Vec::new();
            time(&mut all, now, written);
            assert_eq!(all[0].verdict, wanted, "{now} {written:?}: {all:?}");
        }
    }
}
