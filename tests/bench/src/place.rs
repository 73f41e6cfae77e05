//! Where a measurement happens: the temporary folder, the programs of this build, and the processes that are started and ended.

use crate::Fault;
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// The folder and the programs.
pub struct Place {
    folder: TempDir,
    /// Where this program lies, and its siblings with it.
    programs: PathBuf,
}

impl Place {
    /// A fresh folder, which goes with this value.
    pub fn new(within: Option<&Path>) -> Result<Self, Fault> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("sluice-bench-");
        let folder = match within {
            Some(within) => builder.tempdir_in(within),
            None => builder.tempdir(),
        };
        let folder = folder.map_err(|why| format!("no temporary folder can be made: {why}"))?;
        let programs = std::env::current_exe()?.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self { folder, programs })
    }

    /// The temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new folder in it.
    pub fn make(&self, name: &str) -> Result<PathBuf, Fault> {
        let path = self.folder().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// A program of this build.
    pub fn program(&self, name: &str) -> Result<PathBuf, Fault> {
        there(self.programs.join(name))
    }

    /// The connector that is measured.
    pub fn connector(&self) -> Result<PathBuf, Fault> {
        there(self.programs.join("../wasm32-wasip2/connector/sluice_connector_bench.wasm"))
    }

    /// The folder of the connectors that ship.
    pub fn shipped() -> Result<PathBuf, Fault> {
        there(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/connectors"))
    }

    /// Starts a simulator in a process of its own.
    pub fn simulator(&self) -> Result<Simulator, Fault> {
        let mut command = Command::new(self.program("sluice-sim")?);
        let child = command.args(["github", "--no-limits"]).stdout(Stdio::piped()).spawn()?;
        let mut process = Process(child);
        let out = process.0.stdout.take().ok_or("the simulator has no output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let url = line.trim().strip_prefix("listening ").ok_or_else(|| format!("the simulator said “{}”", line.trim()))?;
        Ok(Simulator { url: url.to_owned(), _process: process })
    }
}

fn there(path: PathBuf) -> Result<PathBuf, Fault> {
    if path.exists() { Ok(path) } else { Err(format!("{} is not there: `cargo xtask bench` builds it", path.display()).into()) }
}

/// A simulator that ends with this value.
pub struct Simulator {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    _process: Process,
}

/// A process that is ended, and waited for, when this goes.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
