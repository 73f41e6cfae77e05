//! The connector that `docs/connectors.md` builds: compiled here, its own tests run here, and the page says what the files say.
//!
//! The files under `guide/` are the example as its reader has it. They are compiled as a part of this test, so an SDK that no longer fits them fails
//! here first, and whoever mends them is told to mend the page.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "guide/src/lib.rs"]
mod rainlog;

include!("guide/tests/rainlog.rs");

const PAGE: &str = include_str!("../../../docs/connectors.md");

#[test]
fn the_page_shows_these_very_files() {
    for (name, text) in [
        ("connector.toml", include_str!("guide/connector.toml")),
        ("src/lib.rs", include_str!("guide/src/lib.rs")),
        ("tests/rainlog.rs", include_str!("guide/tests/rainlog.rs")),
    ] {
        assert!(PAGE.contains(&format!("\n{text}```\n")), "docs/connectors.md shows another {name} than connectors/sdk/tests/guide/{name}");
    }
}

#[test]
fn what_the_page_links_to_is_there() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.join("../..");
    for page in ["docs/connectors.md", "docs/operators.md"] {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        // Code has brackets of its own.
        let text: String = text.split("\n```").step_by(2).collect();
        let headings: Vec<String> = text.lines().filter(|line| line.starts_with("##")).map(anchor).collect();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            match target.split_once('#') {
                Some(("", wanted)) => assert!(headings.iter().any(|h| h == wanted), "{page}: there is no heading for #{wanted}"),
                _ if target.contains("://") => {}
                _ => assert!(root.join("docs").join(target).exists(), "{page}: {target} is not there"),
            }
        }
    }
}

/// A heading as links name it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}
