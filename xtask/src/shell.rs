//! Starting other programs, saying which, and failing with their name.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// The repository's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(set) => root().join(set),
        None => root().join("target"),
    }
}

/// The cargo that runs this.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What `cargo run` told xtask about itself is no business of the cargo below: build scripts that watch these (ring's does) would run again
    // each time somebody changes between `cargo xtask` and plain cargo.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|n| {
            n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_") || n == "CARGO_BIN_NAME" || n == "CARGO_CRATE_NAME"
        }) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a step to its end, with its output shown; says how long it took.
pub fn step(title: &str, command: &mut Command) -> Result<(), String> {
    eprintln!("── {title}");
    let started = Instant::now();
    let status = command.status().map_err(|e| format!("{title}: {:?} cannot be started: {e}", command.get_program()))?;
    if status.success() {
        eprintln!("   {title}: {:.0} s", started.elapsed().as_secs_f64());
        Ok(())
    } else {
        Err(format!("{title}: {status}"))
    }
}

/// Runs a program and takes its standard output.
pub fn output(command: &mut Command) -> Result<String, String> {
    let name = format!("{:?}", command.get_program());
    let done = command.stderr(Stdio::inherit()).output().map_err(|e| format!("{name} cannot be started: {e}"))?;
    if !done.status.success() {
        return Err(format!("{name}: {}", done.status));
    }
    String::from_utf8(done.stdout).map_err(|_| format!("{name} printed something that is no text"))
}
