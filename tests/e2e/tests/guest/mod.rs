//! Connectors of a few lines, for what no honest one does: core modules written as text, made into components by the usual tools.
#![allow(dead_code, reason = "each test program uses some of it")]

use sha2::{Digest, Sha256};
use std::path::Path;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What a connector for one made-up provider declares; `{name}` is the connector's own.
pub const MANIFEST: &str = r#"manifest = 1
name = "{name}"
title = "Guest"
version = "0.1.0"

[[allow]]
origin = "https://guest.example"
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
to = ["GET https://guest.example/"]
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

/// At 1024 lies an area of zeros: as an answer it says "complete". At 1536 lies an account. The manifest lies from 8192 on, `{data}` from 16384.
/// What the host hands over is never overwritten: memory grows instead.
const FRAME: &str = r#"(module
  {imports}
  (memory (export "memory") 4)
  (global $top (mut i32) (i32.const 131072))
  (data (i32.const 1544) "\01\00\00\00\40\06\00\00\07\00\00\00\40\06\00\00\07\00\00\00")
  (data (i32.const 1600) "guest-1")
  (data (i32.const 8192) "{manifest}")
  {data}
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $top (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
    (if (i32.gt_u (i32.add (global.get $top) (local.get 3)) (i32.shl (memory.size) (i32.const 16)))
      (then (drop (memory.grow (i32.add (i32.shr_u (local.get 3) (i32.const 16)) (i32.const 1))))))
    (global.get $top)
    (global.set $top (i32.add (global.get $top) (local.get 3))))
  (func (export "sluice:connector/manifest@0.1.0#describe") (result i32)
    (i32.store (i32.const 2048) (i32.const 8192))
    (i32.store (i32.const 2052) (i32.const {length}))
    (i32.const 2048))
  (func (export "sluice:connector/identity@0.1.0#identify") (result i32) (i32.const 1536))
  (func $sync (export "sluice:connector/source@0.1.0#sync") (result i32) {locals} {sync} (i32.const 1024))
  {more}
)"#;

/// The parts in which guests differ.
#[derive(Default)]
pub struct Guest<'a> {
    pub imports: &'a str,
    /// What it has in memory from the start.
    pub data: &'a str,
    pub locals: &'a str,
    /// The body of `sync`.
    pub sync: &'a str,
    /// Further functions.
    pub more: &'a str,
    /// In place of [`MANIFEST`].
    pub manifest: Option<&'a str>,
}

impl Guest<'_> {
    /// Puts `NAME.wasm` into a folder; its hash, to be pinned.
    pub fn put(&self, folder: &Path, name: &str) -> String {
        let manifest = self.manifest.unwrap_or(MANIFEST).replace("{name}", name);
        let escaped: String = manifest.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let text = FRAME
            .replace("{imports}", self.imports)
            .replace("{data}", self.data)
            .replace("{locals}", self.locals)
            .replace("{sync}", self.sync)
            .replace("{more}", self.more)
            .replace("{manifest}", &escaped)
            .replace("{length}", &manifest.len().to_string());
        let mut core = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(sluice_e2e::folder::root().join("wit")).unwrap();
        let world = resolve.select_world(&[package], Some("source-connector")).unwrap();
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
        let bytes = ComponentEncoder::default().validate(true).module(&core).unwrap().encode().unwrap();
        std::fs::write(folder.join(format!("{name}.wasm")), &bytes).unwrap();
        sha256(&bytes)
    }
}

/// A line of `plugins.toml` under which the operator has accepted the bytes.
pub fn pinned(name: &str, sha256: &str) -> String {
    format!("[connectors.{name}]\nsha256 = \"{sha256}\"\n")
}

/// As `plugins.toml` writes it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
