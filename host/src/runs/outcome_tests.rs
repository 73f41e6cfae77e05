//! The failure table, row by row.

use super::*;
use sluice_model::FailureKind as K;
use sluice_store::ConnectionState as S;

const NOW: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;

/// Draws the largest value, so that a window is as wide as it gets.
struct Most;
impl Random for Most {
    fn fill(&self, buf: &mut [u8]) {
        // One below a multiple of every window used here would need arithmetic; any fixed draw will do.
        buf.fill(0x5a);
    }
}

fn facts() -> Facts {
    Facts { now: NOW, every_ms: HOUR, connector: "github 1.0.0".to_owned(), ..Facts::default() }
}

fn end(ended: Ended, facts: &Facts) -> End {
    match decide(&ended, facts, &Most) {
        Decision::Finish(end) => *end,
        Decision::RefreshAndRetry => panic!("asked for a refresh"),
    }
}

fn failure(kind: K) -> Failure {
    Failure { url: Some("https://provider.example/mend".to_owned()), ..Failure::new(kind, "CODE", "What happened, what to do.") }
}

#[test]
fn each_failure_leaves_the_state_that_the_table_names() {
    // (kind, state, waits for the person, operator flagged)
    for (kind, state, waits, flagged) in [
        (K::Unauthorized, S::NeedsSignIn, true, false),
        (K::NeedsConsent, S::NeedsConsent, true, false),
        (K::NeedsAction, S::NeedsAction, true, false),
        (K::RateLimited, S::RateLimited, false, false),
        (K::Transient, S::BackingOff, false, false),
        (K::UnexpectedResponse, S::BackingOff, false, true),
        (K::Misconfigured, S::Misconfigured, false, true),
        (K::Gone, S::Gone, true, false),
        (K::Other, S::BackingOff, false, true),
    ] {
        let end = end(Ok(Err(failure(kind))), &facts());
        assert_eq!(end.state, state, "{kind:?}");
        assert_eq!(end.next_due.is_none(), waits, "{kind:?}");
        assert_eq!(end.flag.is_some(), flagged, "{kind:?}");
        assert_eq!(end.outcome, RunOutcome::Failed(kind));
        assert_eq!(end.message.as_deref(), Some("What happened, what to do."), "{kind:?}");
        assert_eq!(end.url.as_deref(), Some("https://provider.example/mend"), "{kind:?}");
    }
}

#[test]
fn a_run_that_ends_well_comes_again_on_schedule_and_clears_what_was() {
    let end = end(Ok(Ok(Outcome::Complete)), &Facts { attempts: 7, ..facts() });
    let next = end.next_due.unwrap();
    assert!((NOW + HOUR - HOUR / 20..=NOW + HOUR + HOUR / 20).contains(&next));
    assert_eq!((end.state, end.attempts, end.message), (S::Ok, 0, None));
}

#[test]
fn more_runs_again_at_once_unless_the_provider_asked_to_wait() {
    assert_eq!(end(Ok(Ok(Outcome::More)), &facts()).next_due, Some(NOW));
    let limited = Facts { limited_until: Some(NOW + 90_000), ..facts() };
    assert_eq!(end(Ok(Ok(Outcome::More)), &limited).next_due, Some(NOW + 90_000));
}

#[test]
fn a_refused_key_is_refreshed_once_when_the_gate_saw_the_refusal() {
    let refused: Ended = Ok(Err(failure(K::Unauthorized)));
    for (seen, can, retries) in [(true, true, true), (true, false, false), (false, true, false), (false, false, false)] {
        let facts = Facts { unauthorized_seen: seen, can_refresh: can, ..facts() };
        assert_eq!(matches!(decide(&refused, &facts, &Most), Decision::RefreshAndRetry), retries, "seen {seen}, can {can}");
    }
}

