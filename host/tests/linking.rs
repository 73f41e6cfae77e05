//! Linking through a whole host, against a provider that punishes mistakes: it checks PKCE, honours a code once, rotates refresh tokens and revokes the
//! family of one that comes back. The connector is the one that ships; `cargo xtask build` puts it where this looks for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use sluice::{
    app::{App, Surroundings},
    config::{Overrides, load},
    link::{self, Begin, Callback, LinkErrorKind, Revoked, Started},
};
use sluice_model::{ConnectionId, FailureKind, UserId};
use sluice_store::{AppState, Connection, DataChoice, NewUser};
use sluice_vault::Secret;
use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

const NOON: i64 = 1_795_262_400_000;
const HOUR: i64 = 3_600_000;

/// What the provider does with the next request to its token endpoint or its grants.
#[derive(Clone, Copy, PartialEq)]
enum Mishap {
    /// It acts, and the answer never arrives.
    AnswerLost,
    /// It does nothing and says 503.
    Unavailable,
    /// It no longer knows the app.
    InvalidClient,
}

#[derive(Default)]
struct World {
    /// code → (challenge, redirect URI, account).
    codes: HashMap<String, (String, String, u64)>,
    /// access token → (account, family).
    access: HashMap<String, (u64, u32)>,
    /// refresh token → (account, family).
    refresh: HashMap<String, (u64, u32)>,
    spent: HashMap<String, u32>,
    dead: HashSet<u32>,
    families: u32,
    count: u32,
    token_requests: u32,
    refreshes: u32,
    reuses: u32,
    grants_revoked: u32,
    mishaps: Vec<Mishap>,
}

impl World {
    fn pair(&mut self, account: u64, family: u32) -> String {
        self.count += 1;
        let (access, refresh) = (format!("ghu_CANARY_access_{}", self.count), format!("ghr_CANARY_refresh_{}", self.count));
        // The old access token dies with its refresh token, as GitHub does it.
        self.access.retain(|_, (_, f)| *f != family);
        self.refresh.retain(|_, (_, f)| *f != family);
        self.access.insert(access.clone(), (account, family));
        self.refresh.insert(refresh.clone(), (account, family));
        format!("access_token={access}&refresh_token={refresh}&expires_in=3600&token_type=bearer&scope=")
    }

    fn token(&mut self, form: &HashMap<String, String>) -> (u16, String) {
        self.token_requests += 1;
        let of = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        if (of("client_id"), of("client_secret")) != ("Iv1.test", "CANARY-client-secret") {
            return (200, "error=incorrect_client_credentials".into());
        }
        match of("grant_type") {
            "authorization_code" => match self.codes.remove(of("code")) {
                Some((challenge, redirect, account))
                    if challenge == URL_SAFE_NO_PAD.encode(Sha256::digest(of("code_verifier"))) && redirect == of("redirect_uri") =>
                {
                    self.families += 1;
                    let family = self.families;
                    (200, self.pair(account, family))
                }
                _ => (200, "error=bad_verification_code&error_description=CANARY".into()),
            },
            "refresh_token" => {
                let token = of("refresh_token").to_owned();
                if let Some((account, family)) = self.refresh.remove(&token)
                    && !self.dead.contains(&family)
                {
                    self.refreshes += 1;
                    self.spent.insert(token, family);
                    return (200, self.pair(account, family));
                }
                if let Some(family) = self.spent.get(&token).copied() {
                    self.reuses += 1;
                    self.dead.insert(family);
                }
                (200, "error=bad_refresh_token".into())
            }
            _ => (400, "error=unsupported_grant_type".into()),
        }
    }
}

type Provider = Arc<Mutex<World>>;

