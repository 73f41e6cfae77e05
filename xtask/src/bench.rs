//! `cargo xtask bench`: builds for release, then hands over to the measuring program.

use crate::{
    Outcome, build,
    shell::{cargo, step, target},
};
use clap::Args;
use std::process::{Command, ExitCode};

#[derive(Args)]
pub struct BenchArgs {
    /// Print one JSON object a figure: name, value, unit, bar, holds.
    #[arg(long)]
    json: bool,
    /// Only these figures.
    names: Vec<String>,
}

pub fn run(args: &BenchArgs) -> Outcome {
    build::connectors()?;
    build::compile(&["bench"])?;
    // The whole workspace: the same selection as everywhere else, so that nothing is compiled a second time for another set of features.
    step("release build (the first compiles the sandbox: minutes)", cargo().args(["build", "--locked", "--release", "--workspace"]))?;
    let mut command = Command::new(target().join("release/sluice-bench"));
    command.args(&args.names);
    if args.json {
        command.arg("--json");
    }
    let status = command.status().map_err(|e| format!("the measuring program cannot be started: {e}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
