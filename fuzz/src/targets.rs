//! One function for each target. Where an input has several parts, the first bytes choose and the rest is text.

use crate::{config, features, kind, log, names, quota, refusal, retry_after, token_answer as tokens, wire};
use http::{HeaderMap, HeaderValue};
use sluice_model::{
    Grant, Manifest,
    manifest::{Quota, QuotaScope, ResetFormat},
};
use std::path::Path;
use wasmparser::Validator;

const DAY_MS: i64 = 24 * 3_600_000;

/// No control character, nothing that turns a line around: what may be printed as it is.
fn assert_inert(text: &str) {
    let wrong = |c: &char| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert_eq!(text.chars().find(wrong), None, "{text:?}");
}

/// A connector's manifest.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(manifest) = Manifest::parse(text) else { return };
    let again = Manifest::parse(text).map(|again| format!("{again:?}"));
    assert_eq!(again.ok(), Some(format!("{manifest:?}")), "read twice, it is the same");
    assert!(manifest.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{:?}", manifest.name);
    // What an operator is shown before saying yes.
    let Ok(grant) = Grant::new(&manifest, &[]) else { return };
    grant.authority().lines().iter().for_each(|line| assert_inert(line));
    assert_eq!(grant.authority().asks_more_than(grant.authority()), Vec::<String>::new(), "nothing asks for more than itself");
    for origin in ["https://api.example.com/", "http://127.0.0.1/", "https://api.example.com:8443/a/../b?c=d"] {
        if let Ok(url) = Grant::parse_url(origin) {
            let _ = grant.decide("GET", &url);
        }
    }
}

/// The operator's settings.
pub fn plugins_toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let overrides = config::Overrides { key_file: Some("/nowhere/fuzz.key".into()), ..config::Overrides::default() };
    let Ok(config) = config::read(Path::new("/nowhere/plugins.toml"), text, &overrides) else { return };
    assert!(config.data_dir.is_absolute() && config.modules.is_absolute());
    assert!((1..=1000).contains(&config.concurrent_runs));
    assert!(config.public_url.host_str().is_some() && config.public_url.query().is_none());
    for (name, connector) in &config.connectors {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name:?}");
        let file = connector.module.as_deref().unwrap_or("x.wasm");
        assert_eq!(Path::new(file).file_name().and_then(|n| n.to_str()), Some(file), "a file of the folder and no other");
        assert!(connector.limits.memory_bytes <= 4 << 30 && connector.limits.requests > 0);
        assert!(connector.every_ms.is_none_or(|ms| ms >= 60_000));
    }
}

/// A file as loading takes it, up to the compiler: what is wrong with it is one line.
fn loaded(data: &[u8]) {
    let checked = kind::recognise(data).and_then(|()| {
        let validated = Validator::new_with_features(features::features()).validate_all(data);
        validated.map(drop).map_err(|why| refusal::refusal(&refusal::one_line(std::iter::once(why.to_string()))))
    });
    if let Err(why) = checked {
        let line = why.to_string();
        assert!(!line.contains('\n') && line.len() < 1_000, "{line:?}");
        assert_inert(&line);
    }
}

/// A file of the modules folder, before anything is compiled, and what else a component brings that is text.
pub fn component(data: &[u8]) {
    loaded(data);
    // The same behind a right head, so that the walk over the sections is reached at once.
    loaded(&[b"\0asm\x0d\0\x01\0".as_slice(), data].concat());
    // Text that becomes a component has right lengths and indexes, and is wrong elsewhere.
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(bytes) = wat::parse_str(text)
    {
        loaded(&bytes);
    }
    if let Some(answer) = wire::Answer::decode(data) {
        assert_eq!(answer.encode(), data.get(..wire::ANSWER_HEAD).unwrap_or_default());
    }
    if let Some(request) = wire::Request::decode(data) {
        assert_eq!(wire::Request::decode(&request.encode()), Some(request));
    }
    let text = String::from_utf8_lossy(data);
    assert_inert(&log::inert(&text));
    assert!(log::cut(&text, 100).len() <= 100);
    if let Some(name) = names::parse(&text)
        && let Err(why) = names::same_contract(name.version)
    {
        assert_inert(&why.to_string());
    }
    assert_inert(&names::shown(&text));
}

