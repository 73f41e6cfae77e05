//! Pins the connectors that ship with this build: their names and hashes go into the binary.
//!
//! `cargo xtask build` puts them into `dist/connectors` first. A build without that folder has no pins, and says so when it starts. That folder is
//! also where an operator drops modules of strangers: only names that have a manifest under `connectors/` are pinned, or a build would approve what
//! nobody has looked at.

use std::{env, fmt::Write as _, fs, path::Path};

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let folder = Path::new(&root).join("../dist/connectors");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut pins: Vec<(String, String)> = Vec::new();
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = |stem: &str| Path::new(&root).join("../connectors").join(stem).join("connector.toml").is_file();
        if path.extension().is_some_and(|e| e == "wasm")
            && fs::symlink_metadata(&path).is_ok_and(|m| m.is_file())
            && let (Some(stem), Ok(bytes)) = (path.file_stem().and_then(|s| s.to_str()).filter(|s| ours(s)), fs::read(&path))
        {
            println!("cargo::rerun-if-changed={}", path.display());
            use sha2::Digest;
            let mut hex = String::new();
            for byte in sha2::Sha256::digest(&bytes) {
                let _ = write!(hex, "{byte:02x}");
            }
            pins.push((stem.to_owned(), hex));
        }
    }
    pins.sort();
    let mut code = String::from("&[");
    for (name, hash) in &pins {
        let _ = write!(code, "({name:?}, {hash:?}), ");
    }
    code.push(']');
    let out = env::var("OUT_DIR").unwrap_or_default();
    if let Err(e) = fs::write(Path::new(&out).join("pins.rs"), code) {
        println!("cargo::error=the pins cannot be written: {e}");
    }
}