async fn answer(State(world): State<Provider>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut world = world.lock().unwrap();
    let (status, text) = match (method.as_str(), uri.path()) {
        ("POST", "/login/oauth/access_token") => {
            let mishap = world.mishaps.pop();
            match mishap {
                Some(Mishap::Unavailable) => (503, "<html>CANARY</html>".to_owned()),
                Some(Mishap::InvalidClient) => (401, r#"{"error":"invalid_client"}"#.to_owned()),
                _ => {
                    let form = url::form_urlencoded::parse(&body).into_owned().collect();
                    let (status, text) = world.token(&form);
                    if mishap == Some(Mishap::AnswerLost) {
                        // Headers that promise more than comes: the client knows that it has not got all of it.
                        let broken = futures_util::stream::iter([Ok(Bytes::from_static(b"acc")), Err(std::io::Error::other("gone"))]);
                        return Response::builder()
                            .status(status)
                            .header("content-length", text.len())
                            .body(Body::from_stream(broken))
                            .unwrap();
                    }
                    (status, text)
                }
            }
        }
        ("GET", "/user") => {
            let token =
                headers.get("authorization").and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
            match world.access.get(token) {
                Some((account, family)) if !world.dead.contains(family) => {
                    let json = serde_json::json!({"id": account, "login": format!("user{account}"), "created_at": "2020-01-01T00:00:00Z", "followers": 1, "public_repos": 2});
                    (200, json.to_string())
                }
                _ => (401, r#"{"message":"Bad credentials"}"#.to_owned()),
            }
        }
        ("DELETE", "/applications/Iv1.test/grant") => {
            if world.mishaps.pop() == Some(Mishap::Unavailable) {
                (503, String::new())
            } else {
                let token = serde_json::from_slice::<serde_json::Value>(&body).unwrap()["access_token"].as_str().unwrap().to_owned();
                match world.access.get(&token).copied() {
                    Some((account, _)) => {
                        world.access.retain(|_, (a, _)| *a != account);
                        world.refresh.retain(|_, (a, _)| *a != account);
                        world.grants_revoked += 1;
                        (204, String::new())
                    }
                    None => (422, String::new()),
                }
            }
        }
        other => panic!("the host asked for {other:?}"),
    };
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(Body::from(text)).unwrap()
}

type Stops = Arc<Mutex<Option<String>>>;

struct Bench {
    app: Arc<App>,
    user: UserId,
    clock: Arc<AtomicI64>,
    provider: Provider,
    stop_at: Stops,
    dir: tempfile::TempDir,
}

const SESSION: [u8; 32] = [1; 32];

impl Bench {
    async fn new() -> Self {
        let provider = Provider::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(provider.clone());
        tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        let dir = tempfile::tempdir().unwrap();
        settle_in(dir.path(), &base);
        // Compiling the connector takes seconds, and what it gives opens for the same host key only: both come from a host made once.
        let made = COMPILED
            .get_or_init(async || {
                let dir = tempfile::tempdir().unwrap();
                settle_in(dir.path(), &base);
                open(dir.path(), &Arc::new(AtomicI64::new(NOON)), &Stops::default()).await.store.close().await;
                dir
            })
            .await;
        copy(&made.path().join("keys"), &dir.path().join("keys"));
        copy(&made.path().join("data/compiled"), &dir.path().join("data/compiled"));
        let clock = Arc::new(AtomicI64::new(NOON));
        let stop_at = Stops::default();
        let app = open(dir.path(), &clock, &stop_at).await;
        let user =
            app.store.create_user(NewUser { name: "ada".into(), time_zone: "UTC".into(), password_hash: None, owner: true }).await.unwrap();
        Self { app, user, clock, provider, stop_at, dir }
    }

    /// The host ends and starts again on what is on the disk.
    async fn restart(mut self) -> Self {
        self.app.store.close().await;
        let (dir, clock, stop_at) = (self.dir, self.clock, self.stop_at);
        drop(self.app);
        *stop_at.lock().unwrap() = None;
        self.app = open(dir.path(), &clock, &stop_at).await;
        Self { dir, clock, stop_at, ..self }
    }

    fn world<T>(&self, with: impl FnOnce(&mut World) -> T) -> T {
        with(&mut self.provider.lock().unwrap())
    }

    fn pass(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    async fn begin(&self, relink: Option<ConnectionId>) -> Started {
        let who = Begin { user: self.user, session: Some(SESSION), connector: "github", profile: "oauth", relink, loopback: None };
        link::begin(&self.app, who).await.unwrap_or_else(|e| panic!("{e}"))
    }

    /// The provider's page: the person allows it, and is sent back with this.
    fn allow(&self, started: &Started, account: u64) -> Callback {
        let query: HashMap<String, String> = started.redirect.query_pairs().into_owned().collect();
        assert_eq!(query["code_challenge_method"], "S256");
        assert_eq!(query["redirect_uri"], "https://sluice.example.org/connect/github/oauth/callback");
        assert_eq!(query["scope"], "read:user");
        let code = format!("CANARY-code-{}", query["state"]);
        self.world(|w| w.codes.insert(code.clone(), (query["code_challenge"].clone(), query["redirect_uri"].clone(), account)));
        Callback {
            connector: "github".into(),
            profile: "oauth".into(),
            nonce: None,
            query: vec![("code".into(), code), ("state".into(), query["state"].clone())],
            session: Some(SESSION),
            user: Some(self.user),
        }
    }

    async fn link(&self, account: u64) -> Connection {
        let started = self.begin(None).await;
        let linked = link::finish(&self.app, self.allow(&started, account)).await.unwrap_or_else(|e| panic!("{e}"));
        self.connection(linked.connection).await
    }

    async fn connection(&self, id: ConnectionId) -> Connection {
        self.app.store.connection(id).await.unwrap().unwrap()
    }

    /// What of the secrets of this test is in the database's files.
    fn leaked(&self) -> bool {
        let read = |name: &str| std::fs::read(self.dir.path().join("data").join(name)).unwrap_or_default();
        ["sluice.db", "sluice.db-wal"].iter().any(|name| read(name).windows(6).any(|w| w == b"CANARY"))
    }
}

static COMPILED: tokio::sync::OnceCell<tempfile::TempDir> = tokio::sync::OnceCell::const_new();

/// Settings of a host whose GitHub is at `base`.
fn settle_in(dir: &Path, base: &str) {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/connectors");
    let module = modules.join("github.wasm");
    assert!(module.exists(), "run `cargo xtask build` first: there is no {}", module.display());
    let hash: String = Sha256::digest(std::fs::read(&module).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
    std::fs::write(dir.join("secret"), "CANARY-client-secret\n").unwrap();
    let upstream = |from: &str| format!("[[connectors.github.upstream]]\nfrom = \"{from}\"\nto = \"{base}\"\nallow-private = true\n");
    let settings = format!(
        "public-url = \"https://sluice.example.org\"\ndata-dir = \"data\"\nmodules = \"modules\"\nkey-file = \"keys/host.key\"\n\
         [connectors.github]\nsha256 = \"{hash}\"\n[connectors.github.app]\nclient-id = \"Iv1.test\"\nclient-secret = {{ file = \"secret\" }}\n{}{}",
        upstream("https://github.com"),
        upstream("https://api.github.com"),
    );
    std::fs::create_dir(dir.join("modules")).unwrap();
    std::fs::copy(module, dir.join("modules/github.wasm")).unwrap();
    std::fs::write(dir.join("plugins.toml"), settings).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

async fn open(dir: &Path, clock: &Arc<AtomicI64>, stop_at: &Stops) -> Arc<App> {
    let config = load(&dir.join("plugins.toml"), true, &Overrides::default()).unwrap();
    let (clock, stop_at) = (clock.clone(), stop_at.clone());
    let around = Surroundings {
        clock: Arc::new(move || clock.load(Ordering::SeqCst)),
        // A panic ends the task there and then, as a kill would: nothing after this point happens.
        fail_point: Arc::new(move |name| {
            let here = stop_at.lock().unwrap().as_deref() == Some(name);
            assert!(!here, "stopped at {name}");
        }),
        ..Surroundings::system()
    };
    let app = App::open(config, around).await.unwrap_or_else(|e| panic!("{e}")).app;
    assert!(app.modules.get("github").is_some(), "{:?}", app.modules.listing());
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_ends_in_a_connection_whose_keys_are_sealed() {
    let bench = Bench::new().await;
    let connection = bench.link(7).await;
    assert_eq!(connection.account.id.as_deref(), Some("7"));
    assert_eq!(connection.account.label, "user7");
    assert_eq!(connection.next_due, Some(NOON), "the first run is due at once");
    assert!(!bench.leaked());
    let connector = bench.app.modules.get("github").unwrap();
    let (_, stored) = bench.app.store.credentials(connection.id).await.unwrap();
    let keys = link::keys(&bench.app, &connector, &connection, &stored).unwrap_or_else(|e| panic!("{e}"));
    assert!(keys.get("access-token").unwrap().expose().starts_with(b"ghu_"));
    assert!(keys.get("refresh-token").is_none(), "no recipe of a guest needs it");
    assert!(!link::needs_refresh(&connector, &connection, &stored, NOON));
    assert!(link::needs_refresh(&connector, &connection, &stored, NOON + HOUR - link::BEFORE_END_MS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_does_not_fit_asks_no_token_endpoint_and_burns_the_flow() {
    let bench = Bench::new().await;
    let other = bench
        .app
        .store
        .create_user(NewUser { name: "bob".into(), time_zone: "UTC".into(), password_hash: None, owner: false })
        .await
        .unwrap();
    type Change = fn(&mut Callback, UserId);
    let cases: [(&str, LinkErrorKind, Change); 13] = [
        ("another connector's path", LinkErrorKind::NotYours, |c, _| c.connector = "lastfm".into()),
        ("another profile's path", LinkErrorKind::NotYours, |c, _| c.profile = "token".into()),
        ("another browser", LinkErrorKind::NotYours, |c, _| c.session = Some([2; 32])),
        ("signed out", LinkErrorKind::NotYours, |c, _| (c.session, c.user) = (None, None)),
        ("another person", LinkErrorKind::NotYours, |c, other| c.user = Some(other)),
        ("a nonce in the path", LinkErrorKind::NotYours, |c, _| c.nonce = c.query.pop().map(|(_, state)| state)),
        ("another provider's iss", LinkErrorKind::NotYours, |c, _| c.query.push(("iss".into(), "https://evil.example".into()))),
        ("an iss twice", LinkErrorKind::NotYours, |c, _| {
            c.query.extend([("iss".into(), "https://github.com".into()), ("iss".into(), "https://github.com".into())])
        }),
        ("an error from another provider", LinkErrorKind::NotYours, |c, _| {
            c.query.extend([("error".into(), "access_denied".into()), ("iss".into(), "https://evil.example".into())]);
        }),
        ("the person said no", LinkErrorKind::Declined, |c, _| c.query.push(("error".into(), "access_denied".into()))),
        ("no code", LinkErrorKind::Failed, |c, _| c.query.retain(|(name, _)| name != "code")),
        ("two codes", LinkErrorKind::Failed, |c, _| c.query.push(("code".into(), "x".into()))),
        ("two states", LinkErrorKind::NotYours, |c, _| c.query.push(("state".into(), "x".into()))),
    ];
    for (what, kind, change) in cases {
        let started = bench.begin(None).await;
        let mut callback = bench.allow(&started, 7);
        let good = bench.allow(&started, 7);
        change(&mut callback, other);
        let error = link::finish(&bench.app, callback).await.expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(!format!("{error} {}", error.public()).contains("CANARY"), "{what}: {error}");
        if what != "two states" {
            let again = link::finish(&bench.app, good).await.expect_err(what);
            assert_eq!(again.kind(), LinkErrorKind::NotYours, "{what}: the flow is burnt");
        }
    }
    // Too late, and a second use.
    let started = bench.begin(None).await;
    bench.pass(10 * 60_000);
    assert_eq!(link::finish(&bench.app, bench.allow(&started, 7)).await.unwrap_err().kind(), LinkErrorKind::Expired);
    assert_eq!(bench.world(|w| w.token_requests), 0);
    assert!(bench.app.store.connections(sluice_store::ConnectionFilter::default()).await.unwrap().is_empty());
    let audit = bench.app.store.audit_log(100).await.unwrap();
    assert!(audit.iter().filter(|entry| entry.kind == "link-refused").count() >= 6, "{audit:?}");
    assert!(!bench.leaked());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_names_itself_rightly_is_believed() {
    let bench = Bench::new().await;
    let started = bench.begin(None).await;
    let mut callback = bench.allow(&started, 7);
    callback.query.push(("iss".into(), "https://github.com/login/oauth".into()));
    link::finish(&bench.app, callback).await.unwrap_or_else(|e| panic!("{e}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_account_is_the_same_connection_and_another_one_is_refused() {
    let bench = Bench::new().await;
    let first = bench.link(7).await;
    let started = bench.begin(None).await;
    let again = link::finish(&bench.app, bench.allow(&started, 7)).await.unwrap();
    assert!(again.again);
    assert_eq!(again.connection, first.id);
    let relinked = bench.connection(first.id).await;
    assert_ne!(relinked.data_key, first.data_key, "each link has a data key of its own");
    assert_eq!(relinked.public_id, first.public_id);
    let before = bench.app.store.credentials(first.id).await.unwrap();
    let started = bench.begin(Some(first.id)).await;
    let error = link::finish(&bench.app, bench.allow(&started, 8)).await.unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::OtherAccount);
    assert!(error.public().contains("user7") && error.public().contains("user8"), "{}", error.public());
    assert_eq!(bench.app.store.credentials(first.id).await.unwrap(), before, "nothing was changed");
    // Without naming the connection it is an account of its own.
    let second = bench.link(8).await;
    assert_ne!(second.id, first.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_links_too_and_bad_tokens_show_nothing() {
    let bench = Bench::new().await;
    let token = "ghp_CANARY0123456789abcdefABCDEF0123456789";
    let give = |token: &str| vec![("token".to_owned(), Secret::text(format!(" {token}\n")))];
    let error = link::link_fields(&bench.app, bench.user, "github", "token", give(token), None).await.unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Invalid, "{error}");
    assert!(!format!("{error} {}", error.public()).contains("CANARY"), "{error}");
    bench.world(|w| w.access.insert(token.into(), (9, 1000)));
    let linked = link::link_fields(&bench.app, bench.user, "github", "token", give(token), None).await.unwrap_or_else(|e| panic!("{e}"));
    let connection = bench.connection(linked.connection).await;
    assert_eq!((connection.profile.as_str(), connection.account.label.as_str()), ("token", "user9"));
    // It cannot be renewed: asked for, it is given as it is; by force, the person is wanted.
    link::refresh(&bench.app, &connection, false).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(link::refresh(&bench.app, &connection, true).await.err().unwrap().failure().kind, FailureKind::Unauthorized);
    let report = link::disconnect(&bench.app, &connection, DataChoice::Keep).await.unwrap();
    assert!(matches!(report.grant, Revoked::ByHand(Some(_))), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_callers_make_one_refresh_for_each_end_of_a_token() {
    let bench = Bench::new().await;
    let connection = bench.link(7).await;
    for round in 1..=20 {
        bench.pass(HOUR);
        // Half of them by force, as after a 401.
        let callers = (0..64).map(|n| {
            let (app, connection) = (bench.app.clone(), connection.clone());
            tokio::spawn(async move {
                link::refresh(&app, &connection, n % 2 == 1).await.map(|keys| keys.get("access-token").unwrap().expose().to_vec())
            })
        });
        let mut tokens = HashSet::new();
        for caller in callers.collect::<Vec<_>>() {
            tokens.insert(caller.await.unwrap().unwrap_or_else(|e| panic!("{e}")));
        }
        assert_eq!(bench.world(|w| (w.refreshes, w.reuses)), (round, 0));
        assert_eq!(tokens.len(), 1, "all got the same new token");
    }
    assert!(!bench.leaked());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_point_loses_a_token_that_could_be_renewed() {
    let mut bench = Bench::new().await;
    for (point, sent) in [
        ("refresh:before-intent", false),
        ("refresh:after-intent", false),
        ("refresh:after-answer", true),
        ("refresh:before-commit", true),
        ("refresh:after-commit", true),
    ] {
        let connection = bench.link(7).await;
        bench.pass(HOUR);
        let before = bench.world(|w| (w.refreshes, w.reuses));
        *bench.stop_at.lock().unwrap() = Some(point.to_owned());
        link::refresh(&bench.app, &connection, false).await.err().unwrap_or_else(|| panic!("{point}: did not stop"));
        bench = bench.restart().await;
        assert_eq!(bench.world(|w| w.refreshes), before.0 + u32::from(sent), "{point}");
        let connector = bench.app.modules.get("github").unwrap();
        let (_, stored) = bench.app.store.credentials(connection.id).await.unwrap();
        let again = link::refresh(&bench.app, &bench.connection(connection.id).await, false).await;
        match point {
            // The request never went out, or the pair is on the disk: it goes on.
            "refresh:before-intent" | "refresh:after-intent" | "refresh:after-commit" => {
                let keys = again.unwrap_or_else(|e| panic!("{point}: {e}"));
                let token = String::from_utf8(keys.get("access-token").unwrap().expose().to_vec()).unwrap();
                assert!(bench.world(|w| w.access.contains_key(&token)), "{point}: the key works");
            }
            // The provider had rotated and its answer was lost with the process: the intent says so, the old token is tried once, and the
            // provider's refusal asks for the person.
            _ => {
                assert!(link::needs_refresh(&connector, &connection, &stored, NOON), "{point}: the intent is on the disk");
                assert_eq!(again.err().unwrap().failure().kind, FailureKind::Unauthorized, "{point}");
                assert_eq!(bench.world(|w| w.reuses), before.1 + 1, "{point}: one retry");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_provider_costs_nothing_but_time_and_a_lost_answer_is_asked_for_once_more() {
    let bench = Bench::new().await;
    let connection = bench.link(7).await;
    bench.pass(HOUR);
    bench.world(|w| w.mishaps = vec![Mishap::Unavailable]);
    let failure = link::refresh(&bench.app, &connection, false).await.err().unwrap().failure();
    assert_eq!(failure.kind, FailureKind::Transient);
    link::refresh(&bench.app, &connection, false).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(bench.world(|w| (w.refreshes, w.reuses)), (1, 0));
    // This provider punishes repetition: the person is asked, once it has said no, and not before.
    bench.pass(HOUR);
    bench.world(|w| w.mishaps = vec![Mishap::AnswerLost]);
    let next = async || link::refresh(&bench.app, &connection, false).await.err().unwrap().failure();
    let failure = next().await;
    assert_eq!((failure.kind, failure.code.as_str()), (FailureKind::Transient, "RENEWAL_LOST"));
    assert_eq!(bench.world(|w| w.reuses), 0);
    let failure = next().await;
    assert_eq!((failure.kind, failure.code.as_str()), (FailureKind::Unauthorized, "SIGN_IN_AGAIN"));
    assert_eq!(bench.world(|w| w.reuses), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_the_provider_does_not_know_pauses_until_a_sign_in_works() {
    let bench = Bench::new().await;
    let connection = bench.link(7).await;
    bench.pass(HOUR);
    bench.world(|w| w.mishaps = vec![Mishap::InvalidClient]);
    let failure = link::refresh(&bench.app, &connection, false).await.err().unwrap().failure();
    assert_eq!(failure.kind, FailureKind::Misconfigured);
    let states = async |app: &App| app.store.apps().await.unwrap().into_iter().map(|a| a.state).collect::<Vec<_>>();
    assert_eq!(states(&bench.app).await, [AppState::Paused]);
    bench.link(7).await;
    assert_eq!(states(&bench.app).await, [AppState::Open]);
    // And whoever mends it restarts.
    bench.pass(HOUR);
    bench.world(|w| w.mishaps = vec![Mishap::InvalidClient]);
    let _ = link::refresh(&bench.app, &connection, false).await;
    assert_eq!(states(&bench.app).await, [AppState::Paused]);
    let bench = bench.restart().await;
    assert_eq!(states(&bench.app).await, [AppState::Open]);
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_destroys_the_secret_at_once_and_the_grant_as_soon_as_the_provider_answers() {
    let bench = Bench::new().await;
    let connection = bench.link(7).await;
    bench.world(|w| w.mishaps = vec![Mishap::Unavailable]);
    let report = link::disconnect(&bench.app, &connection, DataChoice::Keep).await.unwrap();
    assert_eq!(report.grant, Revoked::Queued);
    assert!(report.erased.credentials >= 2);
    assert_eq!(bench.app.store.credentials(connection.id).await.unwrap(), (None, vec![]));
    assert_eq!(bench.world(|w| w.grants_revoked), 0);
    // Not before its time; then also after a restart, and after another 503.
    assert_eq!(link::revoke_due(&bench.app).await.unwrap(), 0);
    bench.world(|w| w.mishaps = vec![Mishap::Unavailable]);
    bench.pass(60_000);
    assert_eq!(link::revoke_due(&bench.app).await.unwrap(), 0);
    let bench = bench.restart().await;
    bench.pass(24 * HOUR);
    assert_eq!(link::revoke_due(&bench.app).await.unwrap(), 1);
    assert_eq!(bench.world(|w| w.grants_revoked), 1);
    assert_eq!(link::revoke_due(&bench.app).await.unwrap(), 0);
    assert!(!bench.leaked());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_others_stand_on_is_not_revoked() {
    let bench = Bench::new().await;
    let first = bench.link(7).await;
    let bob = bench
        .app
        .store
        .create_user(NewUser { name: "bob".into(), time_zone: "UTC".into(), password_hash: None, owner: false })
        .await
        .unwrap();
    let who = Begin { user: bob, session: Some(SESSION), connector: "github", profile: "oauth", relink: None, loopback: None };
    let started = link::begin(&bench.app, who).await.unwrap();
    let callback = Callback { user: Some(bob), ..bench.allow(&started, 7) };
    let second = link::finish(&bench.app, callback).await.unwrap();
    assert!(!second.again, "another person's link to the same account is another connection");
    assert_eq!(link::disconnect(&bench.app, &first, DataChoice::Delete).await.unwrap().grant, Revoked::Shared(1));
    assert_eq!(bench.world(|w| w.grants_revoked), 0);
    let second = bench.connection(second.connection).await;
    assert_eq!(link::disconnect(&bench.app, &second, DataChoice::Delete).await.unwrap().grant, Revoked::Done);
    assert_eq!(bench.world(|w| w.grants_revoked), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_has_not_set_is_named_with_the_lines_to_add() {
    let bench = Bench::new().await;
    let file = bench.dir.path().join("plugins.toml");
    let settings = std::fs::read_to_string(&file).unwrap().replace("client-secret = { file = \"secret\" }\n", "");
    std::fs::write(&file, settings).unwrap();
    let bench = bench.restart().await;
    let who = Begin { user: bench.user, session: Some(SESSION), connector: "github", profile: "oauth", relink: None, loopback: None };
    let error = link::begin(&bench.app, who).await.unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::NotSetUp);
    for line in [
        "https://sluice.example.org/connect/github/oauth/callback",
        "[connectors.github.app]",
        "client-secret = { env = \"GITHUB_CLIENT_SECRET\" }",
    ] {
        assert!(error.public().contains(line), "{}", error.public());
    }
}
