//! What this is built from: licences, sources, and advisories that nobody has read (`deny.toml` has the rules).
//!
//! It needs `cargo-deny`, and for the advisories their database, which is fetched. Where one of the two cannot be had the check is left out and that is
//! said, so that the tests run without the internet; where both are there, an advisory that `deny.toml` does not name fails them.

use crate::{
    Outcome,
    shell::{cargo, quiet, step},
};
use std::process::ExitCode;

pub fn run() -> Outcome {
    dependencies()?;
    Ok(ExitCode::SUCCESS)
}

/// Checks, as far as it can be done here.
pub fn dependencies() -> Result<(), String> {
    let deny = |args: &[&str]| {
        let mut command = cargo();
        command.arg("deny").args(["--log-level", "error"]).args(args);
        command
    };
    if !quiet(&mut deny(&["--version"])) {
        eprintln!("── dependencies: NOT CHECKED, there is no cargo-deny here (cargo install --locked cargo-deny)");
        return Ok(());
    }
    // Packages for other systems are looked at as well, and a build here has not fetched those.
    if !quiet(cargo().args(["fetch", "--locked"])) {
        eprintln!("── dependencies: NOT CHECKED, some of them cannot be fetched here");
        return Ok(());
    }
    step("dependencies: bans, licences, sources", &mut deny(&["--offline", "check", "bans", "licenses", "sources"]))?;
    if !quiet(&mut deny(&["fetch", "db"])) {
        eprintln!("── advisories: NOT CHECKED, their database cannot be fetched here");
        return Ok(());
    }
    step("dependencies: advisories", &mut deny(&["check", "advisories"])).map_err(|why| {
        format!("{why}\n  update what it names; what does not concern Sluice goes into deny.toml's ignore list, with the reason")
    })
}
