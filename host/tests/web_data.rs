//! What providers and connectors say never becomes markup, a formula or somebody else's business.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod web_support;

use http::StatusCode;
use sluice_model::{
    Account, ConnectionId, Entry, Failure, FailureKind, Moment,
    manifest::{Identity, Metric, MetricKind},
    task::Reason,
};
use sluice_store::{Batch, ConnectionState, Finish, Ingest, LogLine, NewLink, RunOutcome, RunStart, Used};
use web_support::{Host, NASTY, NOON, harmless};

fn metric(name: &str, kind: MetricKind, identity: Identity, series: Option<&str>) -> Metric {
    Metric { name: name.into(), alias: None, unit: "1".into(), kind, identity, series: series.map(str::to_owned) }
}

/// A connection of the owner's, whatever its connector.
async fn linked(host: &Host, label: &str, id: &str) -> ConnectionId {
    let store = &host.app.store;
    let user = store.owner().await.unwrap().unwrap().id;
    let app = store.app("lastfm", "").await.unwrap();
    let link = NewLink {
        public_id: store.new_public_id(),
        user,
        app: app.id,
        connector: "lastfm".into(),
        profile: "user".into(),
        account: Account { id: Some(id.into()), label: label.into(), route_keys: Vec::new() },
        scopes: vec![NASTY.into()],
        settings: Vec::new(),
        data_key: ("key".into(), vec![1, 2, 3]),
        credentials: Vec::new(),
        relink: None,
        due: NOON,
    };
    store.link(link).await.unwrap()
}

/// One run that stores `entries` and ends as told.
async fn run(host: &Host, connection: ConnectionId, entries: &[Entry], state: ConnectionState, message: Option<&str>, url: Option<&str>) {
    let store = &host.app.store;
    let metrics =
        [metric("tracks", MetricKind::Event, Identity::Id, None), metric("plays", MetricKind::Sum, Identity::Time, Some("artist"))];
    let ids = store.ensure_metrics("lastfm", &metrics).await.unwrap();
    let now = host.app.now();
    let incarnation = store.start_incarnation(now, now + 60_000).await.unwrap();
    let claims = store.claim(incarnation, now, 10).await.unwrap();
    let claim = claims.into_iter().find(|claim| claim.fence.connection == connection).expect("it is due");
    let mut ingest = Ingest::new(&ids, "Europe/Vienna", 2).unwrap();
    for entry in entries {
        ingest.record(entry).unwrap();
    }
    if entries.iter().any(|e| e.series.is_some()) {
        ingest.label("plays", "s", NASTY).unwrap();
    }
    let failure = message.map(|text| Failure::new(FailureKind::NeedsAction, NASTY, text));
    let batch = Batch {
        fence: claim.fence,
        ops: ingest.take(),
        as_of: now,
        cursor: None,
        state: Vec::new(),
        guest_keys: Vec::new(),
        run: RunStart { reason: Reason::Linked, started_at: now - 1_500, connector_version: "1.0.0".into() },
        requests: 12,
        finish: Some(Finish {
            ended_at: now,
            outcome: if message.is_some() { RunOutcome::Failed(FailureKind::NeedsAction) } else { RunOutcome::Complete },
            failure,
            log: vec![LogLine { at: now, level: "info".into(), text: format!("said {NASTY}") }],
            problems: Vec::new(),
            state,
            message: message.map(str::to_owned),
            url: url.map(str::to_owned),
            next_due: message.is_none().then_some(now + 12 * 60_000),
            next_reason: message.is_none().then(|| "on schedule".to_owned()),
            attempts: 0,
            quotas: Vec::new(),
            used: Used::default(),
        }),
    };
    store.commit(batch).await.unwrap();
}

fn track(n: i64, title: &str) -> Entry {
    let mut entry = Entry::new("tracks", Moment::Instant(NOON - n * 60_000), 1.0);
    entry.id = Some(format!("={n}"));
    entry.detail = Some(serde_json::json!({ "title": title }).to_string());
    entry
}

