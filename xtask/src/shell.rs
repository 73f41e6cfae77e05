//! Starting other programs, saying which, and failing with their name.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
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

/// Runs a program to its end with nothing shown; whether it could be started and went well.
pub fn quiet(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Runs a step, in a process group of its own that is ended when it takes longer than it may; answers whether it came to its end.
pub fn within(title: &str, command: &mut Command, patience: Option<Duration>) -> Result<bool, String> {
    eprintln!("── {title}");
    let started = Instant::now();
    let mut child = command.process_group(0).spawn().map_err(|e| format!("{title}: {:?} cannot be started: {e}", command.get_program()))?;
    loop {
        match child.try_wait().map_err(|e| format!("{title}: {e}"))? {
            Some(status) if status.success() => {
                eprintln!("   {title}: {:.0} s", started.elapsed().as_secs_f64());
                return Ok(true);
            }
            Some(status) => return Err(format!("{title}: {status}")),
            None if patience.is_some_and(|patience| started.elapsed() > patience) => {
                // The compilers that it started go with it.
                quiet(Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]));
                child.wait().map_err(|e| format!("{title}: {e}"))?;
                return Ok(false);
            }
            None => std::thread::sleep(Duration::from_millis(100)),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_is_ended_with_all_that_it_started() {
        let began = Instant::now();
        let mut slow = Command::new("sh");
        slow.args(["-c", "sleep 600 & sleep 600"]);
        assert_eq!(within("a slow step", &mut slow, Some(Duration::from_millis(200))), Ok(false));
        assert!(began.elapsed() < Duration::from_secs(60));
        assert_eq!(within("a quick step", &mut Command::new("true"), Some(Duration::from_secs(60))), Ok(true));
        assert!(within("a step that fails", &mut Command::new("false"), None).is_err());
    }
}
