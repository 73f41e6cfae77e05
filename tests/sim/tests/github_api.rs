//! GitHub's API as documented: paging, redirects, limits, conditional requests, errors, GraphQL; each compared with the simulator's own truth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use sluice_sim::github::{Command, Limits, Options, Simulator};
use sluice_sim::{Clock, GitHub, Running};
use std::collections::BTreeMap;
use support::{Reply, get, get_with, send};

const UNTIL: i64 = 1_790_000_000;

fn start() -> (Running<Simulator>, String) {
    start_with(|options| options)
}

fn start_with(change: impl FnOnce(Options) -> Options) -> (Running<Simulator>, String) {
    let options = Options { clock: Clock::fixed(UNTIL * 1000 + 5_000), until: Some(UNTIL), ..Options::default() };
    let sim = GitHub::start(change(options)).unwrap();
    let token = sim.token("demo").unwrap();
    (sim, token)
}

fn graphql(sim: &Running<Simulator>, token: &str, query: &str, variables: Value) -> Reply {
    let bearer = format!("bearer {token}");
    let headers = [("user-agent", "test"), ("authorization", bearer.as_str()), ("content-type", "application/json")];
    send(sim.addr, "POST", "/api/graphql", &headers, &json!({"query": query, "variables": variables}).to_string()).unwrap()
}

#[test]
fn the_same_seed_makes_the_same_world_and_another_seed_another() {
    let truth = |seed| {
        let (sim, _) = start_with(|options| Options { seed, ..options });
        (format!("{:?}", sim.commits("demo")), sim.token("demo"), format!("{:?}", sim.issues("demo")))
    };
    assert_eq!(truth(7), truth(7));
    assert_ne!(truth(7), truth(8));
}

#[test]
fn walking_the_links_yields_every_commit_once_and_moves_to_the_address_that_stays() {
    let (sim, token) = start();
    let busy = &sim.repositories("demo")[0];
    let mut next = Some(format!("/api/repos/demo/{}/commits?author=demo&per_page=20", busy.name));
    let (mut shas, mut pages) = (Vec::new(), 0);
    while let Some(url) = next {
        let reply = get(sim.addr, &url, &token);
        assert_eq!(reply.status, 200, "{}", reply.text());
        shas.extend(reply.json().as_array().unwrap().iter().map(|row| row["sha"].as_str().unwrap().to_owned()));
        next = reply.link("next");
        pages += 1;
        if let Some(next) = &next {
            assert!(
                next.starts_with(&format!("{}/api/repositories/{}/commits?author=demo&per_page=20&page=", sim.url(), busy.id)),
                "{next}"
            );
        }
    }
    let truth: Vec<String> = sim.commits("demo").into_iter().filter(|(id, _)| *id == busy.id).map(|(_, commit)| commit.sha).collect();
    assert_eq!(shas, truth);
    assert!(pages > 3 && truth.len() > 60);
}

#[test]
fn a_commit_of_an_unknown_address_has_no_account_but_its_author_in_the_commit() {
    let (sim, token) = start();
    let busy = sim.repositories("demo")[0].clone();
    let url = format!("/api/repositories/{}/commits?per_page=100", busy.id);
    let rows = get(sim.addr, &url, &token).json();
    let rows = rows.as_array().unwrap();
    assert!(rows.iter().any(|row| row["author"].is_null()));
    assert!(rows.iter().all(|row| row["commit"]["author"]["date"].as_str().unwrap().ends_with('Z')));
    assert!(
        sim.commits("demo").iter().any(|(_, commit)| commit.authored_at < commit.committed_at - 86_400),
        "nothing was written before it was pushed"
    );
    let commit = &busy.commits[3];
    let exact =
        format!("/api/repositories/{0}/commits?since={1}&until={1}", busy.id, rows[3]["commit"]["committer"]["date"].as_str().unwrap());
    assert_eq!(get(sim.addr, &exact, &token).json()[0]["sha"], commit.sha.as_str());
}

