//! A stranger's file, from the folder to its first run, and what replaces it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod modules_support;

use modules_support::*;
use sluice::modules::{ModuleState, Verb};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_waits_with_what_it_asks_for_and_runs_after_a_yes() {
    let mut place = Place::new();
    let app = place.watched().await;
    let bytes = Stranger::default().build();
    place.put("fit.wasm", &bytes);
    let (listing, took) = place.until("fit", pends).await;
    assert!(took < Duration::from_secs(5), "two looks and a small compilation: {took:?}");
    let command = format!("sluice modules approve fit@{}", &hash(&bytes)[..12]);
    assert_eq!(
        listing.line,
        format!(
            "“Fit” 1.0.0, pending: reads from api.fit.example; sends your key there and nowhere else; stores steps; to approve: {command}"
        )
    );
    assert_eq!((listing.command.as_deref(), listing.sha256), (Some(command.as_str()), Some(hash(&bytes))));
    assert!(app.modules.get("fit").is_none() && !place.copy(&bytes).exists(), "nothing of it runs or is kept");

    let wrong = place.decide(Verb::Approve, "fit@00000000").await.unwrap_err().to_string();
    assert!(wrong.contains(&hash(&bytes)[..12]) && wrong.contains("was replaced"), "{wrong}");
    let none = place.decide(Verb::Approve, "fit").await.unwrap_err().to_string();
    assert!(none.contains("say which bytes"), "{none}");
    let short = place.decide(Verb::Approve, &format!("fit@{}", &hash(&bytes)[..4])).await.unwrap_err().to_string();
    assert!(short.contains("at least 8"), "{short}");
    let unknown = place.decide(Verb::Approve, "fat@00000000").await.unwrap_err().to_string();
    assert!(unknown.contains("no module fat") && unknown.contains("fit"), "{unknown}");

    let now = place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    assert!(runs(&now), "{now:?}");
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.0.0");
    assert_eq!(std::fs::read(place.copy(&bytes)).unwrap(), bytes);
    assert_eq!(place.audited().await, [format!("module-approved fit@{} by the operator", hash(&bytes))]);
    let again = place.decide(Verb::Approve, &format!("fit@{}", &hash(&bytes)[..12])).await.unwrap_err().to_string();
    assert!(again.contains("nothing of fit waits"), "{again}");
    place.stop().await;

    // It stays approved, and a copy that was changed does not run: the file is there to mend it.
    std::fs::write(place.copy(&bytes), b"something else").unwrap();
    place.start().await;
    assert!(runs(&place.listed("fit")));
    assert_eq!(std::fs::read(place.copy(&bytes)).unwrap(), bytes);
    place.stop().await;
    // Taken away, it is out of service; put back, it needs no new yes.
    std::fs::rename(place.file("fit.wasm"), place.dir.path().join("away")).unwrap();
    let app = place.start().await;
    assert!(app.modules.get("fit").is_none());
    place.stop().await;
    std::fs::rename(place.dir.path().join("away"), place.file("fit.wasm")).unwrap();
    place.start().await;
    assert!(runs(&place.listed("fit")));
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_asks_for_nothing_more_takes_over_and_one_that_does_waits() {
    let mut place = Place::new();
    let first = Stranger { paths: "\"/steps\", \"/sleep\"", ..Stranger::default() }.build();
    place.put("fit.wasm", &first);
    let app = place.watched().await;
    place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    let old = app.modules.get("fit").unwrap();

    // Less.
    let second = Stranger { version: "1.1.0", ..Stranger::default() }.build();
    place.put("fit.wasm", &second);
    let (listing, _) = place.until("fit", |l| l.version.as_deref() == Some("1.1.0")).await;
    assert!(runs(&listing) && listing.waiting.is_none(), "{listing:?}");
    assert_eq!(listing.sha256, Some(hash(&second)));
    assert_eq!(std::fs::read(place.copy(&second)).unwrap(), second);
    assert_eq!(old.manifest.version, "1.0.0", "whoever has it keeps it");

    // More.
    let third = Stranger { version: "2.0.0", paths: "\"/steps\", \"/heart\"", ..Stranger::default() }.build();
    place.put("fit.wasm", &third);
    let (listing, _) = place.until("fit", |l| l.waiting.is_some()).await;
    assert!(runs(&listing), "the one before serves on: {listing:?}");
    assert_eq!((listing.version.as_deref(), listing.sha256.as_deref()), (Some("1.1.0"), Some(hash(&second).as_str())));
    let waiting = listing.waiting.unwrap();
    assert_eq!(waiting.difference, ["may now send GET https://api.fit.example/heart"]);
    assert_eq!((waiting.version.as_deref(), waiting.sha256), (Some("2.0.0"), Some(hash(&third))));
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.1.0");
    assert!(!app.modules.get("fit").unwrap().egress.explain("GET", "https://api.fit.example/heart").allowed, "and with the old grant");
    assert!(!place.copy(&third).exists());
    place.stop().await;

    // The same after a restart.
    let app = place.watched().await;
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.1.0");
    let refused = place.decide(Verb::Refuse, &place.asked("fit")).await.unwrap();
    assert!(runs(&refused) && refused.waiting.unwrap().line.starts_with("was refused"));
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.1.0");
    // A no can be taken back.
    let now = place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    assert_eq!((runs(&now), now.version.as_deref()), (true, Some("2.0.0")));
    assert!(app.modules.get("fit").unwrap().egress.explain("GET", "https://api.fit.example/heart").allowed);

    // And back.
    let back = place.decide(Verb::Rollback, "fit").await.unwrap();
    assert_eq!((runs(&back), back.version.as_deref()), (true, Some("1.1.0")), "{back:?}");
    assert!(back.waiting.unwrap().line.contains("was refused"));
    let kinds: Vec<String> = place.audited().await.iter().map(|l| l.split('@').next().unwrap().to_owned()).collect();
    let wanted = ["module-approved fit", "module-approved fit", "module-refused fit", "module-approved fit", "module-rolled-back fit"];
    assert_eq!(kinds, wanted);

    let gone = place.decide(Verb::Remove, "fit").await.unwrap();
    assert_eq!(gone.state, ModuleState::Missing);
    assert!(app.modules.get("fit").is_none() && !place.file("fit.wasm").exists());
    assert!(!place.copy(&first).exists() && !place.copy(&second).exists() && !place.copy(&third).exists());
    // Under the name of before, nothing is approved any more.
    place.put("fit.wasm", &second);
    assert!(place.until("fit", pends).await.0.command.is_some());
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_cannot_run_leaves_the_old_one_serving() {
    let mut place = Place::new();
    let first = Stranger::default().build();
    place.put("fit.wasm", &first);
    let app = place.watched().await;
    place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    // Cut off, then another unit under the same name: nothing more is asked for, and it still cannot be.
    let half = &first[..first.len() / 2];
    let unit = Stranger { version: "1.1.0", unit: "km", ..Stranger::default() }.build();
    for (bytes, says) in [(half, "ends too early"), (&unit, "steps"), (b"", "empty")] {
        place.put("fit.wasm", bytes);
        let (listing, _) = place.until("fit", |l| l.waiting.as_ref().is_some_and(|w| w.line.contains(says))).await;
        assert!(runs(&listing) && !listing.line.contains('\n'), "{listing:?}");
        assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.0.0");
    }
    place.stop().await;
    let app = place.start().await;
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.0.0", "from its copy");
    place.stop().await;
    // The copy alone is trusted no further than its hash.
    std::fs::write(place.copy(&first), Stranger { version: "6.6.6", ..Stranger::default() }.build()).unwrap();
    let app = place.start().await;
    assert!(app.modules.get("fit").is_none());
    assert!(place.listed("fit").line.contains("was changed"), "{:?}", place.listed("fit"));
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_a_yes_for_as_long_as_it_stands() {
    let mut place = Place::new();
    let (first, second) = (Stranger::default().build(), Stranger { version: "1.1.0", ..Stranger::default() }.build());
    place.put("fit.wasm", &first);
    place.settings(&format!("[connectors.fit]\nsha256 = \"{}\"\n", hash(&first)));
    let app = place.watched().await;
    assert!(runs(&place.listed("fit")));
    // The pin is to these bytes: others wait, whatever they ask for, while the pinned ones serve on.
    place.put("fit.wasm", &second);
    let (listing, _) = place.until("fit", |l| l.waiting.is_some()).await;
    assert!(runs(&listing) && listing.line.contains("put the pinned file back"), "{listing:?}");
    assert_eq!(app.modules.get("fit").unwrap().manifest.version, "1.0.0");
    let pinned = place.decide(Verb::Rollback, "fit").await.unwrap_err().to_string();
    assert!(pinned.contains("pins sha256"), "{pinned}");
    place.stop().await;
    place.put("fit.wasm", &first);
    place.settings("");
    place.start().await;
    assert!(pends(&place.listed("fit")), "the pin is gone, and its yes with it: {:?}", place.listed("fit"));
    let now = place.decide(Verb::Approve, &place.asked("fit")).await.unwrap();
    assert!(runs(&now));
    place.stop().await;
    place.start().await;
    assert!(runs(&place.listed("fit")));
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ships_needs_no_yes_and_its_rebuilt_form_none_either() {
    let mut place = Place::new();
    let bytes = shipped("github");
    place.put("github.wasm", &bytes);
    let app = place.watched().await;
    assert!(runs(&place.listed("github")), "{:?}", place.listed("github"));
    assert_eq!(place.audited().await, [format!("module-approved github@{} by the release", hash(&bytes))]);
    let other = rebuilt(&bytes, "built elsewhere");
    place.put("github.wasm", &other);
    let (listing, _) = place.until("github", |l| l.sha256 == Some(hash(&other))).await;
    assert!(runs(&listing) && listing.waiting.is_none(), "{listing:?}");
    assert_eq!(hash(&other), app.modules.get("github").unwrap().module.hash().iter().map(|b| format!("{b:02x}")).collect::<String>());
    // One word of its manifest is another, and with it a place that keys go to.
    let text = String::from_utf8_lossy(&bytes).matches("/search/issues").count();
    assert!(text > 0);
    let mut changed = bytes.clone();
    let (from, to) = (b"/search/issues", b"/search/topics");
    for at in 0..changed.len() - from.len() {
        if &changed[at..at + from.len()] == from {
            changed[at..at + to.len()].copy_from_slice(to);
        }
    }
    place.put("github.wasm", &changed);
    let (listing, _) = place.until("github", |l| l.waiting.is_some()).await;
    let difference = listing.waiting.unwrap().difference;
    assert!(difference.iter().any(|d| d.contains("may now send GET") && d.contains("/search/topics")), "{difference:?}");
    assert!(difference.iter().any(|d| d.contains("now sends keys to") && d.contains("/search/topics")), "{difference:?}");
    assert!(runs(&place.listed("github")));
    place.stop().await;
}
