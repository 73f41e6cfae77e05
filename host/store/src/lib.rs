//! Everything that Sluice keeps, and the only place that knows SQL.
//!
//! The problem: entries from many connections arrive in bursts, are mostly the same as last time, come late and out of order, and every one
//! that was acknowledged must survive a kill at any instant. The contract is [`Batch`]: entries, cursor, connector state, the run's row and
//! what is next are committed as one, or not at all, and only by the run that holds the lease. What callers hand over is plain data; no
//! closure and no SQL crosses this crate's edge.
//!
//! | part | idea |
//! | --- | --- |
//! | [`Ingest`] | judging, days, hashing, sorting: off the writer's thread |
//! | `writer` | one thread gathers what waits into one durable commit |
//! | `apply`, `merge`, `tally`, `days` | a batch: fence, one range scan, counters by series and day |
//! | `claim`, `schedule` | leases on what is due, from an index, fair between apps and users; hosts that live and die |
//! | `approvals` | which bytes of a connector the operator accepted |
//! | `people`, `apps`, `connections`, `credentials`, `revocations` | who, through what, to what, with which keys, and giving them back |
//! | `entries`, `read`, `runs` | a page at a time, on connections of their own |
//! | `erase` | leaving, in slices, so that nothing of it is in any file |
//! | `open` | what is refused, and how a database begins |
//! | `survey` | a data folder looked at, and not opened |
#![forbid(unsafe_code)]

mod apply;
mod approvals;
mod apps;
mod batch;
mod claim;
mod connections;
mod credentials;
mod days;
mod entries;
mod erase;
mod error;
#[cfg(test)]
mod faults;
mod ingest;
mod keys;
mod merge;
mod metrics;
mod names;
mod open;
mod people;
mod read;
mod revocations;
mod runs;
mod schedule;
mod share;
mod store;
mod survey;
mod tally;
mod writer;

pub use approvals::{Approval, ApprovalState, Candidate, Decided};
pub use apps::{App, AppState};
pub use batch::{Batch, Committed, Counts, Finish, LogLine, Pending, RunOutcome, RunStart, Used};
pub use claim::{Claim, Fence, QuotaRow};
pub use connections::{Connection, ConnectionFilter, ConnectionState, NewLink};
pub use credentials::{Credential, NewCredential};
pub use entries::{EntryQuery, EntryView, Page};
pub use erase::{DataChoice, Erased};
pub use error::{CommitError, MetricChanged, OpenError, StoreError};
pub use ingest::{Ingest, Op, UnknownZone};
pub use metrics::MetricIds;
pub use people::{Audit, Flow, NewUser, Session, Ticket, User};
pub use read::{DailyQuery, DailyView, MetricSummary};
pub use revocations::{NewRevocation, Revocation};
pub use runs::RunView;
pub use schedule::{NO_CONNECTOR, Requested, Waiting};
pub use share::Held;
pub use store::Store;
pub use survey::{Database, Survey, survey};
