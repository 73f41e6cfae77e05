//! When to come again: capped exponential back-off with full jitter for what may pass by itself, a little jitter for what is regular.
//!
//! Full jitter (a uniform draw up to the cap) spreads the connections of an outage over the whole window; its floor keeps a lucky draw from
//! hammering.

use sluice_model::time::Random;

/// Never sooner than this after a failure.
pub const FLOOR_MS: i64 = 60_000;
/// Never later than this after a failure.
pub const CEILING_MS: i64 = 6 * 3_600_000;

/// A uniform draw from `0..=max`.
fn draw(random: &dyn Random, max: i64) -> i64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    // The bias of a 64-bit remainder over a few hours is far below what jitter needs.
    i64::try_from(u64::from_le_bytes(bytes) % (max.max(0).unsigned_abs() + 1)).unwrap_or(0)
}

/// Ms to wait after the `attempts`-th failure in a row (from 1).
pub fn after_failure(random: &dyn Random, attempts: u32) -> i64 {
    let cap = FLOOR_MS.saturating_mul(1_i64 << attempts.min(12)).min(CEILING_MS);
    FLOOR_MS + draw(random, cap - FLOOR_MS)
}

/// The regular interval, moved by up to a twentieth either way, so that connections linked together drift apart.
pub fn regular(random: &dyn Random, every_ms: i64) -> i64 {
    let twentieth = every_ms / 20;
    every_ms - twentieth + draw(random, 2 * twentieth)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);
    impl Random for Fixed {
        fn fill(&self, buf: &mut [u8]) {
            for (slot, byte) in buf.iter_mut().zip(self.0.to_le_bytes().iter().cycle()) {
                *slot = *byte;
            }
        }
    }

    #[test]
    fn failures_wait_between_a_minute_and_six_hours() {
        for attempts in 0..40 {
            for seed in [0, 1, 59_999, 60_000, u64::MAX / 3, u64::MAX] {
                let wait = after_failure(&Fixed(seed), attempts);
                assert!((FLOOR_MS..=CEILING_MS).contains(&wait), "{attempts} {seed}: {wait}");
            }
        }
        assert!(after_failure(&Fixed(u64::MAX), 1) <= 2 * FLOOR_MS);
    }

    #[test]
    fn the_regular_interval_moves_by_a_twentieth_at_most() {
        for seed in [0, 7, u64::MAX, 123_456_789] {
            let wait = regular(&Fixed(seed), 3_600_000);
            assert!((3_420_000..=3_780_000).contains(&wait), "{wait}");
        }
    }
}
