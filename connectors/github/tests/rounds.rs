//! Whole rounds against a GitHub in memory: what is stored in the end, what it costs, and that an end at any instant changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fake;

use fake::{Commit, GitHub, ms};
use sluice_connector_github::{BUDGET_REQUESTS, GitHub as Connector};
use sluice_sdk::day::{DAY, HOUR};
use sluice_sdk::harness::{Fault, NOW, Provider, Run, TestBed, crash_everywhere};
use sluice_sdk::{FailureKind, FetchError, Moment, Outcome};

fn bed() -> TestBed {
    let mut bed = TestBed::new::<Connector>("token");
    bed.account = Some("7".to_owned());
    bed
}

fn round(bed: &mut TestBed, github: &GitHub) -> Run {
    bed.run_to_end::<Connector>(&mut |sent| github.serve(sent)).pop().unwrap()
}

/// The commits of a repository: second → how many.
fn commits(bed: &TestBed, series: &str) -> Vec<(i64, f64)> {
    let of = bed.store.of("commits").filter(|entry| entry.series.as_deref() == Some(series));
    of.map(|entry| if let Moment::Instant(ms) = entry.when { (ms, entry.value) } else { panic!("a day") }).collect()
}

#[test]
fn identify_answers_with_the_id_that_outlives_the_name() {
    let github = GitHub::small();
    for profile in ["token", "oauth"] {
        let account = TestBed::new::<Connector>(profile).identify::<Connector>(&mut |sent| github.serve(sent)).unwrap();
        assert_eq!((account.id.as_deref(), account.label.as_str()), (Some("7"), "demo"));
    }
}

#[test]
fn a_first_round_takes_in_everything_there_is() {
    let (mut bed, github) = (bed(), GitHub::small());
    let run = round(&mut bed, &github);
    assert!(run.problems.is_empty(), "{:?}", run.problems);
    let want = [
        (ms("2024-06-01T00:00:00Z"), 1.0),
        (ms("2025-06-01T08:00:00Z"), 2.0),
        (ms("2026-01-02T08:00:00Z"), 1.0),
        (ms("2026-03-08T23:30:00Z"), 1.0),
        (ms("2026-03-09T10:00:00Z"), 1.0),
    ];
    assert_eq!(
        commits(&bed, "10"),
        want,
        "a rebased commit counts when it was written, one that claims to be older than the account when it was committed"
    );
    assert_eq!(commits(&bed, "13"), [(ms("2025-12-31T23:59:59Z"), 1.0)]);
    assert_eq!(commits(&bed, "12"), [], "a fork's commits are the other repository's");
    assert_eq!(bed.store.label("commits", "10"), Some("demo/busy"));
    assert_eq!((bed.store.count("contributions"), bed.store.sum("contributions")), (4, 12.0));
    assert_eq!((bed.store.count("pull_requests"), bed.store.count("issues")), (2, 1));
    assert_eq!((bed.store.last("followers"), bed.store.last("public_repos")), (Some(3.0), Some(4.0)));
    assert_eq!(bed.store.last("stars"), Some(46.0));
}

#[test]
fn a_round_in_which_nothing_changed_costs_three_requests_and_changes_nothing() {
    let (mut bed, github) = (bed(), GitHub::small());
    round(&mut bed, &github);
    bed.now += HOUR;
    let (before, run) = (bed.store.dump(), round(&mut bed, &github));
    assert_eq!(bed.store.dump(), before);
    let costly: Vec<&str> =
        run.requests.iter().filter(|r| !r.headers.iter().any(|(n, _)| n == "If-None-Match")).map(|r| r.url.as_str()).collect();
    assert_eq!(costly.len(), 3, "the calendar and two searches: {costly:?}");
    assert_eq!((run.counts.inserted, run.counts.updated, run.counts.deleted), (0, 0, 0));
}

#[test]
fn a_late_push_of_older_commits_counts() {
    let (mut bed, mut github) = (bed(), GitHub::small());
    round(&mut bed, &github);
    bed.now += DAY;
    let week_ago = NOW - 7 * DAY;
    github.repositories[0].commits.push(Commit("late".into(), week_ago, week_ago));
    github.repositories[0].pushed = NOW;
    round(&mut bed, &github);
    assert!(commits(&bed, "10").contains(&(week_ago, 1.0)));
    assert_eq!(commits(&bed, "10").len(), 6);
}