#[test]
fn answers_by_path() {
    let (sim, token) = start();
    let repositories = sim.repositories("demo");
    let public =
        sim.apply(Command::IssueToken { login: "demo".into(), scopes: Some(vec![]), permissions: None, expires_at: None }).unwrap();
    let public = public.as_str().unwrap();
    let old = repositories[3].former[0].clone();
    let named = |at: usize, rest: &str| format!("/api/repos/demo/{}{rest}", repositories[at].name);
    let cases = [
        (named(0, ""), token.as_str(), 200, ""),
        (named(1, "/commits"), &token, 409, "Git Repository is empty."),
        (named(2, "/commits"), &token, 200, ""),
        (named(2, "/commits"), public, 404, "Not Found"),
        (named(0, "/commits"), public, 200, ""),
        (named(0, "/commits/"), &token, 404, "Not Found"),
        (named(0, "/commits?sha=nowhere"), &token, 404, "No commit found for SHA: nowhere"),
        (format!("/api/repos/{old}/commits?per_page=2"), &token, 301, "Moved Permanently"),
        ("/api/repos/demo/never".into(), &token, 404, "Not Found"),
        ("/api/user".into(), "wrong", 401, "Bad credentials"),
        ("/api/users/nobody".into(), &token, 404, "Not Found"),
        ("/api/users/demo/events".into(), &token, 200, ""),
        ("/api/user/starred".into(), &token, 200, ""),
        ("/api/search/issues?q=author:nobody".into(), &token, 422, "Validation Failed"),
        (format!("/api/search/issues?q={}", "x".repeat(257)), &token, 422, "Validation Failed"),
        ("/api/search/issues?q=type:pr&page=11&per_page=100".into(), &token, 422, "Validation Failed"),
    ];
    for (path, token, status, message) in cases {
        let reply = get(sim.addr, &path, token);
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        if !message.is_empty() {
            assert_eq!(reply.json()["message"], message, "{path}");
        }
        assert_eq!(reply.header("x-ratelimit-resource"), if path.contains("search") { "search" } else { "core" }, "{path}");
    }
    let moved = get(sim.addr, &format!("/api/repos/{old}/commits?per_page=2"), &token);
    let expected = format!("{}/api/repositories/{}/commits?per_page=2", sim.url(), repositories[3].id);
    assert_eq!((moved.header("location"), moved.json()["url"].as_str().unwrap()), (expected.as_str(), expected.as_str()));
    assert_eq!(get(sim.addr, &expected, &token).status, 200);
}

#[test]
fn a_request_without_user_agent_or_with_an_unknown_version_is_refused() {
    let (sim, token) = start();
    let bearer = format!("Bearer {token}");
    let bare = send(sim.addr, "GET", "/api/user", &[("authorization", &bearer)], "").unwrap();
    assert_eq!(bare.status, 403);
    assert!(bare.text().contains("User-Agent"));
    assert_eq!(get_with(sim.addr, "/api/user", &token, &[("x-github-api-version", "1999-01-01")]).status, 400);
    assert_eq!(get_with(sim.addr, "/api/user", &token, &[("x-github-api-version", "2026-03-10")]).status, 200);
}

#[test]
fn an_unchanged_answer_is_304_and_costs_nothing() {
    let (sim, token) = start();
    let first = get(sim.addr, "/api/user", &token);
    assert_eq!((first.header("x-ratelimit-used"), first.header("x-ratelimit-remaining")), ("1", "4999"));
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\""));
    let again = get_with(sim.addr, "/api/user", &token, &[("if-none-match", &tag)]);
    assert_eq!((again.status, again.header("x-ratelimit-used"), again.body.len()), (304, "1", 0));
    sim.apply(Command::SetFollowers { login: "demo".into(), followers: 77 }).unwrap();
    let changed = get_with(sim.addr, "/api/user", &token, &[("if-none-match", &tag)]);
    assert_eq!((changed.status, changed.json()["followers"].as_u64()), (200, Some(77)));
    assert!(sim.requests()[1].conditional);
}

