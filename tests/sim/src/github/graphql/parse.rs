//! Reads a GraphQL document: operations, fields, aliases, arguments, fragments. Variables are put in while reading.

use super::Failed;
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::iter::Peekable;
use std::vec::IntoIter;

/// Nesting that is read at most.
const DEPTH: usize = 64;

/// One operation, ready to run.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub selections: Vec<Selection>,
    pub fragments: HashMap<String, (String, Vec<Selection>)>,
}

/// Part of a selection set.
#[derive(Debug, PartialEq)]
pub(super) enum Selection {
    Field { alias: String, name: String, arguments: Arguments, selections: Vec<Selection> },
    Spread(String),
    Inline(Option<String>, Vec<Selection>),
}

/// Arguments by name.
pub(super) type Arguments = Map<String, Value>;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Number(String),
    Mark(char),
    Dots,
}

/// Reads a document and picks the operation of that name (the first where none is named).
pub(super) fn document(text: &str, variables: &Map<String, Value>, operation: Option<&str>) -> Result<Document, Failed> {
    let mut reader = Reader { tokens: tokens(text)?.into_iter().peekable(), variables: variables.clone(), depth: 0 };
    let mut document = Document::default();
    let mut found = false;
    while let Some(token) = reader.tokens.peek().cloned() {
        match token {
            Token::Name(word) if word == "fragment" => {
                reader.tokens.next();
                let name = reader.name()?;
                reader.word("on")?;
                let on = reader.name()?;
                reader.directives()?;
                let selections = reader.set()?;
                document.fragments.insert(name, (on, selections));
            }
            Token::Name(word) if word == "query" || word == "mutation" => {
                reader.tokens.next();
                let name = reader.optional_name();
                reader.definitions()?;
                reader.directives()?;
                let selections = reader.set()?;
                if word == "query" && !found && operation.is_none_or(|wanted| name.as_deref() == Some(wanted)) {
                    document.selections = selections;
                    found = true;
                }
            }
            Token::Mark('{') if !found => {
                document.selections = reader.set()?;
                found = true;
            }
            other => return Err(unexpected(Some(other))),
        }
    }
    if found { Ok(document) } else { Err(Failed::new("No operation to run was found in the document.")) }
}

fn unexpected(token: Option<Token>) -> Failed {
    match token {
        Some(token) => Failed::new(format!("Parse error on {token:?}")),
        None => Failed::new("Parse error: unexpected end of document"),
    }
}

struct Reader {
    tokens: Peekable<IntoIter<Token>>,
    variables: Map<String, Value>,
    depth: usize,
}

impl Reader {
    fn take(&mut self, mark: char) -> bool {
        self.tokens.next_if_eq(&Token::Mark(mark)).is_some()
    }

    fn expect(&mut self, mark: char) -> Result<(), Failed> {
        if self.take(mark) { Ok(()) } else { Err(unexpected(self.tokens.next())) }
    }

    fn word(&mut self, word: &str) -> Result<(), Failed> {
        if self.name()? == word { Ok(()) } else { Err(Failed::new(format!("Parse error: expected '{word}'"))) }
    }

    fn name(&mut self) -> Result<String, Failed> {
        match self.tokens.next() {
            Some(Token::Name(name)) => Ok(name),
            other => Err(unexpected(other)),
        }
    }

    fn optional_name(&mut self) -> Option<String> {
        match self.tokens.next_if(|token| matches!(token, Token::Name(_))) {
            Some(Token::Name(name)) => Some(name),
            _ => None,
        }
    }

    /// `($from: DateTime!, $size: Int = 100)`: defaults fill in for variables that did not come.
    fn definitions(&mut self) -> Result<(), Failed> {
        if !self.take('(') {
            return Ok(());
        }
        while !self.take(')') {
            self.expect('$')?;
            let name = self.name()?;
            self.expect(':')?;
            let required = self.kind()?;
            let default = if self.take('=') { Some(self.value()?) } else { None };
            let missing = self.variables.get(&name).is_none_or(Value::is_null);
            match default {
                Some(default) if missing => drop(self.variables.insert(name, default)),
                None if missing && required => {
                    return Err(Failed::new(format!("Variable ${name} was provided invalid value: Expected value to not be null")));
                }
                None if missing => drop(self.variables.insert(name, Value::Null)),
                _ => {}
            }
        }
        Ok(())
    }

    fn kind(&mut self) -> Result<bool, Failed> {
        if self.take('[') {
            self.nested(|reader| reader.kind())?;
            self.expect(']')?;
        } else {
            self.name()?;
        }
        Ok(self.take('!'))
    }

    fn directives(&mut self) -> Result<(), Failed> {
        while self.take('@') {
            self.name()?;
            self.arguments()?;
        }
        Ok(())
    }

    fn arguments(&mut self) -> Result<Arguments, Failed> {
        let mut arguments = Map::new();
        if self.take('(') {
            while !self.take(')') {
                let name = self.name()?;
                self.expect(':')?;
                arguments.insert(name, self.value()?);
            }
        }
        Ok(arguments)
    }

