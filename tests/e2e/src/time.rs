//! Clocks that a test moves, and chance that repeats itself.
//!
//! A host and the simulators around it read one clock, which begins at [`NOON`] and goes on in real time: the day is known, whatever day it is where the
//! test runs, and eight hours pass by saying so.

use sluice_sim::Clock;
use std::{sync::Arc, time::Instant};

/// 2026-03-10T12:00:00Z, a Tuesday, ms: no midnight and no change of the clocks is near in the zones that the tests use.
pub const NOON: i64 = 1_773_144_000_000;
/// An hour, ms.
pub const HOUR: i64 = 3_600_000;
/// A day, ms.
pub const DAY: i64 = 24 * HOUR;

/// A clock that begins at noon, goes on in real time, and can be moved.
#[must_use]
pub fn noon() -> Clock {
    let began = Instant::now();
    Clock::from_fn(move || NOON + i64::try_from(began.elapsed().as_millis()).unwrap_or(0))
}

/// The same clock, as a host reads it.
#[must_use]
pub fn for_host(clock: &Clock) -> Arc<dyn sluice_model::Clock> {
    let clock = clock.clone();
    Arc::new(move || clock.now())
}

/// Numbers that look random and are the same for the same seed (SplitMix64).
pub struct Dice(u64);

impl Dice {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}
