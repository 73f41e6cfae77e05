//! Last.fm in memory: its shapes, its errors, its shifting pages, and what is stored in the end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Value, json};
use sluice_connector_lastfm::{BUDGET_REQUESTS, Cursor, LastFm};
use sluice_sdk::day::{DAY, HOUR, MINUTE};
use sluice_sdk::harness::{Fault, NOW, Provider, Run, Sent, TestBed, answer, crash_everywhere, json as respond, text};
use sluice_sdk::{FailureKind, FailureScope, FetchError, Moment, Outcome, Response, cursor};

const NOW_SECONDS: i64 = NOW / 1_000;

/// Plays, newest first: (second, artist, name).
#[derive(Clone)]
struct Service {
    plays: Vec<(i64, String, String)>,
    registered: i64,
    page_size: usize,
    playing: bool,
    old_empty: bool,
}

impl Service {
    /// Two a day for so many days, one of them at the same second as another.
    fn of_days(days: i64) -> Self {
        let mut plays: Vec<(i64, String, String)> = (0..days)
            .flat_map(|day| {
                let at = NOW_SECONDS - day * 86_400 - 3_600;
                [(at, "A".to_owned(), format!("Song {day}")), (at - 600, "B & Ç".to_owned(), "Ré/mi?".to_owned())]
            })
            .collect();
        plays.push((NOW_SECONDS - 3_600, "C".to_owned(), "Same second".to_owned()));
        let mut service = Self { plays, registered: NOW_SECONDS - days * 86_400, page_size: 200, playing: true, old_empty: false };
        service.sort();
        service
    }

    fn sort(&mut self) {
        self.plays.sort_by_key(|play| std::cmp::Reverse(play.0));
    }

    fn serve(&self, sent: &Sent<'_>) -> Result<Response, FetchError> {
        assert!(sent.attached, "a request without the key");
        assert_eq!((sent.path(), sent.query("format").as_deref()), ("/2.0/", Some("json")));
        let body = match sent.query("method").unwrap().as_str() {
            "user.getInfo" => json!({ "user": {
                "name": "Demo", "playcount": self.plays.len().to_string(), "artist_count": "3", "album_count": "2", "track_count": "9",
                "registered": { "unixtime": self.registered.to_string(), "#text": self.registered } } }),
            "user.getLovedTracks" => json!({ "lovedtracks": { "track": [], "@attr": { "total": "4", "totalPages": "4" } } }),
            "user.getRecentTracks" => self.recent(sent),
            other => panic!("no such method: {other}"),
        };
        Ok(respond(if body.get("error").is_some() { 400 } else { 200 }, &body))
    }

    fn recent(&self, sent: &Sent<'_>) -> Value {
        let number = |name: &str| sent.query(name).unwrap().parse::<i64>().unwrap();
        let (from, to, page, limit) =
            (number("from"), number("to"), number("page") as usize, (number("limit") as usize).min(self.page_size));
        assert!(number("limit") <= 200);
        let found: Vec<_> = self.plays.iter().filter(|play| play.0 >= from && play.0 <= to).collect();
        let pages = found.len().div_ceil(limit);
        if page > 1 && page > pages {
            return json!({ "error": 6, "message": "no such page" });
        }
        let row = |play: &&(i64, String, String)| json!({ "artist": { "#text": play.1 }, "name": play.2, "album": { "#text": "" }, "date": { "uts": play.0.to_string() } });
        let mut rows: Vec<Value> = found.iter().skip((page - 1) * limit).take(limit).map(row).collect();
        if self.playing {
            rows.insert(0, json!({ "artist": { "#text": "Now" }, "name": "Playing", "@attr": { "nowplaying": "true" } }));
        }
        let attributes = json!({ "page": page.to_string(), "totalPages": pages.to_string(), "total": found.len().to_string() });
        match (rows.len(), self.old_empty) {
            (0, true) => json!({ "recenttracks": { "#text": "\n", "page": "0", "totalPages": "0", "total": "0" } }),
            (1, _) => json!({ "recenttracks": { "track": rows[0], "@attr": attributes } }),
            _ => json!({ "recenttracks": { "track": rows, "@attr": attributes } }),
        }
    }
}

fn bed() -> TestBed {
    bed_of("user")
}

