//! Recorded exchanges that lie beside the repository.
//!
//! Real answers of providers may not be part of this project, but where they lie next to it they are the best test there is. A sample is
//! one exchange `{request, status, headers, body}` or a list of them; a body that is a string is taken as text, everything else as JSON.

use crate::http::Response;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One recorded request with its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The request line as it was recorded, for people.
    pub request: String,
    /// What came back.
    pub response: Response,
}

#[derive(Deserialize)]
struct Recorded {
    request: String,
    status: u16,
    headers: BTreeMap<String, String>,
    body: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Document {
    Many(Vec<Recorded>),
    One(Recorded),
}

/// The exchanges of a provider's sample; `None`, with a line on standard output, where the samples are not there.
///
/// # Panics
/// The sample is there and cannot be read.
#[must_use]
pub fn sample(provider: &str, name: &str) -> Option<Vec<Exchange>> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", "..", "shared", "providers", provider, "samples", &format!("{name}.json")]
        .iter()
        .collect();
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: the sample {provider}/{name} is not beside this repository");
        return None;
    };
    let document: Document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("the sample {provider}/{name}: {error}"));
    let recorded = match document {
        Document::Many(list) => list,
        Document::One(one) => vec![one],
    };
    Some(recorded.into_iter().map(exchange).collect())
}

fn exchange(recorded: Recorded) -> Exchange {
    let body = match recorded.body {
        serde_json::Value::String(text) => text.into_bytes(),
        other => serde_json::to_vec(&other).unwrap_or_default(),
    };
    let headers = recorded.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    Exchange { request: recorded.request, response: Response { status: recorded.status, url: String::new(), headers, body } }
}
