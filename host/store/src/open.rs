//! Opening a data folder: what is refused, and how a database begins.
//!
//! Everything that could make an acknowledged commit a lie is refused before the first statement: a SQLite with a known corruption bug, a
//! network file system (no shared memory, unreliable locks), a file system without WAL, a folder that another process writes to, a schema
//! that only a newer binary understands. A refusal changes nothing on the disk, save an empty folder and lock file where there were none.
//!
//! What is set at creation stays: `auto_vacuum = INCREMENTAL` gives erased pages back to the file system, `secure_delete = ON` (set on every
//! connection) overwrites what is deleted, so that "delete my data" is true of the file's bytes too.

use crate::{OpenError, StoreError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The database's file in the data folder.
pub(crate) const DATABASE: &str = "sluice.db";
/// The file whose lock says that the folder is held.
const LOCK: &str = "sluice.lock";
/// "SLUI": tells `file` and us whose database it is.
pub(crate) const APPLICATION_ID: i64 = 0x534C_5549;
/// The first SQLite without the WAL-reset bug.
pub(crate) const OLDEST_SQLITE: i32 = 3_051_003;
/// Each schema version's step from the one before; the first is the whole of version 1.
pub(crate) const MIGRATIONS: [&str; 3] = [include_str!("schema.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];
/// Statements kept prepared on a connection: all that this crate has fit.
const STATEMENTS: usize = 256;
/// Only our own connections touch the file, and they wait for each other only around WAL resets.
pub(crate) const BUSY: Duration = Duration::from_secs(10);

/// The folder's locks, held while this lives.
pub(crate) struct Held {
    _file: File,
    /// Of the folder itself: a file can be deleted by whoever takes it for a leftover, the folder that has the data in it cannot.
    #[cfg(unix)]
    _folder: File,
}

/// Takes the folder: makes it when it is new, refuses network file systems, locks it.
pub(crate) fn hold(dir: &Path) -> Result<Held, OpenError> {
    make_folder(dir)?;
    if let Some(kind) = network_file_system(dir)? {
        return Err(OpenError::NetworkFileSystem { path: dir.to_owned(), kind });
    }
    let path = dir.join(LOCK);
    let file = private().create(true).truncate(false).read(true).write(true).open(&path).map_err(io("making the lock", &path))?;
    lock(&file, &path, dir)?;
    #[cfg(unix)]
    let folder = File::open(dir).map_err(io("opening", dir))?;
    #[cfg(unix)]
    lock(&folder, dir, dir)?;
    Ok(Held {
        _file: file,
        #[cfg(unix)]
        _folder: folder,
    })
}

fn lock(file: &File, path: &Path, dir: &Path) -> Result<(), OpenError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::Locked(dir.to_owned()),
        TryLockError::Error(source) => OpenError::Io { doing: "locking", path: path.to_owned(), source },
    })
}

/// Which file a database is, whatever its name becomes.
#[derive(Clone)]
pub(crate) struct Place {
    path: PathBuf,
    file: (u64, u64),
}

impl Place {
    /// Of the database in a folder, right after it was opened.
    pub(crate) fn of(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(DATABASE);
        let file = identity(&path).map_err(io("looking at", &path))?;
        Ok(Self { path, file })
    }

    /// Whether the path still leads to that file. What is written to one that nobody can open again is lost.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match identity(&self.path) {
            Ok(file) if file == self.file => Ok(()),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::Transient(format!("{}: {error}", self.path.display())))
            }
            _ => Err(StoreError::Moved(self.path.clone())),
        }
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|_| (0, 0))
}

/// The writer's connection, with the schema as this binary knows it.
pub(crate) fn writer(dir: &Path) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(OpenError::OldSqlite { found: rusqlite::version().to_owned() });
    }
    let path = dir.join(DATABASE);
    // Made by us, so that nobody else can read it; SQLite gives the WAL the same mode.
    private().create(true).truncate(false).read(true).write(true).open(&path).map_err(io("making the database", &path))?;
    let sqlite = |source| OpenError::Sqlite { path: path.clone(), source };
    let conn = Connection::open_with_flags(&path, flags()).map_err(sqlite)?;
    settle(&conn).map_err(sqlite)?;
    judge(&conn, &path)?;
    conn.execute_batch("PRAGMA auto_vacuum = INCREMENTAL").map_err(sqlite)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(sqlite)?;
    if mode != "wal" {
        return Err(OpenError::NoWal { path, mode });
    }
    // The checkpointer copies the WAL back, on its own connection; a commit never pays for it. The cache is small on purpose: a commit whose pages
    // were reordered on their way (most are) has SQLite look at every page of it, and what it lacks the system has.
    conn.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0;
         PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF",
    )
    .map_err(sqlite)?;
    migrate(&conn).map_err(sqlite)?;
    Ok(conn)
}