fn bed_of(profile: &str) -> TestBed {
    let mut bed = TestBed::new::<LastFm>(profile);
    bed.account = Some("Demo".to_owned());
    bed
}

fn round(bed: &mut TestBed, service: &Service) -> Vec<Run> {
    bed.run_to_end::<LastFm>(&mut |sent| service.serve(sent))
}

fn left(bed: &TestBed) -> Option<Cursor> {
    cursor::read(bed.cursor.as_deref()?)
}

#[test]
fn a_first_round_takes_in_every_play_and_the_totals() {
    let (mut bed, service) = (bed(), Service::of_days(100));
    let runs = round(&mut bed, &service);
    assert_eq!(bed.store.count("tracks"), 201, "two tracks of one second are two plays; what is playing now is none");
    assert!(runs.iter().all(|run| run.problems.is_empty()));
    let play = bed.store.of("tracks").find(|e| e.detail.as_deref().is_some_and(|d| d.contains("Ré/mi?"))).unwrap();
    let detail: Value = serde_json::from_str(play.detail.as_deref().unwrap()).unwrap();
    assert_eq!(detail, json!({ "artist": "B & Ç", "name": "Ré/mi?" }));
    for (metric, value) in [("playcount", 201.0), ("loved_tracks", 4.0), ("artists", 3.0), ("albums", 2.0), ("tracks_distinct", 9.0)] {
        assert_eq!(bed.store.last(metric), Some(value), "{metric}");
    }
    // Totals, five months, and one window for everything before the account.
    assert_eq!(runs[0].requests.len(), 2 + 5 + 1);
}

#[test]
fn each_profile_names_the_user_once() {
    let service = Service::of_days(1);
    for (profile, user) in [("user", None), ("web", Some("Demo".to_owned()))] {
        let mut bed = bed_of(profile);
        let run = bed.run::<LastFm>(&mut |sent| {
            assert_eq!(sent.query("user"), user, "{profile}");
            assert!(!["api_key", "sk", "api_sig"].iter().any(|owned| sent.query(owned).is_some()));
            service.serve(sent)
        });
        assert_eq!(run.outcome(), Ok(Outcome::Complete));
        let account = TestBed::new::<LastFm>(profile).identify::<LastFm>(&mut |sent| service.serve(sent)).unwrap();
        assert_eq!(account.id.as_deref(), Some("Demo"));
    }
}

#[test]
fn a_later_round_replaces_the_last_fortnight_and_nothing_else() {
    let (mut bed, mut service) = (bed(), Service::of_days(60));
    round(&mut bed, &service);
    bed.now += HOUR;
    // A late upload of a week ago, a play taken back of yesterday, one taken back of two months ago.
    service.plays.push((NOW_SECONDS - 7 * 86_400, "Late".to_owned(), "Offline".to_owned()));
    service.plays.retain(|play| play.2 != "Song 1" && play.2 != "Song 50");
    service.sort();
    let run = round(&mut bed, &service).pop().unwrap();
    assert_eq!((run.counts.inserted, run.counts.deleted), (1, 1));
    assert!(run.requests.len() <= 2, "{}", run.requests.len());
    assert_eq!(bed.store.count("tracks"), 121);
}

#[test]
fn totals_are_read_every_few_hours_or_when_somebody_asks() {
    let (mut bed, service) = (bed(), Service::of_days(2));
    round(&mut bed, &service);
    let asked = |runs: &[Run]| runs.iter().flat_map(|r| &r.requests).filter(|r| r.url.contains("getInfo")).count();
    bed.now += HOUR;
    assert_eq!(asked(&round(&mut bed, &service)), 0);
    bed.reason = "manual".to_owned();
    assert_eq!(asked(&round(&mut bed, &service)), 1);
    bed.reason = "scheduled".to_owned();
    bed.now += 7 * HOUR;
    assert_eq!(asked(&round(&mut bed, &service)), 1);
}