#[test]
fn a_limit_is_kept_for_as_long_as_the_provider_says() {
    let said = |ms| Ok(Err(Failure { retry_after_ms: Some(ms), ..failure(K::RateLimited) }));
    let limited = |until| Facts { limited_until: Some(until), ..facts() };
    for (what, ended, facts, until) in [
        ("the connector read it", said(60_000), facts(), NOW + 60_000),
        ("the gate read it", Ok(Err(failure(K::RateLimited))), limited(NOW + 5 * HOUR), NOW + 5 * HOUR),
        ("the later of both", said(60_000), limited(NOW + 120_000), NOW + 120_000),
        ("a used-up quota", Ok(Err(failure(K::RateLimited))), Facts { quota_until: Some(NOW + HOUR), ..facts() }, NOW + HOUR),
        ("nobody said", Ok(Err(failure(K::RateLimited))), facts(), NOW + DEFAULT_LIMIT_MS),
        ("clamped to a day", said(u64::MAX), facts(), NOW + MAX_WAIT_MS),
        ("in the past", Ok(Err(failure(K::RateLimited))), limited(NOW - HOUR), NOW + 1_000),
    ] {
        let end = end(ended, &facts);
        assert_eq!(end.next_due, Some(until), "{what}");
        assert_eq!(end.app, None, "{what}: one connection's limit is its own");
    }
}

#[test]
fn a_limit_of_the_whole_app_blocks_it_for_an_hour_at_most() {
    let app_wide = Failure { scope: FailureScope::App, retry_after_ms: Some(5 * 3_600_000), ..failure(K::RateLimited) };
    let end = end(Ok(Err(app_wide)), &facts());
    assert_eq!(end.app, Some(AppAction::BlockUntil(NOW + MAX_APP_WAIT_MS)));
    assert_eq!(end.next_due, Some(NOW + 5 * HOUR));
}

#[test]
fn failures_in_a_row_wait_longer_and_longer_up_to_six_hours() {
    for attempts in [0, 3, 9, 40] {
        let end = end(Ok(Err(failure(K::Transient))), &Facts { attempts, ..facts() });
        let wait = end.next_due.unwrap() - NOW;
        assert!((backoff::FLOOR_MS..=backoff::CEILING_MS).contains(&wait), "{attempts}: {wait}");
        assert_eq!(end.attempts, attempts + 1);
    }
}

#[test]
fn a_trap_or_a_limit_backs_off_and_tells_the_operator_which_connector() {
    for (error, code) in [
        (CallError::Trap { message: "unreachable".to_owned(), frames: vec!["parse".to_owned()] }, "TRAP"),
        (CallError::Limit { name: "cpu-ms", limit: 10_000, used: 10_001 }, "LIMIT_CPU_MS"),
        (CallError::Host("the host's own".to_owned()), "TRAP"),
    ] {
        let end = end(Err(error), &facts());
        assert_eq!(end.state, S::BackingOff);
        assert_eq!(end.failure.unwrap().code, code);
        assert!(end.flag.unwrap().starts_with("github 1.0.0: "));
        assert!(end.next_due.unwrap() >= NOW + backoff::FLOOR_MS);
    }
}

#[test]
fn an_interrupted_run_is_due_again_at_once() {
    let end = end(Err(CallError::Cancelled), &Facts { attempts: 2, ..facts() });
    assert_eq!((end.outcome, end.next_due, end.attempts), (RunOutcome::Interrupted, Some(NOW), 2));
}

#[test]
fn a_run_that_somebody_stopped_comes_again_on_schedule_only() {
    let end = end(Err(CallError::Cancelled), &Facts { by_hand: true, ..facts() });
    assert_eq!(end.outcome, RunOutcome::Interrupted);
    assert!(end.next_due.unwrap() >= NOW + HOUR - HOUR / 20);
}

#[test]
fn one_connections_word_never_pauses_an_app() {
    let app_wide = Failure { scope: FailureScope::App, ..failure(K::Misconfigured) };
    let end = end(Ok(Err(app_wide)), &facts());
    assert!(matches!(end.app, Some(AppAction::NoteMisconfigured(_))), "noted, and counted with others' words");
}

#[test]
fn more_goes_on_at_once_unless_the_run_got_no_further() {
    assert_eq!(end(Ok(Ok(Outcome::More)), &facts()).next_due, Some(NOW));
    let stuck = Facts { stuck: true, ..facts() };
    assert_eq!(end(Ok(Ok(Outcome::More)), &stuck).next_due, Some(NOW + 60_000));
    assert!(end(Ok(Ok(Outcome::Complete)), &stuck).next_due > Some(NOW + HOUR / 2), "complete is complete");
}
