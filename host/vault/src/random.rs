//! The operating system's randomness. Tests pass in their own.

use sluice_model::time::Random;

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, buf: &mut [u8]) {
        if let Err(why) = getrandom::fill(buf) {
            // Going on would mean predictable nonces and session ids, and there is no caller who could mend it.
            eprintln!(
                "sluice: asked the operating system for randomness, which failed ({why}); ending, since nothing secret can be made without it"
            );
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut a, mut b) = ([0u8; 32], [0u8; 32]);
        OsRandom.fill(&mut a);
        OsRandom.fill(&mut b);
        assert_ne!(a, b);
        assert_ne!(a, [0u8; 32]);
    }
}
