//! Connections: `first`, `last`, `after`, `before` over a list that is known in full; cursors are positions from the end, so that a
//! newcomer at the front moves nobody.

use super::nodes::{Node, Out};
use super::parse::Arguments;
use super::{Failed, Scope};
use base64::Engine as _;
use serde_json::{Map, Value, json};

/// A row of a connection and what its edge adds.
pub(super) struct Row<'w> {
    pub node: Node<'w>,
    pub edge: Map<String, Value>,
}

/// One page of a connection.
pub(super) struct Connection<'w> {
    pub name: &'static str,
    pub total: usize,
    pub rows: Vec<(String, Row<'w>)>,
    pub before: bool,
    pub after: bool,
}

const ENGINE: base64::engine::GeneralPurpose = base64::engine::general_purpose::STANDARD;

fn position(cursor: &Value) -> Result<usize, Failed> {
    let text = cursor.as_str().unwrap_or_default();
    let decoded = ENGINE.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let position = decoded.as_deref().and_then(|text| text.strip_prefix("cursor:sim:")).and_then(|text| text.parse().ok());
    position.ok_or_else(|| Failed::of("INVALID_CURSOR_ARGUMENTS", format!("`{text}` does not appear to be a valid cursor.")))
}

/// Cuts a page from all rows, in the order that the arguments ask for (rows come newest first).
pub(super) fn cut<'w>(name: &'static str, arguments: &Arguments, mut all: Vec<Row<'w>>) -> Result<Connection<'w>, Failed> {
    let count = |argument: &str| arguments.get(argument).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
    let (first, last) = (count("first"), count("last"));
    let wanted = arguments.keys().all(|key| !matches!(key.as_str(), "first" | "last"));
    for count in [first, last].into_iter().flatten() {
        if count == 0 || count > 100 {
            return Err(Failed::of(
                "EXCESSIVE_PAGINATION",
                format!("Requesting {count} records on the `{name}` connection exceeds the `first` limit of 100 records."),
            ));
        }
    }
    let ascending = arguments.get("orderBy").and_then(|order| order.get("direction")).and_then(Value::as_str) == Some("ASC");
    if ascending {
        all.reverse();
    }
    let total = all.len();
    // A descending row keeps its number when newer ones come in front; an ascending one when newer ones come behind.
    let number = |index: usize| if ascending { index + 1 } else { total - index };
    let index = |number: usize| if ascending { number.saturating_sub(1) } else { total.saturating_sub(number) };
    let start = match arguments.get("after").filter(|cursor| !cursor.is_null()) {
        Some(cursor) => index(position(cursor)?) + 1,
        None => 0,
    };
    let end = match arguments.get("before").filter(|cursor| !cursor.is_null()) {
        Some(cursor) => index(position(cursor)?),
        None => total,
    };
    let (start, end) = (start.min(total), end.min(total));
    let (start, end) = match (first, last) {
        (Some(first), _) => (start, end.min(start.saturating_add(first))),
        (None, Some(last)) => (end.saturating_sub(last).max(start), end),
        (None, None) if wanted => (start, start),
        (None, None) => (start, end),
    };
    let rows = all.into_iter().enumerate().filter(|(at, _)| *at >= start && *at < end);
    let rows = rows.map(|(at, row)| (ENGINE.encode(format!("cursor:sim:{}", number(at))), row)).collect();
    Ok(Connection { name, total, rows, before: start > 0, after: end < total })
}

impl<'w> Connection<'w> {
    /// A field of the connection. `nodes` and `edges` without `first` or `last` are an error, as at the provider.
    pub(super) fn field(&self, _scope: &Scope<'w>, name: &str, arguments: bool) -> Result<Out<'w>, Failed> {
        match name {
            "totalCount" | "issueCount" => Ok(Out::Leaf(json!(self.total))),
            "pageInfo" => {
                let cursor = |row: Option<&(String, Row<'w>)>| row.map(|(cursor, _)| cursor.clone());
                let info = json!({
                    "hasNextPage": self.after,
                    "hasPreviousPage": self.before,
                    "startCursor": cursor(self.rows.first()),
                    "endCursor": cursor(self.rows.last()),
                });
                Ok(Out::json("PageInfo", info))
            }
            "nodes" | "edges" if !arguments => {
                let text = format!("You must provide a `first` or `last` value to properly paginate the `{}` connection.", self.name);
                Err(Failed::of("MISSING_PAGINATION_BOUNDARIES", text))
            }
            "nodes" => Ok(Out::List(self.rows.iter().map(|(_, row)| Out::Node(row.node.clone())).collect())),
            "edges" => Ok(Out::List(
                self.rows
                    .iter()
                    .map(|(cursor, row)| {
                        let mut edge = row.edge.clone();
                        edge.insert("cursor".to_owned(), json!(cursor));
                        Out::Node(Node::Edge(edge, Box::new(row.node.clone())))
                    })
                    .collect(),
            )),
            _ => Err(Failed::unknown_field(name, self.name)),
        }
    }
}
