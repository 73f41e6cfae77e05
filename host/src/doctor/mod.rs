//! `sluice doctor`: what an operator would look at by hand, one line each, with what to do where something is not as it should be.
//!
//! The contract: it looks and writes nothing (no lock, no `-shm` file, no key), beside a running host or without one. What only a running host knows
//! is asked of it over its socket, and bounded in time; everything else is judged by the same code that a start goes through, so that a folder which
//! passes here opens there. A *problem* keeps a host from starting or from working, a *warning* may; only problems make the exit code 1.

mod data;
mod machine;
mod modules;
mod service;

use crate::config::{Config, ConfigError};
use serde::Serialize;
use sluice_model::Clock;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, or will for now.
    Warning,
    /// It does not.
    Problem,
}

impl Verdict {
    /// The word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen.
    pub line: String,
    /// What to do, where there is something to do.
    pub advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, line: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, line: line.into(), advice: None }
    }

    fn warning(check: &'static str, line: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, line: line.into(), advice: Some(advice.into()) }
    }

    fn problem(check: &'static str, line: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Problem, line: line.into(), advice: Some(advice.into()) }
    }
}

/// Looks at everything, in the order in which a start would stumble.
pub async fn examine(config: Result<Config, ConfigError>, clock: &dyn Clock) -> Vec<Finding> {
    let mut all = Vec::new();
    let config = match config {
        Ok(config) => config,
        Err(why) => {
            all.push(Finding::problem("settings", why.to_string(), "mend that line; nothing that the settings name was looked at"));
            machine::build(&mut all);
            machine::time(&mut all, clock.now(), None);
            return all;
        }
    };
    service::settings(&mut all, &config);
    machine::build(&mut all);
    machine::limits(&mut all, &config);
    let running = service::host(&mut all, &config).await;
    let written = data::folder(&mut all, &config, running.is_some());
    machine::time(&mut all, clock.now(), written);
    match running {
        Some(host) => modules::of_a_running_host(&mut all, host).await,
        None => modules::of_the_folder(&mut all, &config).await,
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wrong_settings_are_a_finding_and_the_machine_is_looked_at_all_the_same() {
        let found = examine(Err(ConfigError("plugins.toml: line 3".to_owned())), &|| 1_800_000_000_000).await;
        assert_eq!((found[0].check, found[0].verdict), ("settings", Verdict::Problem));
        assert!(found.iter().any(|f| f.check == "wasmtime" && f.verdict == Verdict::Ok), "{found:?}");
    }
}