#[test]
fn limits_are_counted_by_resource_and_end_at_the_reset() {
    let limits = Limits { core: 2, search: 1, ..Limits::default() };
    let (sim, token) = start_with(|options| Options { limits, ..options });
    let ok = |path: &str| get(sim.addr, path, &token).status;
    assert_eq!([ok("/api/user"), ok("/api/user"), ok("/api/search/issues?q=type:pr")], [200, 200, 200]);
    let refused = get(sim.addr, "/api/user", &token);
    assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (403, "0"));
    assert!(refused.json()["message"].as_str().unwrap().starts_with("API rate limit exceeded for user ID"));
    assert_eq!(refused.header("x-ratelimit-reset"), (UNTIL + 5 + 3_600).to_string());
    assert_eq!(get(sim.addr, "/api/search/issues?q=type:pr", &token).header("x-ratelimit-reset"), (UNTIL + 5 + 60).to_string());
    let free = get(sim.addr, "/api/rate_limit", &token);
    assert_eq!((free.status, free.json()["resources"]["core"]["remaining"].as_u64()), (200, Some(0)));
    sim.clock().advance(61_000);
    assert_eq!([ok("/api/search/issues?q=type:pr"), ok("/api/user")], [200, 403]);
    sim.clock().advance(3_600_000);
    assert_eq!(ok("/api/user"), 200);
    sim.apply(Command::SetLimit { resource: "points".into(), limit: 1 }).unwrap();
    let refused = get(sim.addr, "/api/user", &token);
    assert!(
        refused.status == 403
            && refused.header("retry-after") == "60"
            && refused.json()["message"].as_str().unwrap().contains("secondary rate limit")
    );
}

#[test]
fn without_a_token_sixty_requests_an_hour_and_no_profile_of_ones_own() {
    let (sim, _) = start();
    let reply = send(sim.addr, "GET", "/api/users/demo", &[("user-agent", "test")], "").unwrap();
    assert_eq!((reply.status, reply.header("x-ratelimit-limit")), (200, "60"));
    assert_eq!(send(sim.addr, "GET", "/api/user", &[("user-agent", "test")], "").unwrap().status, 401);
}

#[test]
fn a_token_sees_what_its_kind_allows() {
    let (sim, _) = start();
    let make = |scopes: Option<&[&str]>, permissions: Option<&[&str]>| {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let command =
            Command::IssueToken { login: "demo".into(), scopes: scopes.map(owned), permissions: permissions.map(owned), expires_at: None };
        sim.apply(command).unwrap().as_str().unwrap().to_owned()
    };
    let private = sim.repositories("demo")[2].name.clone();
    let commits = format!("/api/repos/demo/{private}/commits");
    let narrow = make(None, Some(&["metadata"]));
    let refused = get(sim.addr, &commits, &narrow);
    assert_eq!((refused.status, refused.json()["message"].as_str().unwrap()), (403, "Resource not accessible by personal access token"));
    assert_eq!(refused.header("x-accepted-github-permissions"), "contents=read");
    let classic = make(Some(&["repo", "read:user"]), None);
    let seen = get(sim.addr, &commits, &classic);
    assert_eq!((seen.status, seen.header("x-oauth-scopes")), (200, "repo, read:user"));
    assert!(classic.starts_with("ghp_") && narrow.starts_with("github_pat_"));
    let listed = |token: &str| get(sim.addr, "/api/user/repos?per_page=100", token).json().as_array().unwrap().len();
    assert_eq!((listed(&classic), listed(&make(Some(&[]), None))), (5, 4));
    sim.apply(Command::Demand { path: "/user/starred".into(), scope: Some("user".into()), permission: Some("starring".into()) }).unwrap();
    assert_eq!(get(sim.addr, "/api/user/starred", &classic).header("x-accepted-oauth-scopes"), "user");
    assert_eq!(get(sim.addr, "/api/user/starred", &narrow).header("x-accepted-github-permissions"), "starring=read");
    let id = sim.repositories("demo")[0].id;
    sim.apply(Command::SetSso { repository: id, organization: Some("acme".into()) }).unwrap();
    let guarded = get(sim.addr, &format!("/api/repositories/{id}/commits"), &classic);
    assert!(guarded.status == 403 && guarded.header("x-github-sso").starts_with("required; url="));
    assert_eq!(get(sim.addr, "/api/user/repos", &classic).header("x-github-sso"), "partial-results; organizations=acme");
    sim.apply(Command::AuthorizeSso { token: classic.clone() }).unwrap();
    assert_eq!(get(sim.addr, &format!("/api/repositories/{id}/commits"), &classic).status, 200);
    sim.apply(Command::RevokeToken { token: classic.clone() }).unwrap();
    assert_eq!(get(sim.addr, "/api/user", &classic).status, 401);
}

