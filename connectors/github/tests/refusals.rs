//! What GitHub refuses, asks for and breaks: the kind of failure for each sign, and that nothing of it is ever stored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code)]
mod fake;

use fake::GitHub;
use serde_json::json;
use sluice_connector_github::GitHub as Connector;
use sluice_sdk::day::{DAY, HOUR};
use sluice_sdk::harness::{NOW, TestBed, answer, json as respond, text, with_headers};
use sluice_sdk::{FailureKind, Outcome, Response};

const NOW_SECONDS: i64 = NOW / 1_000;

fn bed() -> TestBed {
    let mut bed = TestBed::new::<Connector>("token");
    bed.account = Some("7".to_owned());
    bed
}

fn said(status: u16, message: &str, headers: &[(&str, &str)]) -> Response {
    with_headers(respond(status, &json!({ "message": message, "documentation_url": "https://docs.github.com/rest" })), headers)
}

/// `(kind, code, retry-after)` of a run whose first request is answered so.
fn check(response: Response) -> (FailureKind, String, Option<u64>) {
    let mut bed = bed();
    let run = bed.run::<Connector>(&mut |_| Ok(response.clone()));
    assert!(bed.store.is_empty() && bed.cursor.is_none() && bed.state.is_empty(), "something of a refusal was stored");
    let failure = run.failure();
    (failure.kind, failure.code, failure.retry_after_ms)
}

#[test]
fn each_sign_has_its_meaning() {
    use FailureKind::{NeedsAction, NeedsConsent, Other, RateLimited, Transient, Unauthorized, UnexpectedResponse};
    let reset = (NOW_SECONDS + 600).to_string();
    let primary = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset.as_str())];
    let secondary = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    let cases: Vec<(Response, FailureKind, &str, Option<u64>)> = vec![
        (said(401, "Bad credentials", &[]), Unauthorized, "bad-credentials", None),
        (said(403, "API rate limit exceeded for user ID 1.", &primary), RateLimited, "primary-rate-limit", Some(600_000)),
        (said(429, "API rate limit exceeded for user ID 1.", &primary), RateLimited, "primary-rate-limit", Some(600_000)),
        (
            said(403, secondary, &[("retry-after", "60"), ("x-ratelimit-remaining", "27")]),
            RateLimited,
            "secondary-rate-limit",
            Some(60_000),
        ),
        (said(429, secondary, &[]), RateLimited, "secondary-rate-limit", Some(60_000)),
        (said(403, secondary, &primary), RateLimited, "secondary-rate-limit", Some(600_000)),
        (said(429, "", &[("retry-after", "Tue, 10 Mar 2026 12:02:00 GMT")]), RateLimited, "secondary-rate-limit", Some(120_000)),
        (
            said(403, "Resource not accessible by personal access token", &[("x-accepted-github-permissions", "metadata=read")]),
            NeedsConsent,
            "permission-missing",
            None,
        ),
        (
            said(403, "Nope", &[("x-oauth-scopes", "gist"), ("x-accepted-oauth-scopes", "repo, read:user")]),
            NeedsConsent,
            "scope-missing",
            None,
        ),
        (said(403, "Nope", &[("x-oauth-scopes", "repo"), ("x-accepted-oauth-scopes", "repo")]), NeedsConsent, "forbidden", None),
        (said(403, "SAML", &[("x-github-sso", "required; url=https://github.com/orgs/o/sso")]), NeedsAction, "sso", None),
        (said(404, "Not Found", &[]), Other, "not-found", None),
        (said(422, "Validation Failed", &[]), Other, "invalid", None),
        (said(400, "not a supported version", &[]), Other, "http-400", None),
        (said(451, "", &[]), Other, "unavailable", None),
        (text(500, "<html>"), Transient, "http-500", None),
        (with_headers(text(503, ""), &[("retry-after", "30")]), Transient, "http-503", Some(30_000)),
        (text(200, "<!DOCTYPE html><p>Unicorn!"), UnexpectedResponse, "html", None),
        (answer(200, "application/json", ""), Transient, "empty-body", None),
        (answer(200, "application/json", "{\"id\": 7, \"login\": \"de"), UnexpectedResponse, "truncated", None),
        (said(200, "Something went wrong", &[]), UnexpectedResponse, "wrong-shape", None),
        (
            respond(200, &json!({ "id": 7, "login": "demo", "created_at": "yesterday", "followers": 1, "public_repos": 1 })),
            UnexpectedResponse,
            "wrong-shape",
            None,
        ),
        (
            respond(200, &json!({ "id": 8, "login": "other", "created_at": "2020-01-01T00:00:00Z", "followers": 1, "public_repos": 1 })),
            NeedsAction,
            "another-account",
            None,
        ),
        (answer(302, "text/plain", ""), UnexpectedResponse, "http-302", None),
    ];
    for (response, kind, code, wait) in cases {
        let shown = format!("{} {:?}", response.status, String::from_utf8_lossy(&response.body));
        assert_eq!(check(response), (kind, code.to_owned(), wait), "{shown}");
    }
}

