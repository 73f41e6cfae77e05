//! Last.fm's web service and sign-in as documented, in all the shapes that break readers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::Value;
use sluice_sim::lastfm::{API_KEY, Bounds, Command, Options, Play, SHARED_SECRET, Simulator, sign};
use sluice_sim::{Clock, LastFm, Running};
use support::{Reply, post_form, query, send};

const UNTIL: i64 = 1_790_000_000;

fn start() -> Running<Simulator> {
    let options = Options { users: 3, clock: Clock::fixed(UNTIL * 1000), until: Some(UNTIL), ..Options::default() };
    LastFm::start(options).unwrap()
}

fn call(sim: &Running<Simulator>, parameters: &[(&str, &str)]) -> Reply {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .append_pair("api_key", API_KEY)
        .append_pair("format", "json")
        .finish();
    send(sim.addr, "GET", &format!("/2.0/?{query}"), &[("user-agent", "test")], "").unwrap()
}

fn signed(sim: &Running<Simulator>, parameters: &[(&str, &str)]) -> Reply {
    let mut all: Vec<(String, String)> = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    all.push(("api_key".to_owned(), API_KEY.to_owned()));
    let signature = sign(&all, SHARED_SECRET);
    let mut parameters = parameters.to_vec();
    parameters.push(("api_sig", &signature));
    call(sim, &parameters)
}

fn recent(sim: &Running<Simulator>, more: &[(&str, &str)]) -> Value {
    let mut parameters = vec![("method", "user.getRecentTracks"), ("user", "demo")];
    parameters.extend_from_slice(more);
    let reply = call(sim, &parameters);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["recenttracks"].clone()
}

fn check(reply: &Reply, status: u16, code: u64) {
    assert_eq!((reply.status, reply.json()["error"].as_u64()), (status, Some(code)), "{}", reply.text());
}

fn shape(play: &Play) -> (String, String, String) {
    (play.at.to_string(), play.artist.clone(), play.track.clone())
}

fn seen(row: &Value) -> (String, String, String) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&row["date"]["uts"]), text(&row["artist"]["#text"]), text(&row["name"]))
}

#[test]
fn walking_the_pages_yields_every_play_once_in_text_numbers() {
    let sim = start();
    let plays = sim.plays("demo");
    assert!(plays.len() > 400, "only {} plays", plays.len());
    assert!(plays.windows(2).any(|pair| pair[0].at == pair[1].at), "no two plays share a second");
    assert!(plays.iter().any(|play| !play.track.is_ascii()));
    let to = (UNTIL + 1).to_string();
    let mut rows = Vec::new();
    for page in 1.. {
        let list = recent(&sim, &[("limit", "1000"), ("to", &to), ("page", &page.to_string())]);
        rows.extend(list["track"].as_array().unwrap().iter().map(seen));
        let attributes = &list["@attr"];
        assert_eq!((attributes["perPage"].as_str(), attributes["total"].as_str()), (Some("200"), Some(plays.len().to_string().as_str())));
        if attributes["totalPages"] == attributes["page"] {
            break;
        }
    }
    assert_eq!(rows, plays.iter().map(shape).collect::<Vec<_>>());
}

#[test]
fn one_row_is_an_object_none_is_empty_and_the_old_form_has_no_list() {
    let sim = start();
    let first = &sim.plays("demo")[0];
    let one = recent(&sim, &[("limit", "1")]);
    assert_eq!(seen(&one["track"]), shape(first));
    let extended = recent(&sim, &[("limit", "1"), ("extended", "1")]);
    assert_eq!(extended["track"]["artist"]["name"], first.artist.as_str());
    assert!(matches!(extended["track"]["loved"].as_str(), Some("0" | "1")));
    let none = recent(&sim, &[("from", "1"), ("to", "2")]);
    assert_eq!((none["track"].as_array().map(Vec::len), none["@attr"]["totalPages"].as_str()), (Some(0), Some("0")));
    sim.apply(Command::OldEmptyForm { on: true }).unwrap();
    let old = recent(&sim, &[("from", "1"), ("to", "2")]);
    assert!(old.get("track").is_none() && old.get("@attr").is_none());
    assert_eq!((old["#text"].as_str(), old["total"].as_str(), old["page"].as_str()), (Some("\n"), Some("0"), Some("0")));
}

