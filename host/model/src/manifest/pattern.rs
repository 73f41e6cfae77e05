//! What a form field takes, in a language that cannot be made slow.
//!
//! A general expression engine would be a dependency, and a way for a manifest to spend the host's time. This one has no groups and no look-around: a
//! pattern is alternatives, each a row of (character set, how often). Matching keeps the set of positions reached so far and pushes it through the
//! row, so it costs at most (atoms × length) steps, whatever the pattern says.

/// A whole pattern; the language is described at `Field::matches`.
pub(super) struct Pattern(Vec<Vec<Atom>>);

struct Atom {
    set: Set,
    least: usize,
    most: usize,
}

enum Set {
    Any,
    Ranges(Vec<(char, char)>),
}

impl Set {
    fn has(&self, c: char) -> bool {
        match self {
            Self::Any => true,
            Self::Ranges(ranges) => ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)),
        }
    }
}

/// The most repetitions that a pattern may ask for: no longer value is taken anyway.
const MOST: usize = super::MAX_FIELD_BYTES;

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut alternatives = vec![Vec::new()];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let set = match c {
                '|' => {
                    alternatives.push(Vec::new());
                    continue;
                }
                '.' => Set::Any,
                '\\' => match chars.next() {
                    Some(c) if !c.is_ascii_alphanumeric() => Set::Ranges(vec![(c, c)]),
                    Some(c) => return Err(format!("`\\{c}` is not known: write a class such as [0-9]")),
                    None => return Err("it ends in `\\`".to_owned()),
                },
                '[' => class(&mut chars)?,
                '(' | ')' | '^' | '$' => {
                    return Err(format!(
                        "`{c}` is not known: the whole value is matched, and there are no groups; `\\{c}` is the character"
                    ));
                }
                '?' | '*' | '+' | '{' | '}' | ']' => return Err(format!("`{c}` stands after nothing: `\\{c}` is the character")),
                c => Set::Ranges(vec![(c, c)]),
            };
            let (least, most) = match chars.peek() {
                Some('?') => (0, 1),
                Some('*') => (0, MOST),
                Some('+') => (1, MOST),
                Some('{') => {
                    chars.next();
                    let inner: String = chars.by_ref().take_while(|c| *c != '}').collect();
                    let bounds =
                        repeats(&inner).ok_or_else(|| format!("`{{{inner}}}` says no number of times: write {{3}}, {{3,}} or {{3,8}}"))?;
                    if let Some(row) = alternatives.last_mut() {
                        row.push(Atom { set, least: bounds.0, most: bounds.1 });
                    }
                    continue;
                }
                _ => {
                    if let Some(row) = alternatives.last_mut() {
                        row.push(Atom { set, least: 1, most: 1 });
                    }
                    continue;
                }
            };
            chars.next();
            if let Some(row) = alternatives.last_mut() {
                row.push(Atom { set, least, most });
            }
        }
        if alternatives.iter().any(Vec::is_empty) {
            return Err("an alternative is empty".to_owned());
        }
        Ok(Self(alternatives))
    }

    /// Whether the whole value is as the pattern says.
    pub fn matches(&self, value: &str) -> bool {
        let chars: Vec<char> = value.chars().collect();
        self.0.iter().any(|row| row_matches(row, &chars))
    }
}

