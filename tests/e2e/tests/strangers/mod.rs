//! A folder with a stranger's connector in it, `fit`, whose provider is a [`Door`]; asked about by the commands that people use.
#![allow(dead_code)]

use serde_json::Value;
use sluice_e2e::{
    door::Door,
    eventually,
    folder::{Folder, Settings, upstream},
    time::NOON,
};
use sluice_fixtures::{Script, Stranger};
use std::{fs, path::Path};

/// The settings of such a folder.
pub fn settings(door: &Door) -> Settings {
    Settings::default().more(&upstream("fit", "https://api.fit.example/", &door.url()))
}

/// A folder with nothing in it yet.
pub fn place(door: &Door) -> Folder {
    let folder = Folder::new(&settings(door));
    nothing_ships(&folder);
    folder
}

/// A folder that goes on from what another one has: data, key and modules.
pub fn duplicate(of: &Folder, door: &Door) -> Folder {
    let folder = of.duplicate(&settings(door));
    nothing_ships(&folder);
    sluice_e2e::folder::copy_folder(&of.path("modules"), &folder.path("modules"));
    folder
}

/// What ships would only take its time to start.
fn nothing_ships(folder: &Folder) {
    for file in fs::read_dir(folder.path("modules")).unwrap().flatten() {
        fs::remove_file(file.path()).unwrap();
    }
}

/// A version that asks for these paths, each with the key, then records its own number for noon.
pub fn asking(version: &str, number: f64, paths: &[&str]) -> Vec<u8> {
    let quoted = |text: &dyn Fn(&&str) -> String| paths.iter().map(text).collect::<Vec<_>>().join(", ");
    let (allowed, to) = (quoted(&|path| format!("\"{path}\"")), quoted(&|path| format!("\"GET https://api.fit.example{path}\"")));
    let asked = paths.iter().fold(Script::default(), |script, path| script.get(&format!("https://api.fit.example{path}")));
    let script = asked.record("steps", NOON, number);
    Stranger { version, paths: &allowed, to: &to, sync: &script.sync, more: &script.more, ..Stranger::default() }.build()
}

/// Puts it there the way people do: written beside, then renamed over what was there.
pub fn drop_in(folder: &Folder, bytes: &[u8]) {
    fs::write(folder.path("beside"), bytes).unwrap();
    rename_in(&folder.path(""));
}

/// The second half of it.
pub fn rename_in(folder: &Path) {
    fs::rename(folder.join("beside"), folder.join("modules/fit.wasm")).unwrap();
}

/// The line of `fit` in `sluice modules list --json`.
pub fn listed(folder: &Folder) -> Value {
    let rows: Vec<Value> = folder.run(&["modules", "list", "--json"]).exits(0).json();
    rows.into_iter().find(|row| row["name"] == "fit").unwrap_or_default()
}

/// Waits until `fit` is listed so.
pub async fn until_listed(folder: &Folder, state: &str, version: &str) {
    eventually(&format!("fit to be {state} at {version}"), async || {
        let row = listed(folder);
        (row["state"] == state && row["version"] == version).then_some(())
    })
    .await;
}

/// Waits until a version of `fit` waits beside the one that runs.
pub async fn until_waiting(folder: &Folder, version: &str) {
    eventually(&format!("fit {version} to wait"), async || (listed(folder)["waiting"]["version"] == version).then_some(())).await;
}

/// Version and outcome of each run, newest first. Runs that went the same way and changed nothing are one row.
pub fn runs(folder: &Folder) -> Vec<(String, String)> {
    let rows: Vec<Value> = folder.run(&["runs", "fit", "--json"]).exits(0).json();
    let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let times = |row: &Value| usize::try_from(row["repeats"].as_u64().unwrap()).unwrap().max(1);
    rows.iter().flat_map(|row| std::iter::repeat_n((word(row, "version"), word(row, "outcome")), times(row))).collect()
}