async fn public_id(host: &Host, id: ConnectionId) -> String {
    host.app.store.connection(id).await.unwrap().unwrap().public_id
}

#[tokio::test]
async fn nothing_a_provider_says_becomes_markup() {
    let host = Host::local().await;
    let mut owner = host.owner().await;
    let connection = linked(&host, NASTY, "1").await;
    let mut play = Entry::new("plays", Moment::Instant(NOON), 3.0);
    play.series = Some("s".into());
    run(&host, connection, &[track(1, NASTY), play], ConnectionState::NeedsAction, Some(NASTY), Some("javascript:alert(1)")).await;
    let id = public_id(&host, connection).await;
    for path in
        ["/".to_owned(), format!("/connections/{id}"), format!("/connections/{id}/entries"), format!("/connections/{id}/disconnect")]
    {
        let page = owner.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.body.contains("&#60;script&#62;"), "{path} shows it as text");
        harmless(&path, &page.body);
    }
}

#[tokio::test]
async fn a_link_of_the_providers_is_shown_with_its_host() {
    let host = Host::local().await;
    let mut owner = host.owner().await;
    let connection = linked(&host, "ada", "1").await;
    run(&host, connection, &[], ConnectionState::NeedsAction, Some("Confirm your address"), Some("https://www.last.fm/settings?a=1&b=2"))
        .await;
    let page = owner.get("/").await.body;
    assert!(page.contains("Something to do there") && page.contains("lastfm says: Confirm your address"), "{page}");
    assert!(page.contains("href=\"https://www.last.fm/settings?a=1&#38;b=2\"") || page.contains("a=1&amp;b=2"), "{page}");
    assert!(page.contains("Open www.last.fm"), "{page}");
}

#[tokio::test]
async fn a_connection_says_what_came_and_what_is_next() {
    let host = Host::local().await;
    let mut owner = host.owner().await;
    let connection = linked(&host, "ada-listens", "1").await;
    let entries: Vec<Entry> = (0..250).map(|n| track(n, "a song")).collect();
    run(&host, connection, &entries, ConnectionState::Ok, None, None).await;
    let home = owner.get("/").await.body;
    for part in
        ["ada-listens", "Its connector is not running", "Complete: 250 new", "title=\"2026-11-21 13:00:00 CET\">just now", "/entries"]
    {
        assert!(home.contains(part), "{part} in {home}");
    }
    assert!(!home.contains("Sync now") && !home.contains("Next run"), "there is nothing that could sync");
    let id = public_id(&host, connection).await;
    let page = owner.get(&format!("/connections/{id}")).await.body;
    for part in ["tracks", ">250<", "after linking", "1.5 s", ">12<", "Log", "250 entries"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let first = owner.get(&format!("/connections/{id}/entries?metric=tracks")).await.body;
    assert_eq!(first.matches("<td data-label=\"Metric\">tracks</td>").count(), 100);
    let (_, rest) = first.split_once("<a class=\"button quiet\" href=\"").unwrap();
    let older = owner.get(&rest.split('"').next().unwrap().replace("&amp;", "&").replace("&#38;", "&")).await.body;
    assert_eq!(older.matches("<td data-label=\"Metric\">tracks</td>").count(), 100);
    assert_ne!(first, older);
}

#[tokio::test]
async fn entries_can_be_taken_away_whole_and_harmless() {
    let host = Host::local().await;
    let mut owner = host.owner().await;
    let connection = linked(&host, "=cmd()", "1").await;
    let entries: Vec<Entry> = (0..4_500).map(|n| track(n, "a, \"song\"")).collect();
    run(&host, connection, &entries, ConnectionState::Ok, None, None).await;
    let id = public_id(&host, connection).await;
    let csv = owner.get(&format!("/connections/{id}/entries.csv")).await;
    assert!(csv.headers["content-disposition"].to_str().unwrap().starts_with("attachment; filename=\"lastfm-"));
    let lines: Vec<&str> = csv.body.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 4_501);
    assert_eq!(lines[0], sluice::web::csv::HEAD);
    for line in &lines[1..] {
        assert!(line.starts_with("lastfm,'=cmd(),tracks,1,,,'="), "{line}");
    }
    let json = owner.get(&format!("/connections/{id}/entries.json")).await;
    let read: Vec<serde_json::Value> = serde_json::from_str(&json.body).unwrap();
    assert_eq!(read.len(), 4_500);
    assert_eq!(read[0]["detail"]["title"], "a, \"song\"");
    let none = owner.get(&format!("/connections/{id}/entries.json?metric=plays")).await;
    assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&none.body).unwrap().len(), 0);
    let some = owner.get(&format!("/connections/{id}/entries.json?since=2026-11-21")).await;
    let read: Vec<serde_json::Value> = serde_json::from_str(&some.body).unwrap();
    assert!(!read.is_empty() && read.len() < 4_500 && read.iter().all(|e| e["day"].as_str().unwrap() >= "2026-11-21"), "{}", read.len());
}

