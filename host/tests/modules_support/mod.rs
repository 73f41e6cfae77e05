//! A host with a folder of its own, and connectors written as text that differ in what they ask for and what their `sync` does.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sha2::{Digest, Sha256};
use sluice::{
    app::{App, Surroundings},
    config::{Overrides, load},
    modules::{self, Decision, DecisionError, Listing, ModuleState, Verb},
};
use sluice_store::Decided;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A data folder, a modules folder, and the host that lives in them.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub app: Option<Arc<App>>,
    stop: CancellationToken,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("modules")).unwrap();
        let place = Self { dir, app: None, stop: CancellationToken::new() };
        place.settings("");
        place
    }

    /// Writes the settings, with these tables at their end.
    pub fn settings(&self, tables: &str) {
        let text = format!("data-dir = \"data\"\nmodules = \"modules\"\nkey-file = \"keys/host.key\"\n{tables}");
        std::fs::write(self.dir.path().join("plugins.toml"), text).unwrap();
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("modules").join(name)
    }

    /// Puts a file there the way people do: written beside, then renamed.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let beside = self.dir.path().join("beside");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(beside, self.file(name)).unwrap();
    }

    pub fn copy(&self, bytes: &[u8]) -> PathBuf {
        self.dir.path().join("data/modules").join(format!("{}.wasm", hash(bytes)))
    }

    pub async fn start(&mut self) -> Arc<App> {
        let config = load(&self.dir.path().join("plugins.toml"), true, &Overrides::default()).unwrap();
        let app = App::open(config, Surroundings::system()).await.unwrap_or_else(|e| panic!("{e}")).app;
        self.app = Some(app.clone());
        app
    }

    /// With the folder watched, as `serve` does.
    pub async fn watched(&mut self) -> Arc<App> {
        let app = self.start().await;
        tokio::spawn(modules::watch(app.clone(), self.stop.clone()));
        app
    }

    pub async fn stop(&mut self) {
        self.stop.cancel();
        self.stop = CancellationToken::new();
        self.app.take().unwrap().store.close().await;
    }

    pub fn app(&self) -> &Arc<App> {
        self.app.as_ref().unwrap()
    }

    pub fn listed(&self, name: &str) -> Listing {
        self.app().modules.listed(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.app().modules.listing()))
    }

    /// The listing, once it is so; how long it took.
    pub async fn until(&self, name: &str, is: impl Fn(&Listing) -> bool) -> (Listing, Duration) {
        let began = Instant::now();
        loop {
            if let Some(listing) = self.app().modules.listed(name).filter(|l| is(l)) {
                return (listing, began.elapsed());
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{name}: {:?}", self.app().modules.listed(name));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn decide(&self, verb: Verb, which: &str) -> Result<Listing, DecisionError> {
        let (name, hash) = modules::named(which);
        let who = Decided { by: "the operator".to_owned(), user: None, reason: None };
        modules::decide(self.app(), Decision { verb, name: name.to_owned(), hash: hash.map(str::to_owned), who }).await
    }

    /// `NAME@HASH` as the listing's command has it.
    pub fn asked(&self, name: &str) -> String {
        let listing = self.listed(name);
        let command = listing.waiting.and_then(|w| w.command).or(listing.command).unwrap();
        command.strip_prefix("sluice modules approve ").unwrap().to_owned()
    }

    pub async fn audited(&self) -> Vec<String> {
        let log = self.app().store.audit_log(50).await.unwrap();
        log.into_iter().rev().map(|a| format!("{} {}", a.kind, a.detail)).collect()
    }
}

pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

pub fn runs(listing: &Listing) -> bool {
    listing.state == ModuleState::Running
}

pub fn pends(listing: &Listing) -> bool {
    listing.state == ModuleState::Pending
}

/// What a fixture differs in.
#[derive(Clone, Copy)]
pub struct Fixture<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub paths: &'a str,
    pub unit: &'a str,
    /// The body of `sync`, before it says "complete".
    pub sync: &'a str,
}

impl Default for Fixture<'_> {
    fn default() -> Self {
        Self { name: "fit", version: "1.0.0", paths: "\"/steps\"", unit: "1", sync: "" }
    }
}

/// At 1024 lies an area of zeros: as an answer it says "complete", or an account without a name.
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
  (func (export "sluice:connector/source@0.1.0#sync") (result i32) (local $n i64) {sync} (i32.const 1024))
)"#;

/// Takes a second or two, and ends well.
pub const SLOW: &str = "(loop $again (local.set $n (i64.add (local.get $n) (i64.const 1))) \
    (br_if $again (i64.lt_u (local.get $n) (i64.const 1500000000))))";

impl Fixture<'_> {
    pub fn build(self) -> Vec<u8> {
        let manifest = format!(
            "manifest = 1\nname = \"{}\"\ntitle = \"Fit\"\nversion = \"{}\"\n[[allow]]\norigin = \"https://api.fit.example\"\nmethods = [\"GET\"]\n\
             paths = [{}]\n[[auth]]\nid = \"key\"\ntitle = \"Key\"\nkind = \"fields\"\n[[auth.field]]\nname = \"key\"\nlabel = \"Key\"\n[[attach]]\n\
             name = \"user\"\nprofiles = [\"key\"]\nto = [\"GET https://api.fit.example/steps\"]\nheader = {{ Authorization = \"Bearer {{key}}\" }}\n\
             [[metric]]\nname = \"steps\"\nunit = \"{}\"\nkind = \"sum\"\nidentity = \"time\"\n[schedule]\nevery = \"1h\"\noverlap = \"1d\"\n",
            self.name, self.version, self.paths, self.unit
        );
        let escaped: String = manifest.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let text = TEXT.replace("{manifest}", &escaped).replace("{length}", &manifest.len().to_string()).replace("{sync}", self.sync);
        let mut core = wat::parse_str(&text).unwrap();
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(root().join("wit")).unwrap();
        let world = resolve.select_world(&[package], Some("source-connector")).unwrap();
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().validate(true).module(&core).unwrap().encode().unwrap()
    }
}

/// The same component with other bytes: a custom section at its end, which means nothing.
pub fn rebuilt(bytes: &[u8], note: &str) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut body = vec![4];
    body.extend(b"note");
    body.extend(note.as_bytes());
    out.extend([0, u8::try_from(body.len()).unwrap()]);
    out.extend(body);
    out
}

/// A connector that ships.
pub fn shipped(name: &str) -> Vec<u8> {
    std::fs::read(root().join("dist/connectors").join(format!("{name}.wasm"))).unwrap()
}
