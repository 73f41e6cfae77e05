//! TOML tables read strictly, with the place of everything.
//!
//! The problem: a manifest is written by a stranger and its author learns about mistakes only from what is printed here. So a key that no table has is
//! an error that names the nearest one that it has, and every later complaint, also one that only shows when two tables are compared, must still
//! know where in the text the value stood. Deserialising into plain structs loses both.
//!
//! The contract: [`Table::open`] refuses unknown keys before any value is looked at (a misspelt key is the cause, "missing" would be the symptom);
//! values come out as [`Placed`], which keeps the byte offset. What bounds it: the text's own limit, and the TOML parser's depth limit.

use super::ManifestError;
use super::words::nearest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and the byte offset where it stands.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub at: usize,
    pub value: T,
}

/// What is wrong, and at which byte.
#[derive(Debug)]
pub(super) struct Fault {
    pub at: usize,
    pub message: String,
}

pub(super) type Read<T> = Result<T, Fault>;

impl Fault {
    pub fn new<T>(at: usize, message: impl Into<String>) -> Read<T> {
        Err(Self { at, message: message.into() })
    }

    /// Turns the byte offset into line and column, both from 1, columns in characters.
    pub fn place(self, text: &str) -> ManifestError {
        let mut at = self.at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let before = text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        ManifestError { line, column, message: self.message }
    }
}

impl<T> Placed<T> {
    pub fn fault<U>(&self, message: impl Into<String>) -> Read<U> {
        Fault::new(self.at, message)
    }
}

/// One TOML table under its name in messages.
pub(super) struct Table<'a> {
    pub name: String,
    pub at: usize,
    entries: &'a DeTable<'a>,
}

