//! The modules folder, as others fill it: each file that is wrong costs one line, and what is right runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod folder_support;

use folder_support::{Place, sha256};
use sluice::modules::{ModuleState, PINS};
use std::{fs, os::unix::fs::symlink, process::Command};

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_file_costs_one_line_and_the_good_ones_run() {
    let place = Place::new();
    let good = place.connector("github");
    let modules = place.modules();
    let half = &good[..good.len() / 2];
    fs::write(modules.join("github.wasm"), &good).unwrap();
    fs::write(modules.join("zero.wasm"), b"").unwrap();
    fs::write(modules.join("half.wasm"), half).unwrap();
    fs::write(modules.join("stranger.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    fs::write(modules.join("text.wasm"), "#!/bin/sh\n").unwrap();
    fs::write(modules.join("changed.wasm"), b"other bytes").unwrap();
    fs::write(modules.join("Upper-Case.wasm"), &good).unwrap();
    fs::write(modules.join("shout.WASM"), &good).unwrap();
    fs::write(modules.join("of two minds.wasm"), &good).unwrap();
    fs::write(modules.join("notes.txt"), "no module").unwrap();
    fs::create_dir(modules.join("folder.wasm")).unwrap();
    symlink(modules.join("github.wasm"), modules.join("link.wasm")).unwrap();
    assert!(Command::new("mkfifo").arg(modules.join("pipe.wasm")).status().unwrap().success());
    let pinned = sha256(&good);
    place.settle(&format!(
        "[connectors.github]\nsha256 = \"{pinned}\"\n[connectors.link]\nsha256 = \"{pinned}\"\n[connectors.pipe]\nsha256 = \"{pinned}\"\n\
         [connectors.half]\nsha256 = \"{}\"\n[connectors.text]\nsha256 = \"{}\"\n[connectors.changed]\nsha256 = \"{pinned}\"\n\
         [connectors.absent]\nsha256 = \"{pinned}\"\n",
        sha256(half),
        sha256(b"#!/bin/sh\n"),
    ));
    let app = tokio::time::timeout(std::time::Duration::from_secs(120), place.open()).await.expect("a pipe must not hold the start");
    for (name, state, says) in [
        ("github", ModuleState::Running, "GitHub"),
        ("zero", ModuleState::Refused, "empty file"),
        ("half", ModuleState::Refused, ""),
        ("stranger", ModuleState::Refused, "another world"),
        ("text", ModuleState::Refused, ""),
        ("changed", ModuleState::Refused, "pins sha256"),
        ("Upper-Case", ModuleState::Refused, "rename it"),
        ("shout", ModuleState::Refused, "rename it"),
        ("of two minds", ModuleState::Refused, "rename it"),
        ("folder", ModuleState::Refused, "not a regular file"),
        ("link", ModuleState::Refused, "not a regular file"),
        ("pipe", ModuleState::Refused, "not a regular file"),
        ("absent", ModuleState::Missing, "put it there, or take [connectors.absent] out of the settings"),
    ] {
        let listed = app.modules.listed(name).unwrap_or_else(|| panic!("{name} is not listed"));
        assert_eq!(listed.state, state, "{listed:?}");
        assert!(listed.line.contains(says) && !listed.line.is_empty() && !listed.line.contains('\n'), "{listed:?}");
    }
    assert_eq!(app.modules.running().map(|c| c.name.clone()).collect::<Vec<_>>(), ["github"]);
    assert_eq!(app.modules.listing().len(), 13, "what is no module is not listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_bundled_connector_is_a_second_instance_only_where_the_settings_say_so() {
    let place = Place::new();
    let good = place.connector("github");
    assert!(PINS.iter().any(|(name, hash)| *name == "github" && *hash == sha256(&good)), "built with the connectors of dist");
    fs::write(place.modules().join("github.wasm"), &good).unwrap();
    fs::write(place.modules().join("copy.wasm"), &good).unwrap();
    fs::write(place.modules().join("work.wasm"), &good).unwrap();
    place.settle("[connectors.work.schedule]\nevery = \"2h\"\n[connectors.shared]\nmodule = \"github.wasm\"\n");
    let app = place.open().await;
    assert_eq!(app.modules.running().map(|c| c.name.clone()).collect::<Vec<_>>(), ["github", "shared", "work"]);
    let copy = app.modules.listed("copy").unwrap();
    assert_eq!(copy.state, ModuleState::Refused, "nobody can approve it under a name that is not its own");
    assert!(copy.line.contains("[connectors.copy]"), "{}", copy.line);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_name_the_settings_gave_to_another_is_not_run_in_its_stead() {
    let place = Place::new();
    let good = place.connector("github");
    fs::write(place.modules().join("mine.wasm"), &good).unwrap();
    fs::write(place.modules().join("github.wasm"), &good).unwrap();
    place.settle(
        "[connectors.github]\nmodule = \"mine.wasm\"\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n",
    );
    let app = place.open().await;
    assert!(app.modules.get("github").is_none());
    let lines: Vec<_> = app.modules.listing().iter().filter(|l| l.name == "github").map(|l| (l.file.clone(), l.line.clone())).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].0 == "github.wasm" && lines[1].1.contains("takes module = \"mine.wasm\""), "{lines:?}");
    assert_eq!(app.modules.listed("github").unwrap().file, "mine.wasm", "the name means the instance");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modules_folder_that_is_none_costs_one_line_and_not_the_start() {
    let place = Place::new();
    fs::remove_dir(place.modules()).unwrap();
    fs::write(place.modules(), "a file").unwrap();
    place.settle("");
    let app = place.open().await;
    let listing = app.modules.listing();
    assert_eq!(listing.len(), 1);
    assert!(listing[0].line.contains("cannot be read"), "{:?}", listing[0]);
}