#[test]
fn a_window_with_too_many_plays_is_cut() {
    let mut service = Service::of_days(1);
    service.plays = (0..20_000).map(|n| (NOW_SECONDS - n * 120, "A".to_owned(), format!("T{n}"))).collect();
    service.registered = NOW_SECONDS - 20_000 * 120;
    let mut bed = bed();
    let runs = round(&mut bed, &service);
    assert_eq!(bed.store.count("tracks"), 20_000);
    assert!(runs.len() > 1, "10,000 entries are a run's share");
    assert!(runs.iter().all(|run| run.requests.len() as u64 <= BUDGET_REQUESTS + 40));
}

#[test]
fn pages_that_shift_are_read_again() {
    let mut service = Service::of_days(8);
    (service.page_size, service.playing) = (3, false);
    let mut bed = bed();
    let mut asked = 0;
    let mut shifting = service.clone();
    bed.run_to_end::<LastFm>(&mut |sent| {
        let response = shifting.serve(sent)?;
        if sent.query("method").as_deref() == Some("user.getRecentTracks") {
            asked += 1;
            if asked == 1 {
                // A play that came in late, in front of everything that is still to be read.
                shifting.plays.push((NOW_SECONDS - 60, "Late".to_owned(), "Arrival".to_owned()));
                shifting.sort();
            } else if asked == 6 {
                shifting.plays.retain(|play| play.2 != "Song 0");
            }
        }
        Ok(response)
    });
    assert_eq!(bed.store.count("tracks"), 17);
    // The walk that ran out of pages because rows went away: error 6 in the middle is no verdict.
    let mut bed = self::bed();
    let mut vanishing = service.clone();
    let mut once = false;
    bed.run_to_end::<LastFm>(&mut |sent| {
        let response = vanishing.serve(sent)?;
        if !once && sent.query("page").as_deref() == Some("5") {
            once = true;
            vanishing.plays.truncate(12);
        }
        Ok(response)
    });
    assert_eq!(bed.store.count("tracks"), 12);
}

#[test]
fn clocks_that_lie_lose_no_play() {
    let mut service = Service::of_days(1);
    service.playing = false;
    service.plays.push((0, "Broken".to_owned(), "Clock".to_owned()));
    service.plays.push((NOW_SECONDS + 20 * 86_400, "From".to_owned(), "Tomorrow".to_owned()));
    service.sort();
    let mut bed = bed();
    round(&mut bed, &service);
    assert_eq!(bed.store.count("tracks"), 4);
    let earliest = bed.store.of("tracks").map(|e| e.when).min();
    assert_eq!(earliest, Some(Moment::Instant(sluice_connector_lastfm::plays::FIRST)));
    bed.now += 21 * DAY;
    round(&mut bed, &service);
    assert_eq!(bed.store.count("tracks"), 5, "what is from the future waits until it has come");
}

#[test]
fn an_end_after_any_call_to_the_host_leaves_the_same_behind() {
    let provider = |change: fn(&mut Service)| {
        move || {
            let mut service = Service::of_days(70);
            service.page_size = 20;
            change(&mut service);
            let provider: Box<Provider<'static>> = Box::new(move |sent| service.serve(sent));
            provider
        }
    };
    let calls = crash_everywhere::<LastFm>(bed, provider(|_| {}));
    assert!(calls > 25, "{calls}");
    let later = || {
        let mut bed = bed();
        let mut service = Service::of_days(70);
        service.page_size = 20;
        round(&mut bed, &service);
        bed.now += 8 * HOUR;
        bed
    };
    crash_everywhere::<LastFm>(
        later,
        provider(|service| {
            service.plays.retain(|play| play.2 != "Song 3");
            service.plays.insert(0, (NOW_SECONDS + 60, "New".to_owned(), "One".to_owned()));
        }),
    );
}

#[test]
fn a_network_that_fails_at_any_request_loses_nothing() {
    let service = Service::of_days(70);
    let mut all = bed();
    let requests: u64 = round(&mut all, &service).iter().map(|r| r.requests.len() as u64).sum();
    for n in 1..=requests {
        let mut bed = bed();
        let run = bed.run_with::<LastFm>(&mut |sent| service.serve(sent), Fault::FetchFails(n, FetchError::Interrupted));
        assert_eq!(run.failure().kind, FailureKind::Transient);
        round(&mut bed, &service);
        assert_eq!(bed.store.dump(), all.store.dump(), "failed at request {n}");
    }
}