type Node<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> Table<'a> {
    /// Opens a table that may hold `keys`; those in `later` belong to the format, but not to this host.
    pub fn open(name: impl Into<String>, at: usize, entries: &'a DeTable<'a>, keys: &[&str], later: &[&str]) -> Read<Self> {
        let name = name.into();
        let mut present: Vec<(usize, &str)> = entries.keys().map(|key| (key.span().start, key.get_ref().as_ref())).collect();
        present.sort_unstable();
        for (at, key) in present {
            if later.contains(&key) {
                return Fault::new(at, not_served(&format!("`{key}` in {name}")));
            }
            if !keys.contains(&key) {
                let known = keys.iter().chain(later).copied();
                let hint = nearest(key, known.clone()).map_or_else(
                    || format!("it may hold {}", keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                return Fault::new(at, format!("{name} has no key `{}`: {hint}", short(key)));
            }
        }
        Ok(Self { name, at, entries })
    }

    fn get(&self, key: &str) -> Option<Node<'a>> {
        self.entries.get(key)
    }

    fn wrong<T>(&self, node: Node<'_>, key: &str, wanted: &str) -> Read<T> {
        Fault::new(node.span().start, format!("`{key}` in {} is {wanted}, and here is {}", self.name, kind(node.get_ref())))
    }

    pub fn missing<T>(&self, key: &str, example: &str) -> Read<T> {
        Fault::new(self.at, format!("{} needs `{key}`: write {example}", self.name))
    }

    /// A text of at most `most` characters.
    pub fn text(&self, key: &str, most: usize) -> Read<Option<Placed<String>>> {
        let Some(node) = self.get(key) else { return Ok(None) };
        let Some(text) = node.get_ref().as_str() else { return self.wrong(node, key, "a text in quotes") };
        let at = node.span().start;
        let length = text.chars().count();
        if length > most {
            return Fault::new(at, format!("`{key}` in {} has {length} characters, and {most} is the most", self.name));
        }
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t' && c != '\r') {
            return Fault::new(at, format!("`{key}` in {} holds a control character", self.name));
        }
        Ok(Some(Placed { at, value: text.to_owned() }))
    }

    pub fn need_text(&self, key: &str, most: usize, example: &str) -> Read<Placed<String>> {
        match self.text(key, most)? {
            Some(text) if text.value.trim().is_empty() => text.fault(format!("`{key}` in {} is empty", self.name)),
            Some(text) => Ok(text),
            None => self.missing(key, example),
        }
    }

    pub fn flag(&self, key: &str) -> Read<Option<bool>> {
        let Some(node) = self.get(key) else { return Ok(None) };
        node.get_ref().as_bool().map_or_else(|| self.wrong(node, key, "true or false, without quotes"), |flag| Ok(Some(flag)))
    }

    pub fn number(&self, key: &str) -> Read<Option<Placed<i64>>> {
        let Some(node) = self.get(key) else { return Ok(None) };
        let at = node.span().start;
        let Some(integer) = node.get_ref().as_integer() else { return self.wrong(node, key, "a whole number") };
        match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(value) => Ok(Some(Placed { at, value })),
            Err(_) => Fault::new(at, format!("`{key}` in {} is beyond any number that makes sense here", self.name)),
        }
    }

    /// A value as text, whatever scalar it is: defaults of settings.
    pub fn scalar(&self, key: &str) -> Read<Option<Placed<String>>> {
        let Some(node) = self.get(key) else { return Ok(None) };
        let at = node.span().start;
        let value = match node.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.to_string(),
                Err(_) => return Fault::new(at, format!("`{key}` in {} is beyond any number that makes sense here", self.name)),
            },
            _ => return self.wrong(node, key, "a text, a whole number, true or false"),
        };
        Ok(Some(Placed { at, value }))
    }

    /// The elements of an array, at most `most`.
    fn array(&self, key: &str, most: usize) -> Read<Option<Vec<Node<'a>>>> {
        let Some(node) = self.get(key) else { return Ok(None) };
        let Some(array) = node.get_ref().as_array() else { return self.wrong(node, key, "a list in square brackets") };
        let elements: Vec<_> = array.iter().collect();
        if elements.len() > most {
            return Fault::new(
                node.span().start,
                format!("`{key}` in {} has {} elements, and {most} is the most", self.name, elements.len()),
            );
        }
        Ok(Some(elements))
    }

    /// A list of non-empty texts.
    pub fn texts(&self, key: &str, most: usize) -> Read<Option<Vec<Placed<String>>>> {
        let Some(nodes) = self.array(key, most)? else { return Ok(None) };
        let mut out = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node.get_ref().as_str() {
                Some(text) if !text.is_empty() && text.len() <= 1024 && !text.chars().any(char::is_control) => {
                    out.push(Placed { at: node.span().start, value: text.to_owned() });
                }
                Some(_) => return Fault::new(node.span().start, format!("`{key}` in {} holds an empty or overlong text", self.name)),
                None => return self.wrong(node, key, "a list of texts in quotes"),
            }
        }
        Ok(Some(out))
    }

    /// An inline table of texts, in the order in which they are written.
    pub fn pairs(&self, key: &str) -> Read<Vec<(Placed<String>, Placed<String>)>> {
        let Some(node) = self.get(key) else { return Ok(Vec::new()) };
        let Some(table) = node.get_ref().as_table() else { return self.wrong(node, key, "a table such as { name = \"value\" }") };
        let mut out = Vec::new();
        for (name, value) in table {
            let Some(text) = value.get_ref().as_str() else {
                return Fault::new(
                    value.span().start,
                    format!(
                        "`{}` under `{key}` in {} is a text in quotes, and here is {}",
                        short(name.get_ref()),
                        self.name,
                        kind(value.get_ref())
                    ),
                );
            };
            let (name_text, value_text) = (name.get_ref().to_string(), text.to_owned());
            if name_text.is_empty() || name_text.len() > 256 || value_text.len() > 2048 || value_text.chars().any(char::is_control) {
                return Fault::new(
                    name.span().start,
                    format!("a name or value under `{key}` in {} is empty, overlong or holds control characters", self.name),
                );
            }
            out.push((Placed { at: name.span().start, value: name_text }, Placed { at: value.span().start, value: value_text }));
        }
        if out.len() > 32 {
            return Fault::new(node.span().start, format!("`{key}` in {} has {} members, and 32 is the most", self.name, out.len()));
        }
        out.sort_by_key(|(name, _)| name.at);
        Ok(out)
    }

    /// An array of tables, `[[key]]`.
    pub fn tables(&self, key: &str, most: usize, label: &str, keys: &[&str], later: &[&str]) -> Read<Vec<Table<'a>>> {
        let Some(node) = self.get(key) else { return Ok(Vec::new()) };
        if node.get_ref().is_table() {
            return Fault::new(node.span().start, format!("{label} may come several times: write it with two brackets, {label}"));
        }
        let nodes = self.array(key, most)?.unwrap_or_default();
        nodes
            .into_iter()
            .map(|node| match node.get_ref().as_table() {
                Some(table) => Table::open(label, node.span().start, table, keys, later),
                None => self.wrong(node, key, "a list of tables"),
            })
            .collect()
    }

    /// One table, `[key]`.
    pub fn table(&self, key: &str, label: &str, keys: &[&str], later: &[&str]) -> Read<Option<Table<'a>>> {
        let Some(node) = self.get(key) else { return Ok(None) };
        match node.get_ref().as_table() {
            Some(table) => Table::open(label, node.span().start, table, keys, later).map(Some),
            None => self.wrong(node, key, &format!("a table: write {label}")),
        }
    }

    /// A list of names, or of tables with a name and something said of it.
    pub fn names_or_tables(&self, key: &str, most: usize, keys: &[&str]) -> Read<Vec<NameOrTable<'a>>> {
        let mut out = Vec::new();
        for node in self.array(key, most)?.unwrap_or_default() {
            let at = node.span().start;
            out.push(match node.get_ref() {
                DeValue::String(text) => NameOrTable::Name(Placed { at, value: text.to_string() }),
                DeValue::Table(table) => NameOrTable::Table(Table::open(format!("`{key}` in {}", self.name), at, table, keys, &[])?),
                _ => return self.wrong(node, key, "a list of names, or of tables such as { name = \"api-key\", secret = false }"),
            });
        }
        Ok(out)
    }
}

/// An element of a list that may be said in two ways.
pub(super) enum NameOrTable<'a> {
    Name(Placed<String>),
    Table(Table<'a>),
}

/// The sentence for what the format has and this host has not.
pub(super) fn not_served(what: &str) -> String {
    format!("{what}: this host does not serve it yet. Leave it out, or use a newer host")
}

/// Text of others in messages, cut.
pub(super) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
