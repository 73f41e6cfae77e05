//! Connectors first, then the host: it pins their hashes.

use crate::{
    Outcome,
    shell::{cargo, output, root, step, target},
};
use clap::Args;
use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

const WASM: &str = "wasm32-wasip2";

/// The connectors that ship with the project.
pub const CONNECTORS: &[&str] = &["github", "lastfm"];

#[derive(Args)]
pub struct BuildArgs {
    /// Build the host for development instead of release.
    #[arg(long)]
    dev: bool,
}

pub fn run(args: &BuildArgs) -> Outcome {
    connectors()?;
    let binary = host(!args.dev)?;
    println!("{}", binary.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds each connector that ships and puts it into `dist/connectors`.
pub fn connectors() -> Result<(), String> {
    compile(CONNECTORS)?;
    let dist = root().join("dist/connectors");
    fs::create_dir_all(&dist).map_err(|e| format!("{}: {e}", dist.display()))?;
    for name in CONNECTORS {
        let from = target().join(WASM).join("connector").join(format!("sluice_connector_{name}.wasm"));
        let to = dist.join(format!("{name}.wasm"));
        let bytes = fs::read(&from).map_err(|e| format!("{}: {e}", from.display()))?;
        // Untouched when it is the same: the host would be built again for nothing.
        if fs::read(&to).ok().as_ref() != Some(&bytes) {
            // In one step: a host that looks at the folder meanwhile sees the old file or the new one.
            let part = dist.join(format!(".{name}.part"));
            fs::write(&part, bytes).and_then(|()| fs::rename(&part, &to)).map_err(|e| format!("{}: {e}", to.display()))?;
        }
    }
    Ok(())
}

/// Compiles connectors, adding the wasm target where it is missing; they stay in cargo's own folder.
pub fn compile(names: &[&str]) -> Result<(), String> {
    add_target()?;
    let mut build = cargo();
    build.args(["build", "--locked", "--profile", "connector", "--target", WASM]);
    for name in names {
        build.arg("-p").arg(format!("sluice-connector-{name}"));
    }
    step(&format!("connectors: {}", names.join(", ")), &mut build)
}

/// Builds the host; answers where its binary is. For development the whole workspace is built, the simulators with it: `cargo test` selects the same,
/// so that what they depend on is compiled once, with one set of features.
pub fn host(release: bool) -> Result<PathBuf, String> {
    let mut build = cargo();
    build.args(["build", "--locked"]);
    build.args(if release { ["--release", "--package=sluice"].as_slice() } else { ["--workspace"].as_slice() });
    step("host (the first build compiles the sandbox: minutes)", &mut build)?;
    Ok(target().join(if release { "release" } else { "debug" }).join("sluice"))
}

fn add_target() -> Result<(), String> {
    let sysroot = output(Command::new("rustc").current_dir(root()).args(["--print", "sysroot"]))?;
    let there = PathBuf::from(sysroot.trim()).join("lib/rustlib").join(WASM).join("lib");
    if there.is_dir() {
        return Ok(());
    }
    step(&format!("rustup target add {WASM}"), Command::new("rustup").current_dir(root()).args(["target", "add", WASM]))
        .map_err(|why| format!("{why}\n  connectors are built for {WASM}: install Rust by rustup, or add the target yourself"))
}
