//! `sluice doctor` on the real program: before the first start, beside a host, after one, and where something is wrong. It never writes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use sluice_e2e::{
    folder::{Folder, Settings},
    program::finish,
    worlds,
};
use sluice_sim::Clock;
use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Every finding of one check, as “verdict: line”.
struct Said {
    code: i32,
    findings: Vec<Value>,
}

impl Said {
    fn of(folder: &Folder) -> Self {
        let output = folder.run(&["doctor", "--json"]);
        Self { code: output.code, findings: output.json() }
    }

    #[track_caller]
    fn has(&self, check: &str, verdict: &str, line: &str) {
        let of_it: Vec<&Value> = self.findings.iter().filter(|f| f["check"] == check).collect();
        let found = of_it.iter().any(|f| f["verdict"] == verdict && f["line"].as_str().unwrap().contains(line));
        assert!(found, "{check} should be {verdict} with “{line}”: {of_it:#?}");
        assert!(
            self.findings.iter().all(|f| (f["verdict"] == "ok") == f["advice"].is_null()),
            "whatever is not well says what to do: {:#?}",
            self.findings
        );
    }

    #[track_caller]
    fn exits(&self, code: i32) {
        let bad: Vec<&Value> = self.findings.iter().filter(|f| f["verdict"] == "problem").collect();
        assert_eq!(self.code, code, "{bad:#?}");
        assert_eq!(bad.is_empty(), code == 0, "{bad:#?}");
    }
}

/// Every file with its size and time: what writing would change.
fn everything(dir: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let meta = fs::symlink_metadata(entry.path()).unwrap();
            if meta.is_dir() {
                folders.push(entry.path());
            }
            all.insert(entry.path(), (meta.len(), meta.modified().unwrap()));
        }
    }
    all
}

#[test]
fn before_the_first_start_it_says_what_the_start_will_make_and_makes_none_of_it() {
    let folder = Folder::new(&Settings::default().fresh_machine());
    let before = everything(&folder.path(""));
    let said = Said::of(&folder);
    said.exits(0);
    said.has("wasmtime", "ok", "at least 48.0.8");
    said.has("sqlite", "ok", "at least 3.51.3");
    said.has("data folder", "ok", "is not there yet");
    said.has("host key", "ok", "none yet: the first start makes");
    said.has("compile cache", "ok", "none yet");
    said.has("host", "ok", "none runs");
    said.has("address", "ok", "is free");
    said.has("modules folder", "ok", "2 of this build or pinned");
    assert_eq!(everything(&folder.path("")), before, "it wrote something");

    let table = folder.run(&["doctor"]).exits(0).stdout;
    assert!(table.lines().any(|line| line.split_whitespace().take(3).eq(["ok", "data", "folder"])), "{table}");
}

#[test]
fn beside_a_host_and_after_it_the_folder_is_as_it_was() {
    let hub = worlds::github(&Clock::system(), 1, 5);
    let folder = Folder::new(&Settings::default().github(&hub));
    let token = format!("{}\n", hub.token("demo").unwrap());
    folder.run_with(&["connect", "github", "--key", "token=-", "--time-zone", "Europe/Berlin"], &token).exits(0);

    let host = folder.serve();
    fs::write(folder.path("modules/page.wasm"), "<!doctype html>").unwrap();
    let said = loop {
        let said = Said::of(&folder);
        if said.findings.iter().any(|f| f["line"].as_str().unwrap().contains("page is ")) {
            break said;
        }
    };
    said.exits(0);
    said.has("host", "ok", "(1 linked accounts)");
    said.has("connectors", "ok", "2 of 3 serve");
    said.has("connectors", "warning", "page is refused");
    assert!(host.terminate().success());
    folder.give_to_shared();

    let before = everything(&folder.path(""));
    let said = Said::of(&folder);
    said.exits(0);
    said.has("host", "ok", "none runs");
    said.has("host key", "ok", "it opens this data");
    said.has("database", "ok", "schema");
    said.has("compile cache", "ok", "files");
    said.has("modules folder", "warning", "page (page.wasm): is a web page");
    assert_eq!(everything(&folder.path("")), before, "it wrote something");

    // A host that was killed leaves its log behind; whose key it wants is then not asked.
    folder.serve().kill();
    let before = everything(&folder.path(""));
    Said::of(&folder).exits(0);
    assert_eq!(everything(&folder.path("")), before, "it wrote something");
}

#[test]
fn what_keeps_a_host_from_starting_is_a_problem_and_the_exit_code_says_so() {
    let hub = worlds::github(&Clock::system(), 1, 5);
    let settings = Settings::default().github(&hub);
    let folder = Folder::new(&settings);
    let token = format!("{}\n", hub.token("demo").unwrap());
    folder.run_with(&["connect", "github", "--key", "token=-", "--no-wait", "--time-zone", "UTC"], &token).exits(0);
    Said::of(&folder).exits(0);

    let key = folder.path("host.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = Said::of(&folder);
    said.exits(1);
    said.has("host key", "problem", "can be read or changed by others");
    folder.run(&["serve"]).exits(2);

    let other = Folder::new(&Settings::default().fresh_machine());
    other.run(&["connections"]).exits(0);
    fs::remove_file(&key).unwrap();
    fs::copy(other.path("host.key"), &key).unwrap();
    let said = Said::of(&folder);
    said.exits(1);
    said.has("host key", "problem", "is not the key of this data");

    fs::remove_file(&key).unwrap();
    let said = Said::of(&folder);
    said.exits(1);
    said.has("host key", "problem", "there is no such file");
    assert!(!key.exists(), "it made a key");

    let taken = TcpListener::bind(("127.0.0.1", other.port)).unwrap();
    let said = Said::of(&other);
    said.exits(1);
    said.has("address", "problem", "cannot be listened on");
    drop(taken);

    fs::write(other.data().join("sluice.db"), vec![7; 4096]).unwrap();
    let said = Said::of(&other);
    said.exits(1);
    said.has("database", "problem", "was not made by Sluice");

    fs::write(other.config(), "lisen = \"127.0.0.1:1\"\n").unwrap();
    let said = Said::of(&other);
    said.exits(1);
    said.has("settings", "problem", "did you mean “listen”");
    said.has("wasmtime", "ok", "");
}

#[test]
fn a_limit_on_address_space_is_a_warning() {
    let folder = Folder::new(&Settings::default().fresh_machine());
    let program = folder.sluice(&["doctor", "--json"]);
    let mut limited = std::process::Command::new("sh");
    limited.env_clear().env("HOME", folder.path("home")).env("TZ", "UTC").current_dir(folder.path(""));
    limited.args(["-c", "ulimit -v 4000000; exec \"$0\" \"$@\""]).arg(program.get_program()).args(program.get_args());
    let output = finish(&mut limited, "").exits(0);
    let said = Said { code: output.code, findings: output.json() };
    said.has("address space", "warning", "limited to 3.8 GiB (ulimit -v); none can be reserved");
}
