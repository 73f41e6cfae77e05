//! `sluice doctor`: how host, machine and folders are, and what to do about it.

use super::{
    Outcome, print_json,
    table::{Align, layout},
    terminal::print,
};
use crate::{
    app::Surroundings,
    config::{Config, ConfigError},
    doctor::{Verdict, examine},
};
use clap::Args;
use std::process::ExitCode;

#[derive(Args)]
pub struct DoctorArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: DoctorArgs, config: Result<Config, ConfigError>) -> Outcome {
    let findings = examine(config, Surroundings::system().clock.as_ref()).await;
    let problems = findings.iter().filter(|f| f.verdict == Verdict::Problem).count();
    let warnings = findings.iter().filter(|f| f.verdict == Verdict::Warning).count();
    if args.json {
        print_json(&findings)?;
    } else {
        let heads = [("verdict", Align::Left), ("check", Align::Left), ("what was found", Align::Left)];
        let mut rows = Vec::new();
        for finding in &findings {
            // An error of a start has its next step on a line of its own; here every line is a row.
            let mut lines = finding.line.lines();
            rows.push(vec![finding.verdict.as_str().to_owned(), finding.check.to_owned(), lines.next().unwrap_or_default().to_owned()]);
            rows.extend(lines.map(|line| vec![String::new(), String::new(), format!("  {}", line.trim())]));
            rows.extend(finding.advice.iter().map(|advice| vec![String::new(), String::new(), format!("  → {advice}")]));
        }
        print(&layout(&heads, &rows))?;
        print(&match (problems, warnings) {
            (0, 0) => "\nall is as it should be".to_owned(),
            (problems, warnings) => format!("\n{problems} problems, {warnings} warnings"),
        })?;
    }
    Ok(ExitCode::from(u8::from(problems > 0)))
}
