//! The owner's pages of connector files: who may see them, what a decision wants and does, and that a stranger's manifest stays text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod modules_support;
mod web_support;

use http::{Method, StatusCode};
use modules_support::{Stranger, hash, pends, runs};
use sluice::{
    modules::{self, Listing},
    web::{Kind, routes},
};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use web_support::{Answer, Browser, Host, NASTY, PASSWORD, harmless};

/// A host whose folder is watched, and its owner.
async fn watched() -> (Host, Browser, tokio_util::sync::DropGuard) {
    let host = Host::local().await;
    let stop = CancellationToken::new();
    tokio::spawn(modules::watch(host.app.clone(), stop.clone()));
    let owner = host.owner().await;
    (host, owner, stop.drop_guard())
}

fn put(host: &Host, name: &str, bytes: &[u8]) {
    let beside = host.dir.path().join("beside");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(beside, host.dir.path().join("modules").join(name)).unwrap();
}

async fn until(host: &Host, name: &str, is: impl Fn(&Listing) -> bool) -> Listing {
    until_seen(host, name, |listing| !listing.is_examined() && is(listing)).await
}

async fn until_seen(host: &Host, name: &str, is: impl Fn(&Listing) -> bool) -> Listing {
    let began = Instant::now();
    loop {
        if let Some(listing) = host.app.modules.listed(name).filter(|l| is(l)) {
            return listing;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{name}: {:?}", host.app.modules.listed(name));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Opens a decision's page as its link does, and sends its form.
async fn decide(browser: &mut Browser, path: &str, password: Option<&str>) -> Answer {
    let page = browser.get(path).await;
    assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.body);
    let (_, rest) = page.body.split_once("name=\"hash\" value=\"").unwrap();
    let hash = rest.split('"').next().unwrap().to_owned();
    let mut form = vec![("csrf", page.csrf()), ("hash", hash)];
    form.extend(password.map(|password| ("password", password.to_owned())));
    browser.post(path.split('?').next().unwrap(), &form).await
}

async fn audited(host: &Host) -> Vec<String> {
    let log = host.app.store.audit_log(50).await.unwrap();
    let ours = log.into_iter().rev().filter(|a| a.kind.starts_with("module-"));
    ours.map(|a| format!("{} {} {}", a.user.map_or("nobody", |_| "owner"), a.kind, a.detail)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owners_pages_are_the_owners_alone() {
    let (host, mut owner, _watching) = watched().await;
    let bytes = Stranger::default().build();
    put(&host, "fit.wasm", &bytes);
    until(&host, "fit", pends).await;
    let mut grace = host.member("grace").await;
    let token = grace.get("/").await.csrf();
    let mut walked = 0;
    for route in routes().into_iter().filter(|route| route.kind == Kind::Owner) {
        let at = route.path.replace("{name}", "fit").replace("{verb}", "approve");
        let answer = match route.method {
            Method::GET => grace.get(&at).await,
            _ => grace.post(&at, &[("csrf", token.clone()), ("hash", hash(&bytes)), ("password", PASSWORD.into())]).await,
        };
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{} {at}", route.method);
        assert!(!answer.body.contains("fit.example"), "{at}");
        walked += 1;
    }
    assert_eq!(walked, 4);
    let (hers, his) = (grace.get("/").await.body, owner.get("/").await.body);
    assert!(!hers.contains("/modules") && !hers.contains("waits for your approval"), "{hers}");
    assert!(his.contains("1 module waits for your approval") && his.contains("<a href=\"/modules\">Modules</a>"), "{his}");
    assert!(until(&host, "fit", pends).await.command.is_some(), "nothing has become of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_wants_a_password_that_was_typed_just_now_and_the_bytes_that_were_shown() {
    let (host, mut owner, _watching) = watched().await;
    let bytes = Stranger::default().build();
    put(&host, "fit.wasm", &bytes);
    until(&host, "fit", pends).await;
    let listed = owner.get("/modules").await.body;
    let approve = format!("/modules/fit/approve?hash={}", hash(&bytes));
    for part in [
        "Waits for your approval",
        "reads from https://api.fit.example/steps (GET)",
        &format!("sluice modules approve fit@{}", &hash(&bytes)[..12]),
        &format!("href=\"{approve}\""),
    ] {
        assert!(listed.contains(part), "{part}: {listed}");
    }

    let shown = owner.get("/modules/fit").await.body;
    for part in ["Would record", "steps (1)", "How people sign in", "key: Key (ready, nothing to register)"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    let page = owner.get(&approve).await;
    assert!(page.body.contains("Approve fit?") && page.body.contains("type=\"password\""), "{}", page.body);
    for wrong in [None, Some("another password")] {
        let answer = decide(&mut owner, &approve, wrong).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.body.contains("The password is not right"), "{}", answer.body);
    }
    // Bytes that nobody was shown.
    let form = [("csrf", page.csrf()), ("hash", "0".repeat(64)), ("password", PASSWORD.to_owned())];
    let answer = owner.post("/modules/fit/approve", &form).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(owner.get(&format!("/modules/fit/approve?hash={}", "0".repeat(64))).await.status, StatusCode::CONFLICT);
    assert!(host.app.modules.get("fit").is_none() && audited(&host).await.is_empty());

    let answer = decide(&mut owner, &approve, Some(PASSWORD)).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/modules/fit?note=module-approved"), "{}", answer.body);
    assert!(runs(&until(&host, "fit", |_| true).await));
    assert_eq!(audited(&host).await, [format!("owner module-approved fit@{} by the operator: on the modules page", hash(&bytes))]);
    assert!(!owner.get("/").await.body.contains("waits for your approval"));

    // For some minutes it need not be typed again, in this session; in another one it must be.
    let remove = owner.get("/modules/fit/remove").await.body;
    assert!(remove.contains("Remove fit?") && !remove.contains("type=\"password\""), "{remove}");
    let mut elsewhere = host.browser();
    elsewhere.sign_in("ada", PASSWORD).await;
    assert!(elsewhere.get("/modules/fit/remove").await.body.contains("type=\"password\""));
    host.pass(5 * 60_000);
    assert!(owner.get("/modules/fit/remove").await.body.contains("type=\"password\""));
    let answer = decide(&mut owner, "/modules/fit/remove", None).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    // Guessing is slowed with the sign-in.
    let mut last = decide(&mut owner, "/modules/fit/remove", Some("a guess")).await;
    for _ in 0..5 {
        last = decide(&mut owner, "/modules/fit/remove", Some("a guess")).await;
    }
    assert!(last.body.contains("Too many attempts"), "{}", last.body);
    assert!(decide(&mut owner, "/modules/fit/remove", Some(PASSWORD)).await.body.contains("Too many attempts"));
    assert!(host.dir.path().join("modules/fit.wasm").exists());
    host.pass(60 * 60_000 + 1);
    assert_eq!(decide(&mut owner, "/modules/fit/remove", Some(PASSWORD)).await.location(), "/modules?note=module-removed");
    assert!(!host.dir.path().join("modules/fit.wasm").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_decision_does_what_its_page_says() {
    let (host, mut owner, _watching) = watched().await;
    let first = Stranger::default().build();
    put(&host, "fit.wasm", &first);
    until(&host, "fit", pends).await;
    assert_eq!(owner.get("/modules/fit/rollback").await.status, StatusCode::CONFLICT, "nothing to go back to");
    // A no, which can be taken back.
    let answer = decide(&mut owner, &format!("/modules/fit/refuse?hash={}", hash(&first)), Some(PASSWORD)).await;
    assert_eq!(answer.location(), "/modules/fit?note=module-refused");
    let page = owner.get("/modules/fit?note=module-refused").await.body;
    assert!(page.contains("Does not run") && page.contains("Run it after all…") && !page.contains("Refuse…"), "{page}");
    let approve = format!("/modules/fit/approve?hash={}", hash(&first));
    let asked = owner.get(&approve).await.body;
    assert!(asked.contains("reads from https://api.fit.example/steps (GET)"), "what it asks for can be read again: {asked}");
    decide(&mut owner, &approve, None).await;
    let page = owner.get("/modules/fit").await.body;
    for part in ["Running", "1.0.0", "May do", "stores steps", "Records", "steps (1)", "Compiled in", &hash(&first)] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(owner.get("/modules/fit/approve").await.status, StatusCode::CONFLICT, "nothing waits");

    // A version that asks for more: what is new in it is shown, and only a yes lets it run.
    let second = Stranger { version: "2.0.0", paths: "\"/steps\", \"/heart\"", ..Stranger::default() }.build();
    put(&host, "fit.wasm", &second);
    until(&host, "fit", |l| l.waiting.is_some()).await;
    let page = owner.get("/modules").await.body;
    for part in ["a new version waits for your approval", "New in it, and not approved", "may now send GET https://api.fit.example/heart"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(owner.get("/").await.body.contains("1 module waits for your approval"));
    decide(&mut owner, &format!("/modules/fit/approve?hash={}", hash(&second)), None).await;
    assert_eq!(host.app.modules.get("fit").unwrap().manifest.version, "2.0.0");

    // And back.
    let page = owner.get("/modules/fit").await.body;
    assert!(page.contains("Served before") && page.contains("Back to 1.0.0…"), "{page}");
    let answer = decide(&mut owner, "/modules/fit/rollback", None).await;
    assert_eq!(answer.location(), "/modules/fit?note=module-rolled-back");
    assert_eq!(host.app.modules.get("fit").unwrap().manifest.version, "1.0.0");
    let asked = owner.get(&format!("/modules/fit/approve?hash={}", hash(&second))).await.body;
    assert!(asked.contains("New in it, and not approved") && asked.contains("may now send GET https://api.fit.example/heart"), "{asked}");
    let answer = decide(&mut owner, "/modules/fit/remove", None).await;
    assert_eq!(answer.location(), "/modules?note=module-removed");
    assert!(host.app.modules.get("fit").is_none());
    assert_eq!(owner.get("/modules/fit").await.status, StatusCode::NOT_FOUND);
    let kinds: Vec<String> = audited(&host).await.iter().map(|line| line.split('@').next().unwrap().to_owned()).collect();
    assert_eq!(
        kinds,
        [
            "owner module-refused fit",
            "owner module-approved fit",
            "owner module-approved fit",
            "owner module-rolled-back fit",
            "owner module-removed fit"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_examined_is_shown_as_that_and_nobody_is_asked_about_it() {
    let (host, mut owner, _watching) = watched().await;
    let bytes = Stranger::default().build_sleeping(1_500);
    put(&host, "fit.wasm", &bytes);
    until_seen(&host, "fit", |l| l.examined_for_ms.is_some()).await;
    for path in ["/modules", "/modules/fit"] {
        let page = owner.get(path).await.body;
        for part in ["Being examined", "being examined for", "it is compiled, and asked what it is", "http-equiv=\"refresh\""] {
            assert!(page.contains(part), "{path}: {part}: {page}");
        }
        assert!(!page.contains("Approve…"), "{page}");
    }
    assert_eq!(owner.get(&format!("/modules/fit/approve?hash={}", hash(&bytes))).await.status, StatusCode::CONFLICT);
    let home = owner.get("/").await.body;
    assert!(!home.contains("fit.wasm") && !home.contains("waits for your approval"), "nothing is wrong, and nobody is asked yet: {home}");
    until(&host, "fit", pends).await;
    assert!(!owner.get("/modules").await.body.contains("http-equiv=\"refresh\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_strangers_file_says_is_text() {
    let (host, mut owner, _watching) = watched().await;
    put(&host, "fit.wasm", &Stranger { title: NASTY, ..Stranger::default() }.build());
    // A file's own name is a stranger's text as well.
    put(&host, "<img src=x onerror=alert(2)>\u{202e}.wasm", b"\0asm");
    let listing = until(&host, "fit", pends).await;
    assert!(listing.line.contains("<script>"), "it is not refused for it: {listing:?}");
    until(&host, "<img src=x onerror=alert(2)>\u{202e}", |_| true).await;
    let approve = format!("/modules/fit/approve?hash={}", listing.sha256.unwrap());
    for path in ["/modules", "/modules/fit", &approve, "/"] {
        let page = owner.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        harmless(path, &page.body);
    }
    assert!(owner.get("/modules").await.body.contains("&#60;script&#62;"), "shown as it was written");
    decide(&mut owner, &approve, Some(PASSWORD)).await;
    for path in ["/modules", "/modules/fit", "/modules/fit/remove", "/link", "/link/fit"] {
        harmless(path, &owner.get(path).await.body);
    }
    for name in ["(folder)", "%2e%2e", "Fit", "%3Cimg%20src%3Dx%20onerror%3Dalert(2)%3E%E2%80%AE"] {
        assert_eq!(owner.get(&format!("/modules/{name}")).await.status, StatusCode::NOT_FOUND, "{name}");
    }
    assert_eq!(owner.get("/modules/fit/explode").await.status, StatusCode::NOT_FOUND);
}
