//! Time and randomness are passed in. Only the binary's `main` and tests choose where they come from.

/// The wall clock, in ms since the Unix epoch.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> i64;
}

impl<F: Fn() -> i64 + Send + Sync + 'static> Clock for F {
    fn now(&self) -> i64 {
        self()
    }
}

/// Where unpredictable bytes come from: tokens, nonces, ids, jitter.
pub trait Random: Send + Sync + 'static {
    /// Fills the whole buffer.
    fn fill(&self, buf: &mut [u8]);
}
