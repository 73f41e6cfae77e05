//! A connector that turns its own memory inside out finds no secret there, whatever the provider echoes.
//!
//! The guest makes requests with a key, to a provider that sings the key back in every place and spelling; it asks the host for the key by name; then it
//! reads its whole memory, from the first byte to the last, for what it was told to look for. What that is comes masked (each byte is one too large), so
//! that the search does not find itself. A second canary is no secret and comes back beside the first in each answer: its finds show that the search
//! works, in each spelling.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use axum::{Router, extract::State, http::HeaderMap, http::StatusCode, http::Uri, response::IntoResponse, response::Response};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use sluice_e2e::{
    folder::{Folder, Settings, pinned, upstream},
    host::Host,
    spelling::forms,
    time::noon,
};
use sluice_fixtures::{Fixture, Stranger};
use sluice_model::ConnectionId;
use sluice_store::{ConnectionState, RunOutcome};
use std::sync::{Arc, Mutex};

/// What the person entered.
const SECRET: &str = "gst_5ecretCanary0123456789ABcd";
/// What anybody may know.
const CONTROL: &str = "gst_c0ntrolCanary9876543210XYz";
/// Where the provider repeats things.
const PLACES: [&str; 6] = ["header", "body", "error", "link", "location", "elsewhere"];

/// How the provider writes what it repeats: each spelling, alone or inside of something.
fn sung(text: &str) -> Vec<String> {
    let digits = |sign: &str, upper: bool| -> String {
        text.bytes().map(|b| if upper { format!("{sign}{b:02X}") } else { format!("{sign}{b:02x}") }).collect()
    };
    let mut all = vec![text.to_owned(), digits("", false), digits("", true), digits("%", false), digits("%", true), digits("\\u00", false)];
    for lead in ["", "x", "xy"] {
        all.push(STANDARD.encode(format!("{lead}{text}?!")));
        all.push(URL_SAFE_NO_PAD.encode(format!("{lead}{text}?!")));
    }
    all.push(STANDARD.encode(text));
    all
}

/// What is looked for: every spelling but the one from behind, which nobody writes.
fn needles(text: &str) -> Vec<Vec<u8>> {
    let backwards: Vec<u8> = text.bytes().rev().collect();
    let mut all: Vec<Vec<u8>> = forms(text).into_iter().filter(|form| *form != backwards).collect();
    all.sort();
    all.dedup();
    assert!((8..=32).contains(&all.len()), "a bit for each: {}", all.len());
    all
}

/// As the guest is told of them.
fn masked(needles: &[Vec<u8>]) -> String {
    let words: Vec<String> = needles.iter().map(|needle| needle.iter().map(|b| char::from(b + 1)).collect()).collect();
    let text = words.join(" ");
    assert!(text.len() < 4096 && text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\''), "{text}");
    // A literal text of TOML, in which a backslash is one.
    format!("'{text}'")
}

/// The provider: repeats the key of each request, and the canary that is no secret, as the path says.
async fn sing(State(keys): State<Arc<Mutex<Vec<String>>>>, uri: Uri, headers: HeaderMap) -> Response {
    let key = headers.get("authorization").and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
    keys.lock().unwrap().push(key.to_owned());
    let mut path = uri.path().trim_start_matches('/').split('/');
    let place = path.next().unwrap_or_default();
    let nth: usize = path.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let (mine, control) = (sung(key).remove(nth), sung(CONTROL).remove(nth));
    let both = format!("{mine} {control}");
    match place {
        "header" => ([("x-echo", both)], "{}").into_response(),
        "error" => (StatusCode::INTERNAL_SERVER_ERROR, format!("{{\"message\":\"the key {mine} is not {control}\"}}")).into_response(),
        "link" => {
            let link = format!("<https://api.fit.example/body/0?key={mine}&other={control}>; rel=\"next\"");
            ([("link", link)], format!("{{\"next\":\"https://api.fit.example/body/0?key={mine}&other={control}\"}}")).into_response()
        }
        "location" => (StatusCode::FOUND, [("location", format!("/body/{nth}?key={mine}&other={control}"))], both).into_response(),
        // Outside the grant: it is not followed, and the guest reads why.
        "elsewhere" => (StatusCode::FOUND, [("location", format!("https://other.example/{control}?key={mine}"))], both).into_response(),
        _ => format!("{{\"you\":\"{mine}\",\"other\":\"{control}\"}}").into_response(),
    }
}