#[test]
fn a_back_fill_that_takes_hours_shows_what_was_played_meanwhile() {
    let (mut bed, mut service) = (bed(), Service::of_days(200));
    let run = bed.run_with::<LastFm>(&mut |sent| service.serve(sent), Fault::FetchFails(5, FetchError::Connect));
    assert_eq!(run.failure().kind, FailureKind::Transient);
    bed.now += 3 * HOUR;
    service.plays.insert(0, (NOW_SECONDS + 3_600, "New".to_owned(), "Meanwhile".to_owned()));
    let run = bed.run_with::<LastFm>(&mut |sent| service.serve(sent), Fault::FetchFails(2, FetchError::Connect));
    assert_eq!(run.failure().kind, FailureKind::Transient);
    assert!(bed.store.dump().iter().any(|line| line.contains("Meanwhile")));
    round(&mut bed, &service);
    assert_eq!(bed.store.count("tracks"), 402);
}

/// `(kind, scope, code, retry)` of a run whose `at`-th request is answered so.
fn check(profile: &str, at: usize, response: Response) -> (FailureKind, FailureScope, String, Option<u64>) {
    let mut bed = bed_of(profile);
    let service = Service::of_days(3);
    round(&mut bed, &service);
    bed.now += 7 * HOUR;
    let before = (bed.store.dump(), left(&bed).map(|c| (c.plays, c.seen)));
    let mut n = 0;
    let run = bed.run::<LastFm>(&mut |sent| {
        n += 1;
        if n == at { Ok(response.clone()) } else { service.serve(sent) }
    });
    let tracks = |lines: &[String]| lines.iter().filter(|l| l.starts_with("tracks ")).cloned().collect::<Vec<_>>();
    assert_eq!(tracks(&bed.store.dump()), tracks(&before.0), "something of a refusal was stored");
    assert_eq!(left(&bed).map(|c| (c.plays, c.seen)), before.1, "the cursor moved");
    let failure = run.failure();
    (failure.kind, failure.scope, failure.code, failure.retry_after_ms)
}

#[test]
fn each_error_number_has_its_meaning_whatever_the_status() {
    use FailureKind::{Gone, Misconfigured, NeedsAction, Other, RateLimited, Transient, Unauthorized};
    use FailureScope::{App, Connection};
    let wait = Some(5 * MINUTE as u64);
    let cases = [
        (2, "Invalid service", Other, Connection, None),
        (3, "Invalid Method", Other, Connection, None),
        (4, "Unauthorized Token", Unauthorized, Connection, None),
        (5, "Invalid format", Other, Connection, None),
        (6, "Invalid parameters - Your request is missing a required parameter", Other, Connection, None),
        (6, "No user with that name was found", NeedsAction, Connection, None),
        (7, "Invalid resource", Other, Connection, None),
        (8, "Operation failed", Transient, Connection, None),
        (9, "Invalid session key - Please re-authenticate", Unauthorized, Connection, None),
        (10, "Invalid API key", Misconfigured, App, None),
        (11, "Service Offline", Transient, Connection, None),
        (13, "Invalid method signature supplied", Other, Connection, None),
        (14, "This token has not been authorized", Unauthorized, Connection, None),
        (15, "This token has expired", Unauthorized, Connection, None),
        (16, "temporarily unavailable", Transient, Connection, None),
        (17, "Login: User required to be logged in", Unauthorized, Connection, None),
        (26, "Suspended API key", Misconfigured, App, None),
        (27, "Deprecated", Other, Connection, None),
        (29, "Rate Limit Exceeded", RateLimited, App, wait),
        (999, "New", Other, Connection, None),
    ];
    for (error, message, kind, scope, retry) in cases {
        for status in [200, 400, 403, 404] {
            let response = respond(status, &json!({ "error": error, "message": message, "links": [] }));
            // Said of the account itself, of which there is data already, an unknown name means that it is gone.
            let first = if kind == NeedsAction { Gone } else { kind };
            let code = format!("lastfm-{error}");
            assert_eq!(check("user", 1, response.clone()), (first, scope, code.clone(), retry), "{error} on {status}, of the account");
            assert_eq!(check("web", 3, response), (kind, scope, code, retry), "{error} on {status}, of the plays");
        }
    }
}

