//! The harness judges as the host does, and its faults do what they say: a harness that lets things pass would make every connector's tests worthless.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde::{Deserialize, Serialize};
use serde_json::json;
use sluice_sdk::cursor::Versioned;
use sluice_sdk::harness::{Fault, Sent, TestBed, crash_everywhere, json as respond, with_headers};
use sluice_sdk::{Account, Connector, Day, Entry, Failure, FetchError, Host, Moment, Outcome, Request, Response, cache};
use std::cell::RefCell;

const MANIFEST: &str = r#"
manifest = 1
name = "probe"
title = "Probe"
version = "1.0.0"

[[allow]]
origin = "https://api.example.com"
paths = ["/v1/"]

[[auth]]
id = "key"
title = "Key"
kind = "fields"
  [[auth.field]]
  name = "api-key"
  label = "API key"

[[attach]]
name = "user"
to = ["GET https://api.example.com/v1/private/"]
query = { key = "{api-key}" }

[[setting]]
name = "server"
type = "url"
default = "https://one.example.com"

[[allow]]
origin = "{server}"

[[metric]]
name = "steps"
unit = "{step}"
kind = "sum"
identity = "day"

[[metric]]
name = "visits"
unit = "{visit}"
kind = "event"
identity = "id"
"#;

#[derive(Default, Debug, PartialEq, Serialize, Deserialize)]
struct Cursor {
    page: u32,
}

impl Versioned for Cursor {
    const VERSION: u32 = 1;
}