/// Half, error and markup at every kind of request, after a good round: nothing changes.
#[test]
fn a_broken_answer_anywhere_stores_nothing_and_moves_no_cursor() {
    type Spoil = fn(Response) -> Response;
    let spoils: [(&str, Spoil); 4] = [
        ("half of it", |r| Response { body: r.body[..r.body.len() / 2].to_vec(), ..r }),
        ("a page", |r| Response { body: b"<html>maintenance</html>".to_vec(), ..r }),
        ("an error in a 200", |r| Response {
            body: b"{\"message\":\"Server Error\",\"errors\":[{\"message\":\"Something went wrong\"}]}".to_vec(),
            ..r
        }),
        ("another shape", |r| Response { body: b"[{\"unexpected\":true}]".to_vec(), ..r }),
    ];
    for path in ["/user", "/user/repos", "/graphql", "/repos/demo/busy/commits", "/repositories/10/commits", "/search/issues"] {
        for (what, spoil) in spoils {
            let mut bed = bed();
            let mut github = GitHub::small();
            bed.run_to_end::<Connector>(&mut |sent| github.serve(sent));
            bed.now += 2 * HOUR;
            // Everything has changed, so everything is asked for.
            github.followers += 1;
            github.repositories[0].pushed += 60_000;
            github.repositories[0].commits[0].2 += 60_000;
            github.calendar.insert("2026-03-10".to_owned(), 1);
            let everything = |bed: &TestBed| format!("{:?} {:?} {:?}", bed.store.dump(), bed.cursor, bed.state);
            let history = |bed: &TestBed| {
                bed.store.dump().into_iter().filter(|l| l.starts_with("commits") || l.starts_with("contributions")).collect::<Vec<_>>()
            };
            let (before, history_before) = (everything(&bed), history(&bed));
            let run = bed.run::<Connector>(&mut |sent| {
                let response = github.serve(sent)?;
                Ok(if sent.path() == path && response.status == 200 { spoil(response) } else { response })
            });
            assert!(matches!(&run.result, Some(Err(_))), "{path}: {what}: {:?}", run.requests.iter().map(|r| &r.url).collect::<Vec<_>>());
            assert_eq!(run.failure().kind, FailureKind::UnexpectedResponse, "{path}: {what}");
            match path {
                "/user" | "/user/repos" => assert_eq!(everything(&bed), before, "{path}: {what}"),
                // What was read and committed before the broken answer stays; of what it was about, nothing moves.
                "/graphql" => assert_eq!(history(&bed), history_before, "{path}: {what}"),
                _ => {}
            }
            // And the next run, with good answers, ends where an undisturbed one does.
            bed.run_to_end::<Connector>(&mut |sent| github.serve(sent));
            let mut undisturbed = self::bed();
            undisturbed.run_to_end::<Connector>(&mut |sent| GitHub::small().serve(sent));
            undisturbed.now += 2 * HOUR;
            undisturbed.run_to_end::<Connector>(&mut |sent| github.serve(sent));
            assert_eq!(bed.store.dump(), undisturbed.store.dump(), "{path}: {what}");
        }
    }
}

#[test]
fn graphql_says_it_with_200() {
    let error = |kind: &str, message: &str| respond(200, &json!({ "data": null, "errors": [{ "type": kind, "message": message }] }));
    let reset = (NOW_SECONDS + 90).to_string();
    let limited = with_headers(
        error("RATE_LIMITED", "API rate limit exceeded for user ID 1."),
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &reset)],
    );
    let cases = [
        (limited, Some((FailureKind::RateLimited, Some(90_000)))),
        (error("", "You have exceeded a secondary rate limit"), Some((FailureKind::RateLimited, Some(60_000)))),
        (error("", "Something went wrong while executing your query."), Some((FailureKind::UnexpectedResponse, None))),
        (respond(200, &json!({ "data": null })), Some((FailureKind::UnexpectedResponse, None))),
        (error("FORBIDDEN", "Resource not accessible by personal access token"), None),
    ];
    for (response, want) in cases {
        let mut github = GitHub::small();
        github.refusals.push(("/graphql", response.clone()));
        let mut bed = bed();
        let run = bed.run::<Connector>(&mut |sent| github.serve(sent));
        assert_eq!(bed.store.count("contributions"), 0);
        match want {
            Some(want) => assert_eq!((run.failure().kind, run.failure().retry_after_ms), want),
            None => {
                assert_eq!(run.outcome(), Ok(Outcome::Complete));
                assert_eq!(run.problems.len(), 1);
                assert_eq!(run.problems[0].metric.as_deref(), Some("contributions"));
                assert_eq!(bed.store.sum("commits"), 7.0, "the rest is read all the same");
            }
        }
    }
}

