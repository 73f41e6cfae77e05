//! What an operator is told of one module beside its line: what it costs, what it was denied, how its runs went.
//!
//! The figures are of the latest runs over all accounts, as the store keeps them; what a connector would like to be known of itself is not asked.
//! No account is named: whose run it was is for the account's own page, and for `sluice runs`.

use super::{Listing, approval};
use crate::{app::App, link, runs::outcome::word};
use sluice_model::{Manifest, authority::Authority};
use sluice_store::{ApprovalState, RunOutcome, RunView, StoreError};

/// Rows of runs that are shown.
const LATEST: usize = 10;
/// Errors that are shown.
const ERRORS: usize = 5;

/// Everything that is known of one module.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// What it is.
    #[serde(flatten)]
    pub listing: Listing,
    /// How people sign in, and what an operator registers at the provider for that, with the exact redirect URL. Of what runs, or of what waits to.
    pub setup: Option<String>,
    /// What it records, or would.
    pub metrics: Vec<String>,
    /// What going back would bring: version and hash.
    pub before: Option<Version>,
    /// How what it stores differs from what the version before stored.
    pub stores: Option<String>,
    /// The most memory that a run of it may have, bytes; of what runs.
    pub memory_limit: Option<u64>,
    /// The most CPU time of one run, ms; of what runs.
    pub cpu_limit_ms: Option<u64>,
    /// Its latest runs; none where it never ran.
    pub runs: Option<Figures>,
}

/// Bytes that served before.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Version {
    /// The connector's own version.
    pub version: String,
    /// Lower-case hex SHA-256.
    pub sha256: String,
}

/// Of the latest runs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Figures {
    /// How many runs these figures are of.
    pub runs: u64,
    /// CPU time that one took on average, µs.
    pub cpu_us: u64,
    /// The most memory that one held, bytes.
    pub memory_bytes: u64,
    /// Requests that the gate refused, in all of them.
    pub denied: u64,
    /// The latest, newest first.
    pub latest: Vec<Latest>,
    /// The latest failures, newest first.
    pub errors: Vec<LastError>,
}

/// One row: a run, or several that went the same way and changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Latest {
    /// When the last of them ended, or the one under way began, ms.
    pub at: i64,
    /// The connector's own version.
    pub version: String,
    /// How it ended.
    pub outcome: String,
    /// The same, for whoever has other words for it.
    #[serde(skip)]
    pub ended: RunOutcome,
    /// What failed, for programs.
    pub code: Option<String>,
    /// So many runs.
    pub repeats: u32,
    /// CPU time of all of them, µs.
    pub cpu_us: u64,
    /// The most memory that one of them held, bytes.
    pub memory_bytes: u64,
    /// Requests that the gate refused.
    pub denied: u64,
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LastError {
    /// ms.
    pub at: i64,
    /// The connector's own version.
    pub version: String,
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}

/// All that is known of the module of that name; `None` where there is none.
///
/// # Errors
/// The store failed.
pub async fn report(app: &App, name: &str) -> Result<Option<Report>, StoreError> {
    let Some(listing) = app.modules.listed(name) else { return Ok(None) };
    let connector = app.modules.get(name);
    let (setup, metrics) = match (&connector, &listing.told) {
        (Some(connector), _) => (Some(link::setup_text(app, connector)), metrics(&connector.manifest)),
        (None, Some(told)) => (Some(told.setup.clone()), told.metrics.clone()),
        (None, None) => (None, Vec::new()),
    };
    let limits = connector.as_ref().map(|c| &c.config.limits);
    let (memory_limit, cpu_limit_ms) = (limits.map(|l| l.memory_bytes), limits.map(|l| l.cpu_ms));
    let rows = app.store.approvals(name).await?;
    let serves = rows.iter().any(|row| row.state == ApprovalState::Approved) && !approval::pinned(&app.modules.shelf().config, name);
    // The latest decision first, as the store goes back.
    let before = rows.iter().find(|row| row.state == ApprovalState::Superseded).filter(|_| serves);
    let was = before.and_then(|row| serde_json::from_str::<Authority>(&row.candidate.authority).ok());
    let stores = was.and_then(|was| connector.as_ref()?.grant.authority().stores_otherwise_than(&was));
    let before = before.map(|row| Version { version: row.candidate.version.clone(), sha256: row.candidate.hash.clone() });
    let runs = figures(&app.store.connector_runs(name).await?);
    Ok(Some(Report { listing, setup, metrics, before, stores, memory_limit, cpu_limit_ms, runs }))
}

/// What a connector records, a line each.
pub(super) fn metrics(manifest: &Manifest) -> Vec<String> {
    manifest.metrics.iter().map(|m| format!("{} ({})", m.name, m.unit)).collect()
}

fn figures(rows: &[RunView]) -> Option<Figures> {
    let at = |row: &RunView| row.last_ended_at.unwrap_or(row.started_at);
    // Runs in which the connector was not even entered say nothing of what it costs.
    let entered = || rows.iter().filter(|row| row.used.cpu_us > 0);
    let runs: u64 = entered().map(|row| u64::from(row.repeats)).sum();
    let cpu: u64 = entered().map(|row| row.used.cpu_us).sum();
    let latest = rows.iter().take(LATEST).map(|row| Latest {
        at: at(row),
        version: row.connector_version.clone(),
        outcome: word(row.outcome).to_owned(),
        ended: row.outcome,
        code: row.failure_code.clone(),
        repeats: row.repeats,
        cpu_us: row.used.cpu_us,
        memory_bytes: row.used.memory_bytes,
        denied: row.used.denied,
    });
    let failed = rows.iter().filter(|row| matches!(row.outcome, RunOutcome::Failed(_)));
    let errors = failed.take(ERRORS).map(|row| LastError {
        at: at(row),
        version: row.connector_version.clone(),
        code: row.failure_code.clone().unwrap_or_default(),
        message: row.message.clone().unwrap_or_default(),
    });
    (!rows.is_empty()).then(|| Figures {
        runs,
        cpu_us: cpu.checked_div(runs).unwrap_or_default(),
        memory_bytes: rows.iter().map(|row| row.used.memory_bytes).max().unwrap_or_default(),
        denied: rows.iter().map(|row| row.used.denied).sum(),
        latest: latest.collect(),
        errors: errors.collect(),
    })
}

/// CPU time for people: `0.412 ms`, `1.2 s`.
#[must_use]
pub fn cpu_words(us: u64) -> String {
    match us {
        0..1_000_000 => format!("{}.{:03} ms", us / 1_000, us % 1_000),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// Bytes for people: `640 bytes`, `17.5 KiB`, `1.1 MiB`.
#[must_use]
pub fn bytes_words(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{}.{} {unit}", bytes / size, (bytes % size).saturating_mul(10) / size),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        for (us, words) in [(0, "0.000 ms"), (412, "0.412 ms"), (12_034, "12.034 ms"), (1_250_000, "1.2 s")] {
            assert_eq!(cpu_words(us), words);
        }
        for (bytes, words) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (17_920, "17.5 KiB"),
            (1 << 20, "1.0 MiB"),
            (256 << 20, "256.0 MiB"),
            (3 << 40, "3.0 TiB"),
        ] {
            assert_eq!(bytes_words(bytes), words);
        }
    }
}
