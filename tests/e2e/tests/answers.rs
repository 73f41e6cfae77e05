//! An answer that is none: HTML, an error under status 200, half a page, nothing at all. Nothing of it is stored, and no cursor moves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice_e2e::{
    dump::assert_same,
    folder::{Folder, Settings},
    host::Host,
    time::noon,
    truth,
    worlds::{self, Fm, Hub},
};
use sluice_model::ConnectionId;
use sluice_sim::{Fault, Kind, github, lastfm};
use sluice_store::{ConnectionState, RunOutcome};

/// Everything that is no answer and looks like one, or nearly.
fn bad_answers() -> Vec<Kind> {
    vec![
        Kind::Html,
        Kind::HtmlStatus { status: 200 },
        Kind::ErrorIn200 { body: None },
        Kind::ErrorIn200 { body: Some(serde_json::json!({"message": "Something went wrong.", "error": {"code": 500}})) },
        Kind::ErrorIn200 { body: Some(serde_json::json!("maintenance")) },
        Kind::ErrorIn200 { body: Some(serde_json::json!(null)) },
        Kind::Half,
        Kind::Truncate { keep: None },
        Kind::Truncate { keep: Some(0) },
        Kind::Empty,
    ]
}

/// The rows of one metric.
fn of<'a>(facts: &'a [String], metric: &str) -> Vec<&'a String> {
    let mark = format!("{{\"metric\":\"{metric}\"");
    facts.iter().filter(|fact| fact.starts_with(&mark)).collect()
}

fn new_data_at_github(hub: &Hub, now: i64, nth: i64) {
    let repository = hub.repositories("demo").into_iter().find(|r| !r.fork && !r.commits.is_empty()).unwrap().id;
    let at = now / 1_000 - 600 - nth;
    let login = Some("demo".to_owned());
    hub.apply(github::Command::AddCommit { repository, login, authored_at: at, committed_at: None }).unwrap();
    for pull_request in [false, true] {
        hub.apply(github::Command::AddIssue { login: "demo".into(), repository, pull_request, created_at: at }).unwrap();
    }
    let followers = hub.users()[0].followers + 1;
    hub.apply(github::Command::SetFollowers { login: "demo".into(), followers }).unwrap();
    let stars = hub.repositories("demo")[0].stars + 1;
    hub.apply(github::Command::SetStars { repository: hub.repositories("demo")[0].id, stars }).unwrap();
}

fn new_data_at_lastfm(fm: &Fm, now: i64, nth: i64) {
    let at = now / 1_000 - 600 - nth;
    fm.apply(lastfm::Command::AddPlay { user: "demo".into(), at, artist: "A".into(), track: format!("New {nth}"), album: String::new() })
        .unwrap();
    fm.apply(lastfm::Command::Love { user: "demo".into(), at, artist: "A".into(), track: format!("New {nth}") }).unwrap();
}

async fn run(host: &Host, id: ConnectionId) -> bool {
    let connection = host.run(id).await;
    let complete = connection.last_run.unwrap().outcome == RunOutcome::Complete;
    assert_eq!(complete, connection.state == ConnectionState::Ok, "{:?}", connection.message);
    complete
}

