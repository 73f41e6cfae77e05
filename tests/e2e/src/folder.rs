//! A temporary folder with settings, secrets, and a data folder: everything a host needs, gone when the test is over.
//!
//! Compiling a connector takes seconds in a build for development, so folders share the host key and the compile cache of one place in the target
//! folder. The cache answers for itself: a file that was made by another engine or from other bytes is compiled anew.

use crate::worlds::{Fm, Hub};
use sluice_fixtures::Stranger;
use sluice_sim::lastfm;
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
};
use tempfile::TempDir;

/// What differs between one test's host and another's.
#[derive(Clone, Default)]
pub struct Settings {
    github: Option<String>,
    lastfm: Option<String>,
    app: Option<(String, String)>,
    top: String,
    more: String,
    own_key: bool,
}

impl Settings {
    /// GitHub is simulated there.
    #[must_use]
    pub fn github(mut self, hub: &Hub) -> Self {
        self.github = Some(hub.url());
        self
    }

    /// Last.fm is simulated there.
    #[must_use]
    pub fn lastfm(mut self, fm: &Fm) -> Self {
        self.lastfm = Some(fm.url());
        self
    }

    /// The operator has registered this app at GitHub.
    #[must_use]
    pub fn app(mut self, (id, secret): (&str, &str)) -> Self {
        self.app = Some((id.to_owned(), secret.to_owned()));
        self
    }

    /// Further lines of `plugins.toml`, after the others.
    #[must_use]
    pub fn more(mut self, lines: &str) -> Self {
        self.more.push_str(lines);
        self.more.push('\n');
        self
    }

    /// Further lines of `plugins.toml` for the host itself, before the connectors.
    #[must_use]
    pub fn top(mut self, lines: &str) -> Self {
        self.top.push_str(lines);
        self.top.push('\n');
        self
    }

    /// A host that makes its own key and compiles for itself, as on a fresh machine.
    #[must_use]
    pub fn fresh_machine(mut self) -> Self {
        self.own_key = true;
        self
    }

    fn text(&self, port: u16) -> String {
        let mut text = format!(
            "listen = \"127.0.0.1:{port}\"\npublic-url = \"http://localhost:{port}\"\ndata-dir = \"data\"\nkey-file = \"host.key\"\nmodules = \"modules\"\n{}",
            self.top
        );
        if let Some(url) = &self.github {
            if let Some((id, _)) = &self.app {
                text.push_str(&format!(
                    "[connectors.github.app]\nclient-id = \"{id}\"\nclient-secret = {{ file = \"secrets/client-secret\" }}\n"
                ));
            }
            text.push_str(&upstream("github", "https://api.github.com/", &format!("{url}/api/")));
            text.push_str(&upstream("github", "https://github.com/", &format!("{url}/")));
        }
        if let Some(url) = &self.lastfm {
            text.push_str(
                "[connectors.lastfm.app]\napi-key = { file = \"secrets/api-key\" }\nshared-secret = { file = \"secrets/shared-secret\" }\n",
            );
            text.push_str(&upstream("lastfm", "https://ws.audioscrobbler.com/", &format!("{url}/")));
            text.push_str(&upstream("lastfm", "https://www.last.fm/", &format!("{url}/")));
        }
        text.push_str(&self.more);
        text
    }
}

/// The lines of one upstream on this machine.
#[must_use]
pub fn upstream(connector: &str, from: &str, to: &str) -> String {
    format!("[[connectors.{connector}.upstream]]\nfrom = \"{from}\"\nto = \"{to}\"\nallow-private = true\n")
}

/// The lines under which the operator has accepted a connector's bytes.
#[must_use]
pub fn pinned(connector: &str, sha256: &str) -> String {
    format!("[connectors.{connector}]\nsha256 = \"{sha256}\"\n")
}

/// The folder.
pub struct Folder {
    dir: TempDir,
    /// Where its host serves the pages.
    pub port: u16,
}

