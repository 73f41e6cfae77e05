//! A host with an empty modules folder, and a browser that keeps its cookie: what the tests of the pages share.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use axum::{Router, body::Body};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use sluice::{
    app::{App, Surroundings},
    config::{Overrides, load},
    web,
};
use sluice_store::NewUser;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use tower::ServiceExt as _;

/// Noon of 2026-11-21, UTC.
pub const NOON: i64 = 1_795_262_400_000;
pub const PASSWORD: &str = "three words in a row";

/// A host and its clock.
pub struct Host {
    pub app: Arc<App>,
    pub router: Router,
    pub clock: Arc<AtomicI64>,
    pub name: String,
    pub dir: tempfile::TempDir,
}

impl Host {
    /// A host at `public`.
    pub async fn at(public: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plugins.toml");
        std::fs::create_dir(dir.path().join("modules")).unwrap();
        let settings = format!(
            "public-url = \"{public}\"\ndata-dir = \"data\"\nmodules = \"modules\"\nkey-file = \"keys/host.key\"\ntrusted-proxies = [\"127.0.0.9\"]\n"
        );
        std::fs::write(&file, settings).unwrap();
        let config = load(&file, true, &Overrides::default()).unwrap();
        let clock = Arc::new(AtomicI64::new(NOON));
        let reads = clock.clone();
        let around = Surroundings { clock: Arc::new(move || reads.load(Ordering::SeqCst)), ..Surroundings::system() };
        let app = App::open(config, around).await.unwrap().app;
        let url: url::Url = public.parse().unwrap();
        let name = url.port().map_or_else(|| url.host_str().unwrap().to_owned(), |port| format!("{}:{port}", url.host_str().unwrap()));
        Self { router: web::router(app.clone()), app, clock, name, dir }
    }

    pub async fn local() -> Self {
        Self::at("http://localhost:8642").await
    }

    pub fn pass(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    pub fn browser(&self) -> Browser {
        Browser { router: self.router.clone(), host: self.name.clone(), cookie: None }
    }

    /// The path of the one-time link for the first set-up.
    pub async fn setup_path(&self) -> String {
        let link = web::make_setup_link(&self.app).await.unwrap().unwrap();
        link.url.parse::<url::Url>().unwrap().path().to_owned()
    }

    /// A browser whose owner has just set up the host.
    pub async fn owner(&self) -> Browser {
        let mut browser = self.browser();
        let path = self.setup_path().await;
        let page = browser.get(&path).await;
        let form = [
            ("csrf", page.csrf()),
            ("name", "ada".into()),
            ("password", PASSWORD.into()),
            ("again", PASSWORD.into()),
            ("time-zone", "Europe/Vienna".into()),
        ];
        let answer = browser.post(&path, &form).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        browser
    }
}

impl Host {
    /// A browser in which somebody else is signed in, with the owner's password.
    pub async fn member(&self, name: &str) -> Browser {
        let store = &self.app.store;
        let hash = store.owner().await.unwrap().unwrap().password_hash;
        store.create_user(NewUser { name: name.into(), time_zone: "UTC".into(), password_hash: hash, owner: false }).await.unwrap();
        let mut browser = self.browser();
        assert_eq!(browser.sign_in(name, PASSWORD).await.status, StatusCode::SEE_OTHER);
        browser
    }
}

/// A browser with one cookie jar.
#[derive(Clone)]
pub struct Browser {
    router: Router,
    pub host: String,
    /// `name=value`.
    pub cookie: Option<String>,
}

/// What it got.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// The token in the page's forms.
    pub fn csrf(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"csrf\" value=\"").unwrap_or_else(|| panic!("no form in {}", self.body));
        rest.split('"').next().unwrap().to_owned()
    }

    pub fn location(&self) -> &str {
        self.headers.get(header::LOCATION).map_or("", |l| l.to_str().unwrap())
    }

    pub fn set_cookie(&self) -> Option<&str> {
        self.headers.get(header::SET_COOKIE).map(|c| c.to_str().unwrap())
    }
}

impl Browser {
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    /// A form sent as browsers do from our own page under `no-referrer`.
    pub async fn post(&mut self, path: &str, form: &[(&str, String)]) -> Answer {
        self.send(Method::POST, path, &[("sec-fetch-site", "same-origin"), ("origin", "null")], Some(encode(form))).await
    }

    pub async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, self.host.clone());
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie.clone());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let answer = self.router.clone().oneshot(request.body(Body::from(body.unwrap_or_default())).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        if let Some(set) = parts.headers.get(header::SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
            self.cookie = (!pair.ends_with('=')).then_some(pair);
        }
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// Whether the first page lets it in.
    pub async fn is_in(&mut self) -> bool {
        self.get("/").await.status == StatusCode::OK
    }

    pub async fn sign_in(&mut self, name: &str, password: &str) -> Answer {
        let page = self.get("/sign-in").await;
        self.post("/sign-in", &[("csrf", page.csrf()), ("name", name.into()), ("password", password.into())]).await
    }
}

/// What came from a provider or a connector's author and shows on a page is text.
pub fn harmless(what: &str, body: &str) {
    for bad in ["<script", "<img", "onerror=alert(2)>", "\u{202e}", "href=\"javascript"] {
        assert!(!body.contains(bad), "{what} has {bad} in it");
    }
}

/// Markup, quotes and a change of direction.
pub const NASTY: &str = "</code><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{202e}";

pub fn encode(form: &[(&str, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}