#[tokio::test(flavor = "multi_thread")]
async fn from_github_nothing_of_a_bad_answer_is_stored_and_no_cursor_moves() {
    let clock = noon();
    let hub = worlds::github(&clock, 1, 6);
    let folder = Folder::new(&Settings::default().github(&hub));
    let host = Host::start(&folder, &clock).await;
    let user = host.user("ada", "Europe/Berlin", true).await;
    let id = host.link(user, "github", "token", &[("token", &hub.token("demo").unwrap())]).await;
    host.settled(id).await;
    let mut nth = 0;
    for bad in bad_answers() {
        nth += 1;
        // The host keeps to GitHub's thirty searches a minute whatever the answers say.
        host.advance(61_000);
        new_data_at_github(&hub, clock.now(), nth);
        let (data, cursor) = (host.dump().lines(), host.cursor(id));
        hub.fault(Fault::new(bad.clone()));
        assert!(!run(&host, id).await, "{bad:?} on every request passed for an answer");
        hub.clear_faults();
        assert_same(&format!("{bad:?}: data"), &host.dump().lines(), &data);
        assert_same(&format!("{bad:?}: cursor and state"), &host.cursor(id), &cursor);

        // One source at a time: what the others brought is kept, of the spoiled one nothing.
        for (path, metrics) in [
            ("/user/repos", &["stars"][..]),
            ("/graphql", &["contributions"]),
            ("/commits", &["commits"]),
            ("/search/issues", &["pull_requests", "issues"]),
        ] {
            let before = truth::found(&host.dump(), "github", "demo");
            hub.fault(Fault::new(bad.clone()).matching(path));
            assert!(!run(&host, id).await, "{bad:?} on {path} passed for an answer");
            hub.clear_faults();
            let after = truth::found(&host.dump(), "github", "demo");
            for metric in metrics {
                assert_eq!(of(&after, metric), of(&before, metric), "{bad:?} on {path}");
            }
        }
        assert!(run(&host, id).await, "after {bad:?}");
        let wanted = truth::github(&hub, "demo", clock.now(), "Europe/Berlin");
        assert_same(&format!("after {bad:?}"), &truth::found(&host.dump(), "github", "demo"), &wanted);
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_lastfm_nothing_of_a_bad_answer_is_stored_and_no_cursor_moves() {
    let clock = noon();
    let fm = worlds::lastfm(&clock, 1, 3);
    let folder = Folder::new(&Settings::default().lastfm(&fm));
    let host = Host::start(&folder, &clock).await;
    let user = host.user("ada", "Europe/Berlin", true).await;
    let id = host.link(user, "lastfm", "user", &[("user", "demo")]).await;
    host.settled(id).await;
    let mut nth = 0;
    for bad in bad_answers() {
        nth += 1;
        new_data_at_lastfm(&fm, clock.now(), nth);
        for (method, metrics) in [
            ("", &["tracks", "playcount", "loved_tracks", "artists", "albums", "tracks_distinct"][..]),
            ("method=user.getRecentTracks", &["tracks"]),
            ("method=user.getLovedTracks", &["loved_tracks", "playcount"]),
        ] {
            let (data, cursor) = (truth::found(&host.dump(), "lastfm", "demo"), host.cursor(id));
            fm.fault(Fault::new(bad.clone()).matching(method));
            assert!(!run(&host, id).await, "{bad:?} on {method} passed for an answer");
            fm.clear_faults();
            let after = truth::found(&host.dump(), "lastfm", "demo");
            for metric in metrics {
                assert_eq!(of(&after, metric), of(&data, metric), "{bad:?} on {method}");
            }
            if method.is_empty() {
                assert_same(&format!("{bad:?}: cursor and state"), &host.cursor(id), &cursor);
            }
        }
        assert!(run(&host, id).await, "after {bad:?}");
        let wanted = truth::lastfm(&fm, "demo", clock.now(), "Europe/Berlin");
        assert_same(&format!("after {bad:?}"), &truth::found(&host.dump(), "lastfm", "demo"), &wanted);
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_counts_is_the_body_and_not_what_its_header_calls_it() {
    let clock = noon();
    let hub = worlds::github(&clock, 1, 4);
    let folder = Folder::new(&Settings::default().github(&hub));
    let host = Host::start(&folder, &clock).await;
    let user = host.user("ada", "Europe/Berlin", true).await;
    let id = host.link(user, "github", "token", &[("token", &hub.token("demo").unwrap())]).await;
    host.settled(id).await;
    for (nth, wrong) in ["text/html; charset=utf-8", "text/plain", "application/octet-stream", "nonsense"].into_iter().enumerate() {
        new_data_at_github(&hub, clock.now(), i64::try_from(nth).unwrap());
        // The right body under a wrong type is the provider's answer all the same; a page is none, whatever it is called.
        hub.fault(Fault::new(Kind::WrongType { content_type: wrong.into() }));
        assert!(run(&host, id).await, "{wrong}");
        hub.clear_faults();
        let wanted = truth::github(&hub, "demo", clock.now(), "Europe/Berlin");
        assert_same(wrong, &truth::found(&host.dump(), "github", "demo"), &wanted);
        let before = host.dump().lines();
        hub.fault(Fault::new(Kind::Html));
        hub.fault(Fault::new(Kind::WrongType { content_type: "application/json".into() }));
        assert!(!run(&host, id).await, "a page that is called JSON");
        hub.clear_faults();
        assert_same("a page that is called JSON", &host.dump().lines(), &before);
    }
    host.stop().await;
}
