//! `plugins.toml` as it ships: what it shows as a default is one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice::config::{Config, Overrides, load};
use std::path::Path;

fn read(text: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plugins.toml");
    std::fs::write(&file, format!("key-file = \"{}\"\n{text}", dir.path().join("elsewhere/key").display())).unwrap();
    load(&file, true, &Overrides::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// A table that is commented out, without its comment signs.
fn table(shipped: &str, head: &str) -> String {
    let lines = shipped.lines().skip_while(|line| *line != format!("# {head}"));
    let lines = lines.take_while(|line| line.starts_with("# ") && (line.ends_with(']') || line.contains(" = ")));
    let text: Vec<&str> = lines.map(|line| line.trim_start_matches("# ")).collect();
    assert!(text.len() > 1, "{head} is in the file");
    text.join("\n")
}

#[test]
fn authorities_of_the_operators_own_are_named_from_the_files_folder() {
    assert_eq!(read("").ca_file, None);
    let set = read("ca-file = \"home-ca.pem\"");
    assert_eq!(set.ca_file.as_deref(), Some(set.file.with_file_name("home-ca.pem").as_path()));
    // A flag goes before the file, and starts at the current folder.
    let flag = Overrides { ca_file: Some("other-ca.pem".into()), ..set.overrides.clone() };
    let text = "key-file = \"/elsewhere/key\"\nca-file = \"home-ca.pem\"\n";
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plugins.toml"), text).unwrap();
    let read = load(&dir.path().join("plugins.toml"), true, &flag).unwrap();
    assert_eq!(read.ca_file, Some(std::env::current_dir().unwrap().join("other-ca.pem")));
}

#[test]
fn what_is_commented_out_in_the_file_that_ships_shows_the_defaults() {
    let shipped = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins.toml")).unwrap();
    let nothing = read("");
    let compile = table(&shipped, "[compile]");
    assert_eq!(compile.lines().count(), 4, "each limit is there: {compile}");
    assert_eq!(read(&compile).compile, nothing.compile);
    let limits = table(&shipped, "[connectors.github.limits]");
    assert_eq!(limits.lines().count(), 11, "each limit is there: {limits}");
    assert_eq!(read(&limits).connector("github").limits, nothing.connector("github").limits);
    for key in ["listen", "public-url", "trusted-proxies", "concurrent-runs"] {
        let line = shipped.lines().find_map(|line| line.strip_prefix("# ").filter(|line| line.starts_with(&format!("{key} = ")))).unwrap();
        let set = read(line);
        assert_eq!(
            (set.listen, &set.public_url, &set.trusted_proxies, set.concurrent_runs),
            (nothing.listen, &nothing.public_url, &nothing.trusted_proxies, nothing.concurrent_runs),
            "{line}"
        );
    }
}
