//! GitHub's sign-in: the page, codes, proof keys, tokens that end and rotate, families that die, revocation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use sluice_sim::github::{Command, Options, Simulator};
use sluice_sim::{Clock, GitHub, Running};
use support::{Reply, get, post_form, query, send};

const BACK: &str = "http://127.0.0.1:9999/connect/github/app/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const OAUTH: (&str, &str) = ("sim-oauth-app", "sim-oauth-app-secret-0001");
const APP: (&str, &str) = ("Iv23simgithubapp", "sim-github-app-secret-0001");

fn start(auto_approve: Option<&str>) -> Running<Simulator> {
    let options = Options { clock: Clock::fixed(1_790_000_000_000), auto_approve: auto_approve.map(str::to_owned), ..Options::default() };
    GitHub::start(options).unwrap()
}

fn authorize(sim: &Running<Simulator>, parameters: &[(&str, &str)]) -> Reply {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    send(sim.addr, "GET", &format!("/login/oauth/authorize?{query}"), &[], "").unwrap()
}

fn code(sim: &Running<Simulator>, client: &str) -> String {
    let reply = authorize(
        sim,
        &[
            ("client_id", client),
            ("redirect_uri", BACK),
            ("state", "s&1"),
            ("scope", "read:user repo"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ],
    );
    assert_eq!(reply.status, 302, "{}", reply.text());
    assert_eq!(query(reply.header("location"), "state").unwrap(), "s&1");
    query(reply.header("location"), "code").unwrap()
}

fn token(sim: &Running<Simulator>, app: (&str, &str), more: &[(&str, &str)]) -> Value {
    let mut pairs = vec![("client_id", app.0), ("client_secret", app.1)];
    pairs.extend_from_slice(more);
    let reply = post_form(sim.addr, "/login/oauth/access_token", &pairs, &[("accept", "application/json")]);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[test]
fn the_page_is_a_form_that_grants_what_the_person_leaves_ticked() {
    let sim = start(None);
    let page = authorize(&sim, &[("client_id", OAUTH.0), ("redirect_uri", BACK), ("state", "st"), ("scope", "read:user repo")]);
    let html = page.text();
    assert!(
        page.status == 200
            && html.contains("<form method=\"post\" action=\"/login/oauth/authorize\">")
            && html.contains("value=\"repo\" checked")
    );
    let request = html.split("name=\"request\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let answer = [("request", request), ("login", "demo"), ("scope", "read:user"), ("authorize", "1")];
    let back = post_form(sim.addr, "/login/oauth/authorize", &answer, &[]);
    assert!(back.status == 302 && back.header("location").starts_with(BACK), "{}", back.text());
    assert_eq!(post_form(sim.addr, "/login/oauth/authorize", &answer, &[]).status, 422, "a page was answered twice");
    let granted = token(&sim, OAUTH, &[("code", &query(back.header("location"), "code").unwrap())]);
    assert_eq!(text(&granted, "scope"), "read:user");
    let page = authorize(&sim, &[("client_id", OAUTH.0), ("redirect_uri", BACK), ("state", "st")]).text();
    let request = page.split("name=\"request\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let denied = post_form(sim.addr, "/login/oauth/authorize", &[("request", request), ("authorize", "0")], &[]);
    let location = denied.header("location");
    assert_eq!((query(location, "error").unwrap(), query(location, "state").unwrap()), ("access_denied".into(), "st".into()));
}

#[test]
fn an_authorization_that_is_not_in_order_never_yields_a_code() {
    let sim = start(Some("demo"));
    let pkce = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")];
    let elsewhere = "https://evil.example/callback";
    type Case<'a> = (&'a [(&'a str, &'a str)], u16, &'a str);
    let cases: [Case<'_>; 5] = [
        (&[("client_id", "unknown"), ("redirect_uri", BACK)], 404, ""),
        (&[("client_id", OAUTH.0), ("redirect_uri", elsewhere)], 302, "redirect_uri_mismatch"),
        (
            &[("client_id", OAUTH.0), ("redirect_uri", BACK), ("code_challenge", "short"), ("code_challenge_method", "S256")],
            302,
            "invalid_request",
        ),
        (&[("client_id", OAUTH.0), ("redirect_uri", BACK), ("code_challenge", CHALLENGE)], 302, "invalid_request"),
        (
            &[("client_id", OAUTH.0), ("redirect_uri", BACK), ("code_challenge", CHALLENGE), ("code_challenge_method", "plain")],
            302,
            "invalid_request",
        ),
    ];
    for (parameters, status, error) in cases {
        let reply = authorize(&sim, parameters);
        assert_eq!(reply.status, status, "{parameters:?}");
        if status == 302 {
            let location = reply.header("location");
            assert_eq!(query(location, "error").as_deref(), Some(error), "{parameters:?}");
            assert!(query(location, "code").is_none() && !location.starts_with("https://evil"));
        }
    }
    sim.apply(Command::RequirePkce { required: true }).unwrap();
    let bare = authorize(&sim, &[("client_id", OAUTH.0), ("redirect_uri", BACK)]);
    assert_eq!(query(bare.header("location"), "error").as_deref(), Some("invalid_request"));
    let mut parameters = vec![("client_id", OAUTH.0), ("redirect_uri", BACK)];
    parameters.extend(pkce);
    assert!(query(authorize(&sim, &parameters).header("location"), "code").is_some());
    sim.apply(Command::SetRedirectUris { client_id: OAUTH.0.into(), redirect_uris: vec!["https://host.example/connect".into()] }).unwrap();
    for (redirect, good) in [
        ("https://host.example/connect/x", true),
        ("https://host.example/connectx", false),
        ("https://host.example:444/connect", false),
        ("http://host.example/connect", false),
    ] {
        parameters[1].1 = redirect;
        assert_eq!(query(authorize(&sim, &parameters).header("location"), "code").is_some(), good, "{redirect}");
    }
}

#[test]
fn a_code_works_once_within_ten_minutes_with_its_secret_verifier_and_address() {
    let sim = start(Some("demo"));
    let error = |value: Value| text(&value, "error").to_owned();
    let good = [("redirect_uri", BACK), ("code_verifier", VERIFIER)];
    let with = |code: &str, pairs: &[(&str, &str)]| {
        let mut all = vec![("code", code)];
        all.extend_from_slice(pairs);
        token(&sim, OAUTH, &all)
    };
    let once = code(&sim, OAUTH.0);
    assert!(text(&with(&once, &good), "access_token").starts_with("gho_"));
    assert_eq!(error(with(&once, &good)), "bad_verification_code");
    assert_eq!(error(with(&code(&sim, OAUTH.0), &[("code_verifier", "wrong")])), "bad_verification_code");
    assert_eq!(error(with(&code(&sim, OAUTH.0), &[])), "bad_verification_code");
    assert_eq!(
        error(with(&code(&sim, OAUTH.0), &[("code_verifier", VERIFIER), ("redirect_uri", "http://127.0.0.1:1/x")])),
        "redirect_uri_mismatch"
    );
    assert_eq!(error(with(&code(&sim, APP.0), &good)), "bad_verification_code");
    let late = code(&sim, OAUTH.0);
    sim.clock().advance(601_000);
    assert_eq!(error(with(&late, &good)), "bad_verification_code");
    assert_eq!(error(token(&sim, (OAUTH.0, "wrong"), &[("code", "x")])), "incorrect_client_credentials");
    assert_eq!(error(token(&sim, OAUTH, &[("grant_type", "password")])), "unsupported_grant_type");
}

#[test]
fn the_answer_is_a_form_unless_json_is_asked_for_and_scopes_have_commas() {
    let sim = start(Some("demo"));
    let pairs = |code: &str| {
        [("client_id", OAUTH.0), ("client_secret", OAUTH.1), ("code_verifier", VERIFIER), ("code", code)]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
    };
    let code = code(&sim, OAUTH.0);
    let owned = pairs(&code);
    let borrowed: Vec<(&str, &str)> = owned.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let form = post_form(sim.addr, "/login/oauth/access_token", &borrowed, &[]);
    assert!(form.header("content-type").starts_with("application/x-www-form-urlencoded"));
    let url = format!("http://x/?{}", form.text());
    assert_eq!((query(&url, "scope").unwrap(), query(&url, "token_type").unwrap()), ("read:user,repo".into(), "bearer".into()));
    let error = post_form(sim.addr, "/login/oauth/access_token", &borrowed, &[]);
    assert!(error.status == 200 && error.text().starts_with("error=bad_verification_code&error_description="));
    let seen = get(sim.addr, "/api/user", &query(&url, "access_token").unwrap());
    assert_eq!((seen.header("x-oauth-scopes"), seen.header("x-oauth-client-id")), ("read:user, repo", OAUTH.0));
}

#[test]
fn a_refresh_kills_the_old_pair_and_an_old_refresh_token_kills_the_family() {
    let sim = start(Some("demo"));
    let first = token(&sim, APP, &[("code", &code(&sim, APP.0)), ("code_verifier", VERIFIER)]);
    assert_eq!((first["expires_in"].as_i64(), first["refresh_token_expires_in"].as_i64()), (Some(28_800), Some(15_897_600)));
    let old = text(&first, "access_token").to_owned();
    assert!(old.starts_with("ghu_") && text(&first, "refresh_token").starts_with("ghr_"));
    assert_eq!(get(sim.addr, "/api/user", &old).status, 200);
    sim.clock().advance(28_800_000);
    assert_eq!(get(sim.addr, "/api/user", &old).status, 401, "a token outlived its eight hours");
    let refresh = |value: &str| token(&sim, APP, &[("grant_type", "refresh_token"), ("refresh_token", value)]);
    let second = refresh(text(&first, "refresh_token"));
    let third = refresh(text(&second, "refresh_token"));
    assert_eq!(get(sim.addr, "/api/user", text(&second, "access_token")).status, 401, "the pair that was replaced still lived");
    assert_eq!(get(sim.addr, "/api/user", text(&third, "access_token")).status, 200);
    assert_eq!((sim.refreshes(), sim.revoked_families()), (2, 0));
    assert_eq!(text(&refresh(text(&first, "refresh_token")), "error"), "bad_refresh_token");
    assert_eq!((sim.refreshes(), sim.revoked_families()), (2, 1));
    assert_eq!(get(sim.addr, "/api/user", text(&third, "access_token")).status, 401);
    assert_eq!(text(&refresh(text(&third, "refresh_token")), "error"), "bad_refresh_token");
    assert_eq!(text(&refresh("ghr_never"), "error"), "bad_refresh_token");
}

#[test]
fn an_application_revokes_one_token_or_the_whole_grant_and_may_ask_about_one() {
    let sim = start(Some("demo"));
    let fresh = || text(&token(&sim, OAUTH, &[("code", &code(&sim, OAUTH.0)), ("code_verifier", VERIFIER)]), "access_token").to_owned();
    let (one, two) = (fresh(), fresh());
    use base64::Engine as _;
    let basic = |secret: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{}:{secret}", OAUTH.0)));
    let call = |method: &str, what: &str, secret: &str, value: &str| {
        let headers =
            [("authorization", basic(secret)), ("user-agent", "test".to_owned()), ("content-type", "application/json".to_owned())];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        send(sim.addr, method, &format!("/api/applications/{}/{what}", OAUTH.0), &headers, &json!({"access_token": value}).to_string())
            .unwrap()
    };
    let told = call("POST", "token", OAUTH.1, &one);
    assert_eq!((told.status, told.json()["user"]["login"].as_str().unwrap().to_owned()), (200, "demo".to_owned()));
    assert_eq!(call("DELETE", "token", "wrong", &one).status, 401);
    assert_eq!(call("DELETE", "token", OAUTH.1, &one).status, 204);
    assert_eq!(call("DELETE", "token", OAUTH.1, &one).status, 422);
    assert_eq!(call("POST", "token", OAUTH.1, &one).status, 404);
    assert_eq!((get(sim.addr, "/api/user", &one).status, get(sim.addr, "/api/user", &two).status), (401, 200));
    let three = fresh();
    assert_eq!(call("DELETE", "grant", OAUTH.1, &two).status, 204);
    assert_eq!((get(sim.addr, "/api/user", &two).status, get(sim.addr, "/api/user", &three).status), (401, 401));
    assert_eq!(sim.revocations(), 2);
    let many: Vec<String> = (0..11).map(|_| fresh()).collect();
    assert_eq!(
        (get(sim.addr, "/api/user", &many[0]).status, get(sim.addr, "/api/user", &many[1]).status),
        (401, 200),
        "the eleventh token must revoke the oldest"
    );
    assert!(sim.tokens_alive().iter().filter(|token| token.client_id.is_some()).count() == 10);
}
