//! The host in this process: the same `App`, scheduler, control API and pages that `sluice serve` puts together, with what a test wants to hold in its
//! hand: the clock, chance, fail points.

use crate::{browser::Browser, eventually, folder::Folder, time};
use axum::{body::Body, http::Request};
use http_body_util::BodyExt;
use sha2::Digest;
use sluice::{
    app::{App, FailPoint, Surroundings},
    config::{self, Overrides},
    control,
    control::api,
    link,
    runs::Scheduler,
    web,
};
use sluice_model::{ConnectionId, UserId, task::Reason};
use sluice_sim::Clock;
use sluice_store::{Connection, NewUser, Requested, RunOutcome, Session};
use sluice_vault::Secret;
use std::sync::Arc;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// The owner's name on the pages.
pub const OWNER: &str = "ada";
/// The owner's password.
pub const PASSWORD: &str = "three words in a row";

/// Fills in the first start's form.
pub async fn set_up(browser: &mut Browser, link: &str) {
    let page = browser.get(link).await;
    let path = page.url.path().to_owned();
    let fields = [("name", OWNER), ("password", PASSWORD), ("again", PASSWORD), ("time-zone", "Europe/Berlin")];
    let home = browser.submit(&page, &path, &fields).await;
    assert_eq!((home.status, home.url.path()), (200, "/"), "the owner's set-up: {}", home.text());
}

