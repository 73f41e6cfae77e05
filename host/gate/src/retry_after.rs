//! `Retry-After` in both of its forms (RFC 9110 §10.2.3), clamped: a provider may ask for patience, not for ever.

use std::time::{Duration, UNIX_EPOCH};

/// No provider that we know asks for more than an hour; a day covers daily quotas, and a wrong clock there costs no more than a day.
const LONGEST_MS: i64 = 24 * 3600 * 1000;

/// When to come again, ms since the epoch, from the header's value: seconds from now, or a date. At most 24 hours ahead; a date that has passed
/// means now. `None` when it is neither form.
#[must_use]
pub fn retry_after(value: &str, now_ms: i64) -> Option<i64> {
    let value = value.trim();
    let until = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        let seconds: i64 = value.parse().unwrap_or(i64::MAX);
        now_ms.saturating_add(seconds.saturating_mul(1000))
    } else {
        http_date(value)?
    };
    Some(until.clamp(now_ms, now_ms.saturating_add(LONGEST_MS)))
}

/// A date of RFC 9110 §5.6.7 as ms since the epoch.
pub(crate) fn http_date(value: &str) -> Option<i64> {
    let at = httpdate::parse_http_date(value.trim()).ok()?;
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_clamped() {
        let now = 1_700_000_000_000; // Tue, 14 Nov 2023 22:13:20 GMT
        let day = 86_400_000;
        for (value, until) in [
            ("0", Some(now)),
            ("7", Some(now + 7_000)),
            (" 120 ", Some(now + 120_000)),
            ("86401", Some(now + day)),
            ("99999999999999999999999999", Some(now + day)),
            ("Tue, 14 Nov 2023 22:13:50 GMT", Some(now + 30_000)),
            ("Tue, 14 Nov 2023 22:13:00 GMT", Some(now)),
            ("Tuesday, 14-Nov-23 22:13:50 GMT", Some(now + 30_000)),
            ("Tue Nov 14 22:13:50 2023", Some(now + 30_000)),
            ("Fri, 14 Nov 2053 22:13:50 GMT", Some(now + day)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, now), until, "{value:?}");
        }
    }
}
