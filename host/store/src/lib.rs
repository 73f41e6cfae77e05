//! Everything that Sluice keeps, and the only place that knows SQL.
#![forbid(unsafe_code)]

mod apps;
mod batch;
mod claim;
mod connections;
mod error;
mod ingest;
mod metrics;
mod people;
mod read;
mod runs;
mod store;

pub use apps::{App, AppState};
pub use batch::{Batch, Committed, Counts, Finish, LogLine, Pending, RunOutcome, RunStart};
pub use claim::{Claim, Fence, QuotaRow, Requested};
pub use connections::{Connection, ConnectionFilter, ConnectionState, Credential, DataChoice, Erased, NewCredential, NewLink};
pub use error::{CommitError, MetricChanged, OpenError, StoreError};
pub use ingest::{Ingest, Op, UnknownZone};
pub use metrics::MetricIds;
pub use people::{Audit, Flow, NewUser, Session, Ticket, User};
pub use read::{DailyQuery, DailyView, EntryQuery, EntryView, MetricSummary, Page};
pub use runs::RunView;
pub use store::Store;