/// A connection that only reads.
pub(crate) fn reader(dir: &Path) -> Result<Connection, rusqlite::Error> {
    let conn = Connection::open_with_flags(dir.join(DATABASE), flags())?;
    settle(&conn)?;
    conn.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF")?;
    Ok(conn)
}

/// The checkpointer's connection.
pub(crate) fn checkpointer(dir: &Path) -> Result<Connection, rusqlite::Error> {
    let conn = Connection::open_with_flags(dir.join(DATABASE), flags())?;
    settle(&conn)?;
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0")?;
    Ok(conn)
}

/// What every connection of ours has: plans that do not depend on the values bound, or SQLite would compile statements anew at each binding
/// that it compares with a partial index.
fn settle(conn: &Connection) -> Result<(), rusqlite::Error> {
    conn.busy_timeout(BUSY)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Is this database ours, and not of a newer Sluice?
fn judge(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(sqlite)?;
    let application: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(sqlite)?;
    let objects: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(sqlite)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if objects > 0 && application != APPLICATION_ID {
        return Err(OpenError::NotOurs(path.to_owned()));
    }
    if version > known {
        return Err(OpenError::NewerSchema { path: path.to_owned(), found: version, known });
    }
    Ok(())
}

/// Takes the schema to this binary's version, one transaction a step.
fn migrate(conn: &Connection) -> Result<(), rusqlite::Error> {
    let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for (step, sql) in (1_i64..).zip(MIGRATIONS).filter(|(step, _)| *step > found) {
        let done = conn.execute_batch(&format!(
            "BEGIN IMMEDIATE; {sql}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {step}; COMMIT"
        ));
        if let Err(error) = done {
            if !conn.is_autocommit() {
                conn.execute_batch("ROLLBACK")?;
            }
            return Err(error);
        }
    }
    Ok(())
}

fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> OpenError + 'a {
    move |source| OpenError::Io { doing, path: path.to_owned(), source }
}

#[cfg(unix)]
fn private() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(not(unix))]
fn private() -> OpenOptions {
    OpenOptions::new()
}

#[cfg(unix)]
fn make_folder(dir: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io("making the data folder", dir))
}

#[cfg(not(unix))]
fn make_folder(dir: &Path) -> Result<(), OpenError> {
    std::fs::create_dir_all(dir).map_err(io("making the data folder", dir))
}

/// File systems whose memory maps or locks reach only one machine, by the number that `statfs` gives them (Linux, `magic.h`).
#[cfg(target_os = "linux")]
const NETWORK: [(u32, &str); 13] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFE53_4D42, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0x0102_1997, "9P"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00C3_6400, "Ceph"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
];

#[cfg(target_os = "linux")]
pub(crate) fn network_file_system(dir: &Path) -> Result<Option<&'static str>, OpenError> {
    let found = rustix::fs::statfs(dir).map_err(|error| io("looking at the file system of", dir)(error.into()))?;
    // The type is a C long, sign-extended from 32 bits on some platforms.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "magic numbers have 32 bits")]
    Ok(kind_of(found.f_type as u32))
}

#[cfg(target_os = "linux")]
fn kind_of(magic: u32) -> Option<&'static str> {
    NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, kind)| *kind)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn network_file_system(_dir: &Path) -> Result<Option<&'static str>, OpenError> {
    // Elsewhere the WAL test decides.
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn network_file_systems_are_known_by_their_number() {
        assert_eq!(kind_of(0x6969), Some("NFS"));
        assert_eq!(kind_of(0xFF53_4D42), Some("CIFS"));
        assert_eq!(kind_of(0xEF53), None, "ext4 is local");
        assert_eq!(kind_of(0x0102_1994), None, "tmpfs is local");
    }

    #[test]
    fn a_database_that_is_not_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        Connection::open(dir.path().join(DATABASE)).unwrap().execute_batch("CREATE TABLE shopping (item)").unwrap();
        let before = std::fs::read(dir.path().join(DATABASE)).unwrap();
        assert!(matches!(writer(dir.path()), Err(OpenError::NotOurs(_))));
        assert_eq!(std::fs::read(dir.path().join(DATABASE)).unwrap(), before);
    }

    #[test]
    fn a_new_database_is_set_up_to_forget() {
        let dir = tempfile::tempdir().unwrap();
        let conn = writer(dir.path()).unwrap();
        let ask = |pragma: &str| conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(ask("auto_vacuum"), 2);
        assert_eq!(ask("secure_delete"), 1);
        assert_eq!(ask("synchronous"), 2);
        assert_eq!(ask("foreign_keys"), 1);
        assert_eq!(ask("user_version"), 3);
    }
}
