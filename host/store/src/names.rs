//! The words under which outcomes and reasons are stored.

use crate::RunOutcome;
use sluice_model::FailureKind;
use sluice_model::task::Reason;

const FAILURES: [(FailureKind, &str); 9] = [
    (FailureKind::Unauthorized, "unauthorized"),
    (FailureKind::NeedsConsent, "needs-consent"),
    (FailureKind::NeedsAction, "needs-action"),
    (FailureKind::RateLimited, "rate-limited"),
    (FailureKind::Transient, "transient"),
    (FailureKind::UnexpectedResponse, "unexpected-response"),
    (FailureKind::Misconfigured, "misconfigured"),
    (FailureKind::Gone, "gone"),
    (FailureKind::Other, "other"),
];

pub(crate) fn failure_name(kind: FailureKind) -> &'static str {
    FAILURES.iter().find(|(known, _)| *known == kind).map_or("other", |(_, name)| *name)
}

pub(crate) fn outcome_name(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Running => "running",
        RunOutcome::Complete => "complete",
        RunOutcome::More => "more",
        RunOutcome::Failed(kind) => failure_name(kind),
        RunOutcome::Interrupted => "interrupted",
    }
}

pub(crate) fn parse_outcome(text: &str) -> RunOutcome {
    match text {
        "running" => RunOutcome::Running,
        "complete" => RunOutcome::Complete,
        "more" => RunOutcome::More,
        "interrupted" => RunOutcome::Interrupted,
        failure => RunOutcome::Failed(FAILURES.iter().find(|(_, name)| *name == failure).map_or(FailureKind::Other, |(kind, _)| *kind)),
    }
}

pub(crate) fn parse_reason(text: &str) -> Reason {
    match text {
        "manual" => Reason::Manual,
        "linked" => Reason::Linked,
        _ => Reason::Scheduled,
    }
}
