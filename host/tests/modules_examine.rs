//! Files that take long to examine hold up nobody: whoever decides, sets or drops in something else is served while a bomb compiles.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod modules_support;

use http::{Request, header};
use modules_support::*;
use sluice::{
    config, control,
    modules::{Listing, ModuleState, Verb},
};
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};
use tower::ServiceExt;

/// The compiler, but for what is larger than this: that takes for ever. A real bomb takes gigabytes as well, and as long as the machine likes.
const ENDLESS: usize = 100_000;

/// A program that compiles as `sluice` does, and never ends with a bomb. Of a request, the length stands in the last eight of its first 33 bytes.
fn compiler(place: &Place) -> PathBuf {
    let (program, head) = (place.dir.path().join("compiler"), place.dir.path().join("head"));
    let text = format!(
        "#!/bin/sh\nhead={}.$$\ndd bs=1 count=33 of=$head 2>/dev/null\n\
         if [ \"$(od -An -tu8 -j25 -N8 $head | tr -d ' ')\" -gt {ENDLESS} ]; then exec sleep 600; fi\n\
         {{ cat $head; exec cat; }} | exec {} compile-child\n",
        head.display(),
        env!("CARGO_BIN_EXE_sluice")
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    program
}

fn named(name: &'static str) -> Vec<u8> {
    Stranger { name, ..Stranger::default() }.build()
}

fn which(name: &str, bytes: &[u8]) -> String {
    format!("{name}@{}", hash(bytes))
}

fn is_examined(listing: &Listing) -> bool {
    listing.state == ModuleState::Examining
}

/// Whether a process that this one started compiles.
fn compiling() -> bool {
    let me = std::process::id().to_string();
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let after: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        after.get(1) == Some(&me.as_str()) && after.first() != Some(&"Z")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bomb_that_compiles_holds_up_no_decision_no_settings_and_no_other_file() {
    let mut place = Place::new();
    place.put("fit.wasm", &Stranger::default().build());
    let app = place.start_with_program(compiler(&place)).await;
    place.watch();
    place.until("fit", pends).await;
    place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    place.put("fit.wasm", &Stranger { version: "1.1.0", ..Stranger::default() }.build());
    place.until("fit", |l| l.version.as_deref() == Some("1.1.0")).await;
    for name in ["one", "two", "three"] {
        place.put(&format!("{name}.wasm"), &named(name));
        place.until(name, pends).await;
    }

    let more = format!("(data (i32.const 140000) \"{}\")", "b".repeat(ENDLESS));
    place.put("bomb.wasm", &Stranger { name: "bomb", more: &more, ..Stranger::default() }.build());
    let (bomb, _) = place.until_seen("bomb", |l| l.examined_for_ms.is_some()).await;
    assert!(is_examined(&bomb) && bomb.line.contains("being examined for") && bomb.command.is_none(), "{bomb:?}");
    let goes_on = |what: &str| assert!(is_examined(&place.listed("bomb")), "{what} took as long as the bomb: {:?}", place.listed("bomb"));

    // What is known is decided about at once.
    let back = place.decide(Verb::Rollback, "fit").await.unwrap();
    assert_eq!((runs(&back), back.version.as_deref()), (true, Some("1.0.0")));
    assert!(runs(&place.decide(Verb::Approve, &place.asked("one")).await.unwrap()));
    assert_eq!(place.decide(Verb::Refuse, &place.asked("two")).await.unwrap().state, ModuleState::Refused);
    assert_eq!(place.decide(Verb::Remove, "three").await.unwrap().state, ModuleState::Missing);
    goes_on("a decision");
    place.settings("[connectors.fit.schedule]\nevery = \"3h\"\n");
    assert_eq!(config::reload(&app).await.unwrap().connectors, ["fit"]);
    assert_eq!(app.modules.get("fit").unwrap().every_ms(), 3 * 3_600_000);
    goes_on("a change of the settings");

    // A good file beside it is listed, and examined when the bomb has had its time.
    place.put("swim.wasm", &named("swim"));
    place.until_seen("swim", |_| true).await;
    goes_on("listing another file");
    place.until("swim", pends).await;
    goes_on("another file");
    // A yes to what nobody has examined takes the compiler from the bomb, and so does a pin.
    let walk = named("walk");
    place.put("walk.wasm", &walk);
    place.until_seen("walk", |_| true).await;
    let now = place.decide(Verb::Approve, &which("walk", &walk)).await.unwrap();
    assert!(runs(&now), "{now:?}");
    goes_on("a yes");
    let pinned = rebuilt(&named("row"), "pinned");
    place.settings(&format!("[connectors.row]\nsha256 = \"{}\"\n", hash(&pinned)));
    config::reload(&app).await.unwrap();
    place.put("row.wasm", &pinned);
    place.until("row", runs).await;
    goes_on("a pin");

    // Taken away, it is examined no longer.
    place.decide(Verb::Remove, "bomb").await.unwrap();
    let began = Instant::now();
    while compiling() {
        assert!(began.elapsed() < Duration::from_secs(30), "nobody waits for it, and it is compiled");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_describe_that_sleeps_is_waited_for_once_and_shortly_unless_somebody_vouches_for_it() {
    let mut place = Place::new();
    let app = place.watched().await;
    let sleepy = Stranger::default().build_sleeping(3_000);
    place.put("fit.wasm", &sleepy);
    let (listing, _) = place.until("fit", |_| true).await;
    assert_eq!(listing.state, ModuleState::Refused);
    assert!(listing.line.contains("`describe` did not answer") && listing.line.contains("limit of 2000 wall-ms"), "{}", listing.line);
    // Whatever makes the folder be read again, it is not asked again.
    place.put("swim.wasm", &named("swim"));
    place.until("swim", pends).await;
    for every in ["3h", "4h"] {
        place.settings(&format!("[connectors.fit.schedule]\nevery = \"{every}\"\n"));
        config::reload(&app).await.unwrap();
        assert_eq!(place.listed("fit"), listing);
    }
    // With a yes it has the time that approved ones have.
    let now = place.decide(Verb::Approve, &which("fit", &sleepy)).await.unwrap();
    assert!(runs(&now), "{now:?}");
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_one_pin_to_another_the_first_serves_until_the_second_is_examined() {
    let mut place = Place::new();
    let (first, second) = (Stranger::default().build(), Stranger { version: "1.1.0", ..Stranger::default() }.build_sleeping(1_000));
    let pin = |bytes: &[u8]| format!("[connectors.fit]\nsha256 = \"{}\"\n", hash(bytes));
    place.put("fit.wasm", &first);
    place.settings(&pin(&first));
    let app = place.watched().await;
    place.put("fit.wasm", &second);
    place.until("fit", |l| l.waiting.as_ref().is_some_and(|new| new.line.contains("put the pinned file back"))).await;
    place.settings(&pin(&second));
    let theirs = app.clone();
    let reload = tokio::spawn(async move { config::reload(&theirs).await.unwrap().connectors });
    let (listing, _) = place.until_seen("fit", |l| l.is_examined()).await;
    assert!(runs(&listing) && listing.version.as_deref() == Some("1.0.0"), "{listing:?}");
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.0.0");
    assert_eq!(reload.await.unwrap(), ["fit"]);
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.1.0");
    let taken = place.listed("fit");
    assert!(runs(&taken) && taken.waiting.is_none(), "{taken:?}");
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_decision_comes_to_its_end_when_whoever_asked_walks_away() {
    let mut place = Place::new();
    place.put("fit.wasm", &Stranger::default().build());
    let (reached, mut at_the_point) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let app = place
        .start_with(Arc::new(move |point| {
            if point == "rollback:after-record" {
                reached.send(()).unwrap();
                let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(60));
            }
        }))
        .await;
    place.watch();
    place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    place.put("fit.wasm", &Stranger { version: "1.1.0", ..Stranger::default() }.build());
    place.until("fit", |l| l.version.as_deref() == Some("1.1.0")).await;
    let asked = Request::post("/v1/modules/decision")
        .header(header::CONTENT_TYPE, "application/json")
        .body(axum::body::Body::from(r#"{"verb":"rollback","name":"fit"}"#))
        .unwrap();
    let client = tokio::spawn(control::router(app.clone()).oneshot(asked));
    at_the_point.recv().await.unwrap();
    // It is written down, and nothing has taken over yet.
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.1.0");
    client.abort();
    drop(go_on);
    assert!(client.await.is_err_and(|error| error.is_cancelled()), "nobody heard the answer");
    place.until("fit", |l| l.version.as_deref() == Some("1.0.0")).await;
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.0.0", "what the database says serves");
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_being_written_or_replaced_is_left_alone_whatever_else_happens() {
    let mut place = Place::new();
    let bytes = Stranger::default().build();
    place.put("fit.wasm", &bytes);
    let app = place.watched().await;
    place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    place.put("swim.wasm", &named("swim"));
    place.until("swim", pends).await;
    // The watcher has seen what is there: what differs from now on was written since.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = place.listed("fit");

    // Away for a moment, and half there.
    fs::rename(place.file("fit.wasm"), place.dir.path().join("away")).unwrap();
    place.settings("[connectors.swim.schedule]\nevery = \"3h\"\n");
    config::reload(&app).await.unwrap();
    assert_eq!(place.listed("fit"), before);
    fs::write(place.file("fit.wasm"), &bytes[..bytes.len() / 2]).unwrap();
    assert!(runs(&place.decide(Verb::Approve, &place.asked("swim")).await.unwrap()));
    config::reload(&app).await.unwrap();
    assert_eq!(place.listed("fit"), before);
    let no = place.decide(Verb::Approve, &which("fit", &bytes)).await.unwrap_err().to_string();
    assert!(no.contains("nothing of fit waits"), "{no}");
    fs::rename(place.dir.path().join("away"), place.file("fit.wasm")).unwrap();
    assert!(app.modules.get("fit").is_some());

    // A yes to a file that is written over is a yes to nothing.
    let other = named("other");
    place.put("other.wasm", &other);
    place.until("other", pends).await;
    fs::write(place.file("other.wasm"), &other[..other.len() / 2]).unwrap();
    let no = place.decide(Verb::Approve, &which("other", &other)).await.unwrap_err().to_string();
    assert!(no.contains("other.wasm is being written at this moment"), "{no}");
    assert!(app.modules.get("other").is_none() && !place.copy(&other).exists());
    place.stop().await;

    // A start in the middle of a copy does not call it broken; what was approved serves.
    let (fit, swim) = (place.file("fit.wasm"), place.file("new.wasm"));
    let (half, rest) = bytes.split_at(bytes.len() / 2);
    fs::write(&fit, half).unwrap();
    fs::write(&swim, half).unwrap();
    let rest = rest.to_vec();
    let copying = thread::spawn(move || {
        for part in rest.chunks(rest.len().div_ceil(100)) {
            for path in [&fit, &swim] {
                fs::OpenOptions::new().append(true).open(path).unwrap().write_all(part).unwrap();
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    let app = place.start().await;
    assert!(!copying.is_finished(), "the start took longer than the copy");
    let fit = place.listed("fit");
    assert!(runs(&fit) && fit.waiting.as_ref().is_some_and(|new| new.line.contains("is being written")), "{fit:?}");
    let new = place.listed("new");
    assert!(is_examined(&new) && new.line.contains("is being written"), "{new:?}");
    copying.join().unwrap();
    place.watch();
    place.until("fit", |l| runs(l) && l.waiting.is_none()).await;
    let (new, _) = place.until("new", |_| true).await;
    assert!(new.line.contains("can't take another's name"), "{new:?}");
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.0.0");
    place.stop().await;
}