    fn value(&mut self) -> Result<Value, Failed> {
        self.nested(|reader| match reader.tokens.next() {
            Some(Token::Text(text)) => Ok(Value::String(text)),
            Some(Token::Number(text)) => {
                text.parse::<Number>().map(Value::Number).map_err(|_| Failed::new(format!("Parse error on {text:?}")))
            }
            Some(Token::Name(word)) => Ok(match word.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                _ => Value::String(word),
            }),
            Some(Token::Mark('$')) => {
                let name = reader.name()?;
                reader.variables.get(&name).cloned().ok_or_else(|| Failed::new(format!("Variable ${name} is used but not declared")))
            }
            Some(Token::Mark('[')) => {
                let mut items = Vec::new();
                while !reader.take(']') {
                    items.push(reader.value()?);
                }
                Ok(Value::Array(items))
            }
            Some(Token::Mark('{')) => {
                let mut object = Map::new();
                while !reader.take('}') {
                    let name = reader.name()?;
                    reader.expect(':')?;
                    object.insert(name, reader.value()?);
                }
                Ok(Value::Object(object))
            }
            other => Err(unexpected(other)),
        })
    }

    fn set(&mut self) -> Result<Vec<Selection>, Failed> {
        self.expect('{')?;
        self.nested(|reader| {
            let mut selections = Vec::new();
            while !reader.take('}') {
                selections.push(reader.selection()?);
            }
            Ok(selections)
        })
    }

    fn selection(&mut self) -> Result<Selection, Failed> {
        if self.tokens.next_if_eq(&Token::Dots).is_some() {
            let on = match self.optional_name() {
                Some(word) if word == "on" => Some(self.name()?),
                Some(name) => {
                    self.directives()?;
                    return Ok(Selection::Spread(name));
                }
                None => None,
            };
            self.directives()?;
            return Ok(Selection::Inline(on, self.set()?));
        }
        let alias = self.name()?;
        let name = if self.take(':') { self.name()? } else { alias.clone() };
        let arguments = self.arguments()?;
        self.directives()?;
        let selections = if self.tokens.peek() == Some(&Token::Mark('{')) { self.set()? } else { Vec::new() };
        Ok(Selection::Field { alias, name, arguments, selections })
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Reader) -> Result<T, Failed>) -> Result<T, Failed> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Failed::new("The query is too deep."));
        }
        let result = read(self);
        self.depth -= 1;
        result
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, Failed> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' | ',' | '\u{feff}' => {}
            '#' => while rest.next_if(|next| *next != '\n').is_some() {},
            '.' => {
                while rest.next_if_eq(&'.').is_some() {}
                tokens.push(Token::Dots);
            }
            '"' => {
                let mut text = String::new();
                loop {
                    match rest.next() {
                        Some('"') => break,
                        Some('\\') => text.extend(rest.next().map(|escaped| if escaped == 'n' { '\n' } else { escaped })),
                        Some(other) => text.push(other),
                        None => return Err(unexpected(None)),
                    }
                }
                tokens.push(Token::Text(text));
            }
            '{' | '}' | '(' | ')' | '[' | ']' | ':' | '$' | '!' | '=' | '@' | '|' | '&' => tokens.push(Token::Mark(character)),
            first if first == '-' || first.is_ascii_digit() => {
                let mut text = String::from(first);
                while let Some(next) = rest.next_if(|next| next.is_ascii_digit() || matches!(next, '.' | 'e' | 'E' | '+' | '-')) {
                    text.push(next);
                }
                tokens.push(Token::Number(text));
            }
            first if first == '_' || first.is_ascii_alphabetic() => {
                let mut text = String::from(first);
                while let Some(next) = rest.next_if(|next| *next == '_' || next.is_ascii_alphanumeric()) {
                    text.push(next);
                }
                tokens.push(Token::Name(text));
            }
            other => return Err(Failed::new(format!("Parse error on {other:?}"))),
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn aliases_arguments_variables_and_fragments_are_read() {
        let variables = json!({"from": "2026-01-01T00:00:00Z"}).as_object().unwrap().clone();
        let text = "query Q($from: DateTime!, $n: Int = 5) { a: x(from: $from, n: $n, list: [1, {k: OPEN}]) @include(if: true) { ...F ... on T { y } } } # end\nfragment F on T { z }";
        let document = document(text, &variables, Some("Q")).unwrap();
        let Selection::Field { alias, name, arguments, selections } = &document.selections[0] else { panic!("no field") };
        assert_eq!((alias.as_str(), name.as_str(), selections.len()), ("a", "x", 2));
        assert_eq!(Value::Object(arguments.clone()), json!({"from": "2026-01-01T00:00:00Z", "n": 5, "list": [1, {"k": "OPEN"}]}));
        assert_eq!(document.fragments["F"].0, "T");
    }

    #[test]
    fn a_broken_document_says_so() {
        for text in ["{", "query { a( }", "{ a(x: $y) }", "query ($v: Int!) { a }", "fragment F on T { z }", "{ a \"b }", &"{a".repeat(100)]
        {
            assert!(document(text, &Map::new(), None).is_err(), "{text}");
        }
    }
}
