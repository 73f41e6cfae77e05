//! When a request must be over, for a process that may itself have stood still.
//!
//! The problem: a process that is stopped (by a signal, with its machine, with the one that runs its machine) finds its timers over when it goes on,
//! while the answer came long ago and lies in the socket. To drop it as late would be no loss for a page of data. For the answer to a renewal of a key it
//! is: it may be the only copy of the new one.
//!
//! So a timer that is over by much more than timers are late is no verdict on the provider: what is there already may still be read, once in a request
//! and within a moment. What a provider can do moves nothing here, it has no hand in how late this process wakes up.

use sluice_model::request::FetchError;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Timers of a busy machine are late by milliseconds.
const STOOD_STILL: Duration = Duration::from_millis(250);
/// Enough to read what has arrived.
const MOMENT: Duration = Duration::from_secs(2);

/// The end of a request with all its hops.
pub(crate) struct Deadline {
    at: Instant,
    moved: bool,
}

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        Self { at: Instant::now() + time, moved: false }
    }

    pub(crate) fn is_before(&self, then: Instant) -> bool {
        self.at < then
    }

    /// Waits, `most` at the longest.
    pub(crate) async fn wait<F: Future>(&mut self, most: Duration, future: F) -> Result<F::Output, FetchError> {
        let mut future = pin!(future);
        let until = self.at.min(Instant::now() + most);
        if let Ok(done) = timeout_at(until, &mut future).await {
            return Ok(done);
        }
        if self.moved || until.elapsed() < STOOD_STILL {
            return Err(FetchError::Timeout);
        }
        self.moved = true;
        self.at = self.at.max(Instant::now() + MOMENT);
        timeout(MOMENT, future).await.map_err(|_| FetchError::Timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stops the whole runtime, as a signal stops the process.
    fn stand_still(time: Duration) {
        std::thread::sleep(time);
    }

    #[tokio::test]
    async fn what_came_while_the_process_stood_still_is_read_and_what_comes_after_is_late() {
        let (send, mut came) = tokio::sync::mpsc::channel(8);
        let mut deadline = Deadline::after(Duration::from_millis(200));
        let reading = async {
            // Beside the timer, and after it in the runtime's queue.
            tokio::task::yield_now().await;
            stand_still(Duration::from_millis(600));
            tokio::task::yield_now().await;
            send.send("there already").await.unwrap();
        };
        let (got, ()) = tokio::join!(deadline.wait(Duration::from_secs(60), came.recv()), reading);
        assert_eq!(got, Ok(Some("there already")));
        // The rest of the same answer is read as well, after the old end.
        send.send("and the rest").await.unwrap();
        assert_eq!(deadline.wait(Duration::from_secs(60), came.recv()).await, Ok(Some("and the rest")));
        // Once in a request.
        let mut silent = pin!(deadline.wait(Duration::from_millis(50), came.recv()));
        assert!(timeout(Duration::from_millis(10), &mut silent).await.is_err());
        stand_still(Duration::from_millis(600));
        let before = Instant::now();
        assert_eq!(silent.await, Err(FetchError::Timeout));
        assert!(before.elapsed() < MOMENT);
    }

    #[tokio::test]
    async fn a_provider_that_is_silent_or_drips_gains_nothing() {
        let mut deadline = Deadline::after(Duration::from_millis(300));
        let from = Instant::now();
        let mut pieces = 0;
        while deadline.wait(Duration::from_millis(100), tokio::time::sleep(Duration::from_millis(20))).await.is_ok() {
            pieces += 1;
        }
        assert!(pieces > 0 && from.elapsed() < MOMENT, "{pieces} pieces in {:?}", from.elapsed());
        assert_eq!(deadline.wait(Duration::from_secs(60), std::future::pending::<()>()).await, Err(FetchError::Timeout));
    }
}
