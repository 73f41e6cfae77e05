//! The shape of `plugins.toml`, before anything is checked.

use super::reference::SecretRef;
use serde::Deserialize;
use sluice_model::Limits;
use std::{collections::BTreeMap, path::PathBuf};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Raw {
    pub public_url: Option<String>,
    pub listen: Option<String>,
    pub data_dir: Option<PathBuf>,
    pub modules: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub trusted_proxies: Vec<String>,
    pub concurrent_runs: Option<u32>,
    pub compile: RawCompile,
    pub connectors: BTreeMap<String, RawConnector>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawCompile {
    pub memory_mib: Option<u64>,
    pub cpu_s: Option<u64>,
    pub wall_s: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawConnector {
    pub module: Option<String>,
    pub sha256: Option<String>,
    pub app: BTreeMap<String, SecretRef>,
    pub settings: BTreeMap<String, toml::Value>,
    pub limits: Limits,
    pub schedule: RawSchedule,
    pub upstream: Vec<RawUpstream>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawSchedule {
    pub every: Option<String>,
    pub overlap: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawUpstream {
    pub from: String,
    pub to: String,
    #[serde(default)]
    pub allow_private: bool,
}

/// Parses the text; the error has line and column, and for an unknown key the nearest known one.
pub fn parse(text: &str) -> Result<Raw, String> {
    toml::from_str(text).map_err(|e| {
        let place = e.span().map_or_else(String::new, |span| {
            let before = text.get(..span.start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("line {line}, column {column}: ")
        });
        format!("{place}{}", suggest(e.message()))
    })
}

/// serde says “unknown field `x`, expected one of `a`, `b`”: say which of them was probably meant.
fn suggest(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(wrong) = quoted.next().filter(|_| message.starts_with("unknown field")) else { return message.to_owned() };
    let known: Vec<&str> = quoted.collect();
    let nearest = known.iter().min_by_key(|k| distance(wrong, k));
    match nearest {
        Some(near) => format!("nothing is called “{wrong}” here; did you mean “{near}”? (known: {})", known.join(", ")),
        None => message.to_owned(),
    }
}

/// Levenshtein distance, on bytes: the keys are ASCII.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (y, cell) in b.bytes().zip(row.iter_mut().skip(1)) {
            let here = (diagonal + usize::from(x != y)).min(*cell + 1).min(left + 1);
            diagonal = *cell;
            *cell = here;
            left = here;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_names_the_nearest_one_and_its_place() {
        for (text, wants) in [
            ("public_url = \"x\"", "did you mean “public-url”"),
            ("\n[connectors.github]\nmodul = \"x\"", "line 3, column 1: nothing is called “modul” here; did you mean “module”"),
            ("[connectors.github.limits]\ncpu = 3", "did you mean “cpu-ms”"),
            ("[connectors.x.schedule]\nevry = \"1h\"", "did you mean “every”"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(wants), "{text}: {error}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