type Script = fn(&mut Host<'_>) -> Result<Outcome, Failure>;

thread_local! {
    /// What the probe does when it runs.
    static SCRIPT: RefCell<Script> = const { RefCell::new(|_| Ok(Outcome::Complete)) };
}

struct Probe;

impl Connector for Probe {
    const DESCRIBE: &'static str = MANIFEST;
    fn identify(host: &mut Host<'_>) -> Result<Account, Failure> {
        host.record(vec![Entry::on("steps", Day(0), 1.0)])?;
        Ok(Account::new("1", "one"))
    }
    fn sync(host: &mut Host<'_>) -> Result<Outcome, Failure> {
        SCRIPT.with_borrow(|script| script(host))
    }
}

fn good(_: &Sent<'_>) -> Result<Response, FetchError> {
    Ok(respond(200, &json!({})))
}

/// A bed in which the script has run once.
fn ran(script: Script) -> (TestBed, Result<Outcome, Failure>) {
    SCRIPT.set(script);
    let mut bed = TestBed::new::<Probe>("key");
    let run = bed.run::<Probe>(&mut good);
    (bed, run.outcome())
}

#[test]
fn requests_outside_the_grant_are_denied() {
    let denied: [fn() -> Request; 9] = [
        || Request::get("https://api.example.com/v2/"),
        || Request::get("https://other.example.com/v1/"),
        || Request::get("http://api.example.com/v1/"),
        || Request::get("https://api.example.com/v1/../v2/"),
        || Request { method: "POST".into(), ..Request::get("https://api.example.com/v1/") },
        || Request::get("https://api.example.com/v1/").credential("user"),
        || Request::get("https://api.example.com/v1/private/").credential("nobody"),
        || Request::get("https://api.example.com/v1/private/").query("key", "mine").credential("user"),
        || Request::get("https://api.example.com/v1/").header("Authorization", "Bearer mine"),
    ];
    for request in denied {
        thread_local!(static REQUEST: RefCell<Option<Request>> = const { RefCell::new(None) });
        REQUEST.set(Some(request()));
        let (_, outcome) = ran(|host| {
            let request = REQUEST.with_borrow(|r| r.clone().unwrap());
            host.fetch(&request).map(|_| Outcome::Complete)
        });
        assert_eq!(outcome.unwrap_err().code, "denied", "{:?}", request());
    }
    let (_, outcome) =
        ran(|host| host.fetch(&Request::get("https://api.example.com/v1/private/x").credential("user")).map(|_| Outcome::Complete));
    assert_eq!(outcome, Ok(Outcome::Complete));
}

#[test]
fn entries_are_held_against_the_manifest_and_one_bad_one_costs_the_list() {
    let bad: [fn() -> Entry; 7] = [
        || Entry::on("stepps", Day(0), 1.0),
        || Entry::at("steps", 0, 1.0),
        || Entry::on("steps", Day(0), f64::NAN),
        || Entry::on("steps", Day(0), 1.0).series("s"),
        || Entry::on("steps", Day(0), 1.0).id("i"),
        || Entry::at("visits", 0, 1.0),
        || Entry::at("visits", 0, 1.0).id("i").detail(&[1, 2]),
    ];
    for entry in bad {
        thread_local!(static ENTRY: RefCell<Option<Entry>> = const { RefCell::new(None) });
        ENTRY.set(Some(entry()));
        let (bed, outcome) = ran(|host| {
            let entry = ENTRY.with_borrow(|e| e.clone().unwrap());
            match host.record(vec![Entry::on("steps", Day(1), 1.0), entry]) {
                Ok(()) => Ok(Outcome::Complete),
                Err(failure) => {
                    host.warn(&failure.code);
                    Err(failure)
                }
            }
        });
        assert_eq!(outcome.unwrap_err().code, "rejected", "{:?}", entry());
        assert!(bed.store.is_empty());
    }
}

#[test]
fn an_operators_settings_reach_the_connector_and_its_grant() {
    SCRIPT.set(|host| {
        let server = host.setting("server").unwrap();
        assert_eq!((host.setting("colour"), host.time_zone().as_str()), (None, "Pacific/Apia"));
        host.fetch(&Request::get(format!("{server}/any"))).map(|_| ())?;
        host.fetch(&Request::get("https://one.example.com/any")).map(|_| Outcome::Complete)
    });
    let mut bed = TestBed::with_settings::<Probe>("key", &[("server", "https://two.example.com")]);
    bed.time_zone = "Pacific/Apia".to_owned();
    let run = bed.run::<Probe>(&mut good);
    assert_eq!((run.requests[0].url.as_str(), run.requests.len()), ("https://two.example.com/any", 1));
    assert!(run.failure().message.contains("https://one.example.com/any denied: not in its grant; granted:"), "{}", run.failure().message);
    for wrong in [("colour", "red"), ("server", "no address")] {
        assert!(std::panic::catch_unwind(|| TestBed::with_settings::<Probe>("key", &[wrong])).is_err(), "{wrong:?}");
    }
}

#[test]
fn nothing_is_recorded_while_identifying() {
    let failure = TestBed::new::<Probe>("key").identify::<Probe>(&mut good).unwrap_err();
    assert_eq!(failure.code, "record");
}

#[test]
fn a_failed_run_keeps_its_checkpoints_and_drops_its_tail() {
    let (bed, outcome) = ran(|host| {
        host.record(vec![Entry::on("steps", Day(1), 1.0)])?;
        host.backend().state_set("etag", b"1")?;
        host.checkpoint(&Cursor { page: 1 })?;
        host.record(vec![Entry::on("steps", Day(2), 2.0)])?;
        host.backend().state_set("etag", b"2")?;
        assert_eq!(host.backend().state_get("etag").as_deref(), Some(b"2".as_slice()));
        Err(Failure::transient("x", "x"))
    });
    assert!(outcome.is_err());
    assert_eq!(
        (bed.store.count("steps"), bed.cursor.as_deref(), bed.state["etag"].as_slice()),
        (1, Some(r#"{"v":1,"c":{"page":1}}"#), b"1".as_slice())
    );
}

#[test]
fn a_window_replaces_what_lies_in_it_and_nothing_else() {
    let (bed, outcome) = ran(|host| {
        let day = |n: i32, value: f64| Entry::on("steps", Day(n), value);
        host.record((0..5).map(|n| day(n, 1.0)).collect())?;
        host.replace_window("steps", None, Moment::Day(Day(1)), Moment::Day(Day(4)), vec![day(2, 9.0)])?;
        let outside = host.replace_window("steps", None, Moment::Day(Day(1)), Moment::Day(Day(4)), vec![day(4, 9.0)]);
        assert_eq!(outside.unwrap_err().code, "rejected");
        let mixed = host.replace_window("steps", None, Moment::Day(Day(1)), Moment::Instant(9), vec![]);
        assert_eq!(mixed.unwrap_err().code, "record");
        let instants = host.replace_window("steps", None, Moment::Instant(0), Moment::Instant(9), vec![]);
        assert_eq!(instants.unwrap_err().code, "record", "the identity of steps is the day");
        assert_eq!(host.retract("steps", "7").unwrap_err().code, "record", "steps have no ids");
        host.label_series("steps", "s", "no series is declared");
        Ok(Outcome::Complete)
    });
    assert_eq!(outcome, Ok(Outcome::Complete));
    let left: Vec<f64> = bed.store.of("steps").map(|e| e.value).collect();
    assert_eq!(left, [1.0, 9.0, 1.0]);
    assert_eq!(bed.store.label("steps", "s"), None);
}

#[test]
fn bounds_are_kept() {
    SCRIPT.set(|host| {
        for n in 0..10 {
            host.record(vec![Entry::on("steps", Day(n), 1.0)])?;
        }
        Ok(Outcome::Complete)
    });
    let mut bed = TestBed::new::<Probe>("key");
    bed.limits.entries = 9;
    assert_eq!(bed.run::<Probe>(&mut good).failure().code, "too-many");
    SCRIPT.set(|host| {
        host.backend().state_set("k", &[0; 60])?;
        host.backend().state_set("k", &[0; 80])?;
        host.backend().state_set("l", &[0; 80])?;
        Ok(Outcome::Complete)
    });
    bed.limits.state_bytes = 100;
    assert_eq!(bed.run::<Probe>(&mut good).failure().code, "state-too-large");
    SCRIPT.set(|host| host.checkpoint_text(Some("x".repeat(20_000))).map(|()| Outcome::Complete));
    assert_eq!(bed.run::<Probe>(&mut good).failure().code, "cursor-too-large");
}

#[test]
fn the_window_is_the_last_complete_run_less_the_overlap() {
    let (mut bed, _) = ran(|host| {
        assert_eq!(host.window_ms(), None);
        Ok(Outcome::Complete)
    });
    bed.now += 5_000;
    SCRIPT.set(|host| {
        let (first, past) = host.window_ms().unwrap();
        assert_eq!(past - first, 5_000);
        Ok(Outcome::Complete)
    });
    bed.run::<Probe>(&mut good).outcome().unwrap();
}

#[test]
fn crash_everywhere_finds_a_connector_that_is_not_safe_to_run_twice() {
    let safe: Script = |host| {
        let Cursor { page } = host.cursor().unwrap_or_default();
        for n in page..3 {
            host.record(vec![Entry::on("steps", Day(n as i32), 1.0)])?;
            host.checkpoint(&Cursor { page: n + 1 })?;
        }
        Ok(Outcome::Complete)
    };
    SCRIPT.set(safe);
    // cursor, three times record and checkpoint
    assert_eq!(crash_everywhere::<Probe>(|| TestBed::new::<Probe>("key"), || Box::new(good)), 7);
    let unsafe_one: Script = |host| {
        let Cursor { page } = host.cursor().unwrap_or_default();
        host.checkpoint(&Cursor { page: page + 1 })?;
        host.record(vec![Entry::at("visits", i64::from(page), 1.0).id(page.to_string())])?;
        Ok(Outcome::Complete)
    };
    SCRIPT.set(unsafe_one);
    let found = std::panic::catch_unwind(|| {
        SCRIPT.set(unsafe_one);
        crash_everywhere::<Probe>(|| TestBed::new::<Probe>("key"), || Box::new(good))
    });
    assert!(found.is_err());
}

#[test]
fn what_did_not_change_is_kept_and_what_a_stranger_tags_is_not_trusted() {
    SCRIPT.set(|host| {
        let request = Request::get("https://api.example.com/v1/list");
        let fetched = cache::conditional(host, request, "me", |r| r.json::<Vec<u32>>("numbers"))?;
        host.info(&format!("{:?} {}", fetched.digest, fetched.unchanged));
        Ok(Outcome::Complete)
    });
    let mut bed = TestBed::new::<Probe>("key");
    let mut answer = |sent: &Sent<'_>| match sent.header("If-None-Match") {
        Some("\"v1\"") => Ok(Response { status: 304, ..respond(304, &json!(null)) }),
        _ => Ok(with_headers(respond(200, &json!([1, 2])), &[("etag", "\"v1\"")])),
    };
    assert_eq!(bed.run::<Probe>(&mut answer).log, ["Info: [1, 2] false"]);
    assert_eq!(bed.run::<Probe>(&mut answer).log, ["Info: [1, 2] true"]);
    // A digest that cannot be read any more is fetched again.
    bed.state.values_mut().for_each(|value| *value = b"{".to_vec());
    assert_eq!(bed.run::<Probe>(&mut answer).log, ["Info: [1, 2] false"]);
    // A broken answer leaves what was kept.
    let state = bed.state.clone();
    let run = bed.run::<Probe>(&mut |_| Ok(with_headers(respond(200, &json!({"no": 1})), &[("etag", "\"v2\"")])));
    assert_eq!((run.failure().code.as_str(), bed.state == state), ("wrong-shape", true));
    // A state that is full costs the cache, not the run.
    let mut small = TestBed::new::<Probe>("key");
    small.limits.state_bytes = 10;
    assert_eq!(small.run::<Probe>(&mut answer).outcome(), Ok(Outcome::Complete));
    assert!(small.state.is_empty());
    // A 304 to a question that was not asked is asked again.
    let mut odd = |sent: &Sent<'_>| {
        let again = sent.header("Cache-Control").is_some();
        Ok(if again { respond(200, &json!([3])) } else { respond(304, &json!(null)) })
    };
    assert_eq!(TestBed::new::<Probe>("key").run::<Probe>(&mut odd).log, ["Info: [3] false"]);
}

#[test]
fn faults_strike_where_they_should() {
    SCRIPT.set(|host| {
        for n in 0..3 {
            host.fetch(&Request::get("https://api.example.com/v1/"))?;
            host.record(vec![Entry::on("steps", Day(n), 1.0)])?;
            host.checkpoint(&Cursor { page: n as u32 })?;
        }
        Ok(Outcome::Complete)
    });
    let mut bed = TestBed::new::<Probe>("key");
    let run = bed.run_with::<Probe>(&mut good, Fault::FetchFails(2, FetchError::Tls));
    assert_eq!((run.failure().code.as_str(), bed.store.count("steps")), ("tls", 1));
    let run = bed.run_with::<Probe>(&mut good, Fault::CrashAfter(5));
    assert_eq!((run.result.is_none(), run.calls, bed.store.count("steps")), (true, 5, 1));
    let run = bed.run_with::<Probe>(&mut good, Fault::CancelAfter(4));
    assert_eq!(run.failure().code, "cancelled");
}
