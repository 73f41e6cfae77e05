//! Whoever asks for a run gets an answer, whatever becomes of it.

use super::*;
use crate::{
    app::Surroundings,
    config::{Overrides, load},
};
use sluice_model::{Account, AppId};
use sluice_store::{NewLink, NewUser};

const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    app: Arc<App>,
    app_id: AppId,
    id: ConnectionId,
    _dir: tempfile::TempDir,
}

impl Bench {
    /// A host without connectors and schedule, with one linked account.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plugins.toml");
        std::fs::write(&file, "data-dir = \"data\"\nmodules = \"modules\"\nkey-file = \"keys/host.key\"\n").unwrap();
        let app = App::open(load(&file, true, &Overrides::default()).unwrap(), Surroundings::system()).await.unwrap().app;
        let user = NewUser { name: "ada".into(), time_zone: "UTC".into(), password_hash: None, owner: true };
        let user = app.store.create_user(user).await.unwrap();
        let app_id = app.store.app("sample", "").await.unwrap().id;
        let link = NewLink {
            public_id: "c1".into(),
            user,
            app: app_id,
            connector: "sample".into(),
            profile: "p".into(),
            account: Account { id: Some("a".into()), label: "a".into(), route_keys: Vec::new() },
            scopes: Vec::new(),
            settings: Vec::new(),
            data_key: ("k".into(), vec![1]),
            credentials: Vec::new(),
            relink: None,
            due: app.now() + 3_600_000,
        };
        let id = app.store.link(link).await.unwrap();
        Self { app, app_id, id, _dir: dir }
    }

    /// Asks for everything; answers how it ended.
    async fn ask(&self) -> tokio::task::JoinHandle<Vec<RunSummary>> {
        let asked = Json(RunRequest { which: None, since: None });
        let response = run(State(self.app.clone()), asked).await.unwrap();
        tokio::spawn(async move {
            let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
            let lines = bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty());
            let lines = lines.map(|l| serde_json::from_slice::<RunLine>(l).unwrap());
            lines.filter_map(|l| if let RunLine::Finished(summary) = l { Some(summary) } else { None }).collect()
        })
    }

    async fn answer(asked: tokio::task::JoinHandle<Vec<RunSummary>>) -> RunSummary {
        let mut all = tokio::time::timeout(PATIENCE, asked).await.expect("an answer, and no endless wait").unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// Waits until what was asked for is due.
    async fn queued(&self) {
        while self.app.store.connection(self.id).await.unwrap().unwrap().next_due.is_none_or(|due| due > self.app.now()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn finished(&self, outcome: &str) {
        let outcome = outcome.to_owned();
        let counts = Counts { inserted: 3, ..Counts::default() };
        self.app.events.send(RunEvent::Finished { connection: self.id, outcome, message: None, counts, took_ms: 1, more: false });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_paused_is_told_at_once_with_its_reason() {
    let bench = Bench::new().await;
    bench.app.store.set_app(bench.app_id, AppState::Paused, Some("check the client-id".into()), None).await.unwrap();
    let told = Bench::answer(bench.ask().await).await;
    assert_eq!(told.outcome, "app-paused");
    assert!(told.message.unwrap().contains("check the client-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_waits_for_its_provider_is_told_with_its_time() {
    let bench = Bench::new().await;
    bench.app.store.block_app(bench.app_id, bench.app.now() + 3_600_000, Some("too many requests".into())).await.unwrap();
    let told = Bench::answer(bench.ask().await).await;
    assert_eq!(told.outcome, "rate-limited");
    assert!(told.message.unwrap().contains("too many requests"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_waits_for_its_person_is_told_what_to_do() {
    let bench = Bench::new().await;
    bench.app.store.set_state(bench.id, ConnectionState::NeedsSignIn, None, None).await.unwrap();
    let told = Bench::answer(bench.ask().await).await;
    assert_eq!((told.outcome.as_str(), told.message.as_deref()), ("needs-sign-in", Some("Sign in again: sluice connect sample")));
    // What it was told before is a sentence of its own, however its author ended it.
    for (said, sentence) in [("The key is no more", "The key is no more. Sign in"), ("Which key?", "Which key? Sign in")] {
        bench.app.store.set_state(bench.id, ConnectionState::NeedsSignIn, Some(said.into()), None).await.unwrap();
        let told = Bench::answer(bench.ask().await).await.message.unwrap();
        assert!(told.starts_with(sentence), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_paused_while_somebody_waits_ends_the_wait() {
    let bench = Bench::new().await;
    let asked = bench.ask().await;
    bench.queued().await;
    bench.app.store.set_app(bench.app_id, AppState::Paused, Some("check the client-id".into()), None).await.unwrap();
    assert_eq!(Bench::answer(asked).await.outcome, "app-paused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stops_ends_the_wait() {
    let bench = Bench::new().await;
    let asked = bench.ask().await;
    bench.queued().await;
    bench.app.stopped.cancel();
    assert_eq!(Bench::answer(asked).await.outcome, "interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_run_before_is_not_taken_for_the_end_of_this_one() {
    let bench = Bench::new().await;
    let asked = bench.ask().await;
    bench.queued().await;
    bench.finished("transient");
    bench.app.events.send(RunEvent::Started { connection: bench.id });
    bench.finished("complete");
    let told = Bench::answer(asked).await;
    assert_eq!((told.outcome.as_str(), told.inserted), ("complete", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_left_is_asked_only_by_name() {
    let bench = Bench::new().await;
    bench.app.store.set_state(bench.id, ConnectionState::Disconnected, None, None).await.unwrap();
    assert!(choose(&bench.app, None).await.is_err(), "nothing is linked any more");
    assert_eq!(choose(&bench.app, Some("c1")).await.unwrap().len(), 1);
}
