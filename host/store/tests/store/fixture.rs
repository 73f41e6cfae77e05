//! A store in a temporary folder, with one user, one app, and connections as needed.

use sluice_model::manifest::{Identity, Metric, MetricKind};
use sluice_model::task::Reason;
use sluice_model::time::Random;
use sluice_model::{Account, AppId, ConnectionId, Day, Entry, Moment, UserId};
use sluice_store::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// 2026-11-21T00:00:00Z.
pub const MIDNIGHT: i64 = 1_795_219_200_000;
pub const HOUR: i64 = 3_600_000;
pub const DAY: i64 = 24 * HOUR;
pub const TODAY: Day = Day(20_778);

pub struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, buf: &mut [u8]) {
        let mut state = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        for byte in buf {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    }
}

pub struct Fixture {
    pub dir: tempfile::TempDir,
    pub clock: Arc<AtomicI64>,
    pub store: Store,
    pub user: UserId,
    pub app: AppId,
    pub incarnation: i64,
    pub metrics: MetricIds,
}

pub fn metric(name: &str, kind: MetricKind, identity: Identity, series: bool) -> Metric {
    Metric { name: name.into(), alias: None, unit: "1".into(), kind, identity, series: series.then(|| "thing".to_owned()) }
}

/// `steps` by time, `plays` by id with a series, `total` by day, `pages` by time with a series.
pub fn metrics() -> Vec<Metric> {
    vec![
        metric("steps", MetricKind::Sum, Identity::Time, false),
        metric("plays", MetricKind::Event, Identity::Id, true),
        metric("total", MetricKind::Last, Identity::Day, false),
        metric("pages", MetricKind::Mean, Identity::Time, true),
        metric("notes", MetricKind::Max, Identity::Id, false),
    ]
}

pub fn open(dir: &std::path::Path, clock: &Arc<AtomicI64>) -> Result<Store, OpenError> {
    let clock = Arc::clone(clock);
    Store::open(dir, Arc::new(move || clock.load(Ordering::Relaxed)), Arc::new(Counting(AtomicU64::new(1))))
}

