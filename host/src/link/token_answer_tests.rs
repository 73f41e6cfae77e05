//! Answers as providers give them, and answers as they must not: the cases are data.

use super::*;

const CANARY: &str = "gho_CANARYcanary0123456789";

/// access, refresh, expires, scopes: what is read from an answer with status 200.
fn check(body: &str, path: Option<&str>, access: &str, refresh: Option<&str>, expires_s: Option<i64>, scopes: Option<&[&str]>) {
    let answer = read(200, body.as_bytes(), path).unwrap_or_else(|e| panic!("{body}: {e}"));
    assert_eq!(answer.access_token.expose_str(), Some(access), "{body}");
    assert_eq!(answer.refresh_token.as_ref().and_then(Secret::expose_str), refresh, "{body}");
    assert_eq!(answer.expires_in_ms, expires_s.map(|s| s * 1000), "{body}");
    let owned = scopes.map(|s| s.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
    assert_eq!(answer.scopes, owned, "{body}");
}

#[test]
fn answers_as_providers_give_them() {
    check(
        r#"{"access_token":"abc","token_type":"Bearer","expires_in":3600,"refresh_token":"r","scope":"a b"}"#,
        None,
        "abc",
        Some("r"),
        Some(3600),
        Some(&["a", "b"]),
    );
    // Commas, and GitHub's form encoding.
    check(r#"{"access_token":"x","scope":"repo,gist","token_type":"bearer"}"#, None, "x", None, None, Some(&["repo", "gist"]));
    check("access_token=x&scope=read%3Auser%2Crepo&token_type=bearer", None, "x", None, None, Some(&["read:user", "repo"]));
    check(
        "access_token=ghu_1&expires_in=28800&refresh_token=ghr_2&refresh_token_expires_in=15897600&scope=&token_type=bearer",
        None,
        "ghu_1",
        Some("ghr_2"),
        Some(28_800),
        Some(&[]),
    );
    // Facebook's form, Instagram's nesting.
    check("access_token=fb&expires=5183999", None, "fb", None, Some(5_183_999), None);
    check(
        r#"{"data":[{"access_token":"ig","user_id":17,"permissions":"one,two"}]}"#,
        Some("/data/0"),
        "ig",
        None,
        None,
        Some(&["one", "two"]),
    );
    check(r#"{"access_token":"x","scope":["a","b","a"]}"#, None, "x", None, None, Some(&["a", "b"]));
    // A byte-order mark, odd but harmless token types, error fields that say that there is none.
    check("\u{feff} {\"access_token\":\"x\",\"token_type\":null}", None, "x", None, None, None);
    check(r#"{"access_token":"x","token_type":7,"error":null}"#, None, "x", None, None, None);
    check(r#"{"access_token":"x","error":"","refresh_token":""}"#, None, "x", None, None, None);
    check(r#"{"access_token":"x","error":0,"refresh_token":null}"#, None, "x", None, None, None);
}

#[test]
fn a_lifetime_is_read_however_it_is_written() {
    for (written, seconds) in [
        ("3600", Some(3600)),
        ("\"3600\"", Some(3600)),
        ("3600.9", Some(3600)),
        ("\" 60 \"", Some(60)),
        ("1e3", Some(1000)),
        ("0", None),
        ("-1", None),
        ("\"-3600\"", None),
        ("\"never\"", None),
        ("\"NaN\"", None),
        ("\"inf\"", None),
        ("null", None),
        ("true", None),
        ("[]", None),
        ("{}", None),
        ("99999999999999999999999", Some(MAX_LIFETIME_MS / 1000)),
        ("1e300", Some(MAX_LIFETIME_MS / 1000)),
        ("9223372036854775807", Some(MAX_LIFETIME_MS / 1000)),
        ("-9223372036854775808", None),
    ] {
        check(&format!(r#"{{"access_token":"x","expires_in":{written}}}"#), None, "x", None, seconds, None);
    }
}

#[test]
fn an_error_counts_whatever_the_status_and_the_shape() {
    for (status, body, class, code) in [
        (200, r#"{"error":"bad_verification_code","error_description":"x"}"#, Refusal::SignInAgain, "bad_verification_code"),
        (200, r#"{"error":"incorrect_client_credentials"}"#, Refusal::InvalidClient, "incorrect_client_credentials"),
        (200, "error=redirect_uri_mismatch&error_description=The+redirect", Refusal::Misregistered, "redirect_uri_mismatch"),
        (200, r#"{"error":"bad_refresh_token"}"#, Refusal::SignInAgain, "bad_refresh_token"),
        (400, r#"{"error":"invalid_grant"}"#, Refusal::SignInAgain, "invalid_grant"),
        (401, r#"{"error":"invalid_client"}"#, Refusal::InvalidClient, "invalid_client"),
        (400, r#"{"error":"INVALID_GRANT "}"#, Refusal::SignInAgain, "invalid_grant"),
        (400, r#"{"error":"slow_down"}"#, Refusal::Transient, "slow_down"),
        (400, r#"{"error":{"type":"OAuthException","code":190,"message":"m"}}"#, Refusal::SignInAgain, "code 190"),
        (400, r#"{"error":{"type":"OAuthException","code":2}}"#, Refusal::Transient, "a temporary code"),
        (400, r#"{"error_type":"OAuthException","code":400,"error_message":"m"}"#, Refusal::Other, "oauthexception"),
        (400, r#"{"errors":[{"errorType":"invalid_grant","message":"m"}],"success":false}"#, Refusal::SignInAgain, "invalid_grant"),
        (200, r#"{"data":[{"error":"invalid_grant"}]}"#, Refusal::SignInAgain, "invalid_grant"),
        (401, r#"{"message":"Bad credentials"}"#, Refusal::Other, "no error code"),
        (404, r#"{"access_token":"x"}"#, Refusal::Other, "no error code"),
        (200, r#"{"error":true,"access_token":"x"}"#, Refusal::Other, "unlisted"),
    ] {
        match read(status, body.as_bytes(), Some("/data/0").filter(|_| body.contains("data"))) {
            Err(TokenError::Refused { class: got, code: said, status: kept }) => {
                assert_eq!((got, said, kept), (class, code, status), "{body}")
            }
            Err(other) => panic!("{body}: {other}"),
            Ok(_) => panic!("{body}: read as a token"),
        }
    }
}

#[test]
fn a_broken_server_is_never_believed() {
    for status in [408, 429, 500, 502, 503, 504, 599] {
        let body = format!(r#"{{"error":"invalid_grant","access_token":"{CANARY}"}}"#);
        assert_eq!(read(status, body.as_bytes(), None).err(), Some(TokenError::Unavailable(status)));
    }
}

#[test]
fn malformed_answers_are_errors_that_hold_nothing_of_the_answer() {
    let deep = "[".repeat(100_000);
    let long = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(MAX_TOKEN_BYTES + 1));
    let huge = format!(r#"{{"access_token":"{CANARY}","pad":"{}"}}"#, "x".repeat(MAX_ANSWER_BYTES));
    let nested = format!(r#"{{"token":{{"access_token":"{CANARY}"}}}}"#);
    let many: Vec<(u16, String)> = [
        String::new(),
        " \n\t".into(),
        "\u{feff}".into(),
        "null".into(),
        "true".into(),
        "42".into(),
        format!("\"{CANARY}\""),
        CANARY.into(),
        "[]".into(),
        format!("[\"{CANARY}\"]"),
        format!("[{{\"access_token\":\"{CANARY}\"}}]"),
        "{}".into(),
        format!("{{\"access_token\":\"{CANARY}\""),
        format!("{{\"access_token\":\"{CANARY}\"}}}}"),
        format!("{{\"access_token\":\"{CANARY}\"}} {{}}"),
        format!("{{'access_token':'{CANARY}'}}"),
        format!("<html><body>{CANARY}</body></html>"),
        format!("<?xml version=\"1.0\"?><lfm status=\"ok\"><key>{CANARY}</key></lfm>"),
        format!("access_token={CANARY} and more"),
        format!("access_token={CANARY}&access_token=other"),
        "access_token=".into(),
        "token=x".into(),
        "=".into(),
        "&&&=&&".into(),
        format!("access_token={CANARY}%0d%0aX-Injected:1"),
        r#"{"access_token":""}"#.into(),
        r#"{"access_token":null}"#.into(),
        r#"{"access_token":12345678901}"#.into(),
        format!(r#"{{"access_token":["{CANARY}"]}}"#),
        format!(r#"{{"access_token":{{"value":"{CANARY}"}}}}"#),
        format!(r#"{{"access_token":"{CANARY}\r\nX-Injected: 1"}}"#),
        format!(r#"{{"access_token":"{CANARY}\u0000"}}"#),
        format!(r#"{{"access_token":"{CANARY} two"}}"#),
        format!(r#"{{"access_token":"{CANARY}é"}}"#),
        format!(r#"{{"access_token":"{CANARY}","refresh_token":7}}"#),
        format!(r#"{{"access_token":"{CANARY}","refresh_token":"a\nb"}}"#),
        format!(r#"{{"access_token":"{CANARY}","token_type":"DPoP"}}"#),
        format!(r#"{{"access_token":"{CANARY}","token_type":"mac"}}"#),
        nested.clone(),
        r#"{"Access_Token":"x"}"#.into(),
        deep,
        long,
        huge,
    ]
    .into_iter()
    .map(|body| (200, body))
    .chain([(302, format!("access_token={CANARY}")), (301, String::new())])
    .collect();
    assert!(many.len() >= 40);
    for (status, body) in &many {
        match read(*status, body.as_bytes(), None) {
            Err(error) => {
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains("CANARY"), "{shown}");
                assert!(matches!(error, TokenError::Malformed { .. }), "{body:.80}: {error}");
            }
            Ok(_) => panic!("{body:.80}: read as a token"),
        }
    }
    // Bytes that are no text; a path that leads nowhere, or to something else.
    for (body, path) in [
        (&b"\xff\xfe{\"access_token\":\"x\"}"[..], None),
        (&b"{\"access_token\":\"\xc3\x28\"}"[..], None),
        (nested.as_bytes(), Some("/nowhere")),
        (nested.as_bytes(), Some("/token/access_token")),
        (nested.as_bytes(), Some("no pointer")),
    ] {
        let error = read(200, body, path).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(!error.is_empty() && !error.contains("CANARY"), "{error}");
    }
    assert!(read(200, nested.as_bytes(), Some("/token")).is_ok());
}

#[test]
fn an_error_code_that_is_a_token_does_not_get_into_the_error() {
    for body in [
        format!(r#"{{"error":"{CANARY}","error_description":"{CANARY}"}}"#),
        format!("error={CANARY}"),
        format!(r#"{{"error":{{"code":"{CANARY}","type":"{CANARY}"}}}}"#),
        format!(r#"{{"errors":[{{"errorType":"{CANARY}"}}]}}"#),
        format!(r#"{{"error_type":"{CANARY}"}}"#),
    ] {
        let error = read(400, body.as_bytes(), None).err().unwrap();
        assert!(!format!("{error} {error:?}").contains("CANARY"));
        assert_eq!(error.class(), Refusal::Other);
    }
}

#[test]
fn no_bytes_at_all_make_it_panic() {
    // Every prefix and every single-byte change of a full answer, under every path.
    let full =
        br#"{"access_token":"abc","expires_in":"12","scope":"a,b","refresh_token":"r","error":{"code":190},"errors":[{"errorType":"x"}]}"#;
    for cut in 0..full.len() {
        for path in [None, Some(""), Some("/error"), Some("/errors/0")] {
            let _ = read(200, &full[..cut], path);
            for byte in [0u8, b'"', b'\\', b'{', b'=', 0xff] {
                let mut changed = full.to_vec();
                changed[cut] = byte;
                let _ = read(200, &changed, path);
            }
        }
    }
}