#[test]
fn a_changed_world_is_what_the_next_request_sees() {
    let (sim, token) = start();
    let id = sim.repositories("demo")[1].id;
    let url = format!("/api/repositories/{id}/commits?author=demo");
    let add = |at: i64| {
        sim.apply(Command::AddCommit { repository: id, login: Some("demo".into()), authored_at: at, committed_at: None }).unwrap()
    };
    let (older, newer) = (add(UNTIL - 5_000), add(UNTIL));
    let middle = add(UNTIL - 100);
    let shas = |reply: Reply| reply.json().as_array().unwrap().iter().map(|row| row["sha"].clone()).collect::<Vec<_>>();
    assert_eq!(shas(get(sim.addr, &url, &token)), [newer.clone(), middle.clone(), older.clone()]);
    sim.apply(Command::DeleteCommit { repository: id, sha: middle.as_str().unwrap().into() }).unwrap();
    assert_eq!(shas(get(sim.addr, &url, &token)), [newer, older]);
    let name = sim.repositories("demo")[1].name.clone();
    sim.apply(Command::RenameRepository { repository: id, name: "fresh".into() }).unwrap();
    assert_eq!(get(sim.addr, &format!("/api/repos/demo/{name}/commits"), &token).status, 301);
    assert_eq!(get(sim.addr, "/api/repos/demo/fresh", &token).json()["full_name"], "demo/fresh");
}

#[test]
fn the_calendar_holds_each_contribution_on_its_day_and_never_more_than_a_year() {
    let (sim, token) = start();
    let query = "query($from: DateTime!, $to: DateTime!) { viewer { login c: contributionsCollection(from: $from, to: $to) { contributionYears totalCommitContributions totalIssueContributions totalPullRequestContributions totalPullRequestReviewContributions restrictedContributionsCount contributionCalendar { totalContributions weeks { contributionDays { date contributionCount contributionLevel weekday } } } } } rateLimit { cost remaining resetAt used } }";
    let reply = graphql(&sim, &token, query, json!({"from": "2025-12-01T00:00:00Z", "to": "2026-11-30T23:59:59Z"}));
    assert_eq!((reply.status, reply.header("x-ratelimit-resource")), (200, "graphql"));
    let body = reply.json();
    let collection = &body["data"]["viewer"]["c"];
    let mut days = BTreeMap::new();
    for day in
        collection["contributionCalendar"]["weeks"].as_array().unwrap().iter().flat_map(|week| week["contributionDays"].as_array().unwrap())
    {
        if day["contributionCount"] != 0 {
            days.insert(day["date"].as_str().unwrap().to_owned(), day["contributionCount"].as_u64().unwrap());
        }
    }
    assert_eq!(days, sim.contributions("demo"));
    let total: u64 =
        ["totalCommitContributions", "totalIssueContributions", "totalPullRequestContributions", "totalPullRequestReviewContributions"]
            .iter()
            .map(|name| collection[name].as_u64().unwrap())
            .sum();
    assert_eq!(collection["contributionCalendar"]["totalContributions"], total);
    assert_eq!(body["data"]["rateLimit"]["remaining"], 4999);
    let long = graphql(&sim, &token, query, json!({"from": "2025-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"})).json();
    assert!(long["errors"][0]["message"].as_str().unwrap().contains("must not exceed 1 year"));
    assert!(long["data"].is_null());
}

