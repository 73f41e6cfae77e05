//! The simulator's clock: the machine's time, or a test's, plus an offset that a test may move.
//!
//! Providers' time decides when tokens end, windows of limits restart and codes lapse. A test that waits eight real hours for a token to end
//! proves nothing more than one that moves the clock, so everything here reads this clock and nothing reads the system's.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock in milliseconds since 1970, shared by all that hold a clone of it.
#[derive(Clone)]
pub struct Clock {
    base: Arc<dyn Fn() -> i64 + Send + Sync>,
    offset: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's time.
    pub fn system() -> Clock {
        Clock::from_fn(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
    }

    /// The machine's time moved by so many milliseconds.
    pub fn shifted(offset: i64) -> Clock {
        let clock = Clock::system();
        clock.advance(offset);
        clock
    }

    /// A clock that stands still until it is advanced.
    pub fn fixed(now: i64) -> Clock {
        Clock::from_fn(move || now)
    }

    /// Whatever the function says: a test hands in the clock that its host uses, so that both agree.
    pub fn from_fn(base: impl Fn() -> i64 + Send + Sync + 'static) -> Clock {
        Clock { base: Arc::new(base), offset: Arc::new(AtomicI64::new(0)) }
    }

    /// Milliseconds since 1970.
    pub fn now(&self) -> i64 {
        (self.base)().saturating_add(self.offset.load(Ordering::SeqCst))
    }

    /// Moves the clock, forwards or back, for everyone who holds it.
    pub fn advance(&self, milliseconds: i64) {
        self.offset.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::system()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}
