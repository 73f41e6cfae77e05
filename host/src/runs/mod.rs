//! Runs: from the schedule to the commit.
//!
//! `scheduler` claims what is due and keeps a bounded number of runs going; `execute` is one run, from its keys to its last commit; `host` is
//! what a connector sees of this program while it runs; `outcome` is the failure table, a pure function; `apps` pauses and
//! opens an app as a whole; `stops` ends one run by hand; `events` tells pages and commands what goes on. A newcomer follows one run by reading them in that order.

mod apps;
pub mod backoff;
pub mod events;
mod execute;
mod host;
mod identify;
pub mod outcome;
mod scheduler;
pub mod stops;

pub use apps::resume;
pub use host::add;
pub use identify::{IdentifyError, identify};
pub use scheduler::Scheduler;
