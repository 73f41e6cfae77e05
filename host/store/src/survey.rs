//! Looking at a data folder without opening it: what an operator wants to know before a host starts, or beside one that runs.
//!
//! Nothing is written, no lock is taken and none is waited for. What the database's own first bytes say is read from the file (SQLite itself would
//! make a `-shm` file beside it); the keys that the data was sealed under are asked for with SQLite, and only where nobody has written since the
//! last orderly stop, so that the file alone is the whole database.

use crate::open::{self, DATABASE};
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The SQLite that this is built with.
    pub sqlite: &'static str,
    /// Whether it is one that a store opens with.
    pub sqlite_fit: bool,
    /// The folder, or the nearest one above it that exists.
    pub place: PathBuf,
    /// Its network file system, on which no store opens.
    pub network: Option<&'static str>,
    /// Bytes that this user may still write there.
    pub free_bytes: Option<u64>,
    /// The database, where there is one.
    pub database: Option<Result<Database, String>>,
}

/// A database, by its first bytes.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its file.
    pub path: PathBuf,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the write-ahead log beside it.
    pub wal_bytes: u64,
    /// Whether it is kept with a write-ahead log.
    pub wal: bool,
    /// Whether Sluice made it.
    pub ours: bool,
    /// Its schema's version.
    pub schema: u32,
    /// The newest version that this build knows.
    pub known: u32,
}

/// Looks.
///
/// # Errors
/// The folder, or the nearest one above it, cannot be looked at.
pub fn survey(dir: &Path) -> io::Result<Survey> {
    let place = dir.ancestors().find(|place| place.is_dir()).unwrap_or(Path::new("/")).to_owned();
    let network = open::network_file_system(&place).map_err(io::Error::other)?;
    let room = rustix::fs::statvfs(&place)?;
    let path = dir.join(DATABASE);
    Ok(Survey {
        sqlite: rusqlite::version(),
        sqlite_fit: rusqlite::version_number() >= open::OLDEST_SQLITE,
        network,
        free_bytes: room.f_bavail.checked_mul(room.f_frsize),
        database: path.try_exists()?.then(|| database(path).map_err(|error| error.to_string())),
        place,
    })
}

fn database(path: PathBuf) -> io::Result<Database> {
    let file = File::open(&path)?;
    let bytes = file.metadata()?.len();
    let mut head = Vec::new();
    file.take(100).read_to_end(&mut head)?;
    let at = |place: usize| {
        let four = head.get(place..place + 4).and_then(|four| four.try_into().ok()).unwrap_or_default();
        u32::from_be_bytes(four)
    };
    let wal_bytes = std::fs::metadata(wal(&path)).map_or(0, |wal| wal.len());
    // The places are those of SQLite's file format; a database that was never written is an empty file.
    let wal = head.get(18..20) == Some(&[2, 2]);
    let known = u32::try_from(open::MIGRATIONS.len()).unwrap_or(u32::MAX);
    Ok(Database { path, bytes, wal_bytes, wal, ours: i64::from(at(68)) == open::APPLICATION_ID, schema: at(60), known })
}

fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

impl Database {
    /// The host keys that this database depends on; for one that nobody has open. None where the write-ahead log still holds something: then only
    /// the next start knows.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn host_key_ids(&self) -> Result<Option<Vec<String>>, String> {
        if self.wal_bytes > 0 {
            return Ok(None);
        }
        let read = || {
            let mut url = String::from("file:");
            for byte in self.path.as_os_str().as_encoded_bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => url.push(char::from(*byte)),
                    other => url.push_str(&format!("%{other:02x}")),
                }
            }
            url.push_str("?immutable=1");
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            crate::keys::host_key_ids(&Connection::open_with_flags(url, flags)?)
        };
        read().map(Some).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_that_is_not_there_is_looked_at_by_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        let found = survey(&dir.path().join("a/b")).unwrap();
        assert_eq!(found.place, dir.path());
        assert!(found.database.is_none() && found.sqlite_fit);
        assert!(found.free_bytes.unwrap() > 0);
        assert_eq!(names(dir.path()), Vec::<String>::new());
    }

    #[test]
    fn a_database_is_known_by_its_first_bytes_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("with space & ?");
        std::fs::create_dir(&data).unwrap();
        drop(open::writer(&data).unwrap());
        let before = names(&data);
        let database = survey(&data).unwrap().database.unwrap().unwrap();
        assert!(database.wal && database.ours, "{database:?}");
        assert_eq!((database.schema, database.wal_bytes), (database.known, 0));
        assert_eq!(database.host_key_ids(), Ok(Some(Vec::new())));
        assert_eq!(names(&data), before, "nothing was made");

        std::fs::write(wal(&database.path), b"something").unwrap();
        let database = survey(&data).unwrap().database.unwrap().unwrap();
        assert_eq!(database.host_key_ids(), Ok(None), "the log may hold more");
    }

    #[test]
    fn what_is_no_database_of_ours_is_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(DATABASE), b"short").unwrap();
        let database = survey(dir.path()).unwrap().database.unwrap().unwrap();
        assert!(!database.ours && !database.wal && database.host_key_ids().is_err());
    }
}