impl Folder {
    /// Makes the folder and writes the settings.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let dir = tempfile::Builder::new().prefix("sluice-e2e-").tempdir().expect("a temporary folder");
        let folder = Self { dir, port: free_port() };
        fs::create_dir_all(folder.path("secrets")).expect("a folder for secrets");
        fs::create_dir_all(folder.path("modules")).expect("a folder for modules");
        for name in ["github.wasm", "lastfm.wasm"] {
            let from = root().join("dist/connectors").join(name);
            fs::copy(&from, folder.path("modules").join(name))
                .unwrap_or_else(|e| panic!("{}: {e}; build it: cargo xtask build --dev", from.display()));
        }
        folder.secret("api-key", lastfm::API_KEY);
        folder.secret("shared-secret", lastfm::SHARED_SECRET);
        if let Some((_, secret)) = &settings.app {
            folder.secret("client-secret", secret);
        }
        folder.configure(settings);
        if !settings.own_key {
            folder.take_from_shared();
        }
        folder
    }

    /// Writes `plugins.toml` anew.
    pub fn configure(&self, settings: &Settings) {
        fs::write(self.config(), settings.text(self.port)).expect("plugins.toml");
    }

    /// Writes a secret that `plugins.toml` points to.
    pub fn secret(&self, name: &str, value: &str) {
        fs::write(self.path("secrets").join(name), format!("{value}\n")).expect("a secret's file");
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a connector into the modules folder, under its own name; its hash, to be pinned.
    #[must_use]
    pub fn put(&self, stranger: &Stranger<'_>) -> String {
        self.put_bytes(stranger.name, &stranger.build())
    }

    /// Puts a connector's file into the modules folder; its hash, to be pinned.
    #[must_use]
    pub fn put_bytes(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path("modules").join(format!("{name}.wasm")), bytes).expect("a connector's file");
        crate::sha256(bytes)
    }

    /// `plugins.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path("plugins.toml")
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Another folder with the same data, key and secrets, and settings of its own.
    #[must_use]
    pub fn duplicate(&self, settings: &Settings) -> Self {
        let copy = Self::new(settings);
        let _ = fs::remove_dir_all(copy.data());
        copy_folder(&self.data(), &copy.data());
        let _ = fs::remove_file(copy.path("host.key"));
        fs::copy(self.path("host.key"), copy.path("host.key")).expect("the key");
        copy
    }

    fn take_from_shared(&self) {
        let _one = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let shared = shared();
        fs::create_dir_all(shared.join("compiled")).expect("the shared folder");
        let key = shared.join("host.key");
        sluice_vault::Vault::open(&key, false, std::sync::Arc::new(sluice_vault::OsRandom)).expect("the shared key");
        fs::copy(&key, self.path("host.key")).expect("the key");
        copy_folder(&shared.join("compiled"), &self.data().join("compiled"));
    }

    /// Leaves what was compiled here to the folders that come later.
    pub fn give_to_shared(&self) {
        let _one = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let same_key = fs::read(self.path("host.key")).ok() == fs::read(shared().join("host.key")).ok();
        let Ok(compiled) = fs::read_dir(self.data().join("compiled")) else { return };
        for file in compiled.flatten().filter(|_| same_key) {
            let to = shared().join("compiled").join(file.file_name());
            if !to.exists() {
                let part = to.with_extension("part");
                if fs::copy(file.path(), &part).is_ok() {
                    let _ = fs::rename(part, to);
                }
            }
        }
    }
}

static SHARED: Mutex<()> = Mutex::new(());

/// What folders share.
fn shared() -> PathBuf {
    target().join("e2e")
}

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("tests/e2e lies two below the root").to_owned()
}

/// The build's folder, where the host lies, and test programs in `deps` below: `…/debug/deps/kill-1234` gives `…/debug`, as `…/debug/sluice-soak` does.
#[must_use]
pub fn target() -> PathBuf {
    let me = std::env::current_exe().expect("this program has a path");
    let folder = me.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") { folder.parent().expect("deps lies in the build's folder").to_owned() } else { folder.to_owned() }
}

/// Copies a folder with everything in it but sockets.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())).flatten() {
        let kind = entry.file_type().expect("a file's kind");
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_folder(&entry.path(), &target);
        } else if kind.is_file() {
            // A live database's files come and go.
            if let Err(error) = fs::copy(entry.path(), &target) {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}: {error}", entry.path().display());
            }
        }
    }
}

/// A port that nothing listens on, below those that the system gives to outgoing connections.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 9_000).unwrap_or(0);
    for _ in 0..9_000 {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 9_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 20000 and 29000");
}
