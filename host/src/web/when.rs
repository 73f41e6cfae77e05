//! Instants in words: "in 12 minutes" to be read, the exact time in the reader's zone beside it, the same for programs in `datetime`.

use super::markup::escape;
use jiff::{Timestamp, tz::TimeZone};
use std::fmt;

/// The reader's clock: what time it is, and where they live.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Now, ms since the epoch.
    pub now: i64,
    zone: TimeZone,
}

impl Reader {
    /// A reader in the IANA zone of that name; UTC where this host does not know it.
    #[must_use]
    pub fn new(now: i64, zone: &str) -> Self {
        Self { now, zone: TimeZone::get(zone).unwrap_or(TimeZone::UTC) }
    }

    /// An instant as an HTML `time` element.
    #[must_use]
    pub fn when(&self, at: i64) -> When {
        When { words: relative(self.now, at), exact: self.exact(at), machine: machine(at) }
    }

    /// Date, time and zone.
    #[must_use]
    pub fn exact(&self, at: i64) -> String {
        match Timestamp::from_millisecond(at) {
            Ok(at) => at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
            Err(_) => at.to_string(),
        }
    }

    /// Date and time to the minute, for tables in which the zone is clear.
    #[must_use]
    pub fn minute(&self, at: i64) -> String {
        match Timestamp::from_millisecond(at) {
            Ok(at) => at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string(),
            Err(_) => at.to_string(),
        }
    }

    /// The same as [`Reader::minute`], as a `time` element whose words are the date.
    #[must_use]
    pub fn dated(&self, at: i64) -> When {
        When { words: self.minute(at), exact: self.exact(at), machine: machine(at) }
    }
}

/// UTC, as `datetime` and downloads want it.
#[must_use]
pub fn machine(at: i64) -> String {
    Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| at.to_string())
}

/// "in 12 minutes", "3 hours ago", "just now".
#[must_use]
pub fn relative(now: i64, at: i64) -> String {
    let distance = at.abs_diff(now);
    let future = at > now;
    if distance < 10_000 {
        return if future { "in a moment".to_owned() } else { "just now".to_owned() };
    }
    let text = span(distance);
    if future { format!("in {text}") } else { format!("{text} ago") }
}

/// A length of time, in its largest unit.
#[must_use]
pub fn span(ms: u64) -> String {
    const UNITS: [(u64, &str); 6] =
        [(365 * 86_400, "year"), (30 * 86_400, "month"), (7 * 86_400, "week"), (86_400, "day"), (3_600, "hour"), (60, "minute")];
    let seconds = (ms + 500) / 1_000;
    for (size, name) in UNITS {
        // “In 1 hour” would be said of anything up to two: 95 minutes say more. Seconds are not worth counting beyond a minute.
        let from = if name == "minute" { size } else { 2 * size };
        if seconds >= from {
            return counted(seconds / size, name);
        }
    }
    counted(seconds, "second")
}

/// How long a run took: milliseconds, seconds, then minutes and seconds.
#[must_use]
pub fn duration(ms: i64) -> String {
    let ms = ms.max(0);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

/// "1 day", "2 days".
#[must_use]
pub fn counted(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// An instant, ready for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// For reading.
    pub words: String,
    /// In the reader's zone.
    pub exact: String,
    /// UTC.
    pub machine: String,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (words, exact, machine) = (escape(&self.words), escape(&self.exact), escape(&self.machine));
        write!(f, "<time datetime=\"{machine}\" title=\"{exact}\">{words}</time>")
    }
}

impl askama::filters::HtmlSafe for When {}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;

    #[test]
    fn distances_read_as_people_say_them() {
        for (ahead, words) in [
            (0, "just now"),
            (-4 * SECOND, "just now"),
            (4 * SECOND, "in a moment"),
            (30 * SECOND, "in 30 seconds"),
            (MINUTE, "in 1 minute"),
            (12 * MINUTE, "in 12 minutes"),
            (-3 * HOUR, "3 hours ago"),
            (95 * MINUTE, "in 95 minutes"),
            (-DAY, "24 hours ago"),
            (-2 * DAY, "2 days ago"),
            (-8 * DAY, "8 days ago"),
            (-14 * DAY, "2 weeks ago"),
            (-61 * DAY, "2 months ago"),
            (-400 * DAY, "13 months ago"),
            (-800 * DAY, "2 years ago"),
        ] {
            assert_eq!(relative(1_000_000_000_000, 1_000_000_000_000 + ahead), words, "{ahead}");
        }
    }

    #[test]
    fn durations_read_at_their_own_scale() {
        for (ms, text) in [(0, "0 ms"), (999, "999 ms"), (1_250, "1.2 s"), (61_000, "1 min 1 s"), (-5, "0 ms")] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn an_instant_is_shown_where_the_reader_lives() {
        let noon = 1_795_262_400_000;
        let reader = Reader::new(noon, "Europe/Vienna");
        assert_eq!(
            reader.when(noon + 12 * MINUTE).to_string(),
            "<time datetime=\"2026-11-21T12:12:00Z\" title=\"2026-11-21 13:12:00 CET\">in 12 minutes</time>"
        );
        assert_eq!(reader.dated(noon).words, "2026-11-21 13:00");
        assert_eq!(Reader::new(0, "Nowhere/At_All").exact(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(Reader::new(0, "America/New_York").minute(0), "1969-12-31 19:00");
    }

    #[test]
    fn an_impossible_instant_is_shown_as_its_number() {
        assert_eq!(Reader::new(0, "UTC").exact(i64::MAX), i64::MAX.to_string());
    }
}
