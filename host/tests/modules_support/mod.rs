//! A host with a folder of its own, for the strangers of `tests/fixtures`.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sha2::{Digest, Sha256};
use sluice::{
    app::{App, FailPoint, Surroundings},
    config::{Overrides, load},
    link,
    modules::{self, Decision, DecisionError, Listing, ModuleState, Verb},
};
pub use sluice_fixtures::{SLOW, Script, Stranger, rebuilt};
use sluice_model::{ConnectionId, task::Reason};
use sluice_sandbox::Compiler;
use sluice_store::{Decided, NewUser, RunView};
use sluice_vault::Secret;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

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
        self.start_in(Surroundings::system()).await
    }

    /// With files compiled by the real program in a process of its own.
    pub async fn start_with_compiler(&mut self) -> Arc<App> {
        self.start_with_program(env!("CARGO_BIN_EXE_sluice").into()).await
    }

    /// With files compiled by that program.
    pub async fn start_with_program(&mut self, program: PathBuf) -> Arc<App> {
        let compiler = Compiler { program, args: vec!["compile-child".into()], limits: sluice_model::CompileLimits::default() };
        self.start_in(Surroundings { compiler: Some(compiler), ..Surroundings::system() }).await
    }

    /// With something at the points that it names.
    pub async fn start_with(&mut self, fail_point: FailPoint) -> Arc<App> {
        self.start_in(Surroundings { fail_point, ..Surroundings::system() }).await
    }

    /// In other surroundings than the system's.
    pub async fn start_in(&mut self, around: Surroundings) -> Arc<App> {
        let config = load(&self.dir.path().join("plugins.toml"), true, &Overrides::default()).unwrap();
        let app = App::open(config, around).await.unwrap_or_else(|e| panic!("{e}")).app;
        self.app = Some(app.clone());
        app
    }

    /// With the folder watched, as `serve` does.
    pub async fn watched(&mut self) -> Arc<App> {
        let app = self.start().await;
        self.watch();
        app
    }

    /// Watches the folder from now on.
    pub fn watch(&self) {
        tokio::spawn(modules::watch(self.app().clone(), self.stop.clone()));
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

    /// The listing, once it is examined and it is so; how long it took.
    pub async fn until(&self, name: &str, is: impl Fn(&Listing) -> bool) -> (Listing, Duration) {
        self.until_seen(name, |listing| !listing.is_examined() && is(listing)).await
    }

    /// The same, whether it is examined or not.
    pub async fn until_seen(&self, name: &str, is: impl Fn(&Listing) -> bool) -> (Listing, Duration) {
        let began = Instant::now();
        loop {
            if let Some(listing) = self.app().modules.listed(name).filter(|l| is(l)) {
                return (listing, began.elapsed());
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{name}: {:?}", self.app().modules.listed(name));
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

/// Asks for what is not in its grant, and ends well.
pub fn astray() -> Script {
    Script::default().get("http://169.254.169.254/latest")
}

/// A connector that ships.
pub fn shipped(name: &str) -> Vec<u8> {
    std::fs::read(root().join("dist/connectors").join(format!("{name}.wasm"))).unwrap()
}

/// Approves what waits and links an account with it.
pub async fn link(place: &Place) -> ConnectionId {
    place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    let app = place.app();
    let user = NewUser { name: "ada".into(), time_zone: "UTC".into(), password_hash: None, owner: true };
    let user = app.store.create_user(user).await.unwrap();
    let fields = vec![("key".to_owned(), Secret::text("CANARY-key".to_owned()))];
    link::link_fields(app, user, "fit", "key", fields, None).await.unwrap_or_else(|e| panic!("{}", e.public())).connection
}

/// The runs, newest first, once there are so many and none is under way.
pub async fn runs_of(place: &Place, connection: ConnectionId, is: impl Fn(&[RunView]) -> bool) -> Vec<RunView> {
    let began = Instant::now();
    loop {
        let app = place.app();
        let runs = app.store.runs(connection, 10).await.unwrap();
        if is(&runs) && !app.store.connection(connection).await.unwrap().unwrap().running {
            return runs;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{runs:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn run_now(place: &Place, connection: ConnectionId) {
    let app = place.app();
    app.store.request_run(connection, Reason::Manual, app.now()).await.unwrap();
    app.wake.notify_one();
}
