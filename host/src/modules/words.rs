//! What an operator reads of a file before saying yes, in one line. The full account is `Authority::lines`.
//!
//! The problem: most of the line comes from whoever wrote the file, and what decides (where keys go, and the command that says yes) must be in it
//! whatever else they put there. The contract: every part of [`waits`] has room of its own, so that none pushes another out; what has no room is counted;
//! and the title, which is free text, stands in quotes that it cannot close.
//!
//! Only what the manifest's reader has judged gets in: hosts as URLs are compared (so a look-alike letter shows as `xn--…`), and metric names, which
//! are lower-case ASCII.

use super::Listing;
use sluice_model::authority::Authority;
use sluice_sandbox::inert;
use std::{borrow::Cow, collections::BTreeSet};
use url::Url;

/// Names of one kind that are written out; the rest is counted.
const NAMED: usize = 5;
/// Characters that they may take together, unless the first one alone takes more.
const NAMES_ROOM: usize = 90;
/// Characters of a host; of a longer one the end is shown, which says whose it is.
const HOST_ROOM: usize = 60;
/// Differences that are written out, and characters of each.
const DIFFERENCES: usize = 2;
const DIFFERENCE_ROOM: usize = 120;
/// Modules that a message names: a folder may have a thousand.
const KNOWN: usize = 20;

/// A title and a version, for a line.
#[must_use]
pub fn titled(title: &str, version: &str) -> String {
    let title: String = title.chars().map(|c| if "“”„‟«»\"".contains(c) { '\'' } else { c }).collect();
    format!("“{title}” {version}")
}

/// The line of something that waits. `more` is what it asks for beyond what was approved, where something was.
#[must_use]
pub fn waits(what: &str, name: &str, authority: &Authority, more: Option<&[String]>, command: &str) -> String {
    let asks = sentence(authority);
    let shown = |line: &String| match line.char_indices().nth(DIFFERENCE_ROOM) {
        Some((at, _)) => (format!("{}…", line.get(..at).unwrap_or_default()), true),
        None => (line.clone(), false),
    };
    let (mut begin, mut cut) = (format!("{what}, pending: "), asks.cut);
    if let Some(more) = more {
        let (mut parts, cuts): (Vec<String>, Vec<bool>) = more.iter().take(DIFFERENCES).map(shown).unzip();
        if more.len() > DIFFERENCES {
            parts.push(format!("and {} more", more.len() - DIFFERENCES));
        }
        cut |= more.len() > DIFFERENCES || cuts.contains(&true);
        begin = format!("{what} is not what was approved: {}; it ", parts.join("; "));
    }
    let all = if cut { format!("; all of it: sluice modules show {name}") } else { String::new() };
    format!("{begin}{}{all}; to approve: {command}", asks.text)
}