#[test]
fn a_long_lived_branch_comes_in_with_the_next_whole_reading() {
    let (mut bed, mut github) = (bed(), GitHub::small());
    round(&mut bed, &github);
    bed.now += 40 * DAY;
    let old = NOW - 90 * DAY;
    github.repositories[0].commits.push(Commit("branch".into(), old, old));
    github.repositories[0].pushed = bed.now;
    round(&mut bed, &github);
    assert!(commits(&bed, "10").contains(&(old, 1.0)));
}

#[test]
fn a_force_push_takes_away_what_it_removed() {
    let (mut bed, mut github) = (bed(), GitHub::small());
    round(&mut bed, &github);
    bed.now += DAY;
    github.repositories[0].commits.remove(0);
    github.repositories[0].pushed = NOW + HOUR;
    let run = round(&mut bed, &github);
    assert_eq!(run.counts.deleted, 1);
    assert_eq!(commits(&bed, "10").len(), 4);
    assert!(commits(&bed, "10").contains(&(ms("2025-06-01T08:00:00Z"), 2.0)), "what lies before the window stays");
}

#[test]
fn an_imported_history_counts_at_the_accounts_beginning_and_stays() {
    for age in [10 * DAY, 200 * DAY] {
        let (mut bed, mut github) = (bed(), GitHub::small());
        github.created = NOW - age;
        github.repositories.truncate(1);
        github.repositories[0].commits =
            (0..5).map(|n| Commit(format!("i{n}"), ms("2010-01-01T00:00:00Z"), ms("2010-01-01T00:00:00Z"))).collect();
        round(&mut bed, &github);
        assert_eq!(commits(&bed, "10"), [(github.created, 5.0)]);
        bed.now += DAY;
        github.repositories[0].commits.push(Commit("lie".into(), ms("1999-01-01T00:00:00Z"), NOW));
        github.repositories[0].pushed = NOW;
        round(&mut bed, &github);
        assert_eq!(commits(&bed, "10"), [(github.created, 5.0), (NOW, 1.0)], "an account {} days old", age / DAY);
    }
}

#[test]
fn a_renamed_repository_keeps_its_history() {
    let (mut bed, mut github) = (bed(), GitHub::small());
    round(&mut bed, &github);
    let before = commits(&bed, "10");
    bed.now += DAY;
    github.repositories[0].name = "demo/renamed".to_owned();
    round(&mut bed, &github);
    assert_eq!(commits(&bed, "10"), before);
    assert_eq!(bed.store.label("commits", "10"), Some("demo/renamed"));
    github.login = "renamed-too".to_owned();
    github.repositories[0].pushed += 60_000;
    round(&mut bed, &github);
    assert_eq!(commits(&bed, "10"), before);
}

#[test]
fn a_history_of_many_pages_is_read_in_bites_and_every_commit_counts_once() {
    let github = GitHub::large(4_321);
    let mut bed = bed();
    let runs = bed.run_to_end::<Connector>(&mut |sent| github.serve(sent));
    assert!(runs.iter().map(|r| r.commits).sum::<u64>() > 5);
    assert_eq!(bed.store.sum("commits"), 4_321.0, "two commits share each second, and a page ends between them");
    assert_eq!(bed.store.count("commits"), 2_161);
}

#[test]
fn a_run_stops_after_its_share_and_the_next_goes_on() {
    let mut github = GitHub::large(100);
    let one = github.repositories[0].clone();
    github.repositories = (0..300)
        .map(|n| {
            let mut repository = one.clone();
            (repository.id, repository.name) = (1_000 + n, format!("demo/r{n}"));
            repository.commits.truncate(3);
            repository
        })
        .collect();
    let mut bed = bed();
    let runs = bed.run_to_end::<Connector>(&mut |sent| github.serve(sent));
    assert!(runs.len() > 1);
    assert!(
        runs.iter().all(|run| run.requests.len() as u64 <= BUDGET_REQUESTS + 1),
        "{:?}",
        runs.iter().map(|r| r.requests.len()).collect::<Vec<_>>()
    );
    assert_eq!(bed.store.sum("commits"), 900.0);
    assert_eq!(bed.store.sum("contributions"), 12.0);
}

