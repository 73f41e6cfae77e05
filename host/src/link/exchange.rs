//! `[[auth.exchange]]`: requests that the host makes because their answers hold secrets.
//!
//! Last.fm's token becomes a session by one, Meta's short token a long one, a personal key a token that ends. A step's templates see the profile's
//! keys and the app fields; what it keeps joins them, so that the next step sees it too. An answer counts only when its status is 2xx, it is JSON and
//! no error object, and every pointer of `keep` leads to a text or a number: half an answer keeps nothing.
//!
//! What bounds it: 1 MiB of answer (the gate's), 16 KiB a kept value, the deadline of `wire`.

use super::keyring::{EXPIRES_IN, Keyring, is_secret};
use super::template::{self, TemplateError};
use super::token_answer::{self, Refusal};
use super::wire::{self, Call, CallError};
use serde_json::Value;
use sluice_gate::Egress;
use sluice_model::Manifest;
use sluice_model::manifest::{Auth, Exchange, ExchangeWhen, Sign};
use sluice_vault::Secret;

/// The longest value kept: what fits a header line.
const MAX_KEPT_BYTES: usize = 16 << 10;

/// Why a step gave nothing. Holds nothing of the answer but an error number.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// A template of the manifest.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// `sorted-md5` without the secret it signs with.
    #[error("the manifest signs this exchange with app field shared-secret, which is not among the profile's app-fields")]
    NoSigningSecret,
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The provider said no.
    #[error("the exchange was refused with status {status}, {code}")]
    Refused {
        /// What it means.
        class: Refusal,
        /// A code of ours, or the provider's number.
        code: String,
        /// The HTTP status.
        status: u16,
        /// When to come again, as the provider wrote it.
        retry_after: Option<String>,
    },
    /// The answer is not what the manifest says.
    #[error("the exchange's answer cannot be used: {0}")]
    Malformed(String),
}

impl ExchangeError {
    /// What it means for whoever waits.
    pub fn class(&self) -> Refusal {
        match self {
            Self::Template(_) | Self::NoSigningSecret | Self::Malformed(_) => Refusal::Other,
            Self::Call(CallError::Refused(_)) => Refusal::Other,
            Self::Call(_) => Refusal::Transient,
            Self::Refused { class, .. } => *class,
        }
    }
}

/// Runs the profile's steps of one kind, in the manifest's order.
///
/// # Errors
/// The first step that gives nothing; what the steps before it kept stays in the ring.
pub(super) async fn run(
    egress: &Egress,
    manifest: &Manifest,
    auth: &Auth,
    when: ExchangeWhen,
    ring: &mut Keyring,
    now: i64,
) -> Result<(), ExchangeError> {
    for step in auth.exchanges.iter().filter(|step| step.when == when) {
        let answer = wire::send(egress, call(step, ring)?).await?;
        let kept = read(step, answer.status, answer.body.expose(), answer.retry_after)?;
        let expires_at = kept.expires_in_ms.map(|ms| now.saturating_add(ms));
        for (name, value) in kept.values {
            let secret = is_secret(manifest, &name);
            ring.put(&name, value, secret, expires_at);
        }
    }
    Ok(())
}

fn call(step: &Exchange, ring: &Keyring) -> Result<Call, ExchangeError> {
    let fill = |pairs: &[(String, String)]| -> Result<Vec<(String, Secret)>, TemplateError> {
        pairs.iter().map(|(name, template)| Ok((name.clone(), template::fill(template, |key| ring.look_up(key))?))).collect()
    };
    let mut call = Call {
        method: step.method.clone(),
        url: step.url.clone(),
        query: fill(&step.query)?,
        form: fill(&step.form)?,
        headers: fill(&step.header)?,
        ..Call::default()
    };
    if let Some(Sign::SortedMd5) = step.sign {
        let secret = ring.app_field("shared-secret").and_then(Secret::expose_str).ok_or(ExchangeError::NoSigningSecret)?;
        let signature = {
            let all: Vec<(&str, &str)> =
                call.query.iter().chain(&call.form).filter_map(|(name, value)| Some((name.as_str(), value.expose_str()?))).collect();
            sluice_gate::sign_sorted_md5(&all, secret)
        };
        let target = if call.form.is_empty() { &mut call.query } else { &mut call.form };
        target.push(("api_sig".to_owned(), Secret::text(signature)));
    }
    Ok(call)
}

struct Kept {
    values: Vec<(String, Secret)>,
    expires_in_ms: Option<i64>,
}