#[test]
fn hidden_listening_asks_for_the_other_way_in() {
    let hidden = respond(403, &json!({ "message": "Login: User required to be logged in", "error": 17 }));
    let message = |profile: &str| {
        let mut bed = bed_of(profile);
        let service = Service::of_days(1);
        let mut hide = |sent: &Sent<'_>| {
            if sent.query("method").as_deref() == Some("user.getRecentTracks") { Ok(hidden.clone()) } else { service.serve(sent) }
        };
        bed.run::<LastFm>(&mut hide).failure().message
    };
    assert!(message("user").contains("Sign in with Last.fm"), "{}", message("user"));
    assert!(!message("web").contains("link again by"), "{}", message("web"));
}

#[test]
fn an_unknown_name_at_linking_is_something_to_mend() {
    let response = respond(404, &json!({ "error": 6, "message": "No user with that name was found", "links": [] }));
    let failure = TestBed::new::<LastFm>("user").identify::<LastFm>(&mut |_| Ok(response.clone())).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NeedsAction);
}

#[test]
fn answers_that_are_not_last_fms_store_nothing() {
    use FailureKind::{RateLimited, Transient, UnexpectedResponse};
    let good = serde_json::to_vec(
        &json!({ "recenttracks": { "track": [{ "name": "N", "artist": { "#text": "A" }, "date": { "uts": "1773140000" } }] } }),
    )
    .unwrap();
    let cases: Vec<(Response, FailureKind, &str)> = vec![
        (answer(200, "application/json", ""), Transient, "empty-body"),
        (text(200, "<html>"), UnexpectedResponse, "html"),
        (answer(200, "text/xml", "<?xml version=\"1.0\"?><lfm status=\"ok\"/>"), UnexpectedResponse, "html"),
        (answer(200, "application/json", good[..good.len() / 2].to_vec()), UnexpectedResponse, "truncated"),
        (respond(200, &json!({ "status": "ok" })), UnexpectedResponse, "wrong-shape"),
        (respond(200, &json!({ "recenttracks": { "track": "maintenance" } })), UnexpectedResponse, "wrong-shape"),
        (text(500, "<html>"), Transient, "http-500"),
        (answer(502, "text/plain", ""), Transient, "http-502"),
        (respond(500, &json!({ "error": 999, "message": "?" })), Transient, "lastfm-999"),
        (text(403, "<html>captive portal"), UnexpectedResponse, "http-403"),
        (text(429, ""), RateLimited, "http-429"),
    ];
    for (response, kind, code) in cases {
        let shown = format!("{} {}", response.status, String::from_utf8_lossy(&response.body));
        let (seen, _, seen_code, _) = check("user", 3, response);
        assert_eq!((seen, seen_code.as_str()), (kind, code), "{shown}");
    }
}

#[test]
fn rows_that_are_no_plays_are_left_out_and_told_of() {
    let mut bed = bed();
    let service = Service::of_days(1);
    let run = bed.run::<LastFm>(&mut |sent| {
        if sent.query("method").as_deref() != Some("user.getRecentTracks") {
            return service.serve(sent);
        }
        let rows = json!([
            { "artist": { "#text": "A" }, "name": "Good", "date": { "uts": (NOW_SECONDS - 60).to_string() } },
            { "artist": { "#text": "A" }, "name": "Undated" },
            { "name": 3, "date": { "uts": "1" } },
        ]);
        let inside = sent.query("to").unwrap().parse::<i64>().unwrap() > NOW_SECONDS;
        let listing = if inside { json!({ "track": rows, "@attr": { "totalPages": "1", "total": "3" } }) } else { json!({ "track": [] }) };
        Ok(respond(200, &json!({ "recenttracks": listing })))
    });
    assert_eq!(run.outcome(), Ok(Outcome::Complete));
    assert_eq!((bed.store.count("tracks"), run.problems.len()), (1, 1));
}

#[test]
fn the_old_form_of_nothing_is_nothing() {
    let mut service = Service::of_days(3);
    (service.old_empty, service.playing) = (true, false);
    service.registered = NOW_SECONDS - 300 * 86_400;
    let mut bed = bed();
    round(&mut bed, &service);
    assert_eq!(bed.store.count("tracks"), 7);
}
