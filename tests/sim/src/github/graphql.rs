//! `POST /graphql`: a real, small interpreter, so that a client may ask for the fields in any order, with aliases, fragments and variables.
//!
//! What it knows: `viewer`, `user(login)`, `repository(owner,name)`, `search(type: ISSUE)`, `rateLimit`, and below them profiles,
//! the contributions collection (at most a year), repositories with the history of their default branch, issues, pull requests and stars as
//! connections of at most 100 rows. A field that it does not know is an error as at the provider, naming type and field; every
//! query costs one point. Directives are read and ignored.

use super::rest::{Caller, problem};
use super::world::World;
use crate::http::{Answer, Call};
use nodes::{Node, Out};
use parse::{Document, Selection};
use serde_json::{Map, Value, json};

mod collection;
mod connection;
mod nodes;
mod parse;

/// Deeper selections than this are refused.
const DEPTH: usize = 24;

/// Why a query failed: the provider's `type` where it gives one, and its text.
#[derive(Debug)]
pub(super) struct Failed {
    kind: Option<&'static str>,
    message: String,
}

impl Failed {
    fn new(message: impl Into<String>) -> Failed {
        Failed { kind: None, message: message.into() }
    }

    fn of(kind: &'static str, message: impl Into<String>) -> Failed {
        Failed { kind: Some(kind), message: message.into() }
    }

    fn unknown_field(name: &str, on: &str) -> Failed {
        Failed::of("undefinedField", format!("Field '{name}' doesn't exist on type '{on}'"))
    }
}

/// What resolving a field may look at.
pub(super) struct Scope<'w> {
    pub world: &'w World,
    pub caller: &'w Caller,
    pub now: i64,
    pub rate_limit: Value,
}

impl World {
    pub(super) fn graphql(&mut self, call: &Call, caller: &Caller) -> Answer {
        let Some(user) = caller.user() else { return problem(401, "This endpoint requires you to be authenticated.") };
        let Some(body) = call.json() else { return problem(400, "Problems parsing JSON") };
        let Some(query) = body.get("query").and_then(Value::as_str) else {
            return Answer::json(200, &json!({"errors": [{"message": "A query attribute must be specified and must be a string."}]}));
        };
        let standing = self.buckets.standing(Some(user), "graphql", call.seconds());
        let rate_limit = json!({
            "limit": standing.limit,
            "cost": 1,
            "remaining": standing.remaining.saturating_sub(1),
            "used": standing.used + 1,
            "resetAt": crate::time::iso(standing.reset_at),
            "nodeCount": 0,
        });
        let variables = body.get("variables").and_then(Value::as_object).cloned().unwrap_or_default();
        let operation = body.get("operationName").and_then(Value::as_str);
        let scope = Scope { world: self, caller, now: call.seconds(), rate_limit };
        match parse::document(query, &variables, operation).and_then(|document| run(&scope, &document)) {
            Ok(data) => Answer::json(200, &json!({"data": data})),
            Err(failed) => {
                let mut error = json!({"message": failed.message, "locations": [{"line": 1, "column": 1}]});
                if let (Value::Object(error), Some(kind)) = (&mut error, failed.kind) {
                    error.insert("type".to_owned(), json!(kind));
                }
                Answer::json(200, &json!({"data": null, "errors": [error]}))
            }
        }
    }
}

fn run(scope: &Scope<'_>, document: &Document) -> Result<Value, Failed> {
    let mut object = Map::new();
    select(scope, document, &Node::Query, &document.selections, &mut object, 0)?;
    Ok(Value::Object(object))
}

fn select(
    scope: &Scope<'_>,
    document: &Document,
    node: &Node<'_>,
    selections: &[Selection],
    into: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), Failed> {
    if depth > DEPTH {
        return Err(Failed::new("The query is too deep."));
    }
    for selection in selections {
        match selection {
            Selection::Field { alias, name, arguments, selections } => {
                let out = if name == "__typename" { Out::Leaf(json!(node.type_name())) } else { node.field(scope, name, arguments)? };
                let value = write(scope, document, name, out, selections, depth + 1)?;
                into.insert(alias.clone(), value);
            }
            Selection::Spread(name) => {
                let (on, selections) =
                    document.fragments.get(name).ok_or_else(|| Failed::new(format!("Fragment {name} was used, but not defined")))?;
                if node.is(on) {
                    select(scope, document, node, selections, into, depth + 1)?;
                }
            }
            Selection::Inline(on, selections) => {
                if on.as_deref().is_none_or(|on| node.is(on)) {
                    select(scope, document, node, selections, into, depth + 1)?;
                }
            }
        }
    }
    Ok(())
}

fn write(
    scope: &Scope<'_>,
    document: &Document,
    name: &str,
    out: Out<'_>,
    selections: &[Selection],
    depth: usize,
) -> Result<Value, Failed> {
    match out {
        Out::Leaf(value) if selections.is_empty() || value.is_null() => Ok(value),
        Out::Leaf(_) => Err(Failed::new(format!("Selections can't be made on scalars (field '{name}')"))),
        Out::Node(_) if selections.is_empty() => Err(Failed::new(format!("Field must have selections (field '{name}')"))),
        Out::Node(node) => {
            let mut object = Map::new();
            select(scope, document, &node, selections, &mut object, depth)?;
            Ok(Value::Object(object))
        }
        Out::List(items) => items.into_iter().map(|item| write(scope, document, name, item, selections, depth)).collect(),
    }
}
