//! `cargo xtask fuzz`: the fuzz targets (`fuzz/`), each for a while. The tests do it for some seconds, where the compiler for it is there.
//!
//! It needs the nightly toolchain and cargo-fuzz, which nothing else here does; where they are not, the tests say so and go on. In the tests the build
//! is ended when it takes longer than [`BUILD_WITHIN`]: a slow machine that begins from nothing is to get through all the other tests in time.

use crate::{
    Outcome, build,
    shell::{output, quiet, root, target, within},
};
use clap::Args;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

/// The targets, as `fuzz/Cargo.toml` has them.
const TARGETS: &[&str] = &["manifest", "plugins_toml", "component", "provider_headers", "token_answer"];
/// What the build may take within the tests: it takes one to two minutes from nothing on two processors.
const BUILD_WITHIN: Duration = Duration::from_secs(300);
/// What a target may take beyond its own time, before it is taken for one that hangs.
const GRACE: Duration = Duration::from_secs(60);
/// A target within the tests: always the same beginning of chance, so that a test that passed passes again.
const SMOKE: Budget = Budget { seconds: 4, inputs: 200_000, seed: 1 };
/// One input may take so many seconds: they take microseconds.
const SLOWEST: u64 = 5;

#[derive(Args)]
pub struct FuzzArgs {
    /// Only this target.
    target: Option<String>,
    /// For how many seconds, each.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

#[derive(Clone, Copy)]
struct Budget {
    /// Over after so many.
    seconds: u64,
    /// Or after so many.
    inputs: u64,
    /// Where chance begins; 0 is somewhere else each time.
    seed: u64,
}

pub fn run(args: &FuzzArgs) -> Outcome {
    if let Some(why) = missing() {
        return Err(why);
    }
    let chosen: Vec<&str> = TARGETS.iter().copied().filter(|name| args.target.as_deref().is_none_or(|only| only == *name)).collect();
    if chosen.is_empty() {
        return Err(format!("there is no such target; there are {}", TARGETS.join(", ")));
    }
    if !within("fuzz targets", &mut fuzz("build"), None)? {
        return Err("the fuzz targets were not built".to_owned());
    }
    for name in chosen {
        fuzz_one(name, Budget { seconds: args.seconds, inputs: u64::MAX >> 1, seed: 0 })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Each target for a few seconds; where it cannot be done here, that is said. Answers with how many were run.
pub fn smoke() -> Result<u64, String> {
    if let Some(why) = missing() {
        eprintln!("── fuzz targets: NOT RUN, {why}");
        return Ok(0);
    }
    if !within("fuzz targets", &mut fuzz("build"), Some(BUILD_WITHIN))? {
        eprintln!("── fuzz targets: NOT RUN, they were not built within {} s; `cargo xtask fuzz` takes its time", BUILD_WITHIN.as_secs());
        return Ok(0);
    }
    for name in TARGETS {
        fuzz_one(name, SMOKE)?;
    }
    Ok(TARGETS.len() as u64)
}

/// What is missing for it, if anything is.
fn missing() -> Option<String> {
    let toolchains = output(Command::new("rustup").current_dir(root()).args(["toolchain", "list"])).unwrap_or_default();
    if !toolchains.lines().any(|line| line.starts_with("nightly")) {
        return Some("there is no nightly toolchain (rustup toolchain install nightly --profile minimal)".to_owned());
    }
    if !quiet(nightly().args(["cargo", "fuzz", "--version"])) {
        return Some("there is no cargo-fuzz (cargo install --locked cargo-fuzz)".to_owned());
    }
    (!quiet(Command::new("c++").arg("--version"))).then(|| "there is no C++ compiler, which libFuzzer needs".to_owned())
}

/// The nightly compiler for this one thing. What names the stable one, which runs this chore, must not reach it.
fn nightly() -> Command {
    let mut command = Command::new("rustup");
    command.current_dir(root()).args(["run", "nightly"]);
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|n| n == "RUSTUP_TOOLCHAIN" || n == "RUSTC" || n == "RUSTDOC" || (n.starts_with("CARGO") && n != "CARGO_HOME"))
        {
            command.env_remove(name);
        }
    }
    command
}

/// No sanitizer: what is fuzzed has no unsafe code, and a panic, an overflow or a failed assertion is a crash without one.
fn fuzz(verb: &str) -> Command {
    let mut command = nightly();
    command.args(["cargo", "fuzz", verb, "--fuzz-dir", "fuzz", "--sanitizer", "none", "--target-dir"]).arg(place());
    command
}

fn place() -> PathBuf {
    target().join("fuzz")
}

fn fuzz_one(name: &str, budget: Budget) -> Result<(), String> {
    let corpus = corpus(name).map_err(|e| format!("the corpus of {name}: {e}"))?;
    let mut command = fuzz("run");
    command.arg(name).arg(&corpus).arg(root().join("fuzz/seeds").join(name)).arg("--");
    command
        .arg(format!("-max_total_time={}", budget.seconds))
        .arg(format!("-runs={}", budget.inputs))
        .arg(format!("-seed={}", budget.seed));
    command.arg(format!("-timeout={SLOWEST}")).arg("-max_len=65536");
    // It says a lot, and only when it finds something does anybody want to know.
    let log = place().join(format!("{name}.log"));
    command.stderr(File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?);
    let patience = Duration::from_secs(budget.seconds) + GRACE;
    match within(&format!("fuzzing {name}"), &mut command, Some(patience)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("fuzzing {name} did not end within {} s: {}", patience.as_secs(), log.display())),
        Err(why) => Err(format!(
            "{why}\n  what happened is in {}, the input in fuzz/artifacts/{name}: mend it, and make it a test beside the code",
            log.display()
        )),
    }
}

/// What earlier runs found interesting, kept with the build; the manifests of the connectors that ship are among the first.
fn corpus(name: &str) -> std::io::Result<PathBuf> {
    let folder = place().join("corpus").join(name);
    fs::create_dir_all(&folder)?;
    if name == "manifest" {
        for connector in build::CONNECTORS {
            let from = root().join("connectors").join(connector).join("connector.toml");
            fs::copy(&from, folder.join(Path::new(connector).with_extension("toml")))?;
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_its_program_and_seeds() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len(), "a target is not in the list");
        for name in TARGETS {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            assert!(root().join("fuzz/fuzz_targets").join(name).with_extension("rs").is_file(), "{name}");
            assert!(fs::read_dir(root().join("fuzz/seeds").join(name)).unwrap().count() > 1, "{name} has no seeds");
        }
    }
    #[test]
    fn the_manifests_among_the_seeds_are_manifests() {
        for seed in fs::read_dir(root().join("fuzz/seeds/manifest")).unwrap() {
            let path = seed.unwrap().path();
            let read = sluice_model::Manifest::parse(&fs::read_to_string(&path).unwrap());
            assert!(read.is_ok(), "{}: {:?}: fuzzing would begin far from any", path.display(), read.err());
        }
    }
}