#[test]
fn a_graphql_query_fails_by_name_and_pages_by_cursor() {
    let (sim, token) = start();
    let failing = [
        ("{ viewer { shoeSize } }", "Field 'shoeSize' doesn't exist on type 'User'"),
        ("{ viewer }", "must have selections"),
        ("{ viewer { login { x } } }", "Selections can't be made on scalars"),
        ("{ viewer { issues { nodes { number } } } }", "`first` or `last`"),
        ("{ viewer { issues(first: 101) { totalCount } } }", "limit of 100 records"),
        ("{ user(login: \"nobody\") { login } }", "Could not resolve to a User"),
        ("{ viewer { ", "Parse error"),
    ];
    for (query, part) in failing {
        let reply = graphql(&sim, &token, query, json!({}));
        assert_eq!(reply.status, 200, "{query}");
        assert!(reply.json()["errors"][0]["message"].as_str().unwrap().contains(part), "{query}: {}", reply.text());
    }
    let query = "query($after: String) { viewer { pullRequests(first: 7, after: $after, orderBy: {field: CREATED_AT, direction: DESC}) { totalCount nodes { ...F } pageInfo { hasNextPage endCursor } } } } fragment F on PullRequest { databaseId createdAt state repository { nameWithOwner } }";
    let (mut after, mut ids) = (Value::Null, Vec::new());
    loop {
        let body = graphql(&sim, &token, query, json!({"after": after})).json();
        let page = &body["data"]["viewer"]["pullRequests"];
        ids.extend(page["nodes"].as_array().unwrap().iter().map(|node| node["databaseId"].as_u64().unwrap()));
        // A newcomer at the front must not move the pages behind it.
        sim.apply(Command::AddIssue {
            login: "demo".into(),
            repository: sim.repositories("demo")[0].id,
            pull_request: true,
            created_at: UNTIL,
        })
        .unwrap();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
    let mut truth: Vec<_> =
        sim.issues("demo").into_iter().filter(|issue| issue.pull_request && issue.title != "Opened while you read").collect();
    truth.sort_by_key(|issue| std::cmp::Reverse((issue.created_at, issue.id)));
    assert_eq!(ids, truth.iter().map(|issue| issue.id).collect::<Vec<_>>());
    assert!(ids.len() > 14);
    assert_eq!(graphql(&sim, "wrong", "{ viewer { login } }", json!({})).status, 401);
    sim.apply(Command::Leave { login: "demo".into(), resource: "graphql".into(), remaining: 0 }).unwrap();
    let limited = graphql(&sim, &token, "{ viewer { login } }", json!({}));
    assert_eq!((limited.status, limited.json()["errors"][0]["type"].as_str().unwrap()), (200, "RATE_LIMITED"));
}

#[test]
fn search_counts_what_was_merged_in_a_range() {
    let (sim, token) = start();
    let merged = sim.issues("demo").into_iter().filter(|issue| issue.merged_at.is_some_and(|at| at >= 1_785_000_000)).count();
    assert!(merged > 0);
    let from = "2026-07-25T17:20:00Z";
    let reply = get(sim.addr, &format!("/api/search/issues?q=type:pr+author:demo+merged:{from}..*&per_page=2"), &token);
    let body = reply.json();
    assert_eq!((body["total_count"].as_u64(), body["incomplete_results"].as_bool()), (Some(merged as u64), Some(false)));
    assert!(body["items"].as_array().unwrap().iter().all(|item| item["pull_request"]["merged_at"].is_string()));
}
