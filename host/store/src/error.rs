//! What can go wrong here, in the words of the person who has to do something about it.
//!
//! Three families: a folder that cannot be opened ([`OpenError`]), a statement that did not happen ([`StoreError`]), and a batch that was
//! not committed ([`CommitError`]). The last is smaller on purpose: a run can only do four different things about it.

use rusqlite::ErrorCode;
use sluice_model::ConnectionId;
use std::path::PathBuf;

/// Why the data folder was not opened. Nothing was written to an existing database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another store of this process, holds the folder.
    #[error(
        "opening {}: another sluice holds this data folder\n  stop it, or let this command act through its socket (it does so by itself when `sluice serve` runs as the same user)\n  one that hangs holds it too: end it first (kill -9 loses nothing that was stored)",
        .0.display()
    )]
    Locked(PathBuf),
    /// Written by a newer Sluice.
    #[error("opening {}: its schema is version {found}, this sluice knows up to {known}\n  run the newer sluice, or restore the backup from before the update", path.display())]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// What it says.
        found: i64,
        /// What this binary knows.
        known: i64,
    },
    /// A database, but not one of Sluice's.
    #[error("opening {}: this is a SQLite database, but not one that sluice made\n  name another data folder", .0.display())]
    NotOurs(PathBuf),
    /// The SQLite in this binary has a bug that can corrupt a WAL.
    #[error(
        "the SQLite in this binary is {found}, older than 3.51.3, which can corrupt a database when the WAL is reset\n  rebuild with the bundled one"
    )]
    OldSqlite {
        /// Its version.
        found: String,
    },
    /// The database refused WAL.
    #[error("opening {}: this file system gives journal mode “{mode}” where WAL is needed\n  put the data folder on a local disk", path.display())]
    NoWal {
        /// The database.
        path: PathBuf,
        /// What it answered.
        mode: String,
    },
    /// WAL needs shared memory and working locks, which network file systems lack.
    #[error("opening {}: it is on a network file system ({kind}), where SQLite loses data\n  put the data folder on a local disk", path.display())]
    NetworkFileSystem {
        /// The folder.
        path: PathBuf,
        /// Which one.
        kind: &'static str,
    },
    /// The operating system said no.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Its answer.
        source: std::io::Error,
    },
    /// SQLite said no.
    #[error("opening {}: {source}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Its answer.
        source: rusqlite::Error,
    },
}

/// Why a call did not happen. Whatever it wanted to write is not written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space left.
    #[error("the disk is full: nothing of this was stored\n  free some space; what waits goes on by itself")]
    Full,
    /// The database cannot be trusted any more; the host exits and recovers by starting again.
    #[error("the store has stopped: {0}\n  sluice exits now; starting it again recovers everything that was acknowledged")]
    Fatal(String),
    /// A constraint said no.
    #[error("the store refused this: {0}")]
    Refused(String),
    /// Something passing; try again later.
    #[error("the store could not do this now: {0}")]
    Transient(String),
    /// Another host has begun its life on this data: this one's is over.
    #[error(
        "another host took this data folder over, so this one stops\n  what it had not committed is fetched again by the other; end the one that should not run: a folder is for one host"
    )]
    TakenOver,
    /// What lies at the database's path is not what was opened.
    #[error(
        "{} is no longer the database that this host opened, so it stops: the data folder was moved, deleted or restored while it ran\n  what was acknowledged until now is in the old file; stop a host before its data folder is touched, and start it again now",
        .0.display()
    )]
    Moved(PathBuf),
    /// [`crate::Store::close`] was called.
    #[error("the store is closed")]
    Closed,
    /// What the call names is not there.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// The same user has linked the same provider account before.
    #[error("this account is linked already (connection {0}): link it again instead of a second time")]
    AlreadyLinked(ConnectionId),
    /// The caller's values make no sense.
    #[error("{0}")]
    Invalid(String),
    /// The lease or the epoch is not the caller's any more.
    #[error("the connection was taken back while this ran: paused, linked again or disconnected")]
    Fenced,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Fatal(text),
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => Self::Refused(text),
            _ => Self::Transient(text),
        }
    }
}

/// Why a batch was not committed. Nothing of it is in the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The lease or the epoch is not the run's any more: stop the run, keep nothing.
    #[error("the connection was taken back while this ran: paused, linked again or disconnected")]
    Fenced,
    /// No space left; the run ends as transient.
    #[error("the disk is full: nothing of this was stored")]
    Full,
    /// The batch itself was refused, or something passing.
    #[error("not committed: {0}")]
    Transient(String),
    /// The store has stopped and the host exits.
    #[error("the store has stopped: {0}")]
    Fatal(String),
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fenced => Self::Fenced,
            StoreError::Full => Self::Full,
            StoreError::Fatal(text) => Self::Fatal(text),
            other => Self::Transient(other.to_string()),
        }
    }
}

/// Why a connector's metrics were not taken over.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricChanged {
    /// A metric kept its name and changed what it means.
    #[error(
        "{connector}: metric “{metric}” changed its {what} from “{was}” to “{now}”\n  what is stored under that name would change its meaning: give the new one a new name"
    )]
    Changed {
        /// The connector.
        connector: String,
        /// The metric.
        metric: String,
        /// unit, kind or identity.
        what: &'static str,
        /// In the store.
        was: String,
        /// In the manifest.
        now: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
