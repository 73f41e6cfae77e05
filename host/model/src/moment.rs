//! When something was: an instant, or a civil day that has no time zone.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A civil day, as days since 1970-01-01 (negative before). Displayed and parsed as `2026-11-21`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(self.0)) {
            Ok(date) => write!(f, "{date}"),
            Err(_) => write!(f, "day {}", self.0),
        }
    }
}

/// A text that is no civil day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no day: write it as 2026-11-21")]
pub struct NotADay(pub String);

impl std::str::FromStr for Day {
    type Err = NotADay;
    fn from_str(text: &str) -> Result<Self, NotADay> {
        let wrong = || NotADay(text.chars().take(40).collect());
        let digits = |range: std::ops::Range<usize>| {
            let part = text.get(range)?;
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<i16>().ok()).flatten()
        };
        let dashes = text.len() == 10 && text.as_bytes().get(4) == Some(&b'-') && text.as_bytes().get(7) == Some(&b'-');
        let (true, Some(year), Some(month), Some(day)) = (dashes, digits(0..4), digits(5..7), digits(8..10)) else { return Err(wrong()) };
        let small = |n: i16| i8::try_from(n).unwrap_or(0);
        let date = jiff::civil::Date::new(year, small(month), small(day)).map_err(|_| wrong())?;
        Ok(Self::from_date(date))
    }
}

impl Day {
    /// The day of a civil date.
    #[must_use]
    pub fn from_date(date: jiff::civil::Date) -> Self {
        let epoch = jiff::civil::date(1970, 1, 1);
        Self(date.duration_since(epoch).as_hours() as i32 / 24)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An instant in ms since 1970-01-01T00:00:00Z, or a civil day as the provider names it. A day is not a midnight: it has no time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Moment {
    /// Milliseconds since the Unix epoch.
    Instant(i64),
    /// A civil day.
    Day(Day),
}