fn row_matches(row: &[Atom], chars: &[char]) -> bool {
    let mut reached = vec![false; chars.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    for atom in row {
        // run[i]: how many characters from i on are in the set. Then position i opens the range i+least ..= i+min(most, run[i]), and the union of
        // all ranges is the running sum of their starts and ends.
        let mut run = vec![0_usize; chars.len() + 1];
        for (i, c) in chars.iter().enumerate().rev() {
            let next = run.get(i + 1).copied().unwrap_or(0);
            if let Some(slot) = run.get_mut(i) {
                *slot = if atom.set.has(*c) { next + 1 } else { 0 };
            }
        }
        let mut edges = vec![0_i64; chars.len() + 2];
        for (i, _) in reached.iter().enumerate().filter(|(_, on)| **on) {
            let longest = run.get(i).copied().unwrap_or(0).min(atom.most);
            if longest < atom.least {
                continue;
            }
            if let Some(edge) = edges.get_mut(i + atom.least) {
                *edge += 1;
            }
            if let Some(edge) = edges.get_mut(i + longest + 1) {
                *edge -= 1;
            }
        }
        let mut open = 0;
        for (slot, edge) in reached.iter_mut().zip(&edges) {
            open += edge;
            *slot = open > 0;
        }
    }
    reached.last().copied().unwrap_or(false)
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Set, String> {
    let open = || "a class is not closed: `]` is missing".to_owned();
    let mut ranges = Vec::new();
    loop {
        let first = match chars.next().ok_or_else(open)? {
            ']' if ranges.is_empty() => return Err("a class is empty".to_owned()),
            ']' => return Ok(Set::Ranges(ranges)),
            '^' if ranges.is_empty() => return Err("a class says what it takes, `[^…]` is not known; `\\^` is the character".to_owned()),
            '\\' => chars.next().ok_or_else(open)?,
            c => c,
        };
        let mut last = first;
        if chars.peek() == Some(&'-') {
            chars.next();
            match chars.peek().copied().ok_or_else(open)? {
                ']' => ranges.push(('-', '-')),
                c => {
                    chars.next();
                    last = if c == '\\' { chars.next().ok_or_else(open)? } else { c };
                }
            }
        }
        if last < first {
            return Err(format!("the range {first}-{last} runs backwards"));
        }
        ranges.push((first, last));
    }
}

fn repeats(text: &str) -> Option<(usize, usize)> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<usize>().ok()).flatten().filter(|n| *n <= MOST);
    let (least, most) = match text.split_once(',') {
        None => (number(text)?, number(text)?),
        Some((least, "")) => (number(least)?, MOST),
        Some((least, most)) => (number(least)?, number(most)?),
    };
    (least <= most && most > 0).then_some((least, most))
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[track_caller]
    fn check(pattern: &str, takes: &[&str], refuses: &[&str]) {
        let parsed = Pattern::parse(pattern).unwrap();
        for value in takes {
            assert!(parsed.matches(value), "{pattern} should take {value}");
        }
        for value in refuses {
            assert!(!parsed.matches(value), "{pattern} should refuse {value}");
        }
    }

    #[test]
    fn a_pattern_matches_the_whole_value() {
        check("abc", &["abc"], &["ab", "abcd", "xabc", ""]);
        check("[0-9]{4}", &["2026"], &["202", "20266", "202x"]);
        check("[a-z]*", &["", "abc"], &["aB"]);
        check("a?b+", &["b", "ab", "abb"], &["a", "aab"]);
        check("a{2,3}", &["aa", "aaa"], &["a", "aaaa"]);
        check("a{2,}", &["aa", "aaaaaaa"], &["a"]);
        check("cat|dog", &["cat", "dog"], &["catdog", "ca"]);
        check("[a-]x", &["-x", "ax"], &["bx"]);
        check(r"a\.b", &["a.b"], &["axb"]);
        check("a.b", &["axb", "aéb"], &["ab"]);
        check("[A-Za-z][A-Za-z0-9_-]{1,14}", &["rj", "user_1-x"], &["1a", "a", "aaaaaaaaaaaaaaaa"]);
        check("[ab]*[bc]*b", &["abcb", "b", "ab"], &["abca", ""]);
        check(r"[\]\\]", &["]", "\\"], &["["]);
    }

    #[test]
    fn a_wrong_pattern_is_refused() {
        for pattern in [
            "(a)", "^a", "a$", "*", "+a", "[", "[]", "[^a]", "[z-a]", "a{", "a{x}", "a{3,2}", "a{99999}", "a||b", "", "a|", "\\d", "a\\",
            "]", "}",
        ] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_hostile_pattern_stays_quick() {
        let pattern = Pattern::parse(&"a*".repeat(500)).unwrap();
        assert!(!pattern.matches(&format!("{}b", "a".repeat(4000))));
    }
}