#[test]
fn what_plays_now_comes_first_without_a_date_and_uncounted() {
    let sim = start();
    sim.apply(Command::SetPlaying { user: "demo".into(), playing: Some(("夜".into(), "Now & <then>".into())) }).unwrap();
    let list = recent(&sim, &[("limit", "1"), ("from", "1"), ("to", "2")]);
    assert_eq!((list["track"]["@attr"]["nowplaying"].as_str(), list["@attr"]["total"].as_str()), (Some("true"), Some("0")));
    assert!(list["track"].get("date").is_none());
    let list = recent(&sim, &[("limit", "2")]);
    assert_eq!(list["track"].as_array().unwrap().len(), 3);
    assert!(recent(&sim, &[("limit", "2"), ("page", "2")])["track"].as_array().unwrap().iter().all(|row| row.get("date").is_some()));
    let xml = send(sim.addr, "GET", &format!("/2.0/?method=user.getrecenttracks&user=demo&limit=1&api_key={API_KEY}"), &[], "").unwrap();
    let text = xml.text();
    assert!(
        xml.header("content-type").starts_with("text/xml")
            && text.contains("<lfm status=\"ok\"><recenttracks page=\"1\"")
            && text.contains("<track nowplaying=\"true\">"),
        "{text}"
    );
    assert!(text.contains("<name>Now &amp; &lt;then&gt;</name>") && text.contains("<date uts=\""), "{text}");
}

#[test]
fn the_ends_of_a_range_are_as_the_test_sets_them() {
    let sim = start();
    let at = sim
        .plays("demo")
        .iter()
        .map(|play| play.at)
        .find(|at| sim.plays("demo").iter().filter(|play| play.at == *at).count() == 1)
        .unwrap();
    let (text, next) = (at.to_string(), (at + 1).to_string());
    let total = |from: &str, to: &str| recent(&sim, &[("from", from), ("to", to)])["@attr"]["total"].as_str().unwrap().to_owned();
    for (bounds, itself, half_open) in [(Bounds::HalfOpen, "0", "1"), (Bounds::Closed, "1", "1"), (Bounds::Open, "0", "0")] {
        sim.apply(Command::SetBounds { bounds }).unwrap();
        assert_eq!((total(&text, &text).as_str(), total(&text, &next).as_str()), (itself, half_open), "{bounds:?}");
    }
}

#[test]
fn profiles_and_loved_songs_tell_the_truth_in_text() {
    let sim = start();
    let user = call(&sim, &[("method", "user.getInfo"), ("user", "DEMO")]).json()["user"].clone();
    assert_eq!(user["playcount"], sim.plays("demo").len().to_string());
    assert!(user["registered"]["#text"].is_number() && user["registered"]["unixtime"].is_string());
    let loved = sim.loved("demo");
    assert!(loved.len() > 2);
    let list = call(&sim, &[("method", "user.getLovedTracks"), ("user", "demo"), ("limit", "200")]).json()["lovedtracks"].clone();
    assert_eq!(list["@attr"]["total"], loved.len().to_string());
    assert_eq!(list["track"][0]["date"]["uts"], loved[0].at.to_string());
    assert_eq!(list["track"].as_array().unwrap().len(), loved.len());
}

#[test]
fn errors_by_code_and_status() {
    let sim = start();
    let hidden = sim.with(|world| world.users.values().find(|user| user.hidden).unwrap().name.clone());
    let of = |parameters: &[(&str, &str)]| call(&sim, parameters);
    let recent = ("method", "user.getRecentTracks");
    check(&of(&[recent, ("user", "no-such-user")]), 404, 6);
    check(&of(&[recent]), 400, 6);
    check(&of(&[recent, ("user", "demo"), ("page", "0")]), 400, 6);
    check(&of(&[recent, ("user", "demo"), ("page", "1000001")]), 400, 6);
    check(&of(&[recent, ("user", "demo"), ("page", "900")]), 400, 6);
    check(&of(&[recent, ("user", "demo"), ("from", "yesterday")]), 400, 6);
    check(&of(&[("method", "user.getShoeSize")]), 400, 3);
    check(&of(&[recent, ("user", &hidden)]), 403, 17);
    check(&of(&[recent, ("user", "demo"), ("sk", "x")]), 403, 13);
    check(&of(&[("method", "auth.getSession"), ("token", "x")]), 403, 13);
    check(&signed(&sim, &[recent, ("user", "demo"), ("sk", "x")]), 403, 9);
    check(&signed(&sim, &[("method", "auth.getSession"), ("token", "x")]), 403, 4);
    let other = send(sim.addr, "GET", "/2.0/?method=user.getinfo&user=demo&api_key=nobody&format=json", &[], "").unwrap();
    check(&other, 403, 10);
    let xml = send(sim.addr, "GET", "/2.0/?method=user.getinfo&user=demo&api_key=nobody", &[], "").unwrap();
    assert!(xml.text().contains("<lfm status=\"failed\"><error code=\"10\">"));
    sim.apply(Command::SetLimit { limit: Some((1, 60)) }).unwrap();
    assert_eq!(of(&[recent, ("user", "demo")]).status, 200);
    check(&of(&[recent, ("user", "demo")]), 429, 29);
    sim.clock().advance(60_000);
    assert_eq!(of(&[recent, ("user", "demo")]).status, 200);
    sim.apply(Command::SetLimit { limit: None }).unwrap();
    sim.apply(Command::ErrorsOn200 { on: true }).unwrap();
    check(&of(&[recent, ("user", "no-such-user")]), 200, 6);
    sim.apply(Command::SuspendKey { api_key: API_KEY.into(), suspended: true }).unwrap();
    check(&of(&[recent, ("user", "demo")]), 200, 26);
}

