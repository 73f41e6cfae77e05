//! The civil day that an entry counts for.
//!
//! The problem: "steps on Tuesday" means the person's Tuesday, and instants have none. The contract, in order: the day that the connector names; the day
//! that the moment itself is; the day at the offset that the provider recorded; the day in the person's own zone. It is resolved when the entry is
//! written and kept, so that a person who moves doubles no day and loses none. Zones come from the system's database, else from the one built in; a
//! zone that neither knows is an error where it is configured, never here.

use crate::moment::{Day, Moment};
use jiff::Timestamp;
use jiff::tz::TimeZone;

const DAY_MS: i64 = 86_400_000;

/// An IANA time zone that is known to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// A text that is no time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no time zone that this host knows: write an IANA name such as Europe/Berlin, or UTC")]
pub struct UnknownZone(pub String);

impl Zone {
    /// The zone of that IANA name.
    ///
    /// # Errors
    /// Neither the system's database nor the built-in one has it.
    pub fn find(name: &str) -> Result<Self, UnknownZone> {
        let unknown = || UnknownZone(name.chars().filter(|c| !c.is_control()).take(64).collect());
        let plausible = !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b));
        if !plausible {
            return Err(unknown());
        }
        TimeZone::get(name).map(Self).map_err(|_| unknown())
    }

    /// Its IANA name, as the database spells it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The zone's offset from UTC at an instant, in seconds; `None` for instants beyond the calendar.
    #[must_use]
    pub fn offset_seconds(&self, instant_ms: i64) -> Option<i32> {
        Timestamp::from_millisecond(instant_ms).ok().map(|at| self.0.to_offset(at).seconds())
    }

    /// The day of an instant in this zone.
    #[must_use]
    pub fn day(&self, instant_ms: i64) -> Option<Day> {
        floor_day(instant_ms.checked_add(i64::from(self.offset_seconds(instant_ms)?) * 1000)?)
    }
}

/// Whether a text is a time zone that this host knows.
#[must_use]
pub fn is_time_zone(name: &str) -> bool {
    Zone::find(name).is_ok()
}

/// The day that a moment counts for.
///
/// # Errors
/// An explicit day that is none, or an instant beyond the calendar.
pub fn civil_day(moment: &Moment, offset_minutes: Option<i16>, explicit_day: Option<&str>, zone: &Zone) -> Result<Day, String> {
    if let Some(text) = explicit_day {
        return text.parse().map_err(|error: crate::moment::NotADay| error.to_string());
    }
    let day = match (moment, offset_minutes) {
        (Moment::Day(day), _) => Some(*day),
        (Moment::Instant(ms), Some(minutes)) => ms.checked_add(i64::from(minutes) * 60_000).and_then(floor_day),
        (Moment::Instant(ms), None) => zone.day(*ms),
    };
    day.ok_or_else(|| "the instant is beyond the calendar".to_owned())
}

fn floor_day(local_ms: i64) -> Option<Day> {
    i32::try_from(local_ms.div_euclid(DAY_MS)).ok().map(Day)
}
