//! The words of the contract and of the guide name the bounds that the host holds to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice_model::limits::*;
use sluice_model::url::MAX_URL_BYTES;

/// A file of the repository, its comment signs and line ends taken away.
fn words(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.split_whitespace().filter(|word| *word != "///").collect::<Vec<_>>().join(" ")
}

fn kib(bytes: usize) -> usize {
    assert_eq!(bytes % 1024, 0);
    bytes / 1024
}

fn thousands(number: usize) -> String {
    format!("{},{:03}", number / 1000, number % 1000)
}

#[test]
fn every_limit_that_can_be_set_is_listed_by_the_name_of_its_setting() {
    let text = Limits::SETTINGS.map(|name| format!("{name} = 7\n")).concat();
    let Limits { cpu_ms, wall_ms, memory_bytes, requests, response_bytes, entries, entry_bytes, log_bytes, state_bytes, host_calls } =
        toml::from_str(&text).unwrap();
    let all = [cpu_ms, wall_ms, memory_bytes, requests, response_bytes, entries, entry_bytes, log_bytes, state_bytes, host_calls];
    assert_eq!(all, [7; Limits::SETTINGS.len()]);
}

#[test]
fn the_contract_names_the_hosts_bounds() {
    let defaults = Limits::default();
    for (file, says) in [
        ("wit/http.wit", format!("An absolute URL, at most {} KiB long.", kib(MAX_URL_BYTES))),
        ("wit/http.wit", format!("at most {MAX_HEADERS} of {} KiB together.", kib(MAX_HEADER_BYTES))),
        ("wit/http.wit", format!("The body, if any. At most {} MiB.", MAX_BODY_BYTES >> 20)),
        ("wit/http.wit", format!("At most {MAX_REQUESTS_AT_ONCE} requests in one call")),
        ("wit/progress.wit", format!("`too-large` for a cursor over {} KiB", kib(MAX_CURSOR_BYTES))),
        ("wit/progress.wit", format!("At most {MAX_PROBLEMS} in one run are kept.")),
        ("wit/state.wit", format!("a key that is empty or over {MAX_STATE_KEY_BYTES} bytes")),
        ("wit/state.wit", format!("its bound ({} MiB unless the operator says otherwise)", defaults.state_bytes >> 20)),
        (
            "wit/keys.wit",
            format!("`too-large` for a value over {} KiB, or where all would pass {} KiB", kib(MAX_KEY_BYTES), kib(MAX_ALL_KEYS_BYTES)),
        ),
        ("wit/keys.wit", format!("a name that is no name: 1 to {MAX_KEY_NAME} characters")),
        ("wit/log.wit", format!("({} KiB a run unless the operator says otherwise)", defaults.log_bytes >> 10)),
        (
            "docs/connectors.md",
            format!("Fixed: {MAX_REQUESTS_AT_ONCE} requests in one `fetch_all` (more ends the run), 8 of them under way"),
        ),
        (
            "docs/connectors.md",
            format!(
                "a request's body {} MiB, its URL {} KiB, {MAX_HEADERS} headers of {} KiB together",
                MAX_BODY_BYTES >> 20,
                kib(MAX_URL_BYTES),
                kib(MAX_HEADER_BYTES)
            ),
        ),
        ("docs/connectors.md", format!("a cursor {} KiB", kib(MAX_CURSOR_BYTES))),
        ("docs/connectors.md", format!("{} KiB each, {} KiB in all", kib(MAX_KEY_BYTES), kib(MAX_ALL_KEYS_BYTES))),
        ("docs/operators.md", format!("| `handles` | {MAX_HANDLES} |")),
        ("docs/operators.md", format!("| `resources` | {MAX_RESOURCES} |")),
        ("docs/operators.md", format!("| `call-bytes` | {LEAST_CALL_BYTES} |")),
        ("docs/operators.md", format!("| `random-bytes` | {MAX_RANDOM_BYTES} |")),
        ("docs/operators.md", format!("| `table-elements` | {MAX_TABLE_ELEMENTS}, in all {MAX_ALL_TABLE_ELEMENTS} |")),
        ("docs/operators.md", format!("| `requests-at-once` | {MAX_REQUESTS_AT_ONCE} |")),
        ("docs/connectors.md", format!("more than {} `handles` or {} `resources`", thousands(MAX_HANDLES), thousands(MAX_RESOURCES))),
        ("docs/connectors.md", format!("more than {} `random-bytes`", thousands(MAX_RANDOM_BYTES))),
        (
            "docs/connectors.md",
            format!("{} `table-elements` ({} in all)", thousands(MAX_TABLE_ELEMENTS), thousands(MAX_ALL_TABLE_ELEMENTS)),
        ),
        ("docs/connectors.md", format!("more than {} MiB of `call-bytes`", LEAST_CALL_BYTES >> 20)),
        ("docs/connectors.md", format!("Keys of 1 to {MAX_STATE_KEY_BYTES} bytes")),
    ] {
        assert!(words(file).contains(&says), "{file} does not say “{says}”");
    }
}
