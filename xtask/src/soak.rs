//! `cargo xtask soak`: builds as the tests do, so that nothing is compiled twice, then hands over to the program that torments.

use crate::{
    Outcome, build,
    shell::{cargo, step, target},
};
use clap::Args;
use std::process::{Command, ExitCode};

#[derive(Args)]
pub struct SoakArgs {
    /// Kills that must fall into runs.
    #[arg(long, default_value_t = 1000)]
    loops: u64,
    /// End after so many minutes at the latest.
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

pub fn run(args: &SoakArgs) -> Outcome {
    build::connectors()?;
    step("build (the first compiles the sandbox: minutes)", cargo().args(["build", "--locked", "--workspace"]))?;
    let mut command = Command::new(target().join("debug/sluice-soak"));
    for (flag, value) in
        [("--loops", Some(args.loops)), ("--minutes", args.minutes), ("--accounts", Some(args.accounts)), ("--seed", Some(args.seed))]
    {
        if let Some(value) = value {
            command.arg(flag).arg(value.to_string());
        }
    }
    if args.json {
        command.arg("--json");
    }
    let status = command.status().map_err(|e| format!("the tormenting program cannot be started: {e}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
