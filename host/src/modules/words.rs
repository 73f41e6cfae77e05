//! What a connector asks for, as one sentence: what an operator reads before saying yes. The full account is `Authority::lines`.
//!
//! Only what the manifest's reader has judged gets in: hosts as URLs are compared (so a look-alike letter shows as `xn--…`), and metric names, which
//! are lower-case ASCII.

use sluice_model::authority::Authority;
use std::collections::BTreeSet;
use url::Url;

/// Names of one kind that are written out; the rest is counted.
const NAMED: usize = 5;

/// `reads from api.example.com; sends your key there and nowhere else; stores steps, sleep`.
#[must_use]
pub fn sentence(authority: &Authority) -> String {
    let hosts = |write: bool| -> BTreeSet<String> {
        let reach = authority.reach.iter().filter(|r| matches!(r.method.as_str(), "GET" | "HEAD") != write);
        reach.map(|r| host(&r.origin)).collect()
    };
    let (reads, writes) = (hosts(false), hosts(true));
    let mut parts = Vec::new();
    match (reads.is_empty(), writes.is_empty()) {
        (true, true) => parts.push("sends no requests".to_owned()),
        (false, true) => parts.push(format!("reads from {}", some(&reads))),
        (true, false) => parts.push(format!("sends data to {}", some(&writes))),
        (false, false) if reads == writes => parts.push(format!("reads from and sends data to {}", some(&reads))),
        (false, false) => parts.push(format!("reads from {}; sends data to {}", some(&reads), some(&writes))),
    }
    let keys: BTreeSet<String> = authority.attach.iter().map(|a| host(&a.url)).collect();
    let reached: BTreeSet<String> = reads.union(&writes).cloned().collect();
    parts.push(match keys.is_empty() {
        true => "sends your key nowhere".to_owned(),
        false if keys == reached => "sends your key there and nowhere else".to_owned(),
        false => format!("sends your key to {} and nowhere else", some(&keys)),
    });
    let sign_in: BTreeSet<String> = authority.sign_in.iter().map(|s| host(&s.url)).collect();
    if !sign_in.is_empty() {
        parts.push(format!("signs you in at {}", some(&sign_in)));
    }
    if !authority.records.is_empty() {
        parts.push(format!("stores {}", some(&authority.records)));
    }
    parts.join("; ")
}

fn host(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    match parsed.as_ref().and_then(|u| u.host_str().map(|host| (host, u.port()))) {
        Some((host, Some(port))) => format!("{host}:{port}"),
        Some((host, None)) => host.to_owned(),
        None => url.chars().filter(char::is_ascii_graphic).take(60).collect(),
    }
}

fn some(names: &BTreeSet<String>) -> String {
    let mut shown: Vec<String> = names.iter().take(NAMED).cloned().collect();
    if names.len() > NAMED {
        shown.push(format!("and {} more", names.len() - NAMED));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_model::{Grant, Manifest};

    fn of(more: &str) -> String {
        let manifest = format!("manifest = 1\nname = \"fit\"\ntitle = \"Fit\"\nversion = \"1.0.0\"\n{more}");
        let manifest = Manifest::parse(&manifest).unwrap_or_else(|e| panic!("{e}"));
        sentence(Grant::new(&manifest, &[]).unwrap().authority())
    }

    const KEY: &str = "[[allow]]\norigin = \"https://api.fit.example\"\n[[auth]]\nid = \"key\"\ntitle = \"Key\"\nkind = \"fields\"\n[[auth.field]]\nname = \"api-key\"\nlabel = \"Key\"\n";
    const STEPS: &str = "[[metric]]\nname = \"steps\"\nunit = \"1\"\nkind = \"sum\"\nidentity = \"time\"\n[schedule]\nevery = \"1h\"\n";

    #[test]
    fn a_key_that_goes_where_it_reads_goes_nowhere_else() {
        let text = of(&format!(
            "{KEY}[[attach]]\nname = \"user\"\nto = [\"GET https://api.fit.example/\"]\nquery = {{ key = \"{{api-key}}\" }}\n{STEPS}"
        ));
        assert_eq!(text, "reads from api.fit.example; sends your key there and nowhere else; stores steps");
    }

    #[test]
    fn what_is_written_to_and_what_gets_the_key_are_named() {
        let more = "[[allow]]\norigin = \"https://drop.example:8443\"\nmethods = [\"POST\"]\npaths = [\"/in\"]\n";
        let text = of(&format!(
            "{more}{KEY}[[attach]]\nname = \"user\"\nto = [\"GET https://api.fit.example/\"]\nquery = {{ key = \"{{api-key}}\" }}\n{STEPS}"
        ));
        assert_eq!(
            text,
            "reads from api.fit.example; sends data to drop.example:8443; sends your key to api.fit.example and nowhere else; stores steps"
        );
    }
}
