//! A whole host in this process, as `sluice serve` assembles it, with connections to the simulator that are linked without asking anybody.
//!
//! Settings go through a file, keys through the vault, runs through the scheduler: only the linking itself is short, since a sign-in is not what is
//! measured. A round begins by making connections due in the database, which is what time does otherwise.

use crate::{
    Fault,
    place::{Place, Simulator},
    plain,
};
use futures_util::future::try_join_all;
use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};
use sluice::{
    app::{App, Surroundings},
    config::{self, Overrides},
    runs::{Scheduler, events::RunEvent},
};
use sluice_model::{Account, CompileLimits, ConnectionId, UserId};
use sluice_sandbox::Compiler;
use sluice_store::{NewCredential, NewLink, NewUser};
use sluice_vault::Identity;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;

/// The instance's name.
const NAME: &str = "bench";
/// Connections of one person.
const OF_ONE: usize = 4;
/// Links that are committed together.
const AT_ONCE: usize = 200;
/// Longer than any round: next runs and what waits for its round.
const FAR_MS: i64 = 30 * 86_400_000;
/// Between two looks at what has ended; a round takes about a second.
const LOOK: Duration = Duration::from_millis(1);
/// No round takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running host.
pub struct Host {
    app: Arc<App>,
    scheduler: Scheduler,
    schedule: Connection,
    linked: Vec<ConnectionId>,
    strangers: Vec<ConnectionId>,
    data: PathBuf,
    modules: PathBuf,
    watching: CancellationToken,
}

/// What a host is set up with.
pub struct Shape {
    /// Rows of each page.
    pub rows: u64,
    /// Pages of each run.
    pub pages: u64,
    /// Requests of each run besides, whose answers nobody looks at.
    pub fetches: u64,
    /// Connections of the connector that is measured.
    pub connections: usize,
    /// Connectors beside it, by name, each with a connection of its own that is due when it is told to be.
    pub strangers: Vec<(String, Vec<u8>)>,
    /// Whether what comes into the folder meanwhile is noticed.
    pub watched: bool,
}

impl Shape {
    /// Runs of so many pages of so many rows, and nothing beside them.
    pub fn of(rows: u64, pages: u64, connections: usize) -> Self {
        Self { rows, pages, fetches: 0, connections, strangers: Vec::new(), watched: false }
    }
}

impl Host {
    /// Starts one of this shape, and links its connections.
    pub async fn start(place: &Place, name: &str, simulator: &Simulator, shape: &Shape) -> Result<Self, Fault> {
        let Shape { rows, pages, fetches, .. } = shape;
        let folder = place.make(name)?;
        let modules = place.make(&format!("{name}/modules"))?;
        let bytes = std::fs::read(place.connector()?)?;
        let pin = sha256(&bytes);
        std::fs::write(modules.join("bench.wasm"), bytes)?;
        let file = folder.join("plugins.toml");
        let mut settings = format!(
            "listen = \"127.0.0.1:1\"\n[connectors.{NAME}]\nsha256 = \"{pin}\"\nlimits = {{ requests = 1000000 }}\n\
             settings = {{ rows = {rows}, pages = {pages}, fetches = {fetches} }}\n\
             [[connectors.{NAME}.upstream]]\nfrom = \"https://bench.example/\"\nto = \"{}/bench/\"\nallow-private = true\n",
            simulator.url
        );
        for (name, bytes) in &shape.strangers {
            std::fs::write(modules.join(format!("{name}.wasm")), bytes)?;
            settings.push_str(&format!("[connectors.{name}]\nsha256 = \"{}\"\n", sha256(bytes)));
        }
        std::fs::write(&file, settings)?;
        let data = folder.join("data");
        let overrides = Overrides {
            modules: Some(modules.clone()),
            data_dir: Some(data.clone()),
            key_file: Some(folder.join("key")),
            ..Overrides::default()
        };
        // As `sluice` itself does it: in a process of its own, which is `sluice`.
        let compiler = Compiler { program: place.program("sluice")?, args: vec!["compile-child".into()], limits: CompileLimits::default() };
        let around = Surroundings { compiler: Some(compiler), ..Surroundings::system() };
        let app = App::open(config::load(&file, true, &overrides)?, around).await?.app;
        let names = shape.strangers.iter().map(|(name, _)| name.as_str()).chain([NAME]);
        if names.into_iter().any(|name| app.modules.get(name).is_none()) {
            let listing = app.modules.listing();
            let lines: Vec<&str> = listing.iter().map(|one| one.line.as_str()).collect();
            return Err(format!("the connector does not run: {}", lines.join("; ")).into());
        }
        let linked = link(&app, NAME, "token", shape.connections).await?;
        let mut strangers = Vec::new();
        for (name, _) in &shape.strangers {
            strangers.extend(link(&app, name, "key", 1).await?);
        }
        let watching = CancellationToken::new();
        if shape.watched {
            tokio::spawn(sluice::modules::watch(app.clone(), watching.clone()));
        }
        let schedule = plain::open(&data)?;
        let scheduler = Scheduler::start(app.clone()).await?;
        Ok(Self { app, scheduler, schedule, linked, strangers, data, modules, watching })
    }