#[test]
fn what_one_repository_refuses_is_a_problem_and_not_the_end() {
    let refusals = [
        (said(404, "Not Found", &[]), "not-found"),
        (said(403, "Resource not accessible by integration", &[("x-accepted-github-permissions", "contents=read")]), "permission-missing"),
        (said(403, "SAML", &[("x-github-sso", "required; url=https://github.com/orgs/o/sso")]), "sso"),
        (said(451, "", &[]), "unavailable"),
    ];
    for (response, code) in refusals {
        let mut github = GitHub::small();
        github.repositories[0].refusal = Some(response);
        let mut bed = bed();
        let run = bed.run::<Connector>(&mut |sent| github.serve(sent));
        assert_eq!(run.outcome(), Ok(Outcome::Complete), "{code}");
        assert_eq!((run.problems.len(), run.problems[0].failure.code.as_str()), (1, code));
        assert!(run.problems[0].failure.message.contains("demo/busy"));
        assert_eq!((bed.store.sum("commits"), bed.store.sum("contributions")), (1.0, 12.0));
        // It is left alone for a day, then asked again; a person who asks has it asked at once.
        bed.now += HOUR;
        assert!(bed.run::<Connector>(&mut |sent| github.serve(sent)).problems.is_empty());
        github.repositories[0].refusal = None;
        bed.reason = "manual".to_owned();
        bed.run_to_end::<Connector>(&mut |sent| github.serve(sent));
        assert_eq!(bed.store.sum("commits"), 7.0);
    }
}

#[test]
fn a_repository_that_github_cannot_serve_does_not_hold_up_the_rest() {
    let mut github = GitHub::small();
    github.repositories[0].refusal = Some(text(502, "<html>Server Error</html>"));
    let mut bed = bed();
    for attempt in 1..5 {
        let run = bed.run::<Connector>(&mut |sent| github.serve(sent));
        assert_eq!((run.failure().kind, run.failure().code.as_str()), (FailureKind::Transient, "http-502"), "attempt {attempt}");
        assert_eq!((bed.store.sum("commits"), bed.store.count("pull_requests")), (1.0, 2));
        bed.now += HOUR;
    }
    let run = bed.run::<Connector>(&mut |sent| github.serve(sent));
    assert_eq!(run.outcome(), Ok(Outcome::Complete), "after five rounds it is left alone for a day");
    assert_eq!(run.problems.len(), 1);
    bed.now += DAY + HOUR;
    github.repositories[0].refusal = None;
    bed.run_to_end::<Connector>(&mut |sent| github.serve(sent));
    assert_eq!(bed.store.sum("commits"), 7.0);
}

#[test]
fn nothing_that_may_be_read_means_consent_is_needed() {
    let mut github = GitHub::small();
    let no = said(403, "Resource not accessible by personal access token", &[("x-accepted-github-permissions", "metadata=read")]);
    for path in ["/user/repos", "/graphql", "/search"] {
        github.refusals.push((path, no.clone()));
    }
    let mut bed = bed();
    let run = bed.run::<Connector>(&mut |sent| github.serve(sent));
    assert_eq!(run.failure().kind, FailureKind::NeedsConsent);
    assert!(run.failure().message.contains("metadata=read"), "{}", run.failure().message);
    assert_eq!(run.problems.len(), 4);
}

#[test]
fn a_search_that_found_only_a_part_is_not_stored() {
    let mut github = GitHub::small();
    github.incomplete = true;
    let mut bed = bed();
    let run = bed.run::<Connector>(&mut |sent| github.serve(sent));
    assert_eq!((run.failure().kind, run.failure().code.as_str()), (FailureKind::Transient, "search-incomplete"));
    assert_eq!(bed.store.count("pull_requests"), 0);
    assert_eq!(bed.store.sum("commits"), 7.0, "what was read before stays");
}

#[test]
fn a_cursor_of_another_time_means_starting_over() {
    let github = GitHub::small();
    let mut bed = bed();
    bed.run_to_end::<Connector>(&mut |sent| github.serve(sent));
    let before = bed.store.dump();
    bed.cursor = Some("{\"v\":99,\"c\":{}}".to_owned());
    let run = bed.run::<Connector>(&mut |sent| github.serve(sent));
    assert_eq!(run.outcome(), Ok(Outcome::Complete));
    assert!(run.log.iter().any(|line| line.contains("starting over")), "{:?}", run.log);
    assert_eq!(bed.store.dump(), before);
}
