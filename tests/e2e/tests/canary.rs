//! No secret leaves its box: every credential is a canary, the providers sing each of them back in every place they can, the program logs all it has, and
//! afterwards nothing that it wrote, served or printed has one of them in it, in any spelling.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use sluice_e2e::{
    browser::Browser,
    folder::{Folder, Settings, copy_folder},
    host::{PASSWORD, set_up},
    spelling::{contains, find, spellings},
    worlds::{self, Fm, Hub, ROTATING},
};
use sluice_sim::{Clock, Encoding, Fault, Kind, Place, github, lastfm};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Everything in which secrets are looked for, by name.
#[derive(Default)]
struct Haystack(BTreeMap<String, Vec<u8>>);

impl Haystack {
    fn add(&mut self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.0.insert(name.to_owned(), bytes.into());
    }

    fn add_folder(&mut self, name: &str, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let name = format!("{name}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                // Compiled code holds no data, and is the same for everybody.
                if !name.ends_with("/compiled") {
                    self.add_folder(&name, &entry.path());
                }
            } else if let Ok(bytes) = std::fs::read(entry.path()) {
                self.add(&name, bytes);
            }
        }
    }

    /// Where any of the secrets is.
    fn find(&self, secrets: &BTreeSet<(String, String)>) -> Vec<String> {
        let mut found = Vec::new();
        for (what, secret) in secrets {
            let needles = spellings(secret);
            for (name, bytes) in &self.0 {
                for needle in needles.iter().filter(|needle| contains(bytes, needle)) {
                    let at = find(bytes, needle).unwrap_or(0);
                    let around =
                        String::from_utf8_lossy(&bytes[at.saturating_sub(120)..(at + needle.len() + 40).min(bytes.len())]).into_owned();
                    found.push(format!("{what} in {name}: …{around}…"));
                }
            }
        }
        found
    }
}

/// Every secret that exists by now.
fn secrets(hub: &Hub, fm: &Fm, browser: &Browser) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    let mut add = |what: &str, secret: &str| {
        all.insert((what.to_owned(), secret.to_owned()));
    };
    add("the owner's password", PASSWORD);
    add("the app's secret", ROTATING.1);
    add("the API key", lastfm::API_KEY);
    add("the shared secret", lastfm::SHARED_SECRET);
    add("the session cookie", &browser.cookie("localhost", "sluice_session").unwrap());
    for token in hub.tokens_alive() {
        add("a token", &token.value);
    }
    for (session, _) in fm.sessions_alive() {
        add("a Last.fm session", &session);
    }
    // What was sent on the way: codes, refresh tokens and access tokens that are no more, tokens of the sign-in page.
    for request in hub.requests() {
        for credential in request.credentials {
            add("a credential that GitHub was sent", &credential);
        }
    }
    for request in fm.requests() {
        for credential in request.credentials {
            add("a credential that Last.fm was sent", &credential);
        }
    }
    all
}