    /// The host itself.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The connections of those beside what is measured.
    pub fn strangers(&self) -> &[ConnectionId] {
        &self.strangers
    }

    /// Puts a file into its folder the way people do: written beside, then renamed.
    pub fn drop_in(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let beside = self.modules.with_extension("part");
        std::fs::write(&beside, bytes)?;
        Ok(std::fs::rename(beside, self.modules.join(name))?)
    }

    /// Makes a connection due now.
    pub fn due(&self, connection: ConnectionId) -> Result<(), Fault> {
        self.schedule.prepare_cached("UPDATE work SET due = ? WHERE connection = ?")?.execute(params![plain::now(), connection.0])?;
        self.app.wake.notify_one();
        Ok(())
    }

    /// Lets a connection wait until after everything that is measured.
    pub fn not_due(&self, connection: ConnectionId) -> Result<(), Fault> {
        let later = plain::now() + FAR_MS;
        self.schedule.prepare_cached("UPDATE work SET due = ? WHERE connection = ?")?.execute(params![later, connection.0])?;
        Ok(())
    }

    /// Lets the `n`-th connection run once, and says how long that took from when it was due.
    pub async fn one(&self, n: usize) -> Result<Duration, Fault> {
        let connection = *self.linked.get(n % self.linked.len().max(1)).ok_or("there is nobody to run")?;
        let mut events = self.app.events.subscribe();
        let began = Instant::now();
        self.due(connection)?;
        let ended = async {
            loop {
                match events.recv().await {
                    Ok(RunEvent::Finished { connection: of, outcome, message, .. }) if of == connection => {
                        return match outcome.as_str() {
                            "complete" => Ok(()),
                            _ => Err(Fault::from(format!("a run ended as {outcome}: {}", message.unwrap_or_default()))),
                        };
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return Err("events were missed: nothing was measured".into()),
                    Err(RecvError::Closed) => return Err("the host ended".into()),
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.map_err(|_| format!("a run took over {} s", PATIENCE.as_secs()))??;
        Ok(began.elapsed())
    }

    /// Lets the `count` connections from the `first` on run once, and says how long that took.
    pub async fn round(&self, first: usize, count: usize) -> Result<Duration, Fault> {
        let due: Vec<ConnectionId> = self.linked.iter().skip(first).take(count).copied().collect();
        let (Some(from), Some(to)) = (due.first(), due.last()) else { return Err("a round of nothing".into()) };
        let mut events = self.app.events.subscribe();
        self.schedule.execute("UPDATE work SET due = ? WHERE connection BETWEEN ? AND ?", params![plain::now(), from.0, to.0])?;
        let began = Instant::now();
        self.app.wake.notify_one();
        // Each run tells two things, that it began and that it ended; what the channel dropped for a slow listener counts as well.
        let mut waits = 2 * due.len() as u64;
        let watch = async {
            // Looked at now and then: a listener that waits would have each run wake a thread for it.
            let mut look = tokio::time::interval(LOOK);
            while waits > 0 {
                match events.try_recv() {
                    Ok(RunEvent::Finished { outcome, message, .. }) if outcome != "complete" => {
                        return Err(Fault::from(format!("a run ended as {outcome}: {}", message.unwrap_or_default())));
                    }
                    Ok(RunEvent::Started { .. } | RunEvent::Finished { .. }) => waits = waits.saturating_sub(1),
                    Ok(_) => {}
                    Err(TryRecvError::Lagged(missed)) => waits = waits.saturating_sub(missed),
                    Err(TryRecvError::Empty) => drop(look.tick().await),
                    Err(TryRecvError::Closed) => return Err("the host ended".into()),
                }
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, watch).await.map_err(|_| format!("a round took over {} s", PATIENCE.as_secs()))??;
        Ok(began.elapsed())
    }

    /// Stops, and makes sure that what was measured happened: so many entries in all, every run complete.
    pub async fn end(self, entries: u64) -> Result<(), Fault> {
        self.watching.cancel();
        self.scheduler.stop().await?;
        self.app.store.close().await;
        let conn = plain::open(&self.data)?;
        let stored: i64 = conn.query_row("SELECT count(*) FROM v_entries", [], |row| row.get(0))?;
        let failed =
            "SELECT count(*) FROM run WHERE outcome <> 'complete' AND connection IN (SELECT id FROM connection WHERE connector = ?)";
        let failed: i64 = conn.query_row(failed, [NAME], |row| row.get(0))?;
        if failed > 0 || stored.unsigned_abs() != entries {
            return Err(format!("{failed} runs failed, and {stored} entries are there instead of {entries}: nothing was measured").into());
        }
        Ok(())
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Links connections with one connector, whose way in takes one field of its own name.
async fn link(app: &Arc<App>, connector: &str, profile: &str, count: usize) -> Result<Vec<ConnectionId>, Fault> {
    let registered = app.store.app(connector, "").await?;
    let people = try_join_all((0..count.div_ceil(OF_ONE)).map(|n| {
        app.store.create_user(NewUser {
            name: format!("{connector} {n}"),
            time_zone: "Europe/Berlin".to_owned(),
            password_hash: None,
            owner: false,
        })
    }));
    let people: Vec<UserId> = people.await?;
    let due = app.now() + FAR_MS;
    let mut linked = Vec::with_capacity(count);
    while linked.len() < count {
        let first = linked.len();
        let batch = people.iter().flat_map(|person| [*person; OF_ONE]).enumerate().skip(first).take(AT_ONCE.min(count - first));
        let links = batch.map(|(n, user)| {
            let public_id = app.store.new_public_id();
            let (key, wrapped) = app.vault.new_data_key(&public_id);
            let identity = Identity { connector, connection: &public_id, name: profile, guest: false };
            let token = format!("bench-token-{n:06}-0123456789abcdef");
            let ciphertext = key.seal(&identity, token.as_bytes());
            let credential = NewCredential { name: profile.to_owned(), ciphertext, secret: true, guest: false, expires_at: None };
            app.store.link(NewLink {
                public_id,
                user,
                app: registered.id,
                connector: connector.to_owned(),
                profile: profile.to_owned(),
                account: Account { id: Some(n.to_string()), label: format!("account {n}"), route_keys: Vec::new() },
                scopes: Vec::new(),
                settings: Vec::new(),
                data_key: (wrapped.key_id, wrapped.bytes),
                credentials: vec![credential],
                relink: None,
                due,
            })
        });
        linked.extend(try_join_all(links).await?);
    }
    linked.sort_unstable_by_key(|id| id.0);
    Ok(linked)
}

/// A runtime as the program itself makes one; its threads are named, so that a profiler tells the sides apart.
pub fn runtime(name: &str) -> Result<tokio::runtime::Runtime, Fault> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().thread_name(name).build()?)
}
