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
        ("sparse", "up to 67108864; it begins with zeros: it was probably copied half"),
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

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_describes_itself_differently_each_time_can_neither_be_approved_nor_take_over() {
    let mut place = Place::new();
    let app = place.watched().await;
    // Whatever it says would be a good manifest; it only is another one each time.
    let changing = Stranger { version: "1.1.0", ..Stranger::default() }.build_changing();
    place.put("fit.wasm", &changing);
    let (listing, _) = place.until("fit", |_| true).await;
    assert_eq!(listing.state, ModuleState::Refused, "{listing:?}");
    assert!(listing.line.contains("differently each time"), "{}", listing.line);
    assert!(listing.command.is_none() && listing.authority.is_empty(), "nobody is asked to accept what may change: {listing:?}");
    let which = format!("fit@{}", &hash(&changing)[..12]);
    let no = place.decide(Verb::Approve, &which).await.unwrap_err().to_string();
    assert!(no.contains("was not approved") && no.contains("differently each time"), "{no}");
    assert!(app.modules.get("fit").is_none() && !place.copy(&changing).exists());
    assert!(app.store.approvals("fit").await.unwrap().is_empty() && place.audited().await.is_empty());

    // The same in the place of one that serves.
    let good = Stranger::default().build();
    place.put("fit.wasm", &good);
    place.until("fit", pends).await;
    place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    place.put("fit.wasm", &changing);
    let (listing, _) = place.until("fit", |l| l.waiting.is_some()).await;
    let waiting = listing.waiting.clone().unwrap();
    assert!(runs(&listing) && waiting.line.contains("differently each time") && waiting.command.is_none(), "{listing:?}");
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.0.0");
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_does_not_wait_for_a_strangers_bomb_and_what_is_approved_runs() {
    let mut place = Place::new();
    let good = Stranger::default().build();
    place.put("fit.wasm", &good);
    place.start_with_compiler().await;
    place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    place.stop().await;
    // Before it by name, and in the place of what serves: minutes of work for a compiler.
    let more = sluice_fixtures::bulk::bomb(20_000);
    place.put("bomb.wasm", &Stranger { name: "bomb", more: &more, ..Stranger::default() }.build());
    place.put("fit.wasm", &Stranger { version: "1.1.0", more: &more, ..Stranger::default() }.build());
    let began = std::time::Instant::now();
    let app = place.start_with_compiler().await;
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.0.0", "from its copy");
    // Where memory comes quickly, the first of them may have passed its limit before the start went on.
    let bomb = place.listed("bomb");
    let unseen = |line: &str| line.starts_with("not looked at yet") || line.contains("costs too much to compile");
    assert!(!runs(&bomb) && unseen(&bomb.line) && bomb.command.is_none(), "{bomb:?}");
    assert!(unseen(&place.listed("fit").waiting.unwrap().line));
    place.stop().await;
}

/// Whose compiled code there is: the hashes in the names.
fn compiled(place: &Place) -> Vec<String> {
    let files = fs::read_dir(place.dir.path().join("data/compiled")).unwrap();
    let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names.iter().map(|name| name.split('-').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_code_of_what_is_gone_goes_too() {
    let mut place = Place::new();
    let versions: Vec<Vec<u8>> =
        ["1.0.0", "1.1.0", "1.2.0"].iter().map(|version| Stranger { version, ..Stranger::default() }.build()).collect();
    let other = Stranger { name: "other", ..Stranger::default() }.build();
    let sorted = |all: &[&Vec<u8>]| {
        let mut all: Vec<String> = all.iter().map(|bytes| hash(bytes)).collect();
        all.sort();
        all
    };
    place.put("other.wasm", &other);
    place.watched().await;
    // Variants that nobody approves replace one another.
    for bytes in &versions {
        place.put("fit.wasm", bytes);
        place.until("fit", |l| pends(l) && l.sha256 == Some(hash(bytes))).await;
    }
    let until = async |wanted: Vec<String>| {
        let began = std::time::Instant::now();
        while compiled(&place) != wanted {
            assert!(began.elapsed() < Duration::from_secs(30), "{:?} and not {wanted:?}", compiled(&place));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until(sorted(&[&other, &versions[2]])).await;
    let noted = place.app().store.approvals("fit").await.unwrap();
    assert_eq!(
        noted.iter().map(|row| row.candidate.hash.clone()).collect::<Vec<_>>(),
        [hash(&versions[2])],
        "nor is anything noted of them"
    );
    // What served before is kept for going back to it.
    place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    let next = Stranger { version: "1.3.0", ..Stranger::default() }.build();
    place.put("fit.wasm", &next);
    place.until("fit", |l| l.version.as_deref() == Some("1.3.0")).await;
    fs::remove_file(place.file("other.wasm")).unwrap();
    until(sorted(&[&versions[2], &next])).await;
    place.stop().await;

    // What another build and a host that was killed have left goes at the next start; everything gone costs compiling again, and nothing else.
    let folder = place.dir.path().join("data/compiled");
    let mine = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let (stem, _) = mine.file_name().unwrap().to_str().unwrap().split_once('.').unwrap();
    fs::write(folder.join(format!("{stem}.1.tmp")), b"half").unwrap();
    fs::write(folder.join(format!("{}-0123456789abcdef.cwasm", hash(&next))), b"of another build").unwrap();
    place.start().await;
    assert_eq!(compiled(&place), sorted(&[&versions[2], &next]));
    place.stop().await;
    fs::remove_dir_all(&folder).unwrap();
    let app = place.start().await;
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.3.0");
    assert_eq!(compiled(&place), [hash(&next)]);
    place.stop().await;
}

fn flood(place: &Place, numbers: std::ops::Range<usize>) {
    numbers.for_each(|n| fs::write(place.file(&format!("a{n:04}.wasm")), "x").unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_files_takes_nothing_that_is_approved_out_of_service() {
    let mut place = Place::new();
    let mine = ["fit", "zz"].map(|name| (name, Stranger { name, ..Stranger::default() }.build()));
    mine.iter().for_each(|(name, bytes)| place.put(&format!("{name}.wasm"), bytes));
    place.start().await;
    for (name, _) in &mine {
        place.decide(Verb::Approve, &place.asked(name)).await.unwrap();
    }
    place.stop().await;
    // Exactly as many as are looked at.
    flood(&place, 0..1_000);
    let app = place.start().await;
    assert_eq!(app.modules.listing().len(), 1_002);
    assert!(app.modules.listed("(folder)").is_none(), "{:?}", app.modules.listed("(folder)"));
    place.stop().await;
    flood(&place, 1_000..4_500);
    let app = place.watched().await;
    assert_eq!(app.modules.listing().len(), 1_003);
    assert!(place.listed("(folder)").line.starts_with("3500 modules more than 1000, besides"), "{:?}", place.listed("(folder)"));
    assert!(app.modules.listed("a0999").is_some() && app.modules.listed("a1000").is_none(), "by name, not as the folder has them");
    for (name, _) in &mine {
        assert!(runs(&place.listed(name)), "{:?}", place.listed(name));
    }
    // And a new version of theirs is seen, wherever it stands among them.
    place.put("zz.wasm", &Stranger { name: "zz", version: "1.1.0", ..Stranger::default() }.build());
    assert!(runs(&place.until("zz", |l| l.version.as_deref() == Some("1.1.0")).await.0));
    place.stop().await;
}
