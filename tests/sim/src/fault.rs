//! Faults on request: what goes wrong between a provider and its client, one at a time or in any mixture.
//!
//! A fault says which requests it takes (a part of `METHOD path?query`), how many to let pass first, every how many to take, and how often.
//! Some kinds speak instead of the provider, which then never sees the request (an overloaded front); others spoil an answer after
//! the provider acted on the request (a token was rotated, the answer was lost). Each kind's text says which.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One fault and the requests it takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: Kind,
    /// A part of `METHOD path?query` (for form bodies also `&body`); empty takes every request.
    #[serde(default)]
    pub matching: String,
    /// So many matching requests pass first.
    #[serde(default)]
    pub after: u64,
    /// Then every so manieth is taken (1: each).
    #[serde(default = "one")]
    pub every: u64,
    /// At most so many are taken; `None` for ever.
    #[serde(default)]
    pub times: Option<u64>,
    #[serde(skip)]
    seen: u64,
    #[serde(skip)]
    taken: u64,
}

fn one() -> u64 {
    1
}

/// What goes wrong.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// The provider's error body with this status, instead of an answer.
    Status { status: u16 },
    /// A page of HTML with this status, instead of an answer: a proxy in front of the provider fails.
    HtmlStatus { status: u16 },
    /// 429 with the provider's limit text, instead of an answer; `retry-after` in seconds, or as a date where `date` is set.
    TooManyRequests {
        #[serde(default)]
        retry_after: Option<u64>,
        #[serde(default)]
        date: bool,
    },
    /// A limit in one of the provider's documented forms, instead of an answer.
    Limit {
        form: LimitForm,
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// 200 with a page of HTML, instead of an answer.
    Html,
    /// The right body under a wrong type.
    WrongType { content_type: String },
    /// 200 whose body is the provider's error (or this one), instead of an answer.
    ErrorIn200 {
        #[serde(default)]
        body: Option<Value>,
    },
    /// 200 with no body, instead of an answer.
    Empty,
    /// Waits before the first byte; the provider acts afterwards.
    Delay { ms: u64 },
    /// The answer in pieces of so many bytes, with a wait between them.
    Drip { chunk: usize, every_ms: u64 },
    /// So many bytes of the answer (half of it where not said) under the full `content-length`, then the connection ends.
    Truncate {
        #[serde(default)]
        keep: Option<usize>,
    },
    /// Half of the answer under a `content-length` that fits: half a page, well framed.
    Half,
    /// 200 and so many bytes of white space, then the connection ends: more than any reader should take.
    Flood { bytes: u64 },
    /// The connection is reset before the provider sees the request.
    Reset,
    /// The provider acts; then the connection is reset and the answer lost.
    ResetAfter,
    /// Rows came in since the page before: pages after the first begin so many rows early.
    Shift { rows: usize },
    /// The answer repeats the request's credential.
    Echo {
        place: Place,
        #[serde(default)]
        encoding: Encoding,
    },
}

/// The documented forms of a limit.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LimitForm {
    /// 403, nothing remains, wait for the reset.
    Primary403,
    /// 429, nothing remains, wait for the reset.
    Primary429,
    /// 403 with the secondary limit's text; requests remain.
    Secondary403,
    /// 429 with the secondary limit's text; requests remain.
    Secondary429,
    /// Like [`LimitForm::Secondary403`] with nothing remaining and no `retry-after`: wait for the reset.
    SecondaryReset,
    /// GraphQL's: HTTP 200, `errors[].type` is `RATE_LIMITED`, `data` null.
    GraphQl200,
}

/// Where a credential is repeated.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Place {
    /// A response header.
    Header,
    /// A field of the body (first row where the body is a list).
    Body,
    /// A 500 whose text names it.
    Error,
    /// A `link` header whose next page carries it.
    Link,
    /// A redirect to the same path with it in the query.
    Location,
}

/// How a credential is written where it is repeated.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Encoding {
    /// As it is.
    #[default]
    Raw,
    /// Every byte as `%XX`.
    Url,
    /// Standard base64.
    Base64,
    /// Every character as `\u00XX` (in JSON bodies).
    Json,
}

impl Fault {
    /// That fault on every request, for ever.
    pub fn new(kind: Kind) -> Fault {
        Fault { kind, matching: String::new(), after: 0, every: 1, times: None, seen: 0, taken: 0 }
    }

    /// That fault on the next request.
    pub fn once(kind: Kind) -> Fault {
        Fault::new(kind).times(1)
    }

    /// At most so many times.
    pub fn times(mut self, times: u64) -> Fault {
        self.times = Some(times);
        self
    }

    /// Only requests whose `METHOD path?query` has this in it.
    pub fn matching(mut self, part: &str) -> Fault {
        part.clone_into(&mut self.matching);
        self
    }

    /// After letting so many matching requests pass.
    pub fn after(mut self, requests: u64) -> Fault {
        self.after = requests;
        self
    }

    /// Every so manieth matching request.
    pub fn every(mut self, nth: u64) -> Fault {
        self.every = nth;
        self
    }

    /// How often it was applied.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    fn takes(&mut self, line: &str) -> bool {
        if !line.contains(&self.matching) || self.times.is_some_and(|times| self.taken >= times) {
            return false;
        }
        self.seen += 1;
        let due = self.seen > self.after && (self.seen - self.after).is_multiple_of(self.every.max(1));
        self.taken += u64::from(due);
        due
    }
}

/// The faults set at a simulator.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Adds one.
    pub fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether there are none, so that the quick path may skip them.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy, to be looked at.
    pub fn list(&self) -> Vec<Fault> {
        self.0.clone()
    }

    /// The faults that take this request, in the order they were set.
    pub fn take(&mut self, line: &str) -> Vec<Kind> {
        let kinds = self.0.iter_mut().filter_map(|fault| fault.takes(line).then(|| fault.kind.clone())).collect();
        self.0.retain(|fault| fault.times.is_none_or(|times| fault.taken < times));
        kinds
    }
}

impl Kind {
    /// The name, as in the control endpoint.
    pub fn name(&self) -> String {
        let name = serde_json::to_value(self).ok().and_then(|value| value.get("kind").and_then(Value::as_str).map(str::to_owned));
        name.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_takes_the_requests_it_names_and_then_goes() {
        let mut faults = Faults::default();
        faults.add(Fault::new(Kind::Html).matching("/commits").after(1).every(2).times(2));
        let taken: Vec<bool> = (0..7).map(|_| !faults.take("GET /api/repos/a/b/commits?page=1").is_empty()).collect();
        assert_eq!(taken, [false, false, true, false, true, false, false]);
        assert!(faults.is_empty());
        faults.add(Fault::new(Kind::Empty).matching("POST"));
        assert!(faults.take("GET /x?").is_empty());
        assert_eq!(faults.take("POST /x?"), [Kind::Empty]);
    }

    #[test]
    fn a_fault_is_written_in_json_as_the_control_endpoint_reads_it() {
        let fault: Fault = serde_json::from_str(r#"{"kind":"drip","chunk":3,"every-ms":10,"matching":"/user","times":2}"#).unwrap();
        assert_eq!(fault.kind, Kind::Drip { chunk: 3, every_ms: 10 });
        assert_eq!((fault.every, fault.after, fault.times), (1, 0, Some(2)));
        assert_eq!(Kind::ErrorIn200 { body: None }.name(), "error-in200");
    }
}
