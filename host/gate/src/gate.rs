//! What all connectors share: clock, resolver, own listeners, TLS settings, and the counts of quotas that a whole app shares.

use crate::egress::{Egress, EgressError, EgressOptions};
use crate::quota::Registry;
use crate::resolve::{OwnListeners, Resolve, SystemResolver};
use crate::tls::{Roots, Tls};
use sluice_model::Clock;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long the parts of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Resolving, dialling and TLS. Default 5 s.
    pub connect: Duration,
    /// From sending to the end of the answer's headers. Default 30 s.
    pub first_byte: Duration,
    /// Between two pieces of the body. Default 15 s.
    pub between_bytes: Duration,
    /// One request with its redirects and short quota waits, so that no drip holds a worker. Default 120 s.
    pub whole: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(30),
            between_bytes: Duration::from_secs(15),
            whole: Duration::from_secs(120),
        }
    }
}

/// How a gate is made.
pub struct GateOptions {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Who turns names into addresses; `None` for the system.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// Where this host itself listens: never dialled.
    pub own_listeners: Vec<SocketAddr>,
    /// How long requests may take.
    pub timeouts: Timeouts,
    /// Certificate authorities beside the machine's.
    pub roots: Roots,
}

impl GateOptions {
    /// A gate with the system's resolver and the default timeouts.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, resolver: None, own_listeners: Vec::new(), timeouts: Timeouts::default(), roots: Roots::default() }
    }
}

pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) own: OwnListeners,
    pub(crate) timeouts: Timeouts,
    pub(crate) tls: Tls,
    pub(crate) quotas: Registry,
}

/// The way out of this host. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    shared: Arc<Shared>,
}

impl Gate {
    /// A gate. Nothing is read or dialled yet.
    #[must_use]
    pub fn new(options: GateOptions) -> Self {
        let GateOptions { clock, resolver, own_listeners, timeouts, roots } = options;
        let shared = Shared {
            clock,
            resolver: resolver.unwrap_or_else(|| Arc::new(SystemResolver)),
            own: OwnListeners::new(own_listeners),
            timeouts,
            tls: Tls::new(roots),
            quotas: Registry::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Adds a place where this host listens, once its port is known.
    pub fn add_own_listener(&self, at: SocketAddr) {
        self.shared.own.add(at);
    }

    /// What one connector may reach under one revision of its grant. Its connections end with it.
    ///
    /// # Errors
    /// An upstream that is no URL prefix.
    pub fn egress(&self, options: EgressOptions) -> Result<Arc<Egress>, EgressError> {
        Egress::new(Arc::clone(&self.shared), options).map(Arc::new)
    }
}
