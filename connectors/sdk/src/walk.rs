//! A long history in windows, newest first, resumable at any instant.
//!
//! People want to see this week before they see 2009, and a run can be killed at any moment: so a walk is a list of spans that are still to
//! do, kept in the cursor. Each step takes a window off the upper end of the newest span; when its entries are recorded the span shrinks,
//! and the two are committed together by the checkpoint that follows. A later run pushes what is new on top and goes on below where the
//! last one stopped.
//!
//! Bounds: at most [`MAX_SPANS`] spans; where more would pile up the two oldest are joined, which reads a stretch twice and loses nothing.

use crate::day::Day;
use serde::{Deserialize, Serialize};

/// Each interrupted run leaves one span at most, and three of them are one too many already; eight leave room and keep a cursor under 400
/// bytes.
pub const MAX_SPANS: usize = 8;

/// A half-open stretch `[from, to)`, in whatever unit its owner counts: ms for instants, days for civil days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Its first moment.
    pub from: i64,
    /// Past its last.
    pub to: i64,
}

impl Span {
    /// Its first day and the one past its last, where it counts days.
    #[must_use]
    pub fn days(self) -> (Day, Day) {
        (day(self.from), day(self.to))
    }
}

/// What is still to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Walk {
    /// Oldest first; the newest is walked first.
    spans: Vec<Span>,
}

impl Walk {
    /// Nothing to do.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether everything is read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.spans.is_empty()
    }

    /// Adds a stretch on top. What it overlaps is not read twice: older spans are cut back to where it begins.
    pub fn push(&mut self, from: i64, to: i64) {
        if from >= to {
            return;
        }
        for span in &mut self.spans {
            span.to = span.to.min(from);
        }
        self.spans.retain(|span| span.from < span.to);
        self.spans.push(Span { from, to });
        while self.spans.len() > MAX_SPANS {
            let oldest = self.spans.remove(0);
            if let Some(next) = self.spans.first_mut() {
                next.from = oldest.from;
            }
        }
    }

    /// The same for a walk over civil days: from the first day up to, not including, the other.
    pub fn push_days(&mut self, from: Day, to: Day) {
        self.push(i64::from(from.0), i64::from(to.0));
    }

    /// The next window: the upper end of the newest span, down to what `start_of` answers for it (or to the span's beginning, if that is
    /// later). The walk itself moves only with [`Walk::finish`].
    #[must_use]
    pub fn next(&self, start_of: impl Fn(i64) -> i64) -> Option<Span> {
        let span = self.spans.last()?;
        let from = start_of(span.to).clamp(span.from, span.to - 1);
        Some(Span { from, to: span.to })
    }

    /// Everything of the newest span from `from` upwards has been read.
    pub fn finish(&mut self, from: i64) {
        if let Some(span) = self.spans.last_mut() {
            span.to = span.to.min(from);
            if span.from >= span.to {
                self.spans.pop();
            }
        }
    }
}

/// The beginning of the UTC month that holds the last instant before `end_ms`: for [`Walk::next`] over instants.
#[must_use]
pub fn month_of(end_ms: i64) -> i64 {
    Day::of_ms(end_ms - 1).month_start().start_ms()
}

/// The first day of the year that holds the last day before `end`: for [`Walk::next`] over civil days.
#[must_use]
pub fn year_of(end: i64) -> i64 {
    i64::from(day(end.saturating_sub(1)).year_start().0)
}

/// A number of days as a day; numbers that no calendar has end at its last.
fn day(number: i64) -> Day {
    Day(number.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
}

/// The middle of a window, for a window that holds too much; `None` once it cannot be cut.
#[must_use]
pub fn upper_half(span: Span, least: i64) -> Option<Span> {
    let length = span.to - span.from;
    (length >= 2 * least.max(1)).then_some(Span { from: span.from + length / 2, to: span.to })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::day::DAY;

    fn ms(day: &str) -> i64 {
        day.parse::<Day>().unwrap().start_ms()
    }

    #[test]
    fn months_are_walked_from_the_newest_to_the_oldest() {
        let mut walk = Walk::new();
        walk.push(ms("2025-11-15"), ms("2026-01-10"));
        let mut seen = Vec::new();
        while let Some(span) = walk.next(month_of) {
            seen.push((Day::of_ms(span.from).to_string(), Day::of_ms(span.to).to_string()));
            walk.finish(span.from);
        }
        let want = [("2026-01-01", "2026-01-10"), ("2025-12-01", "2026-01-01"), ("2025-11-15", "2025-12-01")];
        assert_eq!(seen, want.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert!(walk.is_done());
    }

    #[test]
    fn an_interrupted_walk_goes_on_below_what_came_later() {
        let mut walk = Walk::new();
        walk.push(0, 100 * DAY);
        walk.finish(60 * DAY);
        walk.push(95 * DAY, 110 * DAY);
        assert_eq!(walk.next(|_| 0), Some(Span { from: 95 * DAY, to: 110 * DAY }));
        walk.finish(95 * DAY);
        assert_eq!(walk.next(|_| 0), Some(Span { from: 0, to: 60 * DAY }));
        walk.push(50 * DAY, 120 * DAY);
        walk.finish(50 * DAY);
        assert_eq!(walk.next(|_| 0), Some(Span { from: 0, to: 50 * DAY }), "what lies below the new span is not read twice");
    }

    #[test]
    fn spans_never_pile_up_and_none_is_lost() {
        let mut walk = Walk::new();
        for n in 0..50 {
            walk.push(n * 10, n * 10 + 5);
        }
        assert_eq!(walk.spans.len(), MAX_SPANS);
        let mut covered = vec![false; 500];
        while let Some(span) = walk.next(|_| i64::MIN) {
            (span.from..span.to).for_each(|n| covered[n as usize] = true);
            walk.finish(span.from);
        }
        for n in 0..50 {
            assert!((n * 10..n * 10 + 5).all(|m| covered[m]), "{n}");
        }
    }

    #[test]
    fn years_and_halves() {
        let day = |text: &str| i64::from(text.parse::<Day>().unwrap().0);
        let mut walk = Walk::new();
        walk.push_days("2025-12-30".parse().unwrap(), "2026-01-02".parse().unwrap());
        let (first, past) = walk.next(year_of).unwrap().days();
        assert_eq!((first.to_string(), past.to_string()), ("2026-01-01".to_owned(), "2026-01-02".to_owned()));
        assert_eq!(year_of(day("2026-01-01")), day("2025-01-01"));
        assert_eq!(year_of(day("2026-11-22")), day("2026-01-01"));
        assert_eq!(upper_half(Span { from: 0, to: 10 }, 1), Some(Span { from: 5, to: 10 }));
        assert_eq!(upper_half(Span { from: 0, to: 1 }, 1), None);
    }
}