impl Fixture {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(MIDNIGHT));
        let store = open(dir.path(), &clock).unwrap();
        let user = NewUser { name: "ann".into(), time_zone: "Europe/Berlin".into(), password_hash: None, owner: true };
        let user = store.create_user(user).await.unwrap();
        let app = store.app("sample", "").await.unwrap().id;
        let incarnation = store.start_incarnation(MIDNIGHT, MIDNIGHT + HOUR).await.unwrap();
        let metrics = store.ensure_metrics("sample", &metrics()).await.unwrap();
        Self { dir, clock, store, user, app, incarnation, metrics }
    }

    pub fn at(&self, now: i64) {
        self.clock.store(now, Ordering::Relaxed);
    }

    pub fn link_of(&self, account: &str) -> NewLink {
        NewLink {
            public_id: self.store.new_public_id(),
            user: self.user,
            app: self.app,
            connector: "sample".into(),
            profile: "token".into(),
            account: Account { id: Some(account.into()), label: format!("{account} (label)"), route_keys: vec![account.into()] },
            scopes: vec!["read".into()],
            settings: vec![("units".into(), "metric".into())],
            data_key: ("k1".into(), b"wrapped".to_vec()),
            credentials: vec![credential("token", b"sealed")],
            relink: None,
            due: MIDNIGHT,
        }
    }

    pub async fn link(&self, account: &str) -> ConnectionId {
        self.store.link(self.link_of(account)).await.unwrap()
    }

    /// The claim of a connection that is due alone.
    pub async fn claim(&self) -> Claim {
        self.claims(1).await.pop().expect("something is due")
    }

    pub async fn claims(&self, limit: usize) -> Vec<Claim> {
        self.store.claim(self.incarnation, self.clock.load(Ordering::Relaxed), limit).await.unwrap()
    }

    /// Links an account and claims it.
    pub async fn run(&self, account: &str) -> Fence {
        self.link(account).await;
        self.claim().await.fence
    }

    pub fn ingest(&self) -> Ingest {
        Ingest::new(&self.metrics, "Europe/Berlin", 2).unwrap()
    }

    pub fn side(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.dir.path().join("sluice.db")).unwrap()
    }

    /// Live entries of a connection as (metric, key, start, value), in order.
    pub async fn live(&self, connection: ConnectionId) -> Vec<EntryView> {
        self.store.entries(EntryQuery { connection: Some(connection), ..EntryQuery::default() }).await.unwrap().rows
    }

    pub async fn values(&self, connection: ConnectionId) -> Vec<f64> {
        self.live(connection).await.into_iter().map(|row| row.value).collect()
    }

    /// Commits entries as one checkpoint as of a time.
    pub async fn record(&self, fence: Fence, as_of: i64, entries: &[Entry]) -> Counts {
        let mut ingest = self.ingest();
        for entry in entries {
            ingest.record(entry).unwrap();
        }
        self.store.commit(batch(fence, as_of, ingest.take())).await.unwrap().counts
    }

    pub async fn retract(&self, fence: Fence, as_of: i64, metric: &str, id: &str) -> Counts {
        let mut ingest = self.ingest();
        ingest.retract(metric, id).unwrap();
        self.store.commit(batch(fence, as_of, ingest.take())).await.unwrap().counts
    }

    pub async fn window(&self, fence: Fence, as_of: i64, metric: &str, first: i64, past: i64, entries: &[Entry]) -> Counts {
        let mut ingest = self.ingest();
        ingest.replace_window(metric, None, Moment::Instant(first), Moment::Instant(past), entries).unwrap();
        self.store.commit(batch(fence, as_of, ingest.take())).await.unwrap().counts
    }
}

pub fn credential(name: &str, ciphertext: &[u8]) -> NewCredential {
    NewCredential { name: name.into(), ciphertext: ciphertext.to_vec(), secret: true, guest: false, expires_at: None }
}

pub fn batch(fence: Fence, as_of: i64, ops: Vec<Op>) -> Batch {
    Batch {
        fence,
        ops,
        as_of,
        cursor: None,
        state: Vec::new(),
        guest_keys: Vec::new(),
        run: RunStart { reason: Reason::Scheduled, started_at: MIDNIGHT, connector_version: "1.0.0".into() },
        requests: 1,
        finish: None,
    }
}

pub fn finish(at: i64, outcome: RunOutcome) -> Finish {
    Finish {
        ended_at: at,
        outcome,
        failure: None,
        log: Vec::new(),
        problems: Vec::new(),
        state: ConnectionState::Ok,
        message: None,
        url: None,
        next_due: Some(at + HOUR),
        next_reason: Some("every hour".into()),
        attempts: 0,
        quotas: Vec::new(),
        used: Used::default(),
    }
}

pub fn ending(fence: Fence, at: i64, ops: Vec<Op>) -> Batch {
    Batch { finish: Some(finish(at, RunOutcome::Complete)), ..batch(fence, at, ops) }
}

pub fn steps(at: i64, value: f64) -> Entry {
    Entry::new("steps", Moment::Instant(at), value)
}

pub fn play(id: &str, at: i64, value: f64) -> Entry {
    Entry { id: Some(id.into()), series: Some("song".into()), ..Entry::new("plays", Moment::Instant(at), value) }
}

pub fn note(id: &str, revision: Option<u64>, value: f64) -> Entry {
    Entry { id: Some(id.into()), revision, ..Entry::new("notes", Moment::Instant(MIDNIGHT), value) }
}

pub fn counts(inserted: u64, updated: u64, unchanged: u64, deleted: u64, older: u64) -> Counts {
    Counts { inserted, updated, unchanged, deleted, older }
}