/// A host that lives in this process.
pub struct Host {
    /// What everything works on.
    pub app: Arc<App>,
    /// Its clock.
    pub clock: Clock,
    /// Where its pages are, `http://localhost:PORT`.
    pub pages: String,
    scheduler: Option<Scheduler>,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Host {
    /// Opens the folder, starts the schedule and the pages.
    pub async fn start(folder: &Folder, clock: &Clock) -> Self {
        Self::start_with(folder, clock, Arc::new(|_| {}), true).await
    }

    /// The same with something at the fail points, and with or without a schedule.
    pub async fn start_with(folder: &Folder, clock: &Clock, fail_point: FailPoint, schedule: bool) -> Self {
        let config = config::load(&folder.config(), true, &Overrides::default()).expect("the settings hold");
        let listener = TcpListener::bind(config.listen).await.expect("the pages' port");
        let around =
            Surroundings { clock: time::for_host(clock), random: Arc::new(sluice_vault::OsRandom), fail_point, ..Surroundings::system() };
        let app = App::open(config, around).await.expect("the host opens").app;
        folder.give_to_shared();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(web::serve(app.clone(), listener, stop.clone()));
        let scheduler = if schedule { Some(Scheduler::start(app.clone()).await.expect("the schedule starts")) } else { None };
        Self { app, clock: clock.clone(), pages: format!("http://localhost:{}", folder.port), scheduler, stop, serving }
    }

    /// An orderly end.
    pub async fn stop(mut self) {
        if let Some(scheduler) = self.scheduler.take() {
            scheduler.stop().await.expect("the schedule stops");
        }
        self.stop.cancel();
        let _ = self.serving.await;
        self.app.store.close().await;
    }

    /// Somebody who can link accounts.
    pub async fn user(&self, name: &str, time_zone: &str, owner: bool) -> UserId {
        let user = NewUser { name: name.to_owned(), time_zone: time_zone.to_owned(), password_hash: None, owner };
        self.app.store.create_user(user).await.expect("a user")
    }

    /// Links by a form. The first run is due at once.
    pub async fn link(&self, user: UserId, connector: &str, profile: &str, fields: &[(&str, &str)]) -> ConnectionId {
        self.try_link(user, connector, profile, fields).await.unwrap_or_else(|e| panic!("{connector}: {}", e.public()))
    }

    /// The same, when it may fail.
    pub async fn try_link(
        &self,
        user: UserId,
        connector: &str,
        profile: &str,
        fields: &[(&str, &str)],
    ) -> Result<ConnectionId, link::LinkError> {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), Secret::text((*value).to_owned()))).collect();
        link::link_fields(&self.app, user, connector, profile, fields, None).await.map(|linked| linked.connection)
    }

    /// Links by a provider's sign-in page, which signs in whom the simulator was told to.
    pub async fn sign_in(&self, user: UserId, connector: &str, profile: &str) -> ConnectionId {
        let session = [7; 32];
        let who = link::Begin { user, session: Some(session), connector, profile, relink: None, loopback: None };
        let started = link::begin(&self.app, who).await.unwrap_or_else(|e| panic!("{connector}: {}", e.public()));
        let page = Browser::new().open(started.redirect.as_str()).await;
        let back = page.location.unwrap_or_else(|| panic!("the provider shows a page instead of sending back: {}", page.body));
        let nonce = back.path().split_once("/callback/").map(|(_, nonce)| nonce.to_owned());
        let callback = link::Callback {
            connector: connector.to_owned(),
            profile: profile.to_owned(),
            nonce,
            query: back.query_pairs().into_owned().collect(),
            session: Some(session),
            user: Some(user),
        };
        link::finish(&self.app, callback).await.unwrap_or_else(|e| panic!("{connector}: {}", e.public())).connection
    }

    /// A browser in which the owner has just set up this host; what was typed as the password is [`PASSWORD`].
    pub async fn owner(&self) -> Browser {
        let link = web::make_setup_link(&self.app).await.expect("the store").expect("nobody is there yet");
        let mut browser = Browser::new();
        set_up(&mut browser, &link.url).await;
        browser
    }

    /// A browser in which the owner signs in anew: another session of the same person.
    pub async fn owner_again(&self) -> Browser {
        let mut browser = Browser::new();
        let page = browser.get(&format!("{}/sign-in", self.pages)).await;
        let home = browser.submit(&page, "/sign-in", &[("name", OWNER), ("password", PASSWORD)]).await;
        assert_eq!((home.status, home.url.path()), (200, "/"), "{}", home.text());
        browser
    }

    /// A browser in which somebody else is signed in.
    pub async fn stranger(&self, name: &str) -> Browser {
        let user = self.user(name, "UTC", false).await;
        let value: String = name.chars().cycle().take(43).collect();
        let hash = sha2::Sha256::digest(value.as_bytes()).into();
        let now = self.app.now();
        let session = Session { hash, user, created_at: now, idle_until: now + time::DAY, absolute_until: now + time::DAY };
        self.app.store.create_session(session).await.expect("the store");
        let mut browser = Browser::new();
        browser.set_cookie("localhost", "sluice_session", &value);
        let home = browser.get(&format!("{}/", self.pages)).await;
        assert_eq!((home.status, home.url.path()), (200, "/"), "{}", home.text());
        browser
    }

    /// A connection as it is now.
    pub async fn connection(&self, id: ConnectionId) -> Connection {
        self.app.store.connection(id).await.expect("the store").expect("the connection")
    }

    /// Asks for a run now.
    pub async fn request(&self, id: ConnectionId) -> Requested {
        let requested = self.app.store.request_run(id, Reason::Manual, self.app.now()).await.expect("the store");
        self.app.wake.notify_one();
        requested
    }

    /// Waits until nothing of the connection runs or is due now.
    pub async fn settled(&self, id: ConnectionId) -> Connection {
        eventually("a connection to settle", async || {
            let connection = self.connection(id).await;
            let waits = connection.next_due.is_none_or(|due| due > self.app.now());
            let ended = connection.last_run.as_ref().is_some_and(|run| !matches!(run.outcome, RunOutcome::Running | RunOutcome::More));
            (!connection.running && waits && ended).then_some(connection)
        })
        .await
    }

    /// Runs a connection now, to its end.
    pub async fn run(&self, id: ConnectionId) -> Connection {
        let requested = self.request(id).await;
        assert!(matches!(requested, Requested::Queued | Requested::Running), "{requested:?}");
        self.settled(id).await
    }

    /// Lets time pass.
    pub fn advance(&self, ms: i64) {
        self.clock.advance(ms);
        self.app.wake.notify_one();
    }

    /// What `sluice connections --json` would print, for one connection.
    pub async fn listed(&self, id: ConnectionId) -> api::ConnectionRow {
        let public_id = self.connection(id).await.public_id;
        let request = Request::get("/v1/connections").body(Body::empty()).expect("a request");
        let answer = control::router(self.app.clone()).oneshot(request).await.expect("an answer");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        let rows: Vec<api::ConnectionRow> = serde_json::from_slice(&body).expect("rows");
        rows.into_iter().find(|row| row.id == public_id).expect("the connection's row")
    }

    /// Cursor and state of a connection, as the database has them.
    #[must_use]
    pub fn cursor(&self, id: ConnectionId) -> Vec<String> {
        let copy = crate::dump::Copy::of(&self.app.config.data_dir);
        let mut rows = copy.rows(&format!("SELECT cursor FROM task WHERE connection = {}", id.0));
        rows.extend(copy.rows(&format!("SELECT key, hex(value) AS value FROM state WHERE connection = {}", id.0)));
        rows.iter().map(|row| serde_json::to_string(row).expect("a row is JSON")).collect()
    }

    /// Everything in the views.
    #[must_use]
    pub fn dump(&self) -> crate::dump::Dump {
        crate::dump::Dump::of(&self.app.config.data_dir)
    }
}
