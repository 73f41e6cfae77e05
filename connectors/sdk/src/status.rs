//! What an HTTP status means for a run, where the provider has no better word for it.
//!
//! Providers differ (a 403 may be a limit, a 200 may hold an error), so a connector looks for the provider's own signs first and leaves the
//! rest to [`check`]. Waiting times are handed to the host as they are: it clamps them.

use crate::day::parse_http_date;
use crate::http::Response;
use crate::types::{Failure, FailureKind};

/// How long a `Retry-After` header asks to wait, ms from `now_ms`; both of its forms.
#[must_use]
pub fn retry_after(response: &Response, now_ms: i64) -> Option<u64> {
    let value = response.header("retry-after")?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    u64::try_from(parse_http_date(value)?.saturating_sub(now_ms)).ok().or(Some(0))
}

/// How long until a header's instant (seconds since 1970), ms from `now_ms`.
#[must_use]
pub fn until_epoch(response: &Response, header: &str, now_ms: i64) -> Option<u64> {
    let at = response.number(header)?.checked_mul(1_000)?;
    u64::try_from(at.saturating_sub(now_ms)).ok().or(Some(0))
}

/// `Ok` for 2xx; for anything else the failure that the status alone stands for. `what` says for people what was asked for.
///
/// # Errors
/// Every status that is no success.
pub fn check(response: &Response, what: &str, now_ms: i64) -> Result<(), Failure> {
    let status = response.status;
    if response.is_success() {
        return Ok(());
    }
    let code = format!("http-{status}");
    Err(match status {
        401 => Failure::unauthorized(&code, format!("asked for {what}, the provider refused the key (401): sign in again")),
        403 => Failure::new(
            FailureKind::NeedsConsent,
            &code,
            format!("asked for {what}, the provider said that this sign-in may not see it (403): sign in again and allow it"),
        ),
        404 | 410 => Failure::other(&code, format!("asked for {what}, the provider has no such thing ({status})")),
        429 => Failure::rate_limited(&code, format!("asked for {what}, the provider asked to wait (429)"), retry_after(response, now_ms)),
        408 | 500..=599 => Failure {
            retry_after_ms: retry_after(response, now_ms),
            ..Failure::transient(&code, format!("asked for {what}, the provider is in trouble ({status}); the next run tries again"))
        },
        300..=399 => Failure::unexpected(&code, format!("asked for {what}, the provider sent us elsewhere ({status})")),
        _ => Failure::other(&code, format!("asked for {what}, the provider refused the request ({status})")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Response {
        Response {
            status,
            url: String::new(),
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            body: Vec::new(),
        }
    }

    #[test]
    fn each_status_has_its_kind() {
        let cases = [
            (301, FailureKind::UnexpectedResponse),
            (304, FailureKind::UnexpectedResponse),
            (400, FailureKind::Other),
            (401, FailureKind::Unauthorized),
            (403, FailureKind::NeedsConsent),
            (404, FailureKind::Other),
            (408, FailureKind::Transient),
            (422, FailureKind::Other),
            (429, FailureKind::RateLimited),
            (500, FailureKind::Transient),
            (503, FailureKind::Transient),
        ];
        for (status, kind) in cases {
            let failure = check(&answer(status, &[]), "things", 0).unwrap_err();
            assert_eq!((failure.kind, failure.code.as_str()), (kind, format!("http-{status}").as_str()));
        }
        assert_eq!(check(&answer(204, &[]), "things", 0), Ok(()));
    }

    #[test]
    fn waiting_times_are_read_in_both_forms() {
        let now = 784_111_777_000;
        assert_eq!(retry_after(&answer(429, &[("retry-after", "60")]), now), Some(60_000));
        assert_eq!(retry_after(&answer(429, &[("Retry-After", "Sun, 06 Nov 1994 08:50:37 GMT")]), now), Some(60_000));
        assert_eq!(retry_after(&answer(429, &[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), now), Some(0));
        assert_eq!(retry_after(&answer(429, &[("retry-after", "soon")]), now), None);
        assert_eq!(retry_after(&answer(429, &[("retry-after", "99999999999999999999")]), now), None);
        assert_eq!(until_epoch(&answer(403, &[("x-reset", "784111780")]), "x-reset", now), Some(3_000));
        assert_eq!(until_epoch(&answer(403, &[("x-reset", "1")]), "x-reset", now), Some(0));
        assert_eq!(check(&answer(503, &[("retry-after", "7")]), "x", now).unwrap_err().retry_after_ms, Some(7_000));
    }
}
