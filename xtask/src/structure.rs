//! The invariants of ARCHITECTURE.md that can be read off the sources.

use crate::shell::root;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// (what is named, the one crate that may, why).
const NAMES: &[(&str, &str, &str)] = &[
    ("reqwest", "host/gate", "only the gate opens outbound connections"),
    ("rustls", "host/gate", "only the gate opens outbound connections"),
    ("wasmtime", "host/sandbox", "only the sandbox runs guests"),
    ("wasmtime-wasi", "host/sandbox", "only the sandbox runs guests"),
    ("wasmtime-environ", "host/sandbox", "only the sandbox runs guests"),
    ("rusqlite", "host/store", "only the store contains SQL"),
    ("chacha20poly1305", "host/vault", "only the vault turns ciphertext into a secret"),
];

/// Crates of the host; tests, benchmarks and chores may do as they like.
const HOST: &[&str] = &["host", "host/model", "host/vault", "host/store", "host/gate", "host/sandbox"];

/// (what is written, the folders that may, why).
const WRITTEN: &[(&str, &[&str], &str)] = &[
    ("TcpStream::connect", &["host/gate"], "only the gate opens outbound connections"),
    ("UdpSocket", &["host/gate"], "only the gate opens outbound connections"),
    ("UnixStream::connect", &["host/src/control"], "commands reach a host through the control client"),
    ("Timestamp::now", &["host/src/app.rs"], "time is passed in"),
    ("SystemTime::now", &[], "time is passed in"),
    ("Zoned::now", &[], "time is passed in"),
];

fn dependencies(manifest: &Path) -> Vec<String> {
    let text = fs::read_to_string(manifest).unwrap_or_default();
    let mut inside = false;
    let mut names = Vec::new();
    for line in text.lines() {
        if let Some(section) = line.trim().strip_prefix('[') {
            inside = section.starts_with("dependencies");
        } else if inside && let Some(name) = line.split(['.', '=', ' ']).next().filter(|n| !n.is_empty()) {
            names.push(name.to_owned());
        }
    }
    names
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && !matches!(name.to_str(), Some("tests" | "examples" | "target")) {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.to_string_lossy().ends_with("_tests.rs") {
            found.push(path);
        }
    }
}

#[test]
fn each_dangerous_thing_has_one_crate_that_may_name_it() {
    for crate_path in HOST {
        let names = dependencies(&root().join(crate_path).join("Cargo.toml"));
        assert!(!names.is_empty(), "{crate_path}: its Cargo.toml was not read");
        for (name, owner, why) in NAMES {
            assert!(crate_path == owner || !names.iter().any(|n| n == name), "{crate_path} depends on {name}: {why}");
        }
    }
}

#[test]
fn sockets_and_clocks_are_named_where_they_belong() {
    let mut files = Vec::new();
    sources(&root().join("host"), &mut files);
    assert!(files.len() > 50, "the host's sources were not found");
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        // What follows a file's own tests is tests.
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let short = file.strip_prefix(root()).unwrap_or(&file).to_string_lossy().into_owned();
        for (word, allowed, why) in WRITTEN {
            let may = allowed.iter().any(|a| short.starts_with(a));
            assert!(may || !code.contains(word), "{short} names {word}: {why}");
        }
    }
}
