//! Instants as providers write them: ISO-8601 with `Z`, a calendar day, an HTTP date, a spoken form. Seconds since 1970 inside.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Seconds in a day.
pub const DAY: i64 = 86_400;

fn stamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `2026-03-04T05:06:07Z`.
pub fn iso(seconds: i64) -> String {
    stamp(seconds).to_string()
}

/// `2026-03-04`, in UTC.
pub fn day(seconds: i64) -> String {
    stamp(seconds).strftime("%Y-%m-%d").to_string()
}

/// The civil day in UTC.
pub fn date(seconds: i64) -> Date {
    stamp(seconds).to_zoned(TimeZone::UTC).date()
}

/// `Wed, 04 Mar 2026 05:06:07 GMT`.
pub fn http_date(seconds: i64) -> String {
    stamp(seconds).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// `04 Mar 2026, 05:06`: the form Last.fm puts beside its seconds.
pub fn spoken(seconds: i64) -> String {
    stamp(seconds).strftime("%d %b %Y, %H:%M").to_string()
}

/// Any ISO-8601 instant, or a calendar day (its first second in UTC).
pub fn parse(text: &str) -> Option<i64> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_second());
    }
    start_of(text.parse::<Date>().ok()?)
}

/// The first second of a day in UTC.
pub fn start_of(date: Date) -> Option<i64> {
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}
