//! Recorded answers of the real GitHub, where they lie beside the repository.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code)]
mod fake;

use fake::{GitHub, ms};
use sluice_connector_github::{GitHub as Connector, api, contributions};
use sluice_sdk::harness::{NOW, Run, TestBed, sample};
use sluice_sdk::{FailureKind, Moment, Outcome, paging};

/// A round in which requests to `path` are answered by the sample, in order.
fn replay(name: &str, path: &str, change: impl FnOnce(&mut GitHub)) -> Option<(TestBed, Run)> {
    let exchanges = sample("github", name)?;
    let mut github = GitHub::small();
    change(&mut github);
    let mut bed = TestBed::new::<Connector>("token");
    bed.account = Some("7".to_owned());
    let mut at = 0;
    let run = bed.run::<Connector>(&mut |sent| {
        if !sent.path().starts_with(path) {
            return github.serve(sent);
        }
        let exchange = exchanges.get(at).unwrap_or_else(|| panic!("the sample has no answer {at}"));
        at += 1;
        Ok(exchange.response.clone())
    });
    Some((bed, run))
}

#[test]
fn two_pages_of_commits_of_which_one_has_no_account() {
    let Some((bed, run)) = replay("repo-commits-page1-page2", "/repo", |github| {
        github.repositories.truncate(1);
        github.created = ms("2015-01-01T00:00:00Z");
    }) else {
        return;
    };
    assert_eq!(run.outcome(), Ok(Outcome::Complete));
    let commits: Vec<_> = bed.store.of("commits").map(|e| e.when).collect();
    assert_eq!(commits, [Moment::Instant(ms("2019-11-11T05:30:41Z")), Moment::Instant(ms("2019-11-11T05:31:46Z"))]);
    assert!(
        run.requests.iter().any(|r| r.url.starts_with("https://api.github.com/repositories/1000/commits?")),
        "the next page is followed word for word"
    );
}

#[test]
fn an_empty_repository_has_no_commits_and_is_no_problem() {
    let Some((bed, run)) = replay("error-409-empty-repo", "/repos/", |github| github.repositories.truncate(1)) else { return };
    assert_eq!(run.outcome(), Ok(Outcome::Complete));
    assert!(run.problems.is_empty());
    assert_eq!(bed.store.count("commits"), 0);
}

#[test]
fn a_calendar_is_read_day_by_day() {
    let Some(exchanges) = sample("github", "graphql-contributions") else { return };
    let days = contributions::days(&exchanges[0].response, NOW).unwrap();
    assert_eq!(days.len(), 14);
    assert_eq!(days.iter().map(|(_, count)| count).sum::<u64>(), 14);
    assert_eq!(days[4].0.to_string(), "2025-09-11");
}

#[test]
fn refusals_are_understood() {
    let cases = [
        ("error-401-bad-credentials", "/user", FailureKind::Unauthorized, None),
        ("error-403-primary-rate-limit", "/repos/", FailureKind::RateLimited, Some(0)),
        ("error-429-secondary-rate-limit", "/search", FailureKind::RateLimited, Some(60_000)),
        ("graphql-rate-limited-200", "/graphql", FailureKind::RateLimited, Some((1_790_966_100 - NOW / 1_000) as u64 * 1_000)),
    ];
    for (name, path, kind, wait) in cases {
        let Some((_, run)) = replay(name, path, |_| {}) else { return };
        assert_eq!((run.failure().kind, run.failure().retry_after_ms), (kind, wait), "{name}");
    }
}

#[test]
fn links_of_first_middle_and_last_pages_are_read() {
    let Some(exchanges) = sample("github", "repo-issues-first-middle-last") else { return };
    let next: Vec<_> = exchanges.iter().map(|e| paging::next(&e.response)).collect();
    assert!(next[0].is_some_and(|url| url.starts_with(api::API) && url.ends_with("page=2")));
    assert!(next[1].is_some_and(|url| url.ends_with("page=3")));
    assert_eq!(next.last(), Some(&None));
}
