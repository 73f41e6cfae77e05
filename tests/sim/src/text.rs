//! Made-up names: people, repositories, songs. Put together from syllables, with every kind of letter that breaks a careless reader.

use crate::prng::Prng;

const SYLLABLES: &[&str] = &[
    "ba", "ce", "dor", "fen", "gil", "ha", "ish", "jo", "kar", "lu", "mir", "na", "ol", "pe", "quo", "ra", "sel", "tov", "u", "vin", "wex",
    "yar", "zu",
];
const THINGS: &[&str] = &[
    "atlas", "beacon", "compass", "dial", "engine", "ferry", "garden", "harbor", "index", "kettle", "ledger", "mirror", "notes", "orchard",
    "parser", "quill",
];
const VERBS: &[&str] = &[
    "Add", "Correct", "Describe", "Explain", "Fold", "Guard", "Keep", "Loosen", "Measure", "Name", "Prune", "Rework", "Simplify", "Test",
    "Widen",
];

/// Titles that hold what readers stumble over: wide and combining letters, right-to-left, emoji, quotes, markup, signs of URLs and CSV, blanks.
const ODD: &[&str] = &[
    "夜の散歩",
    "Тихая река",
    "ليلة طويلة",
    "שיר קצר",
    "Zażółć gęślą",
    "e\u{301}te\u{301} sans fin",
    "🌧️ rain / sun ☀️",
    "Rock & \"Roll\" <live>",
    "=1+1 (remix)",
    "What's 100% + more?",
    "a\tb  c",
    "한밤의 노래",
    "Ⅻ ½ ﬁn",
    "𝔊𝔬𝔱𝔥𝔦𝔠",
    "\\ back / slash ;",
];

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn word(prng: &mut Prng) -> String {
    (0..prng.between(2, 3)).map(|_| prng.pick(SYLLABLES)).collect()
}

/// A login: lower case, with the index so that no two users share one.
pub fn login(prng: &mut Prng, index: u64) -> String {
    format!("{}-{}{index}", word(prng), prng.pick(SYLLABLES))
}

/// A person's name.
pub fn person(prng: &mut Prng) -> String {
    format!("{} {}", capital(&word(prng)), capital(&word(prng)))
}

/// A repository's name.
pub fn repository(prng: &mut Prng) -> String {
    format!("{}-{}", word(prng), prng.pick(THINGS))
}

/// The first line of a commit, or a title of an issue.
pub fn sentence(prng: &mut Prng) -> String {
    format!("{} the {} of {}", prng.pick(VERBS), prng.pick(THINGS), word(prng))
}

/// An artist, one in six with odd letters.
pub fn artist(prng: &mut Prng) -> String {
    if prng.percent(16) { prng.pick(ODD).to_owned() } else { format!("The {} {}", capital(&word(prng)), capital(prng.pick(THINGS))) }
}

/// A song, one in five with odd letters.
pub fn song(prng: &mut Prng) -> String {
    if prng.percent(20) {
        format!("{} {}", prng.pick(ODD), capital(&word(prng)))
    } else {
        format!("{} {}", capital(&word(prng)), prng.pick(THINGS))
    }
}