#[test]
fn more_results_than_search_gives_are_asked_for_in_halves() {
    let mut github = GitHub::small();
    github.page_size = 100;
    github.opened = (0..2_500).map(|n| (n, github.created + 1_000 + n as i64 * 6 * HOUR, true)).collect();
    let mut bed = bed();
    round(&mut bed, &github);
    assert_eq!(bed.store.count("pull_requests"), 2_500);
}

#[test]
fn an_end_after_any_call_to_the_host_leaves_the_same_behind() {
    let calls = crash_everywhere::<Connector>(bed, || {
        let github = GitHub::small();
        let provider: Box<Provider<'static>> = Box::new(move |sent| github.serve(sent));
        provider
    });
    assert!(calls > 40, "{calls}");
}

#[test]
fn an_end_in_the_middle_of_a_long_history_leaves_the_same_behind() {
    crash_everywhere::<Connector>(bed, || {
        let mut github = GitHub::large(45);
        github.page_size = 2;
        let provider: Box<Provider<'static>> = Box::new(move |sent| github.serve(sent));
        provider
    });
}

#[test]
fn an_end_in_a_later_round_leaves_the_same_behind() {
    let later = || {
        let mut bed = bed();
        round(&mut bed, &GitHub::small());
        bed.now += 2 * DAY;
        bed
    };
    crash_everywhere::<Connector>(later, || {
        let mut github = GitHub::small();
        github.repositories[0].commits.remove(1);
        github.repositories[0].commits.insert(0, Commit("new".into(), NOW, NOW + HOUR));
        github.repositories[0].pushed = NOW + HOUR;
        github.repositories[3].name = "demo/moved".to_owned();
        github.calendar.insert("2026-03-09".to_owned(), 9);
        github.opened.push((103, NOW + HOUR, true));
        let provider: Box<Provider<'static>> = Box::new(move |sent| github.serve(sent));
        provider
    });
}

#[test]
fn a_cancelled_run_keeps_what_it_checkpointed() {
    let github = GitHub::small();
    let mut all = bed();
    let calls = all.run::<Connector>(&mut |sent| github.serve(sent)).calls;
    for n in 1..calls {
        let mut bed = bed();
        let run = bed.run_with::<Connector>(&mut |sent| github.serve(sent), Fault::CancelAfter(n));
        if let Some(Err(failure)) = &run.result {
            assert_eq!(failure.code, "cancelled");
        }
        round(&mut bed, &github);
        assert_eq!(bed.store.dump(), all.store.dump(), "cancelled after call {n}");
    }
}

#[test]
fn a_network_that_fails_at_any_request_loses_nothing() {
    let github = GitHub::small();
    let mut all = bed();
    let requests = all.run::<Connector>(&mut |sent| github.serve(sent)).requests.len() as u64;
    for n in 1..=requests {
        for error in [FetchError::Timeout, FetchError::Interrupted, FetchError::Connect] {
            let mut bed = bed();
            let run = bed.run_with::<Connector>(&mut |sent| github.serve(sent), Fault::FetchFails(n, error));
            assert_eq!(run.failure().kind, FailureKind::Transient);
            round(&mut bed, &github);
            assert_eq!(bed.store.dump(), all.store.dump(), "failed at request {n}");
        }
    }
}

#[test]
fn a_quota_that_is_used_up_ends_the_run_with_its_time() {
    let github = GitHub::small();
    let run = bed().run_with::<Connector>(&mut |sent| github.serve(sent), Fault::FetchFails(4, FetchError::QuotaExhausted(90_000)));
    assert_eq!((run.failure().kind, run.failure().retry_after_ms), (FailureKind::RateLimited, Some(90_000)));
}

#[test]
fn a_back_fill_that_takes_hours_shows_today_first() {
    let (mut bed, github) = (bed(), GitHub::small());
    let run = bed.run_with::<Connector>(&mut |sent| github.serve(sent), Fault::FetchFails(5, FetchError::Connect));
    assert_eq!(run.failure().kind, FailureKind::Transient);
    let days: Vec<_> = bed.store.of("contributions").map(|e| e.when).collect();
    assert!(days.iter().all(|day| matches!(day, Moment::Day(d) if d.to_string().starts_with("2026"))), "{days:?}");
    assert!(!days.is_empty());
    bed.now += 3 * HOUR;
    assert_eq!(bed.run::<Connector>(&mut |sent| github.serve(sent)).outcome(), Ok(Outcome::Complete));
    assert_eq!(bed.store.sum("contributions"), 12.0);
}