fn read(step: &Exchange, status: u16, body: &[u8], retry_after: Option<String>) -> Result<Kept, ExchangeError> {
    let refused = |class, code: String| ExchangeError::Refused { class, code, status, retry_after: retry_after.clone() };
    if status >= 500 || matches!(status, 408 | 425 | 429) {
        return Err(refused(Refusal::Transient, "the provider is busy or broken".into()));
    }
    let root: Option<Value> = serde_json::from_slice(body).ok();
    if let Some((class, code)) = root.as_ref().and_then(token_answer::error_of) {
        // A small number is no secret, and the operator finds it in the provider's documentation.
        let number = root.as_ref().and_then(|root| root.get("error")).and_then(Value::as_u64).filter(|n| *n < 100_000);
        let code = number.map_or_else(|| code.to_owned(), |n| format!("error {n}"));
        return Err(refused(class, code));
    }
    if !(200..300).contains(&status) {
        return Err(refused(Refusal::Other, "no error code".into()));
    }
    let root = root.ok_or_else(|| ExchangeError::Malformed("it is no JSON".into()))?;
    let mut kept = Kept { values: Vec::new(), expires_in_ms: None };
    for (name, pointer) in &step.keep {
        let value = root.pointer(pointer);
        if name == EXPIRES_IN {
            kept.expires_in_ms = value.and_then(token_answer::lifetime_ms);
            continue;
        }
        let text = match value {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(ExchangeError::Malformed(format!("nothing usable is at {pointer}"))),
        };
        if text.is_empty() || text.len() > MAX_KEPT_BYTES || text.chars().any(char::is_control) {
            return Err(ExchangeError::Malformed(format!("what is at {pointer} is empty, longer than 16 KiB, or has control characters")));
        }
        kept.values.push((name.clone(), Secret::text(text)));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(keep: &[(&str, &str)]) -> Exchange {
        let pairs = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Exchange {
            when: ExchangeWhen::Linked,
            method: "GET".into(),
            url: "https://p.example/2.0/".into(),
            query: pairs(&[("method", "auth.getSession"), ("api_key", "{app.api-key}"), ("token", "{token}"), ("format", "json")]),
            form: Vec::new(),
            header: Vec::new(),
            sign: Some(Sign::SortedMd5),
            keep: pairs(keep),
        }
    }

    fn ring() -> Keyring {
        let app = [("api-key", "XXX"), ("shared-secret", "SECRET")];
        let mut ring = Keyring::new(app.iter().map(|(n, v)| ((*n).to_owned(), (Secret::text((*v).to_owned()), true))).collect());
        ring.put("token", Secret::text("YYY".into()), true, None);
        ring
    }

    #[test]
    fn a_signed_call_has_the_signature_over_everything_but_format() {
        let call = call(&step(&[]), &ring()).unwrap_or_else(|e| panic!("{e}"));
        let (name, value) = call.query.last().unwrap();
        assert_eq!(name, "api_sig");
        // MD5 of "api_keyXXXmethodauth.getSessiontokenYYYSECRET", by another program.
        assert_eq!(value.expose_str(), Some("929d36fcd90eeadf4a440e6ed7d66468"));
    }

    #[test]
    fn a_missing_key_is_named_and_nothing_is_sent() {
        let mut ring = ring();
        ring.keys.clear();
        let error = call(&step(&[]), &ring).err().unwrap();
        assert!(error.to_string().contains("token"), "{error}");
        ring.app.clear();
        ring.put("token", Secret::text("t".into()), true, None);
        assert!(call(&step(&[]), &ring).err().unwrap().to_string().contains("app.api-key"));
    }

    #[test]
    fn what_is_kept_is_text_or_a_number_at_its_place() {
        let step = step(&[("session", "/session/key"), ("user", "/session/name"), ("expires-in", "/ttl")]);
        let body = br#"{"session":{"key":"SK","name":17,"subscriber":0},"ttl":"60"}"#;
        let kept = read(&step, 200, body, None).unwrap_or_else(|e| panic!("{e}"));
        let values: Vec<(&str, &[u8])> = kept.values.iter().map(|(n, v)| (n.as_str(), v.expose())).collect();
        assert_eq!(values, [("session", &b"SK"[..]), ("user", &b"17"[..])]);
        assert_eq!(kept.expires_in_ms, Some(60_000));
    }

    #[test]
    fn anything_else_keeps_nothing_and_shows_nothing() {
        let step = step(&[("session", "/session/key")]);
        for (status, body, class) in [
            (403, r#"{"error":4,"message":"CANARY"}"#, Refusal::Other),
            (200, r#"{"error":13,"message":"CANARY"}"#, Refusal::Other),
            (400, r#"{"error":"invalid_client","x":"CANARY"}"#, Refusal::InvalidClient),
            (503, "CANARY", Refusal::Transient),
            (429, r#"{"session":{"key":"CANARY"}}"#, Refusal::Transient),
            (200, "", Refusal::Other),
            (200, "<lfm>CANARY</lfm>", Refusal::Other),
            (200, r#"{"session":{"key":""}}"#, Refusal::Other),
            (200, r#"{"session":{"key":null}}"#, Refusal::Other),
            (200, r#"{"session":{"key":["CANARY"]}}"#, Refusal::Other),
            (200, r#"{"session":{"key":"CANARY\r\nX: y"}}"#, Refusal::Other),
            (200, r#"{"session":"CANARY"}"#, Refusal::Other),
            (200, r#"[]"#, Refusal::Other),
            (302, r#"{"session":{"key":"CANARY"}}"#, Refusal::Other),
        ] {
            let error = read(&step, status, body.as_bytes(), None).err().unwrap_or_else(|| panic!("{status} {body}"));
            assert_eq!(error.class(), class, "{status} {body}");
            assert!(!format!("{error} {error:?}").contains("CANARY"), "{error:?}");
        }
        let named = read(&step, 403, br#"{"error":14}"#, None).err().unwrap().to_string();
        assert!(named.contains("error 14"), "{named}");
    }
}
