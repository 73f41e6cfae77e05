//! XML, which the service speaks unless asked for JSON. One rule turns the JSON into it: text becomes attributes under `@attr` and content under `#text`,
//! lists repeat their element, the rest nests.

use super::service::Problem;
use crate::http::{Answer, escape};
use serde_json::Value;
use std::fmt::Write as _;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

fn answer(status: u16, body: String) -> Answer {
    Answer::new(status, "text/xml; charset=UTF-8", body)
}

/// A good answer.
pub(super) fn ok(body: &Value) -> Answer {
    let mut text = format!("{HEAD}<lfm status=\"ok\">");
    if let Value::Object(object) = body {
        object.iter().for_each(|(name, value)| element(&mut text, name, value));
    }
    text.push_str("</lfm>\n");
    answer(200, text)
}

/// An error.
pub(super) fn failed(problem: &Problem, on_200: bool) -> Answer {
    let status = if on_200 { 200 } else { problem.status };
    answer(status, format!("{HEAD}<lfm status=\"failed\"><error code=\"{}\">{}</error></lfm>\n", problem.code, escape(&problem.message)))
}

fn element(text: &mut String, name: &str, value: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| element(text, name, item)),
        Value::Object(object) => {
            let attributes = object.get("@attr").and_then(Value::as_object).into_iter().flatten();
            // What stands beside a text is an attribute of it: uts of a date, mbid of an artist.
            let beside = object.iter().filter(|(key, _)| object.contains_key("#text") && !key.starts_with(['#', '@']));
            let _ = write!(text, "<{name}");
            for (key, value) in attributes.chain(beside) {
                let _ = write!(text, " {key}=\"{}\"", escape(&plain(value)));
            }
            text.push('>');
            match object.get("#text") {
                Some(content) => text.push_str(&escape(&plain(content))),
                None => object.iter().filter(|(key, _)| *key != "@attr").for_each(|(key, value)| element(text, key, value)),
            }
            let _ = write!(text, "</{name}>");
        }
        other => {
            let _ = write!(text, "<{name}>{}</{name}>", escape(&plain(other)));
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
