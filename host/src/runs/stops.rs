//! Stopping one run by hand: what it committed stays, what it had not is dropped whole, and it comes again on schedule.

use sluice_model::ConnectionId;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio_util::sync::CancellationToken;

/// The runs that go on in this host, each with what stops it.
#[derive(Default)]
pub struct Stops(Mutex<HashMap<ConnectionId, CancellationToken>>);

impl Stops {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run begins. A connection runs once at a time, so one that is here already has lost its lease.
    pub(super) fn began(&self, connection: ConnectionId, stop: CancellationToken) {
        self.lock().insert(connection, stop);
    }

    pub(super) fn ended(&self, connection: ConnectionId) {
        self.lock().remove(&connection);
    }

    /// Asks the run of this connection to stop; false when none goes on.
    pub fn stop(&self, connection: ConnectionId) -> bool {
        match self.lock().get(&connection) {
            Some(stop) => {
                stop.cancel();
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_run_that_was_meant_stops() {
        let stops = Stops::default();
        let (one, other) = (CancellationToken::new(), CancellationToken::new());
        stops.began(ConnectionId(1), one.clone());
        stops.began(ConnectionId(2), other.clone());
        assert!(stops.stop(ConnectionId(1)));
        assert!(one.is_cancelled() && !other.is_cancelled());
        stops.ended(ConnectionId(1));
        assert!(!stops.stop(ConnectionId(1)), "it is over");
    }
}