#[tokio::test]
async fn another_persons_connection_is_not_there() {
    let host = Host::local().await;
    host.owner().await;
    let connection = linked(&host, "ada", "1").await;
    let id = public_id(&host, connection).await;
    let mut grace = host.member("grace").await;
    let home = grace.get("/").await;
    assert!(home.body.contains("Nothing is linked yet"));
    let token = home.csrf();
    for page in ["", "/entries", "/entries.csv", "/entries.json", "/disconnect"] {
        assert_eq!(grace.get(&format!("/connections/{id}{page}")).await.status, StatusCode::NOT_FOUND, "{page}");
    }
    for form in ["sync", "disconnect"] {
        let answer = grace.post(&format!("/connections/{id}/{form}"), &[("csrf", token.clone()), ("data", "delete".into())]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{form}");
    }
    assert!(host.app.store.connection(connection).await.unwrap().is_some());
}

#[tokio::test]
async fn leaving_says_what_goes_and_counts_what_went() {
    let host = Host::local().await;
    let mut owner = host.owner().await;
    let connection = linked(&host, "ada", "1").await;
    run(&host, connection, &[track(1, "x"), track(2, "y")], ConnectionState::Ok, None, None).await;
    let id = public_id(&host, connection).await;
    let page = owner.get(&format!("/connections/{id}/disconnect")).await;
    assert!(page.body.contains("2 entries, every run and its log"), "{}", page.body);
    let path = format!("/connections/{id}/disconnect");
    let undecided = owner.post(&path, &[("csrf", page.csrf())]).await;
    assert_eq!(undecided.status, StatusCode::UNPROCESSABLE_ENTITY);
    let kept = owner.post(&path, &[("csrf", page.csrf()), ("data", "keep".into())]).await;
    assert_eq!(kept.status, StatusCode::OK, "{}", kept.body);
    assert!(owner.get(&format!("/connections/{id}")).await.body.contains("Disconnected"));
    let gone = owner.post(&path, &[("csrf", page.csrf()), ("data", "delete".into())]).await;
    assert!(gone.body.contains("<dd>2 entries</dd>"), "{}", gone.body);
    assert_eq!(owner.get(&format!("/connections/{id}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_state_is_shown_in_words_with_at_most_one_way_on() {
    let host = Host::local().await;
    let mut owner = host.owner().await;
    let connection = linked(&host, "ada", "1").await;
    let id = public_id(&host, connection).await;
    for state in ConnectionState::ALL {
        host.app.store.set_state(connection, state, None, None).await.unwrap();
        let words = sluice::web::state_words(state, "lastfm", false, true);
        for path in ["/".to_owned(), format!("/connections/{id}")] {
            let page = owner.get(&path).await;
            assert_eq!(page.status, StatusCode::OK);
            // No module lies in this host's folder, which is what a connection that is well has to say.
            let headline = if state == ConnectionState::Ok { "Its connector is not running" } else { words.headline.as_str() };
            assert!(page.body.contains(headline), "{path}: {headline} in {}", page.body);
            assert!(!page.body.contains(&format!(">{}<", state.as_str())) || !state.as_str().contains('-'), "{path}: {state:?}");
        }
    }
}
