//! Whatever lies in the folder costs one line: the host starts, and the good ones run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod modules_support;

use modules_support::*;
use sluice::modules::{ModuleState, Verb};
use std::{fs, io::Write, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bad_file_costs_one_line_and_no_start() {
    let mut place = Place::new();
    let good = Stranger::default().build();
    place.put("lastfm.wasm", &shipped("lastfm"));
    place.put("cut.wasm", &good[..good.len() - 7]);
    place.put("empty.wasm", b"");
    place.put("zeros.wasm", &vec![0; 100_000]);
    place.put("text.wasm", b"<!doctype html><title>Not found</title>");
    place.put("core.wasm", b"\0asm\x01\0\0\0");
    place.put("noise.wasm", b"\0asm\x0d\0\x01\0 and then something else");
    fs::File::create(place.file("sparse.wasm")).unwrap().set_len(80 << 20).unwrap();
    fs::write(place.dir.path().join("fit.wasm"), &good).unwrap();
    std::os::unix::fs::symlink(place.dir.path().join("fit.wasm"), place.file("link.wasm")).unwrap();
    std::os::unix::fs::symlink("/nowhere", place.file("dangling.wasm")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, place.file("pipe.wasm"), rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    fs::create_dir(place.file("folder.wasm")).unwrap();
    place.put("other.wasm", &good);
    let broken = Stranger { paths: "\"/steps\"]\nsteal = [\"/all\"", ..Stranger::default() }.build();
    place.put("fit.wasm", &broken);

    let app = place.start().await;
    assert!(runs(&place.listed("lastfm")), "the good one runs");
    let wanted = [
        ("cut", "ends too early"),
        ("empty", "empty"),
        ("zeros", "only zeros"),
        ("text", "not a WebAssembly component"),
        ("core", "core WebAssembly module"),
        ("noise", "ends too early"),
        ("sparse", "at most"),
        ("link", "not a regular file"),
        ("dangling", "not a regular file"),
        ("pipe", "not a regular file"),
        ("folder", "not a regular file"),
        ("other", "it says that it is the connector fit"),
        ("fit", "manifest is refused"),
    ];
    for (name, says) in wanted {
        let listing = place.listed(name);
        assert_eq!(listing.state, ModuleState::Refused, "{listing:?}");
        assert!(listing.line.contains(says) && !listing.line.contains('\n') && listing.line.len() < 2_000, "{name}: {}", listing.line);
        assert!(app.modules.get(name).is_none() && listing.command.is_none());
    }
    assert_eq!(app.modules.listing().len(), wanted.len() + 1);
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_takes_nobodys_name() {
    let mut place = Place::new();
    let (mine, theirs) = (Stranger::default().build(), Stranger { version: "6.6.6", ..Stranger::default() }.build());
    place.put("mine.wasm", &mine);
    place.settings("[connectors.fit]\nmodule = \"mine.wasm\"\n");
    let app = place.watched().await;
    place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    place.put("fit.wasm", &theirs);
    let line = loop {
        let listing = app.modules.listing();
        if let Some(other) = listing.iter().find(|l| l.file == "fit.wasm") {
            assert_eq!(other.state, ModuleState::Refused);
            break other.line.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(line.contains("[connectors.fit] takes module = \"mine.wasm\""), "{line}");
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.0.0");
    // Another file that says it is that connector.
    place.put("fat.wasm", &theirs);
    let (listing, _) = place.until("fat", |_| true).await;
    assert!(listing.line.contains("can't take another's name") && listing.line.contains("[connectors.fat] module"), "{}", listing.line);
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.0.0");
    place.stop().await;
    // Unless the operator says so: then it is another instance.
    place.settings("[connectors.fit]\nmodule = \"mine.wasm\"\n[connectors.fat]\nmodule = \"fat.wasm\"\n");
    place.start().await;
    assert!(pends(&place.listed("fat")), "{:?}", place.listed("fat"));
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_being_written_is_waited_for_and_holds_nobody_back() {
    let mut place = Place::new();
    let app = place.watched().await;
    let bytes = Stranger::default().build();
    let mut file = fs::File::create(place.file("fit.wasm")).unwrap();
    for (at, part) in bytes.chunks(bytes.len().div_ceil(20)).enumerate() {
        file.write_all(part).unwrap();
        if at == 3 {
            place.put("swim.wasm", &Stranger { name: "swim", ..Stranger::default() }.build());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert!(app.modules.listed("fit").is_none(), "{:?}", app.modules.listed("fit"));
    }
    drop(file);
    assert!(app.modules.listed("swim").is_some_and(|l| pends(&l)), "another one was there meanwhile");
    let (listing, _) = place.until("fit", |_| true).await;
    assert!(pends(&listing), "{listing:?}");
    place.stop().await;
}
