//! Everything that must hold, in the order that fails soonest, with one count at the end.

use crate::{
    Outcome, audit, build, fuzz,
    shell::{cargo, step},
};
use clap::Args;
use std::{
    io::{BufRead, BufReader},
    process::{ExitCode, Stdio},
    time::Instant,
};

#[derive(Args)]
pub struct TestArgs {
    /// Only tests whose name contains this; format and lints are left out.
    filter: Option<String>,
}

#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
}

pub fn run(args: &TestArgs) -> Outcome {
    let started = Instant::now();
    if args.filter.is_none() {
        step("format", cargo().args(["fmt", "--all", "--check"])).map_err(|why| format!("{why}\n  cargo fmt --all mends it"))?;
        audit::dependencies()?;
    }
    build::connectors()?;
    if args.filter.is_none() {
        step("clippy", cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    }
    let (mut count, mut good) = tests(args.filter.as_deref())?;
    if args.filter.is_none() {
        match fuzz::smoke() {
            Ok(0) => count.ignored += 1,
            Ok(targets) => count.passed += targets,
            Err(why) => {
                eprintln!("{why}");
                (good, count.failed) = (false, count.failed + 1);
            }
        }
    }
    let seconds = started.elapsed().as_secs();
    eprintln!("── {} min {} s", seconds / 60, seconds % 60);
    println!("{} passed, {} failed, {} skipped", count.passed, count.failed, count.ignored);
    Ok(if good && count.failed == 0 && count.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tests(filter: Option<&str>) -> Result<(Count, bool), String> {
    // This builds the real binary as well, which the end-to-end tests start. A build of the workspace before it would compile the sandbox a second
    // time: without the tests' own dependencies it has other features.
    eprintln!("── tests (the first build compiles the sandbox: minutes)");
    let mut command = cargo();
    command.args(["test", "--locked", "--workspace", "--no-fail-fast"]);
    command.args(filter);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| format!("cargo test cannot be started: {e}"))?;
    let mut count = Count::default();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line.map_err(|e| format!("cargo test: {e}"))?;
            println!("{line}");
            if let Some(rest) = line.strip_prefix("test result: ") {
                add(&mut count, rest);
            }
        }
    }
    let status = child.wait().map_err(|e| format!("cargo test: {e}"))?;
    Ok((count, status.success()))
}

/// `ok. 12 passed; 0 failed; 1 ignored; …`
fn add(count: &mut Count, line: &str) {
    for part in line.split([';', '.']) {
        let mut words = part.split_whitespace();
        let (Some(number), Some(what)) = (words.next().and_then(|n| n.parse::<u64>().ok()), words.next()) else { continue };
        match what {
            "passed" => count.passed += number,
            "failed" => count.failed += number,
            "ignored" => count.ignored += number,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let mut count = Count::default();
        add(&mut count, "ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.10s");
        add(&mut count, "FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s");
        assert_eq!((count.passed, count.failed, count.ignored), (14, 5, 1));
    }
}