/// Besides those that every fixture has.
const IMPORTS: &str = r#"
  (import "sluice:connector/task@0.1.0" "setting" (func $setting (param i32 i32 i32)))
  (import "sluice:connector/keys@0.1.0" "list-keys" (func $list-keys (param i32)))
  (import "sluice:connector/keys@0.1.0" "get" (func $key-get (param i32 i32 i32)))"#;

/// At 3000: bytes read, answers, requests without one, spellings of the secret that were found, spellings of the control.
const SYNC: &str = r#"
    (local $at i32) (local $end i32) (local $stop i32)
    (call $setting (i32.const 16432) (i32.const 4) (i32.const 2064))
    (local.set $at (i32.load (i32.const 2068)))
    (local.set $end (i32.add (local.get $at) (i32.load (i32.const 2072))))
    (loop $next
      (if (i32.lt_u (local.get $at) (local.get $end)) (then
        (local.set $stop (call $word-end (local.get $at) (local.get $end)))
        (call $fetch (i32.const 16384) (i32.const 3) (local.get $at) (i32.sub (local.get $stop) (local.get $at))
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
          (i32.const 1) (i32.const 16400) (i32.const 4) (i32.const 1) (i32.const 2080))
        (if (i32.load8_u (i32.const 2080))
          (then (i32.store (i32.const 3008) (i32.add (i32.load (i32.const 3008)) (i32.const 1))))
          (else (i32.store (i32.const 3004) (i32.add (i32.load (i32.const 3004)) (i32.const 1)))))
        (local.set $at (i32.add (local.get $stop) (i32.const 1)))
        (br $next))))
    (call $list-keys (i32.const 2200))
    (call $key-get (i32.const 16416) (i32.const 3) (i32.const 2232))
    (i32.store (i32.const 3012) (call $search (i32.const 16448) (i32.const 6)))
    (i32.store (i32.const 3016) (call $search (i32.const 16464) (i32.const 7)))
    (i32.store (i32.const 3000) (i32.shl (memory.size) (i32.const 16)))
    (call $state-set (i32.const 16480) (i32.const 4) (i32.const 3000) (i32.const 20) (i32.const 2264))"#;

