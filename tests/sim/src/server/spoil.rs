//! Faults that change what is said: they speak instead of the provider, or add to its answer what it should not have said.

use super::Provider;
use crate::bench::Bench;
use crate::fault::{Encoding, Kind, Place};
use crate::http::{Answer, Call, component};
use crate::time::http_date;
use base64::Engine as _;
use serde_json::{Value, json};
use std::fmt::Write as _;

const PAGE: &str =
    "<!DOCTYPE html>\n<html><head><title>We'll be back</title></head><body><h1>Something went wrong on our side.</h1></body></html>\n";

/// The answer under these faults; `None` where the connection is to be cut.
pub(super) fn answer<P: Provider>(provider: &P, bench: &Bench, call: &Call, kinds: &[Kind]) -> Option<Answer> {
    for kind in kinds {
        if let Some(instead) = instead(provider, call, kind) {
            return instead;
        }
    }
    let mut answer = match call.path.as_str() {
        "/bench/items" => Answer::new(200, "application/json", bench.page(&call.raw_query).unwrap_or_default()),
        _ => provider.answer(call),
    };
    for kind in kinds {
        match kind {
            Kind::ResetAfter => return None,
            Kind::Echo { place, encoding } => echo(provider, call, &mut answer, *place, *encoding),
            _ => {}
        }
    }
    Some(answer)
}

/// What a fault says in the provider's place: `Some(None)` is a reset.
fn instead<P: Provider>(provider: &P, call: &Call, kind: &Kind) -> Option<Option<Answer>> {
    let answer = match kind {
        Kind::Reset => return Some(None),
        Kind::Status { status } => provider.error(call, *status, "The server could not answer."),
        Kind::HtmlStatus { status } => Answer::html(*status, PAGE.to_owned()),
        Kind::TooManyRequests { retry_after, date } => {
            let mut answer = provider.limited(call, None);
            answer.status = 429;
            waits(call, answer, *retry_after, *date)
        }
        Kind::Limit { form, retry_after } => waits(call, provider.limited(call, Some(*form)), *retry_after, false),
        Kind::Html => Answer::html(200, PAGE.to_owned()),
        Kind::ErrorIn200 { body: Some(body) } => Answer::json(200, body),
        Kind::ErrorIn200 { body: None } => provider.error_in_200(call),
        Kind::Empty => Answer::new(200, "application/json; charset=utf-8", ""),
        Kind::Flood { .. } => Answer::new(200, "application/json; charset=utf-8", ""),
        Kind::Echo { place: Place::Error, encoding } => {
            let credential = written(provider, call, *encoding);
            provider.error(call, 500, &format!("Something failed for the credential {credential}."))
        }
        Kind::Echo { place: Place::Location, encoding } => {
            let credential = written(provider, call, *encoding);
            Answer::bare(302).with("location", &format!("{}{}?access_token={credential}", call.base, call.path))
        }
        _ => return None,
    };
    Some(Some(answer))
}

fn waits(call: &Call, answer: Answer, retry_after: Option<u64>, date: bool) -> Answer {
    let Some(seconds) = retry_after else { return answer };
    let value = if date { http_date(call.seconds().saturating_add_unsigned(seconds)) } else { seconds.to_string() };
    answer.with("retry-after", &value)
}

fn written<P: Provider>(provider: &P, call: &Call, encoding: Encoding) -> String {
    let credential = provider.credentials(call).into_iter().next().unwrap_or_default();
    match encoding {
        Encoding::Raw => credential,
        Encoding::Url => credential.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "%{byte:02X}");
            text
        }),
        Encoding::Base64 => base64::engine::general_purpose::STANDARD.encode(credential),
        Encoding::Json => credential.chars().fold(String::new(), |mut text, character| {
            let _ = write!(text, "\\u{:04x}", u32::from(character));
            text
        }),
    }
}

fn echo<P: Provider>(provider: &P, call: &Call, answer: &mut Answer, place: Place, encoding: Encoding) {
    let credential = written(provider, call, encoding);
    match place {
        Place::Header => answer.set("x-debug-credential", &credential),
        Place::Link => {
            let credential = if encoding == Encoding::Raw { component(&credential) } else { credential };
            let next = format!("<{}{}?page=2&access_token={credential}>; rel=\"next\"", call.base, call.path);
            answer.set("link", &next);
        }
        Place::Body => {
            let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body) else { return };
            const MARK: &str = "@credential@";
            let target = match &mut body {
                Value::Array(rows) => rows.first_mut(),
                other => Some(other),
            };
            if let Some(Value::Object(object)) = target {
                object.insert("debug".to_owned(), json!(MARK));
            }
            answer.body = body.to_string().replace(MARK, &credential).into();
        }
        Place::Error | Place::Location => {}
    }
}
