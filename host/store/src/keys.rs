//! Which host keys the database depends on.

use crate::{Store, StoreError};
use rusqlite::Connection;

impl Store {
    /// The ids of the host keys under which data keys are wrapped: a host that lacks one of them must not start.
    ///
    /// # Errors
    /// The store failed.
    pub async fn host_key_ids(&self) -> Result<Vec<String>, StoreError> {
        self.read(|conn| Ok(host_key_ids(conn)?)).await
    }
}

pub(crate) fn host_key_ids(conn: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let mut statement = conn.prepare_cached("SELECT DISTINCT key_id FROM data_key ORDER BY key_id")?;
    statement.query_map([], |row| row.get(0))?.collect()
}