/// Every place and every spelling in which a provider repeats a credential.
fn songs() -> Vec<Kind> {
    let mut songs = Vec::new();
    for place in [Place::Header, Place::Body, Place::Error, Place::Link, Place::Location] {
        for encoding in [Encoding::Raw, Encoding::Url, Encoding::Base64, Encoding::Json] {
            songs.push(Kind::Echo { place, encoding });
        }
    }
    songs
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_anything_that_was_written_served_or_printed() {
    let clock = Clock::system();
    let hub = worlds::github_of(github::Options { users: 2, days: 3, auto_approve: Some("demo".into()), ..worlds::options(&clock) });
    let fm = worlds::lastfm(&clock, 1, 2);
    fm.apply(lastfm::Command::AutoApprove { user: Some("demo".into()) }).unwrap();
    let folder = Folder::new(&Settings::default().github(&hub).lastfm(&fm).app(ROTATING));
    let host = folder.serve_with(folder.sluice(&["serve"]).env("SLUICE_LOG", "trace"));
    let mut hay = Haystack::default();

    // Both ways in at GitHub, for two accounts, and Last.fm's own page: through the pages, as people do it.
    let mut browser = Browser::new();
    set_up(&mut browser, &host.word("/setup/")).await;
    let pages = format!("http://localhost:{}", folder.port);
    let other = hub.users().into_iter().find(|user| user.login != "demo").unwrap().login;
    let token = hub.token(&other).unwrap();
    for (way, fields) in [("github/token", vec![("field-token", token.as_str())]), ("github/oauth", vec![]), ("lastfm/web", vec![])] {
        let connector = way.split('/').next().unwrap();
        let page = browser.get(&format!("{pages}/link/{connector}")).await;
        let done = browser.submit(&page, &format!("/link/{way}"), &fields).await;
        assert!(done.status == 200 && done.url.path().starts_with("/connections/"), "{way}: {} {}", done.url, done.text());
        hay.add(&format!("page after {way}"), done.body);
    }
    // What is typed wrongly must not come back either.
    let page = browser.get(&format!("{pages}/link/github")).await;
    let wrong = browser.submit(&page, "/link/github/token", &[("field-token", "github_pat_WRONGCANARY00000000000000000000")]).await;
    assert_eq!(wrong.status, 422);
    hay.add("page after a wrong token", wrong.body);

    let mut outcomes = BTreeSet::new();
    let mut turn = async |what: &str, hay: &mut Haystack| {
        // The command waits until all three have run; it may find one waiting for its time, which is an answer too.
        let ran = folder.run(&["run", "--json"]);
        for row in ran.json::<Vec<Value>>() {
            outcomes.insert(row["outcome"].as_str().unwrap().to_owned());
        }
        hay.add(&format!("sluice run, {what}"), ran.stdout + &ran.stderr);
    };
    turn("before", &mut hay).await;
    for (nth, song) in songs().into_iter().enumerate() {
        // Something new each time, or there would be nothing to say but 304.
        let followers = 1_000 + nth as u64;
        hub.with(|world| world.users.values_mut().for_each(|user| user.followers = followers));
        hub.fault(Fault::new(song.clone()));
        if nth % 5 == 0 {
            fm.fault(Fault::new(song.clone()));
        }
        if nth % 7 == 3 {
            hub.apply(github::Command::ExpireTokens { login: None }).unwrap();
        }
        turn(&format!("{song:?}"), &mut hay).await;
        hub.clear_faults();
        fm.clear_faults();
    }
    turn("after", &mut hay).await;
    assert!(outcomes.contains("complete") && outcomes.len() > 1, "{outcomes:?}: neither good nor bad runs would show much");

    let connections: Vec<Value> = folder.run(&["connections", "--json"]).exits(0).json();
    assert_eq!(connections.len(), 3, "{connections:?}");
    for args in [
        &["connections"][..],
        &["connections", "--json"],
        &["runs"],
        &["runs", "--json"],
        &["entries"],
        &["entries", "--json"],
        &["entries", "--csv"],
        &["modules", "list"],
        &["modules", "list", "--json"],
        &["modules", "show", "github"],
        &["modules", "show", "lastfm"],
        &["modules", "show", "github", "--json"],
        &["gate", "explain", "github", "https://api.github.com/user"],
    ] {
        let said = folder.run(args).exits(0);
        hay.add(&format!("sluice {}", args.join(" ")), said.stdout + &said.stderr);
    }
    let mut paths =
        vec!["/".to_owned(), "/link".into(), "/link/github".into(), "/link/lastfm".into(), "/account".into(), "/healthz".into()];
    for connection in &connections {
        let id = connection["id"].as_str().unwrap();
        paths.extend(["", "/entries", "/entries.csv", "/entries.json", "/disconnect"].map(|rest| format!("/connections/{id}{rest}")));
    }
    for path in paths {
        let page = browser.get(&format!("{pages}{path}")).await;
        assert_eq!(page.status, 200, "{path}");
        hay.add(&format!("page {path}"), page.body);
    }

    // While it runs (the log of writes is full), and after it ended.
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&folder.data(), &copy.path().join("data"));
    hay.add_folder("data while it ran", &copy.path().join("data"));
    hay.add("what it printed", host.printed().join("\n"));
    let id = connections.iter().find(|c| c["profile"] == "token").unwrap()["id"].as_str().unwrap().to_owned();
    let left = folder.run(&["disconnect", &id]).exits(0);
    hay.add("sluice disconnect", left.stdout + &left.stderr);
    assert!(host.terminate().success());
    hay.add_folder("data", &folder.data());
    let log = folder.log();
    assert!(log.contains("TRACE"), "the log has everything");
    hay.add("log", log);

    let mut all = secrets(&hub, &fm, &browser);
    all.insert(("a mistyped token".into(), "github_pat_WRONGCANARY00000000000000000000".into()));
    assert!(all.len() > 20, "{} secrets", all.len());
    assert!(
        all.iter().any(|(what, secret)| what.contains("GitHub was sent") && secret.starts_with("ghr_")),
        "no refresh token was among them"
    );
    assert!(hay.0.keys().any(|name| name.ends_with("sluice.db-wal")) && hay.0.len() > 60);
    let found = hay.find(&all);
    assert!(found.is_empty(), "{} finds:\n{}", found.len(), found.iter().take(12).cloned().collect::<Vec<_>>().join("\n\n"));
}

#[test]
fn the_search_finds_what_it_should() {
    let secret = "ghu_Canary0123456789";
    let mut hay = Haystack::default();
    hay.add("raw", format!("x{secret}y"));
    hay.add("hex", secret.bytes().map(|b| format!("{b:02x}")).collect::<String>());
    hay.add("percent", secret.bytes().map(|b| format!("%{b:02X}")).collect::<String>());
    hay.add("base64", STANDARD.encode(format!("Basic x:{secret}")));
    hay.add("base64 one further", STANDARD.encode(format!("Basic xy:{secret}!")));
    hay.add("base64 two further", STANDARD.encode(format!("Basic xyz:{secret}?!")));
    hay.add("nothing", "ghu_Canary012345678");
    let secrets = BTreeSet::from([("it".to_owned(), secret.to_owned())]);
    let found = hay.find(&secrets);
    for name in ["raw", "hex", "percent", "base64", "base64 one further", "base64 two further"] {
        assert!(found.iter().any(|f| f.starts_with(&format!("it in {name}:"))), "{name}: {found:?}");
    }
    assert!(!found.iter().any(|f| f.contains("nothing")));
}