fn sign_in(sim: &Running<Simulator>, back: &str) -> Reply {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("api_key", API_KEY).append_pair("cb", back).finish();
    send(sim.addr, "GET", &format!("/api/auth/?{query}"), &[], "").unwrap()
}

#[test]
fn a_token_from_the_page_becomes_a_session_once_within_an_hour() {
    let sim = start();
    let hidden = sim.with(|world| world.users.values().find(|user| user.hidden).unwrap().name.clone());
    let page = sign_in(&sim, "http://127.0.0.1:1/back/nonce?x=1").text();
    let request = page.split("name=\"request\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let back = post_form(sim.addr, "/api/auth/", &[("request", request), ("user", &hidden), ("allow", "1")], &[]);
    let location = back.header("location").to_owned();
    assert!(back.status == 302 && location.starts_with("http://127.0.0.1:1/back/nonce?x=1&token="), "{location}");
    let token = query(&location, "token").unwrap();
    let session = signed(&sim, &[("method", "auth.getSession"), ("token", &token)]).json()["session"].clone();
    assert_eq!(session["name"], hidden.as_str());
    check(&signed(&sim, &[("method", "auth.getSession"), ("token", &token)]), 403, 4);
    let key = session["key"].as_str().unwrap();
    let own = [("method", "user.getRecentTracks"), ("user", hidden.as_str()), ("sk", key), ("limit", "5")];
    assert_eq!(signed(&sim, &own).json()["recenttracks"]["track"].as_array().unwrap().len(), 5);
    assert_eq!((sim.sessions_alive().len(), sim.exchanges()), (1, 1));
    sim.apply(Command::RevokeSession { session: None, user: Some(hidden.clone()) }).unwrap();
    check(&signed(&sim, &own), 403, 9);
    sim.apply(Command::AutoApprove { user: Some("demo".into()) }).unwrap();
    let late = query(sign_in(&sim, "http://127.0.0.1:1/back").header("location"), "token").unwrap();
    sim.clock().advance(3_600_000);
    check(&signed(&sim, &[("method", "auth.getSession"), ("token", &late)]), 403, 15);
    let desktop = signed(&sim, &[("method", "auth.getToken")]).json()["token"].as_str().unwrap().to_owned();
    check(&signed(&sim, &[("method", "auth.getSession"), ("token", &desktop)]), 403, 14);
    assert_eq!(send(sim.addr, "GET", &format!("/api/auth/?api_key={API_KEY}&token={desktop}"), &[], "").unwrap().status, 200);
    assert_eq!(signed(&sim, &[("method", "auth.getSession"), ("token", &desktop)]).status, 200);
    assert_eq!(send(sim.addr, "GET", "/api/auth/?api_key=nobody&cb=http://x/", &[], "").unwrap().status, 403);
}

#[test]
fn backdated_corrected_and_deleted_plays_show_at_once() {
    let sim = start();
    let user = || "demo".to_owned();
    let at = UNTIL - 10 * 86_400;
    let id = sim
        .apply(Command::AddPlay { user: user(), at, artist: "Late".into(), track: "Upload".into(), album: String::new() })
        .unwrap()
        .as_u64()
        .unwrap();
    let titles = || {
        let list = recent(&sim, &[("from", &at.to_string()), ("to", &(at + 1).to_string()), ("limit", "200")]);
        let rows = if list["track"].is_array() { list["track"].as_array().unwrap().clone() } else { vec![list["track"].clone()] };
        rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(titles().contains(&"Upload".to_owned()));
    sim.apply(Command::CorrectPlay { user: user(), id, artist: "Late".into(), track: "Put right".into() }).unwrap();
    assert!(titles().contains(&"Put right".to_owned()));
    let before = titles().len();
    sim.apply(Command::DeletePlay { user: user(), id }).unwrap();
    assert_eq!(titles().len(), before - 1);
    let session = sim.apply(Command::OpenSession { user: user(), api_key: API_KEY.into() }).unwrap();
    sim.apply(Command::RenameUser { user: user(), to: "Renamed".into() }).unwrap();
    assert_eq!(call(&sim, &[("method", "user.getinfo"), ("user", "demo")]).status, 404);
    let renamed = signed(&sim, &[("method", "user.getInfo"), ("sk", session.as_str().unwrap())]).json();
    assert_eq!(renamed["user"]["name"], "Renamed");
}
