//! A connector that traps in `sync` and is well-behaved otherwise: a core module written as text, made into a component by the usual tools.

use sha2::{Digest, Sha256};
use std::path::Path;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const MANIFEST: &str = r#"manifest = 1
name = "trapper"
title = "Trapper"
version = "0.1.0"

[[allow]]
origin = "https://trapper.example"
methods = ["GET"]
paths = ["/"]

[[auth]]
id = "key"
title = "Key"
kind = "fields"
  [[auth.field]]
  name = "key"
  label = "Key"

[[attach]]
name = "user"
profiles = ["key"]
to = ["GET https://trapper.example/"]
header = { Authorization = "Bearer {key}" }

[[metric]]
name = "things"
unit = "1"
kind = "sum"
identity = "time"

[schedule]
every = "1h"
overlap = "1d"
"#;

/// At 1024 lies an area of zeros: as an answer it is an account without a name.
const TEXT: &str = r#"(module
  (memory (export "memory") 4)
  (global $top (mut i32) (i32.const 131072))
  (data (i32.const 8192) "{manifest}")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $top (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
    (global.get $top)
    (global.set $top (i32.add (global.get $top) (local.get 3))))
  (func (export "sluice:connector/manifest@0.1.0#describe") (result i32)
    (i32.store (i32.const 2048) (i32.const 8192))
    (i32.store (i32.const 2052) (i32.const {length}))
    (i32.const 2048))
  (func (export "sluice:connector/identity@0.1.0#identify") (result i32) (i32.const 1024))
  (func $parse_what_came unreachable)
  (func (export "sluice:connector/source@0.1.0#sync") (result i32) (call $parse_what_came) (i32.const 1024))
)"#;

/// Puts `trapper.wasm` into a folder; its hash, to be pinned.
pub fn put(folder: &Path) -> String {
    let escaped: String = MANIFEST.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let text = TEXT.replace("{manifest}", &escaped).replace("{length}", &MANIFEST.len().to_string());
    let mut core = wat::parse_str(&text).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(sluice_e2e::folder::root().join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("source-connector")).unwrap();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
    let bytes = ComponentEncoder::default().validate(true).module(&core).unwrap().encode().unwrap();
    std::fs::write(folder.join("trapper.wasm"), &bytes).unwrap();
    sha256(&bytes)
}

/// As `plugins.toml` writes it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
