//! One entry for every chore: `cargo xtask build | demo | test | fuzz | soak | audit | providers | bench`.
#![forbid(unsafe_code)]

mod audit;
mod bench;
mod browser;
mod build;
mod demo;
mod fuzz;
mod providers;
mod shell;
mod soak;
#[cfg(test)]
mod structure;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of this repository")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Build the connectors into dist/connectors, then the host that pins them.
    Build(build::BuildArgs),
    /// See it work without any account: simulated providers, a host, linked accounts, first syncs.
    Demo(demo::DemoArgs),
    /// Everything that must hold: format, lints, unit, integration and end-to-end tests, with a closing count.
    Test(test::TestArgs),
    /// The fuzz targets, each for a while; needs the nightly toolchain and cargo-fuzz.
    Fuzz(fuzz::FuzzArgs),
    /// Kill hosts under load for a long time, and say what held.
    Soak(soak::SoakArgs),
    /// Licences, sources and advisories of what this is built from, as far as that can be checked here.
    Audit,
    /// Write the README's table of providers anew from the manifests.
    Providers(providers::ProvidersArgs),
    /// Measure: release build, a table of figures and their bars.
    Bench(bench::BenchArgs),
}

/// What a chore ends in: nothing more to say, or the text that says why not.
type Outcome = Result<ExitCode, String>;

fn main() -> ExitCode {
    let result = match Cli::parse().chore {
        Chore::Build(args) => build::run(&args),
        Chore::Demo(args) => demo::run(&args),
        Chore::Test(args) => test::run(&args),
        Chore::Fuzz(args) => fuzz::run(&args),
        Chore::Soak(args) => soak::run(&args),
        Chore::Audit => audit::run(),
        Chore::Providers(args) => providers::run(&args),
        Chore::Bench(args) => bench::run(&args),
    };
    result.unwrap_or_else(|why| {
        eprintln!("xtask: {why}");
        ExitCode::from(2)
    })
}
