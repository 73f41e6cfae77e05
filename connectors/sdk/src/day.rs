//! Civil days and the time stamps that providers write, without a time library.
//!
//! A time library with its zone data would be most of a connector's size, and a connector needs little of it: the host turns instants into
//! the person's days. What is left is proleptic Gregorian arithmetic on days since 1970-01-01, RFC 3339 stamps, and the one date form of
//! HTTP. All of it is total: what is not a date is `None`, and years stay within 0000 to 9999.

use std::fmt;
use std::str::FromStr;

/// Milliseconds of a minute.
pub const MINUTE: i64 = 60_000;
/// Milliseconds of an hour.
pub const HOUR: i64 = 60 * MINUTE;
/// Milliseconds of a civil day without a change of clocks.
pub const DAY: i64 = 24 * HOUR;

/// Days in 400 Gregorian years, after which the calendar repeats.
const DAYS_OF_400_YEARS: i64 = 146_097;

/// A civil day, as days since 1970-01-01. Written and read as `2026-11-21`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Day {
    /// The day of a civil date; `None` where there is none such.
    #[must_use]
    pub fn from_civil(year: i32, month: u32, day: u32) -> Option<Self> {
        if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
            return None;
        }
        // Years begin in March here, so that the leap day is the last of its year and month lengths follow one rule.
        let (shifted_year, shifted_month) =
            if month > 2 { (i64::from(year), i64::from(month) - 3) } else { (i64::from(year) - 1, i64::from(month) + 9) };
        let days_before_month = (153 * shifted_month + 2) / 5;
        let days = 365 * shifted_year + shifted_year.div_euclid(4) - shifted_year.div_euclid(100)
            + shifted_year.div_euclid(400)
            + days_before_month
            + i64::from(day)
            - 1;
        // 719,468 days lie between 0000-03-01 and 1970-01-01.
        i32::try_from(days - 719_468).ok().map(Self)
    }

    /// Year, month from 1, day from 1.
    #[must_use]
    pub fn civil(self) -> (i32, u32, u32) {
        let from_march = i64::from(self.0) + 719_468;
        let era = from_march.div_euclid(DAYS_OF_400_YEARS);
        let in_era = from_march.rem_euclid(DAYS_OF_400_YEARS);
        // Take out the leap days that have passed, and what is left are years of 365 days.
        let year_of_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
        let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * in_year + 2) / 153;
        let day = in_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        (year as i32, month as u32, day as u32)
    }

    /// The UTC day of an instant.
    #[must_use]
    pub fn of_ms(ms: i64) -> Self {
        Self(ms.div_euclid(DAY).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
    }

    /// Its first instant in UTC.
    #[must_use]
    pub fn start_ms(self) -> i64 {
        i64::from(self.0) * DAY
    }

    /// That many days later, or earlier.
    #[must_use]
    pub fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// The first day of its month.
    #[must_use]
    pub fn month_start(self) -> Self {
        let (_, _, day) = self.civil();
        self.plus(1 - day as i32)
    }

    /// The first day of its year.
    #[must_use]
    pub fn year_start(self) -> Self {
        let (year, _, _) = self.civil();
        Self::from_civil(year, 1, 1).unwrap_or(self)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// A text that is no civil day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotADay;

impl fmt::Display for NotADay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no civil day: write it as 2026-11-21")
    }
}

impl std::error::Error for NotADay {}

impl FromStr for Day {
    type Err = NotADay;
    fn from_str(text: &str) -> Result<Self, NotADay> {
        parse_day(text).ok_or(NotADay)
    }
}

fn parse_day(text: &str) -> Option<Day> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
        return None;
    }
    Day::from_civil(digits(text.get(..4)?)? as i32, digits(text.get(5..7)?)?, digits(text.get(8..10)?)?)
}

fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Digits and nothing else: `str::parse` would take a sign as well.
fn digits(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Hours, minutes and seconds of `16:21:09`; a leap second counts as the second before it.
fn clock(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 8 || bytes.get(2) != Some(&b':') || bytes.get(5) != Some(&b':') {
        return None;
    }
    let (hours, minutes, seconds) = (digits(text.get(..2)?)?, digits(text.get(3..5)?)?, digits(text.get(6..8)?)?);
    (hours < 24 && minutes < 60 && seconds <= 60)
        .then(|| i64::from(hours) * HOUR + i64::from(minutes) * MINUTE + i64::from(seconds.min(59)) * 1_000)
}

/// An RFC 3339 time stamp (`2019-11-11T05:31:46Z`, with or without a fraction, with any offset), ms since the epoch.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let day = parse_day(text.get(..10)?)?;
    if !matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' ')) {
        return None;
    }
    let time = clock(text.get(11..19)?)?;
    let mut rest = text.get(19..)?;
    let mut fraction = 0i64;
    if let Some(after) = rest.strip_prefix('.') {
        let end = after.bytes().position(|b| !b.is_ascii_digit())?;
        let mut ms: String = after.get(..end)?.chars().take(3).collect();
        if ms.is_empty() {
            return None;
        }
        while ms.len() < 3 {
            ms.push('0');
        }
        fraction = i64::from(digits(&ms)?);
        rest = after.get(end..)?;
    }
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = match rest.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let bytes = rest.as_bytes();
            if bytes.len() != 6 || bytes.get(3) != Some(&b':') {
                return None;
            }
            let (hours, minutes) = (digits(rest.get(1..3)?)?, digits(rest.get(4..6)?)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            sign * (i64::from(hours) * HOUR + i64::from(minutes) * MINUTE)
        }
    };
    Some(day.start_ms() + time + fraction - offset)
}

/// An instant as RFC 3339 in UTC, to the second.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    let day = Day::of_ms(ms);
    let seconds = ms.rem_euclid(DAY) / 1_000;
    format!("{day}T{:02}:{:02}:{:02}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// The date form that HTTP servers send (`Sun, 06 Nov 1994 08:49:37 GMT`, RFC 9110 §5.6.7), ms since the epoch.
#[must_use]
pub fn parse_http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.trim().split_once(", ")?.1.split(' ');
    let day = digits(parts.next()?)?;
    let month_name = parts.next()?;
    let month = MONTHS.iter().position(|m| *m == month_name)? as u32 + 1;
    let year = digits(parts.next()?)?;
    let time = clock(parts.next()?)?;
    if parts.next() != Some("GMT") || parts.next().is_some() {
        return None;
    }
    Some(Day::from_civil(i32::try_from(year).ok()?, month, day)?.start_ms() + time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_over_four_centuries() {
        let mut day = Day::from_civil(1899, 12, 31).unwrap();
        let (mut year, mut month, mut date) = (1900, 1, 1);
        while year < 2300 {
            day = day.plus(1);
            assert_eq!(day.civil(), (year, month, date));
            assert_eq!(Day::from_civil(year, month, date), Some(day));
            assert_eq!(day.to_string().parse::<Day>(), Ok(day));
            date += 1;
            if date > days_in_month(year, month) {
                date = 1;
                month += 1;
                if month > 12 {
                    month = 1;
                    year += 1;
                }
            }
        }
        assert_eq!(Day::from_civil(1970, 1, 1), Some(Day(0)));
        assert_eq!(Day::from_civil(2000, 3, 1), Some(Day(11_017)));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "2026-1-01",
            "2026-13-01",
            "2026-02-29",
            "2026-00-10",
            "2026-01-00",
            "+026-01-01",
            "2026/01/01",
            "2026-01-01T",
            "２０２６-01-01",
        ] {
            assert_eq!(text.parse::<Day>(), Err(NotADay), "{text}");
        }
    }

    #[test]
    fn time_stamps_are_read_with_fraction_and_offset() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2019-11-11T05:31:46Z", Some(1_573_450_306_000)),
            ("2019-11-11T07:31:46.25+02:00", Some(1_573_450_306_250)),
            ("2019-11-11 00:31:46.123456-05:00", Some(1_573_450_306_123)),
            ("1969-12-31T23:59:59Z", Some(-1_000)),
            ("2016-12-31T23:59:60Z", Some(1_483_228_799_000)),
            ("2019-11-11T05:31:46", None),
            ("2019-11-11T24:00:00Z", None),
            ("2019-11-11T05:31:46.Z", None),
            ("2019-11-11T05:31:46+2:00", None),
            ("2019-11-11T05:31:46Zz", None),
            ("2019-11-11", None),
            ("é019-11-11T05:31:46Z", None),
        ];
        for (text, want) in cases {
            assert_eq!(parse_rfc3339(text), want, "{text}");
        }
        assert_eq!(rfc3339(1_573_450_306_999), "2019-11-11T05:31:46Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn http_dates_are_read() {
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000));
        for text in ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 31 Feb 1994 08:49:37 GMT", "nonsense", ""] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }

    #[test]
    fn months_and_years_begin_where_they_should() {
        let day: Day = "2024-02-29".parse().unwrap();
        assert_eq!(day.month_start().to_string(), "2024-02-01");
        assert_eq!(day.year_start().to_string(), "2024-01-01");
        assert_eq!(Day::of_ms(-1).to_string(), "1969-12-31");
    }
}