/// `Retry-After`, and the headers that say what is left of a quota: a choice, the clock, then three values, a line each.
pub fn provider_headers(data: &[u8]) {
    let Some(([choice, clock @ ..], rest)) = data.split_first_chunk::<9>() else { return };
    let now = i64::from_le_bytes(*clock);
    let mut values = rest.splitn(3, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in ["x-remaining", "x-reset", "retry-after"] {
        if let Some(value) = values.next().and_then(|value| HeaderValue::from_bytes(value).ok()) {
            headers.insert(name, value);
        }
    }
    if let Some(until) = headers.get("retry-after").and_then(|v| v.to_str().ok()).and_then(|v| retry_after::retry_after(v, now)) {
        assert!(until >= now && until <= now.saturating_add(DAY_MS), "{until} at {now}");
    }
    let reset_format = match choice % 3 {
        0 => ResetFormat::Seconds,
        1 => ResetFormat::Epoch,
        _ => ResetFormat::HttpDate,
    };
    let declared = Quota {
        name: "all".to_owned(),
        scope: if choice & 0x80 == 0 { QuotaScope::App } else { QuotaScope::Connection },
        paths: Vec::new(),
        requests: 1 + u64::from(choice >> 2 & 0xf),
        window_ms: 3_600_000,
        remaining_header: Some("x-remaining".to_owned()),
        reset_header: Some("x-reset".to_owned()),
        reset_format,
    };
    let state = quota::quota_after(&declared, &headers, now);
    assert!(state.used <= declared.requests, "{state:?}");
    assert!(state.reset_at <= now.saturating_add(DAY_MS).max(0), "nobody is kept waiting for more than a day: {state:?}");
}

/// The answer of a token endpoint: a byte for its status, one for whether it is nested, then the body.
pub fn token_answer(data: &[u8]) {
    let Some(([status, nested], body)) = data.split_first_chunk::<2>() else { return };
    let status = [200, 201, 302, 400, 401, 403, 408, 429, 500, 503].into_iter().nth(usize::from(status % 10)).unwrap_or(200);
    let path = ["", "/data", "/data/0/token", "/~0~1", "no pointer"].into_iter().nth(usize::from(nested % 6));
    match tokens::read(status, body, path) {
        Ok(answer) => {
            assert!((200..300).contains(&status));
            for token in [Some(&answer.access_token), answer.refresh_token.as_ref()].into_iter().flatten() {
                let bytes = token.expose();
                assert!(!bytes.is_empty() && bytes.len() <= tokens::MAX_TOKEN_BYTES && bytes.iter().all(u8::is_ascii_graphic));
            }
            for lifetime in [answer.expires_in_ms, answer.refresh_expires_in_ms].into_iter().flatten() {
                assert!((1_000..=3_660 * DAY_MS).contains(&lifetime), "{lifetime}");
            }
            let scopes = answer.scopes.unwrap_or_default();
            assert!(
                scopes.len() <= 100 && scopes.iter().all(|s| !s.is_empty() && s.len() <= 256 && s.bytes().all(|b| b.is_ascii_graphic()))
            );
        }
        Err(why) => {
            // Our own words and the table's, however the answer reads.
            let text = why.to_string();
            assert!(text.len() < 200 && text.is_ascii(), "{text}");
            if let tokens::TokenError::Refused { code, .. } = why {
                let own = ["unlisted", "no error code", "code 190", "code 101", "a temporary code"];
                assert!(own.contains(&code) || tokens::CODES.iter().any(|(known, _)| *known == code), "{code}");
            }
        }
    }
}