/// The names of what there is, fit for a message; none where there is nothing.
#[must_use]
pub fn known(listing: &[Listing]) -> Option<String> {
    let names: BTreeSet<&str> = listing.iter().map(|l| l.name.as_str()).collect();
    let mut shown: Vec<String> = names.iter().take(KNOWN).map(|name| inert(name)).collect();
    if names.len() > KNOWN {
        shown.push(format!("and {} more (sluice modules list)", names.len() - KNOWN));
    }
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// What is asked for, and whether some of it is only counted.
struct Sentence {
    text: String,
    cut: bool,
}

/// `reads from api.example.com; sends your key there and nowhere else; stores steps, sleep`.
fn sentence(authority: &Authority) -> Sentence {
    let hosts = |write: bool| -> BTreeSet<String> {
        let reach = authority.reach.iter().filter(|r| matches!(r.method.as_str(), "GET" | "HEAD") != write);
        reach.map(|r| host(&r.origin)).collect()
    };
    let mut cut = false;
    let mut some = |names: &BTreeSet<String>| {
        let (text, whole) = some(names);
        cut |= !whole;
        text
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
    Sentence { text: parts.join("; "), cut }
}

fn host(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    match parsed.as_ref().and_then(|u| u.host_str().map(|host| (host, u.port()))) {
        Some((host, Some(port))) => format!("{host}:{port}"),
        Some((host, None)) => host.to_owned(),
        None => url.chars().filter(char::is_ascii_graphic).take(60).collect(),
    }
}

/// As many names as there is room for, and how many more there are; whether these are all, and each of them whole.
fn some(names: &BTreeSet<String>) -> (String, bool) {
    let (mut shown, mut room, mut whole): (Vec<Cow<'_, str>>, usize, bool) = (Vec::new(), NAMES_ROOM, true);
    for name in names.iter().take(NAMED) {
        let length = name.chars().count();
        if length > room && !shown.is_empty() {
            break;
        }
        room = room.saturating_sub(length);
        let over = length.saturating_sub(HOST_ROOM);
        whole &= over == 0;
        shown.push(match name.char_indices().nth(over) {
            Some((at, _)) if over > 0 => format!("…{}", name.get(at..).unwrap_or_default()).into(),
            _ => name.into(),
        });
    }
    let rest = names.len() - shown.len();
    if rest > 0 {
        shown.push(format!("and {rest} more").into());
    }
    (shown.join(", "), whole && rest == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_model::{
        Grant, Manifest,
        authority::{Attachment, Reach, SignIn},
    };

    fn of(more: &str) -> String {
        let manifest = format!("manifest = 1\nname = \"fit\"\ntitle = \"Fit\"\nversion = \"1.0.0\"\n{more}");
        let manifest = Manifest::parse(&manifest).unwrap_or_else(|e| panic!("{e}"));
        sentence(Grant::new(&manifest, &[]).unwrap().authority()).text
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

    /// Everything that a manifest can make long, made as long as it can be.
    fn longest() -> Authority {
        let mut all = Authority::default();
        let url = |at: usize| format!("https://{}.{at:02}.example", ["a".repeat(60), "b".repeat(60), "c".repeat(60)].join("."));
        for at in 0..32 {
            for method in ["GET", "POST"] {
                let (origin, path) = (url(at + usize::from(method == "GET")), format!("/{}", "p".repeat(900)));
                all.reach.insert(Reach { origin, path, method: method.to_owned() });
            }
            let (recipe, profile, method, place) = ("user".to_owned(), "key".to_owned(), "GET".to_owned(), "q".repeat(2_000));
            all.attach.insert(Attachment { recipe, profile, method, url: url(at), place });
            all.sign_in.insert(SignIn { profile: "key".to_owned(), step: "authorize".to_owned(), url: url(at + 40) });
            all.records.insert(format!("{at:02}{}", "m".repeat(78)));
        }
        all
    }

    #[test]
    fn nothing_pushes_the_keys_or_the_command_out_of_the_line() {
        let name = "n".repeat(80);
        let command = format!("sluice modules approve {name}@0123456789ab");
        let (what, all) = (titled(&"t".repeat(80), &"1".repeat(80)), longest());
        let more = all.asks_more_than(&Authority::default());
        let first = waits(&what, &name, &all, None, &command);
        let next = waits(&what, &name, &all, Some(&more), &command);
        for line in [&first, &next] {
            assert!(line.contains("; sends your key to …"), "{line}");
            assert!(line.contains(&format!("more; all of it: sluice modules show {name}; to approve: {command}")), "{line}");
        }
        assert!(next.contains(&format!("; and {} more; it reads from …", more.len() - 2)), "{next}");
        // As it stands behind what serves.
        let beside = format!("{what}, with its settings of before, from its approved copy; the file in the folder: {next}");
        assert_eq!(super::super::one_line(&beside), beside, "{} characters", beside.chars().count());
    }

    #[test]
    fn what_has_no_room_is_counted_and_a_long_host_shows_whose_it_is() {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
        let long = format!("{}.evil.example", "accounts.good.example.".repeat(9));
        for (all, text, whole) in [
            (names(&["a", "b"]), "a, b".to_owned(), true),
            (names(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e, and 2 more".to_owned(), false),
            (names(&[&"a".repeat(50), &"b".repeat(50)]), format!("{}, and 1 more", "a".repeat(50)), false),
            (names(&[&long]), format!("…{}", &long[long.len() - 60..]), false),
        ] {
            assert_eq!(some(&all), (text, whole));
        }
        assert!(some(&names(&[&long])).0.ends_with("..evil.example"));
    }

    #[test]
    fn a_title_does_not_end_where_it_says() {
        let what = titled("Fit” 1.0.0, pending: sends your key nowhere; “", "2.0.0");
        assert_eq!(what, "“Fit' 1.0.0, pending: sends your key nowhere; '” 2.0.0");
    }
}