const MORE: &str = r#"
  (data (i32.const 16384) "GET") (data (i32.const 16400) "user") (data (i32.const 16416) "key")
  (data (i32.const 16432) "urls") (data (i32.const 16448) "secret") (data (i32.const 16464) "control") (data (i32.const 16480) "scan")
  (func $word-end (param $at i32) (param $end i32) (result i32)
    (block $ends
      (loop $next
        (br_if $ends (i32.ge_u (local.get $at) (local.get $end)))
        (br_if $ends (i32.eq (i32.load8_u (local.get $at)) (i32.const 32)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (local.get $at))
  ;; A bit for each word of a setting that lies unmasked anywhere in memory.
  (func $search (param $name i32) (param $length i32) (result i32)
    (local $at i32) (local $end i32) (local $stop i32) (local $bit i32) (local $found i32)
    (call $setting (local.get $name) (local.get $length) (i32.const 2064))
    (local.set $at (i32.load (i32.const 2068)))
    (local.set $end (i32.add (local.get $at) (i32.load (i32.const 2072))))
    (local.set $bit (i32.const 1))
    (loop $next
      (if (i32.lt_u (local.get $at) (local.get $end)) (then
        (local.set $stop (call $word-end (local.get $at) (local.get $end)))
        (if (call $lies-here (local.get $at) (i32.sub (local.get $stop) (local.get $at)))
          (then (local.set $found (i32.or (local.get $found) (local.get $bit)))))
        (local.set $bit (i32.shl (local.get $bit) (i32.const 1)))
        (local.set $at (i32.add (local.get $stop) (i32.const 1)))
        (br $next))))
    (local.get $found))
  (func $lies-here (param $needle i32) (param $length i32) (result i32)
    (local $at i32) (local $last i32) (local $i i32)
    (local.set $last (i32.sub (i32.shl (memory.size) (i32.const 16)) (local.get $length)))
    (loop $next
      (local.set $i (i32.const 0))
      (block $differs
        (loop $same
          (br_if $differs (i32.ne
            (i32.add (i32.load8_u (i32.add (local.get $at) (local.get $i))) (i32.const 1))
            (i32.load8_u (i32.add (local.get $needle) (local.get $i)))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $same (i32.lt_u (local.get $i) (local.get $length))))
        (return (i32.const 1)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.le_u (local.get $at) (local.get $last))))
    (i32.const 0))"#;

/// What the guest found: bytes read, answers, requests without one, and the finds of both canaries.
struct Finds {
    bytes: u32,
    answers: u32,
    refused: u32,
    secret: u32,
    control: u32,
}

fn finds(host: &Host, id: ConnectionId) -> Finds {
    let copy = sluice_e2e::dump::Copy::of(&host.app.config.data_dir);
    let row = copy.rows(&format!("SELECT hex(value) AS value FROM state WHERE connection = {} AND key = 'scan'", id.0)).remove(0);
    let hex = row["value"].as_str().unwrap();
    let bytes: Vec<u8> = (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect();
    let word = |n: usize| u32::from_le_bytes(bytes[4 * n..4 * n + 4].try_into().unwrap());
    Finds { bytes: word(0), answers: word(1), refused: word(2), secret: word(3), control: word(4) }
}

/// Runs the scanner over what the provider sings, with the field secret or not.
async fn scanned(secret: bool) -> (Finds, usize, Vec<String>) {
    let keys = Arc::new(Mutex::new(Vec::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let router = Router::new().fallback(sing).with_state(Arc::clone(&keys));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let folder = Folder::new(&Settings::default());
    let field = if secret { "" } else { "\nsecret = false" };
    let settings = ["urls", "secret", "control"].map(|name| format!("[[setting]]\nname = \"{name}\"\ntype = \"text\"\n")).concat();
    let manifest = Stranger { name: "scanner", paths: "\"/\"", to: "\"GET https://api.fit.example/\"", ..Stranger::default() }
        .manifest()
        .replace("label = \"Key\"", &format!("label = \"Key\"{field}"))
        .replace("[schedule]", &format!("{settings}[schedule]"));
    // What it was told once must still be there at the end.
    let scanner = Fixture { manifest: &manifest, imports: IMPORTS, sync: SYNC, more: MORE, keeps: true, ..Fixture::default() };
    let sha256 = folder.put_bytes("scanner", &scanner.build());
    let urls: Vec<String> =
        PLACES.iter().flat_map(|place| (0..sung(SECRET).len()).map(move |nth| format!("https://api.fit.example/{place}/{nth}"))).collect();
    let settings = format!(
        "[connectors.scanner.settings]\nurls = \"{}\"\nsecret = {}\ncontrol = {}\n",
        urls.join(" "),
        masked(&needles(SECRET)),
        masked(&needles(CONTROL))
    );
    let lines = pinned("scanner", &sha256) + &settings + &upstream("scanner", "https://api.fit.example/", &format!("http://{addr}/"));
    folder.configure(&Settings::default().more(&lines));
    let host = Host::start(&folder, &noon()).await;
    let user = host.user("ada", "UTC", true).await;
    let id = host.link(user, "scanner", "key", &[("key", SECRET)]).await;
    let connection = host.settled(id).await;
    assert_eq!(
        (connection.state, connection.last_run.unwrap().outcome),
        (ConnectionState::Ok, RunOutcome::Complete),
        "{:?}",
        connection.message
    );
    let finds = finds(&host, id);
    host.stop().await;
    let keys = keys.lock().unwrap().clone();
    (finds, urls.len(), keys)
}

fn all(needles: &[Vec<u8>]) -> u32 {
    u32::try_from((1_u64 << needles.len()) - 1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_reads_all_of_its_memory_finds_no_secret_in_any_spelling() {
    let (finds, asked, keys) = scanned(true).await;
    assert!(keys.len() > asked - sung(SECRET).len() && keys.iter().all(|key| key == SECRET), "the provider got the key, and sang it back");
    // The last place leads out of the grant.
    assert_eq!((finds.answers + finds.refused) as usize, asked);
    assert!(finds.answers as usize >= asked - 2 * sung(SECRET).len() && finds.refused > 0, "{} {}", finds.answers, finds.refused);
    assert!(finds.bytes >= 4 << 16, "it read {} bytes", finds.bytes);
    let spelled = |bits: u32, of: &str| -> Vec<String> {
        needles(of)
            .iter()
            .enumerate()
            .filter(|(n, _)| bits >> n & 1 == 1)
            .map(|(_, form)| String::from_utf8_lossy(form).into_owned())
            .collect()
    };
    assert_eq!(spelled(finds.secret, SECRET), [""; 0]);
    assert_eq!(finds.control, all(&needles(CONTROL)), "of the control it found only {:?}", spelled(finds.control, CONTROL));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_guest_finds_the_same_text_where_it_is_no_secret() {
    let (finds, ..) = scanned(false).await;
    assert_eq!((finds.secret, finds.control), (all(&needles(SECRET)), all(&needles(CONTROL))));
}
