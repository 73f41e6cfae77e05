//! What the host is compared with: the same rows, upserted plainly, into the same schema, with the same durability.
//!
//! The database is made by the store itself, then opened here the way any program would: WAL, `synchronous = FULL`, prepared statements, one
//! transaction a batch. Nothing is fenced, counted, ordered or told to anybody.

use crate::Fault;
use rusqlite::{Connection, Statement, params};
use sluice_store::Store;
use std::{path::Path, sync::Arc};

/// The file of a data folder that holds the database.
pub const DATABASE: &str = "sluice.db";

/// An empty database with the store's schema, and a plain connection to it.
pub fn database(folder: &Path) -> Result<Connection, Fault> {
    drop(Store::open(folder, Arc::new(now), Arc::new(sluice_vault::OsRandom))?);
    open(folder)
}

/// A plain connection.
pub fn open(folder: &Path) -> Result<Connection, Fault> {
    let conn = Connection::open(folder.join(DATABASE))?;
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536; PRAGMA busy_timeout = 10000")?;
    Ok(conn)
}

/// Now, ms.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A row as both sides write it.
pub struct Row {
    pub at: i64,
    pub value: f64,
}

/// One row, over what is there.
pub const UPSERT: &str = "
         INSERT INTO entry (connection, metric, start, key, civil, by_id, day, value, digest, rank, revision, as_of, run, seq, gone)
         VALUES (?1, 1, ?2, '', 0, 0, ?3, ?4, 0, 2, 0, ?5, ?1, ?6, 0)
         ON CONFLICT (connection, metric, start, key) DO UPDATE SET day = excluded.day, value = excluded.value, as_of = excluded.as_of,
           run = excluded.run, seq = excluded.seq";

/// Upserts rows of one connection, within the caller's transaction.
pub fn write(upsert: &mut Statement<'_>, connection: i64, rows: &[Row], seq: i64, now: i64) -> rusqlite::Result<()> {
    for (n, row) in (seq..).zip(rows) {
        upsert.execute(params![connection, row.at, row.at.div_euclid(86_400_000), row.value, now, n])?;
    }
    Ok(())
}
