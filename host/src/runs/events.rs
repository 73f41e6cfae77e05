//! What runs are doing, told to whoever waits: a page, a command. Nothing depends on anybody listening.

use sluice_model::ConnectionId;
use sluice_store::Counts;
use tokio::sync::broadcast;

/// Events that a slow listener may fall behind by before it misses some.
const BACKLOG: usize = 1024;

/// Something that happened to a run.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEvent {
    /// It began.
    Started {
        /// Whose.
        connection: ConnectionId,
    },
    /// The connector said how far it is.
    Progress {
        /// Whose.
        connection: ConnectionId,
        /// So many done.
        done: u64,
        /// Of so many.
        total: Option<u64>,
    },
    /// It ended and its last commit is durable.
    Finished {
        /// Whose.
        connection: ConnectionId,
        /// `complete`, `more`, or the failure's kind.
        outcome: String,
        /// For people, when it failed.
        message: Option<String>,
        /// The five counts of the whole run.
        counts: Counts,
        /// Wall time, ms.
        took_ms: i64,
        /// Whether it goes on at once.
        more: bool,
    },
}

impl RunEvent {
    /// Whose it is.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        match self {
            Self::Started { connection } | Self::Progress { connection, .. } | Self::Finished { connection, .. } => *connection,
        }
    }
}

/// The channel.
pub struct RunEvents(broadcast::Sender<RunEvent>);

impl Default for RunEvents {
    fn default() -> Self {
        Self::new()
    }
}

impl RunEvents {
    /// A channel nobody listens to yet.
    #[must_use]
    pub fn new() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }

    /// Everything from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<RunEvent> {
        self.0.subscribe()
    }

    pub(crate) fn send(&self, event: RunEvent) {
        // Nobody listening is the usual case.
        let _ = self.0.send(event);
    }
}
